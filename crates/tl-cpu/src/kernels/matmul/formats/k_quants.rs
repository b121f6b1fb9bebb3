//! Q2_K to Q6_K: blocks of 256 values under scales that are small integers times one or two half-precision numbers.
//!
//! In Q2_K, Q3_K and Q6_K groups of 16 have scales of their own; the bits of value `i` of four groups of 32 share a byte. In Q4_K and
//! Q5_K groups of 32 have a scale and a minimum of six bits each, and two groups share bytes.

use super::{Block, Format, Sink, byte, high_nibbles, low_nibbles};
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

/// The scales and minima of two groups of Q4_K and Q5_K: bytes `at` and `at + 1` of a word each.
#[inline(always)]
fn scaled<S: Simd>(s: S, d: S::F, word: S::I, at: usize) -> [S::F; 2] {
    [s.mul(d, byte(s, word, at)), s.mul(d, byte(s, word, at + 1))]
}

/// Some bits of one value and some of another.
#[inline(always)]
fn join<S: Simd>(s: S, (a, a_bits): (S::I, S::I), (b, b_bits): (S::I, S::I)) -> S::I {
    s.or(s.and(a, a_bits), s.and(b, b_bits))
}

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
        let two_bits = s.splat_i(0x0303_0303);
        for n in 0..2 {
            for half in 0..2 {
                let words = block.words_when_used(16 + 32 * n + 16 * half);
                unrolled!(0 1 2 3, C => {
                    let (word, c) = (words.at(C), 4 * half + C);
                    sink.quad(4 * n, 0, c, s.and(word, two_bits));
                    sink.quad(4 * n + 1, 1, c, s.and(s.shr16::<2>(word), two_bits));
                    sink.quad(4 * n + 2, 2, c, s.and(s.shr16::<4>(word), two_bits));
                    sink.quad(4 * n + 3, 3, c, s.and(s.shr16::<6>(word), two_bits));
                });
                unrolled!(0 1 2 3, J => {
                    let at = 8 * n + 2 * J + half;
                    sink.finish(4 * n + J, J, half, scales[at], mins[at]);
                });
            }
        }
    }
}

