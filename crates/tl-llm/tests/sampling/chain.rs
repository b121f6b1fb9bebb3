//! The sampler as a whole: defaults, order, seeds, memory, errors, and that it allocates nothing.

use tl_llm::sampling::{SampleError, Sampler, SamplingParams};

use crate::ids;

/// Logits that vary from step to step, without a random number.
fn step(n: u32, vocab: u32) -> Vec<f32> {
    (0..vocab).map(|id| ((id * 7919 + n * 104_729) % 1009) as f32 / 100.0).collect()
}

fn tokens(params: SamplingParams, vocab: u32, steps: u32) -> Vec<u32> {
    let mut sampler = Sampler::new(params, vocab as usize).unwrap();
    (0..steps).map(|n| sampler.sample(&step(n, vocab)).unwrap()).collect()
}

#[test]
fn the_defaults_are_llama_cpps() {
    let params = SamplingParams::default();
    assert_eq!((params.temperature, params.top_k, params.top_p, params.min_p), (0.8, 40, 0.95, 0.05));
    assert_eq!((params.typical_p, params.repeat_last_n, params.repeat_penalty), (1.0, Some(64), 1.0));
    assert_eq!((params.presence_penalty, params.frequency_penalty), (0.0, 0.0));
    assert_eq!((params.seed, params.logit_bias.len()), (None, 0));
}

#[test]
fn a_seed_gives_the_same_tokens_and_another_gives_others() {
    let with = |seed| SamplingParams { seed: Some(seed), ..SamplingParams::default() };
    assert_eq!(tokens(with(1), 500, 50), tokens(with(1), 500, 50));
    assert_ne!(tokens(with(1), 500, 50), tokens(with(2), 500, 50));
}

#[test]
fn the_tokens_of_a_seed_are_pinned() {
    // These numbers are part of the interface: a saved seed must go on to say the same.
    let params = SamplingParams { seed: Some(42), ..SamplingParams::default() };
    assert_eq!(tokens(params.clone(), 500, 12), [218, 467, 222, 326, 173, 66, 414, 215, 42, 318, 356, 91]);
    let all = SamplingParams { top_k: 0, top_p: 1.0, min_p: 0.0, typical_p: 0.9, temperature: 1.5, ..params };
    assert_eq!(tokens(all, 500, 12), [99, 98, 434, 128, 364, 66, 309, 182, 82, 398, 389, 448]);
}

#[test]
fn without_a_seed_each_sampler_has_its_own_and_tells_it() {
    let sampler = || Sampler::new(SamplingParams::default(), 500).unwrap();
    let (a, b) = (sampler(), sampler());
    assert_ne!(a.seed(), b.seed());
    let again = SamplingParams { seed: Some(a.seed()), ..SamplingParams::default() };
    let mut a = a;
    let first: Vec<u32> = (0..20).map(|n| a.sample(&step(n, 500)).unwrap()).collect();
    assert_eq!(tokens(again, 500, 20), first);
}

#[test]
fn greedy_takes_the_greatest_and_the_lowest_id_on_a_tie() {
    let mut sampler = Sampler::new(SamplingParams::greedy(), 4).unwrap();
    assert_eq!(sampler.sample(&[1.0, 3.0, 3.0, 2.0]), Ok(1));
    assert_eq!(sampler.sample(&[-5.0, f32::NEG_INFINITY, -5.0, -6.0]), Ok(0));
    let odd =
        SamplingParams { temperature: -3.0, top_k: 1, top_p: 0.0, min_p: 1.0, ..SamplingParams::default() };
    assert_eq!(Sampler::new(odd, 4).unwrap().sample(&[1.0, 3.0, 3.0, 2.0]), Ok(1));
}

#[test]
fn stages_run_in_the_stated_order() {
    // Bias before top-k: a token that only its bias makes probable survives a top-k of 1.
    let biased = SamplingParams { logit_bias: vec![(3, 100.0)], top_k: 1, ..SamplingParams::default() };
    assert_eq!(Sampler::new(biased, 4).unwrap().sample(&[1.0, 2.0, 3.0, 0.0]), Ok(3));
    // Penalties before top-k, and of the biased logit.
    let params = SamplingParams { repeat_penalty: 4.0, top_k: 1, ..SamplingParams::default() };
    let mut sampler = Sampler::new(params, 3).unwrap();
    sampler.accept(2);
    assert_eq!(sampler.sample(&[1.0, 2.0, 3.0]), Ok(1));
    // Top-p before temperature: a hot temperature does not bring back what top-p left out.
    let hot = SamplingParams { top_p: 0.5, temperature: 1e6, seed: Some(1), ..SamplingParams::default() };
    let mut sampler = Sampler::new(hot, 3).unwrap();
    assert!((0..200).all(|_| sampler.sample(&[5.0, 0.0, 0.0]) == Ok(0)));
    assert_eq!(ids(sampler.last_candidates()), [0]);
}

