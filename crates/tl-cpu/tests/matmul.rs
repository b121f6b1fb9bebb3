//! Every kernel of the matrix product against the decoded weights in `f64`, and against itself: other row counts, other cuts
//! into columns and other instruction sets must give the same bits.

use proptest::prelude::*;
use tl_cpu::{Isa, Kernels, QuantizedRows, Scratch, WeightView};
use tl_tensor::DType;

const INTEGER: [DType; 13] = [
    DType::Q4_0,
    DType::Q4_1,
    DType::Q5_0,
    DType::Q5_1,
    DType::Q8_0,
    DType::Q2_K,
    DType::Q3_K,
    DType::Q4_K,
    DType::Q5_K,
    DType::Q6_K,
    DType::IQ4_NL,
    DType::IQ4_XS,
    DType::MXFP4,
];

/// A generator of bytes that needs no crate: xorshift64*.
struct Bytes(u64);

impl Bytes {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Random blocks whose scales are finite: a block that decodes to anything else is drawn again.
fn weights(dtype: DType, n: usize, k: usize, rng: &mut Bytes) -> Vec<u8> {
    let (block, bytes) = (dtype.block(), dtype.bytes());
    let mut out = Vec::new();
    while out.len() < n * k / block * bytes {
        let candidate: Vec<u8> = (0..bytes).map(|_| (rng.next() >> 32) as u8).collect();
        let mut values = vec![0.0; block];
        dtype.decode(&candidate, &mut values).unwrap();
        if values.iter().all(|v| v.is_finite() && v.abs() < 1e30) {
            out.extend(candidate);
        }
    }
    out
}

fn activations(rows: usize, k: usize, rng: &mut Bytes) -> Vec<f32> {
    let mut x: Vec<f32> = (0..rows * k).map(|_| rng.unit()).collect();
    // Groups of very different magnitude, and some that are all zero.
    for group in x.chunks_mut(32) {
        let factor = [0.0, 1e-20, 1e-3, 1.0, 1.0, 1.0, 40.0, 1e6][(rng.next() >> 61) as usize];
        group.iter_mut().for_each(|v| *v *= factor);
    }
    x
}

fn decode(dtype: DType, bytes: &[u8], len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    dtype.decode(bytes, &mut values).unwrap();
    values
}

/// `Σ w·x` and what its rounding may amount to: for each group `2⁻¹⁶` of its largest activation times `Σ |w|`, and some
/// roundings to `f32` of terms whose size is the sum of magnitudes (twice, for a scaled part and a minimum may cancel).
fn oracle(w: &[f32], x: &[f32], quantized: bool) -> (f64, f64) {
    let (mut sum, mut bound) = (0.0f64, 0.0f64);
    for (w, x) in w.chunks(32).zip(x.chunks(32)) {
        let largest = x.iter().fold(0.0f64, |m, &v| m.max(f64::from(v).abs()));
        let widest = w.iter().fold(0.0f64, |m, &v| m.max(f64::from(v).abs()));
        let magnitude: f64 = w.iter().map(|&w| f64::from(w).abs()).sum();
        sum += w.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum::<f64>();
        if quantized {
            bound += largest * magnitude * 2f64.powi(-16) + largest * widest * 32.0 * 32.0 * 2f64.powi(-24);
        } else {
            bound += largest * magnitude * 2f64.powi(-24) * 64.0;
        }
    }
    (sum, bound + 1e-30)
}

fn product(kernels: &Kernels, w: &WeightView<'_>, x: &[f32], cuts: &[usize]) -> Vec<f32> {
    let (rows, n) = (x.len() / w.k, w.n);
    let mut out = vec![f32::NAN; rows * n];
    let mut scratch = Scratch::default();
    let mut quantized = QuantizedRows::default();
    let packed = kernels.has_integer_kernel(w.dtype).then(|| kernels.pack(w));
    if packed.is_some() {
        kernels.quantize_rows(x, w.k, &mut quantized);
    }
    for cut in cuts.windows(2) {
        let (columns, out) = (cut[0]..cut[1], &mut out[cut[0]..]);
        match &packed {
            Some(w) => kernels.matmul_quantized(w, columns, &quantized, out, n, &mut scratch),
            None => kernels.matmul_float(w, columns, x, out, n, &mut scratch),
        }
    }
    out
}

fn check(dtype: DType, n: usize, k: usize, rows: usize, seed: u64) {
    let rng = &mut Bytes(seed | 1);
    let bytes = weights(dtype, n, k, rng);
    let x = activations(rows, k, rng);
    let cut = (rng.next() as usize) % (n + 1);
    check_product(&WeightView { dtype, bytes: &bytes, n, k }, &x, cut);
}

fn check_product(view: &WeightView<'_>, x: &[f32], cut: usize) {
    let WeightView { dtype, bytes, n, k } = *view;
    let w = decode(dtype, bytes, n * k);
    let portable = Kernels::new(Isa::Portable).unwrap();
    let expected = product(&portable, view, x, &[0, n]);
    for (r, x) in x.chunks(k).enumerate() {
        for (c, w) in w.chunks(k).enumerate() {
            let (sum, bound) = oracle(w, x, portable.has_integer_kernel(dtype));
            let got = f64::from(expected[r * n + c]);
            assert!((got - sum).abs() <= bound, "{dtype} row {r} column {c}: {got} is not {sum} ± {bound}");
        }
    }
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for isa in Isa::available() {
        let kernels = Kernels::new(isa).unwrap();
        let whole = product(&kernels, view, x, &[0, cut, n]);
        assert_eq!(bits(&whole), bits(&expected), "{dtype} {isa}, columns cut at {cut}");
        for (r, x) in x.chunks(k).enumerate() {
            let one = product(&kernels, view, x, &[0, n]);
            assert_eq!(bits(&one), bits(&expected[r * n..(r + 1) * n]), "{dtype} {isa} row {r} alone");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn integer_kernels_agree_with_the_decoded_weights(
        n in 1usize..70, blocks in 1usize..6, rows in 1usize..14, seed: u64,
    ) {
        for dtype in INTEGER {
            check(dtype, n, blocks * dtype.block(), rows, seed);
        }
    }

    #[test]
    fn other_types_agree_with_the_decoded_weights(n in 1usize..30, k in 1usize..100, rows in 1usize..9, seed: u64) {
        for &dtype in DType::ALL.iter().filter(|dtype| !INTEGER.contains(dtype)) {
            let k = if dtype.block() == 1 { k } else { (1 + k % 3) * dtype.block() };
            check(dtype, n, k, rows, seed);
        }
    }
}

#[test]
fn long_rows_and_many_rows_cross_every_panel_and_block() {
    for dtype in [DType::Q4_1, DType::Q8_0, DType::Q6_K, DType::F16, DType::F32] {
        check(dtype, 33, 1280, 131, 7);
    }
    for dtype in [DType::F16, DType::BF16, DType::F32] {
        check(dtype, 7, 2061, 67, 7);
    }
}

#[test]
fn the_largest_weights_and_activations_do_not_overflow() {
    for dtype in INTEGER {
        let (n, k) = (17, dtype.block());
        for largest in [0xFF, 0x77] {
            // Every byte that keeps the values finite, scales among them.
            let mut bytes = weights(dtype, 1, k, &mut Bytes(3));
            for i in 0..bytes.len() {
                let before = std::mem::replace(&mut bytes[i], largest);
                if !decode(dtype, &bytes, k).iter().all(|v| v.is_finite() && v.abs() < 1e30) {
                    bytes[i] = before;
                }
            }
            let bytes = bytes.repeat(n);
            // 32639 = 127 · 256 + 127 and −32384 = −126 · 256 − 128: the largest and smallest high and low bytes.
            let smallest = |i: usize| if i.is_multiple_of(32) { 32639.0 } else { -32384.0 };
            let x: Vec<f32> = [32639.0; 32].repeat(k / 32).into_iter().chain((0..k).map(smallest)).collect();
            let x: Vec<f32> = x.iter().copied().chain(x.iter().map(|v| -v)).collect();
            check_product(&WeightView { dtype, bytes: &bytes, n, k }, &x, 5);
        }
    }
}

#[test]
fn infinities_and_nans_in_activations_reach_the_product() {
    for dtype in [DType::Q4_0, DType::Q4_K, DType::Q6_K, DType::F16] {
        let (n, k) = (17, 512);
        let bytes = weights(dtype, n, k, &mut Bytes(5));
        let view = WeightView { dtype, bytes: &bytes, n, k };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = vec![0.5; 2 * k];
            x[k + 300] = bad;
            for isa in Isa::available() {
                let out = product(&Kernels::new(isa).unwrap(), &view, &x, &[0, n]);
                assert!(out[..n].iter().all(|v| v.is_finite()) && out[n..].iter().all(|v| !v.is_finite()));
            }
        }
    }
}

#[test]
fn a_scale_that_is_not_finite_reaches_the_product() {
    let mut bytes = weights(DType::Q4_1, 16, 64, &mut Bytes(9));
    bytes[40..42].copy_from_slice(&0x7C00u16.to_le_bytes());
    let view = WeightView { dtype: DType::Q4_1, bytes: &bytes, n: 16, k: 64 };
    let x = vec![1.0; 64];
    for isa in Isa::available() {
        let out = product(&Kernels::new(isa).unwrap(), &view, &x, &[0, 16]);
        assert_eq!(out.iter().filter(|v| !v.is_finite()).count(), 1);
    }
}
