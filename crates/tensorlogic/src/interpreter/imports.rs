//! Imports: each file once, in no circle, within bounds.

use std::collections::HashSet;

use tl_syntax::ast;
use tl_syntax::{Diagnostic, Span, codes};

use super::Interpreter;
use super::fault::{Eval, Interrupt, fault};
use crate::library;
use crate::loader::{LoadError, relative, resolve};

/// What was imported, and what is being imported.
#[derive(Debug, Default)]
pub(super) struct Imports {
    done: HashSet<String>,
    /// The program itself: what paths in it are relative to.
    main: String,
    /// The files whose import is going on, outermost first.
    going_on: Vec<String>,
}

impl Imports {
    /// The file that is running: what paths are relative to.
    pub fn current(&self) -> &str {
        self.going_on.last().unwrap_or(&self.main)
    }

    /// Says that a program of this name begins to run.
    pub fn begin(&mut self, main: &str) {
        self.going_on.clear();
        main.clone_into(&mut self.main);
    }
}

impl Interpreter {
    pub(super) fn run_import(&mut self, statement: &ast::ImportStmt) -> Eval<()> {
        let Some(literal) = statement.path() else { return Ok(()) };
        let (written, span) = (literal.value(), literal.span());
        let path = self.import_path(&written).map_err(|e| not_loaded(&e, span))?;
        if path == self.imports.main {
            return Err(circle(&self.imports.going_on, &path, span));
        }
        if let Some(at) = self.imports.going_on.iter().position(|p| *p == path) {
            return Err(circle(&self.imports.going_on[at..], &path, span));
        }
        if !self.imports.done.insert(path.clone()) {
            return Ok(());
        }
        if self.imports.done.len() > self.limits.imports {
            let message = format!("more than {} files are imported", self.limits.imports);
            return Err(fault(codes::IMPORT_LIMIT, span, message));
        }
        if self.imports.going_on.len() >= self.limits.import_depth {
            let message = format!("imports are nested deeper than {}", self.limits.import_depth);
            return Err(fault(codes::IMPORT_LIMIT, span, message));
        }
        let bytes = match library::find(&path) {
            Some(file) => file.text.as_bytes().to_vec(),
            None => self.loader.read(&path).map_err(|e| not_loaded(&e, span))?,
        };
        let source = self
            .sources
            .add_bytes(&*path, &bytes)
            .map_err(|e| Interrupt::from(e.to_diagnostic().primary(span, "it is imported here")))?;
        self.imports.going_on.push(path);
        let result = self.deeper(span, |i| i.run_source(&source, false));
        self.imports.going_on.pop();
        result.map(|_| ())
    }

    fn import_path(&self, written: &str) -> Result<String, LoadError> {
        if library::find(written).is_some() {
            return Ok(written.to_owned());
        }
        if self.loader.is_open() {
            return Ok(relative(written, self.imports.current()));
        }
        resolve(written, self.imports.current())
    }
}

#[cold]
fn not_loaded(error: &LoadError, span: Span) -> Interrupt {
    Diagnostic::error(codes::IMPORT_FAILED, span, error.to_string()).into()
}

#[cold]
fn circle(files: &[String], path: &str, span: Span) -> Interrupt {
    let names: Vec<&str> = files.iter().map(String::as_str).chain([path]).collect();
    fault(
        codes::IMPORT_CYCLE,
        span,
        format!("the files import one another in a circle: {}", names.join(" → ")),
    )
}
