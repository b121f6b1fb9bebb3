//! Who is served when: long prompts beside decoding, priorities, and nobody for ever last.

use tl_llm::{Answer, Batcher, Request, ScheduleOptions};

use crate::made_up::Numbers;
use crate::models::{tiny, unchanged};
use crate::{batcher, every_memory, finish, request};

fn tiny_batcher(options: ScheduleOptions) -> Batcher {
    let (_, generator) = every_memory(&tiny(), 3, 4096).into_iter().next().unwrap();
    batcher(&generator, options)
}

/// The order in which these end.
fn ends(batcher: &mut Batcher, answers: &[Answer]) -> Vec<usize> {
    let mut order = Vec::new();
    loop {
        let more = batcher.step();
        let new: Vec<usize> =
            (0..answers.len()).filter(|i| answers[*i].is_done() && !order.contains(i)).collect();
        order.extend(new);
        if !more {
            return order;
        }
    }
}

#[test]
fn a_long_prompt_does_not_hold_up_those_who_decode() {
    let mut batcher = tiny_batcher(ScheduleOptions { rows: 64, ..ScheduleOptions::default() });
    let mut decoding = batcher.submit(request(&[1, 2], &unchanged(1000, 1)));
    batcher.step();
    let long = batcher.submit(request(&Numbers::new(1).ids(400, 5), &unchanged(1, 1)));
    let before = batcher.counts();
    while !long.is_done() {
        batcher.step();
    }
    let steps = batcher.counts().steps - before.steps;
    // In each step the sequence that decodes got its row, and the prompt a piece.
    assert_eq!(batcher.counts().rows - before.rows, 400 + steps);
    assert!((7..=8).contains(&steps), "{steps}");
    decoding.cancel();
    finish(&mut batcher);
    assert_eq!(decoding.next(), None);
}

#[test]
fn short_prompts_are_not_behind_a_long_one() {
    let mut batcher = tiny_batcher(ScheduleOptions { rows: 64, ..ScheduleOptions::default() });
    let mut numbers = Numbers::new(1);
    let long = batcher.submit(request(&numbers.ids(400, 5), &unchanged(1, 1)));
    batcher.step();
    let short: Vec<Answer> =
        (0..3).map(|_| batcher.submit(request(&numbers.ids(20, 5), &unchanged(1, 1)))).collect();
    let order = ends(&mut batcher, &[long].into_iter().chain(short).collect::<Vec<_>>());
    assert_eq!(order.last(), Some(&0), "{order:?}");
}

#[test]
fn a_higher_priority_goes_first_and_a_lower_one_comes_in_the_end() {
    let mut batcher = tiny_batcher(ScheduleOptions { sequences: 1, ..ScheduleOptions::default() });
    let with = |priority| Request { priority, ..request(&[1, 2, 3], &unchanged(5, 1)) };
    let answers: Vec<Answer> = [0, -1, 5, 0].map(|priority| batcher.submit(with(priority))).into();
    assert_eq!(ends(&mut batcher, &answers), [2, 0, 3, 1]);
    // New requests of a higher priority come without end, and the low one is served.
    let low = batcher.submit(with(-3));
    let mut served = 0;
    while !low.is_done() {
        drop(batcher.submit(with(0)));
        let next = batcher.submit(with(0));
        while !next.is_done() && !low.is_done() {
            batcher.step();
        }
        served += 1;
        assert!(served < 500, "the low priority is never served");
    }
    assert!(served > 10, "{served}");
}
