//! Constraints: the mask against every token tried by hand, and texts of every way of continuing a prompt.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use tensorlogic::Generator;
use tl_formats::tokenizer::Tokenizer;
use tl_llm::constraint::TokenMask;
use tl_llm::{
    Batcher, BeamOptions, Constrained, Constraint, ConstraintError, Draft, Finish, Form, GenerateError,
    GenerateOptions, Grammars, Request, ScheduleOptions, Speculation, beam_search, sample_many,
};

use crate::made_up::Shape;
use crate::models::{every_memory, greedy, model, run, unchanged};

/// Regular expressions with all that they match.
fn languages() -> Vec<(&'static str, Vec<String>)> {
    let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    let mut runs: Vec<String> = Vec::new();
    for length in 1..=3u32 {
        runs.extend(
            (0..2u32.pow(length))
                .map(|n| (0..length).map(|i| if n >> i & 1 == 1 { 'l' } else { 'h' }).collect()),
        );
    }
    vec![
        ("hello|hell|he llo", owned(&["hello", "hell", "he llo"])),
        ("[hl]{1,3}", runs),
        ("(a|ab)(c|bcd)?", owned(&["a", "ab", "ac", "abc", "abcd", "abbcd"])),
        ("(é|/|\n)z", owned(&["éz", "/z", "\nz"])),
        ("", owned(&[""])),
    ]
}

fn grammars(generator: &Generator) -> (Arc<Tokenizer>, Grammars) {
    let tokenizer = Arc::clone(generator.model().tokenizer().unwrap());
    let grammars = Grammars::new(&tokenizer, generator.vocabulary()).unwrap();
    (tokenizer, grammars)
}

fn vocabulary() -> (Arc<Tokenizer>, Grammars) {
    let model = model(&Shape::default(), 21);
    let tokenizer = Arc::clone(model.tokenizer().unwrap());
    let grammars = Grammars::new(&tokenizer, tokenizer.vocabulary_size()).unwrap();
    (tokenizer, grammars)
}

/// Holds the mask against every token tried, and what is said of the end against the language.
fn check_state(
    tokenizer: &Tokenizer,
    state: &mut dyn Constraint,
    language: &[String],
    so_far: &[u8],
) -> Vec<u32> {
    let (mut mask, mut fit) = (TokenMask::default(), Vec::new());
    state.allowed(&mut mask).unwrap();
    for id in 0..tokenizer.vocabulary_size() as u32 {
        let mut text = so_far.to_vec();
        tokenizer.append_bytes(id, false, &mut text);
        let fits =
            text.len() > so_far.len() && language.iter().any(|whole| whole.as_bytes().starts_with(&text));
        assert_eq!(mask.has(id), fits, "{} after {:?}", tokenizer.token_display(id), so_far.escape_ascii());
        fit.extend(fits.then_some(id));
    }
    let whole = language.iter().any(|text| text.as_bytes() == so_far);
    assert_eq!(state.accepts(), whole, "{:?}", so_far.escape_ascii());
    assert!(!state.is_complete() || (whole && fit.is_empty()));
    fit
}

proptest! {
    #[test]
    fn the_mask_is_that_of_every_token_tried(choices in prop::collection::vec(any::<prop::sample::Index>(), 8)) {
        let (tokenizer, grammars) = vocabulary();
        for (regex, language) in languages() {
            let Constrained(mut state) = grammars.constraint(&Form::Regex(regex.to_owned())).unwrap();
            let mut text = Vec::new();
            for choice in &choices {
                let fit = check_state(&tokenizer, &mut *state, &language, &text);
                if fit.is_empty() {
                    break;
                }
                let id = fit[choice.index(fit.len())];
                let mut fork = state.fork();
                state.advance(id).unwrap();
                // The fork stays where it was.
                check_state(&tokenizer, &mut *fork, &language, &text);
                tokenizer.append_bytes(id, false, &mut text);
            }
        }
    }
}

#[test]
fn texts_are_of_the_language_however_they_are_made() {
    let shape = Shape::default();
    for (memory, generator) in every_memory(&shape, 21) {
        let (tokenizer, grammars) = grammars(&generator);
        for (regex, language) in languages() {
            let constraint = Some(grammars.constraint(&Form::Regex(regex.to_owned())).unwrap());
            let never = AtomicBool::new(false);
            let is_whole = |text: &str, finish: &Finish| {
                assert!(language.iter().any(|whole| whole == text), "{memory}, {regex}: {text:?}");
                assert!(matches!(finish, Finish::End(_) | Finish::Complete), "{memory}, {regex}: {finish:?}");
            };
            let mut asked: Vec<GenerateOptions> = (0..4).map(|seed| unchanged(40, seed)).collect();
            asked.extend([greedy(40), GenerateOptions { ignore_end: true, ..unchanged(40, 5) }]);
            let mut batcher =
                Batcher::new(&generator, Some(Arc::clone(&tokenizer)), ScheduleOptions::default());
            let mut answers = Vec::new();
            for options in asked {
                let options = GenerateOptions { constraint: constraint.clone(), ..options };
                let plain = run(&mut generator.session(), &[5, 6, 7], &options);
                is_whole(&plain.text, &plain.finish);
                // Guesses change no token.
                let draft = Draft::new(&generator, &generator, 4).unwrap();
                for speculation in [Speculation::Lookup { most: 4 }, Speculation::Draft(draft)] {
                    let own = GenerateOptions { speculation, ..options.clone() };
                    let guessed = run(&mut generator.session(), &[5, 6, 7], &own);
                    assert_eq!(
                        (&guessed.ids, &guessed.finish),
                        (&plain.ids, &plain.finish),
                        "{memory}, {regex}"
                    );
                }
                answers.push((
                    batcher.submit(Request { prompt: vec![5, 6, 7], options, priority: 0 }),
                    plain.ids,
                ));
            }
            while batcher.unfinished() > 0 {
                batcher.step();
            }
            for (answer, ids) in answers {
                assert_eq!(answer.wait().unwrap().ids, ids, "{memory}, {regex}");
            }
            let options = GenerateOptions { constraint, ..unchanged(40, 9) };
            let many =
                sample_many(&mut generator.session(), Some(&tokenizer), &[5], &options, 3, &never).unwrap();
            many.samples.iter().for_each(|sample| is_whole(&sample.text, &sample.finish));
            let beam = BeamOptions { width: 4, ..BeamOptions::default() };
            let found =
                beam_search(&mut generator.session(), Some(&tokenizer), &[5], &options, &beam, &never)
                    .unwrap();
            assert!(!found.beams.is_empty());
            found.beams.iter().for_each(|beam| is_whole(&beam.text, &beam.finish));
        }
    }
}

