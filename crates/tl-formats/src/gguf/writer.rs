//! Writing GGUF files.
//!
//! A writer is told the metadata and the tensors first, since their descriptions come first in the file. The bytes of a
//! tensor are given with its description, or later, one tensor after the other, through a [`Stream`], so that a file
//! larger than memory can be written. What it writes it can read: the limits are those of the reader.
//!
//! Invariant: a well-formed file that is read and written again has the same bytes.

use std::collections::HashSet;
use std::io::{self, Write};

use tl_tensor::{Buffer, DType, Tensor};

use super::file::File;
use super::layout::{byte_len, round_up};
use super::metadata::Metadata;
use super::value::{Array, Value, quote};
use super::{DEFAULT_ALIGNMENT, limits};
use crate::{Error, Result};

/// A file to be written.
#[derive(Debug, Clone)]
pub struct Writer {
    version: u32,
    metadata: Metadata,
    tensors: Vec<Planned>,
    names: HashSet<String>,
}

/// A tensor of the file, with its bytes or waiting for them.
#[derive(Debug, Clone)]
struct Planned {
    name: String,
    ne: Vec<u64>,
    dtype: DType,
    bytes: u64,
    data: Option<Buffer>,
}

/// A file whose descriptions are written and whose tensors' bytes follow.
#[derive(Debug)]
pub struct Stream<W> {
    sink: W,
    tensors: Vec<Planned>,
    alignment: u64,
    /// The tensor whose bytes come next, and how many of them have come.
    current: usize,
    written: u64,
}

impl Writer {
    /// A file of version 3 with this metadata. Its `general.alignment`, where there is one, is the file's alignment.
    pub fn new(metadata: Metadata) -> Self {
        Self { version: 3, metadata, tensors: Vec::new(), names: HashSet::new() }
    }

    /// A file with the metadata and tensors of `file`, whose bytes are shared with it.
    ///
    /// # Errors
    /// Where `file` was shortened since it was opened.
    pub fn copy_of(file: &File) -> Result<Self> {
        let mut writer = Self::new(file.metadata().clone());
        writer.version = file.version();
        for info in file.tensors() {
            let data = Some(file.view(info)?.data().clone());
            writer.add(info.name(), info.ne(), info.dtype(), data)?;
        }
        Ok(writer)
    }

    /// Writes version 2 instead, which has the same layout.
    pub fn version_2(&mut self) -> &mut Self {
        self.version = 2;
        self
    }

    /// The metadata, to be changed until the file is written.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// Adds a tensor with its bytes, which are shared; a view that is not contiguous is copied.
    ///
    /// # Errors
    /// Where a reader would refuse the name, the shape or the type.
    pub fn tensor(&mut self, name: &str, tensor: &Tensor) -> Result<&mut Self> {
        let tensor = tensor.contiguous();
        let ne: Vec<u64> = tensor.shape().iter().rev().map(|&n| n as u64).collect();
        self.add(name, &ne, tensor.dtype(), Some(tensor.data().clone()))
    }

    /// Announces a tensor whose bytes come later, through [`Stream`]. `shape` is slowest axis first.
    ///
    /// # Errors
    /// As [`Writer::tensor`].
    pub fn announce(&mut self, name: &str, shape: &[usize], dtype: DType) -> Result<&mut Self> {
        let ne: Vec<u64> = shape.iter().rev().map(|&n| n as u64).collect();
        self.add(name, &ne, dtype, None)
    }

