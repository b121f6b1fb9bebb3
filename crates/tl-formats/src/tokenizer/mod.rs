//! Tokenizers: from text to token ids and back.
//!
//! A [`Tokenizer`] is built from a model file's metadata ([`Metadata`], in practice GGUF) or from a `tokenizer.json`.
//! Text is first cut at the special tokens that it may contain, the rest is normalized, cut into pieces and encoded by one
//! of four models: byte-level BPE, SentencePiece's BPE and unigram vocabularies, WordPiece.
//!
//! Invariants: ids returned are below the vocabulary's size; where the vocabulary covers every byte, decoding gives back
//! the text; work is near-linear in the text, whatever it repeats; no text makes a panic.

mod bpe;
mod chars;
mod decode;
mod error;
mod json;
mod load;
mod metadata;
mod normalize;
mod pre;
mod special;
mod split;
mod spm;
mod trie;
mod ugm;
mod vocabulary;
mod words;
mod wpm;

pub use bpe::byte_char;
pub use decode::{Utf8Stream, escape};
pub use error::{EncodeError, TokenizerError, Warning};
pub use load::LoadOptions;
pub use metadata::{Metadata, Value};
pub use special::SpecialTokens;
pub use vocabulary::{Attributes, Vocabulary};

use normalize::Normalizer;
use special::{Fragment, Partition};
use split::Stage;
use std::collections::BTreeSet;

/// How text is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncodeOptions {
    /// Text such as `<|im_end|>` becomes the control token of that name. Only for text that a chat template made; a
    /// person's own text must not be able to end a turn. User-defined tokens are found either way.
    pub parse_special: bool,
    /// BOS, EOS and separators are added as the model's metadata ask.
    pub add_special: bool,
}

/// How ids are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DecodeOptions {
    /// Control and unknown tokens appear as their text, instead of not at all.
    pub special: bool,
    /// The ids begin the text: the space that encoding put before it is taken away again. Off for the continuation of a
    /// text.
    pub from_start: bool,
}

/// Ids, and what could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoding {
    /// The token ids.
    pub ids: Vec<u32>,
    /// Bytes of the text that no token stands for: dropped, or covered by the unknown token.
    pub lost_bytes: usize,
}

/// A tokenizer. See the [module documentation](self).
#[derive(Debug, Clone)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    special: SpecialTokens,
    end_of_generation: BTreeSet<u32>,
    partition: Partition,
    model: Model,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    spelling: Spelling,
    /// A space is put before text at the start and after special tokens.
    add_space_prefix: bool,
    warnings: Vec<Warning>,
    pre: Option<String>,
}

/// How token texts spell bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// GPT-2's printable alphabet.
    ByteLevel,
    /// UTF-8 with `▁` for space.
    Metaspace,
    /// UTF-8.
    Plain,
}

/// The rule that encodes text between special tokens.
#[derive(Debug, Clone)]
enum Model {
    Bpe { bpe: bpe::Bpe, normalizers: Vec<Normalizer>, stages: Vec<Stage> },
    Spm(spm::Spm),
    Wpm(wpm::Wpm),
    Ugm(ugm::Ugm),
}

/// Token texts, pieces and lists of ids are addressed with 32 bits; escaping may triple a text.
const MAX_TEXT: usize = (u32::MAX / 8) as usize;

impl Tokenizer {
    /// Builds a tokenizer from the `tokenizer.*` keys of a model file.
    ///
    /// # Errors
    /// Names the key that is missing, mistyped or impossible; [`TokenizerError::Unsupported`] where the file needs a
    /// kind of tokenizer that is not implemented.
    pub fn from_metadata(metadata: &dyn Metadata, options: &LoadOptions) -> Result<Self, TokenizerError> {
        load::load(metadata, options)
    }

    /// Builds a tokenizer from the text of a Hugging Face `tokenizer.json`.
    ///
    /// # Errors
    /// Names the component that is malformed or not implemented.
    pub fn from_json(source: &str) -> Result<Self, TokenizerError> {
        json::load(source)
    }

