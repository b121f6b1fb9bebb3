//! The scalar reference backend: the definition of every op, executable, and the oracle of all others.
//!
//! A graph is evaluated node by node, each value whole, in `f64`, over the whole stream at once. There is no plan, no cache and no
//! kernel here, and nothing is clever. A delay that reads a later node makes the graph a fixpoint; each round settles one
//! more row, so as many rounds as there are rows settle all.

use tl_ir::{AffineMap, AxisId, Extent, Graph, Node, NodeId, Op, Reduction};

/// A dense tensor of `f64`, slowest axis first.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// The sizes of its axes.
    pub shape: Vec<usize>,
    /// Its elements, row-major.
    pub data: Vec<f64>,
}

/// Evaluates every result of a graph.
///
/// `arguments[n]` are the elements of argument `n` in the order of its node's axes; the stream has `stream` positions.
///
/// # Panics
/// If the graph was traced without data, or an argument has another size than its axes.
pub fn evaluate(graph: &Graph, arguments: &[Vec<f64>], stream: usize) -> Vec<Value> {
    let mut reference = Reference { graph, arguments, stream, values: vec![None; graph.len()] };
    let live = graph.live();
    let looped =
        graph.nodes().any(|(id, n)| matches!(n.op, Op::Delay { .. }) && n.inputs.iter().any(|i| *i > id));
    for _ in 0..if looped { stream + 1 } else { 1 } {
        for (id, node) in graph.nodes().filter(|(id, _)| live[id.0 as usize]) {
            reference.values[id.0 as usize] = Some(reference.node(node));
        }
    }
    graph.outputs().iter().map(|o| reference.output(o.node, &o.axes)).collect()
}

struct Reference<'g> {
    graph: &'g Graph,
    arguments: &'g [Vec<f64>],
    stream: usize,
    values: Vec<Option<Vec<f64>>>,
}

