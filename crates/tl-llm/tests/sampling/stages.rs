//! Each stage on its own: equality with the reference, and what must hold for any logits.

use proptest::prelude::*;
use tl_llm::sampling::{Candidates, SampleError, builtins, stages};

use crate::{ids, load, logits, reference};

fn pairs(logits: &[f32]) -> Vec<(u32, f32)> {
    logits.iter().enumerate().map(|(id, logit)| (id as u32, *logit)).collect()
}

fn kept(candidates: &Candidates) -> Vec<(u32, f32)> {
    candidates.as_slice().iter().map(|item| (item.id, item.logit)).collect()
}

proptest! {
    #[test]
    fn top_k_keeps_the_k_greatest_in_order(logits in logits(700), k in 1usize..400) {
        let mut candidates = load(&logits);
        stages::top_k(&mut candidates, k);
        if k < logits.len() {
            prop_assert_eq!(kept(&candidates), reference::top_k(pairs(&logits), k));
        } else {
            prop_assert_eq!(kept(&candidates), pairs(&logits), "nothing to leave out");
        }
    }

    #[test]
    fn top_k_after_another_top_k_is_the_smaller(logits in logits(300), a in 1usize..50, b in 1usize..50) {
        let mut twice = load(&logits);
        stages::top_k(&mut twice, a);
        stages::top_k(&mut twice, b);
        let mut once = load(&logits);
        stages::top_k(&mut once, a.min(b));
        prop_assert_eq!(kept(&twice), kept(&once));
    }

    #[test]
    fn top_p_keeps_the_smallest_set_that_suffices(logits in logits(700), p in 0.0f32..1.0) {
        let mut candidates = load(&logits);
        stages::top_p(&mut candidates, p);
        let sorted = reference::sorted(pairs(&logits));
        let (keep, misses) = reference::top_p(&sorted, p.into());
        // Where a running sum hits `p` to the last bits, either side is right.
        prop_assume!(misses.iter().all(|miss| *miss > 1e-12));
        prop_assert_eq!(kept(&candidates), &sorted[..keep]);
    }

    #[test]
    fn top_p_does_not_care_whether_it_was_sorted_before(logits in logits(700), p in 0.0f32..1.0) {
        let mut unsorted = load(&logits);
        stages::top_p(&mut unsorted, p);
        let mut sorted = load(&logits);
        if logits.len() > 1 {
            stages::top_k(&mut sorted, logits.len() - 1);
            prop_assume!(logits.iter().filter(|v| v.is_finite()).count() < logits.len());
        }
        stages::top_p(&mut sorted, p);
        // Only an impossible token was left out, so the probabilities are the same but for rounding.
        prop_assert!(ids(&unsorted).len().abs_diff(ids(&sorted).len()) <= 1);
        let n = unsorted.len().min(sorted.len());
        prop_assert_eq!(&ids(&unsorted)[..n], &ids(&sorted)[..n]);
    }

    #[test]
    fn min_p_keeps_what_is_probable_enough(logits in logits(500), p in 0.001f32..1.0) {
        let mut candidates = load(&logits);
        stages::min_p(&mut candidates, p);
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let ratio = |logit: f32| (f64::from(logit) - f64::from(max)).exp();
        prop_assume!(logits.iter().all(|logit| (ratio(*logit) - f64::from(p)).abs() > 1e-12));
        let want: Vec<u32> = pairs(&logits).iter().filter(|one| ratio(one.1) >= p.into()).map(|one| one.0).collect();
        prop_assert_eq!(ids(&candidates), want);
    }

    #[test]
    fn typical_keeps_the_nearest_to_the_entropy(logits in logits(300), p in 0.01f32..0.999) {
        let mut candidates = load(&logits);
        stages::typical(&mut candidates, p);
        let ps = reference::probabilities(&pairs(&logits));
        let surprise = |p: f64| -p.max(f64::MIN_POSITIVE).ln();
        let entropy: f64 = ps.iter().map(|p| p * surprise(*p)).sum();
        let distance = |id: u32| (surprise(ps[id as usize]) - entropy).abs();
        let kept = ids(&candidates);
        // In order of distance, and none left out is nearer than one kept.
        prop_assert!(kept.windows(2).all(|two| distance(two[0]) <= distance(two[1]) + 1e-9));
        let farthest = kept.iter().map(|id| distance(*id)).fold(0.0, f64::max);
        let out = (0..logits.len() as u32).filter(|id| !kept.contains(id));
        prop_assert!(out.clone().all(|id| distance(id) >= farthest - 1e-9));
        // More than `p` together, and not without the last.
        let mass = |ids: &[u32]| -> f64 { ids.iter().map(|id| ps[*id as usize]).sum() };
        prop_assert!(mass(&kept) > f64::from(p) - 1e-9 || kept.len() == logits.len());
        prop_assert!(mass(&kept[..kept.len() - 1]) <= f64::from(p) + 1e-9);
    }

    #[test]
    fn penalties_equal_the_reference(
        logits in logits(100),
        history in proptest::collection::vec(0u32..120, 0..80),
        repeat in 0.5f32..2.0,
        presence in -2.0f32..2.0,
        frequency in -2.0f32..2.0,
    ) {
        let mut counts = vec![0u32; 120];
        history.iter().for_each(|id| counts[*id as usize] += 1);
        let mut candidates = load(&logits);
        stages::penalize(&mut candidates, &counts, stages::Penalties { repeat, presence, frequency });
        let want = reference::penalize(pairs(&logits), &history, repeat, presence, frequency);
        for (got, want) in kept(&candidates).iter().zip(&want) {
            prop_assert_eq!(got.0, want.0);
            let near = got.1 == want.1 || (got.1 - want.1).abs() <= 1e-4 * want.1.abs().max(1.0);
            prop_assert!(near, "{:?} {:?}", got, want);
        }
    }

    #[test]
    fn temperature_scales_differences_and_keeps_the_order(logits in logits(200), t in 0.01f32..10.0) {
        let mut candidates = load(&logits);
        stages::temperature(&mut candidates, t);
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for (item, logit) in candidates.as_slice().iter().zip(&logits) {
            let want = ((f64::from(*logit) - f64::from(max)) / f64::from(t)) as f32;
            prop_assert_eq!(item.logit, want);
        }
    }

    #[test]
    fn every_stage_keeps_something_and_nothing_twice(
        logits in logits(200),
        k in 0usize..300,
        (typical, top_p, min_p) in (0.0f32..=1.0, 0.0f32..=1.0, 0.0f32..=1.0),
        t in prop_oneof![Just(0.0f32), 1e-38f32..1e-30, 0.1f32..5.0, 1e30f32..3e38],
        unit in 0.0f64..1.0,
    ) {
        let mut candidates = load(&logits);
        stages::top_k(&mut candidates, k);
        stages::typical(&mut candidates, typical);
        stages::top_p(&mut candidates, top_p);
        stages::min_p(&mut candidates, min_p);
        stages::temperature(&mut candidates, t);
        let mut left = ids(&candidates);
        prop_assert!(!left.is_empty());
        left.sort_unstable();
        prop_assert!(left.windows(2).all(|two| two[0] < two[1]));
        let drawn = stages::draw(&mut candidates, unit).unwrap();
        prop_assert!(left.binary_search(&drawn).is_ok());
        prop_assert!(logits[drawn as usize] > f32::NEG_INFINITY, "an impossible token is never drawn");
    }

    #[test]
    fn top_k_values_lists_the_greatest(logits in logits(300), k in 0usize..400) {
        let want = reference::top_k(pairs(&logits), k);
        prop_assert_eq!(builtins::top_k_values(&logits, k).unwrap(), want);
    }

    #[test]
    fn argmax_is_the_first_greatest(logits in logits(300)) {
        let want = reference::sorted(pairs(&logits))[0].0;
        prop_assert_eq!(builtins::argmax(&logits).unwrap(), want);
    }
}

