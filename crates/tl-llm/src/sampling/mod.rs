//! Sampling: from the logits of a step to the next token.
//!
//! The chain runs in the order of ggml's command-line tools, each stage a function over one reused candidate buffer:
//!
//! ```text
//! logits → logit bias → penalties → top-k → typical → top-p → min-p → temperature → draw
//! ```
//!
//! At temperature 0 or less the draw is the most probable token (the lowest id on a tie). A seed gives the
//! same tokens for the same logits on every platform: the generator ([`Rng`]) and the exponentials are our
//! own. Logits that are no distribution are an error value, never a panic and never a token.
//!
//! The stages and the one-shot functions of [`builtins`] can be called on their own; a program's
//! `temperature_sample(logits, 0.8)` is [`builtins::temperature_sample`].

pub mod builtins;
mod candidates;
mod elementary;
mod params;
mod rng;
pub mod stages;
mod stop;

use std::collections::VecDeque;

use thiserror::Error;

pub use candidates::{Candidate, Candidates};
pub use params::{ParamError, SamplingParams};
pub use rng::{Rng, random_seed};
pub use stop::{StopMatcher, StopStep};

/// Why no token could be taken from some logits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SampleError {
    /// There are no logits.
    #[error("there are no logits to sample from")]
    Empty,
    /// Logits are NaN: some tensor of the model, or a step before, is broken.
    #[error(
        "{count} of {of} logits are NaN, the first at index {first}; a weight or an earlier step is broken"
    )]
    NotANumber {
        /// How many are NaN.
        count: usize,
        /// Index of the first.
        first: usize,
        /// How many logits there are.
        of: usize,
    },
    /// Logits are +∞.
    #[error(
        "{count} of {of} logits are infinite, the first at index {first}; a weight or an earlier step is broken"
    )]
    Infinite {
        /// How many are +∞.
        count: usize,
        /// Index of the first.
        first: usize,
        /// How many logits there are.
        of: usize,
    },
    /// Every token is impossible: the logits, or the logit bias, leave none.
    #[error("every logit is -inf, so no token can be sampled; a mask or the logit bias bans them all")]
    NothingLeft,
    /// The logits are not of the vocabulary that the sampler was made for.
    #[error("{found} logits for a vocabulary of {expected} tokens")]
    WrongLength {
        /// Size of the vocabulary.
        expected: usize,
        /// How many logits came.
        found: usize,
    },
    /// A parameter of a one-shot function is out of its range.
    #[error(transparent)]
    Param(ParamError),
}

/// A chain of stages with its generator, its buffer and its memory of recent tokens.
#[derive(Clone, Debug)]
pub struct Sampler {
    params: SamplingParams,
    vocab: usize,
    seed: u64,
    rng: Rng,
    candidates: Candidates,
    /// The last `repeat_last_n` tokens; empty where all of them count.
    recent: VecDeque<u32>,
    /// How often each token occurred in the window; empty where no penalty is on.
    counts: Vec<u32>,
}

impl Sampler {
    /// A sampler over a vocabulary of `vocab` tokens.
    ///
    /// # Errors
    ///
    /// The first parameter that is out of its range.
    pub fn new(params: SamplingParams, vocab: usize) -> Result<Self, ParamError> {
        params.check_for(vocab)?;
        let seed = params.seed.unwrap_or_else(random_seed);
        let counts = if params.penalizes() { vec![0; vocab] } else { Vec::new() };
        Ok(Sampler {
            vocab,
            seed,
            rng: Rng::from_seed(seed),
            candidates: Candidates::new(),
            // Room for a usual window at once, so that decoding does not grow it.
            recent: VecDeque::with_capacity(params.repeat_last_n.map_or(0, |n| n.min(4095) + 1)),
            counts,
            params,
        })
    }

    /// Takes the next token from `logits`, shape `[vocab]`, and remembers it for the penalties.
    ///
    /// # Errors
    ///
    /// Logits of another length, or that are no distribution; nothing is remembered then.
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32, SampleError> {
        if logits.len() != self.vocab {
            return Err(SampleError::WrongLength { expected: self.vocab, found: logits.len() });
        }
        let id = self.pick(logits)?;
        self.accept(id);
        Ok(id)
    }

    /// Remembers a token that was not sampled here, for the penalties: a token of the prompt.
    ///
    /// A token outside the vocabulary is passed over, as it can never be sampled.
    pub fn accept(&mut self, id: u32) {
        let Some(count) = self.counts.get_mut(id as usize) else { return };
        *count = count.saturating_add(1);
        let Some(window) = self.params.repeat_last_n else { return };
        self.recent.push_back(id);
        if self.recent.len() > window
            && let Some(oldest) = self.recent.pop_front()
        {
            self.counts[oldest as usize] -= 1;
        }
    }

    /// Begins again: forgets the tokens and restarts the generator at the seed.
    pub fn reset(&mut self) {
        self.recent.clear();
        self.counts.fill(0);
        self.rng = Rng::from_seed(self.seed);
    }

    /// Becomes what another sampler of the same parameters and vocabulary is: its memory, and its random numbers to come.
    pub fn imitate(&mut self, other: &Sampler) {
        self.seed = other.seed;
        self.rng.clone_from(&other.rng);
        self.recent.clone_from(&other.recent);
        self.counts.clone_from(&other.counts);
    }

    /// The seed of the draws, also where none was given, so that a run can be repeated.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The parameters of the chain.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// The candidates that the last draw chose among, in the order in which the chain left them.
    pub fn last_candidates(&self) -> &Candidates {
        &self.candidates
    }

    fn pick(&mut self, logits: &[f32]) -> Result<u32, SampleError> {
        let (params, candidates) = (&self.params, &mut self.candidates);
        candidates.load(logits)?;
        stages::bias(candidates, &params.logit_bias);
        if !self.counts.is_empty() {
            stages::penalize(candidates, &self.counts, stages::Penalties::from(params));
        }
        // Top-k, top-p and min-p cannot remove the most probable token; typical can.
        let greedy = params.is_greedy() && params.typical_p >= 1.0;
        if !greedy {
            stages::top_k(candidates, params.top_k);
            stages::typical(candidates, params.typical_p);
            stages::top_p(candidates, params.top_p);
            stages::min_p(candidates, params.min_p);
        }
        stages::temperature(candidates, params.temperature);
        let unit = if params.is_greedy() { 0.0 } else { self.rng.next_unit() };
        stages::draw(candidates, unit)
    }
}
