//! Every production of statements, the newline rule, and the views that only statements have.

use crate::{check_diagnostics, parse_ok, show};
use tl_syntax::ast::{ProjectionOp, Stmt};

/// Parses statements and checks each, one a line.
fn check(text: &str, expected: &str) {
    assert_eq!(show::file(&parse_ok(text).file()), expected, "{text}");
}

#[test]
fn equations_with_every_projection_operator() {
    check("Y = 1", "eq Y = 1");
    check("Y[i] += X[i, j]", "eq Y[i] += X[i, j]");
    check("Y[i] max= X[i, j]", "eq Y[i] max= X[i, j]");
    check("Y[i] min= X[i, j]", "eq Y[i] min= X[i, j]");
    check("Y[i] or= X[i, j]", "eq Y[i] or= X[i, j]");
    check("Y[i] avg= X[i, j]", "eq Y[i] avg= X[i, j]");
    check("Y max= X\nmax = 3\nlet min=4", "eq Y max= X\neq max = 3\nlet min = 4");
    check("Y = max(a) or min(b)", "eq Y = (max(a) or min(b))");
    check("Dist(x, y) min= Dist(x, z) + W(z, y)", "eq Dist(x, y) min= (Dist(x, z) + W(z, y))");
    check("file(\"y.npy\") = Y", "eq file(\"y.npy\") = Y");
    check("Y = file(\"x.csv\")", "eq Y = file(\"x.csv\")");
    check("x[l + 1, p, d] = y[l, p, d]", "eq x[(l + 1), p, d] = y[l, p, d]");
    check("Pooled[x / 2] max= F[x]", "eq Pooled[(x / 2)] max= F[x]");
    check("X[i, *t + 1] = X[i, *t]", "eq X[i, (*t + 1)] = X[i, *t]");
    check("Y[i] =\n    X[i]\n    + Z[i]", "eq Y[i] = (X[i] + Z[i])");
}

#[test]
fn clauses_of_equations_in_any_order_and_on_the_next_line() {
    check("Y[i] = X[i] where i < n and i != k", "eq Y[i] = X[i] where ((i < n) and (i != k))");
    check("Y[i] = X[i]\n  where i < n", "eq Y[i] = X[i] where (i < n)");
    check("V = M V until change < 1e-6", "eq V = (M · V) until (change < 1e-6)");
    check("V = M V\n  until change < 1e-6", "eq V = (M · V) until (change < 1e-6)");
    check("V = M V steps 50", "eq V = (M · V) steps 50");
    check("V = M V steps n where i < n until c", "eq V = (M · V) where (i < n) until c steps n");
    check("steps = 50\ny = 0..steps\nz = steps * 2", "eq steps = 50\neq y = (0..steps)\neq z = (steps * 2)");
    check_diagnostics("Y = X where a where b", &["E0211 1:15-20 `where` is given twice"]);
}

#[test]
fn equations_have_their_parts() {
    let parse = parse_ok("/// How it goes.\n/// Twice.\nA[p, t.] or= q[p] where t <= p");
    let Some(Stmt::Equation(equation)) = parse.file().stmts().next() else { panic!() };
    assert_eq!(equation.name().unwrap().as_str(), "A");
    assert_eq!(equation.op(), Some(ProjectionOp::Or));
    let source = parse.tree.source();
    assert_eq!(source.slice(equation.op_span().unwrap()), "or=");
    assert_eq!(
        source.slice(equation.span()),
        "A[p, t.] or= q[p] where t <= p",
        "doc comments are not in the span"
    );
    assert_eq!(equation.docs().as_deref(), Some("How it goes.\nTwice."));
    let dotted: Vec<bool> = equation.indices().iter().map(|index| index.is_dotted()).collect();
    assert_eq!(dotted, [false, true]);
}

