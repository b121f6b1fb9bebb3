//! The two streams that a command writes to: results on standard output, remarks on standard error.
//!
//! Invariant: nothing here panics. A reader of standard output that went away ends the command without a word (see
//! [`Failure`](crate::failure::Failure)); a remark that no one can read is dropped.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IsTerminal, Write};

use crate::failure::Outcome;

/// Prints to standard output.
pub fn print(text: fmt::Arguments<'_>) -> Outcome {
    Ok(io::stdout().write_fmt(text)?)
}

/// Prints a piece of a text that comes piece by piece, so that it is seen at once. Fails where no one reads any more.
pub fn stream(piece: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(piece.as_bytes())?;
    out.flush()
}

/// Prints a remark to standard error, on a line of its own, after what standard output was given before.
pub fn remark(text: fmt::Arguments<'_>) {
    let _ = io::stdout().flush();
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether what goes to standard error is coloured: on a terminal that knows colours, unless `NO_COLOR` forbids it.
pub fn color() -> bool {
    colored(
        io::stderr().is_terminal(),
        std::env::var_os("NO_COLOR").as_deref(),
        std::env::var_os("TERM").as_deref(),
    )
}

fn colored(is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty) && term.is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_and_no_color_forbids_them() {
        let some = |text: &'static str| Some(OsStr::new(text));
        assert!(colored(true, None, some("xterm")));
        assert!(colored(true, some(""), None));
        assert!(!colored(false, None, some("xterm")));
        assert!(!colored(true, some("1"), some("xterm")));
        assert!(!colored(true, None, some("dumb")));
    }
}
