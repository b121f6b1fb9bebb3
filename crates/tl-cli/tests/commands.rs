//! The commands as a program sees them, without a real model: exit codes, messages, the shape of JSON, and what bad input does.

mod support {
    pub mod made_up;
    mod running;
    pub use running::*;
}

use std::process::Stdio;

use serde_json::Value;
use support::made_up::{MadeUp, Shape};
use support::{Folder, changed_decoder, command, root, tl, tl_reading};
use tl_tensor::Tensor;

/// A small model with a vocabulary, and the path of its file.
fn small(folder: &Folder) -> (MadeUp, String) {
    let made = MadeUp::new(Shape::default(), 11).with_sentence_pieces();
    let file = folder.file("small.gguf", made.gguf());
    (made, file)
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_wrong_command_line_is_2_and_says_what_would_be_right() {
    let folder = Folder::new("usage");
    let (_, file) = small(&folder);
    tl([""; 0]).fails(2, &["Usage"]);
    tl(["shout"]).fails(2, &["shout"]);
    tl(["generate", &file]).fails(2, &["--prompt", "--ids"]);
    tl(["generate", &file, "--prompt", "a", "--ids", "1"]).fails(2, &["cannot be used with"]);
    tl(["generate", &file, "--ids", "one"]).fails(2, &["one"]);
    tl(["generate", &file, "--ids", "99999"]).fails(2, &["99999", "320"]);
    tl(["generate", &file, "--ids", "1,2,3", "--context", "2"]).fails(2, &["3 tokens", "2"]);
    tl(["generate", &file, "--ids", "1", "--temp", "nan"]).fails(2, &["temperature"]);
    tl(["generate", &file, "--ids", "1", "--top-p", "2"]).fails(2, &["top_p"]);
    tl(["generate", &file, "--ids", "1", "--logit-bias", "5"]).fails(2, &["ID=X"]);
    tl(["generate", &file, "--ids", "1", "--logit-bias", "9999=1"]).fails(2, &["9999"]);
    tl(["--threads", "0", "pull", "--list"]).fails(2, &["--threads"]);
    tl(["chat", "hf:nowhere", "hi"]).fails(2, &["hf:OWNER/REPO/FILE.gguf"]);
    tl(["chat", &file, "hi", "there"]).fails(2, &["there"]);
}

#[test]
fn what_is_not_there_is_66() {
    tl(["run", "no/such.tl"]).fails(66, &["no/such.tl"]);
    tl(["check", "no/such.tl"]).fails(66, &["no/such.tl"]);
    tl(["inspect", "no/such.gguf"]).fails(66, &["no/such.gguf"]);
    tl(["chat", "no/such.gguf", "hi"]).fails(66, &["no/such.gguf"]);
    tl(["generate", "smolm2-135m", "--ids", "1"]).fails(66, &["smolm2-135m", "smollm2-135m"]);
}

#[test]
fn what_is_malformed_is_65_and_says_where() {
    let folder = Folder::new("malformed");
    let (_, file) = small(&folder);
    let whole = std::fs::read(&file).unwrap();
    let cut = folder.file("cut.gguf", &whole[..whole.len() / 2]);
    tl(["generate", &cut, "--ids", "1"]).fails(65, &["cut.gguf"]);
    let page = folder.file("page.gguf", "<!DOCTYPE html><html>");
    tl(["inspect", &page]).fails(65, &["page.gguf"]);
    let text = folder.file("bad.txt", b"ab\xffcd");
    tl(["perplexity", &file, &text]).fails(65, &["byte 2"]);
    tl_reading(["tokenize", &file], b"a\xff").fails(65, &["byte 1"]);
    tl(["perplexity", &file, &folder.file("empty.txt", "")]).fails(65, &["at least 2"]);
    // A file without a template can't chat.
    tl(["chat", &file, "hi"]).fails(65, &["--template"]);
    // A model of which no equations are known.
    let mut other = MadeUp::new(Shape::default(), 1);
    other.metadata.set("general.architecture", "unheard");
    tl(["generate", &folder.file("other.gguf", other.gguf()), "--ids", "1"]).fails(65, &["unheard"]);
}

#[test]
fn a_download_that_is_not_possible_is_69_and_says_what_was_tried() {
    let folder = Folder::new("offline");
    let output = command()
        .args(["pull", "tinyllama-1.1b"])
        .env("TL_HOME", folder.path())
        .env("HF_HUB_OFFLINE", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("HF_HUB_OFFLINE") && said.contains("cache"), "{said}");
}

#[test]
fn generate_reports_one_object() {
    let folder = Folder::new("generate");
    let (_, file) = small(&folder);
    let args = [
        "generate",
        &file,
        "--prompt",
        "hello",
        "-n",
        "5",
        "--temp",
        "0",
        "--top-logits",
        "10",
        "--ignore-eos",
    ];
    let report = tl(args.iter().chain(&["--json", "--seed", "3"])).json();
    let expected = [
        "ids",
        "text",
        "top_logits",
        "prefill_tok_s",
        "decode_tok_s",
        "load_s",
        "prompt_ids",
        "finish",
        "seed",
    ];
    assert_eq!(keys(&report), expected);
    assert_eq!(report["ids"].as_array().unwrap().len(), 5);
    assert_eq!((&report["finish"], &report["seed"]), (&"length".into(), &3.into()));
    let top: Vec<(u32, f64)> = serde_json::from_value(report["top_logits"].clone()).unwrap();
    assert!(top.len() == 10 && top.is_sorted_by(|a, b| a.1 >= b.1), "{top:?}");
    assert_eq!(report["ids"][0], top[0].0, "the greedy token is the greatest logit");
    assert!(report["load_s"].as_f64().unwrap() > 0.0 && report["prefill_tok_s"].as_f64().unwrap() > 0.0);

    // The same as text: the continuation, then the logits.
    let text = tl(args);
    assert!(text.out.starts_with(report["text"].as_str().unwrap()), "{text:?}");
    assert_eq!(text.out.lines().count(), 11);

    // The same seed draws the same tokens, threads or not; a banned token does not come.
    let draw = |more: &[&str]| {
        tl(["generate", &file, "--ids", "5,6", "-n", "8", "--seed", "9", "--json"].iter().chain(more)).json()
    };
    assert_eq!(draw(&["--threads", "1"])["ids"], draw(&["--threads", "2"])["ids"]);
    assert_eq!(draw(&["--no-mmap"])["ids"], draw(&[])["ids"]);
    let first = draw(&["--temp", "0"])["ids"][0].as_u64().unwrap();
    let bias = format!("{first}=-inf");
    assert_ne!(draw(&["--temp", "0", "--logit-bias", &bias])["ids"][0], first);
    assert_eq!(draw(&["--logit-bias", "7=1000"])["ids"], serde_json::json!([7, 7, 7, 7, 7, 7, 7, 7]));

    // The context ends what nothing else does.
    let full = draw(&["--context", "4"]);
    assert_eq!((&full["finish"], full["ids"].as_array().unwrap().len()), (&"context".into(), 3));
    let stopped = draw(&["--logit-bias", "288=1000", "--stop", "hell"]);
    assert_eq!(
        (&stopped["finish"], &stopped["text"]),
        (&"stop".into(), &"".into()),
        "288 is the piece `hell`"
    );
}

#[test]
fn check_refuses_a_decoder_that_looks_ahead_and_underlines_the_read() {
    let folder = Folder::new("ahead");
    let file = folder.file("ahead.tl", changed_decoder(" where t <= p", ""));
    let text = std::fs::read_to_string(&file).unwrap();
    let told = tl(["check", &file]);
    told.fails(1, &["error", "ahead.tl:", "k[l, t, g, c]", "^^^^^^^^^^^^^", "where t <= p"]);
    assert_eq!(told.out, "");

    let found = tl(["check", &file, "--json"]);
    assert_eq!(found.code, Some(1));
    let found: Value = serde_json::from_str(&found.out).unwrap();
    let label = &found[0]["labels"][0];
    let (start, end) = (label["start"].as_u64().unwrap() as usize, label["end"].as_u64().unwrap() as usize);
    assert_eq!(&text[start..end], "k[l, t, g, c]");
    let line = text[..start].lines().count() as u64;
    assert_eq!((&found[0]["severity"], &label["place"]["line"]), (&"error".into(), &line.into()));

    let window = folder.file("window.tl", changed_decoder("where t <= p", "where t <= p and p - t < 128"));
    let told = tl(["check", &window]);
    assert_eq!((told.code, &*told.err), (Some(0), ""));
    assert_eq!(tl(["check", &window, "--json"]).json(), serde_json::json!([]));
}

#[test]
fn explain_tells_what_was_derived_of_ones_own_equations() {
    let folder = Folder::new("explain");
    let (_, file) = small(&folder);
    let window = folder.file("window.tl", changed_decoder("where t <= p", "where t <= p and p - t < 7"));
    let report = tl(["explain", &window, "--model", &file, "--json"]).json();
    let expected = [
        "backend",
        "kernels",
        "setup_kernels",
        "stores",
        "weights",
        "bytes_per_token",
        "flops_per_token",
        "growing_bytes_per_position",
        "window_bytes",
    ];
    assert_eq!(keys(&report), expected);
    let stores = report["stores"].as_array().unwrap();
    assert_eq!(stores.len(), 4, "keys and values of two layers");
    assert!(stores.iter().all(|s| s["window"] == 7 && s["row_bytes"] == 2 * 16 * 4), "{stores:?}");
    assert_eq!(report["window_bytes"], 4 * 7 * 128);
    // Each kernel stands beside an equation of the file, or of the library.
    let attention = report["kernels"].as_array().unwrap().iter().find(|k| k["kind"] == "attention").unwrap();
    assert_eq!(attention["file"], "window.tl");
    assert!(attention["equation"].as_str().unwrap().starts_with("o[l, p, g, r, e] = a["), "{attention}");
    let text = tl(["explain", &window, "--model", &file]);
    assert!(
        text.out.contains("a ring of 7 rows, 128 B a row") && text.out.contains("window.tl:"),
        "{text:?}"
    );

    // A program that can't run this model says which tensor it misses.
    let wants_more =
        folder.file("more.tl", changed_decoder("m.output_norm.weight[d]", "m.no_such.weight[d]"));
    tl(["check", &wants_more, "--model", &file]).fails(1, &["no_such"]);
    tl(["explain", &wants_more, "--model", &file]).fails(1, &["no_such"]);
}

#[test]
fn inspect_finds_values_that_are_not_finite() {
    let folder = Folder::new("inspect");
    let (mut made, file) = small(&folder);
    let sound = tl(["inspect", &file, "--check"]);
    assert_eq!(sound.code, Some(0));
    assert!(sound.out.contains("every value of every tensor is finite"), "{}", sound.out);

    let width = made.shape.width;
    let mut values = vec![0.5; made.shape.vocabulary * width];
    (values[3], values[width]) = (f32::INFINITY, f32::NAN);
    made.set("output.weight", Tensor::from_f32(&[made.shape.vocabulary, width], &values));
    let bad = folder.file("bad.gguf", made.gguf());
    let found = tl(["inspect", &bad, "--check"]);
    found.fails(1, &["output.weight", "2 of", "token_embd.weight"]);
    assert!(
        found.out.contains("output.weight (F32): 2 values are infinite or NaN, the first at [0, 3]"),
        "{}",
        found.out
    );
    let found: Value = serde_json::from_str(&tl(["inspect", &bad, "--check", "--json"]).out).unwrap();
    assert_eq!(
        found["bad_tensors"],
        serde_json::json!([{"tensor": "output.weight", "dtype": "F32", "bad": 2, "first": [0, 3]}])
    );
    assert_eq!(found["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(found["metadata"]["tokenizer.ggml.tokens"]["len"], 320, "long arrays are shortened");

    // The tied weight answers for it, and the warning is said once.
    let args = ["generate", &bad, "--ids", "5", "-n", "2", "--temp", "0", "--json"];
    let ran = tl(args);
    ran.json();
    assert_eq!(ran.err.matches("output.weight").count(), 1, "{}", ran.err);
}

#[test]
fn broken_weights_end_a_generation_with_an_error() {
    let folder = Folder::new("broken");
    let mut made = MadeUp::new(Shape::default(), 12);
    let width = made.shape.width;
    made.set("blk.1.ffn_norm.weight", Tensor::from_f32(&[width], &vec![f32::NAN; width]));
    let file = folder.file("nan.gguf", made.gguf());
    for temp in ["0", "0.8"] {
        tl(["generate", &file, "--ids", "5", "--temp", temp]).fails(70, &["NaN"]);
    }
}

#[test]
fn run_runs_programs_and_their_errors_have_places() {
    let folder = Folder::new("run");
    let file = folder.file("p.tl", "X[i] = [1, 2, 3]\nS = X[i] X[i]\nS?\nprint(args())\n");
    let ran = tl(["run", &file, "a", "--b"]);
    assert_eq!((ran.code, &*ran.out), (Some(0), "S = 14\n[\"a\", \"--b\"]\n"), "{}", ran.err);
    let wrong = folder.file("wrong.tl", "X[i] = [1, 2]\nY[i] = [1, 2, 3]\nprint(X[i] Y[i])\n");
    tl(["run", &wrong]).fails(1, &["wrong.tl:", "2", "3"]);
    tl(["run", &folder.file("latin.tl", b"print(\"\xe9\")")]).fails(1, &["latin.tl"]);
    let read = folder.file("read.tl", "print(\"hello \" + input(\"name? \"))\n");
    assert_eq!(tl_reading(["run", &read], b"Ada\n").out, "name? hello Ada\n");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = Folder::new("pipe");
    let (_, file) = small(&folder);
    let loud = folder.file("loud.tl", "for i in 0..1000000 { print(i) }\n");
    let commands: [&[&str]; 3] = [
        &["run", &loud],
        &["generate", &file, "--ids", "5", "--ignore-eos", "-n", "400"],
        &["inspect", &file],
    ];
    for args in commands {
        let mut child = command().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.is_empty(), "{args:?}: {:?} {said}", output.status);
    }
}

#[test]
fn a_conversation_takes_another_template_and_loads_what_it_saved() {
    let folder = Folder::new("template");
    let (_, file) = small(&folder);
    let template = folder.file("template.txt", "{% for m in messages %}{{ m.content }} {% endfor %}");
    let saved = folder.path().join("talk.json").to_str().unwrap().to_owned();
    let input = format!("hello\n/save {saved}\n/load {saved}\nhe\n/load\n/load {file}\n/set temp hot\n");
    let args = ["chat", &file, "--template", &template, "--max-tokens", "3", "--temp", "0"];
    let talk = tl_reading(args, input.as_bytes());
    talk.fails(2, &["saved 2 messages", "loaded 2 messages", "write /load FILE", "small.gguf", "hot"]);
    let wrong = folder.file("wrong.txt", "{% for %}");
    tl(["chat", &file, "hi", "--template", &wrong]).fails(65, &["wrong.txt"]);
}

#[test]
fn the_catalogue_is_listed_without_a_download() {
    let listed = tl(["pull", "--list"]);
    assert_eq!(listed.code, Some(0));
    assert!(listed.out.starts_with("smollm2-135m "), "{}", listed.out);
    assert!(tl(["--help"]).out.contains("Exit codes"));
    assert!(tl(["--version"]).out.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn programs_of_the_examples_are_sound() {
    for folder in ["examples/paper", "examples/seed"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "tl") {
                let told = tl(["check", path.to_str().unwrap()]);
                assert_eq!((told.code, &*told.err), (Some(0), ""), "{}", path.display());
            }
        }
    }
}

#[test]
fn programs_are_formatted_in_place_and_the_worst_of_them_gives_the_exit_code() {
    let folder = Folder::new("fmt");
    let loose = folder.file("loose.tl", "x=1 // one\n");
    let tidy = folder.file("tidy.tl", "x = 1 // one\n");
    assert_eq!(tl(["fmt", "--check", &loose, &tidy]).code, Some(1));
    assert_eq!(std::fs::read_to_string(&loose).unwrap(), "x=1 // one\n", "a check changes nothing");
    let whole = folder.path().to_str().unwrap();
    assert_eq!((tl(["fmt", whole]).code, tl(["fmt", whole]).out), (Some(0), String::new()), "once is enough");
    assert_eq!(std::fs::read_to_string(&loose).unwrap(), std::fs::read_to_string(&tidy).unwrap());
    let broken = folder.file("broken.tl", "x = (\n");
    tl(["fmt", &broken, &loose]).fails(1, &["E0204"]);
    assert_eq!(std::fs::read_to_string(&broken).unwrap(), "x = (\n");
    tl(["fmt", "no/such.tl", &broken]).fails(66, &["no/such.tl", "E0204"]);
    tl(["fmt", &folder.file("latin.tl", b"x = \xff")]).fails(1, &["E0002"]);
    tl(["fmt"]).fails(2, &["FILE"]);
    let piped = tl_reading(["fmt", "-"], b"x=1");
    assert_eq!((piped.code, &*piped.out), (Some(0), "x = 1\n"));
    assert_eq!(tl_reading(["fmt", "--check", "-"], b"x=1").code, Some(1));
}

#[test]
fn a_program_may_be_given_fewer_steps() {
    let folder = Folder::new("steps");
    let endless = folder.file("endless.tl", "while true { }\n");
    tl(["run", "--max-steps", "100", &endless]).fails(1, &["E0702", "100"]);
}