#[test]
fn facts_rules_and_queries() {
    check("Parent(\"Alice\", \"Bob\")", "Parent(\"Alice\", \"Bob\")");
    check("A(x, z) <- A(x, y), P(y, z)", "rule A(x, z) <- A(x, y), P(y, z)");
    check(
        "A(x) <- B(x, _), not C(x), x < 3, z = x + 1",
        "rule A(x) <- B(x, _), not C(x), (x < 3), z := (x + 1)",
    );
    check("A(x) <- B(x),\n    C(x)", "rule A(x) <- B(x), C(x)");
    check("A(x)\n    <- B(x)", "rule A(x) <- B(x)");
    check("Total(x, sum(y)) <- Sale(x, y)", "rule Total(x, sum(y)) <- Sale(x, y)");
    check("Rain <- Wet", "rule Rain <- Wet");
    check("A(x) <- A(x) until change < 1", "rule A(x) <- A(x) until (change < 1)");
    check("Y?\nY[3, j]?\nAncestor(\"Alice\", x)?", "query Y\nquery Y[3, j]\nquery Ancestor(\"Alice\", x)");
    check("why Ancestor(\"Alice\", \"Charlie\")?\nwhy X", "why Ancestor(\"Alice\", \"Charlie\")\nwhy X");
    check("(W[i] X[i])?", "query paren((W[i] · X[i]))");
    check_diagnostics("A(x) :- B(x)", &["E0203 1:6-7 expected the end of the statement, found `:`"]);
}

#[test]
fn declarations() {
    check("relation Edge(node, node)", "relation Edge(node, node)");
    check("relation Edge(from: node, to: node)", "relation Edge(from: node, to: node)");
    check("dim g = 3", "dim g = 3");
    check(
        "dim g = 3, c = n / 2,\n    p = [\"Alice\", \"Bob\"], f",
        "dim g = 3, c = (n / 2), p = [\"Alice\", \"Bob\"], f",
    );
    check("param W[d, k] = glorot()\nparam b = 0.0", "param W[d, k] = glorot()\nparam b[] = 0.0");
    check("import \"other.tl\"", "import \"other.tl\"");
    check(
        "learn { objective: Loss, optimizer: adam(lr: 0.01), epochs: 100, batch: e by 64 }",
        "learn { objective: Loss, optimizer: adam(lr: 0.01), epochs: 100, batch: e by 64 }",
    );
    check("learn {\n  objective: Loss\n  batch: e by 64\n}", "learn { objective: Loss, batch: e by 64 }");
    check(
        "relation = 1\nparam = 2\nwhy = 3\nlearn = 4\nmain = 5",
        "eq relation = 1\neq param = 2\neq why = 3\neq learn = 4\neq main = 5",
    );
}

#[test]
fn functions() {
    check("fn silu(x) = x * sigmoid(x)", "fn silu(x) = (x * sigmoid(x))");
    check("fn f(x[d], eps = 1e-5, n) -> [d] = x[d]", "fn f(x[d], eps = 1e-5, n) -> [d] = x[d]");
    check("fn f(x[d], m) -> y[d] {\n  y[d] = x[d]\n}", "fn f(x[d], m) -> y[d] {eq y[d] = x[d]}");
    check("fn f(x) -> y { y = x }", "fn f(x) -> y {eq y = x}");
    check("fn f() { }", "fn f() {}");
    check("fn f(a[p, t]) -> [p] = a[p, t] where t <= p", "fn f(a[p, t]) -> [p] = a[p, t] where (t <= p)");
    check("fn f(\n  x,\n  y,\n)\n  = x y", "fn f(x, y) = (x · y)");
    check("fn f(x)\n{\n}", "fn f(x) {}");
}

#[test]
fn doc_comments_belong_to_the_statement_below() {
    let text = "// plain\n\n/// Not this one.\n\n/// First line.\n/// Second.\n// aside\nfn f(x) = x\n";
    let Some(Stmt::Fn(function)) = parse_ok(text).file().stmts().next() else { panic!() };
    assert_eq!(function.docs().as_deref(), Some("First line.\nSecond."));
    assert!(
        function.text().starts_with("/// First")
            && function.span().start as usize == text.find("fn").unwrap()
    );
    let Some(Stmt::Fn(bare)) = parse_ok("//// a line\nfn f(x) = x").file().stmts().next() else { panic!() };
    assert_eq!(bare.docs(), None);
}

