//! Embeddings against the direct evaluation of the model, and the rows of named tensors.

use std::sync::Arc;

use tensorlogic::{Engine, Error, Generator, Model};
use tl_formats::gguf::File;
use tl_llm::{Pooling, embed};
use tl_tensor::Buffer;

use crate::made_up::{MadeUp, Shape};
use crate::models::{every_memory, tiny};

fn normalized(row: &[f64]) -> Vec<f64> {
    let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
    row.iter().map(|x| x / length).collect()
}

fn assert_close(ours: &[f32], exact: &[f64], what: &str) {
    assert_eq!(ours.len(), exact.len(), "{what}");
    let off = ours.iter().zip(exact).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(off < 1e-4, "{what}: {off}");
}

#[test]
fn pooled_rows_are_those_of_a_direct_evaluation() {
    let made = MadeUp::new(Shape::default(), 21);
    let model = Model::new("made up", File::from_buffer(Buffer::from_vec(made.gguf())).unwrap());
    let generator = Generator::new(&Engine::cpu_with_threads(2), Arc::new(model)).unwrap();
    let ids: Vec<u32> = (0..150).map(|i| i * 7 % 320).collect();
    let mut probe = generator.probe(None).unwrap();
    let hidden = made.hidden(&ids);
    let last = embed(&mut probe, &ids, Pooling::Last).unwrap();
    assert_close(&last, &normalized(hidden.last().unwrap()), "last");
    let mean: Vec<f64> = (0..64).map(|d| hidden.iter().map(|row| row[d]).sum::<f64>() / 150.0).collect();
    assert_close(&embed(&mut probe, &ids, Pooling::Mean).unwrap(), &normalized(&mean), "mean");
    // Each tensor of the recursion by its step, and by its name alone the last.
    for (name, layers) in [("x[0]", 0), ("x[1]", 1), ("x", 2)] {
        let mut probe = generator.probe(Some(name)).unwrap();
        let exact = made.residual(&ids[..9], layers).pop().unwrap();
        let ours = embed(&mut probe, &ids[..9], Pooling::Last).unwrap();
        assert_close(&ours, &normalized(&exact), name);
    }
    // Rows of several axes are taken as one.
    let mut heads = generator.probe(Some("o[1]")).unwrap();
    assert_eq!((heads.tensor(), heads.width()), ("o[1]", 64));
    assert_eq!(embed(&mut heads, &ids, Pooling::Last).unwrap().len(), 64);
}

#[test]
fn any_program_has_rows_before_its_logits() {
    for (memory, generator) in every_memory(&tiny(), 4) {
        let mut probe = generator.probe(None).unwrap();
        assert_eq!(probe.width(), 16, "{memory}");
        let long: Vec<u32> = (0..300).map(|i| i % 5).collect();
        let (mut at_once, mut count) = (Vec::new(), 0);
        probe
            .rows(&long, |i, row| {
                assert_eq!((i, row.len()), (count, 16));
                at_once.push(row.to_vec());
                count += 1;
            })
            .unwrap();
        assert_eq!(count, 300);
        // A row depends on what came before it alone, however the sequence was cut.
        let mut short = Vec::new();
        probe.rows(&long[..131], |_, row| short.push(row.to_vec())).unwrap();
        assert_eq!(at_once[..131], short, "{memory}");
    }
}

#[test]
fn what_can_not_be_probed_is_said() {
    let [(_, generator), ..] = every_memory(&tiny(), 4);
    let said = |name: &str| generator.probe(Some(name)).unwrap_err().to_string();
    assert!(said("y[00]").contains("is `y[0]` meant?"), "{}", said("y[00]"));
    assert!(said("nothing").contains("computes no tensor `nothing`"));
    let mut probe = generator.probe(None).unwrap();
    assert!(matches!(probe.rows(&[5], |_, _| {}), Err(Error::Token { id: 5, size: 5 })));
    assert!(matches!(probe.rows(&[0; 513], |_, _| {}), Err(Error::Context { limit: 512, asked: 513 })));
    assert!(embed(&mut probe, &[], Pooling::Mean).is_err());
}
