//! The interpreter of the scripting layer: statements, values, and equations that are evaluated on demand.
//!
//! ```text
//! run(source):  parse → read functions and equations (order does not matter) → statements in order
//! statement:    `let`, `:=`, loops, calls       evaluated over values
//!               an equation                     defines; nothing is computed
//!               `Y?`, a tensor that is read     traced to a graph, run by the engine, kept until something that it read changes
//! ```
//!
//! The tree is walked as it was parsed. Values never contain themselves, every loop turn and call is counted against
//! [`Limits`], and the walk runs on a stack that fits its greatest depth: no script can hang, overflow or panic.
//!
//! - [`value`], [`tensor`], [`convert`], [`format`](mod@format): values and how they print
//! - [`builtin`], [`context`], `builtins/`: functions that are written in Rust, one table
//! - `statements`, `expressions`, `operators`, `elements`, `calls`, `imports`: the walk
//! - `dialogue`: what a dialogue asks for beyond running programs
//! - `equations`: definitions, tracing, and the results that are kept; `application`: functions of equations, applied to values
//! - `arithmetic`: operations on tensors as small graphs

mod application;
mod arithmetic;
pub mod builtin;
pub mod builtins;
mod calls;
pub mod context;
pub mod convert;
mod defining;
mod dialogue;
mod elements;
mod environment;
mod equations;
mod expressions;
mod fault;
pub mod format;
mod function;
mod host;
mod imports;
mod limits;
mod linear;
mod operators;
mod reading;
mod relations;
mod statements;
mod strings;
mod supplied;
mod tables;
pub mod tensor;
mod tree;
pub mod value;

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tl_syntax::{Diagnostic, SourceMap, Span, codes};

pub use builtin::{Arguments, Builtin, CallError, Purity};
pub use context::Context;
pub(crate) use fault::closest;
pub use function::{Function, signature};
pub use host::{CapturedHost, Host};
pub use limits::Limits;
pub(crate) use supplied::facts_of_file;
pub use tensor::TensorValue;
pub use value::{Dict, Key, Value};

use crate::engine::Engine;
use crate::error::{Diagnostics, Error};
use crate::loader::Loader;
use application::Applications;
use environment::Environment;
use equations::Equations;
use fault::{Eval, Interrupt};
use imports::Imports;

/// Runs scripts. What one program defines stays for the next, as in a dialogue.
pub struct Interpreter {
    engine: Engine,
    loader: Arc<dyn Loader>,
    host: Box<dyn Host>,
    interrupt: Option<Arc<AtomicBool>>,
    sources: SourceMap,
    builtins: HashMap<&'static str, Builtin>,
    environment: Environment,
    equations: Equations,
    applications: Applications,
    imports: Imports,
    arguments: Vec<String>,
    limits: Limits,
    raw_output: bool,
    dialogue: bool,
    warnings: Vec<Diagnostic>,
    warned: HashSet<(&'static str, Span)>,
    extensions: HashMap<TypeId, Box<dyn Any + Send>>,
    steps: u64,
    depth: usize,
    max_depth: usize,
    calls: usize,
}

impl Interpreter {
    /// An interpreter with the functions of the standard library and all of [`builtins`].
    pub fn new(engine: Engine, loader: Arc<dyn Loader>, host: Box<dyn Host>) -> Interpreter {
        let mut sources = SourceMap::new();
        let equations = Equations::with_library(&mut sources);
        let interrupt = host.interrupt();
        let mut limits = Limits::default();
        limits.trace.interrupt.clone_from(&interrupt);
        Interpreter {
            interrupt,
            engine,
            loader,
            host,
            sources,
            builtins: builtins::all().map(|b| (b.name, b)).collect(),
            environment: Environment::default(),
            equations,
            applications: Applications::default(),
            imports: Imports::default(),
            arguments: Vec::new(),
            limits,
            raw_output: false,
            dialogue: false,
            warnings: Vec::new(),
            warned: HashSet::new(),
            extensions: HashMap::new(),
            steps: 0,
            depth: 0,
            max_depth: 0,
            calls: 0,
        }
    }

