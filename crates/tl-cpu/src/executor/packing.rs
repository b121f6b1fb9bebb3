//! Quantized weights in the order that the integer kernels read, packed once for all plans of a backend.
//!
//! Nobody waits for it: the first step multiplies rows as they stand in the file, of which a worker packs a tile for itself when it comes to it; each
//! step after it packs a part of the weights for good, until all are. What is packed takes as much memory as the file's bytes, which are given back to
//! the system piece by piece: a mapped file is read again from the system's cache where somebody looks at its rows.
//!
//! Invariants: a matrix is known by the address of its rows, so its tensor is kept for as long as it is; tiles are written by whoever holds `progress`, and
//! read by nobody before `is_packed`.

#![expect(unsafe_code, reason = "tiles are read while others are written")]

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tl_exec::run::RunError;
use tl_tensor::Tensor;

use super::Machine;
use crate::aligned::Aligned;
use crate::kernels::matmul::{IntegerFn, IntegerKernel, Rows, packed_bytes};
use crate::simd::LANES;

/// Rows of activations that are multiplied about as fast as weights are packed: a step that has so many packs all of them, one with fewer a part. (The first
/// use of memory can be slow: where a virtual machine's host takes back what is unused, 4 ms for 2 MiB were seen.)
const ROWS: usize = 16;
/// Bytes that a thread packs at a time, about.
const PIECE: usize = 1 << 20;

/// A matrix that is multiplied as integers.
pub(super) struct Tiled {
    tensor: Tensor,
    n: usize,
    row_bytes: usize,
    kernel: IntegerKernel,
    /// Where its tiles begin in the memory of its packing.
    at: usize,
    is_packed: AtomicBool,
}

/// Matrices that are packed together.
struct Packing {
    matrices: Vec<Tiled>,
    tiles: Tiles,
    progress: Mutex<Progress>,
    is_done: AtomicBool,
}

/// The tiles of all matrices, one after the other.
struct Tiles {
    start: *mut u8,
    bytes: usize,
    _memory: Aligned<u8>,
}

/// How far a packing is.
#[derive(Default)]
struct Progress {
    /// Whether a step has been run.
    has_begun: bool,
    /// How many matrices are packed.
    done: usize,
}

/// What a backend packs for plans that are still there.
#[derive(Default)]
pub(super) struct Packings(Mutex<Vec<Weak<Packing>>>);

/// What is packed for a plan.
pub(super) struct Packed(Vec<Arc<Packing>>);

/// One of the matrices of a packing.
#[derive(Clone)]
pub(super) struct Weights {
    packing: Arc<Packing>,
    number: usize,
}

// SAFETY: The pointer is to memory of its own, which is freed with it.
unsafe impl Send for Tiles {}
// SAFETY: Tiles are written by one thread before others know that they may read them: see the module's invariants.
unsafe impl Sync for Tiles {}

impl Tiled {
    /// The first `n` rows, of `row_bytes` each, of a tensor.
    pub fn new(tensor: &Tensor, n: usize, row_bytes: usize, kernel: IntegerKernel) -> Self {
        Self { tensor: tensor.clone(), n, row_bytes, kernel, at: 0, is_packed: AtomicBool::new(false) }
    }

    fn key(&self) -> (usize, usize, usize) {
        key(&self.tensor, self.n, self.row_bytes)
    }

    /// Packs some of its rows, whole tiles of them, which are named by their bytes.
    fn pack(&self, rows: Range<usize>, tiles: &mut [u8]) {
        (self.kernel.pack)(&self.tensor.data()[rows], self.row_bytes, tiles);
    }
}

/// What a matrix is known by.
fn key(tensor: &Tensor, n: usize, row_bytes: usize) -> (usize, usize, usize) {
    (tensor.data().as_ptr().addr(), n, row_bytes)
}

impl Packings {
    /// Makes room for those of the matrices that no other plan has.
    pub fn take(&self, matrices: Vec<Tiled>) -> Result<Packed, RunError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|packing| packing.strong_count() > 0);
        let mut packed: Vec<Arc<Packing>> = known.iter().filter_map(Weak::upgrade).collect();
        packed.retain(|packing| matrices.iter().any(|matrix| packing.find(matrix.key()).is_some()));
        let (mut new, mut bytes) = (Vec::<Tiled>::new(), 0);
        for matrix in matrices {
            let key = matrix.key();
            if new.iter().any(|other| other.key() == key) || packed.iter().any(|p| p.find(key).is_some()) {
                continue;
            }
            let at = bytes;
            bytes += packed_bytes(matrix.n, matrix.row_bytes);
            new.push(Tiled { at, ..matrix });
        }
        if !new.is_empty() {
            let packing = Arc::new(Packing::new(new, bytes)?);
            known.push(Arc::downgrade(&packing));
            packed.push(packing);
        }
        Ok(Packed(packed))
    }
}

