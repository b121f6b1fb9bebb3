//! Random weights, as quantized bytes.
//!
//! To quantize a billion numbers takes minutes. So for each element type and spread a *bank* of random numbers is quantized, and a matrix is drawn from
//! it, unit by unit. A unit is a block of the type or a few, so every byte is what the quantizer made of random numbers. Rows of a few units would often be
//! the same, so those are quantized by themselves.
//!
//! Invariant: the bytes of a tensor depend on the seed, its name, type and spread alone, on every machine.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tl_tensor::{DType, Tensor};

use super::SynthError;
use crate::sampling::Rng;

/// Numbers of a bank.
const BANK: usize = 1 << 17;

/// Numbers of a unit, at least.
const UNIT: usize = 64;

/// Units of a row, at least: some 10^10 rows then differ.
const UNITS_OF_A_ROW: usize = 4;

/// Bytes that are handed on at once.
const CHUNK: usize = 1 << 20;

/// A source of random weights.
pub(super) struct Weights {
    seed: u64,
    banks: HashMap<(DType, u32), Vec<u8>>,
}

impl Weights {
    pub(super) fn new(seed: u64) -> Self {
        Weights { seed, banks: HashMap::new() }
    }

    /// The bytes of a matrix whose numbers have mean 0 and standard deviation `spread`, handed to `write` in pieces.
    pub(super) fn draw(
        &mut self,
        name: &str,
        dtype: DType,
        [rows, columns]: [usize; 2],
        spread: f32,
        write: impl FnMut(&[u8]) -> Result<(), SynthError>,
    ) -> Result<(), SynthError> {
        if columns < UNITS_OF_A_ROW * UNIT.max(dtype.block()) {
            self.draw_numbers(name, dtype, [rows, columns], spread, write)
        } else {
            self.draw_units(name, dtype, rows * (columns / dtype.block()) * dtype.bytes(), spread, write)
        }
    }

    fn draw_units(
        &mut self,
        name: &str,
        dtype: DType,
        bytes: usize,
        spread: f32,
        mut write: impl FnMut(&[u8]) -> Result<(), SynthError>,
    ) -> Result<(), SynthError> {
        let mut rng = self.rng(name);
        let unit = UNIT.max(dtype.block()) / dtype.block() * dtype.bytes();
        let bank = self.bank(dtype, spread)?;
        let units = (bank.len() / unit) as u64;
        let (mut left, mut chunk) = (bytes, Vec::with_capacity(CHUNK + unit));
        while left > 0 {
            chunk.clear();
            while chunk.len() < left.min(CHUNK) {
                // The upper half of the product is uniform, and costs no division.
                let at = (u128::from(rng.next_u64()) * u128::from(units)) >> 64;
                chunk.extend_from_slice(&bank[at as usize * unit..][..unit]);
            }
            chunk.truncate(left);
            write(&chunk)?;
            left -= chunk.len();
        }
        Ok(())
    }

    fn draw_numbers(
        &self,
        name: &str,
        dtype: DType,
        [rows, columns]: [usize; 2],
        spread: f32,
        mut write: impl FnMut(&[u8]) -> Result<(), SynthError>,
    ) -> Result<(), SynthError> {
        let mut rng = self.rng(name);
        for _ in 0..rows {
            write(quantized(dtype, columns, spread, &mut rng)?.data())?;
        }
        Ok(())
    }

    /// `count` numbers around `mean`, as bytes of `f32`.
    pub(super) fn vector(&self, name: &str, count: usize, mean: f32, spread: f32) -> Vec<u8> {
        let mut rng = self.rng(name);
        (0..count).flat_map(|_| (mean + spread * normal(&mut rng)).to_le_bytes()).collect()
    }

    fn rng(&self, name: &str) -> Rng {
        // FNV-1a: names that differ give seeds that differ.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Rng::from_seed(self.seed ^ hash)
    }

    fn bank(&mut self, dtype: DType, spread: f32) -> Result<&[u8], SynthError> {
        let mut rng = self.rng(dtype.info().name);
        match self.banks.entry((dtype, spread.to_bits())) {
            Entry::Occupied(bank) => Ok(bank.into_mut()),
            Entry::Vacant(place) => {
                Ok(place.insert(quantized(dtype, BANK, spread, &mut rng)?.data().to_vec()))
            }
        }
    }
}

fn quantized(dtype: DType, count: usize, spread: f32, rng: &mut Rng) -> Result<Tensor, SynthError> {
    let values: Vec<f32> = (0..count).map(|_| spread * normal(rng)).collect();
    Tensor::encode(dtype, [count], &values).map_err(|e| SynthError::Shape(e.to_string()))
}

/// A number with mean 0 and variance 1: the sum of four uniform ones, which unlike a logarithm is the same everywhere.
fn normal(rng: &mut Rng) -> f32 {
    let sum: f64 = (0..4).map(|_| rng.next_unit()).sum();
    ((sum - 2.0) * 3.0_f64.sqrt()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, name: &str, dtype: DType, [rows, columns]: [usize; 2]) -> Vec<f32> {
        let mut bytes = Vec::new();
        let write = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            Ok(())
        };
        Weights::new(seed).draw(name, dtype, [rows, columns], 0.5, write).unwrap();
        let buffer = tl_tensor::Buffer::from_vec(bytes);
        Tensor::new(dtype, vec![rows, columns], buffer).unwrap().to_f32()
    }

    #[test]
    fn weights_have_the_spread_that_was_asked_for_and_no_row_comes_twice() {
        for dtype in [DType::F32, DType::F16, DType::Q4_0, DType::Q8_0, DType::Q4_K, DType::Q6_K] {
            for columns in [256, 1024] {
                let values = drawn(1, "a", dtype, [512, columns]);
                let mean = values.iter().sum::<f32>() / values.len() as f32;
                let variance = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
                assert!(
                    mean.abs() < 0.01 && (variance.sqrt() - 0.5).abs() < 0.01,
                    "{dtype}: {mean} {variance}"
                );
                let mut rows: Vec<Vec<u32>> = values
                    .chunks_exact(columns)
                    .map(|row| row.iter().map(|v| v.to_bits()).collect())
                    .collect();
                rows.sort();
                assert!(rows.windows(2).all(|pair| pair[0] != pair[1]), "{dtype}, {columns} columns");
            }
        }
    }

    #[test]
    fn names_and_seeds_decide_about_weights_and_nothing_else_does() {
        for columns in [96, 4000] {
            let first = drawn(1, "a", DType::Q4_0, [2, columns]);
            assert_eq!(first, drawn(1, "a", DType::Q4_0, [2, columns]));
            assert_ne!(first, drawn(2, "a", DType::Q4_0, [2, columns]));
            assert_ne!(first, drawn(1, "b", DType::Q4_0, [2, columns]));
        }
    }
}
