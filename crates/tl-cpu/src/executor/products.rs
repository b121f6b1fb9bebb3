//! Matrix products and their epilogues.
//!
//! A part is some columns of all operands (with an epilogue) or of one (without), for a block of rows. Its weights are read once for
//! the block; the product stays in the worker's memory until the epilogue has run over it.

#![expect(unsafe_code, reason = "kernels take pointers, and parts write disjoint places")]

use std::ops::Range;

use tl_exec::kernel::{Epilogue, Plan};

use super::check::{is_disjoint, reads_own_stores};
use super::task::{Operand, Product};
use super::{Machine, Worker};
use crate::kernels::matmul::{FloatRows, GROUP, Out, QuantizedRows};
use crate::kernels::tape::{Buffers, Place, RunTape, Window};
use crate::simd::LANES;

/// Rows that a part multiplies.
const ROW_BLOCK: usize = 64;
/// Columns that a part computes at most, for one row and for several.
const MAX_COLUMNS: usize = 512;
const MAX_COLUMNS_OF_MANY: usize = 128;

/// Makes room for a product in the memory of the machine and its workers.
pub(super) fn make_room(machine: &mut Machine, product: &Product, plan: &Plan, window: &Window) {
    let rows = product.rows.range(plan, window).len();
    if product.quantizes {
        machine.quantized.reserve(rows, product.k);
    }
    let columns = MAX_COLUMNS.max(MAX_COLUMNS_OF_MANY * rows.min(ROW_BLOCK));
    for worker in machine.workers.each() {
        if product.operands.iter().any(|o| o.integer.is_none()) {
            worker.scratch.reserve_decoded(product.k);
        }
        if let Some(Epilogue { tape }) = &product.epilogue {
            worker.products.grow(product.operands.len() * columns);
            worker.registers.reserve(usize::from(tape.vectors), usize::from(tape.scalars), MAX_COLUMNS);
        }
    }
}

/// One product in one window.
struct Job<'a> {
    machine: &'a Machine,
    product: &'a Product,
    buffers: Buffers<'a>,
    window: &'a Window,
    quantized: &'a QuantizedRows,
    x: FloatRows,
    /// The rows, as the buffers count them.
    rows: Range<usize>,
    /// Columns of a part.
    columns: usize,
    blocks: usize,
}

impl Machine {
    pub(super) fn product(&mut self, product: &Product, plan: &Plan, buffers: Buffers<'_>, window: &Window) {
        let rows = product.rows.range(plan, window);
        if rows.is_empty() {
            return;
        }
        let input = buffers.start(product.input).wrapping_add(rows.start * product.k);
        let x = FloatRows { data: input, stride: product.k, rows: rows.len() };
        let mut quantized = std::mem::take(&mut self.quantized);
        if product.quantizes {
            self.quantize(&mut quantized, x, product.k);
        }
        let n: usize = product.operands.iter().map(|o| o.n).sum();
        let columns =
            self.columns(if product.epilogue.is_some() { product.operands[0].n } else { n }, rows.len());
        let blocks = rows.len().div_ceil(ROW_BLOCK);
        let job =
            Job { machine: self, product, buffers, window, quantized: &quantized, x, rows, columns, blocks };
        let pieces = |operand: &Operand| operand.n.div_ceil(columns);
        let parts = match product.epilogue {
            Some(_) => pieces(&product.operands[0]),
            None => product.operands.iter().map(pieces).sum(),
        };
        // SAFETY: Each part is run once, by a worker of its own number.
        let work = |part, worker| unsafe { job.part(part, self.workers.get(worker)) };
        let cost = if job.is_shared() { job.x.rows * n * product.k / LANES } else { 0 };
        self.fork(parts * job.blocks, cost, &work);
        self.quantized = quantized;
    }

    /// Columns of a part: a multiple of 16, so that there are several parts for each thread.
    fn columns(&self, n: usize, rows: usize) -> usize {
        let most = if rows == 1 { MAX_COLUMNS } else { MAX_COLUMNS_OF_MANY };
        n.div_ceil(self.pool.threads() * 6).next_multiple_of(LANES).clamp(LANES, most)
    }

    fn quantize(&self, to: &mut QuantizedRows, x: FloatRows, k: usize) {
        to.reserve(x.rows, k);
        let writer = to.writer();
        const ROWS: usize = 4;
        self.fork(x.rows.div_ceil(ROWS), x.rows * k / 4, &|part, _| {
            for row in part * ROWS..x.rows.min((part + 1) * ROWS) {
                // SAFETY: The input has these rows.
                let values = unsafe { x.row(row, k) };
                (self.kernels.quantize)(values, row, writer);
            }
        });
    }
}

