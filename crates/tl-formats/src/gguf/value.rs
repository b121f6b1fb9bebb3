//! Metadata values: the thirteen types of the format.
//!
//! Arrays stay in the bytes that they were read from. An array of numbers is a slice of the file; an array of strings is
//! a slice and one `u32` a string, so that a vocabulary of 49152 tokens is one allocation.

use std::fmt;

use tl_tensor::Buffer;

use super::limits;
use crate::{escape, escape_bytes};

/// The type of a metadata value, as the format numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[expect(missing_docs, reason = "each is the type of its name")]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

/// A metadata value. Strings are bytes: a token of a vocabulary may be half a character.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each holds the type of its name")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(Vec<u8>),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array of values of one type.
#[derive(Clone)]
pub struct Array {
    element: ValueType,
    items: Items,
}

#[derive(Clone)]
enum Items {
    /// Little-endian numbers, or bools of one byte.
    Fixed(Buffer),
    Strings(Strings),
    Arrays(Vec<Array>),
}

/// A list of byte strings, stored as the format stores them: a length of 8 bytes before each.
#[derive(Clone)]
pub struct Strings {
    data: Buffer,
    /// Where each record begins, and where the last one ends.
    starts: Vec<u32>,
}

impl ValueType {
    /// The type with this number in a file.
    pub fn from_number(number: u32) -> Option<Self> {
        use ValueType::*;
        const ALL: [ValueType; 13] = [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64];
        ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// How many bytes a value takes; `None` for strings and arrays, which say so themselves.
    pub fn size(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::String | Self::Array => None,
        }
    }

    /// The name in messages: `u32`, `string`.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }
}

impl Value {
    /// The type of this value.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::String(_) => ValueType::String,
            Self::Array(_) => ValueType::Array,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }

    /// The value of any integer type.
    pub fn integer(&self) -> Option<i128> {
        Some(match *self {
            Self::U8(v) => v.into(),
            Self::I8(v) => v.into(),
            Self::U16(v) => v.into(),
            Self::I16(v) => v.into(),
            Self::U32(v) => v.into(),
            Self::I32(v) => v.into(),
            Self::U64(v) => v.into(),
            Self::I64(v) => v.into(),
            _ => return None,
        })
    }

    /// The value of either float type.
    pub fn float(&self) -> Option<f64> {
        match *self {
            Self::F32(v) => Some(v.into()),
            Self::F64(v) => Some(v),
            _ => None,
        }
    }

    /// The array.
    pub fn array(&self) -> Option<&Array> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }

    /// Type and value in a few words, for messages: `u32 7`, `string "x"`, `array of 3 i32`.
    pub fn describe(&self) -> String {
        match self {
            Self::Array(array) => format!("array of {} {}", array.len(), array.element.name()),
            other => format!("{} {other}", other.value_type().name()),
        }
    }
}

impl Array {
    /// An array of numbers or bools in little-endian bytes; `None` where the bytes don't divide by the element's size.
    pub fn from_bytes(element: ValueType, bytes: Buffer) -> Option<Self> {
        let size = element.size()? as usize;
        let whole = bytes.len().is_multiple_of(size);
        let bools = element != ValueType::Bool || bytes.iter().all(|&b| b < 2);
        (whole && bools).then_some(Self { element, items: Items::Fixed(bytes) })
    }

    /// An array of arrays.
    pub fn from_arrays(arrays: Vec<Array>) -> Self {
        Self { element: ValueType::Array, items: Items::Arrays(arrays) }
    }

    /// An array of strings.
    pub fn from_strings<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Self {
        Strings::collect(strings).into()
    }

