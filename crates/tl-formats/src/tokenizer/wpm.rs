//! WordPiece (BERT): words are cleaned, split at white space, punctuation and ideographs, and covered by the longest
//! tokens from the left; a word that cannot be covered is the unknown token.
//!
//! Tokens that start a word are written with `▁` before them, as converted files have it.

use super::chars::{Class, class_of, is_bert_ideograph};
use super::vocabulary::Vocabulary;
use unicode_normalization::UnicodeNormalization;

/// The cleaning options and the unknown token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wpm {
    pub(super) lowercase: bool,
    pub(super) strip_accents: bool,
    pub(super) unknown: u32,
}

impl Wpm {
    /// Appends the tokens of `text`; returns how many bytes became the unknown token.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, out: &mut Vec<u32>) -> usize {
        let mut lost = 0;
        for word in self.words(text) {
            if !cover(vocabulary, &format!("▁{word}"), out) {
                out.push(self.unknown);
                lost += word.len();
            }
        }
        lost
    }

    fn words(&self, text: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut add = |c: char| {
            let class = class_of(c);
            if class.is(Class::SPACE) {
                words.push(String::new());
            } else if c == '\0' || c == '\u{fffd}' || class.is(Class::CONTROL) {
            } else if !(self.strip_accents && class.is(Class::MARK)) {
                let alone = class.is(Class::PUNCTUATION)
                    || c.is_ascii() && class.is(Class::SYMBOL)
                    || is_bert_ideograph(c);
                if alone {
                    words.push(String::new());
                }
                let word = words.last_mut().expect("there is always a word");
                if self.lowercase {
                    word.push(simple_lowercase(c));
                } else {
                    word.push(c);
                }
                if alone {
                    words.push(String::new());
                }
            }
        };
        if self.strip_accents {
            text.chars().for_each(|c| base_of(c).into_iter().for_each(&mut add));
        } else {
            text.chars().for_each(add);
        }
        words.retain(|word| !word.is_empty());
        words
    }
}

/// The character without what its canonical decomposition adds to it.
fn base_of(c: char) -> Option<char> {
    std::iter::once(c).nfd().next()
}

/// The lower-case character where the mapping is one to one.
fn simple_lowercase(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        (Some(first), Some(_)) if c == 'İ' => first,
        _ => c,
    }
}

/// Covers a word by the longest tokens from the left; leaves `out` as it was and returns false where that fails.
fn cover(vocabulary: &Vocabulary, word: &str, out: &mut Vec<u32>) -> bool {
    let (before, mut at) = (out.len(), 0);
    while at < word.len() {
        let mut end = word.len().min(at + vocabulary.longest());
        let found = loop {
            while !word.is_char_boundary(end) {
                end -= 1;
            }
            if end == at {
                break None;
            }
            if let Some(id) = vocabulary.find(&word.as_bytes()[at..end]) {
                break Some(id);
            }
            end -= 1;
        };
        let Some(id) = found else {
            out.truncate(before);
            return false;
        };
        out.push(id);
        at = end;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::Attributes;
    use super::*;

    #[test]
    fn words_are_covered_from_the_left() {
        let tokens = ["[UNK]", "▁un", "aff", "able", "▁hello", "▁!", "▁世"];
        let (vocabulary, _) =
            Vocabulary::build(tokens.iter().map(|t| (t.as_bytes(), Attributes::NORMAL)), vec![]);
        let wpm = Wpm { lowercase: true, strip_accents: true, unknown: 0 };
        let mut out = Vec::new();
        assert_eq!(wpm.encode(&vocabulary, " Unaffable HÉLLO!世\tx\u{0} ", &mut out), 1);
        assert_eq!(out, [1, 2, 3, 4, 5, 6, 0]);
    }
}