    fn add(&mut self, name: &str, ne: &[u64], dtype: DType, data: Option<Buffer>) -> Result<&mut Self> {
        let field = || format!("tensor {}", quote(name));
        let fail = |message: String| Err(Error::malformed(field(), message));
        if name.is_empty() || name.len() as u64 > limits::NAME {
            return fail(format!("a name has 1 to {} bytes", limits::NAME));
        }
        if ne.len() > limits::DIMS as usize {
            return fail(format!("{} axes, but at most {} are allowed", ne.len(), limits::DIMS));
        }
        if dtype.info().ggml.is_none() {
            return fail(format!("GGUF has no type for {dtype}"));
        }
        let mut padded = [1; limits::DIMS as usize];
        padded[..ne.len()].copy_from_slice(ne);
        let bytes = byte_len(&padded, dtype).map_err(|e| e.within(&field()))?;
        if let Some(data) = &data
            && data.len() as u64 != bytes
        {
            return fail(format!("{} bytes were given, but the shape needs {bytes}", data.len()));
        }
        if self.tensors.len() as u64 == limits::TENSORS {
            return fail(format!("a file holds at most {} tensors", limits::TENSORS));
        }
        if !self.names.insert(name.into()) {
            return fail("the name appears twice".into());
        }
        self.tensors.push(Planned { name: name.into(), ne: ne.into(), dtype, bytes, data });
        Ok(self)
    }

    /// Writes the whole file. Every tensor must have been given with its bytes.
    ///
    /// # Errors
    /// Where metadata break the format's limits, bytes are missing, or `sink` fails.
    pub fn write_to<W: Write>(&self, sink: W) -> Result<W> {
        let mut stream = self.begin(sink)?;
        for tensor in &self.tensors {
            match &tensor.data {
                Some(data) => stream.write(data)?,
                None => {
                    let field = format!("tensor {}", quote(&tensor.name));
                    return Err(Error::malformed(field, "it was announced, but its bytes were not given"));
                }
            }
        }
        stream.finish()
    }

    /// Writes everything but the tensors' bytes.
    ///
    /// # Errors
    /// Where metadata break the format's limits, or `sink` fails.
    pub fn begin<W: Write>(&self, mut sink: W) -> Result<Stream<W>> {
        let alignment = self.alignment()?;
        let head = self.head(alignment)?;
        sink.write_all(&head).map_err(|e| Error::io("write", &e))?;
        Ok(Stream { sink, tensors: self.tensors.clone(), alignment, current: 0, written: 0 })
    }

    fn alignment(&self) -> Result<u64> {
        let Some(entry) = self.metadata.exact("general.alignment") else { return Ok(DEFAULT_ALIGNMENT) };
        match *entry.value() {
            Value::U32(n) if n.is_power_of_two() && u64::from(n) <= limits::ALIGNMENT => Ok(n.into()),
            _ => Err(entry.error(format!("a power of two up to {} as u32 is needed", limits::ALIGNMENT))),
        }
    }

    /// Header, metadata, descriptions, and the padding before the data.
    fn head(&self, alignment: u64) -> Result<Vec<u8>> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        if self.metadata.len() as u64 > limits::ENTRIES {
            return Err(Error::malformed(
                "metadata",
                format!("a file holds at most {} entries", limits::ENTRIES),
            ));
        }
        for entry in self.metadata.entries() {
            if entry.key().is_empty() || entry.key().len() as u64 > limits::KEY {
                return Err(entry.error(format!("a key has 1 to {} bytes", limits::KEY)));
            }
            check_value(entry.value()).map_err(|message| entry.error(message))?;
            put_string(&mut out, entry.key().as_bytes());
            out.extend((entry.value().value_type() as u32).to_le_bytes());
            put_value(&mut out, entry.value());
        }
        if out.len() as u64 > limits::METADATA {
            return Err(Error::malformed(
                "metadata",
                format!("they take more than {} bytes", limits::METADATA),
            ));
        }
        self.put_descriptions(&mut out, alignment)?;
        // Padding belongs to the data: a file without tensors ends here.
        if !self.tensors.is_empty() {
            out.resize(out.len().next_multiple_of(alignment as usize), 0);
        }
        Ok(out)
    }

    fn put_descriptions(&self, out: &mut Vec<u8>, alignment: u64) -> Result<()> {
        let overflow = || Error::malformed("data", "the tensors take more bytes than can be counted");
        let mut offset = 0u64;
        for tensor in &self.tensors {
            put_string(out, tensor.name.as_bytes());
            out.extend((tensor.ne.len() as u32).to_le_bytes());
            tensor.ne.iter().for_each(|n| out.extend(n.to_le_bytes()));
            out.extend(tensor.dtype.info().ggml.unwrap_or(u32::MAX).to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset =
                offset.checked_add(tensor.bytes).and_then(|n| round_up(n, alignment)).ok_or_else(overflow)?;
        }
        Ok(())
    }
}

