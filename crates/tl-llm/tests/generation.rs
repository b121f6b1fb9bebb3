//! Generations and conversations with a made-up model: what ends them, and what a session is after them.

#[path = "../../tl-cli/tests/support/made_up.rs"]
mod made_up;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use made_up::{MadeUp, Shape};
use tensorlogic::{Engine, Error, Generator, Model};
use tl_formats::chat_template::{ChatTemplate, Message};
use tl_formats::gguf::File;
use tl_llm::sampling::SamplingParams;
use tl_llm::{Conversation, Finish, GenerateError, GenerateOptions, Generation, generate, logprobs};
use tl_tensor::Buffer;

fn generator() -> Generator {
    let bytes = MadeUp::new(Shape::default(), 21).with_sentence_pieces().gguf();
    let model = Model::new("made up", File::from_buffer(Buffer::from_vec(bytes)).unwrap());
    Generator::new(&Engine::cpu_with_threads(1), Arc::new(model)).unwrap()
}

fn greedy(max_tokens: usize) -> GenerateOptions {
    let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
    GenerateOptions { max_tokens: Some(max_tokens), sampling, ignore_end: true, ..GenerateOptions::default() }
}

fn continue_from(
    session: &mut tensorlogic::Session,
    prompt: &[u32],
    options: &GenerateOptions,
    cancel: bool,
) -> Result<Generation, GenerateError> {
    generate(session, None, prompt, options, &AtomicBool::new(cancel), |_| {}, |_| {})
}

fn conversation(generator: &Generator) -> Conversation {
    let template =
        ChatTemplate::parse("{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}").unwrap();
    Conversation::new(generator, Some(Arc::new(template))).unwrap()
}

#[test]
fn what_a_session_held_before_changes_nothing() {
    let generator = generator();
    let prompt = [5, 6, 7, 8];
    let fresh = continue_from(&mut generator.session(), &prompt, &greedy(6), false).unwrap();
    assert_eq!((fresh.ids.len(), &fresh.finish, fresh.prefill.tokens), (6, &Finish::Length, 4));
    // The same prompt, a longer past, another past, and one that begins in the same way.
    for past in [&[5, 6, 7, 8][..], &[5, 6, 7, 8, 9, 10], &[50, 60], &[5, 6, 1]] {
        let mut session = generator.session();
        session.feed(past).unwrap();
        let again = continue_from(&mut session, &prompt, &greedy(6), false).unwrap();
        assert_eq!(again.ids, fresh.ids, "{past:?}");
        let shared = past.iter().zip(&prompt).take_while(|(a, b)| a == b).count();
        let shared = if past == prompt { 4 } else { shared.min(3) };
        assert_eq!(again.prefill.tokens, 4 - shared, "{past:?}: only the rest is fed");
    }
}

#[test]
fn a_prompt_that_is_too_long_is_refused_before_any_of_it_is_fed() {
    let generator = generator();
    let mut session = generator.session();
    let refused = continue_from(&mut session, &[5; 513], &greedy(1), false);
    assert!(matches!(refused, Err(GenerateError::Library(Error::Context { limit: 512, asked: 513 }))));
    assert!(session.is_empty());
    assert!(matches!(continue_from(&mut session, &[], &greedy(1), false), Err(GenerateError::EmptyPrompt)));
    // The last token that fits is fed, and one more is sampled of it.
    let full = continue_from(&mut session, &[5; 510], &greedy(9), false).unwrap();
    assert_eq!((full.finish, full.ids.len(), session.len()), (Finish::Context, 3, 512));
}

#[test]
fn a_cancelled_prompt_is_not_fed() {
    let generator = generator();
    let mut session = generator.session();
    let cancelled = continue_from(&mut session, &[5; 400], &greedy(9), true).unwrap();
    assert_eq!((cancelled.finish, cancelled.ids.len(), session.len()), (Finish::Cancelled, 0, 0));
}

#[test]
fn a_turn_that_failed_or_had_no_answer_leaves_the_conversation_as_it_was() {
    let generator = generator();
    let mut talk = conversation(&generator);
    let cancel = AtomicBool::new(true);
    talk.say("hello", &greedy(4), &cancel, |_| {}).unwrap();
    assert_eq!(talk.messages(), []);
    cancel.store(false, Ordering::Relaxed);
    assert!(talk.say(&"hello ".repeat(600), &greedy(4), &cancel, |_| {}).is_err());
    assert_eq!(talk.messages(), []);
    // One that is cancelled after a part of the answer keeps that part.
    let stop_after_first = |_: &str| cancel.store(true, Ordering::Relaxed);
    let part = talk.say("hello", &greedy(9), &cancel, stop_after_first).unwrap();
    assert_eq!(part.finish, Finish::Cancelled);
    assert!(part.ids.len() < 9 && !part.text.is_empty());
    assert_eq!(talk.messages(), [Message::new("user", "hello"), Message::new("assistant", part.text)]);
}

#[test]
fn a_conversation_keeps_its_system_message_through_clearing() {
    let generator = generator();
    let mut talk = conversation(&generator);
    talk.set_system("he");
    talk.say("hello", &greedy(2), &AtomicBool::new(false), |_| {}).unwrap();
    assert_eq!(talk.messages().len(), 3);
    talk.clear();
    assert_eq!(talk.messages(), [Message::new("system", "he")]);
    talk.set_system("");
    assert_eq!(talk.messages(), []);
}

#[test]
fn text_is_shown_as_it_comes_up_to_a_stop_string() {
    let generator = generator();
    let tokenizer = Arc::clone(generator.model().tokenizer().unwrap());
    let hello = |stop: &[&str]| {
        let mut options = greedy(3);
        options.sampling.logit_bias = vec![(289, 1000.0)];
        options.stop = stop.iter().map(|s| (*s).to_owned()).collect();
        let mut shown = String::new();
        let cancel = AtomicBool::new(false);
        let mut session = generator.session();
        let show = |text: &str| shown.push_str(text);
        let done = generate(&mut session, Some(&tokenizer), &[5], &options, &cancel, |_| {}, show).unwrap();
        assert_eq!(shown, done.text);
        (done.text, done.finish)
    };
    assert_eq!(hello(&[]), ("hellohellohello".to_owned(), Finish::Length));
    assert_eq!(hello(&["ohe"]), ("hell".to_owned(), Finish::Stop("ohe".to_owned())));
}

#[test]
fn log_probabilities_are_those_of_single_steps() {
    let generator = generator();
    let ids = [5, 9, 300, 12, 7];
    let all = logprobs(&mut generator.session(), &ids).unwrap();
    assert_eq!(all.len(), 4);
    let mut session = generator.session();
    for (i, own) in all.iter().enumerate() {
        let logits: Vec<f64> = session.feed(&ids[i..=i]).unwrap().iter().map(|&l| f64::from(l)).collect();
        let exact = made_up::softmax(&logits)[ids[i + 1] as usize].ln();
        assert!((own - exact).abs() < 1e-4, "{own} {exact}");
    }
    assert!(logprobs(&mut generator.session(), &ids[..1]).unwrap().is_empty());
}
