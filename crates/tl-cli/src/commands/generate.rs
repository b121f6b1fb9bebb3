//! `tl generate`: continues a text or a list of token ids, as they are, without a chat template: once, several times (`--samples`), or by the
//! most probable continuations (`--beams`).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tensorlogic::{SavedError, Session};
use tl_formats::tokenizer::{EncodeOptions, Tokenizer};
use tl_llm::sampling::builtins::top_k_values;
use tl_llm::speculation::Guessed;
use tl_llm::{
    BeamOptions, Beams, Finish, GenerateError, GenerateOptions, Generation, Samples, Timing, beam_search,
    feed_prompt, generate, prompt_cache, prompt_ids, sample_many,
};

use super::{print_json, stats, tell_forgotten};
use crate::constraint::ConstraintArgs;
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::opening::{self, OpenArgs, Opened};
use crate::sampling::SamplingArgs;
use crate::speculation::SpeculationArgs;
use crate::terminal::{print, remark, stream};

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
    /// Keep what is remembered of the prompt in this file: it is read if it is there and of this model and program, and written after the
    /// prompt was computed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["samples", "beams"])]
    prompt_cache: Option<PathBuf>,
    /// Report the K largest logits of the first new position.
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_logits: usize,
    /// Continue the prompt N times, with the seeds that follow the first.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), conflicts_with_all = ["lookup", "draft"])]
    samples: Option<u16>,
    /// Search the most probable continuations, N at once; nothing is sampled.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=1024),
        conflicts_with_all = [
            "samples", "lookup", "draft", "temp", "top_k", "top_p", "min_p", "typical", "repeat_penalty",
            "repeat_last_n", "presence_penalty", "frequency_penalty", "seed",
        ]
    )]
    beams: Option<u16>,
    /// Beams are compared by log p / tokens^X: 0 compares probabilities, 1 those of the mean token.
    #[arg(long, value_name = "X", default_value_t = 1.0, requires = "beams", allow_negative_numbers = true)]
    length_penalty: f64,
    /// Print the tokens per second of prompt and answer, and what came of guesses.
    #[arg(long)]
    stats: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    constraint: ConstraintArgs,
    #[command(flatten)]
    speculation: SpeculationArgs,
}

/// One of several continuations, as it is printed.
struct Text<'a> {
    /// What it is: its number, and its score or its seed.
    head: String,
    text: &'a str,
    ids: &'a [u32],
    finish: &'a Finish,
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
    let tokenizer = tokenizer.as_ref();
    let prompt = prompt(&args, tokenizer)?;
    let options = GenerateOptions {
        max_tokens: Some(args.max_tokens),
        sampling: args.sampling.params(opened.entry),
        stop: args.sampling.stop.clone(),
        ignore_end: args.ignore_end,
        show_special: false,
        speculation: args.speculation.speculation(&opened.generator, &args.open)?,
        context_end: args.sampling.context_end,
        constraint: args.constraint.constraint(&opened.generator)?,
    };
    let run = Run { args: &args, opened: &opened, tokenizer, prompt, options };
    match (args.beams, args.samples) {
        (Some(width), _) => run.beams(width.into()),
        (None, Some(count)) => run.samples(count.into()),
        (None, None) => run.once(),
    }
}

/// What all ways of continuing a prompt need.
struct Run<'a> {
    args: &'a Args,
    opened: &'a Opened,
    tokenizer: Option<&'a Arc<Tokenizer>>,
    prompt: Vec<u32>,
    options: GenerateOptions,
}

