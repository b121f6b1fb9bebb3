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

/// Why a text is no token.
#[derive(Clone, Debug, PartialEq)]
pub enum NoToken {
    /// The model has no tokenizer that could say; why, in one sentence without a full stop.
    NoTokenizer(String),
    /// The text is encoded to other than one token.
    Encodes {
        /// The tokens, as they print.
        to: Vec<String>,
        /// A text that is one token and differs by a space at the beginning.
        near: Option<String>,
    },
}

/// A model: named tensors and metadata.
pub trait Model: fmt::Debug + Send + Sync {
    /// The tensor of that full name, `blk.0.attn_q.weight`. Its shape is slowest axis first, so the language's first index
    /// of `m.x[i, j]` is the tensor's *last* axis, as in the `ne` order of ggml.
    fn tensor(&self, name: &str) -> Option<Tensor>;

    /// Whether the language's first index is the *first* axis of a shape instead: a tree of tensors that a program put together has
    /// its axes in the order in which the program writes them.
    fn first_index_is_slowest(&self) -> bool {
        false
    }

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

    /// How many tokens its vocabulary has, if it has one.
    fn vocabulary(&self) -> Option<usize> {
        None
    }

    /// The token of the vocabulary that a text is, exactly.
    ///
    /// # Errors
    /// When it is none, and what it is instead; when the model has no tokenizer.
    fn token(&self, _text: &str) -> Result<u32, NoToken> {
        Err(NoToken::NoTokenizer("there is none in it".to_owned()))
    }

    /// What to call the model in messages, such as its file's name.
    fn describe(&self) -> String;
}

/// For each index of the language, the axis of a tensor's shape that it ranges over.
pub(crate) fn index_order(model: &dyn Model, rank: usize) -> Vec<usize> {
    let axes = 0..rank;
    if model.first_index_is_slowest() { axes.collect() } else { axes.rev().collect() }
}

/// The sizes of a tensor of the model in the order of the language's indices.
pub(crate) fn sizes_of(model: &dyn Model, tensor: &Tensor) -> Vec<usize> {
    index_order(model, tensor.rank()).into_iter().map(|axis| tensor.shape()[axis]).collect()
}

/// The metadata value of `key`, or of `key` after the model's architecture and a dot.
pub fn find_meta(model: &dyn Model, key: &str) -> Option<MetaValue> {
    model.meta(key).or_else(|| match model.meta("general.architecture") {
        Some(MetaValue::Str(architecture)) => model.meta(&format!("{architecture}.{key}")),
        _ => None,
    })
}
