//! Every production of expressions, and the precedence between them.

use crate::{check_diagnostics, parse_ok, show};

/// Parses `x = text` and checks the right-hand side.
fn check(text: &str, expected: &str) {
    let parse = parse_ok(&format!("x = {text}"));
    assert_eq!(show::file(&parse.file()), format!("eq x = {expected}"), "{text}");
}

#[test]
fn literals_and_names() {
    check("1_000", "1_000");
    check("\"a\\n\"", "\"a\\n\"");
    check("\"\"\"a {b} \\n\"\"\"", "\"a {b} \\\\n\"");
    check("true", "true");
    check("p''", "p''");
    check("größe", "größe");
    check("_", "_");
    check(
        "dim + param + learn + why + main + steps + by + max + assert",
        "(dim + param + learn + why + main + steps + by + max + assert)",
    );
}

#[test]
fn chains_of_one_level_are_flat_and_levels_nest() {
    check("a + b - c + d", "(a + b - c + d)");
    check("a * b / c % d", "(a * b / c % d)");
    check("a or b or c", "(a or b or c)");
    check("a and b and c", "(a and b and c)");
    check("a + b * c - d", "(a + (b * c) - d)");
    check("a * b + c * d", "((a * b) + (c * d))");
    check(
        "a or b and not c == d..e + f * -g h^i.j",
        "(a or (b and (not (c == (d..(e + (f * (-(g · (h ^ i.j))))))))))",
    );
}

#[test]
fn comparisons_chain() {
    check("0 <= x < n", "(0 <= x < n)");
    check("a == b", "(a == b)");
    check("a != b and c >= d and e > f", "((a != b) and (c >= d) and (e > f))");
    check("x in xs", "(x in xs)");
    check("not x in xs", "(not (x in xs))");
    check("not a == b", "(not (a == b))");
    check("not not a", "(not (not a))");
}

#[test]
fn ranges_bind_looser_than_sums() {
    check("0..n + 1", "(0..(n + 1))");
    check("1..2", "(1..2)");
    check("1 .. 2", "(1..2)");
    check("x in 0..n", "(x in (0..n))");
    check_diagnostics("x = 1..2..3", &["E0214 1:9-11 a range has two ends"]);
}

#[test]
fn minus_is_binary_after_an_operand_and_binds_looser_than_a_join_before_one() {
    check("a - b", "(a - b)");
    check("a -b", "(a - b)");
    check("a-b", "(a - b)");
    check("-a b", "(-(a · b))");
    check("-a * b", "((-a) * b)");
    check("a * -b", "(a * (-b))");
    check("a - -b", "(a - (-b))");
    check("--a", "(-(-a))");
    check("-x^2", "(-(x ^ 2))");
    check("(-x)^2", "(paren((-x)) ^ 2)");
}

#[test]
fn powers_are_read_from_the_right_and_bind_tighter_than_joins() {
    check("x[d]^2 y[d]", "((x[d] ^ 2) · y[d])");
    check("a ^ b ^ c", "(a ^ b ^ c)");
    check("x^-2 y", "((x ^ (-2)) · y)");
    check("2^-n^2", "(2 ^ (-(n ^ 2)))");
    check("a b^2", "(a · (b ^ 2))");
    check("(a b)^2", "(paren((a · b)) ^ 2)");
}

#[test]
fn what_follows_an_operand_on_the_line_joins_it() {
    check("A[i, j] B[j, k]", "(A[i, j] · B[j, k])");
    check("A B C", "(A · B · C)");
    check("A[i] B[i] / C[i] D[i]", "((A[i] · B[i]) / (C[i] · D[i]))");
    check("2 x", "(2 · x)");
    check("2 (a + b)", "(2 · paren((a + b)))");
    check("2(a + b)", "(2 · paren((a + b)))");
    check("(a + b)(c + d)", "(paren((a + b)) · paren((c + d)))");
    check("(a + b) c", "(paren((a + b)) · c)");
    check("W[i] (X[i] + Y[i])", "(W[i] · paren((X[i] + Y[i])))");
    check("m.a m.b", "(m.a · m.b)");
    check("f(x) g(y)", "(f(x) · g(y))");
    check("a /* here */ b", "(a · b)");
}

#[test]
fn a_parenthesis_without_a_space_calls_and_with_one_joins() {
    check("f(x)", "f(x)");
    check("f (x)", "(f · paren(x))");
    check("X[d](y)", "X[d](y)");
    check("X[d] (y)", "(X[d] · paren(y))");
    check("m.f(x)", "m.f(x)");
    check("f(x)(y)", "f(x)(y)");
    check("f/**/(x)", "(f · paren(x))");
}

#[test]
fn a_number_text_or_list_after_an_operand_is_a_forgotten_operator() {
    check_diagnostics("x = [1 2]", &["E0207 1:8-9 a number directly after an operand"]);
    check_diagnostics("x = a 2", &["E0207 1:7-8 a number directly after an operand"]);
    check_diagnostics("print \"hi\"", &["E0207 1:7-11 a string directly after an operand"]);
    check_diagnostics("x = A [i]", &["E0208 1:7-8 a space before `[` makes it unclear whether it indexes"]);
    check_diagnostics("x = f(a\n  b)", &["E0202 1:8-8 expected `,` or `)`, found the end of the line"]);
    check_diagnostics("x = \"a\" \"b\"", &["E0203 1:9-12 expected the end of the statement, found a string"]);
}

#[test]
fn joins_reach_over_lines_in_grouping_parentheses_only() {
    check("(A[i, j]\n  B[j, k])", "paren((A[i, j] · B[j, k]))");
    check("f((a\nb))", "f(paren((a · b)))");
    check_diagnostics("x = [a\nb]", &["E0202 1:7-7 expected `,` or `]`, found the end of the line"]);
}

