//! The candidate buffer: the tokens that may still be drawn, with their logits.
//!
//! The idea: every stage of the chain narrows or rescales one buffer in place, which the sampler keeps from
//! token to token, so that a step allocates nothing once the buffer has the size of the vocabulary.
//!
//! The invariant: no logit in the buffer is NaN or +∞. It is checked where logits come in, and each stage
//! keeps it, so the order below is total and no sort can panic.

use std::cmp::Ordering;

use super::SampleError;
use super::elementary::{exp, ln};

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

    /// Keeps the candidates of these tokens; their order stays.
    pub fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.items.retain(|item| keep(item.id));
    }

    /// The candidate of the greatest logit, of the lowest id on a tie.
    pub fn best(&self) -> Option<&Candidate> {
        if self.sorted { self.items.first() } else { self.items.iter().min_by(|a, b| compare(a, b)) }
    }

    /// Writes each candidate's probability, e^logit over the sum of all, and returns the logarithm of that
    /// sum: the probability of a logit `l` is e^(l − it).
    ///
    /// The sum runs in the order of the buffer, in f64, so it is the same everywhere. `None`, and nothing is
    /// written, where every logit is −∞.
    pub(super) fn softmax(&mut self) -> Option<f64> {
        let max = f64::from(self.best().map(|best| best.logit)?);
        if max == f64::NEG_INFINITY {
            return None;
        }
        for item in &mut self.items {
            item.p = exp(f64::from(item.logit) - max);
        }
        let sum: f64 = self.items.iter().map(|item| item.p).sum();
        self.items.iter_mut().for_each(|item| item.p /= sum);
        Some(max + ln(sum))
    }

    /// The logarithm of the sum of e^logit over the candidates: the log-probability of a logit `l` is `l` minus it.
    ///
    /// # Errors
    ///
    /// [`SampleError::NothingLeft`] where every logit is −∞.
    pub fn log_sum(&mut self) -> Result<f64, SampleError> {
        self.softmax().ok_or(SampleError::NothingLeft)
    }

    /// Keeps the least candidates by `order` until `enough` says so of one, which is the last kept; they are
    /// left in that order.
    ///
    /// Most distributions need a few candidates only, so the rest stays unsorted.
    pub(super) fn keep_first(
        &mut self,
        order: impl Fn(&Candidate, &Candidate) -> Ordering,
        mut enough: impl FnMut(&Candidate) -> bool,
    ) {
        let (mut sorted, mut step) = (0, 128);
        while sorted < self.items.len() {
            let end = self.items.len().min(sorted + step);
            if end < self.items.len() {
                self.items[sorted..].select_nth_unstable_by(step, &order);
            }
            self.items[sorted..end].sort_unstable_by(&order);
            if let Some(last) = self.items[sorted..end].iter().position(&mut enough) {
                self.items.truncate(sorted + last + 1);
                return;
            }
            sorted = end;
            step *= 4;
        }
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
