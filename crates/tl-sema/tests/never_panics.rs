//! Programs made up at random: whatever they are, checking and tracing give findings or a valid graph, and never panic.

mod support;

use proptest::prelude::*;
use support::{FakeModel, NoImports, library};
use tl_sema::{Argument, Definitions, Limits, check, trace_expr, trace_function};
use tl_syntax::SourceMap;
use tl_syntax::ast::Stmt;

const TENSORS: [&str; 5] = ["A", "B", "x", "y", "tok"];
const INDICES: [&str; 6] = ["i", "j", "p", "t", "l", "_"];

fn pick(items: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(items).prop_map(str::to_owned)
}

fn index() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => pick(&INDICES),
        1 => pick(&INDICES).prop_map(|i| format!("{i}.")),
        1 => (pick(&INDICES), -2..3i32).prop_map(|(i, n)| format!("{i} + {n}")),
        1 => (pick(&INDICES), 1..4i32).prop_map(|(i, n)| format!("{n} * {i} + 1")),
        1 => pick(&INDICES).prop_map(|i| format!("{i} / 2")),
        1 => (pick(&INDICES), pick(&INDICES)).prop_map(|(i, j)| format!("({i} {j})")),
        1 => (pick(&INDICES), pick(&INDICES)).prop_map(|(i, j)| format!("{i} - {j}")),
        1 => (0..4i32).prop_map(|n| n.to_string()),
        1 => (pick(&TENSORS), pick(&INDICES)).prop_map(|(t, i)| format!("{t}[{i}]")),
        1 => Just("0:2".to_owned()),
        1 => Just("\"a\"".to_owned()),
    ]
}

fn access() -> impl Strategy<Value = String> {
    (pick(&TENSORS), prop::collection::vec(index(), 0..4)).prop_map(|(tensor, indices)| match &indices[..] {
        [] => tensor,
        indices => format!("{tensor}[{}]", indices.join(", ")),
    })
}

fn expr() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => access(),
        1 => (0..5i32).prop_map(|n| n.to_string()),
        1 => pick(&INDICES),
        1 => Just("[1, 2]".to_owned()),
        1 => Just("[[1, 2], [3, 4]]".to_owned()),
        1 => Just("m.w[i, j]".to_owned()),
        1 => Just("m.blk[l].w[i]".to_owned()),
        1 => Just("m[\"n\", 2]".to_owned()),
        1 => pick(&INDICES).prop_map(|i| format!("size({i})")),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let unary: &[&str] = &["exp", "softmax", "rms_norm", "f", "g", "sum", "max", "has", "size", "argmax", "nothing"];
        let reductions: &[&str] = &["sum", "max", "mean", "argmin", "any", "count", "median"];
        prop_oneof![
            3 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} {b})")),
            3 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} * {b}")),
            2 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} + {b}")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} / {b}")),
            1 => inner.clone().prop_map(|a| format!("-({a})^2")),
            2 => (prop::sample::select(unary), inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            2 => (prop::sample::select(reductions), pick(&INDICES), inner.clone())
                .prop_map(|(f, i, a)| format!("{f}[{i}]({a})")),
            1 => (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(c, a, b)| format!("if {c} > 1 {{ {a} }} else {{ {b} }}")),
            1 => (inner.clone(), pick(&INDICES), pick(&INDICES)).prop_map(|(a, i, j)| format!("({a} where {i} <= {j})")),
            1 => (inner.clone(), pick(&INDICES)).prop_map(|(a, i)| format!("({a} -> [{i}])")),
            1 => (inner, pick(&TENSORS)).prop_map(|(a, t)| format!("h({a}, {t})")),
        ]
    })
}

fn equation() -> impl Strategy<Value = String> {
    let operator = prop::sample::select(&["=", "=", "=", "=", "+=", "max=", "avg=", "or="][..]);
    let guard = prop_oneof![
        3 => Just(String::new()),
        1 => (pick(&INDICES), pick(&INDICES)).prop_map(|(i, j)| format!(" where {i} <= {j}")),
        1 => (pick(&INDICES), expr()).prop_map(|(i, e)| format!(" where {i} < {e} and {i} != 1")),
    ];
    (access(), operator, expr(), guard)
        .prop_map(|(left, op, right, guard)| format!("{left} {op} {right}{guard}\n"))
}

fn body() -> impl Strategy<Value = String> {
    let dims = prop_oneof![
        Just(String::new()),
        (pick(&INDICES), 0..5i32).prop_map(|(i, n)| format!("dim {i} = {n}\n")),
        pick(&INDICES).prop_map(|i| format!("dim {i} = size(j)\n")),
    ];
    (dims, prop::collection::vec(equation(), 1..6)).prop_map(|(dims, equations)| dims + &equations.concat())
}

const FUNCTIONS: &str = "fn f(x[d]) -> y[d] { y[d] = x[d] * 2 }\n\
    fn g(x[d], m = 1) -> y[e] { dim e = 3\n y[e] = x[d] * e }\n\
    fn h(x, t) = x + t\n";

fn limits() -> Limits {
    Limits { nodes: 20_000, steps: 2_000, depth: 200, interrupt: None }
}

/// A graph that is valid can be walked by every pass.
fn walk(graph: &tl_ir::Graph) {
    let _ = tl_ir::stream::derive(graph);
    let _ = graph.to_string();
}

proptest! {
    #[test]
    fn scripts(text in body(), query in access()) {
        let mut sources = SourceMap::new();
        let mut program = library(&mut sources);
        let source = sources.add("random.tl", format!("{FUNCTIONS}{text}{query}?\n")).unwrap();
        let _ = check(&source, &mut NoImports, &program);
        let mut definitions = Definitions::new();
        for stmt in tl_syntax::parse(&source).file().stmts() {
            match stmt {
                Stmt::Equation(equation) => drop(definitions.add_equation(&equation)),
                Stmt::Dim(dims) => drop(definitions.add_dims(&dims)),
                Stmt::Fn(decl) => {
                    if let Some(function) = tl_sema::reader::Reader::new(&mut program).function(&decl) {
                        program.define(function);
                    }
                }
                Stmt::Query(query) => {
                    let Some(target) = query.target() else { continue };
                    match trace_expr(&program, &definitions, &(), &target, &limits()) {
                        Ok(traced) => walk(&traced.graph),
                        Err(found) => prop_assert!(found.iter().any(|d| d.is_error())),
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn generators(text in body()) {
        let mut sources = SourceMap::new();
        let library = library(&mut sources);
        let text = format!("{FUNCTIONS}fn llm(m, tok[p]) -> logits[p, v] {{\n dim v = 3\n{text}logits[p, v] = x[p, v]\n}}\n");
        let source = sources.add("random.tl", text).unwrap();
        let checked = check(&source, &mut NoImports, &library);
        let mut model = FakeModel::default();
        model.add("w", &[2, 3]).add("blk.0.w", &[2]).add("blk.1.w", &[3]).number("n", 2.0);
        match trace_function(&checked.program, "llm", &[model.argument(), Argument::Stream], &limits()) {
            Ok(traced) => walk(&traced.graph),
            Err(found) => prop_assert!(found.iter().any(|d| d.is_error())),
        }
    }
}
