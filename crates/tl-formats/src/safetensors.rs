//! safetensors, the container of Hugging Face: a JSON header and tensor bytes that are used where they lie.
//!
//! ```text
//! length u64 little-endian, at most 100,000,000
//! header {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …, "__metadata__": {"key": "text"}}
//! data   tensor bytes; offsets count from here
//! ```
//!
//! (<https://github.com/huggingface/safetensors>.) Shapes are slowest axis first.
//!
//! Invariant: tensors cover the data without overlap or hole and end where the file ends, so that no byte of the file has a
//! second meaning; and no tensor is made before all of that was checked.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use tl_tensor::{Buffer, DType, Tensor};

use crate::disk::{open_regular, read_range, view};
use crate::{Error, Result, escape};

/// The largest header, in bytes.
pub const LONGEST_HEADER: u64 = 100_000_000;

/// The most tensors, and the most entries of metadata.
const MOST_ENTRIES: usize = 65_536;
/// The most axes of a tensor.
const MOST_AXES: usize = 8;

/// The format's names of element types.
const DTYPES: [(&str, DType); 10] = [
    ("F64", DType::F64),
    ("F32", DType::F32),
    ("F16", DType::F16),
    ("BF16", DType::BF16),
    ("I64", DType::I64),
    ("I32", DType::I32),
    ("I16", DType::I16),
    ("I8", DType::I8),
    ("U8", DType::U8),
    ("BOOL", DType::Bool),
];

/// An open file. Its tensors are views into it, made when they are asked for.
#[derive(Debug)]
pub struct File {
    tensors: Vec<TensorInfo>,
    index: HashMap<String, usize>,
    metadata: Vec<(String, String)>,
    /// The bytes after the header.
    data: Buffer,
}

/// The description of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    name: String,
    shape: Vec<usize>,
    dtype: DType,
    range: Range<usize>,
}

impl TensorInfo {
    /// The name. Made by a stranger: never a path, and escaped before it is printed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sizes of the axes, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// How many bytes there are.
    pub fn byte_len(&self) -> usize {
        self.range.len()
    }
}

impl File {
    /// Opens the file at `path`, memory-mapped. Whoever maps a file must not shorten it meanwhile.
    ///
    /// # Errors
    /// What is wrong, with field and byte, where the file breaks the format or can't be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = open_regular(path)?;
        let bytes = Buffer::map_file(&file).map_err(|e| Error::io("map", &e).in_file(path))?;
        Self::from_buffer(bytes).map_err(|e| e.in_file(path))
    }

    /// Reads the file at `path` into memory.
    ///
    /// # Errors
    /// As [`File::open`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut file = open_regular(path)?;
        let mut read = || {
            let total = file.metadata().map_err(|e| Error::io("length", &e))?.len();
            let start = data_start(&read_range(&mut file, 0, total.min(8))?, total)?;
            let header = parse(&read_range(&mut file, 8, start - 8)?, total - start)?;
            let data = read_range(&mut file, start, total - start)?;
            Ok(header.over(data))
        };
        read().map_err(|e: Error| e.in_file(path))
    }

    /// Reads a file that is in memory.
    ///
    /// # Errors
    /// What is wrong, with field and byte.
    pub fn from_buffer(bytes: Buffer) -> Result<Self> {
        let total = bytes.len() as u64;
        let start = data_start(&bytes, total)?;
        // `start` is at most `total`, which is a `usize`.
        let header = parse(&bytes[8..start as usize], total - start)?;
        let data = bytes.slice(start as usize..bytes.len()).unwrap_or_default();
        Ok(header.over(data))
    }

    /// The tensors in the order of their bytes.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The texts of `__metadata__`.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// The description of the tensor of this name.
    pub fn find(&self, name: &str) -> Option<&TensorInfo> {
        self.index.get(name).map(|&i| &self.tensors[i])
    }

    /// The tensor of this name, a view of the file's bytes.
    ///
    /// # Errors
    /// Where there is no such tensor.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let info =
            self.find(name).ok_or_else(|| Error::malformed(field(name), "the file has no such tensor"))?;
        let bytes = self.data.slice(info.range.clone()).unwrap_or_default();
        view(info.dtype, info.shape.clone(), bytes).map_err(|e| e.within(&field(name)))
    }
}

