//! Tokens: what is one, what is not, and what is said about it.

use crate::{check_diagnostics, parse, parse_ok, report};
use tl_syntax::SyntaxKind;

/// The significant tokens of a text, as `kind text`, separated by commas.
fn tokens(text: &str) -> String {
    let parse = parse(text);
    let tokens = parse.tree.root().descendants().filter(|node| node.is_token() && !node.kind().is_trivia());
    tokens.map(|token| format!("{:?} {}", token.kind(), token.text())).collect::<Vec<_>>().join(", ")
}

#[test]
fn numbers_and_what_looks_like_one() {
    assert_eq!(tokens("1..2"), "Number 1, DotDot .., Number 2");
    assert_eq!(tokens("0x1f 1_000 2.5e-3 1e5"), "Number 0x1f, Number 1_000, Number 2.5e-3, Number 1e5");
    check_diagnostics("x = 1.e5", &["E0104 1:5-9 the point of a number is followed by a digit"]);
    check_diagnostics("x = 1.", &["E0104 1:5-7 the point of a number is followed by a digit"]);
    check_diagnostics("x = 0x", &["E0104 1:5-7 `0x` is followed by hexadecimal digits"]);
    check_diagnostics("x = 1_", &["E0104 1:5-7 an underscore in a number stands between two digits"]);
    check_diagnostics("x = 1__0", &["E0104 1:5-9 an underscore in a number stands between two digits"]);
    check_diagnostics("x = 1e", &["E0104 1:5-7 an exponent has at least one digit"]);
    check_diagnostics("x = 2x", &["E0104 1:5-7 a number runs into a name"]);
    check_diagnostics("x = 0b1", &["E0104 1:5-8 a number runs into a name"]);
    check_diagnostics("m.blk.0.weight", &["E0213 1:7-8 expected the name of a field, found `0`"]);
    check_diagnostics("x = .5", &["E0201 1:5-6 expected an expression, found `.`"]);
    assert!(report("x = .5").contains("a number begins with a digit: `0.5`"));
}

#[test]
fn numbers_out_of_range_are_errors_and_never_infinite() {
    let digits = "9".repeat(400);
    check_diagnostics(&format!("x = {digits}"), &["E0105 1:5-405 this whole number is too large"]);
    check_diagnostics("x = 1e999", &["E0105 1:5-10 this number is too large for a float"]);
    check_diagnostics(
        "x = 1e-999",
        &["E0105 1:5-11 this number is too small for a float: it would become 0"],
    );
    parse_ok("x = 0e999 + 9223372036854775807 + 1.7976931348623157e308 + 4.9e-324");
}

#[test]
fn names() {
    assert_eq!(
        tokens("p' größe _ _x 变量 let let'"),
        "Ident p', Ident größe, Underscore _, Ident _x, Ident 变量, LetKw let, Ident let'"
    );
    check_diagnostics(
        &format!("{} = 1", "x".repeat(256)),
        &["E0108 1:1-257 this name has 256 bytes; the limit is 255"],
    );
    parse_ok(&format!("{} = 1", "x".repeat(255)));
}

#[test]
fn comments_nest_and_end() {
    assert_eq!(tokens("a /* b /* c */ d */ e // f\n/// g\nh"), "Ident a, Ident e, Ident h");
    check_diagnostics("a = 1 /* x /* y */", &["E0103 1:7-9 this comment is never closed"]);
    assert_eq!(tokens("a //= b"), "Ident a");
}

#[test]
fn strings_end_with_their_line() {
    check_diagnostics("x = \"abc\ny = 1", &["E0102 1:5-6 this string is never closed"]);
    check_diagnostics("x = \"abc", &["E0102 1:5-6 this string is never closed"]);
    check_diagnostics("x = \"a {b\ny = 1", &["E0102 1:5-6 this string is never closed"]);
    check_diagnostics("x = \"a {f(\"b\ny = 1", &["E0102 1:5-6 this string is never closed"]);
    check_diagnostics("x = \"a {b} c\r\ny = 1", &["E0102 1:5-6 this string is never closed"]);
    check_diagnostics("x = \"\"\"abc\ny = 1", &["E0102 1:5-8 this raw string is never closed"]);
    parse_ok("x = \"\"\"a\n\"b\" {c}\n\"\"\"");
    assert_eq!(tokens("\"a\\\"b\""), "Str \"a\\\"b\"");
}

