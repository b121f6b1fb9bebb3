//! What is decided when the whole right side has been walked: indices that are still free, dots and indices of the left side.

use std::collections::HashSet;
use std::sync::Arc;

use tl_syntax::{Diagnostic, Span, codes};

use crate::program::*;

use super::report::{ambiguous, meet_nowhere, only_in_guard, single_index, summed_and_used};
use super::{Free, Summed, Walk, takes_axes};

impl Walk<'_> {
    /// Decides about the indices that are still free at the top of a scope.
    pub(super) fn settle(&mut self, free: &Free, kept: &[Arc<str>], summed: &[Summed]) {
        for (name, occurrences) in free.iter().filter(|(name, _)| !kept.contains(name)) {
            if let Some(inner) = summed.iter().find(|s| s.index == *name) {
                self.diagnostics.push(summed_and_used(name, inner.product, occurrences[0].span));
            } else if let [once] = &occurrences[..] {
                self.facts.sums.entry(once.term).or_default().push(Arc::clone(name));
                self.sites.push((Arc::clone(name), once.term));
                if !once.repeated && !self.is_rule && !self.guarded.contains(name) {
                    self.diagnostics.push(single_index(name, once.span));
                }
            } else {
                self.diagnostics.push(ambiguous(name, occurrences));
            }
        }
    }

    /// A condition means something where the indices that it relates meet: those that are not on the left are reduced in one place.
    pub(super) fn check_guard(&mut self, conditions: &[(Span, Free)]) {
        for (span, related) in conditions {
            let mut before: Option<(&Arc<str>, HashSet<ExprId>)> = None;
            for (name, occurrences) in related {
                if self.facts.left.contains(name) || self.staged.contains(name) {
                    continue;
                }
                let sites: HashSet<ExprId> =
                    self.sites.iter().filter(|(index, _)| index == name).map(|&(_, site)| site).collect();
                if sites.is_empty() {
                    self.diagnostics.push(only_in_guard(name, occurrences[0].span));
                    break;
                }
                match &before {
                    Some((first, known)) if *known != sites => {
                        self.diagnostics.push(meet_nowhere(*span, first, name));
                        break;
                    }
                    Some(_) => {}
                    None => before = Some((name, sites)),
                }
            }
        }
    }

    pub(super) fn check_dots(&mut self, equation: &Equation) {
        let root = equation.value.unparenthesized();
        let is_call = matches!(&root.kind, ExprKind::Call(name, _) if self.names.function(&name.text).is_some_and(|f| takes_axes(&f) || !f.result_axes.is_empty()));
        let dotted = equation.indices.iter().flatten().find(|index| index.dotted);
        if let (Some(dotted), false) = (dotted, is_call) {
            self.diagnostics.push(
                Diagnostic::error(
                    codes::MISSING_DOT,
                    dotted.span,
                    "a dot on the left needs a function on the right",
                )
                .here("the axis that the outermost function works along")
                .label(root.span, "this is not a call of a function that works along an axis")
                .help("put the dot in the argument of the function that works along this axis"),
            );
        }
    }

    /// Every index of the left side must be bound by something.
    pub(super) fn check_left(
        &mut self,
        equation: &Equation,
        free: &Free,
        left: &[(Arc<str>, Span)],
        declared: &HashSet<Arc<str>>,
    ) {
        let open = free.is_empty() && self.could_be_open(&equation.value);
        for (name, span) in left {
            let bound = free.iter().any(|(index, _)| index == name)
                || self.guarded.contains(name)
                || self.staged.contains(name)
                || self.facts.dotted.contains(name)
                || selects(equation, name)
                || declared.contains(name);
            if !bound && !open {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::UNBOUND_INDEX,
                        *span,
                        format!("`{name}` is on the left side but nothing on the right has it"),
                    )
                    .label(equation.value.span, format!("`{name}` does not occur here"))
                    .help(format!("if every position of `{name}` shall hold the same, say how many there are: `dim {name} = …`")),
                );
            }
        }
    }

    /// Whether the value may be a tensor without indices: a list, a name, a call of such.
    pub(super) fn could_be_open(&self, expr: &Expr) -> bool {
        let mut open = false;
        expr.walk(&mut |part| {
            open |= match &part.kind {
                ExprKind::List(_) | ExprKind::Facts(_) | ExprKind::Field(..) => true,
                ExprKind::Name(name) => !self.is_index(name),
                ExprKind::Index(_, indices) => indices.iter().any(|i| {
                    matches!(i.kind, IndexKind::Slice(..))
                        || matches!(&i.kind, IndexKind::Name(n) if !self.is_index(n))
                }),
                _ => false,
            };
        });
        open
    }
}

/// Whether the index stands in the brackets of data that say where the left side writes: `y[at[e]]`.
fn selects(equation: &Equation, name: &str) -> bool {
    let mut found = false;
    for index in equation.indices.iter().flatten() {
        index.each_part(&mut |part| {
            part.walk(&mut |inner| {
                if let ExprKind::Index(_, indices) = &inner.kind {
                    found |= indices.iter().any(|i| matches!(&i.kind, IndexKind::Name(n) if **n == *name));
                }
            });
        });
    }
    found
}
