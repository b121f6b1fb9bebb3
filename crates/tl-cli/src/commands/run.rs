//! `tl run`: runs a program.

use std::io::{BufRead, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use tensorlogic::interpreter::Host;
use tensorlogic::{Engine, Interpreter};

use crate::failure::{Failure, Outcome};
use crate::terminal::{remark, stream};
use crate::{interrupt, opening};

/// The arguments of `tl run`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A program.
    file: PathBuf,
    /// Let the program read and write files outside of its project (the current folder, or its own).
    #[arg(long)]
    unrestricted: bool,
    /// Print control characters in texts as they are.
    #[arg(long)]
    raw: bool,
    /// How many turns of loops and calls the program may take.
    #[arg(long, value_name = "N")]
    max_steps: Option<u64>,
    /// What the program sees as `args()`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the command.
pub fn run(args: Args, threads: Option<usize>) -> Outcome {
    let bytes = std::fs::read(&args.file).map_err(|e| Failure::file(&args.file, &e))?;
    let interrupt = interrupt::flag();
    let engine = Engine::cpu_with_interrupt(threads, Arc::clone(&interrupt));
    let host = Terminal::new(interrupt);
    let (loader, name) = opening::loader(&args.file, args.unrestricted)?;
    let mut interpreter = Interpreter::new(engine, Arc::new(loader), Box::new(host));
    for builtin in tl_llm::builtins::all() {
        interpreter.register(builtin);
    }
    interpreter.set_arguments(args.arguments);
    interpreter.set_raw_output(args.raw);
    if let Some(steps) = args.max_steps {
        interpreter.limits_mut().steps = steps;
    }
    interpreter.run_bytes(&name, &bytes)?;
    Ok(())
}

/// The terminal as the world that a script speaks to.
pub(super) struct Terminal {
    began: Instant,
    interrupt: Arc<AtomicBool>,
}

impl Terminal {
    /// The terminal, with the flag that Ctrl-C sets.
    pub(super) fn new(interrupt: Arc<AtomicBool>) -> Terminal {
        Terminal { began: Instant::now(), interrupt }
    }
}

impl Host for Terminal {
    fn print(&mut self, text: &str) {
        if let Err(error) = stream(text) {
            // A script has no one left to print to: that ends it, and is an error only where it is not a reader that went away.
            std::process::exit(if error.kind() == ErrorKind::BrokenPipe { 0 } else { 74 });
        }
    }

    fn input(&mut self, prompt: &str) -> Option<String> {
        self.print(prompt);
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn warn(&mut self, text: &str) {
        remark(format_args!("{text}"));
    }

    fn interrupt(&self) -> Option<Arc<AtomicBool>> {
        Some(Arc::clone(&self.interrupt))
    }
}
