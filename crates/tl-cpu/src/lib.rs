//! The CPU backend: thread pool, run-time dispatch, kernels.
