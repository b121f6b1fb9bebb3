//! Programs to run on backends, and the check that a backend gives what they mean, however their rows are fed to it.
//!
//! Shared by the tests of this crate and of those that have backends, by path.

#![allow(dead_code, reason = "each test uses a part")]

use std::sync::Arc;

use tl_exec::plan::{Planned, plan};
use tl_exec::reference::evaluate;
use tl_exec::run::{Backend, Executable, Sequence, Wanted};
use tl_exec::state::State;
use tl_ir::{AffineMap, AxisId, Extent, Graph, NodeId, Op, Reduction, Scalar, Span};
use tl_tensor::{DType, Tensor};

pub const S: Span = Span::NONE;

/// The tokens of every check.
pub const TOKENS: [f32; 9] = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0];

/// What a decoder has, and how large it is.
#[derive(Clone)]
pub struct Options {
    pub window: Option<f64>,
    pub soft_cap: bool,
    pub slope: bool,
    pub unfused: bool,
    pub layers: usize,
    /// Widths: of the embedding, of the inner product, of a head.
    pub width: usize,
    pub inner: usize,
    pub head: usize,
    /// Heads with keys of their own, and queries that share each.
    pub heads: usize,
    pub queries: usize,
    pub vocabulary: usize,
    /// The type of matrices, as tensors of a file; literals if there is none.
    pub weights: Option<DType>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window: None,
            soft_cap: false,
            slope: false,
            unfused: false,
            layers: 2,
            width: 6,
            inner: 5,
            head: 4,
            heads: 2,
            queries: 3,
            vocabulary: 11,
            weights: None,
        }
    }
}

/// A graph under construction: a stream of tokens, some weights, and names for axes.
pub struct Program {
    pub graph: Graph,
    pub p: AxisId,
    pub t: AxisId,
    pub tok: NodeId,
    seed: u32,
    /// The type of matrices, as tensors of a file; literals if there is none.
    pub weights: Option<DType>,
}

impl Program {
    pub fn new() -> Self {
        let mut graph = Graph::new();
        let (p, t) = (graph.axis("p", Extent::Rows), graph.axis("t", Extent::Stream));
        let tok = graph.input(0, vec![p], S);
        Self { graph, p, t, tok, seed: 1, weights: None }
    }

    pub fn axis(&mut self, name: &str, n: usize) -> AxisId {
        self.graph.axis(name, Extent::Static(n))
    }

    pub fn size(&self, axis: AxisId) -> usize {
        self.graph.extent(axis).known().expect("the axis is static")
    }

    /// A literal of small pseudo-random values.
    pub fn random(&mut self, axes: &[AxisId]) -> NodeId {
        let values = self.values(axes, 1.0);
        self.graph.literal(values, axes.to_vec(), S)
    }

    /// A matrix of small pseudo-random values, in the type of the program's weights. `columns` is the length of the sums that it is for.
    pub fn matrix(&mut self, axes: &[AxisId], columns: usize) -> NodeId {
        let values = self.values(axes, (8.0 / columns as f32).min(1.0));
        let Some(dtype) = self.weights else { return self.graph.literal(values, axes.to_vec(), S) };
        let shape = [values.len() / columns, columns];
        let tensor = Tensor::encode(dtype, shape, &values).expect("rows are whole blocks");
        let name = format!("w{}", self.seed);
        self.graph.weight(&name, Some(tensor), axes.to_vec(), S)
    }

    fn values(&mut self, axes: &[AxisId], scale: f32) -> Vec<f32> {
        let size: usize = axes.iter().map(|&a| self.graph.extent(a).known().unwrap()).product();
        (0..size)
            .map(|_| {
                self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((self.seed >> 8) as f32 / (1 << 24) as f32 - 0.5) * scale
            })
            .collect()
    }

    pub fn embed(&mut self, d: AxisId, vocabulary: usize) -> NodeId {
        let v = self.axis("v", vocabulary);
        let table = self.matrix(&[v, d], self.size(d));
        self.graph.add(Op::Gather { along: v }, vec![table, self.tok], None, S)
    }

    pub fn map(&mut self, scalar: Scalar, inputs: &[NodeId]) -> NodeId {
        self.graph.map(scalar, inputs, S)
    }

