//! SentencePiece's unigram vocabularies (T5): the cut of the text whose tokens have the highest sum of scores, found by
//! Viterbi's algorithm over the positions of the normalized text.
//!
//! Normalization follows SentencePiece's compiled map (`precompiled_charsmap`): four bytes of length, an XOR-compressed
//! double array from byte sequences to offsets, and NUL-terminated replacements.

use super::error::TokenizerError;
use super::trie::Trie;
use super::vocabulary::{Attributes, Vocabulary};

/// How far below the worst token an unknown character scores.
const UNKNOWN_PENALTY: f64 = 10.0;
const ESCAPED_SPACE: &[u8] = "▁".as_bytes();
const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";

/// The tries, the unknown token and the options.
#[derive(Debug, Clone)]
pub(super) struct Ugm {
    matcher: Trie,
    user_defined: Trie,
    unknown: u32,
    unknown_score: f64,
    charsmap: Option<Charsmap>,
    pub(super) add_space_prefix: bool,
    pub(super) remove_extra_whitespace: bool,
}

/// The best cut that ends at a position.
#[derive(Debug, Clone, Copy)]
struct Best {
    token: u32,
    start: usize,
    score: f64,
}

impl Ugm {
    /// Builds the tries.
    pub(super) fn build(vocabulary: &Vocabulary, unknown: u32, charsmap: Option<Charsmap>) -> Self {
        let ids = || 0..vocabulary.len() as u32;
        let is = |id: u32, attributes: Attributes| vocabulary.attributes(id).intersects(attributes);
        let entry = |id: u32| (vocabulary.text(id).unwrap_or_default(), id);
        let usable = Attributes::NORMAL.union(Attributes::USER_DEFINED).union(Attributes::UNUSED);
        let normal = ids().filter(|id| is(*id, Attributes::NORMAL)).map(|id| vocabulary.score(id));
        let lowest = normal.fold(f32::MAX, f32::min);
        Self {
            matcher: Trie::build(ids().filter(|id| is(*id, usable)).map(entry)),
            user_defined: Trie::build(ids().filter(|id| is(*id, Attributes::USER_DEFINED)).map(entry)),
            unknown,
            unknown_score: f64::from(lowest - UNKNOWN_PENALTY as f32),
            charsmap,
            add_space_prefix: false,
            remove_extra_whitespace: false,
        }
    }

    /// Appends the tokens of `text`; returns how many bytes became the unknown token.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, out: &mut Vec<u32>) -> usize {
        let text = self.normalize(text);
        let mut best = vec![Best { token: self.unknown, start: 0, score: -f64::MAX }; text.len() + 1];
        best[0].score = 0.0;
        let mut at = 0;
        while at < text.len() {
            let width = utf8_width(text[at]).min(text.len() - at);
            self.extend(vocabulary, &text, at, width, &mut best);
            at += width;
        }
        let (mut end, mut lost) = (text.len(), 0);
        let first = out.len();
        let mut previous_unknown = false;
        while end > 0 {
            let Best { token, start, .. } = best[end];
            let unknown = token == self.unknown;
            if !(unknown && previous_unknown) {
                out.push(token);
            }
            lost += if unknown { end - start } else { 0 };
            previous_unknown = unknown;
            end = start;
        }
        out[first..].reverse();
        lost
    }

    /// Offers every token that starts at `at`, and the unknown token where none covers just that character.
    fn extend(&self, vocabulary: &Vocabulary, text: &[u8], at: usize, width: usize, best: &mut [Best]) {
        let base = best[at].score;
        let mut offer = |end: usize, token: u32, score: f64| {
            if base + score > best[end].score {
                best[end] = Best { token, start: at, score: base + score };
            }
        };
        let (mut node, mut single) = (Trie::ROOT, false);
        for (i, byte) in text[at..].iter().enumerate() {
            let Some(next) = self.matcher.step(node, *byte) else { break };
            node = next;
            if let Some(token) = self.matcher.value(node) {
                single |= i + 1 == width;
                let user_defined = vocabulary.attributes(token).intersects(Attributes::USER_DEFINED);
                offer(at + i + 1, token, if user_defined { 0.0 } else { f64::from(vocabulary.score(token)) });
            }
        }
        if !single {
            offer(at + width, self.unknown, self.unknown_score);
        }
    }

    /// Maps characters, escapes spaces, and prepends or merges them as the options say.
    fn normalize(&self, text: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() * 2);
        let (mut prepended, mut in_word) = (false, false);
        let mut at = 0;
        while at < text.len() {
            let (mapped, consumed) = self.map_prefix(text, at);
            for byte in mapped {
                if *byte != b' ' {
                    if !in_word {
                        in_word = true;
                        if self.add_space_prefix && !prepended || self.remove_extra_whitespace {
                            out.extend_from_slice(ESCAPED_SPACE);
                            prepended = true;
                        }
                    }
                    out.push(*byte);
                } else {
                    in_word = false;
                    if !self.remove_extra_whitespace {
                        out.extend_from_slice(ESCAPED_SPACE);
                    }
                }
            }
            at += consumed;
        }
        out
    }

    /// What the start of the rest of the text becomes, and how many bytes of it that takes.
    fn map_prefix<'a>(&'a self, text: &'a str, at: usize) -> (&'a [u8], usize) {
        let rest = &text.as_bytes()[at..];
        if let Some((length, _)) = self.user_defined.longest(rest) {
            return (&rest[..length], length);
        }
        let mapped = self.charsmap.as_ref().and_then(|map| map.longest(rest));
        // A map that ends inside a character would leave its other bytes behind: it does not apply.
        if let Some((replacement, length)) = mapped.filter(|(_, length)| text.is_char_boundary(at + length)) {
            return (replacement, length);
        }
        let width = utf8_width(rest[0]).min(rest.len());
        (&rest[..width], width)
    }
}

