//! Language models: catalogue and download, generation, samplers.

pub mod catalogue;
pub mod download;
pub mod sampling;
