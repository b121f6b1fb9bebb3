//! Causality and storage, derived: what may be computed row by row, and what must be remembered for that.
//!
//! Let `p` be the stream's own index ([`Extent::Rows`]). A tensor is read at other rows than its own in three ways: under
//! another index of the stream (a relabelled axis `t`), at an affine position (`x[p − j]`), or by a delay. For each such read the pass finds
//! the *offsets* `t − p` at which it can matter:
//!
//! ```text
//! for each node, for each stream axis t of its value, three intervals of t − p, outside of which its elements are certainly
//!     zero        (a product with it is 0 whatever the other factor is)
//!     minus_inf   (a softmax or a maximum ignores it)
//!     constant    (the same whatever the rows hold)
//! a guard narrows them:   select(t <= p, x, 0)   is zero outside (−∞, 0]
//! where an axis t is reduced away, the interval that remains is what the result reads of the rows below
//! ```
//!
//! An interval that reaches beyond 0 looks ahead: the program is not causal, and the read is the place to show. Otherwise the tensor that is
//! read is remembered: all rows for an interval without a lower end, `1 − lower` rows for others. What no one reads at other rows
//! lives for one step. This is the semi-naive evaluation of Datalog, for tensors.
//!
//! Invariant: an interval is never too narrow. Whatever the pass does not understand stays unbounded.

use std::collections::{BTreeMap, HashMap};

use tl_syntax::Span;

use crate::axis::{AxisId, Extent};
use crate::graph::{Graph, Node, NodeId};
use crate::op::{AffineMap, Op, Reduction, Scalar};

/// Offsets `t − p`: from `lo` to `hi`, either end open where it is `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offsets {
    /// The earliest.
    pub lo: Option<i64>,
    /// The latest.
    pub hi: Option<i64>,
}

/// What the pass derives of a causal graph.
#[derive(Clone, Debug, Default)]
pub struct Derived {
    /// The tensors that are remembered, in the order of their nodes.
    pub stored: Vec<Stored>,
    /// The nodes that read other rows, with the index into `stored` of what they read.
    pub reads: HashMap<NodeId, usize>,
    /// For each node that reduces an axis of the stream away, the offsets that it reads of it.
    pub offsets: HashMap<NodeId, Offsets>,
    /// What each node needs, by node id.
    pub locality: Vec<Locality>,
}

/// A tensor that is remembered between steps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The node whose rows are kept.
    pub node: NodeId,
    /// How many rows back a row is still read, itself included; `None` is without end.
    pub window: Option<usize>,
}

/// What the rows of a node's value depend on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Locality {
    /// On no row: it is computed once.
    Fixed,
    /// On its own row alone: rows of any number of sequences may be stacked.
    Row,
    /// On other rows of its sequence.
    Sequence,
}

/// A read that keeps the graph from being computed row by row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The read.
    pub span: Span,
    /// The name of the tensor that is read, if it has one.
    pub tensor: Option<String>,
    /// The stream's own index, as the program calls it.
    pub row: String,
    /// What is wrong.
    pub kind: ViolationKind,
}

/// Why a read can't be served row by row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ViolationKind {
    /// It reads under the index `index` at offsets up to `reach`, or at every row.
    LooksAhead {
        /// The index that it reads under; the row's own for `x[p + 1]`.
        index: String,
        /// How far ahead, if that is bounded.
        reach: Option<i64>,
    },
    /// The rows are reduced to one: the result of a row would depend on all.
    ReducesRows,
    /// The position that it reads at is data.
    DataDependent,
}

/// Derives storage and locality, or finds the reads that make it impossible.
///
/// # Errors
/// Every read that looks ahead, each once.
pub fn derive(graph: &Graph) -> Result<Derived, Vec<Violation>> {
    let mut pass = Pass::new(graph);
    for (id, node) in graph.nodes() {
        if pass.live[id.0 as usize] {
            pass.visit(id, node);
        }
    }
    pass.finish()
}

impl Offsets {
    const ALL: Offsets = Offsets { lo: None, hi: None };

    fn only(offset: i64) -> Self {
        Self { lo: Some(offset), hi: Some(offset) }
    }

    fn meet(self, other: Self) -> Self {
        let lo = self.lo.max(other.lo); // None is smaller than any Some.
        let hi = [self.hi, other.hi].into_iter().flatten().min();
        Self { lo, hi }
    }

