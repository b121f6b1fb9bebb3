//! The table of diagnostic codes: one row gives a code, the constant that names it, and its one-line title.
//!
//! Everything else that knows codes (the constants, [`ALL`], [`title`], [`page`]) is derived from it. To add one, add a row
//! to the section of your crate, in the order of the numbers, and write its page, `docs/errors/CODE.md`: without it this file
//! does not compile. A code is never used twice and, once released, never given another meaning.
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
    /// The page that explains it, in Markdown: a program that gives it and one that is right.
    pub page: &'static str,
}

macro_rules! codes {
    ($($code:ident $name:ident $title:literal)*) => {
        $(
            #[doc = concat!("`", stringify!($code), "`: ", $title, ".")]
            pub const $name: &str = stringify!($code);
        )*

        /// Every code, in the order of this file.
        pub const ALL: &[CodeInfo] = &[$(CodeInfo {
            code: stringify!($code),
            title: $title,
            page: include_str!(concat!("../../../docs/errors/", stringify!($code), ".md")),
        }),*];
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
    E0213 EXPECTED_NAME "a name is missing"
    E0214 CHAINED_RANGE "ranges cannot be chained"
    E0215 EXPECTED_BLOCK "a block is missing"
    E0216 POSITIONAL_AFTER_NAMED "a positional argument follows a named one"
    W0250 LINE_STARTS_WITH_MINUS "a line that starts with a minus continues the line above"

    // 03xx: names
    E0301 UNKNOWN_NAME "a name is not defined"
    E0302 DEFINED_TWICE "a name is defined twice in one place"
    E0303 UNKNOWN_FUNCTION "a function is not defined"
    E0304 ARGUMENT_COUNT "a function is called with the wrong arguments"
    E0305 NOT_IN_EQUATION "something of scripts stands in an equation"
    E0306 WRONG_KIND "a value is of the wrong kind"
    E0307 UNKNOWN_TENSOR "a model has no tensor of that name"
    E0308 UNKNOWN_METADATA "a model has no metadata of that key"

    // 04xx: indices, domains and sizes
    E0401 SIZE_MISMATCH "two sizes of one index contradict each other"
    E0402 UNKNOWN_SIZE "the size of an index does not follow from anything"
    E0403 INDEX_COUNT "a tensor is indexed with the wrong number of indices"
    E0404 BAD_INDEX "an index expression has no meaning here"
    E0405 AMBIGUOUS_SUM "it is not clear where an index is summed"
    E0406 SUMMED_AND_USED "an index is summed in one place and used again outside"
    E0407 UNBOUND_INDEX "an index on the left side is not bound on the right"
    E0408 MISSING_DOT "it is not clear which axis a function works along"
    E0409 BAD_SIZE "a size is not a whole number that is possible"
    E0410 GUARD_SCOPE "a guard relates indices that do not meet"
    E0411 GROUP_SIZE "a grouped axis does not divide as written"
    E0412 RANK_MISMATCH "two tensors without indices have different shapes"
    E0413 DOT_AND_MAP "an index is worked along in one argument and mapped over in another"
    W0450 SINGLE_INDEX "an index occurs once and is summed"
    W0451 UNKNOWN_CONSTANT "a query names a constant that nothing else names"

    // 05xx: relations and rules
    E0501 NO_TOKEN "a text is no token of the model's vocabulary"

    // 06xx: staging, causality, limits
    E0601 CYCLIC_DEFINITION "a definition needs itself"
    E0602 TOO_MANY_STEPS "unrolling takes too many steps"
    E0603 GRAPH_TOO_LARGE "a program becomes too large a graph"
    E0604 LOOKS_AHEAD "a generator reads what comes later"
    E0605 NOT_STATIC "a value must be known before the program runs"
    E0606 NOT_A_GENERATOR "a function does not have the form of a generator"
    E0607 NO_BEGINNING "a recursion has no first element"
    E0608 REFUSED "a program refuses what it is given"
    E0609 NO_ROUNDS "a fixpoint stands where no rounds can be made"
    E0610 NOT_SETTLED "a recursion has not come to an end"
    E0611 NOT_STRATIFIED "a relation depends on its own negation"
    E0612 GROWS "a rule makes new numbers without end"

    // 07xx: scripts at run time
    E0701 ASSERTION_FAILED "an assertion does not hold"
    E0702 STEP_LIMIT "a script takes too many steps"
    E0703 CALL_DEPTH "calls are nested too deep"
    E0704 NO_SUCH_ELEMENT "there is no such element"
    E0705 NOT_A_VARIABLE "something that is no variable is assigned to"
    E0706 MISPLACED_JUMP "a `break`, `continue` or `return` outside of what it leaves"
    E0707 CALL_FAILED "a built-in function can't do what is asked"
    E0708 LENGTH_LIMIT "a value becomes too long"
    E0709 INTERRUPTED "a script was interrupted"
    E0710 NOT_AVAILABLE "something of the language that this version can't run"
    E0711 PATTERN_MISMATCH "a value does not have the parts of a pattern"
    E0712 RUN_FAILED "equations could not be run"

    // 08xx: files, models
    E0801 IMPORT_FAILED "a file can't be imported"
    E0802 IMPORT_CYCLE "files import one another in a circle"
    E0803 IMPORT_LIMIT "a program imports too much"
}

/// The title of a code, if the table has it.
pub fn title(code: &str) -> Option<&'static str> {
    ALL.iter().find(|info| info.code == code).map(|info| info.title)
}

/// The page of a code, if the table has it. The letter may be left out and be small: `E0401`, `e0401`, `401`.
pub fn page(code: &str) -> Option<&'static str> {
    let digits = code.trim_start_matches(['E', 'e', 'W', 'w']);
    let number: u32 = digits.parse().ok()?;
    ALL.iter().find(|info| info.code[1..].parse() == Ok(number)).map(|info| info.page)
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
            assert!(info.page.starts_with(&format!("# {}: {}\n", info.code, info.title)), "{}", info.code);
            assert_eq!(page(info.code), Some(info.page));
        }
        assert_eq!(title(UNTERMINATED_STRING), Some("a string has no closing quote"));
        assert_eq!(title("E9999"), None);
        assert_eq!(page("e401"), page("E0401"));
        assert_eq!((page("E9999"), page(""), page("E")), (None, None, None));
    }
}
