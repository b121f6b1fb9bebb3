//! The answers of a batch: lines of JSON, one a row, each written at once.
//!
//! Invariant: whenever the program stops, the file is whole lines and at most one that was cut; the number of whole lines is the number of rows done.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::failure::{Failure, Outcome};

/// The file of answers.
pub struct Output {
    file: File,
    path: PathBuf,
    rows: u64,
}

#[derive(Deserialize)]
struct Written {
    index: u64,
}

impl Output {
    /// A new file, or one that is to go on.
    pub fn open(path: &Path, resume: bool) -> Outcome<Output> {
        let failed = |e: std::io::Error| Failure::file(path, &e);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).create_new(!resume).truncate(false);
        let mut file = match options.open(path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Failure::usage(format!(
                    "{} is there already; --resume goes on with it, or give another name",
                    path.display()
                )));
            }
            opened => opened.map_err(failed)?,
        };
        let (rows, len) = whole_lines(path, &file)?;
        file.set_len(len).map_err(failed)?;
        file.seek(SeekFrom::Start(len)).map_err(failed)?;
        Ok(Output { file, path: path.to_owned(), rows })
    }

    /// How many rows are done.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes the line of the next row.
    pub fn write(&mut self, line: &Value) -> Outcome {
        let text = format!("{line}\n");
        self.file.write_all(text.as_bytes()).map_err(|e| Failure::file(&self.path, &e))?;
        self.rows += 1;
        Ok(())
    }
}

/// How many whole lines the file begins with, and their bytes.
fn whole_lines(path: &Path, file: &File) -> Outcome<(u64, u64)> {
    let (mut from, mut rows, mut len) = (BufReader::new(file), 0, 0);
    loop {
        let mut line = Vec::new();
        let count = from.read_until(b'\n', &mut line).map_err(|e| Failure::file(path, &e))?;
        if line.last() != Some(&b'\n') {
            return Ok((rows, len));
        }
        let written: Option<Written> = serde_json::from_slice(&line).ok();
        if written.is_none_or(|written| written.index != rows) {
            let number = rows + 1;
            return Err(Failure::data(format!(
                "{}: line {number} is not the answer of row {number}, so it is not known where to go on",
                path.display()
            )));
        }
        (rows, len) = (rows + 1, len + count as u64);
    }
}
