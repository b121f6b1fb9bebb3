//! What is computed with vectors, one folder an operation.

pub(crate) mod attention;
pub(crate) mod einsum;
pub(crate) mod math;
pub(crate) mod matmul;
pub(crate) mod tape;
