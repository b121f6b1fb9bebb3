//! Answers: blocking, streamed and awaited; what ends them; and that each is what the request gives alone.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tensorlogic::Error;
use tl_llm::{ContextEnd, Finish, GenerateError, Request, ScheduleOptions, Scheduler};

use crate::made_up::{Numbers, Shape};
use crate::models::{greedy, tiny, unchanged};
use crate::{alone, batcher, every_memory, finish, request};

/// Waits for a future on this thread: all that a runtime has to be.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn the_text_is_the_same_alone_and_among_others() {
    for (memory, generator) in every_memory(&Shape::default(), 9, 4096) {
        let mut numbers = Numbers::new(2);
        let asked: Vec<_> = (0..12u64)
            .map(|i| (numbers.ids(1 + 23 * i as usize, 320), unchanged(5 + i as usize, i)))
            .collect();
        let mut batcher =
            batcher(&generator, ScheduleOptions { sequences: 5, rows: 40, ..ScheduleOptions::default() });
        // Some come while others are on their way.
        let mut answers = Vec::new();
        for (prompt, options) in &asked {
            answers.push(batcher.submit(request(prompt, options)));
            batcher.step();
        }
        finish(&mut batcher);
        for ((prompt, options), answer) in asked.iter().zip(answers) {
            let (together, alone) = (answer.wait().unwrap(), alone(&generator, prompt, options));
            assert_eq!((together.ids, together.finish), (alone.ids, alone.finish), "{memory}");
        }
        assert_eq!(batcher.counts().most, 5, "{memory}");
    }
}

#[test]
fn an_answer_is_waited_for_streamed_or_awaited() {
    let (_, generator) = every_memory(&Shape::default(), 9, 100).into_iter().next().unwrap();
    let tokenizer = Arc::clone(generator.model().tokenizer().unwrap());
    let prompt = [5, 6, 7];
    let options = unchanged(30, 11);
    let expected = alone(&generator, &prompt, &options);
    assert!(!expected.text.is_empty());
    let scheduler = Scheduler::new(&generator, Some(tokenizer), ScheduleOptions::default());
    let ask = || scheduler.submit(request(&prompt, &options));
    let (waited, mut streamed, awaited, mut pieces) = (ask(), ask(), ask(), ask());
    assert_eq!(waited.wait().unwrap().text, expected.text);
    let text: String = streamed.by_ref().collect();
    assert_eq!((text, streamed.wait().unwrap().ids), (expected.text.clone(), expected.ids.clone()));
    assert_eq!(block_on(awaited).unwrap().text, expected.text);
    let text = block_on(async {
        let mut text = String::new();
        while let Some(piece) = pieces.piece().await {
            text += &piece;
        }
        text
    });
    assert_eq!(text, expected.text);
    assert!(scheduler.counts().steps > 0);
}

#[test]
fn a_request_that_is_cancelled_or_dropped_ends_and_the_others_go_on() {
    let (_, generator) = every_memory(&tiny(), 9, 40_000).into_iter().next().unwrap();
    let mut batcher = batcher(&generator, ScheduleOptions { sequences: 2, ..ScheduleOptions::default() });
    let endless = unchanged(10_000, 1);
    let (one, two, waiting, last) = (
        batcher.submit(request(&[1], &endless)),
        batcher.submit(request(&[2], &endless)),
        batcher.submit(request(&[3], &endless)),
        batcher.submit(request(&[4], &unchanged(5, 1))),
    );
    (0..10).for_each(|_| _ = batcher.step());
    one.cancel();
    waiting.cancel();
    drop(two);
    finish(&mut batcher);
    let one = one.wait().unwrap();
    assert_eq!((one.finish, one.ids.len()), (Finish::Cancelled, 10));
    assert_eq!(one.ids, alone(&generator, &[1], &unchanged(10, 1)).ids);
    let waiting = waiting.wait().unwrap();
    assert_eq!((waiting.finish, waiting.ids.len()), (Finish::Cancelled, 0));
    assert_eq!(last.wait().unwrap().ids, alone(&generator, &[4], &unchanged(5, 1)).ids);
}