impl Job<'_> {
    /// Whether threads may share the product: an epilogue stores each column of each row to elements of its own and reads none of them.
    fn is_shared(&self) -> bool {
        self.product.epilogue.as_ref().is_none_or(|Epilogue { tape }| {
            let n = self.product.operands[0].n;
            is_disjoint(tape, std::slice::from_ref(&self.rows), n, true, self.window)
                && !reads_own_stores(tape)
        })
    }

    /// # Safety
    /// Each part is run once, and nobody else uses the worker.
    unsafe fn part(&self, part: usize, worker: &mut Worker) {
        let (mut piece, block) = (part / self.blocks, part % self.blocks);
        let rows = block * ROW_BLOCK..self.x.rows.min((block + 1) * ROW_BLOCK);
        let range = |piece: usize, n: usize| piece * self.columns..n.min((piece + 1) * self.columns);
        // SAFETY: The parts are disjoint pieces of columns and blocks of rows.
        unsafe {
            if let Some(epilogue) = &self.product.epilogue {
                let columns = range(piece, self.product.operands[0].n);
                self.with_epilogue(epilogue, columns, rows, worker);
                return;
            }
            for (operand, &out) in self.product.operands.iter().zip(&self.product.outs) {
                let pieces = operand.n.div_ceil(self.columns);
                if piece < pieces {
                    let first =
                        self.buffers.start(out).wrapping_add((self.rows.start + rows.start) * operand.n);
                    let to = Out { data: first, stride: operand.n };
                    self.multiply(operand, range(piece, operand.n), rows, to, worker);
                    return;
                }
                piece -= pieces;
            }
        }
    }

    /// The product of some columns and rows with one operand, to `out[row][column]`, rows counted from the first.
    ///
    /// # Safety
    /// `out` has room, and nobody else uses these places or the worker.
    unsafe fn multiply(
        &self,
        operand: &Operand,
        columns: Range<usize>,
        rows: Range<usize>,
        out: Out,
        worker: &mut Worker,
    ) {
        let weights = operand.matrix.rows(operand.n, self.buffers);
        // SAFETY: The weights were checked when the plan was compiled, the rows are those of the input, and the caller vouches for
        // the result.
        unsafe {
            match operand.integer {
                Some(kernel) => kernel(weights, columns, self.quantized, rows, out, &mut worker.scratch),
                None => {
                    let data = self.x.data.add(rows.start * self.x.stride);
                    let x = FloatRows { data, rows: rows.len(), ..self.x };
                    let (dtype, k) = (operand.matrix.dtype, self.product.k);
                    (self.machine.kernels.float)(weights, dtype, k, columns, x, out, &mut worker.scratch);
                }
            }
        }
    }

    /// The products of some columns and rows with all operands, and the epilogue on them.
    ///
    /// # Safety
    /// As for [`Job::multiply`].
    unsafe fn with_epilogue(
        &self,
        epilogue: &Epilogue,
        columns: Range<usize>,
        rows: Range<usize>,
        worker: &mut Worker,
    ) {
        let stride = columns.len().next_multiple_of(LANES);
        let products = worker.products.as_mut_ptr();
        let product_of = |operand: usize| products.wrapping_add(operand * rows.len() * stride);
        debug_assert!(self.product.operands.len() * rows.len() * stride <= worker.products.len());
        // SAFETY: The worker has room for the products. The epilogue's accesses are inside of their buffers, and the places that it
        // writes belong to these columns and rows.
        unsafe {
            for (i, operand) in self.product.operands.iter().enumerate() {
                // Columns are counted from 0 in the whole product, from the piece's first in the worker's memory.
                let out = Out { data: product_of(i).wrapping_sub(columns.start), stride };
                self.multiply(operand, columns.clone(), rows.clone(), out, worker);
            }
            for row in rows.clone() {
                for i in 0..self.product.operands.len() {
                    worker.registers.preset(i, product_of(i).wrapping_add((row - rows.start) * stride));
                }
                let place = Place {
                    at: &[self.rows.start + row],
                    base: &[0],
                    from: columns.start,
                    len: columns.len(),
                    number: 0,
                    window: self.window,
                };
                let (tape, registers) = (&epilogue.tape, &mut worker.registers);
                (self.machine.kernels.tape)(RunTape { tape, buffers: self.buffers, registers, place });
            }
        }
    }
}

// The integer kernels read whole groups.
const _: () = assert!(GROUP == 32);