impl Packed {
    /// The first `n` rows of the tensor, if they are among the matrices.
    pub fn weights(&self, tensor: &Tensor, n: usize, row_bytes: usize) -> Option<Weights> {
        let key = key(tensor, n, row_bytes);
        self.0.iter().find_map(|packing| {
            let number = packing.find(key)?;
            Some(Weights { packing: Arc::clone(packing), number })
        })
    }

    /// What a step of so many rows does for the steps after it.
    pub fn go_on(&self, rows: usize, machine: &Machine) {
        self.0.iter().for_each(|packing| packing.go_on(rows, machine));
    }
}

impl Packing {
    fn new(matrices: Vec<Tiled>, bytes: usize) -> Result<Self, RunError> {
        let mut memory = Aligned::try_zeros(bytes).ok_or(RunError::Memory { bytes })?;
        let tiles = Tiles { start: memory.as_mut_ptr(), bytes, _memory: memory };
        Ok(Self { matrices, tiles, progress: Mutex::default(), is_done: AtomicBool::new(false) })
    }

    fn find(&self, key: (usize, usize, usize)) -> Option<usize> {
        self.matrices.iter().position(|matrix| matrix.key() == key)
    }

    /// Packs the next part, on all threads, unless this is the first step or somebody else is at it. What is interrupted is packed again.
    fn go_on(&self, rows: usize, machine: &Machine) {
        if self.is_done.load(Ordering::Relaxed) {
            return;
        }
        let Ok(mut progress) = self.progress.try_lock() else { return };
        if !std::mem::replace(&mut progress.has_begun, true) {
            return;
        }
        let rest = &self.matrices[progress.done..];
        let bytes = self.tiles.bytes / ROWS * rows.clamp(1, ROWS);
        let end = rest.first().map_or(0, |matrix| matrix.at + bytes);
        let part: Vec<&Tiled> = rest.iter().take_while(|matrix| matrix.at < end).collect();
        if !self.pack(&part, machine) {
            return;
        }
        part.iter().for_each(|matrix| matrix.is_packed.store(true, Ordering::Release));
        progress.done += part.len();
        self.is_done.store(progress.done == self.matrices.len(), Ordering::Relaxed);
    }

    /// Packs matrices; `false` if that was interrupted. The caller holds `progress`, and they are not packed yet.
    fn pack(&self, matrices: &[&Tiled], machine: &Machine) -> bool {
        let pieces = matrices.iter().flat_map(|&matrix| {
            let tile = LANES * matrix.row_bytes;
            let size = (PIECE / tile).max(1) * tile;
            let bytes = matrix.n * matrix.row_bytes;
            (0..bytes).step_by(size).map(move |at| (matrix, at..bytes.min(at + size)))
        });
        let pieces: Vec<(&Tiled, Range<usize>)> = pieces.collect();
        let done = AtomicUsize::new(0);
        machine.fork(pieces.len(), usize::MAX, &|part, _| {
            let (matrix, rows) = &pieces[part];
            let len = packed_bytes(rows.len() / matrix.row_bytes, matrix.row_bytes);
            // SAFETY: The tiles are in the memory, nobody reads them yet, and no other piece has them.
            let tiles =
                unsafe { std::slice::from_raw_parts_mut(self.tiles.start.add(matrix.at + rows.start), len) };
            matrix.pack(rows.clone(), tiles);
            matrix.tensor.data().release(rows.clone());
            done.fetch_add(1, Ordering::Relaxed);
        });
        done.into_inner() == pieces.len()
    }
}

impl Weights {
    fn matrix(&self) -> &Tiled {
        &self.packing.matrices[self.number]
    }

    /// The product with them.
    pub fn kernel(&self) -> IntegerFn {
        self.matrix().kernel.run
    }

    /// Makes room for a tile.
    pub fn reserve(&self, tile: &mut Aligned<u8>) {
        tile.grow(LANES * self.matrix().row_bytes);
    }

    /// Calls `multiply` with tiles and the columns that are to be found in them: with all columns or, as long as they are not packed, with those of one tile
    /// after the other, which is packed into `tile`.
    pub fn each(
        &self,
        columns: Range<usize>,
        tile: &mut Aligned<u8>,
        mut multiply: impl FnMut(Rows, Range<usize>),
    ) {
        let (matrix, stride) = (self.matrix(), self.matrix().row_bytes);
        if matrix.is_packed.load(Ordering::Acquire) {
            let data = self.packing.tiles.start.wrapping_add(matrix.at);
            return multiply(Rows { data, stride }, columns);
        }
        let mut at = columns.start;
        while at < columns.end {
            let first = at - at % LANES;
            let (to, last) = (columns.end.min(first + LANES), matrix.n.min(first + LANES));
            matrix.pack(first * stride..last * stride, &mut tile[..LANES * stride]);
            // Where the first tile of the matrix would be.
            let data = tile.as_ptr().wrapping_sub(first * stride);
            multiply(Rows { data, stride }, at..to);
            at = to;
        }
    }
}
