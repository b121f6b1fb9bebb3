//! The world that a script speaks to.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a script prints to and what it can ask. The library itself knows no terminal, clock or environment.
pub trait Host: Send {
    /// Prints a text as it is; a line's end is part of it.
    fn print(&mut self, text: &str);

    /// Shows a prompt and reads a line, without its end; `None` at the end of the input.
    fn input(&mut self, prompt: &str) -> Option<String>;

    /// A variable of the environment.
    fn env(&self, name: &str) -> Option<String>;

    /// Seconds since some fixed moment.
    fn seconds(&self) -> f64;

    /// Shows a warning that is no part of the script's output: whole lines that say themselves that they are one.
    fn warn(&mut self, text: &str);

    /// Set when the script is to stop.
    fn interrupt(&self) -> Option<Arc<AtomicBool>> {
        None
    }
}

/// A host that keeps what is printed and answers from given data, for tests and embedding. Clones share what they hold.
#[derive(Clone, Debug, Default)]
pub struct CapturedHost {
    held: Arc<Mutex<Held>>,
    interrupt: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Held {
    output: String,
    warnings: Vec<String>,
    lines: VecDeque<String>,
    variables: HashMap<String, String>,
    clock: f64,
}

impl CapturedHost {
    /// A host with nothing to read.
    pub fn new() -> CapturedHost {
        CapturedHost::default()
    }

    /// Adds a line that `input` will read.
    pub fn push_line(&self, line: &str) {
        self.held().lines.push_back(line.to_owned());
    }

    /// Sets a variable of the environment.
    pub fn set_env(&self, name: &str, value: &str) {
        self.held().variables.insert(name.to_owned(), value.to_owned());
    }

    /// What was printed so far; it is forgotten.
    pub fn take_output(&self) -> String {
        std::mem::take(&mut self.held().output)
    }

    /// The warnings so far; they are forgotten.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.held().warnings)
    }

    /// The flag that stops the script.
    pub fn interrupt_flag(&self) -> &Arc<AtomicBool> {
        &self.interrupt
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for CapturedHost {
    fn print(&mut self, text: &str) {
        self.held().output.push_str(text);
    }

    fn input(&mut self, _: &str) -> Option<String> {
        self.held().lines.pop_front()
    }

    fn env(&self, name: &str) -> Option<String> {
        self.held().variables.get(name).cloned()
    }

    /// Each question moves the clock a second on.
    fn seconds(&self) -> f64 {
        let mut held = self.held();
        held.clock += 1.0;
        held.clock
    }

    fn warn(&mut self, text: &str) {
        self.held().warnings.push(text.to_owned());
    }

    fn interrupt(&self) -> Option<Arc<AtomicBool>> {
        Some(Arc::clone(&self.interrupt))
    }
}
