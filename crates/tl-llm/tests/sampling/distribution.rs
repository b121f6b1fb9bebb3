//! Draws follow the distribution that the stages leave: Pearson's test with fixed seeds.

use tl_llm::sampling::{Candidates, Rng, Sampler, SamplingParams, builtins};

use crate::reference;

const DRAWS: usize = 40_000;

const LOGITS: [f32; 8] = [1.0, 0.0, 2.5, -1.0, 0.5, 2.0, -3.0, 1.5];

/// How often each id came in `DRAWS` draws.
fn histogram(mut draw: impl FnMut() -> u32) -> Vec<usize> {
    let mut counts = vec![0; LOGITS.len()];
    (0..DRAWS).for_each(|_| counts[draw() as usize] += 1);
    counts
}

/// Pearson's statistic of `counts` against the softmax of `kept`, and that nothing else was drawn.
fn assert_follows(counts: &[usize], kept: &[(u32, f32)]) {
    let mut statistic = 0.0;
    for ((id, _), p) in kept.iter().zip(reference::probabilities(kept)) {
        let (got, want) = (counts[*id as usize] as f64, p * DRAWS as f64);
        statistic += (got - want).powi(2) / want;
    }
    let drawn: usize = kept.iter().map(|(id, _)| counts[*id as usize]).sum();
    assert_eq!(drawn, DRAWS, "only what was kept is drawn: {counts:?}");
    // The statistic has a mean of (kept - 1) and a variance of twice that; the seeds are fixed, so this is
    // no gamble, but a bias of one percent in one token would show.
    let degrees = (kept.len() - 1) as f64;
    assert!(statistic < degrees + 4.0 * (2.0 * degrees).sqrt(), "{statistic} for {degrees}: {counts:?}");
}

fn all() -> Vec<(u32, f32)> {
    LOGITS.iter().enumerate().map(|(id, logit)| (id as u32, *logit)).collect()
}

/// The kept tokens of `ids`, at a temperature.
fn only(ids: &[u32], t: f32) -> Vec<(u32, f32)> {
    ids.iter().map(|id| (*id, LOGITS[*id as usize] / t)).collect()
}

#[test]
fn temperature_draws_follow_the_softmax() {
    for (seed, t) in [(1, 1.0), (2, 0.5), (3, 2.0), (4, 0.2)] {
        let (mut rng, mut buffer) = (Rng::from_seed(seed), Candidates::new());
        let counts = histogram(|| builtins::temperature_sample(&LOGITS, t, &mut rng, &mut buffer).unwrap());
        assert_follows(&counts, &only(&[0, 1, 2, 3, 4, 5, 6, 7], t));
    }
}

#[test]
fn truncated_draws_follow_what_is_left() {
    let (mut rng, mut buffer) = (Rng::from_seed(5), Candidates::new());
    let counts = histogram(|| builtins::top_k_sample(&LOGITS, 3, &mut rng, &mut buffer).unwrap());
    assert_follows(&counts, &only(&[2, 5, 7], 1.0));

    let sorted = reference::sorted(all());
    let (keep, _) = reference::top_p(&sorted, 0.8);
    let counts = histogram(|| builtins::top_p_sample(&LOGITS, 0.8, &mut rng, &mut buffer).unwrap());
    assert_follows(&counts, &sorted[..keep]);

    // e^-1.5 = 0.223: the tokens with a logit of 1 and more.
    let counts = histogram(|| builtins::min_p_sample(&LOGITS, 0.2, &mut rng, &mut buffer).unwrap());
    assert_follows(&counts, &only(&[2, 5, 7, 0], 1.0));

    let counts = histogram(|| builtins::typical_sample(&LOGITS, 1.0, &mut rng, &mut buffer).unwrap());
    assert_follows(&counts, &all());
}

#[test]
fn the_chain_draws_from_its_composition() {
    let params = SamplingParams {
        temperature: 0.7,
        top_k: 5,
        top_p: 0.9,
        min_p: 0.1,
        seed: Some(6),
        ..SamplingParams::default()
    };
    let mut sampler = Sampler::new(params, LOGITS.len()).unwrap();
    let counts = histogram(|| sampler.sample(&LOGITS).unwrap());
    // Top-k leaves logits 2.5, 2, 1.5, 1, 0.5; of those 0.41, 0.25, 0.15, 0.09, 0.06 top-p leaves four.
    assert_follows(&counts, &only(&[2, 5, 7, 0], 0.7));
}

#[test]
fn one_shot_functions_refuse_parameters_out_of_range() {
    let (mut rng, mut buffer) = (Rng::from_seed(7), Candidates::new());
    let error = builtins::temperature_sample(&LOGITS, f32::NAN, &mut rng, &mut buffer).unwrap_err();
    assert_eq!(error.to_string(), "temperature must be a finite number, not NaN");
    for p in [-0.1, 1.1, f32::NAN, f32::INFINITY] {
        let error = builtins::top_p_sample(&LOGITS, p, &mut rng, &mut buffer).unwrap_err();
        assert_eq!(error.to_string(), format!("top_p must be between 0 and 1, not {p}"));
        assert!(builtins::min_p_sample(&LOGITS, p, &mut rng, &mut buffer).is_err());
        assert!(builtins::typical_sample(&LOGITS, p, &mut rng, &mut buffer).is_err());
    }
}