    fn hull(self, other: Self) -> Self {
        let lo = self.lo.zip(other.lo).map(|(a, b)| a.min(b));
        let hi = self.hi.zip(other.hi).map(|(a, b)| a.max(b));
        Self { lo, hi }
    }
}

/// Intervals by stream axis; an axis that is missing is unbounded.
type Support = BTreeMap<AxisId, Offsets>;

fn meet(a: &Support, b: &Support) -> Support {
    let mut out = a.clone();
    for (&axis, &offsets) in b {
        out.entry(axis).and_modify(|o| *o = o.meet(offsets)).or_insert(offsets);
    }
    out
}

fn hull(a: &Support, b: &Support) -> Support {
    a.iter().filter_map(|(axis, &o)| b.get(axis).map(|&p| (*axis, o.hull(p)))).collect()
}

/// What is known of a node's value.
#[derive(Clone, Default)]
struct Facts {
    /// Outside of these its elements are 0.
    zero: Support,
    /// Outside of these its elements are −∞.
    minus_inf: Support,
    /// Outside of these its elements do not depend on the rows.
    constant: Support,
    /// For each stream axis that its value still has, the reads that brought it in.
    carried: BTreeMap<AxisId, Vec<NodeId>>,
}

struct Pass<'g> {
    graph: &'g Graph,
    live: Vec<bool>,
    facts: Vec<Facts>,
    locality: Vec<Locality>,
    /// For each read of other rows, the offsets at which it matters.
    demanded: BTreeMap<NodeId, Offsets>,
    /// For each node that reduces an axis of the stream away, the offsets that it reads.
    consumed: HashMap<NodeId, Offsets>,
    violations: Vec<Violation>,
}

impl<'g> Pass<'g> {
    fn new(graph: &'g Graph) -> Self {
        Self {
            graph,
            live: graph.live(),
            facts: vec![Facts::default(); graph.len()],
            locality: locality(graph),
            demanded: BTreeMap::new(),
            consumed: HashMap::new(),
            violations: Vec::new(),
        }
    }

    fn visit(&mut self, id: NodeId, node: &Node) {
        let mut facts = self.propagate(node);
        match &node.op {
            Op::Relabel(pairs) => {
                for &(from, to) in pairs {
                    if self.graph.extent(from) == Extent::Rows && self.is_row_dependent(node.inputs[0]) {
                        facts.carried.entry(to).or_default().push(id);
                    }
                }
            }
            Op::Delay { by } => self.demand(id, Offsets::only(-i64::from(*by))),
            Op::Index { axis, map } if self.graph.extent(*axis) == Extent::Rows => {
                self.visit_shift(id, node, map, &mut facts)
            }
            Op::Gather { along }
                if self.graph.extent(*along) == Extent::Rows && self.is_row_dependent(node.inputs[0]) =>
            {
                self.violate(id, ViolationKind::DataDependent);
            }
            Op::Contract { sum } => self.consume(id, node, sum, |f| &f.zero),
            Op::Reduce { kind: Reduction::Sum, over } => self.consume(id, node, over, |f| &f.zero),
            Op::Reduce { kind: Reduction::Max | Reduction::Argmax, over } => {
                self.consume(id, node, over, |f| &f.minus_inf)
            }
            Op::Reduce { over, .. } => self.consume(id, node, over, |f| &f.constant),
            Op::Softmax { along } => self.consume(id, node, &[*along], |f| &f.minus_inf),
            _ => {}
        }
        let axes = &node.axes;
        facts.carried.retain(|axis, _| axes.contains(axis));
        self.facts[id.0 as usize] = facts;
    }

    /// A read of the rows at an affine position: `x[p − j]`, `x[t + 1]` or `x[0]`.
    fn visit_shift(&mut self, id: NodeId, node: &Node, map: &AffineMap, facts: &mut Facts) {
        if !self.is_row_dependent(node.inputs[0]) {
            return;
        }
        let stream: Vec<_> = map.terms.iter().filter(|(a, _)| self.graph.extent(*a).is_stream()).collect();
        match stream[..] {
            [&(axis, 1)] if self.graph.extent(axis) == Extent::Rows && map.divisor == 1 => {
                let (lo, hi) = static_range(self.graph, map);
                self.demand(id, Offsets { lo, hi });
            }
            // A fixed position is behind every row from there on; the rows before it would look ahead, unless it is the first.
            [] if map.terms.is_empty() && map.offset.div_euclid(map.divisor) <= 0 => {
                self.demand(id, Offsets { lo: None, hi: Some(0) });
            }
            [&(axis, _)] if self.graph.extent(axis) == Extent::Stream => {
                facts.carried.entry(axis).or_default().push(id);
                // How the position read relates to the axis is not followed: whatever remains of it is unbounded.
                self.demand(id, Offsets::ALL);
            }
            _ => self.demand(id, Offsets::ALL),
        }
    }

