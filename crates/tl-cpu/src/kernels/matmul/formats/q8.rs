//! Q8_0: 32 signed bytes.

use super::{Block, Format, Sink};
use crate::simd::Simd;

/// `scale: f16, values: [i8; 32]`, value = scale · byte.
#[derive(Clone, Copy)]
pub(crate) struct Q8_0;

impl Format for Q8_0 {
    const BLOCK: usize = 32;
    const BYTES: usize = 34;
    const PIECES: &'static [(usize, usize)] = &[(2, 32), (0, 2)];
    const SIGNED: bool = true;
    const IS_CUT: bool = true;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        unrolled!(0 1, PART => {
            let words = block.words(2 + 16 * PART);
            unrolled!(0 1 2 3, C => { sink.quad(0, 4 * PART + C, words[C]) });
        });
        let scale = block.half(0);
        sink.finish(0, 0, scale, scale);
    }
}
