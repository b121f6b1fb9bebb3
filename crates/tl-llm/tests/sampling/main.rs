//! Sampling: each stage against a slow reference, draws against their distribution, the chain's order, and
//! the outcome of logits and parameters that make no sense.

mod chain;
mod distribution;
mod reference;
mod stages;
mod stop;

use proptest::collection::vec;
use proptest::prelude::*;
use tl_llm::sampling::Candidates;

/// Logits as models make them, with ties, banned tokens, and now and then huge values.
fn logits(most: usize) -> impl Strategy<Value = Vec<f32>> {
    let one = prop_oneof![
        8 => -12.0f32..12.0,
        3 => (-6i32..6).prop_map(|v| v as f32),
        1 => Just(f32::NEG_INFINITY),
        1 => -1e30f32..1e30,
        1 => Just(-0.0f32),
    ];
    vec(one, 1..most).prop_filter("some token is possible", |all| all.iter().any(|v| *v > f32::NEG_INFINITY))
}

fn load(logits: &[f32]) -> Candidates {
    let mut candidates = Candidates::new();
    candidates.load(logits).unwrap();
    candidates
}

fn ids(candidates: &Candidates) -> Vec<u32> {
    candidates.as_slice().iter().map(|item| item.id).collect()
}
