//! Broken programs: how many errors, where, and that the rest is still understood.

use crate::{check_diagnostics, parse, report, show};

/// Checks the diagnostics (see [`check_diagnostics`]) and the statements that are understood all the same.
fn check(text: &str, diagnostics: &[&str], statements: &str) {
    check_diagnostics(text, diagnostics);
    assert_eq!(show::file(&parse(text).file()), statements, "\n{text}\n{}", report(text));
}

#[test]
fn each_broken_statement_has_its_own_error() {
    check(
        "let = 1\ny = \nz = 3 +\nfn () = 1\nlet w = 4\n* 5\n= 6\nv = 7",
        &[
            "E0213 1:5-6 expected a name, found `=`",
            "E0201 2:4-4 expected an expression, found the end of the line",
            "E0201 7:1-2 expected an expression, found `=`",
        ],
        "let ? = 1\neq y = ?\neq z = (3 + (fn() = 1))\nlet w = (4 * 5)\neq v = 7",
    );
}

#[test]
fn a_statement_that_does_not_end_skips_to_the_end_of_its_line() {
    check(
        "x = a \"b\" { (c, d) } e\ny = 2",
        &[
            "E0207 1:7-10 a string directly after an operand",
            "E0203 1:11-12 expected the end of the statement, found `{`",
        ],
        "eq x = (a · \"b\")\neq y = 2",
    );
    check(
        "x = 1 else [\n2\n] 3\ny = 2",
        &["E0203 1:7-11 expected the end of the statement, found the keyword `else`"],
        "eq x = 1\neq y = 2",
    );
}

#[test]
fn an_unclosed_bracket_costs_one_statement() {
    check("x = f(a, b\ny = 2", &["E0204 1:6-7 this `(` is never closed"], "eq x = f(a, b)\neq y = 2");
    check("x = [1, 2\nlet y = 2", &["E0204 1:5-6 this `[` is never closed"], "eq x = [1, 2]\nlet y = 2");
    check(
        "x = W[i, j X[j]\ny = 2",
        &["E0204 1:6-7 this `[` is never closed"],
        "eq x = W[i, (j · X[j])]\neq y = 2",
    );
    check(
        "fn f() {\n  x = (1\n}\ny = 2",
        &["E0204 2:7-8 this `(` is never closed"],
        "fn f() {eq x = paren(1)}\neq y = 2",
    );
    check("fn f() {\n  x = 1\n", &["E0204 1:8-9 this `{` is never closed"], "fn f() {eq x = 1}");
}

#[test]
fn a_stray_bracket_is_named() {
    check(
        "x = 1)\ny = 2",
        &["E0203 1:6-7 expected the end of the statement, found `)`"],
        "eq x = 1\neq y = 2",
    );
    check("}\ny = 2", &["E0205 1:1-2 this `}` closes nothing"], "eq y = 2");
    check("fn f() { ) }\ny = 2", &["E0205 1:10-11 this `)` closes nothing"], "fn f() {}\neq y = 2");
}

#[test]
fn a_wrong_token_in_a_list_costs_one_element() {
    check(
        "x = [1, ?, 3]\ny = 2",
        &["E0202 1:9-10 expected an expression, found `?`"],
        "eq x = [1, 3]\neq y = 2",
    );
    check("x = f(, a)", &["E0202 1:7-8 expected an argument, found `,`"], "eq x = f(a)");
    check(
        "x = [\n  1\n  2\n]\ny = 2",
        &["E0202 2:4-4 expected `,` or `]`, found the end of the line"],
        "eq x = [1, 2]\neq y = 2",
    );
    check(
        "x = { \"a\": 1, \"b\" 2 }",
        &["E0202 1:19-20 expected `:` and a value, found `2`"],
        "eq x = {\"a\": 1, \"b\": ?}",
    );
}

#[test]
fn left_sides_that_are_none_are_refused() {
    check_diagnostics("1 = x", &["E0210 1:1-2 this cannot be defined"]);
    check_diagnostics("a + b = x", &["E0210 1:1-6 this cannot be defined"]);
    check_diagnostics("f(x) := 1", &["E0210 1:1-5 this cannot be assigned to"]);
    check_diagnostics("X[i] <- Y(i)", &["E0210 1:1-5 this cannot be the head of a rule"]);
    check_diagnostics("let W[i] = 1", &["E0210 1:6-7 `let` binds a name, not a tensor"]);
    check_diagnostics("x = 1 = 2", &["E0203 1:7-8 expected the end of the statement, found `=`"]);
}

