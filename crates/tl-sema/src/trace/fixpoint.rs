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
//! `or=`, `min=`, `max=` and relations converge over finite domains. Any other recursion needs a bound, and a relation may not depend on
//! its own negation.

use std::rc::Rc;
use std::sync::Arc;

use tl_ir::{NodeId, Reduction, Scalar};
use tl_syntax::{Diagnostic, Span, codes};

use crate::argument::{Loop, Member};
use crate::program::{Constant, Equation, Expr, ExprKind, Facts, Projection};

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
        if let Some(found) = equations.iter().find_map(|e| negated(e, &e.value, &in_cycle)) {
            return self.fail(found);
        }
        let (until, steps) = self.bound_of(frame, &members)?;
        // A plain `=` beside `max=` is one more element to project.
        let is_element = |e: &Equation| {
            e.is_plain && equations.iter().any(|o| o.target.text == e.target.text && converges(o.projection))
        };
        let unbounded = equations.iter().find(|e| !converges(e.projection) && !is_element(e));
        if let (Some(equation), None, None) = (unbounded, until, steps) {
            return self.fail(no_bound(equation, &in_cycle));
        }
        let states = self.open_states(frame, &members, span)?;
        let depth = self.open_loops.len();
        self.open_loops.extend(states.iter().map(|(_, state)| state.node));
        let next: Res<Vec<NodeId>> = states
            .iter()
            .zip(&members)
            .map(|((_, state), m)| self.next_round(frame, m, state, span))
            .collect();
        self.open_loops.truncate(depth);
        let span = equations.first().map_or(span, |e| e.target.span);
        let next = match next {
            Ok(next) if self.depends_on_open(&next) => self.fail(nested(span)),
            other => other,
        };
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
        self.loops.push(Loop { members, until, steps, span });
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

    /// Whether some node needs the state of a recursion that is not complete.
    fn depends_on_open(&self, nodes: &[NodeId]) -> bool {
        let mut seen = vec![false; self.graph.len()];
        let mut pending = nodes.to_vec();
        while let Some(id) = pending.pop() {
            if self.open_loops.contains(&id) {
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
                None => return self.unknown_size(&format!("{target}[{}]", column + 1), span, &frame),
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
                let position = match constant {
                    Constant::Number(n) => Some(*n),
                    Constant::Str(name) => frame.block.constants.position(class, name),
                };
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

/// Whether repeating a projection over a finite domain comes to an end by itself.
fn converges(projection: Projection) -> bool {
    matches!(projection, Projection::Any | Projection::Reduce(Reduction::Max | Reduction::Min))
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

fn mentions(expr: &Expr, in_cycle: &dyn Fn(&str) -> bool) -> bool {
    let mut found = false;
    expr.walk(&mut |part| found |= matches!(&part.kind, ExprKind::Name(name) if in_cycle(name)));
    found
}

/// The first negation of a member of the cycle in a relation.
fn negated(equation: &Equation, expr: &Expr, in_cycle: &dyn Fn(&str) -> bool) -> Option<Diagnostic> {
    if equation.projection != Projection::Any {
        return None;
    }
    let mut found = None;
    expr.walk(&mut |part| {
        if let ExprKind::Apply(Scalar::Not, operands) = &part.kind
            && mentions(&operands[0], in_cycle)
        {
            found.get_or_insert(part.span);
        }
    });
    let name = &equation.target.text;
    let error = |span| {
        Diagnostic::error(codes::NOT_STRATIFIED, span, format!("`{name}` depends on its own negation"))
            .here("this negation needs it to be complete")
            .label(equation.target.span, "and it is defined with it")
            .help("a relation that is negated must be complete before: break the circle")
    };
    found.map(error)
}

#[cold]
fn no_bound(equation: &Equation, in_cycle: &dyn Fn(&str) -> bool) -> Diagnostic {
    let mut at = equation.value.span;
    equation.value.walk(&mut |part| {
        if matches!(&part.kind, ExprKind::Name(name) if in_cycle(name)) {
            at = part.span;
        }
    });
    let name = &equation.target.text;
    Diagnostic::error(codes::CYCLIC_DEFINITION, at, format!("`{name}` is defined by its own elements"))
        .here("its value is needed here, while it is being computed")
        .label(equation.target.span, "defined here")
        .help("say when the rounds end: `until change < 1e-6` or `steps 50` after the equation")
        .help("or let an index go on: `x[n + 1] = f(x[n])`, with `x[0] = …`")
}

#[cold]
fn nested(span: Span) -> Diagnostic {
    Diagnostic::error(codes::NO_ROUNDS, span, "a recursion to a fixpoint is repeated by another")
        .help("give the inner one an index of its own: `x[n + 1] = f(x[n])`")
}
