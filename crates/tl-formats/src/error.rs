//! What a file reader says: errors and warnings as values, each with a field and a byte offset.
//!
//! A file is the world's, not the user's program and not our bug, so its errors are one small struct. It is built far
//! down, where only the offset and the nearest field are known, and gains context on its way up ([`Error::within`],
//! [`Error::in_file`]).
//!
//! Invariant: every piece of the file that is printed went through [`escape`], so that no file can write to a terminal.

use std::fmt;
use std::path::{Path, PathBuf};

/// How a file failed. Callers choose the exit code and the HTTP status by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The file breaks its format, or its values contradict each other.
    Malformed,
    /// The file may be fine, but it holds something that this version can't read; the message names what.
    Unsupported,
    /// The operating system refused; nothing is known about the contents.
    Io(std::io::ErrorKind),
}

/// Why a file can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    field: String,
    message: String,
    offset: Option<u64>,
    hint: Option<String>,
    path: Option<PathBuf>,
}

/// A result whose error is a file's.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The file breaks its format at `field`.
    #[cold]
    pub fn malformed(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Malformed, field.into(), message.into())
    }

    /// The file needs `field` to be something that this version doesn't know.
    #[cold]
    pub fn unsupported(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, field.into(), message.into())
    }

    /// The operating system's answer to an attempt to read.
    #[cold]
    pub fn io(field: impl Into<String>, error: &std::io::Error) -> Self {
        Self::new(ErrorKind::Io(error.kind()), field.into(), error.to_string())
    }

    fn new(kind: ErrorKind, field: String, message: String) -> Self {
        Self { kind, field, message, offset: None, hint: None, path: None }
    }

    /// Says at which byte of the file the field begins.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Says what the reader of the message can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the enclosing field: `value` within `key foo` is `key foo, value`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field =
            if self.field.is_empty() { outer.to_string() } else { format!("{outer}, {}", self.field) };
        self
    }

    /// Names the file, unless a deeper layer has named one already.
    #[must_use]
    pub fn in_file(mut self, path: &Path) -> Self {
        self.path.get_or_insert_with(|| path.to_path_buf());
        self
    }

    /// Which kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The field, already escaped: `header, version` or `tensor "x", offset`.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong with the field.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The byte of the file where the field begins, where that is known.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// What to do about it.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The file, where it was read from a path.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", escape(&path.to_string_lossy()))?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        if let Some(offset) = self.offset {
            write!(f, " (at byte {offset})")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Something that a reader accepted but a person may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The field, already escaped.
    pub field: String,
    /// What is odd about it.
    pub message: String,
    /// The byte of the file where the field begins.
    pub offset: u64,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (at byte {})", self.field, self.message, self.offset)
    }
}

/// `text` with every character that could act on a terminal or hide in it written as `\u{…}`, and cut after 120
/// characters.
pub fn escape(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut out = String::with_capacity(text.len().min(2 * LONGEST));
    for (i, c) in text.chars().enumerate() {
        if i == LONGEST {
            out.push('…');
            break;
        }
        if acts_on_terminal(c) || c == '\\' || c == '"' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// As [`escape`], of bytes that may not be UTF-8.
pub fn escape_bytes(bytes: &[u8]) -> String {
    // Cut first: only 120 characters are kept, and a character has at most 4 bytes.
    escape(&String::from_utf8_lossy(&bytes[..bytes.len().min(512)]))
}

/// Whether `c` is a control character, turns the writing direction, or has no width.
pub fn acts_on_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_hides_what_acts_on_a_terminal() {
        assert_eq!(escape("a\u{1b}[2Jb\nc\u{202e}d é"), "a\\u{1b}[2Jb\\nc\\u{202e}d é");
        assert_eq!(escape(&"x".repeat(1000)).chars().count(), 121);
        assert_eq!(escape_bytes(b"\xff\0"), "\u{fffd}\\u{0}");
    }

    #[test]
    fn an_error_reads_from_the_outside_in() {
        let error =
            Error::malformed("length", "9 bytes, but 3 are left").at(24).within("key 0").hint("try again");
        let error = error.in_file(Path::new("a.gguf")).in_file(Path::new("b.gguf"));
        assert_eq!(
            error.to_string(),
            "a.gguf: key 0, length: 9 bytes, but 3 are left (at byte 24); try again"
        );
    }
}
