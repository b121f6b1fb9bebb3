//! Sequences in files: a prompt that was computed once is not computed again.
//!
//! Invariant: a file holds the old sequence or the new one, whenever the program or the machine stops: the new one is written beside it, made durable,
//! and then takes its name.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use tensorlogic::{Generator, SavedError, Session};

/// Reads a sequence of this generator's model and program; `None` if there is no such file.
///
/// # Errors
/// When the file can't be read, is damaged, or was written with another model, program or type of pages.
pub fn load(generator: &Generator, path: &Path) -> Result<Option<Session>, SavedError> {
    match File::open(path) {
        Ok(file) => generator.load_session(&mut BufReader::with_capacity(1 << 20, file)).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SavedError::Io(error)),
    }
}

/// Writes a sequence.
///
/// # Errors
/// When the file can't be written; what was there before is there still.
pub fn save(session: &Session, path: &Path) -> io::Result<()> {
    let beside = beside(path);
    let written = write(session, &beside).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write(session: &Session, path: &Path) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    session.save(&mut out)?;
    out.flush()?;
    out.get_ref().sync_all()
}

/// A name in the same folder that no other process uses.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}
