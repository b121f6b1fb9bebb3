//! Where a file's bytes come from: memory, a map, or reads.
//!
//! Reading without a map takes what is needed and no more: first a prefix that grows until the description parses, then
//! the tensors' bytes in one run, once they are known to lie inside the file.
//!
//! A map shows the file as it is at any moment. Whoever shortens a mapped file takes pages away from the reader, and the
//! system stops it with a signal (SIGBUS). [`Source::tensor_bytes`] asks for the file's length at each use, which catches
//! a file that was shortened before; only reading (`--no-mmap`) is safe against one that is shortened at the same time.

use std::fs::File;
use std::path::{Path, PathBuf};

use tl_tensor::Buffer;

use super::cursor::Stop;
use super::layout::TensorInfo;
use super::parse::{Description, describe};
use crate::disk::{open_regular, read_range};
use crate::{Error, Result};

/// The bytes of one file.
#[derive(Debug)]
pub(super) struct Source {
    bytes: Buffer,
    /// Where `bytes` begin in the file.
    start: u64,
    /// The mapped file, to ask for its length.
    mapped: Option<File>,
    path: Option<PathBuf>,
}

/// How much is read at first: more than the metadata of nearly all models.
const PREFIX: u64 = 16 << 20;

impl Source {
    /// The whole file in memory.
    pub fn memory(bytes: Buffer) -> Result<(Self, Description)> {
        let description = Description::of(&bytes)?;
        Ok((Self { bytes, start: 0, mapped: None, path: None }, description))
    }

    /// The file at `path`, mapped or read.
    pub fn open(path: &Path, map: bool) -> Result<(Self, Description)> {
        let file = open_regular(path)?;
        let opened = if map { Self::map(file) } else { Self::read(file) };
        let (mut source, description) = opened.map_err(|e| e.in_file(path))?;
        source.path = Some(path.to_path_buf());
        Ok((source, description))
    }

    fn map(file: File) -> Result<(Self, Description)> {
        let bytes = Buffer::map_file(&file).map_err(|e| Error::io("map", &e))?;
        let description = Description::of(&bytes)?;
        Ok((Self { bytes, start: 0, mapped: Some(file), path: None }, description))
    }

    fn read(mut file: File) -> Result<(Self, Description)> {
        let total = file.metadata().map_err(|e| Error::io("length", &e))?.len();
        let mut wanted = PREFIX.min(total);
        let (prefix, description) = loop {
            let prefix = read_range(&mut file, 0, wanted)?;
            match describe(&prefix, total) {
                Ok(description) => break (prefix, description),
                Err(Stop::Bad(error)) => return Err(error),
                // What is needed is more than there was, so this ends at `total` at the latest.
                Err(Stop::Short(needed)) => wanted = needed.max(2 * wanted).min(total),
            }
        };
        let (start, end) = (description.data_start, description.data_end);
        if end <= prefix.len() as u64 || start == end {
            return Ok((Self { bytes: prefix, start: 0, mapped: None, path: None }, description));
        }
        let bytes = read_range(&mut file, start, end - start)?;
        Ok((Self { bytes, start, mapped: None, path: None }, description))
    }

    /// The path, where the bytes came from one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// `error`, with the file's name where it has one.
    pub fn locate(&self, error: Error) -> Error {
        match &self.path {
            Some(path) => error.in_file(path),
            None => error,
        }
    }

    /// The bytes of a tensor, shared with the file.
    ///
    /// # Errors
    /// Where the file was shortened after it was opened.
    pub fn tensor_bytes(&self, tensor: &TensorInfo) -> Result<Buffer> {
        if tensor.bytes == 0 {
            return Ok(Buffer::default());
        }
        let end = tensor.offset + tensor.bytes;
        if let Some(file) = &self.mapped {
            let now = file.metadata().map_err(|e| Error::io("length", &e))?.len();
            if now < end {
                return Err(Error::malformed(
                    "",
                    format!("the file was shortened to {now} bytes after it was opened"),
                ));
            }
        }
        // The reader has checked that the tensor lies between `start` and the end of `bytes`.
        let inside = |n: u64| usize::try_from(n.checked_sub(self.start)?).ok();
        let range = inside(tensor.offset).zip(inside(end));
        let bytes = range.and_then(|(start, end)| self.bytes.slice(start..end));
        bytes.ok_or_else(|| Error::malformed("", "the bytes lie outside the file"))
    }
}
