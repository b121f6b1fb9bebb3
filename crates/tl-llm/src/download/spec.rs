//! What a person may name a model by: a catalogue name, a path, or a file of a Hugging Face repository.
//!
//! The invariant: the parts of a [`HubFile`] are plain names. None is empty, `.` or `..`, or holds a
//! separator or a control character, so they can stand in an address and in a path of the cache.

use std::path::{Path, PathBuf};

use super::FetchError;
use crate::catalogue::{Catalogue, Entry};

/// A model, as a person names it.
#[derive(Clone, Debug)]
pub enum Spec {
    /// An entry of the catalogue.
    Entry(&'static Entry),
    /// A file on this machine.
    File(PathBuf),
    /// A file of a repository.
    Hub(HubFile),
}

/// A file of a Hugging Face repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// User or organisation.
    pub owner: String,
    /// Name of the repository.
    pub repo: String,
    /// Commit, branch or tag.
    pub revision: String,
    /// Path in the repository, with `/` between the parts.
    pub file: String,
}

impl Spec {
    /// Reads a specification: a name of the catalogue, else `hf:OWNER/REPO/FILE` with an optional
    /// `@REVISION` at the end (or after REPO), else a path: what holds a separator, ends in `.gguf`, or is
    /// there.
    ///
    /// # Errors
    ///
    /// [`FetchError::UnknownName`] and [`FetchError::BadSpec`]. That a path leads to a file is not checked.
    pub fn parse(spec: &str) -> Result<Spec, FetchError> {
        let catalogue = Catalogue::get();
        if spec.trim().is_empty() {
            return Err(bad_spec(spec, "it is empty".into()));
        }
        if let Some(rest) = spec.strip_prefix("hf://").or_else(|| spec.strip_prefix("hf:")) {
            return HubFile::parse(rest).map(Spec::Hub).map_err(|reason| bad_spec(spec, reason));
        }
        if spec.starts_with("https://") || spec.starts_with("http://") {
            let reason = "addresses are not taken; write hf:OWNER/REPO/FILE.gguf, or download the file and \
                          give its path";
            return Err(bad_spec(spec, reason.into()));
        }
        if let Some(entry) = catalogue.find(spec) {
            return Ok(Spec::Entry(entry));
        }
        if looks_like_path(spec) {
            return Ok(Spec::File(spec.into()));
        }
        Err(FetchError::UnknownName {
            name: spec.to_owned(),
            suggestion: catalogue.suggest(spec).map(str::to_owned),
            known: catalogue.models.iter().map(|entry| entry.name.clone()).collect(),
        })
    }

    /// The catalogue's entry of this model, which carries its recommended sampling; a file at a path or in a
    /// repository is known by its name.
    pub fn entry(&self) -> Option<&'static Entry> {
        let catalogue = Catalogue::get();
        match self {
            Spec::Entry(entry) => Some(entry),
            Spec::File(path) => catalogue.find_by_file(path.file_name()?.to_str()?),
            Spec::Hub(hub) => catalogue.find_by_file(hub.file.rsplit('/').next()?),
        }
    }
}

impl HubFile {
    /// Reads `OWNER/REPO/FILE`, with `@REVISION` at the end or after REPO.
    fn parse(text: &str) -> Result<HubFile, String> {
        let mut parts = text.splitn(3, '/');
        let (Some(owner), Some(repo), Some(file)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("write hf:OWNER/REPO/FILE.gguf".into());
        };
        let (repo, after_repo) = split_revision(repo);
        let (file, after_file) = split_revision(file);
        let revision = match (after_repo, after_file) {
            (Some(_), Some(_)) => return Err("it has two revisions".into()),
            (a, b) => a.or(b).unwrap_or("main"),
        };
        check_part("owner", owner)?;
        check_part("repository", repo)?;
        revision.split('/').try_for_each(|part| check_part("revision", part))?;
        file.split('/').try_for_each(|part| check_part("file", part))?;
        check_ending(file)?;
        Ok(HubFile { owner: owner.into(), repo: repo.into(), revision: revision.into(), file: file.into() })
    }

