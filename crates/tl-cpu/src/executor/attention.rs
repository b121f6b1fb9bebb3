//! Attention: heads and blocks of rows of all sequences, and with few of those also ranges of positions, cut among threads.

#![expect(unsafe_code, reason = "kernels take pointers, and parts write disjoint places")]

use std::ops::Range;

use tl_exec::kernel::{Attention, Dim, Plan};

use super::{Bracket, Machine, state};
use crate::kernels::attention::{Attend, CHUNK, chunks, partial_len, span, write_result};
use crate::kernels::tape::{Buffers, Window};
use crate::simd::LANES;

/// Queries that a part takes together, about.
const QUERIES: usize = 24;

/// What one thread does at a time.
#[derive(Clone, Debug)]
pub(super) struct Part {
    sequence: usize,
    rows: Range<usize>,
    /// The position of the first row.
    position: usize,
    head: usize,
    chunks: Range<usize>,
    /// Where the partial results go, if the row's chunks are cut.
    partial: Option<usize>,
}

fn rows_of_part(attention: &Attention) -> usize {
    (QUERIES / attention.queries.max(1)).max(1)
}

/// Whether the positions of a row are cut among threads: where there are fewer rows and heads than keep them busy.
fn cuts_positions(threads: usize, attention: &Attention, rows: usize) -> bool {
    threads > 1 && attention.heads * rows.div_ceil(rows_of_part(attention)) < 4 * threads
}

/// Makes room for attention in the memory of the machine and its workers.
pub(super) fn make_room(machine: &mut Machine, attention: &Attention, window: &Window) {
    let rows = rows_of_part(attention);
    for worker in machine.workers.each() {
        worker.attention.reserve(attention, rows);
    }
    let threads = machine.pool.threads();
    let most = window.rows.len().max(window.wanted.len());
    let whole = attention.heads * most;
    // Rows are cut only while there are few of them.
    let cut = (4 * threads + attention.heads) * (window.stream.div_ceil(CHUNK) + 1);
    machine.attends.clear();
    machine.attends.reserve(whole + cut);
    machine.partials.grow(cut * rows * attention.queries * partial_len(attention));
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
        let mut parts = std::mem::take(&mut self.attends);
        parts.clear();
        let mut partials = 0;
        let rows_of = |w: &Window| if wanted { w.wanted.clone() } else { w.rows.clone() };
        let rows: usize = bracket.windows.iter().map(|w| rows_of(w).len()).sum();
        let cut = cuts_positions(self.pool.threads(), attention, rows);
        let mut cost = 0;
        for (sequence, window) in bracket.windows.iter().enumerate() {
            let rows = rows_of(window);
            for first in rows.clone().step_by(rows_of_part(attention)) {
                let block = first..rows.end.min(first + rows_of_part(attention));
                let position = window.stream - (rows.end - first);
                let all = chunks(attention, position..position + block.len());
                cost += attention.heads
                    * block.len()
                    * attention.queries
                    * span(attention, position + block.len() - 1).len();
                for head in 0..attention.heads {
                    let part = Part {
                        sequence,
                        rows: block.clone(),
                        position,
                        head,
                        chunks: all.clone(),
                        partial: None,
                    };
                    if !cut || all.len() < 2 {
                        parts.push(part);
                        continue;
                    }
                    for chunk in all.clone() {
                        let size = block.len() * attention.queries * partial_len(attention);
                        parts.push(Part {
                            chunks: chunk..chunk + 1,
                            partial: Some(partials),
                            ..part.clone()
                        });
                        partials += size;
                    }
                }
            }
        }
        self.partials.grow(partials);
        let to = Partials(self.partials.as_mut_ptr());
        let cost = cost * ((attention.key_width + attention.value_width) / LANES * 2 + 4);
        self.fork(parts.len(), cost, &|part, worker| {
            let part = &parts[part];
            let stores = state(bracket, part.sequence).stores();
            // SAFETY: Each part is run by a worker of its own number, writes rows and heads or partial results of its own, and the
            // accesses are inside of their buffers.
            unsafe {
                (self.kernels.attend)(Attend {
                    attention,
                    buffers,
                    rows: part.rows.clone(),
                    position: part.position,
                    head: part.head,
                    chunks: part.chunks.clone(),
                    keys: &stores[attention.key.store.index()],
                    values: &stores[attention.value.store.index()],
                    window: &bracket.windows[part.sequence],
                    memory: &mut self.workers.get(worker).attention,
                    partial: part.partial.map(|at| to.at(at)),
                });
            }
        });
        if partials > 0 {
            self.join_parts(attention, buffers, bracket, &parts);
        }
        self.attends = parts;
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
        let same =
            |a: &Part, b: &Part| a.partial.is_some() && (a.rows.start, a.head) == (b.rows.start, b.head);
        for chunks in parts.chunk_by(same).filter(|c| c[0].partial.is_some()) {
            let first = &chunks[0];
            let size = first.rows.len() * attention.queries * len;
            let start = first.partial.expect("a cut part has a place");
            // The partial results of a row's chunks stand one after the other.
            let (total, rest) = self.partials[start..start + size * chunks.len()].split_at_mut(size);
            for more in rest.chunks_exact(size) {
                for (total, more) in total.chunks_exact_mut(len).zip(more.chunks_exact(len)) {
                    (self.kernels.join)(total, more);
                }
            }
            for (query, total) in total.chunks_exact(len).enumerate() {
                let at =
                    [first.rows.start + query / attention.queries, first.head, query % attention.queries];
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
