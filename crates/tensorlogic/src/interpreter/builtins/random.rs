//! Tensors of random numbers that are the same for a seed, whatever ran before.
//!
//! Element `i` is a function of the seed and of `i` alone: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
//! generators", 2014) of a counter that begins at a place which the seed chooses.

use super::super::builtin::{Arguments, Builtin, CallError, Purity::*};
use super::super::context::Context;
use super::super::tensor::TensorValue;
use super::super::value::Value;
use super::row;
use super::tensors::shape_argument;

pub(super) const TABLE: &[Builtin] = &[
    row(
        "uniform",
        "shape, seed = 0",
        Pure,
        "A tensor of random numbers from 0 to below 1, the same for the same seed.",
        uniform,
    ),
    row(
        "normal",
        "shape, seed = 0",
        Pure,
        "A tensor of random numbers of the standard normal distribution, the same for the same seed.",
        normal,
    ),
];

fn uniform(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    // 24 bits are what a number below 1 of 32 bits holds.
    filled(&arguments, |start, i| (bits(start, i) >> 40) as f32 / (1u32 << 24) as f32)
}

fn normal(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    filled(&arguments, |start, i| {
        // Box and Muller; the first number is above 0, so that it has a logarithm.
        let unit = |bits: u64| (bits >> 11) as f64 / (1u64 << 53) as f64;
        let (radius, angle) = (1.0 - unit(bits(start, 2 * i)), unit(bits(start, 2 * i + 1)));
        ((-2.0 * radius.ln()).sqrt() * (2.0 * std::f64::consts::PI * angle).cos()) as f32
    })
}

fn filled(arguments: &Arguments, number: impl Fn(u64, u64) -> f32) -> Result<Value, CallError> {
    let (shape, length) = shape_argument(arguments, 0)?;
    let seed = match arguments.get(1) {
        Some(_) => arguments.value(1).as_integer().ok_or_else(|| arguments.wrong(1, "a whole number"))?,
        None => 0,
    };
    let start = mix(seed as u64);
    let values: Vec<f32> = (0..length as u64).map(|i| number(start, i)).collect();
    Ok(TensorValue::new(&shape, &values).into())
}

/// Random bits of place `i`.
fn bits(start: u64, i: u64) -> u64 {
    mix(start.wrapping_add(i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_that_splitmix_gives() {
        // The published sequence of seed 0, which `mix` leaves as it is.
        assert_eq!(bits(mix(0), 0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(bits(mix(0), 1), 0x6e78_9e6a_a1b9_65f4);
    }
}
