//! Sequences as values: pages of other types, and files that are written and read again.

mod support;

use sha2::{Digest, Sha256};
use std::sync::Arc;
use support::*;
use tensorlogic::{Engine, Generator, GeneratorOptions, MemoryLoader, Program, SavedError, Session};
use tl_tensor::DType;

const PAGES: [DType; 4] = [DType::F32, DType::F16, DType::BF16, DType::Q8_0];

/// Rows of keys and values that are whole blocks of 32.
const WIDE: Sizes = Sizes { width: 64, ..SMALL };

fn with_pages(engine: &Engine, pages: DType) -> Generator {
    let options = GeneratorOptions { pages: Some(pages), ..GeneratorOptions::default() };
    Generator::with_options(engine, model(WIDE, DType::F32), &options).unwrap()
}

fn saved(session: &Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    session.save(&mut bytes).unwrap();
    bytes
}

fn load(generator: &Generator, bytes: &[u8]) -> Result<Session, SavedError> {
    generator.load_session(&mut &*bytes)
}

#[test]
fn a_saved_sequence_goes_on_as_if_it_had_never_been_away() {
    let engine = Engine::cpu_with_threads(1);
    let all = tokens(200, SMALL.vocabulary);
    for (memory, generator) in every_memory(&engine, &model(SMALL, DType::F32)) {
        for len in [0, 1, 63, 64, 130] {
            let mut session = generator.session();
            session.feed(&all[..len]).unwrap();
            let mut again = load(&generator, &saved(&session)).unwrap();
            assert_eq!((again.tokens(), again.logits()), (session.tokens(), session.logits()), "{memory}");
            let expected = session.feed(&all[len..]).unwrap().to_vec();
            assert_eq!(again.feed(&all[len..]).unwrap(), expected, "{memory}, {len}");
            assert_eq!(again.bytes(), session.bytes(), "{memory}, {len}");
        }
    }
}

#[test]
fn a_sequence_of_another_model_program_or_type_of_pages_is_refused() {
    let engine = Engine::cpu_with_threads(1);
    let small = model(SMALL, DType::F32);
    let generator = Generator::new(&engine, Arc::clone(&small)).unwrap();
    let mut session = generator.session();
    session.feed(&[1, 2, 3]).unwrap();
    let bytes = saved(&session);
    // The same from another place is the same.
    let same = Generator::new(&engine, model(SMALL, DType::F32)).unwrap();
    assert_eq!(load(&same, &bytes).unwrap().tokens(), [1, 2, 3]);
    let changed = changed_library("where t <= p", "where t <= p and p - t < 4000");
    let one_value = model_with(SMALL, DType::F32, |_, tensors| {
        let mut values = tensors[5].1.to_f32();
        *values.last_mut().unwrap() += 0.5;
        tensors[5].1 = tl_tensor::Tensor::from_f32(tensors[5].1.shape(), &values);
    });
    let setting =
        model_with(SMALL, DType::F32, |metadata, _| _ = metadata.set("llama.rope.freq_base", 5e5f32));
    let pages = GeneratorOptions { pages: Some(DType::F16), ..GeneratorOptions::default() };
    let others = [
        support::generator(&engine, &small, &changed),
        Generator::new(&engine, one_value).unwrap(),
        Generator::new(&engine, setting).unwrap(),
    ];
    for other in others {
        assert!(matches!(load(&other, &bytes), Err(SavedError::Other)));
    }
    let packed = Generator::with_options(&engine, Arc::clone(&small), &pages).unwrap();
    assert!(matches!(load(&packed, &bytes), Err(SavedError::Other)));
    let short = GeneratorOptions { context: Some(2), ..GeneratorOptions::default() };
    let short = Generator::with_options(&engine, small, &short).unwrap();
    assert!(matches!(load(&short, &bytes), Err(SavedError::Malformed(_))));
}

#[test]
fn whatever_the_bytes_are_reading_ends_in_a_sequence_or_an_error() {
    let engine = Engine::cpu_with_threads(1);
    for (memory, generator) in every_memory(&engine, &model(SMALL, DType::F32)) {
        let mut session = generator.session();
        session.feed(&tokens(70, SMALL.vocabulary)).unwrap();
        let bytes = saved(&session);
        let malformed = |bytes: &[u8]| matches!(load(&generator, bytes), Err(SavedError::Malformed(_)));
        assert!((0..bytes.len()).step_by(97).all(|len| malformed(&bytes[..len])), "{memory}: cut");
        assert!(malformed(&[&bytes[..], &[0]].concat()), "{memory}: more");
        // Any byte of the numbers that say how much follows, with a checksum that is right.
        let body = bytes.len() - 32;
        let interesting = (40..48).chain(328..336).chain(810..960).filter(|&at| at < body);
        for at in interesting {
            for value in [0x00, 0x01, 0x7f, 0xff] {
                let mut forged = bytes[..body].to_vec();
                if std::mem::replace(&mut forged[at], value) == value {
                    continue;
                }
                let sum = Sha256::digest(&forged);
                forged.extend_from_slice(&sum);
                // Values of rows may be any numbers.
                if let Ok(read) = load(&generator, &forged) {
                    assert_eq!(read.len(), 70, "{memory}, byte {at}");
                }
                let mut flipped = bytes.clone();
                flipped[at] = value;
                assert!(load(&generator, &flipped).is_err(), "{memory}, byte {at} without the checksum");
            }
        }
    }
    let generator = Generator::new(&engine, model(SMALL, DType::F32)).unwrap();
    assert!(load(&generator, b"").is_err() && load(&generator, b"GGUF and more").is_err());
}

