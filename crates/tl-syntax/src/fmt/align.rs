//! Columns that the author has aligned.
//!
//! Consecutive lines (empty ones aside) whose operators stand in one column in the source keep them in one column, the
//! one after the longest left-hand side; so do the values of a dict's entries after the longest key. Consecutive comments behind code that stand in one column keep that too, with the smallest
//! distance to the code that one of them had. Everything else gets its usual space. Both rules give the same again when
//! applied to their own result.

use super::{Cell, Line, Role, width};

/// Sets the gaps before operators and trailing comments.
pub(super) fn align(lines: &mut [Line]) {
    for cell_of in [operator_of, entry_value_of] {
        for_each_run(lines, cell_of, |run| {
            if run.len() > 1 {
                set_column(run, cell_of, 1);
            }
        });
    }
    for_each_run(lines, comment_of, |run| {
        let gaps = run.iter().filter_map(|line| comment_of(line).map(|index| line.cells[index].source_gap));
        let gap = gaps.min().unwrap_or(1).max(1);
        set_column(run, comment_of, gap);
    });
}

/// Calls `f` on each run of consecutive lines whose cells (where `cell_of` finds one) stand in one column of the source
/// and have one role.
fn for_each_run(lines: &mut [Line], cell_of: fn(&Line) -> Option<usize>, mut f: impl FnMut(&mut [Line])) {
    let key =
        |line: &Line| cell_of(line).map(|index| (line.cells[index].source_column, line.cells[index].role));
    let mut start = 0;
    while start < lines.len() {
        let first = key(&lines[start]).filter(|_| has_one_line(&lines[start]));
        let same = |line: &&Line| first.is_some() && key(line) == first && has_one_line(line);
        let length = 1 + lines[start + 1..].iter().take_while(same).count();
        if first.is_some() {
            f(&mut lines[start..start + length]);
        }
        start += length;
    }
}

/// The operator of the statement that begins a line.
fn operator_of(line: &Line) -> Option<usize> {
    let found = line.cells.iter().position(|cell| cell.role != Role::Other)?;
    matches!(line.cells[found].role, Role::Operator(_)).then_some(found)
}

/// The value of the entry that begins a line.
fn entry_value_of(line: &Line) -> Option<usize> {
    let found = line.cells.iter().position(|cell| cell.role != Role::Other)?;
    matches!(line.cells[found].role, Role::EntryValue(_)).then_some(found)
}

fn comment_of(line: &Line) -> Option<usize> {
    let last = line.cells.len().checked_sub(1)?;
    (line.cells[last].role == Role::TrailingComment).then_some(last)
}

/// Whether no cell has a line break in it, as raw strings and block comments may.
fn has_one_line(line: &Line) -> bool {
    line.cells.iter().all(|cell| !cell.text.contains('\n'))
}

/// Puts the cells into the column after the widest text before them and `gap`.
fn set_column(run: &mut [Line], cell_of: fn(&Line) -> Option<usize>, gap: usize) {
    let before = |line: &Line| {
        let index = cell_of(line).unwrap_or(0);
        line.indent * super::INDENT + line.cells[..index].iter().map(columns).sum::<usize>()
    };
    let column = run.iter().map(before).max().unwrap_or(0) + gap;
    for line in run {
        if let Some(index) = cell_of(line) {
            line.cells[index].gap = column - before(line);
        }
    }
}

fn columns(cell: &Cell) -> usize {
    cell.gap + width(cell.text)
}
