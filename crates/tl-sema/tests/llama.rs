//! The decoder of the llama family, traced end to end and held against a direct computation.

mod support;

use support::numbers::{assert_close, run};
use support::{FakeModel, LLAMA, check_text, findings, show, trace, trace_error};
use tl_sema::{Argument, MetaValue};

const TOKENS: [f64; 5] = [3.0, 1.0, 4.0, 1.0, 9.0];

fn logits_of(text: &str, model: FakeModel) -> Vec<f64> {
    let traced = trace(text, "llama", &[model.argument(), Argument::Stream]);
    run(&traced, &[TOKENS.to_vec()], TOKENS.len())
}

/// What distinguishes the variants of the family.
struct Direct<'m> {
    model: &'m FakeModel,
    heads: usize,
    kv: usize,
    turned: usize,
    /// How much slower pair `j` turns.
    slower: Box<dyn Fn(usize) -> f64>,
    window: usize,
    scale: f64,
}

impl Direct<'_> {
    fn tensor(&self, name: &str) -> Option<Vec<f64>> {
        Some(self.model.values(name)).filter(|values| !values.is_empty())
    }

    /// `W[in, out]` applied, plus the bias if there is one.
    fn apply(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let w = self.tensor(&format!("{name}.weight")).unwrap();
        let mut y: Vec<f64> =
            w.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect();
        if let Some(bias) = self.tensor(&format!("{name}.bias")) {
            y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        }
        y
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let root = (x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64 + 1e-5).sqrt();
        self.tensor(name).unwrap().iter().zip(x).map(|(w, v)| v / root * w).collect()
    }

    fn turn(&self, head: &mut [f64], p: usize) {
        for j in 0..self.turned / 2 {
            let angle = p as f64 * 10000f64.powf(-2.0 * j as f64 / self.turned as f64) / (self.slower)(j);
            let (a, b) = (head[2 * j], head[2 * j + 1]);
            (head[2 * j], head[2 * j + 1]) =
                (a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos());
        }
    }

    fn logits(&self, layers: usize) -> Vec<f64> {
        let (c, d) = (4, 8);
        let embed = self.tensor("token_embd.weight").unwrap();
        let mut x: Vec<Vec<f64>> = TOKENS.iter().map(|&t| embed[t as usize * d..][..d].to_vec()).collect();
        for l in 0..layers {
            let b = |name: &str| format!("blk.{l}.{name}");
            let (mut q, mut k, mut v) = (vec![], vec![], vec![]);
            for (p, row) in x.iter().enumerate() {
                let n = self.norm(&b("attn_norm.weight"), row);
                let (mut qp, mut kp) = (self.apply(&b("attn_q"), &n), self.apply(&b("attn_k"), &n));
                qp.chunks_exact_mut(c).chain(kp.chunks_exact_mut(c)).for_each(|head| self.turn(head, p));
                q.push(qp);
                k.push(kp);
                v.push(self.apply(&b("attn_v"), &n));
            }
            for p in 0..x.len() {
                let mut out = vec![0.0; self.heads * c];
                for h in 0..self.heads {
                    let g = h / (self.heads / self.kv);
                    let seen: Vec<usize> = (0..=p).filter(|t| p - t < self.window).collect();
                    let score = |t: usize| {
                        (0..c).map(|i| q[p][h * c + i] * k[t][g * c + i]).sum::<f64>() * self.scale
                    };
                    let e: Vec<f64> = seen.iter().map(|&t| score(t).exp()).collect();
                    let total: f64 = e.iter().sum();
                    for (&t, e) in seen.iter().zip(&e) {
                        (0..c).for_each(|i| out[h * c + i] += e / total * v[t][g * c + i]);
                    }
                }
                let y: Vec<f64> =
                    x[p].iter().zip(self.apply(&b("attn_output"), &out)).map(|(a, b)| a + b).collect();
                let h = self.norm(&b("ffn_norm.weight"), &y);
                let (gate, up) = (self.apply(&b("ffn_gate"), &h), self.apply(&b("ffn_up"), &h));
                let s: Vec<f64> = gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
                x[p] = y.iter().zip(self.apply(&b("ffn_down"), &s)).map(|(a, b)| a + b).collect();
            }
        }
        x.iter().flat_map(|row| self.apply("output", &self.norm("output_norm.weight", row))).collect()
    }
}

