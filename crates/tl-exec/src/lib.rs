//! From a graph to something that runs: planning, memory, stores, and the scalar reference backend.
//!
//! [`kernel`] is the contract: a [`kernel::Plan`] is a list of kernels over numbered buffers, and a backend runs it. The
//! planner (`plan/`) turns a graph into kernels by general rules; [`reference`] evaluates a graph node by node in
//! `f64` and knows no kernels, so that it is the oracle of all of this.

pub mod kernel;
pub mod plan;
pub mod reference;
pub mod run;
pub mod scalar;
pub mod state;
