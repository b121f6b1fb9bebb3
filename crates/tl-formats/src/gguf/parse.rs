//! From bytes to a checked description of one file: header, metadata, tensors.
//!
//! Everything is validated in the order of the file, so that the first wrong field is the one that is named.

use std::collections::HashSet;

use tl_tensor::Buffer;

use super::cursor::{Cursor, Read, Stop};
use super::layout::{TensorInfo, place, read_info, round_up};
use super::metadata::Metadata;
use super::value::{Array, Strings, Value, ValueType, quote};
use super::warnings::Warnings;
use super::{DEFAULT_ALIGNMENT, limits, sniff};
use crate::{Error, Result, Warning, acts_on_terminal, escape_bytes};

/// A file's description, checked against its length.
#[derive(Debug)]
pub(super) struct Description {
    pub version: u32,
    pub alignment: u64,
    pub metadata: Metadata,
    pub tensors: Vec<TensorInfo>,
    pub warnings: Vec<Warning>,
    /// Where the tensors' bytes begin.
    pub data_start: u64,
    /// Where the last tensor's bytes end.
    pub data_end: u64,
}

/// The smallest metadata entry: an empty key, its type, one byte.
const SMALLEST_ENTRY: u64 = 8 + 4 + 1;
/// The smallest tensor description: an empty name, no dimensions, type and offset.
const SMALLEST_INFO: u64 = 8 + 4 + 4 + 8;

/// Describes the file of `total` bytes that begins with `bytes`.
pub(super) fn describe(bytes: &Buffer, total: u64) -> Read<Description> {
    let mut parser = Parser {
        buffer: bytes,
        cursor: Cursor::new(bytes, total),
        warnings: Warnings::default(),
        key_bytes: 0,
        strings_left: limits::STRINGS,
        arrays_left: limits::NESTED_ARRAYS,
    };
    let (version, tensor_count, entry_count) = parser.header(bytes, total)?;
    let metadata = parser.metadata(entry_count)?;
    let alignment = alignment(&metadata)?;
    let mut tensors = parser.tensors(tensor_count)?;
    let end = parser.cursor.at();
    // A file without tensor bytes may end at its descriptions, without padding.
    let data_start = round_up(end, alignment).unwrap_or(total);
    let mut warnings = parser.warnings;
    let data_end = place(&mut tensors, data_start, alignment, total, &mut warnings)?;
    Ok(Description {
        version,
        alignment,
        metadata,
        tensors,
        warnings: warnings.finish(),
        data_start,
        data_end,
    })
}

/// A position in the file, and what the file has used of its limits.
struct Parser<'a> {
    buffer: &'a Buffer,
    cursor: Cursor<'a>,
    warnings: Warnings,
    key_bytes: u64,
    strings_left: u64,
    arrays_left: u64,
}

