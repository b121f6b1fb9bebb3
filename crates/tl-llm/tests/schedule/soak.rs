//! 2,000 random requests with random lengths, priorities and cancellations in little memory: every answer is that of the request alone, memory stays below
//! its limit, and everything ends.

use tl_llm::{Answer, Finish, GenerateOptions, Generation, Request, ScheduleOptions};

use crate::made_up::Numbers;
use crate::models::{tiny, unchanged};
use crate::{alone, batcher, every_memory};

/// Whole numbers that look random.
fn below(numbers: &mut Numbers, n: usize) -> usize {
    numbers.ids(1, n)[0] as usize
}

#[test]
fn thousands_of_requests_in_little_memory() {
    for ((memory, generator), requests) in every_memory(&tiny(), 8, 4096).into_iter().zip([800, 600, 600]) {
        let mut numbers = Numbers::new(requests as u64);
        // What may be asked; some begin alike.
        let common = numbers.ids(200, 5);
        let pool: Vec<(Vec<u32>, GenerateOptions, Generation)> = (0..40)
            .map(|i| {
                let shared = below(&mut numbers, 200) * below(&mut numbers, 2);
                let own = 1 + below(&mut numbers, 60);
                let prompt = [&common[..shared], &numbers.ids(own, 5)].concat();
                let options = unchanged(below(&mut numbers, 40), i);
                let expected = alone(&generator, &prompt, &options);
                (prompt, options, expected)
            })
            .collect();
        // Enough for the longest request, not for many.
        let longest =
            pool.iter().map(|(prompt, options, _)| prompt.len() + options.max_tokens.unwrap_or(0)).max();
        let limit = generator.session().growth(longest.unwrap(), 96) * 5 / 4;
        let options = ScheduleOptions { sequences: 6, rows: 96, memory: limit };
        let mut batcher = batcher(&generator, options);
        let mut open: Vec<(usize, bool, Answer)> = Vec::new();
        let (mut submitted, mut whole, mut cancelled) = (0, 0, 0);
        while submitted < requests || !open.is_empty() {
            while submitted < requests && open.len() < 20 && below(&mut numbers, 3) > 0 {
                let which = below(&mut numbers, pool.len());
                let (prompt, options, _) = &pool[which];
                let priority = below(&mut numbers, 3) as i32;
                let answer =
                    batcher.submit(Request { prompt: prompt.clone(), options: options.clone(), priority });
                open.push((which, false, answer));
                submitted += 1;
            }
            if below(&mut numbers, 12) == 0 && !open.is_empty() {
                let at = below(&mut numbers, open.len());
                open[at].1 = true;
                open[at].2.cancel();
            }
            batcher.step();
            assert!(batcher.memory() <= limit, "{memory}: {} of {limit} bytes", batcher.memory());
            for (which, was_cancelled, answer) in open.extract_if(.., |(.., answer)| answer.is_done()) {
                let (found, expected) = (answer.wait().unwrap(), &pool[which].2);
                if found.finish == Finish::Cancelled {
                    assert!(was_cancelled, "{memory}");
                    assert!(expected.ids.starts_with(&found.ids), "{memory}: a part of the answer");
                    cancelled += 1;
                } else {
                    assert_eq!(
                        (found.ids, found.finish),
                        (expected.ids.clone(), expected.finish.clone()),
                        "{memory}"
                    );
                    whole += 1;
                }
            }
        }
        let counts = batcher.counts();
        assert_eq!((whole + cancelled, batcher.unfinished()), (requests, 0));
        assert!(
            cancelled > requests / 50 && counts.reused > 0 && counts.forgotten > 0,
            "{memory}: {counts:?}"
        );
        drop(batcher);
        assert_eq!(generator.remembered_bytes(), 0, "{memory}");
    }
}