    /// The axes `over` of the node's inputs are reduced away: what they carried is read at the offsets that remain.
    fn consume(&mut self, id: NodeId, node: &Node, over: &[AxisId], ignored: impl Fn(&Facts) -> &Support) {
        for &axis in over {
            match self.graph.extent(axis) {
                Extent::Rows if node.inputs.iter().any(|&i| self.is_row_dependent(i)) => {
                    self.violate(id, ViolationKind::ReducesRows);
                }
                Extent::Stream => {
                    let mut offsets = Offsets::ALL;
                    let mut varying: Option<Offsets> = None;
                    for &input in &node.inputs {
                        let facts = &self.facts[input.0 as usize];
                        offsets = offsets.meet(ignored(facts).get(&axis).copied().unwrap_or(Offsets::ALL));
                        if facts.carried.contains_key(&axis) {
                            let own = facts.constant.get(&axis).copied().unwrap_or(Offsets::ALL);
                            varying = Some(varying.map_or(own, |v| v.hull(own)));
                        }
                    }
                    let offsets = offsets.meet(varying.unwrap_or(Offsets::ALL));
                    self.consumed.entry(id).and_modify(|o| *o = o.hull(offsets)).or_insert(offsets);
                    let reads: Vec<NodeId> = node
                        .inputs
                        .iter()
                        .filter_map(|i| self.facts[i.0 as usize].carried.get(&axis))
                        .flatten()
                        .copied()
                        .collect();
                    for read in reads {
                        self.demand(read, offsets);
                    }
                }
                _ => {}
            }
        }
    }

    fn demand(&mut self, read: NodeId, offsets: Offsets) {
        self.demanded.entry(read).and_modify(|o| *o = o.hull(offsets)).or_insert(offsets);
    }

    fn violate(&mut self, read: NodeId, kind: ViolationKind) {
        let node = self.graph.node(read);
        let tensor = node.inputs.first().and_then(|&i| self.graph.node(i).name.as_deref()).map(String::from);
        let row = (0..self.graph.axis_count() as u32)
            .map(AxisId)
            .find(|&a| self.graph.extent(a) == Extent::Rows)
            .map_or_else(String::new, |a| self.graph.axis_info(a).name.clone());
        let violation = Violation { span: node.span, tensor, row, kind };
        if !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }

    fn is_row_dependent(&self, id: NodeId) -> bool {
        self.locality[id.0 as usize] != Locality::Fixed
    }

    fn propagate(&self, node: &Node) -> Facts {
        let of = |i: usize| &self.facts[node.inputs[i].0 as usize];
        let mut facts = Facts::default();
        for &input in &node.inputs {
            if input.0 as usize >= self.facts.len() {
                continue;
            }
            for (&axis, reads) in &self.facts[input.0 as usize].carried {
                let carried = facts.carried.entry(axis).or_default();
                carried.extend(reads.iter().filter(|r| !carried.contains(r)).copied().collect::<Vec<_>>());
            }
        }
        match &node.op {
            Op::Map(scalar) => self.propagate_map(*scalar, node, &mut facts),
            Op::Contract { .. } => {
                facts.zero = (1..node.inputs.len()).fold(of(0).zero.clone(), |z, i| meet(&z, &of(i).zero));
                facts.constant = self.join_constant(node, &facts.zero);
            }
            Op::Softmax { along } => {
                facts.zero = of(0).minus_inf.clone();
                facts.constant = facts.zero.clone();
                // Each element depends on all of the others along the axis.
                facts.constant.retain(|axis, _| axis != along || of(0).minus_inf.contains_key(axis));
            }
            Op::Reduce { kind, .. } => {
                facts.constant = of(0).constant.clone();
                match kind {
                    Reduction::Sum => facts.zero = of(0).zero.clone(),
                    Reduction::Max => facts.minus_inf = of(0).minus_inf.clone(),
                    _ => {}
                }
            }
            Op::Relabel(pairs) => {
                let rename = |s: &Support| -> Support {
                    s.iter()
                        .map(|(a, o)| (pairs.iter().find(|(f, _)| f == a).map_or(*a, |p| p.1), *o))
                        .collect()
                };
                let from = of(0);
                // A stream axis that becomes another, or the row itself, no longer stands for the same offsets.
                if pairs.iter().all(|&(f, _)| !self.graph.extent(f).is_stream()) {
                    facts.zero = rename(&from.zero);
                    facts.minus_inf = rename(&from.minus_inf);
                    facts.constant = rename(&from.constant);
                }
            }
            Op::Split { .. } | Op::Merge { .. } => {
                let carried = std::mem::take(&mut facts.carried);
                facts = Facts { carried, ..of(0).clone() };
            }
            _ => {}
        }
        facts
    }

