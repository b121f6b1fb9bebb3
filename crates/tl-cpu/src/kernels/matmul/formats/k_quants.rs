//! Q2_K to Q6_K: blocks of 256 values under scales that are small integers times one or two half-precision numbers.
//!
//! In Q2_K, Q3_K and Q6_K groups of 16 have scales of their own; the bits of value `i` of four groups of 32 share a byte. In Q4_K and
//! Q5_K groups of 32 have a scale and a minimum of six bits each, and two groups share bytes.

#![expect(unsafe_code, reason = "blocks are read through pointers")]

use super::{Format, Sink, byte, high_nibbles, low_nibbles};
use crate::simd::Simd;

/// `scales: [u8; 16], values: [u8; 64], d: f16, dmin: f16`, value = d · (scale & 15) · bits − dmin · (scale >> 4).
#[derive(Clone, Copy)]
pub(crate) struct Q2K;

/// `high: [u8; 32], values: [u8; 64], scales: [u8; 12], d: f16`, value = d · (scale − 32) · (bits − 4).
#[derive(Clone, Copy)]
pub(crate) struct Q3K;

/// `d: f16, dmin: f16, scales: [u8; 12], nibbles: [u8; 128]`, value = d · scale · nibble − dmin · min.
#[derive(Clone, Copy)]
pub(crate) struct Q4K;

/// `d: f16, dmin: f16, scales: [u8; 12], high: [u8; 32], nibbles: [u8; 128]`, value = d · scale · bits − dmin · min.
#[derive(Clone, Copy)]
pub(crate) struct Q5K;

/// `low: [u8; 128], high: [u8; 64], scales: [i8; 16], d: f16`, value = d · scale · (bits − 32).
#[derive(Clone, Copy)]
pub(crate) struct Q6K;

impl Format for Q2K {
    const BLOCK: usize = 256;
    const BYTES: usize = 84;
    const HALVES: usize = 2;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn unpack<S: Simd, K: Sink<S>>(s: S, p: *const u8, stride: usize, sink: &mut K) {
        // SAFETY: The caller vouches for the block.
        let (scales, ds) = unsafe { (s.columns4(p, stride), s.column(p.add(80), stride)) };
        let (d, dmin) = (s.low_f16(ds), s.sub(s.splat(0.0), s.high_f16(ds)));
        let two_bits = s.splat_i(0x0303_0303);
        for n in 0..2 {
            for half in 0..2 {
                // SAFETY: The caller vouches for the block.
                let words = unsafe { s.columns4(p.add(16 + 32 * n + 16 * half), stride) };
                for (c, &word) in words.iter().enumerate() {
                    let c = 4 * half + c;
                    sink.quad(4 * n, 0, c, s.and(word, two_bits));
                    sink.quad(4 * n + 1, 1, c, s.and(s.shr16::<2>(word), two_bits));
                    sink.quad(4 * n + 2, 2, c, s.and(s.shr16::<4>(word), two_bits));
                    sink.quad(4 * n + 3, 3, c, s.and(s.shr16::<6>(word), two_bits));
                }
                for j in 0..4 {
                    let at = 8 * n + 2 * j + half;
                    let scale = s.mul(d, byte(s, low_nibbles(s, scales[at / 4]), at % 4));
                    let min = s.mul(dmin, byte(s, high_nibbles(s, scales[at / 4]), at % 4));
                    sink.finish(4 * n + j, j, half, scale, min);
                }
            }
        }
    }
}

impl Format for Q3K {
    const BLOCK: usize = 256;
    const BYTES: usize = 110;
    const OFFSET: i32 = 4;
    const HALVES: usize = 2;

