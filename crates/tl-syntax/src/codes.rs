//! The table of diagnostic codes: one row gives a code, the constant that names it, and its one-line title.
//!
//! Everything else that knows codes (the constants, [`ALL`], [`title`], the index of error pages) is derived from it.
//! To add one, add a row to the section of your crate, in the order of the numbers. A code is never used twice and,
//! once released, never given another meaning.
//!
//! | numbers | crate | about |
//! |---|---|---|
//! | 00xx | `tl-syntax` | source texts |
//! | 01xx | `tl-syntax` | tokens |
//! | 02xx | `tl-syntax` | grammar |
//! | 03xx | `tl-sema` | names |
//! | 04xx | `tl-sema` | indices, domains and sizes |
//! | 05xx | `tl-sema` | relations and rules |
//! | 06xx | `tl-sema`, `tl-ir` | staging, causality, limits |
//! | 07xx | `tensorlogic` | scripts at run time |
//! | 08xx | `tensorlogic` | files, models |

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeInfo {
    /// The code, a letter (`E` for errors, `W` for warnings) and four digits.
    pub code: &'static str,
    /// What it is about, in one line without a full stop.
    pub title: &'static str,
}

macro_rules! codes {
    ($($code:ident $name:ident $title:literal)*) => {
        $(
            #[doc = concat!("`", stringify!($code), "`: ", $title, ".")]
            pub const $name: &str = stringify!($code);
        )*

        /// Every code, in the order of this file.
        pub const ALL: &[CodeInfo] = &[$(CodeInfo { code: stringify!($code), title: $title }),*];
    };
}

codes! {
    // 00xx: source texts
    E0001 SOURCE_TOO_LARGE "a source text is larger than 16 MiB"
    E0002 NOT_UTF8 "a source text is not UTF-8"
    E0003 TOO_MANY_TOKENS "a source text has too many tokens"
    E0004 TOO_MANY_ERRORS "a source text has so many errors that the rest is not shown"

    // 01xx: tokens
    E0101 UNKNOWN_CHARACTER "a character starts no token"
    E0102 UNTERMINATED_STRING "a string has no closing quote"
    E0103 UNTERMINATED_COMMENT "a block comment has no end"
    E0104 MALFORMED_NUMBER "a number is malformed"
    E0105 NUMBER_OUT_OF_RANGE "a number is out of range"
    E0106 BAD_ESCAPE "an escape sequence in a string is not known"
    E0107 STRAY_BRACE_IN_STRING "a brace in a string belongs to no interpolation"
    E0108 NAME_TOO_LONG "a name is too long"
    E0109 NUL_BYTE "a source text holds a NUL character"
    E0110 COMMENT_NESTING "block comments are nested too deep"
    W0150 INVISIBLE_CHARACTER "an invisible or direction-changing character"
    W0151 CONFUSABLE_NAME "a name looks like another name or mixes scripts"

    // 02xx: grammar
    E0201 EXPECTED_EXPRESSION "an expression is missing"
    E0202 EXPECTED_TOKEN "something else was expected here"
    E0203 EXPECTED_END_OF_STATEMENT "a statement does not end where it should"
    E0204 UNCLOSED_BRACKET "a bracket is never closed"
    E0205 STRAY_BRACKET "a closing bracket has no partner"
    E0206 NESTING_LIMIT "brackets or operators are nested too deep"
    E0207 MISSING_OPERATOR "two operands stand side by side and cannot be joined"
    E0208 SPACE_BEFORE_BRACKET "a space before `[` makes it unclear whether it indexes"
    E0209 FOREIGN_OPERATOR "an operator of another language"
    E0210 BAD_LEFT_SIDE "this cannot be defined or assigned to"
    E0211 REPEATED_CLAUSE "a clause is given twice"
    E0212 MISPLACED_INDEX "an index form outside of an index list"
    E0213 EXPECTED_NAME "a name is missing"
    E0214 CHAINED_RANGE "ranges cannot be chained"
    E0215 EXPECTED_BLOCK "a block is missing"
    E0216 POSITIONAL_AFTER_NAMED "a positional argument follows a named one"
    W0250 LINE_STARTS_WITH_MINUS "a line that starts with a minus continues the line above"
    W0251 DANGLING_DOC_COMMENT "a doc comment documents nothing"
}

/// The title of a code, if the table has it.
pub fn title(code: &str) -> Option<&'static str> {
    ALL.iter().find(|info| info.code == code).map(|info| info.title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_well_formed_unique_and_titled() {
        let mut numbers: Vec<&str> = ALL.iter().map(|info| &info.code[1..]).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ALL.len(), "an error and a warning may not share a number either");
        for info in ALL {
            let (letter, digits) = info.code.split_at(1);
            assert!(matches!(letter, "E" | "W"), "{}", info.code);
            assert!(digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()), "{}", info.code);
            assert!(!info.title.is_empty() && !info.title.ends_with('.'), "{}: {}", info.code, info.title);
        }
        assert_eq!(title(UNTERMINATED_STRING), Some("a string has no closing quote"));
        assert_eq!(title("E9999"), None);
    }
}