    pub fn constant(&mut self, value: f64) -> NodeId {
        self.graph.constant(value, S)
    }

    pub fn at_t(&mut self, node: NodeId) -> NodeId {
        self.graph.relabel(node, &[(self.p, self.t)], S)
    }

    pub fn rms_norm(&mut self, x: NodeId, d: AxisId) -> NodeId {
        let n = self.graph.extent(d).known().unwrap() as f64;
        let square = self.map(Scalar::Mul, &[x, x]);
        let sum = self.graph.reduce(Reduction::Sum, square, &[d], S);
        let (n, eps) = (self.constant(n), self.constant(1e-5));
        let mean = self.map(Scalar::Div, &[sum, n]);
        let shifted = self.map(Scalar::Add, &[mean, eps]);
        let root = self.map(Scalar::Sqrt, &[shifted]);
        let normed = self.map(Scalar::Div, &[x, root]);
        let weight = self.random(&[d]);
        self.map(Scalar::Mul, &[normed, weight])
    }

    /// `t <= p`, and `p - t < window` where there is one.
    pub fn causal(&mut self, window: Option<f64>) -> NodeId {
        let (p, t) = (self.graph.iota(self.p, S), self.graph.iota(self.t, S));
        let past = self.map(Scalar::Le, &[t, p]);
        let Some(window) = window else { return past };
        let (distance, window) = (self.map(Scalar::Sub, &[p, t]), self.constant(window));
        let near = self.map(Scalar::Lt, &[distance, window]);
        self.map(Scalar::And, &[past, near])
    }

    /// The rotation of adjacent pairs along `c`, as two interleaved pieces.
    pub fn rotate(&mut self, x: NodeId, c: AxisId, j: AxisId) -> NodeId {
        let n = self.graph.extent(c).known().unwrap() as f64;
        let (p, i) = (self.graph.iota(self.p, S), self.graph.iota(j, S));
        let (base, scale) = (self.constant(100.0), self.constant(-2.0 / n));
        let exponent = self.map(Scalar::Mul, &[i, scale]);
        let frequency = self.map(Scalar::Pow, &[base, exponent]);
        let angle = self.map(Scalar::Mul, &[p, frequency]);
        let (sin, cos) = (self.map(Scalar::Sin, &[angle]), self.map(Scalar::Cos, &[angle]));
        let even = self.graph.index(x, c, AffineMap::of(j, 2, 0), S);
        let odd = self.graph.index(x, c, AffineMap::of(j, 2, 1), S);
        let (ec, os) = (self.map(Scalar::Mul, &[even, cos]), self.map(Scalar::Mul, &[odd, sin]));
        let (es, oc) = (self.map(Scalar::Mul, &[even, sin]), self.map(Scalar::Mul, &[odd, cos]));
        let (a, b) = (self.map(Scalar::Sub, &[ec, os]), self.map(Scalar::Add, &[es, oc]));
        let place = |graph: &mut Graph, node, offset| {
            graph.add(Op::Place { axis: j, into: c, stride: 2, offset }, vec![node], None, S)
        };
        let (a, b) = (place(&mut self.graph, a, 0), place(&mut self.graph, b, 1));
        self.map(Scalar::Add, &[a, b])
    }

