//! Plans against the reference: every way of running a program row by row gives what the program means over the whole stream.

mod programs;

use programs::{Options, Program, S, check, convolution, decoder, difference, recurrence};
use tl_exec::kernel::Kernel;
use tl_exec::plan::{PlanError, Planned, plan};
use tl_exec::scalar::ScalarBackend;
use tl_ir::AffineMap;

fn attentions(planned: &Planned) -> usize {
    planned.plan.steps.iter().filter(|s| matches!(s.kernel, Kernel::Attention(_))).count()
}

#[test]
fn a_decoder_keeps_keys_and_values_and_fuses_its_attention() {
    let planned = check(&ScalarBackend, &decoder(&Options::default()));
    assert_eq!(attentions(&planned), 2);
    assert_eq!(planned.plan.stores.len(), 4);
    assert!(planned.plan.stores.iter().all(|s| s.window.is_none() && s.width == 8));
    let products = planned.plan.steps.iter().filter(|s| matches!(s.kernel, Kernel::MatMul(_))).count();
    // Per layer: queries, keys and values; the projection; gate and up; down. The last layer's queries are wanted for fewer rows
    // than its keys and values. Then the logits.
    assert_eq!(
        products,
        4 + 5 + 1,
        "{:#?}",
        planned.plan.steps.iter().map(|s| (&s.label, kind(&s.kernel))).collect::<Vec<_>>()
    );
    let score_maps = planned.plan.steps.iter().filter_map(|s| match &s.kernel {
        Kernel::Attention(a) => a.map.as_ref().map(|m| m.tape.instrs.len()),
        _ => None,
    });
    // The guard is the window: what is left is the division by a constant.
    assert_eq!(score_maps.collect::<Vec<_>>(), [2, 2]);
}

fn kind(kernel: &Kernel) -> &'static str {
    match kernel {
        Kernel::MatMul(m) if m.epilogue.is_some() => "matmul + epilogue",
        Kernel::MatMul(_) => "matmul",
        Kernel::Loop(_) => "loop",
        Kernel::Attention(_) => "attention",
        _ => "other",
    }
}

#[test]
fn a_window_bounds_what_is_kept() {
    let planned = check(&ScalarBackend, &decoder(&Options { window: Some(3.0), ..Options::default() }));
    assert_eq!(attentions(&planned), 2);
    assert!(planned.plan.stores.iter().all(|s| s.window == Some(3)));
}

#[test]
fn scores_may_be_capped_and_biased_inside_of_the_fused_attention() {
    let planned =
        check(&ScalarBackend, &decoder(&Options { soft_cap: true, slope: true, ..Options::default() }));
    assert_eq!(attentions(&planned), 2);
}

#[test]
fn attention_of_another_form_is_computed_piece_by_piece() {
    let planned =
        check(&ScalarBackend, &decoder(&Options { unfused: true, window: Some(4.0), ..Options::default() }));
    assert_eq!(attentions(&planned), 0);
}

#[test]
fn a_program_without_a_guard_is_refused_where_it_looks_ahead() {
    let mut program = Program::new();
    let d = program.axis("d", 6);
    let x = program.embed(d, 11);
    program.graph.name(x, "x");
    let xt = program.at_t(x);
    let scores = program.graph.contract(&[x, xt], &[d], S);
    let a = program.graph.softmax(scores, program.t, S);
    let y = program.graph.contract(&[a, xt], &[program.t], S);
    program.output(y, d);
    let Err(PlanError::NotCausal(reads)) = plan(&program.graph) else { panic!("it looks ahead") };
    assert_eq!(reads.len(), 1);
    assert_eq!((reads[0].tensor.as_deref(), reads[0].row.as_str()), (Some("x"), "p"));
}

#[test]
fn a_recurrence_keeps_one_row() {
    let planned = check(&ScalarBackend, &recurrence());
    assert_eq!(planned.plan.stores.iter().map(|s| s.window).collect::<Vec<_>>(), [Some(2)]);
    assert!(planned.plan.steps.iter().any(|s| matches!(s.kernel, Kernel::Scan(_))));
}

#[test]
fn a_convolution_along_the_stream_keeps_its_taps() {
    let planned = check(&ScalarBackend, &convolution());
    assert_eq!(planned.plan.stores[0].window, Some(4));
}

#[test]
fn the_row_before_is_a_read_too() {
    let mut program = difference();
    check(&ScalarBackend, &program.graph);
    let d = program.axis("d", 6);
    let x = program.embed(d, 11);
    let next = program.graph.index(x, program.p, AffineMap::of(program.p, 1, 1), S);
    program.graph.output("next", next, vec![program.p, d]);
    assert!(matches!(plan(&program.graph), Err(PlanError::NotCausal(_))));
}
