//! Variables: the global ones, and those of the calls that are going on.
//!
//! A call has a frame of its own; blocks within it open and close scopes in that frame. Closures hold copies of what they saw
//! when they were made, so no value ever refers to a frame.

use std::collections::HashMap;
use std::sync::Arc;

use super::value::Value;

/// All variables of a running script.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    globals: HashMap<Arc<str>, Value>,
    frames: Vec<Frame>,
}

/// The local variables of a call, innermost last.
#[derive(Debug, Default)]
struct Frame {
    locals: Vec<Local>,
    /// Where each open scope begins in `locals`.
    scopes: Vec<usize>,
}

#[derive(Debug)]
struct Local {
    name: Arc<str>,
    value: Value,
    /// Whether it is a closure's copy, which is not assigned to.
    captured: bool,
}

/// Why a variable was not assigned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AssignError {
    /// There is none of that name.
    Unknown,
    /// It is a closure's copy of a variable that lives elsewhere.
    Captured,
}

impl Environment {
    /// Whether a `let` would now define a global variable.
    pub fn at_top(&self) -> bool {
        self.frames.is_empty()
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let local = self.frames.last().and_then(|f| f.locals.iter().rev().find(|l| &*l.name == name));
        local.map(|l| &l.value).or_else(|| self.globals.get(name))
    }

    /// Whether a local variable of that name is there.
    pub fn is_local(&self, name: &str) -> bool {
        self.frames.last().is_some_and(|f| f.locals.iter().any(|l| &*l.name == name))
    }

    /// Defines a variable in the innermost scope.
    pub fn define(&mut self, name: Arc<str>, value: Value) {
        match self.frames.last_mut() {
            Some(frame) => frame.locals.push(Local { name, value, captured: false }),
            None => _ = self.globals.insert(name, value),
        }
    }

    /// Forgets a global variable.
    pub fn remove_global(&mut self, name: &str) {
        self.globals.remove(name);
    }

    /// A variable to change.
    pub fn get_mut(&mut self, name: &str) -> Result<&mut Value, AssignError> {
        let local = self.frames.last_mut().and_then(|f| f.locals.iter_mut().rev().find(|l| &*l.name == name));
        match local {
            Some(local) if local.captured => Err(AssignError::Captured),
            Some(local) => Ok(&mut local.value),
            None => self.globals.get_mut(name).ok_or(AssignError::Unknown),
        }
    }

    /// Begins a call: a frame that sees `captured` and the global variables.
    pub fn push_frame(&mut self, captured: &[(Arc<str>, Value)]) {
        let copy = |(name, value): &(Arc<str>, Value)| Local {
            name: Arc::clone(name),
            value: value.clone(),
            captured: true,
        };
        let locals = captured.iter().map(copy).collect();
        self.frames.push(Frame { locals, scopes: Vec::new() });
    }

    /// Ends a call.
    pub fn pop_frame(&mut self) {
        self.frames.pop();
    }

    /// How many calls are going on, blocks at the top level included.
    pub fn depth(&self) -> usize {
        self.frames.len()
    }

    /// Opens a scope. At the top level it is a frame, so that its variables are local.
    pub fn push_scope(&mut self) {
        match self.frames.last_mut() {
            Some(frame) => frame.scopes.push(frame.locals.len()),
            None => self.frames.push(Frame { locals: Vec::new(), scopes: vec![0] }),
        }
    }

    /// Closes the innermost scope.
    pub fn pop_scope(&mut self) {
        let Some(frame) = self.frames.last_mut() else { return };
        let from = frame.scopes.pop().unwrap_or(0);
        frame.locals.truncate(from);
        if self.frames.len() == 1 && self.frames[0].is_top_level() {
            self.frames.pop();
        }
    }

    /// Forgets all calls, after an error ended them.
    pub fn unwind(&mut self) {
        self.frames.clear();
    }

    /// The local variables, as a closure copies them.
    pub fn capture(&self) -> Vec<(Arc<str>, Value)> {
        let Some(frame) = self.frames.last() else { return Vec::new() };
        frame.locals.iter().map(|l| (Arc::clone(&l.name), l.value.clone())).collect()
    }

    /// The names of all variables that are in scope.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        let locals = self.frames.last().into_iter().flat_map(|f| f.locals.iter().map(|l| &l.name));
        locals.chain(self.globals.keys())
    }
}

impl Frame {
    /// Whether it was opened by a block at the top level and that block is closed.
    fn is_top_level(&self) -> bool {
        self.scopes.is_empty() && self.locals.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(environment: &Environment, name: &str) -> Option<f64> {
        environment.get(name)?.as_number()
    }

    #[test]
    fn scopes_hide_and_give_back() {
        let mut e = Environment::default();
        e.define("x".into(), 1.0.into());
        e.push_scope();
        e.define("x".into(), 2.0.into());
        *e.get_mut("x").unwrap() = 3.0.into();
        assert_eq!(number(&e, "x"), Some(3.0));
        e.pop_scope();
        assert!(e.at_top());
        assert_eq!(number(&e, "x"), Some(1.0));
    }

    #[test]
    fn a_call_sees_global_variables_and_its_copies() {
        let mut e = Environment::default();
        e.define("g".into(), 1.0.into());
        e.push_scope();
        e.define("l".into(), 2.0.into());
        let captured = e.capture();
        e.push_frame(&captured);
        assert_eq!((number(&e, "g"), number(&e, "l")), (Some(1.0), Some(2.0)));
        assert_eq!(e.get_mut("l").err(), Some(AssignError::Captured));
        assert_eq!(e.get_mut("none").err(), Some(AssignError::Unknown));
        e.pop_frame();
        e.push_frame(&[]);
        assert_eq!(number(&e, "l"), None);
    }
}
