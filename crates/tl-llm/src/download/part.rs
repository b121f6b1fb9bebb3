//! A file that is coming in: `NAME.part`, hashed as it grows, renamed when it is whole and right.
//!
//! Beside it, `NAME.part.json` says what the bytes are the beginning of, so that a later run can go on
//! where this one stopped and never joins the halves of two different files.
//!
//! The invariant: `hasher` has seen exactly the first `length` bytes, which are the bytes of the file.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::Failure;
use super::cache::{self, Expected, Record, io_failure, with_suffix};
use super::progress::Report;

/// What a server says that a file is; two answers with the same identity are of the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    /// A strong entity tag of the server that sends the bytes.
    pub(super) etag: Option<String>,
    /// SHA-256 in lower-case hexadecimal.
    pub(super) sha256: Option<String>,
    /// Size in bytes.
    pub(super) size: Option<u64>,
}

impl Identity {
    /// Whether nothing that both know differs.
    pub(super) fn agrees_with(&self, other: &Identity) -> bool {
        fn agree<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        agree(&self.etag, &other.etag) && agree(&self.sha256, &other.sha256) && agree(&self.size, &other.size)
    }

    /// Whether a change of the file would be seen.
    pub(super) fn is_telling(&self) -> bool {
        self.etag.is_some() || self.sha256.is_some()
    }
}

/// A file that is coming in.
#[derive(Debug)]
pub(super) struct Part {
    target: PathBuf,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    length: u64,
    /// The first four bytes, to know a GGUF file from a web page.
    magic: Vec<u8>,
}

impl Part {
    /// Begins anew, throwing away what an earlier run left.
    pub(super) fn create(target: &Path) -> Result<Part, Failure> {
        let path = with_suffix(target, ".part");
        cache::remove_if_there(&Part::identity_path(target)).map_err(io_failure("remove", &path))?;
        let file = File::create(&path).map_err(io_failure("create", &path))?;
        let target = target.to_owned();
        Ok(Part { target, path, file, hasher: Sha256::new(), length: 0, magic: Vec::new() })
    }

    /// Takes up what an earlier run left, with what it is the beginning of; `None` where there is nothing
    /// that can be gone on with. With `hash_known` any beginning will do, as the whole is checked.
    pub(super) fn take_up(
        target: &Path,
        hash_known: bool,
        report: Report,
    ) -> Result<Option<(Part, Identity)>, Failure> {
        let Some(value) = cache::read_json(&Part::identity_path(target)) else { return Ok(None) };
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let identity = Identity { etag: text("etag"), sha256: text("sha256"), size: value["size"].as_u64() };
        let path = with_suffix(target, ".part");
        let Ok(mut file) = File::options().read(true).write(true).open(&path) else { return Ok(None) };
        let total = file.metadata().map_err(io_failure("read", &path))?.len();
        let too_long = identity.size.is_some_and(|size| total > size);
        if total == 0 || too_long || !(hash_known || identity.is_telling()) {
            return Ok(None);
        }
        let mut hasher = Sha256::new();
        let length = cache::hash_reader(&mut file, &mut hasher, &path, total, report)?;
        let magic = read_magic(&mut file, length).map_err(io_failure("read", &path))?;
        let target = target.to_owned();
        Ok(Some((Part { target, path, file, hasher, length, magic }, identity)))
    }

    /// Throws the bytes away and begins anew in the same file.
    pub(super) fn restart(&mut self) -> Result<(), Failure> {
        self.file.set_len(0).map_err(io_failure("empty", &self.path))?;
        self.file.rewind().map_err(io_failure("write", &self.path))?;
        self.hasher = Sha256::new();
        self.length = 0;
        self.magic.clear();
        Ok(())
    }

    /// Writes down what the bytes are the beginning of.
    pub(super) fn identify(&self, identity: &Identity) -> Result<(), Failure> {
        let path = Part::identity_path(&self.target);
        let Identity { etag, sha256, size } = identity;
        let value = json!({ "etag": etag, "sha256": sha256, "size": size });
        fs::write(&path, format!("{value}\n")).map_err(io_failure("write", &path))
    }

    /// Adds the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(io_failure("write", &self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        let missing = 4 - self.magic.len();
        self.magic.extend(bytes.iter().take(missing));
        Ok(())
    }

    /// How many bytes are there.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Checks the whole, and moves it to its final place.
    ///
    /// # Errors
    ///
    /// A wrong size, hash or beginning; the bytes are thrown away then, since going on with them is no use.
    pub(super) fn finish(self, expected: Expected) -> Result<(), Failure> {
        let Part { target, path, file, hasher, length, magic } = self;
        let found = cache::hexadecimal(hasher);
        if let Err(failure) = check(&target, &found, length, &magic, expected) {
            drop(file);
            Part::discard(&target);
            return Err(failure);
        }
        file.sync_all().map_err(io_failure("write", &path))?;
        drop(file);
        Record::remove(&target).map_err(io_failure("replace", &target))?;
        fs::rename(&path, &target).map_err(io_failure("rename to", &target))?;
        // The file is in place. What follows makes that last, saves time, and tidies up: some file systems
        // cannot do the first, and nothing is lost without the others.
        let _ = sync_folder(&target);
        let _ = Record { size: length, sha256: found }.write(&target);
        let _ = cache::remove_if_there(&Part::identity_path(&target));
        Ok(())
    }

    /// Throws away what there is of a file that is coming in.
    pub(super) fn discard(target: &Path) {
        // What cannot be removed now is overwritten by the next run.
        let _ = cache::remove_if_there(&with_suffix(target, ".part"));
        let _ = cache::remove_if_there(&Part::identity_path(target));
    }

    fn identity_path(target: &Path) -> PathBuf {
        with_suffix(target, ".part.json")
    }
}

fn check(target: &Path, found: &str, length: u64, magic: &[u8], expected: Expected) -> Result<(), Failure> {
    if let Some(size) = expected.size.filter(|size| *size != length) {
        return Err(Failure::WrongSize { expected: size, found: length });
    }
    if let Some(sha256) = expected.sha256.filter(|sha256| *sha256 != found) {
        return Err(Failure::WrongHash { expected: sha256.to_owned(), found: found.to_owned() });
    }
    let is_gguf = target.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
    if is_gguf && magic != b"GGUF" {
        let reason = "what came is no GGUF file: it does not begin with `GGUF`".to_owned();
        return Err(Failure::BadAnswer { reason });
    }
    Ok(())
}

/// The first four bytes; the file is left at its end.
fn read_magic(file: &mut File, length: u64) -> std::io::Result<Vec<u8>> {
    let mut magic = vec![0; length.min(4) as usize];
    file.rewind()?;
    std::io::Read::read_exact(file, &mut magic)?;
    file.seek(std::io::SeekFrom::Start(length))?;
    Ok(magic)
}

/// Makes a rename last through a power cut, where the system lets a folder be synced.
fn sync_folder(target: &Path) -> std::io::Result<()> {
    if cfg!(unix)
        && let Some(folder) = target.parent()
    {
        return File::open(folder)?.sync_all();
    }
    Ok(())
}
