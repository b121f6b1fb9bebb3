//! The examples that need no model print what stands in `expected/` beside them, under each treatment. With
//! `TL_SUITE_UPDATE=1` the expectations are written anew, to be read in the diff.

use std::path::Path;
use std::sync::Arc;

use tensorlogic::interpreter::CapturedHost;
use tensorlogic::{DiskLoader, Engine, Interpreter, Program};

#[test]
fn examples_print_what_is_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/paper");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "tl") {
            continue;
        }
        count += 1;
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let program = Program::check_script(&name, &text, &DiskLoader::new(&folder), &[]);
        assert!(program.diagnostics().list.is_empty(), "{}", program.diagnostics());
        let expected_path = folder.join("expected").join(format!("{name}.txt"));
        if std::env::var("TL_SUITE_UPDATE").is_ok() {
            std::fs::write(&expected_path, run(&folder, &name, &text, Engine::cpu_with_threads(2))).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap();
        for engine in [Engine::cpu_with_threads(2), Engine::scalar(), Engine::reference()] {
            let engine_name = engine.name();
            let found = run(&folder, &name, &text, engine);
            assert!(agree(&found, &expected), "{name} with {engine_name}:\n{found}\nexpected:\n{expected}");
        }
    }
    assert!(count > 0, "there are examples");
}

/// Whether two outputs are the same, but for the last digits of numbers and the widths of columns.
fn agree(a: &str, b: &str) -> bool {
    let breaks = |c: char| c.is_whitespace() || "[](),{}".contains(c);
    let pieces = |text: &str| -> Vec<String> {
        text.split(breaks).filter(|piece| !piece.is_empty()).map(str::to_owned).collect()
    };
    let (a, b) = (pieces(a), pieces(b));
    a.len() == b.len()
        && a.iter().zip(&b).all(|(p, q)| match (p.parse::<f64>(), q.parse::<f64>()) {
            (Ok(x), Ok(y)) => x == y || (x - y).abs() <= 2e-5 * x.abs().max(y.abs()),
            _ => p == q,
        })
}

fn run(folder: &Path, name: &str, text: &str, engine: Engine) -> String {
    let host = CapturedHost::new();
    let loader = Arc::new(DiskLoader::new(folder));
    let mut interpreter = Interpreter::new(engine, loader, Box::new(host.clone()));
    if let Err(error) = interpreter.run(name, text) {
        panic!("{name}: {error}");
    }
    assert_eq!(host.take_warnings(), Vec::<String>::new(), "{name}");
    host.take_output()
}
