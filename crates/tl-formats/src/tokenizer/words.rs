//! Hand-written word splitters for the two families of rules that almost all byte-level vocabularies use.
//!
//! Each reproduces an ordered alternation of expressions, given in the doc line of its type, in one pass: every branch
//! looks at a character a bounded number of times, so that a text of one class (a megabyte of spaces) takes linear time.
//! The tests compare both with the expressions themselves.

use super::chars::{Class, class_of, is_han};

/// What a word may end or start with: `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll`, `'d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contractions {
    /// No special treatment.
    None,
    /// A piece of their own, in either case.
    Alone,
    /// The end of the word before them, in either case.
    Suffix,
}

/// Which characters make a word, and where case breaks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Letters {
    /// `\p{L}+`
    Any,
    /// `[\p{L}\p{M}]+`
    WithMarks,
    /// Ideographs apart, then `\p{L}+`.
    HanApart,
    /// `U*L+|U+L*` where `U` is a letter that is not `a-z`, `L` a letter that is not `A-Z`.
    Cased,
    /// The same over letters and marks.
    CasedWithMarks,
}

/// How a run of white space without a line break is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blank {
    /// `\s+(?!\S)|\s+`: the last one goes with what follows.
    KeepLast,
    /// The same in pieces of 512, 256, … 4, 2, 1.
    Cascade,
}

/// The family
/// `contractions|[^\r\n\p{L}\p{N}]?letters|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[tail]*|\s*[\r\n]+|\s+(?!\S)|\s+`.
#[derive(Debug, Clone, Copy)]
pub(super) struct WordRules {
    pub(super) contractions: Contractions,
    pub(super) letters: Letters,
    /// Longest piece of `\p{N}`.
    pub(super) digits: usize,
    /// Characters that a run of punctuation takes along.
    pub(super) tail: &'static [char],
    /// `\p{M}` does not count as punctuation.
    pub(super) marks_apart: bool,
    pub(super) blank: Blank,
}

impl WordRules {
    /// The rule of the first vocabulary of this family with three digits.
    pub(super) const THREE_DIGITS: Self = Self {
        contractions: Contractions::Alone,
        letters: Letters::Any,
        digits: 3,
        tail: &['\r', '\n'],
        marks_apart: false,
        blank: Blank::KeepLast,
    };

    /// The same with digits one by one.
    pub(super) const ONE_DIGIT: Self = Self { digits: 1, ..Self::THREE_DIGITS };

    /// End of the piece that starts at the start of `text`, which is not empty.
    pub(super) fn piece_end(&self, text: &str) -> usize {
        let first = first_char(text);
        if self.contractions == Contractions::Alone
            && let Some(end) = contraction_end(text, true)
        {
            return end;
        }
        if self.letters == Letters::HanApart && is_han(first) {
            return run_end(text, 0, is_han);
        }
        if let Some(end) = self.word_end(text, first) {
            return end;
        }
        let class = class_of(first);
        if class.is(Class::NUMBER) {
            return number_end(text, self.digits);
        }
        let body = usize::from(first == ' ');
        let punctuated = run_end(text, body, |c| self.is_punctuation(c));
        if punctuated > body {
            return run_end(text, punctuated, |c| self.tail.contains(&c));
        }
        if class.is(Class::SPACE) {
            return self.space_end(text);
        }
        first.len_utf8()
    }

    /// `[^\r\n\p{L}\p{N}]?letters contractions?`
    fn word_end(&self, text: &str, first: char) -> Option<usize> {
        let class = class_of(first);
        let prefix_allowed = !matches!(first, '\r' | '\n') && !class.is(Class::LETTER | Class::NUMBER);
        let mut end = None;
        if prefix_allowed {
            end = self.letters_end(text, first.len_utf8());
        }
        let end = end.or_else(|| self.letters_end(text, 0))?;
        if self.contractions == Contractions::Suffix
            && let Some(suffix) = contraction_end(&text[end..], true)
        {
            return Some(end + suffix);
        }
        Some(end)
    }

    /// End of the letters from `start`, at least one.
    fn letters_end(&self, text: &str, start: usize) -> Option<usize> {
        let end = match self.letters {
            Letters::Any => run_end(text, start, |c| class_of(c).is(Class::LETTER)),
            Letters::WithMarks => run_end(text, start, |c| class_of(c).is(Class::LETTER | Class::MARK)),
            Letters::HanApart => run_end(text, start, |c| class_of(c).is(Class::LETTER) && !is_han(c)),
            Letters::Cased => cased_end(text, start, Class::LETTER),
            Letters::CasedWithMarks => {
                let end = cased_end(text, start, Class::LETTER | Class::MARK);
                // `U*L+` without the character before comes before `U+L*` with it: a mark before capitals stands by itself.
                let after_mark =
                    first_char(text).len_utf8() == start && class_of(first_char(text)).is(Class::MARK);
                if after_mark && text[start..end].bytes().all(|b| b.is_ascii_uppercase()) {
                    return None;
                }
                end
            }
        };
        (end > start).then_some(end)
    }

