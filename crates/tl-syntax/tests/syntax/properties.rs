//! Properties that hold for every text: nothing panics, no byte is lost, formatting is idempotent and keeps the meaning.

use proptest::prelude::*;

use crate::{parse, parse_ok, report, show};

/// Pieces that make syntax errors of every kind when thrown together.
const SOUP: &[&str] = &[
    "let", "fn", "if", "else", "for", "in", "while", "break", "return", "import", "and", "or", "not", "true",
    "where", "until", "steps", "dim", "param", "relation", "learn", "main", "why", "assert", "max=", "by",
    "x", "f(", "x[", "t.", "*t", "_", "1", "2.5e-3", "0x", "\"s\"", "\"a {", "\"", "}\"", "\"\"\"", "(", ")",
    "[", "]", "{", "}", ",", ";", ":", ":=", ".", "..", "?", "|", "+", "-", "*", "/", "%", "^", "=", "+=",
    "==", "!=", "<", "<=", ">", ">=", "->", "<-", "/*", "*/", "//", "///", "\n", "\r\n", "\\", "'", "@", "é",
    "😀", "\u{202e}", "\0", "\u{feff}",
];

fn soup() -> impl Strategy<Value = String> {
    let separator = prop::sample::select(vec!["", " ", " ", "\n"]);
    let piece = prop::sample::select(SOUP);
    prop::collection::vec((piece, separator), 0..60)
        .prop_map(|pieces| pieces.iter().map(|(piece, separator)| format!("{piece}{separator}")).collect())
}

/// Expressions as text; every ` ` may be replaced by other white space.
fn expr() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "x",
        "Y'",
        "m.blk[l].w[d, (g r c)]",
        "X[i, t.]",
        "X[*t + 1, 4:8, :, _]",
        "1",
        "2.5e-3",
        "0x1f",
        "\"s\"",
        "\"a {x + 1:.2} b\"",
        "true",
        "f()",
        "\"\"\"raw\nline\"\"\"",
        "()",
        "{}",
        "[]",
        "Y?",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 4, |inner| {
        let binary = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "^", "==", "<", "<=", "!=", "in", "and", "or", "+\n", "..",
        ]);
        prop_oneof![
            (inner.clone(), binary, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("A[i] (2 ({a})\n ({b}))")),
            inner.clone().prop_map(|a| format!("-{a}")),
            inner.clone().prop_map(|a| format!("(not {a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("f({a}, k: {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("sum[d](({a}) where {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a},\n{b} ]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}, {b})")),
            inner.clone().prop_map(|a| format!("{{ \"k\": {a},\n 2: 3 }}")),
            inner.clone().prop_map(|a| format!("(|x, y| {a})")),
            inner.clone().prop_map(|a| format!("(fn(x[d], e = 1) -> [d] = {a})")),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| format!("(if ({a}) {{ {b} }} else {{\n{b}\n}})")),
            inner.prop_map(|a| format!("({a} -> [d, e])")),
        ]
    })
}

fn stmt() -> impl Strategy<Value = String> {
    prop_oneof![
        expr().prop_map(|a| format!("Y[i, j + 1] = {a}")),
        expr().prop_map(|a| format!("Yyy[t.] max= {a} where t <= p // note")),
        (expr(), expr()).prop_map(|(a, b)| format!("Y += {a}\n+ {b}\nuntil change < 1e-6")),
        (expr(), expr()).prop_map(|(a, b)| format!("A(x, _) <- B(x), not C(y), z = {a},\n{b} < 2")),
        expr().prop_map(|a| format!("let x = {a}; y := {a}")),
        expr().prop_map(|a| format!("/// Doc.\nfn f(x, y = {a}) {{\n// in\n\n\nreturn {a}\n}}")),
        (expr(), expr()).prop_map(|(a, b)| format!("for k, v in ({a}) {{ f({b}) }}")),
        expr().prop_map(|a| format!("if ({a}) {{\nb()\n}}\nelse if c {{ d() }} else {{\ne()\n}}")),
        expr().prop_map(|a| format!("learn {{ objective: {a}, batch: e by 64\nepochs: 3 }}")),
        expr().prop_map(|a| format!("dim g = {a}, c = 3\nparam W[d] = ({a})")),
        Just("/* block\n comment */".to_owned()),
        Just("\n\n\n// comment".to_owned()),
    ]
}

/// Programs without errors, with white space and comments of all sorts between their tokens.
fn program() -> impl Strategy<Value = String> {
    let space = prop::sample::select(vec![" ", " ", " ", " ", "   ", "\t", " /* c */ "]);
    (prop::collection::vec(stmt(), 0..6), prop::collection::vec(space, 64)).prop_map(|(stmts, spaces)| {
        let mut spaces = spaces.iter().cycle();
        let mut out = String::new();
        for line in stmts.join("\n").split_inclusive('\n') {
            let verbatim = line.contains(['"', '/']);
            for c in line.chars() {
                match c {
                    ' ' if !verbatim => out.push_str(spaces.next().unwrap()),
                    c => out.push(c),
                }
            }
        }
        out
    })
}

/// The significant tokens of a text.
fn tokens(text: &str) -> Vec<String> {
    let tree = parse(text).tree;
    let tokens = tree.root().descendants().filter(|node| node.is_token() && !node.kind().is_trivia());
    tokens.map(|token| token.text().to_owned()).collect()
}

/// Formatting changes white space alone, and nothing when done again.
pub fn check_formatting(text: &str) {
    let formatted = tl_syntax::fmt::format(&parse(text));
    assert_eq!(tokens(text), tokens(&formatted), "the same tokens\n{text}\n---\n{formatted}");
    let again = tl_syntax::fmt::format(&parse(&formatted));
    assert_eq!(formatted, again, "idempotent\n{text}");
    assert_eq!(
        show::file(&parse(text).file()),
        show::file(&parse(&formatted).file()),
        "\n{text}\n---\n{formatted}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        parse(&text);
        report(&text);
        check_formatting(&text);
    }

    #[test]
    fn random_tokens_are_survived(text in soup()) {
        let parsed = parse(&text);
        show::file(&parsed.file());
        report(&text);
        check_formatting(&text);
    }

    #[test]
    fn a_broken_program_is_survived(start in 0usize..3000, length in 0usize..200, insert in soup()) {
        let text = include_str!("../fixtures/tour.tl");
        let boundary = |at: usize| (at..).find(|&at| text.is_char_boundary(at.min(text.len()))).unwrap().min(text.len());
        let (start, end) = (boundary(start), boundary(start + length));
        let broken = format!("{}{insert}{}", &text[..start], &text[end..]);
        show::file(&parse(&broken).file());
        report(&broken);
        check_formatting(&broken);
    }

    #[test]
    fn a_correct_program_has_no_diagnostic_and_formatting_keeps_its_meaning(text in program()) {
        parse_ok(&text);
        check_formatting(&text);
    }
}
