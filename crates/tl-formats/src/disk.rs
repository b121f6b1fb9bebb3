//! Opening files that hold tensors, and views of their bytes.
//!
//! Invariant: only regular files are opened, so that nothing waits for a pipe or reads a device without end.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use tl_tensor::{Buffer, DType, Tensor};

use crate::{Error, Result};

/// Opens a regular file. Asks before it opens, for opening a pipe waits for a writer.
pub(crate) fn open_regular(path: &Path) -> Result<File> {
    let io = |e: io::Error| Error::io("open", &e).in_file(path);
    check_regular(&fs::metadata(path).map_err(io)?).map_err(|e| e.in_file(path))?;
    let file = File::open(path).map_err(io)?;
    // Another file may have taken the name in between.
    check_regular(&file.metadata().map_err(io)?).map_err(|e| e.in_file(path))?;
    Ok(file)
}

fn check_regular(metadata: &fs::Metadata) -> Result<()> {
    if metadata.is_dir() {
        return Err(Error::malformed("", "this is a directory, not a file").hint("name the model file in it"));
    }
    if !metadata.is_file() {
        return Err(Error::malformed("", "this is a device, pipe or socket, not a regular file"));
    }
    Ok(())
}

/// Reads `length` bytes from `start` on. What was asked for is there or it is an error.
pub(crate) fn read_range(file: &mut File, start: u64, length: u64) -> Result<Buffer> {
    let fail = |e: io::Error| Error::io("read", &e).at(start);
    let length = usize::try_from(length).map_err(|_| fail(io::ErrorKind::OutOfMemory.into()))?;
    file.seek(SeekFrom::Start(start)).map_err(fail)?;
    Buffer::build(length, |bytes| file.read_exact(bytes)).map_err(fail)
}

/// A tensor over `bytes`: shared, or copied where they don't lie as its numbers must. `shape` is slowest axis first.
pub(crate) fn view(dtype: DType, shape: Vec<usize>, bytes: Buffer) -> Result<Tensor> {
    let natural = if dtype.is_quantized() { 1 } else { dtype.bytes() };
    let bytes = match bytes.is_aligned(natural) {
        true => bytes,
        false => Buffer::build(bytes.len(), |to| {
            to.copy_from_slice(&bytes);
            Ok(())
        })
        .map_err(|e| Error::io("memory", &e))?,
    };
    Tensor::new(dtype, shape, bytes).map_err(|e| Error::malformed("", e.to_string()))
}
