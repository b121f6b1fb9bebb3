//! Beam search against the enumeration of all sequences, and against what it promises of each beam.

use std::sync::atomic::AtomicBool;

use tensorlogic::Generator;
use tl_llm::{Beam, BeamOptions, Finish, GenerateError, GenerateOptions, beam_search};

use crate::made_up::Shape;
use crate::models::{all_continuations, every_memory, greedy, log_probabilities, run, tiny, unchanged};

fn search(
    generator: &Generator,
    prompt: &[u32],
    options: &GenerateOptions,
    width: usize,
    length_penalty: f64,
) -> Vec<Beam> {
    let (mut session, never) = (generator.session(), AtomicBool::new(false));
    let tokenizer = generator.model().tokenizer().ok();
    let beam = BeamOptions { width, length_penalty };
    let found = beam_search(&mut session, tokenizer, prompt, options, &beam, &never).unwrap();
    assert_eq!(session.tokens(), prompt, "the session stays at the prompt");
    assert_eq!(found.prefill.tokens, prompt.len());
    found.beams
}

#[test]
fn a_beam_that_is_wide_enough_finds_all_sequences_in_order() {
    for (memory, generator) in every_memory(&tiny(), 4) {
        let prompt = [3, 0, 2];
        let mut exact = all_continuations(&generator, &prompt, 3);
        exact.sort_by(|a, b| b.1.total_cmp(&a.1));
        let beams = search(&generator, &prompt, &unchanged(3, 0), 125, 1.0);
        assert_eq!(beams.len(), 125);
        for (beam, (ids, log_probability)) in beams.iter().zip(&exact) {
            assert!((beam.log_probability - log_probability).abs() < 1e-4, "{memory}: {beam:?} {ids:?}");
            assert!((beam.score - log_probability / 3.0).abs() < 1e-4, "{memory}");
            assert_eq!(beam.finish, Finish::Length);
        }
        assert_eq!(beams[0].ids, exact[0].0, "{memory}");
        // A narrow one finds what is best of what it follows, never more than there is.
        let narrow = search(&generator, &prompt, &unchanged(3, 0), 4, 1.0);
        assert_eq!(narrow.len(), 4);
        assert!(narrow[0].log_probability <= exact[0].1 + 1e-4);
    }
}

#[test]
fn the_widest_beam_of_each_step_is_followed() {
    // By hand, on one model: of all extensions of the two best pairs the two best.
    let [(_, generator), ..] = every_memory(&tiny(), 8);
    let prompt = [1, 4];
    let mut live = vec![(Vec::<u32>::new(), 0.0)];
    for _ in 0..4 {
        let mut all: Vec<(Vec<u32>, f64)> = Vec::new();
        for (ids, so_far) in &live {
            let next = log_probabilities(&generator, &[&prompt[..], ids].concat());
            all.extend(next.iter().zip(0..).map(|(own, id)| ([&ids[..], &[id]].concat(), so_far + own)));
        }
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.truncate(2);
        live = all;
    }
    let beams = search(&generator, &prompt, &unchanged(4, 0), 2, 0.0);
    let found: Vec<&[u32]> = beams.iter().map(|beam| &beam.ids[..]).collect();
    assert_eq!(found, [&live[0].0, &live[1].0]);
}

#[test]
fn one_beam_is_the_greedy_continuation() {
    for (memory, generator) in every_memory(&Shape::default(), 21) {
        let options = GenerateOptions { ignore_end: true, ..greedy(90) };
        let plain = run(&mut generator.session(), &[5, 6, 7], &options);
        let beams = search(&generator, &[5, 6, 7], &options, 1, 1.0);
        assert_eq!((&beams[0].ids, &beams[0].text), (&plain.ids, &plain.text), "{memory}");
    }
}

#[test]
fn scores_are_those_of_the_tokens_and_of_what_ends_them() {
    let bias = 6.0f32;
    for (memory, generator) in every_memory(&Shape::default(), 21) {
        for length_penalty in [0.0, 1.0, 2.0, -0.5] {
            let mut options = unchanged(12, 0);
            options.sampling.logit_bias = vec![(2, bias)];
            let beams = search(&generator, &[5, 6, 7], &options, 4, length_penalty);
            assert_eq!(beams.len(), 4, "{memory}");
            assert!(beams.is_sorted_by(|a, b| a.score >= b.score));
            for beam in &beams {
                let ended = if let Finish::End(id) = beam.finish { vec![id] } else { vec![] };
                let ids = [&beam.ids[..], &ended].concat();
                let own =
                    |i: usize| biased(&generator, &[&[5, 6, 7], &ids[..i]].concat(), bias)[ids[i] as usize];
                let exact: f64 = (0..ids.len()).map(own).sum();
                let close = (beam.log_probability - exact).abs() < 1e-3;
                assert!(close, "{memory}: {beam:?} has {exact}");
                let score = beam.log_probability / (ids.len() as f64).powf(length_penalty);
                assert!((beam.score - score).abs() < 1e-9, "{memory}: {beam:?}");
            }
            assert!(beams.iter().any(|b| b.finish == Finish::End(2)), "{memory}: some end: {beams:?}");
        }
    }
}

/// The log-probabilities after a sequence with the logit of token 2 raised.
fn biased(generator: &Generator, ids: &[u32], bias: f32) -> Vec<f64> {
    let mut session = generator.session();
    let mut logits: Vec<f64> = session.feed(ids).unwrap().iter().map(|&l| f64::from(l)).collect();
    logits[2] += f64::from(bias);
    crate::made_up::softmax(&logits).into_iter().map(f64::ln).collect()
}

#[test]
fn bounds_and_odd_options() {
    let [(_, generator), ..] = every_memory(&Shape::default(), 21);
    // The context holds 512: two more are fed, a third is chosen.
    let full =
        search(&generator, &[5; 510], &GenerateOptions { ignore_end: true, ..unchanged(99, 0) }, 3, 1.0);
    assert!(full.iter().all(|beam| beam.ids.len() == 3 && beam.finish == Finish::Context), "{full:?}");
    let none = search(&generator, &[5], &unchanged(0, 0), 3, 1.0);
    assert_eq!((none.len(), none[0].ids.len(), none[0].score), (1, 0, 0.0));
    let stopped = GenerateOptions { stop: vec!["hell".to_owned()], ..unchanged(3, 0) };
    let mut biased = stopped.clone();
    biased.sampling.logit_bias = vec![(289, 1000.0)];
    let found = search(&generator, &[5], &biased, 2, 1.0);
    assert_eq!((&found[0].text[..], &found[0].finish), ("", &Finish::Stop("hell".to_owned())));
    let (mut session, never) = (generator.session(), AtomicBool::new(false));
    for beam in [
        BeamOptions { width: 0, ..BeamOptions::default() },
        BeamOptions { width: 2, length_penalty: f64::NAN },
    ] {
        let refused = beam_search(&mut session, None, &[5], &unchanged(3, 0), &beam, &never);
        assert!(matches!(refused, Err(GenerateError::Param(_))), "{refused:?}");
    }
    let cancelled = AtomicBool::new(true);
    let beam = BeamOptions::default();
    let none = beam_search(&mut session, None, &[5], &unchanged(3, 0), &beam, &cancelled).unwrap();
    assert!(none.beams.iter().all(|beam| beam.finish == Finish::Cancelled));
}
