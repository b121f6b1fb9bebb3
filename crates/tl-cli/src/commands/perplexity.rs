//! `tl perplexity`: how well a model predicts a text.

use std::path::PathBuf;

use serde_json::json;
use tl_formats::tokenizer::EncodeOptions;
use tl_llm::logprobs;

use super::print_json;
use crate::failure::{Failure, Outcome};
use crate::opening::{self, OpenArgs};
use crate::terminal::print;

/// The arguments of `tl perplexity`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A model: a name of the catalogue, a file, or hf:OWNER/REPO/FILE.gguf.
    model: String,
    /// A file of plain text.
    text: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    open: OpenArgs,
}

/// Runs the command. Nothing is prepended: the first token is given, every other is scored.
pub fn run(args: Args, threads: Option<usize>) -> Outcome {
    let bytes = std::fs::read(&args.text).map_err(|e| Failure::file(&args.text, &e))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        Failure::data(format!("{}: byte {} is not UTF-8", args.text.display(), e.utf8_error().valid_up_to()))
    })?;
    let opened = opening::open(&args.model, &args.open, threads)?;
    let tokenizer = opened.generator.model().tokenizer()?;
    let ids = tokenizer.encode(&text, EncodeOptions::default())?;
    if ids.len() < 2 {
        return Err(Failure::data(format!(
            "{} has {} tokens; at least 2 are needed",
            args.text.display(),
            ids.len()
        )));
    }
    let values = logprobs(&mut opened.generator.session(), &ids)?;
    let mean = -values.iter().sum::<f64>() / values.len() as f64;
    if args.json {
        return print_json(&json!({ "mean_nll": mean, "logprobs": values }));
    }
    print(format_args!("tokens {}  mean nll {mean:.6}  perplexity {:.4}\n", values.len(), mean.exp()))
}