fn direct(model: &FakeModel, heads: usize, kv: usize) -> Direct<'_> {
    Direct { model, heads, kv, turned: 4, slower: Box::new(|_| 1.0), window: usize::MAX, scale: 0.5 }
}

#[test]
fn the_model_file_has_no_findings() {
    assert_eq!(findings(LLAMA), "");
}

#[test]
fn two_layers_become_a_graph_with_one_kernel_each() {
    let traced = trace(LLAMA, "llama", &[FakeModel::llama(2, 4, 2).argument(), Argument::Stream]);
    let text = traced.graph.to_string();
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count("Softmax"), 2, "the library's softmax is an op:\n{text}");
    assert_eq!(count("= cos"), 1, "the angles are computed once for all layers, queries and keys:\n{text}");
    assert_eq!(count("= weight"), 2 * 9 + 3);
    for name in ["// k[0]", "// u[1]", "// x[2]", "// logits"] {
        assert_eq!(count(name), 1, "{name} in\n{text}");
    }
    let derived = tl_ir::stream::derive(&traced.graph).expect("the model is causal");
    assert_eq!(derived.stored.len(), 4, "keys and values of two layers are kept");
}

#[test]
fn logits_equal_a_direct_computation() {
    for (layers, heads, kv) in [(1, 2, 2), (2, 4, 2), (3, 4, 1)] {
        let model = FakeModel::llama(layers, heads, kv);
        let expected = direct(&model, heads, kv).logits(layers);
        assert_close(&logits_of(LLAMA, model), &expected);
    }
}

#[test]
fn a_window_is_one_more_condition() {
    let text = LLAMA.replace("where t <= p", "where t <= p and p - t < 2");
    let model = FakeModel::llama(2, 4, 2);
    let expected = Direct { window: 2, ..direct(&model, 4, 2) }.logits(2);
    assert_close(&logits_of(&text, model), &expected);
    let traced = trace(&text, "llama", &[FakeModel::llama(2, 4, 2).argument(), Argument::Stream]);
    let derived = tl_ir::stream::derive(&traced.graph).expect("the model is causal");
    assert!(derived.stored.iter().all(|s| s.window == Some(2)), "{:?}", derived.stored);
}

#[test]
fn files_with_biases_scaling_and_partial_rotation_are_served() {
    let mut model = FakeModel::llama(2, 4, 2);
    for l in 0..2 {
        model.add(&format!("blk.{l}.attn_q.bias"), &[16]).add(&format!("blk.{l}.attn_k.bias"), &[8]);
        model.add(&format!("blk.{l}.attn_v.bias"), &[8]).add(&format!("blk.{l}.attn_output.bias"), &[8]);
    }
    let expected = direct(&model, 4, 2).logits(2);
    assert_close(&logits_of(LLAMA, model), &expected);

    let mut model = FakeModel::llama(2, 4, 2);
    model.number("llama.rope.dimension_count", 2.0).number("llama.attention.scale", 0.3);
    let expected = Direct { turned: 2, scale: 0.3, ..direct(&model, 4, 2) }.logits(2);
    assert_close(&logits_of(LLAMA, model), &expected);

    let mut model = FakeModel::llama(1, 4, 2);
    model.meta.insert("llama.rope.scaling.type".into(), MetaValue::Str("linear".into()));
    model.number("llama.rope.scaling.factor", 4.0);
    let expected = Direct { slower: Box::new(|_| 4.0), ..direct(&model, 4, 2) }.logits(1);
    assert_close(&logits_of(LLAMA, model), &expected);

    let mut model = FakeModel::llama(1, 4, 2);
    model.add("rope_freqs.weight", &[2]);
    let factors = direct(&model, 4, 2).tensor("rope_freqs.weight").unwrap();
    let expected = Direct { slower: Box::new(move |j| factors[j]), ..direct(&model, 4, 2) }.logits(1);
    assert_close(&logits_of(LLAMA, model), &expected);
}