/// The compiled normalization map.
#[derive(Debug, Clone)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    replacements: Vec<u8>,
}

impl Charsmap {
    /// Checks the lengths. Indices inside are checked at each look-up.
    pub(super) fn parse(blob: &[u8]) -> Result<Self, TokenizerError> {
        let too_short =
            || TokenizerError::invalid(CHARSMAP, format!("{} bytes are too few for its header", blob.len()));
        let (header, rest) = blob.split_first_chunk::<4>().ok_or_else(too_short)?;
        let size = u32::from_le_bytes(*header) as usize;
        if size >= rest.len() || !size.is_multiple_of(4) {
            let problem = format!("its header says {size} bytes of units, in a map of {} bytes", blob.len());
            return Err(TokenizerError::invalid(CHARSMAP, problem));
        }
        let (units, replacements) = rest.split_at(size);
        if replacements.last() != Some(&0) {
            return Err(TokenizerError::invalid(CHARSMAP, "the last replacement has no end"));
        }
        let units =
            units.chunks_exact(4).map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]]));
        Ok(Self { units: units.collect(), replacements: replacements.to_vec() })
    }

    /// The replacement for the longest mapped sequence that `text` starts with, and that sequence's length.
    fn longest(&self, text: &[u8]) -> Option<(&[u8], usize)> {
        let base = |unit: u32| (unit >> 10) << ((unit & (1 << 9)) >> 6);
        let mut index = base(*self.units.first()?);
        let mut best = None;
        for (i, byte) in text.iter().enumerate() {
            if *byte == 0 {
                break;
            }
            index ^= u32::from(*byte);
            let Some(unit) = self.units.get(index as usize).copied() else { break };
            if unit & (1 << 31 | 0xff) != u32::from(*byte) {
                break;
            }
            index ^= base(unit);
            if unit >> 8 & 1 == 1
                && let Some(leaf) = self.units.get(index as usize)
            {
                best = Some(((leaf & !(1 << 31)) as usize, i + 1));
            }
        }
        let (offset, length) = best?;
        let rest = self.replacements.get(offset..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some((&rest[..end], length))
    }
}

/// Bytes of the character that starts with this byte; 1 for a byte that starts none.
fn utf8_width(byte: u8) -> usize {
    match byte {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_sum_wins_and_unknowns_join() {
        let tokens = [("<unk>", 0.0), ("▁", -3.0), ("a", -2.0), ("b", -2.0), ("▁ab", -2.5), ("ab", -4.5)];
        let scores = tokens.iter().map(|t| t.1).collect();
        let attributes = |i: usize| if i == 0 { Attributes::UNKNOWN } else { Attributes::NORMAL };
        let entries = tokens.iter().enumerate().map(|(i, t)| (t.0.as_bytes(), attributes(i)));
        let (vocabulary, _) = Vocabulary::build(entries, scores);
        let mut ugm = Ugm::build(&vocabulary, 0, None);
        ugm.add_space_prefix = true;
        ugm.remove_extra_whitespace = true;
        let mut out = Vec::new();
        assert_eq!(ugm.encode(&vocabulary, "  ab  aba xyé", &mut out), 4);
        assert_eq!(out, [4, 4, 2, 1, 2, 1, 0][..3].iter().copied().chain([1, 0]).collect::<Vec<_>>());
    }

    #[test]
    fn a_charsmap_must_fit_its_header() {
        assert!(Charsmap::parse(&[1, 0]).is_err());
        assert!(Charsmap::parse(&[4, 0, 0, 0, 1, 2, 3, 4]).is_err());
        assert!(Charsmap::parse(&[4, 0, 0, 0, 1, 2, 3, 4, 9]).is_err());
        assert!(Charsmap::parse(&[4, 0, 0, 0, 1, 2, 3, 4, 0]).unwrap().longest(b"abc").is_none());
    }
}
