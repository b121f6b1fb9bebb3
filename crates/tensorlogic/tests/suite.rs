//! Runs the programs of `tests/suite`: each file holds what it is to print, or what is to be wrong with it.
//!
//! ```text
//! print(1 + 1)
//! // Output:
//! // 2
//! ```
//!
//! `// Error: 3:5-9 message` expects an error at line 3, columns 5 to before 9, whose message begins so; `// Warning:` likewise. A
//! program runs under several treatments (the CPU backend, the scalar backend, the reference, and the CPU backend once more after formatting),
//! which must give one answer. Files whose name begins with `_` are for others to import. With `TL_SUITE_UPDATE=1` the expectations are written anew, to be read in the diff;
//! `TL_SUITE=part/of/a/path` runs a part.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tensorlogic::error::Error;
use tensorlogic::interpreter::CapturedHost;
use tensorlogic::loader::{DiskLoader, LoadError, Loader, MemoryLoader};
use tensorlogic::{Engine, Interpreter, Program};
use tl_syntax::{Diagnostic, SourceMap};

/// What a run gave: what it printed, and what was found wrong, as the comments write it.
#[derive(Debug, PartialEq, Eq, Clone, Default)]
struct Outcome {
    output: String,
    findings: Vec<String>,
}

impl Outcome {
    /// Whether two runs print the same, but for the last digits of numbers and the widths of columns, and find the same.
    fn agrees_with(&self, other: &Outcome) -> bool {
        let (ours, theirs) = (pieces(&self.output), pieces(&other.output));
        self.findings == other.findings
            && self.output.lines().count() == other.output.lines().count()
            && ours.len() == theirs.len()
            && ours.iter().zip(&theirs).all(|(a, b)| match (a.parse::<f64>(), b.parse::<f64>()) {
                (Ok(x), Ok(y)) => x == y || (x - y).abs() <= 2e-5 * x.abs().max(y.abs()) || a == b,
                _ => a == b,
            })
    }
}

impl Outcome {
    /// The same with findings that don't say where.
    fn without_places(&self) -> Outcome {
        let without_place = |finding: &String| {
            let parts: Vec<&str> = finding.splitn(3, ' ').collect();
            match parts[..] {
                [kind, place, message] if place.starts_with(|c: char| c.is_ascii_digit()) => {
                    format!("{kind} {message}")
                }
                _ => finding.clone(),
            }
        };
        Outcome { output: self.output.clone(), findings: self.findings.iter().map(without_place).collect() }
    }
}

/// A text in numbers and what stands between them, without white space.
fn pieces(text: &str) -> Vec<&str> {
    let breaks = |c: char| c.is_whitespace() || "[](),{}".contains(c);
    text.split(breaks).filter(|piece| !piece.is_empty()).collect()
}

/// Reads from disk, and keeps in memory what is written.
#[derive(Debug)]
struct OverlayLoader {
    disk: DiskLoader,
    written: MemoryLoader,
}

impl Loader for OverlayLoader {
    fn read(&self, path: &str) -> Result<Vec<u8>, LoadError> {
        self.written.read(path).or_else(|_| self.disk.read(path))
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), LoadError> {
        self.written.write(path, bytes)
    }

    fn locate(&self, path: &str) -> Result<Option<PathBuf>, LoadError> {
        self.written.locate(path).or_else(|_| self.disk.locate(path))
    }
}

#[test]
fn programs_do_what_their_comments_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/suite");
    let (filter, update) =
        (std::env::var("TL_SUITE").unwrap_or_default(), std::env::var("TL_SUITE_UPDATE").is_ok());
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(!files.is_empty(), "there are programs in {}", root.display());
    let mut failures = Vec::new();
    for file in files.iter().filter(|f| f.to_string_lossy().contains(&filter)) {
        if let Err(failure) = check(file, update) {
            failures.push(format!("{}\n{failure}", file.strip_prefix(&root).unwrap_or(file).display()));
        }
    }
    assert!(failures.is_empty(), "{} programs fail:\n\n{}", failures.len(), failures.join("\n\n"));
}

fn collect(folder: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            collect(&path, out);
        } else if name.ends_with(".tl") && !name.starts_with('_') {
            out.push(path);
        }
    }
}

fn check(file: &Path, update: bool) -> Result<(), String> {
    let text = std::fs::read_to_string(file).unwrap();
    let expected = expectations(&text);
    let first = run(file, &text, Engine::cpu_with_threads(2));
    if update && !first.agrees_with(&expected) {
        std::fs::write(file, rewritten(&text, &first)).unwrap();
    } else if !first.agrees_with(&expected) {
        return Err(difference("the CPU backend", &expected, &first));
    }
    check_without_running(file, &text, &first)?;
    for (name, engine) in [("the scalar backend", Engine::scalar()), ("the reference", Engine::reference())] {
        let other = run(file, &text, engine);
        if !other.agrees_with(&first) {
            return Err(difference(name, &first, &other));
        }
    }
    let formatted = run(file, &formatted(&text), Engine::cpu_with_threads(2)).without_places();
    if !formatted.agrees_with(&first.without_places()) {
        return Err(difference("formatting", &first, &formatted));
    }
    Ok(())
}

