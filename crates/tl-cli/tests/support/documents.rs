//! Documents as tests see them: code blocks, and commands that a shell runs with `tl` in reach.
//!
//! What a command prints is compared with what the document shows, `…` standing for what varies: a part of a line, or, alone on a line, any lines.

#![allow(dead_code, reason = "each test uses a part")]

use std::path::Path;
use std::process::{Command, Stdio};

/// The shell's definition of what the documents call.
const PRELUDE: &str = r#"
tl() { "$TL" "$@"; }
cargo() { shift 3; tl "$@"; }
exec 2>&1
"#;

/// A code block.
pub struct Block<'a> {
    /// The word behind the fence.
    pub kind: &'a str,
    pub text: String,
    /// The line of the fence, from 1.
    pub line: usize,
}

/// The code blocks of a document.
pub fn blocks(text: &str) -> Vec<Block<'_>> {
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

/// Runs the commands of a `console` block and compares what they print.
pub fn run_console(text: &str, folder: &Path, place: &str) {
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

/// What a command prints, both streams together.
pub fn shell(command: &str, folder: &Path) -> String {
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
pub fn lines_match(shown: &[&str], lines: &[&str]) -> bool {
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

/// Copies a folder and all in it.
pub fn copy(from: &Path, to: &Path) {
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
