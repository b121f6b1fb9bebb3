//! The command line, `tl`.
//!
//! Each command is a file of `commands/`: its arguments as a struct and one function `run`. What they share has a file of its own: how a model
//! is found and opened ([`opening`]), how sampling is chosen ([`sampling`]), where guesses come from ([`speculation`]), how errors become messages and exit codes ([`failure`]), what goes
//! to which stream ([`terminal`]).
//!
//! Invariant: results go to standard output, everything else to standard error; a program can rely on the exit code.

mod commands;
mod constraint;
mod failure;
mod interrupt;
mod opening;
mod progress;
mod sampling;
mod speculation;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// TensorLogic: language models, and any other program, as equations over named tensors.
#[derive(Parser, Debug)]
#[command(name = "tl", version, propagate_version = true, max_term_width = 100, after_help = failure::CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How many threads compute; as many as the machine has cores if not given.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Chat with a model: one answer, or a conversation.
    Chat(commands::chat::Args),
    /// Continue a text, or a list of token ids.
    Generate(commands::generate::Args),
    /// Continue many prompts or answer many chats, a file of JSON lines, several at once.
    Batch(commands::batch::Args),
    /// Run a program.
    Run(commands::run::Args),
    /// Talk to the language: statements run as they are typed, and values are printed.
    Repl(commands::repl::Args),
    /// Report everything that is wrong with a program.
    Check(commands::check::Args),
    /// Put programs into their standard layout.
    Fmt(commands::fmt::Args),
    /// Show what was derived of a model: kernels, what is remembered, bytes and operations for each token.
    Explain(commands::explain::Args),
    /// Show what a model file holds.
    Inspect(commands::inspect::Args),
    /// Download a model.
    Pull(commands::pull::Args),
    /// Turn standard input into token ids.
    Tokenize(commands::tokenize::Args),
    /// Turn the lines of standard input into vectors.
    Embed(commands::embed::Args),
    /// Measure how fast a model runs on this machine, beside what its memory allows.
    Bench(commands::bench::Args),
    /// Write a model file with random weights, to measure with.
    Synth(commands::synth::Args),
    /// Measure how well a model predicts a text.
    Perplexity(commands::perplexity::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let threads = cli.threads.map(usize::from);
    let done = match cli.command {
        Command::Chat(args) => commands::chat::run(args, threads),
        Command::Generate(args) => commands::generate::run(args, threads),
        Command::Batch(args) => commands::batch::run(args, threads),
        Command::Run(args) => commands::run::run(args, threads),
        Command::Repl(args) => commands::repl::run(args, threads),
        Command::Check(args) => commands::check::run(args),
        Command::Fmt(args) => commands::fmt::run(args),
        Command::Explain(args) => commands::explain::run(args, threads),
        Command::Inspect(args) => commands::inspect::run(args),
        Command::Pull(args) => commands::pull::run(args),
        Command::Tokenize(args) => commands::tokenize::run(args),
        Command::Embed(args) => commands::embed::run(args, threads),
        Command::Bench(args) => commands::bench::run(args, threads),
        Command::Synth(args) => commands::synth::run(args),
        Command::Perplexity(args) => commands::perplexity::run(args, threads),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
