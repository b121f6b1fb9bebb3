//! The library: an engine, programs, models, generators with their sessions, and the interpreter of scripts.
//!
//! ```text
//! Engine ── runs graphs on a backend
//!   Program   checked source and its diagnostics
//!   Model     an opened GGUF: tensors, metadata, tokenizer, chat template, warnings
//!   Generator a function of a program, traced against a model, its storage derived, planned and prepared
//!     Session one sequence of it: feed tokens, read logits, rewind, fork
//!     step    new tokens of many sequences, computed together
//!   Probe     the rows of any tensor of a generator's program
//!   Interpreter runs scripts; every tensor operation in one is a small graph that the engine runs
//! ```
//!
//! Invariant: the library reads and writes files only through a [`Loader`] (and a model through `tl_formats`), and speaks
//! only through a [`Host`](interpreter::Host); it knows no network, clock or environment.

pub mod engine;
pub mod error;
pub mod explain;
mod fixpoint;
pub mod generator;
pub mod interpreter;
pub mod library;
pub mod loader;
pub mod model;
mod names;
pub mod probe;
pub mod program;
pub mod saved;
pub mod session;
pub mod step;

pub use engine::Engine;
pub use error::{Diagnostics, Error};
pub use explain::Explanation;
pub use generator::{Generator, GeneratorOptions};
pub use interpreter::Interpreter;
pub use loader::{DiskLoader, Loader, MemoryLoader};
pub use model::{Model, ModelWarning};
pub use probe::Probe;
pub use program::Program;
pub use saved::SavedError;
pub use session::Session;
pub use step::{Feed, Wanted};
