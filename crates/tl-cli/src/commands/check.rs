//! `tl check`: every finding about a program, and what a finding means.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use tensorlogic::{Diagnostics, Engine, Error, Generator, GeneratorOptions};
use tl_syntax::codes;

use super::print_json;
use crate::failure::{Failure, Outcome, more_about};
use crate::opening::{self, OpenArgs};
use crate::terminal::{color, print};

/// The arguments of `tl check`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A program.
    #[arg(required_unless_present = "explain")]
    file: Option<PathBuf>,
    /// Print the page about a code, as E0401: what it means, a program that gives it and one that is right.
    #[arg(long, value_name = "CODE", conflicts_with_all = ["file", "model", "json"])]
    explain: Option<String>,
    /// Check it against this model, too: its tensors and their sizes.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Print the findings as a JSON array.
    #[arg(long)]
    json: bool,
}

/// Runs the command. Fails if there is an error among the findings.
pub fn run(args: Args) -> Outcome {
    if let Some(code) = &args.explain {
        let unknown = || {
            Failure::usage(format!(
                "there is no code {code}; a finding shows its own in brackets, as error[E0401]"
            ))
        };
        return print(format_args!("{}", codes::page(code).ok_or_else(unknown)?));
    }
    let Some(file) = &args.file else { return Ok(()) };
    let program = opening::script(file)?;
    let mut findings = program.diagnostics().clone();
    if let Some(model) = args.model.as_ref().filter(|_| !findings.has_errors()) {
        let model = opening::open_model(&opening::find(model)?, &OpenArgs::default())?;
        let generator = Generator::with_program(
            &Engine::cpu(),
            Arc::clone(&model),
            &program,
            &GeneratorOptions::default(),
        );
        match generator {
            Ok(_) => {}
            Err(Error::Program(found)) => findings = found,
            Err(other) => return Err(other.into()),
        }
    }
    if args.json {
        print_json(&to_json(&findings))?;
    } else {
        let _ = io::stderr().write_all((findings.render(color()) + &more_about(&findings)).as_bytes());
        if findings.list.is_empty() {
            print(format_args!("{}: nothing to report\n", file.display()))?;
        }
    }
    if findings.has_errors() { Err(Failure::found()) } else { Ok(()) }
}

fn to_json(findings: &Diagnostics) -> Value {
    let label = |label: &tl_syntax::Label| {
        let place = findings.sources.get(label.span.source).map(|source| {
            let at = source.line_column(label.span.start);
            json!({ "file": source.name(), "line": at.line, "column": at.column })
        });
        json!({ "start": label.span.start, "end": label.span.end, "text": label.text, "primary": label.primary, "place": place })
    };
    let fix = |fix: &tl_syntax::Fix| json!({ "message": fix.message, "start": fix.span.start, "end": fix.span.end, "replacement": fix.replacement });
    let finding = |d: &tl_syntax::Diagnostic| {
        json!({
            "code": d.code,
            "severity": if d.is_error() { "error" } else { "warning" },
            "message": d.message,
            "labels": d.labels.iter().map(label).collect::<Vec<_>>(),
            "notes": d.notes,
            "helps": d.helps,
            "fixes": d.fixes.iter().map(fix).collect::<Vec<_>>(),
        })
    };
    findings.list.iter().map(finding).collect()
}
