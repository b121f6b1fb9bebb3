//! Source texts, the map that numbers them, and spans into them.
//!
//! A [`Source`] is an immutable text with a name and a line index; cloning it copies a pointer. A [`Span`] is twelve
//! bytes and knows nothing but numbers, so that syntax, IR and run-time errors can all carry one; a [`SourceMap`]
//! turns it back into a name, a line and a column.
//!
//! Invariant: every text is valid UTF-8 of at most [`MAX_SOURCE_BYTES`] bytes, so offsets fit in a `u32`.

use std::fmt;
use std::sync::Arc;

use crate::codes;
use crate::diagnostic::Diagnostic;

/// The largest source text that is accepted: 16 MiB.
pub const MAX_SOURCE_BYTES: usize = 16 << 20;

/// The number of a source in its [`SourceMap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u32);

impl SourceId {
    /// The id of a text that is in no map: spans of generated code carry it.
    pub const NONE: SourceId = SourceId(u32::MAX);
}

/// A half-open range of bytes `start..end` of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The source that the offsets count in.
    pub source: SourceId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Span {
    /// The span of things that no source text stands behind.
    pub const NONE: Span = Span { source: SourceId::NONE, start: 0, end: 0 };

    /// A span from its parts.
    pub fn new(source: SourceId, start: u32, end: u32) -> Span {
        Span { source, start, end: end.max(start) }
    }

    /// Whether no source text stands behind this span.
    pub fn is_none(self) -> bool {
        self.source == SourceId::NONE
    }

    /// Length in bytes.
    pub fn len(self) -> u32 {
        self.end - self.start
    }

    /// Whether it covers no byte (a place between two characters).
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The smallest span that covers both. Spans of different sources are not joined: the first is returned.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        if self.source != other.source {
            return self;
        }
        Span { source: self.source, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The empty span at its end.
    #[must_use]
    pub fn after(self) -> Span {
        Span { start: self.end, ..self }
    }

    /// Whether `offset` lies inside or at the end.
    pub fn touches(self, offset: u32) -> bool {
        self.start <= offset && offset <= self.end
    }
}

/// A place for people: both numbers count from 1, columns count characters (Unicode scalar values).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LineColumn {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// Why bytes or a text cannot be a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceError {
    /// The text is larger than [`MAX_SOURCE_BYTES`].
    TooLarge {
        /// Name of the source.
        name: String,
        /// Its size in bytes.
        bytes: u64,
    },
    /// The bytes are not UTF-8.
    NotUtf8 {
        /// Name of the source.
        name: String,
        /// Offset of the first byte that is not part of a valid character.
        offset: usize,
        /// The line and column of that byte.
        at: LineColumn,
        /// The byte itself.
        byte: u8,
    },
}

/// An immutable source text with its name and line index. Clones share the text.
#[derive(Clone)]
pub struct Source(Arc<SourceData>);

struct SourceData {
    id: SourceId,
    name: String,
    text: Arc<str>,
    /// Offset of the first byte of each line; the first is 0.
    lines: Vec<u32>,
}

/// All sources of a session, numbered in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    sources: Vec<Source>,
}

impl Source {
    /// A source that belongs to no map, for tests and tools that look at one text.
    ///
    /// # Errors
    /// [`SourceError::TooLarge`] above 16 MiB.
    pub fn detached(name: impl Into<String>, text: impl Into<Arc<str>>) -> Result<Source, SourceError> {
        Source::with_id(SourceId(0), name.into(), text.into())
    }

    fn with_id(id: SourceId, name: String, text: Arc<str>) -> Result<Source, SourceError> {
        if text.len() > MAX_SOURCE_BYTES {
            return Err(SourceError::TooLarge { name, bytes: text.len() as u64 });
        }
        let newlines = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let lines = std::iter::once(0).chain(newlines.map(|(offset, _)| offset as u32 + 1)).collect();
        Ok(Source(Arc::new(SourceData { id, name, text, lines })))
    }

    /// Its number in the map that it was added to.
    pub fn id(&self) -> SourceId {
        self.0.id
    }

    /// The name that diagnostics show, as a rule a path.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The text of a span; empty where the span does not fit this text.
    pub fn slice(&self, span: Span) -> &str {
        self.text().get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// How many lines there are; a text that ends in a newline has an empty last line.
    pub fn line_count(&self) -> u32 {
        self.0.lines.len() as u32
    }

    /// The bytes of a line, counted from 1, without its line ending.
    pub fn line(&self, line: u32) -> &str {
        let (start, end) = self.line_range(line);
        let text = &self.text()[start as usize..end as usize];
        text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line))
    }

    /// Offsets of the first byte of a line and of the byte after its line ending. Lines count from 1; a number beyond
    /// the last line gives the empty range at the end.
    pub fn line_range(&self, line: u32) -> (u32, u32) {
        let end_of_text = self.text().len() as u32;
        let index = line.saturating_sub(1) as usize;
        let start = self.0.lines.get(index).copied().unwrap_or(end_of_text);
        let end = self.0.lines.get(index + 1).copied().unwrap_or(end_of_text);
        (start, end)
    }

    /// The line of an offset, from 1. Offsets beyond the end belong to the last line.
    pub fn line_of(&self, offset: u32) -> u32 {
        self.0.lines.partition_point(|&start| start <= offset) as u32
    }

    /// Line and column of an offset. An offset inside a character counts as its beginning.
    pub fn line_column(&self, offset: u32) -> LineColumn {
        let line = self.line_of(offset);
        let start = self.line_range(line).0 as usize;
        let upto = (offset as usize).min(self.text().len());
        let column = self.text()[start..].char_indices().take_while(|&(at, _)| start + at < upto).count();
        let inside = !self.text().is_char_boundary(upto);
        LineColumn { line, column: column as u32 + 1 - u32::from(inside && column > 0) }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({:?}, {} bytes)", self.name(), self.text().len())
    }
}

