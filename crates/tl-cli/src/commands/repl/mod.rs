//! `tl repl`: a dialogue with the language.
//!
//! ```text
//! read a statement (over several lines, until it is complete) → run it → print its value → again
//! ```
//!
//! Lines that begin with `:` are commands, one table ([`COMMANDS`]). On a terminal there are editing, a history and completion
//! (`editing`); else lines are read as they come, nothing is prompted, and a failure shows in the exit code.
//!
//! Invariant: only `:quit` and the end of the input end a dialogue. Ctrl-C ends what is being typed or computed.

mod editing;

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tensorlogic::interpreter::{Value, format};
use tensorlogic::{DiskLoader, Engine, Interpreter};
use tl_syntax::codes;

use self::editing::{Editor, Read, is_complete};
use super::explain;
use super::run::Terminal;
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::terminal::{print, remark};

/// The arguments of `tl repl`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A program to run first.
    file: Option<PathBuf>,
    /// Let programs read and write files outside of the current folder.
    #[arg(long)]
    unrestricted: bool,
}

/// A command of the dialogue.
struct Command {
    name: &'static str,
    /// What follows the name.
    argument: &'static str,
    about: &'static str,
    run: fn(&mut Repl, &str) -> Outcome<Next>,
}

/// Whether the dialogue goes on.
enum Next {
    Go,
    Quit,
}

/// Every command.
const COMMANDS: &[Command] = &[
    Command {
        name: "type",
        argument: "EXPR",
        about: "what a value is: its kind and shape, or the head of a function",
        run: Repl::show_type,
    },
    Command {
        name: "explain",
        argument: "EXPR",
        about: "the kernels that would compute it; of a code, as E0401, its page",
        run: Repl::explain,
    },
    Command {
        name: "time",
        argument: "STATEMENT",
        about: "run it, and tell how long it took",
        run: Repl::time,
    },
    Command {
        name: "load",
        argument: "FILE",
        about: "run a program; what it defines stays",
        run: Repl::load,
    },
    Command { name: "names", argument: "[START]", about: "the names that are known", run: Repl::show_names },
    Command { name: "reset", argument: "", about: "forget everything that was defined", run: Repl::reset },
    Command { name: "help", argument: "", about: "this", run: Repl::help },
    Command { name: "quit", argument: "", about: "leave (or Ctrl-D)", run: Repl::quit },
];

/// Whether a piece of a program follows the name of a command.
fn takes_program(name: &str) -> bool {
    COMMANDS.iter().any(|c| c.name == name && matches!(c.argument, "EXPR" | "STATEMENT"))
}

/// Runs the command.
pub fn run(args: Args, threads: Option<usize>) -> Outcome {
    let interrupt = interrupt::flag();
    let engine = Engine::cpu_with_interrupt(threads, Arc::clone(&interrupt));
    let interpreter = interpreter(&engine, args.unrestricted, &interrupt);
    let mut repl = Repl { interpreter, engine, unrestricted: args.unrestricted, interrupt, inputs: 0 };
    if let Some(file) = &args.file {
        repl.load(&file.display().to_string())?;
    }
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        repl.converse()
    } else {
        repl.read_lines()
    }
}

fn interpreter(engine: &Engine, unrestricted: bool, interrupt: &Arc<AtomicBool>) -> Interpreter {
    let loader = if unrestricted { DiskLoader::unrestricted(".") } else { DiskLoader::new(".") };
    let host = Terminal::new(Arc::clone(interrupt));
    let mut interpreter = Interpreter::new(engine.clone(), Arc::new(loader), Box::new(host));
    for builtin in tl_llm::builtins::all() {
        interpreter.register(builtin);
    }
    interpreter.set_dialogue(true);
    interpreter
}

struct Repl {
    interpreter: Interpreter,
    engine: Engine,
    unrestricted: bool,
    interrupt: Arc<AtomicBool>,
    /// How many inputs there were; their numbers stand in messages.
    inputs: usize,
}

impl Repl {
    /// A dialogue on a terminal.
    fn converse(&mut self) -> Outcome {
        let mut editor = Editor::new()?;
        remark(format_args!("TensorLogic {}: :help for help, Ctrl-D to leave", env!("CARGO_PKG_VERSION")));
        loop {
            editor.set_names(self.interpreter.names());
            match editor.read()? {
                Read::Text(text) => match self.answer(&text) {
                    Ok(Next::Go) => {}
                    Ok(Next::Quit) => return Ok(()),
                    Err(failure) if failure.is_closed_pipe() => return Err(failure),
                    Err(failure) => failure.tell(),
                },
                Read::Abandoned => {}
                Read::End => return Ok(()),
            }
        }
    }

