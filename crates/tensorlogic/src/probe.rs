//! A probe: the rows of any tensor of a generator's program, one for each token. Embeddings are made of them.
//!
//! The graph of the generator is planned again with that tensor as its result, so that what only the logits need is not computed: neither the
//! output matrix nor anything else behind the tensor. Unless a tensor is named it is the one that the output matrix multiplies:
//!
//! ```text
//! logits ← functions, guards, renamings of …  ← a join that sums: of its operands the one that has rows and no index of the vocabulary
//! ```
//!
//! Invariant: nothing here knows what the equations mean; any program that generates has rows to look at.

use std::collections::VecDeque;
use std::sync::Arc;

use tl_exec::run::{Executable, Sequence, Wanted};
use tl_exec::state::State;
use tl_ir::{AxisId, Extent, Graph, NodeId, Op, Output};

use crate::engine::in_order;
use crate::error::Error;
use crate::generator::Generator;
use crate::interpreter::closest;

/// Rows of a step.
const STEP_ROWS: usize = 128;

/// What computes the rows of one tensor.
pub struct Probe {
    executable: Box<dyn Executable>,
    tensor: String,
    /// Sizes of the axes of a row.
    shape: Vec<usize>,
    vocabulary: usize,
    limit: Option<usize>,
}

impl Generator {
    /// A probe of a tensor of the program: `x[2]` by its name and the step of its recursion, `x` for its last step. Without a name it is the tensor
    /// that the output matrix multiplies.
    ///
    /// # Errors
    /// When there is no such tensor, it has no row of a known width for each token, or memory can't be had.
    pub fn probe(&self, tensor: Option<&str>) -> Result<Probe, Error> {
        let graph = self.graph();
        let node = match tensor {
            Some(name) => named(graph, name)?,
            None => before_logits(graph)
                .ok_or_else(|| no_rows("the logits are made of no rows; name a tensor"))?,
        };
        let found = graph.node(node);
        let name = match &found.name {
            Some(name) => name.to_string(),
            None => "the rows that the output matrix multiplies".to_owned(),
        };
        let (rows, rest): (Vec<AxisId>, Vec<AxisId>) =
            found.axes.iter().partition(|&&axis| graph.extent(axis) == Extent::Rows);
        let shape: Option<Vec<usize>> = rest.iter().map(|&axis| graph.extent(axis).known()).collect();
        let (1, Some(shape)) = (rows.len(), shape) else {
            return Err(no_rows(format!("`{name}` has no row of its own for each token")));
        };
        let axes = rows.into_iter().chain(rest).collect();
        let output = Output { name: name.as_str().into(), node, axes };
        let planned = tl_exec::plan::plan(&graph.with_outputs(vec![output]))?;
        let executable = self.engine().prepare(planned.plan)?;
        let (vocabulary, limit) = (self.vocabulary(), self.context_limit());
        Ok(Probe { executable, tensor: name, shape, vocabulary, limit })
    }
}

impl Probe {
    /// The tensor's name, or what it is.
    pub fn tensor(&self) -> &str {
        &self.tensor
    }

    /// How many numbers a row has.
    pub fn width(&self) -> usize {
        self.shape.iter().product()
    }

    /// Computes the row of each token of a sequence and shows it: `see(i, row)` for `tokens[i]`, in order.
    ///
    /// # Errors
    /// When a token is not in the vocabulary, the sequence is longer than the context, or memory can't be had.
    pub fn rows(&mut self, tokens: &[u32], mut see: impl FnMut(usize, &[f32])) -> Result<(), Error> {
        if let Some(&id) = tokens.iter().find(|&&id| id as usize >= self.vocabulary) {
            return Err(Error::Token { id, size: self.vocabulary });
        }
        if let Some(limit) = self.limit.filter(|&limit| tokens.len() > limit) {
            return Err(Error::Context { limit, asked: tokens.len() });
        }
        let mut state = State::new(self.executable.plan());
        let mut first = 0;
        for chunk in tokens.chunks(STEP_ROWS) {
            let inputs: Vec<f32> = chunk.iter().map(|&id| id as f32).collect();
            let sequence = Sequence { state: &mut state, rows: chunk.len(), wanted: Wanted::All };
            self.executable.run(&mut [sequence], &[&inputs])?;
            let shape: Vec<usize> = std::iter::once(chunk.len()).chain(self.shape.iter().copied()).collect();
            let values = in_order(self.executable.plan(), 0, self.executable.output(0), &shape);
            for row in 0..chunk.len() {
                see(first + row, &values[row * self.width()..][..self.width()]);
            }
            first += chunk.len();
        }
        Ok(())
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Probe({})", self.tensor)
    }
}

/// The node of a tensor; without a step, that of its last.
fn named(graph: &Graph, name: &str) -> Result<NodeId, Error> {
    let live = graph.live();
    let tensors: Vec<(NodeId, Arc<str>)> = (graph.nodes())
        .filter(|(id, _)| live[id.0 as usize])
        .filter_map(|(id, node)| Some((id, Arc::clone(node.name.as_ref()?))))
        .collect();
    let step =
        |tensor: &str| tensor.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?.parse::<i64>().ok();
    let exact = tensors.iter().find(|(_, tensor)| **tensor == *name);
    let last = || tensors.iter().filter_map(|(id, tensor)| Some((step(tensor)?, id))).max();
    if let Some(id) = exact.map(|(id, _)| *id).or_else(|| last().map(|(_, id)| *id)) {
        return Ok(id);
    }
    let near = closest(name, tensors.iter().map(|(_, tensor)| &**tensor));
    let hint =
        near.map_or_else(|| "`tl explain` lists them".to_owned(), |near| format!("is `{near}` meant?"));
    Err(no_rows(format!("the program computes no tensor `{name}`; {hint}")))
}

/// The rows that make the logits: the operand that has rows and not the vocabulary's axis, of the last join that sums.
fn before_logits(graph: &Graph) -> Option<NodeId> {
    let logits = graph.outputs().first()?;
    let has_rows = |id: NodeId| graph.node(id).axes.iter().any(|&a| graph.extent(a) == Extent::Rows);
    // Values of logits and what they are called there, those to be looked at next first.
    let mut pending = VecDeque::from([(logits.node, *logits.axes.get(1)?)]);
    let mut seen = vec![false; graph.len()];
    while let Some((id, vocabulary)) = pending.pop_front() {
        let node = graph.node(id);
        if !node.axes.contains(&vocabulary) || std::mem::replace(&mut seen[id.0 as usize], true) {
            continue;
        }
        let vocabulary = match &node.op {
            Op::Contract { .. } => {
                let hidden = |&id: &NodeId| has_rows(id) && !graph.node(id).axes.contains(&vocabulary);
                match node.inputs.iter().copied().find(hidden) {
                    Some(rows) => return Some(rows),
                    None => vocabulary,
                }
            }
            Op::Relabel(pairs) => pairs.iter().find(|(_, to)| *to == vocabulary).map_or(vocabulary, |p| p.0),
            _ => vocabulary,
        };
        pending.extend(node.inputs.iter().map(|&input| (input, vocabulary)));
    }
    None
}

#[cold]
fn no_rows(message: impl Into<String>) -> Error {
    Error::Model(message.into())
}
