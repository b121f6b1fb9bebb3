//! `docs/builtins.md` is the table of builtins, written out. With `TL_SUITE_UPDATE=1` it is written anew.

use std::fmt::Write;
use std::path::Path;

use tensorlogic::interpreter::Purity;
use tensorlogic::interpreter::builtins;
use tensorlogic::library;
use tl_syntax::ast::{FnDecl, Stmt};

#[test]
fn the_reference_lists_every_function() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/builtins.md");
    let expected = reference();
    if std::env::var("TL_SUITE_UPDATE").is_ok() {
        std::fs::write(&path, &expected).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, expected, "run the tests with TL_SUITE_UPDATE=1 to write docs/builtins.md");
}

fn reference() -> String {
    let mut out = String::from(
        "# Functions\n\nWritten by a test from the table of builtins and from `lib/std`. A parameter with `=` may be left out, one with \
         `...` takes any number of arguments. † reads or changes something beside its arguments.\n\nThe command line adds `sample`, \
         `temperature_sample`, `top_k_sample`, `top_p_sample`, `min_p_sample`, `typical_sample`, `penalize`, `seed`, and models by their \
         names in the catalogue.\n\n## Of scripts\n\n| function | |\n|---|---|\n",
    );
    let mut rows: Vec<_> = builtins::all().collect();
    rows.sort_by_key(|row| row.name);
    for row in rows {
        let mark = if row.purity == Purity::Effect { " †" } else { "" };
        writeln!(out, "| `{}`{mark} | {} |", row.signature(), row.doc).unwrap();
    }
    out.push_str("\n## Of equations and scripts, in `lib/std`\n\n| function | |\n|---|---|\n");
    for file in library::standard() {
        let source = tl_syntax::Source::detached(file.path, file.text).unwrap();
        for statement in tl_syntax::parse(&source).file().stmts() {
            if let Stmt::Fn(decl) = statement {
                writeln!(
                    out,
                    "| `{}` | {} |",
                    head(&decl),
                    decl.docs().unwrap_or_default().replace('\n', " ")
                )
                .unwrap();
            }
        }
    }
    out
}

/// `name(parameters) -> result`
fn head(decl: &FnDecl) -> String {
    let name = decl.name().unwrap();
    let params: Vec<String> = decl.params().iter().map(|p| p.text().trim().to_owned()).collect();
    let result = decl.result().map(|r| format!(" -> {}", r.text().trim())).unwrap_or_default();
    format!("{}({}){result}", name.as_str(), params.join(", "))
}
