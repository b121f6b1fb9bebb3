//! The candidate buffer: the tokens that may still be drawn, with their logits.
//!
//! The idea: every stage of the chain narrows or rescales one buffer in place, which the sampler keeps from
//! token to token, so that a step allocates nothing once the buffer has the size of the vocabulary.
//!
//! The invariant: no logit in the buffer is NaN or +∞. It is checked where logits come in, and each stage
//! keeps it, so the order below is total and no sort can panic.

use std::cmp::Ordering;

use super::SampleError;
use super::elementary::exp;

/// One token that may be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The token.
    pub id: u32,
    /// Its logit after the stages so far.
    pub logit: f32,
    /// Its probability among the candidates, as the last stage that needed probabilities left it.
    pub p: f64,
}

/// The tokens that may still be drawn. Ids are distinct.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    pub(super) items: Vec<Candidate>,
    /// Whether `items` is in falling order of logit, ties in rising order of id.
    pub(super) sorted: bool,
}

impl Candidates {
    /// An empty buffer; [`Candidates::load`] fills it.
    pub fn new() -> Self {
        Candidates::default()
    }

    /// Replaces the content by one candidate for each of `logits`, shape `[vocab]`.
    ///
    /// # Errors
    ///
    /// [`SampleError::Empty`], [`SampleError::NotANumber`], [`SampleError::Infinite`] and
    /// [`SampleError::NothingLeft`] (every logit is −∞); the buffer is then empty.
    pub fn load(&mut self, logits: &[f32]) -> Result<(), SampleError> {
        self.items.clear();
        self.sorted = false;
        check_logits(logits)?;
        self.fill(logits);
        Ok(())
    }

    /// A buffer of `values` that the caller found free of NaN.
    pub(super) fn from_checked(values: &[f32]) -> Self {
        let mut buffer = Candidates::new();
        buffer.fill(values);
        buffer
    }

    fn fill(&mut self, values: &[f32]) {
        let items = values.iter().enumerate();
        self.items.extend(items.map(|(id, &logit)| Candidate { id: id as u32, logit, p: 0.0 }));
    }

    /// The candidates, in the order in which the last stage left them.
    pub fn as_slice(&self) -> &[Candidate] {
        &self.items
    }

    /// How many candidates are left.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether no candidate is left.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The candidate of the greatest logit, of the lowest id on a tie.
    pub fn best(&self) -> Option<&Candidate> {
        if self.sorted { self.items.first() } else { self.items.iter().min_by(|a, b| compare(a, b)) }
    }

    /// Writes each candidate's probability, e^logit over the sum of all.
    ///
    /// The sum runs in the order of the buffer, in f64, so it is the same everywhere. If every logit is −∞,
    /// every probability is zero.
    pub(super) fn softmax(&mut self) {
        let max = self.best().map_or(f32::NEG_INFINITY, |best| best.logit);
        if max == f32::NEG_INFINITY {
            self.items.iter_mut().for_each(|item| item.p = 0.0);
            return;
        }
        let max = f64::from(max);
        for item in &mut self.items {
            item.p = exp(f64::from(item.logit) - max);
        }
        let sum: f64 = self.items.iter().map(|item| item.p).sum();
        self.items.iter_mut().for_each(|item| item.p /= sum);
    }

    /// Sorts the first `n` places after `start`, taking the best of what stands there and after.
    ///
    /// With `start` sorted places already there, the buffer begins with `start + n` sorted ones.
    pub(super) fn sort_from(&mut self, start: usize, n: usize) {
        let rest = &mut self.items[start..];
        if n < rest.len() {
            rest.select_nth_unstable_by(n, compare);
        }
        let n = n.min(rest.len());
        rest[..n].sort_unstable_by(compare);
    }
}

/// Order of the buffer: falling logit, then rising id.
pub(super) fn compare(a: &Candidate, b: &Candidate) -> Ordering {
    // Not `total_cmp`, which holds that −0 < 0 and so would not let the lower id win that tie.
    b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal).then(a.id.cmp(&b.id))
}

/// Refuses logits that are no distribution.
fn check_logits(logits: &[f32]) -> Result<(), SampleError> {
    if logits.is_empty() {
        return Err(SampleError::Empty);
    }
    // One pass without branches: a NaN or +∞ makes `v < ∞` false.
    let finite_or_below = logits.iter().filter(|&&v| v < f32::INFINITY).count();
    if finite_or_below != logits.len() {
        return Err(describe_bad(logits));
    }
    if logits.iter().all(|&v| v == f32::NEG_INFINITY) {
        return Err(SampleError::NothingLeft);
    }
    Ok(())
}

#[cold]
fn describe_bad(logits: &[f32]) -> SampleError {
    let of = logits.len();
    let nan = logits.iter().filter(|v| v.is_nan()).count();
    match logits.iter().position(|v| v.is_nan()) {
        Some(first) => SampleError::NotANumber { count: nan, first, of },
        None => {
            let count = logits.iter().filter(|&&v| v == f32::INFINITY).count();
            let first = logits.iter().position(|&v| v == f32::INFINITY).unwrap_or(0);
            SampleError::Infinite { count, first, of }
        }
    }
}
