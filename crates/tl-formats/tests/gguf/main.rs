//! GGUF: what the reader answers to well-formed, odd and hostile files, and what the writer writes.
//!
//! The tests of malformed files are named after the list that they come from: `case_15_…` is its fifteenth case.

mod derived;
mod files;
mod hyperparameters;
mod image;
mod malformed;
mod metadata;
mod weights;
mod writing;
