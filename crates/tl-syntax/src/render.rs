//! Diagnostics as text for terminals, in the manner of rustc:
//!
//! ```text
//! error[E0204]: this `(` is never closed
//!  --> model.tl:3:9
//!   |
//! 3 | Y = step(W[i] X[i]
//!   |         ^         - expected `)` here at the latest
//!   |         |
//!   |         opened here
//!   |
//!   = help: …
//! ```
//!
//! For each line with labels: the line itself, one row of underlines (`^` for primary labels, `-` for the others) with
//! the text of the rightmost label behind it, then the other texts, each hung below the beginning of its label.
//! A label over several lines underlines its first line to the end and its last line from the beginning.
//!
//! Nothing of a program reaches the terminal that could steer it: control characters are shown as pictures (`␛`),
//! invisible and direction-changing ones by their number (`<U+202E>`). Tabs are four columns. Of a long line a window
//! around the labels is shown. The output depends on the arguments alone.

use crate::diagnostic::{Diagnostic, Label, Severity};
use crate::lexer::is_invisible;
use crate::source::{Source, SourceMap};
use crate::width::columns;

/// How many columns of a source line are shown.
const MAX_COLUMNS: usize = 140;

/// How many columns are shown left of the first label of a long line.
const LEFT_CONTEXT: usize = 30;

const TAB: usize = 4;

/// Whether to colour the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Style {
    /// Text only.
    #[default]
    Plain,
    /// With ANSI escape sequences.
    Ansi,
}

/// One diagnostic as text; ends in a newline.
pub fn render(diagnostic: &Diagnostic, sources: &SourceMap, style: Style) -> String {
    let mut out = String::new();
    let tone = Tone::of(diagnostic.severity);
    let word = if diagnostic.is_error() { "error" } else { "warning" };
    out.push_str(&style.paint(tone, &format!("{word}[{}]", diagnostic.code)));
    out.push_str(&style.paint(Tone::Bold, &format!(": {}", visible(&diagnostic.message))));
    out.push('\n');
    let groups = group_by_source(diagnostic, sources);
    let numbers =
        groups.iter().flat_map(|(source, labels)| labels.iter().map(|label| last_line(source, label)));
    let gutter = numbers.max().map_or(1, |line| line.to_string().len());
    for (index, (source, labels)) in groups.iter().enumerate() {
        let snippet = Snippet { source, labels, gutter, style, tone };
        snippet.render(&mut out, index == 0);
    }
    let mut footer: Vec<(&str, String)> = Vec::new();
    let homeless = diagnostic.labels.iter().filter(|label| sources.get(label.span.source).is_none());
    footer.extend(homeless.filter(|label| !label.text.is_empty()).map(|label| ("note", label.text.clone())));
    footer.extend(diagnostic.notes.iter().map(|note| ("note", note.clone())));
    footer.extend(diagnostic.helps.iter().map(|help| ("help", help.clone())));
    footer.extend(diagnostic.fixes.iter().map(|fix| {
        let shown = fix.replacement.trim().is_empty() || fix.message.contains(fix.replacement.trim());
        let text =
            if shown { fix.message.clone() } else { format!("{}: `{}`", fix.message, fix.replacement) };
        ("help", text)
    }));
    if !footer.is_empty() && !groups.is_empty() {
        out.push_str(&style.paint(Tone::Gutter, &format!("{:gutter$} |\n", "")));
    }
    for (word, text) in footer {
        let indent = format!("\n{:1$}", "", gutter + word.len() + 5);
        let text = text.lines().map(visible).collect::<Vec<_>>().join(&indent);
        let equals = style.paint(Tone::Gutter, &format!("{:gutter$} =", ""));
        out.push_str(&format!("{equals} {}: {text}\n", style.paint(Tone::Bold, word)));
    }
    out
}

