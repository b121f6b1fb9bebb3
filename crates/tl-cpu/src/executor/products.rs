//! Matrix products and their epilogues.
//!
//! A part is some columns of all operands (with an epilogue) or of one (without), for a block of rows. Its weights are read once for
//! the block; the product stays in the worker's memory until the epilogue has run over it.
//!
//! A worker's share is columns that follow each other, and the same in every step.

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
const MAX_COLUMNS_OF_MANY: usize = 256;

/// Makes room for a product in the memory of the machine and its workers.
pub(super) fn make_room(machine: &mut Machine, product: &Product, plan: &Plan, window: &Window) {
    let rows = product.rows.range(plan, window).len();
    if product.quantizes {
        machine.quantized.reserve(rows, product.k, machine.kernels.layouts);
    }
    let columns = MAX_COLUMNS.max(MAX_COLUMNS_OF_MANY * rows.min(ROW_BLOCK));
    for worker in machine.workers.each() {
        product.operands.iter().filter_map(|o| o.integer.as_ref()).for_each(|w| w.reserve(&mut worker.tile));
        if let Some(Epilogue { tape }) = &product.epilogue {
            worker.products.grow(product.operands.len() * columns);
            worker.registers.reserve(tape, MAX_COLUMNS);
        }
    }
}

/// How a product is cut into parts.
#[derive(Clone, Copy)]
struct Cut<'a> {
    product: &'a Product,
    /// Columns of a part.
    columns: usize,
    /// Blocks of rows. Those of the same columns follow each other.
    blocks: usize,
}

/// One product in one window.
struct Job<'a> {
    machine: &'a Machine,
    product: &'a Product,
    cut: Cut<'a>,
    buffers: Buffers<'a>,
    window: &'a Window,
    quantized: &'a QuantizedRows,
    x: FloatRows,
    /// The rows, as the buffers count them.
    rows: Range<usize>,
}

impl Cut<'_> {
    fn parts(&self) -> usize {
        let pieces = |operand: &Operand| operand.n.div_ceil(self.columns);
        let pieces: usize = match self.product.epilogue {
            Some(_) => pieces(&self.product.operands[0]),
            None => self.product.operands.iter().map(pieces).sum(),
        };
        pieces * self.blocks
    }

    /// The first operand of a part, which operand it is, and its columns.
    fn place(&self, part: usize) -> (usize, Range<usize>) {
        let mut piece = part / self.blocks;
        let range = |piece: usize, n: usize| piece * self.columns..n.min((piece + 1) * self.columns);
        for (i, operand) in self.product.operands.iter().enumerate() {
            let pieces = operand.n.div_ceil(self.columns);
            if piece < pieces || self.product.epilogue.is_some() {
                return (i, range(piece, operand.n));
            }
            piece -= pieces;
        }
        unreachable!("a part is a piece of an operand")
    }
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
        let cut = self.cut_product(product, rows.len());
        let job = Job { machine: self, product, cut, buffers, window, quantized: &quantized, x, rows };
        // SAFETY: Each part is run once, by a worker of its own number.
        let work = |part, worker| unsafe { job.part(part, worker) };
        let n: usize = product.operands.iter().map(|o| o.n).sum();
        let cost = if job.is_shared() { job.x.rows * n * product.k / LANES } else { 0 };
        self.fork(cut.parts(), cost, &work);
        self.quantized = quantized;
    }

    fn cut_product<'a>(&self, product: &'a Product, rows: usize) -> Cut<'a> {
        let n = match product.epilogue {
            Some(_) => product.operands[0].n,
            None => product.operands.iter().map(|o| o.n).sum(),
        };
        Cut { product, columns: self.columns(product, n, rows), blocks: rows.div_ceil(ROW_BLOCK).max(1) }
    }

    /// Columns of a part: a multiple of 16, so that each thread has as many parts as any other, two or four. More would only run
    /// epilogues more often, over fewer columns.
    fn columns(&self, product: &Product, n: usize, rows: usize) -> usize {
        let threads = self.pool.threads();
        let most = if rows == 1 { MAX_COLUMNS } else { MAX_COLUMNS_OF_MANY };
        // Operands one after the other are cut each for itself, and their last pieces are short.
        let alike = product.epilogue.is_some() || product.operands.len() == 1;
        let parts = threads * if alike { 2 } else { 4 };
        let pieces = parts.div_ceil(rows.div_ceil(ROW_BLOCK).max(1)).max(n.div_ceil(most));
        n.div_ceil(pieces.next_multiple_of(threads)).next_multiple_of(LANES).clamp(LANES, most)
    }

    fn quantize(&self, to: &mut QuantizedRows, x: FloatRows, k: usize) {
        to.reserve(x.rows, k, self.kernels.layouts);
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
    /// Each part is run once, and nobody else uses the worker's memory.
    unsafe fn part(&self, part: usize, number: usize) {
        let (first, columns) = self.cut.place(part);
        let block = part % self.cut.blocks;
        let rows = block * ROW_BLOCK..self.x.rows.min((block + 1) * ROW_BLOCK);
        // SAFETY: The parts are disjoint pieces of columns and blocks of rows, and the caller vouches for the worker.
        unsafe {
            if let Some(epilogue) = &self.product.epilogue {
                self.with_epilogue(epilogue, columns, rows, number);
            } else {
                let (operand, out) = (&self.product.operands[first], self.product.outs[first]);
                let place = self.buffers.start(out).wrapping_add((self.rows.start + rows.start) * operand.n);
                let (out, worker) =
                    (Out { data: place, stride: operand.n }, self.machine.workers.get(number));
                self.multiply(operand, columns, rows, out, worker);
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
        let scratch = &mut worker.scratch;
        if let Some(weights) = &operand.integer {
            let kernel = weights.kernel();
            return weights.each(columns, &mut worker.tile, |tiles, columns| {
                // SAFETY: The weights were checked when the plan was compiled and have these columns in tiles, the rows are those of the
                // input, and the caller vouches for the result.
                unsafe { kernel(tiles, columns, self.quantized, rows.clone(), out, scratch) };
            });
        }
        let (weights, dtype) = (operand.matrix.rows(self.buffers), operand.matrix.dtype);
        // SAFETY: As above, with rows one after the other.
        unsafe {
            let data = self.x.data.add(rows.start * self.x.stride);
            let x = FloatRows { data, rows: rows.len(), ..self.x };
            (self.machine.kernels.float)(weights, dtype, self.product.k, columns, x, out, scratch);
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
        number: usize,
    ) {
        // SAFETY: The caller vouches for the worker.
        let worker = unsafe { self.machine.workers.get(number) };
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
                    goes_on: false,
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