    /// The files that belong to this one: for `NAME-00002-of-00003.gguf` all three, in order; else itself.
    pub(super) fn whole_set(&self) -> Vec<HubFile> {
        let Some((stem, count)) = split_set(&self.file) else { return vec![self.clone()] };
        let named = |i: u32| HubFile { file: format!("{stem}-{i:05}-of-{count:05}.gguf"), ..self.clone() };
        (1..=count).map(named).collect()
    }

    /// Where the file stands below the endpoint.
    pub(super) fn url_path(&self) -> String {
        let HubFile { owner, repo, revision, file } = self;
        let file: Vec<String> = file.split('/').map(encode).collect();
        // A revision such as refs/pr/1 is one part of the address.
        format!("{}/{}/resolve/{}/{}", encode(owner), encode(repo), encode(revision), file.join("/"))
    }

    /// Where the file stands in the cache's folder of models.
    pub(super) fn cache_path(&self) -> PathBuf {
        // Encoded parts are distinct for distinct names and hold no character that a file system minds.
        let mut path = PathBuf::from("hf");
        path.extend([encode(&self.owner), encode(&self.repo), encode(&self.revision)]);
        path.extend(self.file.split('/').map(encode));
        path
    }
}

/// The part before the last `@`, and the part after it.
fn split_revision(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once('@') {
        Some((before, revision)) => (before, Some(revision)),
        None => (text, None),
    }
}

/// `("NAME", 3)` of `NAME-00002-of-00003.gguf`, where the number is one of the set's.
fn split_set(file: &str) -> Option<(&str, u32)> {
    let (rest, count) = file.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let five_digits = |text: &str| {
        let digits = text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten()
    };
    let (number, count) = (five_digits(number)?, five_digits(count)?);
    (1..=count).contains(&number).then_some((stem, count))
}

fn check_part(kind: &str, part: &str) -> Result<(), String> {
    let reason = match part {
        "" => "is empty",
        "." | ".." => "leads to another folder",
        _ if part.len() > 255 => "is longer than 255 bytes",
        _ if part.contains('\\') => "holds a backslash",
        _ if part.chars().any(char::is_control) => "holds a control character",
        _ => return Ok(()),
    };
    Err(format!("a part of its {kind} {reason}; write hf:OWNER/REPO/FILE.gguf"))
}

/// Refuses names that the cache keeps for what it puts beside a file.
fn check_ending(file: &str) -> Result<(), String> {
    const KEPT: [&str; 5] = [".part", ".part.json", ".sha256.json", ".lock", ".wheel"];
    match KEPT.iter().find(|ending| file.ends_with(**ending)) {
        None => Ok(()),
        Some(ending) => {
            Err(format!("a file that ends in {ending} is not taken; write hf:OWNER/REPO/FILE.gguf"))
        }
    }
}

