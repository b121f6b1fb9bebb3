//! Attention of some rows' queries over stored keys and values, of one head or of several.
//!
//! Positions are taken in chunks of [`CHUNK`], cut at fixed places, and each chunk gives for each query
//!
//! ```text
//! m = max_t s_t        l = Σ_t exp(s_t − m)        a = Σ_t exp(s_t − m) v_t        s_t = map(q · k_t)
//! ```
//!
//! which is joined to what came before: with `M = max(m, m')`, everything is scaled by `exp(m − M)` and added. The result is
//! `a / l`. What a chunk gives, and the order of joining, depends on the row's own position only: any number of rows, of threads and
//! of chunks at a time gives the same bits.
//!
//! Within a chunk, eight positions at a time are taken for all queries, so that keys and values come from the first cache; values that several rows
//! read all of are one run, whose sums stay in registers from its beginning to its end. Few rows are bound by memory and take all heads together: then
//! a page is read from its beginning to its end.

#![expect(unsafe_code, reason = "stores and buffers are addressed through pointers")]

use std::ops::Range;
use std::slice;

use tl_exec::kernel::{Attention, Reg, StoredRows};
use tl_exec::state::Store;
use tl_tensor::DType;

use super::math;
use super::reduce::{exp_below, largest};
use super::rows::{BLOCK, Dots, Matrix, Sums};
use super::tape::{Buffers, Place, Registers, RunTape, Window};
use crate::aligned::Aligned;
use crate::simd::{LANES, Simd, SimdFn};

/// Positions that are taken together.
pub(crate) const CHUNK: usize = 64;
/// How many positions ahead of those that one row reads keys and values are asked for.
const AHEAD: usize = 2 * BLOCK;
/// Scores of a query: a chunk, and room for the rest of its last vector.
const SCORES: usize = CHUNK + LANES;

/// What the queries of some heads over one range of positions give.
pub(crate) struct Attend<'a> {
    pub attention: &'a Attention,
    pub buffers: Buffers<'a>,
    /// The rows, as they are counted in the buffers, and the position of the first.
    pub rows: Range<usize>,
    pub position: usize,
    pub heads: Range<usize>,
    /// The chunks that are looked at, counted from position 0.
    pub chunks: Range<usize>,
    pub keys: &'a Store,
    pub values: &'a Store,
    pub window: &'a Window,
    pub memory: &'a mut Memory,
    /// Where the results go: to the output, or to this place as `[row][head][query]` partial results.
    pub partial: Option<*mut f32>,
}

/// The stored keys, or the stored values.
#[derive(Clone, Copy)]
struct Stored<'a> {
    store: &'a Store,
    at: &'a StoredRows,
    /// Elements of a head.
    width: usize,
}

/// Memory of one worker.
#[derive(Default)]
pub(crate) struct Memory {
    /// `[query][key_width]`, padded to whole vectors with zeros.
    queries: Aligned<f32>,
    /// `[query][SCORES]`: scores, then weights.
    scores: Aligned<f32>,
    /// `[query][partial]`: of the chunk, and of all chunks so far.
    chunk: Aligned<f32>,
    total: Aligned<f32>,
    /// Of each row, the positions of the chunk that it reads.
    parts: Vec<Range<usize>>,
    /// A row of keys or values whose elements do not lie side by side, or is not whole vectors.
    rows: Aligned<f32>,
    pub registers: Registers,
}

impl Memory {
    /// Makes room for so many queries at a time.
    pub fn reserve(&mut self, attention: &Attention, queries: usize) {
        let widest = padded(attention.key_width).max(padded(attention.value_width));
        self.queries.grow(queries * padded(attention.key_width));
        self.scores.grow(queries * SCORES);
        self.chunk.grow(queries * partial_len(attention));
        self.total.grow(queries * partial_len(attention));
        self.rows.grow(CHUNK * widest);
        self.parts.reserve(queries);
        if let Some(map) = &attention.map {
            self.registers.reserve(&map.tape, CHUNK);
        }
    }
}

