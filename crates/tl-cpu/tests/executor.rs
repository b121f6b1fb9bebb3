//! What the trait promises: errors that change nothing, indices outside of tables, stacked sequences, results that stay.

#[path = "../../tl-exec/tests/programs/mod.rs"]
mod programs;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use programs::{Options, Program, S, TOKENS, both, decoder, feed, recurrence};
use tl_cpu::{CpuBackend, Isa};
use tl_exec::kernel::{
    Access, Buffer, BufferId, Dim, Instr, Kernel, Loop, Plan, PlanOutput, Reg, Step, Stride, Tape,
};
use tl_exec::plan::{Planned, plan};
use tl_exec::run::{Backend, Executable, RunError, Sequence, Wanted};
use tl_exec::scalar::ScalarBackend;
use tl_exec::state::State;
use tl_ir::{Extent, Graph, Reduction, Scalar};
use tl_tensor::DType;

fn prepared(planned: &Planned) -> Box<dyn Executable> {
    CpuBackend::new(Some(2), None).prepare(Arc::clone(&planned.plan)).unwrap()
}

fn one(state: &mut State, rows: usize) -> [Sequence<'_>; 1] {
    [Sequence { state, rows, wanted: Wanted::All }]
}

fn wide() -> Options {
    Options { width: 256, inner: 512, head: 64, queries: 2, vocabulary: 100, ..Options::default() }
}

#[test]
fn arguments_of_another_size_are_refused_and_change_nothing() {
    let planned = plan(&decoder(&Options::default())).unwrap();
    let mut executable = prepared(&planned);
    let mut state = State::new(&planned.plan);
    let mut found = feed(&mut *executable, &mut state, &TOKENS[..4], &[4]);
    let refused = |found| Err(RunError::ArgumentSize { argument: 0, expected: 2, found });
    assert_eq!(executable.run(&mut one(&mut state, 2), &[&TOKENS[..3]]), refused(3));
    assert_eq!(executable.run(&mut one(&mut state, 2), &[]), refused(0));
    assert!(state.len() == 4 && state.stores().iter().all(|s| s.len() == 4));
    found.extend(feed(&mut *executable, &mut state, &TOKENS[4..], &[3, 2]));
    let mut state = State::new(&planned.plan);
    assert_eq!(found, feed(&mut *executable, &mut state, &TOKENS, &[9]));
}

#[test]
fn memory_that_can_not_be_had_is_an_error() {
    for size in [1 << 46, usize::MAX / 8, usize::MAX] {
        let buffers = vec![Buffer { dims: vec![Dim::Static(size)] }];
        let plan = Plan { buffers, ..Plan::default() };
        let refused = CpuBackend::new(Some(1), None).prepare(Arc::new(plan)).err();
        assert!(matches!(refused, Some(RunError::Memory { .. })), "{refused:?}");
    }
    let planned = plan(&decoder(&Options::default())).unwrap();
    let mut executable = prepared(&planned);
    let mut state = State::new(&planned.plan);
    assert!(matches!(executable.reserve(1 << 44, 8), Err(RunError::Memory { .. })));
    // It still runs at the size that there is memory for.
    assert!(feed(&mut *executable, &mut state, &TOKENS, &[4, 5]).iter().all(|v| v.is_finite()));
}

#[test]
fn indices_outside_of_a_table_give_zeros() {
    for weights in [None, Some(DType::Q8_0)] {
        let mut program = Program::new();
        program.weights = weights;
        let d = program.axis("d", 32);
        let x = program.embed(d, 11);
        program.graph.output("x", x, vec![program.p, d]);
        let planned = plan(&program.graph).unwrap();
        let tokens = [3.0, -1.0, 11.0, f32::NAN, 1e30, f32::INFINITY, f32::NEG_INFINITY, -0.5, 10.9];
        let mut state = State::new(&planned.plan);
        let rows = feed(&mut *prepared(&planned), &mut state, &tokens, &[9]);
        let zero: Vec<bool> = rows.chunks(32).map(|row| row.iter().all(|&v| v == 0.0)).collect();
        assert_eq!(zero, [false, true, true, true, true, true, true, true, false]);
        let mut scalar = ScalarBackend.prepare(Arc::clone(&planned.plan)).unwrap();
        assert_eq!(rows, feed(&mut *scalar, &mut State::new(&planned.plan), &tokens, &[9]));
    }
}

