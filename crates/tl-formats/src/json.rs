//! JSON and JSONL: a value, or one a line.
//!
//! Invariant: a value is nested less than 128 deep, so that whoever walks it needs no limit of their own.

use crate::{Error, Result, escape};

/// A JSON value.
pub use serde_json::{Map, Number, Value};

/// The most lines of a JSONL file that are values.
pub const MOST_LINES: usize = 1 << 24;

/// Reads a file that is one value.
///
/// # Errors
/// What is wrong, with row (a line) and column from 1.
pub fn read(bytes: &[u8]) -> Result<Value> {
    let text = text(bytes)?;
    serde_json::from_str(text).map_err(|e| malformed(e.line(), &e))
}

/// Reads a file that has a value on each line; empty lines are none.
///
/// # Errors
/// What is wrong, with row (a line) and column from 1.
pub fn read_lines(bytes: &[u8]) -> Result<Vec<Value>> {
    let mut values = Vec::new();
    for (number, line) in text(bytes)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        if values.len() == MOST_LINES {
            return Err(Error::malformed("", format!("the file has more than {MOST_LINES} values")));
        }
        values.push(serde_json::from_str(line).map_err(|e| malformed(number + 1, &e))?);
    }
    Ok(values)
}

/// Writes a value.
pub fn write(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

/// Writes a value a line.
pub fn write_lines(values: &[Value]) -> Vec<u8> {
    values.iter().map(|value| format!("{value}\n")).collect::<String>().into_bytes()
}

fn text(bytes: &[u8]) -> Result<&str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes)
        .map_err(|e| Error::malformed("", "the file is not UTF-8").at(e.valid_up_to() as u64))
}

#[cold]
fn malformed(line: usize, error: &serde_json::Error) -> Error {
    // The message ends with a place, which counts from the line's beginning.
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    Error::malformed(format!("row {line}, column {}", error.column()), escape(message))
}
