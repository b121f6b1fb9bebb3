//! Generation: feed, sample, decode, until something ends it.
//!
//! ```text
//! feed the prompt (what the sequence has in common with it is kept)
//! loop: id ← sample(logits); an end token, a stop string, the limit or a cancellation ends it; text ← decode(id); feed(id)
//! ```
//!
//! Invariant: once the prompt is fed and the session has reserved, a token allocates nothing here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tensorlogic::Session;
use tl_formats::tokenizer::{DecodeOptions, EncodeError, EncodeOptions, Tokenizer};

use crate::sampling::{ParamError, SampleError, Sampler, SamplingParams, StopMatcher};

/// Tokens that are fed between two looks at the cancellation flag.
const PROMPT_CHUNK: usize = 256;

/// How to continue a prompt.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// At most so many tokens; `None` is until the text or the context ends.
    pub max_tokens: Option<usize>,
    /// How the next token is chosen.
    pub sampling: SamplingParams,
    /// Text that ends the generation; it is not part of the result.
    pub stop: Vec<String>,
    /// Tokens that end a text are treated as any other.
    pub ignore_end: bool,
    /// Special tokens show as their text.
    pub show_special: bool,
}

/// Why a generation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended its text with this token.
    End(u32),
    /// The limit of tokens was reached.
    Length,
    /// This stop string came.
    Stop(String),
    /// The context is full.
    Context,
    /// It was cancelled.
    Cancelled,
}

/// A continuation.
#[derive(Clone, Debug)]
pub struct Generation {
    /// The sampled tokens; one that ended the text is not among them.
    pub ids: Vec<u32>,
    /// Their text, up to a stop string.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt that were fed, and the time that it took.
    pub prefill: Timing,
    /// Steps of one token, and the time that they took.
    pub decode: Timing,
    /// The seed of the draws.
    pub seed: u64,
}

impl Generation {
    /// That of a prompt that was cancelled before it was fed.
    fn cancelled(seed: u64) -> Self {
        let (ids, text, finish) = (Vec::new(), String::new(), Finish::Cancelled);
        Self { ids, text, finish, prefill: Timing::default(), decode: Timing::default(), seed }
    }
}

/// A number of tokens and a time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// How many.
    pub tokens: usize,
    /// How long.
    pub time: Duration,
}

impl Timing {
    /// Tokens per second; 0 where nothing was measured.
    pub fn rate(&self) -> f64 {
        let seconds = self.time.as_secs_f64();
        if seconds > 0.0 { self.tokens as f64 / seconds } else { 0.0 }
    }
}