impl Run<'_> {
    /// One continuation, shown as it comes.
    fn once(&self) -> Outcome {
        let Run { args, tokenizer, prompt, options, .. } = self;
        let cancel = interrupt::flag();
        let mut session = self.cached()?;
        let (mut top, mut written) = (Ok(Vec::new()), Ok(()));
        let see = |logits: &[f32]| top = top_k_values(logits, args.top_logits);
        let show = |text: &str| {
            if !args.json && written.is_ok() {
                written = stream(text);
                cancel.fetch_or(written.is_err(), Ordering::Relaxed);
            }
        };
        let cached = self.cache(&mut session, &cancel)?;
        let mut generation = generate(&mut session, *tokenizer, prompt, options, &cancel, see, show)?;
        written?;
        generation.prefill.tokens += cached.tokens;
        generation.prefill.time += cached.time;
        let top = top.map_err(GenerateError::from)?;
        if args.json {
            print_json(&self.report(&generation, &top))?;
        } else {
            let text = if tokenizer.is_some() { String::new() } else { joined(&generation.ids) };
            print(format_args!("{text}\n"))?;
            self.print_top(&top)?;
        }
        tell_forgotten(generation.forgotten);
        if generation.finish == Finish::Stuck {
            remark(format_args!("{STUCK}"));
        }
        let Generation { prefill, decode, guessed, .. } = generation;
        self.tell(prefill, generation.ids.len(), decode, guessed, generation.speed_up());
        if generation.finish == Finish::Cancelled { Err(Failure::interrupted()) } else { Ok(()) }
    }

    /// The sequence to begin with: that of the prompt cache, if there is one. One that can't be used is said and replaced.
    fn cached(&self) -> Outcome<Session> {
        let Some(path) = &self.args.prompt_cache else { return Ok(self.opened.generator.session()) };
        match prompt_cache::load(&self.opened.generator, path) {
            Ok(Some(session)) => Ok(session),
            Ok(None) => Ok(self.opened.generator.session()),
            Err(SavedError::Io(error)) => Err(Failure::file(path, &error)),
            Err(error) => {
                remark(format_args!("{}: {error}; it is written anew", path.display()));
                Ok(self.opened.generator.session())
            }
        }
    }

    /// Computes the prompt and writes the prompt cache, if there is to be one and it has changed.
    fn cache(&self, session: &mut Session, cancel: &AtomicBool) -> Outcome<Timing> {
        let Some(path) = &self.args.prompt_cache else { return Ok(Timing::default()) };
        let limit = self.opened.generator.context_limit().unwrap_or(usize::MAX);
        if session.tokens() == self.prompt || self.prompt.is_empty() || self.prompt.len() > limit {
            return Ok(Timing::default());
        }
        let fed = feed_prompt(session, &self.prompt, cancel)?;
        if fed.is_some() {
            prompt_cache::save(session, path).map_err(|e| Failure::file(path, &e))?;
        }
        Ok(fed.unwrap_or_default())
    }

    /// Several samples of the prompt.
    fn samples(&self, count: usize) -> Outcome {
        let (cancel, mut session) = (interrupt::flag(), self.opened.generator.session());
        let Samples { samples, prefill, decode } =
            sample_many(&mut session, self.tokenizer, &self.prompt, &self.options, count, &cancel)?;
        let json = samples.iter().map(|sample| {
            json!({
                "ids": sample.ids,
                "text": sample.text,
                "finish": finish_name(&sample.finish),
                "seed": sample.seed,
            })
        });
        let texts = samples.iter().enumerate().map(|(i, sample)| Text {
            head: format!("sample {}, seed {}", i + 1, sample.seed),
            text: &sample.text,
            ids: &sample.ids,
            finish: &sample.finish,
        });
        self.print_many("samples", json.collect(), texts.collect(), session.logits(), prefill, decode)
    }

    /// The most probable continuations.
    fn beams(&self, width: usize) -> Outcome {
        let (cancel, mut session) = (interrupt::flag(), self.opened.generator.session());
        let beam = BeamOptions { width, length_penalty: self.args.length_penalty };
        let Beams { beams, prefill, decode } =
            beam_search(&mut session, self.tokenizer, &self.prompt, &self.options, &beam, &cancel)?;
        let json = beams.iter().map(|beam| {
            json!({
                "ids": beam.ids,
                "text": beam.text,
                "finish": finish_name(&beam.finish),
                "score": beam.score,
                "log_probability": beam.log_probability,
            })
        });
        let texts = beams.iter().enumerate().map(|(i, beam)| Text {
            head: format!("beam {}, score {:.4}", i + 1, beam.score),
            text: &beam.text,
            ids: &beam.ids,
            finish: &beam.finish,
        });
        self.print_many("beams", json.collect(), texts.collect(), session.logits(), prefill, decode)
    }

    fn print_many(
        &self,
        name: &str,
        json: serde_json::Value,
        texts: Vec<Text<'_>>,
        logits: &[f32],
        prefill: Timing,
        decode: Timing,
    ) -> Outcome {
        let top = top_k_values(logits, self.args.top_logits).map_err(GenerateError::from)?;
        if self.args.json {
            let mut report = json!({ name: json });
            self.add_prompt(&mut report, &top, prefill, decode);
            print_json(&report)?;
        } else {
            for Text { head, text, ids, .. } in &texts {
                match self.tokenizer {
                    Some(_) => print(format_args!("{head}\n{text}\n\n"))?,
                    None => print(format_args!("{head}\n{}\n\n", joined(ids)))?,
                }
            }
            self.print_top(&top)?;
        }
        let written = texts.iter().map(|text| text.ids.len()).sum();
        self.tell(prefill, written, decode, Guessed::default(), None);
        let cancelled = texts.iter().any(|text| *text.finish == Finish::Cancelled);
        if cancelled { Err(Failure::interrupted()) } else { Ok(()) }
    }

    /// The largest logits of the first new position.
    fn print_top(&self, top: &[(u32, f32)]) -> Outcome {
        for &(id, value) in top {
            let token = self.tokenizer.map_or_else(String::new, |t| t.token_display(id));
            print(format_args!("{id:>8} {value:>12.5}  {token}\n"))?;
        }
        Ok(())
    }

    fn tell(&self, prefill: Timing, written: usize, decode: Timing, guessed: Guessed, speed_up: Option<f64>) {
        if self.args.stats {
            remark(format_args!("{}", stats(prefill, written, decode, guessed, speed_up)));
        }
    }

    fn report(&self, generation: &Generation, top: &[(u32, f32)]) -> serde_json::Value {
        let mut report = json!({ "ids": generation.ids, "text": generation.text });
        self.add_prompt(&mut report, top, generation.prefill, generation.decode);
        report["finish"] = json!(finish_name(&generation.finish));
        report["seed"] = json!(generation.seed);
        if generation.forgotten > 0 {
            report["forgotten"] = json!(generation.forgotten);
        }
        if let Some(speed_up) = generation.speed_up() {
            let Guessed { guessed, accepted } = generation.guessed;
            report["speculation"] = json!({ "guessed": guessed, "accepted": accepted, "speed_up": speed_up });
        }
        report
    }

    /// Adds what is said of a prompt in every way of continuing it.
    fn add_prompt(
        &self,
        report: &mut serde_json::Value,
        top: &[(u32, f32)],
        prefill: Timing,
        decode: Timing,
    ) {
        report["top_logits"] = json!(top);
        report["prefill_tok_s"] = json!(prefill.rate());
        report["decode_tok_s"] = json!(decode.rate());
        report["load_s"] = json!(self.opened.load_seconds);
        report["prompt_ids"] = json!(self.prompt);
    }
}

/// Ids where there is no text of them.
fn joined(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// The ids that are given, or those of the text; without either there are none.
fn prompt(args: &Args, tokenizer: Option<&Arc<Tokenizer>>) -> Outcome<Vec<u32>> {
    match (&args.prompt, tokenizer) {
        (Some(text), Some(tokenizer)) => {
            let options = EncodeOptions { parse_special: args.special, add_special: !args.no_bos };
            Ok(prompt_ids(tokenizer, text, options)?)
        }
        _ => Ok(args.ids.clone().unwrap_or_default()),
    }
}

/// What is said of a text that ended before it had its form.
pub const STUCK: &str = "(no token of the vocabulary goes on as the form asks)";

/// The reason for an end, as programs read it.
pub fn finish_name(finish: &Finish) -> &'static str {
    match finish {
        Finish::End(_) => "end",
        Finish::Length => "length",
        Finish::Stop(_) => "stop",
        Finish::Context => "context",
        Finish::Complete => "complete",
        Finish::Stuck => "stuck",
        Finish::Cancelled => "cancelled",
    }
}
