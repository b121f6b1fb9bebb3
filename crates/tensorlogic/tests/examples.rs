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
        let program = Program::check(&name, &text, &DiskLoader::new(&folder));
        assert!(program.diagnostics().list.is_empty(), "{}", program.diagnostics());
        let expected_path = folder.join("expected").join(format!("{name}.txt"));
        if std::env::var("TL_SUITE_UPDATE").is_ok() {
            std::fs::write(&expected_path, run(&name, &text, Engine::cpu_with_threads(2))).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap();
        for engine in [Engine::cpu_with_threads(2), Engine::scalar(), Engine::reference()] {
            assert_eq!(run(&name, &text, engine), expected, "{name}");
        }
    }
    assert!(count > 0, "there are examples");
}

fn run(name: &str, text: &str, engine: Engine) -> String {
    let host = CapturedHost::new();
    let mut interpreter = Interpreter::new(engine, Arc::new(DiskLoader::new(".")), Box::new(host.clone()));
    if let Err(error) = interpreter.run(name, text) {
        panic!("{name}: {error}");
    }
    assert_eq!(host.take_warnings(), Vec::<String>::new(), "{name}");
    host.take_output()
}
