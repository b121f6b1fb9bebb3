//! The stages of the chain, each a function over the candidate buffer.
//!
//! Every stage keeps at least one candidate, allocates nothing, and does nothing at its neutral value. The
//! formulas are those of ggml's samplers of the same names; the sums are in f64 and the exponentials
//! our own, so that results are the same on every platform.

use super::candidates::{Candidate, Candidates, compare};
use super::elementary::exp;
use super::{SampleError, SamplingParams};

/// How much a token that occurred before is held back; see [`penalize`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalties {
    /// Divides a positive logit and multiplies a negative one. Above 0; 1 does nothing.
    pub repeat: f32,
    /// Taken once from the logit of a token that occurred.
    pub presence: f32,
    /// Taken from the logit for each time that the token occurred.
    pub frequency: f32,
}

impl From<&SamplingParams> for Penalties {
    fn from(params: &SamplingParams) -> Self {
        Penalties {
            repeat: params.repeat_penalty,
            presence: params.presence_penalty,
            frequency: params.frequency_penalty,
        }
    }
}

/// Adds to the logits of single tokens. Pairs of id and bias; ids that are no candidates are passed over.
///
/// A bias is finite, or −∞ to ban the token.
pub fn bias(candidates: &mut Candidates, biases: &[(u32, f32)]) {
    for &(id, bias) in biases {
        // Before any stage reorders the buffer, a candidate stands at the index of its id.
        let place = id as usize;
        let found = match candidates.items.get(place) {
            Some(item) if item.id == id => Some(place),
            _ => candidates.items.iter().position(|item| item.id == id),
        };
        if let Some(place) = found {
            let item = &mut candidates.items[place];
            item.logit = clamp_above(f64::from(item.logit) + f64::from(bias));
            candidates.sorted = false;
        }
    }
}

/// Holds back tokens that occurred: `counts[id]` is how often; ids past its end did not occur.
///
/// For a token that occurred `n > 0` times: `logit ← (logit ≤ 0 ? logit · repeat : logit / repeat) −
/// n · frequency − presence`.
pub fn penalize(candidates: &mut Candidates, counts: &[u32], penalties: Penalties) {
    let [repeat, presence, frequency] =
        [penalties.repeat, penalties.presence, penalties.frequency].map(f64::from);
    for item in &mut candidates.items {
        let n = counts.get(item.id as usize).copied().unwrap_or(0);
        if n > 0 {
            let logit = f64::from(item.logit);
            let scaled = if logit <= 0.0 { logit * repeat } else { logit / repeat };
            item.logit = clamp_above(scaled - f64::from(n) * frequency - presence);
        }
    }
    candidates.sorted = false;
}

/// Keeps the `k` candidates of the greatest logits, sorted; 0 keeps all. Lower ids win ties.
pub fn top_k(candidates: &mut Candidates, k: usize) {
    let len = candidates.items.len();
    if k == 0 || k >= len {
        return;
    }
    if !candidates.sorted {
        gather_best(&mut candidates.items, k);
        candidates.sorted = true;
    }
    candidates.items.truncate(k);
}

/// Keeps the fewest most probable candidates whose probabilities sum to at least `p`, sorted; 1 keeps all.
pub fn top_p(candidates: &mut Candidates, p: f32) {
    if p >= 1.0 || candidates.softmax().is_none() {
        return;
    }
    let mut sum = 0.0;
    candidates.keep_first(compare, |item| {
        sum += item.p;
        sum >= f64::from(p)
    });
    candidates.sorted = true;
}

/// Keeps the candidates at least `p` times as probable as the most probable one; 0 keeps all.
pub fn min_p(candidates: &mut Candidates, p: f32) {
    if p <= 0.0 {
        return;
    }
    let Some(best) = candidates.best().map(|best| f64::from(best.logit)) else { return };
    if best == f64::NEG_INFINITY {
        return;
    }
    // p_i / p_max = e^(logit_i − logit_max): no sum is needed.
    candidates.items.retain(|item| exp(f64::from(item.logit) - best) >= f64::from(p));
}

