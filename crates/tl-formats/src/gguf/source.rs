//! Where a file's bytes come from: memory, a map, or reads.
//!
//! Reading without a map takes what is needed and no more: first a prefix that grows until the description parses, then
//! the tensors' bytes in one run, once they are known to lie inside the file.
//!
//! A map shows the file as it is at any moment. Whoever shortens a mapped file takes pages away from the reader, and the
//! system stops it with a signal (SIGBUS). [`Source::tensor_bytes`] asks for the file's length at each use, which catches
//! a file that was shortened before; only reading (`--no-mmap`) is safe against one that is shortened at the same time.

use std::fs::{self, File};
use std::io::{Read as _, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tl_tensor::Buffer;

use super::cursor::Stop;
use super::layout::TensorInfo;
use super::parse::{Description, describe};
use super::value::quote;
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

/// How much is read at first, and by how much a prefix grows at least.
const PREFIX: u64 = 1 << 20;

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
                // `needed` is more than `wanted`, so this ends at `total` at the latest.
                Err(Stop::Short(needed)) => wanted = needed.max(wanted + wanted / 2).min(total),
            }
        };
        if description.data_end <= prefix.len() as u64 {
            return Ok((Self { bytes: prefix, start: 0, mapped: None, path: None }, description));
        }
        let start = description.data_start;
        let bytes = read_range(&mut file, start, description.data_end - start)?;
        Ok((Self { bytes, start, mapped: None, path: None }, description))
    }

    /// The path, where the bytes came from one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The bytes of a tensor, shared with the file; copied where the file's alignment is too small for numbers.
    ///
    /// # Errors
    /// Where the file was shortened after it was opened.
    pub fn tensor_bytes(&self, tensor: &TensorInfo) -> Result<Buffer> {
        let field = || format!("tensor {}", quote(tensor.name()));
        if tensor.bytes == 0 {
            return Ok(Buffer::default());
        }
        let end = tensor.offset + tensor.bytes;
        if let Some(file) = &self.mapped {
            let now = file.metadata().map_err(|e| Error::io(field(), &e))?.len();
            if now < end {
                let message = format!("the file was shortened to {now} bytes after it was opened");
                return Err(Error::malformed(field(), message).at(tensor.offset));
            }
        }
        let inside = |n: u64| usize::try_from(n - self.start).ok();
        let range = inside(tensor.offset).zip(inside(end));
        let bytes = range.and_then(|(start, end)| self.bytes.slice(start..end));
        let bytes = bytes.ok_or_else(|| Error::malformed(field(), "outside the file").at(tensor.offset))?;
        let natural = if tensor.dtype.is_quantized() { 1 } else { tensor.dtype.bytes() };
        if bytes.is_aligned(natural) {
            return Ok(bytes);
        }
        let copy = Buffer::build(bytes.len(), |to| {
            to.copy_from_slice(&bytes);
            Ok(())
        });
        copy.map_err(|e| Error::io(field(), &e))
    }
}

/// Opens a regular file. Asks before it opens, for opening a pipe waits for a writer.
fn open_regular(path: &Path) -> Result<File> {
    let io = |e: std::io::Error| Error::io("open", &e).in_file(path);
    check_regular(&fs::metadata(path).map_err(io)?).map_err(|e| e.in_file(path))?;
    let file = File::open(path).map_err(io)?;
    // Another file may have taken the name in between.
    check_regular(&file.metadata().map_err(io)?).map_err(|e| e.in_file(path))?;
    Ok(file)
}

fn check_regular(metadata: &fs::Metadata) -> Result<()> {
    if metadata.is_dir() {
        let error = Error::malformed("", "this is a directory, not a file");
        return Err(error.hint("name the .gguf file in it"));
    }
    if !metadata.is_file() {
        return Err(Error::malformed("", "this is a device, pipe or socket, not a regular file"));
    }
    Ok(())
}

fn read_range(file: &mut File, start: u64, length: u64) -> Result<Buffer> {
    let fail = |e: std::io::Error| Error::io("read", &e).at(start);
    let length = usize::try_from(length).map_err(|_| fail(std::io::ErrorKind::OutOfMemory.into()))?;
    file.seek(SeekFrom::Start(start)).map_err(fail)?;
    Buffer::build(length, |bytes| file.read_exact(bytes)).map_err(fail)
}