/// The program in its standard layout.
fn formatted(text: &str) -> String {
    let source = tl_syntax::Source::detached("", text).unwrap();
    tl_syntax::fmt::format(&tl_syntax::parse(&source))
}

/// The checker has no objection to a program that runs.
fn check_without_running(file: &Path, text: &str, outcome: &Outcome) -> Result<(), String> {
    let name = file.file_name().unwrap().to_string_lossy();
    let program = Program::check_script(&name, text, &DiskLoader::new(file.parent().unwrap()), &[]);
    let runs = !outcome.findings.iter().any(|f| f.starts_with("Error: "));
    if runs && program.has_errors() {
        return Err(format!("it runs, but the checker says\n{}", program.diagnostics()));
    }
    Ok(())
}

fn run(file: &Path, text: &str, engine: Engine) -> Outcome {
    let disk = DiskLoader::new(file.parent().unwrap());
    let loader = Arc::new(OverlayLoader { disk, written: MemoryLoader::default() });
    let host = CapturedHost::new();
    host.push_line("a line");
    host.set_env("TL_SUITE_VARIABLE", "a value");
    let mut interpreter = Interpreter::new(engine, loader, Box::new(host.clone()));
    interpreter.set_arguments(vec!["one".into(), "two".into()]);
    interpreter.limits_mut().steps = 100_000;
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let result = interpreter.run(&name, text);
    let mut findings =
        interpreter.take_warnings().iter().map(|w| finding(interpreter.sources(), w)).collect::<Vec<_>>();
    if let Err(error) = result {
        match error {
            Error::Program(found) => findings.extend(found.list.iter().map(|d| finding(&found.sources, d))),
            other => findings.push(format!("Error: {other}")),
        }
    }
    Outcome { output: host.take_output(), findings }
}

/// A diagnostic as the comments write it.
fn finding(sources: &SourceMap, diagnostic: &Diagnostic) -> String {
    let kind = if diagnostic.is_error() { "Error" } else { "Warning" };
    let place = diagnostic.primary_span().and_then(|span| {
        let source = sources.get(span.source)?;
        let (start, end) = (source.line_column(span.start), source.line_column(span.end));
        let file = if source.name().starts_with('_') { format!("{} ", source.name()) } else { String::new() };
        Some(if start.line == end.line {
            format!("{file}{}:{}-{} ", start.line, start.column, end.column)
        } else {
            format!("{file}{}:{}-{}:{} ", start.line, start.column, end.line, end.column)
        })
    });
    format!("{kind}: {}{}", place.unwrap_or_default(), diagnostic.message)
}

/// What the comments of a program expect.
fn expectations(text: &str) -> Outcome {
    let (mut outcome, mut in_output) = (Outcome::default(), false);
    for line in text.lines() {
        let comment = line.strip_prefix("//").map(|c| c.strip_prefix(' ').unwrap_or(c));
        match comment {
            Some("Output:") => in_output = true,
            Some(comment) if comment.starts_with("Error: ") || comment.starts_with("Warning: ") => {
                outcome.findings.push(comment.to_owned());
                in_output = false;
            }
            Some(comment) if in_output => {
                outcome.output.push_str(comment);
                outcome.output.push('\n');
            }
            _ => in_output = false,
        }
    }
    outcome
}

/// The program with the expectations that an outcome makes, at its end.
fn rewritten(text: &str, outcome: &Outcome) -> String {
    let is_expectation = |line: &&str| {
        ["// Output:", "// Error: ", "// Warning: "].iter().any(|start| line.starts_with(start))
    };
    let kept: Vec<&str> = text.lines().take_while(|line| !is_expectation(line)).collect();
    let mut out = kept.join("\n").trim_end().to_owned();
    out.push('\n');
    for finding in &outcome.findings {
        out.push_str(&format!("\n// {finding}"));
    }
    if !outcome.findings.is_empty() {
        out.push('\n');
    }
    if !outcome.output.is_empty() {
        out.push_str("\n// Output:\n");
        for line in outcome.output.lines() {
            out.push_str(format!("// {line}").trim_end());
            out.push('\n');
        }
    }
    out
}

fn difference(treatment: &str, expected: &Outcome, found: &Outcome) -> String {
    let show = |o: &Outcome| {
        format!("{}{}", o.findings.iter().map(|f| format!("  {f}\n")).collect::<String>(), o.output)
    };
    format!("under {treatment}\n--- expected\n{}--- found\n{}", show(expected), show(found))
}
