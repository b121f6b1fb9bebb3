//! Settings of a download, read from the environment in one place.
//!
//! The invariant: nothing else in this module reads an environment variable, so a test can set everything.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::FetchError;

/// Settings of a download.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// The cache folder; files go to `models/` in it.
    pub cache: PathBuf,
    /// Hash a cached file again instead of trusting the record of its hash. Default no.
    pub verify: bool,
    /// Base address of the hub. Default `https://huggingface.co`.
    pub endpoint: String,
    /// Token for the hub, sent to the endpoint's host and to no other.
    pub token: Option<Token>,
    /// Do not ask the hub.
    pub offline: bool,
    /// Use the proxy that the environment names (HTTPS_PROXY, ALL_PROXY, NO_PROXY). Default yes.
    pub proxy_from_env: bool,
    /// A file of PEM certificates to trust instead of the built-in ones.
    pub certificates: Option<PathBuf>,
    /// The Python interpreters to try for wheels, in order; none leaves wheels out.
    pub pythons: Vec<PathBuf>,
    /// The greatest size of a file, in bytes. Default 512 GiB.
    pub size_cap: u64,
    /// Bounds on waiting.
    pub timeouts: Timeouts,
}

/// A secret that debug output does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Bounds on waiting. A transfer that goes on may take as long as it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To look up a name. Default 3 s.
    pub lookup: Duration,
    /// To connect, TLS included. Default 4 s.
    pub connect: Duration,
    /// From the request to the answer's head. Default 4 s.
    pub answer: Duration,
    /// Between two pieces of a body, and of a Python process that no longer makes progress. Default 60 s
    /// for the first, five times as long for the second.
    pub stall: Duration,
}

impl Token {
    /// The token of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Token(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Default for Timeouts {
    /// Short, for another source may follow: a machine without access to the hub goes on within about 10 s.
    fn default() -> Self {
        Timeouts {
            lookup: Duration::from_secs(3),
            connect: Duration::from_secs(4),
            answer: Duration::from_secs(4),
            stall: Duration::from_secs(60),
        }
    }
}

impl Timeouts {
    /// Five times as long, for where no other source is left.
    pub(super) fn patient(self) -> Self {
        Timeouts { lookup: self.lookup * 5, connect: self.connect * 5, answer: self.answer * 5, ..self }
    }
}

impl FetchOptions {
    /// Default settings with this cache folder; the environment is not read, and no proxy is used.
    pub fn with_cache(cache: impl Into<PathBuf>) -> Self {
        FetchOptions {
            cache: cache.into(),
            verify: false,
            endpoint: "https://huggingface.co".to_owned(),
            token: None,
            offline: false,
            proxy_from_env: false,
            certificates: None,
            pythons: default_pythons(),
            size_cap: 512 << 30,
            timeouts: Timeouts::default(),
        }
    }

    /// The settings of the environment: TL_HOME, XDG_CACHE_HOME, HOME (LOCALAPPDATA on Windows),
    /// HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, SSL_CERT_FILE and the proxy variables.
    ///
    /// # Errors
    ///
    /// [`FetchError::NoCacheFolder`] if no variable leads to a cache folder.
    pub fn from_env() -> Result<Self, FetchError> {
        FetchOptions::from_variables(|name| std::env::var_os(name))
    }

    /// [`FetchOptions::from_env`] over any table of variables.
    ///
    /// # Errors
    ///
    /// [`FetchError::NoCacheFolder`] if no variable leads to a cache folder.
    pub fn from_variables(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, FetchError> {
        // A variable that is set to nothing counts as unset.
        let lookup = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let text = |name: &str| lookup(name).map(|value| value.to_string_lossy().trim().to_owned());
        let cache = cache_folder(&lookup).ok_or(FetchError::NoCacheFolder)?;
        let mut options = FetchOptions::with_cache(cache);
        if let Some(endpoint) = text("HF_ENDPOINT").filter(|e| !e.is_empty()) {
            options.endpoint = endpoint;
        }
        options.token = text("HF_TOKEN").filter(|token| !token.is_empty()).map(Token);
        options.offline = text("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value));
        options.certificates = lookup("SSL_CERT_FILE").map(PathBuf::from);
        options.proxy_from_env = true;
        Ok(options)
    }
}

/// TL_HOME, or else the folder that the system reserves for caches.
fn cache_folder(lookup: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(home) = lookup("TL_HOME") {
        return Some(home.into());
    }
    if cfg!(windows) {
        return lookup("LOCALAPPDATA").map(|folder| PathBuf::from(folder).join("tensorlogic"));
    }
    // The XDG base directory specification: a relative path is to be ignored.
    let xdg = lookup("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = xdg.or_else(|| lookup("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(base.join("tensorlogic"))
}

/// The values that Hugging Face's own library takes for true.
fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].iter().any(|word| word.eq_ignore_ascii_case(value))
}

fn default_pythons() -> Vec<PathBuf> {
    let names: &[&str] = if cfg!(windows) { &["python", "py", "python3"] } else { &["python3", "python"] };
    names.iter().map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(variables: &[(&str, &str)]) -> Result<FetchOptions, FetchError> {
        FetchOptions::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    #[cfg(unix)]
    fn the_cache_folder_is_the_first_that_is_named() {
        let cache = |variables: &[(&str, &str)]| options(variables).unwrap().cache;
        let all = [("TL_HOME", "/tl"), ("XDG_CACHE_HOME", "/xdg"), ("HOME", "/home/a")];
        assert_eq!(cache(&all), PathBuf::from("/tl"));
        assert_eq!(cache(&all[1..]), PathBuf::from("/xdg/tensorlogic"));
        assert_eq!(cache(&all[2..]), PathBuf::from("/home/a/.cache/tensorlogic"));
        assert_eq!(
            cache(&[("TL_HOME", ""), ("XDG_CACHE_HOME", "relative"), ("HOME", "/h")]),
            PathBuf::from("/h/.cache/tensorlogic")
        );
        assert!(matches!(options(&[]), Err(FetchError::NoCacheFolder)));
    }

    #[test]
    fn the_hub_settings_come_from_its_own_variables() {
        let given = options(&[
            ("TL_HOME", "/tl"),
            ("HF_ENDPOINT", "https://mirror.example"),
            ("HF_TOKEN", " hf_abc\n"),
            ("HF_HUB_OFFLINE", "yes"),
        ])
        .unwrap();
        assert_eq!(given.endpoint, "https://mirror.example");
        assert_eq!(given.token, Some(Token::new("hf_abc")));
        assert!(!format!("{given:?}").contains("hf_abc"));
        assert!(given.offline);
        let plain = options(&[("TL_HOME", "/tl"), ("HF_HUB_OFFLINE", "0"), ("HF_TOKEN", "  ")]).unwrap();
        assert_eq!(
            (plain.endpoint.as_str(), plain.token, plain.offline),
            ("https://huggingface.co", None, false)
        );
    }
}
