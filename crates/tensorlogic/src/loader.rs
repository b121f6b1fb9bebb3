//! How files come in and go out: a trait, and the two loaders that there are.
//!
//! A program names files by relative paths with `/`. [`resolve`] turns such a path into one below the project's root, by
//! rules alone; [`DiskLoader`] then checks that no symbolic link leads out of the root. Whoever wants other files (a person at
//! the command line, who may read what they can read) allows it when the loader is made.
//!
//! Invariant: a path that [`resolve`] answers has no `..`, no root, no drive and no NUL in it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use thiserror::Error;

/// The most bytes that a loader reads of one file: 1 GiB.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// Brings files in for imports and data, and takes files out.
pub trait Loader: Send + Sync {
    /// The bytes of a file. `path` is as [`resolve`] gives it.
    ///
    /// # Errors
    /// When there is no such file, or it may not be read.
    fn read(&self, path: &str) -> Result<Vec<u8>, LoadError>;

    /// Writes a file, over any that is there.
    ///
    /// # Errors
    /// When it may not be written.
    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), LoadError>;

    /// Where the file lies on disk, for those that are mapped into memory; `None` where there is no disk.
    ///
    /// # Errors
    /// When there is no such file, or it may not be read.
    fn locate(&self, path: &str) -> Result<Option<PathBuf>, LoadError>;

    /// Whether paths may be absolute or lead out of the root.
    fn is_open(&self) -> bool {
        false
    }

    /// Where a model's file lies on disk, as [`Loader::locate`] says. `path` is as a person writes it: a loader may find models where it
    /// reads no other files, as a program sees nothing of a file that is no model.
    ///
    /// # Errors
    /// When there is no such file, or it may not be read.
    fn locate_model(&self, path: &str, from: &str) -> Result<Option<PathBuf>, LoadError> {
        let path = if self.is_open() { relative(path, from) } else { resolve(path, from)? };
        self.locate(&path)
    }
}

/// Why a file can't be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// The path is not one that a program may name.
    #[error(
        "`{path}` is outside of the project: {reason}; a program uses files of its project only, unless it is run unrestricted"
    )]
    Outside {
        /// The path, escaped.
        path: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// There is no such file.
    #[error("there is no file `{path}`")]
    Missing {
        /// The path, escaped.
        path: String,
    },
    /// It is no regular file, or too large, or the system refuses.
    #[error("`{path}` can't be used: {reason}")]
    Refused {
        /// The path, escaped.
        path: String,
        /// Why.
        reason: String,
    },
}

/// Files in memory, for tests and for hosts without a disk.
#[derive(Default)]
pub struct MemoryLoader {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
}

/// Files below a folder of the disk.
#[derive(Clone, Debug)]
pub struct DiskLoader {
    root: PathBuf,
    open: bool,
    /// Whether models may lie outside of the root.
    models_anywhere: bool,
}

/// The path that `path` means when the file `from` (a resolved path, empty for the root) names it: `/`-separated, below the root.
///
/// # Errors
/// When the path is absolute, has a drive or a scheme, begins with `~`, holds a NUL or a backslash, or leads out of the root.
pub fn resolve(path: &str, from: &str) -> Result<String, LoadError> {
    let outside = |reason| Err(LoadError::Outside { path: path.escape_debug().to_string(), reason });
    if path.is_empty() {
        return outside("the path is empty");
    }
    if path.contains('\0') {
        return outside("it holds a NUL character");
    }
    if path.contains('\\') {
        return outside("write `/` between folders, not `\\`");
    }
    if path.starts_with('/') || path.starts_with('~') {
        return outside("it is not relative to the program");
    }
    if path.contains("://") || path.as_bytes().get(1) == Some(&b':') {
        return outside("it has a scheme or a drive");
    }
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|p| !matches!(*p, "" | ".")).collect();
    if from.starts_with('/') || parts.contains(&"..") {
        return outside("the file that names it is outside itself");
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return outside("`..` leads out of it");
                }
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// The path that `path` means, without rules: absolute, or relative to the folder of the file `from` that names it. For loaders
/// that are open.
pub fn relative(path: &str, from: &str) -> String {
    match from.rsplit_once('/') {
        Some((folder, _)) if !path.starts_with('/') => format!("{folder}/{path}"),
        _ => path.to_owned(),
    }
}

impl MemoryLoader {
    /// A loader over these files.
    pub fn new<P: Into<String>, B: Into<Vec<u8>>>(files: impl IntoIterator<Item = (P, B)>) -> Self {
        let files = files.into_iter().map(|(path, bytes)| (path.into(), bytes.into())).collect();
        MemoryLoader { files: Mutex::new(files) }
    }

    /// The bytes of a file that was given or written.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        self.lock().get(path).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Loader for MemoryLoader {
    fn read(&self, path: &str) -> Result<Vec<u8>, LoadError> {
        self.get(path).ok_or_else(|| missing(path))
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), LoadError> {
        self.lock().insert(path.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn locate(&self, path: &str) -> Result<Option<PathBuf>, LoadError> {
        if self.lock().contains_key(path) { Ok(None) } else { Err(missing(path)) }
    }
}

impl fmt::Debug for MemoryLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().keys()).finish()
    }
}