/// Percent-encodes all but the characters that RFC 3986 calls unreserved.
fn encode(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn looks_like_path(spec: &str) -> bool {
    let gguf = Path::new(spec).extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
    gguf || spec.contains(['/', '\\']) || Path::new(spec).exists()
}

#[cold]
fn bad_spec(spec: &str, reason: String) -> FetchError {
    // A specification may be anything that was typed: its control characters stay out of the message.
    let spec = spec.chars().take(200).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
    FetchError::BadSpec { spec, reason }
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    fn hub(spec: &str) -> HubFile {
        match Spec::parse(spec) {
            Ok(Spec::Hub(hub)) => hub,
            other => panic!("{spec}: {other:?}"),
        }
    }

    #[test]
    fn names_paths_and_hub_files_are_told_apart() {
        assert!(matches!(Spec::parse("smollm2-135m"), Ok(Spec::Entry(_))));
        assert!(matches!(Spec::parse("./smollm2-135m"), Ok(Spec::File(_))));
        assert!(matches!(Spec::parse("model.GGUF"), Ok(Spec::File(_))));
        assert!(matches!(Spec::parse("Cargo.toml"), Ok(Spec::File(_))), "a file that is there");
        assert!(matches!(Spec::parse("hf:a/b/c.gguf"), Ok(Spec::Hub(_))));
        assert!(matches!(Spec::parse("https://huggingface.co/a/b"), Err(FetchError::BadSpec { .. })));
        assert!(matches!(Spec::parse(" "), Err(FetchError::BadSpec { .. })));
    }

    #[test]
    fn an_unknown_name_gets_a_suggestion_and_the_list() {
        let message = Spec::parse("smolm2-135m").unwrap_err().to_string();
        assert!(message.contains("Did you mean `smollm2-135m`?"), "{message}");
        assert!(message.contains("tinyllama-1.1b"), "{message}");
        let message = Spec::parse("zzz").unwrap_err().to_string();
        assert!(!message.contains("Did you mean"), "{message}");
    }

    #[test]
    fn hub_files_have_folders_and_revisions() {
        let plain = hub("hf:Own/Rep.o/sub/dir/f.gguf");
        assert_eq!((plain.file.as_str(), plain.revision.as_str()), ("sub/dir/f.gguf", "main"));
        assert_eq!(hub("hf:a/b/c.gguf@v1"), hub("hf:a/b@v1/c.gguf"));
        assert_eq!(hub("hf://a/b/c.gguf"), hub("hf:a/b/c.gguf"));
        let pull = hub("hf:a/b/c d.gguf@v#1");
        assert_eq!(pull.url_path(), "a/b/resolve/v%231/c%20d.gguf");
        assert_eq!(pull.cache_path(), Path::new("hf/a/b/v%231/c%20d.gguf"));
    }

    #[test]
    fn hostile_names_are_refused() {
        for spec in [
            "hf:../x",
            "hf:../x/y",
            "hf:a/../y",
            "hf:a/b/../../../etc/passwd",
            "hf:a/b/./c.gguf",
            "hf:a/b/",
            "hf:a/b//c.gguf",
            "hf:/b/c.gguf",
            "hf:a/b",
            "hf:a",
            "hf:",
            "hf:a/b/c\\..\\d.gguf",
            "hf:a/b/c\0.gguf",
            "hf:a/b/c\n.gguf",
            "hf:a/b/c.gguf@..",
            "hf:a/b/c.gguf@",
            "hf:a/b@v/c.gguf@w",
            "hf:a/b/c.gguf.part",
            "hf:a/b/c.gguf.sha256.json",
        ] {
            let message = Spec::parse(spec).unwrap_err().to_string();
            assert!(
                message.contains("hf:OWNER/REPO") || message.contains("two revisions"),
                "{spec}: {message}"
            );
        }
        assert!(Spec::parse(&format!("hf:a/b/{}", "x".repeat(256))).is_err());
    }

    proptest! {
        #[test]
        fn a_hub_file_stays_below_the_cache(spec in "hf:[a./\\\\@%~ \0-\x1f:é]{0,40}") {
            if let Ok(Spec::Hub(file)) = Spec::parse(&spec) {
                let path = file.cache_path();
                prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
                prop_assert!(path.components().count() >= 5);
                prop_assert!(!file.url_path().contains("..") || !file.url_path().split('/').any(|p| p == ".."));
            }
        }
    }

    #[test]
    fn one_file_of_a_split_set_stands_for_all() {
        let files = |spec: &str| hub(spec).whole_set().into_iter().map(|part| part.file).collect::<Vec<_>>();
        let all = ["d/m-00001-of-00003.gguf", "d/m-00002-of-00003.gguf", "d/m-00003-of-00003.gguf"];
        assert_eq!(files("hf:a/b/d/m-00001-of-00003.gguf"), all);
        assert_eq!(files("hf:a/b/d/m-00002-of-00003.gguf"), all);
        for single in [
            "m-00004-of-00003.gguf",
            "m-1-of-3.gguf",
            "m.gguf",
            "m-00000-of-00000.gguf",
            "m-+0001-of-00002.gguf",
        ] {
            assert_eq!(files(&format!("hf:a/b/{single}")), [single]);
        }
    }

    #[test]
    fn a_known_file_name_brings_its_entry() {
        let entry = Spec::parse("/models/SmolLM2-135M-Instruct.Q4_1.gguf").unwrap().entry();
        assert_eq!(entry.map(|e| e.name.as_str()), Some("smollm2-135m"));
        assert!(Spec::parse("x.gguf").unwrap().entry().is_none());
    }
}