#[test]
fn a_grammar_and_a_schema_are_followed() {
    let [(_, generator), ..] = every_memory(&Shape::default(), 21);
    let (_, grammars) = grammars(&generator);
    let grammar = "start: \"hello\" (\" \" NAME)+\nNAME: /[a-c]{2}/\n";
    let options = GenerateOptions {
        constraint: Some(grammars.constraint(&Form::Grammar(grammar.to_owned())).unwrap()),
        ..unchanged(60, 2)
    };
    let text = run(&mut generator.session(), &[5], &options).text;
    assert!(text.starts_with("hello "), "{text:?}");
    assert!(text[6..].split(' ').all(|name| "abc".len() >= name.len()), "{text:?}");
}

/// Allows a token that no vocabulary has.
#[derive(Clone, Debug)]
struct Nothing;

impl Constraint for Nothing {
    fn allowed(&mut self, mask: &mut TokenMask) -> Result<(), ConstraintError> {
        mask.clear();
        Ok(())
    }
    fn accepts(&mut self) -> bool {
        false
    }
    fn advance(&mut self, id: u32) -> Result<(), ConstraintError> {
        Err(ConstraintError::Forbidden(id))
    }
    fn is_complete(&self) -> bool {
        false
    }
    fn fork(&self) -> Box<dyn Constraint> {
        Box::new(Nothing)
    }
}

#[test]
fn a_text_that_cant_go_on_ends_and_says_so() {
    let [(_, generator), ..] = every_memory(&Shape::default(), 21);
    let options = GenerateOptions { constraint: Some(Constrained(Box::new(Nothing))), ..unchanged(9, 0) };
    let done = run(&mut generator.session(), &[5], &options);
    assert_eq!((done.ids.len(), done.finish), (0, Finish::Stuck));
    let never = AtomicBool::new(false);
    let tokenizer = generator.model().tokenizer().ok();
    let found =
        beam_search(&mut generator.session(), tokenizer, &[5], &options, &BeamOptions::default(), &never);
    assert!(matches!(found, Err(GenerateError::Constraint(ConstraintError::Stuck))), "{found:?}");
}

#[test]
fn forms_that_are_wrong_or_enormous_are_refused() {
    let (_, grammars) = vocabulary();
    let deep = |open: &str, close: &str, n: usize| open.repeat(n) + "a" + &close.repeat(n);
    let schema = |text: &str| Form::JsonSchema(text.to_owned());
    let wrong = [
        Form::Regex("(a".to_owned()),
        Form::Regex(deep("(", ")", 100_000)),
        Form::Regex("a".repeat(2 << 20)),
        Form::Grammar("start: other".to_owned()),
        Form::Grammar("start: ".to_owned() + &deep("(", ")", 100_000)),
        Form::Grammar(String::new()),
        schema("{"),
        schema("{\"type\": \"number\", \"type\": 7}"),
        schema("{\"$ref\": \"https://example.com/schema.json\"}"),
        schema(&("{\"items\":".repeat(20_000) + "true" + &"}".repeat(20_000))),
    ];
    for form in wrong {
        let start: String = form.text().chars().take(40).collect();
        match grammars.constraint(&form) {
            Err(ConstraintError::Malformed { kind, message }) => {
                assert!(kind == form.kind() && !message.is_empty(), "{start}");
            }
            other => panic!("{start}: {other:?}"),
        }
    }
    // A schema that contains itself has texts of every depth.
    let recursive = r##"{"type":"object","properties":{"next":{"$ref":"#"}},"additionalProperties":false}"##;
    assert!(grammars.constraint(&schema(recursive)).is_ok());
}

#[test]
fn what_would_take_too_much_work_is_bounded() {
    let [(_, generator), ..] = every_memory(&Shape::default(), 21);
    let (_, grammars) = grammars(&generator);
    for regex in
        ["((l{1000}){1000}){1000}", "(h|l|hl)*e.{2000}", "(.*l.{900}){20}", "((h*)*)*l", "(l?){3000}l{3000}"]
    {
        // Each of these is refused, or followed as far as it goes: none hangs.
        let Ok(constraint) = grammars.constraint(&Form::Regex(regex.to_owned())) else { continue };
        let Constrained(mut state) = constraint;
        let mut mask = TokenMask::default();
        for _ in 0..20 {
            match state.allowed(&mut mask) {
                Err(error) => {
                    assert!(matches!(error, ConstraintError::TooComplex(_)), "{regex}: {error}");
                    break;
                }
                Ok(()) => match (0..320).find(|&id| mask.has(id)) {
                    Some(id) => state.advance(id).unwrap(),
                    None => break,
                },
            }
        }
    }
}
