//! Steps of many sequences: each gets what it would get alone, whatever the others are given.

mod support;

use support::*;
use tensorlogic::{Engine, Error, Feed, Generator, Session, Wanted};
use tl_tensor::DType;

/// Logits after each token, fed one at a time.
fn alone(generator: &Generator, tokens: &[u32]) -> Vec<Vec<f32>> {
    let mut session = generator.session();
    tokens.iter().map(|&token| session.feed(&[token]).unwrap().to_vec()).collect()
}

#[test]
fn sequences_get_in_a_common_step_what_they_get_alone_bit_by_bit() {
    for dtype in [DType::F32, DType::Q8_0, DType::Q4_1] {
        let model = model(SMALL, dtype);
        for (memory, generator) in every_memory(&Engine::cpu_with_threads(2), &model) {
            let all: Vec<Vec<u32>> =
                (0..5).map(|i| tokens(150 + i, SMALL.vocabulary)[i..].to_vec()).collect();
            let expected: Vec<_> = all.iter().map(|tokens| alone(&generator, tokens)).collect();
            let mut sessions: Vec<Session> = all.iter().map(|_| generator.session()).collect();
            // Pieces of other lengths for each sequence and step, none among them.
            for round in 0.. {
                let piece = |i: usize, len: usize| len..150.min(len + (round * 7 + i * 13) % 29);
                let mut feeds: Vec<Feed<'_>> = (sessions.iter_mut().zip(&all).enumerate())
                    .map(|(i, (session, tokens))| {
                        let tokens = &tokens[piece(i, session.len())];
                        Feed { session, tokens, wanted: [Wanted::All, Wanted::Last][(round + i) % 2] }
                    })
                    .collect();
                generator.step(&mut feeds).unwrap();
                let vocabulary = SMALL.vocabulary;
                for (i, (session, expected)) in sessions.iter().zip(&expected).enumerate() {
                    let rows = session.all_logits().chunks_exact(vocabulary);
                    let first = session.len() - rows.len();
                    for (row, expected) in rows.zip(&expected[first..]) {
                        assert_eq!(row, expected, "{memory}, {dtype:?}, round {round}, sequence {i}");
                    }
                }
                if sessions.iter().all(|session| session.len() == 150) {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_step_that_is_refused_changes_no_sequence() {
    let model = model(Sizes { context: 10, ..SMALL }, DType::F32);
    let generator = Generator::new(&Engine::cpu_with_threads(1), model.clone()).unwrap();
    let other = Generator::new(&Engine::cpu_with_threads(1), model).unwrap();
    let (mut one, mut two, mut foreign) = (generator.session(), generator.session(), other.session());
    generator.step(&mut [Feed::last(&mut one, &[1, 2]), Feed::last(&mut two, &[3])]).unwrap();
    let before = (one.logits().to_vec(), two.logits().to_vec());
    let refused = generator.step(&mut [Feed::last(&mut one, &[1]), Feed::last(&mut two, &[120])]);
    assert!(matches!(refused, Err(Error::Token { id: 120, .. })));
    let refused = generator.step(&mut [Feed::last(&mut one, &[1]), Feed::last(&mut two, &[1; 10])]);
    assert!(matches!(refused, Err(Error::Context { limit: 10, asked: 11 })));
    let refused = generator.step(&mut [Feed::last(&mut one, &[1]), Feed::last(&mut foreign, &[1])]);
    assert!(matches!(refused, Err(Error::OtherGenerator)));
    assert_eq!((one.tokens(), two.tokens(), foreign.len()), (&[1, 2][..], &[3][..], 0));
    assert_eq!((one.logits(), two.logits()), (&before.0[..], &before.1[..]));
    // No tokens leave a sequence as it is; no wanted logits leave none.
    let nothing = Feed { session: &mut two, tokens: &[4], wanted: Wanted::None };
    generator.step(&mut [Feed::last(&mut one, &[]), nothing]).unwrap();
    assert_eq!((one.logits(), two.logits(), two.len()), (&before.0[..], &[][..], 2));
    generator.step(&mut [Feed::last(&mut one, &[])]).unwrap();
    generator.step(&mut []).unwrap();
}
