//! Programs over a stream: recurrences, shifts, windows; traced, derived, and evaluated.

mod support;

use support::numbers::{assert_close, run};
use support::{FakeModel, findings, trace};
use tl_sema::{Argument, Traced};

const TOKENS: [f64; 4] = [2.0, 0.0, 3.0, 1.0];

fn stream(text: &str, model: FakeModel) -> (Traced, Vec<f64>) {
    let traced = trace(text, "f", &[model.argument(), Argument::Stream]);
    let values = run(&traced, &[TOKENS.to_vec()], TOKENS.len());
    (traced, values)
}

fn scalar(text: &str) -> Vec<f64> {
    stream(text, FakeModel::default()).1
}

fn windows(traced: &Traced) -> Vec<Option<usize>> {
    tl_ir::stream::derive(&traced.graph).expect("causal").stored.iter().map(|s| s.window).collect()
}

#[test]
fn a_shift_is_a_delay() {
    assert_close(
        &scalar("fn f(m, tok[p]) -> y[p] { y[p] = tok[p - 1] + 10 * tok[p] }"),
        &[20., 2., 30., 13.],
    );
    assert_close(&scalar("fn f(m, tok[p]) -> y[p] { y[p] = tok[0] * p }"), &[0., 2., 4., 6.]);
}

#[test]
fn a_recurrence_has_one_row_of_state() {
    let (traced, values) =
        stream("fn f(m, tok[p]) -> h[p] { h[p] = 0.5 * h[p - 1] + tok[p] }", FakeModel::default());
    assert_close(&values, &[2.0, 1.0, 3.5, 2.75]);
    assert_eq!(windows(&traced), [Some(2)], "the row before and this one");
}

#[test]
fn a_base_case_takes_over_at_the_beginning() {
    let text = "fn f(m, tok[p]) -> h[p] { h[0] = 100\n h[p] = 0.5 * h[p - 1] + tok[p] }";
    assert_close(&scalar(text), &[100.0, 50.0, 28.0, 15.0]);
}

#[test]
fn the_left_side_may_be_ahead() {
    let text = "fn f(m, tok[p]) -> h[p] { h[p + 1] = 0.5 * h[p] + tok[p] }";
    assert_close(&scalar(text), &[0.0, 2.0, 1.0, 3.5]);
    let text = "fn f(m, tok[p]) -> h[p] { h[0] = 8\n h[p + 1] = 0.5 * h[p] + tok[p] }";
    assert_close(&scalar(text), &[8.0, 6.0, 3.0, 4.5]);
    let text = "fn f(m, tok[p]) -> x[p] { x[p] = h[p] + tok[p]\n h[*p + 1] = 2 * x[*p] }";
    assert_close(&scalar(text), &[2.0, 4.0, 11.0, 23.0]);
    assert_close(&scalar("fn f(m, tok[p]) -> y[p] { y[p + 2] = tok[p] }"), &[0.0, 0.0, 2.0, 0.0]);
}

#[test]
fn a_recurrent_network_equals_a_loop() {
    let mut model = FakeModel::default();
    model.add("embed", &[3, 4]).add("w", &[3, 3]).add("u", &[3, 3]);
    let text = "fn f(m, tok[p]) -> h[p, d] {\n\
                x[p, d] = m.embed[d, tok[p]]\n\
                h[p, d] = tanh(h[p - 1, e] m.w[e, d] + x[p, e] m.u[e, d])\n}";
    let (embed, w, u) = (model.values("embed"), model.values("w"), model.values("u"));
    let mut expected = Vec::new();
    let mut h = [0.0; 3];
    for token in TOKENS {
        let x = &embed[token as usize * 3..][..3];
        let next: Vec<f64> = (0..3)
            .map(|d| (0..3).map(|e| h[e] * w[d * 3 + e] + x[e] * u[d * 3 + e]).sum::<f64>().tanh())
            .collect();
        h.copy_from_slice(&next);
        expected.extend(next);
    }
    let (traced, values) = stream(text, model);
    assert_close(&values, &expected);
    assert_eq!(windows(&traced), [Some(2)]);
}

