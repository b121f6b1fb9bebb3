//! Plans against the reference: every way of running a program row by row gives what the program means over the whole stream.

use std::sync::Arc;

use tl_exec::kernel::Kernel;
use tl_exec::plan::{PlanError, Planned, plan};
use tl_exec::reference::evaluate;
use tl_exec::run::{Backend, Sequence, Wanted};
use tl_exec::scalar::ScalarBackend;
use tl_exec::state::State;
use tl_ir::{AffineMap, AxisId, Extent, Graph, NodeId, Op, Reduction, Scalar, Span};

const S: Span = Span::NONE;

/// A graph under construction: a stream of tokens, some weights, and names for axes.
struct Program {
    graph: Graph,
    p: AxisId,
    t: AxisId,
    tok: NodeId,
    seed: u32,
}

impl Program {
    fn new() -> Self {
        let mut graph = Graph::new();
        let (p, t) = (graph.axis("p", Extent::Rows), graph.axis("t", Extent::Stream));
        let tok = graph.input(0, vec![p], S);
        Self { graph, p, t, tok, seed: 1 }
    }

    fn axis(&mut self, name: &str, n: usize) -> AxisId {
        self.graph.axis(name, Extent::Static(n))
    }

    /// A literal of small pseudo-random values.
    fn random(&mut self, axes: &[AxisId]) -> NodeId {
        let size: usize = axes.iter().map(|&a| self.graph.extent(a).known().unwrap()).product();
        let values: Vec<f32> = (0..size)
            .map(|_| {
                self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (self.seed >> 8) as f32 / (1 << 24) as f32 - 0.5
            })
            .collect();
        self.graph.literal(values, axes.to_vec(), S)
    }

    fn embed(&mut self, d: AxisId, vocabulary: usize) -> NodeId {
        let v = self.axis("v", vocabulary);
        let table = self.random(&[v, d]);
        self.graph.add(Op::Gather { along: v }, vec![table, self.tok], None, S)
    }

    fn map(&mut self, scalar: Scalar, inputs: &[NodeId]) -> NodeId {
        self.graph.map(scalar, inputs, S)
    }

    fn constant(&mut self, value: f64) -> NodeId {
        self.graph.constant(value, S)
    }

    fn at_t(&mut self, node: NodeId) -> NodeId {
        self.graph.relabel(node, &[(self.p, self.t)], S)
    }

