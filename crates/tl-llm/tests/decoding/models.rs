//! The models of these tests, and what is asked of each.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tensorlogic::{Engine, Generator, GeneratorOptions, MemoryLoader, Model, Program, Session};
use tl_formats::gguf::File;
use tl_llm::sampling::SamplingParams;
use tl_llm::{GenerateOptions, Generation, generate};
use tl_tensor::Buffer;

use crate::made_up::{MadeUp, Shape};

const RECURRENT: &str = "fn recurrent(m, tok[p]) -> logits[p, v] {
    x[p, d] = m.token_embd.weight[d, tok[p]]
    h[p, d] = tanh(0.5 * h[p - 1, e] m.blk[0].attn_q.weight[e, d] + x[p, d])
    logits[p, v] = h[p, d] m.output.weight[d, v]
}";

/// A model with so few tokens that all short sequences can be enumerated.
pub fn tiny() -> Shape {
    Shape {
        layers: 1,
        width: 16,
        heads: 2,
        kv_heads: 1,
        key: 8,
        value: 8,
        turned: 8,
        feed_forward: 16,
        vocabulary: 5,
        ..Shape::default()
    }
}

pub fn model(shape: &Shape, seed: u64) -> Arc<Model> {
    let made = MadeUp::new(shape.clone(), seed);
    let made = if shape.vocabulary > 300 { made.with_sentence_pieces() } else { made };
    Arc::new(Model::new("made up", File::from_buffer(Buffer::from_vec(made.gguf())).unwrap()))
}

/// Generators that remember all rows, a ring of them, and one row.
pub fn every_memory(shape: &Shape, seed: u64) -> [(&'static str, Generator); 3] {
    let (engine, model) = (Engine::cpu_with_threads(1), model(shape, seed));
    let library = tensorlogic::library::models().next().unwrap().text;
    let window = library.replace("where t <= p", "where t <= p and p - t < 20");
    assert_ne!(window, library);
    let with = |text: &str| {
        let program = Program::check("own.tl", text, &MemoryLoader::default());
        Generator::with_program(&engine, Arc::clone(&model), &program, &GeneratorOptions::default()).unwrap()
    };
    [("all rows", with(library)), ("a ring", with(&window)), ("one row", with(RECURRENT))]
}

/// Options that leave the model's distribution as it is.
pub fn unchanged(max_tokens: usize, seed: u64) -> GenerateOptions {
    let sampling = SamplingParams {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: Some(seed),
        ..SamplingParams::default()
    };
    GenerateOptions { max_tokens: Some(max_tokens), sampling, ..GenerateOptions::default() }
}

pub fn greedy(max_tokens: usize) -> GenerateOptions {
    let sampling = SamplingParams { seed: Some(0), ..SamplingParams::greedy() };
    GenerateOptions { sampling, ..unchanged(max_tokens, 0) }
}

/// Continues a prompt, with text where the model has a vocabulary.
pub fn run(session: &mut Session, prompt: &[u32], options: &GenerateOptions) -> Generation {
    let model = Arc::clone(session.generator().model());
    let never = AtomicBool::new(false);
    generate(session, model.tokenizer().ok(), prompt, options, &never, |_| {}, |_| {}).unwrap()
}

/// The log-probabilities of all tokens after a sequence, straight from its logits.
pub fn log_probabilities(generator: &Generator, ids: &[u32]) -> Vec<f64> {
    let mut session = generator.session();
    let logits: Vec<f64> = session.feed(ids).unwrap().iter().map(|&l| f64::from(l)).collect();
    crate::made_up::softmax(&logits).into_iter().map(f64::ln).collect()
}

/// All sequences of `length` tokens that may follow a prompt, each with the logarithm of its probability.
pub fn all_continuations(generator: &Generator, prompt: &[u32], length: usize) -> Vec<(Vec<u32>, f64)> {
    let mut found = vec![(Vec::new(), 0.0)];
    for _ in 0..length {
        found = (found.into_iter())
            .flat_map(|(ids, log_probability): (Vec<u32>, f64)| {
                let next = log_probabilities(generator, &[prompt, &ids].concat());
                next.into_iter().enumerate().map(move |(id, own)| {
                    let ids = ids.iter().copied().chain([id as u32]).collect();
                    (ids, log_probability + own)
                })
            })
            .collect();
    }
    found
}
