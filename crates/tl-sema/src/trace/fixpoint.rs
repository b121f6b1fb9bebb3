//! Fixpoints: recursions that no order of steps evaluates, such as `S[i, k] min= S[i, j] + D[j, k]`.
//!
//! ```text
//! fixpoint(members of the cycle)
//!     state[m] = an input of the graph, for each member
//!     next[m]  = the member's equations, reading the states
//! ```
//!
//! Whoever runs the graph runs the rounds before: it sets the states to what the semiring begins with, computes `next` from them, and
//! goes on with that, until nothing changes or the bound of the program is reached. What reads a member reads its state, which by then
//! holds the fixpoint.
//!
//! Which recursions may be repeated at all says [`crate::rounds`].

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use tl_ir::{NodeId, Op, Reduction};
use tl_syntax::{Diagnostic, Span, codes};

use crate::argument::{Loop, Member};
use crate::program::{Equation, Expr, ExprKind, Facts, Projection};
use crate::rounds::{converges, mentions};

use super::eval::scalar;
use super::frame::{Cx, Frame, Slot};
use super::value::{Tensor, Value};
use super::{Failed, Res, Tracer};

/// The most positions of a relation that is held dense.
const MAX_DENSE: usize = 1 << 28;

impl Tracer<'_> {
    /// The fixpoint that a tensor is part of.
    pub(super) fn fixpoint(&mut self, frame: &Rc<Frame>, name: &Arc<str>, span: Span) -> Res<Tensor> {
        let block = Rc::clone(&frame.block);
        let members = block.members_of_fixpoint(name);
        let equations: Vec<&Equation> =
            members.iter().flat_map(|m| &block.tensors[m]).map(|&unit| &block.units[unit]).collect();
        let in_cycle = |name: &str| members.iter().any(|m| **m == *name);
        let (until, steps) = self.bound_of(frame, &members)?;
        let states = self.open_states(frame, &members, span)?;
        let complete = self.loops.len();
        let next: Res<Vec<NodeId>> = states
            .iter()
            .zip(&members)
            .map(|((_, state), m)| self.next_round(frame, m, state, span))
            .collect();
        let span = equations.first().map_or(span, |e| e.target.span);
        let Ok(next) = next else {
            members.iter().for_each(|m| self.settle(frame, m, Err(Failed)));
            return Err(Failed);
        };
        let members = members.iter().zip(&states).zip(next).map(|((m, (input, _)), next)| {
            let own: Vec<&Equation> = block.tensors[m].iter().map(|&unit| &block.units[unit]).collect();
            Member { name: Arc::clone(m), input: *input, initial: initial(&own, &in_cycle), next }
        });
        let members: Vec<Member> = members.collect();
        let own = members.iter().position(|m| m.name == *name).ok_or(Failed)?;
        let inner = self.inner_loops(complete, states.iter().map(|(_, state)| state.node).collect());
        self.loops.push(Loop { members, until, steps, inner, span });
        Ok(states[own].1.clone())
    }

    /// An input for each member.
    fn open_states(
        &mut self,
        frame: &Rc<Frame>,
        members: &[Arc<str>],
        span: Span,
    ) -> Res<Vec<(u32, Tensor)>> {
        let mut states = Vec::new();
        for member in members {
            let axes = self.expected_axes(frame, member, span)?;
            if axes.iter().any(|&axis| self.graph.extent(axis).is_stream()) {
                return self.fail(
                    Diagnostic::error(
                        codes::NO_ROUNDS,
                        span,
                        format!("`{member}` has no order along the stream"),
                    )
                    .help("read earlier rows alone: `h[p - 1]`"),
                );
            }
            let input = self.inputs.len() as u32;
            let node = self.input(member, axes.clone(), span);
            states.push((input, Tensor { node, axes }));
        }
        for (member, (_, state)) in members.iter().zip(&states) {
            self.settle(frame, member, Ok(state.clone()));
        }
        Ok(states)
    }

    fn settle(&mut self, frame: &Frame, member: &Arc<str>, tensor: Res<Tensor>) {
        frame.memo.borrow_mut().insert((Arc::clone(member), Vec::new()), Slot::Done(tensor));
    }

    /// A member computed from the states, with their axes.
    fn next_round(
        &mut self,
        frame: &Rc<Frame>,
        member: &Arc<str>,
        state: &Tensor,
        span: Span,
    ) -> Res<NodeId> {
        self.steps += 1;
        let guards = std::mem::replace(&mut self.guards, frame.guards.clone());
        let tensor = self.enter(span, |tracer| tracer.define_now(frame, member, &[], span));
        self.guards = guards;
        let tensor = tensor?;
        let node = self.rename(tensor.node, &tensor.axes, &state.axes, span);
        let whole = self.materialize(Tensor { node, axes: state.axes.clone() }, span).node;
        if let (0 | 1, None) = (self.inlining.len(), &self.graph.node(whole).name) {
            self.graph.name(whole, Arc::clone(member));
        }
        Ok(whole)
    }

    /// `until` and `steps` of the members' equations: the tightest of each.
    fn bound_of(&mut self, frame: &Rc<Frame>, members: &[Arc<str>]) -> Res<(Option<f64>, Option<usize>)> {
        let block = Rc::clone(&frame.block);
        let (mut until, mut steps): (Option<f64>, Option<usize>) = (None, None);
        for &unit in members.iter().flat_map(|m| &block.tensors[m]) {
            let bound = &block.units[unit].bound;
            let mut cx = self.empty_cx(frame, unit);
            if let Some(expr) = &bound.until {
                let limit = self.bound_number(&mut cx, expr)?;
                until = Some(until.map_or(limit, |before| before.min(limit)));
            }
            if let Some(expr) = &bound.steps {
                let count = self.bound_number(&mut cx, expr)?;
                if count.fract() != 0.0 || !(0.0..=1e9).contains(&count) {
                    let message = format!("{count} is no number of rounds");
                    return self.fail(Diagnostic::error(codes::BAD_SIZE, expr.span, message));
                }
                steps = Some(steps.map_or(count as usize, |before| before.min(count as usize)));
            }
        }
        Ok((until, steps))
    }

    fn bound_number(&mut self, cx: &mut Cx, expr: &Expr) -> Res<f64> {
        let value = self.eval(cx, expr)?;
        match value.number() {
            Some(n) if !n.is_nan() => Ok(n),
            None if self.is_unknown(&value) => Ok(1.0),
            _ => self.fail(
                Diagnostic::error(codes::NOT_STATIC, expr.span, "the bound of a recursion is a known number")
                    .here(value.describe()),
            ),
        }
    }

    /// Takes out the recursions that were completed since, and need the states of the one around them.
    fn inner_loops(&mut self, since: usize, mut states: HashSet<NodeId>) -> Vec<Loop> {
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        for found in self.loops.split_off(since) {
            let next = found.members.iter().map(|m| m.next);
            match self.depends_on(next.collect(), &states) {
                true => {
                    let is_own = |id: &NodeId| match self.graph.node(*id).op {
                        Op::Input(number) => found.members.iter().any(|m| m.input == number),
                        _ => false,
                    };
                    let ids = (0..self.graph.len() as u32).map(NodeId);
                    states.extend(ids.filter(is_own));
                    inner.push(found);
                }
                false => outer.push(found),
            }
        }
        self.loops.extend(outer);
        inner
    }

    /// Whether some node needs one of the states.
    fn depends_on(&self, mut pending: Vec<NodeId>, states: &HashSet<NodeId>) -> bool {
        let mut seen = vec![false; self.graph.len()];
        while let Some(id) = pending.pop() {
            if states.contains(&id) {
                return true;
            }
            if !std::mem::replace(&mut seen[id.0 as usize], true) {
                pending.extend(&self.graph.node(id).inputs);
            }
        }
        false
    }

    /// The facts of the relation that the unit defines, dense.
    pub(super) fn facts(&mut self, cx: &Cx, facts: &Facts, span: Span) -> Res<Value> {
        let frame = Rc::clone(&cx.frame);
        let target = Arc::clone(&frame.block.units[cx.unit].target.text);
        let mut sizes = Vec::new();
        for column in 0..facts.arity {
            let class = frame.block.domains.position(&target, column).ok_or(Failed)?;
            match self.class_extent(&frame, class)? {
                Some((extent, _)) => sizes.push((class, extent)),
                None => return self.unknown_axis(&target, column, span, &frame),
            }
        }
        let shape: Option<Vec<usize>> = sizes.iter().map(|(_, extent)| extent.known()).collect();
        let Some(shape) = shape else {
            let node = self.unknown(span);
            return Ok(scalar(node));
        };
        let count = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).filter(|&n| n <= MAX_DENSE);
        let Some(count) = count else {
            return self.fail(
                Diagnostic::error(codes::GRAPH_TOO_LARGE, span, format!("`{target}` has too many positions"))
                    .here(format!("its domains have {shape:?} constants"))
                    .note(format!("relations are dense, with at most {MAX_DENSE} positions")),
            );
        };
        let mut values = vec![0f32; count];
        for row in &facts.rows {
            let mut at = 0;
            for ((constant, &(class, _)), &size) in row.constants.iter().zip(&sizes).zip(&shape) {
                let position = self.fact_position(&frame, class, constant, row.span)?;
                let Some(position) = position.filter(|&p| p < size) else {
                    return self.fail(
                        Diagnostic::error(codes::BAD_INDEX, row.span, "the fact lies outside of its domain")
                            .here(format!("the domain has {size} positions")),
                    );
                };
                at = at * size + position;
            }
            values[at] = 1.0;
        }
        let axes = self.open_axes(sizes.iter().map(|&(_, extent)| extent));
        let node = self.graph.literal(values, axes.clone(), span);
        Ok(Value::Tensor(Tensor { node, axes }))
    }
}

/// What the elements of a tensor are before the first round: what the projection leaves as it is. Where `max=` is used with products,
/// that is 0, as for probabilities.
fn initial(equations: &[&Equation], in_cycle: &dyn Fn(&str) -> bool) -> f32 {
    match equations.iter().map(|e| e.projection).find(|p| converges(*p)) {
        Some(Projection::Reduce(Reduction::Min)) => f32::INFINITY,
        Some(Projection::Reduce(Reduction::Max))
            if !equations.iter().any(|e| multiplies(&e.value, in_cycle)) =>
        {
            f32::NEG_INFINITY
        }
        _ => 0.0,
    }
}

/// Whether the expression multiplies an element of the cycle by something.
fn multiplies(expr: &Expr, in_cycle: &dyn Fn(&str) -> bool) -> bool {
    let mut found = false;
    expr.walk(&mut |part| {
        if let ExprKind::Join(_) | ExprKind::Product(_) = &part.kind {
            found |= mentions(part, in_cycle);
        }
    });
    found
}