    fn rms_norm(&mut self, x: NodeId, d: AxisId) -> NodeId {
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
    fn causal(&mut self, window: Option<f64>) -> NodeId {
        let (p, t) = (self.graph.iota(self.p, S), self.graph.iota(self.t, S));
        let past = self.map(Scalar::Le, &[t, p]);
        let Some(window) = window else { return past };
        let (distance, window) = (self.map(Scalar::Sub, &[p, t]), self.constant(window));
        let near = self.map(Scalar::Lt, &[distance, window]);
        self.map(Scalar::And, &[past, near])
    }

    /// The rotation of adjacent pairs along `c`, as two interleaved pieces.
    fn rotate(&mut self, x: NodeId, c: AxisId, j: AxisId) -> NodeId {
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
    fn layer(&mut self, x: NodeId, d: AxisId, options: &Options) -> NodeId {
        let (g, r, c) = (self.axis("g", 2), self.axis("r", 3), self.axis("c", 4));
        let (j, f) = (self.axis("j", 2), self.axis("f", 5));
        let n = self.rms_norm(x, d);
        let (wq, wk, wv) = (self.random(&[g, r, c, d]), self.random(&[g, c, d]), self.random(&[g, c, d]));
        let q = self.graph.contract(&[n, wq], &[d], S);
        let k = self.graph.contract(&[n, wk], &[d], S);
        let u = self.graph.contract(&[n, wv], &[d], S);
        let (q, k) = (self.rotate(q, c, j), self.rotate(k, c, j));
        let (kt, ut) = (self.at_t(k), self.at_t(u));
        let scores = self.graph.contract(&[q, kt], &[c], S);
        let scale = self.constant(2.0);
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
        let wo = self.random(&[d, g, r, c]);
        let projected = self.graph.contract(&[o, wo], &[g, r, c], S);
        let y = self.map(Scalar::Add, &[x, projected]);
        let h = self.rms_norm(y, d);
        let (gate, up, down) = (self.random(&[f, d]), self.random(&[f, d]), self.random(&[d, f]));
        let gate = self.graph.contract(&[h, gate], &[d], S);
        let sigmoid = self.map(Scalar::Sigmoid, &[gate]);
        let silu = self.map(Scalar::Mul, &[gate, sigmoid]);
        let up = self.graph.contract(&[h, up], &[d], S);
        let s = self.map(Scalar::Mul, &[silu, up]);
        let down = self.graph.contract(&[s, down], &[f], S);
        self.map(Scalar::Add, &[y, down])
    }

    fn output(&mut self, x: NodeId, d: AxisId) {
        let v = self.axis("w", 7);
        let matrix = self.random(&[v, d]);
        let logits = self.graph.contract(&[x, matrix], &[d], S);
        self.graph.output("logits", logits, vec![self.p, v]);
    }
}

#[derive(Default)]
struct Options {
    window: Option<f64>,
    soft_cap: bool,
    slope: bool,
    unfused: bool,
}

fn decoder(options: &Options) -> Graph {
    let mut program = Program::new();
    let d = program.axis("d", 6);
    let mut x = program.embed(d, 11);
    for _ in 0..2 {
        x = program.layer(x, d, options);
    }
    program.output(x, d);
    program.graph
}

const TOKENS: [f32; 9] = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0];

/// Runs the tokens in steps of the given sizes and returns the logits of every row.
fn run(planned: &Planned, tokens: &[f32], steps: &[usize]) -> Vec<f32> {
    let mut executable = ScalarBackend.prepare(Arc::clone(&planned.plan)).unwrap();
    let mut state = State::new(&planned.plan);
    let (mut out, mut at) = (Vec::new(), 0);
    for &rows in steps {
        let mut sequences = [Sequence { state: &mut state, rows, wanted: Wanted::All }];
        executable.run(&mut sequences, &[&tokens[at..at + rows]]).unwrap();
        out.extend_from_slice(executable.output(0));
        at += rows;
    }
    out
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(*f) - e).abs() < 1e-5 * e.abs().max(1.0), "element {i}: {f} is not {e}");
    }
}

/// One meaning, several ways to compute it.
#[track_caller]
fn check(graph: &Graph) -> Planned {
    let arguments = vec![TOKENS.iter().map(|&t| f64::from(t)).collect()];
    let expected = evaluate(graph, &arguments, TOKENS.len()).remove(0).data;
    let planned = plan(graph).unwrap();
    assert_close(&run(&planned, &TOKENS, &[9]), &expected);
    assert_close(&run(&planned, &TOKENS, &[1; 9]), &expected);
    assert_close(&run(&planned, &TOKENS, &[4, 1, 3, 1]), &expected);
    check_stacked(&planned, &expected);
    planned
}

fn both<'a>(a: &'a mut State, b: &'a mut State, rows: [usize; 2], wanted: [Wanted; 2]) -> [Sequence<'a>; 2] {
    [
        Sequence { state: a, rows: rows[0], wanted: wanted[0] },
        Sequence { state: b, rows: rows[1], wanted: wanted[1] },
    ]
}