impl Format for Q3K {
    const BLOCK: usize = 256;
    const BYTES: usize = 110;
    const PIECES: &'static [(usize, usize)] =
        &[(96, 12), (108, 2), (32, 16), (0, 16), (48, 16), (16, 16), (64, 32)];
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
        let two_bits = s.splat_i(0x0303_0303);
        let third = s.splat_i(0x0404_0404);
        for n in 0..2 {
            for half in 0..2 {
                let (words, high) =
                    (block.words_when_used(32 + 32 * n + 16 * half), block.words_when_used(16 * half));
                unrolled!(0 1 2 3, C => {
                    let (word, high) = (words.at(C), s.shr_by(high.at(C), 4 * n as u32));
                    let c = 4 * half + C;
                    sink.quad(4 * n, 0, c, join(s, (word, two_bits), (s.shl16::<2>(high), third)));
                    sink.quad(4 * n + 1, 1, c, join(s, (s.shr16::<2>(word), two_bits), (s.shl16::<1>(high), third)));
                    sink.quad(4 * n + 2, 2, c, join(s, (s.shr16::<4>(word), two_bits), (high, third)));
                    sink.quad(4 * n + 3, 3, c, join(s, (s.shr16::<6>(word), two_bits), (s.shr16::<1>(high), third)));
                });
                unrolled!(0 1 2 3, J => {
                    let scale = scales[8 * n + 2 * J + half];
                    sink.finish(4 * n + J, J, half, scale, scale);
                });
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
    const PIECES: &'static [(usize, usize)] = &[(0, 144)];
    const MINS: bool = true;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        let s = block.s;
        let [ds, a, b, c] = block.words(0);
        let (d, dmin) = (s.low_f16(ds), s.sub(s.splat(0.0), s.high_f16(ds)));
        let (scales, mins) = six_bits(s, [a, b, c]);
        unrolled!(0 1 2 3, J => {
            unrolled!(0 1, PART => {
                let words = block.words(16 + 32 * J + 16 * PART);
                unrolled!(0 1 2 3, C => {
                    sink.quad(2 * J, 0, 4 * PART + C, low_nibbles(s, words[C]));
                    sink.quad(2 * J + 1, 1, 4 * PART + C, high_nibbles(s, words[C]));
                });
            });
            let scale = scaled(s, d, scales[J / 2], 2 * (J % 2));
            let min = scaled(s, dmin, mins[J / 2], 2 * (J % 2));
            sink.finish(2 * J, 0, 0, scale[0], min[0]);
            sink.finish(2 * J + 1, 1, 0, scale[1], min[1]);
        });
    }
}

impl Format for Q5K {
    const BLOCK: usize = 256;
    const BYTES: usize = 176;
    const PIECES: &'static [(usize, usize)] = &[(0, 16), (48, 16), (16, 16), (64, 16), (32, 16), (80, 96)];
    const MINS: bool = true;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        let s = block.s;
        let [ds, a, b, c] = block.words(0);
        let (d, dmin) = (s.low_f16(ds), s.sub(s.splat(0.0), s.high_f16(ds)));
        let (scales, mins) = six_bits(s, [a, b, c]);
        let fifth = s.splat_i(0x1010_1010);
        unrolled!(0 1 2 3, J => {
            let shared = block.turn(J, 4);
            unrolled!(0 1, PART => {
                let words = block.words_when_used(48 + 32 * J + 16 * PART);
                let high = shared.words_when_used(16 + 16 * PART);
                unrolled!(0 1 2 3, C => {
                    // Bits 2J and 2J + 1 of each byte, moved to bits 4 and 5.
                    let (word, high) = (words.at(C), high.at(C));
                    let pair = s.and(s.shr_by(high, 2 * J as u32), s.splat_i(0x0303_0303));
                    let bits = s.shl::<4>(pair);
                    let low = s.or(low_nibbles(s, word), s.and(bits, fifth));
                    let high = s.or(high_nibbles(s, word), s.and(s.shr16::<1>(bits), fifth));
                    sink.quad(2 * J, 0, 4 * PART + C, low);
                    sink.quad(2 * J + 1, 1, 4 * PART + C, high);
                });
            });
            let scale = scaled(s, d, scales[J / 2], 2 * (J % 2));
            let min = scaled(s, dmin, mins[J / 2], 2 * (J % 2));
            sink.finish(2 * J, 0, 0, scale[0], min[0]);
            sink.finish(2 * J + 1, 1, 0, scale[1], min[1]);
        });
    }
}

impl Format for Q6K {
    const BLOCK: usize = 256;
    const BYTES: usize = 210;
    const PIECES: &'static [(usize, usize)] = &[
        (192, 16),
        (208, 2),
        (0, 16),
        (32, 16),
        (128, 16),
        (16, 16),
        (48, 16),
        (144, 16),
        (64, 16),
        (96, 16),
        (160, 16),
        (80, 16),
        (112, 16),
        (176, 16),
    ];
    const OFFSET: i32 = 32;
    const HALVES: usize = 2;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        let s = block.s;
        let (words, d) = (block.words(192), block.half(208));
        let (nibble, upper) = (s.splat_i(0x0F0F_0F0F), s.splat_i(0x3030_3030));
        unrolled!(0 1, N => {
            // Four groups share the words of their upper bits; two at a time leave more registers to the sums.
            unrolled!(0 1, PAIR => {
                let block = block.turn(PAIR, 2);
                unrolled!(0 1, HALF => {
                    let first = block.words_when_used(64 * N + 16 * HALF);
                    let second = block.words_when_used(64 * N + 16 * HALF + 32);
                    let high = block.words_when_used(128 + 32 * N + 16 * HALF);
                    unrolled!(0 1 2 3, C => {
                        let of_pair = |word| s.shr_by(word, 4 * PAIR as u32);
                        let (first, second, high) = (of_pair(first.at(C)), of_pair(second.at(C)), of_pair(high.at(C)));
                        let (group, c) = (4 * N + 2 * PAIR, 4 * HALF + C);
                        sink.quad(group, 0, c, join(s, (first, nibble), (s.shl16::<4>(high), upper)));
                        sink.quad(group + 1, 1, c, join(s, (second, nibble), (s.shl16::<2>(high), upper)));
                    });
                    unrolled!(0 1, J => {
                        let scale = s.mul(d, signed_byte(s, words[2 * N + PAIR], 2 * J + HALF));
                        sink.finish(4 * N + 2 * PAIR + J, J, HALF, scale, scale);
                    });
                });
            });
        });
    }
}