#[test]
fn penalties_look_at_the_last_n_tokens() {
    let with =
        |repeat_last_n| SamplingParams { frequency_penalty: 10.0, repeat_last_n, ..SamplingParams::greedy() };
    let logits = [3.0, 2.0, 1.0];
    let run = |n| {
        let mut sampler = Sampler::new(with(n), 3).unwrap();
        (0..7).map(|_| sampler.sample(&logits).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(run(Some(0)), [0; 7], "a window of none is no penalty");
    assert_eq!(run(Some(1)), [0, 1, 0, 1, 0, 1, 0]);
    assert_eq!(run(Some(2)), [0, 1, 2, 0, 1, 2, 0]);
    assert_eq!(run(None), [0, 1, 2, 0, 1, 2, 0]);
    let mut sampler = Sampler::new(with(Some(1)), 3).unwrap();
    [0, 99, u32::MAX].into_iter().for_each(|id| sampler.accept(id));
    assert_eq!(sampler.sample(&logits), Ok(1), "the prompt counts; ids that are no tokens do not");
}

#[test]
fn reset_begins_again() {
    let params = SamplingParams { presence_penalty: 5.0, seed: Some(9), ..SamplingParams::default() };
    let mut sampler = Sampler::new(params, 500).unwrap();
    let mut run = || {
        sampler.reset();
        (0..30).map(|n| sampler.sample(&step(n, 500)).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn bad_logits_are_errors_and_leave_the_sampler_usable() {
    let mut sampler = Sampler::new(SamplingParams::default(), 3).unwrap();
    let short = SampleError::WrongLength { expected: 3, found: 2 };
    assert_eq!(sampler.sample(&[1.0, 2.0]), Err(short));
    let nan = SampleError::NotANumber { count: 1, first: 2, of: 3 };
    assert_eq!(sampler.sample(&[1.0, 2.0, f32::NAN]), Err(nan));
    assert_eq!(sampler.sample(&[f32::NEG_INFINITY; 3]), Err(SampleError::NothingLeft));
    assert!(sampler.sample(&[1.0, 2.0, 3.0]).is_ok());

    for temperature in [0.0, 0.8] {
        let logit_bias = (0..3).map(|id| (id, f32::NEG_INFINITY)).collect();
        let params = SamplingParams { logit_bias, temperature, ..SamplingParams::default() };
        let mut sampler = Sampler::new(params, 3).unwrap();
        assert_eq!(sampler.sample(&[1.0, 2.0, 3.0]), Err(SampleError::NothingLeft));
    }
    let mut none = Sampler::new(SamplingParams::default(), 0).unwrap();
    assert_eq!(none.sample(&[]), Err(SampleError::Empty));
}

#[test]
fn parameters_out_of_range_are_named() {
    let good = SamplingParams::default;
    let nan = f32::NAN;
    let cases = [
        (SamplingParams { temperature: nan, ..good() }, "temperature must be a finite number, not NaN"),
        (
            SamplingParams { temperature: f32::INFINITY, ..good() },
            "temperature must be a finite number, not inf",
        ),
        (SamplingParams { top_p: 1.5, ..good() }, "top_p must be between 0 and 1, not 1.5"),
        (SamplingParams { min_p: -0.5, ..good() }, "min_p must be between 0 and 1, not -0.5"),
        (SamplingParams { typical_p: nan, ..good() }, "typical_p must be between 0 and 1, not NaN"),
        (
            SamplingParams { repeat_penalty: 0.0, ..good() },
            "repeat_penalty must be a finite number above 0, not 0",
        ),
        (
            SamplingParams { presence_penalty: nan, ..good() },
            "presence_penalty must be a finite number, not NaN",
        ),
        (
            SamplingParams { frequency_penalty: f32::NEG_INFINITY, ..good() },
            "frequency_penalty must be a finite number, not -inf",
        ),
        (
            SamplingParams { logit_bias: vec![(1, f32::INFINITY)], ..good() },
            "logit_bias must be finite, or -inf to ban a token, not inf (for token 1)",
        ),
        (
            SamplingParams { logit_bias: vec![(9, 1.0)], ..good() },
            "logit_bias must be for tokens below 5, the size of the vocabulary, not for token 9",
        ),
    ];
    for (params, message) in cases {
        assert_eq!(Sampler::new(params, 5).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_tiny_or_huge_temperature_is_no_trouble() {
    for temperature in [f32::MIN_POSITIVE, 1e-45, 1e-30, 3e38] {
        let params = SamplingParams { temperature, min_p: 0.0, seed: Some(1), ..SamplingParams::default() };
        let mut sampler = Sampler::new(params, 4).unwrap();
        for _ in 0..100 {
            let id = sampler.sample(&[100.0, 99.0, -3e38, f32::NEG_INFINITY]).unwrap();
            assert!(id < 2 || (temperature > 1.0 && id == 2), "{temperature}: {id}");
        }
    }
}