    #[inline(always)]
    unsafe fn unpack<S: Simd, K: Sink<S>>(s: S, p: *const u8, stride: usize, sink: &mut K) {
        // SAFETY: The caller vouches for the block.
        let (a, b, c, d) = unsafe {
            let word = |at: usize| s.column(p.add(at), stride);
            (word(96), word(100), word(104), s.column_f16(p.add(108), stride))
        };
        // The low four bits of scales 0..8 are the low nibbles of the first 8 bytes, those of scales 8..16 the high nibbles; the
        // upper two bits of scales 4i..4i + 4 are bits 2i, 2i + 1 of the last 4 bytes.
        let upper = s.splat_i(0x3030_3030);
        let scales = [
            s.or(low_nibbles(s, a), s.and(s.shl::<4>(c), upper)),
            s.or(low_nibbles(s, b), s.and(s.shl::<2>(c), upper)),
            s.or(high_nibbles(s, a), s.and(c, upper)),
            s.or(high_nibbles(s, b), s.and(s.shr::<2>(c), upper)),
        ];
        let two_bits = s.splat_i(0x0303_0303);
        let third = s.splat_i(0x0404_0404);
        for n in 0..2 {
            for half in 0..2 {
                // SAFETY: The caller vouches for the block.
                let (words, high) = unsafe {
                    (s.columns4(p.add(32 + 32 * n + 16 * half), stride), s.columns4(p.add(16 * half), stride))
                };
                for c in 0..4 {
                    let (word, high) = (words[c], s.shr_by(high[c], 4 * n as u32));
                    let c = 4 * half + c;
                    let with = |bits, high| s.or(s.and(bits, two_bits), s.and(high, third));
                    sink.quad(4 * n, 0, c, with(word, s.shl16::<2>(high)));
                    sink.quad(4 * n + 1, 1, c, with(s.shr16::<2>(word), s.shl16::<1>(high)));
                    sink.quad(4 * n + 2, 2, c, with(s.shr16::<4>(word), high));
                    sink.quad(4 * n + 3, 3, c, with(s.shr16::<6>(word), s.shr16::<1>(high)));
                }
                for j in 0..4 {
                    let at = 8 * n + 2 * j + half;
                    let scale = s.sub(byte(s, scales[at / 4], at % 4), s.splat(32.0));
                    let scale = s.mul(d, scale);
                    sink.finish(4 * n + j, j, half, scale, scale);
                }
            }
        }
    }
}

/// The eight scales and the eight minima of six bits in the 12 bytes of Q4_K and Q5_K, four in each word.
#[inline(always)]
fn six_bits<S: Simd>(s: S, [a, b, c]: [S::I; 3]) -> ([S::I; 2], [S::I; 2]) {
    let six = s.splat_i(0x3F3F_3F3F);
    let upper = s.splat_i(0x3030_3030);
    let scales = [s.and(a, six), s.or(low_nibbles(s, c), s.and(s.shr::<2>(a), upper))];
    let mins = [s.and(b, six), s.or(high_nibbles(s, c), s.and(s.shr::<2>(b), upper))];
    (scales, mins)
}

impl Format for Q4K {
    const BLOCK: usize = 256;
    const BYTES: usize = 144;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn unpack<S: Simd, K: Sink<S>>(s: S, p: *const u8, stride: usize, sink: &mut K) {
        // SAFETY: The caller vouches for the block.
        let [ds, a, b, c] = unsafe { s.columns4(p, stride) };
        let (d, dmin) = (s.low_f16(ds), s.sub(s.splat(0.0), s.high_f16(ds)));
        let (scales, mins) = six_bits(s, [a, b, c]);
        for j in 0..4 {
            for part in 0..2 {
                // SAFETY: The caller vouches for the block.
                let words = unsafe { s.columns4(p.add(16 + 32 * j + 16 * part), stride) };
                for (c, &word) in words.iter().enumerate() {
                    sink.quad(2 * j, 0, 4 * part + c, low_nibbles(s, word));
                    sink.quad(2 * j + 1, 1, 4 * part + c, high_nibbles(s, word));
                }
            }
            for g in 2 * j..2 * j + 2 {
                let scale = s.mul(d, byte(s, scales[g / 4], g % 4));
                let min = s.mul(dmin, byte(s, mins[g / 4], g % 4));
                sink.finish(g, g % 2, 0, scale, min);
            }
        }
    }
}

