//! Metadata: an ordered map from key to value, with getters that say what they wanted and what they found.
//!
//! A family's keys carry the architecture in front: `foo.block_count` where `general.architecture` is `foo`. Getters take
//! the key with or without it, so that code and equations read any family.

use std::collections::HashMap;
use std::sync::Arc;

use super::value::{Array, Strings, Value, ValueType, quote};
use crate::{Error, Result};

/// One key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    key: Arc<str>,
    value: Value,
    offset: Option<u64>,
}

/// Key and value pairs in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    entries: Vec<Entry>,
    index: HashMap<Arc<str>, usize>,
}

/// Why a value isn't of the wanted type: what was found instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch(pub String);

/// A Rust type that a metadata value can be read as.
///
/// Integers of any width and sign are read as any other, where the value fits: writers don't agree on them. Floats are
/// read from `f32` and `f64` only. Everything else must be of its own type.
pub trait FromValue<'a>: Sized {
    /// The type's name in messages.
    const WANTED: &'static str;

    /// The value as this type.
    ///
    /// # Errors
    /// What was found, where it is of another type or doesn't fit.
    fn from_value(value: &'a Value) -> std::result::Result<Self, Mismatch>;
}

impl Entry {
    /// The whole key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The byte of the file where the value begins; `None` where it was not read from a file.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }
}

impl Metadata {
    /// No entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// The entries in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sets `key`, in its place where it exists and at the end where it doesn't.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        let value = value.into();
        match self.index.get(key) {
            Some(&i) => {
                self.entries[i] = Entry { key: Arc::clone(&self.entries[i].key), value, offset: None }
            }
            None => self.push(key, value, None),
        }
        self
    }

    /// Takes `key` out; its value, where there was one.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let i = self.index.remove(key)?;
        let entry = self.entries.remove(i);
        self.index.values_mut().filter(|at| **at > i).for_each(|at| *at -= 1);
        Some(entry.value)
    }

    /// Appends an entry whose key is new.
    pub(super) fn push(&mut self, key: &str, value: Value, offset: Option<u64>) {
        let key: Arc<str> = key.into();
        self.index.insert(Arc::clone(&key), self.entries.len());
        self.entries.push(Entry { key, value, offset });
    }

    /// The architecture, where there is one and it is text.
    pub fn architecture(&self) -> Option<&str> {
        match &self.exact("general.architecture")?.value {
            Value::String(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The entry of exactly this key.
    pub fn exact(&self, key: &str) -> Option<&Entry> {
        self.index.get(key).map(|&i| &self.entries[i])
    }

    /// The entry of `key`, or else of `key` behind the architecture's name and a dot.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.exact(key).or_else(|| self.exact(&format!("{}.{key}", self.architecture()?)))
    }

    /// The value of `key`, found as [`Metadata::entry`] does.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.entry(key).map(Entry::value)
    }

    /// The value of `key` as a `T`.
    ///
    /// # Errors
    /// Where the key is missing, or its value is not a `T`: names the key, what was wanted and what was found.
    pub fn get<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T> {
        self.opt(key)?.ok_or_else(|| self.missing(key, T::WANTED))
    }

    /// The value of `key` as a `T`, `None` where the key is missing.
    ///
    /// # Errors
    /// Where the value is not a `T`: names the key, what was wanted and what was found.
    pub fn opt<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        match T::from_value(&entry.value) {
            Ok(value) => Ok(Some(value)),
            Err(Mismatch(found)) => Err(entry.error(format!("wanted {}, found {found}", T::WANTED))),
        }
    }

    #[cold]
    fn missing(&self, key: &str, wanted: &str) -> Error {
        let field = format!("key {}", quote(key));
        match self.architecture() {
            Some(arch) if !key.starts_with("general.") && !key.starts_with("tokenizer.") => {
                let message =
                    format!("missing (also as {}); wanted {wanted}", quote(&format!("{arch}.{key}")));
                Error::malformed(field, message)
            }
            _ => Error::malformed(field, format!("missing; wanted {wanted}")),
        }
    }
}

impl Entry {
    /// An error about this entry's value.
    #[cold]
    pub fn error(&self, message: impl Into<String>) -> Error {
        let error = Error::malformed(format!("key {}", quote(&self.key)), message);
        match self.offset {
            Some(offset) => error.at(offset),
            None => error,
        }
    }
}