impl Reference<'_> {
    fn size(&self, axis: AxisId) -> usize {
        match self.graph.extent(axis) {
            Extent::Static(n) => n,
            Extent::Rows | Extent::Stream => self.stream,
            Extent::Unknown => panic!("a graph that was traced without data can't be run"),
        }
    }

    fn shape(&self, axes: &[AxisId]) -> Vec<usize> {
        axes.iter().map(|&a| self.size(a)).collect()
    }

    fn output(&self, node: NodeId, axes: &[AxisId]) -> Value {
        let data = self.collect(axes, |at| self.element(node, at));
        Value { shape: self.shape(axes), data }
    }

    /// The values of `f` at each position of `axes`, row-major.
    fn collect(&self, axes: &[AxisId], f: impl Fn(&Position<'_>) -> f64) -> Vec<f64> {
        let mut out = Vec::new();
        self.each(axes, |at| out.push(f(at)));
        out
    }

    fn each(&self, axes: &[AxisId], mut f: impl FnMut(&Position<'_>)) {
        let shape = self.shape(axes);
        let total: usize = shape.iter().product();
        let mut coordinates = vec![0usize; axes.len()];
        for _ in 0..total {
            f(&Position { axes, coordinates: &coordinates, outer: None });
            for (c, &n) in coordinates.iter_mut().zip(&shape).rev() {
                *c += 1;
                if *c < n {
                    break;
                }
                *c = 0;
            }
        }
    }

    /// The element of a node's value at a position, which may have further axes.
    fn element(&self, id: NodeId, at: &Position<'_>) -> f64 {
        self.element_where(id, |axis| at.of(axis) as i64)
    }

    /// The element of a node's value at the given position of each of its axes; 0 where one is outside.
    fn element_where(&self, id: NodeId, position: impl Fn(AxisId) -> i64) -> f64 {
        let Some(value) = &self.values[id.0 as usize] else { return 0.0 };
        let mut offset = 0;
        for &axis in &self.graph.node(id).axes {
            let (p, n) = (position(axis), self.size(axis));
            if p < 0 || p as usize >= n {
                return 0.0;
            }
            offset = offset * n + p as usize;
        }
        value[offset]
    }

    fn node(&self, node: &Node) -> Vec<f64> {
        let input = |i: usize| node.inputs[i];
        match &node.op {
            Op::Const(bits) => vec![f64::from_bits(*bits)],
            Op::Literal(id) => self.graph.literal_values(*id).iter().map(|&v| f64::from(v)).collect(),
            Op::Input(n) => {
                let argument = &self.arguments[*n as usize];
                assert_eq!(
                    argument.len(),
                    self.shape(&node.axes).iter().product::<usize>(),
                    "argument {n} has its axes' size"
                );
                argument.clone()
            }
            Op::Weight(id) => {
                let tensor =
                    self.graph.weight_info(*id).tensor.as_ref().expect("a graph that is run has its weights");
                tensor.to_f32().iter().map(|&v| f64::from(v)).collect()
            }
            Op::Iota => (0..self.size(node.axes[0])).map(|i| i as f64).collect(),
            Op::Map(scalar) => self.collect(&node.axes, |at| {
                let arg = |i: usize| node.inputs.get(i).map_or(0.0, |&x| self.element(x, at));
                (scalar.info().eval)(arg(0), arg(1), arg(2))
            }),
            Op::Contract { sum } => self.collect(&node.axes, |at| {
                let mut total = 0.0;
                self.each(sum, |s| {
                    let at = Position { outer: Some(at), ..*s };
                    total += node.inputs.iter().map(|&x| self.element(x, &at)).product::<f64>();
                });
                total
            }),
            Op::Reduce { kind, over } => self.collect(&node.axes, |at| {
                let mut values = Vec::new();
                self.each(over, |s| values.push(self.element(input(0), &Position { outer: Some(at), ..*s })));
                kind.of(&values)
            }),
            Op::Softmax { along } => self.collect(&node.axes, |at| {
                let mut values = Vec::new();
                self.each(&[*along], |s| {
                    values.push(self.element(input(0), &Position { outer: Some(at), ..*s }))
                });
                let max = Reduction::Max.of(&values);
                let own = self.element(input(0), at);
                if own == f64::NEG_INFINITY {
                    0.0
                } else {
                    (own - max).exp() / values.iter().map(|v| (v - max).exp()).sum::<f64>()
                }
            }),
            Op::Relabel(pairs) => self.collect(&node.axes, |at| {
                let source = |axis| pairs.iter().find(|(from, _)| *from == axis).map_or(axis, |&(_, to)| to);
                self.element_where(input(0), |axis| at.of(source(axis)) as i64)
            }),
            Op::Split { axis, into } => self.collect(&node.axes, |at| {
                let whole = into.iter().fold(0, |w, &part| w * self.size(part) + at.of(part));
                self.element_where(input(0), |a| if a == *axis { whole as i64 } else { at.of(a) as i64 })
            }),
            Op::Merge { axes, into } => self.collect(&node.axes, |at| {
                self.element_where(input(0), |a| match axes.iter().position(|&part| part == a) {
                    Some(k) => {
                        let below: usize = axes[k + 1..].iter().map(|&b| self.size(b)).product();
                        (at.of(*into) / below % self.size(a)) as i64
                    }
                    None => at.of(a) as i64,
                })
            }),
            Op::Index { axis, map } => self.collect(&node.axes, |at| {
                self.element_where(input(0), |a| if a == *axis { affine(map, at) } else { at.of(a) as i64 })
            }),
            Op::Place { axis, into, stride, offset } => self.collect(&node.axes, |at| {
                let from = at.of(*into) as i64 - offset;
                let on_grid = from.rem_euclid(*stride) == 0;
                let source = if on_grid { from / stride } else { -1 };
                self.element_where(input(0), |a| if a == *axis { source } else { at.of(a) as i64 })
            }),
            Op::Gather { along } => self.collect(&node.axes, |at| {
                let position = self.element(input(1), at) as i64;
                self.element_where(input(0), |a| if a == *along { position } else { at.of(a) as i64 })
            }),
            Op::Scatter { kind, over, into } => self.collect(&node.axes, |at| {
                let here = at.of(*into) as f64;
                let mut found = Vec::new();
                self.each(over, |inner| {
                    let from = Position { outer: Some(at), ..*inner };
                    if self.element(input(1), &from) == here {
                        found.push(self.element(input(0), &from));
                    }
                });
                kind.of(&found)
            }),
            Op::Delay { by } => {
                let rows = node.axes.iter().copied().find(|&a| self.graph.extent(a) == Extent::Rows);
                self.collect(&node.axes, |at| {
                    self.element_where(input(0), |a| {
                        at.of(a) as i64 - if Some(a) == rows { i64::from(*by) } else { 0 }
                    })
                })
            }
        }
    }
}

/// A position along some axes, and along those of an enclosing position.
struct Position<'a> {
    axes: &'a [AxisId],
    coordinates: &'a [usize],
    outer: Option<&'a Position<'a>>,
}

impl Position<'_> {
    fn of(&self, axis: AxisId) -> usize {
        match self.axes.iter().position(|&a| a == axis) {
            Some(i) => self.coordinates[i],
            None => self.outer.expect("the position has every axis of the value").of(axis),
        }
    }
}

fn affine(map: &AffineMap, at: &Position<'_>) -> i64 {
    map.at(|axis| at.of(axis) as i64)
}
