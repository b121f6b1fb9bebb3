//! `tl explain`: what was derived of a model's equations.

use std::io::Write;
use std::path::Path;

use serde_json::json;
use tensorlogic::Explanation;
use tensorlogic::explain::{KernelLine, StoreLine};

use super::print_json;
use crate::failure::Outcome;
use crate::opening::{self, OpenArgs};

/// The arguments of `tl explain`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A model, or a program (FILE.tl) to explain for the model that --model names.
    subject: Option<String>,
    /// The model that a program is explained for; the default model if not given.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Print every kernel, also of layers that are alike.
    #[arg(long)]
    all: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    open: OpenArgs,
}

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
    let explanation = opened.generator.explain();
    if args.json {
        return print_json(&to_json(&explanation));
    }
    print_text(&explanation, args.all)?;
    Ok(())
}

fn to_json(e: &Explanation) -> serde_json::Value {
    let kernel =
        |k: &KernelLine| json!({ "kind": k.kind, "computes": k.label, "bytes": k.bytes, "flops": k.flops });
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

fn print_text(e: &Explanation, all: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "runs on {}\n", e.backend)?;
    writeln!(out, "a step: {} kernels, and {} once at the start", e.kernels.len(), e.setup)?;
    let lines: Vec<String> = e.kernels.iter().map(kernel_line).collect();
    print_repeated(&mut out, &lines, all)?;
    writeln!(out, "\nremembered for each sequence")?;
    let lines: Vec<String> = e.stores.iter().map(store_line).collect();
    print_repeated(&mut out, &lines, all)?;
    writeln!(
        out,
        "  in all {} for each position, and {} that do not grow",
        bytes(e.growing_bytes_per_position),
        bytes(e.window_bytes)
    )?;
    writeln!(
        out,
        "\nfor each token: {} of weights, {:.3} Gop",
        bytes(e.bytes_per_token),
        e.flops_per_token as f64 / 1e9
    )
}

fn kernel_line(k: &KernelLine) -> String {
    let weights = if k.bytes > 0 { format!("  ({} of weights)", bytes(k.bytes)) } else { String::new() };
    format!("  {:indent$}{:<10} {}{weights}", "", k.kind, k.label, indent = 2 * k.depth)
}

fn store_line(s: &StoreLine) -> String {
    let kept = s.window.map_or("all rows".to_owned(), |w| format!("a ring of {w} rows"));
    format!("  {:<12} {kept}, {} a row", s.name, bytes(s.row_bytes()))
}

/// Prints lines; those that repeat with other layer numbers once, with how often they come.
fn print_repeated(out: &mut impl Write, lines: &[String], all: bool) -> std::io::Result<()> {
    let alike: Vec<String> = lines.iter().map(|l| without_numbers(l)).collect();
    let mut at = 0;
    while at < lines.len() {
        let (period, times) = if all { (1, 1) } else { repetition(&alike[at..]) };
        lines[at..at + period].iter().try_for_each(|line| writeln!(out, "{line}"))?;
        if times > 1 {
            writeln!(out, "  … and so on: {times} times in all")?;
        }
        at += period * times;
    }
    Ok(())
}

/// The block at the start that covers most lines by repeating: its length and how often it comes. Two repetitions are printed as
/// they are.
fn repetition(lines: &[String]) -> (usize, usize) {
    let times =
        |period: usize| 1 + lines.chunks_exact(period).skip(1).take_while(|c| *c == &lines[..period]).count();
    let candidates =
        (1..=lines.len().min(64)).map(|period| (period, times(period))).filter(|&(_, times)| times > 2);
    candidates.max_by_key(|&(period, times)| (period * times, times)).unwrap_or((1, 1))
}

/// The line with the numbers in brackets left out.
fn without_numbers(line: &str) -> String {
    let mut inside = false;
    line.chars()
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
