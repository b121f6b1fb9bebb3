//! Which recursions may be repeated until nothing changes.
//!
//! `or=`, `min=`, `max=` and relations converge over finite domains. Any other recursion that no index orders needs a bound, and a
//! relation may not depend on its own negation.

use std::sync::Arc;

use tl_ir::{Reduction, Scalar};
use tl_syntax::{Diagnostic, codes};

use crate::block::Block;
use crate::program::{Equation, Expr, ExprKind, Projection};

/// What is wrong with the fixpoints of a block.
pub(crate) fn check(block: &Block) -> Vec<Diagnostic> {
    let mut tensors: Vec<_> = block.tensors.iter().map(|(name, units)| (units[0], name)).collect();
    tensors.sort_unstable();
    let mut found = Vec::new();
    for (_, name) in tensors {
        let members = block.members_of_fixpoint(name);
        if members.first() != Some(name) {
            continue; // Once for each fixpoint.
        }
        let in_cycle = |name: &str| members.iter().any(|m| **m == *name);
        let units = members.iter().flat_map(|m| &block.tensors[m]);
        let equations: Vec<&Equation> = units.map(|&unit| &block.units[unit]).collect();
        let negation = equations.iter().find_map(|e| negated(&equations, e, &in_cycle));
        let is_bounded = equations.iter().any(|e| e.bound.until.is_some() || e.bound.steps.is_some());
        // A plain `=` beside `max=` is one more element to project.
        let is_element = |e: &Equation| {
            e.is_plain && equations.iter().any(|o| o.target.text == e.target.text && converges(o.projection))
        };
        let endless = equations.iter().find(|e| !is_bounded && !converges(e.projection) && !is_element(e));
        found.extend(negation.or_else(|| endless.map(|e| no_bound(&equations, e, &in_cycle))));
    }
    found
}

/// Whether repeating a projection over a finite domain comes to an end by itself.
pub(crate) fn converges(projection: Projection) -> bool {
    matches!(projection, Projection::Any | Projection::Reduce(Reduction::Max | Reduction::Min))
}

/// Whether an expression reads a tensor of the cycle.
pub(crate) fn mentions(expr: &Expr, in_cycle: &dyn Fn(&str) -> bool) -> bool {
    first_mentioned(expr, in_cycle).is_some()
}

fn first_mentioned(expr: &Expr, in_cycle: &dyn Fn(&str) -> bool) -> Option<Arc<str>> {
    let mut found = None;
    expr.walk(&mut |part| match &part.kind {
        ExprKind::Name(name) if in_cycle(name) => _ = found.get_or_insert(Arc::clone(name)),
        _ => {}
    });
    found
}

/// A relation that depends on the negation of a member of the cycle.
fn negated(cycle: &[&Equation], equation: &Equation, in_cycle: &dyn Fn(&str) -> bool) -> Option<Diagnostic> {
    if equation.projection != Projection::Any {
        return None;
    }
    let mut found = None;
    equation.value.walk(&mut |part| {
        if let ExprKind::Apply(Scalar::Not, operands) = &part.kind
            && let Some(member) = first_mentioned(&operands[0], in_cycle)
        {
            found.get_or_insert((part.span, member));
        }
    });
    let (span, member) = found?;
    let name = &equation.target.text;
    let error =
        Diagnostic::error(codes::NOT_STRATIFIED, span, format!("`{name}` depends on its own negation"))
            .here("this negation needs it to be complete")
            .label(equation.target.span, "and it is defined with it")
            .note(format!("{name} → not {}", way(cycle, &member, name)))
            .help("a relation that is negated must be complete before: break the circle");
    Some(error)
}

#[cold]
fn no_bound(cycle: &[&Equation], equation: &Equation, in_cycle: &dyn Fn(&str) -> bool) -> Diagnostic {
    let name = &equation.target.text;
    let (mut at, mut member) = (equation.value.span, Arc::clone(name));
    equation.value.walk(&mut |part| {
        if let ExprKind::Name(read) = &part.kind
            && in_cycle(read)
        {
            (at, member) = (part.span, Arc::clone(read));
        }
    });
    let found =
        Diagnostic::error(codes::CYCLIC_DEFINITION, at, format!("`{name}` is defined by its own elements"))
            .here("its value is needed here, while it is being computed")
            .label(equation.target.span, "defined here")
            .help("say when the rounds end: `until change < 1e-6` or `steps 50` after the equation")
            .help("or let an index go on: `x[n + 1] = f(x[n])`, with `x[0] = …`");
    match member == *name {
        true => found,
        false => found.note(format!("{name} → {}", way(cycle, &member, name))),
    }
}

/// How one tensor of a cycle needs another, as `P → Q → R`, by the shortest way.
fn way(cycle: &[&Equation], from: &Arc<str>, to: &Arc<str>) -> String {
    let mut ways: Vec<Vec<&Arc<str>>> = vec![vec![from]];
    let mut at = 0;
    while let Some(way) = ways.get(at).cloned() {
        let last = *way.last().expect("a way has a beginning");
        if last == to {
            break;
        }
        let reads = cycle.iter().filter(|e| e.target.text == *last);
        for next in cycle.iter().map(|e| &e.target.text) {
            let is_read = || reads.clone().any(|e| mentions(&e.value, &|name| *name == **next));
            if !ways.iter().any(|way| way.contains(&next)) && is_read() {
                ways.push(way.iter().copied().chain([next]).collect());
            }
        }
        at += 1;
    }
    let names: Vec<&str> = ways.get(at).into_iter().flatten().map(|name| &***name).collect();
    names.join(" → ")
}
