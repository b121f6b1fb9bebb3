//! Made-up models with random weights, and their slow, direct evaluation in 64-bit arithmetic.
//!
//! The evaluation is written from the definition of the family, not from the library's equations: whole prefix, no cache, one loop for each sum. It reads
//! the weights as the file holds them, after quantization.

#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;

use tl_formats::gguf::{Array, Metadata, ValueType, Writer};
use tl_tensor::{Buffer, DType, Tensor};

/// What a made-up model is like.
#[derive(Clone)]
pub struct Shape {
    /// The family, which decides what else there is: whether a rotation pairs the halves of a head, and whether heads are normed.
    pub architecture: &'static str,
    pub layers: usize,
    pub width: usize,
    pub heads: usize,
    pub kv_heads: usize,
    /// Width of a query and a key.
    pub key: usize,
    /// Width of a value.
    pub value: usize,
    /// How many numbers of a head are turned by its position.
    pub turned: usize,
    pub feed_forward: usize,
    pub vocabulary: usize,
    pub freq_base: f64,
    /// By how much positions turn slower.
    pub slower: f64,
    /// Whether each pair of a rotation has a factor of its own.
    pub factors: bool,
    /// Whether attention has biases.
    pub biases: bool,
    /// Whether the output matrix is the embedding.
    pub tied: bool,
    /// The element type of a tensor by its name.
    pub dtype: fn(&str) -> DType,
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            architecture: "llama",
            layers: 2,
            width: 64,
            heads: 4,
            kv_heads: 2,
            key: 16,
            value: 16,
            turned: 16,
            feed_forward: 96,
            vocabulary: 320,
            freq_base: 10000.0,
            slower: 1.0,
            factors: false,
            biases: false,
            tied: false,
            dtype: |_| DType::F32,
        }
    }
}

impl Shape {
    /// Whether the pairs of a rotation are `(x[j], x[n/2 + j])` and not neighbours.
    fn turns_halves(&self) -> bool {
        self.architecture != "llama"
    }

    /// Whether the queries and keys of each head are normed before they are turned.
    fn norms_heads(&self) -> bool {
        self.architecture == "qwen3"
    }
}

/// A made-up model.
pub struct MadeUp {
    pub shape: Shape,
    pub metadata: Metadata,
    pub tensors: BTreeMap<String, Tensor>,
    /// The weights as the file holds them.
    weights: BTreeMap<String, Vec<f64>>,
}

const EPSILON: f64 = 1e-5;

/// Numbers in −1..1 that look random and are the same everywhere.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Numbers(seed)
    }

    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32) / ((1u64 << 23) as f32) - 1.0
    }

    /// Token ids.
    pub fn ids(&mut self, count: usize, vocabulary: usize) -> Vec<u32> {
        (0..count)
            .map(|_| ((self.next() + 1.0) / 2.0 * vocabulary as f32) as u32 % vocabulary as u32)
            .collect()
    }
}

impl MadeUp {
    pub fn new(shape: Shape, seed: u64) -> Self {
        let mut made = MadeUp {
            metadata: metadata(&shape),
            shape: shape.clone(),
            tensors: BTreeMap::new(),
            weights: BTreeMap::new(),
        };
        let mut numbers = Numbers::new(seed);
        let Shape { width, heads, kv_heads, key, value, feed_forward, vocabulary, .. } = shape;
        made.matrix("token_embd.weight", vocabulary, width, &mut numbers);
        for l in 0..shape.layers {
            let name = |part: &str| format!("blk.{l}.{part}");
            made.matrix(&name("attn_q.weight"), heads * key, width, &mut numbers);
            made.matrix(&name("attn_k.weight"), kv_heads * key, width, &mut numbers);
            made.matrix(&name("attn_v.weight"), kv_heads * value, width, &mut numbers);
            made.matrix(&name("attn_output.weight"), width, heads * value, &mut numbers);
            made.matrix(&name("ffn_gate.weight"), feed_forward, width, &mut numbers);
            made.matrix(&name("ffn_up.weight"), feed_forward, width, &mut numbers);
            made.matrix(&name("ffn_down.weight"), width, feed_forward, &mut numbers);
            made.vector(&name("attn_norm.weight"), width, 1.0, &mut numbers);
            made.vector(&name("ffn_norm.weight"), width, 1.0, &mut numbers);
            if shape.biases {
                made.vector(&name("attn_q.bias"), heads * key, 0.0, &mut numbers);
                made.vector(&name("attn_k.bias"), kv_heads * key, 0.0, &mut numbers);
                made.vector(&name("attn_v.bias"), kv_heads * value, 0.0, &mut numbers);
                if shape.architecture == "llama" {
                    made.vector(&name("attn_output.bias"), width, 0.0, &mut numbers);
                }
            }
            if shape.norms_heads() {
                made.vector(&name("attn_q_norm.weight"), key, 1.0, &mut numbers);
                made.vector(&name("attn_k_norm.weight"), key, 1.0, &mut numbers);
            }
        }
        made.vector("output_norm.weight", width, 1.0, &mut numbers);
        if shape.factors {
            made.vector("rope_freqs.weight", shape.turned / 2, 2.0, &mut numbers);
        }
        if !shape.tied {
            made.matrix("output.weight", vocabulary, width, &mut numbers);
        }
        made
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize, numbers: &mut Numbers) {
        let scale = 3.0 / (columns as f32).sqrt();
        let values: Vec<f32> = (0..rows * columns).map(|_| numbers.next() * scale).collect();
        let dtype = (self.shape.dtype)(name);
        self.set(name, Tensor::encode(dtype, [rows, columns], &values).unwrap());
    }

