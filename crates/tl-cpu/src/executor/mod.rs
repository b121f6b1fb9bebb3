//! The executor: runs plans of `tl_exec` on the CPU, with the kernels of this crate.
//!
//! (Being written by the engineer of the executor: `src/executor/**` and `tests/executor*.rs` are theirs. Tapes, transcendental
//! vectors beyond `kernels/math.rs`, attention, gather and einsum are built in here.)
