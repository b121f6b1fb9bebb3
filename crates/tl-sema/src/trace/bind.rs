//! Binding: what the index variables of an equation are, steps or axes.
//!
//! ```text
//! bind(equation)   staged indices on the left are steps already
//!                  the stream:   the first undotted index of its class on the left is the row, others are axes over all positions
//!                  sizes:        declared (dim, parameters), then what is read, groups, affine bounds (see `sizes`)
//!                  the rest:     what the block's other equations say of the class
//! ```
//!
//! A variable that stays open gets its axis when a call's result or a list brings one; asked for before, it is an error.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tl_ir::{AxisId, Extent};
use tl_syntax::{Diagnostic, Span, codes};

use crate::domains::Class;
use crate::program::IndexKind;
use crate::sizes::{Conflict, Origin, Solver, agree};

use super::frame::{Bound, Cx, Frame, show};
use super::value::{Coordinate, Value};
use super::{Res, STAND_IN_STEPS, Tracer};

impl Tracer<'_> {
    /// The context of a unit: every index variable of which something is known is bound.
    pub(super) fn bind(
        &mut self,
        frame: &Rc<Frame>,
        unit: usize,
        steps: &[(Arc<str>, Coordinate)],
    ) -> Res<Cx> {
        let mut cx =
            Cx { frame: Rc::clone(frame), unit, variables: HashMap::new(), rows: Vec::new(), early: false };
        for (name, step) in steps {
            cx.variables.insert(Arc::clone(name), Bound::Step(*step));
        }
        let block = Rc::clone(&frame.block);
        let facts = &block.facts[unit];
        if facts.variables.is_empty() {
            return Ok(cx);
        }
        let mut solver = Solver::new();
        for (name, _) in &facts.variables {
            if cx.variables.contains_key(name) {
                continue;
            }
            if let Some(class) = self.class_of(frame, unit, name)
                && !self.is_unrolled(&cx, name)
                && let Some((axis, origin)) = frame.home(class)
            {
                solver.plain(Arc::clone(name), self.graph.extent(axis), origin);
            }
            if let Some((extent, origin)) = self.dim(frame, name)? {
                solver.plain(Arc::clone(name), extent, origin);
            }
        }
        self.collect(&mut cx, &mut solver)?;
        solver.solve();
        self.report_conflicts(&solver)?;
        self.bind_solved(&mut cx, &solver)?;
        Ok(cx)
    }

    /// Evidence from the unit's right side, its guard and its left side.
    fn collect(&mut self, cx: &mut Cx, solver: &mut Solver<Arc<str>>) -> Res<()> {
        let block = Rc::clone(&cx.frame.block);
        let equation = &block.units[cx.unit];
        let open: Vec<Arc<str>> =
            block.facts[cx.unit].variables.iter().map(|(name, _)| Arc::clone(name)).collect();
        let unrolled: Vec<Arc<str>> = open.into_iter().filter(|name| self.is_unrolled(cx, name)).collect();
        for name in &unrolled {
            cx.variables.insert(Arc::clone(name), Bound::Step(Coordinate { step: 0, known: false }));
        }
        let collected = self.evidence(cx, &equation.value, solver);
        let mut beside: Vec<&crate::program::Expr> = equation.guard.iter().collect();
        // Data that say where the left side writes.
        equation.indices.iter().flatten().for_each(|index| index.each_part(&mut |part| beside.push(part)));
        let guarded = beside.into_iter().try_for_each(|part| self.evidence(cx, part, solver));
        for name in &unrolled {
            cx.variables.remove(name);
        }
        collected?;
        guarded?;
        // What is written at computed positions must fit the axis that is declared.
        for (position, index) in equation.indices.iter().flatten().enumerate() {
            let Some(class) = block.domains.position(&equation.target.text, position) else { continue };
            let Some((axis, origin)) = cx.frame.home(class) else { continue };
            if matches!(index.kind, IndexKind::Expr(_) | IndexKind::Group(_)) {
                let extent = self.graph.extent(axis);
                self.index_evidence(cx, index, extent, origin, solver)?;
            }
        }
        Ok(())
    }

    fn bind_solved(&mut self, cx: &mut Cx, solver: &Solver<Arc<str>>) -> Res<()> {
        let frame = Rc::clone(&cx.frame);
        let block = Rc::clone(&frame.block);
        let facts = &block.facts[cx.unit];
        // A stream that only what is read has shown.
        for (name, _) in &facts.variables {
            let class = self.class_of(&frame, cx.unit, name);
            if let (Some(class), Some((extent, origin))) = (class, solver.get(name))
                && extent.is_stream()
                && !frame.is_stream(class)
            {
                let rows = self.rows_axis(name);
                frame.spread_stream(class, rows, origin);
            }
        }
        self.choose_rows(cx);
        for (name, _) in &facts.variables {
            if cx.variables.contains_key(name) || self.is_unrolled(cx, name) {
                continue;
            }
            let class = self.class_of(&frame, cx.unit, name);
            let known = match (solver.get(name), class) {
                (Some((extent, _)), _) => Some(*extent),
                (None, Some(class)) if frame.is_stream(class) => Some(Extent::Stream),
                (None, Some(class)) => self.class_extent(&frame, class)?.map(|(extent, _)| extent),
                (None, None) => None,
            };
            if let Some(extent) = known {
                self.bind_variable(cx, name, extent);
            }
        }
        Ok(())
    }

    /// For each class over the stream, the row of the equation: the first undotted index of the left side, else the first.
    fn choose_rows(&mut self, cx: &mut Cx) {
        let block = Rc::clone(&cx.frame.block);
        let facts = &block.facts[cx.unit];
        let (undotted, dotted): (Vec<_>, Vec<_>) =
            facts.left.iter().partition(|name| !facts.dotted.contains(name));
        for name in undotted.into_iter().chain(dotted) {
            if let Some(class) = self.class_of(&cx.frame, cx.unit, name)
                && cx.frame.is_stream(class)
                && !cx.rows.iter().any(|(c, _)| self.same_home(&cx.frame, *c, class))
            {
                cx.rows.push((class, Arc::clone(name)));
            }
        }
    }

    fn same_home(&self, frame: &Frame, a: Class, b: Class) -> bool {
        a == b || frame.home(a).map(|(axis, _)| axis) == frame.home(b).map(|(axis, _)| axis)
    }

    /// Gives a variable its axis.
    pub(super) fn bind_variable(&mut self, cx: &mut Cx, name: &Arc<str>, extent: Extent) -> AxisId {
        let frame = Rc::clone(&cx.frame);
        let class = self.class_of(&frame, cx.unit, name).unwrap_or(Class(u32::MAX));
        let home = frame.home(class).map(|(axis, _)| axis);
        let is_row = cx.rows.iter().any(|(_, row)| row == name);
        // Two indices of one equation are two axes, even if both are declared and range over the same positions.
        let is_taken =
            |home| cx.variables.values().any(|bound| matches!(bound, Bound::Axis(a) if *a == home));
        let axis = match home {
            Some(home) if extent.is_stream() && is_row => home,
            Some(home) if !extent.is_stream() && frame.block.declared.contains(name) && !is_taken(home) => {
                if self.graph.extent(home) == extent {
                    home
                } else {
                    self.local_axis(&frame, class, name, extent)
                }
            }
            _ if extent == Extent::Rows => self.local_axis(&frame, class, name, Extent::Stream),
            _ => self.local_axis(&frame, class, name, extent),
        };
        cx.variables.insert(Arc::clone(name), Bound::Axis(axis));
        axis
    }

    /// The axis of an index variable.
    pub(super) fn axis_of(&mut self, cx: &mut Cx, name: &Arc<str>, span: Span) -> Res<AxisId> {
        match cx.variables.get(name) {
            Some(Bound::Axis(axis)) => Ok(*axis),
            Some(Bound::Step(_)) => self.fail(
                Diagnostic::error(codes::NOT_STATIC, span, format!("`{name}` selects one tensor of many here"))
                    .note("an index that selects tensors of a model, or that a recursion runs over, has one value at a time")
                    .help("sums over it are unrolled; other functions of all its positions are not available"),
            ),
            None => {
                let frame = Rc::clone(&cx.frame);
                self.unknown_size(name, span, &frame)
            }
        }
    }

    /// The class of an index variable.
    pub(super) fn class_of(&self, frame: &Frame, unit: usize, name: &Arc<str>) -> Option<Class> {
        frame.block.domains.variable(unit, name, true)
    }

    /// The declared size of an index variable of that name.
    pub(super) fn dim(&mut self, frame: &Rc<Frame>, name: &str) -> Res<Option<(Extent, Origin)>> {
        let Some((dim, unit)) = frame.block.dims.iter().find(|(dim, _)| *dim.text == *name).cloned() else {
            return Ok(None);
        };
        let value = self.unit_value(frame, unit, dim.span)?;
        let span = frame.block.units[unit].value.span;
        let value = match value {
            Value::Tensor(ref t) => self.graph.as_constant(t.node).map_or(value.clone(), Value::Number),
            other => other,
        };
        if let Value::List(items) = &value
            && items.iter().all(|item| matches!(item, Value::Str(_)))
        {
            let origin = Origin { span: dim.span, what: format!("`dim {name}`") };
            return Ok(Some((Extent::Static(items.len()), origin)));
        }
        let extent = match value.number() {
            Some(n) if n.fract() == 0.0 && (0.0..=1e15).contains(&n) => Extent::Static(n as usize),
            Some(n) => {
                return self.fail(
                    Diagnostic::error(codes::BAD_SIZE, span, format!("`{name}` can't have {n} positions"))
                        .here("a size is a whole number, 0 or more"),
                );
            }
            None if self.is_unknown(&value) => Extent::Unknown,
            None => {
                return self.fail(
                    Diagnostic::error(
                        codes::BAD_SIZE,
                        span,
                        format!("the size of `{name}` is {}", value.describe()),
                    )
                    .here("a size is a number that is known before the program runs"),
                );
            }
        };
        Ok(Some((extent, Origin { span: dim.span, what: format!("`dim {name}`") })))
    }

    /// The steps that a staged index runs through where it is summed: from 0 to the size of its domain.
    pub(super) fn staged_steps(&mut self, cx: &mut Cx, name: &Arc<str>, span: Span) -> Res<Vec<Coordinate>> {
        let frame = Rc::clone(&cx.frame);
        let declared = self.dim(&frame, name)?.map(|(extent, _)| extent);
        let extent = match (declared, self.class_of(&frame, cx.unit, name)) {
            (Some(extent), _) => Some(extent),
            (None, Some(class)) => self.class_extent(&frame, class)?.map(|(extent, _)| extent),
            (None, None) => None,
        };
        match extent {
            Some(Extent::Static(n)) => {
                if n > self.limits.steps {
                    self.steps = self.limits.steps + 1;
                    self.check_limits(span)?;
                }
                Ok((0..n as i64).map(|step| Coordinate { step, known: true }).collect())
            }
            Some(Extent::Unknown) => {
                Ok((0..STAND_IN_STEPS).map(|step| Coordinate { step, known: false }).collect())
            }
            _ => self.unknown_size(name, span, &frame),
        }
    }

    fn report_conflicts(&mut self, solver: &Solver<Arc<str>>) -> Res<()> {
        for conflict in &solver.conflicts {
            let diagnostic = match conflict {
                Conflict::Sizes { key, first, second } => {
                    let ((a, from), (b, here)) = (first, second);
                    debug_assert!(!agree(*a, *b), "a conflict is one");
                    Diagnostic::error(
                        codes::SIZE_MISMATCH,
                        here.span,
                        format!("`{key}` has two sizes: {} and {}", show(*a), show(*b)),
                    )
                    .here(format!("{}: {}", show(*b), here.what))
                    .label(from.span, format!("{}: {}", show(*a), from.what))
                    .help("axes that share an index share a size; use another index name for one of them")
                }
                Conflict::Group { keys, extent, origin } => {
                    let sizes: Vec<String> = keys
                        .iter()
                        .map(|(key, n)| n.map_or(format!("{key} = ?"), |n| format!("{key} = {n}")))
                        .collect();
                    Diagnostic::error(
                        codes::GROUP_SIZE,
                        origin.span,
                        format!("this axis has {extent} positions, which the group does not make up"),
                    )
                    .here(format!("{}: {}", origin.what, sizes.join(", ")))
                    .help("declare the sizes of all but one of its indices with `dim`; their product must divide the axis")
                }
            };
            self.diagnostics.push(diagnostic);
        }
        if solver.conflicts.is_empty() { Ok(()) } else { Err(super::Failed) }
    }
}