#[test]
fn what_is_remembered_is_counted_once_and_given_back() {
    let generator = Generator::new(&Engine::cpu_with_threads(1), model(SMALL, DType::F32)).unwrap();
    let mut session = generator.session();
    session.feed(&tokens(130, SMALL.vocabulary)).unwrap();
    let alone = generator.remembered_bytes();
    assert_eq!(alone, session.bytes());
    let (fork, shorter) = (session.fork(), session.fork_at(64).unwrap());
    assert_eq!((generator.remembered_bytes(), shorter.len()), (alone, 64));
    let growth = session.growth(3, 3);
    session.feed(&[1, 2, 3]).unwrap();
    assert_eq!(generator.remembered_bytes(), alone + growth, "the page that both would write to was copied");
    drop((session, fork));
    assert_eq!(generator.remembered_bytes(), shorter.bytes());
    drop(shorter);
    assert_eq!(generator.remembered_bytes(), 0);
}

#[test]
fn a_fork_is_taken_where_the_memory_of_the_model_allows_it() {
    let all = tokens(300, SMALL.vocabulary);
    for (memory, generator) in every_memory(&Engine::cpu_with_threads(1), &model(SMALL, DType::F32)) {
        let mut session = generator.session();
        session.feed(&all).unwrap();
        let mut forks = 0;
        for len in 0..=300 {
            let Some(mut fork) = session.fork_at(len) else { continue };
            forks += 1;
            if len % 50 == 0 || len > 297 {
                let mut fresh = generator.session();
                let expected = fresh.feed(&all[..len]).map(|_| ()).and_then(|()| fresh.feed(&[7])).unwrap();
                assert_eq!(fork.feed(&[7]).unwrap(), expected, "{memory}, {len}");
            }
        }
        assert_eq!(forks == 301, generator.rewinds(), "{memory}");
        assert!(forks >= 2, "{memory}: the empty sequence and the whole");
    }
}

#[test]
fn smaller_pages_take_less_memory_and_stay_near() {
    let engine = Engine::cpu_with_threads(2);
    let all = tokens(150, WIDE.vocabulary);
    let exact = with_pages(&engine, DType::F32).session().feed(&all).unwrap().to_vec();
    for pages in PAGES {
        let generator = with_pages(&engine, pages);
        let mut session = generator.session();
        let at_once = session.feed(&all).unwrap().to_vec();
        let row = pages.row_bytes(32).unwrap() * 2 * WIDE.layers;
        assert_eq!(generator.explain().growing_bytes_per_position, row, "{pages:?}");
        assert_eq!(session.bytes(), 3 * 64 * row, "{pages:?}");
        let tolerance = match pages {
            DType::F32 => 0.0,
            DType::F16 => 5e-3,
            _ => 0.2,
        };
        assert!(difference(&at_once, &exact) <= tolerance, "{pages:?}: {}", difference(&at_once, &exact));
        // However the sequence came to be, and on any backend.
        let mut singly = generator.session();
        all.iter().for_each(|&token| _ = singly.feed(&[token]).unwrap());
        assert_eq!(singly.logits(), at_once, "{pages:?}");
        let again = load(&generator, &saved(&session)).unwrap().feed(&[5]).unwrap().to_vec();
        assert_eq!(session.feed(&[5]).unwrap(), again, "{pages:?}");
        let scalar = with_pages(&Engine::scalar(), pages).session().feed(&all[..40]).unwrap().to_vec();
        let vectors = generator.session().feed(&all[..40]).unwrap().to_vec();
        assert!(difference(&scalar, &vectors) < 5e-3, "{pages:?}: {}", difference(&scalar, &vectors));
    }
}

#[test]
fn a_recurrence_is_not_rounded_and_rows_that_cut_a_block_take_16_bits() {
    let engine = Engine::cpu_with_threads(1);
    let options = GeneratorOptions { pages: Some(DType::Q8_0), ..GeneratorOptions::default() };
    let recurrent = Program::check("recurrent.tl", RECURRENT, &MemoryLoader::default());
    let small = model(SMALL, DType::F32);
    let packed = Generator::with_program(&engine, Arc::clone(&small), &recurrent, &options).unwrap();
    let plain = generator(&engine, &small, &recurrent);
    let all = tokens(50, SMALL.vocabulary);
    assert_eq!(packed.session().feed(&all).unwrap(), plain.session().feed(&all).unwrap());
    // Rows of 16 values: no whole block of 32.
    let narrow = Generator::with_options(&engine, small, &options).unwrap();
    assert!(narrow.explain().stores.iter().all(|store| store.dtype == DType::F16));
}
