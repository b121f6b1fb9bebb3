//! Pre-tokenization: cutting text into pieces that no token crosses.
//!
//! A rule is a list of stages. Each stage cuts every piece that the stages before it left; what a stage does not match
//! stays as pieces of its own. All built-in stages take time linear in the text.

use super::chars::{Class, class_of};
use super::error::{EncodeError, TokenizerError};
use super::words::{WordRules, gpt2_piece_end, number_end, run_end};
use fancy_regex::Regex;

/// A piece of a text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn of(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }
}

/// One stage of a pre-tokenizer.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// The rule of GPT-2.
    Gpt2,
    /// The family with a configurable rule.
    Words(WordRules),
    /// `\p{N}{1,limit}` alone.
    Numbers {
        /// Longest piece.
        limit: usize,
    },
    /// Numbers in threes counted from the right; what precedes a run stays with its first group.
    RightGroups {
        /// Only `0-9` count, and a run is cut from what precedes it where its length is a multiple of three.
        ascii: bool,
    },
    /// Runs of line feeds apart from everything else.
    Lines,
    /// An expression.
    Pattern(Pattern),
}

/// What becomes of the text that an expression matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// A piece of its own.
    Isolated,
    /// Nothing.
    Removed,
    /// The end of the piece before it.
    MergedWithPrevious,
    /// The start of the piece after it.
    MergedWithNext,
    /// Matches in a row are one piece.
    Contiguous,
}

/// An expression with what follows from its match.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
    behaviour: Behaviour,
    invert: bool,
    blank: TrailingBlank,
}

/// `\s+(?!\S)|\s+` at the end of an expression is carried out after a match of `\s+`, which keeps the expression free of
/// look-ahead and its matching linear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TrailingBlank {
    /// The expression does not end so.
    No,
    /// Matches of white space give back their last character, unless it is a line break.
    UnlessNewline,
    /// Matches of white space give back their last character.
    Always,
}

/// Each attempt of an expression may backtrack this often before it gives up.
const BACKTRACK_LIMIT: usize = 50_000_000;
const BLANK_TAIL: &str = r"|\s+(?!\S)|\s+";

impl Pattern {
    /// A built-in expression whose matches are isolated.
    pub(super) fn builtin(source: &str) -> Self {
        Self::parse(source, Behaviour::Isolated, false).expect("the built-in expressions are constants")
    }

    /// Compiles an expression.
    pub(super) fn parse(source: &str, behaviour: Behaviour, invert: bool) -> Result<Self, TokenizerError> {
        let (body, blank) = match source.strip_suffix(BLANK_TAIL) {
            Some(body) if body.contains(r"\s*[\r\n]") => {
                (format!(r"{body}|\s+"), TrailingBlank::UnlessNewline)
            }
            Some(body) => (format!(r"{body}|\s+"), TrailingBlank::Always),
            None => (source.to_string(), TrailingBlank::No),
        };
        let regex = fancy_regex::RegexBuilder::new(&body).backtrack_limit(BACKTRACK_LIMIT).build();
        let regex = regex.map_err(|error| {
            TokenizerError::invalid(
                "pre_tokenizer",
                format!("the expression `{source}` does not compile: {error}"),
            )
        })?;
        Ok(Self { regex, behaviour, invert, blank })
    }

    /// A class expression that is known to be valid.
    pub(super) fn class(source: &str, behaviour: Behaviour) -> Self {
        Self::parse(source, behaviour, false).expect("the class expressions are constants")
    }

