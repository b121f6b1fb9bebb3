//! The formatter: what it does, that it does it once, and that it changes nothing but white space.

use crate::{parse, parse_ok, show};

fn fmt(text: &str) -> String {
    tl_syntax::fmt::format(&parse(text))
}

/// Formats a text, checks the result, that it formats to itself, and that it means the same.
fn check(text: &str, expected: &str) {
    let formatted = fmt(text);
    assert_eq!(formatted, expected, "\n{formatted}");
    assert_eq!(fmt(&formatted), formatted, "formatting twice is formatting once");
    assert_eq!(show::file(&parse_ok(text).file()), show::file(&parse_ok(&formatted).file()), "\n{formatted}");
}

#[test]
fn spaces_within_a_line() {
    check("x=a+b *c", "x = a + b * c\n");
    check("Y[ i,j ]max=X [i]".replace(" [i]", "[i]").as_str(), "Y[i, j] max= X[i]\n");
    check("x=f( a,lr :0.1 )?", "x = f(a, lr: 0.1)?\n");
    check("x = - a ^ 2 .. b", "x = -a^2..b\n");
    check("x=2(a)(b) c", "x = 2 (a) (b) c\n");
    check("x = f(a)  f (a)", "x = f(a) f (a)\n");
    check("x = X[ 4 : 8,: 8,* t+1,t . ,( g  r ) ]", "x = X[4:8, :8, *t + 1, t., (g r)]\n");
    check("x={\"a\":1,\"b\":{ }}", "x = { \"a\": 1, \"b\": {} }\n");
    check("x = | a,b |a  b", "x = |a, b| a b\n");
    check("x = ||0", "x = || 0\n");
    check(
        "fn f (x [d],e=1)->[d]=x[d]".replace("f (", "f(").replace("x [", "x[").as_str(),
        "fn f(x[d], e = 1) -> [d] = x[d]\n",
    );
    check("x = y->[d]", "x = y -> [d]\n");
    check("A(x)<-B(x),not C(x),z=x+1", "A(x) <- B(x), not C(x), z = x + 1\n");
    check("relation E (a,b:c)".replace("E (", "E(").as_str(), "relation E(a, b: c)\n");
    check("if a{b()}else{c()}", "if a { b() } else { c() }\n");
    check("a();b() ;c()", "a(); b(); c()\n");
    check("x = \"{ a+b } { c :.2}\"", "x = \"{ a+b } { c :.2}\"\n");
    check("x = 1 .real", "x = 1 .real\n");
    check("x = m . a [ i ]".replace("a [", "a[").as_str(), "x = m.a[i]\n");
    check("x = (a) /* b */ + /*c*/d", "x = (a) /* b */ + /*c*/ d\n");
    check("x = [a,b,]", "x = [a, b,]\n");
    check("Y[2 * j+1] = X[n / 2+j] * Z[2 *j:i/2]", "Y[2*j + 1] = X[n/2 + j] * Z[2*j:i/2]\n");
    check("Y = X[f(2*j), (2*j)]", "Y = X[f(2 * j), (2 * j)]\n");
    check("assert (a == b, \"c\")", "assert(a == b, \"c\")\n");
    check("assert(a)==b,\"c\"", "assert (a) == b, \"c\"\n");
    check("let (a,b)=c", "let (a, b) = c\n");
}

#[test]
fn indentation() {
    check(
        "fn f(x) {\nlet y = g(\nx,\n[1,\n2]\n)\nif y {\nz()\n}\nelse {\nw()\n}\n}\n",
        "fn f(x) {\n    let y = g(\n        x,\n        [1,\n            2]\n    )\n    if y {\n        z()\n    }\n    else {\n        w()\n    }\n}\n",
    );
    check("f(|x| {\ny\n})\n", "f(|x| {\n    y\n})\n");
    check("x = a\n+ b\n* c\nwhere d", "x = a\n    + b\n    * c\n    where d\n");
    check("x = f(a\n+ b,\nc)", "x = f(a\n        + b,\n    c)\n");
    check("A(x) <- B(x),\nC(x)", "A(x) <- B(x),\n    C(x)\n");
    check("fn f()\n{\na\n}", "fn f()\n{\n    a\n}\n");
    check("learn {\nobjective: L\nepochs: 3\n}", "learn {\n    objective: L\n    epochs: 3\n}\n");
}

#[test]
fn comments_and_empty_lines_stay() {
    check("\n\n// a\n\n\n\nx = 1   // b\n   // c\n\n", "// a\n\nx = 1   // b\n// c\n");
    check("fn f() {\n\n  // in\n  a\n\n  // end\n\n}\n", "fn f() {\n    // in\n    a\n\n    // end\n}\n");
    check("x = a\n// why\n+ b", "x = a\n    // why\n    + b\n");
    check("/* a\n b */ x = 1", "/* a\n b */ x = 1\n");
    check("/// doc   \nfn f() = 1", "/// doc\nfn f() = 1\n");
    check("f( /* none */ )", "f(/* none */)\n");
    check("", "");
    check("\u{feff}x = 1\r\n", "x = 1\n");
}

#[test]
fn aligned_columns_stay_aligned() {
    check("ab  = 1\nabc = 2\n", "ab  = 1\nabc = 2\n");
    check("a     = 1\nabc   = 2\n", "a   = 1\nabc = 2\n");
    check("a   = 1\nabc = 2\nabcd = 3\n", "a   = 1\nabc = 2\nabcd = 3\n");
    check("a = 1\nabc = 2\n", "a = 1\nabc = 2\n");
    check("a    = 1\n", "a = 1\n");
    check("let a   = 1\nlet bcd = 2\n", "let a   = 1\nlet bcd = 2\n");
    check("a = 1      // one\nabc = 2    // two\n", "a = 1      // one\nabc = 2    // two\n");
    check("a=1    // one\nb=2    // two\n", "a = 1    // one\nb = 2    // two\n");
    check("x = {   // open\na    // x\n}", "x = {   // open\n    a    // x\n}\n");
    check("x = {\n\"a\":   1,\n\"bcd\": 2,\n}", "x = {\n    \"a\":   1,\n    \"bcd\": 2,\n}\n");
    check("x = {\n\"a\": 1,\n\"bcd\": 2,\n}", "x = {\n    \"a\": 1,\n    \"bcd\": 2,\n}\n");
}

#[test]
fn the_fixtures_are_in_their_standard_layout() {
    for text in [include_str!("../fixtures/llama.tl"), include_str!("../fixtures/tour.tl")] {
        assert_eq!(fmt(text), text);
    }
}

/// The programs of the repository under a folder.
fn programs(folder: &str) -> Vec<(std::path::PathBuf, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut found, mut pending) = (Vec::new(), vec![root.join(folder)]);
    while let Some(folder) = pending.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "tl") {
                let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "there are programs in {folder}");
    found
}

#[test]
fn the_library_and_the_examples_are_in_their_standard_layout() {
    for (path, text) in ["lib", "examples"].into_iter().flat_map(programs) {
        assert_eq!(fmt(&text), text, "{}: tl fmt lib examples", path.display());
    }
}

#[test]
fn formatting_the_programs_of_the_suite_keeps_what_they_mean() {
    for (_, text) in programs("tests/suite") {
        super::properties::check_formatting(&text);
    }
}

#[test]
fn a_program_with_errors_is_left_alone() {
    for text in ["x  = (", "x  =  \"a", "  )  "] {
        assert_eq!(fmt(text), text);
    }
}