/// Why nothing could be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The model, its program or its context.
    #[error(transparent)]
    Library(#[from] tensorlogic::Error),
    /// The logits.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// A parameter.
    #[error(transparent)]
    Param(#[from] ParamError),
    /// There is nothing to continue.
    #[error("the prompt has no tokens; give a text, or a token to begin with")]
    EmptyPrompt,
}

/// The ids of a text that is to be continued: as the tokenizer encodes it, without the tokens that a file asks for at the end of a
/// text, for this one has not ended.
///
/// # Errors
/// When the text can't be encoded.
pub fn prompt_ids(
    tokenizer: &Tokenizer,
    text: &str,
    options: EncodeOptions,
) -> Result<Vec<u32>, EncodeError> {
    let mut ids = tokenizer.encode(text, options)?;
    if options.add_special {
        ids.truncate(ids.len() - tokenizer.suffix().len());
    }
    Ok(ids)
}

/// Continues a prompt: makes the session's sequence `prompt`, then samples. `see` is shown the logits of the first new position, shape
/// `[vocabulary]`; every piece of text is given to `show` as soon as it can be shown. Setting `cancel` ends the generation at the next
/// token. Without a tokenizer there is no text, and no token ends it.
///
/// # Errors
/// See [`GenerateError`]. Tokens that were fed before the error stay in the session.
pub fn generate(
    session: &mut Session,
    tokenizer: Option<&Tokenizer>,
    prompt: &[u32],
    options: &GenerateOptions,
    cancel: &AtomicBool,
    see: impl FnOnce(&[f32]),
    mut show: impl FnMut(&str),
) -> Result<Generation, GenerateError> {
    if prompt.is_empty() {
        return Err(GenerateError::EmptyPrompt);
    }
    let mut sampler = Sampler::new(options.sampling.clone(), session.generator().vocabulary())?;
    let mut stops = StopMatcher::new(&options.stop)?;
    let decoding = DecodeOptions { special: options.show_special, from_start: false };
    let mut decoder = tokenizer.map(|t| (t, t.decoder(decoding)));
    let ends = |id| !options.ignore_end && tokenizer.is_some_and(|t| t.is_end_of_generation(id));
    let room = room_after(session, prompt)?;
    let limit = options.max_tokens.unwrap_or(usize::MAX);
    let (mut ids, mut text) = (Vec::with_capacity(limit.min(room).min(4096)), String::with_capacity(4096));
    let Some(prefill) = feed_prompt(session, prompt, cancel)? else {
        return Ok(Generation::cancelled(sampler.seed()));
    };
    prompt.iter().for_each(|&id| sampler.accept(id));
    see(session.logits());
    session.reserve(limit.min(room).min(1024))?;
    let mut decode = Timing::default();
    let finish = loop {
        if cancel.load(Ordering::Relaxed) {
            break Finish::Cancelled;
        }
        if ids.len() >= limit {
            break Finish::Length;
        }
        let began = Instant::now();
        let id = sampler.sample(session.logits())?;
        if ends(id) {
            break Finish::End(id);
        }
        ids.push(id);
        let step =
            stops.push(decoder.as_mut().map_or("", |(tokenizer, decoder)| decoder.push(tokenizer, id)));
        if !step.text.is_empty() {
            text.push_str(step.text);
            show(step.text);
        }
        if let Some(which) = step.stop {
            break Finish::Stop(stops.stop_string(which).unwrap_or_default().to_owned());
        }
        if ids.len() > room {
            break Finish::Context;
        }
        if ids.len() < limit {
            session.feed(&[id])?;
            decode = Timing { tokens: decode.tokens + 1, time: decode.time + began.elapsed() };
        }
    };
    let last = decoder.as_mut().map_or("", |(_, decoder)| decoder.finish());
    for rest in [stops.push(last).text.to_owned(), stops.finish().to_owned()] {
        if !rest.is_empty() {
            text.push_str(&rest);
            show(&rest);
        }
    }
    Ok(Generation { ids, text, finish, prefill, decode, seed: sampler.seed() })
}

/// How many tokens the context has left after the prompt. A prompt that is too long is refused before any of it is fed.
fn room_after(session: &Session, prompt: &[u32]) -> Result<usize, tensorlogic::Error> {
    let Some(limit) = session.generator().context_limit() else { return Ok(usize::MAX) };
    limit.checked_sub(prompt.len()).ok_or(tensorlogic::Error::Context { limit, asked: prompt.len() })
}

/// Makes the session's sequence the prompt, piece by piece so that it can be cancelled; `None` if it was.
fn feed_prompt(
    session: &mut Session,
    prompt: &[u32],
    cancel: &AtomicBool,
) -> Result<Option<Timing>, GenerateError> {
    let began = Instant::now();
    let shared = session.tokens().iter().zip(prompt).take_while(|(a, b)| a == b).count();
    // The last token is fed even if the sequence has it, for the logits after it.
    let before = shared.min(prompt.len() - 1);
    let mut upto = before;
    while upto < prompt.len() {
        if cancel.load(Ordering::Relaxed) {
            return Ok(None);
        }
        upto = (upto + PROMPT_CHUNK).min(prompt.len());
        session.continue_with(&prompt[..upto])?;
    }
    Ok(Some(Timing { tokens: prompt.len() - before, time: began.elapsed() }))
}

/// The log-probability of each token but the first, given those before it, natural logarithm. Nothing is prepended.
///
/// # Errors
/// When a token is not in the vocabulary, the context is too short, or the logits are no distribution.
pub fn logprobs(session: &mut Session, ids: &[u32]) -> Result<Vec<f64>, GenerateError> {
    let mut out = Vec::with_capacity(ids.len().saturating_sub(1));
    let mut bad: Option<tensorlogic::Error> = None;
    if ids.len() > 1 {
        session.feed_all_logits(&ids[..ids.len() - 1], |i, logits| {
            let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = logits.iter().map(|&l| f64::from(l - max).exp()).sum();
            let own = f64::from(logits[ids[i + 1] as usize] - max);
            let value = own - sum.ln();
            if !value.is_finite() && bad.is_none() {
                let count = logits.iter().filter(|l| !l.is_finite()).count();
                let first = logits.iter().position(|l| !l.is_finite()).unwrap_or(0);
                bad = Some(tensorlogic::Error::BadLogits { count, first });
            }
            out.push(value);
        })?;
    }
    match bad {
        Some(error) => Err(error.into()),
        None => Ok(out),
    }
}
