//! `tl generate`: continues a text or a list of token ids, as they are, without a chat template.

use std::io::Write;

use serde_json::json;
use tl_formats::tokenizer::{EncodeOptions, Tokenizer};
use tl_llm::sampling::builtins::top_k_values;
use tl_llm::{Finish, GenerateOptions, Generation, generate};

use super::print_json;
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::opening::{self, OpenArgs, Opened};
use crate::sampling::SamplingArgs;

/// The arguments of `tl generate`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A model: a name of the catalogue, a file, or hf:OWNER/REPO/FILE.gguf.
    model: String,
    /// The text to continue.
    #[arg(long, value_name = "TEXT", conflicts_with = "ids", required_unless_present = "ids")]
    prompt: Option<String>,
    /// The token ids to continue, separated by commas.
    #[arg(long, value_name = "1,2,3", value_delimiter = ',')]
    ids: Option<Vec<u32>>,
    /// How many tokens to generate at most.
    #[arg(short = 'n', long = "max-tokens", value_name = "N", default_value_t = 128)]
    max_tokens: usize,
    /// Go on after tokens that end a text.
    #[arg(long, visible_alias = "ignore-eos")]
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
    let opened = opening::open(&args.model, &args.open, threads)?;
    let tokenizer = match opened.generator.model().tokenizer() {
        Ok(tokenizer) => Some(std::sync::Arc::clone(tokenizer)),
        // A file without a vocabulary can still continue ids.
        Err(_) if args.ids.is_some() => None,
        Err(error) => return Err(error.into()),
    };
    let prompt = prompt(&args, tokenizer.as_deref())?;
    let mut session = opened.generator.session();
    let options = GenerateOptions {
        max_tokens: Some(args.max_tokens),
        sampling: args.sampling.params(opened.entry),
        stop: args.sampling.stop.clone(),
        ignore_end: args.ignore_end,
        show_special: false,
    };
    let cancel = interrupt::flag();
    let mut top = Vec::new();
    let generation = generate(
        &mut session,
        tokenizer.as_deref(),
        &prompt,
        &options,
        &cancel,
        |logits| {
            if args.top_logits > 0 {
                top = top_k_values(logits, args.top_logits).unwrap_or_default();
            }
        },
        |text| {
            if !args.json {
                let mut out = std::io::stdout();
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            }
        },
    )?;
    if args.json {
        return print_json(&report(&generation, &prompt, &top, &opened));
    }
    let mut out = std::io::stdout().lock();
    match &tokenizer {
        Some(_) => writeln!(out)?,
        None => writeln!(out, "{}", generation.ids.iter().map(u32::to_string).collect::<Vec<_>>().join(","))?,
    }
    for (id, value) in top {
        writeln!(
            out,
            "{id:>8} {value:>12.5}  {}",
            tokenizer.as_ref().map_or_else(String::new, |t| t.token_display(id))
        )?;
    }
    if generation.finish == Finish::Cancelled { Err(Failure::interrupted()) } else { Ok(()) }
}

fn prompt(args: &Args, tokenizer: Option<&Tokenizer>) -> Outcome<Vec<u32>> {
    match (&args.ids, &args.prompt, tokenizer) {
        (Some(ids), _, _) => Ok(ids.clone()),
        (None, Some(text), Some(tokenizer)) => {
            let options = EncodeOptions { parse_special: args.special, add_special: !args.no_bos };
            Ok(tokenizer.encode(text, options)?)
        }
        _ => Err(Failure::usage("give --prompt TEXT or --ids 1,2,3")),
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
