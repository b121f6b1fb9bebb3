//! CSV and TSV: rows of cells, read as columns of numbers and of texts.
//!
//! ```text
//! for each row: split it into cells; it must have as many as the first row
//!     for each cell: a column is of numbers if its first cell that is not missing is a number, else of texts
//! ```
//!
//! CSV is RFC 4180 with any delimiter; in TSV a quote is a character like any other, as
//! <https://www.iana.org/assignments/media-types/text/tab-separated-values> has it. The reader is ours because it is strict: a quote that
//! stands where none may, a row of another length and a word among numbers are errors with row and column, never guesses.
//!
//! Invariant: a cell is a piece of the file until its row is known to be sound, so that no line, however long, is copied before it is
//! measured.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::{Error, Result, escape};

/// The longest cell, in bytes.
pub const LONGEST_CELL: usize = 16 << 20;
/// The most columns.
pub const MOST_COLUMNS: usize = 1 << 16;
/// The most cells of a file.
pub const MOST_CELLS: usize = 1 << 27;

/// Columns of equal length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// The names of the columns, where the file has a header.
    pub names: Option<Vec<String>>,
    /// The columns, as many as there are names.
    pub columns: Vec<Column>,
}

/// The cells of a column, of one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Numbers; a missing one is NaN.
    Numbers(Vec<f64>),
    /// Texts.
    Texts(Vec<Arc<str>>),
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// The byte between cells.
    pub delimiter: u8,
    /// Whether a cell may be quoted.
    pub quotes: bool,
}

/// Whether the first row names the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// It does if it has no missing cell and none that is a number.
    Guess,
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// Comma-separated.
pub const CSV: Dialect = Dialect { delimiter: b',', quotes: true };
/// Tab-separated.
pub const TSV: Dialect = Dialect { delimiter: b'\t', quotes: false };

impl Table {
    /// How many rows there are, the header not counted.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, Column::len)
    }
}

impl Column {
    /// How many cells there are.
    pub fn len(&self) -> usize {
        match self {
            Column::Numbers(cells) => cells.len(),
            Column::Texts(cells) => cells.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Reads a table. `texts` names columns that are of texts whatever their cells look like; without a header they are named by their
/// numbers, from 0.
///
/// An empty file is a table without columns; one with a header alone has columns of texts without cells. Empty lines are no rows. In a column
/// of numbers, an empty cell, `NA` and `nan` are missing.
///
/// # Errors
/// What is wrong, with row and column from 1 (a header is row 1) and the byte.
pub fn read(bytes: &[u8], dialect: Dialect, header: Header, texts: &[&str]) -> Result<Table> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut rows = Rows { bytes, dialect, at: 0, number: 0 };
    let mut cells = Vec::new();
    let mut table = Building::default();
    while rows.next(&mut cells)? {
        if table.columns.is_none() && table.names.is_none() {
            let is_header = match header {
                Header::Yes => true,
                Header::No => false,
                Header::Guess => cells.iter().all(|cell| is_name(cell.raw(bytes))),
            };
            if is_header {
                table.take_header(&rows, &cells)?;
                continue;
            }
        }
        table.take_row(&rows, &cells, texts)?;
    }
    table.finish(texts)
}

/// A row's cell: where it lies, and whether quotes around it or doubled in it are to be taken away.
struct Cell {
    /// Without the quotes around it.
    range: Range<usize>,
    quoted: bool,
}

/// The rows of a file, one after another.
struct Rows<'a> {
    bytes: &'a [u8],
    dialect: Dialect,
    at: usize,
    /// Of the row that was read last, from 1.
    number: usize,
}

#[derive(Default)]
struct Building {
    names: Option<Vec<String>>,
    columns: Option<Vec<Cells>>,
    cells: usize,
}

/// A column while it is read.
enum Cells {
    /// So many cells that are all missing.
    Missing(usize),
    Numbers(Vec<f64>),
    Texts(Vec<Arc<str>>),
}

impl Cell {
    fn raw<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.range.clone()]
    }
}

