//! File formats: GGUF, safetensors, NPY, NPZ, CSV and JSON (read and written), tokenizers and chat templates.
//!
//! Every reader here takes bytes that a stranger may have made. It validates before it allocates, computes with checked
//! arithmetic, and answers with a value or with an [`Error`] that names the field and the byte.

#![forbid(unsafe_code)]

pub mod chat_template;
pub mod csv;
mod disk;
mod error;
pub mod gguf;
pub mod json;
pub mod npy;
pub mod npz;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod safetensors;
pub mod tokenizer;

pub use error::{Error, ErrorKind, Result, Warning, acts_on_terminal, escape, escape_bytes};