impl Parser<'_> {
    /// Magic, version, and the counts of tensors and entries.
    fn header(&mut self, bytes: &[u8], total: u64) -> Read<(u32, usize, usize)> {
        if total == 0 {
            return Err(Error::malformed("", "the file is empty").at(0).into());
        }
        let head = &bytes[..bytes.len().min(4)];
        if !b"GGUF".starts_with(head) {
            return Err(sniff::not_gguf(bytes).into());
        }
        self.read_header().map_err(|stop| stop.within(|| "header".into()))
    }

    fn read_header(&mut self) -> Read<(u32, usize, usize)> {
        let cursor = &mut self.cursor;
        cursor.skip(4, "magic")?;
        let version_at = cursor.at();
        let version = cursor.u32("version")?;
        check_version(version).map_err(|e| e.at(version_at))?;
        let tensors_at = cursor.at();
        let tensors = cursor.u64("number of tensors")?;
        let entries_at = cursor.at();
        let entries = cursor.u64("number of metadata entries")?;
        let tensors =
            cursor.check_count(tensors, SMALLEST_INFO, limits::TENSORS, tensors_at, "number of tensors")?;
        let entries = cursor.check_count(
            entries,
            SMALLEST_ENTRY,
            limits::ENTRIES,
            entries_at,
            "number of metadata entries",
        )?;
        Ok((version, tensors, entries))
    }

    fn metadata(&mut self, count: usize) -> Read<Metadata> {
        let mut metadata = Metadata::new();
        for i in 0..count {
            let start = self.cursor.at();
            let key = self.key().map_err(|stop| stop.within(|| format!("metadata entry {i}")))?;
            if metadata.exact(&key).is_some() {
                return Err(Error::malformed(format!("key {}", quote(&key)), "it appears twice")
                    .at(start)
                    .into());
            }
            let (value, at) =
                self.typed_value(&key).map_err(|stop| stop.within(|| format!("key {}", quote(&key))))?;
            check_size(self.cursor.at(), start)?;
            metadata.push(&key, value, Some(at));
        }
        Ok(metadata)
    }

    fn key(&mut self) -> Read<String> {
        let start = self.cursor.at();
        let key = self.cursor.name(limits::KEY, "key")?;
        self.key_bytes += key.len() as u64;
        if self.key_bytes > limits::KEYS {
            let message = format!("the keys take more than {} bytes together", limits::KEYS);
            return Err(Error::malformed("key", message).at(start).into());
        }
        if key.chars().any(acts_on_terminal) {
            let field = || format!("key {}", quote(key));
            self.warnings.push(start, field, "the key holds control or invisible characters");
        }
        Ok(key.to_string())
    }

    /// A value behind its type, and where it begins.
    fn typed_value(&mut self, key: &str) -> Read<(Value, u64)> {
        let kind = self.value_type("type")?;
        let at = self.cursor.at();
        let value = self.value(kind)?;
        if let Value::String(bytes) = &value
            && let Err(e) = std::str::from_utf8(bytes)
        {
            self.not_utf8(key, bytes, at + 8 + e.valid_up_to() as u64)?;
        }
        Ok((value, at))
    }

    /// Text that this project reads must be UTF-8; other strings are kept as they are.
    fn not_utf8(&mut self, key: &str, bytes: &[u8], offset: u64) -> Read<()> {
        let message = format!("\"{}\" is not UTF-8", escape_bytes(bytes));
        if ["general.", "tokenizer.", "split."].iter().any(|section| key.starts_with(section)) {
            return Err(Error::malformed("value", message).at(offset).into());
        }
        self.warnings.push(offset, || format!("key {}", quote(key)), message);
        Ok(())
    }

    fn value_type(&mut self, what: &str) -> Read<ValueType> {
        let at = self.cursor.at();
        let number = self.cursor.u32(what)?;
        ValueType::from_number(number).ok_or_else(|| {
            Error::malformed(what, format!("{number} is not a value type; the types are 0 to 12"))
                .at(at)
                .into()
        })
    }

    /// A value of the given type. One arm a type.
    fn value(&mut self, kind: ValueType) -> Read<Value> {
        let at = self.cursor.at();
        let cursor = &mut self.cursor;
        // The casts keep all bits of the format's signed and floating-point numbers.
        Ok(match kind {
            ValueType::U8 => Value::U8(cursor.u8("value")?),
            ValueType::I8 => Value::I8(cursor.u8("value")? as i8),
            ValueType::U16 => Value::U16(cursor.u16("value")?),
            ValueType::I16 => Value::I16(cursor.u16("value")? as i16),
            ValueType::U32 => Value::U32(cursor.u32("value")?),
            ValueType::I32 => Value::I32(cursor.u32("value")? as i32),
            ValueType::F32 => Value::F32(f32::from_bits(cursor.u32("value")?)),
            ValueType::U64 => Value::U64(cursor.u64("value")?),
            ValueType::I64 => Value::I64(cursor.u64("value")? as i64),
            ValueType::F64 => Value::F64(f64::from_bits(cursor.u64("value")?)),
            ValueType::Bool => match cursor.u8("value")? {
                bit @ 0..=1 => Value::Bool(bit == 1),
                byte => return Err(not_a_bool(byte, at).into()),
            },
            ValueType::String => Value::String(cursor.string(limits::STRING, "string")?.to_vec()),
            ValueType::Array => Value::Array(self.array(1)?),
        })
    }

    /// An array whose elements' type and count follow.
    fn array(&mut self, depth: u32) -> Read<Array> {
        let at = self.cursor.at();
        if depth > 2 {
            return Err(Error::malformed("array", "arrays nest deeper than 2").at(at).into());
        }
        let element = self.value_type("element type")?;
        let count_at = self.cursor.at();
        let count = self.cursor.u64("array length")?;
        match element {
            ValueType::String => self.strings(count, count_at).map(Array::from),
            ValueType::Array => self.arrays(count, count_at, depth),
            _ => self.numbers(element, count, count_at),
        }
    }

    fn numbers(&mut self, element: ValueType, count: u64, count_at: u64) -> Read<Array> {
        let size = element.size().unwrap_or(1);
        let count = self.cursor.check_count(count, size, limits::ARRAY, count_at, "array length")? as u64;
        let start = self.cursor.at();
        // Checked above: `count × size` bytes are left.
        check_size(start + count * size, count_at)?;
        let range = self.cursor.skip(count * size, "array")?;
        let bytes = self.buffer.slice(range).unwrap_or_default();
        if element == ValueType::Bool
            && let Some(i) = bytes.iter().position(|&b| b > 1)
        {
            return Err(not_a_bool(bytes[i], start + i as u64).into());
        }
        Array::from_bytes(element, bytes).ok_or_else(|| {
            Error::malformed("array", "the bytes changed while they were read").at(start).into()
        })
    }

    fn strings(&mut self, count: u64, count_at: u64) -> Read<Strings> {
        let count = self.cursor.check_count(count, 8, self.strings_left, count_at, "array length")?;
        self.strings_left -= count as u64;
        let start = self.cursor.at();
        let mut starts = Vec::with_capacity(count + 1);
        starts.push(0);
        for i in 0..count {
            let at = self.cursor.at();
            if !self.cursor.skip_string(limits::STRING) {
                self.cursor
                    .string(limits::STRING, "string")
                    .map_err(|stop| stop.within(|| format!("array element {i}")))?;
            }
            check_size(self.cursor.at(), at)?;
            // At most `limits::METADATA`, which fits.
            starts.push((self.cursor.at() - start) as u32);
        }
        let data = self.buffer.slice(start as usize..self.cursor.at() as usize).unwrap_or_default();
        Strings::from_records(data, starts).ok_or_else(|| {
            Error::malformed("array", "the bytes changed while they were read").at(start).into()
        })
    }

    fn arrays(&mut self, count: u64, count_at: u64, depth: u32) -> Read<Array> {
        // An element type and a length are the smallest array.
        let count = self.cursor.check_count(count, 4 + 8, self.arrays_left, count_at, "array length")?;
        self.arrays_left -= count as u64;
        let arrays = (0..count)
            .map(|i| self.array(depth + 1).map_err(|stop| stop.within(|| format!("array element {i}"))))
            .collect::<Read<_>>()?;
        Ok(Array::from_arrays(arrays))
    }

    fn tensors(&mut self, count: usize) -> Read<Vec<TensorInfo>> {
        // The counts were checked one by one against what was left of the file then.
        let at = self.cursor.at();
        self.cursor.check_count(count as u64, SMALLEST_INFO, limits::TENSORS, at, "tensor descriptions")?;
        let mut tensors = Vec::with_capacity(count);
        let mut names = HashSet::with_capacity(count);
        for i in 0..count {
            let start = self.cursor.at();
            let info = read_info(&mut self.cursor, &mut self.warnings)
                .map_err(|stop| stop.within(|| format!("tensor description {i}")))?;
            if !names.insert(info.name.clone()) {
                let field = format!("tensor {}", quote(&info.name));
                return Err(Error::malformed(field, "the name appears twice").at(start).into());
            }
            tensors.push(info);
        }
        Ok(tensors)
    }
}