fn padded(width: usize) -> usize {
    width.next_multiple_of(LANES)
}

/// Elements of the partial result of one query: the sums of the values, then `m`, `l`.
pub(crate) fn partial_len(attention: &Attention) -> usize {
    padded(attention.value_width) + LANES
}

/// The positions that a row reads.
pub(crate) fn span(attention: &Attention, position: usize) -> Range<usize> {
    let position = position as i64;
    let first = attention.window.0.map_or(0, |lo| (position + lo).max(0));
    let last = (position + attention.window.1 + 1).max(first);
    first as usize..last as usize
}

/// The chunks that any of these rows reads.
pub(crate) fn chunks(attention: &Attention, positions: Range<usize>) -> Range<usize> {
    if positions.is_empty() {
        return 0..0;
    }
    let (first, last) = (span(attention, positions.start), span(attention, positions.end - 1));
    first.start / CHUNK..last.end.div_ceil(CHUNK)
}

impl SimdFn for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(mut self, s: S) {
        let queries = self.queries();
        let len = partial_len(self.attention);
        // SAFETY: The executor made room for these rows, and the plan's accesses stay inside of their buffers.
        unsafe {
            self.load_queries();
            for total in self.memory.total[..queries * len].chunks_exact_mut(len) {
                total.fill(0.0);
                total[len - LANES] = f32::NEG_INFINITY;
            }
            for chunk in self.chunks.clone() {
                let chunk = chunk * CHUNK..(chunk + 1) * CHUNK;
                self.find_parts(&chunk);
                self.score(s, chunk.clone());
                self.weigh(s, chunk.clone());
                self.add_values(s, chunk.clone());
                for query in 0..queries {
                    let range = query * len..(query + 1) * len;
                    join(s, &mut self.memory.total[range.clone()], &self.memory.chunk[range]);
                }
            }
            match self.partial {
                Some(to) => to.copy_from_nonoverlapping(self.memory.total.as_ptr(), queries * len),
                None => self.finish(),
            }
        }
    }
}

impl<'a> Attend<'a> {
    /// How many queries there are in all.
    fn queries(&self) -> usize {
        self.rows.len() * self.heads.len() * self.attention.queries
    }

    /// The row, head and query of that number.
    fn at(&self, query: usize) -> [usize; 3] {
        let (row_and_head, query) = (query / self.attention.queries, query % self.attention.queries);
        let (row, head) = (row_and_head / self.heads.len(), row_and_head % self.heads.len());
        [self.rows.start + row, self.heads.start + head, query]
    }

    /// The numbers of the queries of a row and head, both counted from the first.
    #[inline(always)]
    fn queries_of(&self, row: usize, head: usize) -> Range<usize> {
        let first = (row * self.heads.len() + head) * self.attention.queries;
        first..first + self.attention.queries
    }

    /// Finds the part of the chunk that the queries of each row read.
    fn find_parts(&mut self, chunk: &Range<usize>) {
        let (attention, first) = (self.attention, self.position);
        self.memory.parts.clear();
        self.memory.parts.extend((first..first + self.rows.len()).map(|position| {
            let span = span(attention, position);
            let start = span.start.max(chunk.start);
            start..span.end.min(chunk.end).max(start)
        }));
    }

    unsafe fn load_queries(&mut self) {
        let width = self.attention.key_width;
        let access = &self.attention.query;
        let step = self.window.step(access.inner);
        for query in 0..self.queries() {
            let from = self.buffers.start(access.buffer).wrapping_add(self.window.element(
                access,
                &self.at(query),
                0,
            ));
            let to = &mut self.memory.queries[query * padded(width)..][..padded(width)];
            let (to, rest) = to.split_at_mut(width);
            rest.fill(0.0);
            // SAFETY: The access is inside of its buffer, of which nobody writes this place.
            unsafe {
                if step == 1 {
                    to.copy_from_slice(slice::from_raw_parts(from, width));
                } else {
                    for (c, to) in to.iter_mut().enumerate() {
                        *to = *from.wrapping_add(c * step);
                    }
                }
            }
        }
    }

