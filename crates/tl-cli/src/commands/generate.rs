//! `tl generate`: continues a text or a list of token ids, as they are, without a chat template.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use tl_formats::tokenizer::{EncodeOptions, Tokenizer};
use tl_llm::sampling::builtins::top_k_values;
use tl_llm::{Finish, GenerateError, GenerateOptions, Generation, generate, prompt_ids};

use super::print_json;
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::opening::{self, OpenArgs, Opened};
use crate::sampling::SamplingArgs;
use crate::terminal::{print, stream};

/// The arguments of `tl generate`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A model: a name of the catalogue, a file, or hf:OWNER/REPO/FILE.gguf.
    model: String,
    /// The text to continue.
    #[arg(long, value_name = "TEXT", conflicts_with = "ids")]
    prompt: Option<String>,
    /// The token ids to continue, separated by commas.
    #[arg(long, value_name = "1,2,3", value_delimiter = ',')]
    ids: Option<Vec<u32>>,
    /// How many tokens to generate at most.
    #[arg(short = 'n', long = "max-tokens", value_name = "N", default_value_t = 128)]
    max_tokens: usize,
    /// Go on after tokens that end a text.
    #[arg(long = "ignore-eos", visible_alias = "ignore-end")]
    ignore_end: bool,
    /// The text of special tokens in the prompt stands for them.
    #[arg(long)]
    special: bool,
    /// Add no token at the beginning, whatever the model's file asks for.
    #[arg(long)]
    no_bos: bool,
    /// Report the K largest logits of the first new position.
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_logits: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
}

/// Runs the command.
pub fn run(args: Args, threads: Option<usize>) -> Outcome {
    if args.prompt.is_none() && args.ids.is_none() {
        return Err(Failure::usage("there is nothing to continue; give --prompt TEXT or --ids 1,2,3"));
    }
    args.sampling.check()?;
    let opened = opening::open(&args.model, &args.open, threads)?;
    let tokenizer = match opened.generator.model().tokenizer() {
        Ok(tokenizer) => Some(Arc::clone(tokenizer)),
        // A file without a vocabulary can still continue ids.
        Err(_) if args.ids.is_some() => None,
        Err(error) => return Err(error.into()),
    };
    let tokenizer = tokenizer.as_deref();
    let prompt = prompt(&args, tokenizer)?;
    let options = GenerateOptions {
        max_tokens: Some(args.max_tokens),
        sampling: args.sampling.params(opened.entry),
        stop: args.sampling.stop.clone(),
        ignore_end: args.ignore_end,
        show_special: false,
    };
    let cancel = interrupt::flag();
    let (mut top, mut written) = (Ok(Vec::new()), Ok(()));
    let see = |logits: &[f32]| top = top_k_values(logits, args.top_logits);
    let show = |text: &str| {
        if !args.json && written.is_ok() {
            written = stream(text);
            cancel.fetch_or(written.is_err(), Ordering::Relaxed);
        }
    };
    let generation =
        generate(&mut opened.generator.session(), tokenizer, &prompt, &options, &cancel, see, show)?;
    written?;
    let top = top.map_err(GenerateError::from)?;
    if args.json {
        print_json(&report(&generation, &prompt, &top, &opened))?;
    } else {
        print_end(&generation, &top, tokenizer)?;
    }
    if generation.finish == Finish::Cancelled { Err(Failure::interrupted()) } else { Ok(()) }
}

/// What follows the text: the end of its line, and the largest logits. Without a tokenizer there was no text, and the ids stand for it.
fn print_end(generation: &Generation, top: &[(u32, f32)], tokenizer: Option<&Tokenizer>) -> Outcome {
    let ids = || generation.ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    print(format_args!("{}\n", if tokenizer.is_some() { String::new() } else { ids() }))?;
    for &(id, value) in top {
        let token = tokenizer.map_or_else(String::new, |t| t.token_display(id));
        print(format_args!("{id:>8} {value:>12.5}  {token}\n"))?;
    }
    Ok(())
}

/// The ids that are given, or those of the text; without either there are none.
fn prompt(args: &Args, tokenizer: Option<&Tokenizer>) -> Outcome<Vec<u32>> {
    match (&args.prompt, tokenizer) {
        (Some(text), Some(tokenizer)) => {
            let options = EncodeOptions { parse_special: args.special, add_special: !args.no_bos };
            Ok(prompt_ids(tokenizer, text, options)?)
        }
        _ => Ok(args.ids.clone().unwrap_or_default()),
    }
}

fn report(generation: &Generation, prompt: &[u32], top: &[(u32, f32)], opened: &Opened) -> serde_json::Value {
    json!({
        "ids": generation.ids,
        "text": generation.text,
        "top_logits": top,
        "prefill_tok_s": generation.prefill.rate(),
        "decode_tok_s": generation.decode.rate(),
        "load_s": opened.load_seconds,
        "prompt_ids": prompt,
        "finish": finish_name(&generation.finish),
        "seed": generation.seed,
    })
}

/// The reason for an end, as programs read it.
pub fn finish_name(finish: &Finish) -> &'static str {
    match finish {
        Finish::End(_) => "end",
        Finish::Length => "length",
        Finish::Stop(_) => "stop",
        Finish::Context => "context",
        Finish::Cancelled => "cancelled",
    }
}
