//! What can go wrong with a tokenizer, as values.
//!
//! Errors stop the load (or one encoding) and name the metadata key; warnings are returned beside a tokenizer that
//! works, so that a library user sees what a terminal user reads on stderr.

/// Why a tokenizer could not be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A metadata key that this kind of tokenizer cannot do without is absent.
    #[error("`{key}` is missing: {why}")]
    Missing {
        /// The absent key.
        key: String,
        /// What it is needed for.
        why: &'static str,
    },
    /// A metadata key has a value of another type.
    #[error("`{key}` is {found}, expected {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// The type that was expected, in words.
        expected: &'static str,
        /// The type that was found, in words.
        found: String,
    },
    /// A value has the right type and cannot be true.
    #[error("`{key}`: {problem}")]
    Invalid {
        /// The key, or the path in a `tokenizer.json`.
        key: String,
        /// What is wrong, with the index and the value.
        problem: String,
    },
    /// The file is well formed and asks for something that is not implemented.
    #[error("{what} is not supported; supported: {supported}")]
    Unsupported {
        /// What was asked for, by name.
        what: String,
        /// What could be asked for instead.
        supported: String,
    },
}

impl TokenizerError {
    /// True where the file is well formed but needs a feature that is not implemented.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Unsupported { .. })
    }

    pub(super) fn invalid(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { key: key.into(), problem: problem.into() }
    }
}

/// Why a text could not be encoded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Offsets are kept in 32 bits.
    #[error("the text has {bytes} bytes; at most {limit} can be encoded at once")]
    TooLong {
        /// Length of the text.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A regular expression of a `tokenizer.json` backtracked too often on this text.
    #[error("the pre-tokenizer's expression `{pattern}` gave up on this text: {problem}")]
    Pattern {
        /// The expression.
        pattern: String,
        /// The expression engine's words.
        problem: String,
    },
}

/// Something odd in a tokenizer that loads all the same.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// No `tokenizer.ggml.pre`: the splitting rule is a guess, and the ids may differ from the model's training.
    #[error(
        "`tokenizer.ggml.pre` is missing: the `default` splitting rule is used, which the model may not have been trained with"
    )]
    MissingPre,
    /// The same text belongs to several ids; the lowest id is the one that text encodes to.
    #[error(
        "{count} tokens repeat the text of an earlier one (first: token {first}); text encodes to the earlier id"
    )]
    DuplicateTokens {
        /// How many repeat.
        count: usize,
        /// The first id that repeats another.
        first: u32,
    },
    /// Tokens without text: no text encodes to them.
    #[error("{count} tokens are empty (first: token {first})")]
    EmptyTokens {
        /// How many.
        count: usize,
        /// The first id.
        first: u32,
    },
    /// Tokens whose type is not one of the six; they count as normal.
    #[error("{count} tokens have an unknown type (first: token {first}, type {value}); they count as normal")]
    UnknownTokenTypes {
        /// How many.
        count: usize,
        /// The first id.
        first: u32,
        /// Its type.
        value: i32,
    },
    /// Tokens of type byte whose text is not `<0xNN>`; they count as text.
    #[error("{count} byte tokens do not read `<0xNN>` (first: token {first}); they count as text")]
    BadByteTokens {
        /// How many.
        count: usize,
        /// The first id.
        first: u32,
    },
    /// Bytes that no token stands for: encoding drops them, where no larger token covers them.
    #[error("the vocabulary lacks {} of the 256 byte tokens ({}); such bytes are dropped", .bytes.len(), hex_list(.bytes))]
    MissingBytes {
        /// The bytes, ascending.
        bytes: Vec<u8>,
    },
    /// Merges whose half or whole is not in the vocabulary.
    #[error(
        "{count} merges name text that is not in the vocabulary (first: merge {first}); those that no text can reach are skipped"
    )]
    UnknownMerges {
        /// How many.
        count: usize,
        /// Index of the first.
        first: usize,
    },
    /// A special id other than BOS and EOS is outside the vocabulary and counts as absent.
    #[error("`{key}` is {id}, outside the vocabulary of {size}; it counts as absent")]
    SpecialOutOfRange {
        /// The key.
        key: &'static str,
        /// The id.
        id: i64,
        /// Tokens in the vocabulary.
        size: usize,
    },
    /// A token whose text is that of a control token had another type; it counts as control.
    #[error("token {id} ({text}) reads like a control token and was not marked as one; it counts as control")]
    ControlByName {
        /// The id.
        id: u32,
        /// Its text.
        text: String,
    },
    /// A token that the model's family strips white space around is absent.
    #[error("the token {text} that this model's family treats specially is not in the vocabulary")]
    MissingNamedToken {
        /// Its text.
        text: &'static str,
    },
    /// Metadata ask for something that this family of models must not have.
    #[error("`{key}` is overridden: {why}")]
    Overridden {
        /// The key.
        key: &'static str,
        /// The reason.
        why: &'static str,
    },
}

fn hex_list(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().take(24).map(|b| format!("{b:02X}")).collect();
    let more = if bytes.len() > shown.len() { " …" } else { "" };
    shown.join(" ") + more
}
