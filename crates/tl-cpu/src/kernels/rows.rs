//! Products of vectors with a block of rows: the scores of attention, and its sums of values.
//!
//! Several queries meet the same rows, so tiles of queries share what is loaded. A tile only decides what stays in registers: every number is
//! one chain of multiply-adds whatever its tile. The first tile of a block asks for a block that comes later, line by line as it reads its own.

#![expect(unsafe_code, reason = "rows are addressed through pointers")]
#![expect(clippy::needless_range_loop, reason = "counted loops over constants keep the arrays in registers")]

use std::mem::MaybeUninit;

use crate::simd::{LANES, Simd, prefetch};

/// Positions whose keys or values are used for all queries before the next ones are; a page has a multiple.
pub(super) const BLOCK: usize = 8;

/// Rows of whole vectors, or of scores.
#[derive(Clone, Copy)]
pub(super) struct Matrix<T> {
    pub data: T,
    /// Elements between rows.
    pub stride: usize,
}

/// `to[i][t] = q[i] · k[t]` for so many queries and rows.
#[derive(Clone, Copy)]
pub(super) struct Dots {
    pub queries: Matrix<*const f32>,
    pub keys: Matrix<*const f32>,
    /// Vectors of a query and of a row.
    pub vectors: usize,
    /// Rows, at most [`BLOCK`].
    pub count: usize,
    /// As much memory as these rows take, which is needed later.
    pub next: Option<*const f32>,
    pub to: Matrix<*mut f32>,
}

/// `to[i] += Σ_t weights[i][t] · values[t]` for so many queries and rows.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub weights: Matrix<*const f32>,
    pub values: Matrix<*const f32>,
    /// Vectors of a row and of a sum.
    pub vectors: usize,
    pub count: usize,
    /// As much memory as these rows take, which is needed later.
    pub next: Option<*const f32>,
    pub to: Matrix<*mut f32>,
}

impl<T> Matrix<T> {
    /// The element before which `rows` rows and `columns` elements stand.
    #[inline(always)]
    fn offset(&self, row: usize, column: usize) -> usize {
        row * self.stride + column
    }
}

/// Asks for a line of what is needed later.
#[inline(always)]
fn ask(next: Option<*const f32>, offset: usize) {
    if let Some(next) = next {
        prefetch(next.wrapping_add(offset).cast());
    }
}

impl Dots {
    /// # Safety
    /// The pointers are to the rows of `queries` queries, to `count` rows and to so many results for each query.
    #[inline(always)]
    pub unsafe fn run<S: Simd>(mut self, s: S, queries: usize) {
        let mut query = 0;
        while query < queries {
            // SAFETY: The caller vouches for the rows.
            query += unsafe {
                match queries - query {
                    _ if self.count < BLOCK => self.one(s, query),
                    3.. if S::TILE_ROWS >= 8 => self.tile::<S, 3, BLOCK>(s, query),
                    2.. if S::TILE_ROWS >= 8 => self.tile::<S, 2, BLOCK>(s, query),
                    _ if S::TILE_ROWS >= 8 => self.tile::<S, 1, BLOCK>(s, query),
                    3.. => self.tile::<S, 3, 2>(s, query),
                    2.. => self.tile::<S, 2, 2>(s, query),
                    _ => self.tile::<S, 1, 4>(s, query),
                }
            };
            self.next = None;
        }
    }

    /// A whole block for `Q` queries, `T` positions at a time; gives `Q`.
    ///
    /// # Safety
    /// As for [`Dots::run`].
    #[inline(always)]
    unsafe fn tile<S: Simd, const Q: usize, const T: usize>(&self, s: S, query: usize) -> usize {
        let mut folded = [[MaybeUninit::<S::H>::uninit(); BLOCK]; Q];
        // SAFETY: The caller vouches for the rows.
        unsafe {
            for first in (0..BLOCK).step_by(T) {
                let mut acc = [[s.splat(0.0); T]; Q];
                for c in (0..self.vectors * LANES).step_by(LANES) {
                    let mut q = [s.splat(0.0); Q];
                    for i in 0..Q {
                        q[i] = s.load(self.queries.data.add(self.queries.offset(query + i, c)));
                    }
                    for t in 0..T {
                        ask(self.next, c * BLOCK + (first + t) * LANES);
                        let key = s.load(self.keys.data.add(self.keys.offset(first + t, c)));
                        for i in 0..Q {
                            acc[i][t] = s.fma(q[i], key, acc[i][t]);
                        }
                    }
                }
                for i in 0..Q {
                    for t in 0..T {
                        folded[i][first + t].write(s.fold(acc[i][t]));
                    }
                }
            }
            for i in 0..Q {
                let to = self.to.data.add(self.to.offset(query + i, 0));
                // All are written, for `T` divides `BLOCK`.
                let folded = folded[i].map(|half| half.assume_init());
                to.cast::<[f32; BLOCK]>().write_unaligned(s.sum8(folded));
            }
        }
        Q
    }

