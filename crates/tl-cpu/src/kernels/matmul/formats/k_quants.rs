//! Q2_K to Q6_K: blocks of 256 values under scales that are small integers times one or two half-precision numbers.
//!
//! In Q2_K, Q3_K and Q6_K groups of 16 have scales of their own; in Q4_K and Q5_K groups of 32 have a scale and a minimum of six bits each. In files the bits of
//! value `i` of two, four or eight groups share a byte, in tiles a group has its own ([`Format::PLANES`]): they are unpacked one after the other.

use super::{Block, Format, Sink, WORD, byte, high_nibbles, low_nibbles, moved};
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

/// Byte `i` of each lane, signed, as `f32`.
#[inline(always)]
fn signed_byte<S: Simd>(s: S, word: S::I, i: usize) -> S::F {
    let high = match i {
        0 => s.shl::<24>(word),
        1 => s.shl::<16>(word),
        2 => s.shl::<8>(word),
        _ => word,
    };
    s.to_f32(s.sar::<24>(high))
}

impl Format for Q2K {
    const BLOCK: usize = 256;
    const BYTES: usize = 84;
    const PIECES: &'static [(usize, usize)] = &[(0, 16), (80, 4), (16, 64)];
    const PLANES: &'static [(usize, usize)] = &[(16, 2), (48, 2)];
    const MOST: u8 = 3;
    const IS_CUT: bool = true;
    const HALVES: usize = 2;
    const MINS: bool = true;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        let s = block.s;
        let (words, ds) = (block.words(0), block.word(80));
        let (d, dmin) = (s.low_f16(ds), s.sub(s.splat(0.0), s.high_f16(ds)));
        let (mut scales, mut mins) = ([d; 16], [d; 16]);
        unrolled!(0 1 2 3, W => {
            let (low, high) = (low_nibbles(s, words[W]), high_nibbles(s, words[W]));
            unrolled!(0 1 2 3, I => {
                scales[4 * W + I] = s.mul(d, byte(s, low, I));
                mins[4 * W + I] = s.mul(dmin, byte(s, high, I));
            });
        });
        for group in 0..8 {
            let block = block.skip(8 * group);
            unrolled!(0 1, HALF => {
                let word = block.word(16 + WORD * HALF);
                unrolled!(0 1 2 3, C => {
                    sink.quad(group, 4 * HALF + C, s.and(moved(s, word, 2 * C, 0), s.splat_i(0x0303_0303)));
                });
                sink.finish(group, HALF, scales[2 * group + HALF], mins[2 * group + HALF]);
            });
        }
    }
}

impl Format for Q3K {
    const BLOCK: usize = 256;
    const BYTES: usize = 110;
    const PIECES: &'static [(usize, usize)] = &[
        (96, 12),
        (108, 2),
        (0, 4),
        (32, 8),
        (4, 4),
        (40, 8),
        (8, 4),
        (48, 8),
        (12, 4),
        (56, 8),
        (16, 4),
        (64, 8),
        (20, 4),
        (72, 8),
        (24, 4),
        (80, 8),
        (28, 4),
        (88, 8),
    ];
    const PLANES: &'static [(usize, usize)] = &[(0, 1), (32, 2), (64, 2)];
    const MOST: u8 = 7;
    const OFFSET: i32 = 4;
    const HALVES: usize = 2;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        let s = block.s;
        let (a, b, c, d) = (block.word(96), block.word(100), block.word(104), block.half(108));
        // The low four bits of scales 0..8 are the low nibbles of the first 8 bytes, those of scales 8..16 the high nibbles; the
        // upper two bits of scales 4i..4i + 4 are bits 2i, 2i + 1 of the last 4 bytes.
        let upper = s.splat_i(0x3030_3030);
        let words = [
            s.or(low_nibbles(s, a), s.and(s.shl::<4>(c), upper)),
            s.or(low_nibbles(s, b), s.and(s.shl::<2>(c), upper)),
            s.or(high_nibbles(s, a), s.and(c, upper)),
            s.or(high_nibbles(s, b), s.and(s.shr::<2>(c), upper)),
        ];
        let mut scales = [d; 16];
        unrolled!(0 1 2 3, W => {
            unrolled!(0 1 2 3, I => {
                scales[4 * W + I] = s.mul(d, s.sub(byte(s, words[W], I), s.splat(32.0)));
            });
        });
        for group in 0..8 {
            let block = block.skip(12 * group);
            let third = block.word(0);
            unrolled!(0 1, HALF => {
                let word = block.word(32 + WORD * HALF);
                unrolled!(0 1 2 3, C => {
                    let low = s.and(moved(s, word, 2 * C, 0), s.splat_i(0x0303_0303));
                    let third = s.and(moved(s, third, 4 * HALF + C, 2), s.splat_i(0x0404_0404));
                    sink.quad(group, 4 * HALF + C, s.or(low, third));
                });
                let scale = scales[2 * group + HALF];
                sink.finish(group, HALF, scale, scale);
            });
        }
    }
}

