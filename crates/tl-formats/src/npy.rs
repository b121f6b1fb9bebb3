//! NPY, NumPy's file of one array.
//!
//! ```text
//! \x93NUMPY, version u8 u8, length of the header u16 (version 1) or u32 (2 and 3), little-endian
//! header {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, padded with blanks
//! the elements, as many as the shape says and no more
//! ```
//!
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.) The header is the text of a Python dict; three keys
//! with plain values are read, and nothing is evaluated.
//!
//! Invariant: the header's word about the size is held against the bytes that there are before anything is allocated.

use tl_tensor::{Buffer, DType, Tensor};

use crate::disk::view;
use crate::{Error, Result, escape, escape_bytes};

/// The longest header, in bytes.
const LONGEST_HEADER: usize = 1 << 20;
/// The most axes of an array.
const MOST_AXES: usize = 32;
const MAGIC: &[u8] = b"\x93NUMPY";

/// Element types of NumPy that are ours, without the byte order.
const DTYPES: [(&str, DType); 9] = [
    ("f4", DType::F32),
    ("f8", DType::F64),
    ("f2", DType::F16),
    ("i1", DType::I8),
    ("i2", DType::I16),
    ("i4", DType::I32),
    ("i8", DType::I64),
    ("u1", DType::U8),
    ("b1", DType::Bool),
];

/// What a header says.
struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

/// An element type of the file.
struct Elements {
    dtype: DType,
    /// Bytes of an element in the file.
    width: usize,
    big_endian: bool,
    /// Whether the file's are unsigned and half as wide as ours.
    widen: bool,
}

/// Reads an array; its shape is slowest axis first, whichever order the file has.
///
/// # Errors
/// What is wrong, with field and byte. Arrays of objects are refused: reading one would run a program.
pub fn read(bytes: &Buffer) -> Result<Tensor> {
    let (begin, start) = header_range(bytes)?;
    let header = parse(&bytes[begin..start], begin as u64)?;
    let elements = element_type(&header.descr)?;
    let overflow = || Error::malformed("shape", format!("the shape {:?} overflows", header.shape));
    let count = header.shape.iter().filter(|&&n| n > 0).try_fold(1usize, |p, &n| p.checked_mul(n));
    let count = count
        .filter(|n| n.checked_mul(8).is_some_and(|b| isize::try_from(b).is_ok()))
        .ok_or_else(overflow)?;
    let count = if header.shape.contains(&0) { 0 } else { count };
    let (needed, left) = (count * elements.width, bytes.len() - start);
    if needed != left {
        let message = format!("the shape needs {needed} bytes, but {left} follow the header");
        return Err(Error::malformed("data", message).at(start as u64));
    }
    let data = bytes.slice(start..bytes.len()).unwrap_or_default();
    let data = elements.ours(data)?;
    if !header.fortran {
        return view(elements.dtype, header.shape, data);
    }
    let reversed: Vec<usize> = header.shape.iter().rev().copied().collect();
    let axes: Vec<usize> = (0..reversed.len()).rev().collect();
    let tensor = view(elements.dtype, reversed, data)?;
    let seen = tensor.permute(&axes).map_err(|e| Error::malformed("shape", e.to_string()))?;
    Ok(seen.contiguous())
}

