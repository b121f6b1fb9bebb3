//! `tl explain`: what was derived of a model's equations.
//!
//! Each kernel stands beside the equation that it came from. Layers that are alike are printed once: what repeats is found in the
//! list of kernels itself, by comparing lines with the numbers of layers left out.

use std::fmt::Write;
use std::path::Path;

use serde_json::json;
use tensorlogic::explain::{KernelLine, StoreLine};
use tensorlogic::{Explanation, Program, library};
use tl_syntax::{SourceMap, Span};

use super::print_json;
use super::profile::Profile;
use crate::failure::Outcome;
use crate::opening::{self, OpenArgs, Opened};
use crate::terminal::print;

/// The arguments of `tl explain`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A model, or a program (FILE.tl) to explain for the model that --model names; the default model if not given.
    #[arg(value_name = "MODEL|FILE.tl")]
    subject: Option<String>,
    /// The model that a program is explained for; the default model if not given.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Print every kernel, also of layers that are alike.
    #[arg(long)]
    all: bool,
    /// Run a step and show the time of its kernels, and what bounds it.
    #[arg(long)]
    profile: bool,
    /// With --profile: the rows of the step.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "profile", value_parser = clap::value_parser!(u16).range(1..=ROWS))]
    rows: u16,
    /// With --profile: how many tokens come before it.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "profile")]
    depth: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    open: OpenArgs,
}

/// Characters of an equation that are shown.
const EQUATION_WIDTH: usize = 64;

/// Rows of a step at most: a longer prompt is several steps.
const ROWS: i64 = 256;

/// Runs the command.
pub fn run(args: Args, threads: Option<usize>) -> Outcome {
    let mut open = args.open.clone();
    let is_program = |s: &String| Path::new(s).extension().is_some_and(|e| e == "tl");
    let model = match args.subject {
        Some(subject) if is_program(&subject) => {
            open.with = Some(subject.into());
            args.model
        }
        subject => subject.or(args.model),
    };
    let opened = opening::open(model.as_deref().unwrap_or_else(|| opening::default_name()), &open, threads)?;
    let program = program_of(&opened, &open)?;
    if args.profile {
        let size = (usize::from(args.rows), args.depth as usize);
        let profile = Profile::measure(&opened.generator, &program.diagnostics().sources, size, threads)?;
        return if args.json {
            print_json(&profile.to_json())
        } else {
            print(format_args!("{}", profile.text()))
        };
    }
    let report = Report { explanation: opened.generator.explain(), sources: &program.diagnostics().sources };
    if args.json { print_json(&report.to_json()) } else { print(format_args!("{}", report.text(args.all))) }
}

/// The program whose places the spans of the plan are: reading a text again gives the same spans.
fn program_of(opened: &Opened, open: &OpenArgs) -> Outcome<Program> {
    if let Some(path) = &open.with {
        return opening::program(path);
    }
    let architecture = opened.generator.model().architecture().unwrap_or_default();
    Ok(Program::library(library::model_for(architecture).expect("a generator was made of it")))
}

/// The kernels of an expression of a script.
pub(super) fn kernels(explanation: Explanation, sources: &SourceMap) -> String {
    let report = Report { explanation, sources };
    let kernels = &report.explanation.kernels;
    let plural = if kernels.len() == 1 { "" } else { "s" };
    let mut out = format!("{} kernel{plural}\n", kernels.len());
    print_repeated(&mut out, kernels.iter().map(|k| report.kernel_line(k)).collect(), false);
    out
}

struct Report<'a> {
    explanation: Explanation,
    sources: &'a SourceMap,
}

/// Where an equation stands.
pub(super) struct Place {
    file: String,
    line: u32,
    /// Its line without the spaces that align it.
    text: String,
}

/// The place of an equation.
pub(super) fn place(sources: &SourceMap, span: Span) -> Option<Place> {
    let source = sources.get(span.source)?;
    let line = source.line_of(span.start);
    let text = source.line(line).split_whitespace().collect::<Vec<_>>().join(" ");
    let file = source.name().rsplit('/').next().unwrap_or_default().to_owned();
    Some(Place { file, line, text })
}

impl Place {
    /// File, line, and as much of the equation as a line of a table has room for.
    pub(super) fn brief(&self) -> String {
        let short: String = self.text.chars().take(EQUATION_WIDTH).collect();
        let more = if short.len() < self.text.len() { "…" } else { "" };
        format!("{:<11} {short}{more}", format!("{}:{}", self.file, self.line))
    }
}

/// A line to print, and what makes it like another one.
struct Line {
    text: String,
    likeness: String,
}