    /// The type of the elements.
    pub fn element(&self) -> ValueType {
        self.element
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match &self.items {
            // Only types with a size have fixed items.
            Items::Fixed(bytes) => bytes.len() / self.element.size().unwrap_or(1) as usize,
            Items::Strings(strings) => strings.len(),
            Items::Arrays(arrays) => arrays.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element `i`, copied out.
    pub fn get(&self, i: usize) -> Option<Value> {
        match &self.items {
            Items::Fixed(bytes) => {
                let size = self.element.size()? as usize;
                bytes.get(i.checked_mul(size)?..)?.get(..size).map(|b| decode(self.element, b))
            }
            Items::Strings(strings) => strings.get(i).map(|s| Value::String(s.to_vec())),
            Items::Arrays(arrays) => arrays.get(i).cloned().map(Value::Array),
        }
    }

    /// The elements, copied out one by one.
    pub fn iter(&self) -> impl Iterator<Item = Value> + '_ {
        (0..self.len()).map_while(|i| self.get(i))
    }

    /// The strings of an array of strings.
    pub fn strings(&self) -> Option<&Strings> {
        match &self.items {
            Items::Strings(strings) => Some(strings),
            _ => None,
        }
    }

    /// The arrays of an array of arrays.
    pub fn arrays(&self) -> Option<&[Array]> {
        match &self.items {
            Items::Arrays(arrays) => Some(arrays),
            _ => None,
        }
    }

    /// The little-endian bytes of an array of numbers or bools.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.items {
            Items::Fixed(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// The value in `bytes`, which hold exactly one of type `element`. Strings and arrays have no fixed size and never come
/// here.
fn decode(element: ValueType, bytes: &[u8]) -> Value {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    let low = u64::from_le_bytes(word);
    // Each cast keeps the low bytes, which are all that the element has.
    match element {
        ValueType::U8 => Value::U8(low as u8),
        ValueType::I8 => Value::I8(low as i8),
        ValueType::U16 => Value::U16(low as u16),
        ValueType::I16 => Value::I16(low as i16),
        ValueType::U32 => Value::U32(low as u32),
        ValueType::I32 => Value::I32(low as i32),
        ValueType::F32 => Value::F32(f32::from_bits(low as u32)),
        ValueType::Bool => Value::Bool(low != 0),
        ValueType::I64 => Value::I64(low as i64),
        ValueType::F64 => Value::F64(f64::from_bits(low)),
        ValueType::U64 | ValueType::String | ValueType::Array => Value::U64(low),
    }
}

impl Strings {
    /// Strings that lie in `data`, record after record; `starts` as its field says. `None` where they don't fit it.
    pub(super) fn from_records(data: Buffer, starts: Vec<u32>) -> Option<Self> {
        let steps = starts.windows(2).all(|w| w[1].checked_sub(w[0]).is_some_and(|n| n >= 8));
        (steps && *starts.last()? as usize == data.len()).then_some(Self { data, starts })
    }

    /// A list of the given strings.
    ///
    /// # Panics
    /// Where they take more than [`limits::METADATA`] bytes.
    pub fn collect<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Self {
        let (mut data, mut starts) = (Vec::new(), vec![0]);
        for string in strings {
            let string = string.as_ref();
            data.extend_from_slice(&(string.len() as u64).to_le_bytes());
            data.extend_from_slice(string);
            assert!(
                data.len() as u64 <= limits::METADATA,
                "an array of strings is at most as large as all metadata"
            );
            starts.push(data.len() as u32);
        }
        Self { data: Buffer::from_vec(data), starts }
    }

    /// The number of strings.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// String `i`.
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        let (start, end) = (*self.starts.get(i)?, *self.starts.get(i.checked_add(1)?)?);
        self.data.get(start as usize + 8..end as usize)
    }

    /// The strings in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        let data: &[u8] = &self.data;
        (0..self.len()).map(move |i| &data[self.starts[i] as usize + 8..self.starts[i + 1] as usize])
    }

    /// The records as the format stores them: a length of 8 bytes before each string.
    pub(super) fn records(&self) -> &[u8] {
        &self.data
    }
}

impl PartialEq for Strings {
    fn eq(&self, other: &Self) -> bool {
        self.records() == other.records()
    }
}

impl PartialEq for Array {
    /// Equal by the bits: a NaN equals the same NaN.
    fn eq(&self, other: &Self) -> bool {
        self.element == other.element
            && match (&self.items, &other.items) {
                (Items::Fixed(a), Items::Fixed(b)) => a[..] == b[..],
                (Items::Strings(a), Items::Strings(b)) => a == b,
                (Items::Arrays(a), Items::Arrays(b)) => a == b,
                _ => false,
            }
    }
}

impl fmt::Debug for Strings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} strings", self.len())
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Value {
    /// The value on one line, escaped and, where it is long, cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U8(v) => v.fmt(f),
            Self::I8(v) => v.fmt(f),
            Self::U16(v) => v.fmt(f),
            Self::I16(v) => v.fmt(f),
            Self::U32(v) => v.fmt(f),
            Self::I32(v) => v.fmt(f),
            Self::F32(v) => v.fmt(f),
            Self::Bool(v) => v.fmt(f),
            Self::U64(v) => v.fmt(f),
            Self::I64(v) => v.fmt(f),
            Self::F64(v) => v.fmt(f),
            Self::String(bytes) => write!(f, "\"{}\"", escape_bytes(bytes)),
            Self::Array(array) => array.fmt(f),
        }
    }
}

impl fmt::Display for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        f.write_str("[")?;
        for (i, value) in self.iter().take(SHOWN).enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            value.fmt(f)?;
        }
        if self.len() > SHOWN {
            write!(f, ", … {} in all", self.len())?;
        }
        f.write_str("]")
    }
}

impl From<Strings> for Array {
    fn from(strings: Strings) -> Self {
        Self { element: ValueType::String, items: Items::Strings(strings) }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.as_bytes().to_vec())
    }
}

impl From<Array> for Value {
    fn from(array: Array) -> Self {
        Self::Array(array)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&[bool]> for Array {
    fn from(values: &[bool]) -> Self {
        let bytes = values.iter().map(|&v| u8::from(v)).collect();
        Self { element: ValueType::Bool, items: Items::Fixed(Buffer::from_vec(bytes)) }
    }
}

/// One row a number type: the value from one, the array from a slice of them.
macro_rules! from_numbers {
    ($($number:ty => $variant:ident),*) => { $(
        impl From<$number> for Value {
            fn from(value: $number) -> Self {
                Self::$variant(value)
            }
        }

        impl From<&[$number]> for Array {
            fn from(values: &[$number]) -> Self {
                let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                Self { element: ValueType::$variant, items: Items::Fixed(Buffer::from_vec(bytes)) }
            }
        }
    )* };
}

from_numbers!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, u64 => U64, i64 => I64,
    f32 => F32, f64 => F64);

/// A key or name in quotes, escaped.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", escape(name))
}