    /// What is needed [`AHEAD`] positions after a block, one of those that hold the positions `all` of the chunk: a later row of the same store or, behind the last of them, one of
    /// `after`. Nothing for several rows, which compute so much with each position that memory is no matter.
    #[inline(always)]
    fn ahead(
        &self,
        stored: Stored<'_>,
        block: usize,
        all: &Range<usize>,
        (after, start): (Stored<'_>, usize),
    ) -> Option<*const f32> {
        if self.rows.len() > 1 {
            return None;
        }
        let at = block + AHEAD;
        if at < all.end {
            return stored.row(at);
        }
        after.row(start + (at - all.end.next_multiple_of(BLOCK)))
    }

    /// The rows that read any of these positions: they follow each other, for spans begin and end in the order of their rows.
    fn readers(&self, part: &Range<usize>) -> Range<usize> {
        let reads = |own: &Range<usize>| own.start < part.end && own.end > part.start && !own.is_empty();
        let parts = &self.memory.parts;
        let first = parts.iter().position(reads).unwrap_or(parts.len());
        first..parts.iter().rposition(reads).map_or(first, |last| last + 1)
    }

    /// Takes the first of the rows, and those after it of which `what` is the same and whose queries of the head follow; gives these queries.
    #[inline(always)]
    fn next_queries<T: PartialEq>(
        &self,
        rows: &mut Range<usize>,
        head: usize,
        what: impl Fn(usize) -> T,
    ) -> Option<Range<usize>> {
        let first = rows.next()?;
        let mut queries = self.queries_of(first, head);
        while self.heads.len() == 1 && rows.start < rows.end && what(rows.start) == what(first) {
            queries.end += self.attention.queries;
            rows.start += 1;
        }
        Some(queries)
    }

    /// The positions that at least one query reads.
    fn union(&self) -> Range<usize> {
        let parts = &self.memory.parts;
        let (first, last) = (&parts[0], &parts[parts.len() - 1]);
        first.start.min(last.start)..first.end.max(last.end)
    }

    /// The positions of the chunk that several rows read all of; none where there is one row, which is bound by memory.
    fn common(&self) -> Range<usize> {
        match &self.memory.parts[..] {
            [first, .., last] => last.start..first.end,
            _ => 0..0,
        }
    }

    fn stored_keys(&self) -> Stored<'a> {
        Stored { store: self.keys, at: &self.attention.key, width: self.attention.key_width }
    }

