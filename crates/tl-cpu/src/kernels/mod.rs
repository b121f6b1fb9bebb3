//! What is computed with vectors, a file or a folder an operation.

pub(crate) mod attention;
pub(crate) mod dense;
pub(crate) mod einsum;
pub(crate) mod math;
pub(crate) mod matmul;
mod reduce;
mod rows;
pub(crate) mod tape;
