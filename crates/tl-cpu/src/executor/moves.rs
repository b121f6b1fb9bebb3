//! Rows that are copied: out of tables, into and out of stores.

#![expect(unsafe_code, reason = "buffers are addressed through pointers, as the plan says")]

use tl_exec::kernel::{BufferId, Plan};
use tl_exec::state::Store;

use super::task::{Matrix, Move};
use super::{Bracket, Machine, state};
use crate::kernels::tape::{Buffers, Window};

/// `len` values of a buffer from element `at` on.
///
/// # Safety
/// The buffer has these values, and nobody writes them.
unsafe fn values<'a>(buffers: Buffers<'a>, buffer: BufferId, at: usize, len: usize) -> &'a [f32] {
    // SAFETY: The caller vouches for the values.
    unsafe { std::slice::from_raw_parts(buffers.start(buffer).wrapping_add(at), len) }
}

/// The same, to write.
///
/// # Safety
/// The buffer has these values, and nobody else uses them.
unsafe fn values_mut<'a>(buffers: Buffers<'a>, buffer: BufferId, at: usize, len: usize) -> &'a mut [f32] {
    // SAFETY: The caller vouches for the values.
    unsafe { std::slice::from_raw_parts_mut(buffers.start(buffer).wrapping_add(at), len) }
}

/// Decodes row `row` of a matrix.
///
/// # Safety
/// The matrix has the row.
unsafe fn decode_row(matrix: &Matrix, row: usize, buffers: Buffers<'_>, to: &mut [f32]) {
    let data = matrix.row(row, buffers);
    // SAFETY: The caller vouches for the row.
    let bytes = unsafe { std::slice::from_raw_parts(data, matrix.row_bytes) };
    (matrix.dtype.info().decode)(bytes, to);
}

/// Row `t` of a store, zeros where it is not there.
fn read_or_zero(store: &Store, t: Option<usize>, to: &mut [f32]) {
    if !t.is_some_and(|t| store.read(t, to)) {
        to.fill(0.0);
    }
}

/// From so many values on, a scatter is worth more than one part.
const PARALLEL_SCATTER: usize = 1 << 14;
/// How many parts it then has.
const SCATTER_PARTS: usize = 8;
/// Values that are brought to their places before anybody asks whether to stop.
const SCATTER_TURN: usize = 1 << 20;

impl Machine {
    pub(super) fn copy(
        &mut self,
        motion: &Move,
        plan: &Plan,
        buffers: Buffers<'_>,
        bracket: &mut Bracket<'_, '_>,
    ) {
        // SAFETY: The plan's buffers have the rows of the bracket's windows, a kernel never reads what it writes, and parts of a
        // fork-join write rows of their own.
        unsafe {
            match motion {
                Move::Gather { gather, table, rows } => {
                    let rows = rows.range(plan, bracket.whole);
                    let index = values(buffers, gather.index, rows.start, rows.len());
                    self.fork(rows.len(), rows.len() * gather.width / 4, &|i, _| {
                        let to =
                            values_mut(buffers, gather.out, (rows.start + i) * gather.width, gather.width);
                        if index[i] >= 0.0 && (index[i] as usize) < gather.rows {
                            decode_row(table, index[i] as usize, buffers, to);
                        } else {
                            to.fill(0.0);
                        }
                    });
                }
                Move::Scatter(scatter) => {
                    // Each part makes some rows of the result, and looks at all positions for them: the order of sums stays.
                    let value = values(buffers, scatter.value, 0, scatter.count * scatter.width);
                    let positions = values(buffers, scatter.positions, 0, scatter.count);
                    let parts =
                        if scatter.count * scatter.width < PARALLEL_SCATTER { 1 } else { SCATTER_PARTS };
                    let each = scatter.size.div_ceil(parts).max(1);
                    self.fork(scatter.size.div_ceil(each), scatter.count * scatter.width, &|part, _| {
                        let first = part * each;
                        let rows = each.min(scatter.size - first);
                        let (at, len) = (first * scatter.width, rows * scatter.width);
                        let out = values_mut(buffers, scatter.out, at, len);
                        let turn = (SCATTER_TURN / scatter.width.max(1)).max(1);
                        // The first turn is taken even where there is nothing to bring: it begins the result.
                        for from in (0..scatter.count.max(1)).step_by(turn) {
                            if self.is_interrupted() {
                                break;
                            }
                            let elements = from..scatter.count.min(from + turn);
                            scatter.rows(first, elements, value, positions, out);
                        }
                    });
                }
                Move::Decode { matrix, len, out } => {
                    decode_row(matrix, 0, buffers, values_mut(buffers, *out, 0, *len))
                }
                Move::Remember { from, store, width } => {
                    for (sequence, window) in bracket.states.iter_mut().zip(&*bracket.windows) {
                        let rows =
                            values(buffers, *from, window.rows.start * width, window.rows.len() * width);
                        sequence.state.stores_mut()[store.index()].append(rows);
                    }
                }
                Move::Recall { store, taps, out, width, wanted } => {
                    for (i, window) in bracket.windows.iter().enumerate() {
                        let store = &state(bracket, i).stores()[store.index()];
                        let rows = if *wanted { window.wanted.clone() } else { window.rows.clone() };
                        for row in rows.clone() {
                            let position = (window.stream - (rows.end - row)) as i64;
                            for (t, tap) in taps.iter().enumerate() {
                                let to = values_mut(buffers, *out, (row * taps.len() + t) * width, *width);
                                read_or_zero(store, usize::try_from(position + tap).ok(), to);
                            }
                        }
                    }
                }
                Move::RecallAll { store, out, width } => {
                    for (i, window) in bracket.windows.iter().enumerate() {
                        let store = &state(bracket, i).stores()[store.index()];
                        for t in 0..window.stream {
                            read_or_zero(store, Some(t), values_mut(buffers, *out, t * width, *width));
                        }
                    }
                }
                Move::TakeWanted { from, out } => {
                    for window in &*bracket.windows {
                        // A row may be as long as the sequence.
                        let width = super::length(
                            plan,
                            *from,
                            &Window { rows: 0..1, ..window.clone() },
                            window.stream,
                        );
                        let first = window.rows.end - window.wanted.len();
                        let len = window.wanted.len() * width;
                        values_mut(buffers, *out, window.wanted.start * width, len).copy_from_slice(values(
                            buffers,
                            *from,
                            first * width,
                            len,
                        ));
                    }
                }
            }
        }
    }
}
