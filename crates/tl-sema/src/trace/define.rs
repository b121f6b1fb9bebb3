//! Definitions: a tensor at a step of its staged indices is the sum of the equations that define it there.
//!
//! Each is evaluated once for a frame and kept. A definition that is asked for while it is being evaluated is a circle; what may go
//! round, recursion along the stream, has been made a delay before it comes to that.

use std::rc::Rc;
use std::sync::Arc;

use tl_ir::{AxisId, NodeId, Op, Reduction, Scalar};
use tl_syntax::{Diagnostic, Span, codes};

use crate::program::{Equation, Expr, ExprKind, Factor, Projection};

use super::frame::{Bound, Cx, Frame, Slot};
use super::value::{Coordinate, Tensor};
use super::{Failed, Res, Tracer, is_sum};

impl Tracer<'_> {
    /// A tensor of the block, at the steps of its staged positions.
    pub(super) fn define(
        &mut self,
        frame: &Rc<Frame>,
        name: &Arc<str>,
        steps: &[Coordinate],
        span: Span,
    ) -> Res<Tensor> {
        let place = (Arc::clone(name), steps.to_vec());
        match frame.memo.borrow().get(&place) {
            Some(Slot::Done(tensor)) => return tensor.clone(),
            Some(Slot::Begun) => {
                self.diagnostics.push(cyclic(frame, name, span));
                return Err(Failed);
            }
            None => {}
        }
        if frame.block.domains.fixpoint(name).is_some() {
            return self.fixpoint(frame, name, span);
        }
        self.define_earlier(frame, name, steps, span)?;
        frame.memo.borrow_mut().insert(place.clone(), Slot::Begun);
        self.steps += 1;
        let guards = std::mem::replace(&mut self.guards, frame.guards.clone());
        let tensor = self.enter(span, |tracer| tracer.define_now(frame, name, steps, span));
        self.guards = guards;
        // Tensors of functions that are inlined have no names of their own.
        if let (Ok(tensor), 0 | 1) = (&tensor, self.inlining.len()) {
            self.graph.name(tensor.node, shown(name, steps));
        }
        frame.memo.borrow_mut().insert(place, Slot::Done(tensor.clone()));
        tensor
    }

    pub(super) fn define_now(
        &mut self,
        frame: &Rc<Frame>,
        name: &Arc<str>,
        steps: &[Coordinate],
        span: Span,
    ) -> Res<Tensor> {
        let found = self.matches(frame, name, steps)?;
        if found.is_empty() {
            // What no equation defines is 0; but a recursion that nothing begins is a mistake.
            if let Some(step) = steps.first()
                && frame.block.domains.cycle(name).is_some()
                && !frame.block.tensors[name].iter().any(|&unit| frame.block.units[unit].is_virtual)
                && !self.is_outside(frame, name, steps)?
            {
                return self.fail(no_element(frame, name, *step, span));
            }
            let node = self.graph.constant(0.0, span);
            return Ok(Tensor { node, axes: Vec::new() });
        }
        let recursive = frame.block.domains.cycle(name).is_some();
        if let Some(step) = steps.first().filter(|_| recursive && self.never_begins(frame, name)) {
            return self.fail(no_beginning(frame, name, step.step, span));
        }
        if recursive && found.iter().any(|m| self.left_delay(frame, m.unit).is_some()) {
            return self.define_ahead(frame, name, steps, &found, span);
        }
        let mut values: Vec<(usize, Tensor)> = Vec::new();
        for found in &found {
            self.check_limits(span)?;
            values.push((found.unit, self.equation(frame, found.unit, &found.steps)?));
        }
        if recursive {
            self.let_bases_take_over(frame, &mut values, span)?;
        }
        self.add_up(frame, values, span)
    }

    /// Whether a recursion is 0 everywhere because nothing but its own elements enters it.
    pub(super) fn never_begins(&self, frame: &Frame, name: &Arc<str>) -> bool {
        let block = &frame.block;
        let cycle = block.domains.cycle(name);
        let in_cycle = |tensor: &str| block.domains.cycle(tensor) == cycle;
        let mut equations = block.units.iter().filter(|unit| in_cycle(&unit.target.text));
        equations.all(|unit| !unit.is_virtual && vanishes(&unit.value, &in_cycle))
    }

    /// Equations with the same left side add up, or are projected as their operator says.
    pub(super) fn add_up(
        &mut self,
        frame: &Rc<Frame>,
        values: Vec<(usize, Tensor)>,
        span: Span,
    ) -> Res<Tensor> {
        let block = Rc::clone(&frame.block);
        // A plain `=` beside `max=` is one more element to project.
        let projection = |unit: usize| {
            let equation = &block.units[unit];
            let others = values.iter().map(|(unit, _)| &block.units[*unit]);
            let explicit = others.filter(|_| equation.is_plain).find(|e| e.explicit);
            explicit.map_or(equation.projection, |e| e.projection)
        };
        let projections: Vec<Projection> = values.iter().map(|&(unit, _)| projection(unit)).collect();
        let mut values = values.into_iter().zip(projections);
        let Some(((first_unit, mut total), first_projection)) = values.next() else { return Err(Failed) };
        for ((unit, value), next_projection) in values {
            let (first, next): (&Equation, &Equation) = (&block.units[first_unit], &block.units[unit]);
            if first_projection != next_projection || value.axes.len() != total.axes.len() {
                return self.fail(
                    Diagnostic::error(
                        codes::DEFINED_TWICE,
                        next.target.span,
                        format!("`{}` is defined in two ways that don't go together", next.target.text),
                    )
                    .label(first.target.span, "defined here with another operator or another number of indices")
                    .help("equations of one tensor add up; all of them have one operator and one number of indices"),
                );
            }
            let scalar = match first_projection {
                Projection::Reduce(Reduction::Max) => Scalar::Max,
                Projection::Reduce(Reduction::Min) => Scalar::Min,
                Projection::Any => Scalar::Or,
                projection if is_sum(projection) => Scalar::Add,
                _ => {
                    return self.fail(
                        Diagnostic::error(
                            codes::DEFINED_TWICE,
                            next.target.span,
                            "only one equation can have `avg=`",
                        )
                        .label(first.target.span, "the first"),
                    );
                }
            };
            self.same_extents(&total, &value, first, next)?;
            let node = self.rename(value.node, &value.axes, &total.axes, span);
            // A total that is 0 everywhere has nothing to add to.
            total.node = match (self.graph.as_constant(total.node), scalar) {
                (Some(0.0), Scalar::Add) => node,
                (_, Scalar::Add) if block.excluded(first) != 0.0 => {
                    self.add_those_that_exist(total.node, node, span)
                }
                _ => self.graph.map(scalar, &[total.node, node], span),
            };
        }
        Ok(total)
    }

    /// The sum of what exists, an element that does not being −∞.
    fn add_those_that_exist(&mut self, a: NodeId, b: NodeId, span: Span) -> NodeId {
        let nothing = self.graph.constant(f64::NEG_INFINITY, span);
        let sum = self.graph.map(Scalar::Add, &[a, b], span);
        let without = |tracer: &mut Self, gone: NodeId, other: NodeId, both: NodeId| {
            let is_gone = tracer.graph.map(Scalar::Eq, &[gone, nothing], span);
            tracer.graph.map(Scalar::Select, &[is_gone, other, both], span)
        };
        let either = without(self, a, b, sum);
        without(self, b, a, either)
    }

    fn same_extents(&mut self, a: &Tensor, b: &Tensor, first: &Equation, next: &Equation) -> Res<()> {
        for (position, (&x, &y)) in a.axes.iter().zip(&b.axes).enumerate() {
            let (x, y) = (self.graph.extent(x), self.graph.extent(y));
            if !crate::sizes::agree(x, y) {
                let (x, y) = (super::frame::show(x), super::frame::show(y));
                return self.fail(
                    Diagnostic::error(
                        codes::SIZE_MISMATCH,
                        next.target.span,
                        format!(
                            "index {} of `{}` has two sizes: {x} and {y}",
                            position + 1,
                            next.target.text
                        ),
                    )
                    .here(y)
                    .label(first.target.span, x),
                );
            }
        }
        Ok(())
    }

    /// The value of one equation, with an axis for each unstaged position of its left side.
    pub(super) fn equation(
        &mut self,
        frame: &Rc<Frame>,
        unit: usize,
        steps: &[(Arc<str>, Coordinate)],
    ) -> Res<Tensor> {
        self.equation_at(frame, unit, steps, false)
    }

    /// The value of an equation; `early` leaves out the delay of a left side `h[p + 1]`.
    pub(super) fn equation_at(
        &mut self,
        frame: &Rc<Frame>,
        unit: usize,
        steps: &[(Arc<str>, Coordinate)],
        early: bool,
    ) -> Res<Tensor> {
        let block = Rc::clone(&frame.block);
        let equation = &block.units[unit];
        let span = equation.span;
        let mut cx = self.bind(frame, unit, steps)?;
        cx.early = early;
        let inherited = self.guards.len();
        self.inherit_guards(&cx, span);
        let placed = self.equation_value(&mut cx, equation);
        self.guards.truncate(inherited);
        placed
    }

    fn equation_value(&mut self, cx: &mut Cx, equation: &Equation) -> Res<Tensor> {
        let span = equation.span;
        let value = match self.push_guard(cx, &equation.guard)? {
            None => {
                let excluded = cx.frame.block.excluded(equation);
                Tensor { node: self.graph.constant(excluded, span), axes: Vec::new() }
            }
            Some(before) => {
                let value = self.guarded_value(cx, equation);
                let clauses = self.guards.split_off(before);
                let mut value = value?;
                value.node = self.keep_inside(cx, equation, value.node, &clauses);
                value
            }
        };
        self.place_left(cx, equation, value)
    }

    /// A guard around a call restricts a parameter's axis under every name that the function has for it.
    fn inherit_guards(&mut self, cx: &Cx, span: Span) {
        let frame = Rc::clone(&cx.frame);
        for (name, bound) in &cx.variables {
            let Bound::Axis(axis) = *bound else { continue };
            let home = self.class_of(&frame, cx.unit, name).and_then(|class| frame.home(class));
            let Some((home, _)) = home.filter(|(home, _)| *home != axis) else { continue };
            for clause in &frame.guards {
                if clause.axes.contains(&home) && !clause.axes.contains(&axis) {
                    let node = self.substitute(clause.node, home, axis, span);
                    let axes = self.graph.node(node).axes.clone();
                    self.guards.push(super::Clause { node, axes });
                }
            }
        }
    }

    /// A condition about one axis as the same condition about another.
    fn substitute(&mut self, node: NodeId, from: AxisId, to: AxisId, span: Span) -> NodeId {
        let found = self.graph.node(node).clone();
        match found.op {
            _ if !found.axes.contains(&from) => node,
            Op::Iota => self.graph.iota(to, span),
            Op::Map(scalar) => {
                let inputs: Vec<NodeId> =
                    found.inputs.iter().map(|&i| self.substitute(i, from, to, span)).collect();
                self.graph.map(scalar, &inputs, span)
            }
            _ => self.graph.relabel(node, &[(from, to)], span),
        }
    }

    fn guarded_value(&mut self, cx: &mut Cx, equation: &Equation) -> Res<Tensor> {
        let block = Rc::clone(&cx.frame.block);
        let projected = &block.facts[cx.unit].projected;
        let value = self.eval(cx, &equation.value)?;
        let mut tensor = self.as_tensor(value, equation.value.span)?;
        if !projected.is_empty() {
            let axes: Res<Vec<AxisId>> =
                projected.iter().map(|n| self.axis_of(cx, n, equation.span)).collect();
            tensor.node = self.reduce(equation.projection, tensor.node, &axes?, equation.span)?;
        }
        Ok(tensor)
    }
}