#[test]
fn a_state_of_another_plan_is_a_panic_that_leaves_all_states_as_they_were() {
    let planned = plan(&decoder(&Options::default())).unwrap();
    let other = plan(&recurrence()).unwrap();
    let mut executable = prepared(&planned);
    let (mut good, mut bad) = (State::new(&planned.plan), State::new(&other.plan));
    feed(&mut *executable, &mut good, &TOKENS, &[9]);
    let mut sequences = both(&mut good, &mut bad, [1, 1], [Wanted::All; 2]);
    let run = || executable.run(&mut sequences, &[&TOKENS[..2]]);
    catch_unwind(AssertUnwindSafe(run)).expect_err("it is not this plan's state");
    assert!(good.len() == 9 && good.stores().iter().all(|s| s.len() == 9));
    feed(&mut *executable, &mut good, &TOKENS, &[9]);
}

#[test]
fn sequences_that_are_stacked_give_the_bits_that_they_give_alone() {
    for options in
        [Options { weights: Some(DType::Q4_1), ..wide() }, Options { window: Some(70.0), ..wide() }]
    {
        let planned = plan(&decoder(&options)).unwrap();
        let tokens: Vec<f32> = (0..300).map(|i| (i * 13 % 90) as f32).collect();
        let lengths = [1usize, 65, 130, 200];
        let mut executable = prepared(&planned);
        let mut states: Vec<State> = lengths.iter().map(|_| State::new(&planned.plan)).collect();
        let mut alone = Vec::new();
        for (state, &len) in states.iter_mut().zip(&lengths) {
            feed(&mut *executable, state, &tokens[..len], &[len]);
            let mut fork = state.clone();
            alone.extend(feed(&mut *executable, &mut fork, &tokens[len..len + 3], &[1, 1, 1]));
        }
        let stacked: Vec<f32> = lengths.iter().flat_map(|&len| tokens[len..len + 3].to_vec()).collect();
        let mut sequences: Vec<Sequence<'_>> =
            states.iter_mut().map(|state| Sequence { state, rows: 3, wanted: Wanted::All }).collect();
        executable.run(&mut sequences, &[&stacked]).unwrap();
        assert!(executable.output(0) == alone);
    }
}

// The first step multiplies rows as they stand in the file, the next sixteen pack a part of them each.
#[test]
fn products_are_the_same_bits_before_and_after_weights_are_packed() {
    for weights in [DType::Q4_0, DType::Q4_K, DType::Q6_K, DType::Q8_0] {
        let planned = plan(&decoder(&Options { weights: Some(weights), ..wide() })).unwrap();
        let mut executable = prepared(&planned);
        let mut run = |lengths: &[usize]| {
            let tokens = lengths.iter().sum();
            feed(&mut *executable, &mut State::new(&planned.plan), &TOKENS[..tokens], lengths)
        };
        let first = run(&[5]);
        let one = run(&[1]);
        for _ in 0..17 {
            assert_eq!(run(&[1]), one, "{weights}");
        }
        assert_eq!(run(&[5]), first, "{weights}");
        // A step of many rows packs all.
        let mut executable = prepared(&planned);
        let mut run = || feed(&mut *executable, &mut State::new(&planned.plan), &[1.0; 20], &[20]);
        assert_eq!((run(), run()), (run(), run()), "{weights}");
    }
}

#[test]
fn results_outlive_a_reservation_and_times_are_taken_when_asked_for() {
    let planned = plan(&decoder(&Options::default())).unwrap();
    let mut executable = prepared(&planned);
    let mut state = State::new(&planned.plan);
    assert!(executable.times().is_empty());
    executable.trace(true);
    let found = feed(&mut *executable, &mut state, &TOKENS, &[9]);
    let times = executable.times();
    assert!(times.len() == planned.plan.steps.len() && times.iter().sum::<f64>() > 0.0);
    assert!(executable.times().iter().all(|&t| t == 0.0));
    executable.trace(false);
    executable.reserve(100, 1000).unwrap();
    assert_eq!(executable.output(0), found);
    assert!(executable.times().is_empty());
}

