//! The house rules that a compiler does not check: who may import whom, what every file begins with, where `unsafe` may stand.
//!
//! The table of rooms in ARCHITECTURE.md is the source: an edge that it does not list fails here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the workspace is two folders up")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All files below `folder` with that ending, build output left out.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn crates() -> Vec<String> {
    let entries = fs::read_dir(root().join("crates")).expect("the crates are there");
    let mut names: Vec<String> =
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The table of rooms: `| `crate` | what lives there | imports |`, imports by name without `tl-`, `all above` or `any`.
fn allowed_edges() -> BTreeMap<String, BTreeSet<String>> {
    let text = read(&root().join("ARCHITECTURE.md"));
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|l| l.starts_with("| `tl-") || l.starts_with("| `tensorlogic`")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let name = cells[0].trim_matches('`').to_string();
        let full = |short: &str| match short {
            "tensorlogic" => short.to_string(),
            short => format!("tl-{short}"),
        };
        let imports = match *cells.last().expect("a row has cells") {
            "–" => BTreeSet::new(),
            "all above" | "any" => edges.keys().cloned().collect(),
            list => list.split(", ").map(full).collect(),
        };
        edges.insert(name, imports);
    }
    edges
}

#[test]
fn crates_import_only_what_the_table_allows() {
    let allowed = allowed_edges();
    let mut wrong = Vec::new();
    for name in crates() {
        let Some(imports) = allowed.get(&name) else {
            wrong.push(format!("{name} is not in the table of rooms of ARCHITECTURE.md"));
            continue;
        };
        let manifest = read(&root().join("crates").join(&name).join("Cargo.toml"));
        let dependencies =
            manifest.split("[dependencies]").nth(1).unwrap_or("").split("\n[").next().unwrap_or("");
        for line in dependencies.lines() {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or("");
            let ours = dependency.starts_with("tl-") || dependency == "tensorlogic";
            if ours && !imports.contains(dependency) {
                wrong.push(format!("{name} may not import {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let sources = files(&root(), "rs");
    assert!(sources.len() > 50, "the sources are found");
    let silent: Vec<String> = sources
        .iter()
        .filter(|path| !read(path).trim_start().starts_with("//!"))
        .map(|path| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "these files do not begin with `//!`:\n{}", silent.join("\n"));
}

#[test]
fn unsafe_stands_only_where_it_may_and_says_why() {
    const ALLOWED: [&str; 2] = ["crates/tl-tensor/", "crates/tl-cpu/"];
    let mut wrong = Vec::new();
    for path in files(&root().join("crates"), "rs") {
        let text = read(&path);
        let relative = path.strip_prefix(root()).expect("below the root").display().to_string();
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            let opens_block = code.contains("unsafe {") || code.contains("unsafe impl");
            let is_unsafe = opens_block || code.contains("unsafe fn");
            if !is_unsafe || code.contains('"') {
                continue;
            }
            let in_tests = relative.contains("/tests/") || relative.contains("/benches/");
            if !in_tests && !ALLOWED.iter().any(|a| relative.starts_with(a)) {
                wrong.push(format!("{relative}:{}: unsafe outside of its rooms", number + 1));
            }
            let before = &lines[number.saturating_sub(12)..=number];
            if opens_block && !before.iter().any(|l| l.contains("SAFETY:")) {
                wrong.push(format!("{relative}:{}: an unsafe block without a SAFETY sentence", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A model family is a page of equations: no Rust knows one, but where files' metadata is read.
#[test]
fn no_rust_names_an_architecture() {
    // Vocabulary kinds and weights' names are facts of the file formats; kernels and tests may say what they are used for.
    const EXEMPT: [&str; 4] = ["crates/tl-formats/", "/tests/", "/benches/", "crates/tl-ir/src/stream.rs"];
    let words = ["llama", "kv_cache", "kv cache", "kvcache", "n_head", "rope"];
    let mut wrong = Vec::new();
    for path in files(&root().join("crates"), "rs") {
        let relative = path.strip_prefix(root()).expect("below the root").display().to_string();
        if EXEMPT.iter().any(|e| relative.contains(e)) {
            continue;
        }
        let text = read(&path);
        let code = text.split("#[cfg(test)]").next().unwrap_or("");
        for (number, line) in code.lines().enumerate() {
            let lower = line.to_lowercase();
            if let Some(word) = words.iter().find(|w| lower.contains(*w)) {
                wrong.push(format!("{relative}:{}: names `{word}`: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_dead_marks_are_left() {
    let mut wrong = Vec::new();
    for path in files(&root().join("crates"), "rs").into_iter().chain(files(&root().join("lib"), "tl")) {
        for (number, line) in read(&path).lines().enumerate() {
            for mark in ["todo!(", "unimplemented!(", concat!("FIX", "ME"), concat!("TO", "DO")] {
                if line.contains(mark) {
                    wrong.push(format!("{}:{}: {mark}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
