//! Calls of functions that work along axes: which of the caller's indices those are, and which come out.
//!
//! In this order: the dotted indices of the argument; those of the left side, if the call is the whole right side; the argument's only
//! indices; the last axes of a tensor that is given without indices. Every other index is mapped over.

use std::collections::HashMap;
use std::sync::Arc;

use tl_syntax::{Diagnostic, Span, codes};

use crate::program::*;

use super::report::{missing_argument, missing_dot, too_many_arguments};
use super::{
    Around, Binding, BoundAxes, CallFacts, Free, Merge, Occurrence, ResultAxis, Walk, at_term, takes_axes,
};

impl Walk<'_> {
    pub(super) fn call_function(
        &mut self,
        expr: &Expr,
        name: &Name,
        args: &[Arg],
        function: Arc<Function>,
        around: &Around<'_>,
    ) -> Free {
        let Some(taken) = self.match_arguments(name, args, &function) else {
            let inner = Around { outermost: false, ..around.clone() };
            return args.iter().flat_map(|arg| self.term(&arg.value, &inner)).collect::<Free>().merged();
        };
        let (mut arguments, mut free) = (Vec::new(), Free::new());
        let mut bound: HashMap<Arc<str>, ResultAxis> = HashMap::new();
        let mut worked: Vec<(Arc<str>, Span)> = Vec::new();
        for (param, argument) in function.params.iter().zip(taken) {
            let Some(number) = argument else {
                arguments.push(Binding { argument: None, axes: BoundAxes::Mapped });
                continue;
            };
            let value = &args[number].value;
            let wanted = param.axes.as_ref().map_or(0, Vec::len);
            let (axes, rest) = match wanted {
                0 => (BoundAxes::Mapped, self.term(value, &Around { outermost: false, ..around.clone() })),
                _ => self.bind_axes(value, wanted, &function, around),
            };
            for (i, axis) in param.axes.iter().flatten().enumerate() {
                let outside = match &axes {
                    BoundAxes::Indices(indices) => {
                        worked.push((Arc::clone(&indices[i]), value.span));
                        ResultAxis::Index(Arc::clone(&indices[i]))
                    }
                    _ => ResultAxis::Bare,
                };
                bound.entry(Arc::clone(&axis.text)).or_insert(outside);
            }
            free.extend(rest);
            arguments.push(Binding { argument: Some(number), axes });
        }
        self.check_work_and_map(&worked, &free);
        self.sites.extend(worked.iter().map(|(index, _)| (Arc::clone(index), expr.id)));
        let result = self.result_axes(expr, &function, &bound, &free, around);
        let mut free: Free = free.into_iter().map(|(name, o)| (name, at_term(o, around.term))).collect();
        for axis in &result {
            if let ResultAxis::Index(name) = axis {
                let span =
                    worked.iter().find(|(index, _)| index == name).map_or(expr.span, |&(_, span)| span);
                free.push((Arc::clone(name), vec![Occurrence { span, term: around.term, repeated: false }]));
            }
        }
        self.facts.calls.insert(expr.id, CallFacts { function, arguments, result });
        free.merged()
    }

    /// Which argument each parameter takes.
    fn match_arguments(
        &mut self,
        name: &Name,
        args: &[Arg],
        function: &Function,
    ) -> Option<Vec<Option<usize>>> {
        let mut taken: Vec<Option<usize>> = vec![None; function.params.len()];
        let mut wrong = false;
        for (number, arg) in args.iter().enumerate() {
            let place = match &arg.name {
                None => Some(number),
                Some(key) => function.params.iter().position(|p| p.name.text == key.text),
            };
            match place.filter(|&p| p < taken.len() && taken[p].is_none()) {
                Some(place) => taken[place] = Some(number),
                None => {
                    let span = arg.name.as_ref().map_or(arg.value.span, |n| n.span);
                    self.diagnostics.push(too_many_arguments(name, span, function, arg.name.as_ref()));
                    wrong = true;
                }
            }
        }
        for (param, taken) in function.params.iter().zip(&taken) {
            if taken.is_none() && param.default.is_none() && !wrong {
                self.diagnostics.push(missing_argument(name, function, param));
                wrong = true;
            }
        }
        (!wrong).then_some(taken)
    }

    /// The indices of an argument that a parameter's axes are, and what else is free in it.
    fn bind_axes(
        &mut self,
        value: &Expr,
        wanted: usize,
        function: &Function,
        around: &Around<'_>,
    ) -> (BoundAxes, Free) {
        let mut dots = Vec::new();
        self.dots_in(value, &mut dots);
        let left = if around.outermost { self.facts.dotted.clone() } else { Vec::new() };
        let mut kept = around.kept.to_vec();
        kept.extend(dots.iter().cloned());
        let term = value.unparenthesized().id;
        let free = self.expr(value, &Around { kept: &kept, term, outermost: false });
        let has = |name: &Arc<str>| free.iter().any(|(index, _)| index == name);
        let axes: Vec<Arc<str>> = free
            .iter()
            .map(|(name, _)| Arc::clone(name))
            .filter(|name| !self.staged.contains(name))
            .collect();
        let chosen = if dots.len() == wanted {
            dots
        } else if dots.is_empty() && left.len() == wanted && left.iter().all(has) {
            left
        } else if axes.is_empty() {
            return (BoundAxes::Bare, free);
        } else if dots.is_empty() && axes.len() == wanted {
            axes
        } else if dots.is_empty() && axes.iter().filter(|a| !around.kept.contains(a)).count() == wanted {
            axes.into_iter().filter(|a| !around.kept.contains(a)).collect()
        } else {
            self.diagnostics.push(missing_dot(value, wanted, &axes, &dots, function));
            axes.into_iter().cycle().take(wanted).collect()
        };
        let rest = free.into_iter().filter(|(name, _)| !chosen.contains(name)).collect();
        (BoundAxes::Indices(chosen), rest)
    }

    /// The dotted indices of an argument, those of calls inside it left out.
    fn dots_in(&self, expr: &Expr, dots: &mut Vec<Arc<str>>) {
        match &expr.kind {
            ExprKind::Call(name, _) if self.names.function(&name.text).is_some_and(|f| takes_axes(&f)) => {
                return;
            }
            ExprKind::Index(_, indices) => {
                for index in indices.iter().filter(|index| index.dotted) {
                    if let IndexKind::Name(name) = &index.kind
                        && !dots.contains(name)
                    {
                        dots.push(Arc::clone(name));
                    }
                }
            }
            _ => {}
        }
        expr.each_part(&mut |part| self.dots_in(part, dots));
    }

    /// The same index can't be worked along and mapped over in one call.
    fn check_work_and_map(&mut self, worked: &[(Arc<str>, Span)], mapped: &Free) {
        for (index, span) in worked {
            if let Some((_, occurrences)) = mapped.iter().find(|(name, _)| name == index) {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::DOT_AND_MAP,
                        occurrences[0].span,
                        format!("`{index}` is worked along in one argument and mapped over in another"),
                    )
                    .here("mapped over here")
                    .label(*span, "worked along here")
                    .help("use another index name in one of the two"),
                );
            }
        }
    }

    /// Which indices the axes of a call's result are.
    fn result_axes(
        &mut self,
        expr: &Expr,
        function: &Function,
        bound: &HashMap<Arc<str>, ResultAxis>,
        free: &Free,
        around: &Around<'_>,
    ) -> Vec<ResultAxis> {
        if around.outermost
            && !self.facts.dotted.is_empty()
            && self.facts.dotted.len() == function.result_axes.len()
        {
            return self.facts.dotted.iter().cloned().map(ResultAxis::Index).collect();
        }
        let bare = bound.values().any(|axis| *axis == ResultAxis::Bare);
        let mut result = Vec::new();
        let mut fresh = self.fresh_on_the_left(function, bound, free, around).into_iter();
        for axis in &function.result_axes {
            let outside = bound.get(&axis.text).filter(|outside| **outside != ResultAxis::Bare);
            if outside.is_none()
                && let Some(index) = fresh.next()
            {
                result.push(ResultAxis::Index(index));
                continue;
            }
            result.push(match bound.get(&axis.text) {
                Some(outside) => outside.clone(),
                None if bare || free.is_empty() && bound.is_empty() => ResultAxis::Bare,
                None if self.is_index(&axis.text) => ResultAxis::Index(Arc::clone(&axis.text)),
                None => {
                    self.diagnostics.push(
                        Diagnostic::error(
                            codes::MISSING_DOT,
                            expr.span,
                            format!("which index of this equation is the result's axis `{}`?", axis.text),
                        )
                        .label(axis.span, "the axis of the result")
                        .help(format!(
                            "use the index `{0}` in this equation, or put a dot after the index of the left side: `y[…, {0}.] = {1}(…)`",
                            axis.text, function.name.text
                        )),
                    );
                    ResultAxis::Bare
                }
            });
        }
        result
    }

    /// The indices of the left side that only the result can have, if they are as many as the axes that it has besides those of its
    /// arguments' indices.
    fn fresh_on_the_left(
        &self,
        function: &Function,
        bound: &HashMap<Arc<str>, ResultAxis>,
        free: &Free,
        around: &Around<'_>,
    ) -> Vec<Arc<str>> {
        let is_bound =
            |name: &Arc<str>| bound.values().any(|axis| *axis == ResultAxis::Index(Arc::clone(name)));
        let is_free = |name: &Arc<str>| free.iter().any(|(index, _)| index == name);
        let is_fresh = |name: &&Arc<str>| !is_bound(name) && !is_free(name) && !self.staged.contains(*name);
        let fresh: Vec<Arc<str>> = self.facts.left.iter().filter(is_fresh).cloned().collect();
        let is_open = |axis: &&Name| !matches!(bound.get(&axis.text), Some(ResultAxis::Index(_)));
        let open = function.result_axes.iter().filter(is_open).count();
        let has_indices = !free.is_empty() || bound.values().any(|axis| *axis != ResultAxis::Bare);
        let fits = around.outermost && has_indices && fresh.len() == open;
        // An index of the same name on both sides says so itself.
        let named = function
            .result_axes
            .iter()
            .filter(is_open)
            .any(|axis| self.is_index(&axis.text) && bound.is_empty());
        if fits && !named { fresh } else { Vec::new() }
    }
}