    /// Adds a function to the language; one of the same name is replaced.
    pub fn register(&mut self, builtin: Builtin) {
        self.builtins.insert(builtin.name, builtin);
    }

    /// The functions that are written in Rust, by name.
    pub fn builtins(&self) -> Vec<Builtin> {
        let mut all: Vec<Builtin> = self.builtins.values().copied().collect();
        all.sort_by_key(|b| b.name);
        all
    }

    /// What `args()` gives.
    pub fn set_arguments(&mut self, arguments: Vec<String>) {
        self.arguments = arguments;
    }

    /// Bounds on what a script may do.
    pub fn limits_mut(&mut self) -> &mut Limits {
        &mut self.limits
    }

    /// Whether texts are printed with their control characters as they are, and not escaped.
    pub fn set_raw_output(&mut self, raw: bool) {
        self.raw_output = raw;
    }

    /// Gives a global variable a value.
    pub fn define(&mut self, name: &str, value: impl Into<Value>) {
        self.equations.forget_readers_of(name);
        self.environment.define(name.into(), value.into());
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The texts that were run.
    pub fn sources(&self) -> &SourceMap {
        &self.sources
    }

    /// The host.
    pub fn host_mut(&mut self) -> &mut dyn Host {
        &mut *self.host
    }

    /// The host, given back.
    pub fn into_host(self) -> Box<dyn Host> {
        self.host
    }

    /// What a crate above keeps with the interpreter, made by its default when first asked for.
    pub fn extension<T: Any + Send + Default>(&mut self) -> &mut T {
        let any = self.extensions.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(T::default()));
        any.downcast_mut().expect("an extension is stored under its own type")
    }

    /// Runs a program and gives the value of its last statement, if that is an expression. `name` is for messages, and what
    /// imports are relative to.
    ///
    /// # Errors
    /// [`Error::Program`] with everything that is wrong with the program, or with what went wrong while it ran; what it had
    /// done until then stays.
    pub fn run(&mut self, name: &str, text: &str) -> Result<Value, Error> {
        let source = match self.sources.add(name, text) {
            Ok(source) => source,
            Err(error) => return Err(self.program_error(vec![error.to_diagnostic()])),
        };
        self.run_added(source)
    }

    /// Runs a program from bytes that have yet to be found to be text.
    ///
    /// # Errors
    /// As for [`Interpreter::run`].
    pub fn run_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<Value, Error> {
        match self.sources.add_bytes(name, bytes) {
            Ok(source) => self.run_added(source),
            Err(error) => Err(self.program_error(vec![error.to_diagnostic()])),
        }
    }

    fn run_added(&mut self, source: tl_syntax::Source) -> Result<Value, Error> {
        self.begin(&source);
        let result = self.on_a_large_stack(|interpreter| interpreter.run_source(&source, true));
        self.end(result)
    }

    /// Sets all counters back.
    fn begin(&mut self, source: &tl_syntax::Source) {
        (self.steps, self.depth, self.calls) = (0, 0, 0);
        self.warnings.clear();
        self.imports.begin(source.name());
    }

