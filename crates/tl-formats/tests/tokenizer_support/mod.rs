//! Fixtures and metadata for the tests of tokenizers.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;
use std::io::Read;
use std::path::PathBuf;
use tl_formats::gguf::File;
use tl_formats::tokenizer::{Metadata, Value};
use tl_tensor::Buffer;

/// The bytes of a fixture.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizer").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The bytes of a gzipped fixture.
pub fn gunzip(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(&fixture(name)[..]).read_to_end(&mut out).unwrap();
    out
}

/// A gzipped vocabulary file.
pub fn gguf(name: &str) -> File {
    File::from_buffer(Buffer::from_vec(gunzip(&format!("{name}.gguf.gz")))).unwrap()
}

pub fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap()
}

pub fn ids(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

/// Metadata with keys added, changed (`Some`) or hidden (`None`).
pub struct With<'a> {
    base: Option<&'a dyn Metadata>,
    changes: HashMap<String, Option<Value<'static>>>,
}

impl<'a> With<'a> {
    pub fn new(base: &'a dyn Metadata) -> Self {
        Self { base: Some(base), changes: HashMap::new() }
    }

    pub fn nothing() -> Self {
        Self { base: None, changes: HashMap::new() }
    }

    pub fn set(mut self, key: &str, value: Value<'static>) -> Self {
        self.changes.insert(key.into(), Some(value));
        self
    }

    pub fn without(mut self, key: &str) -> Self {
        self.changes.insert(key.into(), None);
        self
    }

    pub fn string(self, key: &str, value: &str) -> Self {
        self.set(key, Value::String(Cow::Owned(value.as_bytes().to_vec())))
    }

    pub fn bool(self, key: &str, value: bool) -> Self {
        self.set(key, Value::Bool(value))
    }

    pub fn integer(self, key: &str, value: i128) -> Self {
        self.set(key, Value::Integer(value))
    }

    pub fn strings<S: AsRef<[u8]>>(self, key: &str, values: &[S]) -> Self {
        self.set(key, Value::Strings(values.iter().map(|text| Cow::Owned(text.as_ref().to_vec())).collect()))
    }
}

impl Metadata for With<'_> {
    fn value(&self, key: &str) -> Option<Value<'_>> {
        match self.changes.get(key) {
            Some(change) => change.clone(),
            None => self.base?.value(key),
        }
    }
}