    fn is_punctuation(&self, c: char) -> bool {
        let mut word = Class::SPACE | Class::LETTER | Class::NUMBER;
        if self.marks_apart {
            word = word | Class::MARK;
        }
        !class_of(c).is(word)
    }

    /// `\s*[\r\n]+|\s+(?!\S)|\s+`
    fn space_end(&self, text: &str) -> usize {
        let end = run_end(text, 0, |c| class_of(c).is(Class::SPACE));
        if let Some(newline) = text[..end].rfind(['\r', '\n']) {
            return newline + 1;
        }
        match self.blank {
            Blank::KeepLast => keep_last(text, end),
            Blank::Cascade => cascade_end(text, end),
        }
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`: the end of the first piece of `text`,
/// which is not empty.
pub(super) fn gpt2_piece_end(text: &str) -> usize {
    if let Some(end) = contraction_end(text, false) {
        return end;
    }
    let body = usize::from(text.starts_with(' '));
    if let Some(c) = text[body..].chars().next() {
        let word = Class::LETTER | Class::NUMBER | Class::SPACE;
        let class = class_of(c);
        if class.is(Class::LETTER) {
            return run_end(text, body, |c| class_of(c).is(Class::LETTER));
        }
        if class.is(Class::NUMBER) {
            return run_end(text, body, |c| class_of(c).is(Class::NUMBER));
        }
        if !class.is(word) {
            return run_end(text, body, |c| !class_of(c).is(word));
        }
    }
    let end = run_end(text, 0, |c| class_of(c).is(Class::SPACE));
    keep_last(text, end)
}

/// End of at most `limit` numbers at the start of `text`.
pub(super) fn number_end(text: &str, limit: usize) -> usize {
    let numbers = text.chars().take(limit).take_while(|c| class_of(*c).is(Class::NUMBER));
    numbers.map(char::len_utf8).sum()
}

/// End of the run of characters from `start` for which `inside` holds.
pub(super) fn run_end(text: &str, start: usize, inside: impl Fn(char) -> bool) -> usize {
    text[start..].find(|c| !inside(c)).map_or(text.len(), |length| start + length)
}

fn first_char(text: &str) -> char {
    text.chars().next().expect("pieces are taken from text that is not empty")
}

/// End of a contraction at the start of `text`.
fn contraction_end(text: &str, any_case: bool) -> Option<usize> {
    let rest = text.as_bytes().strip_prefix(b"'")?;
    let letter = |i: usize| {
        let byte = *rest.get(i)?;
        Some(if any_case { byte.to_ascii_lowercase() } else { byte })
    };
    match (letter(0)?, letter(1)) {
        (b's' | b't' | b'm' | b'd', _) => Some(2),
        (b'r' | b'v', Some(b'e')) | (b'l', Some(b'l')) => Some(3),
        _ => None,
    }
}

/// `U*L+|U+L*` over the characters of `class`: upper-case ASCII is in `U` only, lower-case ASCII in `L` only, all
/// others in both.
fn cased_end(text: &str, start: usize, class: Class) -> usize {
    let upper = run_end(text, start, |c| class_of(c).is(class) && !c.is_ascii_lowercase());
    let lower = |from| run_end(text, from, |c| class_of(c).is(class) && !c.is_ascii_uppercase());
    let end = lower(upper);
    if end > upper {
        return end;
    }
    // `L+` needs one character: give back down to the last that is in both sets.
    match text[start..upper].char_indices().rev().find(|(_, c)| !c.is_ascii_uppercase()) {
        Some((shared, _)) => lower(start + shared),
        None => upper,
    }
}

/// `\s+(?!\S)|\s+` for white space up to `end`: all of it at the end of the text, else all but the last character.
fn keep_last(text: &str, end: usize) -> usize {
    if end == text.len() {
        return end;
    }
    let last = text[..end].chars().next_back().map_or(0, char::len_utf8);
    if end > last { end - last } else { end }
}

/// `\s{512}(?!\S)|…|\s{4}(?!\S)|\s{1,2}(?!\S)|\s` for white space up to `end`.
fn cascade_end(text: &str, end: usize) -> usize {
    let available = text[..end].chars().take(513).count();
    let usable = if end == text.len() { available } else { available - 1 };
    let take = [512, 256, 128, 64, 32, 16, 8, 4, 2].into_iter().find(|n| *n <= usable).unwrap_or(1);
    text.char_indices().nth(take).map_or(text.len(), |(i, _)| i)
}