#[test]
fn calls_have_positional_and_named_arguments() {
    check("f()", "f()");
    check("f(x, lr: 0.1)", "f(x, lr: 0.1)");
    check("f(x, y,)", "f(x, y)");
    check("f(\n  x,\n  lr: 0.1,\n)", "f(x, lr: 0.1)");
    check("sum[d](x[d])", "sum[d](x[d])");
    check("mean[d, e](x[d, e]^2)", "mean[d, e]((x[d, e] ^ 2))");
    check("max[t](x[t] where t <= p)", "max[t]((x[t] where (t <= p)))");
    check_diagnostics("f(a: 1, b)", &["E0216 1:9-10 a positional argument follows a named one"]);
}

#[test]
fn paths_index_and_call_anything() {
    check("m.blk[l].attn_q.weight[d, (g r c)]", "m.blk[l].attn_q.weight[d, <g r c>]");
    check("m[\"key\", default]", "m[\"key\", default]");
    check("M[0, \"Alice\"]", "M[0, \"Alice\"]");
    check("[1, 2][0]", "[1, 2][0]");
    check("m.for.in", "m.for.in");
    check("m\n  .a\n  .b", "m.a.b");
}

#[test]
fn index_lists() {
    check("X[i, t.]", "X[i, t.]");
    check("X[x + dx, 2 y - 1]", "X[(x + dx), ((2 · y) - 1)]");
    check("X[x / 2, y % 2]", "X[(x / 2), (y % 2)]");
    check("X[4:8, :8, 4:, :, 0:10:2, ::2]", "X[4:8, :8, 4:, :, 0:10:2, ::2]");
    check("X[tok[p], dst[e] + 1]", "X[tok[p], (dst[e] + 1)]");
    check("X[(g r c), (g), (2 d)]", "X[<g r c>, paren(g), paren((2 · d))]");
    check("X[*t + 1, *t]", "X[(*t + 1), *t]");
    check("X[_, -1]", "X[_, (-1)]");
    check("X[]", "X[]");
    check("X[p, d.] y", "(X[p, d.] · y)");
}

#[test]
fn a_projection_arrow_takes_the_whole_expression() {
    check("x[d, e] y[e] + z[d] -> [d]", "(((x[d, e] · y[e]) + z[d]) -> [d])");
    check("f(x[d] -> [])", "f((x[d] -> []))");
}

#[test]
fn queries_are_postfix() {
    check("Y?", "Y?");
    check("Ancestor(\"Alice\", x)?", "Ancestor(\"Alice\", x)?");
    check("a + Y?", "(a + Y?)");
}

#[test]
fn lists_tuples_and_dicts() {
    check("[1, 2, 3,]", "[1, 2, 3]");
    check("[]", "[]");
    check("()", "tuple()");
    check("(a,)", "tuple(a)");
    check("(a, b)", "tuple(a, b)");
    check("{}", "{}");
    check("{ \"a\": 1, b: [2], 3: {}, }", "{\"a\": 1, b: [2], 3: {}}");
    check("{ \"{k}\": 1, -1: 2 }", "{(str <k>): 1, (-1): 2}");
}

#[test]
fn interpolation_holds_any_expression() {
    check("\"a {x} b\"", "(str \"a \" <x> \" b\")");
    check("\"{x}{y + 1}\"", "(str <x> <(y + 1)>)");
    check("\"{f(\"in {z}\")}!\"", "(str <f((str \"in \" <z>))> \"!\")");
    check("\"{x:.2f} {xs[1:2]:>8}\"", "(str <x:.2f> \" \" <xs[1:2]:>8>)");
    check("\"{ {\"a\": 1} }\"", "(str <{\"a\": 1}>)");
    check("\"{{x}} {y} \\u{41}\\{\"", "(str \"{x} \" <y> \" A{\")");
    check("\"{{x}}\"", "\"{x}\"");
    check("\"\\u{1F600}\"", "\"😀\"");
}

#[test]
fn closures() {
    check("|x| x + 1", "(fn(x) = (x + 1))");
    check("|x, y| x y", "(fn(x, y) = (x · y))");
    check("|| 0", "(fn() = 0)");
    check("|x| { let y = x; y }", "(fn(x) {let y = x; y})");
    check("|x| |y| x y", "(fn(x) = (fn(y) = (x · y)))");
    check("|x| { \"a\": x }", "(fn(x) = {\"a\": x})");
    check("fn(x) = x", "(fn(x) = x)");
    check("fn(x[d], eps = 1) -> [d] = x[d]", "(fn(x[d], eps = 1) -> [d] = x[d])");
    check("fn(x) { x }", "(fn(x) {x})");
    check("map(xs, |x| x^2)", "map(xs, (fn(x) = (x ^ 2)))");
}

#[test]
fn if_is_an_expression_and_flat() {
    check("if a { 1 } else { 2 }", "(if a {1} else {2})");
    check("if a { 1 } else if b { 2 } else { 3 } + 4", "((if a {1} else if b {2} else {3}) + 4)");
    check("if x in {} { 1 }", "(if (x in {}) {1})");
    check("if a\n{ 1 }\nelse { 2 }", "(if a {1} else {2})");
}

#[test]
fn blocks_are_expressions() {
    check("{ let y = 1; y }", "{let y = 1; y}");
}

#[test]
fn newlines_do_not_matter_where_an_operand_is_needed_or_a_line_begins_with_an_operator() {
    check("a +\n\n b", "(a + b)");
    check("\n  a", "a");
    check("a\n  + b\n  * c\n  and d\n  <= e\n  in f", "((a + (b * c)) and (d <= e in f))");
    check("a\n  ^ 2", "(a ^ 2)");
    check("a // comment\n  // another\n  - b", "(a - b)");
}
