//! Evaluation of traced programs by the reference backend.

use tl_exec::reference::evaluate;
use tl_sema::{Argument, Definitions, Limits, OuterTensor, Scope, Traced, trace_expr};
use tl_syntax::SourceMap;
use tl_syntax::ast::{self, Stmt};

use super::{library, show, trace};

/// The elements of the one result of a graph with static axes.
pub fn run(traced: &Traced, inputs: &[Vec<f64>], stream: usize) -> Vec<f64> {
    evaluate(&traced.graph, inputs, stream).remove(0).data
}

/// Traces a function of tensors and evaluates it. Arguments are sizes with elements, the first index slowest.
pub fn call(text: &str, name: &str, arguments: &[(&[usize], &[f64])]) -> Vec<f64> {
    let given: Vec<Argument> = arguments
        .iter()
        .map(|(sizes, values)| match sizes {
            [] => Argument::Number(values[0]),
            sizes => Argument::Input { sizes: sizes.to_vec() },
        })
        .collect();
    let traced = trace(text, name, &given);
    let inputs: Vec<Vec<f64>> =
        arguments.iter().filter(|(s, _)| !s.is_empty()).map(|(_, v)| v.to_vec()).collect();
    run(&traced, &inputs, 0)
}

/// A script's variables.
#[derive(Default)]
pub struct Variables(pub Vec<(&'static str, Argument)>);

impl Scope for Variables {
    fn variable(&self, name: &str) -> Option<Argument> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone())
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(n, _)| n.to_string()).collect()
    }
}

impl Variables {
    pub fn tensor(mut self, name: &'static str, shape: &[usize], values: &[f32]) -> Self {
        let tensor = tl_tensor::Tensor::from_f32(shape, values);
        self.0.push((name, Argument::Tensor(OuterTensor::new(name, tensor))));
        self
    }

    pub fn number(mut self, name: &'static str, value: f64) -> Self {
        self.0.push((name, Argument::Number(value)));
        self
    }
}

/// Runs the equations of a script and evaluates the query at its end. Gives sizes and elements, or the findings.
pub fn script_with(text: &str, variables: &Variables) -> Result<(Vec<usize>, Vec<f64>), String> {
    let mut sources = SourceMap::new();
    let mut program = library(&mut sources);
    let source = sources.add("script.tl", text).unwrap();
    let parse = tl_syntax::parse(&source);
    assert!(parse.diagnostics.is_empty(), "{}", show(&parse.diagnostics, &sources));
    let mut definitions = Definitions::new();
    let mut wanted: Option<ast::Expr> = None;
    for stmt in parse.file().stmts() {
        match stmt {
            Stmt::Equation(equation) => {
                let found = definitions.add_equation(&equation);
                assert!(found.is_empty(), "{}", show(&found, &sources));
            }
            Stmt::Dim(dims) => assert!(definitions.add_dims(&dims).is_empty()),
            Stmt::Query(query) => wanted = query.target(),
            Stmt::Fn(decl) => {
                let mut reader = tl_sema::reader::Reader::new(&mut program);
                let function = reader.function(&decl).unwrap();
                assert!(reader.diagnostics.is_empty(), "{}", show(&reader.diagnostics, &sources));
                program.define(function);
            }
            other => panic!("not part of these tests: {}", other.text()),
        }
    }
    let wanted = wanted.expect("a query at the end");
    match trace_expr(&program, &definitions, variables, &wanted, &Limits::default()) {
        Ok(traced) => {
            let value = evaluate(&traced.graph, &[], 0).remove(0);
            let data = value.data.iter().map(|x| (x * 1e6).round() / 1e6).collect();
            Ok((value.shape, data))
        }
        Err(found) => Err(show(&found, &sources)),
    }
}

/// The sizes and elements of the query at the end of a script without variables.
pub fn script(text: &str) -> (Vec<usize>, Vec<f64>) {
    script_with(text, &Variables::default()).unwrap_or_else(|found| panic!("{found}"))
}

/// The findings of a script that must fail.
pub fn script_error(text: &str) -> String {
    match script_with(text, &Variables::default()) {
        Ok(value) => panic!("no error, but {value:?}"),
        Err(found) => found,
    }
}

/// Whether two lists of numbers are equal up to rounding.
#[track_caller]
pub fn assert_close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len(), "{a:?} and {b:?}");
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= 1e-6 * (1.0 + y.abs()), "element {i}: {x} and {y}");
    }
}
