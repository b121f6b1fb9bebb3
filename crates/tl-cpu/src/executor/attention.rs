//! Attention: rows of all sequences, heads, and ranges of positions, cut among threads.
//!
//! A single row is bound by memory: a part takes all heads of some positions, so that pages are read from end to end. Blocks of several
//! rows are bound by arithmetic: a part takes one head, whose keys and values stay in the cache. How work is cut changes no result.

#![expect(unsafe_code, reason = "kernels take pointers, and parts write disjoint places")]

use std::ops::Range;

use tl_exec::kernel::{Attention, Dim, Plan};

use super::{Bracket, Machine, state};
use crate::kernels::attention::{Attend, CHUNK, chunks, partial_len, span, write_result};
use crate::kernels::tape::{Buffers, Window};
use crate::simd::LANES;

/// Queries of one head that a part takes together, about.
const QUERIES: usize = 24;

/// What one thread does at a time.
#[derive(Clone, Debug)]
pub(super) struct Part {
    sequence: usize,
    rows: Range<usize>,
    /// The position of the first row.
    position: usize,
    heads: Range<usize>,
    chunks: Range<usize>,
    /// Where the partial results go, if the row's chunks are cut.
    partial: Option<usize>,
}

/// The list of parts that is being made.
struct Cut<'a> {
    attention: &'a Attention,
    threads: usize,
    /// Blocks of rows that there are.
    blocks: usize,
    parts: Vec<Part>,
    /// Elements of the partial results so far.
    partials: usize,
    /// Scores that are computed.
    scores: usize,
}

impl Cut<'_> {
    /// Cuts a block of rows.
    fn add(&mut self, block: Part) {
        let (heads, queries) = (self.attention.heads, self.attention.queries);
        let last = span(self.attention, block.position + block.rows.len() - 1);
        self.scores += block.rows.len() * heads * queries * last.len();
        let chunks = block.chunks.len();
        let (threads, few) = (self.threads, self.blocks * heads < 4 * self.threads && self.threads > 1);
        let is_single = block.rows.len() == 1;
        if is_single && self.blocks < 2 * threads && threads > 1 && chunks >= 2 * threads {
            self.add_chunks(&block);
        } else if is_single && (self.blocks >= 4 * threads || threads == 1) {
            self.parts.push(block);
        } else {
            for head in 0..heads {
                let part = Part { heads: head..head + 1, ..block.clone() };
                if few && chunks >= 2 {
                    self.add_chunks(&part);
                } else {
                    self.parts.push(part);
                }
            }
        }
    }

    /// One part for each chunk of the block, with partial results one after the other.
    fn add_chunks(&mut self, block: &Part) {
        let queries = block.rows.len() * block.heads.len() * self.attention.queries;
        for chunk in block.chunks.clone() {
            let partial = Some(self.partials);
            self.parts.push(Part { chunks: chunk..chunk + 1, partial, ..block.clone() });
            self.partials += queries * partial_len(self.attention);
        }
    }
}

fn rows_of_part(attention: &Attention) -> usize {
    (QUERIES / attention.queries.max(1)).max(1)
}

/// Makes room for attention in the memory of the machine and its workers.
pub(super) fn make_room(machine: &mut Machine, attention: &Attention, window: &Window) {
    let rows = rows_of_part(attention);
    let (heads, queries) = (attention.heads, attention.queries);
    for worker in machine.workers.each() {
        worker.attention.reserve(attention, queries * rows.max(heads));
    }
    let threads = machine.pool.threads();
    let most = window.rows.len().max(window.wanted.len());
    let chunks = window.stream.div_ceil(CHUNK) + 1;
    // Positions are cut for fewer than 2 single rows or 4 blocks and heads a thread.
    machine.attends.clear();
    machine.attends.reserve(heads * most + 4 * threads * chunks);
    let cut = (heads * most.min(2 * threads)).max(4 * threads * rows.min(most));
    machine.partials.grow(cut * chunks * queries * partial_len(attention));
}

