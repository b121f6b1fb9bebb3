//! What index variables range over: evidence from everything that an equation reads, then from the rest of its block.
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
use crate::program::{Expr, ExprKind, Index, IndexKind};
use crate::sizes::{Affine, Conflict, Origin, Solver, agree};

use super::frame::{Bound, Cx, Frame, Slot, show};
use super::value::{Coordinate, Value};
use super::{Res, STAND_IN_STEPS, Tracer};

/// An axis that is indexed: what is known of it, and the class of its domain if it is a tensor's of the block.
#[derive(Clone, Debug)]
struct Position {
    extent: Option<Extent>,
    class: Option<Class>,
}

/// A fact about an axis of the block whose size is not known yet.
enum Deferred {
    Affine(Class, Affine<Class>),
    Group(Class, Vec<Class>, Origin),
    /// The axis is as large as the positions that are written.
    Written(Class, Affine<Class>),
}

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
                && !frame.is_staged(class)
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
        let guarded = equation.guard.iter().try_for_each(|guard| self.evidence(cx, guard, solver));
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
        let axis = match home {
            Some(home) if extent.is_stream() && is_row => home,
            Some(home) if !extent.is_stream() && frame.block.declared.contains(name) => {
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

    /// Walks an expression for reads. Of an `if` whose condition is known, only the branch that is taken counts.
    fn evidence(&mut self, cx: &mut Cx, expr: &Expr, solver: &mut Solver<Arc<str>>) -> Res<()> {
        match &expr.kind {
            ExprKind::If(condition, yes, no) => {
                self.evidence(cx, condition, solver)?;
                let known = match self.mentions_axes(cx, condition) {
                    true => None,
                    false => self.eval(cx, condition)?.number(),
                };
                match known {
                    Some(n) => self.evidence(cx, if n != 0.0 { yes } else { no }, solver),
                    None => {
                        self.evidence(cx, yes, solver)?;
                        self.evidence(cx, no, solver)
                    }
                }
            }
            ExprKind::Call(name, _) if crate::builtins::takes_names(&name.text) => Ok(()),
            ExprKind::Field(..) => Ok(()),
            ExprKind::Index(base, indices) if !self.is_path_index(cx, expr) => {
                for index in indices {
                    let mut parts = Vec::new();
                    index.each_part(&mut |part| parts.push(part));
                    parts.into_iter().try_for_each(|part| self.evidence(cx, part, solver))?;
                }
                if let Some((positions, what)) = self.positions(cx, base, indices, expr.span)? {
                    for (index, position) in indices.iter().zip(positions) {
                        if let Some(extent) = position.extent {
                            let origin = Origin { span: index.span, what: what.clone() };
                            self.index_evidence(cx, index, extent, origin, solver)?;
                        }
                    }
                }
                Ok(())
            }
            _ => {
                let mut parts = Vec::new();
                expr.each_part(&mut |part| parts.push(part));
                parts.into_iter().try_for_each(|part| self.evidence(cx, part, solver))
            }
        }
    }

    /// What one index at an axis of a known extent says.
    fn index_evidence(
        &mut self,
        cx: &mut Cx,
        index: &Index,
        extent: Extent,
        origin: Origin,
        solver: &mut Solver<Arc<str>>,
    ) -> Res<()> {
        let is_open = |cx: &Cx, name: &Arc<str>| {
            cx.frame.block.facts[cx.unit].variables.iter().any(|(v, _)| v == name)
                && !matches!(cx.variables.get(name), Some(Bound::Step(_)))
        };
        match &index.kind {
            IndexKind::Name(name) if is_open(cx, name) => solver.plain(Arc::clone(name), extent, origin),
            IndexKind::Group(names) => {
                solver.group(names.iter().map(|name| Arc::clone(&name.text)).collect(), extent, origin);
            }
            IndexKind::Expr(expr) => {
                if let Some(linear) = self.linear(cx, expr)?
                    && !linear.terms.is_empty()
                    && !extent.is_stream()
                {
                    let (terms, offset, divisor) = (linear.terms, linear.offset, linear.divisor);
                    solver.affine(Affine { terms, offset, divisor, extent, origin });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The axes of what is indexed, and what to call it; `None` where nothing can be said yet.
    fn positions(
        &mut self,
        cx: &mut Cx,
        base: &Expr,
        indices: &[Index],
        span: Span,
    ) -> Res<Option<(Vec<Position>, String)>> {
        let frame = Rc::clone(&cx.frame);
        let value = match &base.kind {
            ExprKind::Name(name) => match self.variable(&frame, cx.unit, name, base.span)? {
                Some(value) => value,
                None if frame.block.tensors.contains_key(name) => {
                    return self.tensor_positions(cx, name, indices, span);
                }
                None => return Ok(None),
            },
            _ => match self.path_or_value(cx, base)? {
                Some(value) => value,
                None => return Ok(None),
            },
        };
        let extents: Vec<Extent> = match &value {
            Value::Tensor(tensor) => tensor.axes.iter().map(|&axis| self.graph.extent(axis)).collect(),
            Value::Path(path) if !is_key(indices) => match &path.model {
                None => vec![Extent::Unknown; indices.len()],
                Some(model) => match model.tensor(&path.name()) {
                    Some(tensor) => tensor.shape().iter().rev().map(|&n| Extent::Static(n)).collect(),
                    None => return Ok(None), // Reported when it is read.
                },
            },
            Value::List(items) => list_sizes(items),
            _ => return Ok(None),
        };
        let what = match &value {
            Value::Path(path) => format!("the axis of `{}`", path.name()),
            _ => "the axis that is read here".into(),
        };
        let positions = extents.into_iter().map(|extent| Position { extent: Some(extent), class: None });
        Ok(Some((positions.collect(), what)))
    }

    fn tensor_positions(
        &mut self,
        cx: &mut Cx,
        name: &Arc<str>,
        indices: &[Index],
        span: Span,
    ) -> Res<Option<(Vec<Position>, String)>> {
        if self.delay_of(cx, name, indices).is_some() {
            return Ok(None);
        }
        let frame = Rc::clone(&cx.frame);
        let Some(steps) = self.steps_of(cx, name, indices, span)? else { return Ok(None) };
        let place = (Arc::clone(name), steps);
        if matches!(frame.memo.borrow().get(&place), Some(Slot::Begun)) {
            return Ok(None);
        }
        let tensor = self.define(&frame, name, &place.1, span)?;
        let mut rest = tensor.axes.iter();
        let positions = (0..indices.len()).map(|k| {
            let extent = if frame.is_staged_position(name, k) {
                None
            } else {
                rest.next().map(|&axis| self.graph.extent(axis))
            };
            Position { extent, class: frame.block.domains.position(name, k) }
        });
        Ok(Some((positions.collect(), format!("the axis of `{name}`"))))
    }

    /// What is known of a class from everywhere in the block.
    pub(super) fn class_extent(&mut self, frame: &Rc<Frame>, class: Class) -> Res<Option<(Extent, Origin)>> {
        if let Some((axis, origin)) = frame.home(class) {
            return Ok(Some((self.graph.extent(axis), origin)));
        }
        if frame.class_sizes.get().is_none() {
            let sizes = self.solve_classes(frame)?;
            // Solving may have asked for a class itself, by way of a `dim` that uses `size`; the first answer stays.
            let _ = frame.class_sizes.set(sizes);
        }
        Ok(frame.class_sizes.get().and_then(|sizes| sizes.get(&class)).cloned())
    }

    /// Unification over all units, from data alone: nothing is defined for it. Staged indices are taken at step 0.
    fn solve_classes(&mut self, frame: &Rc<Frame>) -> Res<HashMap<Class, (Extent, Origin)>> {
        let block = Rc::clone(&frame.block);
        let mut solver = Solver::new();
        let mut deferred = Vec::new();
        for (name, _) in &block.dims {
            if let (Some(class), Some((extent, origin))) =
                (block.domains.anywhere(&name.text), self.dim(frame, &name.text)?)
            {
                solver.plain(class, extent, origin);
            }
        }
        for (name, (extent, origin)) in self.homes_of(frame) {
            solver.plain(name, extent, origin);
        }
        for unit in 0..block.units.len() {
            let mut cx = Cx {
                frame: Rc::clone(frame),
                unit,
                variables: HashMap::new(),
                rows: Vec::new(),
                early: false,
            };
            for (name, _) in &block.facts[unit].variables {
                if self.is_unrolled(&cx, name) {
                    cx.variables.insert(Arc::clone(name), Bound::Step(Coordinate { step: 0, known: false }));
                }
            }
            let reported = self.diagnostics.len();
            let equation = &block.units[unit];
            let guards = equation.guard.iter();
            let walked = [&equation.value]
                .into_iter()
                .chain(guards)
                .try_for_each(|expr| self.class_evidence(&mut cx, expr, &mut solver, &mut deferred));
            if walked.is_ok() {
                self.class_left(&mut cx, &mut solver, &mut deferred).ok();
            }
            // What is wrong is reported where it is evaluated.
            self.diagnostics.truncate(reported);
        }
        settle_deferred(&mut solver, deferred);
        let classes = self.all_classes(&block);
        Ok(classes.into_iter().filter_map(|class| Some((class, solver.get(&class)?.clone()))).collect())
    }

    fn homes_of(&self, frame: &Frame) -> Vec<(Class, (Extent, Origin))> {
        let classes = self.all_classes(&frame.block);
        let home = |class| frame.home(class).map(|(axis, origin)| (class, (self.graph.extent(axis), origin)));
        classes.into_iter().filter_map(home).collect()
    }

    fn all_classes(&self, block: &crate::block::Block) -> Vec<Class> {
        let mut classes: Vec<Class> = block
            .facts
            .iter()
            .enumerate()
            .flat_map(|(unit, facts)| facts.variables.iter().map(move |(name, _)| (unit, name)))
            .filter_map(|(unit, name)| block.domains.variable(unit, name, true))
            .collect();
        for (tensor, equations) in &block.tensors {
            let rank = equations.iter().filter_map(|&e| block.units[e].indices.as_ref()).map(Vec::len).max();
            classes.extend((0..rank.unwrap_or(0)).filter_map(|k| block.domains.position(tensor, k)));
        }
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    fn class_evidence(
        &mut self,
        cx: &mut Cx,
        expr: &Expr,
        solver: &mut Solver<Class>,
        deferred: &mut Vec<Deferred>,
    ) -> Res<()> {
        match &expr.kind {
            ExprKind::Field(..) => return Ok(()),
            ExprKind::Call(name, _) if crate::builtins::takes_names(&name.text) => return Ok(()),
            _ => {}
        }
        if let ExprKind::If(condition, yes, no) = &expr.kind {
            let known = match self.mentions_axes(cx, condition) || mentions_tensors(cx, condition) {
                true => None,
                false => self.eval(cx, condition)?.number(),
            };
            return match known {
                Some(n) => self.class_evidence(cx, if n != 0.0 { yes } else { no }, solver, deferred),
                None => {
                    self.class_evidence(cx, yes, solver, deferred)?;
                    self.class_evidence(cx, no, solver, deferred)
                }
            };
        }
        if let ExprKind::Index(base, indices) = &expr.kind
            && !self.is_path_index(cx, expr)
        {
            let frame = Rc::clone(&cx.frame);
            let positions = match &base.kind {
                ExprKind::Name(name) if frame.block.tensors.contains_key(name) => {
                    let class = |k| frame.block.domains.position(name, k);
                    let position = |k| Position { extent: None, class: class(k) };
                    Some(((0..indices.len()).map(position).collect(), format!("the axis of `{name}`")))
                }
                _ => self.positions(cx, base, indices, expr.span)?,
            };
            let (positions, what) = positions.unwrap_or_default();
            for (index, position) in indices.iter().zip(positions) {
                let origin = Origin { span: index.span, what: what.clone() };
                self.class_index(cx, index, &position, origin, solver, deferred)?;
            }
        }
        let mut parts = Vec::new();
        expr.each_part(&mut |part| parts.push(part));
        parts.into_iter().try_for_each(|part| self.class_evidence(cx, part, solver, deferred))
    }

    fn class_index(
        &mut self,
        cx: &mut Cx,
        index: &Index,
        position: &Position,
        origin: Origin,
        solver: &mut Solver<Class>,
        deferred: &mut Vec<Deferred>,
    ) -> Res<()> {
        let frame = Rc::clone(&cx.frame);
        let of = |tracer: &Self, name: &Arc<str>| tracer.class_of(&frame, cx.unit, name);
        match (&index.kind, position.extent) {
            (IndexKind::Name(name), Some(extent)) if !cx.variables.contains_key(name) => {
                if let Some(class) = of(self, name) {
                    solver.plain(class, extent, origin);
                }
            }
            (IndexKind::Group(names), extent) => {
                let keys: Option<Vec<Class>> = names.iter().map(|name| of(self, &name.text)).collect();
                match (keys, extent, position.class) {
                    (Some(keys), Some(extent), _) => solver.group(keys, extent, origin),
                    (Some(keys), None, Some(class)) => deferred.push(Deferred::Group(class, keys, origin)),
                    _ => {}
                }
            }
            (IndexKind::Expr(expr), extent) => {
                if mentions_tensors(cx, expr) {
                    return Ok(());
                }
                let Some(linear) = self.linear(cx, expr)?.filter(|l| !l.terms.is_empty()) else {
                    return Ok(());
                };
                let class = |(name, c): &(Arc<str>, i64)| Some((self.class_of(&frame, cx.unit, name)?, *c));
                let Some(terms) = linear.terms.iter().map(class).collect::<Option<Vec<_>>>() else {
                    return Ok(());
                };
                let extent_or = extent.unwrap_or(Extent::Unknown);
                let fact = Affine {
                    terms,
                    offset: linear.offset,
                    divisor: linear.divisor,
                    extent: extent_or,
                    origin,
                };
                match (extent, position.class) {
                    (Some(extent), _) if !extent.is_stream() => solver.affine(fact),
                    (None, Some(class)) => deferred.push(Deferred::Affine(class, fact)),
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What the left side and a list on the right say.
    fn class_left(
        &mut self,
        cx: &mut Cx,
        solver: &mut Solver<Class>,
        deferred: &mut Vec<Deferred>,
    ) -> Res<()> {
        let frame = Rc::clone(&cx.frame);
        let equation = &frame.block.units[cx.unit];
        let left = equation.indices.as_deref().unwrap_or_default();
        let sizes = match &equation.value.unparenthesized().kind {
            ExprKind::List(_) => match self.eval(cx, &equation.value)? {
                Value::List(items) => list_sizes(&items),
                _ => Vec::new(),
            },
            ExprKind::Name(name) if !frame.block.tensors.contains_key(name) => {
                match self.variable(&frame, cx.unit, name, equation.value.span)? {
                    Some(Value::Tensor(tensor)) => {
                        tensor.axes.iter().map(|&a| self.graph.extent(a)).collect()
                    }
                    Some(Value::List(items)) => list_sizes(&items),
                    _ => Vec::new(),
                }
            }
            _ => Vec::new(),
        };
        if equation.indices.is_none() {
            let origin = Origin {
                span: equation.target.span,
                what: format!("the axis of `{}`", equation.target.text),
            };
            for (k, extent) in sizes.iter().enumerate() {
                if let Some(class) = frame.block.domains.position(&equation.target.text, k) {
                    solver.plain(class, *extent, origin.clone());
                }
            }
        }
        for (k, index) in left.iter().enumerate() {
            let Some(class) = frame.block.domains.position(&equation.target.text, k) else { continue };
            let origin = Origin { span: index.span, what: format!("the axis of `{}`", equation.target.text) };
            if let (Some(&extent), true) = (sizes.get(k), sizes.len() == left.len()) {
                solver.plain(class, extent, origin.clone());
            }
            match &index.kind {
                IndexKind::Group(names) => {
                    let of = |name: &crate::program::Name| self.class_of(&frame, cx.unit, &name.text);
                    if let Some(keys) = names.iter().map(of).collect() {
                        deferred.push(Deferred::Group(class, keys, origin));
                    }
                }
                IndexKind::Expr(expr) if !mentions_tensors(cx, expr) => {
                    let Some(linear) = self.linear(cx, expr)? else { continue };
                    let of = |(name, c): &(Arc<str>, i64)| Some((self.class_of(&frame, cx.unit, name)?, *c));
                    let Some(terms) = linear.terms.iter().map(of).collect::<Option<Vec<_>>>() else {
                        continue;
                    };
                    let (offset, divisor, extent) = (linear.offset, linear.divisor, Extent::Unknown);
                    let fact = Affine { terms, offset, divisor, extent, origin };
                    deferred.push(Deferred::Affine(class, fact.clone()));
                    if !frame.is_staged(class) {
                        deferred.push(Deferred::Written(class, fact));
                    }
                }
                _ => {}
            }
        }
        Ok(())
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

/// Deferred facts become facts as the sizes of their axes become known.
fn settle_deferred(solver: &mut Solver<Class>, mut deferred: Vec<Deferred>) {
    loop {
        solver.solve();
        let before = deferred.len();
        deferred.retain(|fact| match fact {
            Deferred::Affine(class, fact) => match solver.get(class).map(|(e, _)| *e) {
                Some(extent) if !extent.is_stream() => {
                    solver.affine(Affine { extent, ..fact.clone() });
                    false
                }
                _ => true,
            },
            Deferred::Group(class, keys, origin) => match solver.get(class).map(|(e, _)| *e) {
                Some(extent) => {
                    solver.group(keys.clone(), extent, origin.clone());
                    false
                }
                None => {
                    let sizes: Option<Vec<usize>> =
                        keys.iter().map(|k| solver.get(k).and_then(|(e, _)| e.known())).collect();
                    let product = sizes.and_then(|s| s.into_iter().try_fold(1usize, usize::checked_mul));
                    if let Some(product) = product {
                        solver.plain(*class, Extent::Static(product), origin.clone());
                    }
                    product.is_none()
                }
            },
            Deferred::Written(..) => true,
        });
        if deferred.len() == before && !settle_written(solver, &mut deferred) {
            return;
        }
    }
}

/// An axis that nothing else sizes is as large as what is written to it.
fn settle_written(solver: &mut Solver<Class>, deferred: &mut Vec<Deferred>) -> bool {
    let mut ends: HashMap<Class, Option<(usize, Origin)>> = HashMap::new();
    for fact in deferred.iter() {
        let Deferred::Written(class, fact) = fact else { continue };
        if solver.get(class).is_some() {
            continue;
        }
        let mut last = Some(fact.offset);
        for (key, coefficient) in &fact.terms {
            let size = solver.get(key).and_then(|(e, _)| e.known()).filter(|&n| n > 0);
            last = last
                .zip(size)
                .map(|(last, n)| last.saturating_add(coefficient.saturating_mul(n as i64 - 1).max(0)));
        }
        let end =
            last.map(|last| last.div_euclid(fact.divisor).max(-1) as usize).map(|last| last.wrapping_add(1));
        let known = ends.entry(*class).or_insert(Some((0, fact.origin.clone())));
        *known = known.take().zip(end).map(|((n, origin), end)| (n.max(end), origin));
    }
    let Some((class, (size, origin))) =
        ends.into_iter().filter_map(|(class, end)| Some((class, end?))).min_by_key(|(class, _)| *class)
    else {
        return false;
    };
    solver.plain(class, Extent::Static(size), origin);
    deferred.retain(|fact| !matches!(fact, Deferred::Written(c, _) if *c == class));
    true
}

/// Whether the brackets hold a key of metadata.
pub(super) fn is_key(indices: &[Index]) -> bool {
    matches!(indices.first().map(|i| &i.kind), Some(IndexKind::Expr(e)) if matches!(e.kind, ExprKind::Str(_)))
}

fn list_sizes(items: &Rc<Vec<Value>>) -> Vec<Extent> {
    let mut sizes = vec![Extent::Static(items.len())];
    let mut first = items.first();
    while let Some(Value::List(inner)) = first {
        sizes.push(Extent::Static(inner.len()));
        first = inner.first();
    }
    sizes
}

/// Whether the expression reads a tensor that the block defines.
fn mentions_tensors(cx: &Cx, expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |part| {
        if let ExprKind::Name(name) = &part.kind {
            found |= cx.frame.block.tensors.contains_key(name);
        }
    });
    found
}
