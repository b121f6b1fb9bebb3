//! Speculation changes no token: neither greedy nor sampled, wherever a text ends, whatever guesses, whatever the model remembers.

use tensorlogic::{Engine, Generator};
use tl_llm::{Draft, Finish, GenerateError, GenerateOptions, Speculation};

use crate::made_up::Shape;
use crate::models::{all_continuations, every_memory, greedy, model, run, tiny, unchanged};

/// Every source of guesses for a model: its own past, itself, and a model that knows nothing of it.
fn sources(generator: &Generator, shape: &Shape) -> Vec<(&'static str, Speculation)> {
    let stranger = Generator::new(&Engine::cpu_with_threads(1), model(shape, 99)).unwrap();
    let draft = |draft: &Generator, most| Speculation::Draft(Draft::new(generator, draft, most).unwrap());
    vec![
        ("lookup", Speculation::Lookup { most: 7 }),
        ("one at a time", Speculation::Lookup { most: 1 }),
        ("itself", draft(generator, 4)),
        ("a stranger", draft(&stranger, 3)),
    ]
}

#[test]
fn the_text_is_the_same_greedy_and_sampled() {
    let shape = Shape::default();
    for (memory, generator) in every_memory(&shape, 21) {
        for (name, speculation) in sources(&generator, &shape) {
            for options in [greedy(150), unchanged(90, 3)] {
                let options = GenerateOptions { ignore_end: true, ..options };
                let prompt = [5, 6, 7, 5, 6];
                let plain = run(&mut generator.session(), &prompt, &options);
                assert_eq!((plain.guessed.guessed, plain.speed_up()), (0, None));
                let options = GenerateOptions { speculation: speculation.clone(), ..options };
                let mut session = generator.session();
                let guessed = run(&mut session, &prompt, &options);
                assert_eq!((&guessed.ids, &guessed.text), (&plain.ids, &plain.text), "{memory}, {name}");
                let fed = [&prompt[..], &plain.ids[..plain.ids.len() - 1]].concat();
                assert_eq!(session.tokens(), fed, "{memory}, {name}: guesses that were wrong are taken back");
                let count = guessed.guessed;
                assert!(count.accepted <= count.guessed);
                if name == "itself" {
                    assert!(count.guessed > 40 && count.accepted == count.guessed, "{memory}: {count:?}");
                }
                // The sequence goes on as if nothing had been guessed.
                let again = run(&mut session, &fed, &options).ids;
                assert_eq!(again, run(&mut generator.session(), &fed, &options).ids, "{memory}, {name}");
            }
        }
    }
}

#[test]
fn a_text_that_repeats_itself_is_guessed() {
    let [(_, generator), ..] = every_memory(&Shape::default(), 21);
    let mut options = greedy(60);
    options.sampling.logit_bias = vec![(289, 1000.0)];
    options.speculation = Speculation::Lookup { most: 8 };
    let done = run(&mut generator.session(), &[5, 6], &options);
    assert_eq!(done.ids, [289; 60]);
    assert!(done.guessed.accepted > 45 && done.decode.tokens == 59, "{:?}", done.guessed);
    assert!(done.plain.tokens < 10 && done.speed_up().is_some());
}

#[test]
fn a_text_ends_where_it_would_without_guesses() {
    let shape = Shape::default();
    let [(_, generator), ..] = every_memory(&shape, 21);
    let end_after = |ids: &[u32], stop: &str| GenerateOptions {
        stop: vec![stop.to_owned()],
        ..GenerateOptions { max_tokens: Some(ids.len()), ..greedy(0) }
    };
    let text = run(&mut generator.session(), &[5, 6], &greedy(40));
    let stop: String = text.text.chars().skip(30).take(4).collect();
    let mut cases: Vec<GenerateOptions> = (0..9).map(greedy).collect();
    cases.push(end_after(&text.ids, &stop));
    // The fifth token that the model prefers ends the text from now on.
    let mut ends = unchanged(200, 8);
    ends.sampling.logit_bias = vec![(2, 4.0)];
    cases.push(ends);
    for (name, speculation) in sources(&generator, &shape) {
        for options in &cases {
            let plain = run(&mut generator.session(), &[5, 6], options);
            let options = GenerateOptions { speculation: speculation.clone(), ..options.clone() };
            let guessed = run(&mut generator.session(), &[5, 6], &options);
            assert_eq!(
                (guessed.ids, guessed.text, guessed.finish),
                (plain.ids, plain.text, plain.finish),
                "{name}"
            );
        }
        // 512 tokens are the context: the last of them is fed, and one more is sampled.
        let options = GenerateOptions { speculation, ignore_end: true, ..greedy(99) };
        let mut session = generator.session();
        let full = run(&mut session, &[5; 490], &options);
        assert_eq!((full.finish, full.ids.len(), session.len()), (Finish::Context, 23, 512), "{name}");
    }
}

/// `Σ (observed − expected)² / expected`.
fn chi_square(observed: &[f64], expected: &[f64]) -> f64 {
    observed.iter().zip(expected).map(|(o, e)| (o - e).powi(2) / e).sum()
}

#[test]
fn the_distribution_is_that_of_the_model() {
    const TEXTS: u64 = 1500;
    let shape = tiny();
    for (memory, generator) in every_memory(&shape, 4) {
        let prompt = [1, 2, 1, 2];
        // Tokens four and five of a text: guesses begin with the third.
        let mut expected = vec![0.0; 25];
        for (ids, log_probability) in all_continuations(&generator, &prompt, 5) {
            expected[(ids[3] * 5 + ids[4]) as usize] += log_probability.exp() * TEXTS as f64;
        }
        for (name, speculation) in sources(&generator, &shape) {
            let (mut observed, mut guessed) = (vec![0.0; 25], 0);
            for seed in 0..TEXTS {
                let options = GenerateOptions { speculation: speculation.clone(), ..unchanged(5, seed) };
                let done = run(&mut generator.session(), &prompt, &options);
                observed[(done.ids[3] * 5 + done.ids[4]) as usize] += 1.0;
                guessed += done.guessed.guessed;
            }
            assert!(guessed > 300, "{memory}, {name}: {guessed} guesses");
            // 24 degrees of freedom: 51.18 is exceeded once in a thousand times.
            let off = chi_square(&observed, &expected);
            assert!(off < 51.18, "{memory}, {name}: {off}");
        }
    }
}

#[test]
fn a_draft_has_the_same_vocabulary() {
    let [(_, generator), ..] = every_memory(&Shape::default(), 21);
    let other = Generator::new(&Engine::cpu_with_threads(1), model(&tiny(), 1)).unwrap();
    let refused = Draft::new(&generator, &other, 4);
    let Err(GenerateError::OtherVocabulary(said)) = refused else { panic!("{refused:?}") };
    assert!(said.contains("5 tokens where the model has 320"), "{said}");
}
