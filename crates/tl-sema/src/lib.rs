//! Names, indices, domains, sizes, projection scope, staging and lowering: from source text to graphs.
//!
//! ```text
//! Source ─check→ Checked { program, diagnostics }        functions read and checked, imports followed
//! Program ─trace_function→ Traced { graph, inputs, … }   one function, staged with concrete arguments
//! Definitions + Scope ─trace_expr→ Traced                what a script's expression or query needs
//! ```
//!
//! [`program`] is the program free of syntax, [`reader`] builds it. The static analyses work on one block of equations
//! (a function's body or a script's definitions): [`domains`](mod@domains) unifies what indices range over, and
//! [`projection`] decides where each index is summed. [`trace`] then evaluates a block on demand into one graph.

pub mod argument;
mod block;
pub mod builtins;
mod capture;
pub mod check;
mod constants;
mod domains;
mod facts;
mod kernels;
pub mod model;
mod outside;
pub mod program;
mod projection;
pub mod reader;
mod relations;
mod rounds;
mod sizes;
mod staging;
mod suggest;
pub mod trace;

pub use argument::{Argument, InputSlot, Limits, Loop, Member, OuterTensor, Scope, Traced};
pub use capture::{Captured, Surroundings};
pub use check::{Checked, Importer, check, left_indices};
pub use constants::Labels;
pub use model::{MetaValue, Model, NoToken};
pub use program::{Constant, Fact, Function, Program};
pub use trace::{Definitions, trace_expr, trace_function};
