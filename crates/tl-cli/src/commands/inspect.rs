//! `tl inspect`: what a model file holds, and whether its values are sound.

use std::io::Write;

use serde_json::{Value as Json, json};
use tl_formats::gguf::{File, Value};

use super::print_json;
use crate::failure::{Failure, Outcome};
use crate::opening::{self, OpenArgs};

/// The arguments of `tl inspect`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A model: a name of the catalogue, a file, or hf:OWNER/REPO/FILE.gguf.
    model: String,
    /// Read every value of every tensor and report those that are infinite or NaN.
    #[arg(long, visible_alias = "check-tensors")]
    check: bool,
    /// Read the file into memory instead of mapping it.
    #[arg(long)]
    no_mmap: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// How many elements of an array are shown.
const SHOWN: usize = 6;

/// Runs the command. With `--check`, fails if a tensor is not sound.
pub fn run(args: Args) -> Outcome {
    let open = OpenArgs { no_mmap: args.no_mmap, ..OpenArgs::default() };
    let model = opening::open_model(&opening::find(&args.model)?, &open)?;
    let bad = args.check.then(|| check(model.file())).transpose()?;
    if args.json {
        let warnings: Vec<String> = model.warnings().iter().map(ToString::to_string).collect();
        print_json(&describe(model.file(), &warnings, bad.as_deref()))?;
    } else {
        print_text(model.file(), bad.as_deref())?;
    }
    if bad.unwrap_or_default().is_empty() { Ok(()) } else { Err(Failure::found()) }
}

/// A tensor that holds values which are infinite or NaN.
struct Bad {
    tensor: String,
    dtype: &'static str,
    count: usize,
    first: Option<Vec<usize>>,
}

fn check(file: &File) -> Outcome<Vec<Bad>> {
    let mut bad = Vec::new();
    for found in file.check() {
        let found = found?;
        if !found.is_sound() {
            let first = found.first_indices();
            bad.push(Bad {
                tensor: found.tensor.clone(),
                dtype: found.dtype.name(),
                count: found.bad,
                first,
            });
        }
    }
    Ok(bad)
}

fn print_text(file: &File, bad: Option<&[Bad]>) -> Outcome {
    let mut out = std::io::stdout().lock();
    writeln!(out, "GGUF version {}, {} tensors", file.version(), file.tensors().len())?;
    writeln!(out, "\nmetadata")?;
    for entry in file.metadata().entries() {
        writeln!(out, "  {:<44} {}", tl_formats::escape(entry.key()), show(entry.value()))?;
    }
    writeln!(out, "\ntensors")?;
    for t in file.tensors() {
        let ne: Vec<String> = t.ne().iter().map(u64::to_string).collect();
        let (name, dtype) = (tl_formats::escape(t.name()), t.dtype().name());
        writeln!(out, "  {name:<44} {dtype:<8} [{}]  {} bytes", ne.join(", "), t.byte_len())?;
    }
    let Some(bad) = bad else { return Ok(()) };
    writeln!(out)?;
    if bad.is_empty() {
        writeln!(out, "every value of every tensor is finite")?;
    }
    for b in bad {
        let first = b
            .first
            .as_ref()
            .map_or_else(String::new, |f| format!(", the first at {f:?} (slowest axis first)"));
        writeln!(
            out,
            "{} ({}): {} values are infinite or NaN{first}",
            tl_formats::escape(&b.tensor),
            b.dtype,
            b.count
        )?;
    }
    Ok(())
}

fn describe(file: &File, warnings: &[String], bad: Option<&[Bad]>) -> Json {
    let metadata: serde_json::Map<String, Json> =
        file.metadata().entries().iter().map(|e| (e.key().to_owned(), to_json(e.value()))).collect();
    let tensors: Vec<Json> = file
        .tensors()
        .iter()
        .map(|t| json!({ "name": t.name(), "dtype": t.dtype().name(), "ne": t.ne(), "bytes": t.byte_len(), "offset": t.offset() }))
        .collect();
    let mut report =
        json!({ "version": file.version(), "metadata": metadata, "tensors": tensors, "warnings": warnings });
    if let Some(bad) = bad {
        let found: Vec<Json> = bad
            .iter()
            .map(|b| json!({ "tensor": b.tensor, "dtype": b.dtype, "bad": b.count, "first": b.first }))
            .collect();
        report["bad_tensors"] = json!(found);
    }
    report
}

/// A value on one line; long arrays by their first elements and their length.
fn show(value: &Value) -> String {
    match value {
        Value::Array(array) => {
            let shown: Vec<String> = array.iter().take(SHOWN).map(|v| show(&v)).collect();
            let more = if array.len() > SHOWN { ", …" } else { "" };
            format!("[{}{more}] ({} of {})", shown.join(", "), array.len(), array.element().name())
        }
        Value::String(bytes) => {
            let text = tl_formats::escape(&String::from_utf8_lossy(bytes));
            let short: String = text.chars().take(72).collect();
            let more = if short.len() < text.len() { "…" } else { "" };
            format!("\"{short}{more}\"")
        }
        other => other.describe(),
    }
}

/// A value as JSON; arrays by their first elements and their length.
fn to_json(value: &Value) -> Json {
    match value {
        Value::Array(array) => {
            json!({ "len": array.len(), "first": array.iter().take(SHOWN).map(|v| to_json(&v)).collect::<Vec<_>>() })
        }
        Value::String(bytes) => json!(String::from_utf8_lossy(bytes)),
        Value::Bool(b) => json!(b),
        number => match number.integer() {
            Some(i) => i64::try_from(i).map_or_else(|_| json!(i.to_string()), |i| json!(i)),
            None => json!(number.float()),
        },
    }
}
