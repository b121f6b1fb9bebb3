//! Equations within loops and calls: what the variables around them are is written into them when they are defined.
//!
//! `for l in 0..3 { X[l, i] = V[i] * l }` defines three slices. By the time that somebody reads `X`, `l` is gone; so the equation that
//! is kept has its value in its place. Numbers, truth values and texts are written down as such; anything else is renamed to a
//! variable that stays.

use std::sync::Arc;

use tl_syntax::{Diagnostic, Span, ast};

use crate::program::{Equation, Expr, ExprId, ExprKind, Index, IndexKind, Program};
use crate::reader::Reader;
use crate::trace::Definitions;

/// What stands in the place of a variable.
#[derive(Clone, Debug, PartialEq)]
pub enum Captured {
    /// A number.
    Number(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Str(Arc<str>),
    /// A variable of another name that has its value.
    Renamed(Arc<str>),
}

/// What stands around an equation where it is written.
pub trait Surroundings {
    /// What stands in the place of a variable; `None` if it stays.
    fn variable(&self, name: &str) -> Option<Captured>;

    /// The variable that holds what the call at a place gives; `None` if it is a call of equations.
    fn call(&self, span: Span) -> Option<Arc<str>>;
}

impl Definitions {
    /// Adds a rule in which the variables that `around` knows are replaced.
    pub fn add_rule_within(&mut self, rule: &ast::Rule, around: &dyn Surroundings) -> Vec<Diagnostic> {
        let mut reader = Reader::new(&mut self.program);
        let read = reader.rule(rule);
        let diagnostics = std::mem::take(&mut reader.diagnostics);
        self.take_in(read, around);
        diagnostics
    }

    fn take_in(&mut self, read: Option<Equation>, around: &dyn Surroundings) {
        if let Some(mut read) = read {
            let mut capture = Capture { program: &mut self.program, around };
            capture.equation(&mut read);
            self.block.equations.push(read);
        }
    }

    /// Adds an equation in which the variables and calls that `around` knows are replaced.
    pub fn add_equation_within(
        &mut self,
        equation: &ast::Equation,
        around: &dyn Surroundings,
    ) -> Vec<Diagnostic> {
        let mut reader = Reader::new(&mut self.program);
        let read = reader.equation(equation);
        let diagnostics = std::mem::take(&mut reader.diagnostics);
        self.take_in(read, around);
        diagnostics
    }
}

struct Capture<'a> {
    program: &'a mut Program,
    around: &'a dyn Surroundings,
}

impl Capture<'_> {
    fn equation(&mut self, equation: &mut Equation) {
        equation.indices.iter_mut().flatten().for_each(|index| self.index(index));
        equation.walk_mut(&mut |expr| match &mut expr.kind {
            ExprKind::Name(name) => {
                if let Some(captured) = self.around.variable(name) {
                    expr.kind = kind_of(captured);
                }
            }
            ExprKind::Call(..) => {
                if let Some(value) = self.around.call(expr.span) {
                    expr.kind = ExprKind::Name(value);
                }
            }
            ExprKind::Index(_, indices) => indices.iter_mut().for_each(|index| self.index(index)),
            _ => {}
        });
    }

    fn index(&mut self, index: &mut Index) {
        if let IndexKind::Name(name) = &index.kind
            && let Some(captured) = self.around.variable(name)
        {
            let id = ExprId(self.program.next_expr);
            self.program.next_expr += 1;
            let value = Expr { id, kind: kind_of(captured), span: index.span };
            index.kind = IndexKind::Expr(Box::new(value));
        }
    }
}

fn kind_of(captured: Captured) -> ExprKind {
    match captured {
        Captured::Number(n) => ExprKind::Number(n),
        Captured::Bool(b) => ExprKind::Bool(b),
        Captured::Str(text) => ExprKind::Str(text),
        Captured::Renamed(name) => ExprKind::Name(name),
    }
}