    fn stored_values(&self) -> Stored<'a> {
        Stored { store: self.values, at: &self.attention.value, width: self.attention.value_width }
    }

    /// `scores[query][t] = q · k[t]` for the positions that a query reads; the others hold anything.
    #[inline(always)]
    unsafe fn score<S: Simd>(&mut self, s: S, chunk: Range<usize>) {
        let all = self.union();
        let stored = self.stored_keys();
        let vectors = padded(self.attention.key_width) / LANES;
        let mut block = all.start / BLOCK * BLOCK;
        while block < all.end {
            let part = block.max(all.start)..all.end.min(block + BLOCK);
            // The values of the chunk come after its keys.
            let next = self.ahead(stored, block, &all, (self.stored_values(), all.start));
            let plain = stored.store.rows_from(part.start);
            for head in 0..self.heads.len() {
                let keys =
                    stored.rows(s, plain, part.clone(), self.heads.start + head, &mut self.memory.rows);
                let mut rows = self.readers(&part);
                while let Some(queries) = self.next_queries(&mut rows, head, |_| ()) {
                    let q = self.memory.queries[queries.start * vectors * LANES..].as_ptr();
                    let to =
                        self.memory.scores[queries.start * SCORES + part.start - chunk.start..].as_mut_ptr();
                    let dots = Dots {
                        queries: Matrix { data: q, stride: vectors * LANES },
                        keys,
                        vectors,
                        count: part.len(),
                        next: next.map(|next| next.wrapping_add(head * BLOCK * stored.width)),
                        to: Matrix { data: to, stride: SCORES },
                    };
                    // SAFETY: The rows of `part` stand at `keys`, and the scores have room for them.
                    unsafe { dots.run(s, queries.len()) };
                }
            }
            block += BLOCK;
        }
    }

    /// Scores become weights `exp(s − m)`, with `m` and `l` in the chunk's partial result.
    #[inline(always)]
    unsafe fn weigh<S: Simd>(&mut self, s: S, chunk: Range<usize>) {
        let len = partial_len(self.attention);
        for query in 0..self.queries() {
            let part = self.memory.parts[query / (self.heads.len() * self.attention.queries)].clone();
            let scores = self.memory.scores[query * SCORES + part.start - chunk.start..].as_mut_ptr();
            let mut from = scores.cast_const();
            if let (Some(map), false) = (&self.attention.map, part.is_empty()) {
                self.memory.registers.preset(0, scores);
                let at = self.at(query);
                let place = Place {
                    at: &at,
                    base: &[0; 3],
                    from: 0,
                    len: part.len(),
                    number: part.start,
                    goes_on: false,
                    window: self.window,
                };
                let registers = &mut self.memory.registers;
                s.vectorize(RunTape { tape: &map.tape, buffers: self.buffers, registers, place });
                from = registers.values(map.result);
                if let Reg::Scalar(_) = map.result {
                    for i in 0..part.len() {
                        // SAFETY: The scores have room for the part, and a scalar register has a value.
                        unsafe { *scores.add(i) = *from };
                    }
                    from = scores;
                }
            }
            let partial = &mut self.memory.chunk[query * len..(query + 1) * len];
            // SAFETY: There are as many scores as the part is long. The last vector of weights may reach
            // beyond the part, for which there is room.
            unsafe {
                let m = largest(s, from, part.len());
                partial[len - LANES] = m;
                partial[len - LANES + 1] = exp_below(s, from, scores, part.len(), m);
            }
        }
    }

    /// The chunk's `a`.
    #[inline(always)]
    unsafe fn add_values<S: Simd>(&mut self, s: S, chunk: Range<usize>) {
        let (all, common) = (self.union(), self.common());
        let stored = self.stored_values();
        let width = padded(self.attention.value_width);
        let len = partial_len(self.attention);
        for query in 0..self.queries() {
            self.memory.chunk[query * len..][..width].fill(0.0);
        }
        let mut at = all.start;
        while at < all.end {
            let block = at / BLOCK * BLOCK;
            let part = if common.contains(&at) {
                common.clone()
            } else {
                let end = all.end.min(block + BLOCK);
                at..if at < common.start { end.min(common.start) } else { end }
            };
            // The keys of the next chunk come after the values of this one.
            let next = self.ahead(stored, block, &all, (self.stored_keys(), chunk.end));
            let plain = stored.store.rows_from(part.start);
            for head in 0..self.heads.len() {
                let values =
                    stored.rows(s, plain, part.clone(), self.heads.start + head, &mut self.memory.rows);
                let mut rows = self.readers(&part);
                while let Some(first) = rows.clone().next() {
                    let read = |row: usize| {
                        let own = &self.memory.parts[row];
                        own.start.max(part.start)..own.end.min(part.end)
                    };
                    let t = read(first);
                    let Some(queries) = self.next_queries(&mut rows, head, read) else { break };
                    let weights =
                        self.memory.scores[queries.start * SCORES + t.start - chunk.start..].as_ptr();
                    let to = self.memory.chunk[queries.start * len..].as_mut_ptr();
                    let sums = Sums {
                        weights: Matrix { data: weights, stride: SCORES },
                        values: Matrix {
                            data: values.data.wrapping_add((t.start - part.start) * values.stride),
                            ..values
                        },
                        vectors: width / LANES,
                        count: t.len(),
                        next: next.map(|next| next.wrapping_add(head * BLOCK * stored.width)),
                        to: Matrix { data: to, stride: len },
                    };
                    // SAFETY: The rows of `part` stand at `values`, the weights of the queries' part in their scores.
                    unsafe { sums.run(s, queries.len()) };
                }
            }
            at = part.end;
        }
    }

    /// Writes `a / l` to the output.
    unsafe fn finish(&self) {
        let len = partial_len(self.attention);
        for query in 0..self.queries() {
            let total = &self.memory.total[query * len..(query + 1) * len];
            // SAFETY: The access is inside of its buffer.
            unsafe { write_result(self.attention, self.buffers, self.window, &self.at(query), total) };
        }
    }
}