/// Writes tensors and `metadata`. Wide types come first, so that every tensor is aligned; the order is kept otherwise.
///
/// # Errors
/// Where two names are the same, a type is not of the format, or `sink` fails.
pub fn write<W: Write>(tensors: &[(&str, &Tensor)], metadata: &[(&str, &str)], mut sink: W) -> Result<W> {
    let mut order: Vec<(&str, Cow<Tensor>)> = tensors.iter().map(|&(name, t)| (name, whole(t))).collect();
    order.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype().bytes()));
    let header = header(&order, metadata)?;
    let fail = |e: std::io::Error| Error::io("write", &e);
    sink.write_all(&(header.len() as u64).to_le_bytes()).map_err(fail)?;
    sink.write_all(&header).map_err(fail)?;
    for (_, tensor) in &order {
        sink.write_all(tensor.data()).map_err(fail)?;
    }
    sink.flush().map_err(fail)?;
    Ok(sink)
}

fn whole(tensor: &Tensor) -> Cow<'_, Tensor> {
    if tensor.is_contiguous() { Cow::Borrowed(tensor) } else { Cow::Owned(tensor.contiguous()) }
}

/// The JSON header, padded with blanks to a multiple of 8.
fn header(tensors: &[(&str, Cow<Tensor>)], metadata: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut names = HashSet::new();
    let mut map = serde_json::Map::new();
    if !metadata.is_empty() {
        let texts = metadata.iter().map(|(key, text)| (key.to_string(), (*text).into())).collect();
        map.insert(METADATA.into(), serde_json::Value::Object(texts));
    }
    let mut end = 0;
    for (name, tensor) in tensors {
        let fail = |message: &str| Err(Error::malformed(field(name), message));
        let Some((dtype, _)) = DTYPES.iter().find(|(_, t)| *t == tensor.dtype()) else {
            return fail(&format!("safetensors has no type for {}", tensor.dtype()));
        };
        if !names.insert(*name) || *name == METADATA {
            return fail("the name is taken");
        }
        let start = end;
        end += tensor.data().len();
        let entry =
            serde_json::json!({"dtype": dtype, "shape": tensor.shape(), "data_offsets": [start, end]});
        map.insert(name.to_string(), entry);
    }
    let mut header = serde_json::Value::Object(map).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() as u64 > LONGEST_HEADER {
        return Err(Error::malformed("header", format!("it would be longer than {LONGEST_HEADER} bytes")));
    }
    Ok(header)
}

/// The name that is not a tensor's.
const METADATA: &str = "__metadata__";

/// Where the data begin, in a file of `total` bytes that begins with `head`.
fn data_start(head: &[u8], total: u64) -> Result<u64> {
    let Some(length) = head.first_chunk() else {
        let message =
            if total == 0 { "the file is empty" } else { "the file is truncated: 8 bytes are needed" };
        return Err(Error::malformed("header length", message).at(0));
    };
    let length = u64::from_le_bytes(*length);
    let message = match length {
        0..2 => format!("{length} bytes are too few for a header"),
        _ if length > LONGEST_HEADER => format!("{length} bytes, but at most {LONGEST_HEADER} are allowed"),
        _ if length > total - 8 => format!("{length} bytes, but only {} are left", total - 8),
        _ => return Ok(8 + length),
    };
    Err(Error::malformed("header length", message).at(0))
}

/// What a header says, not yet checked.
#[derive(Default)]
struct Raw {
    tensors: Vec<(String, Entry)>,
    metadata: Option<Texts>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Shape,
    data_offsets: [u64; 2],
}

#[derive(Default)]
struct Shape(Vec<u64>);

#[derive(Default)]
struct Texts(Vec<(String, String)>);

/// A checked header.
struct Header {
    tensors: Vec<TensorInfo>,
    metadata: Vec<(String, String)>,
}

impl Header {
    fn over(self, data: Buffer) -> File {
        let index = self.tensors.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
        File { tensors: self.tensors, index, metadata: self.metadata, data }
    }
}