    fn vector(&mut self, name: &str, size: usize, around: f32, numbers: &mut Numbers) {
        let values: Vec<f32> = (0..size).map(|_| around + 0.3 * numbers.next()).collect();
        self.set(name, Tensor::from_f32(&[size], &values));
    }

    /// Puts a tensor in the place of another, or beside them.
    pub fn set(&mut self, name: &str, tensor: Tensor) {
        let values = tensor.to_f32().into_iter().map(f64::from).collect();
        self.weights.insert(name.to_owned(), values);
        self.tensors.insert(name.to_owned(), tensor);
    }

    /// The file.
    pub fn gguf(&self) -> Vec<u8> {
        let mut writer = Writer::new(self.metadata.clone());
        for (name, tensor) in &self.tensors {
            writer.tensor(name, tensor).unwrap();
        }
        writer.write_to(Vec::new()).unwrap()
    }

    /// Gives the file a vocabulary of SentencePiece's kind: bytes, letters, and pieces made of them. Ids 0, 1 and 2 are unknown, BOS and EOS.
    pub fn with_sentence_pieces(mut self) -> Self {
        let mut pieces: Vec<(String, f32, i32)> =
            vec![("<unk>".into(), 0.0, 2), ("<s>".into(), 0.0, 3), ("</s>".into(), 0.0, 3)];
        pieces.extend((0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6)));
        pieces.push(("▁".into(), -100.0, 1));
        pieces.extend(('a'..='z').map(|letter| (letter.to_string(), -101.0, 1)));
        pieces.extend(
            ["he", "ll", "hell", "hello"].iter().zip(1..).map(|(p, n)| (p.to_string(), -n as f32, 1)),
        );
        pieces.resize_with(self.shape.vocabulary, Default::default);
        for (id, piece) in pieces.iter_mut().enumerate().filter(|(_, piece)| piece.0.is_empty()) {
            *piece = (format!("piece{id}"), -1000.0, 1);
        }
        let scores: Vec<u8> = pieces.iter().flat_map(|p| p.1.to_le_bytes()).collect();
        let kinds: Vec<u8> = pieces.iter().flat_map(|p| p.2.to_le_bytes()).collect();
        let array = |kind, bytes| Array::from_bytes(kind, Buffer::from_vec(bytes)).unwrap();
        self.metadata
            .set("tokenizer.ggml.model", "llama")
            .set("tokenizer.ggml.tokens", Array::from_strings(pieces.iter().map(|p| &p.0)))
            .set("tokenizer.ggml.scores", array(ValueType::F32, scores))
            .set("tokenizer.ggml.token_type", array(ValueType::I32, kinds))
            .set("tokenizer.ggml.unknown_token_id", 0u32)
            .set("tokenizer.ggml.bos_token_id", 1u32)
            .set("tokenizer.ggml.eos_token_id", 2u32)
            .set("tokenizer.ggml.add_bos_token", true);
        self
    }

    /// The logits after each token, shape `[ids, vocabulary]`.
    pub fn logits(&self, ids: &[u32]) -> Vec<Vec<f64>> {
        let output = if self.shape.tied { "token_embd.weight" } else { "output.weight" };
        self.hidden(ids).iter().map(|x| self.product(output, x)).collect()
    }

    /// What the output matrix multiplies for each token, shape `[ids, width]`.
    pub fn hidden(&self, ids: &[u32]) -> Vec<Vec<f64>> {
        self.residual(ids, self.shape.layers).iter().map(|x| self.norm("output_norm.weight", x)).collect()
    }

    /// The sum that the layers add to, after so many of them, shape `[ids, width]`.
    pub fn residual(&self, ids: &[u32], layers: usize) -> Vec<Vec<f64>> {
        let width = self.shape.width;
        let embedding = &self.weights["token_embd.weight"];
        let mut rows: Vec<Vec<f64>> =
            ids.iter().map(|&id| embedding[id as usize * width..][..width].to_vec()).collect();
        for l in 0..layers {
            rows = self.layer(l, rows);
        }
        rows
    }

    fn layer(&self, l: usize, rows: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        let name = |part: &str| format!("blk.{l}.{part}");
        let heads = |part: &str, row: &Vec<f64>| self.biased(&name(part), row);
        let normed: Vec<Vec<f64>> = rows.iter().map(|x| self.norm(&name("attn_norm.weight"), x)).collect();
        let turn = |part: &str| -> Vec<Vec<f64>> {
            let norm = name(&format!("{part}_norm.weight"));
            normed
                .iter()
                .enumerate()
                .map(|(p, n)| self.turn(self.norm_heads(&norm, heads(part, n)), p))
                .collect()
        };
        let (queries, keys) = (turn("attn_q"), turn("attn_k"));
        let values: Vec<Vec<f64>> = normed.iter().map(|n| heads("attn_v", n)).collect();
        let after = rows.into_iter().enumerate().map(|(p, x)| {
            let attended = self.attend(&queries[p], &keys[..=p], &values[..=p]);
            let y = sum(&x, &self.biased(&name("attn_output"), &attended));
            let h = self.norm(&name("ffn_norm.weight"), &y);
            let gate = self.product(&name("ffn_gate.weight"), &h);
            let up = self.product(&name("ffn_up.weight"), &h);
            let gated: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
            sum(&y, &self.product(&name("ffn_down.weight"), &gated))
        });
        after.collect()
    }

    fn attend(&self, query: &[f64], keys: &[Vec<f64>], values: &[Vec<f64>]) -> Vec<f64> {
        let Shape { heads, kv_heads, key, value, .. } = self.shape;
        let mut out = Vec::with_capacity(heads * value);
        for head in 0..heads {
            let group = head / (heads / kv_heads);
            let q = &query[head * key..][..key];
            let score = |k: &Vec<f64>| dot(q, &k[group * key..][..key]) / (key as f64).sqrt();
            let scores: Vec<f64> = keys.iter().map(score).collect();
            let shares = softmax(&scores);
            out.extend((0..value).map(|e| {
                shares.iter().zip(values).map(|(share, v)| share * v[group * value + e]).sum::<f64>()
            }));
        }
        out
    }

    fn norm_heads(&self, weight: &str, row: Vec<f64>) -> Vec<f64> {
        if !self.shape.norms_heads() {
            return row;
        }
        row.chunks_exact(self.shape.key).flat_map(|head| self.norm(weight, head)).collect()
    }

    /// Turns the pairs of each head by the position.
    fn turn(&self, mut row: Vec<f64>, p: usize) -> Vec<f64> {
        let Shape { key, turned, freq_base, slower, .. } = self.shape;
        let factors = self.weights.get("rope_freqs.weight");
        for head in row.chunks_exact_mut(key) {
            for j in 0..turned / 2 {
                let factor = slower * factors.map_or(1.0, |f| f[j]);
                let angle = p as f64 * freq_base.powf(-2.0 * j as f64 / turned as f64) / factor;
                let halves = self.shape.turns_halves();
                let (first, second) = if halves { (j, turned / 2 + j) } else { (2 * j, 2 * j + 1) };
                let (a, b) = (head[first], head[second]);
                head[first] = a * angle.cos() - b * angle.sin();
                head[second] = a * angle.sin() + b * angle.cos();
            }
        }
        row
    }

    fn norm(&self, weight: &str, x: &[f64]) -> Vec<f64> {
        let scale = 1.0 / (dot(x, x) / x.len() as f64 + EPSILON).sqrt();
        x.iter().zip(&self.weights[weight]).map(|(x, w)| x * scale * w).collect()
    }

    fn product(&self, weight: &str, x: &[f64]) -> Vec<f64> {
        self.weights[weight].chunks_exact(x.len()).map(|row| dot(row, x)).collect()
    }

    fn biased(&self, part: &str, x: &[f64]) -> Vec<f64> {
        let out = self.product(&format!("{part}.weight"), x);
        self.weights.get(&format!("{part}.bias")).map_or(out.clone(), |bias| sum(&out, bias))
    }
}

fn metadata(shape: &Shape) -> Metadata {
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", shape.architecture);
    let mut set =
        |key: &str, value: usize| _ = metadata.set(&format!("{}.{key}", shape.architecture), value as u32);
    set("block_count", shape.layers);
    set("embedding_length", shape.width);
    set("feed_forward_length", shape.feed_forward);
    set("context_length", 512);
    set("vocab_size", shape.vocabulary);
    set("attention.head_count", shape.heads);
    set("attention.head_count_kv", shape.kv_heads);
    set("attention.key_length", shape.key);
    set("attention.value_length", shape.value);
    set("rope.dimension_count", shape.turned);
    let key = |key: &str| format!("{}.{key}", shape.architecture);
    metadata.set(&key("attention.layer_norm_rms_epsilon"), EPSILON as f32);
    metadata.set(&key("rope.freq_base"), shape.freq_base as f32);
    if shape.slower != 1.0 {
        metadata.set(&key("rope.scaling.type"), "linear");
        metadata.set(&key("rope.scaling.factor"), shape.slower as f32);
    }
    metadata
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// The probabilities of logits.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = logits.iter().map(|l| (l - max).exp()).sum();
    logits.iter().map(|l| (l - max).exp() / total).collect()
}
