//! Every instruction set against plain Rust, method by method, on awkward values.

use super::portable::{Portable, fma};
use super::*;

#[test]
fn fma_rounds_once() {
    let halfway = (f32::from_bits(0x3F80_0001), f32::from_bits(0x3F80_0001), f32::from_bits(0x3380_0000));
    let cases = [
        halfway,
        (1e-30, 1e-15, 1e-40),
        (f32::MAX, 2.0, f32::NEG_INFINITY),
        (f32::MAX, 1.5, -f32::MAX),
        (0.1, 0.2, -0.02),
        (-0.0, 1.0, -0.0),
    ];
    for (a, b, c) in cases {
        assert_eq!(fma(a, b, c).to_bits(), a.mul_add(b, c).to_bits(), "{a} {b} {c}");
    }
}