impl Report<'_> {
    fn place(&self, span: Span) -> Option<Place> {
        place(self.sources, span)
    }

    fn to_json(&self) -> serde_json::Value {
        let e = &self.explanation;
        let kernel = |k: &KernelLine| {
            let place = self.place(k.span);
            json!({
                "kind": k.kind, "computes": k.label, "bytes": k.bytes, "flops": k.flops,
                "file": place.as_ref().map(|p| &p.file), "line": place.as_ref().map(|p| p.line),
                "equation": place.as_ref().map(|p| &p.text),
            })
        };
        let store = |s: &StoreLine| json!({ "tensor": s.name, "width": s.width, "window": s.window, "row_bytes": s.row_bytes() });
        json!({
            "backend": e.backend,
            "kernels": e.kernels.iter().map(kernel).collect::<Vec<_>>(),
            "setup_kernels": e.setup,
            "stores": e.stores.iter().map(store).collect::<Vec<_>>(),
            "weights": e.weights,
            "bytes_per_token": e.bytes_per_token,
            "flops_per_token": e.flops_per_token,
            "growing_bytes_per_position": e.growing_bytes_per_position,
            "window_bytes": e.window_bytes,
        })
    }

    fn text(&self, all: bool) -> String {
        let e = &self.explanation;
        let mut out = format!("runs on {}\n\n", e.backend);
        let _ = writeln!(out, "a step: {} kernels, and {} once at the start", e.kernels.len(), e.setup);
        print_repeated(&mut out, e.kernels.iter().map(|k| self.kernel_line(k)).collect(), all);
        let _ = writeln!(out, "\nremembered for each sequence");
        print_repeated(&mut out, e.stores.iter().map(store_line).collect(), all);
        let (growing, fixed) = (bytes(e.growing_bytes_per_position), bytes(e.window_bytes));
        let _ = writeln!(out, "  in all {growing} for each position, and {fixed} that do not grow");
        let (read, operations) = (bytes(e.bytes_per_token), e.flops_per_token as f64 / 1e9);
        let _ = writeln!(out, "\nfor each token: {read} of weights, {operations:.3} Gop");
        out
    }

    fn kernel_line(&self, k: &KernelLine) -> Line {
        let weights = if k.bytes > 0 { bytes(k.bytes) } else { String::new() };
        let place = self.place(k.span).map_or_else(String::new, |p| p.brief());
        let head = format!("{:indent$}{:<10}", "", k.kind, indent = 2 * k.depth);
        Line {
            text: format!("{head} {:<8} {weights:>9}  {place}", k.label).trim_end().to_owned(),
            likeness: format!("{head} {} {weights} {place}", without_layers(&k.label)),
        }
    }
}

fn store_line(s: &StoreLine) -> Line {
    let kept = format!("{}, {} a row", s.kept(), bytes(s.row_bytes()));
    Line { text: format!("{:<10} {kept}", s.name), likeness: format!("{} {kept}", without_layers(&s.name)) }
}

/// Prints lines; those that repeat with other numbers of layers once, with how often they come.
fn print_repeated(out: &mut String, lines: Vec<Line>, all: bool) {
    let mut at = 0;
    while at < lines.len() {
        let (period, times) = if all { (1, 1) } else { repetition(&lines[at..]) };
        let margin = if times > 1 { '│' } else { ' ' };
        for line in &lines[at..at + period] {
            let _ = writeln!(out, "{margin} {}", line.text);
        }
        if times > 1 {
            let _ = writeln!(out, "└ × {times}");
        }
        at += period * times;
    }
}

/// The block at the start that covers most lines by repeating: its length and how often it comes. Two repetitions are printed as
/// they are.
fn repetition(lines: &[Line]) -> (usize, usize) {
    let alike = |a: &[Line], b: &[Line]| a.iter().zip(b).all(|(a, b)| a.likeness == b.likeness);
    let times = |period: usize| {
        1 + lines.chunks_exact(period).skip(1).take_while(|c| alike(c, &lines[..period])).count()
    };
    let candidates =
        (1..=lines.len().min(64)).map(|period| (period, times(period))).filter(|&(_, times)| times > 2);
    candidates.max_by_key(|&(period, times)| (period * times, times)).unwrap_or((1, 1))
}

/// The name of a tensor with the numbers in brackets left out: `x[29]` and `x[3]` are alike.
fn without_layers(name: &str) -> String {
    let mut inside = false;
    name.chars()
        .filter(|&c| {
            inside = (inside || c == '[') && c != ']';
            !(inside && c.is_ascii_digit())
        })
        .collect()
}

/// A number of bytes as a person writes it: `96.6 MB`.
fn bytes(n: usize) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(names: &[&str], all: bool) -> String {
        let line = |name: &&str| Line { text: (*name).to_owned(), likeness: without_layers(name) };
        let mut out = String::new();
        print_repeated(&mut out, names.iter().map(line).collect(), all);
        out
    }

    #[test]
    fn layers_that_are_alike_are_printed_once() {
        let names = ["x[0]", "k[1]", "v[1]", "k[2]", "v[2]", "k[13]", "v[13]", "logits"];
        assert_eq!(printed(&names, false), "  x[0]\n│ k[1]\n│ v[1]\n└ × 3\n  logits\n");
        assert_eq!(printed(&names, true).lines().count(), names.len());
        assert_eq!(printed(&["k[0]", "k[1]"], false), "  k[0]\n  k[1]\n", "two are printed as they are");
    }

    #[test]
    fn bytes_are_told_in_the_unit_that_fits() {
        for (n, told) in [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (96_600_000, "96.6 MB")] {
            assert_eq!(bytes(n), told);
        }
    }
}