impl Machine {
    pub(super) fn attention(
        &mut self,
        attention: &Attention,
        plan: &Plan,
        buffers: Buffers<'_>,
        bracket: &Bracket<'_, '_>,
    ) {
        let wanted = plan.buffers[attention.out.buffer.index()].dims.first() == Some(&Dim::Wanted);
        let cut = self.cut(attention, bracket, wanted);
        self.partials.grow(cut.partials);
        let to = Partials(self.partials.as_mut_ptr());
        let cost = cut.scores * ((attention.key_width + attention.value_width) / LANES * 2 + 4);
        self.fork(cut.parts.len(), cost, &|part, worker| {
            let part = &cut.parts[part];
            let stores = state(bracket, part.sequence).stores();
            // SAFETY: Each part is run by a worker of its own number, writes rows and heads or partial results of its own, and the
            // accesses are inside of their buffers.
            unsafe {
                (self.kernels.attend)(Attend {
                    attention,
                    buffers,
                    rows: part.rows.clone(),
                    position: part.position,
                    heads: part.heads.clone(),
                    chunks: part.chunks.clone(),
                    keys: &stores[attention.key.store.index()],
                    values: &stores[attention.value.store.index()],
                    window: &bracket.windows[part.sequence],
                    memory: &mut self.workers.get(worker).attention,
                    partial: part.partial.map(|at| to.at(at)),
                });
            }
        });
        let parts = cut.parts;
        if cut.partials > 0 {
            self.join_parts(attention, buffers, bracket, &parts);
        }
        self.attends = parts;
    }

    /// The parts of all sequences.
    fn cut<'a>(&mut self, attention: &'a Attention, bracket: &Bracket<'_, '_>, wanted: bool) -> Cut<'a> {
        let rows_of = |w: &Window| if wanted { w.wanted.clone() } else { w.rows.clone() };
        let rows_of_part = rows_of_part(attention);
        let mut parts = std::mem::take(&mut self.attends);
        parts.clear();
        let blocks = bracket.windows.iter().map(|w| rows_of(w).len().div_ceil(rows_of_part)).sum();
        let threads = self.pool.threads();
        let mut cut = Cut { attention, threads, blocks, parts, partials: 0, scores: 0 };
        for (sequence, window) in bracket.windows.iter().enumerate() {
            let all = rows_of(window);
            for first in all.clone().step_by(rows_of_part) {
                let rows = first..all.end.min(first + rows_of_part);
                let position = window.stream - (all.end - first);
                let chunks = chunks(attention, position..position + rows.len());
                cut.add(Part { sequence, rows, position, heads: 0..attention.heads, chunks, partial: None });
            }
        }
        cut
    }

    /// Joins the partial results of each row's chunks, in order.
    fn join_parts(
        &mut self,
        attention: &Attention,
        buffers: Buffers<'_>,
        bracket: &Bracket<'_, '_>,
        parts: &[Part],
    ) {
        let len = partial_len(attention);
        let place = |part: &Part| (part.sequence, part.rows.start, part.heads.start);
        let same = |a: &Part, b: &Part| a.partial.is_some() && place(a) == place(b);
        for chunks in parts.chunk_by(same) {
            let first = &chunks[0];
            let Some(start) = first.partial else { continue };
            let size = first.rows.len() * first.heads.len() * attention.queries * len;
            // The partial results of a row's chunks stand one after the other.
            let (total, rest) = self.partials[start..start + size * chunks.len()].split_at_mut(size);
            for more in rest.chunks_exact(size) {
                for (total, more) in total.chunks_exact_mut(len).zip(more.chunks_exact(len)) {
                    (self.kernels.join)(total, more);
                }
            }
            for (number, total) in total.chunks_exact(len).enumerate() {
                let (row_and_head, query) = (number / attention.queries, number % attention.queries);
                let (row, head) = (row_and_head / first.heads.len(), row_and_head % first.heads.len());
                let at = [first.rows.start + row, first.heads.start + head, query];
                // SAFETY: The access is inside of its buffer, and no other thread runs.
                unsafe { write_result(attention, buffers, &bracket.windows[first.sequence], &at, total) };
            }
        }
    }
}

/// Where partial results go.
#[derive(Clone, Copy)]
struct Partials(*mut f32);

// SAFETY: Each part writes its own place.
unsafe impl Send for Partials {}
// SAFETY: As above.
unsafe impl Sync for Partials {}

impl Partials {
    fn at(self, element: usize) -> *mut f32 {
        self.0.wrapping_add(element)
    }
}
