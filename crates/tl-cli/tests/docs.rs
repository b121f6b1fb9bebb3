//! What the documents say is what happens: every code block of them is run.
//!
//! - `console`: each line that begins with `$ ` is run by a shell in a folder with copies of `lib` and `examples`; what follows is what it prints, with
//!   `…` for what varies: a part of a line, or, alone on a line, any lines. `tl` is the program, and so is `cargo run --release --`.
//! - `console model` is the same and needs the real model.
//! - `tl` is a program that is checked and run, or lines of a file of `lib`.
//! - `sh` builds and tests; it can't be run from within a test, so only its commands are looked at.

#![cfg(unix)]

#[path = "support/running.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use support::{Folder, left_out, root};

/// The shell's definition of what the documents call.
const PRELUDE: &str = r#"
tl() { "$TL" "$@"; }
cargo() { shift 3; tl "$@"; }
exec 2>&1
"#;

#[test]
fn the_readme_says_what_happens() {
    run_document("README.md");
}

#[test]
fn the_command_line_reference_says_what_happens() {
    run_document("docs/cli.md");
}

#[test]
fn the_guide_for_contributors_says_what_happens() {
    run_document("CONTRIBUTING.md");
}

/// A code block.
struct Block<'a> {
    kind: &'a str,
    text: String,
    line: usize,
}

fn run_document(name: &str) {
    let text = std::fs::read_to_string(root().join(name)).unwrap();
    let folder = Folder::new(&format!("docs-{}", name.replace('/', "-")));
    for part in ["lib", "examples"] {
        copy(&root().join(part), &folder.path().join(part));
    }
    let blocks = blocks(&text);
    assert!(!blocks.is_empty(), "{name} has code blocks");
    let models = blocks.iter().filter(|b| b.kind == "console model").count();
    let offline = models > 0 && left_out(models, &format!("code blocks of {name}"));
    for block in blocks {
        let place = format!("{name}:{}", block.line);
        match block.kind {
            "console model" if offline => {}
            "console" | "console model" => run_console(&block.text, folder.path(), &place),
            "tl" => run_program(&block.text, folder.path(), &place),
            "sh" => look_at_commands(&block.text, &place),
            "text" => {}
            other => panic!("{place}: what is to be done with a block of kind {other:?}?"),
        }
    }
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let (mut found, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(kind), None) => open = Some(Block { kind, text: String::new(), line: number + 1 }),
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "every code block is closed");
    found
}

fn run_console(text: &str, folder: &Path, place: &str) {
    let mut runs: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), runs.last_mut()) {
            (Some(command), _) => runs.push((command, Vec::new())),
            (None, Some((_, expected))) => expected.push(line.trim_end()),
            (None, None) => panic!("{place}: the block begins with a command"),
        }
    }
    for (command, expected) in runs {
        let printed = shell(command, folder);
        let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
        assert!(
            lines_match(&expected, &lines),
            "{place}: {command}\n--- the document\n{}\n--- what happens\n{printed}",
            expected.join("\n")
        );
    }
}

fn shell(command: &str, folder: &Path) -> String {
    let output = Command::new("sh")
        .args(["-c", &format!("{PRELUDE}{command}")])
        .env("TL", env!("CARGO_BIN_EXE_tl"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Whether lines are what the document shows.
fn lines_match(shown: &[&str], lines: &[&str]) -> bool {
    match shown {
        [] => lines.is_empty(),
        ["…", rest @ ..] => (0..=lines.len()).any(|skipped| lines_match(rest, &lines[skipped..])),
        [first, rest @ ..] => match lines {
            [line, more @ ..] => line_matches(first, line) && lines_match(rest, more),
            [] => false,
        },
    }
}

/// Whether a line is what the document shows; the parts between `…` come in order, the first at the beginning, the last at the end.
fn line_matches(shown: &str, line: &str) -> bool {
    let parts: Vec<&str> = shown.split('…').collect();
    let [first, middle @ .., last] = &parts[..] else { return shown == line };
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn run_program(text: &str, folder: &Path, place: &str) {
    if is_of_the_library(text) {
        return;
    }
    std::fs::write(folder.join("block.tl"), text).unwrap();
    assert_eq!(shell("tl check block.tl", folder), "block.tl: nothing to report\n", "{place}");
    assert_eq!(shell("tl run block.tl > printed.txt && echo done", folder), "done\n", "{place}");
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

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn what_varies_may_vary_and_nothing_else() {
    assert!(line_matches("a … c", "a b c") && line_matches("a…", "a") && line_matches("…", "x"));
    assert!(!line_matches("a … c", "a b d") && !line_matches("a", "ab") && !line_matches("a…c…", "a b"));
    assert!(lines_match(&["a", "…", "d"], &["a", "b", "c", "d"]) && lines_match(&["…"], &[]));
    assert!(!lines_match(&["a", "…", "d"], &["a", "b"]) && !lines_match(&["a"], &["a", "b"]));
}