    /// Forgets what calls left behind. What failed because somebody asked to stop was interrupted, whatever it says itself.
    fn end<T>(&mut self, result: Eval<T>) -> Result<T, Error> {
        self.environment.unwind();
        result.map_err(|interrupt| {
            let mut found = interrupt.into_diagnostics();
            if self.is_interrupted() {
                let span = found.first().and_then(Diagnostic::primary_span).unwrap_or(Span::NONE);
                found = interrupted(span).into_diagnostics();
            }
            self.program_error(found)
        })
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// Runs `work` on a thread whose stack fits the deepest evaluation.
    fn on_a_large_stack<T: Send>(&mut self, work: impl FnOnce(&mut Self) -> Eval<T> + Send) -> Eval<T> {
        let (mut work, mut failure) = (Some(work), None);
        for bytes in limits::STACK_BYTES {
            self.max_depth = (bytes - limits::RESERVE_BYTES) / limits::LEVEL_BYTES;
            let result = std::thread::scope(|scope| {
                let builder = std::thread::Builder::new().name("script".to_owned()).stack_size(bytes);
                let (interpreter, work) = (&mut *self, &mut work);
                let thread =
                    builder.spawn_scoped(scope, move || work.take().map(|work| work(interpreter)))?;
                Ok::<_, std::io::Error>(thread.join())
            });
            match result {
                Ok(Ok(Some(result))) => return result,
                Ok(Ok(None)) => break,
                Ok(Err(panic)) => return Err(our_mistake(&*panic)),
                Err(error) => failure = Some(error),
            }
        }
        let why = failure.map_or_else(String::new, |error| format!(": {error}"));
        let message = format!("there is no memory for a script's stack{why}");
        Err(Diagnostic::error_without_span(codes::CALL_DEPTH, message).into())
    }

    fn program_error(&self, list: Vec<Diagnostic>) -> Error {
        Error::Program(Diagnostics { sources: self.sources.clone(), list })
    }

    /// Counts a turn of a loop or a call, and stops where somebody asked for it.
    fn count_step(&mut self, span: Span) -> Eval<()> {
        self.steps += 1;
        if self.steps > self.limits.steps {
            return Err(steps_exceeded(span, self.limits.steps));
        }
        if self.is_interrupted() {
            return Err(interrupted(span));
        }
        Ok(())
    }

    /// Runs `work` one level deeper.
    fn deeper<T>(&mut self, span: Span, work: impl FnOnce(&mut Self) -> Eval<T>) -> Eval<T> {
        if self.depth >= self.max_depth {
            return Err(too_deep(span, self.max_depth));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    fn print(&mut self, text: &str) {
        if self.raw_output {
            self.host.print(text);
        } else {
            self.host.print(&format::without_controls(text));
        }
    }

    /// Shows a warning, unless it was shown before.
    fn warn_once(&mut self, diagnostic: &Diagnostic) {
        let key = (diagnostic.code, diagnostic.primary_span().unwrap_or(Span::NONE));
        if self.warned.insert(key) {
            self.warn(diagnostic);
        }
    }

    /// The warnings since the last call, which the host has been shown.
    pub fn take_warnings(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.warnings)
    }

    fn warn(&mut self, diagnostic: &Diagnostic) {
        self.warnings.push(diagnostic.clone());
        let list = vec![diagnostic.clone()];
        let text = Diagnostics { sources: self.sources.clone(), list }.render(false);
        self.host.warn(text.trim_end());
    }
}

impl std::fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Interpreter({:?})", self.engine)
    }
}

/// The error that our own code is wrong. The script ends; whoever runs it goes on.
#[cold]
fn our_mistake(panic: &(dyn Any + Send)) -> Interrupt {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(|s| &**s));
    let message = format!("this is a mistake in TensorLogic itself: {}", said.unwrap_or("a panic"));
    Diagnostic::error_without_span(codes::RUN_FAILED, message).help("please report it with the script").into()
}

#[cold]
fn steps_exceeded(span: Span, limit: u64) -> Interrupt {
    Diagnostic::error(
        codes::STEP_LIMIT,
        span,
        format!("the script took more than {limit} turns of loops and calls"),
    )
    .help("if it is meant to run that long, allow more: `tl run --max-steps N`")
    .into()
}

#[cold]
fn interrupted(span: Span) -> Interrupt {
    Diagnostic::error(codes::INTERRUPTED, span, "interrupted").into()
}

#[cold]
fn too_deep(span: Span, limit: usize) -> Interrupt {
    let message = format!("evaluation is nested deeper than {limit} levels");
    Diagnostic::error(codes::CALL_DEPTH, span, message)
        .help("does a function call itself without an end?")
        .into()
}