    /// One decoder layer with grouped heads.
    pub fn layer(&mut self, x: NodeId, d: AxisId, options: &Options) -> NodeId {
        let (g, r) = (self.axis("g", options.heads), self.axis("r", options.queries));
        let (c, j) = (self.axis("c", options.head), self.axis("j", options.head / 2));
        let (f, width) = (self.axis("f", options.inner), options.width);
        let n = self.rms_norm(x, d);
        let (wq, wk) = (self.matrix(&[g, r, c, d], width), self.matrix(&[g, c, d], width));
        let wv = self.matrix(&[g, c, d], width);
        let q = self.graph.contract(&[n, wq], &[d], S);
        let k = self.graph.contract(&[n, wk], &[d], S);
        let u = self.graph.contract(&[n, wv], &[d], S);
        let (q, k) = (self.rotate(q, c, j), self.rotate(k, c, j));
        let (kt, ut) = (self.at_t(k), self.at_t(u));
        let scores = self.graph.contract(&[q, kt], &[c], S);
        let scale = self.constant((options.head as f64).sqrt());
        let mut scores = self.map(Scalar::Div, &[scores, scale]);
        if options.soft_cap {
            scores = self.map(Scalar::Tanh, &[scores]);
        }
        if options.slope {
            let (p, t, slope) =
                (self.graph.iota(self.p, S), self.graph.iota(self.t, S), self.random(&[g, r]));
            let distance = self.map(Scalar::Sub, &[p, t]);
            let bias = self.map(Scalar::Mul, &[slope, distance]);
            scores = self.map(Scalar::Sub, &[scores, bias]);
        }
        let guard = self.causal(options.window);
        let guarded = self.graph.select(guard, scores, f64::NEG_INFINITY, S);
        let mut a = self.graph.softmax(guarded, self.t, S);
        if options.unfused {
            a = self.map(Scalar::Mul, &[a, a]);
        }
        let a = self.graph.select(guard, a, 0.0, S);
        let o = self.graph.contract(&[a, ut], &[self.t], S);
        let wo = self.matrix(&[d, g, r, c], options.heads * options.queries * options.head);
        let projected = self.graph.contract(&[o, wo], &[g, r, c], S);
        let y = self.map(Scalar::Add, &[x, projected]);
        let h = self.rms_norm(y, d);
        let (gate, up) = (self.matrix(&[f, d], width), self.matrix(&[f, d], width));
        let down = self.matrix(&[d, f], options.inner);
        let gate = self.graph.contract(&[h, gate], &[d], S);
        let sigmoid = self.map(Scalar::Sigmoid, &[gate]);
        let silu = self.map(Scalar::Mul, &[gate, sigmoid]);
        let up = self.graph.contract(&[h, up], &[d], S);
        let s = self.map(Scalar::Mul, &[silu, up]);
        let down = self.graph.contract(&[s, down], &[f], S);
        self.map(Scalar::Add, &[y, down])
    }

    pub fn output(&mut self, x: NodeId, d: AxisId) {
        self.output_of(x, d, 7);
    }

    pub fn output_of(&mut self, x: NodeId, d: AxisId, vocabulary: usize) {
        let v = self.axis("w", vocabulary);
        let matrix = self.matrix(&[v, d], self.size(d));
        let logits = self.graph.contract(&[x, matrix], &[d], S);
        self.graph.output("logits", logits, vec![self.p, v]);
    }
}

/// A decoder.
pub fn decoder(options: &Options) -> Graph {
    let mut program = Program::new();
    program.weights = options.weights;
    let d = program.axis("d", options.width);
    let mut x = program.embed(d, options.vocabulary);
    for _ in 0..options.layers {
        x = program.layer(x, d, options);
    }
    program.output_of(x, d, options.vocabulary - 4);
    program.graph
}

/// `h[p] = tanh(W h[p − 1] + x[p])`: the state that a later row needs is one row.
pub fn recurrence() -> Graph {
    let mut program = Program::new();
    let (d, e) = (program.axis("d", 6), program.axis("e", 6));
    let x = program.embed(d, 11);
    let before = program.graph.open_delay(1, vec![program.p, d], S);
    let at_e = program.graph.relabel(before, &[(d, e)], S);
    let matrix = program.random(&[d, e]);
    let mixed = program.graph.contract(&[at_e, matrix], &[e], S);
    let sum = program.map(Scalar::Add, &[mixed, x]);
    let h = program.map(Scalar::Tanh, &[sum]);
    program.graph.close_delay(before, h);
    let doubled = program.map(Scalar::Add, &[h, x]);
    program.output(doubled, d);
    program.graph
}

/// `y[p] = Σ_j k[j] x[p − j]`.
pub fn convolution() -> Graph {
    let mut program = Program::new();
    let (d, j) = (program.axis("d", 6), program.axis("j", 4));
    let x = program.embed(d, 11);
    let map = AffineMap { terms: vec![(program.p, 1), (j, -1)], offset: 0, divisor: 1 };
    let taps = program.graph.index(x, program.p, map, S);
    let kernel = program.random(&[j, d]);
    let y = program.graph.contract(&[taps, kernel], &[j], S);
    program.output(y, d);
    program.graph
}

