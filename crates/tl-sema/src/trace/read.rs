//! Reads: what stands between the brackets decides how a tensor's axes become those of the expression.
//!
//! ```text
//! plain `i`            the axis is renamed
//! affine `2·j + 1`     Index, or a Delay for `x[p − k]` along the stream
//! a variable, `0`      Index at a constant
//! a tensor `tok[p]`    Gather
//! `(g r c)`            Split
//! `a:b`                Index into a new open axis
//! `_`                  summed
//! ```

use std::rc::Rc;
use std::sync::Arc;

use tl_ir::{AffineMap, AxisId, Extent, NodeId, Op, Reduction};
use tl_syntax::{Diagnostic, Span, codes};
use tl_tensor::Tensor as Data;

use crate::domains::offset_of;
use crate::model::find_meta;
use crate::program::{Expr, ExprKind, Index, IndexKind, Projection};
use crate::suggest::did_you_mean;

use super::affine::Linear;
use super::evidence::is_key;
use super::frame::{Bound, Cx, show};
use super::value::{Coordinate, Path, Tensor, Value};
use super::{Failed, Res, STAND_IN_STEPS, Tracer};

/// What happens to one axis of a tensor that is read.
#[derive(Clone, Debug)]
enum Slot {
    /// It becomes this axis.
    Axis(AxisId),
    /// It is read at an affine position.
    Affine(AffineMap),
    /// It is read at the positions that a tensor holds.
    Gather(Tensor),
    /// It becomes these axes, slowest first.
    Split(Vec<AxisId>),
    /// It is read from one position to before another, as an open axis.
    Slice(AxisId, i64),
    /// It is summed away.
    Sum,
}