impl DiskLoader {
    /// Files below `root`, and no others.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        DiskLoader { root: root.into(), open: false, models_anywhere: false }
    }

    /// A loader for a program in a file that a person runs, and the program's name in it. The root is the folder that the program is
    /// run from, if the program lies in that, else the program's own; models may lie anywhere.
    ///
    /// # Errors
    /// When the program's folder, or the current one, is not there.
    pub fn for_program(file: &Path) -> std::io::Result<(DiskLoader, String)> {
        let parent = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (folder, current) = (parent.canonicalize()?, std::env::current_dir()?.canonicalize()?);
        let root = if folder.starts_with(&current) { current } else { folder.clone() };
        let below = folder.strip_prefix(&root).unwrap_or(Path::new(""));
        let name = below.join(file.file_name().unwrap_or_default());
        let name = name.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
        Ok((DiskLoader { root, open: false, models_anywhere: true }, name))
    }

    /// Files anywhere; relative paths begin at `root`.
    pub fn unrestricted(root: impl Into<PathBuf>) -> Self {
        DiskLoader { root: root.into(), open: true, models_anywhere: true }
    }

    /// The folder that relative paths begin at.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The regular file that a path means, with all symbolic links followed.
    fn find(&self, path: &str, anywhere: bool) -> Result<PathBuf, LoadError> {
        let full = self.root.join(path);
        let real = full.canonicalize().map_err(|e| from_io(path, &e))?;
        if !anywhere {
            self.check_inside(path, &real)?;
        }
        // Asked before it is opened: opening a FIFO would wait for its other end.
        match std::fs::metadata(&real) {
            Ok(data) if data.is_file() => Ok(real),
            Ok(_) => Err(refused(path, "it is not a regular file")),
            Err(e) => Err(from_io(path, &e)),
        }
    }

    fn check_inside(&self, path: &str, real: &Path) -> Result<(), LoadError> {
        let root = self.root.canonicalize().map_err(|e| from_io(path, &e))?;
        if self.open || real.starts_with(root) {
            return Ok(());
        }
        let path = path.escape_debug().to_string();
        Err(LoadError::Outside { path, reason: "a symbolic link leads out of it" })
    }
}

impl Loader for DiskLoader {
    fn read(&self, path: &str) -> Result<Vec<u8>, LoadError> {
        let file = std::fs::File::open(self.find(path, false)?).map_err(|e| from_io(path, &e))?;
        let mut bytes = Vec::new();
        let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| from_io(path, &e))?;
        if read as u64 > MAX_FILE_BYTES {
            return Err(refused(path, "it is larger than 1 GiB"));
        }
        Ok(bytes)
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), LoadError> {
        let full = self.root.join(path);
        let folder = full.parent().unwrap_or(&self.root);
        let real = folder.canonicalize().map_err(|e| from_io(path, &e))?;
        self.check_inside(path, &real)?;
        match std::fs::symlink_metadata(&full) {
            Ok(data) if !data.is_file() => return Err(refused(path, "there is something else of that name")),
            _ => {}
        }
        std::fs::write(&full, bytes).map_err(|e| from_io(path, &e))
    }

    fn locate(&self, path: &str) -> Result<Option<PathBuf>, LoadError> {
        self.find(path, false).map(Some)
    }

    fn locate_model(&self, path: &str, from: &str) -> Result<Option<PathBuf>, LoadError> {
        if self.models_anywhere {
            return self.find(&relative(path, from), true).map(Some);
        }
        self.locate(&resolve(path, from)?)
    }

    fn is_open(&self) -> bool {
        self.open
    }
}

#[cold]
fn missing(path: &str) -> LoadError {
    LoadError::Missing { path: path.escape_debug().to_string() }
}

#[cold]
fn refused(path: &str, reason: impl Into<String>) -> LoadError {
    LoadError::Refused { path: path.escape_debug().to_string(), reason: reason.into() }
}

#[cold]
fn from_io(path: &str, error: &std::io::Error) -> LoadError {
    match error.kind() {
        std::io::ErrorKind::NotFound => missing(path),
        _ => refused(path, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        for (path, from, expected) in [
            ("a.tl", "", "a.tl"),
            ("b/c.tl", "a/x.tl", "a/b/c.tl"),
            ("../c.tl", "a/b/x.tl", "a/c.tl"),
            ("./a//b.tl", "", "a/b.tl"),
        ] {
            assert_eq!(resolve(path, from).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        let hostile = [
            "",
            "../x",
            "a/../../x",
            "/etc/passwd",
            "~/x",
            "a\0b",
            "\\\\host\\x",
            "C:/x",
            "c:x",
            "http://x/y",
            "../../etc/passwd",
        ];
        for path in hostile {
            assert!(matches!(resolve(path, "a.tl"), Err(LoadError::Outside { .. })), "{path:?}");
        }
        assert!(resolve("../../x", "a/b.tl").is_err());
    }

    #[test]
    fn a_symbolic_link_out_of_the_root_is_refused() {
        let folder = std::env::temp_dir().join(format!("tl-loader-{}", std::process::id()));
        let root = folder.join("root");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(folder.join("secret"), "s").unwrap();
        std::fs::write(root.join("own"), "o").unwrap();
        let loader = DiskLoader::new(&root);
        assert_eq!(loader.read("own"), Ok(b"o".to_vec()));
        assert!(matches!(loader.read("none"), Err(LoadError::Missing { .. })));
        assert!(matches!(loader.read("."), Err(LoadError::Refused { .. })));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(folder.join("secret"), root.join("link")).unwrap();
            assert!(matches!(loader.read("link"), Err(LoadError::Outside { .. })));
            assert!(DiskLoader::unrestricted(&root).read("link").is_ok());
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
