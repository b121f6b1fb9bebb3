//! Unicode classes of characters, by one table look-up.
//!
//! The table is built once, from the tables of the regular-expression engine, so that hand-written splitters and
//! expressions agree on what a letter is.

use regex_syntax::hir::{Class as HirClass, HirKind};
use std::sync::OnceLock;

/// A set of character classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class(pub(super) u8);

impl Class {
    /// `\p{L}`.
    pub(super) const LETTER: Self = Self(1);
    /// `\p{N}`.
    pub(super) const NUMBER: Self = Self(2);
    /// `\s`, the characters of White_Space.
    pub(super) const SPACE: Self = Self(4);
    /// `\p{M}`.
    pub(super) const MARK: Self = Self(8);
    /// `\p{P}`.
    pub(super) const PUNCTUATION: Self = Self(16);
    /// `\p{S}`.
    pub(super) const SYMBOL: Self = Self(32);
    /// `\p{Cc}`, `\p{Cf}` and `\p{Co}`.
    pub(super) const CONTROL: Self = Self(64);

    /// True where the character is in any class of `other`.
    pub(super) fn is(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for Class {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The classes of a character.
pub(super) fn class_of(c: char) -> Class {
    static TABLE: OnceLock<Table> = OnceLock::new();
    let table = TABLE.get_or_init(Table::build);
    let c = c as usize;
    Class(table.classes[table.blocks[c >> 8] as usize + (c & 255)])
}

/// The ideographs that the `kimi-k2` rule keeps apart: CJK unified and compatibility ideographs, extensions A to F.
pub(super) fn is_han(c: char) -> bool {
    matches!(c as u32,
        0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x2A6DF | 0x2A700..=0x2EBEF | 0x2F800..=0x2FA1F)
}

/// The ideographs around which BERT's rule puts spaces. The range at U+2B920 is what the reference implementation has.
pub(super) fn is_bert_ideograph(c: char) -> bool {
    matches!(c as u32,
        0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F
        | 0x2B740..=0x2B81F | 0x2B920..=0x2CEAF | 0x2F800..=0x2FA1F)
}

/// Two levels: blocks of 256 characters, equal blocks shared.
struct Table {
    blocks: Vec<u32>,
    classes: Vec<u8>,
}

impl Table {
    fn build() -> Self {
        let mut flat = vec![0u8; 0x11_0000];
        for (pattern, class) in [
            (r"\p{L}", Class::LETTER),
            (r"\p{N}", Class::NUMBER),
            (r"\s", Class::SPACE),
            (r"\p{M}", Class::MARK),
            (r"\p{P}", Class::PUNCTUATION),
            (r"\p{S}", Class::SYMBOL),
            (r"[\p{Cc}\p{Cf}\p{Co}]", Class::CONTROL),
        ] {
            for (start, end) in ranges(pattern) {
                flat[start as usize..=end as usize].iter_mut().for_each(|classes| *classes |= class.0);
            }
        }
        let mut table = Self { blocks: Vec::new(), classes: Vec::new() };
        for block in flat.chunks(256) {
            let found = table.classes.chunks(256).position(|known| known == block);
            let index = found.unwrap_or_else(|| {
                table.classes.extend_from_slice(block);
                table.classes.len() / 256 - 1
            });
            table.blocks.push(index as u32 * 256);
        }
        table
    }
}

/// The code points that a class expression matches.
fn ranges(pattern: &str) -> Vec<(char, char)> {
    let hir = regex_syntax::parse(pattern).expect("the class expressions are constants of this file");
    match hir.kind() {
        HirKind::Class(HirClass::Unicode(class)) => {
            class.ranges().iter().map(|r| (r.start(), r.end())).collect()
        }
        _ => unreachable!("a class expression parses to a class"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_have_their_classes() {
        assert!(class_of('a').is(Class::LETTER));
        assert!(class_of('世').is(Class::LETTER) && is_han('世'));
        assert!(class_of('½').is(Class::NUMBER) && class_of('Ⅳ').is(Class::NUMBER));
        assert!(class_of('\u{3000}').is(Class::SPACE) && class_of('\u{85}').is(Class::SPACE));
        assert!(!class_of('\u{200b}').is(Class::SPACE));
        assert!(class_of('\u{301}').is(Class::MARK));
        assert!(class_of('。').is(Class::PUNCTUATION) && class_of('€').is(Class::SYMBOL));
        assert_eq!(class_of('\u{10ffff}'), Class(0));
    }
}