/// All diagnostics with an empty line after each, and a last line that counts them; empty if there are none.
pub fn render_all(diagnostics: &[Diagnostic], sources: &SourceMap, style: Style) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&render(diagnostic, sources, style));
        out.push('\n');
    }
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    let count = |number: usize, word: &str| match number {
        0 => None,
        1 => Some(format!("1 {word}")),
        number => Some(format!("{number} {word}s")),
    };
    let counts = [count(errors, "error"), count(diagnostics.len() - errors, "warning")];
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    if !counts.is_empty() {
        out.push_str(&format!("{}\n", style.paint(Tone::Bold, &counts.join(", "))));
    }
    out
}

/// Text with everything replaced that a terminal would not just show.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push_visible(c, &mut out);
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tone {
    Text,
    Bold,
    Gutter,
    Error,
    Warning,
    Secondary,
}

impl Tone {
    fn of(severity: Severity) -> Tone {
        match severity {
            Severity::Error => Tone::Error,
            Severity::Warning => Tone::Warning,
        }
    }
}

impl Style {
    fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Bold => "1",
            Tone::Error => "1;31",
            Tone::Warning => "1;33",
            Tone::Gutter | Tone::Secondary => "1;34",
            Tone::Text => return text.to_owned(),
        };
        match self {
            Style::Plain => text.to_owned(),
            Style::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// The labels of one source.
struct Snippet<'d> {
    source: &'d Source,
    labels: &'d [&'d Label],
    gutter: usize,
    style: Style,
    tone: Tone,
}

/// A label on one line.
#[derive(Clone)]
struct Mark<'d> {
    line: u32,
    /// Byte offsets in the line.
    from: usize,
    to: usize,
    text: &'d str,
    primary: bool,
}

/// A source line as it is shown, with the column at which each byte begins.
struct ShownLine {
    text: String,
    columns: Vec<(usize, usize)>,
    /// The first column shown, when the left of the line is cut off.
    cut: usize,
}

