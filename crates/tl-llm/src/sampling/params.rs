//! The parameters of sampling, with the defaults of ggml's command-line tools, and the check of their ranges.
//!
//! The invariant: a [`Sampler`](super::Sampler) holds checked parameters only, so no stage has to think
//! about NaN, a negative probability or a penalty of zero.

use thiserror::Error;

/// What the sampler's chain does; [`Default`] gives the defaults of ggml's command-line tools
/// (`common_params_sampling` there).
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits before the draw; 0 or less takes the most probable token. Default 0.8.
    pub temperature: f32,
    /// Keeps the `top_k` most probable tokens; 0 keeps all. Default 40.
    pub top_k: usize,
    /// Keeps the fewest most probable tokens whose probabilities sum to at least `top_p`; 1 keeps all.
    /// In 0..=1, default 0.95.
    pub top_p: f32,
    /// Keeps tokens at least `min_p` times as probable as the most probable one; 0 keeps all. In 0..=1,
    /// default 0.05.
    pub min_p: f32,
    /// Locally typical sampling: keeps tokens of the most ordinary surprise until their probabilities exceed
    /// `typical_p`; 1 keeps all. In 0..=1, default 1.
    pub typical_p: f32,
    /// How many of the last tokens the penalties look at; 0 is none, `None` all of them. Default 64.
    pub repeat_last_n: Option<usize>,
    /// Divides a positive logit, and multiplies a negative one, of a token that occurred; 1 does nothing.
    /// Above 0, default 1.
    pub repeat_penalty: f32,
    /// Taken from the logit of a token that occurred, once. Default 0.
    pub presence_penalty: f32,
    /// Taken from the logit of a token for each time that it occurred. Default 0.
    pub frequency_penalty: f32,
    /// Added to the logits of single tokens, as pairs of id and bias; minus infinity bans a token. A token
    /// that is listed twice gets both. Default none.
    pub logit_bias: Vec<(u32, f32)>,
    /// Seed of the draws; `None` takes a new one for each sampler ([`Sampler::seed`](super::Sampler::seed)
    /// tells which). Default `None`.
    pub seed: Option<u64>,
}

/// A parameter outside its range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} must be {expected}, not {value}")]
pub struct ParamError {
    /// Name of the field of [`SamplingParams`].
    pub field: &'static str,
    /// The value that was given.
    pub value: String,
    /// The values that are allowed.
    pub expected: String,
}

impl Default for SamplingParams {
    fn default() -> Self {
        SamplingParams {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typical_p: 1.0,
            repeat_last_n: Some(64),
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

impl SamplingParams {
    /// The parameters that always take the most probable token.
    pub fn greedy() -> Self {
        SamplingParams { temperature: 0.0, ..SamplingParams::default() }
    }

    /// Checks every field but the ids of `logit_bias`, which need the size of a vocabulary.
    ///
    /// # Errors
    ///
    /// The first field that is out of its range.
    pub fn check(&self) -> Result<(), ParamError> {
        check_temperature(self.temperature)?;
        check_probability("top_p", self.top_p)?;
        check_probability("min_p", self.min_p)?;
        check_probability("typical_p", self.typical_p)?;
        if !(self.repeat_penalty > 0.0 && self.repeat_penalty.is_finite()) {
            return Err(out_of_range("repeat_penalty", self.repeat_penalty, "a finite number above 0"));
        }
        check_finite("presence_penalty", self.presence_penalty)?;
        check_finite("frequency_penalty", self.frequency_penalty)?;
        for (id, bias) in &self.logit_bias {
            if bias.is_nan() || *bias == f32::INFINITY {
                let value = format!("{bias} (for token {id})");
                return Err(out_of_range("logit_bias", value, "finite, or -inf to ban a token"));
            }
        }
        Ok(())
    }

    /// [`SamplingParams::check`], and that each biased token is one of a vocabulary of `vocab` tokens.
    ///
    /// # Errors
    ///
    /// The first field that is out of its range.
    pub fn check_for(&self, vocab: usize) -> Result<(), ParamError> {
        self.check()?;
        match self.logit_bias.iter().find(|(id, _)| *id as usize >= vocab) {
            None => Ok(()),
            Some((id, _)) => {
                let expected = format!("for tokens below {vocab}, the size of the vocabulary");
                Err(out_of_range("logit_bias", format!("for token {id}"), expected))
            }
        }
    }

    /// Whether the most probable token is always taken.
    pub fn is_greedy(&self) -> bool {
        self.temperature <= 0.0
    }

    /// Whether any of the three penalties does something.
    pub(super) fn penalizes(&self) -> bool {
        let neutral =
            self.repeat_penalty == 1.0 && self.presence_penalty == 0.0 && self.frequency_penalty == 0.0;
        !neutral && self.repeat_last_n != Some(0)
    }
}

/// Checks a temperature: any finite number.
pub(super) fn check_temperature(value: f32) -> Result<(), ParamError> {
    check_finite("temperature", value)
}

/// Checks a probability: 0..=1.
pub(super) fn check_probability(field: &'static str, value: f32) -> Result<(), ParamError> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(out_of_range(field, value, "between 0 and 1")) }
}

fn check_finite(field: &'static str, value: f32) -> Result<(), ParamError> {
    if value.is_finite() { Ok(()) } else { Err(out_of_range(field, value, "a finite number")) }
}

#[cold]
fn out_of_range(field: &'static str, value: impl ToString, expected: impl Into<String>) -> ParamError {
    ParamError { field, value: value.to_string(), expected: expected.into() }
}