impl SourceMap {
    /// An empty map.
    pub fn new() -> SourceMap {
        SourceMap::default()
    }

    /// Adds a text.
    ///
    /// # Errors
    /// [`SourceError::TooLarge`] above 16 MiB.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> Result<Source, SourceError> {
        let source = Source::with_id(SourceId(self.sources.len() as u32), name.into(), text.into())?;
        self.sources.push(source.clone());
        Ok(source)
    }

    /// Adds a text that has yet to be checked, such as the bytes of a file.
    ///
    /// # Errors
    /// [`SourceError::TooLarge`] above 16 MiB, [`SourceError::NotUtf8`] with the offset of the first wrong byte.
    pub fn add_bytes(&mut self, name: impl Into<String>, bytes: &[u8]) -> Result<Source, SourceError> {
        let name = name.into();
        if bytes.len() > MAX_SOURCE_BYTES {
            return Err(SourceError::TooLarge { name, bytes: bytes.len() as u64 });
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.add(name, text),
            Err(error) => Err(not_utf8(name, bytes, error.valid_up_to())),
        }
    }

    /// The source with this number, if it came from this map.
    pub fn get(&self, id: SourceId) -> Option<&Source> {
        self.sources.get(id.0 as usize)
    }

    /// The text of a span; empty where it belongs to no source of this map.
    pub fn slice(&self, span: Span) -> &str {
        self.get(span.source).map_or("", |source| source.slice(span))
    }

    /// All sources in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter()
    }
}

impl SourceError {
    /// The same as a diagnostic. It has no label, because there is no text to point into.
    pub fn to_diagnostic(&self) -> Diagnostic {
        match self {
            SourceError::TooLarge { .. } => {
                Diagnostic::error_without_span(codes::SOURCE_TOO_LARGE, self.to_string())
                    .help("split the program into several files and `import` them; keep data in data files")
            }
            SourceError::NotUtf8 { .. } => Diagnostic::error_without_span(codes::NOT_UTF8, self.to_string())
                .help("save the file as UTF-8"),
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceError::TooLarge { name, bytes } => {
                write!(
                    f,
                    "`{name}` has {bytes} bytes; a source text may have at most {MAX_SOURCE_BYTES} (16 MiB)"
                )
            }
            SourceError::NotUtf8 { name, offset, at, byte } => write!(
                f,
                "`{name}` is not UTF-8: byte {byte:#04x} at offset {offset} (line {}, column {}) belongs to no character",
                at.line, at.column
            ),
        }
    }
}

impl std::error::Error for SourceError {}

#[cold]
fn not_utf8(name: String, bytes: &[u8], offset: usize) -> SourceError {
    let before = std::str::from_utf8(&bytes[..offset]).unwrap_or("");
    let line = before.bytes().filter(|&byte| byte == b'\n').count() as u32 + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() as u32 + 1;
    SourceError::NotUtf8 { name, offset, at: LineColumn { line, column }, byte: bytes[offset] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let source = Source::detached("a.tl", "ab\r\nç𝄞d\n").unwrap();
        let at = |offset| {
            let at = source.line_column(offset);
            (at.line, at.column)
        };
        assert_eq!(
            [at(0), at(1), at(4), at(6), at(10), at(11)],
            [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (2, 4)]
        );
        assert_eq!(at(7), (2, 2), "an offset inside a character is that character's column");
        assert_eq!(at(12), (3, 1));
        assert_eq!(at(999), (3, 1), "beyond the end is the end");
        assert_eq!((source.line(1), source.line(2), source.line(3), source.line(9)), ("ab", "ç𝄞d", "", ""));
        assert_eq!(source.line_count(), 3);
    }

    #[test]
    fn invalid_utf8_gives_the_byte_offset() {
        let error = SourceMap::new().add_bytes("x.tl", b"a = 1\nb = \xff").unwrap_err();
        let at = LineColumn { line: 2, column: 5 };
        assert_eq!(error, SourceError::NotUtf8 { name: "x.tl".into(), offset: 10, at, byte: 0xff });
        assert!(error.to_string().contains("offset 10"), "{error}");
        assert_eq!(error.to_diagnostic().code, codes::NOT_UTF8);
    }

    #[test]
    fn a_text_above_sixteen_mebibytes_is_refused_and_one_of_that_size_is_not() {
        let mut map = SourceMap::new();
        assert!(map.add_bytes("max", &vec![b' '; MAX_SOURCE_BYTES]).is_ok());
        let error = map.add_bytes("big", &vec![b' '; MAX_SOURCE_BYTES + 1]).unwrap_err();
        assert!(matches!(error, SourceError::TooLarge { .. }));
    }

    #[test]
    fn a_span_is_small_and_joins_within_one_source() {
        assert_eq!(size_of::<Span>(), 12);
        let (a, b) = (Span::new(SourceId(0), 2, 4), Span::new(SourceId(0), 7, 9));
        assert_eq!(a.to(b), Span::new(SourceId(0), 2, 9));
        assert_eq!(a.to(Span::new(SourceId(1), 7, 9)), a);
        assert!(Span::NONE.is_none() && !a.is_none());
    }
}
