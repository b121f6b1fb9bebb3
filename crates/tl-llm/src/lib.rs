//! Language models: catalogue and download, generation, samplers.
