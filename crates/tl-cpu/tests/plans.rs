//! Plans on this backend: against what the programs mean, and the same bits for any number of rows at a time, of threads, and any
//! instruction set.

#[path = "../../tl-exec/tests/programs/mod.rs"]
mod programs;

use std::sync::Arc;

use programs::{Options, TOKENS, check, convolution, decoder, difference, recurrence, run};
use tl_cpu::{CpuBackend, Isa, Pool};
use tl_exec::plan::plan;
use tl_exec::scalar::ScalarBackend;
use tl_ir::Graph;
use tl_tensor::DType;

/// Every instruction set with some numbers of threads.
fn backends() -> impl Iterator<Item = CpuBackend> {
    [1, 2, 3].into_iter().flat_map(|threads| {
        Isa::available().map(move |isa| CpuBackend::with(Arc::new(Pool::new(threads)), isa).unwrap())
    })
}

fn check_everywhere(graph: &Graph) {
    backends().for_each(|backend| drop(check(&backend, graph)));
}

/// All backends and all ways to cut the tokens into steps give the same bits, near the scalar backend's.
fn check_bits(graph: &Graph, tokens: &[f32], tolerance: f32) {
    let planned = plan(graph).unwrap();
    let scalar = run(&ScalarBackend, &planned, tokens, &[tokens.len()]);
    let mut expected: Option<Vec<u32>> = None;
    for backend in backends() {
        for step in [1, 2, 7, tokens.len()] {
            let mut steps = vec![step; tokens.len() / step];
            steps.extend(Some(tokens.len() % step).filter(|&rest| rest > 0));
            let found = run(&backend, &planned, tokens, &steps);
            for (i, (a, b)) in found.iter().zip(&scalar).enumerate() {
                assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "element {i}: {a} is not {b}");
            }
            let bits: Vec<u32> = found.iter().map(|v| v.to_bits()).collect();
            assert!(
                *expected.get_or_insert(bits.clone()) == bits,
                "{:?} in steps of {step}",
                tl_exec::run::Backend::name(&backend)
            );
        }
    }
}

#[test]
fn a_decoder_means_the_same_on_every_instruction_set() {
    check_everywhere(&decoder(&Options::default()));
    check_everywhere(&decoder(&Options { window: Some(3.0), ..Options::default() }));
    check_everywhere(&decoder(&Options { soft_cap: true, slope: true, ..Options::default() }));
    check_everywhere(&decoder(&Options { unfused: true, window: Some(4.0), ..Options::default() }));
}

#[test]
fn so_do_recurrences_and_reads_of_earlier_rows() {
    check_everywhere(&recurrence());
    check_everywhere(&convolution());
    check_everywhere(&difference().graph);
}

fn wide(weights: Option<DType>) -> Options {
    Options {
        width: 256,
        inner: 512,
        head: 64,
        heads: 2,
        queries: 2,
        vocabulary: 100,
        weights,
        ..Options::default()
    }
}

#[test]
fn quantized_weights_give_the_same_bits_everywhere() {
    for dtype in [DType::Q4_0, DType::Q4_1, DType::Q8_0, DType::Q6_K, DType::Q4_K, DType::F16] {
        check_bits(&decoder(&wide(Some(dtype))), &TOKENS, 2e-3);
    }
}

#[test]
fn long_sequences_cross_pages_and_chunks() {
    let tokens: Vec<f32> = (0..600).map(|i| (i * 7 % 90) as f32).collect();
    let graph = decoder(&Options { layers: 1, ..wide(Some(DType::Q8_0)) });
    let planned = plan(&graph).unwrap();
    let scalar = run(&ScalarBackend, &planned, &tokens, &[600]);
    let mut first: Option<Vec<f32>> = None;
    for backend in backends() {
        for steps in [vec![600], vec![255, 1, 1, 1, 200, 142], vec![37; 16].into_iter().chain([8]).collect()]
        {
            let found = run(&backend, &planned, &tokens, &steps);
            assert!(found.iter().zip(&scalar).all(|(a, b)| (a - b).abs() < 2e-3 * b.abs().max(1.0)));
            assert!(*first.get_or_insert(found.clone()) == found);
        }
    }
}

#[test]
fn long_windows_drop_pages_and_keep_the_bits() {
    let tokens: Vec<f32> = (0..500).map(|i| (i * 11 % 90) as f32).collect();
    let graph = decoder(&Options { layers: 1, window: Some(100.0), ..wide(None) });
    let planned = plan(&graph).unwrap();
    let scalar = run(&ScalarBackend, &planned, &tokens, &[500]);
    let mut first: Option<Vec<f32>> = None;
    for backend in backends() {
        for steps in [vec![500], vec![300, 1, 1, 198]] {
            let found = run(&backend, &planned, &tokens, &steps);
            assert!(found.iter().zip(&scalar).all(|(a, b)| (a - b).abs() < 1e-4 * b.abs().max(1.0)));
            assert!(*first.get_or_insert(found.clone()) == found);
        }
    }
}

#[test]
fn short_windows_begin_and_end_anywhere_in_a_block() {
    let tokens: Vec<f32> = (0..90).map(|i| (i * 13 % 90) as f32).collect();
    for window in [1.0, 7.0, 15.0, 17.0, 26.0] {
        let graph = decoder(&Options { layers: 1, window: Some(window), ..wide(None) });
        let planned = plan(&graph).unwrap();
        let mut first: Option<Vec<f32>> = None;
        for backend in backends() {
            for steps in [vec![90], vec![1; 90]] {
                let found = run(&backend, &planned, &tokens, &steps);
                assert!(
                    *first.get_or_insert(found.clone()) == found,
                    "window {window}, {} steps",
                    steps.len()
                );
            }
        }
    }
}