/// Two sequences in one step, of other lengths and with other wanted rows, give what each gives alone.
#[track_caller]
fn check_stacked(planned: &Planned, expected: &[f64]) {
    let width = expected.len() / TOKENS.len();
    let mut executable = ScalarBackend.prepare(Arc::clone(&planned.plan)).unwrap();
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

fn attentions(planned: &Planned) -> usize {
    planned.plan.steps.iter().filter(|s| matches!(s.kernel, Kernel::Attention(_))).count()
}

#[test]
fn a_decoder_keeps_keys_and_values_and_fuses_its_attention() {
    let planned = check(&decoder(&Options::default()));
    assert_eq!(attentions(&planned), 2);
    assert_eq!(planned.plan.stores.len(), 4);
    assert!(planned.plan.stores.iter().all(|s| s.window.is_none() && s.width == 8));
    let products = planned.plan.steps.iter().filter(|s| matches!(s.kernel, Kernel::MatMul(_))).count();
    // Per layer: queries, keys and values; the projection; gate and up; down. The last layer's queries are wanted for fewer rows
    // than its keys and values. Then the logits.
    assert_eq!(
        products,
        4 + 5 + 1,
        "{:#?}",
        planned.plan.steps.iter().map(|s| (&s.label, kind(&s.kernel))).collect::<Vec<_>>()
    );
    let score_maps = planned.plan.steps.iter().filter_map(|s| match &s.kernel {
        Kernel::Attention(a) => a.map.as_ref().map(|m| m.tape.instrs.len()),
        _ => None,
    });
    // The guard is the window: what is left is the division by a constant.
    assert_eq!(score_maps.collect::<Vec<_>>(), [2, 2]);
}

fn kind(kernel: &Kernel) -> &'static str {
    match kernel {
        Kernel::MatMul(m) if m.epilogue.is_some() => "matmul + epilogue",
        Kernel::MatMul(_) => "matmul",
        Kernel::Loop(_) => "loop",
        Kernel::Attention(_) => "attention",
        _ => "other",
    }
}

#[test]
fn a_window_bounds_what_is_kept() {
    let planned = check(&decoder(&Options { window: Some(3.0), ..Options::default() }));
    assert_eq!(attentions(&planned), 2);
    assert!(planned.plan.stores.iter().all(|s| s.window == Some(3)));
}

#[test]
fn scores_may_be_capped_and_biased_inside_of_the_fused_attention() {
    let planned = check(&decoder(&Options { soft_cap: true, slope: true, ..Options::default() }));
    assert_eq!(attentions(&planned), 2);
}

#[test]
fn attention_of_another_form_is_computed_piece_by_piece() {
    let planned = check(&decoder(&Options { unfused: true, window: Some(4.0), ..Options::default() }));
    assert_eq!(attentions(&planned), 0);
}

#[test]
fn a_program_without_a_guard_is_refused_where_it_looks_ahead() {
    let mut program = Program::new();
    let d = program.axis("d", 6);
    let x = program.embed(d, 11);
    program.graph.name(x, "x");
    let xt = program.at_t(x);
    let scores = program.graph.contract(&[x, xt], &[d], S);
    let a = program.graph.softmax(scores, program.t, S);
    let y = program.graph.contract(&[a, xt], &[program.t], S);
    program.output(y, d);
    let Err(PlanError::NotCausal(reads)) = plan(&program.graph) else { panic!("it looks ahead") };
    assert_eq!(reads.len(), 1);
    assert_eq!((reads[0].tensor.as_deref(), reads[0].row.as_str()), (Some("x"), "p"));
}

#[test]
fn a_recurrence_keeps_one_row() {
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
    let planned = check(&program.graph);
    assert_eq!(planned.plan.stores.iter().map(|s| s.window).collect::<Vec<_>>(), [Some(2)]);
    assert!(planned.plan.steps.iter().any(|s| matches!(s.kernel, Kernel::Scan(_))));
}

#[test]
fn a_convolution_along_the_stream_keeps_its_taps() {
    let mut program = Program::new();
    let (d, j) = (program.axis("d", 6), program.axis("j", 4));
    let x = program.embed(d, 11);
    let map = AffineMap { terms: vec![(program.p, 1), (j, -1)], offset: 0, divisor: 1 };
    let taps = program.graph.index(x, program.p, map, S);
    let kernel = program.random(&[j, d]);
    let y = program.graph.contract(&[taps, kernel], &[j], S);
    program.output(y, d);
    let planned = check(&program.graph);
    assert_eq!(planned.plan.stores[0].window, Some(4));
}

#[test]
fn the_row_before_is_a_read_too() {
    let mut program = Program::new();
    let d = program.axis("d", 6);
    let x = program.embed(d, 11);
    let before = program.graph.add(Op::Delay { by: 1 }, vec![x], None, S);
    let y = program.map(Scalar::Sub, &[x, before]);
    let (ahead, first) = (program.p, program.p);
    program.output(y, d);
    check(&program.graph);
    let next = program.graph.index(x, ahead, AffineMap::of(first, 1, 1), S);
    program.graph.output("next", next, vec![first, d]);
    assert!(matches!(plan(&program.graph), Err(PlanError::NotCausal(_))));
}
