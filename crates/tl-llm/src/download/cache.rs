//! The cache folder: where files stand, how a file that is there is trusted, and who may write.
//!
//! The invariants: a file at its final place is whole, for it gets there by a rename after it was synced;
//! beside it stands a record of its size and of the SHA-256 that was computed while it came in. A file is
//! written only by the holder of its lock, which the system takes away from a process that dies.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::progress::{Phase, Progress, Report};
use super::{Failure, FetchError};

/// What is known about a file before it is read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expected<'a> {
    pub(super) size: Option<u64>,
    /// Lower-case hexadecimal.
    pub(super) sha256: Option<&'a str>,
}

/// The right to write one file of the cache; given up when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// `None` on a file system that has no locks.
    _file: Option<File>,
    /// Whether another process had it first.
    pub(super) waited: bool,
}

/// Takes the lock of `target`, making its folder; waits while another process holds it, and says so.
pub(super) fn lock(target: &Path, subject: &str, report: Report) -> Result<Lock, FetchError> {
    let folder = target.parent().unwrap_or(Path::new("."));
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| FetchError::Cache { path, action, source }
    };
    fs::create_dir_all(folder).map_err(failed("make the folder", folder))?;
    let path = with_suffix(target, ".lock");
    let options = File::options().create(true).truncate(false).write(true).open(&path);
    let file = options.map_err(failed("open the lock", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: Some(file), waited: false }),
        Err(TryLockError::WouldBlock) => {
            report(Progress { phase: Phase::WaitingForLock, subject, bytes: 0, total: None });
            file.lock().map_err(failed("wait for the lock", &path))?;
            Ok(Lock { _file: Some(file), waited: true })
        }
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
            Ok(Lock { _file: None, waited: false })
        }
        Err(TryLockError::Error(error)) => Err(failed("take the lock", &path)(error)),
    }
}

/// Whether `target` is there and is what is expected.
///
/// The record of its hash is believed unless `verify`; where there is none the file is hashed once.
///
/// # Errors
///
/// [`Failure::Absent`], or what is wrong with the file.
pub(super) fn look_up(
    target: &Path,
    expected: Expected,
    verify: bool,
    report: Report,
) -> Result<(), Failure> {
    let metadata = match fs::metadata(target) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Failure::Absent),
        Err(error) => return Err(io_failure("read", target)(error)),
    };
    if !metadata.is_file() {
        return Err(io_failure("use", target)(io::Error::other("it is not a file")));
    }
    let record = Record::read(target);
    let size = expected.size.or(record.as_ref().map(|record| record.size));
    if let Some(size) = size.filter(|size| *size != metadata.len()) {
        return Err(Failure::WrongSize { expected: size, found: metadata.len() });
    }
    let recorded = record.as_ref().map(|record| record.sha256.as_str());
    // With neither a known hash nor a record, a person put the file there, and it is what it is.
    let Some(sha256) = expected.sha256.or(recorded) else { return Ok(()) };
    if !verify && recorded == Some(sha256) {
        return Ok(());
    }
    let found = hash_file(target, report)?;
    if found != sha256 {
        return Err(Failure::WrongHash { expected: sha256.to_owned(), found });
    }
    // The record only saves time: a cache that cannot be written still serves.
    let _ = Record { size: metadata.len(), sha256: found }.write(target);
    Ok(())
}

/// SHA-256 of a whole file, in lower-case hexadecimal.
pub(super) fn hash_file(path: &Path, report: Report) -> Result<String, Failure> {
    let mut file = File::open(path).map_err(io_failure("open", path))?;
    let total = file.metadata().map_err(io_failure("read", path))?.len();
    let mut hasher = Sha256::new();
    hash_reader(&mut file, &mut hasher, path, total, report)?;
    Ok(hexadecimal(hasher))
}

/// Feeds the rest of `file` to `hasher`; how many bytes that was.
pub(super) fn hash_reader(
    file: &mut File,
    hasher: &mut Sha256,
    path: &Path,
    total: u64,
    report: Report,
) -> Result<u64, Failure> {
    let subject = file_name(path);
    let mut buffer = vec![0; 128 << 10];
    let mut bytes = 0;
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(io_failure("read", path)(error)),
        };
        hasher.update(&buffer[..n]);
        bytes += n as u64;
        report(Progress { phase: Phase::Hashing, subject: &subject, bytes, total: Some(total) });
    }
}

/// The record beside a file: its size and its hash, as they were when it came in.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) size: u64,
    pub(super) sha256: String,
}

impl Record {
    /// The record of `target`; `None` where there is none that can be read.
    pub(super) fn read(target: &Path) -> Option<Record> {
        let value = read_json(&Record::path(target))?;
        let sha256 = value["sha256"].as_str().filter(|hash| is_sha256(hash))?.to_owned();
        Some(Record { size: value["size"].as_u64()?, sha256 })
    }

    pub(super) fn write(&self, target: &Path) -> io::Result<()> {
        let value = json!({ "size": self.size, "sha256": self.sha256 });
        fs::write(Record::path(target), format!("{value}\n"))
    }

    pub(super) fn remove(target: &Path) -> io::Result<()> {
        remove_if_there(&Record::path(target))
    }

    fn path(target: &Path) -> PathBuf {
        with_suffix(target, ".sha256.json")
    }
}

/// A small JSON file; `None` where it is absent, too long or damaged.
pub(super) fn read_json(path: &Path) -> Option<Value> {
    let mut text = String::new();
    File::open(path).ok()?.take(64 << 10).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// `folder/name` becomes `folder/name.suffix`.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

pub(super) fn hexadecimal(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

pub(super) fn io_failure(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Failure {
    let path = path.to_owned();
    move |error| Failure::Io { action, path: path.clone(), reason: error.to_string() }
}