/// The scales and minima of the eight groups of Q4_K and Q5_K, whose words are the first four of a block.
#[inline(always)]
fn scales_and_mins<S: Simd>(s: S, [ds, a, b, c]: [S::I; 4]) -> ([S::F; 8], [S::F; 8]) {
    let (d, dmin) = (s.low_f16(ds), s.sub(s.splat(0.0), s.high_f16(ds)));
    let (six, upper) = (s.splat_i(0x3F3F_3F3F), s.splat_i(0x3030_3030));
    let scale_words = [s.and(a, six), s.or(low_nibbles(s, c), s.and(s.shr::<2>(a), upper))];
    let min_words = [s.and(b, six), s.or(high_nibbles(s, c), s.and(s.shr::<2>(b), upper))];
    let (mut scales, mut mins) = ([d; 8], [d; 8]);
    unrolled!(0 1 2 3 4 5 6 7, G => {
        scales[G] = s.mul(d, byte(s, scale_words[G / 4], G % 4));
        mins[G] = s.mul(dmin, byte(s, min_words[G / 4], G % 4));
    });
    (scales, mins)
}

/// A group of Q4_K.
#[inline(always)]
fn sixteen_bytes<S: Simd, K: Sink<S>>(
    block: Block<S, Q4K>,
    group: usize,
    scale: S::F,
    min: S::F,
    sink: &mut K,
) {
    let (s, words) = (block.s, block.skip(16 * group).words_when_used(16));
    unrolled!(0 1 2 3, C => {
        let word = words.at(C);
        sink.quad(group, 2 * C, low_nibbles(s, word));
        sink.quad(group, 2 * C + 1, high_nibbles(s, word));
    });
    sink.finish(group, 0, scale, min);
}

impl Format for Q4K {
    const BLOCK: usize = 256;
    const BYTES: usize = 144;
    const PIECES: &'static [(usize, usize)] = &[(0, 144)];
    const PLANES: &'static [(usize, usize)] = &[(16, 4), (48, 4), (80, 4), (112, 4)];
    const MOST: u8 = 15;
    const IS_CUT: bool = true;
    const MINS: bool = true;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        let s = block.s;
        let (scales, mins) = scales_and_mins(s, block.words(0));
        // A loop is 5 % slower for one row with AVX2; for four rows so much code is slower by a fourth.
        if K::ROWS > 3 {
            for group in 0..8 {
                sixteen_bytes(block, group, scales[group], mins[group], sink);
            }
        } else {
            unrolled!(0 1 2 3 4 5 6 7, GROUP => {
                sixteen_bytes(block, GROUP, scales[GROUP], mins[GROUP], sink);
            });
        }
    }
}

impl Format for Q5K {
    const BLOCK: usize = 256;
    const BYTES: usize = 176;
    const PIECES: &'static [(usize, usize)] = &[
        (0, 16),
        (16, 4),
        (48, 16),
        (20, 4),
        (64, 16),
        (24, 4),
        (80, 16),
        (28, 4),
        (96, 16),
        (32, 4),
        (112, 16),
        (36, 4),
        (128, 16),
        (40, 4),
        (144, 16),
        (44, 4),
        (160, 16),
    ];
    const PLANES: &'static [(usize, usize)] = &[(16, 1), (48, 4), (80, 4), (112, 4), (144, 4)];
    const MOST: u8 = 31;
    const MINS: bool = true;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        let s = block.s;
        let (scales, mins) = scales_and_mins(s, block.words(0));
        for group in 0..8 {
            let block = block.skip(20 * group);
            let (bits, words) = (block.word(16), block.words_when_used(48));
            let fifth = |c| s.and(moved(s, bits, c, 4), s.splat_i(0x1010_1010));
            unrolled!(0 1 2 3, C => {
                let word = words.at(C);
                sink.quad(group, 2 * C, s.or(low_nibbles(s, word), fifth(2 * C)));
                sink.quad(group, 2 * C + 1, s.or(high_nibbles(s, word), fifth(2 * C + 1)));
            });
            sink.finish(group, 0, scales[group], mins[group]);
        }
    }
}

impl Format for Q6K {
    const BLOCK: usize = 256;
    const BYTES: usize = 210;
    const PIECES: &'static [(usize, usize)] = &[
        (192, 16),
        (208, 2),
        (0, 16),
        (128, 8),
        (32, 16),
        (136, 8),
        (16, 16),
        (144, 8),
        (48, 16),
        (152, 8),
        (64, 16),
        (160, 8),
        (96, 16),
        (168, 8),
        (80, 16),
        (176, 8),
        (112, 16),
        (184, 8),
    ];
    const PLANES: &'static [(usize, usize)] = &[(0, 4), (32, 4), (64, 4), (96, 4), (128, 2), (160, 2)];
    const MOST: u8 = 63;
    const OFFSET: i32 = 32;
    const HALVES: usize = 2;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        let s = block.s;
        let (words, d) = (block.words(192), block.half(208));
        let mut scales = [d; 16];
        unrolled!(0 1 2 3, W => {
            unrolled!(0 1 2 3, I => { scales[4 * W + I] = s.mul(d, signed_byte(s, words[W], I)) });
        });
        for group in 0..8 {
            let block = block.skip(24 * group);
            let words = block.words_when_used(0);
            unrolled!(0 1, HALF => {
                let bits = block.word(128 + WORD * HALF);
                let upper = |c| s.and(moved(s, bits, 2 * c, 4), s.splat_i(0x3030_3030));
                unrolled!(0 1, C => {
                    let word = words.at(2 * HALF + C);
                    sink.quad(group, 4 * HALF + 2 * C, s.or(low_nibbles(s, word), upper(2 * C)));
                    sink.quad(group, 4 * HALF + 2 * C + 1, s.or(high_nibbles(s, word), upper(2 * C + 1)));
                });
                let scale = scales[2 * group + HALF];
                sink.finish(group, HALF, scale, scale);
            });
        }
    }
}