    fn propagate_map(&self, scalar: Scalar, node: &Node, facts: &mut Facts) {
        let of = |i: usize| &self.facts[node.inputs[i].0 as usize];
        let positive = |i: usize| self.graph.as_constant(node.inputs[i]).is_some_and(|c| c > 0.0);
        let arity = scalar.info().arity;
        facts.constant = self.join_constant(node, &Support::new());
        match scalar {
            Scalar::Select => {
                let guard = self.bounds(node.inputs[0], true);
                facts.constant = meet(&guard, &hull_with_constants(self, node));
                match self.graph.as_constant(node.inputs[2]) {
                    Some(0.0) => facts.zero = meet(&guard, &of(1).zero),
                    Some(f64::NEG_INFINITY) => facts.minus_inf = meet(&guard, &of(1).minus_inf),
                    Some(_) => {}
                    // The other branch may depend on rows outside of the guard.
                    None => facts.constant = self.join_constant(node, &Support::new()),
                }
            }
            Scalar::Mul => {
                facts.zero = meet(&of(0).zero, &of(1).zero);
                facts.constant = meet(&facts.constant, &facts.zero);
                if positive(1) {
                    facts.minus_inf = of(0).minus_inf.clone();
                } else if positive(0) {
                    facts.minus_inf = of(1).minus_inf.clone();
                }
            }
            Scalar::Div => {
                facts.zero = of(0).zero.clone();
                if positive(1) {
                    facts.minus_inf = of(0).minus_inf.clone();
                }
            }
            Scalar::Add => {
                facts.zero = hull(&of(0).zero, &of(1).zero);
                facts.minus_inf = meet(&of(0).minus_inf, &of(1).minus_inf);
            }
            Scalar::Sub => {
                facts.zero = hull(&of(0).zero, &of(1).zero);
                facts.minus_inf = of(0).minus_inf.clone();
            }
            Scalar::Exp => facts.zero = of(0).minus_inf.clone(),
            Scalar::Lt | Scalar::Le | Scalar::Eq | Scalar::And | Scalar::Or | Scalar::Not => {
                facts.zero = meet(&facts.zero, &self.predicate_bounds(scalar, &node.inputs, true));
            }
            _ if scalar.info().keeps_zero => {
                facts.zero = (1..arity).fold(of(0).zero.clone(), |z, i| hull(&z, &of(i).zero));
            }
            _ => {}
        }
        facts.constant = meet(&facts.constant, &facts.zero);
        facts.constant = meet(&facts.constant, &facts.minus_inf);
    }

    /// Where a pointwise function of the inputs may depend on the rows: wherever an input that does depend on them may. Where
    /// `zero` says that the product vanishes, it does not.
    fn join_constant(&self, node: &Node, zero: &Support) -> Support {
        let varying = node.inputs.iter().filter(|&&i| self.is_row_dependent(i));
        let joined = varying.map(|i| self.facts[i.0 as usize].constant.clone()).reduce(|a, b| hull(&a, &b));
        meet(&joined.unwrap_or_default(), zero)
    }

    /// The offsets outside of which a predicate certainly is not `truth`.
    fn bounds(&self, predicate: NodeId, truth: bool) -> Support {
        match &self.graph.node(predicate).op {
            Op::Map(scalar) => self.predicate_bounds(*scalar, &self.graph.node(predicate).inputs, truth),
            _ => Support::new(),
        }
    }

