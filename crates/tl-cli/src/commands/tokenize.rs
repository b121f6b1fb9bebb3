//! `tl tokenize`: the token ids of standard input.

use std::io::{Read, Write};

use serde_json::json;
use tl_formats::tokenizer::EncodeOptions;

use super::print_json;
use crate::failure::{Failure, Outcome};
use crate::opening::{self, OpenArgs};
use crate::terminal::remark;

/// The arguments of `tl tokenize`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A model: a name of the catalogue, a file, or hf:OWNER/REPO/FILE.gguf.
    model: String,
    /// The text of special tokens is text like any other.
    #[arg(long)]
    no_special: bool,
    /// Add the tokens at the beginning and the end that the model's file asks for.
    #[arg(long)]
    add_bos: bool,
    /// Print the ids as a JSON array.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    let found = opening::find(&args.model)?;
    let model = opening::open_model(&found, &OpenArgs::default())?;
    let tokenizer = model.tokenizer()?;
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        Failure::data(format!(
            "standard input is not UTF-8: byte {} can't be read",
            error.utf8_error().valid_up_to()
        ))
    })?;
    let options = EncodeOptions { parse_special: !args.no_special, add_special: args.add_bos };
    let encoding = tokenizer.encode_counted(&text, options)?;
    if encoding.lost_bytes > 0 {
        let lost = encoding.lost_bytes;
        remark(format_args!("warning: no token of the vocabulary stands for {lost} bytes of the text"));
    }
    if args.json {
        return print_json(&json!(encoding.ids));
    }
    let mut out = std::io::stdout().lock();
    for id in encoding.ids {
        writeln!(out, "{id:>8}  {}", tokenizer.token_display(id))?;
    }
    Ok(())
}
