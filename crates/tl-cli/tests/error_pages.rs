//! The pages of `docs/errors` tell the truth: the wrong program of each gives its code and the message that is shown, the right one gives nothing.
//!
//! A page has a block `tl wrong` with the `text` that `tl check wrong.tl` prints (or `tl run wrong.tl`, for what only shows when it runs), or, where a
//! program would not fit on a page, a block `console` that makes one. With `TL_SUITE_UPDATE=1` the texts are written anew, to be read in the diff.

#![cfg(unix)]

mod support {
    pub mod documents;
    mod running;
    pub use running::*;
}

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use support::documents::{Block, blocks, run_console, shell};
use support::{Folder, root, tl};
use tl_syntax::codes;

/// Codes that no program gives by itself: one takes Ctrl-C, one an embedder that names a function.
const WITHOUT_A_WRONG_PROGRAM: [&str; 2] = [codes::INTERRUPTED, codes::NOT_A_GENERATOR];

#[test]
fn there_is_a_page_for_each_code_and_a_code_for_each_page() {
    let pages: BTreeSet<PathBuf> =
        std::fs::read_dir(root().join("docs/errors")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let expected = codes::ALL.iter().map(|info| page_of(info.code)).collect();
    assert_eq!(pages, expected);
}

#[test]
fn the_wrong_programs_are_wrong_and_the_right_ones_right() {
    let update = std::env::var("TL_SUITE_UPDATE").is_ok();
    let failures: Vec<String> = codes::ALL.iter().filter_map(|info| check(info.code, update).err()).collect();
    assert!(
        failures.is_empty(),
        "{} pages fail; TL_SUITE_UPDATE=1 writes messages anew\n\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn the_program_prints_the_pages() {
    let page = std::fs::read_to_string(page_of("E0401")).unwrap();
    for spelling in ["E0401", "e401", "401"] {
        assert_eq!(tl(["check", "--explain", spelling]).out, page);
    }
    tl(["check", "--explain", "E9999"]).fails(2, &["E9999"]);
    tl(["check"]).fails(2, &["FILE"]);
}

fn page_of(code: &str) -> PathBuf {
    root().join("docs/errors").join(format!("{code}.md"))
}

fn check(code: &str, update: bool) -> Result<(), String> {
    let path = page_of(code);
    let text = std::fs::read_to_string(&path).unwrap();
    let folder = Folder::new(&format!("page-{code}"));
    let (mut shown, mut wrong, mut right) = (None, 0, 0);
    for block in blocks(&text) {
        let place = format!("{}:{}", path.display(), block.line);
        match block.kind {
            "tl wrong" => {
                wrong += 1;
                shown = Some(
                    message(code, &block, folder.path())
                        .map_err(|found| format!("{place}: no {code}, but\n{found}"))?,
                );
            }
            "text" => {
                let message = shown.take().ok_or(format!("{place}: a text without a wrong program"))?;
                if block.text != message && update {
                    let old = format!("```text\n{}```", block.text);
                    std::fs::write(&path, text.replacen(&old, &format!("```text\n{message}```"), 1)).unwrap();
                } else if block.text != message {
                    return Err(format!("{place}: the message is\n{message}"));
                }
            }
            "console" => {
                wrong += usize::from(block.text.contains(code));
                run_console(&block.text, folder.path(), &place);
            }
            "tl" => {
                right += 1;
                std::fs::write(folder.path().join("right.tl"), &block.text).unwrap();
                let checked = shell("tl check right.tl", folder.path());
                let ran = shell("tl run right.tl > printed.txt && echo done", folder.path());
                if (checked.as_str(), ran.as_str()) != ("right.tl: nothing to report\n", "done\n") {
                    return Err(format!("{place}: the right program is wrong\n{checked}{ran}"));
                }
            }
            other => return Err(format!("{place}: what is a block of kind {other:?}?")),
        }
    }
    let wanted = usize::from(!WITHOUT_A_WRONG_PROGRAM.contains(&code));
    match (wrong == wanted, right, shown) {
        (true, 1.., None) => Ok(()),
        _ => {
            Err(format!("{}: a page has one wrong program with its message, and a right one", path.display()))
        }
    }
}

/// What is said about a wrong program; everything that is said, where that is not the code.
fn message(code: &str, block: &Block, folder: &Path) -> Result<String, String> {
    std::fs::write(folder.join("wrong.tl"), &block.text).unwrap();
    let mut all = String::new();
    for command in ["tl check wrong.tl", "tl run wrong.tl"] {
        let said = shell(command, folder);
        if said.contains(&format!("[{code}]")) {
            return Ok(said);
        }
        all += &said;
    }
    Err(all)
}