    fn predicate_bounds(&self, scalar: Scalar, inputs: &[NodeId], truth: bool) -> Support {
        match (scalar, truth) {
            (Scalar::And, true) | (Scalar::Or, false) => {
                meet(&self.bounds(inputs[0], truth), &self.bounds(inputs[1], truth))
            }
            (Scalar::Or, true) | (Scalar::And, false) => {
                hull(&self.bounds(inputs[0], truth), &self.bounds(inputs[1], truth))
            }
            (Scalar::Mul, true) => meet(&self.bounds(inputs[0], true), &self.bounds(inputs[1], true)),
            (Scalar::Not, _) => self.bounds(inputs[0], !truth),
            (Scalar::Le, true) => self.at_least(inputs[1], inputs[0], 0),
            (Scalar::Le, false) => self.at_least(inputs[0], inputs[1], 1),
            (Scalar::Lt, true) => self.at_least(inputs[1], inputs[0], 1),
            (Scalar::Lt, false) => self.at_least(inputs[0], inputs[1], 0),
            (Scalar::Eq, true) | (Scalar::Ne, false) => {
                meet(&self.at_least(inputs[0], inputs[1], 0), &self.at_least(inputs[1], inputs[0], 0))
            }
            _ => Support::new(),
        }
    }

    /// What `a − b ≥ least` says of the offset of each stream axis.
    ///
    /// `least` is 1 only for strict comparisons of integers; where a coefficient or constant is no integer, 0 is assumed.
    fn at_least(&self, a: NodeId, b: NodeId, least: i64) -> Support {
        let Some(difference) = self.affine(a, 16).zip(self.affine(b, 16)).map(|(a, b)| a.minus(&b)) else {
            return Support::new();
        };
        let integral = difference.terms.values().chain([&difference.offset]).all(|c| c.fract() == 0.0);
        let least = if integral { least as f64 } else { 0.0 };
        // The other axes are replaced by the values at which the inequality holds most easily.
        let (mut slack, mut row, mut other) = (difference.offset - least, 0.0, None);
        for (&axis, &c) in &difference.terms {
            match self.graph.extent(axis) {
                _ if c == 0.0 => {}
                Extent::Rows => row = c,
                Extent::Stream if other.is_none() => other = Some((axis, c)),
                Extent::Static(n) => slack += (c * (n.max(1) - 1) as f64).max(0.0),
                _ => return Support::new(),
            }
        }
        match other {
            // c·t − c·p + slack ≥ 0
            Some((axis, c)) if row == -c => {
                let bound = slack / c.abs();
                let offsets = if c > 0.0 {
                    Offsets { lo: Some((-bound).ceil() as i64), hi: None }
                } else {
                    Offsets { lo: None, hi: Some(bound.floor() as i64) }
                };
                Support::from([(axis, offsets)])
            }
            _ => Support::new(),
        }
    }

    /// The node as an affine function of indices.
    fn affine(&self, id: NodeId, depth: u32) -> Option<Affine> {
        let node = self.graph.node(id);
        let of = |i: usize| self.affine(node.inputs[i], depth.checked_sub(1)?);
        match &node.op {
            Op::Const(bits) => Some(Affine { terms: BTreeMap::new(), offset: f64::from_bits(*bits) }),
            Op::Iota => Some(Affine { terms: BTreeMap::from([(node.axes[0], 1.0)]), offset: 0.0 }),
            Op::Relabel(_) => {
                let iota = self.graph.node(node.inputs[0]);
                matches!(iota.op, Op::Iota)
                    .then(|| Affine { terms: BTreeMap::from([(node.axes[0], 1.0)]), offset: 0.0 })
            }
            Op::Map(Scalar::Add) => Some(of(0)?.minus(&of(1)?.times(-1.0))),
            Op::Map(Scalar::Sub) => Some(of(0)?.minus(&of(1)?)),
            Op::Map(Scalar::Neg) => Some(of(0)?.times(-1.0)),
            Op::Map(Scalar::Mul) => {
                let (a, b) = (of(0)?, of(1)?);
                if a.terms.is_empty() {
                    Some(b.times(a.offset))
                } else {
                    b.terms.is_empty().then(|| a.times(b.offset))
                }
            }
            _ => None,
        }
    }

