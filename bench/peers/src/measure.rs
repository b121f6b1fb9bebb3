//! What is measured of an engine, in the same way for each.
//!
//! All engines are fed the same tokens, whatever they answer, and after each step the most probable next token is looked for in the logits: that is all that
//! greedy decoding costs. These tokens are kept, so that it can be seen that the engines compute the same.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{Args, Outcome};

/// An engine that has opened a model.
pub trait Engine: Sized {
    /// Whether it computes different sequences in one step.
    const BATCHES: bool;

    /// Opens a model and makes room for one sequence of [`Task::longest`] tokens.
    fn load(task: &Task) -> Outcome<Self>;

    /// Begins anew with so many empty sequences, of at most `length` tokens each.
    fn begin(&mut self, sequences: usize, length: usize) -> Outcome;

    /// Appends tokens to the first sequence, and gives the most probable next one.
    fn prefill(&mut self, tokens: &[u32]) -> Outcome<u32>;

    /// Appends one token to each sequence, and gives the most probable next ones.
    fn decode(&mut self, tokens: &[u32]) -> Outcome<Vec<u32>>;
}

/// The engines.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Peer {
    /// This project.
    #[value(name = "tensorlogic")]
    TensorLogic,
    /// llama.cpp through `llama-cpp-2`.
    #[value(name = "llama.cpp")]
    Llama,
    /// `candle-transformers`.
    #[value(name = "candle")]
    Candle,
}

impl Peer {
    /// All of them, in the order of the table's columns.
    pub const ALL: [Peer; 3] = [Peer::TensorLogic, Peer::Llama, Peer::Candle];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Peer::TensorLogic => "TensorLogic",
            Peer::Llama => "llama.cpp",
            Peer::Candle => "candle",
        }
    }
}

/// What a child is to measure.
#[derive(Serialize, Deserialize)]
pub struct Task {
    /// The engine.
    pub peer: Peer,
    /// The model.
    pub file: PathBuf,
    /// How many threads compute.
    pub threads: usize,
    vocabulary: usize,
    prefill: Vec<usize>,
    depths: Vec<usize>,
    sequences: usize,
    /// Tokens that are decoded of a sequence.
    tokens: usize,
}

/// One figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Figure {
    /// Seconds until the model can be used.
    Load,
    /// Seconds until the token after a prompt of [`FIRST_PROMPT`] is known, loading included.
    First,
    /// Tokens a second of a prompt of so many.
    Prefill(usize),
    /// Tokens a second, one after the other, after so many.
    Decode(usize),
    /// Tokens a second of so many sequences that are decoded together, from their beginning.
    Batch(usize),
    /// The most bytes that the process had, before sequences were decoded together.
    Peak,
}

/// What a child found out.
#[derive(Serialize, Deserialize)]
pub struct Measured {
    /// Each figure with its value.
    pub figures: Vec<(Figure, f64)>,
    /// The most probable next tokens after the steps of one sequence.
    pub answers: Vec<u32>,
}

/// Tokens of the first prompt.
pub const FIRST_PROMPT: usize = 16;

/// A short prompt is computed again until so many seconds are over.
const LEAST_SECONDS: f64 = 0.3;

/// Tokens that are fed at once before decoding begins at a depth.
const CHUNK: usize = 512;

impl Task {
    /// The task of an engine, for a model whose sequences have at most `limit` tokens.
    pub fn new(
        peer: Peer,
        file: &Path,
        threads: usize,
        vocabulary: usize,
        limit: usize,
        args: &Args,
    ) -> Task {
        let (prefill, depths, tokens): (&[usize], &[usize], usize) = match args.quick {
            true => (&[16, 128], &[0, 512], 16),
            false => (&[16, 128, 512], &[0, 512, 2048], 32),
        };
        let asked = |given: &[usize], usual: &[usize]| if given.is_empty() { usual } else { given }.to_vec();
        let (prefill, mut depths) = (asked(&args.prefill, prefill), asked(&args.depth, depths));
        let deepest = limit.saturating_sub(tokens + 1);
        depths.iter_mut().for_each(|depth| *depth = deepest.min(*depth));
        depths.dedup();
        Task { peer, file: file.to_path_buf(), threads, vocabulary, prefill, depths, sequences: 8, tokens }
    }

