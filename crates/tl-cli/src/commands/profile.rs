//! `tl explain --profile`: where the time of a step goes, and what bounds it.
//!
//! A step is run some times with a clock around each kernel, and the least time of each counts, since other programs only ever slow one down. Kernels of
//! the same equation in different layers are one line. What a kernel reads and computes is known from the plan; beside what the machine can read and
//! compute in a second, that says which of the two bounds it, and how near it is.

use std::fmt::Write;

use serde_json::json;
use tensorlogic::explain::{KernelLine, StepSize};
use tensorlogic::{Explanation, Generator};
use tl_cpu::limits::Limits;
use tl_cpu::{Isa, Pool};
use tl_syntax::SourceMap;

use super::explain::place;
use crate::failure::Outcome;

/// How often a step is run.
const ROUNDS: usize = 12;
/// Tokens of a prompt after which, computed twice, the backend has done what it does once.
const PROMPT: usize = 16;

/// A kernel needs so much of its time for memory or arithmetic, at least, to be bound by it.
const BOUND: f64 = 0.1;

/// Kernels of one equation.
struct Line {
    kind: &'static str,
    equation: String,
    count: usize,
    seconds: f64,
    bytes: usize,
    flops: usize,
    integer: bool,
}

/// The profile of a step.
pub struct Profile {
    lines: Vec<Line>,
    limits: Limits,
    rows: usize,
    depth: usize,
    backend: String,
}

impl Profile {
    /// Measures a step of `rows` rows after `depth` others.
    pub fn measure(
        generator: &Generator,
        sources: &SourceMap,
        (rows, depth): (usize, usize),
        threads: Option<usize>,
    ) -> Outcome<Profile> {
        let times = step_times(generator, rows, depth)?;
        let size = StepSize { rows, wanted: 1, past: depth + rows };
        let kernels = Explanation::of_step(generator.plan(), size).kernels;
        let limits = Limits::measure(&Pool::new(threads.unwrap_or(0)), Isa::detect());
        Ok(Profile {
            lines: lines(&kernels, &times, sources),
            limits,
            rows,
            depth,
            backend: generator.engine().name(),
        })
    }

    fn seconds(&self) -> f64 {
        self.lines.iter().map(|line| line.seconds).sum()
    }

    /// The profile as text.
    pub fn text(&self) -> String {
        let Limits { read, float, integer } = self.limits;
        let mut out = format!("runs on {}\n", self.backend);
        let _ = writeln!(
            out,
            "the machine: memory reads {:.1} GB/s, f32 {:.0} Gop/s, 16-bit integers {:.0} Gop/s\n",
            read / 1e9,
            float / 1e9,
            integer / 1e9
        );
        let rows = if self.rows == 1 { "1 row".to_owned() } else { format!("{} rows", self.rows) };
        let _ = writeln!(out, "a step of {rows} after {}: {:.3} ms\n", self.depth, self.seconds() * 1e3);
        let _ = writeln!(out, "       ms  share     ×               GB/s    Gop/s  bound by");
        for line in &self.lines {
            let share = line.seconds / self.seconds() * 100.0;
            let (name, part) = line.bound(self.limits);
            let bound =
                if name == "overhead" { name.to_owned() } else { format!("{name} {:.0} %", part * 100.0) };
            let _ = writeln!(
                out,
                "{:>9.3} {share:>5.1}% {:>5} {:<10} {:>8} {:>8}  {bound:<15} {}",
                line.seconds * 1e3,
                line.count,
                line.kind,
                per_second(line.bytes, line.seconds),
                per_second(line.flops, line.seconds),
                line.equation
            );
        }
        out
    }

    /// The profile as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        let line = |l: &Line| {
            let (bound, share) = l.bound(self.limits);
            json!({
                "kind": l.kind, "equation": l.equation, "kernels": l.count, "seconds": l.seconds,
                "bytes": l.bytes, "flops": l.flops, "bound": bound, "share_of_bound": share,
            })
        };
        let Limits { read, float, integer } = self.limits;
        json!({
            "backend": self.backend, "rows": self.rows, "depth": self.depth, "seconds": self.seconds(),
            "read_bytes_s": read, "float_op_s": float, "integer_op_s": integer,
            "kernels": self.lines.iter().map(line).collect::<Vec<_>>(),
        })
    }
}

/// The least seconds that each step of the plan takes.
fn step_times(generator: &Generator, rows: usize, depth: usize) -> Outcome<Vec<f64>> {
    let vocabulary = generator.vocabulary() as u32;
    let ids = |count: usize| -> Vec<u32> {
        (1..=count as u32).map(|i| i.wrapping_mul(2_654_435_761) % vocabulary).collect()
    };
    let mut past = generator.session();
    // Weights are packed by the steps after the first.
    for _ in 0..2 {
        past.fork().feed(&ids(PROMPT))?;
    }
    past.feed(&ids(depth))?;
    let mut least = vec![f64::INFINITY; generator.plan().steps.len()];
    generator.trace(true);
    let mut run = || -> Outcome {
        // What is remembered is the sequence's own, as where tokens are generated: rows in pages that a fork shares would be copied first.
        for _ in 0..ROUNDS {
            let mark = past.mark(rows);
            past.feed(&ids(rows))?;
            least.iter_mut().zip(generator.times()).for_each(|(least, time)| *least = least.min(time));
            past.take_back(mark, depth)?;
        }
        Ok(())
    };
    let done = run();
    generator.trace(false);
    done.map(|()| least)
}

/// One line for each kind and equation, in the order of the step.
fn lines(kernels: &[KernelLine], times: &[f64], sources: &SourceMap) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut last = None;
    for kernel in kernels {
        // Nested kernels are timed together; the first of them has it all.
        let first = last.replace(kernel.step) != Some(kernel.step);
        let seconds = if first { times[kernel.step] } else { 0.0 };
        let equation = place(sources, kernel.span).map_or_else(|| kernel.label.clone(), |p| p.brief());
        let known = lines.iter_mut().find(|line| {
            line.kind == kernel.kind && line.equation == equation && line.integer == kernel.integer
        });
        match known {
            Some(line) => {
                line.count += 1;
                line.seconds += seconds;
                line.bytes += kernel.bytes;
                line.flops += kernel.flops;
            }
            None => lines.push(Line {
                kind: kernel.kind,
                equation,
                count: 1,
                seconds,
                bytes: kernel.bytes,
                flops: kernel.flops,
                integer: kernel.integer,
            }),
        }
    }
    lines
}

impl Line {
    /// What bounds it, and which part of its time that alone would take.
    fn bound(&self, limits: Limits) -> (&'static str, f64) {
        let memory = self.bytes as f64 / limits.read / self.seconds;
        let speed = if self.integer { limits.integer } else { limits.float };
        let arithmetic = self.flops as f64 / speed / self.seconds;
        match memory.max(arithmetic) {
            part if part.is_nan() || part < BOUND => ("overhead", 1.0),
            part if memory >= arithmetic => ("memory", part),
            part => ("arithmetic", part),
        }
    }
}

fn per_second(amount: usize, seconds: f64) -> String {
    if amount == 0 || seconds == 0.0 {
        String::new()
    } else {
        format!("{:.1}", amount as f64 / seconds / 1e9)
    }
}
