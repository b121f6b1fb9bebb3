//! Q2_K to Q6_K: blocks of 256 values under scales that are small integers times one or two half-precision numbers.
//!
//! In Q2_K, Q3_K and Q6_K groups of 16 have scales of their own; the bits of value `i` of four groups of 32 share a byte. In Q4_K and
//! Q5_K groups of 32 have a scale and a minimum of six bits each, and two groups share bytes.

use super::{Block, Format, Sink, byte, high_nibbles, low_nibbles, moved};
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

/// The low four bits of each byte, or the high ones.
#[inline(always)]
fn nibbles<S: Simd>(s: S, word: S::I, which: usize) -> S::I {
    if which == 0 { low_nibbles(s, word) } else { high_nibbles(s, word) }
}

/// The scale and the minimum of a group of Q4_K and Q5_K, of which eight have a byte each in two words.
#[inline(always)]
fn scaled<S: Simd>(s: S, units: [S::F; 2], words: [[S::I; 2]; 2], group: usize) -> [S::F; 2] {
    let byte = |words: [S::I; 2]| byte(s, words[group / 4], group % 4);
    [s.mul(units[0], byte(words[0])), s.mul(units[1], byte(words[1]))]
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
    const MOST: u8 = 3;
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
        for n in 0..2 {
            unrolled!(0 1, HALF => {
                let block = block.skip(32 * n + 16 * HALF);
                unrolled!(0 1 2 3, J => {
                    let words = block.asking(J == 0).words_when_used(16);
                    unrolled!(0 1 2 3, C => {
                        let bits = s.and(moved(s, words.at(C), 2 * J, 0), s.splat_i(0x0303_0303));
                        sink.quad(4 * n + J, 4 * HALF + C, bits);
                    });
                    let at = 8 * n + 2 * J + HALF;
                    sink.finish(4 * n + J, HALF, scales[at], mins[at]);
                });
            });
        }
    }
}

impl Format for Q3K {
    const BLOCK: usize = 256;
    const BYTES: usize = 110;
    const PIECES: &'static [(usize, usize)] = &[(96, 12), (108, 2), (0, 96)];
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
        unrolled!(0 1, N => {
            unrolled!(0 1, HALF => {
                let (low, high) = (block.skip(32 * N + 16 * HALF), block.skip(16 * HALF));
                unrolled!(0 1 2 3, J => {
                    let (words, high) = (low.asking(J == 0).words_when_used(32), high.asking(N == 0 && J == 2).words_when_used(0));
                    unrolled!(0 1 2 3, C => {
                        let (low, third) = (moved(s, words.at(C), 2 * J, 0), moved(s, high.at(C), 4 * N + J, 2));
                        let bits = join(s, (low, s.splat_i(0x0303_0303)), (third, s.splat_i(0x0404_0404)));
                        sink.quad(4 * N + J, 4 * HALF + C, bits);
                    });
                    let scale = scales[8 * N + 2 * J + HALF];
                    sink.finish(4 * N + J, HALF, scale, scale);
                });
            });
        });
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
    const MOST: u8 = 15;
    const MINS: bool = true;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        let s = block.s;
        let [ds, a, b, c] = block.words(0);
        let (d, dmin) = (s.low_f16(ds), s.sub(s.splat(0.0), s.high_f16(ds)));
        let (scales, mins) = six_bits(s, [a, b, c]);
        unrolled!(0 1 2 3 4 5 6 7, G => {
            unrolled!(0 1, PART => {
                let words = block.asking(G.is_multiple_of(2)).words_when_used(16 + 32 * (G / 2) + 16 * PART);
                unrolled!(0 1 2 3, C => { sink.quad(G, 4 * PART + C, nibbles(s, words.at(C), G % 2)) });
            });
            let [scale, min] = scaled(s, [d, dmin], [scales, mins], G);
            sink.finish(G, 0, scale, min);
        });
    }
}

impl Format for Q5K {
    const BLOCK: usize = 256;
    const BYTES: usize = 176;
    const PIECES: &'static [(usize, usize)] = &[(0, 16), (48, 16), (16, 16), (64, 16), (32, 16), (80, 96)];
    const MOST: u8 = 31;
    const MINS: bool = true;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        let s = block.s;
        let [ds, a, b, c] = block.words(0);
        let (d, dmin) = (s.low_f16(ds), s.sub(s.splat(0.0), s.high_f16(ds)));
        let (scales, mins) = six_bits(s, [a, b, c]);
        unrolled!(0 1 2 3 4 5 6 7, G => {
            unrolled!(0 1, PART => {
                let words = block.asking(G.is_multiple_of(2)).words_when_used(48 + 32 * (G / 2) + 16 * PART);
                let high = block.asking(G == 1 + 2 * PART).words_when_used(16 + 16 * PART);
                unrolled!(0 1 2 3, C => {
                    let (low, fifth) = (nibbles(s, words.at(C), G % 2), moved(s, high.at(C), G, 4));
                    sink.quad(G, 4 * PART + C, s.or(low, s.and(fifth, s.splat_i(0x1010_1010))));
                });
            });
            let [scale, min] = scaled(s, [d, dmin], [scales, mins], G);
            sink.finish(G, 0, scale, min);
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
    const MOST: u8 = 63;
    const OFFSET: i32 = 32;
    const HALVES: usize = 2;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        let s = block.s;
        let d = block.half(208);
        for n in 0..2 {
            let (scales, block) = (block.skip(8 * n), block.skip(96 * n));
            unrolled!(0 1, HALF => {
                unrolled!(0 1 2 3, J => {
                    let words = block.asking(J < 2).words_when_used(16 * HALF + 32 * (J % 2));
                    let high = block.asking(J == 2).words_when_used(16 * HALF + 128);
                    unrolled!(0 1 2 3, C => {
                        let (low, upper) = (nibbles(s, words.at(C), J / 2), moved(s, high.at(C), 2 * J, 4));
                        sink.quad(4 * n + J, 4 * HALF + C, s.or(low, s.and(upper, s.splat_i(0x3030_3030))));
                    });
                    let word = scales.asking(HALF == 0 && J.is_multiple_of(2)).word(192 + 4 * (J / 2));
                    let scale = s.mul(d, signed_byte(s, word, 2 * (J % 2) + HALF));
                    sink.finish(4 * n + J, HALF, scale, scale);
                });
            });
        }
    }
}
