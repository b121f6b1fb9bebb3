//! Evaluates what was traced: recursions to fixpoints first, round by round, then the graph that reads them.
//!
//! The members of a recursion are inputs of the graph, and the nodes that compute them anew are nodes of the same graph. So a round is
//! the same graph with other results, planned once; its results are the inputs of the next round. A recursion that needs the members of
//! another is settled in each round of that one.

use tl_ir::Graph;
use tl_ir::graph::Output;
use tl_sema::{Loop, Member, Traced};
use tl_tensor::Tensor;

use crate::engine::{Engine, Rounds};
use crate::error::Error;

/// After so many rounds a recursion that has no bound of its own is given up.
const MAX_ROUNDS: usize = 10_000;

/// After so many rounds of all recursions together, those in others counted each time, a program is given up.
const MAX_ROUNDS_IN_ALL: usize = 1_000_000;

impl Engine {
    /// Evaluates the results of what was traced, which has no stream. `arguments[n]` are the elements of input `n`; inputs that are
    /// members of a recursion have none. `go_on` is asked before each round.
    ///
    /// # Errors
    /// As for [`Engine::evaluate`]; when a recursion does not come to an end; when `go_on` says no.
    pub fn evaluate_traced(
        &self,
        traced: &Traced,
        arguments: &[&[f32]],
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Tensor>, Error> {
        if traced.loops.is_empty() {
            return self.evaluate(&traced.graph, arguments);
        }
        let mut values: Vec<Vec<f32>> = arguments.iter().map(|a| a.to_vec()).collect();
        values.resize(traced.inputs.len().max(values.len()), Vec::new());
        traced.loops.iter().for_each(|recursion| begin(traced, recursion, &mut values));
        let mut left = MAX_ROUNDS_IN_ALL;
        for recursion in &traced.loops {
            self.recursion(traced, recursion, &values)?.settle(&mut values, &mut left, go_on)?;
        }
        let arguments: Vec<&[f32]> = values.iter().map(|v| &v[..]).collect();
        self.evaluate(&with_results(&traced.graph, traced.graph.outputs().to_vec()), &arguments)
    }

    /// A recursion and those in it, planned.
    fn recursion<'t>(
        &self,
        traced: &'t Traced,
        recursion: &'t Loop,
        values: &[Vec<f32>],
    ) -> Result<Recursion<'t>, Error> {
        let result = |member: &Member| Output {
            name: member.name.clone(),
            node: member.next,
            axes: traced.inputs[member.input as usize].axes.clone(),
        };
        let round = with_results(&traced.graph, recursion.members.iter().map(result).collect());
        let inner = recursion.inner.iter().map(|inner| self.recursion(traced, inner, values));
        let inner = inner.collect::<Result<_, Error>>()?;
        Ok(Recursion { traced, recursion, round: self.rounds(round, values)?, inner })
    }
}

/// A recursion to a fixpoint, ready to run.
struct Recursion<'t> {
    traced: &'t Traced,
    recursion: &'t Loop,
    round: Rounds,
    /// The recursions that each of its rounds needs.
    inner: Vec<Recursion<'t>>,
}

impl Recursion<'_> {
    /// Runs the rounds and leaves what they come to in the members' inputs.
    fn settle(
        &mut self,
        values: &mut [Vec<f32>],
        left: &mut usize,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let recursion = self.recursion;
        begin(self.traced, recursion, values);
        let limit = recursion.steps.unwrap_or(MAX_ROUNDS);
        let (mut change, mut done) = (f32::INFINITY, 0);
        while done < limit && *left > 0 {
            (done, *left) = (done + 1, *left - 1);
            if !go_on() {
                return Err(Error::Interrupted);
            }
            for inner in &mut self.inner {
                inner.settle(values, left, go_on)?;
            }
            let arguments: Vec<&[f32]> = values.iter().map(|v| &v[..]).collect();
            let next = (self.round)(&arguments)?;
            change = 0.0;
            for (member, next) in recursion.members.iter().zip(next) {
                let state = &mut values[member.input as usize];
                let diverges = member.initial.is_finite()
                    && recursion.until.is_some()
                    && next.data.iter().any(|x| !x.is_finite());
                let changed = if diverges { f32::INFINITY } else { largest_change(state, &next.data) };
                change = changed.max(change);
                *state = next.data;
            }
            if change == f32::INFINITY && recursion.until.is_some() {
                break;
            }
            if recursion.until.map_or(change == 0.0, |limit| f64::from(change) < limit) {
                return Ok(());
            }
        }
        if recursion.steps.is_some() && done == limit {
            return Ok(());
        }
        let names: Vec<&str> = recursion.members.iter().map(|m| &*m.name).collect();
        Err(Error::NotSettled { name: names.join(", "), rounds: done, change, span: recursion.span })
    }
}

/// Puts what each member is before the first round into its input, and those of recursions in it.
fn begin(traced: &Traced, recursion: &Loop, values: &mut [Vec<f32>]) {
    for member in &recursion.members {
        let axes = &traced.inputs[member.input as usize].axes;
        let size: usize = axes.iter().map(|&axis| traced.graph.extent(axis).known().unwrap_or(0)).product();
        values[member.input as usize] = vec![member.initial; size];
    }
    recursion.inner.iter().for_each(|inner| begin(traced, inner, values));
}

/// The graph with other results, and without what they don't need.
fn with_results(graph: &Graph, results: Vec<Output>) -> Graph {
    graph.with_outputs(results).rewrite(|_, _, _| None)
}

/// The largest change of an element; what stays infinite or NaN has not changed.
fn largest_change(before: &[f32], after: &[f32]) -> f32 {
    let change = |(&a, &b): (&f32, &f32)| match a == b || a.is_nan() && b.is_nan() {
        true => 0.0,
        false if (a - b).is_nan() => f32::INFINITY,
        false => (a - b).abs(),
    };
    before.iter().zip(after).map(change).fold(0.0, f32::max)
}
