//! The view of a model file that a tokenizer is built from.
//!
//! Tokenizers do not know the container: any key-value store that can answer with a [`Value`] serves. Strings are bytes,
//! because vocabularies hold pieces of characters.

use super::error::TokenizerError;
use std::borrow::Cow;

/// A metadata value, with the element types that tokenizers distinguish.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// A string; may be invalid UTF-8.
    String(Cow<'a, [u8]>),
    /// A boolean.
    Bool(bool),
    /// An integer of any width.
    Integer(i128),
    /// A float of either width.
    Float(f64),
    /// An array of strings.
    Strings(Vec<Cow<'a, [u8]>>),
    /// An array of 32-bit floats.
    F32s(Vec<f32>),
    /// An array of signed 32-bit integers.
    I32s(Vec<i32>),
    /// An array of unsigned or signed bytes.
    Bytes(Cow<'a, [u8]>),
    /// Any other type, in words ("an array of u64").
    Other(String),
}

/// A key-value store: the metadata of a GGUF file, or of a test.
pub trait Metadata {
    /// The value of `key`, or `None` where the key is absent.
    fn value(&self, key: &str) -> Option<Value<'_>>;
}

impl Value<'_> {
    /// The type in words, for messages.
    #[must_use]
    pub fn type_name(&self) -> String {
        match self {
            Self::String(_) => "a string".into(),
            Self::Bool(_) => "a boolean".into(),
            Self::Integer(_) => "an integer".into(),
            Self::Float(_) => "a float".into(),
            Self::Strings(_) => "an array of strings".into(),
            Self::F32s(_) => "an array of f32".into(),
            Self::I32s(_) => "an array of i32".into(),
            Self::Bytes(_) => "an array of bytes".into(),
            Self::Other(name) => name.clone(),
        }
    }
}

/// Reads keys with the type that the format prescribes.
pub(super) struct Reader<'a>(pub(super) &'a dyn Metadata);

macro_rules! typed_reader {
    ($(#[$doc:meta])* $name:ident, $variant:ident, $out:ty, $expected:literal) => {
        $(#[$doc])*
        pub(super) fn $name(&self, key: &str) -> Result<Option<$out>, TokenizerError> {
            match self.0.value(key) {
                None => Ok(None),
                Some(Value::$variant(value)) => Ok(Some(value.into())),
                Some(other) => Err(wrong_type(key, $expected, &other)),
            }
        }
    };
}

impl<'a> Reader<'a> {
    typed_reader!(strings, Strings, Vec<Cow<'a, [u8]>>, "an array of strings");
    typed_reader!(i32s, I32s, Vec<i32>, "an array of i32");
    typed_reader!(bytes, Bytes, Cow<'a, [u8]>, "an array of u8 or i8");
    typed_reader!(bool, Bool, bool, "a boolean");
    typed_reader!(integer, Integer, i128, "an integer");

    /// A string, with invalid UTF-8 replaced (names and option values only; never token text).
    pub(super) fn string(&self, key: &str) -> Result<Option<String>, TokenizerError> {
        match self.0.value(key) {
            None => Ok(None),
            Some(Value::String(value)) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
            Some(other) => Err(wrong_type(key, "a string", &other)),
        }
    }

    /// Scores: 32-bit floats, or 32-bit integers as some writers store them.
    pub(super) fn scores(&self, key: &str) -> Result<Option<Vec<f32>>, TokenizerError> {
        match self.0.value(key) {
            None => Ok(None),
            Some(Value::F32s(value)) => Ok(Some(value)),
            Some(Value::I32s(value)) => Ok(Some(value.into_iter().map(|v| v as f32).collect())),
            Some(other) => Err(wrong_type(key, "an array of f32", &other)),
        }
    }
}

fn wrong_type(key: &str, expected: &'static str, found: &Value<'_>) -> TokenizerError {
    TokenizerError::WrongType { key: key.into(), expected, found: found.type_name() }
}

impl Metadata for crate::gguf::Metadata {
    fn value(&self, key: &str) -> Option<Value<'_>> {
        use crate::gguf;
        let value = self.exact(key)?.value();
        Some(match value {
            gguf::Value::String(text) => Value::String(Cow::Borrowed(text)),
            gguf::Value::Bool(value) => Value::Bool(*value),
            gguf::Value::Array(array) => match (array.element(), array.strings(), array.bytes()) {
                (gguf::ValueType::String, Some(strings), _) => {
                    Value::Strings(strings.iter().map(Cow::Borrowed).collect())
                }
                (gguf::ValueType::F32, _, Some(bytes)) => {
                    Value::F32s(words(bytes).map(f32::from_le_bytes).collect())
                }
                (gguf::ValueType::I32, _, Some(bytes)) => {
                    Value::I32s(words(bytes).map(i32::from_le_bytes).collect())
                }
                (gguf::ValueType::U8 | gguf::ValueType::I8, _, Some(bytes)) => {
                    Value::Bytes(Cow::Borrowed(bytes))
                }
                _ => Value::Other(value.describe()),
            },
            other => match (other.integer(), other.float()) {
                (Some(integer), _) => Value::Integer(integer),
                (None, Some(float)) => Value::Float(float),
                (None, None) => Value::Other(other.describe()),
            },
        })
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    bytes.chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]])
}