    fn split(&self, text: &str, emit: &mut impl FnMut(usize, usize)) -> Result<(), EncodeError> {
        let mut parts = Vec::new();
        let (mut at, mut done) = (0, 0);
        while at <= text.len() {
            let found = self.regex.find_from_pos(text, at).map_err(|error| EncodeError::Pattern {
                pattern: self.regex.as_str().to_string(),
                problem: error.to_string(),
            })?;
            let Some(found) = found else { break };
            let end = self.give_back(text, found.start(), found.end());
            if found.start() > done {
                parts.push((done, found.start(), self.invert));
            }
            if end > found.start() {
                parts.push((found.start(), end, !self.invert));
            }
            done = end;
            // An empty match only cuts: go on behind the next character.
            let next = text[end..].chars().next().map_or(1, char::len_utf8);
            at = if end > found.start() { end } else { end + next };
        }
        if done < text.len() {
            parts.push((done, text.len(), self.invert));
        }
        arrange(&parts, self.behaviour, emit);
        Ok(())
    }

    /// The end of a match after `\s+(?!\S)|\s+` is carried out.
    fn give_back(&self, text: &str, start: usize, end: usize) -> usize {
        if self.blank == TrailingBlank::No || end == text.len() {
            return end;
        }
        let Some(last) = text[start..end].chars().next_back() else { return end };
        let kept = end - last.len_utf8();
        let exempt = self.blank == TrailingBlank::UnlessNewline && matches!(last, '\r' | '\n');
        if kept == start || exempt || !class_of(last).is(Class::SPACE) {
            return end;
        }
        let blank = text[start..kept].chars().all(|c| class_of(c).is(Class::SPACE));
        let followed = text[end..].chars().next().is_some_and(|c| !class_of(c).is(Class::SPACE));
        if blank && followed { kept } else { end }
    }
}

/// Joins or drops matched parts (`true`) as the behaviour says.
fn arrange(parts: &[(usize, usize, bool)], behaviour: Behaviour, emit: &mut impl FnMut(usize, usize)) {
    let mut pending: Option<(usize, usize, bool)> = None;
    for &(start, end, matched) in parts {
        let join = match (behaviour, pending) {
            (Behaviour::MergedWithPrevious, Some((_, _, before))) => matched && !before,
            (Behaviour::MergedWithNext, Some((_, _, before))) => before && !matched,
            (Behaviour::Contiguous, Some((_, _, before))) => matched == before,
            _ => false,
        };
        match &mut pending {
            Some(piece) if join => *piece = (piece.0, end, matched),
            _ => {
                if let Some((start, end, _)) = pending {
                    emit(start, end);
                }
                pending = (behaviour != Behaviour::Removed || !matched).then_some((start, end, matched));
            }
        }
    }
    if let Some((start, end, _)) = pending {
        emit(start, end);
    }
}

impl Stage {
    /// Cuts one piece; offsets are relative to it.
    fn split(&self, text: &str, emit: &mut impl FnMut(usize, usize)) -> Result<(), EncodeError> {
        match self {
            Self::Gpt2 => split_by(text, gpt2_piece_end, emit),
            Self::Words(rules) => split_by(text, |rest| rules.piece_end(rest), emit),
            Self::Numbers { limit } => split_numbers(text, *limit, emit),
            Self::RightGroups { ascii } => split_right_groups(text, *ascii, emit),
            Self::Lines => split_by(text, line_end, emit),
            Self::Pattern(pattern) => return pattern.split(text, emit),
        }
        Ok(())
    }
}

/// Cuts `text` with all stages.
pub(super) fn split(stages: &[Stage], text: &str) -> Result<Vec<Span>, EncodeError> {
    let mut pieces = vec![Span { start: 0, end: text.len() as u32 }];
    if text.is_empty() {
        pieces.clear();
    }
    for stage in stages {
        let mut cut = Vec::with_capacity(pieces.len() * 2);
        for piece in pieces {
            let base = piece.start;
            stage.split(piece.of(text), &mut |start, end| {
                cut.push(Span { start: base + start as u32, end: base + end as u32 });
            })?;
        }
        pieces = cut;
    }
    Ok(pieces)
}

/// Cuts text by a function that gives the end of its first piece.
fn split_by(text: &str, piece_end: impl Fn(&str) -> usize, emit: &mut impl FnMut(usize, usize)) {
    let mut at = 0;
    while at < text.len() {
        let end = at + piece_end(&text[at..]);
        emit(at, end);
        at = end;
    }
}

