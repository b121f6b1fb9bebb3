//! Embeddings: one vector for a text, of the rows that a model computes for its tokens.
//!
//! The rows are those of a [`Probe`]; they are pooled, and the result is scaled to length 1, so that the inner product of two is the cosine of
//! the angle between them.

use tensorlogic::Probe;

use crate::generation::GenerateError;

/// How the rows of a text become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    #[default]
    Mean,
    /// The last, which alone has seen the whole text where a model reads it from left to right.
    Last,
}

/// The embedding of a sequence of tokens, shape `[probe.width()]`, of length 1; all zeros where the pooled row is.
///
/// # Errors
/// When there are no tokens, one is not in the vocabulary, there are more than the context has, or memory can't be had.
pub fn embed(probe: &mut Probe, ids: &[u32], pooling: Pooling) -> Result<Vec<f32>, GenerateError> {
    if ids.is_empty() {
        return Err(GenerateError::EmptyPrompt);
    }
    let mut sum = vec![0.0f64; probe.width()];
    probe.rows(ids, |i, row| {
        if pooling == Pooling::Mean || i + 1 == ids.len() {
            sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
    })?;
    // The mean and the sum have one direction.
    let length = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    Ok(sum.into_iter().map(|x| (x * scale) as f32).collect())
}
