//! The vocabulary: token text, types, scores, and the way from text to id.
//!
//! All texts lie in one buffer; the index from text to id is a table of ids that hashes into that buffer, with a
//! random key, so that a vocabulary made to collide gains nothing.

use std::hash::{BuildHasher, RandomState};

/// The sorts that a token may belong to; a token can be of more than one (a normal token that is also control).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes(u16);

impl Attributes {
    /// Ordinary text.
    pub const NORMAL: Self = Self(1);
    /// Stands for text that no token covers.
    pub const UNKNOWN: Self = Self(2);
    /// Structure, such as the start of a turn: never produced by plain text, never printed.
    pub const CONTROL: Self = Self(4);
    /// Added after training: matched in text before everything else.
    pub const USER_DEFINED: Self = Self(8);
    /// Reserved.
    pub const UNUSED: Self = Self(16);
    /// One raw byte, written `<0xNN>`.
    pub const BYTE: Self = Self(32);
    /// Swallows the white space before it.
    pub const LSTRIP: Self = Self(64);
    /// Swallows the white space after it.
    pub const RSTRIP: Self = Self(128);

    /// From GGUF's `tokenizer.ggml.token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    #[must_use]
    pub fn from_gguf(value: i32) -> Option<Self> {
        match value {
            1 => Some(Self::NORMAL),
            2 => Some(Self::UNKNOWN),
            3 => Some(Self::CONTROL),
            4 => Some(Self::USER_DEFINED),
            5 => Some(Self::UNUSED),
            6 => Some(Self::BYTE),
            _ => None,
        }
    }

    /// True where the two share a sort.
    #[must_use]
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without the sorts of `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Token text, attributes and scores, and the index from text to id.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    text: Vec<u8>,
    /// End of token `i` in `text`.
    ends: Vec<usize>,
    attributes: Vec<Attributes>,
    /// Empty where the file has no scores.
    scores: Vec<f32>,
    longest: usize,
    hasher: RandomState,
    /// Open addressing: id + 1, or 0 where free. A power of two, at most half full.
    slots: Vec<u32>,
}

impl Vocabulary {
    /// Collects tokens; where two have the same text the first keeps it. Returns the ids of the repeats.
    pub(super) fn build<'a>(
        tokens: impl ExactSizeIterator<Item = (&'a [u8], Attributes)>,
        scores: Vec<f32>,
    ) -> (Self, Vec<u32>) {
        let count = tokens.len();
        let mut vocabulary = Self {
            text: Vec::new(),
            ends: Vec::with_capacity(count),
            attributes: Vec::with_capacity(count),
            scores,
            longest: 0,
            hasher: RandomState::new(),
            slots: vec![0; (count * 2).next_power_of_two().max(2)],
        };
        let mut repeats = Vec::new();
        for (id, (text, attributes)) in tokens.enumerate() {
            vocabulary.text.extend_from_slice(text);
            vocabulary.ends.push(vocabulary.text.len());
            vocabulary.attributes.push(attributes);
            vocabulary.longest = vocabulary.longest.max(text.len());
            if !text.is_empty() && !vocabulary.insert(id as u32, text) {
                repeats.push(id as u32);
            }
        }
        (vocabulary, repeats)
    }

    /// Number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True where there is no token at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of the longest token's text.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The text of a token as the file spells it (byte-level and `▁` escapes not undone), or `None` outside the vocabulary.
    #[must_use]
    pub fn text(&self, id: u32) -> Option<&[u8]> {
        let id = id as usize;
        let end = *self.ends.get(id)?;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        Some(&self.text[start..end])
    }

    /// The id whose text this is, as the file spells it.
    #[must_use]
    pub fn find(&self, text: &[u8]) -> Option<u32> {
        if text.is_empty() || text.len() > self.longest {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(text) as usize & mask;
        loop {
            let id = self.slots[slot].checked_sub(1)?;
            if self.text(id) == Some(text) {
                return Some(id);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// The sorts of a token; normal outside the vocabulary.
    #[must_use]
    pub fn attributes(&self, id: u32) -> Attributes {
        self.attributes.get(id as usize).copied().unwrap_or(Attributes::NORMAL)
    }

    /// The score of a token: 0 where the file has none.
    #[must_use]
    pub fn score(&self, id: u32) -> f32 {
        self.scores.get(id as usize).copied().unwrap_or(0.0)
    }

    pub(super) fn set_attributes(&mut self, id: u32, attributes: Attributes) {
        self.attributes[id as usize] = attributes;
    }

    /// The token for `byte` written `<0xNN>`, if there is one.
    pub(super) fn find_byte(&self, byte: u8) -> Option<u32> {
        self.find(format!("<0x{byte:02X}>").as_bytes())
    }

    /// False where the text already has an id.
    fn insert(&mut self, id: u32, text: &[u8]) -> bool {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(text) as usize & mask;
        while let Some(taken) = self.slots[slot].checked_sub(1) {
            if self.text(taken) == Some(text) {
                return false;
            }
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = id + 1;
        true
    }
}

/// The byte that a token written `<0xNN>` stands for.
#[must_use]
pub(super) fn parse_byte_token(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_maps_to_the_first_id_that_has_it() {
        let tokens: [&[u8]; 5] = [b"a", b"b", b"a", b"", b"\xff"];
        let (vocabulary, repeats) =
            Vocabulary::build(tokens.iter().map(|t| (*t, Attributes::NORMAL)), vec![]);
        assert_eq!(repeats, [2]);
        assert_eq!(vocabulary.find(b"a"), Some(0));
        assert_eq!(vocabulary.find(b"\xff"), Some(4));
        assert_eq!(vocabulary.find(b""), None);
        assert_eq!(vocabulary.text(3), Some(&b""[..]));
        assert_eq!(vocabulary.text(5), None);
    }

    #[test]
    fn byte_tokens_have_two_hex_digits() {
        assert_eq!(parse_byte_token(b"<0x0A>"), Some(10));
        assert_eq!(parse_byte_token(b"<0xff>"), Some(255));
        for bad in [&b"<0x-1>"[..], b"<0xZZ>", b"<0x+1>", b"<0x1>", b"<0x123>", b"0x12"] {
            assert_eq!(parse_byte_token(bad), None);
        }
    }
}
