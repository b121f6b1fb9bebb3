//! What a dialogue asks of an interpreter beyond running programs: definitions that take the place of earlier ones, the names that
//! are there, what a value is, and what an expression would be computed by.

use tl_syntax::ast::{self, Expr, Stmt};
use tl_syntax::{Diagnostic, Source, codes};

use super::format::dims;
use super::function::signature;
use super::{Interpreter, Value, fault};
use crate::error::Error;
use crate::explain::Explanation;
use crate::library;

impl Interpreter {
    /// Whether what a program defines takes the place of what earlier programs defined, as a person expects who types a line again: an
    /// equation that of equations with the same left side or another number of indices (`+=` still adds), a variable that of equations.
    /// Without it, equations with the same left side add up, wherever they come from.
    pub fn set_dialogue(&mut self, on: bool) {
        self.dialogue = on;
    }

    /// Everything that a program could name, sorted: variables, tensors, functions.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.environment.names().map(|n| n.to_string()).collect();
        names.extend(self.builtins.keys().map(|n| (*n).to_owned()));
        names.extend(self.equations.names().iter().map(|n| n.to_string()));
        names.extend(self.equations.function_names().iter().map(|n| n.to_string()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What a value is: its kind, of a tensor the shape and the element type, of a function the head and what it does.
    pub fn describe(&self, value: &Value) -> String {
        match value {
            Value::Tensor(tensor) => format!("a tensor, {} of {}", dims(&tensor.shape()), tensor.dtype()),
            Value::Builtin(builtin) => format!("{}\n{}", builtin.signature(), builtin.doc),
            Value::Function(function) => match declaration(function) {
                Some(decl) => {
                    let docs = decl.docs().map(|docs| format!("\n{docs}")).unwrap_or_default();
                    format!("{}{docs}", signature(&decl))
                }
                None => "a function".to_owned(),
            },
            Value::List(_) | Value::Tuple(_) | Value::Dict(_) => {
                format!("{} of {}", value.kind(), value.length().unwrap_or_default())
            }
            other => other.kind().to_owned(),
        }
    }

    /// How an expression, or the target of a query, would be computed. Nothing is.
    ///
    /// # Errors
    /// [`Error::Program`] when the text is no expression, or something is wrong with it.
    pub fn explain(&mut self, name: &str, text: &str) -> Result<Explanation, Error> {
        let source = match self.sources.add(name, text) {
            Ok(source) => source,
            Err(error) => return Err(self.program_error(vec![error.to_diagnostic()])),
        };
        self.begin(&source);
        let result = self.on_a_large_stack(|interpreter| interpreter.explain_source(&source));
        self.end(result)
    }

    fn explain_source(&mut self, source: &Source) -> fault::Eval<Explanation> {
        let parse = tl_syntax::parse(source);
        let errors: Vec<Diagnostic> = parse.diagnostics.iter().filter(|d| d.is_error()).cloned().collect();
        if !errors.is_empty() {
            return Err(errors.into());
        }
        let statements: Vec<Stmt> = parse.file().stmts().collect();
        let expr = match &statements[..] {
            [Stmt::Expr(statement)] => statement.expr(),
            [Stmt::Query(query)] => query.target(),
            _ => None,
        };
        let Some(expr) = expr else {
            let message = "one expression is explained at a time, as `Y` or `W[i] X[i]`";
            return Err(Diagnostic::error_without_span(codes::EXPECTED_EXPRESSION, message).into());
        };
        self.explain_expr(&expr)
    }

    fn explain_expr(&mut self, expr: &Expr) -> fault::Eval<Explanation> {
        let (traced, _) = self.traced(expr, &[])?;
        let planned = tl_exec::plan::plan(&traced.graph)
            .map_err(|e| super::arithmetic::run_failed(e.into(), expr.span()))?;
        // What is computed once, when a plan is prepared, is all of it where nothing is given from outside.
        let mut plan = (*planned.plan).clone();
        plan.steps.splice(0..0, std::mem::take(&mut plan.setup));
        Ok(Explanation { backend: self.engine.name(), ..Explanation::of_plan(&plan) })
    }
}

/// Where a function is declared, in the program or in the library.
fn declaration(function: &super::Function) -> Option<ast::FnDecl> {
    if let Some(decl) = function.declared_as() {
        return Some(decl.clone());
    }
    let name = function.name();
    library::standard().find_map(|file| {
        let source = Source::detached(file.path, file.text).ok()?;
        tl_syntax::parse(&source).file().stmts().find_map(|statement| match statement {
            Stmt::Fn(decl) if decl.name().is_some_and(|n| n.as_str() == name) => Some(decl),
            _ => None,
        })
    })
}
