//! Functions of scripts in equations: `X[i, j] = file("x.csv")`, `Edge(x, y) = file("edges.csv")`.
//!
//! An equation can't compute such a call, so the script does, when a tensor that the equation defines is first wanted (at once, if the call
//! mentions local variables). What it gives stands in the equation as a variable that no program can name:
//!
//! ```text
//! Y[i] = 2 * file("x.npy")[i]         the call's value
//! X[i, j] = file("x.csv")             its axes in order; of a table, the rows and the columns
//! M[position, word] = file("x.txt")   whether the word stands at the position: the words are named constants
//! Edge(x, y) = file("edges.csv")      a relation: each row of the table is a fact
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use tl_sema::{Constant, Fact};
use tl_syntax::ast::{self, AstNode, Expr};
use tl_syntax::{Diagnostic, Node, Span, SyntaxKind, codes};

use super::Interpreter;
use super::builtins::files;
use super::convert::{items, to_tensor};
use super::fault::{Eval, Interrupt, fault};
use super::reading::argument;
use super::relations::constant;
use super::tensor::TensorValue;
use super::value::{Dict, Value};
use crate::loader::Loader;

/// What a call in an equation has supplied.
#[derive(Debug)]
pub(super) struct Supplied {
    /// The call.
    pub span: Span,
    pub what: What,
    /// The names that it was computed from.
    pub read: BTreeSet<Arc<str>>,
}

/// A value that is held under a name, or the rows of a relation.
#[derive(Debug)]
pub(super) enum What {
    Held(Arc<str>),
    Facts(Vec<Fact>),
}

impl Interpreter {
    /// The calls in an equation that scripts alone can make, the outermost ones. What has an index of the equation in it is none: there is
    /// no value of `f(X[i])` for all `i` at once.
    pub(super) fn calls_of_scripts(&self, equation: &ast::Equation) -> Vec<ast::CallExpr> {
        let indices = tl_sema::left_indices(equation);
        let is_index =
            |name: &str| indices.iter().any(|index| index == name) && self.environment.get(name).is_none();
        let mentions_index = |call: &ast::CallExpr| {
            let mut names = call.syntax().descendants().filter(|n| n.kind() == SyntaxKind::Ident);
            names.any(|name| is_index(name.text()))
        };
        let mut found = Vec::new();
        let parts = [equation.rhs(), equation.guard()].into_iter().flatten();
        let mut pending: Vec<Node> = parts.map(|part| part.syntax().clone()).collect();
        while let Some(node) = pending.pop() {
            let call = ast::CallExpr::cast(node.clone()).filter(|call| call.axes().is_none());
            let is_own = |call: &ast::CallExpr| {
                call.name().is_some_and(|name| {
                    self.is_of_scripts(name.as_str()) && !self.equations.defines(name.as_str())
                }) && !mentions_index(call)
            };
            match call.filter(is_own) {
                Some(call) => found.push(call),
                None => pending.extend(node.nodes()),
            }
        }
        found
    }

    /// Whether a call needs a variable that may be gone when somebody wants its value.
    pub(super) fn mentions_local(&self, call: &ast::CallExpr) -> bool {
        let mut names = call.syntax().descendants().filter(|n| n.kind() == SyntaxKind::Ident);
        names.any(|name| self.environment.is_local(name.text()))
    }

    /// Makes the calls in the equations of some tensors that have not been made.
    pub(super) fn supply_all(&mut self, names: &BTreeSet<Arc<str>>) -> Eval<()> {
        for (at, equation, calls) in self.equations.unsupplied(names) {
            let Some(name) = equation.name() else { continue };
            self.equations.begin(name.as_str(), equation.span())?;
            let supplied: Eval<Vec<Supplied>> =
                calls.iter().map(|call| self.supply(&equation, call)).collect();
            self.equations.end();
            self.equations.keep_supplied(at, supplied?);
        }
        Ok(())
    }

    /// Makes one call of an equation.
    pub(super) fn supply(&mut self, equation: &ast::Equation, call: &ast::CallExpr) -> Eval<Supplied> {
        let expr = Expr::Call(call.clone());
        let value = self.eval(&expr)?;
        let span = call.span();
        let is_whole = equation.rhs().is_some_and(|rhs| rhs.unparenthesized().span() == span);
        let what = match (equation.lhs(), value) {
            (Some(Expr::Call(head)), value) if is_whole => {
                What::Facts(facts(&value, head.arguments().count(), span)?)
            }
            (Some(Expr::Index(left)), value @ Value::Str(_)) if is_whole => {
                What::Facts(facts(&value, left.indices().count(), span)?)
            }
            (Some(Expr::Index(_)), Value::Dict(table)) if is_whole => {
                let matrix = matrix(&table).ok_or_else(|| no_matrix(&table, span))?;
                What::Held(self.equations.hold("value", matrix.into()))
            }
            (_, value) if argument("", &value).is_some() => What::Held(self.equations.hold("value", value)),
            (_, value) => {
                let message = format!("{} has no meaning in an equation", value.kind());
                return Err(fault(codes::WRONG_KIND, span, message));
            }
        };
        Ok(Supplied { span, what, read: self.equations.names_behind(&expr) })
    }
}

