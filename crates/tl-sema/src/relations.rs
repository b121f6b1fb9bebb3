//! Relations are Boolean tensors: `Neig(n, m) Z[m, d]` reads `Neig` as `Neig[n, m]`.
//!
//! Which names are relations is known when a block is complete, so the reader leaves `Name(…)` a call, and this pass turns calls of
//! tensors and variables that are no functions into reads.

use std::collections::HashSet;
use std::sync::Arc;

use tl_ir::Scalar;
use tl_syntax::{Diagnostic, Span, codes};

use crate::builtins;
use crate::program::{Equation, Expr, ExprKind, Head, Index, IndexKind};
use crate::projection::Names;
use crate::reader::argument_index;

/// Turns the calls of relations in a unit into reads.
pub(crate) fn resolve(unit: &mut Equation, names: &dyn Names) {
    unit.walk_mut(&mut |expr| resolve_call(expr, names));
}

/// Turns a call of a relation into a read.
pub(crate) fn resolve_call(expr: &mut Expr, names: &dyn Names) {
    let ExprKind::Call(name, _) = &expr.kind else { return };
    let is_relation = names.is_tensor(&name.text) || names.is_variable(&name.text);
    if !is_relation || names.function(&name.text).is_some() || builtins::names().any(|n| *n == *name.text) {
        return;
    }
    let ExprKind::Call(name, args) = std::mem::replace(&mut expr.kind, ExprKind::Missing) else { return };
    let base = Expr { id: expr.id, kind: ExprKind::Name(name.text), span: name.span };
    let indices = args.into_iter().map(|arg| argument_index(arg.value)).collect();
    expr.kind = ExprKind::Index(Box::new(base), indices);
}

/// A rule is safe if every variable is bound: it stands in an atom that is not negated, or equals something.
pub(crate) fn check_safety(unit: &Equation, variables: &[(Arc<str>, Span)]) -> Vec<Diagnostic> {
    if unit.head != Head::Rule || matches!(unit.value.kind, ExprKind::Facts(_)) {
        return Vec::new();
    }
    let mut bound: HashSet<&str> = HashSet::new();
    bind(&unit.value, &mut bound);
    for condition in &unit.guard {
        if let ExprKind::Apply(Scalar::Eq, sides) = &condition.unparenthesized().kind {
            bound.extend(sides.iter().filter_map(|side| match &side.unparenthesized().kind {
                ExprKind::Name(name) => Some(&**name),
                _ => None,
            }));
        }
    }
    let free = variables.iter().filter(|(name, _)| !bound.contains(&**name));
    let unsafe_variable = |(name, span): &(Arc<str>, Span)| {
        Diagnostic::error(
            codes::UNBOUND_INDEX,
            *span,
            format!("`{name}` is bound by no atom of the rule's body"),
        )
        .label(unit.value.span, "an atom that is not negated must have it")
        .help(format!("add an atom that says what `{name}` ranges over"))
    };
    free.map(unsafe_variable).collect()
}

/// The names at the positions of atoms that are not negated.
fn bind<'e>(expr: &'e Expr, bound: &mut HashSet<&'e str>) {
    match &expr.kind {
        ExprKind::Apply(Scalar::Not, _) => {}
        ExprKind::Index(_, indices) => bound.extend(indices.iter().filter_map(named)),
        _ => expr.each_part(&mut |part| bind(part, bound)),
    }
}

fn named(index: &Index) -> Option<&str> {
    match &index.kind {
        IndexKind::Name(name) => Some(name),
        _ => None,
    }
}