    /// Encodes a text.
    ///
    /// # Errors
    /// A text of more than half a gigabyte; a `tokenizer.json` whose expression gives up.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<u32>, EncodeError> {
        Ok(self.encode_counted(text, options)?.ids)
    }

    /// Encodes a text, and counts the bytes that no token stands for.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_counted(&self, text: &str, options: EncodeOptions) -> Result<Encoding, EncodeError> {
        if text.len() > MAX_TEXT {
            return Err(EncodeError::TooLong { bytes: text.len(), limit: MAX_TEXT });
        }
        let mut out = Encoding::default();
        if options.add_special {
            out.ids.extend_from_slice(&self.prefix);
        }
        let mut scratch = bpe::Scratch::default();
        for fragment in self.partition.cut(text, options.parse_special) {
            match fragment {
                Fragment::Token(id) => out.ids.push(id),
                Fragment::Text { start, end } => {
                    self.encode_plain(&text[start..end], start == 0, &mut scratch, &mut out)?;
                }
            }
        }
        if options.add_special {
            out.ids.extend_from_slice(&self.suffix);
        }
        Ok(out)
    }

    /// The bytes of ids, one after the other. Ids outside the vocabulary have none.
    #[must_use]
    pub fn decode(&self, ids: &[u32], options: DecodeOptions) -> Vec<u8> {
        let mut out = Vec::new();
        let mut first = options.from_start && self.add_space_prefix;
        for id in ids {
            let before = out.len();
            self.append_bytes(*id, options.special, &mut out);
            if std::mem::take(&mut first) && out.get(before) == Some(&b' ') {
                out.remove(before);
            }
        }
        out
    }

    /// Decodes to text; bytes that are no UTF-8 become U+FFFD.
    #[must_use]
    pub fn decode_text(&self, ids: &[u32], options: DecodeOptions) -> String {
        String::from_utf8_lossy(&self.decode(ids, options)).into_owned()
    }

    /// Appends the bytes that a token stands for. Control and unknown tokens have bytes only with `special`; ids outside
    /// the vocabulary have none.
    pub fn append_bytes(&self, id: u32, special: bool, out: &mut Vec<u8>) {
        let Some(text) = self.vocabulary.text(id) else { return };
        let attributes = self.vocabulary.attributes(id);
        let reserved = Attributes::CONTROL.union(Attributes::UNKNOWN);
        if attributes.intersects(reserved) && !special {
            return;
        }
        if attributes.intersects(reserved.union(Attributes::USER_DEFINED)) {
            out.extend_from_slice(text);
        } else if let Some(byte) =
            vocabulary::parse_byte_token(text).filter(|_| attributes.intersects(Attributes::BYTE))
        {
            out.push(byte);
        } else {
            self.spelling.undo(text, out);
        }
    }

    /// The bytes that a token stands for, control tokens as their text; empty outside the vocabulary.
    #[must_use]
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        let mut out = Vec::new();
        self.append_bytes(id, true, &mut out);
        out
    }

    /// A token's bytes so that they print on one line (see [`escape`]); `<invalid id>` outside the vocabulary.
    #[must_use]
    pub fn token_display(&self, id: u32) -> String {
        if self.vocabulary.text(id).is_none() {
            return format!("<invalid id {id}>");
        }
        escape(&self.token_bytes(id))
    }

    /// The id of a token by its text as the file spells it, such as `<|im_end|>`.
    #[must_use]
    pub fn find_token(&self, text: &str) -> Option<u32> {
        self.vocabulary.find(text.as_bytes())
    }

    /// The tokens.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Number of tokens.
    #[must_use]
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// The ids with special roles.
    #[must_use]
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// True for the tokens that end an answer: EOS, EOT, EOM and tokens that are known for it by name.
    #[must_use]
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.end_of_generation.contains(&id)
    }

    /// The tokens that end an answer, ascending.
    #[must_use]
    pub fn end_of_generation(&self) -> &BTreeSet<u32> {
        &self.end_of_generation
    }

    /// True for tokens that structure text and are not part of it.
    #[must_use]
    pub fn is_control(&self, id: u32) -> bool {
        self.vocabulary.attributes(id).intersects(Attributes::CONTROL)
    }

    /// What [`EncodeOptions::add_special`] puts before the ids (BOS, or nothing).
    #[must_use]
    pub fn prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// What [`EncodeOptions::add_special`] puts after the ids (EOS or a separator, or nothing).
    #[must_use]
    pub fn suffix(&self) -> &[u32] {
        &self.suffix
    }

    /// The `tokenizer.ggml.pre` in force, where the model has one.
    #[must_use]
    pub fn pre(&self) -> Option<&str> {
        self.pre.as_deref()
    }

    /// What was odd in the file.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// A streaming decoder.
    #[must_use]
    pub fn decoder(&self, options: DecodeOptions) -> Decoder {
        Decoder {
            stream: Utf8Stream::default(),
            bytes: Vec::new(),
            special: options.special,
            strip_space: options.from_start && self.add_space_prefix,
        }
    }

    /// Checks that an embedding of `rows` rows belongs to this vocabulary.
    ///
    /// # Errors
    /// Names both numbers where they differ.
    pub fn check_embedding_rows(&self, rows: usize) -> Result<(), TokenizerError> {
        if rows == self.vocabulary.len() {
            return Ok(());
        }
        let problem =
            format!("the vocabulary has {} tokens, and the embedding has {rows} rows", self.vocabulary.len());
        Err(TokenizerError::invalid("tokenizer.ggml.tokens", problem))
    }

    fn encode_plain(
        &self,
        text: &str,
        at_start: bool,
        scratch: &mut bpe::Scratch,
        out: &mut Encoding,
    ) -> Result<(), EncodeError> {
        let (vocabulary, ids) = (&self.vocabulary, &mut out.ids);
        out.lost_bytes += match &self.model {
            Model::Bpe { bpe, normalizers, stages } => {
                let text = normalize::apply(normalizers, text, at_start)?;
                let mut lost = 0;
                for piece in split::split(stages, &text)? {
                    lost += bpe.encode(vocabulary, piece.of(&text), scratch, ids);
                }
                lost
            }
            Model::Spm(spm) => {
                // Every stretch of text begins the input or follows a special token.
                let prefix = if self.add_space_prefix { "▁" } else { "" };
                let escaped = format!("{prefix}{}", text.replace(' ', "▁"));
                spm.encode(vocabulary, &escaped, ids)
            }
            Model::Wpm(wpm) => wpm.encode(vocabulary, text, ids),
            Model::Ugm(ugm) => ugm.encode(vocabulary, text, ids),
        };
        Ok(())
    }
}

impl Spelling {
    /// Appends the bytes that a token's text spells.
    fn undo(self, text: &[u8], out: &mut Vec<u8>) {
        for chunk in text.utf8_chunks() {
            for c in chunk.valid().chars() {
                match (self, c) {
                    (Self::Metaspace, '▁') => out.push(b' '),
                    (Self::ByteLevel, _) if bpe::char_byte(c).is_some() => out.extend(bpe::char_byte(c)),
                    _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
            out.extend_from_slice(chunk.invalid());
        }
    }
}

/// Decodes ids one by one, as they are generated, into text that never holds half a character.
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    stream: Utf8Stream,
    bytes: Vec<u8>,
    special: bool,
    strip_space: bool,
}

impl Decoder {
    /// The text that this token completes; may be empty. The buffers are reused: no allocation in the long run.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> &str {
        self.bytes.clear();
        tokenizer.append_bytes(id, self.special, &mut self.bytes);
        if std::mem::take(&mut self.strip_space) && self.bytes.first() == Some(&b' ') {
            self.bytes.remove(0);
        }
        self.stream.push(&self.bytes)
    }

    /// The end: U+FFFD if the last character is incomplete.
    pub fn finish(&mut self) -> &str {
        self.stream.finish()
    }
}