#[test]
fn a_request_that_cannot_be_served_says_why() {
    let (_, generator) = every_memory(&tiny(), 9, 100).into_iter().next().unwrap();
    let limit = generator.context_limit().unwrap();
    let mut batcher = batcher(&generator, ScheduleOptions { memory: 1000, ..ScheduleOptions::default() });
    let mut error = |prompt: &[u32]| {
        let answer = batcher.submit(request(prompt, &unchanged(3, 1)));
        finish(&mut batcher);
        answer.wait().unwrap_err()
    };
    assert!(matches!(error(&[]), GenerateError::EmptyPrompt));
    assert!(matches!(error(&[5]), GenerateError::Library(Error::Token { id: 5, size: 5 })));
    assert!(matches!(error(&vec![1; limit + 1]), GenerateError::Library(Error::Context { .. })));
    assert!(matches!(error(&[1]), GenerateError::Memory { limit: 1000, .. }));
    let scheduler = Scheduler::new(&generator, None, ScheduleOptions::default());
    let left = scheduler.submit(request(&[1], &unchanged(1_000_000, 1)));
    drop(scheduler);
    assert_eq!(left.wait().unwrap().finish, Finish::Cancelled);
}

#[test]
fn at_the_end_of_the_context_what_was_chosen_happens() {
    for (memory, generator) in every_memory(&tiny(), 9, 100) {
        let limit = generator.context_limit().unwrap();
        let prompt = Numbers::new(3).ids(limit - 2, 5);
        let ask = |end, prompt: &[u32], max_tokens| {
            let options = tl_llm::GenerateOptions { context_end: end, ..greedy(max_tokens) };
            let mut batcher = batcher(&generator, ScheduleOptions::default());
            let answer = batcher.submit(request(prompt, &options));
            finish(&mut batcher);
            let alone = tl_llm::generate(
                &mut generator.session(),
                None,
                prompt,
                &options,
                &std::sync::atomic::AtomicBool::new(false),
                |_| {},
                |_| {},
            );
            match (answer.wait(), alone) {
                (Ok(together), Ok(alone)) => {
                    assert_eq!(
                        (&together.ids, together.forgotten),
                        (&alone.ids, alone.forgotten),
                        "{memory}"
                    );
                    Ok(together)
                }
                (Err(together), Err(alone)) => {
                    assert_eq!(together.to_string(), alone.to_string(), "{memory}");
                    Err(together)
                }
                (together, alone) => panic!("{memory}: {together:?} and {alone:?}"),
            }
        };
        let stopped = ask(ContextEnd::Stop, &prompt, 10).unwrap();
        assert_eq!(
            (stopped.finish, stopped.ids.len(), stopped.forgotten),
            (Finish::Context, 3, 0),
            "{memory}"
        );
        assert!(ask(ContextEnd::Error, &prompt, 10).is_err() && ask(ContextEnd::Error, &prompt, 3).is_ok());
        let shift = ContextEnd::Shift { sinks: 4 };
        let shifted = ask(shift, &prompt, 10).unwrap();
        assert_eq!((shifted.finish, shifted.ids.len()), (Finish::Length, 10), "{memory}");
        assert_eq!(shifted.forgotten, limit - (4 + (limit - 4) / 2), "{memory}");
        // What comes after a shift is what comes after the tokens that were kept.
        let all = [&prompt[..], &shifted.ids].concat();
        let kept = [shift.kept(&all[..limit], limit), vec![all[limit]]].concat();
        assert_eq!(alone(&generator, &kept, &greedy(5)).ids, all[limit + 1..limit + 6], "{memory}");
        let long = Numbers::new(3).ids(3 * limit, 5);
        assert!(ask(ContextEnd::Stop, &long, 1).is_err());
        let cut = ask(shift, &long, 5).unwrap();
        assert_eq!(cut.forgotten, 3 * limit - (4 + (limit - 4) / 2), "{memory}");
    }
}

#[test]
fn a_request_is_a_value() {
    let request = Request::default();
    assert_eq!((request.prompt.len(), request.priority), (0, 0));
}
