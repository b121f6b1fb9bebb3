//! `tl fmt`: programs in their standard layout.
//!
//! Every file is looked at, whatever is wrong with others; the exit code is that of the worst.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tensorlogic::Diagnostics;
use tl_syntax::{Diagnostic, SourceMap, fmt, parse};

use crate::failure::{Failure, Outcome};
use crate::terminal::{color, print};

/// The arguments of `tl fmt`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Programs, and folders with programs (`*.tl`) in them; `-` formats standard input to standard output.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    paths: Vec<PathBuf>,
    /// Change nothing; list the files that are not in the standard layout, and fail if there is one.
    #[arg(long)]
    check: bool,
}

/// Runs the command: prints the paths of the files that it changes.
pub fn run(args: Args) -> Outcome {
    let mut worst: Option<Failure> = None;
    let mut keep = |done: Outcome<bool>| {
        let failure = match done {
            Ok(changed) if changed && args.check => Failure::found(),
            Ok(_) => return,
            Err(failure) => failure,
        };
        failure.tell();
        if worst.as_ref().is_none_or(|worst| worst.code() < failure.code()) {
            worst = Some(failure.told());
        }
    };
    for path in &args.paths {
        if path.as_os_str() == "-" {
            keep(format_input(args.check));
            continue;
        }
        match programs(path) {
            Ok(files) => files.iter().for_each(|file| keep(format_file(file, args.check))),
            Err(failure) => keep(Err(failure)),
        }
    }
    worst.map_or(Ok(()), Err)
}

/// The file itself, or the programs of a folder in the order of their names. Hidden folders and links to folders are left out.
fn programs(path: &Path) -> Outcome<Vec<PathBuf>> {
    let failed = |e: io::Error| Failure::file(path, &e);
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut found, mut pending) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|e| Failure::file(&folder, &e))? {
            let entry = entry.map_err(failed)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
            if kind.is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
                pending.push(path);
            } else if !kind.is_dir() && path.extension().is_some_and(|e| e == "tl") && path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Formats a file; gives whether that changes it.
fn format_file(path: &Path, check: bool) -> Outcome<bool> {
    let bytes = std::fs::read(path).map_err(|e| Failure::file(path, &e))?;
    let formatted = formatted(&path.display().to_string(), &bytes)?;
    let changed = formatted.as_bytes() != bytes;
    if changed {
        if !check {
            std::fs::write(path, &formatted).map_err(|e| Failure::file(path, &e))?;
        }
        print(format_args!("{}\n", path.display()))?;
    }
    Ok(changed)
}

fn format_input(check: bool) -> Outcome<bool> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    let formatted = formatted("standard input", &bytes)?;
    let changed = formatted.as_bytes() != bytes;
    if !check {
        print(format_args!("{formatted}"))?;
    } else if changed {
        print(format_args!("standard input\n"))?;
    }
    Ok(changed)
}

/// The standard layout of a program. One that can't be parsed has none.
fn formatted(name: &str, bytes: &[u8]) -> Outcome<String> {
    let mut sources = SourceMap::new();
    let parsed = match sources.add_bytes(name, bytes) {
        Ok(source) => parse(&source),
        Err(error) => return Err(wrong(sources, vec![error.to_diagnostic()])),
    };
    if parsed.has_errors() {
        let errors = parsed.diagnostics.into_iter().filter(Diagnostic::is_error).collect();
        return Err(wrong(sources, errors));
    }
    Ok(fmt::format(&parsed))
}

/// Shows what is wrong with a program.
fn wrong(sources: SourceMap, list: Vec<Diagnostic>) -> Failure {
    let text = Diagnostics { sources, list }.render(color());
    let _ = io::stderr().write_all(text.as_bytes());
    Failure::found()
}
