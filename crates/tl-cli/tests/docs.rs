//! What the documents say is what happens: every code block of them is run.
//!
//! - `console`: each line that begins with `$ ` is run by a shell in a folder with copies of `lib` and `examples`; what follows is what it prints, with
//!   `…` for what varies: a part of a line, or, alone on a line, any lines. `tl` is the program, and so is `cargo run --release --`.
//! - `console model` is the same and needs the real model.
//! - `tl` is a program that is checked and run, or lines of a file of `lib`; a block `output` after it is what it prints. `tl model` needs the real model.
//! - `sh` builds and tests; it can't be run from within a test, so only its commands are looked at.

#![cfg(unix)]

mod support {
    pub mod documents;
    mod running;
    pub use running::*;
}

use std::path::Path;

use support::documents::{blocks, copy, lines_match, run_console, shell};
use support::{Folder, left_out, root};

#[test]
fn the_readme_says_what_happens() {
    run_document("README.md");
}

#[test]
fn the_command_line_reference_says_what_happens() {
    run_document("docs/cli.md");
}

#[test]
fn the_guide_says_what_happens() {
    run_document("docs/guide.md");
}

#[test]
fn the_reference_says_what_happens() {
    let folder = std::fs::read_dir(root().join("docs/reference")).unwrap();
    let mut pages: Vec<_> = folder.map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    pages.sort();
    assert!(pages.len() > 3, "{pages:?}");
    pages.iter().for_each(|page| run_document(&format!("docs/reference/{page}")));
}

#[test]
fn the_guide_for_contributors_says_what_happens() {
    run_document("CONTRIBUTING.md");
}

fn run_document(name: &str) {
    let text = std::fs::read_to_string(root().join(name)).unwrap();
    let folder = Folder::new(&format!("docs-{}", name.replace('/', "-")));
    for part in ["lib", "examples"] {
        copy(&root().join(part), &folder.path().join(part));
    }
    let blocks = blocks(&text);
    assert!(!blocks.is_empty(), "{name} has code blocks");
    let models = blocks.iter().filter(|b| b.kind.ends_with(" model")).count();
    let offline = models > 0 && left_out(models, &format!("code blocks of {name}"));
    let mut printed = None;
    for block in blocks {
        let place = format!("{name}:{}", block.line);
        match block.kind {
            "console model" | "tl model" if offline => {}
            "console" | "console model" => run_console(&block.text, folder.path(), &place),
            "tl" | "tl model" => printed = Some(run_program(&block.text, folder.path(), &place)),
            "output" => match printed.take() {
                Some(printed) => check_output(&block.text, &printed, &place),
                None => assert!(offline, "{place}: the output of no program"),
            },
            "sh" => look_at_commands(&block.text, &place),
            "text" => {}
            other => panic!("{place}: what is to be done with a block of kind {other:?}?"),
        }
    }
}

/// Runs a program that has nothing wrong with it; gives what it prints.
fn run_program(text: &str, folder: &Path, place: &str) -> String {
    if is_of_the_library(text) {
        return String::new();
    }
    std::fs::write(folder.join("block.tl"), text).unwrap();
    assert_eq!(shell("tl check block.tl", folder), "block.tl: nothing to report\n", "{place}");
    assert_eq!(shell("tl run block.tl > printed.txt && echo done", folder), "done\n", "{place}");
    std::fs::read_to_string(folder.join("printed.txt")).unwrap()
}

fn check_output(shown: &str, printed: &str, place: &str) {
    let shown_lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    let printed_lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
    assert!(
        lines_match(&shown_lines, &printed_lines),
        "{place}\n--- the document\n{shown}\n--- what happens\n{printed}"
    );
}

fn is_of_the_library(text: &str) -> bool {
    let folders = ["lib/std", "lib/models"].map(|folder| root().join(folder));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    files.flatten().any(|file| std::fs::read_to_string(file.path()).unwrap().contains(text))
}

fn look_at_commands(text: &str, place: &str) {
    for line in text.lines() {
        let known = ["cargo build", "cargo test", "git "].iter().any(|start| line.starts_with(start));
        assert!(known || root().join(line).is_file(), "{place}: {line:?} is a file or a command of cargo");
    }
}
