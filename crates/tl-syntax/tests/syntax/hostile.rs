//! Inputs that have broken parsers. None of them may panic, take long or lose a byte.

use crate::{parse, parse_ok, show};
use tl_syntax::{MAX_TREE_DEPTH, Parse, codes};

/// The codes of the diagnostics, without repetitions.
fn codes_of(parse: &Parse) -> Vec<&'static str> {
    let mut codes: Vec<&str> = parse.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    codes.dedup();
    codes
}

/// The depth of the deepest node.
fn depth(parse: &Parse) -> usize {
    let mut open: Vec<u32> = Vec::new();
    let mut deepest = 0;
    for node in parse.tree.root().descendants().filter(|node| !node.is_token()) {
        while open.last().is_some_and(|&end| node.range().0 >= end && node.range().1 > end) {
            open.pop();
        }
        open.push(node.range().1);
        deepest = deepest.max(open.len());
    }
    deepest
}

const MANY: usize = 100_000;

#[test]
fn nesting_up_to_the_limit_is_fine_and_beyond_it_one_error() {
    parse_ok(&format!("x = {}1{}", "(".repeat(256), ")".repeat(256)));
    let parse = parse(&format!("x = {}1{}\ny = 2", "(".repeat(257), ")".repeat(257)));
    assert_eq!(codes_of(&parse), [codes::NESTING_LIMIT]);
    assert!(show::file(&parse.file()).ends_with("\neq y = 2"));
}

#[test]
fn a_hundred_thousand_brackets_closed_or_not() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{", "}"),
        ("f(", ")"),
        ("x[", "]"),
        ("\"{", "}\""),
        ("if a {", "}"),
        ("fn(x) {", "}"),
        ("|x| {", "}"),
    ] {
        for text in [
            format!("x = {}{}", open.repeat(MANY), close.repeat(MANY)),
            format!("x = {}1{}", open.repeat(MANY), close.repeat(MANY)),
            format!("x = {}", open.repeat(MANY)),
            format!("x = {}", close.repeat(MANY)),
            open.repeat(MANY),
        ] {
            let parse = parse(&text);
            assert!(parse.has_errors(), "{open}");
            assert!(depth(&parse) <= MAX_TREE_DEPTH + 1, "{open}");
        }
    }
}

#[test]
fn a_hundred_thousand_prefix_operators_and_functions() {
    for (text, name) in
        [("-", "minus"), ("not ", "not"), ("|x| ", "closure"), ("fn(x) = ", "fn"), ("2^-", "power")]
    {
        let parse = parse(&format!("x = {}1\ny = 2", text.repeat(MANY)));
        assert_eq!(codes_of(&parse), [codes::NESTING_LIMIT], "{name}");
        assert!(show_last(&parse).ends_with("eq y = 2"), "{name}");
        assert!(depth(&parse) <= MAX_TREE_DEPTH + 1, "{name}");
    }
}

#[test]
fn a_hundred_thousand_unfinished_conditions_and_guards() {
    for text in
        ["if ", "f(x where ", "(x where ", "(x where y ", "if x in ", "while ", "return ", "x = fn(y = "]
    {
        let parse = parse(&text.repeat(MANY));
        assert!(parse.has_errors(), "{text}");
        assert!(depth(&parse) <= MAX_TREE_DEPTH + 1, "{text}");
    }
}

fn show_last(parse: &Parse) -> String {
    parse.file().stmts().last().map(|stmt| show::stmt(&stmt)).unwrap_or_default()
}

#[test]
fn flat_chains_of_a_hundred_thousand_are_accepted_and_flat() {
    for link in [" + b", " - b", " * b", " b", " ^ b", " and b", " or b", " < b", "\n + b"] {
        let parse = parse_ok(&format!("x = a{}", link.repeat(MANY)));
        assert!(depth(&parse) <= 5, "{link}");
    }
    let parse = parse_ok(&format!("x = [{}]", "1, ".repeat(MANY)));
    assert_eq!(depth(&parse), 4);
    let parse = parse_ok(&format!("if a {{ }}{}", " else if a { }".repeat(MANY)));
    assert_eq!(depth(&parse), 4);
    parse_ok(&"f(x)\n".repeat(MANY));
}

#[test]
fn postfix_chains_are_limited_by_the_depth_of_the_tree() {
    parse_ok(&format!("x = a{}", ".b".repeat(700)));
    for link in [".b", "[i]", "(x)"] {
        let parse = parse(&format!("x = a{}\ny = 2", link.repeat(MANY)));
        assert!(codes_of(&parse).contains(&codes::NESTING_LIMIT), "{link}");
        assert!(depth(&parse) <= MAX_TREE_DEPTH + 1, "{link}");
        assert_eq!(show_last(&parse), "eq y = 2", "{link}");
    }
}

#[test]
fn a_hundred_thousand_nested_comments() {
    let parse = parse(&format!("{}{}", "/*".repeat(MANY), "*/".repeat(MANY)));
    assert_eq!(codes_of(&parse), [codes::COMMENT_NESTING]);
    let parse = crate::parse(&"/*".repeat(MANY));
    assert_eq!(codes_of(&parse), [codes::UNTERMINATED_COMMENT, codes::COMMENT_NESTING]);
}

#[test]
fn what_is_open_at_the_end_is_reported_at_its_opener() {
    for (text, code, column) in [
        ("x = \"abc", codes::UNTERMINATED_STRING, 4),
        ("x = 1 /* abc", codes::UNTERMINATED_COMMENT, 6),
        ("x = (abc", codes::UNCLOSED_BRACKET, 4),
        ("x = [abc", codes::UNCLOSED_BRACKET, 4),
        ("fn f() {", codes::UNCLOSED_BRACKET, 7),
    ] {
        let parse = parse(text);
        assert_eq!(parse.diagnostics[0].code, code, "{text}");
        assert_eq!(parse.diagnostics[0].primary_span().unwrap().start, column, "{text}");
    }
}

#[test]
fn huge_tokens_are_read_and_a_huge_name_is_refused() {
    parse_ok(&format!("x = \"{}\"", "a".repeat(10 << 20)));
    let parse = parse(&format!("{} = 1", "x".repeat(1 << 20)));
    assert_eq!(codes_of(&parse), [codes::NAME_TOO_LONG]);
}

#[test]
fn mismatched_brackets_take_linear_time() {
    for text in ["([", "(]", "{(", "{[)", "(}", "\"{(", "[(]"] {
        parse(&text.repeat(MANY));
    }
}

#[test]
fn more_tokens_than_the_limit_are_an_error_and_not_an_exhausted_memory() {
    let parse = parse(&"a ".repeat(3 << 20));
    assert!(parse.diagnostics.iter().any(|diagnostic| diagnostic.code == codes::TOO_MANY_TOKENS));
}

/// Statements of every kind, cut off after every character and with every character left out.
#[test]
fn every_prefix_and_every_omission_of_a_program_is_survived() {
    let text = include_str!("../fixtures/tour.tl");
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    for &at in &places {
        parse(&text[..at]);
        let mut without = text.to_owned();
        without.remove(at);
        parse(&without);
    }
}
