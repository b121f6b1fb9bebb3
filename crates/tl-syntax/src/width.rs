//! How many columns a character takes on a terminal: none, one or two.
//!
//! The ranges are the large blocks of Unicode's East Asian Width (wide and full-width) and of combining marks; a rare
//! character that they miss shifts a caret by one column.

/// The columns of a character that is shown as it is. Control characters must have been replaced before.
pub(crate) fn columns(c: char) -> usize {
    match u32::from(c) {
        0..=0x2ff => 1,
        0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x610..=0x61a | 0x64b..=0x65f | 0x6d6..=0x6dc => 0,
        0x93c | 0x941..=0x948 | 0x94d | 0xe31 | 0xe34..=0xe3a | 0xe47..=0xe4e => 0,
        0x1ab0..=0x1aff
        | 0x1dc0..=0x1dff
        | 0x200b..=0x200d
        | 0x20d0..=0x20ff
        | 0xfe00..=0xfe0f
        | 0xfe20..=0xfe2f => 0,
        0xe0100..=0xe01ef => 0,
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0x4dbf | 0x4e00..=0xa4cf | 0xa960..=0xa97f => 2,
        0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 => 2,
        0x1f300..=0x1f64f | 0x1f680..=0x1f6ff | 0x1f900..=0x1f9ff | 0x1fa70..=0x1faff | 0x20000..=0x3fffd => {
            2
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn letters_take_one_ideographs_and_emoji_two_and_combining_marks_none() {
        assert_eq!(['a', 'é', 'ж', '漢', '한', '😀', '\u{301}'].map(columns), [1, 1, 1, 2, 2, 2, 0]);
    }
}