    fn finish(mut self) -> Result<Derived, Vec<Violation>> {
        let demanded = std::mem::take(&mut self.demanded);
        let mut stored: Vec<Stored> = Vec::new();
        let mut reads = HashMap::new();
        for (&read, offsets) in &demanded {
            if offsets.hi.is_none_or(|hi| hi > 0) {
                let index = self.reading_index(read);
                self.violate(read, ViolationKind::LooksAhead { index, reach: offsets.hi });
                continue;
            }
            let node = self.graph.node(read).inputs[0];
            let window = offsets.lo.map(|lo| (1 - lo).max(1) as usize);
            let at = stored.iter().position(|s| s.node == node).unwrap_or_else(|| {
                stored.push(Stored { node, window });
                stored.len() - 1
            });
            stored[at].window = stored[at].window.zip(window).map(|(a, b)| a.max(b));
            reads.insert(read, at);
        }
        if self.violations.is_empty() {
            Ok(Derived { stored, reads, offsets: self.consumed, locality: self.locality })
        } else {
            Err(self.violations)
        }
    }

    /// The name of the index under which a node reads other rows.
    fn reading_index(&self, read: NodeId) -> String {
        let node = self.graph.node(read);
        let stream = |a: &&AxisId| self.graph.extent(**a) == Extent::Stream;
        let axis = match &node.op {
            Op::Relabel(pairs) => {
                pairs.iter().find(|(f, _)| self.graph.extent(*f) == Extent::Rows).map(|p| p.1)
            }
            _ => node.axes.iter().find(stream).or(node.axes.first()).copied(),
        };
        axis.map_or_else(String::new, |a| self.graph.axis_info(a).name.clone())
    }
}

/// For a guard's value: where its second argument may depend on the rows.
fn hull_with_constants(pass: &Pass<'_>, node: &Node) -> Support {
    if pass.is_row_dependent(node.inputs[1]) {
        pass.facts[node.inputs[1].0 as usize].constant.clone()
    } else {
        Support::new()
    }
}

/// The smallest and largest value of the static part of a map.
fn static_range(graph: &Graph, map: &AffineMap) -> (Option<i64>, Option<i64>) {
    let (mut lo, mut hi) = (Some(map.offset), Some(map.offset));
    for &(axis, c) in &map.terms {
        match graph.extent(axis) {
            Extent::Rows => {}
            Extent::Static(n) => {
                let far = c * (n.max(1) as i64 - 1);
                lo = lo.map(|v| v + far.min(0));
                hi = hi.map(|v| v + far.max(0));
            }
            _ if c < 0 => lo = None,
            _ => hi = None,
        }
    }
    (lo, hi)
}

/// `Σ coefficient · axis + offset`.
struct Affine {
    terms: BTreeMap<AxisId, f64>,
    offset: f64,
}

impl Affine {
    fn times(mut self, factor: f64) -> Self {
        self.terms.values_mut().for_each(|c| *c *= factor);
        self.offset *= factor;
        self
    }

    fn minus(mut self, other: &Self) -> Self {
        for (&axis, c) in &other.terms {
            *self.terms.entry(axis).or_default() -= c;
        }
        self.offset -= other.offset;
        self
    }
}

/// The locality of each node. A delay may read a later node, so the rule is applied until nothing changes.
fn locality(graph: &Graph) -> Vec<Locality> {
    let mut locality = vec![Locality::Fixed; graph.len()];
    loop {
        let mut changed = false;
        for (id, node) in graph.nodes() {
            let own = own_locality(graph, node);
            let of_inputs = node.inputs.iter().map(|i| locality[i.0 as usize]);
            // Rows are what a store is read at: a node that reads only its own row of such a node is local again.
            let joined = of_inputs.map(|l| l.min(Locality::Row)).max().unwrap_or(Locality::Fixed).max(own);
            if joined > locality[id.0 as usize] {
                locality[id.0 as usize] = joined;
                changed = true;
            }
        }
        if !changed {
            return locality;
        }
    }
}

fn own_locality(graph: &Graph, node: &Node) -> Locality {
    let reduces_stream = |over: &[AxisId]| over.iter().any(|&a| graph.extent(a).is_stream());
    let crosses = match &node.op {
        Op::Delay { .. } => true,
        Op::Index { axis, .. } | Op::Gather { along: axis } => graph.extent(*axis).is_stream(),
        Op::Contract { sum } => reduces_stream(sum),
        Op::Reduce { over, .. } => reduces_stream(over),
        _ => false,
    };
    let has = |extent| node.axes.iter().any(|&a| graph.extent(a) == extent);
    if crosses || has(Extent::Stream) {
        Locality::Sequence
    } else if has(Extent::Rows) {
        Locality::Row
    } else {
        Locality::Fixed
    }
}