/// `y[p] = x[p] − x[p − 1]`.
pub fn difference() -> Program {
    let mut program = Program::new();
    let d = program.axis("d", 6);
    let x = program.embed(d, 11);
    let before = program.graph.add(Op::Delay { by: 1 }, vec![x], None, S);
    let y = program.map(Scalar::Sub, &[x, before]);
    program.output(y, d);
    program
}

/// Runs the tokens in steps of the given sizes and returns the logits of every row.
pub fn run(backend: &dyn Backend, planned: &Planned, tokens: &[f32], steps: &[usize]) -> Vec<f32> {
    let mut executable = backend.prepare(Arc::clone(&planned.plan)).unwrap();
    let mut state = State::new(&planned.plan);
    feed(&mut *executable, &mut state, tokens, steps)
}

/// Feeds tokens to a sequence in steps of the given sizes and returns the logits of every row.
pub fn feed(executable: &mut dyn Executable, state: &mut State, tokens: &[f32], steps: &[usize]) -> Vec<f32> {
    let (mut out, mut at) = (Vec::new(), 0);
    for &rows in steps {
        let mut sequences = [Sequence { state: &mut *state, rows, wanted: Wanted::All }];
        executable.run(&mut sequences, &[&tokens[at..at + rows]]).unwrap();
        out.extend_from_slice(executable.output(0));
        at += rows;
    }
    out
}

#[track_caller]
pub fn assert_close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(*f) - e).abs() < 1e-5 * e.abs().max(1.0), "element {i}: {f} is not {e}");
    }
}

/// One meaning, several ways to compute it.
#[track_caller]
pub fn check(backend: &dyn Backend, graph: &Graph) -> Planned {
    let arguments = vec![TOKENS.iter().map(|&t| f64::from(t)).collect()];
    let expected = evaluate(graph, &arguments, TOKENS.len()).remove(0).data;
    let planned = plan(graph).unwrap();
    assert_close(&run(backend, &planned, &TOKENS, &[9]), &expected);
    assert_close(&run(backend, &planned, &TOKENS, &[1; 9]), &expected);
    assert_close(&run(backend, &planned, &TOKENS, &[4, 1, 3, 1]), &expected);
    check_stacked(backend, &planned, &expected);
    planned
}

pub fn both<'a>(
    a: &'a mut State,
    b: &'a mut State,
    rows: [usize; 2],
    wanted: [Wanted; 2],
) -> [Sequence<'a>; 2] {
    [
        Sequence { state: a, rows: rows[0], wanted: wanted[0] },
        Sequence { state: b, rows: rows[1], wanted: wanted[1] },
    ]
}

/// Two sequences in one step, of other lengths and with other wanted rows, give what each gives alone.
#[track_caller]
fn check_stacked(backend: &dyn Backend, planned: &Planned, expected: &[f64]) {
    let width = expected.len() / TOKENS.len();
    let mut executable = backend.prepare(Arc::clone(&planned.plan)).unwrap();
    let (mut a, mut b) = (State::new(&planned.plan), State::new(&planned.plan));
    let stacked: Vec<f32> = TOKENS[..2].iter().chain(&TOKENS[..5]).copied().collect();
    executable.run(&mut both(&mut a, &mut b, [2, 5], [Wanted::None, Wanted::Last]), &[&stacked]).unwrap();
    assert_close(executable.output(0), &expected[4 * width..5 * width]);
    let mut fork = b.clone();
    let stacked: Vec<f32> = TOKENS[2..6].iter().chain(&TOKENS[5..6]).copied().collect();
    executable.run(&mut both(&mut a, &mut b, [4, 1], [Wanted::All, Wanted::All]), &[&stacked]).unwrap();
    assert_close(
        executable.output(0),
        &expected[2 * width..6 * width]
            .iter()
            .chain(&expected[5 * width..6 * width])
            .copied()
            .collect::<Vec<_>>(),
    );
    let mut alone = [Sequence { state: &mut fork, rows: 1, wanted: Wanted::Last }];
    executable.run(&mut alone, &[&TOKENS[5..6]]).unwrap();
    assert_close(executable.output(0), &expected[5 * width..6 * width]);
}