/// Locally typical sampling: keeps the candidates whose surprise, −ln p, is nearest to the entropy, until
/// their probabilities sum to more than `p`; 1 keeps all. Meister et al., 2022 (arXiv 2202.00666).
///
/// The candidates are left in order of that distance.
pub fn typical(candidates: &mut Candidates, p: f32) {
    if p >= 1.0 {
        return;
    }
    let Some(log_sum) = candidates.softmax() else { return };
    // −ln p from the logit itself. Of an impossible token it is infinite: any great number will do.
    let surprise = |item: &Candidate| (log_sum - f64::from(item.logit)).min(1e300);
    let entropy: f64 = candidates.items.iter().map(|item| item.p * surprise(item)).sum();
    let distance = |item: &Candidate| (surprise(item) - entropy).abs();
    let mut sum = 0.0;
    candidates.sorted = false;
    candidates.keep_first(
        |a, b| distance(a).total_cmp(&distance(b)).then_with(|| a.id.cmp(&b.id)),
        |item| {
            sum += item.p;
            sum > f64::from(p)
        },
    );
}

/// Divides the logits by `t`, after taking the greatest from each so that none overflows; 0 or less leaves
/// the most probable candidate alone.
pub fn temperature(candidates: &mut Candidates, t: f32) {
    let Some(best) = candidates.best().copied() else { return };
    if t <= 0.0 {
        candidates.items.clear();
        candidates.items.push(best);
        candidates.sorted = true;
        return;
    }
    if best.logit == f32::NEG_INFINITY {
        return;
    }
    for item in &mut candidates.items {
        item.logit = ((f64::from(item.logit) - f64::from(best.logit)) / f64::from(t)) as f32;
    }
    // Equal quotients may follow from unequal logits, but their order holds.
}

/// Draws a candidate by its probability: the first, in the order of the buffer, at which the running sum of
/// probabilities exceeds `unit`, a number in [0, 1).
///
/// # Errors
///
/// [`SampleError::NothingLeft`] if no candidate has a probability above zero.
pub fn draw(candidates: &mut Candidates, unit: f64) -> Result<u32, SampleError> {
    candidates.softmax().ok_or(SampleError::NothingLeft)?;
    let mut sum = 0.0;
    let drawn = candidates.items.iter().find(|item| {
        sum += item.p;
        sum > unit
    });
    // Rounding may leave the whole sum just below a `unit` near 1: then the last that is possible.
    let last = || candidates.items.iter().rfind(|item| item.p > 0.0);
    drawn.or_else(last).map(|item| item.id).ok_or(SampleError::NothingLeft)
}

/// Moves the `k` best items to the front, sorted. `0 < k < items.len()`.
///
/// One pass: the items at least as good as the worst of the best so far collect at the front; whenever 2k
/// stand there, the better half stays. So most of a vocabulary costs one comparison a token.
fn gather_best(items: &mut [Candidate], k: usize) {
    let room = (2 * k).max(k + 64).min(items.len());
    let mut filled = room;
    items[..filled].select_nth_unstable_by(k - 1, compare);
    filled = k;
    let mut worst = items[k - 1];
    for next in room..items.len() {
        if compare(&items[next], &worst).is_lt() {
            items.swap(filled, next);
            filled += 1;
            if filled == room {
                items[..filled].select_nth_unstable_by(k - 1, compare);
                filled = k;
                worst = items[k - 1];
            }
        }
    }
    if filled > k {
        items[..filled].select_nth_unstable_by(k - 1, compare);
    }
    items[..k].sort_unstable_by(compare);
}

/// Back to f32, where a sum that overflows stays the greatest finite number: +∞ would make NaN later on.
fn clamp_above(logit: f64) -> f32 {
    (logit as f32).min(f32::MAX)
}
