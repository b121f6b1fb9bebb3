//! Element types, quantization formats, shapes, buffers and tensors.