/// Writes `a / l`, 0 where nothing was read.
///
/// # Safety
/// The output access is inside of its buffer, and nobody else writes this row, head and query.
#[inline(always)]
pub(crate) unsafe fn write_result(
    attention: &Attention,
    buffers: Buffers<'_>,
    window: &Window,
    at: &[usize; 3],
    total: &[f32],
) {
    let l = total[total.len() - LANES + 1];
    let step = window.step(attention.out.inner);
    let to = buffers.start(attention.out.buffer).wrapping_add(window.element(&attention.out, at, 0));
    let sums = &total[..attention.value_width];
    let result = |a: f32| if l == 0.0 { 0.0 } else { a / l };
    // SAFETY: The caller vouches for the elements.
    unsafe {
        if step == 1 {
            let to = slice::from_raw_parts_mut(to, sums.len());
            to.iter_mut().zip(sums).for_each(|(to, &a)| *to = result(a));
        } else {
            sums.iter().enumerate().for_each(|(v, &a)| *to.wrapping_add(v * step) = result(a));
        }
    }
}

/// Joins a chunk to what came before it.
#[inline(always)]
pub(crate) fn join<S: Simd>(s: S, total: &mut [f32], chunk: &[f32]) {
    assert_eq!(total.len(), chunk.len());
    let at = total.len() - LANES;
    let (m, l, m_new, l_new) = (total[at], total[at + 1], chunk[at], chunk[at + 1]);
    if m_new == f32::NEG_INFINITY && l_new == 0.0 {
        return;
    }
    if m == f32::NEG_INFINITY && l == 0.0 {
        total.copy_from_slice(chunk);
        return;
    }
    let exp_one = |x: f32| s.largest(math::exp(s, s.splat(x)));
    let (top, a, b) = if m > m_new { (m, 1.0, exp_one(m_new - m)) } else { (m_new, exp_one(m - m_new), 1.0) };
    total[at] = top;
    total[at + 1] = l * a + l_new * b;
    for i in (0..at).step_by(LANES) {
        // SAFETY: Both have a multiple of 16 elements.
        unsafe {
            let old = s.mul(s.load(total.as_ptr().add(i)), s.splat(a));
            let new = s.fma(s.load(chunk.as_ptr().add(i)), s.splat(b), old);
            s.store(total.as_mut_ptr().add(i), new);
        }
    }
}

/// [`join`] as an entry of the table.
pub(crate) fn run_join<S: Simd>(total: &mut [f32], chunk: &[f32]) {
    struct Join<'a>(&'a mut [f32], &'a [f32]);
    impl SimdFn for Join<'_> {
        type Output = ();

        #[inline(always)]
        fn call<S: Simd>(self, s: S) {
            join(s, self.0, self.1);
        }
    }
    // SAFETY: The table that this is an entry of was made from a token.
    unsafe { S::assume() }.vectorize(Join(total, chunk));
}

