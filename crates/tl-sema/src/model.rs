//! What a model is to the language: a tree of tensors and a table of metadata.
//!
//! Sema reads no files. Whoever has a model file puts it behind [`Model`].

use std::fmt;

use tl_tensor::Tensor;

/// A value of a model's metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum MetaValue {
    /// Any number.
    Number(f64),
    /// A Boolean.
    Bool(bool),
    /// A text.
    Str(String),
    /// An array of one of them.
    List(Vec<MetaValue>),
}

/// A model: named tensors and metadata.
pub trait Model: fmt::Debug + Send + Sync {
    /// The tensor of that full name, `blk.0.attn_q.weight`. Its shape is slowest axis first, so the language's first index
    /// of `m.x[i, j]` is the tensor's *last* axis, as in the `ne` order of ggml.
    fn tensor(&self, name: &str) -> Option<Tensor>;

    /// The metadata value of exactly that key. The checker itself tries the key with the architecture as prefix.
    fn meta(&self, key: &str) -> Option<MetaValue>;

    /// Names of tensors, for "did you mean".
    fn tensor_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Keys of the metadata, for "did you mean".
    fn meta_keys(&self) -> Vec<String> {
        Vec::new()
    }

    /// What to call the model in messages, such as its file's name.
    fn describe(&self) -> String;
}

/// The metadata value of `key`, or of `key` after the model's architecture and a dot.
pub fn find_meta(model: &dyn Model, key: &str) -> Option<MetaValue> {
    model.meta(key).or_else(|| match model.meta("general.architecture") {
        Some(MetaValue::Str(architecture)) => model.meta(&format!("{architecture}.{key}")),
        _ => None,
    })
}
