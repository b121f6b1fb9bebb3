//! Quantization formats, one file each.
