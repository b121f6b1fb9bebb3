//! `tl batch` and the prompt cache, and what is in their files when the program is killed.

mod support {
    pub mod made_up;
    mod running;
    pub use running::*;
}

use std::process::{Child, Stdio};

use serde_json::{Value, json};
use support::made_up::{MadeUp, Shape};
use support::{Folder, command, tl};

fn model(folder: &Folder) -> String {
    folder.file("small.gguf", MadeUp::new(Shape::default(), 11).with_sentence_pieces().gguf())
}

fn lines(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Rows with prompts of several lengths, some of which begin alike.
fn input(folder: &Folder, rows: usize, tokens: usize) -> String {
    let row = |i: usize| {
        let ids: Vec<usize> = (0..100 + i % 7).map(|t| 5 + (t * (i % 3 + 1)) % 300).collect();
        format!("{}\n", json!({ "ids": ids, "id": format!("row {i}"), "max_tokens": tokens + i % 5 }))
    };
    folder.file("in.jsonl", (0..rows).map(row).collect::<String>())
}

fn spawn(args: &[&str]) -> Child {
    command().args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until the condition holds or the program has ended, then kills it without a warning.
fn kill_when(mut child: Child, condition: impl Fn() -> bool) {
    while child.try_wait().unwrap().is_none() && !condition() {
        std::thread::yield_now();
    }
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn rows_are_answered_in_order_as_each_is_alone_and_bad_ones_are_skipped() {
    let folder = Folder::new("batch");
    let (file, out) = (model(&folder), folder.path().join("out.jsonl").display().to_string());
    let rows = [
        json!({ "ids": [5, 6, 7], "max_tokens": 9, "id": 1 }).to_string(),
        json!({ "prompt": "hello", "seed": 4, "temperature": 1.5 }).to_string(),
        "{".to_owned(),
        json!({ "ids": [99_999] }).to_string(),
        json!({ "messages": [{ "role": "user", "content": "hello" }], "stop": "e" }).to_string(),
        json!({ "ids": [5], "max_tokens": 0 }).to_string(),
    ];
    let input = folder.file("in.jsonl", rows.join("\n"));
    let template = folder.file("t.jinja", "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}");
    let args =
        ["batch", &file, &input, &out, "--seed", "3", "-n", "6", "--ignore-eos", "--template", &template];
    let ran = tl(args);
    ran.fails(65, &["row 3: line 3", "row 4: token 99999", "2 of 6 rows", "tokens/s"]);
    let answers = lines(&out);
    let index: Vec<u64> = answers.iter().map(|a| a["index"].as_u64().unwrap()).collect();
    assert_eq!(index, [0, 1, 2, 3, 4, 5]);
    assert!(answers[2]["error"].as_str().unwrap().contains("column"), "{answers:?}");
    assert_eq!((&answers[0]["id"], answers[0]["ids"].as_array().unwrap().len()), (&json!(1), 9));
    assert_eq!((&answers[5]["ids"], &answers[5]["finish"]), (&json!([]), &json!("length")));
    for (index, seed, more) in
        [(0, "3", ["--ids", "5,6,7", "-n", "9"]), (1, "4", ["--prompt", "hello", "-n", "6"])]
    {
        let temperature = if index == 1 { "1.5" } else { "0.8" };
        let alone = ["generate", &file, "--seed", seed, "--temp", temperature, "--ignore-eos", "--json"];
        let alone = tl(alone.iter().chain(&more)).json();
        for key in ["ids", "text", "finish", "seed"] {
            assert_eq!(answers[index][key], alone[key], "row {index}");
        }
    }
    // What is there is not written over.
    tl(args).fails(2, &["out.jsonl", "--resume"]);
    let again = tl(args.iter().chain(&["--resume"]));
    assert_eq!((again.code, lines(&out)), (Some(0), answers), "{again:?}");
}

#[test]
fn a_batch_that_was_killed_goes_on_and_loses_and_doubles_nothing() {
    let folder = Folder::new("batch-killed");
    let (file, input) = (model(&folder), input(&folder, 60, 20));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (whole, out) = (path("whole.jsonl"), path("out.jsonl"));
    let args = |out: &str| {
        ["batch", &file, &input, out, "--seed", "3", "--ignore-eos", "--resume"].map(str::to_owned)
    };
    assert_eq!(tl(args(&whole)).code, Some(0));
    let expected = std::fs::read(&whole).unwrap();
    assert_eq!(lines(&whole).len(), 60);
    let rows = || std::fs::read(&out).map_or(0, |bytes| bytes.iter().filter(|&&b| b == b'\n').count());
    for enough in [1, 20, 45] {
        let args = args(&out);
        kill_when(spawn(&args.each_ref().map(String::as_str)), || rows() >= enough);
        let written = std::fs::read(&out).unwrap();
        assert!(expected.starts_with(&written), "what is there is a beginning of the whole");
    }
    // Cut anywhere, within a line and between two.
    let last = expected[..expected.len() - 1].iter().rposition(|&b| b == b'\n').unwrap();
    for cut in [0, 1, expected.len() / 2, last, last + 1, last + 2, expected.len() - 1] {
        std::fs::write(&out, &expected[..cut]).unwrap();
        assert_eq!(tl(args(&out)).code, Some(0));
        assert!(std::fs::read(&out).unwrap() == expected, "cut at {cut}");
    }
    std::fs::write(&out, "{\"index\":1}\n").unwrap();
    tl(args(&out)).fails(65, &["line 1"]);
}

#[test]
fn a_prompt_is_computed_once_and_its_file_is_old_or_new_whenever_the_program_is_killed() {
    let folder = Folder::new("prompt-cache");
    let file = model(&folder);
    let cache = folder.path().join("prompt.seq").display().to_string();
    let ids = |first: usize| {
        (0..400).map(|i| (5 + (first + i * 7) % 300).to_string()).collect::<Vec<_>>().join(",")
    };
    let (one, other) = (ids(0), ids(100));
    let args = |ids: &str| {
        [
            "generate",
            &file,
            "--ids",
            ids,
            "-n",
            "8",
            "--temp",
            "0",
            "--ignore-eos",
            "--json",
            "--prompt-cache",
            &cache,
        ]
        .map(str::to_owned)
    };
    let alone = |ids: &str| tl(&args(ids)[..10]).json()["ids"].clone();
    let (first, second) = (tl(args(&one)).json(), tl(args(&one)).json());
    assert_eq!((&first["ids"], &second["ids"]), (&alone(&one), &alone(&one)));
    for round in 0..4 {
        let args = args([&one, &other][round % 2]);
        let is_begun = || {
            let names = std::fs::read_dir(folder.path()).unwrap();
            names.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with(".part"))
        };
        kill_when(spawn(&args.each_ref().map(String::as_str)), is_begun);
        for ids in [&one, &other] {
            let ran = tl(args_without_saving(&file, ids, &cache));
            assert!(!ran.err.contains("written anew"), "{}", ran.err);
        }
        let parts = std::fs::read_dir(folder.path()).unwrap().flatten();
        parts
            .filter(|e| e.path().extension().is_some_and(|e| e == "part"))
            .for_each(|e| std::fs::remove_file(e.path()).unwrap());
    }
    // A damaged file is said and replaced.
    let mut bytes = std::fs::read(&cache).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&cache, bytes).unwrap();
    let ran = tl(args(&one));
    assert!(ran.err.contains("checksum"), "{}", ran.err);
    assert_eq!(ran.json()["ids"], alone(&one));
    let whole = tl(args(&one));
    assert!(whole.err.is_empty() && whole.json()["ids"] == alone(&one), "{}", whole.err);
}

/// A run that reads the cache; with no prompt that it could serve it would be written anew.
fn args_without_saving(file: &str, ids: &str, cache: &str) -> Vec<String> {
    ["generate", file, "--ids", ids, "-n", "1", "--temp", "0", "--prompt-cache", cache]
        .map(str::to_owned)
        .into()
}

#[test]
fn the_end_of_the_context_is_chosen_and_said() {
    let folder = Folder::new("context-end");
    let file = model(&folder);
    let run = |end: &str| {
        tl([
            "generate",
            &file,
            "--ids",
            "5,6,7,8",
            "--context",
            "16",
            "-n",
            "40",
            "--temp",
            "0",
            "--ignore-eos",
            "--json",
            "--context-end",
            end,
        ])
    };
    let stopped = run("stop").json();
    assert_eq!((&stopped["finish"], stopped["ids"].as_array().unwrap().len()), (&json!("context"), 13));
    run("error").fails(2, &["17 tokens", "16"]);
    let shifted = run("shift=2");
    assert!(shifted.err.contains("tokens were forgotten"), "{}", shifted.err);
    let shifted = shifted.json();
    assert_eq!((&shifted["finish"], shifted["ids"].as_array().unwrap().len()), (&json!("length"), 40));
    assert_eq!(shifted["ids"].as_array().unwrap()[..13], stopped["ids"].as_array().unwrap()[..]);
    run("slide").fails(2, &["stop, shift, shift=SINKS or error"]);
}

#[test]
fn perplexity_tells_what_smaller_pages_cost() {
    let folder = Folder::new("pages");
    let file = model(&folder);
    let text = folder.file("text.txt", "hello hello hello hello");
    let nll = |pages: &str| {
        tl(["perplexity", &file, &text, "--pages", pages, "--json"]).json()["mean_nll"].as_f64().unwrap()
    };
    let exact = nll("f32");
    assert!((nll("f16") - exact).abs() < 1e-2 && (nll("q8_0") - exact).abs() < 1e-1);
    tl(["perplexity", &file, &text, "--pages", "q4_0"]).fails(2, &["f32, f16, bf16 and q8_0"]);
}
