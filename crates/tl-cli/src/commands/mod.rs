//! The commands, a file each.

pub mod batch;
pub mod bench;
pub mod chat;
pub mod check;
pub mod embed;
pub mod explain;
pub mod fmt;
pub mod generate;
pub mod inspect;
pub mod perplexity;
pub mod profile;
pub mod pull;
pub mod repl;
pub mod run;
pub mod synth;
pub mod tokenize;

use serde_json::Value;
use tl_llm::Timing;
use tl_llm::speculation::Guessed;

use crate::failure::Outcome;
use crate::terminal::{print, remark};

/// Prints one JSON value on a line.
fn print_json(value: &Value) -> Outcome {
    print(format_args!("{value}\n"))
}

/// Says that a text lost a part of its past, if it did.
fn tell_forgotten(tokens: usize) {
    if tokens > 0 {
        remark(format_args!("the context was full: {tokens} tokens were forgotten to go on"));
    }
}

/// The speed of prompt and answer, and what came of guesses, for `--stats`.
fn stats(prefill: Timing, written: usize, decode: Timing, guessed: Guessed, speed_up: Option<f64>) -> String {
    let (read, prompt, answer) = (prefill.tokens, prefill.rate(), decode.rate());
    let mut out =
        format!("prompt {read} tokens, {prompt:.1} tokens/s; answer {written} tokens, {answer:.1} tokens/s");
    if let Some(speed_up) = speed_up {
        let Guessed { guessed, accepted } = guessed;
        out +=
            &format!("; {accepted} of {guessed} guesses were right, {speed_up:.2} times the speed without");
    }
    out
}