/// Checks that metadata up to byte `end`, of which the last field began `at`, are no more than anyone needs.
fn check_size(end: u64, at: u64) -> Result<()> {
    if end <= limits::METADATA {
        return Ok(());
    }
    Err(Error::malformed("metadata", format!("they take more than {} bytes", limits::METADATA)).at(at))
}

fn check_version(version: u32) -> Result<()> {
    match version {
        2 | 3 => Ok(()),
        0 => Err(Error::malformed("version", "0 is not a version")),
        1 => {
            Err(Error::unsupported("version", "version 1 is not read")
                .hint("convert the model to GGUF again"))
        }
        // The low bytes of a small number are zero only where it was written the other way round.
        _ if version & 0xffff == 0 => {
            let message = format!("the file is big-endian (version {})", version.swap_bytes());
            Err(Error::unsupported("version", message).hint("convert the model to little-endian GGUF"))
        }
        _ => Err(Error::unsupported(
            "version",
            format!("{version} is newer than the supported versions, 2 and 3"),
        )),
    }
}

/// `general.alignment`, which places every tensor and so must be right beyond doubt.
fn alignment(metadata: &Metadata) -> Result<u64> {
    let Some(entry) = metadata.exact("general.alignment") else { return Ok(DEFAULT_ALIGNMENT) };
    let Value::U32(alignment) = *entry.value() else {
        return Err(entry.error(format!("wanted u32, found {}", entry.value().describe())));
    };
    let alignment = u64::from(alignment);
    if !alignment.is_power_of_two() {
        return Err(entry.error(format!("{alignment} is not a power of two")));
    }
    if alignment > limits::ALIGNMENT {
        return Err(entry.error(format!("{alignment} is above the largest alignment, {}", limits::ALIGNMENT)));
    }
    Ok(alignment)
}

#[cold]
fn not_a_bool(byte: u8, at: u64) -> Error {
    Error::malformed("bool", format!("the byte {byte} is neither 0 nor 1")).at(at)
}

impl Description {
    /// Describes a file that is wholly in memory.
    pub fn of(bytes: &Buffer) -> Result<Self> {
        let total = bytes.len() as u64;
        describe(bytes, total).map_err(|stop| match stop {
            Stop::Bad(error) => error,
            // The prefix is the file, so what is beyond it is beyond the file.
            Stop::Short(needed) => {
                Error::malformed("file", format!("{needed} bytes are needed, {total} are there"))
            }
        })
    }
}
