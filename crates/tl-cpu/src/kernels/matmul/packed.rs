//! Quantized weights as the integer products read them: the bits of the file in another order, so that what sixteen lanes take is one load, and what a
//! thread reads is one stream, which processors fetch by themselves.
//!
//! Sixteen rows are a tile. In a tile the blocks follow each other, in a block its pieces in the order in which they are read, and each word of a piece
//! stands there sixteen times, once for each row:
//!
//! ```text
//! tile = [block][word][row]
//! ```
//!
//! A piece of one or two bytes is cut like a word of its own. A tile takes as many bytes as its rows; the last one is filled up with rows of zeros.
//!
//! Where files have bits of several groups of values in one byte, tiles have those of one group (`regroup`): so each word is read once, for its group alone.

#![expect(unsafe_code, reason = "the kernel reads and writes through pointers")]

use std::marker::PhantomData;

use super::formats::{Format, WORD};
use crate::simd::{LANES, Simd, SimdFn};

/// Packs rows of so many bytes into tiles: rows, bytes of a row, tiles. Of the last tile, rows that are not there are left as they are.
pub(crate) type PackFn = fn(&[u8], usize, &mut [u8]);

/// How many bytes `n` rows of `row_bytes` take in tiles.
pub(crate) fn packed_bytes(n: usize, row_bytes: usize) -> usize {
    n.next_multiple_of(LANES) * row_bytes
}

/// See [`PackFn`].
pub(super) struct Pack<'a, Fmt> {
    pub rows: &'a [u8],
    pub row_bytes: usize,
    pub tiles: &'a mut [u8],
    pub format: PhantomData<Fmt>,
}

impl<Fmt: Format> SimdFn for Pack<'_, Fmt> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let (row_bytes, tile_bytes) = (self.row_bytes, LANES * self.row_bytes);
        for (rows, tile) in self.rows.chunks(tile_bytes).zip(self.tiles.chunks_exact_mut(tile_bytes)) {
            for (i, block) in tile.chunks_exact_mut(LANES * Fmt::BYTES).enumerate() {
                if rows.len() == tile_bytes {
                    // SAFETY: There are sixteen rows, each of as many blocks as the tile.
                    unsafe { pack_blocks::<S, Fmt>(s, rows.as_ptr().add(i * Fmt::BYTES), row_bytes, block) };
                } else {
                    for (lane, row) in rows.chunks_exact(row_bytes).enumerate() {
                        pack_block::<Fmt>(&row[i * Fmt::BYTES..][..Fmt::BYTES], lane, block);
                    }
                }
                // SAFETY: The block of the tile has been written, or is zeros.
                unsafe { regroup::<S, Fmt>(s, block) };
            }
        }
    }
}

/// Puts a block of each of sixteen rows where they belong in the block of their tile.
///
/// # Safety
/// The blocks can be read, from `row` on and `row_bytes` apart.
#[inline(always)]
unsafe fn pack_blocks<S: Simd, Fmt: Format>(s: S, row: *const u8, row_bytes: usize, block: &mut [u8]) {
    assert!(block.len() == LANES * Fmt::BYTES, "the block of a tile has sixteen blocks");
    let to = block.as_mut_ptr();
    let mut place = 0;
    for &(offset, bytes) in Fmt::PIECES {
        let mut at = 0;
        // SAFETY: Pieces lie in the block, and together they take as many bytes.
        unsafe {
            while at + 4 * WORD <= bytes {
                for (i, words) in s.load_words(row.add(offset + at), row_bytes).into_iter().enumerate() {
                    s.store_i(to.add((place + at + i * WORD) * LANES).cast(), words);
                }
                at += 4 * WORD;
            }
            while at < bytes {
                let (from, to) = (row.add(offset + at), to.add((place + at) * LANES));
                let width = WORD.min(bytes - at);
                for lane in 0..LANES {
                    let (from, to) = (from.add(lane * row_bytes), to.add(lane * width));
                    match width {
                        1 => to.write(from.read()),
                        2 => to.cast::<u16>().write_unaligned(from.cast::<u16>().read_unaligned()),
                        _ => to.cast::<u32>().write_unaligned(from.cast::<u32>().read_unaligned()),
                    }
                }
                at += width;
            }
        }
        place += bytes;
    }
}

/// Puts the block of a row where it belongs in the block of its tile.
fn pack_block<Fmt: Format>(row: &[u8], lane: usize, block: &mut [u8]) {
    let mut place = 0;
    for &(offset, bytes) in Fmt::PIECES {
        let width = bytes.min(WORD);
        for at in (0..bytes).step_by(width) {
            let to = (place + at) * LANES + lane * width;
            block[to..to + width].copy_from_slice(&row[offset + at..offset + at + width]);
        }
        place += bytes;
    }
}

/// Brings bits of the same group together, in the words of a tile's block.
///
/// # Safety
/// The block has all bytes of sixteen blocks.
#[inline(always)]
unsafe fn regroup<S: Simd, Fmt: Format>(s: S, block: &mut [u8]) {
    assert!(block.len() == LANES * Fmt::BYTES, "the block of a tile has sixteen blocks");
    let start = block.as_mut_ptr();
    let word = |offset: usize| start.wrapping_add(usize::from(Fmt::PLACES[offset]) * LANES);
    for &(offset, bits) in Fmt::PLANES {
        let mut words = [s.splat_i(0); 8];
        for (i, to) in words.iter_mut().enumerate() {
            // SAFETY: Planes are words of the block.
            *to = unsafe { s.load_i(word(offset + WORD * i).cast()) };
        }
        for (i, words) in by_groups(s, words, bits).into_iter().enumerate() {
            // SAFETY: As above.
            unsafe { s.store_i(word(offset + WORD * i).cast(), words) };
        }
    }
    if let Some(offset) = Fmt::BITS {
        // SAFETY: The word is one of the block, sixteen times.
        let bits = unsafe { std::slice::from_raw_parts_mut(word(offset).cast::<[u8; WORD]>(), LANES) };
        bits.iter_mut().for_each(|bits| *bits = by_quads(u32::from_le_bytes(*bits)).to_le_bytes());
    }
}

