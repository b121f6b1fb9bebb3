//! Generation: feed, sample, decode, until something ends it.
//!
//! ```text
//! feed the prompt (what the sequence has in common with it is kept)
//! loop: id ← sample(logits); an end token, a stop string, the limit or a cancellation ends it; text ← decode(id); feed(id)
//! ```
//!
//! What is sampled and when it ends is [`crate::continuation`]'s, guesses of several tokens a step are [`crate::speculation`]'s.
//!
//! Invariant: once the prompt is fed and the session has reserved, a token allocates nothing here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tensorlogic::Session;
use tl_formats::tokenizer::{EncodeError, EncodeOptions, Tokenizer};

use crate::constraint::{Constrained, ConstraintError};
use crate::context::ContextEnd;
use crate::continuation::Continuation;
use crate::sampling::{ParamError, SampleError, SamplingParams};
use crate::speculation::{Guessed, Guesser, Speculation};

/// Tokens that are fed between two looks at the cancellation flag.
const PROMPT_CHUNK: usize = 256;

/// Steps without guesses at the beginning, which tell what a step costs.
const PLAIN_STEPS: usize = 2;

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
    /// Where guesses come from; they change the speed and nothing else.
    pub speculation: Speculation,
    /// What happens when the context is full.
    pub context_end: ContextEnd,
    /// What form the text has; none is any.
    pub constraint: Option<Constrained>,
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
    /// The text has the form that was asked for, and nothing may follow.
    Complete,
    /// No token of the vocabulary goes on as the form asks.
    Stuck,
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
    /// Tokens that were fed after the prompt, and the time that it took.
    pub decode: Timing,
    /// Those of them that were fed alone, without guesses.
    pub plain: Timing,
    /// What became of the guesses.
    pub guessed: Guessed,
    /// The seed of the draws.
    pub seed: u64,
    /// How many tokens were forgotten to make room in the context, see [`ContextEnd::Shift`].
    pub forgotten: usize,
}

impl Generation {
    /// How many times faster the tokens came than one a step would have, by the steps without guesses; `None` where nothing was guessed.
    pub fn speed_up(&self) -> Option<f64> {
        let (rate, plain) = (self.decode.rate(), self.plain.rate());
        (self.guessed.guessed > 0 && plain > 0.0).then(|| rate / plain)
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

    fn add(&mut self, tokens: usize, time: Duration) {
        self.tokens += tokens;
        self.time += time;
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
    /// A constraint.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// A draft model has another vocabulary.
    #[error("{0}")]
    OtherVocabulary(String),
    /// A text holds a token that a guard of the program excludes.
    #[error(
        "token {id} at position {position} can't stand there: the program excludes it, so the text has no probability"
    )]
    Excluded {
        /// The token.
        id: u32,
        /// Its position among the tokens.
        position: usize,
    },
    /// What a sequence alone remembers is more than may be remembered.
    #[error(
        "the sequence would take {needed} bytes of memory, and {limit} may be used; allow more, or ask for a shorter text"
    )]
    Memory {
        /// How many bytes there would be.
        needed: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A step failed.
    #[error("{0}")]
    Step(String),
    /// The scheduler went away before the text was complete.
    #[error("the scheduler was stopped")]
    Stopped,
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
    tokenizer: Option<&Arc<Tokenizer>>,
    prompt: &[u32],
    options: &GenerateOptions,
    cancel: &AtomicBool,
    see: impl FnOnce(&[f32]),
    mut show: impl FnMut(&str),
) -> Result<Generation, GenerateError> {
    let (vocabulary, context) = (session.generator().vocabulary(), session.generator().context_limit());
    let limit = context.unwrap_or(usize::MAX);
    let (prompt, mut forgotten) = options.context_end.fit_prompt(prompt, limit)?;
    let mut text = Continuation::new(tokenizer, options, &prompt, vocabulary, context)?;
    let mut guesser = Guesser::new(&options.speculation, &prompt);
    let (mut decode, mut plain) = (Timing::default(), Timing::default());
    let prefill = feed_prompt(session, &prompt, cancel)?;
    let mut next = None;
    if prefill.is_some() {
        see(session.logits());
        session.reserve(text.left().min(1024))?;
        next = text.next(session.logits(), &mut show)?;
    }
    while let Some(id) = next.filter(|_| !cancel.load(Ordering::Relaxed)) {
        let began = Instant::now();
        guesser.follow(id);
        if session.len() >= limit {
            let kept = options.context_end.kept(session.tokens(), limit);
            forgotten += session.len() - kept.len();
            session.continue_with(&kept)?;
        }
        // Of the tokens that are left, one is drawn after the last guess.
        let left = text.left().min(limit - session.len());
        let most = if plain.tokens < PLAIN_STEPS { 0 } else { left.saturating_sub(1) };
        let fed;
        if guesser.guess(most, text.chooser())?.is_empty() {
            session.feed(&[id])?;
            (fed, next) = (1, text.next(session.logits(), &mut show)?);
            plain.add(1, began.elapsed());
        } else {
            (fed, next) = guesser.verify(session, &mut text, id, &mut show)?;
        }
        decode.add(fed, began.elapsed());
    }
    text.end(Finish::Cancelled, show);
    let seed = text.sampler().seed();
    let finish = text.finish().cloned().unwrap_or(Finish::Cancelled);
    let (ids, text) = text.into_parts();
    if finish == Finish::Context && options.context_end == ContextEnd::Error {
        return Err(tensorlogic::Error::Context { limit, asked: limit.saturating_add(1) }.into());
    }
    let (prefill, guessed) = (prefill.unwrap_or_default(), guesser.done);
    Ok(Generation { ids, text, finish, prefill, decode, plain, guessed, seed, forgotten })
}

/// Makes the session's sequence the prompt, piece by piece so that it can be cancelled; `None` if it was. Gives how many tokens were fed.
///
/// # Errors
/// As for [`Session::feed`].
pub fn feed_prompt(
    session: &mut Session,
    prompt: &[u32],
    cancel: &AtomicBool,
) -> Result<Option<Timing>, GenerateError> {
    let began = Instant::now();
    if session.tokens() == prompt && !session.logits().is_empty() {
        return Ok(Some(Timing::default()));
    }
    let shared = session.tokens().iter().zip(prompt).take_while(|(a, b)| a == b).count();
    // The last token is fed even if the sequence has it, for the logits after it.
    let before = shared.min(prompt.len().saturating_sub(1));
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
    let mut bad: Option<GenerateError> = None;
    if ids.len() > 1 {
        session.feed_all_logits(&ids[..ids.len() - 1], |i, logits| {
            let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = logits.iter().map(|&l| f64::from(l - max).exp()).sum();
            let own = f64::from(logits[ids[i + 1] as usize] - max);
            let value = own - sum.ln();
            if own == f64::NEG_INFINITY && sum.is_finite() && sum > 0.0 {
                bad.get_or_insert(GenerateError::Excluded { id: ids[i + 1], position: i + 1 });
            } else if !value.is_finite() && bad.is_none() {
                let count = logits.iter().filter(|l| !l.is_finite()).count();
                let first = logits.iter().position(|l| !l.is_finite()).unwrap_or(0);
                bad = Some(tensorlogic::Error::BadLogits { count, first }.into());
            }
            out.push(value);
        })?;
    }
    match bad {
        Some(error) => Err(error),
        None => Ok(out),
    }
}