#[test]
fn wrong_escapes_and_stray_braces_are_pointed_at() {
    check_diagnostics("x = \"a\\q\"", &["E0106 1:7-9 `\\q` is no escape sequence"]);
    check_diagnostics("x = \"\\u{110000}\"", &["E0106 1:6-16 `\\u{110000}` is no escape sequence"]);
    check_diagnostics("x = \"a } b\"", &["E0107 1:8-9 this brace closes no interpolation"]);
    check_diagnostics("x = \"{a} } b\"", &["E0107 1:10-11 this brace closes no interpolation"]);
    check_diagnostics(
        "x = \"{}\"",
        &["E0201 1:7-8 expected an expression, found the `}` of an interpolation"],
    );
    check_diagnostics("x = \"{a b c, d}\"", &["E0202 1:12-13 expected `}`, found `,`"]);
}

#[test]
fn characters_of_other_languages_get_a_hint() {
    check_diagnostics("x = a − b", &["E0101 1:7-8 `−` starts no token"]);
    assert!(report("x = a − b").contains("a minus is the ASCII character `-`"));
    check_diagnostics("x = !a", &["E0101 1:5-6 `!` starts no token"]);
    check_diagnostics("x = a && b", &["E0101 1:7-9 `&&` starts no token"]);
    check_diagnostics("x = 'text'", &["E0101 1:5-11 `'text'` starts no token"]);
    check_diagnostics("# comment", &["E0101 1:1-2 `#` starts no token"]);
    check_diagnostics("x = ☃☃☃", &["E0101 1:5-8 `☃☃☃` starts no token"]);
    check_diagnostics("x = a || b", &["E0203 1:7-8 expected the end of the statement, found `|`"]);
    check_diagnostics("x = a ** b", &["E0201 1:8-9 expected an expression, found `*`"]);
    assert!(report("x = a ** b").contains("a power is written `^`"));
    check_diagnostics("x -= 1", &["E0201 1:4-5 expected an expression, found `=`"]);
    assert!(report("x -= 1").contains("`x := x - …`"));
    check_diagnostics("if a <-1 { }", &["E0209 1:6-8 `<-` begins the body of a rule"]);
}

#[test]
fn nul_is_an_error_with_its_offset() {
    check_diagnostics("x = 1\0", &["E0109 1:6-7 NUL character at byte 5"]);
    check_diagnostics("x = \"\0\"", &["E0109 1:6-7 NUL character at byte 5"]);
    check_diagnostics("// \0", &["E0109 1:4-5 NUL character at byte 3"]);
}

#[test]
fn byte_order_mark_crlf_tabs_and_no_final_newline_are_fine_and_spans_right() {
    let parse = parse_ok("\u{feff}\tx = 1\r\n\ty = 2");
    let spans: Vec<_> =
        parse.file().stmts().map(|stmt| parse.tree.source().slice(stmt.span()).to_owned()).collect();
    assert_eq!(spans, ["x = 1", "y = 2"]);
}

#[test]
fn direction_overrides_warn_everywhere_and_invisible_characters_in_code() {
    check_diagnostics(
        "x = 1 // a\u{202e}b",
        &["W0150 1:11-12 the character U+202E changes the direction of text"],
    );
    check_diagnostics(
        "x = \"\u{2066}\"",
        &["W0150 1:6-7 the character U+2066 changes the direction of text"],
    );
    check_diagnostics("x\u{202e} = 1", &["W0150 1:2-3 the character U+202E changes the direction of text"]);
    check_diagnostics("x =\u{200b} 1", &["W0150 1:4-5 the character U+200B cannot be seen"]);
    check_diagnostics("x\u{200d}y = 1", &["W0150 1:2-3 the character U+200D cannot be seen"]);
    check_diagnostics("x = \"👩\u{200d}💻\"", &[]);
}

#[test]
fn names_that_look_alike_warn() {
    check_diagnostics(
        "p\u{430}ge = 1",
        &["W0151 1:1-5 `p\u{430}ge` mixes Latin letters with Cyrillic ones that look Latin"],
    );
    check_diagnostics(
        "a = 1\n\u{430} = 2",
        &["W0151 2:1-2 the names `a` and `\u{430}` look alike and are different"],
    );
    check_diagnostics("ρ = 1\nσ = ρ", &[]);
    check_diagnostics("ρ = 1\np = 2", &["W0151 1:1-2 the names `p` and `ρ` look alike and are different"]);
    check_diagnostics("привет = 1\nмир = 2", &[]);
}

#[test]
fn the_token_at_an_offset_is_found() {
    let parse = parse_ok("ab = cd + 1");
    let at =
        |offset| parse.tree.token_at(offset).map(|token| (token.kind(), token.text().to_owned())).unwrap();
    assert_eq!(at(0), (SyntaxKind::Ident, "ab".into()));
    assert_eq!(at(1), (SyntaxKind::Ident, "ab".into()));
    assert_eq!(at(2), (SyntaxKind::Whitespace, " ".into()));
    assert_eq!(at(11), (SyntaxKind::Number, "1".into()));
    assert!(parse_ok("").tree.token_at(0).is_none());
}