/// The header in `json`, checked against the `left` bytes of data behind it.
fn parse(json: &[u8], left: u64) -> Result<Header> {
    let fail = |message: String, at: usize| Err(Error::malformed("header", message).at(8 + at as u64));
    let text = match std::str::from_utf8(json) {
        Ok(text) => text,
        Err(e) => return fail("it is not UTF-8".into(), e.valid_up_to()),
    };
    if !text.starts_with('{') {
        return fail("it must begin with \"{\"".into(), 0);
    }
    let raw: Raw = match serde_json::from_str(text) {
        Ok(raw) => raw,
        Err(e) => return fail(escape(&e.to_string()), byte_of(text, &e)),
    };
    let mut tensors = raw.tensors.into_iter().map(tensor_info).collect::<Result<Vec<_>>>()?;
    tensors.sort_by_key(|t| (t.range.start, t.range.end));
    let start = 8 + json.len() as u64;
    let mut end = 0;
    for tensor in &tensors {
        if tensor.range.start != end {
            let what = if tensor.range.start < end { "overlap those before" } else { "leave a hole" };
            let message =
                format!("its bytes {what}: they begin at {} of the data, not {end}", tensor.range.start);
            return Err(Error::malformed(field(&tensor.name), message).at(start + tensor.range.start as u64));
        }
        end = tensor.range.end;
    }
    if end as u64 != left {
        let message = format!("the tensors take {end} bytes, but {left} follow the header");
        return Err(Error::malformed("data", message).at(start));
    }
    Ok(Header { tensors, metadata: raw.metadata.unwrap_or_default().0 })
}

/// One description, with the number of its bytes checked.
fn tensor_info((name, entry): (String, Entry)) -> Result<TensorInfo> {
    let fail = |message: String| Error::malformed(field(&name), message).at(8);
    let Some((_, dtype)) = DTYPES.iter().find(|(text, _)| *text == entry.dtype) else {
        let message = format!("the type {} is not known to this version", escape(&entry.dtype));
        return Err(Error::unsupported(field(&name), message).at(8));
    };
    let overflow = || fail(format!("the shape {:?} overflows", entry.shape.0));
    let shape: Vec<usize> =
        entry.shape.0.iter().map(|&n| n.try_into().ok()).collect::<Option<_>>().ok_or_else(overflow)?;
    // An empty axis must not hide an overflow of the others.
    let size = shape.iter().filter(|&&n| n > 0).try_fold(dtype.bytes(), |product, &n| product.checked_mul(n));
    let size = size.filter(|&n| isize::try_from(n).is_ok()).ok_or_else(overflow)?;
    let bytes = if shape.contains(&0) { 0 } else { size };
    let [start, end] = entry.data_offsets;
    if end.checked_sub(start) != Some(bytes as u64) {
        return Err(fail(format!("the bytes {start} to {end} are not the {bytes} that the shape needs")));
    }
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let (start, end) = range.ok_or_else(|| fail(format!("the bytes {start} to {end} are out of range")))?;
    Ok(TensorInfo { name, shape, dtype: *dtype, range: start..end })
}

fn field(name: &str) -> String {
    format!("tensor \"{}\"", escape(name))
}

/// The byte of the text where a JSON error is, which counts lines and columns from 1.
fn byte_of(text: &str, error: &serde_json::Error) -> usize {
    let line = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    (line + error.column().saturating_sub(1)).min(text.len())
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Raw, A::Error> {
                let (mut raw, mut names) = (Raw::default(), HashSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format!("the name {name:?} appears twice")));
                    }
                    if names.len() > MOST_ENTRIES {
                        return Err(A::Error::custom(format!("more than {MOST_ENTRIES} tensors")));
                    }
                    match name.as_str() {
                        METADATA => raw.metadata = Some(map.next_value()?),
                        _ => raw.tensors.push((name, map.next_value()?)),
                    }
                }
                Ok(raw)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Texts, A::Error> {
                let (mut texts, mut keys) = (Texts::default(), HashSet::new());
                while let Some((key, text)) = map.next_entry::<String, String>()? {
                    if !keys.insert(key.clone()) || keys.len() > MOST_ENTRIES {
                        return Err(A::Error::custom(format!("the key {key:?} is one too many")));
                    }
                    texts.0.push((key, text));
                }
                Ok(texts)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Axes;
        impl<'de> Visitor<'de> for Axes {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "a list of at most {MOST_AXES} sizes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Shape, A::Error> {
                let mut shape = Shape::default();
                while let Some(size) = seq.next_element()? {
                    if shape.0.len() == MOST_AXES {
                        return Err(A::Error::custom(format!("more than {MOST_AXES} axes")));
                    }
                    shape.0.push(size);
                }
                Ok(shape)
            }
        }
        deserializer.deserialize_seq(Axes)
    }
}