#[test]
fn neutral_values_change_nothing() {
    let all = [0.5, 2.0, -1.0, f32::NEG_INFINITY, 2.0];
    let mut candidates = load(&all);
    stages::bias(&mut candidates, &[]);
    stages::penalize(
        &mut candidates,
        &[9; 5],
        stages::Penalties { repeat: 1.0, presence: 0.0, frequency: 0.0 },
    );
    stages::top_k(&mut candidates, 0);
    stages::typical(&mut candidates, 1.0);
    stages::top_p(&mut candidates, 1.0);
    stages::min_p(&mut candidates, 0.0);
    assert_eq!(kept(&candidates), pairs(&all));
}

#[test]
fn extremes_keep_the_best() {
    let all = [0.5, 2.0, -1.0, 2.0];
    let after = |stage: fn(&mut Candidates)| {
        let mut candidates = load(&all);
        stage(&mut candidates);
        ids(&candidates)
    };
    assert_eq!(after(|c| stages::top_k(c, 1)), [1]);
    assert_eq!(after(|c| stages::top_p(c, 0.0)), [1]);
    assert_eq!(after(|c| stages::min_p(c, 1.0)), [1, 3], "both are as probable as the most probable");
    assert_eq!(after(|c| stages::temperature(c, 0.0)), [1]);
    assert_eq!(after(|c| stages::temperature(c, -1.0)), [1]);
}

