//! A small made-up model of the family that the library serves, and a generator of numbers.

#![allow(dead_code, reason = "each test uses a part")]

use std::sync::Arc;

use tensorlogic::{Engine, Generator, GeneratorOptions, MemoryLoader, Model, Program};
use tl_formats::gguf::{Array, File, Metadata, Writer};
use tl_tensor::{Buffer, DType, Tensor};

/// Sizes of a made-up model.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub layers: usize,
    pub width: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub feed_forward: usize,
    pub vocabulary: usize,
    pub context: usize,
}

pub const SMALL: Sizes =
    Sizes { layers: 2, width: 32, heads: 4, kv_heads: 2, feed_forward: 64, vocabulary: 120, context: 4096 };

/// Numbers in −1..1 that look random and are the same everywhere.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32) / ((1u64 << 23) as f32) - 1.0
    }

    pub fn tensor(&mut self, dtype: DType, shape: &[usize], scale: f32) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.next() * scale).collect();
        Tensor::encode(dtype, shape, &values).unwrap()
    }
}

/// The file of a made-up model; `change` may alter metadata and tensors before it is written.
pub fn gguf(
    sizes: Sizes,
    dtype: DType,
    change: impl FnOnce(&mut Metadata, &mut Vec<(String, Tensor)>),
) -> Buffer {
    let architecture = "llama";
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", architecture);
    let mut set = |key: &str, value: usize| _ = metadata.set(&format!("{architecture}.{key}"), value as u32);
    set("block_count", sizes.layers);
    set("embedding_length", sizes.width);
    set("feed_forward_length", sizes.feed_forward);
    set("context_length", sizes.context);
    set("vocab_size", sizes.vocabulary);
    set("attention.head_count", sizes.heads);
    set("attention.head_count_kv", sizes.kv_heads);
    metadata.set(&format!("{architecture}.attention.layer_norm_rms_epsilon"), 1e-5f32);
    metadata.set("tokenizer.ggml.model", "gpt2");
    let tokens: Vec<String> = (0..sizes.vocabulary).map(|i| format!("t{i}")).collect();
    metadata.set("tokenizer.ggml.tokens", Array::from_strings(&tokens));
    let mut numbers = Numbers(1);
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    let (d, head) = (sizes.width, sizes.width / sizes.heads);
    let mut matrix = |name: String, rows: usize, columns: usize, numbers: &mut Numbers| {
        tensors.push((name, numbers.tensor(dtype, &[rows, columns], 1.0 / (columns as f32).sqrt() * 2.0)));
    };
    matrix("token_embd.weight".into(), sizes.vocabulary, d, &mut numbers);
    for l in 0..sizes.layers {
        matrix(format!("blk.{l}.attn_q.weight"), d, d, &mut numbers);
        matrix(format!("blk.{l}.attn_k.weight"), sizes.kv_heads * head, d, &mut numbers);
        matrix(format!("blk.{l}.attn_v.weight"), sizes.kv_heads * head, d, &mut numbers);
        matrix(format!("blk.{l}.attn_output.weight"), d, d, &mut numbers);
        matrix(format!("blk.{l}.ffn_gate.weight"), sizes.feed_forward, d, &mut numbers);
        matrix(format!("blk.{l}.ffn_up.weight"), sizes.feed_forward, d, &mut numbers);
        matrix(format!("blk.{l}.ffn_down.weight"), d, sizes.feed_forward, &mut numbers);
    }
    let mut norm = |name: String| {
        let values: Vec<f32> = (0..d).map(|_| 1.0 + 0.1 * numbers.next()).collect();
        tensors.push((name, Tensor::from_f32(&[d], &values)));
    };
    for l in 0..sizes.layers {
        norm(format!("blk.{l}.attn_norm.weight"));
        norm(format!("blk.{l}.ffn_norm.weight"));
    }
    norm("output_norm.weight".into());
    change(&mut metadata, &mut tensors);
    let mut writer = Writer::new(metadata);
    for (name, tensor) in &tensors {
        writer.tensor(name, tensor).unwrap();
    }
    Buffer::from_vec(writer.write_to(Vec::new()).unwrap())
}

pub fn model(sizes: Sizes, dtype: DType) -> Arc<Model> {
    model_with(sizes, dtype, |_, _| {})
}

pub fn model_with(
    sizes: Sizes,
    dtype: DType,
    change: impl FnOnce(&mut Metadata, &mut Vec<(String, Tensor)>),
) -> Arc<Model> {
    Arc::new(Model::new("made up", File::from_buffer(gguf(sizes, dtype, change)).unwrap()))
}

/// The library's equations for the made-up model, with a piece of text replaced.
pub fn changed_library(from: &str, to: &str) -> Program {
    let file = tensorlogic::library::models().next().unwrap();
    assert!(file.text.contains(from), "the library's file has {from:?}");
    Program::check("changed.tl", &file.text.replace(from, to), &MemoryLoader::default())
}

pub fn generator(engine: &Engine, model: &Arc<Model>, program: &Program) -> Generator {
    Generator::with_program(engine, Arc::clone(model), program, &GeneratorOptions::default()).unwrap()
}

/// Token ids that look random.
pub fn tokens(count: usize, vocabulary: usize) -> Vec<u32> {
    let mut numbers = Numbers(7);
    (0..count)
        .map(|_| ((numbers.next() + 1.0) / 2.0 * vocabulary as f32) as u32 % vocabulary as u32)
        .collect()
}

/// The largest difference between two runs of numbers of one length.
pub fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

/// A recurrent model of the made-up model's weights: what it remembers is one row.
pub const RECURRENT: &str = "fn recurrent(m, tok[p]) -> logits[p, v] {
    x[p, d] = m.token_embd.weight[d, tok[p]]
    h[p, d] = tanh(0.5 * h[p - 1, e] m.blk[0].attn_q.weight[e, d] + x[p, d])
    logits[p, v] = h[p, d] m.token_embd.weight[d, v]
}";

/// Generators that remember in different ways: all rows, rings, and one row.
pub fn every_memory(engine: &Engine, model: &Arc<Model>) -> [(&'static str, Generator); 3] {
    let window = changed_library("where t <= p", "where t <= p and p - t < 70");
    let recurrent = Program::check("recurrent.tl", RECURRENT, &MemoryLoader::default());
    [
        ("all rows", Generator::new(engine, Arc::clone(model)).unwrap()),
        ("rings", generator(engine, model, &window)),
        ("one row", generator(engine, model, &recurrent)),
    ]
}