impl PartialEq for Metadata {
    /// Equal by keys, values and order, wherever they were read.
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Entry, &Entry)| a.key == b.key && a.value == b.value;
        self.entries.len() == other.entries.len() && self.entries.iter().zip(&other.entries).all(same)
    }
}

fn mismatch<T>(value: &Value) -> std::result::Result<T, Mismatch> {
    Err(Mismatch(value.describe()))
}

macro_rules! from_integers {
    ($($number:ty),*) => { $(
        impl FromValue<'_> for $number {
            const WANTED: &'static str = stringify!($number);

            fn from_value(value: &Value) -> std::result::Result<Self, Mismatch> {
                let fits = value.integer().and_then(|v| Self::try_from(v).ok());
                fits.map_or_else(|| mismatch(value), Ok)
            }
        }
    )* };
}

from_integers!(u16, u32, i32, u64, i64, usize);

impl FromValue<'_> for f32 {
    const WANTED: &'static str = "f32";

    fn from_value(value: &Value) -> std::result::Result<Self, Mismatch> {
        // An f64 rounds to the nearest f32, as hyper-parameters are meant.
        value.float().map_or_else(|| mismatch(value), |v| Ok(v as f32))
    }
}

impl FromValue<'_> for f64 {
    const WANTED: &'static str = "f64";

    fn from_value(value: &Value) -> std::result::Result<Self, Mismatch> {
        value.float().map_or_else(|| mismatch(value), Ok)
    }
}

impl FromValue<'_> for bool {
    const WANTED: &'static str = "bool";

    fn from_value(value: &Value) -> std::result::Result<Self, Mismatch> {
        match value {
            Value::Bool(v) => Ok(*v),
            _ => mismatch(value),
        }
    }
}

impl<'a> FromValue<'a> for &'a [u8] {
    const WANTED: &'static str = "string";

    fn from_value(value: &'a Value) -> std::result::Result<Self, Mismatch> {
        match value {
            Value::String(bytes) => Ok(bytes),
            _ => mismatch(value),
        }
    }
}

impl<'a> FromValue<'a> for &'a str {
    const WANTED: &'static str = "UTF-8 string";

    fn from_value(value: &'a Value) -> std::result::Result<Self, Mismatch> {
        match value {
            Value::String(bytes) => std::str::from_utf8(bytes).or_else(|_| mismatch(value)),
            _ => mismatch(value),
        }
    }
}

impl<'a> FromValue<'a> for &'a Array {
    const WANTED: &'static str = "array";

    fn from_value(value: &'a Value) -> std::result::Result<Self, Mismatch> {
        value.array().map_or_else(|| mismatch(value), Ok)
    }
}

impl<'a> FromValue<'a> for &'a Strings {
    const WANTED: &'static str = "array of string";

    fn from_value(value: &'a Value) -> std::result::Result<Self, Mismatch> {
        match value {
            // An empty array of any type is an empty list of strings to no one: the type must be right.
            Value::Array(array) => array.strings().map_or_else(|| mismatch(value), Ok),
            _ => mismatch(value),
        }
    }
}

macro_rules! from_arrays {
    ($($number:ty: $($element:pat_param)|+, $wanted:literal);*) => { $(
        impl FromValue<'_> for Vec<$number> {
            const WANTED: &'static str = $wanted;

            fn from_value(value: &Value) -> std::result::Result<Self, Mismatch> {
                match value {
                    Value::Array(array) if matches!(array.element(), $($element)|+) => array
                        .iter()
                        .enumerate()
                        .map(|(i, v)| {
                            <$number>::from_value(&v).map_err(|Mismatch(found)| Mismatch(format!("element {i}: {found}")))
                        })
                        .collect(),
                    _ => mismatch(value),
                }
            }
        }
    )* };
}

use ValueType::{F32, F64, I32, I64, U32, U64};
from_arrays!(
    u32: U32 | I32 | U64 | I64, "array of u32";
    i32: I32 | U32 | I64 | U64, "array of i32";
    u64: U64 | I64 | U32 | I32, "array of u64";
    f32: F32 | F64, "array of f32"
);

impl FromValue<'_> for Vec<bool> {
    const WANTED: &'static str = "array of bool";

    fn from_value(value: &Value) -> std::result::Result<Self, Mismatch> {
        match value.array() {
            Some(array) if array.element() == ValueType::Bool => {
                Ok(array.bytes().unwrap_or_default().iter().map(|&b| b != 0).collect())
            }
            _ => mismatch(value),
        }
    }
}
