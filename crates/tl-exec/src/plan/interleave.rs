//! Sums of placed pieces that do not overlap: each piece is written where it belongs, and nothing is added.
//!
//! `y[2·j] = a[j]` and `y[2·j + 1] = b[j]` come as the sum of two [`Op::Place`]s. If the pieces cover the axis exactly once, whoever computes
//! `a` stores it at a stride of two.

use std::collections::HashMap;

use tl_ir::{AxisId, Graph, NodeId, Op, Scalar};

/// A piece: the node that holds it, and where it goes.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub node: NodeId,
    pub axis: AxisId,
    pub stride: i64,
    pub offset: i64,
}

/// A value that is put together from pieces along an axis.
#[derive(Clone, Debug)]
pub(super) struct Interleaved {
    pub into: AxisId,
    pub pieces: Vec<Piece>,
}

/// All such sums, by the node of the outermost.
pub(super) fn find(graph: &Graph) -> HashMap<NodeId, Interleaved> {
    graph.nodes().filter_map(|(id, _)| Some((id, match_at(graph, id)?))).collect()
}

fn match_at(graph: &Graph, id: NodeId) -> Option<Interleaved> {
    if !matches!(graph.node(id).op, Op::Map(Scalar::Add) | Op::Place { .. }) {
        return None;
    }
    let mut whole: Option<Interleaved> = None;
    let mut pending = vec![id];
    while let Some(id) = pending.pop() {
        let node = graph.node(id);
        match node.op {
            Op::Map(Scalar::Add) if pending.len() < 64 => pending.extend(&node.inputs),
            Op::Place { axis, into, stride, offset } => {
                let whole = whole.get_or_insert(Interleaved { into, pieces: Vec::new() });
                if whole.into != into {
                    return None;
                }
                whole.pieces.push(Piece { node: node.inputs[0], axis, stride, offset });
            }
            _ => return None,
        }
    }
    whole.filter(|s| s.covers(graph) && s.has_axes(graph, id))
}

impl Interleaved {
    /// Whether every position of the axis has exactly one piece.
    fn covers(&self, graph: &Graph) -> bool {
        let Some(n) = graph.extent(self.into).known() else { return false };
        let mut covered = vec![false; n];
        for piece in &self.pieces {
            let Some(count) = graph.extent(piece.axis).known() else { return false };
            for i in 0..count as i64 {
                match usize::try_from(piece.offset + i * piece.stride).ok().and_then(|at| covered.get_mut(at))
                {
                    Some(seen @ false) => *seen = true,
                    _ => return false,
                }
            }
        }
        covered.into_iter().all(|c| c)
    }

    /// Whether every piece has all other axes of the whole: a piece that is broadcast must be added up.
    fn has_axes(&self, graph: &Graph, id: NodeId) -> bool {
        let whole = &graph.node(id).axes;
        self.pieces.iter().all(|p| {
            let axes = &graph.node(p.node).axes;
            axes.len() == whole.len() && whole.iter().all(|a| *a == self.into || axes.contains(a))
        })
    }
}