impl Snippet<'_> {
    fn render(&self, out: &mut String, first: bool) {
        let place = self.labels.iter().find(|label| label.primary).unwrap_or(&self.labels[0]);
        let at = self.source.line_column(place.span.start);
        let arrow = self
            .style
            .paint(Tone::Gutter, &format!("{:1$}{2}", "", self.gutter, if first { "-->" } else { ":::" }));
        out.push_str(&format!("{arrow} {}:{}:{}\n", visible(self.source.name()), at.line, at.column));
        self.push_row(out, None, "");
        let mut marks: Vec<Mark> = self.labels.iter().flat_map(|label| self.marks_of(label)).collect();
        marks.sort_by_key(|mark| (mark.line, mark.from, mark.to));
        let mut previous: Option<u32> = None;
        while let Some(line) = marks.first().map(|mark| mark.line) {
            match previous.map(|previous| line - previous) {
                Some(2) => self.push_line(out, line - 1, &[]),
                Some(gap) if gap > 2 => out.push_str(&self.style.paint(Tone::Gutter, "...\n")),
                _ => {}
            }
            let rest = marks.split_off(marks.partition_point(|mark| mark.line == line));
            self.push_line(out, line, &std::mem::replace(&mut marks, rest));
            previous = Some(line);
        }
    }

    /// What a label marks: one piece, or the end of its first line and the beginning of its last.
    fn marks_of<'l>(&self, label: &'l Label) -> Vec<Mark<'l>> {
        let (first, last) = (self.source.line_of(label.span.start), last_line(self.source, label));
        let offset = |line: u32, at: u32| at.saturating_sub(self.source.line_range(line).0) as usize;
        let mark = |line, from, to, text| Mark { line, from, to, text, primary: label.primary };
        let from = offset(first, label.span.start).min(self.source.line(first).len());
        if first == last {
            let to = offset(first, label.span.end).min(self.source.line(first).len());
            return vec![mark(first, from, to.max(from), &label.text)];
        }
        let last_text = self.source.line(last);
        let indent = last_text.len() - last_text.trim_start().len();
        let end = offset(last, label.span.end).min(last_text.len());
        vec![
            mark(first, from, self.source.line(first).len(), ""),
            mark(last, indent.min(end), end, &label.text),
        ]
    }

    fn push_line(&self, out: &mut String, number: u32, marks: &[Mark]) {
        let line = ShownLine::of(self.source.line(number), marks);
        self.push_row(out, Some(number), &line.text);
        for row in self.annotate(&line, marks) {
            self.push_row(out, None, &row);
        }
    }

    fn push_row(&self, out: &mut String, number: Option<u32>, text: &str) {
        let number = number.map(|number| number.to_string()).unwrap_or_default();
        out.push_str(&self.style.paint(Tone::Gutter, &format!("{number:>0$} |", self.gutter)));
        if !text.is_empty() {
            out.push(' ');
            out.push_str(text);
        }
        out.push('\n');
    }

    /// The rows below a line: underlines, then texts from right to left.
    fn annotate(&self, line: &ShownLine, marks: &[Mark]) -> Vec<String> {
        if marks.is_empty() {
            return Vec::new();
        }
        let placed: Vec<(usize, usize, &Mark)> = marks.iter().map(|mark| line.place(mark)).collect();
        let mut rows = vec![Row::default()];
        for primary in [false, true] {
            for &(from, to, mark) in placed.iter().filter(|(_, _, mark)| mark.primary == primary) {
                let underline = if primary { "^" } else { "-" }.repeat(to - from);
                rows[0].put(from, &underline, self.tone_of(mark));
            }
        }
        // The rightmost label has its text in the same row, if no other reaches as far.
        let end = placed.iter().map(|&(_, to, _)| to).max().unwrap_or(0);
        let (last_from, last_to, last) = placed[placed.len() - 1];
        let alone =
            placed[..placed.len() - 1].iter().all(|&(from, to, _)| from < last_from && to <= last_from);
        let mut hanging: Vec<(usize, &Mark)> = placed.iter().map(|&(from, _, mark)| (from, mark)).collect();
        if alone {
            rows[0].put(last_to + 1, &visible(&one_line(last.text)), self.tone_of(last));
            hanging.pop();
        } else if placed.iter().filter(|(_, _, mark)| !mark.text.is_empty()).count() == 1 {
            let &(_, _, only) = placed.iter().find(|(_, _, mark)| !mark.text.is_empty()).expect("counted");
            rows[0].put(end + 1, &visible(&one_line(only.text)), self.tone_of(only));
            hanging.clear();
        }
        hanging.retain(|(_, mark)| !mark.text.is_empty());
        if !hanging.is_empty() {
            rows.push(self.bars(&hanging));
        }
        while let Some((from, mark)) = hanging.pop() {
            let mut row = self.bars(&hanging);
            row.put(from, &visible(&one_line(mark.text)), self.tone_of(mark));
            rows.push(row);
        }
        rows.iter().map(|row| row.paint(self.style)).collect()
    }

    fn bars(&self, hanging: &[(usize, &Mark)]) -> Row {
        let mut row = Row::default();
        for &(from, mark) in hanging {
            row.put(from, "|", self.tone_of(mark));
        }
        row
    }

    fn tone_of(&self, mark: &Mark) -> Tone {
        if mark.primary { self.tone } else { Tone::Secondary }
    }
}

impl ShownLine {
    /// The line as it is shown: a window around the marks if it is long.
    fn of(text: &str, marks: &[Mark]) -> ShownLine {
        let mut shown = String::with_capacity(text.len());
        let mut cells: Vec<(usize, usize)> = Vec::with_capacity(text.len() + 1);
        let mut column = 0;
        for (at, c) in text.char_indices() {
            cells.push((at, column));
            let before = shown.len();
            match c {
                '\t' => shown.extend(std::iter::repeat_n(' ', TAB - column % TAB)),
                c => push_visible(c, &mut shown),
            }
            column += shown[before..].chars().map(columns).sum::<usize>();
        }
        cells.push((text.len(), column));
        let mut line = ShownLine { text: shown, columns: cells, cut: 0 };
        if column > MAX_COLUMNS {
            line.cut_to_window(marks);
        }
        line.text.truncate(line.text.trim_end().len());
        line
    }