#[test]
fn a_bias_reaches_its_token_wherever_it_stands() {
    let mut candidates = load(&[0.0, 1.0, 2.0, 3.0]);
    stages::top_k(&mut candidates, 3);
    stages::bias(&mut candidates, &[(1, 5.0), (3, f32::NEG_INFINITY), (0, 9.0), (77, 1.0)]);
    assert_eq!(kept(&candidates), [(3, f32::NEG_INFINITY), (2, 2.0), (1, 6.0)]);
    stages::top_k(&mut candidates, 2);
    assert_eq!(ids(&candidates), [1, 2], "the order is found anew");
}

#[test]
fn penalties_that_overflow_stay_numbers() {
    let mut candidates = load(&[3e38, -3e38, f32::NEG_INFINITY, 0.0]);
    let penalties = stages::Penalties { repeat: 1e-30, presence: -3e38, frequency: -3e38 };
    stages::penalize(&mut candidates, &[u32::MAX; 4], penalties);
    assert!(candidates.as_slice().iter().all(|item| !item.logit.is_nan() && item.logit < f32::INFINITY));
    stages::draw(&mut candidates, 0.5).unwrap();
}

#[test]
fn zero_and_minus_zero_are_a_tie() {
    assert_eq!(builtins::argmax(&[-1.0, -0.0, 0.0]), Ok(1));
    assert_eq!(builtins::top_k_values(&[-0.0, 0.0, -0.0], 2).unwrap()[0].0, 0);
    let mut candidates = load(&[-0.0, 0.0]);
    stages::temperature(&mut candidates, 0.0);
    assert_eq!(ids(&candidates), [0]);
}

#[test]
fn logits_that_are_no_distribution_are_values_not_panics() {
    let mut candidates = Candidates::new();
    let nan = f32::NAN;
    assert_eq!(candidates.load(&[]), Err(SampleError::Empty));
    let some = [1.0, nan, 2.0, -nan, f32::INFINITY];
    assert_eq!(candidates.load(&some), Err(SampleError::NotANumber { count: 2, first: 1, of: 5 }));
    let error = candidates.load(&some).unwrap_err().to_string();
    assert!(error.contains("2 of 5 logits are NaN") && error.contains("index 1"), "{error}");
    let infinite = Err(SampleError::Infinite { count: 1, first: 2, of: 3 });
    assert_eq!(candidates.load(&[0.0, 1.0, f32::INFINITY]), infinite);
    assert_eq!(candidates.load(&[f32::NEG_INFINITY; 4]), Err(SampleError::NothingLeft));
    assert!(candidates.is_empty(), "a refused load leaves nothing to draw");
    assert_eq!(stages::draw(&mut candidates, 0.0), Err(SampleError::NothingLeft));
    assert_eq!(builtins::argmax(&[]), Err(SampleError::Empty));
    assert_eq!(builtins::argmax(&[nan]), Err(SampleError::NotANumber { count: 1, first: 0, of: 1 }));
    assert_eq!(builtins::argmax(&[0.0, f32::INFINITY]), Ok(1));
    assert!(builtins::top_k_values(&[nan], 1).is_err());
    assert_eq!(builtins::top_k_values(&[], 3), Ok(vec![]));
}

#[test]
fn stages_on_an_empty_or_impossible_buffer_do_nothing() {
    let mut impossible = load(&[1.0, 2.0]);
    stages::bias(&mut impossible, &[(0, f32::NEG_INFINITY), (1, f32::NEG_INFINITY)]);
    for mut candidates in [Candidates::new(), impossible] {
        let before = ids(&candidates);
        stages::top_k(&mut candidates, 5);
        stages::typical(&mut candidates, 0.5);
        stages::top_p(&mut candidates, 0.5);
        stages::min_p(&mut candidates, 0.5);
        stages::temperature(&mut candidates, 0.5);
        let mut after = ids(&candidates);
        after.sort_unstable();
        assert_eq!(after, before);
        assert_eq!(stages::draw(&mut candidates, 0.5), Err(SampleError::NothingLeft));
    }
}