/// The facts of a relation that a file gives, as `R(a, b) = file("…")` says before any script runs. `from` is the file with this call.
///
/// # Errors
/// When the call is another, or has arguments that only a script knows; when the file can't be read, or gives no facts.
pub(crate) fn facts_of_file(
    call: &ast::CallExpr,
    arity: usize,
    loader: &dyn Loader,
    from: &str,
) -> Result<Vec<Fact>, Box<Diagnostic>> {
    let span = call.span();
    let given = call.arguments().map(|argument| {
        let name = match &argument {
            ast::Argument::Named(named) => named.name().map(|name| name.as_str().into()),
            ast::Argument::Positional(_) => None,
        };
        let expr = argument.value()?;
        Some((name, known(&expr)?, expr.span()))
    });
    let given: Option<Vec<_>> = given.collect();
    let is_file = call.name().is_some_and(|name| name.as_str() == "file");
    let Some(given) = given.filter(|_| is_file) else {
        let found = Diagnostic::error(codes::NOT_IN_EQUATION, span, "only a script can compute these facts")
            .here("a function that generates reads them, and runs without the script")
            .help("give them as constants, or by a `file(\"…\")` whose arguments are constants");
        return Err(Box::new(found));
    };
    let value = files::read_known(loader, from, given).map_err(|error| {
        let found = Diagnostic::error(codes::CALL_FAILED, span, error.message);
        Box::new(error.help.into_iter().fold(found, Diagnostic::help))
    })?;
    facts(&value, arity, span).map_err(|interrupt| {
        let first = interrupt.into_diagnostics().into_iter().next();
        let other = || Diagnostic::error(codes::CALL_FAILED, span, "the file gives no facts");
        Box::new(first.unwrap_or_else(other))
    })
}

/// The value of an expression of constants.
fn known(expr: &Expr) -> Option<Value> {
    Some(match expr {
        Expr::String(text) => Value::text(text.value()),
        Expr::Number(number) => Value::Number(number.value()?.as_f64()),
        Expr::Bool(value) => Value::Bool(value.value()),
        Expr::List(list) => Value::list(list.elements().map(|e| known(&e)).collect::<Option<Vec<_>>>()?),
        _ => return None,
    })
}

/// The rows of a relation: of a table, a matrix or a list its rows, of a text its words and where they stand.
fn facts(value: &Value, arity: usize, span: Span) -> Eval<Vec<Fact>> {
    let rows: Vec<Vec<Value>> = match value {
        Value::Str(text) => {
            let words = text.split_whitespace().enumerate();
            words.map(|(position, word)| vec![Value::from(position), Value::text(word)]).collect()
        }
        Value::Dict(table) => {
            let columns: Option<Vec<Vec<Value>>> = table.iter().map(|(_, cells)| items(cells)).collect();
            let columns = columns.ok_or_else(|| no_rows(value, span))?;
            let count = columns.first().map_or(0, Vec::len);
            if columns.iter().any(|column| column.len() != count) {
                return Err(fault(codes::WRONG_KIND, span, "the columns of this table are not equally long"));
            }
            (0..count).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
        }
        value => {
            let rows = items(value).ok_or_else(|| no_rows(value, span))?;
            let cells = |row: &Value| match row {
                Value::Dict(row) => row.iter().map(|(_, cell)| cell.clone()).collect(),
                Value::Str(_) => vec![row.clone()],
                row => items(row).unwrap_or_else(|| vec![row.clone()]),
            };
            rows.iter().map(cells).collect()
        }
    };
    let fact = |(number, cells): (usize, Vec<Value>)| {
        if cells.len() != arity {
            let message =
                format!("row {} has {} cells, the relation has {arity} columns", number + 1, cells.len());
            return Err(fault(codes::INDEX_COUNT, span, message));
        }
        let constants: Option<Vec<Constant>> = cells.iter().map(constant).collect();
        let constants = constants.ok_or_else(|| no_constant(number, &cells, span))?;
        Ok(Fact { constants, span })
    };
    rows.into_iter().enumerate().map(fact).collect()
}

/// The matrix `[row, column]` of a table whose columns are numbers.
fn matrix(table: &Dict) -> Option<TensorValue> {
    let columns: Vec<Vec<f32>> = table
        .iter()
        .map(|(_, cells)| Some(to_tensor(cells).ok().filter(|t| t.rank() == 1)?.values().ok()?.to_vec()))
        .collect::<Option<_>>()?;
    let rows = columns.first().map_or(0, Vec::len);
    if columns.iter().any(|column| column.len() != rows) {
        return None;
    }
    let values: Vec<f32> = (0..rows).flat_map(|row| columns.iter().map(move |c| c[row])).collect();
    Some(TensorValue::new(&[rows, columns.len()], &values))
}

#[cold]
fn no_rows(value: &Value, span: Span) -> Interrupt {
    fault(codes::WRONG_KIND, span, format!("a relation has rows, {} has none", value.kind()))
}

#[cold]
fn no_constant(number: usize, cells: &[Value], span: Span) -> Interrupt {
    let wrong = cells.iter().find(|cell| constant(cell).is_none()).map_or("it", Value::kind);
    let message = format!("row {} holds {wrong}: a fact has texts, and whole numbers from 0 on", number + 1);
    fault(codes::WRONG_KIND, span, message)
}

#[cold]
fn no_matrix(table: &Dict, span: Span) -> Interrupt {
    let names: Vec<String> = table.iter().map(|(key, _)| super::format::shown(&key.value())).collect();
    Diagnostic::error(codes::WRONG_KIND, span, "this table has columns that are no numbers")
        .note(format!("its columns are {}", names.join(", ")))
        .help("with parentheses on the left it is a relation, `R(a, b) = …`, and each row a fact")
        .help("or give the table a name, `T = …`, and read its columns: `T.price[i]`")
        .into()
}