/// Whether an expression is 0 where the elements of a cycle are.
fn vanishes(expr: &Expr, in_cycle: &dyn Fn(&str) -> bool) -> bool {
    let of = |part: &Expr| vanishes(part, in_cycle);
    match &expr.kind {
        ExprKind::Name(name) => in_cycle(name),
        ExprKind::Index(base, _) | ExprKind::Paren(base) => of(base),
        ExprKind::Join(factors) => factors.iter().any(of),
        ExprKind::Product(factors) => factors.iter().any(|(factor, e)| *factor == Factor::Times && of(e)),
        ExprKind::Sum(terms) => terms.iter().all(|(_, term)| of(term)),
        _ => false,
    }
}

/// `k[3]`, as explanations show it.
fn shown(name: &str, steps: &[Coordinate]) -> String {
    match steps {
        [] => name.to_owned(),
        _ => {
            let steps: Vec<String> = steps.iter().map(|s| s.step.to_string()).collect();
            format!("{name}[{}]", steps.join(", "))
        }
    }
}

#[cold]
fn cyclic(frame: &Frame, name: &Arc<str>, span: Span) -> Diagnostic {
    let mut diagnostic =
        Diagnostic::error(codes::CYCLIC_DEFINITION, span, format!("`{name}` is defined by its own elements"));
    if let Some(&unit) = frame.block.tensors.get(name).and_then(|units| units.first()) {
        diagnostic = diagnostic.label(frame.block.units[unit].target.span, "defined here");
    }
    diagnostic
        .here("its value is needed here, while it is being computed")
        .help("a recursion needs an index that goes on: `x[n + 1] = f(x[n])`, with `x[0] = …`")
}

/// A recursion runs to an element that nothing defines.
#[cold]
fn no_element(frame: &Frame, name: &Arc<str>, step: Coordinate, span: Span) -> Diagnostic {
    let step = step.step;
    recursion(frame, name, &format!("nothing defines it at {step}"), span)
        .help(format!("add an equation for its first element: `{name}[{step}] = …`"))
}

/// Each equation of a recursion needs another element of it.
#[cold]
pub(super) fn no_beginning(frame: &Frame, name: &Arc<str>, step: i64, span: Span) -> Diagnostic {
    recursion(frame, name, &format!("`{name}[{step}]` needs another element, and so on"), span)
        .help(format!("add an equation for its first element, as `{name}[0] = …`"))
}

fn recursion(frame: &Frame, name: &Arc<str>, why: &str, span: Span) -> Diagnostic {
    let message = format!("the recursion of `{name}` has no beginning: {why}");
    let diagnostic = Diagnostic::error(codes::NO_BEGINNING, span, message);
    match frame.block.tensors.get(name).and_then(|units| units.first()) {
        Some(&unit) => diagnostic.label(frame.block.units[unit].target.span, "defined here"),
        None => diagnostic,
    }
}
