//! Loops and joins of dense tensors: places of the outer axes, cut among threads.

#![expect(unsafe_code, reason = "kernels take pointers, and parts write disjoint places")]

use std::ops::Range;

use tl_exec::kernel::Einsum;

use super::Machine;
use super::check::{is_disjoint, reads_own_stores};
use super::task::{Pass, Pieces};
use crate::kernels::dense::{Dense, RunDense};
use crate::kernels::einsum::{self, RunEinsum};
use crate::kernels::tape::{Buffers, MAX_AXES, RunLoop, Window};
use crate::simd::LANES;

/// Elements of a piece of the inner axis: a few registers of it fit the first cache.
const PIECE: usize = 512;
/// Elements of a piece of a long reduction: the registers fit the second cache.
const LONG_PIECE: usize = 1 << 14;

impl Pass {
    /// Elements of a piece of the inner axis.
    fn piece(&self, inner: usize) -> usize {
        let most = match self.pieces {
            Pieces::Apart => PIECE,
            Pieces::InTurn => LONG_PIECE,
            Pieces::Whole => usize::MAX,
        };
        inner.min(most).max(1)
    }
}

/// Makes room for a loop's registers.
pub(super) fn make_room(machine: &mut Machine, pass: &Pass, window: &Window) {
    let tape = &pass.kernel.tape;
    let inner = window.range(pass.kernel.inner).len();
    for worker in machine.workers.each() {
        worker.registers.reserve(tape, pass.piece(inner));
    }
}

/// Makes room for packed operands.
pub(super) fn make_room_to_pack(machine: &mut Machine, dense: &Dense) {
    machine.workers.each().for_each(|worker| worker.packed.grow(dense.memory()));
}

impl Machine {
    pub(super) fn pass(&mut self, pass: &Pass, buffers: Buffers<'_>, window: &Window) {
        let kernel = &pass.kernel;
        let axes = kernel.outer.len();
        let mut outer: [Range<usize>; MAX_AXES] = std::array::from_fn(|_| 0..1);
        let mut base = [0; MAX_AXES];
        for (axis, &dim) in kernel.outer.iter().enumerate() {
            outer[axis] = window.range(dim);
            base[axis] = outer[axis].start;
        }
        let fold = kernel.tape.fold().map(|axis| outer[axis].clone());
        let axes = axes - usize::from(fold.is_some());
        let inner = window.range(kernel.inner).len();
        let (piece, goes_on) = (pass.piece(inner), pass.pieces == Pieces::InTurn);
        let pieces = if goes_on { 1 } else { inner.div_ceil(piece).max(1) };
        let places = outer[..axes].iter().map(Range::len).product::<usize>() * pieces;
        if places == 0 {
            return;
        }
        let turns = fold.as_ref().map_or(1, Range::len);
        let cost = places * turns * kernel.tape.cost((inner / pieces).div_ceil(LANES));
        let mut parts = self.parts(places, cost);
        if parts > 1 && !is_shared(pass, &outer[..axes], inner, window) {
            parts = 1;
        }
        let work = |part: usize, worker: usize| {
            let range = places * part / parts..places * (part + 1) / parts;
            // SAFETY: Each part is run by a worker of its own number, and the accesses of the loop are inside of their buffers.
            unsafe {
                (self.kernels.loops)(RunLoop {
                    tape: &kernel.tape,
                    buffers,
                    registers: &mut self.workers.get(worker).registers,
                    outer: &outer[..axes],
                    fold: fold.clone(),
                    base: &base,
                    inner,
                    piece,
                    goes_on,
                    stop: self.interrupt.as_deref(),
                    places: range,
                    window,
                });
            }
        };
        self.fork(parts, cost, &work);
    }

    pub(super) fn einsum(&mut self, einsum: &Einsum, buffers: Buffers<'_>, window: &Window) {
        let places = einsum::places(einsum, window);
        let terms: usize = einsum.axes.iter().map(|&dim| window.range(dim).len()).product();
        let cost = terms / 4 * einsum.operands.len();
        let parts = self.parts(places, cost);
        self.fork(parts, cost, &|part, _| {
            let range = places * part / parts..places * (part + 1) / parts;
            // SAFETY: The parts are disjoint places of the result, and the accesses are inside of their buffers.
            unsafe { (self.kernels.einsum)(RunEinsum { einsum, buffers, window, places: range }) };
        });
    }

    pub(super) fn dense(&mut self, dense: &Dense, buffers: Buffers<'_>) {
        let parts = dense.parts(self.pool.threads());
        self.fork(parts.all, dense.terms() / LANES, &|part, worker| {
            // SAFETY: The parts are disjoint pieces of the result, each run by a worker of its own number, and the accesses are inside of their buffers.
            unsafe {
                let memory = &mut self.workers.get(worker).packed;
                (self.kernels.dense)(RunDense { dense, buffers, parts, part, memory });
            }
        });
    }
}

/// Whether threads may share the places of a loop: each stores to elements of its own, and none reads what another stores.
fn is_shared(pass: &Pass, outer: &[Range<usize>], inner: usize, window: &Window) -> bool {
    let tape = &pass.kernel.tape;
    is_disjoint(tape, outer, inner, pass.pieces == Pieces::Apart && inner > PIECE, window)
        && !reads_own_stores(tape)
}
