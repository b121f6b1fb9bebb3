//! What a step costs beside its matrix products: `cargo bench -p tl-cpu --bench decode [-- POSITION]`.
//!
//! A decoder of the size of a 135-million-parameter model with random weights (4 bits; 8 bits for the embedding and the logits) is given a
//! prompt and then single rows. Printed: time a row with 1 and 2 threads, and where it goes by kind of kernel.

#[path = "../../tl-exec/tests/programs/mod.rs"]
mod programs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use programs::{Options, Program};
use tl_cpu::CpuBackend;
use tl_exec::kernel::{Kernel, Plan};
use tl_exec::plan::plan;
use tl_exec::run::{Backend, Executable, Sequence, Wanted};
use tl_exec::state::State;
use tl_ir::Graph;
use tl_tensor::DType;

const STEPS: usize = 60;

fn main() {
    let position = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(64);
    let start = Instant::now();
    let planned = plan(&model()).expect("the model is causal");
    println!("planned {} steps in {:.2} s", planned.plan.steps.len(), start.elapsed().as_secs_f64());
    for threads in [1, 2] {
        let backend = CpuBackend::new(Some(threads), None);
        let start = Instant::now();
        let mut executable = backend.prepare(Arc::clone(&planned.plan)).expect("there is memory");
        executable.reserve(position, position + 4 * STEPS).expect("there is memory");
        let ready = start.elapsed().as_secs_f64();
        let mut state = State::new(&planned.plan);
        state.reserve(position + 4 * STEPS);
        let prompt: Vec<f32> = (0..position).map(|i| (i * 37 % 49000) as f32).collect();
        let start = Instant::now();
        step(&mut *executable, &mut state, &prompt);
        let prefill = start.elapsed().as_secs_f64();
        println!(
            "{}: ready in {ready:.3} s, prefill of {position} rows {:.0} rows/s",
            backend.name(),
            position as f64 / prefill
        );
        println!(" one row after {position}:");
        let mut next = (0..).map(|i| (i * 101 % 49000) as f32);
        measure(&mut *executable, 2 * STEPS, |executable| {
            step(executable, &mut state, &[next.next().expect("there is no last")]);
        });
        println!(" {position} rows from the start:");
        measure(&mut *executable, 4, |executable| {
            let again = state.truncate(0);
            assert!(again, "a sequence without a window can begin again");
            step(executable, &mut state, &prompt);
        });
    }
}

/// Thirty layers, with the matrices in 4 bits and the embedding in 8.
fn model() -> Graph {
    let options = Options {
        layers: 30,
        width: 576,
        inner: 1536,
        head: 64,
        heads: 3,
        queries: 3,
        vocabulary: 49152,
        ..Options::default()
    };
    let mut program = Program::new();
    let d = program.axis("d", options.width);
    program.weights = Some(DType::Q8_0);
    let mut x = program.embed(d, options.vocabulary);
    program.weights = Some(DType::Q4_1);
    for _ in 0..options.layers {
        x = program.layer(x, d, &options);
    }
    let normed = program.rms_norm(x, d);
    program.weights = Some(DType::Q8_0);
    program.output_of(normed, d, options.vocabulary);
    program.graph
}

fn step(executable: &mut dyn Executable, state: &mut State, tokens: &[f32]) {
    let mut sequences = [Sequence { state, rows: tokens.len(), wanted: Wanted::Last }];
    executable.run(&mut sequences, &[tokens]).expect("the arguments have the right sizes");
}

/// Runs a step so many times for its time, then half as often for where it goes.
fn measure(executable: &mut dyn Executable, count: usize, mut step: impl FnMut(&mut dyn Executable)) {
    let mut times: Vec<f64> = (0..count)
        .map(|_| {
            let start = Instant::now();
            step(executable);
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("  best {:.3} ms, median {:.3} ms", times[0] * 1e3, times[count / 2] * 1e3);
    // The best time of each step of the plan, for other processes disturb single ones.
    executable.trace(true);
    let mut taken = vec![f64::INFINITY; executable.plan().steps.len()];
    for _ in 0..count.div_ceil(2) {
        step(executable);
        taken.iter_mut().zip(executable.times()).for_each(|(best, time)| *best = best.min(time));
    }
    executable.trace(false);
    let mut kinds: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for (step, seconds) in executable.plan().steps.iter().zip(&taken) {
        let kind = kinds.entry(kind(executable.plan(), &step.kernel)).or_default();
        *kind = (kind.0 + 1, kind.1 + seconds);
    }
    let all: f64 = kinds.values().map(|k| k.1).sum();
    let products: f64 = kinds.iter().filter(|(name, _)| name.starts_with("product")).map(|(_, k)| k.1).sum();
    for (name, (count, seconds)) in &kinds {
        let share = seconds / all * 100.0;
        println!("  {name:<24} {count:>4} × {:>8.2} µs = {share:>5.1} %", seconds / *count as f64 * 1e6);
    }
    println!("  beside products: {:.1} % of {:.3} ms", (1.0 - products / all) * 100.0, all * 1e3);
}

fn kind(plan: &Plan, kernel: &Kernel) -> &'static str {
    match kernel {
        Kernel::MatMul(m) if m.weights.iter().any(|w| w.n > 40000) => "product of logits",
        Kernel::MatMul(m) if m.epilogue.is_some() => "product with epilogue",
        Kernel::MatMul(_) => "product",
        Kernel::Loop(l)
            if l.tape.instrs.iter().any(|i| matches!(i, tl_exec::kernel::Instr::Reduce { .. })) =>
        {
            "loop with reduction"
        }
        Kernel::Loop(_) => "loop",
        Kernel::Attention(_) => "attention",
        Kernel::Gather(_) => "gather",
        Kernel::Remember { .. } => "remember",
        Kernel::TakeWanted { .. } => "take wanted",
        Kernel::PerSequence(_) | Kernel::Scan(_) => "bracket",
        _ => {
            debug_assert!(!plan.steps.is_empty());
            "other"
        }
    }
}
