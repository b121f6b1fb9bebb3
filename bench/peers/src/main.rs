//! Measures TensorLogic, llama.cpp and candle in turn on one model file, and prints a table of them.
//!
//! ```text
//! for each round, number of threads and engine: this program again, as a child ─→ figures as JSON
//! median over the rounds; ratios within each round ─→ table
//! ```
//!
//! The engines take turns within a round, in another order each time, so that a disturbance of the machine meets all of them. A child has one
//! engine alone, so that its memory and the time it takes to load are its own.

mod candle;
mod llama;
mod measure;
mod ours;
mod table;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use clap::Parser;
use tensorlogic::{Engine as Runtime, Generator, Model};
use tl_cpu::limits::Limits;
use tl_cpu::{Isa, Pool};
use tl_llm::catalogue::Catalogue;
use tl_llm::download::{FetchOptions, resolve};

use measure::{Measured, Peer, Task};
use table::{Report, Run};

/// What most functions here give; an error is a sentence for the person.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Numbers of threads that are measured.
const THREADS: [usize; 2] = [1, 2];

/// Measures TensorLogic, llama.cpp and candle in turn on one model file.
#[derive(Parser)]
struct Args {
    /// A GGUF file, or a name of the catalogue; the default model if not given.
    #[arg(long, value_name = "FILE")]
    model: Option<String>,
    /// Fewer figures, of fewer tokens, in fewer rounds: to see whether all is well.
    #[arg(long)]
    quick: bool,
    /// Lengths of prompts; 16, 128 and 512 if not given, with `--quick` 16 and 128.
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    prefill: Vec<usize>,
    /// How many tokens a sequence has when decoding begins, as far as the model's context goes; 0, 512 and 2048 if not given, with `--quick` 0 and 512.
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    depth: Vec<usize>,
    /// Leave out an engine, for instance candle, which takes most of the time.
    #[arg(long, value_name = "ENGINE")]
    without: Vec<Peer>,
    /// Write every measurement of every round to this file.
    #[arg(long, value_name = "F")]
    json: Option<PathBuf>,
    /// What a child measures.
    #[arg(long, hide = true)]
    child: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.child {
        Some(task) => serde_json::from_str(task).map_err(Into::into).and_then(run_child),
        None => compare(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures one engine in this process and prints its figures.
fn run_child(task: Task) -> Outcome {
    let measured = match task.peer {
        Peer::TensorLogic => measure::run::<ours::Ours>(&task),
        Peer::Llama => measure::run::<llama::Llama>(&task),
        Peer::Candle => measure::run::<candle::Candle>(&task),
    }?;
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// Measures all engines and prints the table.
fn compare(args: &Args) -> Outcome {
    let name = args.model.as_deref().unwrap_or(&Catalogue::get().default);
    let file = resolve(name, &FetchOptions::from_env()?, &mut |_| {})?;
    let generator = Generator::new(&Runtime::cpu(), Arc::new(Model::open(&file)?))?;
    let mut report = Report {
        file: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        bytes_per_token: generator.explain().bytes_per_token,
        load_average: load_average(),
        bandwidth: THREADS.map(|threads| (threads, 0.0)).to_vec(),
        runs: Vec::new(),
    };
    let (vocabulary, limit) = (generator.vocabulary(), generator.context_limit().unwrap_or(usize::MAX));
    drop(generator);
    let peers: Vec<Peer> = Peer::ALL.into_iter().filter(|peer| !args.without.contains(peer)).collect();
    let rounds = if args.quick { 3 } else { 5 };
    for round in 0..rounds {
        for (threads, bandwidth) in &mut report.bandwidth {
            let read = Limits::measure(&Pool::new(*threads), Isa::detect()).read;
            *bandwidth = read.max(*bandwidth);
            for turn in 0..peers.len() {
                let peer = peers[(round + turn) % peers.len()];
                eprintln!("round {} of {rounds}: {} on {threads}", round + 1, peer.name());
                let task = Task::new(peer, &file, *threads, vocabulary, limit, args);
                match spawn(&task) {
                    Ok(measured) => report.runs.push(Run { peer, threads: *threads, round, measured }),
                    Err(error) => eprintln!("{} gave no figures: {error}", peer.name()),
                }
            }
        }
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    print!("{report}");
    Ok(())
}

/// Measures in a child.
fn spawn(task: &Task) -> Outcome<Measured> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--child", &serde_json::to_string(task)?])
        // How candle is told the number of its threads; the others have an option for it.
        .env("RAYON_NUM_THREADS", task.threads.to_string())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("it ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// How many threads wanted to run in the last minute, where the system tells.
fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