/// A plane by groups: each byte of its eight words has `bits` bits of each of `8 / bits` groups, and each word that comes out `8 / bits` quads of a group.
/// The groups follow each other.
#[inline(always)]
fn by_groups<S: Simd>(s: S, words: [S::I; 8], bits: usize) -> [S::I; 8] {
    let (per_word, mask) = (8 / bits, s.splat_i(0x0101_0101 * ((1 << bits) - 1)));
    let mut out = [s.splat_i(0); 8];
    for (i, out) in out.iter_mut().enumerate() {
        let (group, first) = (i / bits, i % bits * per_word);
        for word in words[first..first + per_word].iter().rev() {
            let quad = s.and(s.shr_by(*word, (bits * group) as u32), mask);
            let before = match bits {
                1 => s.shl::<1>(*out),
                2 => s.shl::<2>(*out),
                _ => s.shl::<4>(*out),
            };
            *out = s.or(before, quad);
        }
    }
    out
}

/// Bits of 32 values by quads: that of value `4c + i` is bit `c` of byte `i`.
#[inline(always)]
fn by_quads(bits: u32) -> u32 {
    let byte = |i: u32| {
        // Every fourth bit, brought together by twos, fours and eights.
        let bits = bits >> i & 0x1111_1111;
        let bits = (bits | bits >> 3) & 0x0303_0303;
        let bits = (bits | bits >> 6) & 0x000F_000F;
        (bits | bits >> 12) & 0xFF
    };
    byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::matmul::formats::{iq4, k_quants, mxfp4, q4, q5, q8};
    use crate::simd::portable::Portable;

    /// Whole tiles and some rows more, against each block put where it belongs by itself.
    fn check<S: Simd, Fmt: Format>(s: S) {
        let (n, blocks) = (2 * LANES + 3, 3);
        let row_bytes = blocks * Fmt::BYTES;
        let rows: Vec<u8> = (0..n * row_bytes).map(|i| ((i * 131) >> 3) as u8).collect();
        let mut expected = vec![0; packed_bytes(n, row_bytes)];
        for (row, bytes) in rows.chunks(row_bytes).enumerate() {
            let tile = &mut expected[row / LANES * LANES * row_bytes..][..LANES * row_bytes];
            let blocks = tile.chunks_mut(LANES * Fmt::BYTES).zip(bytes.chunks(Fmt::BYTES));
            blocks.for_each(|(to, from)| pack_block::<Fmt>(from, row % LANES, to));
        }
        // SAFETY: These are the blocks of tiles.
        expected
            .chunks_mut(LANES * Fmt::BYTES)
            .for_each(|block| unsafe { regroup::<_, Fmt>(Portable, block) });
        let mut tiles = vec![0; expected.len()];
        s.vectorize(Pack { rows: &rows, row_bytes, tiles: &mut tiles, format: PhantomData::<Fmt> });
        assert!(tiles == expected, "{} bytes a block, {}", Fmt::BYTES, S::NAME);
    }

    fn check_all<S: Simd>(s: Option<S>) {
        let Some(s) = s else { return };
        check::<S, q4::Q4_0>(s);
        check::<S, q4::Q4_1>(s);
        check::<S, q5::Q5_0>(s);
        check::<S, q5::Q5_1>(s);
        check::<S, q8::Q8_0>(s);
        check::<S, k_quants::Q2K>(s);
        check::<S, k_quants::Q3K>(s);
        check::<S, k_quants::Q4K>(s);
        check::<S, k_quants::Q5K>(s);
        check::<S, k_quants::Q6K>(s);
        check::<S, iq4::Iq4Nl>(s);
        check::<S, iq4::Iq4Xs>(s);
        check::<S, mxfp4::Mxfp4>(s);
    }

    /// Every bit of words without a pattern, by the formula.
    #[test]
    fn planes_are_cut_by_groups_and_bits_by_quads() {
        for bits in [1, 2, 4] {
            let words: [u32; 8] = std::array::from_fn(|i| 0x9E37_79B9u32.wrapping_mul(i as u32 + 1));
            let grouped = by_groups(Portable, words.map(|word| [word as i32; LANES]), bits);
            for (quad, byte, group) in
                (0..8).flat_map(|q| (0..4).flat_map(move |b| (0..8 / bits).map(move |g| (q, b, g))))
            {
                let mask = (1 << bits) - 1;
                let expected = words[quad] >> (8 * byte + bits * group) & mask;
                let (word, place) = (group * bits + quad * bits / 8, quad % (8 / bits) * bits);
                let got = grouped[word][quad] as u32 >> (8 * byte + place) & mask;
                assert_eq!(got, expected, "{bits} bits: quad {quad}, byte {byte}, group {group}");
            }
        }
        for value in 0..32 {
            assert_eq!(by_quads(1 << value), 1 << (8 * (value % 4) + value / 4), "the bit of value {value}");
        }
    }

    #[test]
    fn tiles_hold_each_word_of_each_row_where_it_belongs() {
        check_all(Portable::detect());
        #[cfg(target_arch = "x86_64")]
        {
            check_all(crate::simd::avx2::Avx2::detect());
            check_all(crate::simd::avx512::Avx512::detect());
        }
    }
}