impl Tracer<'_> {
    /// `base[indices]`
    pub(super) fn access(&mut self, cx: &mut Cx, expr: &Expr, base: &Expr, indices: &[Index]) -> Res<Value> {
        if self.is_path_index(cx, expr) {
            return self.path(cx, expr).map(Value::Path);
        }
        let value = match &base.kind {
            ExprKind::Name(name) => {
                let frame = Rc::clone(&cx.frame);
                match self.variable(&frame, cx.unit, name, base.span)? {
                    Some(value) => value,
                    None if frame.block.tensors.contains_key(name) => {
                        return self.read_defined(cx, name, indices, expr.span);
                    }
                    None => return Err(Failed), // Reported by the analysis.
                }
            }
            _ => match self.path_or_value(cx, base)? {
                Some(value) => value,
                None => return Err(Failed),
            },
        };
        self.index_value(cx, value, indices, expr.span)
    }

    fn index_value(&mut self, cx: &mut Cx, value: Value, indices: &[Index], span: Span) -> Res<Value> {
        match value {
            Value::Path(path) if is_key(indices) => self.metadata(cx, &path, indices, span),
            Value::Path(path) => self.read_weight(cx, &path, indices, span),
            Value::Tensor(tensor) => self.read(cx, &tensor, indices, span),
            Value::List(items) => self.element(cx, &items, indices, span),
            // A number in the place of a tensor is the same everywhere.
            Value::Number(_) | Value::Bool(_) | Value::Unknown => Ok(value),
            Value::Str(_) => self.fail(
                Diagnostic::error(codes::WRONG_KIND, span, "a text can't be indexed in an equation")
                    .here("a text"),
            ),
        }
    }

    /// Whether brackets continue a model's path rather than read a tensor.
    pub(super) fn is_path_index(&self, cx: &Cx, expr: &Expr) -> bool {
        cx.frame.block.trees.contains(&expr.id)
    }

    /// An expression that is a place in a model.
    pub(super) fn path(&mut self, cx: &mut Cx, expr: &Expr) -> Res<Path> {
        let found = match &expr.kind {
            ExprKind::Field(base, name) => return Ok(self.path(cx, base)?.child(&name.text)),
            ExprKind::Paren(inner) => return self.path(cx, inner),
            ExprKind::Index(base, indices) if !matches!(base.kind, ExprKind::Name(_)) && !is_key(indices) => {
                let [index] = &indices[..] else {
                    return self.fail(
                        Diagnostic::error(
                            codes::BAD_INDEX,
                            expr.span,
                            "a place in a model has one index at a time",
                        )
                        .help("write `m.blk[l].name`"),
                    );
                };
                let path = self.path(cx, base)?;
                let Some(step) = self.coordinate(cx, index)? else {
                    return self.fail(
                        Diagnostic::error(
                            codes::NOT_STATIC,
                            index.span,
                            "which tensor this is must be known before the program runs",
                        )
                        .help("use an index of the left side, or a number"),
                    );
                };
                return Ok(path.child(&step.step.to_string()));
            }
            _ => self.eval(cx, expr)?,
        };
        match found {
            Value::Path(path) => Ok(path),
            Value::Unknown => Ok(Path { model: None, segments: Vec::new() }),
            other => self.fail(
                Diagnostic::error(
                    codes::WRONG_KIND,
                    expr.span,
                    format!("{} has no fields", other.describe()),
                )
                .here("a model is expected here"),
            ),
        }
    }

    /// What stands before brackets, other than a name.
    pub(super) fn path_or_value(&mut self, cx: &mut Cx, base: &Expr) -> Res<Option<Value>> {
        match &base.kind {
            ExprKind::Field(..) => self.path(cx, base).map(|path| Some(Value::Path(path))),
            _ => self.eval(cx, base).map(Some),
        }
    }

    /// `m["key"]` or `m["key", default]`
    fn metadata(&mut self, cx: &mut Cx, path: &Path, indices: &[Index], span: Span) -> Res<Value> {
        let IndexKind::Expr(key) = &indices[0].kind else { return Err(Failed) };
        let ExprKind::Str(text) = &key.kind else { return Err(Failed) };
        let Some(model) = path.model.clone() else { return Ok(Value::Unknown) };
        if let Some(value) = find_meta(&*model, text) {
            return Ok(Value::of_meta(&value));
        }
        match indices.get(1).map(|index| &index.kind) {
            Some(IndexKind::Expr(default)) => self.eval(cx, default),
            Some(IndexKind::Name(name)) => {
                let frame = Rc::clone(&cx.frame);
                match self.variable(&frame, cx.unit, name, indices[1].span)? {
                    Some(value) => Ok(value),
                    None => self.fail(
                        Diagnostic::error(
                            codes::UNKNOWN_NAME,
                            indices[1].span,
                            format!("`{name}` is not defined"),
                        )
                        .here("the default value"),
                    ),
                }
            }
            _ => {
                let keys = model.meta_keys();
                let mut diagnostic = Diagnostic::error(
                    codes::UNKNOWN_METADATA,
                    key.span,
                    format!("{} has no metadata `{text}`", model.describe()),
                )
                .label(span, "and no default is given")
                .help(format!("give a default: `m[\"{text}\", 0]`"));
                let short = keys.iter().map(|k| k.split_once('.').map_or(k.as_str(), |(_, rest)| rest));
                if let Some(near) = did_you_mean(text, keys.iter().map(String::as_str).chain(short)) {
                    diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
                }
                self.fail(diagnostic)
            }
        }
    }

    /// An element of a list, where it is known which; else the list as a tensor.
    fn element(&mut self, cx: &mut Cx, items: &Rc<Vec<Value>>, indices: &[Index], span: Span) -> Res<Value> {
        if let [first, rest @ ..] = indices
            && let Some(step) = self.coordinate(cx, first)?
        {
            if !step.known {
                return Ok(Value::Unknown);
            }
            let found = usize::try_from(step.step).ok().and_then(|i| items.get(i)).cloned();
            let Some(found) = found else {
                return self.fail(
                    Diagnostic::error(
                        codes::BAD_INDEX,
                        first.span,
                        format!("there is no element {} in this list", step.step),
                    )
                    .here(format!("the list has {}", items.len())),
                );
            };
            return if rest.is_empty() { Ok(found) } else { self.index_value(cx, found, rest, span) };
        }
        let tensor = self.as_tensor(Value::List(Rc::clone(items)), span)?;
        self.read(cx, &tensor, indices, span)
    }

    /// The step that an index names, if it is known while tracing.
    pub(super) fn coordinate(&mut self, cx: &mut Cx, index: &Index) -> Res<Option<Coordinate>> {
        match &index.kind {
            IndexKind::Name(name) => {
                if let Some(Bound::Step(step)) = cx.variables.get(name) {
                    return Ok(Some(*step));
                }
                let frame = Rc::clone(&cx.frame);
                if frame.block.facts[cx.unit].variables.iter().any(|(v, _)| v == name) {
                    return Ok(None);
                }
                let value = self.variable(&frame, cx.unit, name, index.span)?;
                self.value_step(value, index.span)
            }
            IndexKind::Expr(expr) if !self.mentions_axes(cx, expr) => {
                // `l + 1` at a step that stands for all is a step that stands for all.
                let is_step = |name: &str| matches!(cx.variables.get(name), Some(Bound::Step(_)));
                if let Some(offset) = offset_of(index, &is_step)
                    && let Some(Bound::Step(step)) = cx.variables.get(offset.variable)
                {
                    return Ok(step
                        .step
                        .checked_add(offset.offset)
                        .map(|step_at| Coordinate { step: step_at, ..*step }));
                }
                let value = self.eval(cx, expr)?;
                self.value_step(Some(value), index.span)
            }
            _ => Ok(None),
        }
    }

    fn value_step(&mut self, value: Option<Value>, span: Span) -> Res<Option<Coordinate>> {
        let Some(value) = value else { return Ok(None) };
        if self.is_unknown(&value) {
            return Ok(Some(Coordinate { step: STAND_IN_STEPS, known: false }));
        }
        let number = match &value {
            Value::Tensor(tensor) if tensor.axes.is_empty() => self.graph.as_constant(tensor.node),
            other => other.number(),
        };
        match number {
            Some(n) if n.fract() == 0.0 && n.abs() <= 1e15 => {
                Ok(Some(Coordinate { step: n as i64, known: true }))
            }
            Some(n) => self.fail(Diagnostic::error(
                codes::BAD_INDEX,
                span,
                format!("an index is a whole number, this is {n}"),
            )),
            None => Ok(None),
        }
    }

    /// The steps of a defined tensor's staged positions; `None` if one of them is an axis.
    pub(super) fn steps_of(
        &mut self,
        cx: &mut Cx,
        name: &Arc<str>,
        indices: &[Index],
        span: Span,
    ) -> Res<Option<Vec<Coordinate>>> {
        self.check_rank(cx, name, indices, span)?;
        let frame = Rc::clone(&cx.frame);
        let mut steps = Vec::new();
        for (position, index) in indices.iter().enumerate() {
            if frame.is_staged_position(name, position) {
                match self.coordinate(cx, index)? {
                    Some(step) => steps.push(step),
                    None => return Ok(None),
                }
            }
        }
        Ok(Some(steps))
    }

    fn check_rank(&mut self, cx: &Cx, name: &Arc<str>, indices: &[Index], span: Span) -> Res<()> {
        let block = Rc::clone(&cx.frame.block);
        let Some(defining) = block.tensors.get(name).and_then(|e| e.first()) else { return Ok(()) };
        let equation = &block.units[*defining];
        let Some(left) = &equation.indices else { return Ok(()) };
        if left.len() == indices.len() {
            return Ok(());
        }
        self.fail(
            Diagnostic::error(
                codes::INDEX_COUNT,
                span,
                format!("`{name}` has {} indices, {} are given", left.len(), indices.len()),
            )
            .label(equation.target.span, "defined here"),
        )
    }

    /// `(position, rows back)` of a read of an earlier row of a tensor that is being defined by it.
    pub(super) fn delay_of(&self, cx: &Cx, name: &Arc<str>, indices: &[Index]) -> Option<(usize, u32)> {
        let (frame, block) = (&cx.frame, &cx.frame.block);
        let target = &block.units[cx.unit].target.text;
        let cycle = block.domains.cycle(name)?;
        if block.domains.cycle(target) != Some(cycle) {
            return None;
        }
        let left = &block.facts[cx.unit].left;
        let is_left = |name: &str| left.iter().any(|l| **l == *name);
        indices.iter().enumerate().find_map(|(position, index)| {
            let class = block.domains.position(name, position)?;
            let back = offset_of(index, &is_left)?.offset.checked_neg()?;
            let by = u32::try_from(back).ok().filter(|&by| by > 0)?;
            frame.is_stream(class).then_some((position, by))
        })
    }

    /// A read of a tensor that the block defines.
    fn read_defined(&mut self, cx: &mut Cx, name: &Arc<str>, indices: &[Index], span: Span) -> Res<Value> {
        let frame = Rc::clone(&cx.frame);
        let delay = self.delay_of(cx, name, indices);
        let Some(steps) = self.steps_of(cx, name, indices, span)? else {
            let whole = self.define_whole(&frame, name, span)?;
            return self.read(cx, &whole, indices, span);
        };
        let mut rest: Vec<Index> = Vec::new();
        for (k, index) in indices.iter().enumerate().filter(|(k, _)| !frame.is_staged_position(name, *k)) {
            let mut index = index.clone();
            if let Some((position, _)) = delay
                && position == k
            {
                // The delay has done the offset.
                let is_left = |name: &str| frame.block.facts[cx.unit].left.iter().any(|l| **l == *name);
                let variable = offset_of(&index, &is_left).map(|offset| Arc::clone(offset.variable));
                index.kind = IndexKind::Name(variable.ok_or(Failed)?);
            }
            rest.push(index);
        }
        let tensor = match delay {
            Some((_, by)) => self.delayed(&frame, name, &steps, by, span)?,
            None => self.define(&frame, name, &steps, span)?,
        };
        if tensor.axes.is_empty() {
            return Ok(Value::Tensor(tensor));
        }
        self.read(cx, &tensor, &rest, span)
    }

    /// A read of a tensor whose axes are known.
    fn read(&mut self, cx: &mut Cx, tensor: &Tensor, indices: &[Index], span: Span) -> Res<Value> {
        if tensor.axes.len() != indices.len() {
            let sizes: Vec<String> = tensor.axes.iter().map(|&a| show(self.graph.extent(a))).collect();
            return self.wrong_rank("this tensor", &sizes, indices, span);
        }
        let mut slots = Vec::new();
        for (index, &axis) in indices.iter().zip(&tensor.axes) {
            let extent = self.graph.extent(axis);
            slots.push(self.slot(cx, index, extent)?);
        }
        let read = self.apply_slots(tensor.node, &tensor.axes, slots, span)?;
        Ok(Value::Tensor(read))
    }

    #[cold]
    fn wrong_rank(&mut self, what: &str, sizes: &[String], indices: &[Index], span: Span) -> Res<Value> {
        let (axes, given) = (sizes.len(), indices.len());
        let plural = if axes == 1 { "axis" } else { "axes" };
        let verb = if given == 1 { "index is" } else { "indices are" };
        self.fail(
            Diagnostic::error(
                codes::INDEX_COUNT,
                span,
                format!("{what} has {axes} {plural}, {given} {verb} given"),
            )
            .note(format!("its sizes are [{}]", sizes.join(", "))),
        )
    }

    fn slot(&mut self, cx: &mut Cx, index: &Index, extent: Extent) -> Res<Slot> {
        let frame = Rc::clone(&cx.frame);
        match &index.kind {
            IndexKind::Any => Ok(Slot::Sum),
            IndexKind::Name(name) if frame.block.facts[cx.unit].variables.iter().any(|(v, _)| v == name) => {
                match cx.variables.get(name) {
                    Some(Bound::Axis(axis)) => Ok(Slot::Axis(*axis)),
                    Some(Bound::Step(step)) => {
                        let value = super::step_value(*step);
                        self.position(value, index.span)
                    }
                    None => Ok(Slot::Axis(self.bind_variable(cx, name, extent))),
                }
            }
            IndexKind::Name(name) => match self.variable(&frame, cx.unit, name, index.span)? {
                Some(value) => self.position(value, index.span),
                None => Err(Failed), // Reported by the analysis.
            },
            IndexKind::Expr(expr) => {
                if let Some(linear) = self.linear(cx, expr)? {
                    return self.affine_map(cx, &linear, index.span).map(Slot::Affine);
                }
                let value = self.eval(cx, expr)?;
                self.position(value, index.span)
            }
            IndexKind::Group(names) => {
                let axes: Res<Vec<AxisId>> =
                    names.iter().map(|name| self.axis_of(cx, &name.text, name.span)).collect();
                Ok(Slot::Split(axes?))
            }
            IndexKind::Slice(from, to) => self.slice(cx, from.as_deref(), to.as_deref(), extent, index.span),
        }
    }

    /// A value as a position along an axis.
    fn position(&mut self, value: Value, span: Span) -> Res<Slot> {
        let constant = match &value {
            Value::Tensor(tensor) => self.graph.as_constant(tensor.node),
            Value::Str(_) => {
                return self.fail(
                    Diagnostic::error(
                        codes::BAD_INDEX,
                        span,
                        "a text as an index needs an axis of named constants",
                    )
                    .help("axes of named constants are not available yet; use the number of the position"),
                );
            }
            other => other.number(),
        };
        match constant {
            Some(n) if n.fract() == 0.0 && n.abs() <= 1e15 => Ok(Slot::Affine(AffineMap::constant(n as i64))),
            Some(n) => self.fail(Diagnostic::error(
                codes::BAD_INDEX,
                span,
                format!("an index is a whole number, this is {n}"),
            )),
            None => {
                let tensor = self.as_tensor(value, span)?;
                Ok(Slot::Gather(tensor))
            }
        }
    }

    fn slice(
        &mut self,
        cx: &mut Cx,
        from: Option<&Expr>,
        to: Option<&Expr>,
        extent: Extent,
        span: Span,
    ) -> Res<Slot> {
        let mut bound = |tracer: &mut Self, expr: Option<&Expr>| -> Res<Option<i64>> {
            let Some(expr) = expr else { return Ok(None) };
            match tracer.linear(cx, expr)?.and_then(|l: Linear| l.as_constant()) {
                Some(n) => Ok(Some(n)),
                None => tracer.fail(
                    Diagnostic::error(
                        codes::NOT_STATIC,
                        expr.span,
                        "the bounds of a slice are known numbers",
                    )
                    .help("gather with an index of its own: `y[i] = x[i + start]`"),
                ),
            }
        };
        let (from, to) = (bound(self, from)?, bound(self, to)?);
        let Extent::Static(size) = extent else {
            return self.fail(Diagnostic::error(
                codes::BAD_INDEX,
                span,
                "only an axis of a known size can be sliced",
            ));
        };
        let clamp = |n: i64| if n < 0 { (n + size as i64).max(0) } else { n.min(size as i64) };
        let (from, to) = (clamp(from.unwrap_or(0)), clamp(to.unwrap_or(size as i64)));
        let length = (to - from).max(0) as usize;
        let axis = self.hidden_axis(&format!("{from}:{to}"), Extent::Static(length));
        Ok(Slot::Slice(axis, from))
    }

    /// Turns the axes of a node into what the slots say.
    fn apply_slots(&mut self, node: NodeId, axes: &[AxisId], slots: Vec<Slot>, span: Span) -> Res<Tensor> {
        let mut node = node;
        // Along the stream an earlier row is a delay, and then the same row.
        let mut slots = slots;
        for (slot, &axis) in slots.iter_mut().zip(axes) {
            if let Slot::Affine(map) = slot
                && self.graph.extent(axis) == Extent::Rows
                && let (&[(to, 1)], 1, back @ 1..) =
                    (&map.terms[..], map.divisor, map.offset.saturating_neg())
                && let Ok(by) = u32::try_from(back)
            {
                node = self.with_axis(node, axis, span);
                node = self.graph.add(Op::Delay { by }, vec![node], None, span);
                *slot = Slot::Axis(to);
            }
        }
        // An index that stands twice: the second time it is met, a diagonal.
        let mut seen: Vec<AxisId> = Vec::new();
        for slot in &mut slots {
            if let Slot::Axis(axis) = *slot {
                if seen.contains(&axis) {
                    *slot = Slot::Affine(AffineMap::of(axis, 1, 0));
                } else {
                    seen.push(axis);
                }
            }
        }
        let (node, axes) = self.rename_plain(node, axes, &slots, span);
        self.apply_computed(node, &axes, &slots, span)
    }

    /// Renames the axes that plain indices stand at. An axis that is to be computed with gets out of the way of a new name.
    fn rename_plain(
        &mut self,
        node: NodeId,
        axes: &[AxisId],
        slots: &[Slot],
        span: Span,
    ) -> (NodeId, Vec<AxisId>) {
        let mut to = Vec::new();
        for (position, (slot, &axis)) in slots.iter().zip(axes).enumerate() {
            let taken = slots.iter().enumerate().any(|(other, s)| other != position && self.gives(s, axis));
            to.push(match slot {
                Slot::Axis(target) => *target,
                _ if taken => {
                    let info = self.graph.axis_info(axis).clone();
                    let extent = if info.extent == Extent::Rows { Extent::Stream } else { info.extent };
                    self.hidden_axis(&format!("{}'{position}", info.name), extent)
                }
                _ => axis,
            });
        }
        (self.rename(node, axes, &to, span), to)
    }

    /// Whether an axis results from a slot.
    fn gives(&self, slot: &Slot, axis: AxisId) -> bool {
        match slot {
            Slot::Axis(target) | Slot::Slice(target, _) => *target == axis,
            Slot::Affine(map) => map.terms.iter().any(|&(term, _)| term == axis),
            Slot::Gather(index) => self.graph.node(index.node).axes.contains(&axis),
            Slot::Split(into) => into.contains(&axis),
            Slot::Sum => false,
        }
    }

    fn apply_computed(
        &mut self,
        mut node: NodeId,
        axes: &[AxisId],
        slots: &[Slot],
        span: Span,
    ) -> Res<Tensor> {
        let mut open = Vec::new();
        for (slot, &axis) in slots.iter().zip(axes) {
            let varies = self.graph.node(node).axes.contains(&axis);
            node = match slot {
                Slot::Axis(_) => node,
                Slot::Affine(map) if !varies && self.stays_inside(map, axis) => node,
                Slot::Affine(map) => {
                    let node = self.with_axis(node, axis, span);
                    self.graph.index(node, axis, map.clone(), span)
                }
                Slot::Gather(index) => {
                    open.extend(&index.axes);
                    let node = self.with_axis(node, axis, span);
                    self.graph.add(Op::Gather { along: axis }, vec![node, index.node], None, span)
                }
                Slot::Split(_) if !varies => node,
                Slot::Split(into) => {
                    self.graph.add(Op::Split { axis, into: into.clone() }, vec![node], None, span)
                }
                Slot::Slice(into, from) => {
                    open.push(*into);
                    let node = self.with_axis(node, axis, span);
                    self.graph.index(node, axis, AffineMap::of(*into, 1, *from), span)
                }
                Slot::Sum => self.reduce(Projection::Reduce(Reduction::Sum), node, &[axis], span)?,
            };
        }
        if open.is_empty() {
            return Ok(Tensor { node, axes: Vec::new() });
        }
        let extents: Vec<Extent> = open.iter().map(|&axis| self.graph.extent(axis)).collect();
        let to = self.open_axes(extents);
        let node = self.rename(node, &open, &to, span);
        Ok(Tensor { node, axes: to })
    }

    /// Whether an affine position is always one of the axis.
    fn stays_inside(&self, map: &AffineMap, axis: AxisId) -> bool {
        let Extent::Static(size) = self.graph.extent(axis) else { return false };
        let (mut low, mut high) = (map.offset, map.offset);
        for &(term, coefficient) in &map.terms {
            let Extent::Static(n) = self.graph.extent(term) else { return false };
            let reach = coefficient.saturating_mul((n as i64 - 1).max(0));
            low = low.saturating_add(reach.min(0));
            high = high.saturating_add(reach.max(0));
        }
        low.div_euclid(map.divisor) >= 0 && high.div_euclid(map.divisor) < size as i64
    }

    /// `m.path[indices]`: the first index is the fastest in memory, as ggml counts.
    fn read_weight(&mut self, cx: &mut Cx, path: &Path, indices: &[Index], span: Span) -> Res<Value> {
        let name = path.name();
        let (extents, data): (Vec<Extent>, Option<Data>) = match &path.model {
            None => (vec![Extent::Unknown; indices.len()], None),
            Some(model) => match model.tensor(&name) {
                Some(data) => (data.shape().iter().rev().map(|&n| Extent::Static(n)).collect(), Some(data)),
                None => return self.missing_tensor(cx, path, indices, span),
            },
        };
        if extents.len() != indices.len() {
            let sizes: Vec<String> = extents.iter().map(|&extent| show(extent)).collect();
            return self.wrong_rank(&format!("`{name}`"), &sizes, indices, span);
        }
        let (mut axes, mut slots): (Vec<AxisId>, Vec<Slot>) = (Vec::new(), Vec::new());
        for (position, (index, &extent)) in indices.iter().zip(&extents).enumerate() {
            let slot = self.slot(cx, index, extent)?;
            let axis = match &slot {
                Slot::Axis(axis) if !axes.contains(axis) => *axis,
                Slot::Split(into) => {
                    let names: Vec<&str> =
                        into.iter().map(|&a| self.graph.axis_info(a).name.as_str()).collect();
                    let joined = names.join(" ");
                    self.hidden_axis(&joined, extent)
                }
                _ => self.hidden_axis(&format!("{name}.{position}"), extent),
            };
            axes.push(axis);
            slots.push(slot);
        }
        let memory: Vec<AxisId> = axes.iter().rev().copied().collect();
        let node = self.graph.weight(&name, data, memory, span);
        self.apply_slots(node, &axes, slots, span).map(Value::Tensor)
    }

    /// Not a tensor: perhaps the path goes on, else an error that names the tensor in full.
    fn missing_tensor(&mut self, cx: &mut Cx, path: &Path, indices: &[Index], span: Span) -> Res<Value> {
        let Some(model) = path.model.clone() else { return Err(Failed) };
        let prefix = format!("{}.", path.name());
        let names = model.tensor_names();
        if let [index] = indices
            && names.iter().any(|name| name.starts_with(&prefix))
            && let Some(step) = self.coordinate(cx, index)?
        {
            return Ok(Value::Path(path.child(&step.step.to_string())));
        }
        self.fail(no_such_tensor(&path.name(), &model.describe(), &names, span))
    }

    /// A model's tensor without indices.
    pub(super) fn bare_weight(&mut self, path: &Path, span: Span) -> Res<Tensor> {
        let name = path.name();
        let Some(model) = path.model.clone() else {
            let node = self.unknown(span);
            return Ok(Tensor { node, axes: Vec::new() });
        };
        let Some(data) = model.tensor(&name) else {
            return self.fail(no_such_tensor(&name, &model.describe(), &model.tensor_names(), span));
        };
        let axes = self.open_axes(data.shape().iter().rev().map(|&n| Extent::Static(n)).collect::<Vec<_>>());
        let memory = axes.iter().rev().copied().collect();
        let node = self.graph.weight(&name, Some(data), memory, span);
        Ok(Tensor { node, axes })
    }
}

#[cold]
fn no_such_tensor(name: &str, model: &str, names: &[String], span: Span) -> Diagnostic {
    let what = if name.is_empty() {
        "a model is no tensor".into()
    } else {
        format!("{model} has no tensor `{name}`")
    };
    let mut diagnostic = Diagnostic::error(codes::UNKNOWN_TENSOR, span, what);
    if let Some(near) = did_you_mean(name, names.iter().map(String::as_str)) {
        diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
    }
    diagnostic.help("where a tensor is optional, ask for it: `if has(m.x) { … } else { … }`")
}