fn line_end(text: &str) -> usize {
    let feeds = text.starts_with('\n');
    run_end(text, 0, |c| (c == '\n') == feeds)
}

fn split_numbers(text: &str, limit: usize, emit: &mut impl FnMut(usize, usize)) {
    split_by(
        text,
        |rest| match number_end(rest, limit) {
            0 => run_end(rest, 0, |c| !class_of(c).is(Class::NUMBER)),
            end => end,
        },
        emit,
    );
}

fn split_right_groups(text: &str, ascii: bool, emit: &mut impl FnMut(usize, usize)) {
    let is_digit = |c: char| if ascii { c.is_ascii_digit() } else { class_of(c).is(Class::NUMBER) };
    let (mut at, mut done) = (0, 0);
    while at < text.len() {
        let start = run_end(text, at, |c| !is_digit(c));
        let end = run_end(text, start, is_digit);
        let count = text[start..end].chars().count();
        for (i, (offset, _)) in text[start..end].char_indices().enumerate() {
            let cut = start + offset;
            if (count - i).is_multiple_of(3) && (i > 0 || ascii) && cut > done {
                emit(done, cut);
                done = cut;
            }
        }
        if !ascii && end > done && end > start {
            emit(done, end);
            done = end;
        }
        at = end;
    }
    if done < text.len() {
        emit(done, text.len());
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::{Blank, Contractions, Letters};
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    fn pieces(stages: &[Stage], text: &str) -> Vec<String> {
        split(stages, text).unwrap().iter().map(|s| s.of(text).to_string()).collect()
    }

    fn by_regex(regex: &Regex, text: &str) -> Vec<String> {
        let (mut out, mut done) = (Vec::new(), 0);
        for found in regex.find_iter(text) {
            let found = found.unwrap();
            if found.start() > done {
                out.push(text[done..found.start()].to_string());
            }
            out.push(found.as_str().to_string());
            done = found.end();
        }
        if done < text.len() {
            out.push(text[done..].to_string());
        }
        out
    }

    const CONTRACTION: &str = "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]";

    /// The hand-written rules, each with the expression that it stands for.
    fn families() -> Vec<(Stage, String)> {
        let three = WordRules::THREE_DIGITS;
        let blank = r"\s*[\r\n]+|\s+(?!\S)|\s+";
        let cased = |set: &str| {
            let (u, l) = (format!("[{set}&&[^a-z]]"), format!("[{set}&&[^A-Z]]"));
            format!(
                r"[^\r\n\p{{L}}\p{{N}}]?{u}*{l}+(?:{CONTRACTION})?|[^\r\n\p{{L}}\p{{N}}]?{u}+{l}*(?:{CONTRACTION})?"
            )
        };
        let four_o = |letters, set: &str| {
            let rules =
                WordRules { contractions: Contractions::Suffix, letters, tail: &['\r', '\n', '/'], ..three };
            (
                Stage::Words(rules),
                format!(r"{}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{blank}", cased(set)),
            )
        };
        let cascade: String =
            [512, 256, 128, 64, 32, 16, 8, 4].iter().map(|n| format!(r"\s{{{n}}}(?!\S)|")).collect();
        vec![
            (
                Stage::Gpt2,
                r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+".into(),
            ),
            (
                Stage::Words(three),
                format!(
                    r"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{blank}"
                ),
            ),
            (
                Stage::Words(WordRules {
                    letters: Letters::WithMarks,
                    marks_apart: true,
                    ..WordRules::ONE_DIGIT
                }),
                format!(
                    r"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{blank}"
                ),
            ),
            (
                Stage::Words(WordRules {
                    contractions: Contractions::None,
                    tail: &[],
                    digits: usize::MAX,
                    ..three
                }),
                format!(r"[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|{blank}"),
            ),
            (
                Stage::Words(WordRules { blank: Blank::Cascade, ..three }),
                format!(
                    r"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|{cascade}\s{{1,2}}(?!\S)|\s{{1}}"
                ),
            ),
            four_o(Letters::Cased, r"\p{L}"),
            four_o(Letters::CasedWithMarks, r"\p{L}\p{M}"),
        ]
    }

    static FAMILIES: LazyLock<Vec<(Stage, Regex)>> = LazyLock::new(|| {
        families().into_iter().map(|(stage, source)| (stage, Regex::new(&source).unwrap())).collect()
    });

    static LOOK_AHEADS: LazyLock<Vec<(Stage, Regex)>> = LazyLock::new(|| {
        let sources = [
            r"\p{L}+|[\r\n]|\s+(?!\S)|\s+",
            r"[!.][A-Za-z]+|[^\r\n\p{L}\p{P}]?\p{L}+| ?\p{P}+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ];
        sources.map(|s| (Stage::Pattern(Pattern::builtin(s)), Regex::new(s).unwrap())).into()
    });

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn hand_written_rules_equal_their_expressions(text in r"([ \t\n\r]{0,9}|[a-cA-C']{1,4}|'(s|LL|rE|x)|[1-9½Ⅳ٣]{1,5}|[éÉ世e\u{301}ǅ\u{301}]{1,3}|[.,!/€_(]{1,3}|[\u{a0}\u{3000}\u{200b}\u{0}\u{10ffff}]{1,2}){0,12}") {
            for (stage, regex) in FAMILIES.iter() {
                let found = pieces(std::slice::from_ref(stage), &text);
                prop_assert_eq!(found, by_regex(regex, &text), "{}", regex.as_str());
            }
        }

        #[test]
        fn look_ahead_free_expressions_equal_the_originals(text in r"([ \t\n]{0,5}|[a-c.!]{1,4}|[0-9世é]{1,3}){0,9}") {
            for (stage, regex) in LOOK_AHEADS.iter() {
                let found = pieces(std::slice::from_ref(stage), &text);
                prop_assert_eq!(found, by_regex(regex, &text), "{}", regex.as_str());
            }
        }
    }

    #[test]
    fn a_mark_before_capitals_stands_by_itself() {
        for (stage, regex) in FAMILIES.iter() {
            for text in ["\u{301}A", "\u{301}AB c", " \u{301}Ab", "\u{301}\u{301}A", "e\u{301}A"] {
                assert_eq!(
                    pieces(std::slice::from_ref(stage), text),
                    by_regex(regex, text),
                    "{text:?} {regex:?}"
                );
            }
        }
    }

    #[test]
    fn numbers_are_cut_from_either_end() {
        assert_eq!(pieces(&[Stage::Numbers { limit: 1 }], "ab12 3"), ["ab", "1", "2", " ", "3"]);
        assert_eq!(pieces(&[Stage::Numbers { limit: 3 }], "12345x"), ["123", "45", "x"]);
        assert_eq!(
            pieces(&[Stage::RightGroups { ascii: false }], "abc1234 567x"),
            ["abc1", "234", " 567", "x"]
        );
        assert_eq!(pieces(&[Stage::RightGroups { ascii: true }], "1234567"), ["1", "234", "567"]);
        assert_eq!(pieces(&[Stage::RightGroups { ascii: true }], "½123"), ["½", "123"]);
    }

    #[test]
    fn behaviours_arrange_matches() {
        for (behaviour, expected) in [
            (Behaviour::Isolated, vec!["a", "-", "-", "b", "-"]),
            (Behaviour::Removed, vec!["a", "b"]),
            (Behaviour::MergedWithPrevious, vec!["a-", "-", "b-"]),
            (Behaviour::MergedWithNext, vec!["a", "-", "-b", "-"]),
            (Behaviour::Contiguous, vec!["a", "--", "b", "-"]),
        ] {
            let stage = Stage::Pattern(Pattern::parse("-", behaviour, false).unwrap());
            assert_eq!(pieces(&[stage], "a--b-"), expected, "{behaviour:?}");
        }
    }
}