    fn cut_to_window(&mut self, marks: &[Mark]) {
        let focus = marks.iter().find(|mark| mark.primary).or(marks.first());
        let (from, to) = focus.map_or((0, 0), |mark| (self.column_of(mark.from), self.column_of(mark.to)));
        let first = marks.iter().map(|mark| self.column_of(mark.from)).min().unwrap_or(0);
        let fits = |start: usize| to.min(from + MAX_COLUMNS / 2) <= start + MAX_COLUMNS;
        let start = [0, first.saturating_sub(LEFT_CONTEXT)].into_iter().find(|&start| fits(start));
        let start = start.unwrap_or(from.saturating_sub(LEFT_CONTEXT));
        let mut window = String::new();
        let (mut column, mut cut_right) = (0, false);
        for c in self.text.chars() {
            if column >= start && column < start + MAX_COLUMNS {
                window.push(c);
            }
            column += columns(c);
            cut_right |= column > start + MAX_COLUMNS;
        }
        let left = if start > 0 { "…" } else { "" };
        self.text = format!("{left}{window}{}", if cut_right { "…" } else { "" });
        self.cut = start.saturating_sub(left.chars().count());
    }

    fn column_of(&self, byte: usize) -> usize {
        let index = self.columns.partition_point(|&(at, _)| at <= byte).saturating_sub(1);
        self.columns[index].1
    }

    /// The columns that a mark underlines, at least one, within what is shown.
    fn place<'m, 'd>(&self, mark: &'m Mark<'d>) -> (usize, usize, &'m Mark<'d>) {
        let edge = MAX_COLUMNS + 1;
        let column = |byte| self.column_of(byte).saturating_sub(self.cut).min(edge);
        let from = column(mark.from);
        (from, column(mark.to).max(from + 1), mark)
    }
}

/// A row of characters with their tones.
#[derive(Default)]
struct Row {
    cells: Vec<(char, Tone)>,
}

impl Row {
    fn put(&mut self, column: usize, text: &str, tone: Tone) {
        for (index, c) in text.chars().enumerate() {
            let at = column + index;
            if self.cells.len() <= at {
                self.cells.resize(at + 1, (' ', Tone::Text));
            }
            self.cells[at] = (c, tone);
        }
    }

    fn paint(&self, style: Style) -> String {
        let end = self.cells.iter().rposition(|&(c, _)| c != ' ').map_or(0, |last| last + 1);
        let mut out = String::new();
        for run in self.cells[..end].chunk_by(|a, b| a.1 == b.1) {
            out.push_str(&style.paint(run[0].1, &run.iter().map(|&(c, _)| c).collect::<String>()));
        }
        out
    }
}

/// Labels by source, the source of the first primary label first.
fn group_by_source<'d>(
    diagnostic: &'d Diagnostic,
    sources: &'d SourceMap,
) -> Vec<(&'d Source, Vec<&'d Label>)> {
    let mut groups: Vec<(&Source, Vec<&Label>)> = Vec::new();
    let primary_first = [true, false];
    let labels = primary_first
        .iter()
        .flat_map(|&kind| diagnostic.labels.iter().filter(move |label| label.primary == kind));
    for label in labels {
        let Some(source) = sources.get(label.span.source) else { continue };
        match groups.iter_mut().find(|(found, _)| found.id() == source.id()) {
            Some((_, group)) => group.push(label),
            None => groups.push((source, vec![label])),
        }
    }
    groups
}

/// The last line that a label touches; a label that ends with a line break touches no line after it.
fn last_line(source: &Source, label: &Label) -> u32 {
    let first = source.line_of(label.span.start);
    let last = source.line_of(label.span.end);
    let at_start_of_line = source.line_range(last).0 == label.span.end;
    if last > first && at_start_of_line { last - 1 } else { last }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

fn push_visible(c: char, out: &mut String) {
    match c {
        '\0'..='\x1f' => out.extend(char::from_u32(0x2400 + u32::from(c))),
        '\x7f' => out.push('\u{2421}'),
        '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("<U+{:04X}>", u32::from(c))),
        // A joiner is invisible, but emoji are made with it; it has no width of its own.
        c if is_invisible(c) && c != '\u{200d}' && c != '\u{fe0f}' => {
            out.push_str(&format!("<U+{:04X}>", u32::from(c)));
        }
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests;
