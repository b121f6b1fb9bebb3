//! Quantized weights as the integer products read them: the bytes of the file in another order, so that what sixteen lanes take is one load, and what a
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

use super::formats::{Format, WORD};
use crate::simd::LANES;

/// Packs rows of so many bytes into tiles, which are zeros before: rows, bytes of a row, tiles.
pub(crate) type PackFn = fn(&[u8], usize, &mut [u8]);

/// How many bytes `n` rows of `row_bytes` take in tiles.
pub(crate) fn packed_bytes(n: usize, row_bytes: usize) -> usize {
    n.next_multiple_of(LANES) * row_bytes
}

/// See [`PackFn`].
pub(super) fn pack<Fmt: Format>(rows: &[u8], row_bytes: usize, tiles: &mut [u8]) {
    let tile_bytes = LANES * row_bytes;
    for (rows, tile) in rows.chunks(tile_bytes).zip(tiles.chunks_exact_mut(tile_bytes)) {
        for (i, block) in tile.chunks_exact_mut(LANES * Fmt::BYTES).enumerate() {
            for (lane, row) in rows.chunks_exact(row_bytes).enumerate() {
                pack_block::<Fmt>(&row[i * Fmt::BYTES..], lane, block);
            }
        }
    }
}

/// Puts a row's block where it belongs in the block of its tile.
#[inline(always)]
fn pack_block<Fmt: Format>(row: &[u8], lane: usize, block: &mut [u8]) {
    let (row, block) = (&row[..Fmt::BYTES], &mut block[..LANES * Fmt::BYTES]);
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