impl Format for Q5K {
    const BLOCK: usize = 256;
    const BYTES: usize = 176;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn unpack<S: Simd, K: Sink<S>>(s: S, p: *const u8, stride: usize, sink: &mut K) {
        // SAFETY: The caller vouches for the block.
        let [ds, a, b, c] = unsafe { s.columns4(p, stride) };
        let (d, dmin) = (s.low_f16(ds), s.sub(s.splat(0.0), s.high_f16(ds)));
        let (scales, mins) = six_bits(s, [a, b, c]);
        let fifth = s.splat_i(0x1010_1010);
        for j in 0..4 {
            for part in 0..2 {
                // SAFETY: The caller vouches for the block.
                let (words, high) = unsafe {
                    (
                        s.columns4(p.add(48 + 32 * j + 16 * part), stride),
                        s.columns4(p.add(16 + 16 * part), stride),
                    )
                };
                for c in 0..4 {
                    // Bits 2j and 2j + 1 of each byte, moved to bits 4 and 5.
                    let bits = s.shl::<4>(s.and(s.shr_by(high[c], 2 * j as u32), s.splat_i(0x0303_0303)));
                    let low = s.or(low_nibbles(s, words[c]), s.and(bits, fifth));
                    let high = s.or(high_nibbles(s, words[c]), s.and(s.shr16::<1>(bits), fifth));
                    sink.quad(2 * j, 0, 4 * part + c, low);
                    sink.quad(2 * j + 1, 1, 4 * part + c, high);
                }
            }
            for g in 2 * j..2 * j + 2 {
                let scale = s.mul(d, byte(s, scales[g / 4], g % 4));
                let min = s.mul(dmin, byte(s, mins[g / 4], g % 4));
                sink.finish(g, g % 2, 0, scale, min);
            }
        }
    }
}

impl Format for Q6K {
    const BLOCK: usize = 256;
    const BYTES: usize = 210;
    const OFFSET: i32 = 32;
    const HALVES: usize = 2;

    #[inline(always)]
    unsafe fn unpack<S: Simd, K: Sink<S>>(s: S, p: *const u8, stride: usize, sink: &mut K) {
        // SAFETY: The caller vouches for the block.
        let (scales, d) = unsafe { (s.columns4(p.add(192), stride), s.column_f16(p.add(208), stride)) };
        let upper = s.splat_i(0x3030_3030);
        for n in 0..2 {
            for half in 0..2 {
                // SAFETY: The caller vouches for the block.
                let (first, second, high) = unsafe {
                    let low = p.add(64 * n + 16 * half);
                    let high = p.add(128 + 32 * n + 16 * half);
                    (s.columns4(low, stride), s.columns4(low.add(32), stride), s.columns4(high, stride))
                };
                for c in 0..4 {
                    let (first, second, high) = (first[c], second[c], high[c]);
                    let c = 4 * half + c;
                    let with = |low, high| s.or(low, s.and(high, upper));
                    sink.quad(4 * n, 0, c, with(low_nibbles(s, first), s.shl16::<4>(high)));
                    sink.quad(4 * n + 1, 1, c, with(low_nibbles(s, second), s.shl16::<2>(high)));
                    sink.quad(4 * n + 2, 2, c, with(high_nibbles(s, first), high));
                    sink.quad(4 * n + 3, 3, c, with(high_nibbles(s, second), s.shr16::<2>(high)));
                }
                for j in 0..4 {
                    let at = 8 * n + 2 * j + half;
                    let word = s.shr_by(scales[at / 4], 8 * (at % 4) as u32);
                    let scale = s.mul(d, s.to_f32(s.sar::<24>(s.shl::<24>(word))));
                    sink.finish(4 * n + j, j, half, scale, scale);
                }
            }
        }
    }
}
