//! The commands, a file each.

pub mod chat;
pub mod check;
pub mod embed;
pub mod explain;
pub mod fmt;
pub mod generate;
pub mod inspect;
pub mod perplexity;
pub mod pull;
pub mod repl;
pub mod run;
pub mod synth;
pub mod tokenize;

use serde_json::Value;
use tl_llm::Timing;
use tl_llm::speculation::Guessed;

use crate::failure::Outcome;
use crate::terminal::print;

/// Prints one JSON value on a line.
fn print_json(value: &Value) -> Outcome {
    print(format_args!("{value}\n"))
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
