//! Facts as they are written: calls of constants, `Parent("Alice", "Bob")`, and lists of them, `Colour(c) = ["red", "green"]`.
//!
//! However they are written, the facts of a relation become one equation, whose value is [`ExprKind::Facts`].

use std::sync::Arc;

use tl_syntax::ast;
use tl_syntax::{Diagnostic, codes};

use crate::program::{
    Constant, Equation, Expr, ExprId, ExprKind, Fact, Facts, Head, Index, IndexKind, Name, Projection,
};
use crate::reader::name_of;

/// The fact that a call states, if constants are all that it is given.
pub(crate) fn fact(call: &ast::CallExpr) -> Option<(Name, Fact)> {
    if call.axes().is_some() {
        return None;
    }
    let constant = |argument| match argument {
        ast::Argument::Positional(ast::Expr::String(text)) => Some(Constant::Str(text.value().into())),
        ast::Argument::Positional(ast::Expr::Number(number)) => {
            let n = number.value()?.as_f64();
            (n.fract() == 0.0 && (0.0..1e9).contains(&n)).then_some(Constant::Number(n as usize))
        }
        _ => None,
    };
    let constants = call.arguments().map(constant).collect::<Option<Vec<_>>>()?;
    Some((name_of(&call.name()?), Fact { constants, span: call.span() }))
}

/// The facts that a list of texts, or of rows with texts in them, gives a relation.
pub(crate) fn rows_of(value: &Expr, arity: usize) -> Option<Vec<Fact>> {
    let ExprKind::List(items) = &value.unparenthesized().kind else { return None };
    let constant = |expr: &Expr| match &expr.kind {
        ExprKind::Str(text) => Some(Constant::Str(Arc::clone(text))),
        ExprKind::Number(n) if n.fract() == 0.0 && (0.0..1e9).contains(n) => {
            Some(Constant::Number(*n as usize))
        }
        _ => None,
    };
    let row = |item: &Expr| {
        let constants: Option<Vec<Constant>> = match &item.kind {
            ExprKind::List(cells) => cells.iter().map(constant).collect(),
            _ => constant(item).map(|one| vec![one]),
        };
        Some(Fact { constants: constants.filter(|row| row.len() == arity)?, span: item.span })
    };
    let rows: Vec<Fact> = items.iter().map(row).collect::<Option<_>>()?;
    // Numbers alone are a tensor of truth values.
    let has_text = rows.iter().flat_map(|row| &row.constants).any(|c| matches!(c, Constant::Str(_)));
    has_text.then_some(rows)
}

/// The facts of a relation as an equation of it.
pub(crate) fn facts_equation(name: &Name, arity: usize, rows: Vec<Fact>, id: ExprId) -> Equation {
    // No program can write an index with a space.
    let index = |column: usize| Index {
        kind: IndexKind::Name(format!("column {column}").into()),
        dotted: false,
        span: name.span,
    };
    let value = Expr { id, kind: ExprKind::Facts(Arc::new(Facts { arity, rows })), span: name.span };
    Equation {
        indices: Some((0..arity).map(index).collect()),
        projection: Projection::Any,
        is_plain: false,
        head: Head::Rule,
        ..crate::block::unit("", name, &value)
    }
}

#[cold]
pub(crate) fn two_arities(name: &Name, arity: usize, fact: &Fact) -> Diagnostic {
    let message = format!("`{}` has {arity} columns, {} are given", name.text, fact.constants.len());
    Diagnostic::error(codes::INDEX_COUNT, fact.span, message).label(name.span, "first used here")
}
