//! The warnings of one file, of which a hostile file can't make more than a person would read.

use crate::Warning;

/// How many warnings are kept.
const KEPT: usize = 100;

/// Warnings in the order of the file, and how many more there were.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    kept: Vec<Warning>,
    dropped: usize,
    /// Where the first of the dropped ones was.
    dropped_at: u64,
}

impl Warnings {
    /// Says that `message` holds of the field at byte `offset`.
    pub fn push(&mut self, offset: u64, field: impl FnOnce() -> String, message: impl Into<String>) {
        if self.kept.len() < KEPT {
            self.kept.push(Warning { field: field(), message: message.into(), offset });
            return;
        }
        if self.dropped == 0 {
            self.dropped_at = offset;
        }
        self.dropped += 1;
    }

    /// The warnings, the last of which counts those that were left out.
    pub fn finish(mut self) -> Vec<Warning> {
        if self.dropped > 0 {
            let message = format!("{} more warnings like these", self.dropped);
            self.kept.push(Warning { field: "file".into(), message, offset: self.dropped_at });
        }
        self.kept
    }
}
