//! Generators and sessions over a made-up model: however a sequence came to be, it gives the same logits.

mod support;

use std::sync::Arc;

use support::*;
use tensorlogic::{Engine, Error, Generator, GeneratorOptions, MemoryLoader, ModelWarning, Program, Session};
use tl_tensor::{DType, Tensor};

const WINDOW: &str = "where t <= p and p - t < 100";

fn plain(engine: &Engine, sizes: Sizes) -> Generator {
    Generator::new(engine, model(sizes, DType::F32)).unwrap()
}

fn one_by_one(session: &mut Session, tokens: &[u32]) -> Vec<f32> {
    tokens.iter().for_each(|&token| _ = session.feed(&[token]).unwrap());
    session.logits().to_vec()
}

fn logits_of(session: &mut Session, tokens: &[u32]) -> Vec<f32> {
    session.feed(tokens).unwrap().to_vec()
}

#[test]
fn one_prefill_and_single_tokens_give_the_same_logits() {
    for (engine, rows) in [(Engine::cpu_with_threads(2), 300), (Engine::scalar(), 20)] {
        let generator = plain(&engine, SMALL);
        let tokens = tokens(rows, SMALL.vocabulary);
        let at_once = logits_of(&mut generator.session(), &tokens);
        let singly = one_by_one(&mut generator.session(), &tokens);
        assert!(difference(&at_once, &singly) < 1e-4, "{engine:?}: {}", difference(&at_once, &singly));
        let mut all = Vec::new();
        generator
            .session()
            .feed_all_logits(&tokens, |i, logits| {
                assert_eq!(i, all.len());
                all.push(logits.to_vec());
            })
            .unwrap();
        assert!(difference(all.last().unwrap(), &at_once) < 1e-4);
        let early = logits_of(&mut generator.session(), &tokens[..10]);
        assert!(difference(&all[9], &early) < 1e-4);
    }
}

#[test]
fn the_backends_agree() {
    let tokens = tokens(40, SMALL.vocabulary);
    for dtype in [DType::F32, DType::F16, DType::Q8_0, DType::Q4_1] {
        let model = model(SMALL, dtype);
        let run = |engine: Engine| {
            let generator = Generator::new(&engine, Arc::clone(&model)).unwrap();
            logits_of(&mut generator.session(), &tokens)
        };
        let slow = run(Engine::scalar());
        for threads in [1, 2, 3] {
            let fast = run(Engine::cpu_with_threads(threads));
            assert!(difference(&slow, &fast) < 5e-3, "{dtype:?}: {}", difference(&slow, &fast));
        }
        assert_eq!(
            run(Engine::cpu_with_threads(1)),
            run(Engine::cpu_with_threads(4)),
            "threads change nothing"
        );
    }
}

#[test]
fn a_rewind_and_a_fork_go_on_as_if_nothing_had_been() {
    let generator = plain(&Engine::cpu_with_threads(2), SMALL);
    let tokens = tokens(150, SMALL.vocabulary);
    let mut session = generator.session();
    session.feed(&tokens[..100]).unwrap();
    let mut fork = session.fork();
    let expected = logits_of(&mut session, &tokens[100..]);
    assert_eq!(logits_of(&mut fork, &tokens[100..]), expected);
    session.truncate(70).unwrap();
    assert_eq!((session.len(), session.logits().len()), (70, 0));
    assert!(difference(&logits_of(&mut session, &tokens[70..]), &expected) < 1e-4);
    let mut other = tokens.clone();
    other[120] = (other[120] + 1) % SMALL.vocabulary as u32;
    let changed = session.continue_with(&other).unwrap().to_vec();
    assert!(difference(&changed, &logits_of(&mut generator.session(), &other)) < 1e-4);
    assert_eq!(session.continue_with(&other).unwrap().len(), SMALL.vocabulary);
    assert_eq!(session.tokens(), other);
}

#[test]
fn a_window_makes_rings_and_changes_nothing_while_it_is_wide_enough() {
    let engine = Engine::cpu_with_threads(2);
    let model = model(SMALL, DType::F32);
    let windowed = generator(&engine, &model, &changed_library("where t <= p", WINDOW));
    let plain = Generator::new(&engine, Arc::clone(&model)).unwrap();
    let explained = windowed.explain();
    assert!(!explained.stores.is_empty() && explained.stores.iter().all(|s| s.window == Some(100)));
    assert!(plain.explain().stores.iter().all(|s| s.window.is_none()));
    assert_eq!(explained.growing_bytes_per_position, 0);
    let short = tokens(90, SMALL.vocabulary);
    let (mut ring, mut growing) = (windowed.session(), plain.session());
    assert!(difference(&logits_of(&mut ring, &short), &logits_of(&mut growing, &short)) < 1e-4);
    let long = tokens(1000, SMALL.vocabulary);
    let bytes = |session: &mut Session, upto: usize| {
        session.continue_with(&long[..upto]).unwrap();
        session.bytes()
    };
    let (ring_500, ring_1000) = (bytes(&mut ring, 500), bytes(&mut ring, 1000));
    assert!(ring_1000 <= ring_500, "{ring_500} {ring_1000}");
    assert!(bytes(&mut growing, 1000) > 3 * ring_1000);
    // A rewind behind the window can't be served, and says so; the sequence stays as it is.
    assert!(matches!(ring.truncate(100), Err(Error::Rewind { len: 100 })));
    assert_eq!(ring.len(), 1000);
    // `continue_with` then begins again.
    let again = ring.continue_with(&short).unwrap().to_vec();
    growing.truncate(0).unwrap();
    assert!(difference(&again, &logits_of(&mut growing, &short)) < 1e-4);
}

