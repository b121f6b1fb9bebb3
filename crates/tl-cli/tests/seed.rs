//! The scripts of the seed, run by the program as a person runs them, print what stands in `expected/` beside them.
//!
//! They need the default model, which is fetched if it is not there; `TL_TEST_OFFLINE=1` leaves those out that do and says so. Numbers
//! may differ in their last digits.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The one script that makes its own model.
const WITHOUT_MODEL: &[&str] = &["debug_output_weight"];

#[test]
fn seed_scripts_print_what_is_expected() {
    let offline = std::env::var_os("TL_TEST_OFFLINE").is_some_and(|value| !value.is_empty() && value != "0");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/seed");
    let (run, left_out): (Vec<PathBuf>, Vec<PathBuf>) =
        scripts(&folder).into_iter().partition(|script| !offline || WITHOUT_MODEL.contains(&&*stem(script)));
    if !left_out.is_empty() {
        // Past the capture of the test runner, so that it is seen.
        let _ =
            writeln!(std::io::stderr(), "left out (TL_TEST_OFFLINE): {} scripts of the seed", left_out.len());
    }
    for script in run {
        let expected =
            std::fs::read_to_string(folder.join("expected").join(format!("{}.txt", stem(&script)))).unwrap();
        let printed = output_of(&script);
        assert!(
            agree(&printed, &expected),
            "{}\n--- expected\n{expected}--- printed\n{printed}",
            stem(&script)
        );
    }
}

fn scripts(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut scripts: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "tl")).collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "there are scripts");
    scripts
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

/// What a script prints, run in a folder of its own, as one of them writes a file.
fn output_of(script: &Path) -> String {
    let folder = std::env::temp_dir().join(format!("tl-seed-{}-{}", stem(script), std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let copy = folder.join(script.file_name().unwrap());
    std::fs::copy(script, &copy).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_tl")).arg("run").arg(&copy).current_dir(&folder).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", stem(script));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether two outputs have the same lines, words and, nearly, numbers.
fn agree(printed: &str, expected: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let breaks = |c: char| c.is_whitespace() || "[](),".contains(c);
        text.split(breaks).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let (ours, theirs) = (words(printed), words(expected));
    printed.lines().count() == expected.lines().count()
        && ours.len() == theirs.len()
        && ours.iter().zip(&theirs).all(|(a, b)| match (a.parse::<f64>(), b.parse::<f64>()) {
            // The same word may be one that is no finite number.
            (Ok(x), Ok(y)) => a == b || (x - y).abs() <= 0.01 * x.abs().max(1.0),
            _ => a == b,
        })
}