    /// Tokens of the longest sequence of the task.
    pub fn longest(&self) -> usize {
        let decoded = self.depths.iter().map(|depth| depth + self.tokens + 1);
        decoded.chain(self.prefill.iter().copied()).max().unwrap_or(0).max(FIRST_PROMPT)
    }

    /// Token ids that look random.
    fn ids(&self, count: usize) -> Vec<u32> {
        let id = |i: u64| (i.wrapping_mul(2_654_435_761) % self.vocabulary as u64) as u32;
        (1..=count as u64).map(id).collect()
    }
}

/// Measures everything.
pub fn run<E: Engine>(task: &Task) -> Outcome<Measured> {
    let start = Instant::now();
    let mut engine = E::load(task)?;
    let load = start.elapsed().as_secs_f64();
    let mut answers = vec![engine.prefill(&task.ids(FIRST_PROMPT))?];
    let mut figures = vec![(Figure::Load, load), (Figure::First, start.elapsed().as_secs_f64())];
    for &length in &task.prefill {
        figures.push((Figure::Prefill(length), prefill(&mut engine, &task.ids(length), &mut answers)?));
    }
    for &depth in &task.depths {
        figures.push((Figure::Decode(depth), decode(&mut engine, task, depth, &mut answers)?));
    }
    let peak = peak_bytes();
    if E::BATCHES {
        figures.push((Figure::Batch(task.sequences), batch(&mut engine, task)?));
    }
    figures.extend(peak.map(|bytes| (Figure::Peak, bytes)));
    Ok(Measured { figures, answers })
}

/// Tokens a second of a prompt. The first time makes room and is not counted.
fn prefill(engine: &mut impl Engine, prompt: &[u32], answers: &mut Vec<u32>) -> Outcome<f64> {
    engine.begin(1, prompt.len())?;
    answers.push(engine.prefill(prompt)?);
    let (mut seconds, mut times) = (0.0, 0);
    while seconds < LEAST_SECONDS {
        engine.begin(1, prompt.len())?;
        let start = Instant::now();
        engine.prefill(prompt)?;
        seconds += start.elapsed().as_secs_f64();
        times += 1;
    }
    Ok((times * prompt.len()) as f64 / seconds)
}

/// Tokens a second of one sequence after so many. The first step makes room and is not counted.
fn decode(engine: &mut impl Engine, task: &Task, depth: usize, answers: &mut Vec<u32>) -> Outcome<f64> {
    engine.begin(1, depth + task.tokens + 1)?;
    for chunk in task.ids(depth).chunks(CHUNK) {
        engine.prefill(chunk)?;
    }
    let next = task.ids(task.tokens + 1);
    answers.extend(engine.decode(&next[..1])?);
    let start = Instant::now();
    for token in next[1..].chunks(1) {
        answers.extend(engine.decode(token)?);
    }
    Ok(task.tokens as f64 / start.elapsed().as_secs_f64())
}

/// Tokens a second of all sequences together, each being fed other tokens.
fn batch(engine: &mut impl Engine, task: &Task) -> Outcome<f64> {
    engine.begin(task.sequences, task.tokens + 1)?;
    let next = task.ids(task.sequences * (task.tokens + 1));
    let (first, rest) = next.split_at(task.sequences);
    engine.decode(first)?;
    let start = Instant::now();
    for tokens in rest.chunks(task.sequences) {
        engine.decode(tokens)?;
    }
    Ok(rest.len() as f64 / start.elapsed().as_secs_f64())
}

/// The place of the greatest logit.
pub fn most_probable(logits: &[f32]) -> u32 {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter().position(|&logit| logit == greatest).unwrap_or(0) as u32
}

/// The most memory that this process has had, where the system tells.
fn peak_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}