#[test]
fn a_windowed_sequence_is_the_same_in_one_prefill_and_in_single_tokens() {
    let engine = Engine::cpu_with_threads(2);
    let windowed = generator(&engine, &model(SMALL, DType::F32), &changed_library("where t <= p", WINDOW));
    let tokens = tokens(400, SMALL.vocabulary);
    let at_once = logits_of(&mut windowed.session(), &tokens);
    let singly = one_by_one(&mut windowed.session(), &tokens);
    assert!(difference(&at_once, &singly) < 1e-4, "{}", difference(&at_once, &singly));
}

#[test]
fn without_the_guard_the_program_is_refused_at_the_read_that_looks_ahead() {
    let program = changed_library("where t <= p", "");
    let found = program.diagnostics();
    assert!(program.has_errors());
    let text = found.render(false);
    assert!(text.contains("where t <= p"), "{text}");
    let error = Generator::with_program(
        &Engine::scalar(),
        model(SMALL, DType::F32),
        &program,
        &GeneratorOptions::default(),
    );
    assert!(matches!(error, Err(Error::Program(_))));
}

#[test]
fn what_does_not_fit_is_said() {
    let engine = Engine::scalar();
    let said = |model| Generator::new(&engine, model).unwrap_err().to_string();
    let missing =
        model_with(SMALL, DType::F32, |_, tensors| tensors.retain(|(n, _)| n != "blk.1.ffn_up.weight"));
    assert!(said(missing).contains("blk.1.ffn_up.weight"));
    let unknown =
        model_with(SMALL, DType::F32, |metadata, _| _ = metadata.set("general.architecture", "unheard-of"));
    assert!(said(unknown).contains("unheard-of"));
    let vocabulary = model_with(SMALL, DType::F32, |metadata, _| {
        let tokens: Vec<String> = (0..7).map(|i| format!("t{i}")).collect();
        metadata.set("tokenizer.ggml.tokens", tl_formats::gguf::Array::from_strings(&tokens));
    });
    let text = said(vocabulary);
    assert!(text.contains('7') && text.contains("120"), "{text}");
    let no_generator = Program::check("none.tl", "fn f(x) = x", &MemoryLoader::default());
    let error = Generator::with_program(
        &engine,
        model(SMALL, DType::F32),
        &no_generator,
        &GeneratorOptions::default(),
    );
    assert!(error.unwrap_err().to_string().contains("logits[p, v]"));
}

#[test]
fn a_sequence_stays_as_it_was_when_tokens_are_refused() {
    let generator = plain(&Engine::cpu_with_threads(1), Sizes { context: 50, ..SMALL });
    let mut session = generator.session();
    let before = logits_of(&mut session, &tokens(30, SMALL.vocabulary));
    assert!(matches!(session.feed(&[3, 120]), Err(Error::Token { id: 120, size: 120 })));
    let error = session.feed(&tokens(30, SMALL.vocabulary)).unwrap_err();
    assert!(matches!(error, Error::Context { limit: 50, asked: 60 }));
    assert_eq!((session.len(), session.logits().to_vec()), (30, before.clone()));
    assert_eq!(session.feed(&[]).unwrap(), before);
    assert_eq!(session.feed(&tokens(20, SMALL.vocabulary)).unwrap().len(), SMALL.vocabulary);
}

#[test]
fn the_tied_weight_serves_where_the_output_matrix_is_broken() {
    let engine = Engine::cpu_with_threads(1);
    let tokens = tokens(5, SMALL.vocabulary);
    let tied = logits_of(&mut plain(&engine, SMALL).session(), &tokens);
    let with_output = |values: Vec<f32>| {
        model_with(SMALL, DType::F32, |_, tensors| {
            tensors
                .push(("output.weight".into(), Tensor::from_f32(&[SMALL.vocabulary, SMALL.width], &values)));
        })
    };
    let size = SMALL.vocabulary * SMALL.width;
    let mut values = vec![0.25; size];
    let sound = with_output(values.clone());
    assert!(sound.warnings().is_empty());
    let own = logits_of(&mut Generator::new(&engine, sound).unwrap().session(), &tokens);
    assert!(difference(&own, &tied) > 1e-3, "a sound output matrix is used");
    values[70] = f32::INFINITY;
    let broken = with_output(values);
    let [ModelWarning::BadOutput(note)] = broken.warnings() else { panic!("{:?}", broken.warnings()) };
    assert!(note.to_string().contains("output.weight"), "{note}");
    let served = logits_of(&mut Generator::new(&engine, broken).unwrap().session(), &tokens);
    assert_eq!(served, tied);
}

#[test]
fn an_explanation_adds_up() {
    let generator = plain(&Engine::cpu_with_threads(1), SMALL);
    let explained = generator.explain();
    // Keys and values of each layer, one row a position.
    let row = 2 * SMALL.layers * SMALL.kv_heads * (SMALL.width / SMALL.heads) * 4;
    assert_eq!(explained.growing_bytes_per_position, row);
    let matrices: usize = SMALL.layers * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32) + 120 * 32;
    let products: usize = explained.kernels.iter().filter(|k| k.kind == "matmul").map(|k| k.flops).sum();
    // The embedding serves twice: as the output matrix, and one row of it as the input. Weights of norms are decoded once.
    assert_eq!((products, explained.bytes_per_token), (2 * matrices, 4 * (matrices + SMALL.width)));
    assert!(explained.to_string().contains("k[0]"), "{explained}");
}
