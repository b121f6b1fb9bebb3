//! The commands, a file each.

pub mod chat;
pub mod check;
pub mod explain;
pub mod generate;
pub mod inspect;
pub mod perplexity;
pub mod pull;
pub mod run;
pub mod tokenize;

use serde_json::Value;

use crate::failure::Outcome;
use crate::terminal::print;

/// Prints one JSON value on a line.
fn print_json(value: &Value) -> Outcome {
    print(format_args!("{value}\n"))
}
