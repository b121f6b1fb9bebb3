//! What is computed with vectors, one folder an operation.

pub(crate) mod matmul;
