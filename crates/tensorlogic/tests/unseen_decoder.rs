//! A decoder of a family that the project has no file for: norms before and after each block, soft caps on scores and logits, a scaled
//! embedding, windows in every second layer. It is one page of equations; what it gives is compared with loops over `f64`.

mod support;

use std::sync::Arc;

use support::*;
use tensorlogic::{Engine, MemoryLoader, Model, Program};
use tl_tensor::DType;

const SIZES: Sizes =
    Sizes { layers: 4, width: 32, heads: 4, kv_heads: 2, feed_forward: 48, vocabulary: 50, context: 64 };
/// Positions that layers 0, 2, … read.
const WINDOW: usize = 5;
const SCORE_CAP: f64 = 5.0;
const LOGIT_CAP: f64 = 3.0;
const EPSILON: f64 = 1e-5;
const THETA: f64 = 10_000.0;

const DECODER: &str = "
fn decoder(m, tok[p]) -> logits[p, v] {
    let eps = m[\"attention.layer_norm_rms_epsilon\"]
    let L   = m[\"block_count\"]
    let W   = m[\"attention.sliding_window\"]
    let cap = m[\"attn_logit_softcapping\"]
    let end = m[\"final_logit_softcapping\"]
    let D   = m[\"embedding_length\"]
    dim g = m[\"attention.head_count_kv\"]
    dim c = D / m[\"attention.head_count\"]

    x[0, p, d] = m.token_embd.weight[d, tok[p]] * sqrt(D)

    n[l, p, d]        = rms_norm(x[l, p, d.], eps) * (1 + m.blk[l].attn_norm.weight[d])
    q[l, p, g, r, c.] = rope(n[l, p, d] m.blk[l].attn_q.weight[d, (g r c)], p, 10000, size(c))
    k[l, p, g, c.]    = rope(n[l, p, d] m.blk[l].attn_k.weight[d, (g c)], p, 10000, size(c))
    u[l, p, g, e]     = n[l, p, d] m.blk[l].attn_v.weight[d, (g e)]
    s[l, p, g, r, t]  = cap * tanh(q[l, p, g, r, c] k[l, t, g, c] / sqrt(D / 4) / cap)
    a[l, p, g, r, t.] = softmax(s[l, p, g, r, t]) where t <= p and (l % 2 == 1 or p - t < W)
    o[l, p, d]        = a[l, p, g, r, t] u[l, t, g, e] m.blk[l].attn_output.weight[(g r e), d]
    y[l, p, d]        = x[l, p, d] + rms_norm(o[l, p, d.], eps) * (1 + m.blk[l].post_attention_norm.weight[d])

    h[l, p, d]     = rms_norm(y[l, p, d.], eps) * (1 + m.blk[l].ffn_norm.weight[d])
    f[l, p, f]     = gelu_tanh(h[l, p, d] m.blk[l].ffn_gate.weight[d, f]) * (h[l, p, d] m.blk[l].ffn_up.weight[d, f])
    z[l, p, d]     = f[l, p, f] m.blk[l].ffn_down.weight[f, d]
    x[l + 1, p, d] = y[l, p, d] + rms_norm(z[l, p, d.], eps) * (1 + m.blk[l].post_ffw_norm.weight[d])

    logits[p, v] = end * tanh(rms_norm(x[L, p, d.], eps) (1 + m.output_norm.weight[d]) m.token_embd.weight[d, v] / end)
}
";

fn made_up() -> Arc<Model> {
    model_with(SIZES, DType::F32, |metadata, tensors| {
        metadata.set("llama.attention.sliding_window", WINDOW as u32);
        metadata.set("llama.attn_logit_softcapping", SCORE_CAP as f32);
        metadata.set("llama.final_logit_softcapping", LOGIT_CAP as f32);
        let mut numbers = Numbers(3);
        for l in 0..SIZES.layers {
            for norm in ["post_attention_norm", "post_ffw_norm"] {
                let gain = numbers.tensor(DType::F32, &[SIZES.width], 0.3);
                tensors.push((format!("blk.{l}.{norm}.weight"), gain));
            }
        }
    })
}

/// The weights of a model as `f64`, and what the family computes with them.
struct Oracle(Arc<Model>);

impl Oracle {
    fn weight(&self, name: &str) -> Vec<f64> {
        let tensor = self.0.tensor(&format!("{name}.weight")).unwrap();
        tensor.to_f32().into_iter().map(f64::from).collect()
    }

    /// `W x`, `W` of as many columns as `x` is long.
    fn product(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let dot = |row: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum();
        self.weight(name).chunks_exact(x.len()).map(dot).collect()
    }

    /// `x / rms(x) · (1 + gain)`.
    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let rms = (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + EPSILON).sqrt();
        x.iter().zip(self.weight(name)).map(|(x, gain)| x / rms * (1.0 + gain)).collect()
    }

    /// The logits of the last of some tokens.
    fn logits(&self, tokens: &[u32]) -> Vec<f64> {
        let d = SIZES.width;
        let embedding = self.weight("token_embd");
        let row =
            |&id: &u32| embedding[id as usize * d..][..d].iter().map(|x| x * (d as f64).sqrt()).collect();
        let mut x: Vec<Vec<f64>> = tokens.iter().map(row).collect();
        for l in 0..SIZES.layers {
            x = self.layer(l, &x);
        }
        let last = self.norm("output_norm", &x[x.len() - 1]);
        let capped = |logit: f64| LOGIT_CAP * (logit / LOGIT_CAP).tanh();
        self.product("token_embd", &last).into_iter().map(capped).collect()
    }

    fn layer(&self, l: usize, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let name = |part: &str| format!("blk.{l}.{part}");
        let width = SIZES.width / SIZES.heads;
        let normed: Vec<Vec<f64>> = x.iter().map(|x| self.norm(&name("attn_norm"), x)).collect();
        let of_all = |part: &str| normed.iter().map(|n| self.product(&name(part), n)).collect::<Vec<_>>();
        let (mut queries, mut keys, values) = (of_all("attn_q"), of_all("attn_k"), of_all("attn_v"));
        for rows in [&mut queries, &mut keys] {
            for (p, row) in rows.iter_mut().enumerate() {
                row.chunks_exact_mut(width).for_each(|head| turn(head, p));
            }
        }
        let attend = |p: usize| -> Vec<f64> {
            let first = if l % 2 == 1 { 0 } else { (p + 1).saturating_sub(WINDOW) };
            let head = |head: usize| {
                let shared = head / (SIZES.heads / SIZES.kv_heads) * width..;
                let dot = |t: usize| -> f64 {
                    let query = &queries[p][head * width..][..width];
                    query.iter().zip(&keys[t][shared.clone()]).map(|(q, k)| q * k).sum()
                };
                let scale = (SIZES.width as f64 / 4.0).sqrt();
                let weights: Vec<f64> =
                    (first..=p).map(|t| (SCORE_CAP * (dot(t) / scale / SCORE_CAP).tanh()).exp()).collect();
                let total: f64 = weights.iter().sum();
                let value = |e: usize| {
                    let terms = weights.iter().zip(first..).map(|(w, t)| w * values[t][shared.start + e]);
                    terms.sum::<f64>() / total
                };
                (0..width).map(value).collect::<Vec<f64>>()
            };
            (0..SIZES.heads).flat_map(head).collect()
        };
        let row = |p: usize| {
            let attended = self.product(&name("attn_output"), &attend(p));
            let y = sum(&x[p], &self.norm(&name("post_attention_norm"), &attended));
            let h = self.norm(&name("ffn_norm"), &y);
            let (gate, up) = (self.product(&name("ffn_gate"), &h), self.product(&name("ffn_up"), &h));
            let inner: Vec<f64> = gate.iter().zip(up).map(|(&g, u)| gelu(g) * u).collect();
            let down = self.product(&name("ffn_down"), &inner);
            sum(&y, &self.norm(&name("post_ffw_norm"), &down))
        };
        (0..x.len()).map(row).collect()
    }
}

/// Turns each pair of neighbours by the angle of its place and the position.
fn turn(head: &mut [f64], position: usize) {
    let width = head.len() as f64;
    for (j, pair) in head.chunks_exact_mut(2).enumerate() {
        let (sin, cos) = (position as f64 * THETA.powf(-2.0 * j as f64 / width)).sin_cos();
        let (a, b) = (pair[0], pair[1]);
        (pair[0], pair[1]) = (a * cos - b * sin, a * sin + b * cos);
    }
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

#[test]
fn a_page_of_equations_is_a_new_family() {
    assert!(DECODER.lines().filter(|line| !line.trim().is_empty()).count() < 40);
    let (model, tokens) = (made_up(), tokens(20, SIZES.vocabulary));
    let program = Program::check("decoder.tl", DECODER, &MemoryLoader::default());
    let oracle = Oracle(Arc::clone(&model));
    for engine in [Engine::cpu_with_threads(2), Engine::scalar()] {
        let generator = generator(&engine, &model, &program);
        let windows: Vec<Option<usize>> = generator.explain().stores.iter().map(|s| s.window).collect();
        let (ring, whole) = ([Some(WINDOW); 2], [None; 2]);
        assert_eq!(windows, [ring, whole, ring, whole].concat(), "keys and values of each layer");
        let mut session = generator.session();
        for end in 1..=tokens.len() {
            let ours = session.feed(&tokens[end - 1..end]).unwrap();
            let wanted: Vec<f32> = oracle.logits(&tokens[..end]).iter().map(|&x| x as f32).collect();
            assert!(difference(ours, &wanted) < 1e-4, "at {end}: {}", difference(ours, &wanted));
        }
        // All at once gives the same as one by one.
        let last = generator.session().feed(&tokens).unwrap().to_vec();
        assert!(difference(&last, session.logits()) < 1e-5);
    }
}
