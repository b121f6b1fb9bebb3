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

use std::io::{self, Write};

use serde_json::Value;

use crate::failure::Outcome;

/// Prints one JSON object on a line.
fn print_json(value: &Value) -> Outcome {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}
