//! Stop strings over streamed text.
//!
//! The idea: text arrives in pieces, and a stop string may lie across several. One automaton (Knuth, Morris
//! and Pratt) runs per stop string; the longest beginning of a stop string that the text so far ends with is
//! held back, all before it is let through. A held-back piece starts where a stop string starts, which is
//! the start of a character, so no character is ever split.
//!
//! The invariant: what comes out does not depend on how the text was cut into pieces.

use super::params::ParamError;

/// Finds stop strings in text that arrives in pieces.
#[derive(Clone, Debug)]
pub struct StopMatcher {
    stops: Vec<Stop>,
    /// Text that was let through by the last call, followed by text that is held back.
    buffer: String,
    /// How much of `buffer` the last call let through.
    released: usize,
    hit: Option<usize>,
}

/// What one piece of text brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopStep<'a> {
    /// Text that may be shown now.
    pub text: &'a str,
    /// Index of the stop string that was found, if one was; the text ends before it.
    pub stop: Option<usize>,
}

#[derive(Clone, Debug)]
struct Stop {
    text: String,
    /// `fallback[i]` is how many of the first `i + 1` bytes, but not all of them, stand at their beginning and at
    /// their end alike.
    fallback: Vec<usize>,
    /// How many bytes of `text` the input so far ends with.
    matched: usize,
}

impl StopMatcher {
    /// A matcher for `stops`; none of them is fine.
    ///
    /// # Errors
    ///
    /// A stop string that is empty, for it would end every text before it began.
    pub fn new<S: AsRef<str>>(stops: &[S]) -> Result<Self, ParamError> {
        if let Some(place) = stops.iter().position(|stop| stop.as_ref().is_empty()) {
            return Err(ParamError {
                field: "stop",
                value: format!("the empty string (number {})", place + 1),
                expected: "at least one character long".into(),
            });
        }
        let stops = stops.iter().map(|stop| Stop::new(stop.as_ref())).collect();
        Ok(StopMatcher { stops, buffer: String::new(), released: 0, hit: None })
    }

    /// Takes the next piece and returns the text that can no longer be part of a stop string.
    ///
    /// Of several stop strings the one that ends first wins, of those the longest. After a stop was found,
    /// nothing more comes out.
    pub fn push(&mut self, piece: &str) -> StopStep<'_> {
        self.buffer.drain(..self.released);
        self.released = 0;
        if self.hit.is_some() {
            return StopStep { text: "", stop: self.hit };
        }
        let start = self.buffer.len();
        self.buffer.push_str(piece);
        for (offset, byte) in piece.bytes().enumerate() {
            if let Some(which) = self.advance(byte) {
                self.buffer.truncate(start + offset + 1 - self.stops[which].text.len());
                self.hit = Some(which);
                return self.release(self.buffer.len());
            }
        }
        let held = self.stops.iter().map(|stop| stop.matched).max().unwrap_or(0);
        self.release(self.buffer.len() - held)
    }

    /// Ends the text: returns what was held back, since no stop string can follow.
    pub fn finish(&mut self) -> &str {
        self.buffer.drain(..self.released);
        self.released = self.buffer.len();
        &self.buffer
    }

    /// The stop string of the index that [`StopStep::stop`] gave.
    pub fn stop_string(&self, which: usize) -> Option<&str> {
        self.stops.get(which).map(|stop| stop.text.as_str())
    }

    /// Whether a stop string was found, and which.
    pub fn found(&self) -> Option<usize> {
        self.hit
    }

    /// Forgets all text, to begin another.
    pub fn reset(&mut self) {
        self.buffer.clear();
        self.released = 0;
        self.hit = None;
        self.stops.iter_mut().for_each(|stop| stop.matched = 0);
    }

    /// Feeds one byte to every automaton; the longest stop string that ends with it, if any.
    fn advance(&mut self, byte: u8) -> Option<usize> {
        let mut found: Option<usize> = None;
        for which in 0..self.stops.len() {
            let ends = self.stops[which].advance(byte);
            let longer = found.is_none_or(|best| self.stops[which].text.len() > self.stops[best].text.len());
            if ends && longer {
                found = Some(which);
            }
        }
        found
    }

    fn release(&mut self, length: usize) -> StopStep<'_> {
        self.released = length;
        StopStep { text: &self.buffer[..length], stop: self.hit }
    }
}

impl Stop {
    fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut fallback = vec![0; bytes.len()];
        let mut border = 0;
        for i in 1..bytes.len() {
            while border > 0 && bytes[i] != bytes[border] {
                border = fallback[border - 1];
            }
            if bytes[i] == bytes[border] {
                border += 1;
            }
            fallback[i] = border;
        }
        Stop { text: text.to_owned(), fallback, matched: 0 }
    }

    /// Feeds one byte; whether the stop string ends with it.
    fn advance(&mut self, byte: u8) -> bool {
        let bytes = self.text.as_bytes();
        while self.matched > 0 && bytes[self.matched] != byte {
            self.matched = self.fallback[self.matched - 1];
        }
        if bytes[self.matched] == byte {
            self.matched += 1;
        }
        self.matched == bytes.len()
    }
}