#[test]
fn scripting() {
    check("let x = 1\nlet (a, (b, _)) = t\nlet _ = f()", "let x = 1\nlet (a, (b, _)) = t\nlet _ = f()");
    check("x := 1\nxs[0] := 2\nm.a := 3", "assign x := 1\nassign xs[0] := 2\nassign m.a := 3");
    check("for x in xs { f(x) }", "for x in xs {f(x)}");
    check("for i in 0..n { break }", "for i in (0..n) {break}");
    check(
        "for k, v in d { continue }\nfor (k, v) in d { }",
        "for (k, v) in d {continue}\nfor (k, v) in d {}",
    );
    check("while x < 3 { x := x + 1 }", "while (x < 3) {assign x := (x + 1)}");
    check("if a { b() } else if c { d() } else { e() }", "(if a {b()} else if c {d()} else {e()})");
    check("if a { b() }\nelse { c() }\nd()", "(if a {b()} else {c()})\nd()");
    check(
        "fn f() { return }\nfn g() { return\n 1 }\nfn h() { return 1 }",
        "fn f() {return}\nfn g() {return; 1}\nfn h() {return 1}",
    );
    check("main {\n  print(1)\n}", "main {print(1)}");
    check(
        "assert a == b\nassert a, \"no\"\nassert(a, \"no\")\nassert(a) == b",
        "assert (a == b)\nassert a, \"no\"\nassert a, \"no\"\nassert (paren(a) == b)",
    );
    check("{ a() }", "{a()}");
    check("{ \"a\": 1 }\nfn f() { { b: 1 } }", "{\"a\": 1}\nfn f() {{b: 1}}");
    check("a(); b(); c();", "a()\nb()\nc()");
    check("if a { b() } c()", "(if a {b()})\nc()");
}

#[test]
fn a_line_break_ends_a_statement() {
    check("a\nb", "a\nb");
    check("f\n(x)", "f\nparen(x)");
    check("x = a\n[b]", "eq x = a\n[b]");
    check("A[i]\nB[i]", "A[i]\nB[i]");
    check("a /* comment\n over lines */ b", "a\nb");
    check("x = 1;\n;;y = 2", "eq x = 1\neq y = 2");
    check("a\r\nb\r\n", "a\nb");
}

#[test]
fn a_line_that_begins_with_a_minus_continues_with_a_warning_where_it_looks_otherwise() {
    check("x = a\n    - b", "eq x = (a - b)");
    let warning = "W0250 2:1-2 this line continues the expression above";
    check_diagnostics("x = a\n-b", &[warning]);
    check_diagnostics("f(a\n  -b)", &[]);
}

#[test]
fn nothing_and_comments_only_are_programs() {
    for text in ["", "\n", "// only this", "/* and */", "\u{feff}", " \t\r\n;"] {
        check(text, "");
    }
}

#[test]
fn the_example_decoder_parses_without_a_diagnostic() {
    let parse = parse_ok(include_str!("../fixtures/llama.tl"));
    let Some(Stmt::Fn(function)) = parse.file().stmts().next() else { panic!() };
    let Some(tl_syntax::ast::FnBody::Block(body)) = function.body() else { panic!() };
    assert_eq!(body.stmts().count(), 16);
    let shown = show::file(&parse.file());
    assert!(shown.contains("eq a[l, p, g, r, t.] = softmax(((q[l, p, g, r, c] · k[l, t, g, c]) / sqrt(size(c)))) where (t <= p)"), "{shown}");
}

#[test]
fn the_tour_of_the_language_parses_without_a_diagnostic() {
    parse_ok(include_str!("../fixtures/tour.tl"));
}