    /// A dialogue without a terminal: each statement runs when it is complete.
    fn read_lines(&mut self) -> Outcome {
        let (mut input, mut line) = (Vec::new(), Vec::new());
        let mut stdin = std::io::stdin().lock();
        let mut failed = None;
        loop {
            line.clear();
            let ended = stdin.read_until(b'\n', &mut line)? == 0;
            input.extend_from_slice(&line);
            let text = String::from_utf8_lossy(&input);
            if !ended && !is_complete(&text) {
                continue;
            }
            match self.answer(&text) {
                Ok(Next::Go) => {}
                Ok(Next::Quit) => break,
                Err(failure) if failure.is_closed_pipe() => return Err(failure),
                Err(failure) => {
                    failure.tell();
                    failed = Some(failure.told());
                }
            }
            input.clear();
            if ended {
                break;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Runs one input: a command or a program.
    fn answer(&mut self, text: &str) -> Outcome<Next> {
        let trimmed = text.trim();
        self.interrupt.store(false, Ordering::Relaxed);
        let done = match trimmed.strip_prefix(':') {
            Some(command) => self.command(command),
            None if trimmed.is_empty() => return Ok(Next::Go),
            None => self.run(text).and_then(|value| show(&value)).map(|()| Next::Go),
        };
        self.interrupt.store(false, Ordering::Relaxed);
        done
    }

    fn command(&mut self, text: &str) -> Outcome<Next> {
        let (name, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        // A command may be abbreviated, as far as it is clear.
        let mut matching = COMMANDS.iter().filter(|c| c.name.starts_with(name) && !name.is_empty());
        match (matching.next(), matching.next()) {
            (Some(command), None) => (command.run)(self, argument.trim()),
            _ => Err(Failure::usage(format!("there is no command `:{name}`; :help lists them"))),
        }
    }

    fn run(&mut self, text: &str) -> Outcome<Value> {
        let name = self.next_name();
        Ok(self.interpreter.run(&name, text)?)
    }

    /// What messages call the next input.
    fn next_name(&mut self) -> String {
        self.inputs += 1;
        format!("input {}", self.inputs)
    }

    fn show_type(&mut self, text: &str) -> Outcome<Next> {
        let value = self.run(text)?;
        print(format_args!("{}\n", self.interpreter.describe(&value)))?;
        Ok(Next::Go)
    }

    fn explain(&mut self, text: &str) -> Outcome<Next> {
        if let Some(page) = codes::page(text) {
            print(format_args!("{page}"))?;
            return Ok(Next::Go);
        }
        let name = self.next_name();
        let explanation = self.interpreter.explain(&name, text)?;
        print(format_args!("{}", explain::kernels(explanation, self.interpreter.sources())))?;
        Ok(Next::Go)
    }

    fn time(&mut self, text: &str) -> Outcome<Next> {
        let began = Instant::now();
        let value = self.run(text);
        let seconds = began.elapsed().as_secs_f64();
        show(&value?)?;
        print(format_args!("{}\n", duration(seconds)))?;
        Ok(Next::Go)
    }

    fn load(&mut self, path: &str) -> Outcome<Next> {
        let path = Path::new(path);
        let bytes = std::fs::read(path).map_err(|e| Failure::file(path, &e))?;
        self.interpreter.run_bytes(&path.display().to_string(), &bytes)?;
        Ok(Next::Go)
    }

    fn show_names(&mut self, start: &str) -> Outcome<Next> {
        let names: Vec<String> =
            self.interpreter.names().into_iter().filter(|n| n.starts_with(start)).collect();
        print(format_args!("{}\n", names.join("  ")))?;
        Ok(Next::Go)
    }

    fn reset(&mut self, _: &str) -> Outcome<Next> {
        self.interpreter = interpreter(&self.engine, self.unrestricted, &self.interrupt);
        Ok(Next::Go)
    }

    fn help(&mut self, _: &str) -> Outcome<Next> {
        print(format_args!("a statement runs, an expression is computed and printed; so is `Y?`\n"))?;
        for command in COMMANDS {
            let head = format!(":{} {}", command.name, command.argument);
            print(format_args!("{head:<18} {}\n", command.about))?;
        }
        print(format_args!("Ctrl-C stops what is being typed or computed.\n"))?;
        Ok(Next::Go)
    }

    fn quit(&mut self, _: &str) -> Outcome<Next> {
        Ok(Next::Quit)
    }
}

/// Prints the value of an input, if it has one: a text in quotes, so that it can be told from what `print` prints.
fn show(value: &Value) -> Outcome {
    match value {
        Value::Unit => Ok(()),
        value => print(format_args!("{}\n", format::without_controls(&format::nested(value)))),
    }
}

/// A time as a person writes it.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}
