//! `docs/builtins.md` is the table of builtins, written out. With `TL_SUITE_UPDATE=1` it is written anew. Every function of the library has
//! an example in its comment, and the examples are run.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use tensorlogic::interpreter::{CapturedHost, Purity, builtins, signature};
use tensorlogic::library;
use tensorlogic::{Engine, Interpreter, MemoryLoader};
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
         `...` takes any number of arguments. † reads or changes something beside its arguments.\n\nThe command line adds `beam_search`, `sample`, \
         `temperature_sample`, `top_k_sample`, `top_p_sample`, `min_p_sample`, `typical_sample`, `penalize`, `seed`, models by their \
         names in the catalogue, and `json_schema`, `regex` and `grammar` for `generate` and `chat`: [the form](cli.md#a-form) of the text.\n\n## Of scripts\n\n| function | |\n|---|---|\n",
    );
    let mut rows: Vec<_> = builtins::all().collect();
    rows.sort_by_key(|row| row.name);
    for row in rows {
        let mark = if row.purity == Purity::Effect { " †" } else { "" };
        writeln!(out, "| `{}`{mark} | {} |", row.signature(), row.doc).unwrap();
    }
    out.push_str(
        "\n## Of equations and scripts, in `lib/std`\n\n| function | | for instance |\n|---|---|---|\n",
    );
    for decl in library_functions() {
        let (doc, examples) = doc_of(&decl);
        let examples: Vec<String> =
            examples.iter().map(|(call, value)| format!("`{call}` = `{value}`")).collect();
        writeln!(out, "| `{}` | {doc} | {} |", signature(&decl), examples.join("; ")).unwrap();
    }
    out
}

#[test]
fn the_examples_of_the_library_are_so() {
    for decl in library_functions() {
        let (_, examples) = doc_of(&decl);
        assert!(!examples.is_empty(), "`{}` has an example", signature(&decl));
        for (call, value) in examples {
            let printed = |engine| run(&format!("print({call})"), engine);
            for engine in [Engine::cpu_with_threads(2), Engine::scalar(), Engine::reference()] {
                let found = printed(engine);
                assert!(agree(&found, &value), "{call} is {found}, not {value}");
            }
        }
    }
}

/// The functions of `lib/std`.
fn library_functions() -> Vec<FnDecl> {
    let mut found = Vec::new();
    for file in library::standard() {
        let source = tl_syntax::Source::detached(file.path, file.text).unwrap();
        let statements = tl_syntax::parse(&source).file().stmts();
        found.extend(statements.filter_map(|s| if let Stmt::Fn(decl) = s { Some(decl) } else { None }));
    }
    found
}

/// What a comment says, and its lines `Example: CALL is VALUE`.
fn doc_of(decl: &FnDecl) -> (String, Vec<(String, String)>) {
    let text = decl.docs().unwrap_or_default();
    let (examples, words): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("Example: "));
    let example = |line: &&str| {
        let (call, value) =
            line["Example: ".len()..].rsplit_once(" is ").expect("an example says what a call is");
        (call.to_owned(), value.to_owned())
    };
    (words.join(" "), examples.iter().map(example).collect())
}

fn run(text: &str, engine: Engine) -> String {
    let host = CapturedHost::new();
    let loader = Arc::new(MemoryLoader::default());
    let mut interpreter = Interpreter::new(engine, loader, Box::new(host.clone()));
    interpreter.run("example", text).unwrap_or_else(|error| panic!("{text}: {error}"));
    host.take_output()
}

/// Whether two texts have the same brackets and, to the digits that are printed, the same numbers.
fn agree(a: &str, b: &str) -> bool {
    let shape = |text: &str| text.chars().filter(|c| "[]".contains(*c)).collect::<String>();
    let numbers = |text: &str| -> Vec<f64> {
        let pieces =
            text.split(|c: char| c.is_whitespace() || "[],".contains(c)).filter(|piece| !piece.is_empty());
        pieces.map(|piece| piece.parse().expect("a number")).collect()
    };
    let (x, y) = (numbers(a), numbers(b));
    let near = |(p, q): (&f64, &f64)| (p - q).abs() <= 1e-5 * p.abs().max(q.abs()).max(0.1);
    shape(a) == shape(b) && x.len() == y.len() && x.iter().zip(&y).all(near)
}