#[test]
fn two_tensors_may_define_each_other_through_time() {
    let text = "fn f(m, tok[p]) -> a[p] { a[p] = b[p - 1] + tok[p]\n b[p] = 2 * a[p] }";
    assert_close(&scalar(text), &[2.0, 4.0, 11.0, 23.0]);
    let text = "fn f(m, tok[p]) -> a[p] { a[p] = a[p - 1] + a[p - 2] + tok[p] }";
    assert_close(&scalar(text), &[2.0, 2.0, 7.0, 10.0]);
}

#[test]
fn sums_over_the_past_follow_the_guard() {
    assert_close(
        &scalar("fn f(m, tok[p]) -> y[p] { y[p] = sum[t](tok[t]) where t <= p }"),
        &[2., 2., 5., 6.],
    );
    assert_close(
        &scalar("fn f(m, tok[p]) -> y[p] { y[p] = mean[t](tok[t]) where t <= p and p - t < 2 }"),
        &[2., 1., 1.5, 2.],
    );
    assert_close(
        &scalar("fn f(m, tok[p]) -> y[p] { y[p] = max[t](tok[t]) where t <= p }"),
        &[2., 2., 3., 3.],
    );
    assert_close(
        &scalar("fn f(m, tok[p]) -> y[p] { y[p] = count[t](tok[t] == tok[p]) where t < p }"),
        &[0., 0., 0., 0.],
    );
}

#[test]
fn a_convolution_over_the_past_reads_a_window() {
    let mut model = FakeModel::default();
    model.add("kernel", &[3]);
    let text = "fn f(m, tok[p]) -> y[p] { y[p] = m.kernel[j] tok[p - j] }";
    let k = model.values("kernel");
    let expected: Vec<f64> =
        (0..4).map(|p| (0..3).filter(|&j| j <= p).map(|j| k[j] * TOKENS[p - j]).sum()).collect();
    let (traced, values) = stream(text, model);
    assert_close(&values, &expected);
    assert_eq!(windows(&traced), [Some(3)]);
}

#[test]
fn a_library_function_under_a_guard_is_over_what_is_left() {
    let text = "fn f(m, tok[p]) -> y[p, t] { y[p, t.] = log_softmax(tok[t] * 1) where t <= p }";
    let values = scalar(text);
    assert_close(&values[..4], &[0.0; 4]);
    let two = (2f64.exp() + 1.0).ln();
    assert_close(&values[4..8], &[2.0 - two, -two, 0.0, 0.0]);
}

#[test]
fn functions_may_hold_a_scan() {
    let text = "fn scan(x[t]) -> s[t] { s[t] = s[t - 1] + x[t] }\n\
                fn f(m, tok[p]) -> y[p] { y[p.] = scan(tok[p] * 2) }";
    assert_close(&scalar(text), &[4.0, 4.0, 10.0, 12.0]);
    let text = "fn past(x[t]) -> s[t] { s[t] = x[u] where u <= t }\n\
                fn f(m, tok[p]) -> y[p] { y[p.] = past(tok[p]) }";
    assert_close(&scalar(text), &[2.0, 2.0, 5.0, 6.0]);
}

#[test]
fn a_generator_that_looks_ahead_is_refused() {
    let refuse = |body: &str| {
        let found = findings(&format!("fn f(m, tok[p]) -> logits[p, v] {{ dim v = 2\n {body} }}"));
        assert!(found.contains("E0604"), "{body}: {found}");
        found
    };
    refuse("logits[p, v] = tok[p + 1]");
    refuse("logits[p, v] = sum[t](tok[t])");
    refuse("logits[p, v] = sum[t](tok[t]) where t >= p");
    refuse("logits[p, v] = max[t](tok[t])");
    assert_eq!(findings("fn f(m, tok[p]) -> logits[p, v] { dim v = 2\n logits[p, v] = tok[p - 1] }"), "");
}
