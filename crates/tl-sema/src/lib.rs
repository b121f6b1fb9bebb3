//! Names, indices, domains, sizes, projection scope, staging and lowering: from source text to graphs.
//!
//! ```text
//! Source ─check→ Checked { program, diagnostics }        functions read and checked, imports followed
//! Program ─trace_function→ Traced { graph, inputs, … }   one function, staged with concrete arguments
//! Definitions + Scope ─trace_expr→ Traced                what a script's expression or query needs
//! ```
//!
//! ```ignore
//! pub fn check(entry: &Source, importer: &mut dyn Importer, prelude: &Program) -> Checked;
//! pub fn trace_function(program: &Program, name: &str, arguments: &[Argument], limits: &Limits) -> Result<Traced, Vec<Diagnostic>>;
//! pub fn trace_expr(program: &Program, definitions: &Definitions, scope: &dyn Scope, expr: &ast::Expr, limits: &Limits) -> Result<Traced, Vec<Diagnostic>>;
//! ```
//!
//! [`program`] is the program free of syntax, [`reader`] builds it. The static analyses work on one block of equations
//! (a function's body or a script's definitions): [`domains`](mod@domains) unifies what indices range over, and
//! [`projection`] decides where each index is summed. [`trace`] then evaluates a block on demand into one graph.

pub mod argument;
pub mod model;
pub mod program;
pub mod reader;

pub use argument::{Argument, InputSlot, Limits, OuterTensor, Scope, Traced};
pub use model::{MetaValue, Model};
pub use program::{Function, Program};
