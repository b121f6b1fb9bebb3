//! Other models with state than attention: what is remembered is derived, and generating gives what the whole sequence gives.

mod support;

use std::sync::Arc;

use support::*;
use tensorlogic::{Engine, MemoryLoader, Model, Program};
use tl_exec::reference;
use tl_sema::{Argument, Limits, trace_function};
use tl_syntax::Source;
use tl_tensor::DType;

const SIZES: Sizes =
    Sizes { layers: 1, width: 16, heads: 2, kv_heads: 2, feed_forward: 16, vocabulary: 40, context: 512 };

/// A linear state-space layer: each channel of the state decays and is fed.
const STATE_SPACE: &str = "
fn llm(m, tok[p]) -> logits[p, v] {
    x[p, d] = m.token_embd.weight[d, tok[p]]
    s[p, n] = m.ssm.decay.weight[n] * s[p - 1, n] + x[p, d] m.ssm.in.weight[d, n]
    y[p, d] = x[p, d] + s[p, n] m.ssm.out.weight[n, d]
    logits[p, v] = y[p, d] m.token_embd.weight[d, v]
}
";

/// A gated recurrent unit.
const GATED: &str = "
fn llm(m, tok[p]) -> logits[p, v] {
    x[p, d] = m.token_embd.weight[d, tok[p]]
    z[p, h] = sigmoid(x[p, d] m.gru.z.weight[d, h] + s[p - 1, g] m.gru.uz.weight[g, h])
    r[p, h] = sigmoid(x[p, d] m.gru.r.weight[d, h] + s[p - 1, g] m.gru.ur.weight[g, h])
    c[p, h] = tanh(x[p, d] m.gru.c.weight[d, h] + r[p, g] s[p - 1, g] m.gru.uc.weight[g, h])
    s[p, h] = (1 - z[p, h]) * s[p - 1, h] + z[p, h] * c[p, h]
    logits[p, v] = s[p, d] m.token_embd.weight[d, v]
}
";

/// One layer of attention to the last four positions.
const WINDOW: &str = "
fn llm(m, tok[p]) -> logits[p, v] {
    x[p, d] = m.token_embd.weight[d, tok[p]]
    q[p, c] = x[p, d] m.gru.z.weight[d, c]
    k[p, c] = x[p, d] m.gru.r.weight[d, c]
    u[p, c] = x[p, d] m.gru.c.weight[d, c]
    a[p, t.] = softmax(q[p, c] k[t, c] / sqrt(size(c))) where t <= p and p - t < 4
    y[p, d] = x[p, d] + a[p, t] u[t, d]
    logits[p, v] = y[p, d] m.token_embd.weight[d, v]
}
";

fn made_up() -> Arc<Model> {
    model_with(SIZES, DType::F32, |_, tensors| {
        let mut numbers = Numbers(5);
        let d = SIZES.width;
        tensors.push(("ssm.decay.weight".into(), numbers.tensor(DType::F32, &[d], 0.9)));
        for name in ["ssm.in", "ssm.out", "gru.z", "gru.uz", "gru.r", "gru.ur", "gru.c", "gru.uc"] {
            tensors.push((format!("{name}.weight"), numbers.tensor(DType::F32, &[d, d], 0.4)));
        }
    })
}

/// The logits of all positions, from the equations alone: no plan, no store, the whole sequence at once.
fn at_once(text: &str, model: &Arc<Model>, tokens: &[u32]) -> Vec<f32> {
    let program = functions(text);
    let arguments = [Argument::Model(Arc::clone(model) as Arc<dyn tl_sema::Model>), Argument::Stream];
    let traced = trace_function(&program, "llm", &arguments, &Limits::default()).unwrap();
    let ids: Vec<f64> = tokens.iter().map(|&id| f64::from(id)).collect();
    let values = reference::evaluate(&traced.graph, &[ids], tokens.len());
    values[0].data.iter().map(|&x| x as f32).collect()
}

/// The library's functions and those of a text.
fn functions(text: &str) -> tl_sema::Program {
    let mut program = tl_sema::Program::new();
    let library = tensorlogic::library::standard().map(|file| (file.path.to_owned(), file.text.to_owned()));
    for (name, text) in library.chain([("model.tl".to_owned(), text.to_owned())]) {
        let source = Source::detached(&name, text.as_str()).unwrap();
        for statement in tl_syntax::parse(&source).file().stmts() {
            if let tl_syntax::ast::Stmt::Fn(decl) = statement {
                let function = tl_sema::reader::Reader::new(&mut program).function(&decl).unwrap();
                program.define(function);
            }
        }
    }
    program
}

/// Generates with an engine, all tokens at once and one by one; `window` is how many rows each store is to keep.
fn check(text: &str, window: usize) {
    let (model, tokens) = (made_up(), tokens(12, SIZES.vocabulary));
    let expected = at_once(text, &model, &tokens);
    let program = Program::check("model.tl", text, &MemoryLoader::default());
    for engine in [Engine::cpu_with_threads(2), Engine::scalar()] {
        let generator = generator(&engine, &model, &program);
        let stores = generator.explain().stores;
        assert!(!stores.is_empty() && stores.iter().all(|s| s.window == Some(window)), "{stores:?}");
        let mut all = Vec::new();
        generator.session().feed_all_logits(&tokens, |_, logits| all.extend_from_slice(logits)).unwrap();
        assert!(difference(&all, &expected) < 1e-4, "{}", difference(&all, &expected));
        let mut session = generator.session();
        let mut singly = Vec::new();
        for &token in &tokens {
            singly.extend_from_slice(session.feed(&[token]).unwrap());
        }
        assert!(difference(&singly, &expected) < 1e-4, "{}", difference(&singly, &expected));
    }
}

#[test]
fn a_state_space_layer_keeps_one_row() {
    check(STATE_SPACE, 1);
}

#[test]
fn a_gated_recurrent_unit_keeps_one_row() {
    check(GATED, 1);
}

#[test]
fn attention_in_a_window_keeps_a_ring() {
    check(WINDOW, 4);
}
