//! Shared prefixes: what several requests begin with is computed once.

use tl_llm::ScheduleOptions;

use crate::made_up::Numbers;
use crate::models::{tiny, unchanged};
use crate::{alone, batcher, every_memory, finish, request};

#[test]
fn a_prefix_of_512_tokens_is_computed_once_for_eight_requests() {
    for (memory, generator) in every_memory(&tiny(), 3, 4096) {
        let prefix = Numbers::new(5).ids(512, 5);
        let prompts: Vec<Vec<u32>> =
            (0..8u32).map(|i| [&prefix[..], &vec![i % 5; 3 + i as usize]].concat()).collect();
        let mut batcher = batcher(&generator, ScheduleOptions::default());
        let mut answers = Vec::new();
        for (i, prompt) in prompts.iter().enumerate() {
            answers.push(batcher.submit(request(prompt, &unchanged(4, i as u64))));
        }
        finish(&mut batcher);
        let own: u64 = (0..8).map(|i| 3 + i).sum();
        // Of four tokens that are sampled three are fed.
        let counts = batcher.counts();
        assert_eq!((counts.rows, counts.reused), (512 + own + 8 * 3, 7 * 512), "{memory}");
        for (i, (answer, prompt)) in answers.into_iter().zip(&prompts).enumerate() {
            let expected = alone(&generator, prompt, &unchanged(4, i as u64));
            assert_eq!(answer.wait().unwrap().ids, expected.ids, "{memory}, {i}");
        }
        // A later request finds it, too, and one that goes on where an answer ended.
        let before = batcher.counts();
        let later = batcher.submit(request(&prompts[0], &unchanged(200, 0)));
        finish(&mut batcher);
        assert_eq!(batcher.counts().reused - before.reused, 512, "{memory}");
        let said = [&prompts[0][..], &later.wait().unwrap().ids, &[1]].concat();
        let before = batcher.counts();
        drop(batcher.submit(request(&said, &unchanged(1, 0))));
        let again = batcher.submit(request(&said, &unchanged(1, 0)));
        finish(&mut batcher);
        assert_eq!(batcher.counts().reused - before.reused, (said.len() as u64 - 1) / 64 * 64, "{memory}");
        assert_eq!(again.wait().unwrap().ids, alone(&generator, &said, &unchanged(1, 0)).ids, "{memory}");
    }
}

#[test]
fn the_prefix_that_was_used_longest_ago_goes_first_and_the_limit_is_kept() {
    for (memory, generator) in every_memory(&tiny(), 4, 4096) {
        // Room for one of the requests and eight pages of prefixes.
        let mut session = generator.session();
        let growth = session.growth(203, 64);
        session.feed(&[0; 64]).unwrap();
        let limit = growth + 8 * session.bytes();
        drop(session);
        let mut batcher =
            batcher(&generator, ScheduleOptions { memory: limit, ..ScheduleOptions::default() });
        let mut numbers = Numbers::new(6);
        let often = numbers.ids(130, 5);
        for round in 0..30 {
            let other = numbers.ids(200, 5);
            for prompt in [&often, &other] {
                let before = batcher.counts().reused;
                let answer = batcher.submit(request(prompt, &unchanged(3, round)));
                while batcher.step() {
                    assert!(batcher.memory() <= limit, "{memory}: {} of {limit}", batcher.memory());
                }
                answer.wait().unwrap();
                if std::ptr::eq(prompt, &often) && round > 0 {
                    assert_eq!(batcher.counts().reused - before, 128, "{memory}, round {round}");
                }
            }
        }
        assert!(batcher.counts().forgotten > 0, "{memory}");
        drop(batcher);
        assert_eq!(generator.remembered_bytes(), 0, "{memory}");
    }
}