impl Rows<'_> {
    /// Reads the next row that is not an empty line.
    fn next(&mut self, cells: &mut Vec<Cell>) -> Result<bool> {
        loop {
            cells.clear();
            if self.at >= self.bytes.len() {
                return Ok(false);
            }
            self.number += 1;
            let start = self.at;
            self.row(cells)?;
            let is_empty_line = cells.len() == 1 && !cells[0].quoted && cells[0].range.is_empty();
            if !is_empty_line || self.at == start {
                return Ok(true);
            }
        }
    }

    fn row(&mut self, cells: &mut Vec<Cell>) -> Result<()> {
        loop {
            if cells.len() == MOST_COLUMNS {
                return Err(self.error(cells.len(), format!("a row has more than {MOST_COLUMNS} cells")));
            }
            let is_quoted = self.dialect.quotes && self.bytes.get(self.at) == Some(&b'"');
            let cell = if is_quoted { self.quoted(cells.len())? } else { self.plain(cells.len())? };
            if cell.range.len() > LONGEST_CELL {
                return Err(self.error(cells.len(), format!("a cell is longer than {LONGEST_CELL} bytes")));
            }
            cells.push(cell);
            match self.bytes.get(self.at) {
                Some(&b) if b == self.dialect.delimiter => self.at += 1,
                Some(b'\r') if self.bytes.get(self.at + 1) == Some(&b'\n') => {
                    self.at += 2;
                    return Ok(());
                }
                Some(_) => {
                    self.at += 1;
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
    }

    /// A cell without quotes: up to the delimiter or the end of the line.
    fn plain(&mut self, column: usize) -> Result<Cell> {
        let (start, delimiter) = (self.at, self.dialect.delimiter);
        let ends = |b: &u8| *b == delimiter || matches!(b, b'\n' | b'\r' | b'"');
        while let Some(length) = self.bytes[self.at..].iter().position(ends) {
            self.at += length;
            if self.bytes[self.at] != b'"' {
                return Ok(Cell { range: start..self.at, quoted: false });
            }
            if self.dialect.quotes {
                let message = "a quote stands within a cell that does not begin with one";
                return Err(self
                    .error(column, message.into())
                    .hint("write the cell in quotes, and the quotes in it twice"));
            }
            self.at += 1;
        }
        self.at = self.bytes.len();
        Ok(Cell { range: start..self.at, quoted: false })
    }

    /// A cell in quotes, in which a quote is written twice.
    fn quoted(&mut self, column: usize) -> Result<Cell> {
        let opening = self.at;
        let start = opening + 1;
        let mut at = start;
        loop {
            let Some(length) = self.bytes[at..].iter().position(|&b| b == b'"') else {
                return Err(self.error(column, "a quoted cell has no closing quote".into()));
            };
            at += length;
            match self.bytes.get(at + 1) {
                Some(b'"') => at += 2,
                Some(&b) if b != self.dialect.delimiter && b != b'\n' && b != b'\r' => {
                    self.at = at + 1;
                    let message = "something follows the closing quote of a cell";
                    return Err(self
                        .error(column, message.into())
                        .hint("a quote within a cell is written twice"));
                }
                _ => break,
            }
        }
        self.at = at + 1;
        Ok(Cell { range: start..at, quoted: true })
    }

    /// The text of a cell.
    fn text(&self, cell: &Cell, column: usize) -> Result<Cow<'_, str>> {
        let raw = cell.raw(self.bytes);
        let text = std::str::from_utf8(raw).map_err(|e| {
            let error = Error::malformed(place(self.number, column), "the cell is not UTF-8");
            error.at((cell.range.start + e.valid_up_to()) as u64)
        })?;
        Ok(match cell.quoted && text.contains('"') {
            true => Cow::Owned(text.replace("\"\"", "\"")),
            false => Cow::Borrowed(text),
        })
    }

    #[cold]
    fn error(&self, column: usize, message: String) -> Error {
        Error::malformed(place(self.number, column), message).at(self.at as u64)
    }
}

impl Building {
    fn take_header(&mut self, rows: &Rows<'_>, cells: &[Cell]) -> Result<()> {
        let mut names: Vec<String> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for (column, cell) in cells.iter().enumerate() {
            let name = rows.text(cell, column)?.trim().to_owned();
            if !seen.insert(name.clone()) {
                let message = format!("the name `{}` is taken by a column before", escape(&name));
                return Err(Error::malformed(place(rows.number, column), message)
                    .at(cell.range.start as u64)
                    .hint("give every column a name of its own, or read the file without a header"));
            }
            names.push(name);
        }
        self.names = Some(names);
        Ok(())
    }

    fn take_row(&mut self, rows: &Rows<'_>, cells: &[Cell], texts: &[&str]) -> Result<()> {
        let names = &self.names;
        let columns = self.columns.get_or_insert_with(|| {
            let count = names.as_ref().map_or(cells.len(), Vec::len);
            let is_text = |column| texts.contains(&&*name_of(names.as_deref(), column));
            (0..count)
                .map(|c| if is_text(c) { Cells::Texts(Vec::new()) } else { Cells::Missing(0) })
                .collect()
        });
        if columns.len() != cells.len() {
            let (expected, found) = (columns.len(), cells.len());
            let column = expected.min(found.saturating_sub(1));
            let message = format!("the row has {found} cells, and the first has {expected}");
            let at = cells.get(column).map_or(rows.at, |cell| cell.range.start);
            return Err(Error::malformed(place(rows.number, column), message).at(at as u64));
        }
        self.cells += cells.len();
        if self.cells > MOST_CELLS {
            return Err(rows.error(0, format!("the file has more than {MOST_CELLS} cells")));
        }
        for (column, (cell, to)) in cells.iter().zip(columns).enumerate() {
            let text = rows.text(cell, column)?;
            if let Err(message) = to.push(&text) {
                let name = name_of(self.names.as_deref(), column);
                return Err(Error::malformed(place(rows.number, column), message)
                    .at(cell.range.start as u64)
                    .hint(format!(
                        "if the column is meant to hold texts, say so: `texts: [\"{}\"]`",
                        escape(&name)
                    )));
            }
        }
        Ok(())
    }

    fn finish(self, texts: &[&str]) -> Result<Table> {
        let count = self.names.as_ref().map_or(0, Vec::len);
        let columns = self.columns.unwrap_or_else(|| (0..count).map(|_| Cells::Texts(Vec::new())).collect());
        let known = |name: &&&str| (0..columns.len()).any(|c| name_of(self.names.as_deref(), c) == **name);
        if let Some(unknown) = texts.iter().find(|name| !known(name)) {
            return Err(Error::malformed("", format!("the file has no column `{}`", escape(unknown))));
        }
        let columns = columns.into_iter().map(Cells::finish).collect();
        Ok(Table { names: self.names, columns })
    }
}

impl Cells {
    fn push(&mut self, text: &str) -> std::result::Result<(), String> {
        match self {
            Cells::Missing(count) => match number(text) {
                None => *count += 1,
                Some(Ok(number)) => {
                    let mut numbers = vec![f64::NAN; *count];
                    numbers.push(number);
                    *self = Cells::Numbers(numbers);
                }
                // What was missing among texts is a text that is empty; `NA` may well be a word.
                Some(Err(())) => {
                    let mut cells: Vec<Arc<str>> = vec!["".into(); *count];
                    cells.push(text.into());
                    *self = Cells::Texts(cells);
                }
            },
            Cells::Numbers(numbers) => match number(text) {
                None => numbers.push(f64::NAN),
                Some(Ok(number)) => numbers.push(number),
                Some(Err(())) => {
                    return Err(format!("`{}` is no number, as the cells before are", escape(text)));
                }
            },
            Cells::Texts(cells) => cells.push(text.into()),
        }
        Ok(())
    }

    fn finish(self) -> Column {
        match self {
            Cells::Missing(count) => Column::Numbers(vec![f64::NAN; count]),
            Cells::Numbers(numbers) => Column::Numbers(numbers),
            Cells::Texts(texts) => Column::Texts(texts),
        }
    }
}

/// Writes a table; `names` of the table become the header.
///
/// # Errors
/// Where the dialect has no quotes and a cell would need them, or the columns are not equally long.
pub fn write(table: &Table, dialect: Dialect) -> Result<Vec<u8>> {
    let rows = table.rows();
    if let Some(other) = table.columns.iter().position(|c| c.len() != rows) {
        let message = format!("it has {} cells, and the first has {rows}", table.columns[other].len());
        return Err(Error::malformed(format!("column {}", other + 1), message));
    }
    let mut out = Vec::new();
    if let Some(names) = &table.names {
        for (column, name) in names.iter().enumerate() {
            write_cell(&mut out, name, dialect, 1, column)?;
        }
        end_row(&mut out);
    }
    for row in 0..rows {
        for (column, cells) in table.columns.iter().enumerate() {
            let number = row + 1 + usize::from(table.names.is_some());
            match cells {
                Column::Numbers(cells) if cells[row].is_nan() => {
                    write_cell(&mut out, "nan", dialect, number, column)?
                }
                Column::Numbers(cells) => {
                    write_cell(&mut out, &cells[row].to_string(), dialect, number, column)?
                }
                Column::Texts(cells) => write_cell(&mut out, &cells[row], dialect, number, column)?,
            }
        }
        end_row(&mut out);
    }
    Ok(out)
}

fn write_cell(out: &mut Vec<u8>, text: &str, dialect: Dialect, row: usize, column: usize) -> Result<()> {
    if column > 0 {
        out.push(dialect.delimiter);
    }
    let special =
        |b: u8| b == dialect.delimiter || matches!(b, b'\n' | b'\r') || (dialect.quotes && b == b'"');
    // A lone empty cell would be an empty line, which is no row.
    let is_plain = !text.bytes().any(special);
    if is_plain && (!text.is_empty() || !dialect.quotes) {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    if !dialect.quotes {
        let message = "the cell holds a tab or a line's end, which this format can't write";
        return Err(Error::malformed(place(row, column), message).hint("write a CSV file"));
    }
    out.push(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
    Ok(())
}

fn end_row(out: &mut Vec<u8>) {
    out.push(b'\n');
}

/// What a cell says as a number: nothing where it is missing, an error where it is none.
fn number(text: &str) -> Option<std::result::Result<f64, ()>> {
    match text.trim() {
        "" | "NA" => None,
        // Digits alone that come to infinity are more than a number can hold.
        text => Some(match text.parse::<f64>() {
            Ok(number) if number.is_finite() || !text.contains(|c: char| c.is_ascii_digit()) => Ok(number),
            _ => Err(()),
        }),
    }
}

/// Whether a cell may be the name of a column.
fn is_name(raw: &[u8]) -> bool {
    std::str::from_utf8(raw).is_ok_and(|text| matches!(number(text), Some(Err(()))))
}

fn name_of(names: Option<&[String]>, column: usize) -> Cow<'_, str> {
    match names.and_then(|names| names.get(column)) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(column.to_string()),
    }
}

fn place(row: usize, column: usize) -> String {
    format!("row {row}, column {}", column + 1)
}