#[test]
fn values_may_be_wider_than_keys() {
    let mut model = FakeModel::llama(1, 2, 1);
    model.add("blk.0.attn_v.weight", &[8, 6]).add("blk.0.attn_output.weight", &[12, 8]);
    assert_eq!(logits_of(LLAMA, model).len(), TOKENS.len() * 10);
}

#[test]
fn scaling_that_is_not_written_is_refused() {
    let mut model = FakeModel::llama(1, 2, 1);
    model.meta.insert("llama.rope.scaling.type".into(), MetaValue::Str("yarn".into()));
    model.number("llama.rope.scaling.factor", 4.0);
    let found = trace_error(LLAMA, "llama", &[model.argument(), Argument::Stream]);
    assert!(found.starts_with("E0608 at `error`: only linear scaling"), "{found}");
}

#[test]
fn sizes_follow_from_few_keys() {
    let mut model = FakeModel::llama(1, 2, 2);
    for key in ["llama.attention.key_length", "llama.attention.head_count_kv", "llama.rope.freq_base"] {
        model.meta.remove(key);
    }
    let expected = direct(&model, 2, 2).logits(1);
    assert_close(&logits_of(LLAMA, model), &expected);
}

#[test]
fn without_the_guard_the_read_that_looks_ahead_is_shown() {
    let text = LLAMA.replace(" where t <= p", "");
    let (checked, sources) = check_text(&text);
    let found = show(&checked.diagnostics, &sources);
    assert!(found.starts_with("E0604 at `k[l, t, g, c]`"), "{found}");
    let text = LLAMA.replace("where t <= p", "where t <= p + 1");
    assert!(findings(&text).starts_with("E0604 at `k[l, t, g, c]`"), "{}", findings(&text));
}

#[test]
fn a_tensor_that_is_missing_or_of_another_size_is_named() {
    let mut model = FakeModel::llama(2, 4, 2);
    model.tensors.remove("blk.1.attn_norm.weight");
    let found = trace_error(LLAMA, "llama", &[model.argument(), Argument::Stream]);
    assert!(found.contains("E0307") && found.contains("no tensor `blk.1.attn_norm.weight`"), "{found}");

    let mut model = FakeModel::llama(2, 4, 2);
    model.add("blk.1.ffn_up.weight", &[7, 12]);
    let found = trace_error(LLAMA, "llama", &[model.argument(), Argument::Stream]);
    assert!(found.contains("E0401") && found.contains("`d` has two sizes: 8 and 7"), "{found}");

    let mut model = FakeModel::llama(2, 4, 2);
    model.add("blk.0.attn_k.weight", &[8, 10]);
    let found = trace_error(LLAMA, "llama", &[model.argument(), Argument::Stream]);
    assert!(found.contains("E0411 at `(g c)`"), "{found}");

    let mut model = FakeModel::llama(2, 4, 2);
    model.meta.remove("llama.block_count");
    let found = trace_error(LLAMA, "llama", &[model.argument(), Argument::Stream]);
    assert!(found.contains("E0308 at `\"block_count\"`"), "{found}");
}

#[test]
fn hundreds_of_layers_are_unrolled() {
    let mut model = FakeModel::llama(1, 2, 1);
    let layers = 400;
    model.number("llama.block_count", layers as f64);
    let names: Vec<String> = model.tensors.keys().filter(|n| n.starts_with("blk.0.")).cloned().collect();
    for l in 1..layers {
        for name in &names {
            let tensor = model.tensors[name].clone();
            model.tensors.insert(name.replace("blk.0.", &format!("blk.{l}.")), tensor);
        }
    }
    let traced = trace(LLAMA, "llama", &[model.argument(), Argument::Stream]);
    assert_eq!(traced.graph.weights().len(), layers * 9 + 3);
}
