//! Several samples of one prompt: each is what it would be alone, and the prompt is computed once.

use std::sync::atomic::AtomicBool;

use tl_llm::{Finish, sample_many};

use crate::made_up::Shape;
use crate::models::{every_memory, run, unchanged};

#[test]
fn each_sample_is_the_one_of_its_seed() {
    for (memory, generator) in every_memory(&Shape::default(), 21) {
        let mut options = unchanged(30, 7);
        // Some end early.
        options.sampling.logit_bias = vec![(2, 3.0)];
        let prompt: Vec<u32> = (10..90).collect();
        let (mut session, never) = (generator.session(), AtomicBool::new(false));
        let tokenizer = generator.model().tokenizer().ok();
        let many = sample_many(&mut session, tokenizer, &prompt, &options, 5, &never).unwrap();
        assert_eq!((many.prefill.tokens, many.samples.len()), (80, 5), "{memory}");
        assert_eq!(session.tokens(), prompt, "{memory}: the session stays at the prompt");
        for (sample, seed) in many.samples.iter().zip(7..) {
            options.sampling.seed = Some(seed);
            let alone = run(&mut generator.session(), &prompt, &options);
            assert_eq!((&sample.ids, &sample.text), (&alone.ids, &alone.text), "{memory}, seed {seed}");
            assert_eq!((&sample.finish, sample.seed), (&alone.finish, seed));
        }
        assert!(many.samples[0].ids != many.samples[1].ids, "{memory}: they differ");
        let lengths: Vec<usize> = many.samples.iter().map(|s| s.ids.len()).collect();
        assert!(lengths.iter().any(|&n| n != lengths[0]), "{memory}: not all end at once: {lengths:?}");
    }
}

#[test]
fn cancelled_samples_say_so() {
    let [(_, generator), ..] = every_memory(&Shape::default(), 21);
    let cancel = AtomicBool::new(true);
    let mut session = generator.session();
    let many = sample_many(&mut session, None, &[5; 9], &unchanged(9, 1), 2, &cancel).unwrap();
    assert!(many.samples.iter().all(|s| s.finish == Finish::Cancelled && s.ids.is_empty()));
}
