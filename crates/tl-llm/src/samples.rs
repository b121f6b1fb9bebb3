//! Several samples of one prompt: it is computed once, and what is remembered of it is shared by all.
//!
//! Sample `i` draws with the seed of the options plus `i`. Its text is the one that it would have alone, with that seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tensorlogic::{Feed, Session};
use tl_formats::tokenizer::Tokenizer;

use crate::continuation::Continuation;
use crate::generation::{Finish, GenerateError, GenerateOptions, Timing, feed_prompt};
use crate::sampling::random_seed;

/// One of several continuations.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its tokens; one that ended the text is not among them.
    pub ids: Vec<u32>,
    /// Their text, up to a stop string.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// The seed of its draws.
    pub seed: u64,
}

/// Several continuations of one prompt.
#[derive(Clone, Debug)]
pub struct Samples {
    /// They, in the order of their seeds.
    pub samples: Vec<Sample>,
    /// Tokens of the prompt that were fed, and the time that it took.
    pub prefill: Timing,
    /// Tokens that were fed after it, of all samples, and the time that it took.
    pub decode: Timing,
}

/// A sample in the making.
struct Live {
    session: Session,
    text: Continuation,
    /// The token that is to be fed; `None` once the text has ended.
    next: Option<u32>,
}

/// Continues a prompt, which the session's sequence becomes, `count` times. Speculation does not apply: the
/// samples share each step.
///
/// # Errors
/// As for [`generate`](crate::generate).
pub fn sample_many(
    session: &mut Session,
    tokenizer: Option<&Arc<Tokenizer>>,
    prompt: &[u32],
    options: &GenerateOptions,
    count: usize,
    cancel: &AtomicBool,
) -> Result<Samples, GenerateError> {
    let generator = session.generator().clone();
    let seed = options.sampling.seed.unwrap_or_else(random_seed);
    let texts: Result<Vec<Continuation>, GenerateError> = (0..count as u64)
        .map(|i| {
            let mut own = options.clone();
            own.sampling.seed = Some(seed.wrapping_add(i));
            let (vocabulary, context) = (generator.vocabulary(), generator.context_limit());
            Continuation::new(tokenizer, &own, prompt, vocabulary, context)
        })
        .collect();
    let (texts, mut decode) = (texts?, Timing::default());
    let prefill = feed_prompt(session, prompt, cancel)?;
    let began = Instant::now();
    let mut live = Vec::with_capacity(count);
    for mut text in texts {
        let next = match prefill {
            Some(_) => text.next(session.logits(), |_| {})?,
            None => None,
        };
        live.push(Live { session: session.fork(), text, next });
    }
    while live.iter().any(|sample| sample.next.is_some()) && !cancel.load(Ordering::Relaxed) {
        let mut feeds: Vec<Feed<'_>> = (live.iter_mut())
            .filter_map(|Live { session, next, .. }| {
                Some(Feed::last(session, std::slice::from_ref(next.as_ref()?)))
            })
            .collect();
        generator.step(&mut feeds)?;
        decode.tokens += feeds.len();
        for Live { session, text, next } in live.iter_mut().filter(|sample| sample.next.is_some()) {
            *next = text.next(session.logits(), |_| {})?;
        }
    }
    decode.time = began.elapsed();
    let samples = live.into_iter().map(|Live { mut text, .. }| {
        text.end(Finish::Cancelled, |_| {});
        let (seed, finish) = (text.sampler().seed(), text.finish().cloned().unwrap_or(Finish::Cancelled));
        let (ids, text) = text.into_parts();
        Sample { ids, text, finish, seed }
    });
    Ok(Samples { samples: samples.collect(), prefill: prefill.unwrap_or_default(), decode })
}
