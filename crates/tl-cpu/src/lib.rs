//! The CPU backend: thread pool, run-time dispatch, kernels.
//!
//! [`pool`] divides work over threads, `simd` has the vectors of each instruction set, `kernels` what is computed with
//! them, and [`dispatch`] chooses, once, the instruction set that the processor has.
//!
//! Invariants: results depend neither on the number of threads nor on the instruction set; nothing allocates while a step
//! runs; no global state, but what was found out about the processor.

mod aligned;
pub mod dispatch;
pub mod executor;
mod kernels;
pub mod limits;
pub mod pool;
mod simd;

pub use dispatch::{Isa, Kernels, PackedWeights, WeightView};
pub use executor::CpuBackend;
pub use kernels::matmul::{QuantizedRows, Scratch};
pub use pool::Pool;
