//! What the processor and its memory allow: the bounds that measurements are held against.
//!
//! Reading is measured over more memory than any cache holds, arithmetic on registers alone, both on all threads of a pool. A figure is the best of
//! several short measurements, since other programs only ever slow one down.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::aligned::Aligned;
use crate::dispatch::{Isa, Kernels};
use crate::pool::Pool;
use crate::simd::{AHEAD, LANES, Simd, SimdFn, prefetch};

/// The bounds of a machine for some threads.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that are read from memory in a second.
    pub read: f64,
    /// Operations on `f32` in a second; a multiply-add is two.
    pub float: f64,
    /// Operations on 16-bit integers in a second, a multiply-add being two. Words that meet bytes, in two products of bytes each, are as fast.
    pub integer: f64,
}

/// Bytes that no cache holds.
const COLD: usize = 256 << 20;
/// Bytes of one measurement.
const SLICE: usize = 32 << 20;
/// Measurements of arithmetic.
const TIMES: usize = 20;
/// Rounds of one of them.
const ROUNDS: usize = 20_000;

impl Limits {
    /// Measures the machine, in about a second.
    pub fn measure(pool: &Pool, isa: Isa) -> Limits {
        let kernels = Kernels::new(isa).expect("the instruction set was found on this processor");
        // Each vector of 16 lanes makes 16 multiply-adds, or 32 of pairs.
        let float = rate(pool, |rounds| (kernels.chains)(rounds, false)) * 32.0;
        let integer = rate(pool, |rounds| (kernels.chains)(rounds, true)) * 64.0;
        Limits { read: read(pool), float, integer }
    }
}

/// Vectors that all threads work on in a second.
fn rate(pool: &Pool, chains: impl Fn(usize) -> usize + Sync) -> f64 {
    let vectors = AtomicUsize::new(0);
    let once = || {
        vectors.store(0, Ordering::Relaxed);
        let start = Instant::now();
        pool.run(pool.threads(), &|_, _| _ = vectors.fetch_add(chains(black_box(ROUNDS)), Ordering::Relaxed));
        vectors.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
    };
    (0..TIMES).map(|_| once()).fold(0.0, f64::max)
}

/// Bytes that all threads read in a second, from where kernels read large weights: huge pages, if there are any, asked for ahead or not.
fn read(pool: &Pool) -> f64 {
    let mut data = Aligned::<i32>::zeros(COLD / size_of::<i32>());
    data.fill(1);
    let parts = 4 * pool.threads();
    let slices = data.chunks_exact(SLICE / size_of::<i32>()).cycle().take(4 * COLD / SLICE);
    let once = |slice: &[i32], ahead: usize| {
        let start = Instant::now();
        pool.run(parts, &|part, _| {
            let words = &slice[slice.len() / parts * part..][..slice.len() / parts];
            black_box(words.chunks_exact(LANES).fold([0; LANES], |sums, line| {
                prefetch(line.as_ptr().cast::<u8>().wrapping_add(ahead));
                std::array::from_fn(|i| sums[i] | line[i])
            }));
        });
        start.elapsed().as_secs_f64()
    };
    let best = slices
        .zip([0, AHEAD].into_iter().cycle())
        .map(|(slice, ahead)| once(slice, ahead))
        .fold(f64::INFINITY, f64::min);
    SLICE as f64 / best
}

/// Multiply-adds in registers, in enough chains to hide their latency; gives how many vectors it took.
struct Chains {
    rounds: usize,
    integers: bool,
}

impl SimdFn for Chains {
    type Output = usize;

    #[inline(always)]
    fn call<S: Simd>(self, s: S) -> usize {
        // As many as the registers hold: 32 of a whole vector, or 16 of half of one.
        match (S::TILE_ROWS > 4, self.integers) {
            (true, false) => floats::<S, 12>(s, self.rounds),
            (false, false) => floats::<S, 6>(s, self.rounds),
            (true, true) => integers::<S, 12>(s, self.rounds),
            (false, true) => integers::<S, 6>(s, self.rounds),
        }
    }
}

#[inline(always)]
fn floats<S: Simd, const N: usize>(s: S, rounds: usize) -> usize {
    let (x, y) = (s.splat(black_box(1.0)), s.splat(black_box(1e-9)));
    let mut chains = [s.splat(1.0); N];
    for _ in 0..rounds {
        // No closure: one would not be compiled for the instruction set.
        for chain in &mut chains {
            *chain = s.fma(*chain, x, y);
        }
    }
    for chain in chains {
        black_box(s.sum(chain));
    }
    N * rounds
}

#[inline(always)]
fn integers<S: Simd, const N: usize>(s: S, rounds: usize) -> usize {
    let (x, y) = (s.splat_i(black_box(1)), s.splat_i(black_box(3)));
    let mut chains = [s.splat_i(0); N];
    for _ in 0..rounds {
        for chain in &mut chains {
            // The product is of the chain: another would be the same each time, and be computed once.
            *chain = s.dot_pairs(x, *chain, y);
        }
    }
    for chain in chains {
        black_box(s.sum(s.to_f32(chain)));
    }
    N * rounds
}

#[expect(unsafe_code, reason = "an entry of the table of function pointers")]
pub(crate) fn run_chains<S: Simd>(rounds: usize, integers: bool) -> usize {
    // SAFETY: The table that this is an entry of was made from a token.
    unsafe { S::assume() }.vectorize(Chains { rounds, integers })
}
