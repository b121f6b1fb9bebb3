//! The decoder of the llama family, traced end to end.

mod support;

use support::{FakeModel, LLAMA, check_text, findings, show, trace};
use tl_sema::Argument;

#[test]
fn the_library_and_the_model_file_have_no_findings() {
    assert_eq!(findings(LLAMA), "");
}

#[test]
fn two_layers_become_a_graph() {
    let traced = trace(LLAMA, "llama", &[FakeModel::llama(2, 4, 2).argument(), Argument::Stream]);
    println!("{}", traced.graph);
    let derived = tl_ir::stream::derive(&traced.graph).expect("the model is causal");
    assert_eq!(derived.stored.len(), 4, "keys and values of two layers are kept");
}

#[test]
fn without_the_guard_the_read_that_looks_ahead_is_shown() {
    let text = LLAMA.replace(" where t <= p", "");
    let (checked, sources) = check_text(&text);
    let found = show(&checked.diagnostics, &sources);
    assert!(found.starts_with("E0604 at `k[l, t, g, c]`"), "{found}");
}
