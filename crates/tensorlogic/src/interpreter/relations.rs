//! Relations in scripts: facts, rules, and what a query of a relation prints.
//!
//! A relation is a Boolean tensor over domains of constants (see `tl_sema`). Facts are statements, `Parent("Alice", "Bob")`: calls of
//! names that are no functions, with constants as arguments. Those of the top level hold from the first statement on, as equations do.

use std::collections::HashSet;
use std::sync::Arc;

use tl_sema::{Constant, Fact, Labels};
use tl_syntax::ast::{self, AstNode, Expr, Stmt};
use tl_syntax::{Diagnostic, Span, SyntaxKind, codes};

use super::Interpreter;
use super::fault::{Eval, closest, fault};
use super::tables;
use super::tensor::TensorValue;
use super::value::Value;

/// A relation that facts or a declaration name.
#[derive(Debug)]
pub(super) struct Relation {
    pub name: Arc<str>,
    /// Where it is first mentioned.
    pub span: Span,
    pub arity: usize,
    /// The domains of its columns, if they are declared.
    pub columns: Option<Vec<Arc<str>>>,
    pub rows: Vec<Fact>,
}

impl Interpreter {
    /// Takes in the facts of the top level that constants alone make up.
    pub(super) fn hoist_facts(&mut self, statements: &[Stmt]) -> Eval<()> {
        let mentioned = mentioned(statements);
        for statement in statements {
            match statement {
                Stmt::Relation(decl) => self.declare_relation(decl)?,
                Stmt::Expr(statement) => {
                    let Some(call) = statement.call() else { continue };
                    let Some(name) = call.name() else { continue };
                    if let (true, Some(row)) =
                        (self.may_be_fact(name.as_str(), &mentioned), literal_row(&call))
                    {
                        self.add_fact(name.as_str(), row, call.span())?;
                        self.equations.hoisted_facts.insert(call.span());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a call of that name can state a fact: it is no function, and not likely to be a misspelt one.
    fn may_be_fact(&self, name: &str, mentioned: &HashSet<Arc<str>>) -> bool {
        if self.function_named(name).is_some() || self.environment.get(name).is_some() {
            return false;
        }
        let functions = self.equations.function_names();
        let known = functions.iter().map(|n| &**n).chain(self.builtins.keys().copied());
        let is_name = name.chars().next().is_some_and(char::is_uppercase);
        is_name
            || self.equations.is_relation(name)
            || mentioned.contains(name)
            || closest(name, known).is_none()
    }

    /// A call as a statement where facts may stand: in a loop, `Edge(i, i + 1)`. `None` if it is a call of a function.
    pub(super) fn run_fact(&mut self, call: &ast::CallExpr) -> Eval<Option<()>> {
        if self.equations.hoisted_facts.contains(&call.span()) {
            return Ok(Some(()));
        }
        let Some(name) = call.name() else { return Ok(None) };
        if call.axes().is_some() || !self.may_be_fact(name.as_str(), &HashSet::new()) {
            return Ok(None);
        }
        let mut constants = Vec::new();
        for argument in call.arguments() {
            let (Some(expr), ast::Argument::Positional(_)) = (argument.value(), &argument) else {
                return Ok(None);
            };
            let value = self.eval(&expr)?;
            match constant(&value) {
                Some(constant) => constants.push(constant),
                None => {
                    return Err(fault(
                        codes::WRONG_KIND,
                        expr.span(),
                        "a fact has constants: texts, and whole numbers from 0 on",
                    ));
                }
            }
        }
        self.add_fact(name.as_str(), constants, call.span())?;
        Ok(Some(()))
    }

    fn declare_relation(&mut self, decl: &ast::RelationDecl) -> Eval<()> {
        let Some(name) = decl.name() else { return Ok(()) };
        let columns: Vec<Arc<str>> =
            decl.columns().filter_map(|c| c.domain()).map(|d| Arc::from(d.as_str())).collect();
        let relation = self.equations.relation(name.as_str(), name.span(), columns.len());
        if relation.arity != columns.len() {
            return Err(two_arities(relation, name.as_str(), columns.len(), name.span()));
        }
        relation.columns = Some(columns);
        Ok(())
    }

    fn add_fact(&mut self, name: &str, constants: Vec<Constant>, span: Span) -> Eval<()> {
        self.equations.forget_relations();
        let relation = self.equations.relation(name, span, constants.len());
        if relation.arity != constants.len() {
            return Err(two_arities(relation, name, constants.len(), span));
        }
        relation.rows.push(Fact { constants, span });
        Ok(())
    }

    /// The value of a relation in an expression: true or false, or the list of what its free names may be.
    pub(super) fn eval_relation(&mut self, call: &ast::CallExpr) -> Eval<Value> {
        let (value, _) = self.trace(&Expr::Call(call.clone()), &[])?;
        Ok(match value {
            Value::Tensor(tensor) => {
                let rows = rows_of(&tensor).into_iter().map(|mut row| match row.len() {
                    1 => row.remove(0),
                    _ => Value::Tuple(row.into()),
                });
                Value::List(Arc::new(rows.collect()))
            }
            other => Value::Bool(other.as_number().is_some_and(|n| n != 0.0)),
        })
    }

    /// `Ancestor("Alice", who)?`, `Ancestor?`: the rows for which it is true.
    pub(super) fn query_relation(&mut self, target: &Expr) -> Eval<Option<String>> {
        let text = target.text().trim();
        let (name, value) = match target {
            Expr::Call(call) if call.name().is_some_and(|n| self.equations.is_relation(n.as_str())) => {
                (call.name(), self.trace(target, &[])?.0)
            }
            Expr::Name(name)
                if self.equations.is_relation(name.name()) && self.equations.defines(name.name()) =>
            {
                let value = self.eval_tensor(name)?;
                let headings = self.equations.headings(name.name());
                return Ok(Some(match value {
                    Value::Tensor(tensor) => table(text, headings, &tensor),
                    other => format!("{text} = {}", other.as_number().is_some_and(|n| n != 0.0)),
                }));
            }
            _ => return Ok(None),
        };
        drop(name);
        let Value::Tensor(tensor) = value else {
            return Ok(Some(format!("{text} = {}", value.as_number().is_some_and(|n| n != 0.0))));
        };
        let Expr::Call(call) = target else { return Ok(None) };
        let mut headings: Vec<String> = Vec::new();
        for argument in call.arguments().filter_map(|a| a.value()) {
            if let Expr::Name(name) = &argument
                && self.environment.get(name.name()).is_none()
                && !headings.iter().any(|h| h == name.name())
            {
                headings.push(name.name().to_owned());
            }
        }
        Ok(Some(table(text, Some(headings), &tensor)))
    }
}

/// The rows of a relation as a query prints them.
fn table(text: &str, headings: Option<Vec<String>>, tensor: &TensorValue) -> String {
    let rows: Vec<Vec<String>> =
        rows_of(tensor).iter().map(|row| row.iter().map(super::format::shown).collect()).collect();
    let rank = tensor.rank();
    let headings = headings
        .filter(|h| h.len() == rank)
        .unwrap_or_else(|| (1..=rank).map(|column| column.to_string()).collect());
    tables::rows(text, &headings, &rows)
}

/// The constants of the positions at which a Boolean tensor is true, in order.
fn rows_of(tensor: &TensorValue) -> Vec<Vec<Value>> {
    let (shape, Ok(values)) = (tensor.shape(), tensor.values()) else { return Vec::new() };
    let shown = |axis: usize, position: usize| match tensor.labels(axis) {
        Some(labels) => Value::Str(Labels::clone(labels)[position].clone()),
        None => Value::Number(position as f64),
    };
    let mut rows = Vec::new();
    for (at, _) in values.iter().enumerate().filter(|(_, x)| **x != 0.0) {
        let mut rest = at;
        let mut row: Vec<Value> = Vec::new();
        for axis in (0..shape.len()).rev() {
            row.push(shown(axis, rest % shape[axis]));
            rest /= shape[axis];
        }
        row.reverse();
        rows.push(row);
    }
    rows
}

/// The constants of a call that has nothing else.
fn literal_row(call: &ast::CallExpr) -> Option<Vec<Constant>> {
    if call.axes().is_some() {
        return None;
    }
    call.arguments()
        .map(|argument| match argument {
            ast::Argument::Positional(Expr::String(text)) => Some(Constant::Str(text.value().into())),
            ast::Argument::Positional(Expr::Number(number)) => whole(number.value()?.as_f64()),
            _ => None,
        })
        .collect()
}

/// A value as a constant of a fact.
pub(super) fn constant(value: &Value) -> Option<Constant> {
    match value {
        Value::Str(text) => Some(Constant::Str(text.clone())),
        Value::Number(n) => whole(*n),
        _ => None,
    }
}

fn whole(n: f64) -> Option<Constant> {
    (n.fract() == 0.0 && (0.0..1e9).contains(&n)).then_some(Constant::Number(n as usize))
}

/// The names that rules, queries and equations use as relations.
fn mentioned(statements: &[Stmt]) -> HashSet<Arc<str>> {
    let mut names = HashSet::new();
    for statement in statements {
        if matches!(statement, Stmt::Expr(_) | Stmt::Let(_) | Stmt::Fn(_)) {
            continue;
        }
        for node in statement.syntax().descendants().filter(|n| n.kind() == SyntaxKind::CallExpr) {
            names.extend(
                ast::CallExpr::cast(node).and_then(|c| c.name()).map(|n| Arc::<str>::from(n.as_str())),
            );
        }
    }
    names
}

#[cold]
fn two_arities(relation: &Relation, name: &str, arity: usize, span: Span) -> super::fault::Interrupt {
    let message = format!("`{name}` has {} columns, {arity} are given", relation.arity);
    Diagnostic::error(codes::INDEX_COUNT, span, message).label(relation.span, "first used here").into()
}