#[test]
fn rows_that_would_cut_a_block_are_decoded() {
    let mut program = Program::new();
    let (d, c, e) = (program.axis("d", 6), program.axis("c", 64), program.axis("e", 32));
    let x = program.embed(c, 12);
    program.weights = Some(DType::Q4_K);
    let w = program.matrix(&[d, e, c], 256);
    let y = program.graph.contract(&[x, w], &[c], S);
    program.graph.output("y", y, vec![program.p, d, e]);
    let planned = plan(&program.graph).unwrap();
    let found = feed(&mut *prepared(&planned), &mut State::new(&planned.plan), &TOKENS, &[9]);
    let mut scalar = ScalarBackend.prepare(Arc::clone(&planned.plan)).unwrap();
    let expected = feed(&mut *scalar, &mut State::new(&planned.plan), &TOKENS, &[9]);
    assert!(found.iter().zip(&expected).all(|(f, e)| (f - e).abs() <= 1e-6 * e.abs().max(1.0)));
}

#[test]
fn a_sequence_may_add_no_rows_and_a_step_may_have_none() {
    let planned = plan(&decoder(&Options { unfused: true, ..Options::default() })).unwrap();
    let mut executable = prepared(&planned);
    let (mut a, mut b) = (State::new(&planned.plan), State::new(&planned.plan));
    executable.run(&mut both(&mut a, &mut b, [0, 9], [Wanted::All; 2]), &[&TOKENS]).unwrap();
    let found = executable.output(0).to_vec();
    assert_eq!((a.len(), b.len()), (0, 9));
    executable.run(&mut both(&mut a, &mut b, [0, 0], [Wanted::Last; 2]), &[&[]]).unwrap();
    assert!(executable.output(0).is_empty());
    executable.run(&mut [], &[&[]]).unwrap();
    assert_eq!(found, feed(&mut *executable, &mut a, &TOKENS, &[9]));
}

#[test]
fn scores_in_buffers_give_the_same_bits_row_by_row() {
    for window in [None, Some(20.0)] {
        let options = Options { unfused: true, layers: 1, window, ..wide() };
        let planned = plan(&decoder(&options)).unwrap();
        let tokens: Vec<f32> = (0..100).map(|i| (i * 7 % 90) as f32).collect();
        let all = feed(&mut *prepared(&planned), &mut State::new(&planned.plan), &tokens, &[100]);
        let single = feed(&mut *prepared(&planned), &mut State::new(&planned.plan), &tokens, &[1; 100]);
        assert!(all == single);
    }
}

#[test]
fn a_graph_without_a_stream_is_one_step() {
    let mut graph = Graph::new();
    let (i, j) = (graph.axis("i", Extent::Static(3)), graph.axis("j", Extent::Static(50)));
    let a = graph.input(0, vec![i, j], S);
    let b = graph.input(1, vec![j], S);
    let product = graph.contract(&[a, b], &[j], S);
    let scaled = graph.map(Scalar::Mul, &[a, b], S);
    let soft = graph.softmax(scaled, j, S);
    graph.output("product", product, vec![i]);
    graph.output("soft", soft, vec![i, j]);
    let planned = plan(&graph).unwrap();
    let values: Vec<f32> = (0..150).map(|v| (v % 11) as f32 / 4.0 - 1.0).collect();
    let arguments: [&[f32]; 2] = [&values, &values[..50]];
    let mut scalar = ScalarBackend.prepare(Arc::clone(&planned.plan)).unwrap();
    scalar.run(&mut [], &arguments).unwrap();
    for isa in Isa::available() {
        let mut executable = CpuBackend::new(Some(1), Some(isa)).prepare(Arc::clone(&planned.plan)).unwrap();
        executable.run(&mut [], &arguments).unwrap();
        for n in 0..2 {
            let (found, expected) = (executable.output(n), scalar.output(n));
            assert!(found.len() == expected.len());
            assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() <= 1e-6 * e.abs().max(1.0)));
        }
    }
}

