//! Which brackets belong together, found in one pass before parsing.
//!
//! A closing bracket belongs to the innermost open one of its kind; whatever was opened in between is unclosed. But
//! round and square brackets look no further than the innermost brace: a brace is the firmer structure, and a stray
//! `)` must not swallow a block. Closing brackets that find no partner are stray.

use crate::kind::SyntaxKind::{self, *};

/// For each token the index of its partner.
pub(super) struct Partners(Vec<u32>);

const NONE: u32 = u32::MAX;

/// How many brackets of each kind are open in the innermost brace.
#[derive(Clone, Copy, Default)]
struct Open {
    round: u32,
    square: u32,
}

impl Partners {
    /// Pairs the brackets of a sequence of tokens.
    pub fn of(kinds: impl ExactSizeIterator<Item = SyntaxKind>) -> Partners {
        let mut partners = vec![NONE; kinds.len()];
        let mut stack: Vec<(SyntaxKind, u32, Open)> = Vec::new();
        let (mut open, mut braces, mut interpolations) = (Open::default(), 0u32, 0u32);
        for (index, kind) in kinds.enumerate() {
            if kind.closer().is_some() {
                stack.push((kind, index as u32, open));
                match kind {
                    LParen => open.round += 1,
                    LBracket => open.square += 1,
                    LBrace => (braces, open) = (braces + 1, Open::default()),
                    _ => (interpolations, open) = (interpolations + 1, Open::default()),
                }
                continue;
            }
            let waiting = match kind {
                RParen => open.round,
                RBracket => open.square,
                RBrace => braces,
                InterpClose => interpolations,
                _ => continue,
            };
            if waiting == 0 {
                continue;
            }
            while let Some((opener, place, before)) = stack.pop() {
                match opener {
                    LBrace => braces -= 1,
                    InterpOpen => interpolations -= 1,
                    _ => {}
                }
                open = before;
                if opener.closer() == Some(kind) {
                    partners[place as usize] = index as u32;
                    partners[index] = place;
                    break;
                }
            }
        }
        Partners(partners)
    }

    /// The index of the token that closes or opens this one.
    pub fn of_token(&self, index: usize) -> Option<usize> {
        self.0.get(index).copied().filter(|&partner| partner != NONE).map(|partner| partner as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The partner of each bracket, `-` for none.
    fn pairs(text: &str) -> String {
        let kind = |c| match c {
            '(' => LParen,
            ')' => RParen,
            '[' => LBracket,
            ']' => RBracket,
            '{' => LBrace,
            '}' => RBrace,
            _ => Ident,
        };
        let partners = Partners::of(text.chars().map(kind).collect::<Vec<_>>().into_iter());
        let show = |index| partners.of_token(index).map_or("-".to_owned(), |partner| partner.to_string());
        (0..text.len()).map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn brackets_are_paired_and_the_rest_is_unclosed_or_stray() {
        assert_eq!(pairs("([x])"), "4 3 - 1 0");
        assert_eq!(pairs("{(}"), "2 - 0", "a brace closes over an open parenthesis");
        assert_eq!(pairs("({)}"), "- 3 - 1", "a parenthesis does not close over a brace");
        assert_eq!(pairs("(])"), "2 - 0");
        assert_eq!(pairs("((]"), "- - -");
        assert_eq!(pairs("{{}"), "- 2 1");
    }
}
