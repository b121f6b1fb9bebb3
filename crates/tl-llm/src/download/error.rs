//! Why a model could not be had: every source that was tried, why it failed, and what to do about it.
//!
//! The invariant: a failure of one source never hides another's. [`FetchError::Unavailable`] lists them all
//! in the order in which they were tried.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Why [`resolve`](super::resolve) has no file to give.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The name is not in the catalogue.
    #[error("{}", describe_unknown(name, suggestion.as_deref(), known))]
    UnknownName {
        /// What was asked for.
        name: String,
        /// A known name that is near to it.
        suggestion: Option<String>,
        /// All names of the catalogue.
        known: Vec<String>,
    },
    /// The specification is none of: a name, a path, `hf:OWNER/REPO/FILE`.
    #[error("`{spec}` does not name a model: {reason}")]
    BadSpec {
        /// What was asked for.
        spec: String,
        /// What is wrong with it, and what to write.
        reason: String,
    },
    /// A path at which there is no file.
    #[error("cannot use {}: {reason}", path.display())]
    NoSuchFile {
        /// The path.
        path: PathBuf,
        /// What is the matter with it.
        reason: String,
    },
    /// No environment variable says where the cache folder is.
    #[error("there is no cache folder: set TL_HOME to a folder where models may be kept")]
    NoCacheFolder,
    /// The cache folder cannot be used.
    #[error("cannot {action} {}: {source}; TL_HOME can name another cache folder", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What was to be done with it.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// No source had the file.
    #[error("{}", describe_unavailable(what, attempts))]
    Unavailable {
        /// The model and its file.
        what: String,
        /// The sources in the order in which they were tried.
        attempts: Vec<Attempt>,
    },
}

/// One source that was tried in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The source, for people: a folder, an address, a wheel.
    pub source: String,
    /// Why it failed.
    pub failure: Failure,
}

/// Why one source failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// The file is not in the folder.
    #[error("not there")]
    Absent,
    /// The environment forbids to ask.
    #[error("not asked, since HF_HUB_OFFLINE is set")]
    Offline,
    /// A setting of the environment cannot be used.
    #[error("{variable} {reason}")]
    BadSetting {
        /// The environment variable.
        variable: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// No connection came about.
    #[error("cannot reach {host}: {reason}")]
    Unreachable {
        /// The host.
        host: String,
        /// The system's answer.
        reason: String,
    },
    /// The server wants a token, or another one.
    #[error("the server refused with status {code}{}", with_message(message))]
    Refused {
        /// 401 or 403.
        code: u16,
        /// What the server said.
        message: Option<String>,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The server has no such file.
    #[error("the server has no such file (status 404){}", with_message(message))]
    NotFound {
        /// What the server said.
        message: Option<String>,
    },
    /// Another status than success.
    #[error("the server answered with status {code}{}", with_message(message))]
    Status {
        /// The status.
        code: u16,
        /// What the server said.
        message: Option<String>,
    },
    /// The answer makes no sense as the file that was asked for.
    #[error("{reason}")]
    BadAnswer {
        /// What is wrong with it.
        reason: String,
    },
    /// The transfer ended early.
    #[error("the transfer broke off after {got} of {} bytes: {reason}", total_or_unknown(*total))]
    CutOff {
        /// Bytes that are kept in the `.part` file.
        got: u64,
        /// Bytes of the whole file, where known.
        total: Option<u64>,
        /// The system's answer.
        reason: String,
    },
    /// A file of another size than expected.
    #[error("the file has {found} bytes, {expected} were expected")]
    WrongSize {
        /// The size that was to be.
        expected: u64,
        /// The size that is.
        found: u64,
    },
    /// A file of another SHA-256 than expected.
    #[error("the file's SHA-256 is {found}, expected was {expected}")]
    WrongHash {
        /// The hash that was to be.
        expected: String,
        /// The hash that is.
        found: String,
    },
    /// More bytes than the cap allows.
    #[error("the file is larger than the cap of {cap} bytes")]
    TooLarge {
        /// The cap.
        cap: u64,
    },
    /// The local file system refused.
    #[error("cannot {action} {}: {reason}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's answer.
        reason: String,
    },
    /// Python could not be started.
    #[error("cannot start {program}: {reason}")]
    NoPython {
        /// The program.
        program: String,
        /// The system's answer.
        reason: String,
    },
    /// `pip download` failed.
    #[error("pip failed: {reason}")]
    Pip {
        /// The end of what it said.
        reason: String,
    },
}

impl Failure {
    /// What the person can do about it, as a sentence without its full stop; `None` where nothing is to be
    /// done.
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Failure::Absent | Failure::BadAnswer { .. } | Failure::WrongSize { .. } => return None,
            Failure::Offline => "unset HF_HUB_OFFLINE to allow it",
            Failure::BadSetting { .. } => "correct the variable, or unset it",
            Failure::Unreachable { .. } => {
                "check the network; HTTPS_PROXY names a proxy, HF_ENDPOINT a mirror, SSL_CERT_FILE the \
                 certificates of a network that has its own"
            }
            Failure::Refused { with_token: false, .. } => {
                "the repository may be private or gated, or not exist: set HF_TOKEN to a token that may read it"
            }
            Failure::Refused { with_token: true, .. } => {
                "the token in HF_TOKEN may not read it: accept the model's terms on its page, or use another \
                 token"
            }
            Failure::NotFound { .. } => {
                "check owner, repository, revision and file name; all are case-sensitive"
            }
            Failure::Status { code: 429, .. } => "too many requests: wait a little, or set HF_TOKEN",
            Failure::Status { .. } => "try again later",
            Failure::CutOff { .. } => "run it again: it goes on where it stopped",
            Failure::WrongHash { .. } => {
                "the file was changed or damaged on its way and was thrown away: try again, or another source"
            }
            Failure::TooLarge { .. } => "download it by other means and give its path instead",
            Failure::Io { .. } => "check space and permissions there; TL_HOME can name another cache folder",
            Failure::NoPython { .. } => "install Python 3 with pip, or download the file and give its path",
            Failure::Pip { .. } => "check that `python3 -m pip download` works here",
        })
    }
}

fn describe_unknown(name: &str, suggestion: Option<&str>, known: &[String]) -> String {
    let hint = suggestion.map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
    format!(
        "there is no model named `{name}`.{hint}\nknown names: {}\nor give a path to a file, or \
         hf:OWNER/REPO/FILE.gguf",
        known.join(", ")
    )
}

fn describe_unavailable(what: &str, attempts: &[Attempt]) -> String {
    use fmt::Write;
    let mut text = format!("cannot get {what}; these sources were tried, in this order:");
    for Attempt { source, failure } in attempts {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {source}: {failure}");
        if let Some(advice) = failure.advice() {
            let _ = write!(text, "\n    ({advice})");
        }
    }
    text
}

fn with_message(message: &Option<String>) -> String {
    message.as_ref().map(|text| format!(": {text}")).unwrap_or_default()
}

fn total_or_unknown(total: Option<u64>) -> String {
    total.map_or_else(|| "an unknown number of".to_owned(), |n| n.to_string())
}