    /// Fewer rows than a block for one query; gives 1.
    ///
    /// # Safety
    /// As for [`Dots::run`].
    #[inline(always)]
    unsafe fn one<S: Simd>(&self, s: S, query: usize) -> usize {
        // SAFETY: The caller vouches for the rows.
        unsafe {
            for t in 0..self.count {
                let mut acc = s.splat(0.0);
                for c in (0..self.vectors * LANES).step_by(LANES) {
                    let q = s.load(self.queries.data.add(self.queries.offset(query, c)));
                    acc = s.fma(q, s.load(self.keys.data.add(self.keys.offset(t, c))), acc);
                }
                *self.to.data.add(self.to.offset(query, t)) = s.sum(acc);
            }
        }
        1
    }
}

impl Sums {
    /// # Safety
    /// The pointers are to the weights and the sums of `queries` queries and to `count` rows.
    #[inline(always)]
    pub unsafe fn run<S: Simd>(mut self, s: S, queries: usize) {
        let mut query = 0;
        while query < queries {
            // SAFETY: The caller vouches for the rows.
            query += unsafe {
                match queries - query {
                    6.. if S::TILE_ROWS >= 8 => self.rows::<S, 6, 4>(s, query),
                    3.. if S::TILE_ROWS >= 8 => self.rows::<S, 3, 4>(s, query),
                    2.. if S::TILE_ROWS >= 8 => self.rows::<S, 2, 4>(s, query),
                    6.. => self.rows::<S, 6, 1>(s, query),
                    3.. => self.rows::<S, 3, 1>(s, query),
                    2.. => self.rows::<S, 2, 2>(s, query),
                    _ => self.rows::<S, 1, 4>(s, query),
                }
            };
            self.next = None;
        }
    }

    /// Whole rows for `Q` queries, `N` vectors at a time; gives `Q`.
    ///
    /// # Safety
    /// As for [`Sums::run`].
    #[inline(always)]
    unsafe fn rows<S: Simd, const Q: usize, const N: usize>(&self, s: S, query: usize) -> usize {
        let mut vector = 0;
        while vector < self.vectors {
            // SAFETY: The caller vouches for the rows.
            vector += unsafe {
                if self.vectors - vector >= N {
                    self.tile::<S, Q, N>(s, query, vector)
                } else {
                    self.tile::<S, Q, 1>(s, query, vector)
                }
            };
        }
        Q
    }

    /// `N` vectors for `Q` queries; gives `N`.
    ///
    /// # Safety
    /// As for [`Sums::run`].
    #[inline(always)]
    unsafe fn tile<S: Simd, const Q: usize, const N: usize>(
        &self,
        s: S,
        query: usize,
        vector: usize,
    ) -> usize {
        let mut acc = [[s.splat(0.0); N]; Q];
        // SAFETY: The caller vouches for the pointers.
        unsafe {
            let to = |i: usize, v: usize| self.to.data.add(self.to.offset(query + i, (vector + v) * LANES));
            for i in 0..Q {
                for v in 0..N {
                    acc[i][v] = s.load(to(i, v));
                }
            }
            for t in 0..self.count {
                for v in 0..N {
                    ask(self.next, (vector * self.count + t * N + v) * LANES);
                }
                let mut value = [s.splat(0.0); N];
                for v in 0..N {
                    value[v] = s.load(self.values.data.add(self.values.offset(t, (vector + v) * LANES)));
                }
                for i in 0..Q {
                    let weight = s.splat(*self.weights.data.add(self.weights.offset(query + i, t)));
                    for v in 0..N {
                        acc[i][v] = s.fma(weight, value[v], acc[i][v]);
                    }
                }
            }
            for i in 0..Q {
                for v in 0..N {
                    s.store(to(i, v), acc[i][v]);
                }
            }
        }
        N
    }
}