/// Writes a tensor. A type that NumPy has not (a quantized one, `BF16`) is written as 32-bit floating point.
pub fn write(tensor: &Tensor) -> Vec<u8> {
    let known = DTYPES.iter().find(|(_, dtype)| *dtype == tensor.dtype());
    let tensor = match known {
        Some(_) => tensor.contiguous(),
        None => Tensor::from_f32(tensor.shape(), &tensor.to_f32()),
    };
    let name = known.map_or("f4", |(name, _)| name);
    let order = if name.ends_with('1') { '|' } else { '<' };
    let sizes: String = tensor.shape().iter().map(|n| format!("{n}, ")).collect();
    // One size has a comma after it, several have none at the end.
    let sizes = if tensor.rank() > 1 { sizes.trim_end_matches(", ") } else { sizes.trim_end() };
    let mut header = format!("{{'descr': '{order}{name}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.extend(std::iter::repeat_n(' ', length - 1 - header.len()));
    header.push('\n');
    let mut out = Vec::with_capacity(10 + length + tensor.data().len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[1, 0]);
    out.extend_from_slice(&(length as u16).to_le_bytes());
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(tensor.data());
    out
}

/// Where the header begins and where it ends.
fn header_range(bytes: &[u8]) -> Result<(usize, usize)> {
    if !bytes.starts_with(MAGIC) {
        let found = escape_bytes(&bytes[..bytes.len().min(6)]);
        return Err(
            Error::malformed("magic", format!("this is no NPY file: it begins with \"{found}\"")).at(0)
        );
    }
    let truncated = || Error::malformed("header", "the file ends in it").at(bytes.len() as u64);
    let (start, length) = match bytes.get(6) {
        Some(1) => {
            let field: [u8; 2] = bytes.get(8..10).and_then(|b| b.try_into().ok()).ok_or_else(truncated)?;
            (10, u32::from(u16::from_le_bytes(field)))
        }
        Some(2 | 3) => {
            let field: [u8; 4] = bytes.get(8..12).and_then(|b| b.try_into().ok()).ok_or_else(truncated)?;
            (12, u32::from_le_bytes(field))
        }
        Some(other) => return Err(Error::unsupported("version", format!("{other} is not known")).at(6)),
        None => return Err(truncated()),
    };
    let length = length as usize;
    if length > LONGEST_HEADER {
        return Err(Error::malformed("header, length", format!("{length} bytes are too many")).at(8));
    }
    match start + length <= bytes.len() {
        true => Ok((start, start + length)),
        false => Err(truncated()),
    }
}

/// Reads the dict of a header, which begins at byte `at`.
fn parse(text: &[u8], at: u64) -> Result<Header> {
    let mut reader = Dict { text, at: 0 };
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    let fail = |reader: &Dict<'_>, wanted: &str| {
        Err(Error::malformed("header", format!("{wanted} is expected")).at(at + reader.at as u64))
    };
    if !reader.eat(b'{') {
        return fail(&reader, "a dict");
    }
    while !reader.eat(b'}') {
        let Some(key) = reader.string() else { return fail(&reader, "a key") };
        if !reader.eat(b':') {
            return fail(&reader, "`:`");
        }
        let known = match key {
            b"descr" => match reader.string() {
                Some(text) => descr.replace(String::from_utf8_lossy(text).into_owned()).is_none(),
                None if reader.peek() == Some(b'[') => {
                    return Err(Error::unsupported("descr", "arrays of records are not supported")
                        .at(at)
                        .hint("save each field as an array of its own"));
                }
                None => return fail(&reader, "a text"),
            },
            b"fortran_order" => match reader.word() {
                b"True" => fortran.replace(true).is_none(),
                b"False" => fortran.replace(false).is_none(),
                _ => return fail(&reader, "`True` or `False`"),
            },
            b"shape" => match reader.tuple() {
                Some(sizes) => shape.replace(sizes).is_none(),
                None => return fail(&reader, "a tuple of sizes"),
            },
            other => {
                let message = format!("there is no key `{}`", escape_bytes(other));
                return Err(Error::malformed("header", message).at(at + reader.at as u64));
            }
        };
        if !known {
            return Err(Error::malformed("header", "a key appears twice").at(at + reader.at as u64));
        }
        if !reader.eat(b',') && reader.peek() != Some(b'}') {
            return fail(&reader, "`,` or `}`");
        }
    }
    match (descr, fortran, shape) {
        (Some(descr), Some(fortran), Some(shape)) => Ok(Header { descr, fortran, shape }),
        _ => Err(Error::malformed("header", "it needs `descr`, `fortran_order` and `shape`").at(at)),
    }
}

/// A reader of the few things of Python that a header holds.
struct Dict<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Dict<'a> {
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let quote = self.peek().filter(|b| matches!(b, b'\'' | b'"'))?;
        let rest = &self.text[self.at + 1..];
        let length = rest.iter().position(|&b| b == quote)?;
        self.at += length + 2;
        Some(&rest[..length])
    }

    fn word(&mut self) -> &'a [u8] {
        self.peek();
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
        self.at += length;
        &rest[..length]
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        let mut sizes = Vec::new();
        if !self.eat(b'(') {
            return None;
        }
        while !self.eat(b')') {
            let digits = std::str::from_utf8(self.word()).ok()?;
            // Python 2 wrote long integers with an `L`.
            sizes.push(digits.trim_end_matches('L').parse().ok()?);
            if sizes.len() > MOST_AXES || (!self.eat(b',') && self.peek() != Some(b')')) {
                return None;
            }
        }
        Some(sizes)
    }
}

fn element_type(descr: &str) -> Result<Elements> {
    let (order, name) = descr.split_at(descr.chars().next().map_or(0, char::len_utf8));
    let big_endian = match order {
        "<" | "|" | "=" => false,
        ">" => true,
        _ => return Err(unknown_type(descr)),
    };
    if let Some(&(_, dtype)) = DTYPES.iter().find(|(known, _)| *known == name) {
        return Ok(Elements { dtype, width: dtype.bytes(), big_endian, widen: false });
    }
    match name {
        "u2" => Ok(Elements { dtype: DType::I32, width: 2, big_endian, widen: true }),
        "u4" => Ok(Elements { dtype: DType::I64, width: 4, big_endian, widen: true }),
        _ => Err(unknown_type(descr)),
    }
}

#[cold]
fn unknown_type(descr: &str) -> Error {
    let error = Error::unsupported("descr", format!("the element type `{}` is not supported", escape(descr)));
    match descr.contains('O') {
        true => error.hint("an array of objects is a program; save numbers: `a.astype(float)`"),
        false => error.hint("save it as another type, for instance `a.astype('float32')`"),
    }
}

impl Elements {
    /// The bytes of the elements as our type has them.
    fn ours(&self, data: Buffer) -> Result<Buffer> {
        if !self.big_endian && !self.widen {
            return Ok(data);
        }
        let ours = self.dtype.bytes();
        let length = data.len() / self.width * ours;
        Buffer::build(length, |out| {
            for (to, from) in out.chunks_exact_mut(ours).zip(data.chunks_exact(self.width)) {
                to.fill(0);
                to[..self.width].copy_from_slice(from);
                if self.big_endian {
                    to[..self.width].reverse();
                }
            }
            Ok(())
        })
        .map_err(|e| Error::io("memory", &e))
    }
}