impl<W: Write> Stream<W> {
    /// Appends bytes of the tensors, in the order in which they were announced. A call may end within a tensor but not
    /// reach into the next.
    ///
    /// # Errors
    /// Where there are more bytes than the tensor has, or the sink fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.skip_empty();
        if bytes.is_empty() {
            return Ok(());
        }
        let Some(tensor) = self.tensors.get(self.current) else {
            return Err(Error::malformed("data", "all tensors have their bytes already"));
        };
        let left = tensor.bytes - self.written;
        if bytes.len() as u64 > left {
            let field = format!("tensor {}", quote(&tensor.name));
            return Err(Error::malformed(
                field,
                format!("{} bytes were given, but {left} are left", bytes.len()),
            ));
        }
        let fail = |e: io::Error| Error::io("write", &e);
        self.sink.write_all(bytes).map_err(fail)?;
        self.written += bytes.len() as u64;
        if self.written == tensor.bytes {
            // The reader's limit on the alignment keeps this small.
            let padding = round_up(tensor.bytes, self.alignment).unwrap_or(tensor.bytes) - tensor.bytes;
            io::copy(&mut io::Read::take(io::repeat(0), padding), &mut self.sink).map_err(fail)?;
            (self.current, self.written) = (self.current + 1, 0);
        }
        Ok(())
    }

    /// Ends the file and gives the sink back, flushed.
    ///
    /// # Errors
    /// Where bytes are missing, or the sink fails.
    pub fn finish(mut self) -> Result<W> {
        self.skip_empty();
        if let Some(tensor) = self.tensors.get(self.current) {
            let field = format!("tensor {}", quote(&tensor.name));
            return Err(Error::malformed(
                field,
                format!("{} of its bytes are missing", tensor.bytes - self.written),
            ));
        }
        self.sink.flush().map_err(|e| Error::io("write", &e))?;
        Ok(self.sink)
    }

    fn skip_empty(&mut self) {
        while self.tensors.get(self.current).is_some_and(|t| t.bytes == 0) {
            self.current += 1;
        }
    }
}

/// Checks what only single values can break: the length of strings and the depth of arrays.
fn check_value(value: &Value) -> std::result::Result<(), String> {
    let long = |bytes: &[u8]| bytes.len() as u64 > limits::STRING;
    let lists = |array: &Array| array.strings().is_some_and(|strings| strings.iter().any(long));
    let nested = |array: &Array| array.arrays().is_some();
    let (deep, long) = match value {
        Value::String(bytes) => (false, long(bytes)),
        Value::Array(array) => {
            let inner = array.arrays().unwrap_or_default();
            (inner.iter().any(nested), lists(array) || inner.iter().any(lists))
        }
        _ => (false, false),
    };
    match (deep, long) {
        (true, _) => Err("arrays nest deeper than 2".into()),
        (_, true) => Err(format!("a string is longer than {} bytes", limits::STRING)),
        _ => Ok(()),
    }
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(v) => out.push(*v),
        Value::I8(v) => out.extend(v.to_le_bytes()),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::F32(v) => out.extend(v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
        Value::String(bytes) => put_string(out, bytes),
        Value::Array(array) => put_array(out, array),
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    out.extend((array.element() as u32).to_le_bytes());
    out.extend((array.len() as u64).to_le_bytes());
    if let Some(strings) = array.strings() {
        out.extend(strings.records());
    } else if let Some(arrays) = array.arrays() {
        arrays.iter().for_each(|inner| put_array(out, inner));
    } else {
        out.extend(array.bytes().unwrap_or_default());
    }
}
