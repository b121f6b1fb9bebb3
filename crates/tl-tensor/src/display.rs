//! Tensors as text: numbers, rows and tables while they are small, a summary and a corner when they are not.

use std::fmt;

use crate::Tensor;

/// The most columns of a table, or values of a vector, that are all shown.
const COLUMNS: usize = 12;
/// The most rows of a table that are all shown.
const ROWS: usize = 24;
/// How many rows and columns the corner of a large tensor has.
const CORNER: usize = 6;

impl fmt::Display for Tensor {
    /// A scalar as a number, a vector in brackets, a matrix as a table with a row in brackets on each line; tensors of
    /// higher rank as such tables, each under its index. Large tensors show type, shape, statistics and a corner.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.shape().last().copied().unwrap_or(1);
        let rows = if self.is_empty() { 0 } else { self.len() / columns };
        let large = columns > COLUMNS || rows > ROWS;
        if large || self.is_empty() {
            write!(f, "{} {:?}", self.dtype(), self.shape())?;
        }
        if self.is_empty() {
            return Ok(());
        }
        if large {
            writeln!(f, "  {}", Summary(self))?;
        }
        let (shown_rows, shown_columns) =
            if large { (rows.min(CORNER), columns.min(CORNER)) } else { (rows, columns) };
        let cells = self.cells(shown_rows, shown_columns);
        if self.rank() == 0 {
            return f.write_str(&cells[0]);
        }
        let width = cells.iter().map(String::len).max().unwrap_or(0);
        let width = if self.rank() == 1 { 0 } else { width };
        let height = if self.rank() < 2 { 1 } else { self.shape()[self.rank() - 2] };
        for (row, cells) in cells.chunks(shown_columns).enumerate() {
            if row > 0 {
                writeln!(f)?;
            }
            if self.rank() > 2 && row % height == 0 {
                writeln!(f, "{:?}", unravel(row / height, &self.shape()[..self.rank() - 2]))?;
            }
            let line: Vec<String> = cells.iter().map(|cell| format!("{cell:>width$}")).collect();
            let more = if shown_columns < columns { ", …" } else { "" };
            write!(f, "[{}{more}]", line.join(", "))?;
        }
        if shown_rows < rows { write!(f, "\n…") } else { Ok(()) }
    }
}

/// Statistics on one line.
struct Summary<'a>(&'a Tensor);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.0.stats();
        let [min, max, mean] = [stats.min, stats.max, stats.mean].map(|v| number(v, 4));
        write!(f, "min {min}, max {max}, mean {mean}")?;
        if stats.bad() > 0 {
            write!(f, ", {} NaN, {} infinite", stats.nan, stats.inf)?;
        }
        Ok(())
    }
}

impl Tensor {
    /// The numbers of the first rows and columns as text, row by row.
    fn cells(&self, rows: usize, columns: usize) -> Vec<String> {
        let mut cells = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            let mut index = unravel(row, self.shape().split_last().map_or(&[], |(_, leading)| leading));
            for column in 0..columns {
                if self.rank() > 0 {
                    index.push(column);
                }
                let integer = self.layout().position(&index).and_then(|position| self.integer(position));
                let text = integer.map(|v| v.to_string());
                cells.push(text.or_else(|| Some(number(self.get(&index)?, 6))).unwrap_or_default());
                index.pop();
            }
        }
        cells
    }
}

/// The index of the value number `i`, in row-major order, of a shape without zeros.
fn unravel(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (place, &size) in index.iter_mut().zip(shape).rev() {
        *place = i % size;
        i /= size;
    }
    index
}

/// A number with at most `digits` significant digits; integers whole, very large and very small ones with an exponent.
fn number(value: f64, digits: usize) -> String {
    if !value.is_finite() || (value == value.trunc() && value.abs() < 1e15) {
        return if value == 0.0 { "0".to_owned() } else { value.to_string() };
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-5..15).contains(&magnitude) {
        return format!("{value:.*e}", digits - 1);
    }
    let decimals = usize::try_from(digits as i32 - 1 - magnitude).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
