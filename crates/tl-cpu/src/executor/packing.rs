//! Quantized weights in the order that the integer kernels read, packed once for all plans of a backend.
//!
//! What is packed takes as much memory as the file's bytes, which are given back to the system piece by piece: a mapped file is read again from the
//! system's cache where somebody looks at its rows.
//!
//! Invariant: packed rows are known by their address, so their tensor is kept for as long as they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tl_exec::run::RunError;
use tl_tensor::Tensor;

use crate::aligned::Aligned;
use crate::kernels::matmul::{PackFn, packed_bytes};
use crate::pool::Pool;
use crate::simd::LANES;

/// From so many bytes on, packed weights are in huge pages, which are read 10 to 15 % faster. The first use of such a page can be slow (where a virtual machine's
/// host takes unused memory back, 4 ms for 2 MiB were seen), and small models are there to start at once.
const HUGE: usize = 256 << 20;
/// Bytes that a thread packs at a time, about.
const PIECE: usize = 1 << 20;

/// A matrix that is multiplied as integers.
pub(super) struct Unpacked<'a> {
    pub tensor: &'a Tensor,
    pub n: usize,
    pub row_bytes: usize,
    pub pack: PackFn,
}

/// The address of a matrix, how many rows it has and how many bytes each.
type Key = (usize, usize, usize);

/// Matrices that were packed together.
struct Packing {
    /// Where the tiles of each begin.
    places: HashMap<Key, usize>,
    tiles: Aligned<u8>,
    /// What was packed.
    _tensors: Vec<Tensor>,
}

/// What a backend has packed for plans that are still there.
#[derive(Default)]
pub(super) struct Packings(Mutex<Vec<Weak<Packing>>>);

/// The packed matrices of a plan.
pub(super) struct Packed(Vec<Arc<Packing>>);

impl Unpacked<'_> {
    fn key(&self) -> Key {
        (self.tensor.data().as_ptr().addr(), self.n, self.row_bytes)
    }

    fn packed_bytes(&self) -> usize {
        packed_bytes(self.n, self.row_bytes)
    }
}

impl Packed {
    /// Where the tiles of the first `n` rows of the tensor begin.
    pub fn tiles(&self, tensor: &Tensor, n: usize, row_bytes: usize) -> Option<*const u8> {
        let key = (tensor.data().as_ptr().addr(), n, row_bytes);
        self.0.iter().find_map(|packing| Some(packing.tiles[*packing.places.get(&key)?..].as_ptr()))
    }
}

impl Packings {
    /// Packs those of the matrices that are not packed yet, on all threads.
    pub fn pack(&self, matrices: Vec<Unpacked<'_>>, pool: &Pool) -> Result<Packed, RunError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|packing| packing.strong_count() > 0);
        let mut packed: Vec<Arc<Packing>> = known.iter().filter_map(Weak::upgrade).collect();
        packed.retain(|packing| matrices.iter().any(|matrix| packing.places.contains_key(&matrix.key())));
        let (mut places, mut new, mut bytes) = (HashMap::new(), Vec::new(), 0);
        for matrix in matrices {
            let key = matrix.key();
            if places.contains_key(&key) || packed.iter().any(|packing| packing.places.contains_key(&key)) {
                continue;
            }
            places.insert(key, bytes);
            bytes += matrix.packed_bytes();
            new.push(matrix);
        }
        if !new.is_empty() {
            let mut tiles = Aligned::try_zeros_in_pages(bytes, HUGE).ok_or(RunError::Memory { bytes })?;
            pack(&new, &mut tiles, pool);
            let _tensors = new.iter().map(|matrix| matrix.tensor.clone()).collect();
            let packing = Arc::new(Packing { places, tiles, _tensors });
            known.push(Arc::downgrade(&packing));
            packed.push(packing);
        }
        Ok(Packed(packed))
    }
}

/// Some tiles of a matrix.
struct Piece<'a> {
    matrix: &'a Unpacked<'a>,
    /// Its rows, in bytes of the matrix.
    rows: std::ops::Range<usize>,
    tiles: Mutex<&'a mut [u8]>,
}

/// Packs matrices one after the other into `tiles`.
fn pack(matrices: &[Unpacked<'_>], mut tiles: &mut [u8], pool: &Pool) {
    let mut pieces = Vec::new();
    for matrix in matrices {
        let (to, rest) = std::mem::take(&mut tiles).split_at_mut(matrix.packed_bytes());
        tiles = rest;
        let tile = LANES * matrix.row_bytes;
        let size = (PIECE / tile).max(1) * tile;
        pieces.extend(to.chunks_mut(size).enumerate().map(|(i, to)| Piece {
            matrix,
            rows: i * size..((i + 1) * size).min(matrix.n * matrix.row_bytes),
            tiles: Mutex::new(to),
        }));
    }
    pool.run(pieces.len(), &|part, _| {
        let Piece { matrix, rows, tiles } = &pieces[part];
        let mut tiles = tiles.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = matrix.tensor.data();
        (matrix.pack)(&bytes[rows.clone()], matrix.row_bytes, &mut tiles);
        bytes.release(rows.clone());
    });
}
