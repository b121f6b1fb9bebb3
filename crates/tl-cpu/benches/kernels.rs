//! How fast the matrix products are, beside what memory allows: `cargo bench -p tl-cpu [-- FORMAT …]`.
//!
//! For each format: decode (one row of activations) in GB/s of weights, and prefill (16, 128, 512 rows) in Gop/s, where a
//! multiply-add is two, with 1 and 2 threads. Decode goes round enough copies of the matrix to come from memory.

use std::time::Instant;

use tl_cpu::{Isa, Kernels, Pool, QuantizedRows, Scratch, WeightView};
use tl_tensor::DType;

const DECODE: [(usize, usize); 3] = [(1536, 576), (49152, 576), (5632, 2048)];
const PREFILL: [(usize, usize); 2] = [(1536, 576), (5632, 2048)];
const COLUMNS: usize = 128;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let isa = std::env::var("TL_CPU")
        .map_or(Isa::detect(), |name| if name == "portable" { Isa::Portable } else { Isa::Avx2 });
    let kernels = Kernels::new(isa).expect("the processor has the instruction set");
    println!(
        "{isa}; memory read with 1 thread {:.1} GB/s, 2 threads {:.1} GB/s",
        read_speed(1),
        read_speed(2)
    );
    for &dtype in DType::ALL {
        let known = kernels.has_integer_kernel(dtype) || matches!(dtype, DType::F16 | DType::F32);
        let asked = wanted.is_empty() || wanted.iter().any(|w| w.eq_ignore_ascii_case(dtype.name()));
        if known && asked {
            measure(&kernels, dtype);
        }
    }
}

/// Bytes that look random and decode to finite values: the scales of all formats are far from the largest exponents.
fn weights(dtype: DType, n: usize, k: usize) -> Vec<u8> {
    let bytes = n * k / dtype.block() * dtype.bytes();
    (0..bytes as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 & 0x3B).collect()
}

fn measure(kernels: &Kernels, dtype: DType) {
    print!("{:<7}", dtype.name());
    for threads in [1, 2] {
        let pool = Pool::new(threads);
        print!(" | {threads} thr: decode GB/s");
        for (n, k) in DECODE.into_iter().filter(|(_, k)| k % dtype.block() == 0) {
            let copies = (200_000_000 / (n * k / dtype.block() * dtype.bytes())).clamp(1, 400);
            let bytes = weights(dtype, n * copies, k);
            let seconds = run(kernels, &pool, WeightView { dtype, bytes: &bytes, n: n * copies, k }, 1, 3);
            print!(" {:5.1}", bytes.len() as f64 / seconds / 1e9);
        }
        print!(", prefill Gop/s");
        for (n, k) in PREFILL.into_iter().filter(|(_, k)| k % dtype.block() == 0) {
            let bytes = weights(dtype, n, k);
            for rows in [8, 16, 128, 512] {
                let seconds =
                    run(kernels, &pool, WeightView { dtype, bytes: &bytes, n, k }, rows, 1 + 512 / rows);
                print!(" {:4.0}", 2.0 * (n * k * rows) as f64 / seconds / 1e9);
            }
        }
    }
    println!();
}

/// The best of several times of one product.
fn run(kernels: &Kernels, pool: &Pool, w: WeightView<'_>, rows: usize, times: usize) -> f64 {
    let x: Vec<f32> = (0..rows * w.k).map(|i| (i % 97) as f32 / 48.0 - 1.0).collect();
    let integer = kernels.has_integer_kernel(w.dtype);
    let mut quantized = QuantizedRows::default();
    if integer {
        kernels.quantize_rows(&x, w.k, &mut quantized);
    }
    let parts = w.n.div_ceil(COLUMNS);
    // Each part has a result of its own, so that the benchmark needs no unsafe code.
    let row_bytes = w.bytes.len() / w.n;
    let slots: Vec<std::sync::Mutex<(Vec<f32>, Scratch)>> =
        (0..pool.threads()).map(|_| (vec![0.0; rows * COLUMNS], Scratch::default()).into()).collect();
    let mut best = f64::INFINITY;
    for _ in 0..times + 1 {
        let start = Instant::now();
        pool.run(parts, &|part, worker| {
            let (out, scratch) = &mut *slots[worker].lock().expect("no part panics");
            let n = COLUMNS.min(w.n - part * COLUMNS);
            let bytes = &w.bytes[part * COLUMNS * row_bytes..(part * COLUMNS + n) * row_bytes];
            let view = WeightView { bytes, n, ..w };
            if integer {
                kernels.matmul_quantized(&view, 0..n, &quantized, out, COLUMNS, scratch);
            } else {
                kernels.matmul_float(&view, 0..n, &x, out, COLUMNS, scratch);
            }
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// Bytes a second that threads read from 512 MiB, as a sum of words.
fn read_speed(threads: usize) -> f64 {
    let data = vec![1u64; 64 << 20];
    let pool = Pool::new(threads);
    let mut best = f64::INFINITY;
    for _ in 0..4 {
        let start = Instant::now();
        pool.run(64, &|part, _| {
            let words = &data[part << 20..(part + 1) << 20];
            std::hint::black_box(words.iter().fold(0, |a, &b| a | b));
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    (data.len() * 8) as f64 / best / 1e9
}
