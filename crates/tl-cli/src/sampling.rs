//! The options that choose how the next token is sampled: one table for the commands that sample, and for `/set`.

use clap::Args;
use tl_llm::ContextEnd;
use tl_llm::catalogue::Entry;
use tl_llm::sampling::SamplingParams;

use crate::failure::{Failure, Outcome};

/// Sampling: what is not given is what the catalogue recommends for the model, else the usual default.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArgs {
    /// Divides the logits; 0 takes the most probable token.
    #[arg(long, visible_alias = "temperature", value_name = "T", allow_negative_numbers = true)]
    temp: Option<f32>,
    /// Keeps the K most probable tokens; 0 keeps all.
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Keeps the most probable tokens whose probabilities sum to P.
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Keeps tokens at least P times as probable as the most probable.
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Locally typical sampling; 1 keeps all.
    #[arg(long, value_name = "P")]
    typical: Option<f32>,
    /// Divides the logits of tokens that occurred; 1 does nothing.
    #[arg(long, value_name = "X")]
    repeat_penalty: Option<f32>,
    /// How many of the last tokens the penalties look at; -1 is all.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    repeat_last_n: Option<i64>,
    /// Taken once from the logits of tokens that occurred.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    presence_penalty: Option<f32>,
    /// Taken from the logits of tokens for each time that they occurred.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    frequency_penalty: Option<f32>,
    /// Adds X to the logit of token ID; -inf bans it. May be repeated.
    #[arg(long, value_name = "ID=X", value_parser = parse_bias)]
    logit_bias: Vec<(u32, f32)>,
    /// The same seed gives the same text; `random` takes another one each time.
    #[arg(long, value_name = "N|random", value_parser = parse_seed)]
    seed: Option<Seed>,
    /// Text that ends the answer. May be repeated.
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// What happens when the context is full: stop; error; or shift, which goes on with the first 4 tokens (or SINKS of them) and the later half
    /// of the others, computed again at their new positions.
    #[arg(long, value_name = "stop|shift[=SINKS]|error", default_value_t, help_heading = "Options")]
    pub context_end: ContextEnd,
}

/// What the draws begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seed {
    /// Another number each time.
    Random,
    Fixed(u64),
}

impl SamplingArgs {
    /// Refuses values that no model could be sampled with, before one is opened.
    pub fn check(&self) -> Outcome {
        self.params(None).check().map_err(|e| Failure::usage(e.to_string()))
    }

    /// The parameters, starting from what is recommended for the model.
    pub fn params(&self, entry: Option<&Entry>) -> SamplingParams {
        let base = entry.map_or_else(SamplingParams::default, |e| e.sampling.params());
        SamplingParams {
            temperature: self.temp.unwrap_or(base.temperature),
            top_k: self.top_k.unwrap_or(base.top_k),
            top_p: self.top_p.unwrap_or(base.top_p),
            min_p: self.min_p.unwrap_or(base.min_p),
            typical_p: self.typical.unwrap_or(base.typical_p),
            repeat_last_n: self.repeat_last_n.map_or(base.repeat_last_n, |n| usize::try_from(n).ok()),
            repeat_penalty: self.repeat_penalty.unwrap_or(base.repeat_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(base.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(base.frequency_penalty),
            logit_bias: self.logit_bias.clone(),
            seed: match self.seed {
                Some(Seed::Fixed(seed)) => Some(seed),
                Some(Seed::Random) => None,
                None => base.seed,
            },
        }
    }

    /// Sets one option by its name, as `/set NAME VALUE` does.
    ///
    /// # Errors
    /// What is wrong with the name or the value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        fn number<T: std::str::FromStr>(value: &str) -> Result<Option<T>, String> {
            value.parse().map(Some).map_err(|_| format!("`{value}` is not a number that fits"))
        }
        match name.trim_start_matches('-').replace('_', "-").as_str() {
            "temp" | "temperature" => self.temp = number(value)?,
            "top-k" => self.top_k = number(value)?,
            "top-p" => self.top_p = number(value)?,
            "min-p" => self.min_p = number(value)?,
            "typical" => self.typical = number(value)?,
            "repeat-penalty" => self.repeat_penalty = number(value)?,
            "repeat-last-n" => self.repeat_last_n = number(value)?,
            "presence-penalty" => self.presence_penalty = number(value)?,
            "frequency-penalty" => self.frequency_penalty = number(value)?,
            "logit-bias" => self.logit_bias.push(parse_bias(value)?),
            "seed" => self.seed = Some(parse_seed(value)?),
            "stop" => self.stop.push(value.to_owned()),
            other => return Err(format!("there is no option `{other}`; {SETTABLE}")),
        }
        Ok(())
    }
}

/// The options that `/set` knows.
pub const SETTABLE: &str = "the options are temp, top-k, top-p, min-p, typical, repeat-penalty, repeat-last-n, \
                            presence-penalty, frequency-penalty, logit-bias, seed, stop, max-tokens";

fn parse_seed(text: &str) -> Result<Seed, String> {
    match text {
        "random" => Ok(Seed::Random),
        number => number
            .parse()
            .map(Seed::Fixed)
            .map_err(|_| format!("`{number}` is neither a number nor `random`")),
    }
}

fn parse_bias(text: &str) -> Result<(u32, f32), String> {
    let parts = text.split_once(['=', ':']).ok_or("write ID=X, as in 42=-inf")?;
    let id = parts.0.trim().parse().map_err(|_| format!("`{}` is not a token id", parts.0))?;
    let bias = parts.1.trim().parse().map_err(|_| format!("`{}` is not a number", parts.1))?;
    Ok((id, bias))
}
