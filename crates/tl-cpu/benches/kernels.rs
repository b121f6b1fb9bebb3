//! How fast the matrix products are, beside what memory allows: `cargo bench -p tl-cpu [-- FORMAT …]`.
//!
//! For each format: decode (one row of activations) in GB/s of weights, and prefill (16, 128, 512 rows) in Gop/s, where a
//! multiply-add is two, with 1 and 2 threads. Decode goes round so many rows that they come from memory.
//! Decode is the median of many measurements, for processors that ask for memory ahead change their ways in the course of them; others are the best, which
//! nobody disturbed.

use std::ops::Range;
use std::sync::Mutex;
use std::time::Instant;

use tl_cpu::limits::Limits;
use tl_cpu::{Isa, Kernels, PackedWeights, Pool, QuantizedRows, Scratch, WeightView};
use tl_tensor::DType;

const DECODE: [(usize, usize); 3] = [(1536, 576), (49152, 576), (5632, 2048)];
const PREFILL: [(usize, usize); 2] = [(1536, 576), (5632, 2048)];
const COLUMNS: usize = 128;
/// Bytes that no cache holds.
const COLD: usize = 256 << 20;
/// Bytes that are read in one measurement.
const SLICE: usize = 16 << 20;
/// How often all bytes are read.
const ROUNDS: usize = 8;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let isa = std::env::var("TL_CPU")
        .map_or(Isa::detect(), |name| if name == "portable" { Isa::Portable } else { Isa::Avx2 });
    let kernels = Kernels::new(isa).expect("the processor has the instruction set");
    println!(
        "{isa}; memory read with 1 thread {:.1} GB/s, 2 threads {:.1} GB/s",
        read_speed(1, isa),
        read_speed(2, isa)
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

/// Weights as their kernel takes them.
enum Weights<'a> {
    Packed(PackedWeights),
    Plain(WeightView<'a>),
}

/// Products of rows with weights.
struct Product<'a> {
    kernels: &'a Kernels,
    pool: &'a Pool,
    weights: Weights<'a>,
    k: usize,
}

fn measure(kernels: &Kernels, dtype: DType) {
    print!("{:<7}", dtype.name());
    let fits = |&(_, k): &(usize, usize)| k % dtype.block() == 0;
    for threads in [1, 2] {
        let pool = Pool::new(threads);
        print!(" | {threads} thr: decode GB/s");
        for (n, k) in DECODE.into_iter().filter(fits) {
            let row = k / dtype.block() * dtype.bytes();
            let n = n * (COLD / (n * row)).max(1);
            let bytes = weights(dtype, n, k);
            let product = Product::new(kernels, &pool, WeightView { dtype, bytes: &bytes, n, k });
            let slice = (SLICE / row).next_multiple_of(COLUMNS).min(n);
            let slices = (0..ROUNDS * n / slice).map(|i| i % (n / slice) * slice);
            let mut times: Vec<f64> = slices.map(|from| product.time(from..from + slice, 1, 1)).collect();
            times.sort_by(f64::total_cmp);
            print!(" {:5.1}", (slice * row) as f64 / times[times.len() / 2] / 1e9);
        }
        // From the second cache: what the arithmetic alone allows.
        for (_, k) in DECODE.into_iter().filter(fits).step_by(2) {
            let row = k / dtype.block() * dtype.bytes();
            let n = (200_000 / row).next_multiple_of(COLUMNS) * threads;
            let bytes = weights(dtype, n, k);
            let product = Product::new(kernels, &pool, WeightView { dtype, bytes: &bytes, n, k });
            print!(" ({:5.1} cached)", bytes.len() as f64 / product.time(0..n, 1, 200) / 1e9);
        }
        print!(", prefill Gop/s");
        for (n, k) in PREFILL.into_iter().filter(fits) {
            for rows in [8, 16, 128, 512] {
                // A slice of the matrix, so that a measurement is short.
                let n = (100_000_000 / (k * rows)).next_multiple_of(COLUMNS).min(n);
                let bytes = weights(dtype, n, k);
                let product = Product::new(kernels, &pool, WeightView { dtype, bytes: &bytes, n, k });
                print!(" {:4.0}", 2.0 * (n * k * rows) as f64 / product.time(0..n, rows, 20) / 1e9);
            }
        }
    }
    println!();
}

impl<'a> Product<'a> {
    fn new(kernels: &'a Kernels, pool: &'a Pool, view: WeightView<'a>) -> Self {
        let packs = kernels.has_integer_kernel(view.dtype);
        let weights = if packs { Weights::Packed(kernels.pack(&view)) } else { Weights::Plain(view) };
        Self { kernels, pool, weights, k: view.k }
    }

    /// The best of several times of some columns for so many rows.
    fn time(&self, columns: Range<usize>, rows: usize, times: usize) -> f64 {
        let x: Vec<f32> = (0..rows * self.k).map(|i| (i % 97) as f32 / 48.0 - 1.0).collect();
        let mut quantized = QuantizedRows::default();
        self.kernels.quantize_rows(&x, self.k, &mut quantized);
        let parts = columns.len().div_ceil(COLUMNS);
        // Each thread has a result of its own, so that the benchmark needs no unsafe code.
        let slots: Vec<Mutex<(Vec<f32>, Scratch)>> = (0..self.pool.threads())
            .map(|_| (vec![0.0; rows * COLUMNS], Scratch::default()).into())
            .collect();
        let mut best = f64::INFINITY;
        for _ in 0..times {
            let start = Instant::now();
            self.pool.run(parts, &|part, worker| {
                let (out, scratch) = &mut *slots[worker].lock().expect("no part panics");
                let from = columns.start + part * COLUMNS;
                let columns = from..columns.end.min(from + COLUMNS);
                match &self.weights {
                    Weights::Packed(w) => {
                        self.kernels.matmul_quantized(w, columns, &quantized, out, COLUMNS, scratch);
                    }
                    Weights::Plain(w) => self.kernels.matmul_float(w, columns, &x, out, COLUMNS, scratch),
                }
            });
            best = best.min(start.elapsed().as_secs_f64());
        }
        best
    }
}

/// Gigabytes a second that threads read from memory.
fn read_speed(threads: usize, isa: Isa) -> f64 {
    Limits::measure(&Pool::new(threads), isa).read / 1e9
}