#[test]
fn incomplete_control_flow() {
    check("if { a() }\nb()", &["E0201 1:4-5 expected an expression, found `{`"], "(if ? {a()})\nb()");
    check("while x\nb()", &["E0215 1:8-8 expected `{`, found the end of the line"], "while x ?\nb()");
    check("for in xs { }", &["E0213 1:5-7 expected a name, found the keyword `in`"], "for ? in xs {}");
    check("for x xs { }", &["E0202 1:7-9 expected `in`, found `xs`"], "for x in ? ?");
    check("if a = b { }", &["E0215 1:6-7 expected `{`, found `=`"], "(if a {})");
    check("else { a() }", &["E0201 1:1-5 expected an expression, found the keyword `else`"], "");
    check("let x := 1", &["E0202 1:7-9 expected `=` and a value, found `:=`"], "let x = ?");
    check("fn f(x) x", &["E0215 1:9-10 expected `=` or `{`, found `x`"], "fn f(x) ?");
    check("import other", &["E0202 1:8-13 expected a path in quotes, found `other`"], "import \"\"");
    check(
        "learn { 3, epochs: 1 }",
        &["E0202 1:9-10 expected an entry such as `objective: Loss`, found `3`"],
        "learn { epochs: 1 }",
    );
    check("let for = 1", &["E0213 1:5-8 expected a name, found the keyword `for`"], "let ? = 1");
}

#[test]
fn errors_are_counted_up_to_a_limit() {
    let parse = parse(&"?\n".repeat(2000));
    assert_eq!(parse.diagnostics.len(), 501);
    assert_eq!(parse.diagnostics.last().unwrap().code, tl_syntax::codes::TOO_MANY_ERRORS);
}

#[test]
fn what_an_error_looks_like() {
    let shown = report("Y = step(W[i] X[i]\nZ = 3\n");
    let expected = "\
error[E0204]: this `(` is never closed
 --> test.tl:1:9
  |
1 | Y = step(W[i] X[i]
  |         ^         - expected `)` here at the latest
  |         |
  |         opened here

1 error
";
    assert_eq!(shown, expected);
}

/// A text for each code of tokens and grammar; a new code needs a new line here.
#[test]
fn every_code_is_reported_for_some_text() {
    let deep = format!("x = {}", "(".repeat(300));
    let nested = "/*".repeat(300) + &"*/".repeat(300);
    let long = format!("{} = 1", "x".repeat(300));
    let noise = "? ".repeat(10) + &"\n?".repeat(1000);
    let examples = [
        ("E0004", noise.as_str()),
        ("E0101", "x = @"),
        ("E0102", "x = \"a"),
        ("E0103", "/*"),
        ("E0104", "x = 1_"),
        ("E0105", "x = 1e999"),
        ("E0106", "x = \"\\q\""),
        ("E0107", "x = \"}\""),
        ("E0108", &long),
        ("E0109", "\0"),
        ("E0110", &nested),
        ("W0150", "// \u{202e}"),
        ("W0151", "a = \u{430}"),
        ("E0201", "x ="),
        ("E0202", "for x y { }"),
        ("E0203", "x = 1 )"),
        ("E0204", "x = ("),
        ("E0205", "}"),
        ("E0206", &deep),
        ("E0207", "x = [1 2]"),
        ("E0208", "x = A [i]"),
        ("E0209", "x = +1"),
        ("E0210", "1 = x"),
        ("E0211", "x = 1 where a where b"),
        ("E0213", "let 1 = 2"),
        ("E0214", "x = 1..2..3"),
        ("E0215", "while x"),
        ("E0216", "f(a: 1, 2)"),
        ("W0250", "x = a\n-b"),
    ];
    let of_syntax = |code: &str| &code[1..3] <= "02" && !["E0001", "E0002", "E0003"].contains(&code);
    for info in tl_syntax::codes::ALL.iter().filter(|info| of_syntax(info.code)) {
        assert!(examples.iter().any(|(code, _)| *code == info.code), "{} has no example", info.code);
    }
    for (code, text) in examples {
        let parse = parse(text);
        assert!(parse.diagnostics.iter().any(|diagnostic| diagnostic.code == code), "{code}: {text}");
    }
}
