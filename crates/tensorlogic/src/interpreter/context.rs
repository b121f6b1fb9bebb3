//! What a builtin sees of the interpreter that calls it.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use tl_syntax::Span;

use super::Interpreter;
use super::builtin::CallError;
use super::fault::{Eval, Interrupt};
use super::host::Host;
use super::limits::Limits;
use super::value::Value;
use crate::engine::Engine;
use crate::loader::{LoadError, Loader, relative, resolve};

/// The interpreter during a call of a builtin.
pub struct Context<'a> {
    interpreter: &'a mut Interpreter,
    span: Span,
    interrupt: Option<Interrupt>,
}

impl<'a> Context<'a> {
    pub(super) fn new(interpreter: &'a mut Interpreter, span: Span) -> Context<'a> {
        Context { interpreter, span, interrupt: None }
    }

    /// The engine.
    pub fn engine(&self) -> Engine {
        self.interpreter.engine.clone()
    }

    /// Where files come from.
    pub fn loader(&self) -> Arc<dyn Loader> {
        Arc::clone(&self.interpreter.loader)
    }

    /// The world.
    pub fn host(&mut self) -> &mut dyn Host {
        &mut *self.interpreter.host
    }

    /// What `args()` gives.
    pub fn arguments(&self) -> &[String] {
        &self.interpreter.arguments
    }

    /// Bounds on what a script may do.
    pub fn limits(&self) -> &Limits {
        &self.interpreter.limits
    }

    /// Whether somebody asked to stop. A builtin that computes for long looks, and fails with any error.
    pub fn is_interrupted(&self) -> bool {
        self.interpreter.is_interrupted()
    }

    /// Prints a text; its control characters are escaped unless the interpreter was told otherwise.
    pub fn print(&mut self, text: &str) {
        self.interpreter.print(text);
    }

    /// Shows a warning.
    pub fn warn(&mut self, text: &str) {
        self.interpreter.host.warn(text);
    }

    /// What the crate that registered a builtin keeps with the interpreter.
    pub fn extension<T: Any + Send + Default>(&mut self) -> &mut T {
        self.interpreter.extension()
    }

    /// The path that a script's path means, relative to the file that is running.
    ///
    /// # Errors
    /// When a script may not name it.
    pub fn resolve(&self, path: &str) -> Result<String, LoadError> {
        let loader = &self.interpreter.loader;
        if loader.is_open() {
            return Ok(relative(path, self.interpreter.imports.current()));
        }
        resolve(path, self.interpreter.imports.current())
    }

    /// Where a model's file lies on disk; `None` where the loader has no disk.
    ///
    /// # Errors
    /// When there is no such file, or a script may not read it.
    pub fn locate(&self, path: &str) -> Result<Option<PathBuf>, LoadError> {
        self.interpreter.loader.locate_model(path, self.interpreter.imports.current())
    }

    /// Fails if the script is to stop or has run too long. A builtin that loops asks now and then.
    ///
    /// # Errors
    /// When it is to stop; the builtin returns the error.
    pub fn check(&mut self) -> Result<(), CallError> {
        let result = self.interpreter.count_step(self.span);
        self.keep(result)
    }

    /// Calls a function value.
    ///
    /// # Errors
    /// What goes wrong in it; the builtin returns the error.
    pub fn call(&mut self, function: &Value, arguments: Vec<Value>) -> Result<Value, CallError> {
        let span = self.span;
        let given = arguments.into_iter().map(|v| (None, v, span)).collect();
        let result = self.interpreter.call(function, given, span, span);
        self.keep(result)
    }

    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// Keeps what is more than an error of the builtin, so that it goes on through it unchanged.
    pub(super) fn keep<T>(&mut self, result: Eval<T>) -> Result<T, CallError> {
        result.map_err(|interrupt| {
            self.interrupt = Some(interrupt);
            CallError::new("interrupted")
        })
    }

    pub(super) fn take_interrupt(&mut self) -> Option<Interrupt> {
        self.interrupt.take()
    }
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({:?})", self.interpreter)
    }
}
