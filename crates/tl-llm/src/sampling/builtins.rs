//! One-shot sampling: what a program calls on a tensor of logits, without a chain.
//!
//! Each function takes logits of shape `[vocab]`, a generator and a buffer that it may reuse, and returns a
//! token id. Unlike the chain, each applies its one stage and nothing else, so that the name says all.

use super::candidates::{Candidates, compare};
use super::params::{ParamError, check_probability, check_temperature};
use super::{Rng, SampleError, stages};

/// Index of the greatest of `values`, the lowest on a tie. Infinities are ordinary values here.
///
/// # Errors
///
/// [`SampleError::Empty`] and [`SampleError::NotANumber`].
pub fn argmax(values: &[f32]) -> Result<u32, SampleError> {
    check_numbers(values)?;
    let best = values.iter().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(id, _)| id as u32).ok_or(SampleError::Empty)
}

/// The `k` greatest of `values` with their indices, greatest first, lower indices first on a tie.
///
/// # Errors
///
/// [`SampleError::NotANumber`].
pub fn top_k_values(values: &[f32], k: usize) -> Result<Vec<(u32, f32)>, SampleError> {
    check_numbers(values)?;
    if k == 0 {
        return Ok(Vec::new());
    }
    let mut buffer = Candidates::from_checked(values);
    stages::top_k(&mut buffer, k);
    // With `k` of all or more the stage has nothing to leave out, and so no reason to sort.
    buffer.items.sort_unstable_by(compare);
    Ok(buffer.items.iter().map(|item| (item.id, item.logit)).collect())
}

/// Draws at temperature `t`; 0 or less is [`argmax`].
///
/// # Errors
///
/// Logits that are no distribution, or a temperature that is not finite.
pub fn temperature_sample(
    logits: &[f32],
    t: f32,
    rng: &mut Rng,
    buffer: &mut Candidates,
) -> Result<u32, SampleError> {
    check_temperature(t)?;
    buffer.load(logits)?;
    stages::temperature(buffer, t);
    stages::draw(buffer, rng.next_unit())
}

/// Draws among the `k` most probable tokens; 0 is all.
///
/// # Errors
///
/// Logits that are no distribution.
pub fn top_k_sample(
    logits: &[f32],
    k: usize,
    rng: &mut Rng,
    buffer: &mut Candidates,
) -> Result<u32, SampleError> {
    buffer.load(logits)?;
    stages::top_k(buffer, k);
    stages::draw(buffer, rng.next_unit())
}

/// Draws among the fewest most probable tokens whose probabilities sum to at least `p`.
///
/// # Errors
///
/// Logits that are no distribution, or a `p` outside 0..=1.
pub fn top_p_sample(
    logits: &[f32],
    p: f32,
    rng: &mut Rng,
    buffer: &mut Candidates,
) -> Result<u32, SampleError> {
    sample_with(logits, ("top_p", p), stages::top_p, rng, buffer)
}

/// Draws among the tokens at least `p` times as probable as the most probable one.
///
/// # Errors
///
/// Logits that are no distribution, or a `p` outside 0..=1.
pub fn min_p_sample(
    logits: &[f32],
    p: f32,
    rng: &mut Rng,
    buffer: &mut Candidates,
) -> Result<u32, SampleError> {
    sample_with(logits, ("min_p", p), stages::min_p, rng, buffer)
}

/// Draws among the locally typical tokens of mass `p`; see [`stages::typical`].
///
/// # Errors
///
/// Logits that are no distribution, or a `p` outside 0..=1.
pub fn typical_sample(
    logits: &[f32],
    p: f32,
    rng: &mut Rng,
    buffer: &mut Candidates,
) -> Result<u32, SampleError> {
    sample_with(logits, ("typical_p", p), stages::typical, rng, buffer)
}

fn sample_with(
    logits: &[f32],
    (field, p): (&'static str, f32),
    stage: fn(&mut Candidates, f32),
    rng: &mut Rng,
    buffer: &mut Candidates,
) -> Result<u32, SampleError> {
    check_probability(field, p)?;
    buffer.load(logits)?;
    stage(buffer, p);
    stages::draw(buffer, rng.next_unit())
}

fn check_numbers(values: &[f32]) -> Result<(), SampleError> {
    match values.iter().position(|v| v.is_nan()) {
        None => Ok(()),
        Some(first) => {
            let count = values.iter().filter(|v| v.is_nan()).count();
            Err(SampleError::NotANumber { count, first, of: values.len() })
        }
    }
}

impl From<ParamError> for SampleError {
    fn from(error: ParamError) -> Self {
        SampleError::Param(error)
    }
}