#[test]
fn long_reductions_go_on_from_piece_to_piece() {
    // More than two pieces, the last one short.
    const N: usize = 40_003;
    let mut graph = Graph::new();
    let (i, j) = (graph.axis("i", Extent::Static(2)), graph.axis("j", Extent::Static(N)));
    let a = graph.input(0, vec![i, j], S);
    let iota = graph.iota(j, S);
    let product = graph.map(Scalar::Mul, &[a, iota], S);
    let scale = graph.constant(0.5, S);
    for kind in [Reduction::Sum, Reduction::Max, Reduction::Min] {
        let reduced = graph.reduce(kind, product, &[j], S);
        let scaled = graph.map(Scalar::Mul, &[reduced, scale], S);
        graph.output(format!("{kind:?}").as_str(), scaled, vec![i]);
    }
    let planned = plan(&graph).unwrap();
    let values: Vec<f32> = (0..2 * N).map(|v| (v % 17) as f32 / 16.0 - 0.25).collect();
    let product = |i: usize, j: usize| f64::from(values[i * N + j]) * j as f64;
    let rows = |of: &dyn Fn(&mut dyn Iterator<Item = f64>) -> f64| -> Vec<f64> {
        (0..2).map(|i| of(&mut (0..N).map(|j| product(i, j))) * 0.5).collect()
    };
    let expected = [
        rows(&|all| all.sum()),
        rows(&|all| all.fold(f64::NEG_INFINITY, f64::max)),
        rows(&|all| all.fold(f64::INFINITY, f64::min)),
    ];
    for isa in Isa::available() {
        let mut executable = CpuBackend::new(Some(2), Some(isa)).prepare(Arc::clone(&planned.plan)).unwrap();
        executable.run(&mut [], &[&values]).unwrap();
        for (n, expected) in expected.iter().enumerate() {
            for (&found, expected) in executable.output(n).iter().zip(expected) {
                assert!((f64::from(found) - expected).abs() <= 1e-6 * expected.abs(), "{found} {expected}");
            }
        }
    }
}

#[test]
fn a_long_sum_keeps_its_small_terms() {
    // Ten million terms of which most are below what the sum so far can be told apart from in 32 bits.
    let mut graph = Graph::new();
    let i = graph.axis("i", Extent::Static(10_000_000));
    let (iota, scale) = (graph.iota(i, S), graph.constant(-1e-6, S));
    let scaled = graph.map(Scalar::Mul, &[iota, scale], S);
    let term = graph.map(Scalar::Exp, &[scaled], S);
    let sum = graph.reduce(Reduction::Sum, term, &[i], S);
    graph.output("sum", sum, vec![]);
    let mut executable = prepared(&plan(&graph).unwrap());
    executable.run(&mut [], &[]).unwrap();
    let expected = (1.0 - (-10f64).exp()) / (1.0 - (-1e-6f64).exp());
    assert!((f64::from(executable.output(0)[0]) / expected - 1.0).abs() < 1e-6, "{:?}", executable.output(0));
}

/// A plan of one loop over `outer` positions that copies `inputs[0]` to a buffer of `size` elements, neighbours `step` apart.
fn copying(outer: usize, size: usize, step: usize) -> Plan {
    let buffers = [outer, size].map(|n| Buffer { dims: vec![Dim::Static(n)] }).to_vec();
    let access = |buffer, step| Access {
        buffer: BufferId(buffer),
        offset: 0,
        outer: vec![Stride { step, of_stream: false }],
        inner: Stride::default(),
    };
    let load = Instr::Load { into: Reg::Scalar(0), from: access(0, 1) };
    let store = Instr::Store { from: Reg::Scalar(0), to: access(1, step), fold: None };
    let tape = Tape { vectors: 0, scalars: 1, instrs: vec![load, store] };
    let kernel = Kernel::Loop(Loop { outer: vec![Dim::Static(outer)], inner: Dim::Static(1), tape });
    Plan {
        buffers,
        steps: vec![Step { kernel, label: String::new(), span: S }],
        inputs: vec![Some(BufferId(0))],
        outputs: vec![PlanOutput { name: "out".into(), buffer: BufferId(1), order: vec![0] }],
        ..Plan::default()
    }
}

#[test]
fn plans_that_reach_outside_of_a_buffer_are_refused() {
    for (outer, size, step, fits) in
        [(10, 10, 1, true), (10, 9, 1, false), (10, 19, 2, true), (10, 18, 2, false)]
    {
        let prepare = || CpuBackend::new(Some(1), None).prepare(Arc::new(copying(outer, size, step)));
        assert_eq!(catch_unwind(AssertUnwindSafe(prepare)).is_ok(), fits);
    }
}

#[test]
fn positions_that_store_to_one_element_are_not_shared_among_threads() {
    let mut executable = CpuBackend::new(Some(3), None).prepare(Arc::new(copying(100_000, 1, 0))).unwrap();
    let values: Vec<f32> = (0..100_000).map(|i| i as f32).collect();
    for _ in 0..5 {
        executable.run(&mut [], &[&values]).unwrap();
        assert_eq!(executable.output(0), [99_999.0]);
    }
}
