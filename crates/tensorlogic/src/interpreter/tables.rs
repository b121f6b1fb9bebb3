//! Tables with names: the rows of a relation, tensors over named constants.

use std::fmt::Write;

use super::format::element;
use super::tensor::{TensorValue, widen};

/// How many rows of a relation are shown.
const MAX_ROWS: usize = 100;
/// A tensor of up to so many rows and columns is shown with the names of its constants.
const WHOLE_SIDE: usize = 16;

/// Rows under their headings, after what was asked.
pub(super) fn rows(asked: &str, headings: &[String], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return format!("{asked}: none");
    }
    let widths: Vec<usize> = (0..headings.len())
        .map(|c| {
            rows.iter().map(|row| &row[c]).chain([&headings[c]]).map(|t| t.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut out = format!("{asked}:");
    for row in [headings].into_iter().chain(rows.iter().take(MAX_ROWS).map(|row| &row[..])) {
        let mut line = String::from("\n");
        for (text, &width) in row.iter().zip(&widths) {
            _ = write!(line, "  {text:<width$}");
        }
        out.push_str(line.trim_end_matches(' '));
    }
    if rows.len() > MAX_ROWS {
        _ = write!(out, "\n  … and {} more", rows.len() - MAX_ROWS);
    }
    out
}

/// A small tensor with the names of its positions; `None` if it has none, or is large.
pub(super) fn labelled(name: &str, tensor: &TensorValue) -> Option<String> {
    let shape = tensor.shape();
    let is_named = (0..shape.len()).any(|axis| tensor.labels(axis).is_some());
    if !is_named || shape.iter().any(|&n| n > WHOLE_SIDE) {
        return None;
    }
    let values = tensor.values().ok()?;
    let texts: Vec<String> = values.iter().map(|&x| element(widen(x))).collect();
    let label = |axis: usize, at: usize| match tensor.labels(axis) {
        Some(labels) => labels[at].to_string(),
        None => at.to_string(),
    };
    match shape[..] {
        [n] => {
            let items: Vec<String> = (0..n).map(|i| format!("{}: {}", label(0, i), texts[i])).collect();
            Some(format!("{name} = [{}]", items.join(", ")))
        }
        [n, columns] => {
            let mut lines: Vec<Vec<String>> = vec![(0..columns).map(|c| label(1, c)).collect()];
            lines[0].insert(0, String::new());
            for (i, row) in texts.chunks(columns.max(1)).enumerate().take(n) {
                lines.push([label(0, i)].into_iter().chain(row.iter().cloned()).collect());
            }
            let width = |c: usize| {
                lines.iter().filter_map(|l| l.get(c)).map(|t| t.chars().count()).max().unwrap_or(0)
            };
            let widths: Vec<usize> = (0..=columns).map(width).collect();
            let mut out = format!("{name} =");
            for line in &lines {
                let first = format!("\n  {:<width$}", line[0], width = widths[0]);
                out.push_str(&first);
                for (text, width) in line.iter().zip(&widths).skip(1) {
                    _ = write!(out, "  {text:>width$}");
                }
            }
            Some(out)
        }
        _ => None,
    }
}