impl Stored<'_> {
    /// Where the row at a position begins, if there is one in `f32`.
    #[inline(always)]
    fn row(&self, position: usize) -> Option<*const f32> {
        let rows = self.store.rows_from(position);
        (!rows.is_empty()).then_some(rows.as_ptr())
    }

    /// Where the rows of a head at positions `part`, all of one page, stand, as whole vectors: in the store, which has `stored` from the first of them on, or
    /// copied.
    #[inline(always)]
    fn rows<S: Simd>(
        &self,
        s: S,
        stored: &[f32],
        part: Range<usize>,
        head: usize,
        copy: &mut Aligned<f32>,
    ) -> Matrix<*const f32> {
        let Self { store, at, width } = *self;
        let (head, step) = (head * at.head_stride, at.stride);
        if store.dtype() != DType::F32 {
            let data = self.unpacked(s, part, head, copy);
            return Matrix { data, stride: padded(width) };
        }
        let stride = store.width();
        assert!(stored.len() >= part.len() * stride, "rows inside of the window are kept");
        assert!(width == 0 || head + (width - 1) * step < stride, "a head lies inside of its row");
        if step == 1 && width.is_multiple_of(LANES) {
            return Matrix { data: stored[head..].as_ptr(), stride };
        }
        for (t, to) in copy.chunks_exact_mut(padded(width)).enumerate().take(part.len()) {
            to[width..].fill(0.0);
            for (c, to) in to[..width].iter_mut().enumerate() {
                *to = stored[t * stride + head + c * step];
            }
        }
        Matrix { data: copy.as_ptr(), stride: padded(width) }
    }

    /// The rows of [`Stored::rows`] out of packed ones, as `f32`; the head begins at element `head`.
    #[inline(always)]
    fn unpacked<S: Simd>(
        &self,
        s: S,
        part: Range<usize>,
        head: usize,
        copy: &mut Aligned<f32>,
    ) -> *const f32 {
        let Self { store, width, .. } = *self;
        let step = self.at.stride;
        let (dtype, packed) = (store.dtype(), store.packed_from(part.start));
        let row_bytes = dtype.row_bytes(store.width()).expect("a row of a store is whole blocks");
        assert!(packed.len() >= part.len() * row_bytes, "rows inside of the window are kept");
        assert!(width == 0 || head + (width - 1) * step < store.width(), "a head lies inside of its row");
        let block = dtype.block();
        let whole = step == 1 && head.is_multiple_of(block) && width.is_multiple_of(block);
        let mut values = [0.0; LARGEST_BLOCK];
        let to = copy.chunks_exact_mut(padded(width));
        for (row, to) in packed.chunks_exact(row_bytes).zip(to).take(part.len()) {
            to[width..].fill(0.0);
            if whole && dtype == DType::F16 && width.is_multiple_of(LANES) {
                for c in (0..width).step_by(LANES) {
                    // SAFETY: Sixteen values of the head begin at `c`, in the row and in the copy.
                    unsafe { s.store(to[c..].as_mut_ptr(), s.load_f16(row[2 * (head + c)..].as_ptr())) };
                }
            } else if whole {
                let from = &row[head / block * dtype.bytes()..][..width / block * dtype.bytes()];
                (dtype.info().decode)(from, &mut to[..width]);
            } else {
                let mut decoded = None;
                for (c, to) in to[..width].iter_mut().enumerate() {
                    let at = head + c * step;
                    if decoded != Some(at / block) {
                        let from = &row[at / block * dtype.bytes()..][..dtype.bytes()];
                        (dtype.info().decode)(from, &mut values[..block]);
                        decoded = Some(at / block);
                    }
                    *to = values[at % block];
                }
            }
        }
        copy.as_ptr()
    }
}

/// Values of the largest block of any element type.
const LARGEST_BLOCK: usize = 256;
