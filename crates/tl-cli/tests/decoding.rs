//! What `tl generate` and `tl embed` make of a prompt beside the plain continuation: samples, beams, guesses, guards, vectors.

mod support {
    pub mod made_up;
    mod running;
    pub use running::*;
}

use serde_json::{Value, json};
use support::made_up::{MadeUp, Shape};
use support::{Folder, MODEL, alone, changed_decoder, real_model, tl, tl_reading};

/// A made-up model with a vocabulary, in a folder of its own.
fn made_up(folder: &Folder, name: &str, shape: Shape, seed: u64) -> String {
    folder.file(name, MadeUp::new(shape, seed).with_sentence_pieces().gguf())
}

fn generate(file: &str, more: &[&str]) -> Value {
    let args = ["generate", file, "--ids", "5,6,7,5,6", "-n", "12", "--json", "--ignore-eos"];
    tl(args.iter().chain(more)).json()
}

#[test]
fn samples_are_those_of_the_seeds_that_follow() {
    let folder = Folder::new("samples");
    let file = made_up(&folder, "model.gguf", Shape::default(), 7);
    let many = generate(&file, &["--samples", "3", "--seed", "5", "--top-logits", "2"]);
    let samples = many["samples"].as_array().unwrap();
    assert_eq!((samples.len(), many["top_logits"].as_array().unwrap().len()), (3, 2));
    for (sample, seed) in samples.iter().zip(["5", "6", "7"]) {
        let own = generate(&file, &["--seed", seed]);
        for key in ["ids", "text", "finish", "seed"] {
            assert_eq!(sample[key], own[key], "{key} of seed {seed}");
        }
    }
    let shown = tl(["generate", &file, "--prompt", "hello", "-n", "3", "--samples", "2", "--seed", "1"]);
    assert!(shown.out.starts_with("sample 1, seed 1\n") && shown.out.contains("\n\nsample 2, seed 2\n"));
}

#[test]
fn beams_come_best_first_with_their_scores() {
    let folder = Folder::new("beams");
    let file = made_up(&folder, "model.gguf", Shape::default(), 7);
    for (penalty, divisor) in [("1", 12.0), ("0", 1.0)] {
        let found = generate(&file, &["--beams", "4", "--length-penalty", penalty]);
        let beams = found["beams"].as_array().unwrap();
        let scores: Vec<f64> = beams.iter().map(|b| b["score"].as_f64().unwrap()).collect();
        assert!(scores.len() == 4 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        let sum = beams[0]["log_probability"].as_f64().unwrap();
        assert!((scores[0] - sum / divisor).abs() < 1e-9);
        // No greedy continuation is more probable than the best that was found.
        let greedy = generate(&file, &["--beams", "1"]);
        assert!(greedy["beams"][0]["log_probability"].as_f64().unwrap() <= sum + 1e-9);
        assert_eq!(greedy["beams"][0]["ids"], generate(&file, &["--temp", "0"])["ids"]);
    }
    let shown = tl(["generate", &file, "--prompt", "hello", "-n", "3", "--beams", "2"]);
    assert!(shown.out.starts_with("beam 1, score -") && shown.out.contains("\n\nbeam 2, score -"));
    // A script finds the same.
    let script = format!(
        "let m = load_model(\"{file}\")\nlet found = beam_search(m, [5, 6, 7, 5, 6], width: 3, n: 4)\n\
         for b in found {{ print(b[\"ids\"]) }}\nlet odd = map(0..320, |v| v % 2)\n\
         print(beam_search(m, [5], width: 1, n: 6, allowed: odd)[0][\"ids\"])\n\
         print(tokenize(m, generate(m, \"hello\", n: 2, allowed: odd)))\n"
    );
    let ran = tl(["run", &folder.file("beams.tl", script)]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let expected = tl(["generate", &file, "--ids", "5,6,7,5,6", "-n", "4", "--beams", "3", "--json"]).json();
    let lines: Vec<Value> = ran.out.lines().take(4).map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&Value> = expected["beams"].as_array().unwrap().iter().map(|b| &b["ids"]).collect();
    assert_eq!(lines[..3].iter().collect::<Vec<_>>(), ids);
    assert!(lines[3].as_array().unwrap().iter().all(|id| id.as_u64().unwrap() % 2 == 1), "{}", ran.out);
}

#[test]
#[cfg(feature = "constrain")]
fn scripts_ask_for_forms() {
    let folder = Folder::new("forms-of-scripts");
    let file = made_up(&folder, "model.gguf", Shape::default(), 7);
    let script = format!(
        r#"let m = load_model("{file}")
        print(generate(m, "hello", regex: "hell|he llo"))
        print(generate(m, "hello", n: 40, grammar: "start: \"he\" (\" \" \"ll\")~2"))
        print(generate(m, "hello", n: 40, json_schema: {{"enum": ["he", "hello"]}}))
        print(generate(m, "hello", json_schema: "{{{{\"const\": 7}}}}"))
        for b in beam_search(m, [5], width: 2, regex: "he|ll") {{ print("{{b["text"]}} {{b["ended"]}}") }}
        "#
    );
    let ran = tl(["run", &folder.file("forms.tl", script)]);
    let lines: Vec<&str> = ran.out.lines().collect();
    let [regex, grammar, schema, number, beams @ ..] = &lines[..] else { panic!("{ran:?}") };
    assert!(["hell", "he llo"].contains(regex) && *grammar == "he ll ll", "{ran:?}");
    assert!(["\"he\"", "\"hello\""].contains(schema) && *number == "7", "{ran:?}");
    assert!(beams.len() == 2 && beams.iter().all(|b| ["he true", "ll true"].contains(b)), "{ran:?}");
    for (call, said) in [
        (r#"generate(m, "hello", regex: "(h")"#, "the regular expression is wrong"),
        (r#"generate(m, "hello", regex: "h", grammar: "start: \"h\"")"#, "a text has one form"),
        (r#"generate(m, "hello", json_schema: 7)"#, "json_schema"),
        (r#"chat(m, "hello", regex: "h")"#, "chat template"),
    ] {
        let script = format!("let m = load_model(\"{file}\")\n{call}\n");
        tl(["run", &folder.file("wrong.tl", script)]).fails(1, &[said, "wrong.tl:2"]);
    }
}

#[test]
fn guesses_change_the_speed_alone() {
    let folder = Folder::new("guesses");
    let file = made_up(&folder, "model.gguf", Shape::default(), 7);
    let small = made_up(&folder, "small.gguf", Shape { layers: 1, width: 32, ..Shape::default() }, 8);
    for choice in [&["--temp", "0"][..], &["--seed", "3"]] {
        let plain = generate(&file, choice);
        assert_eq!(plain["speculation"], Value::Null);
        for guesses in [&["--lookup"][..], &["--draft", &file], &["--draft", &small, "--guesses", "2"]] {
            let guessed = generate(&file, &[choice, guesses].concat());
            assert_eq!((&guessed["ids"], &guessed["text"]), (&plain["ids"], &plain["text"]), "{guesses:?}");
        }
        // A model guesses itself right.
        let itself = &generate(&file, &[choice, &["--draft", &file]].concat())["speculation"];
        assert!(itself["guessed"].as_u64() > Some(4) && itself["guessed"] == itself["accepted"], "{itself}");
    }
    let told = tl(["generate", &file, "--prompt", "hello", "-n", "20", "--draft", &file, "--stats"]);
    assert!(told.err.contains(" guesses were right, ") && told.err.contains("times the speed"), "{told:?}");
}

#[test]
fn what_does_not_go_together_is_said() {
    let folder = Folder::new("not-together");
    let file = made_up(&folder, "model.gguf", Shape::default(), 7);
    let other = made_up(&folder, "other.gguf", Shape { vocabulary: 330, ..Shape::default() }, 7);
    let with = |more: &[&str]| tl(["generate", &file, "--prompt", "hello"].iter().chain(more));
    with(&["--beams", "2", "--temp", "1"]).fails(2, &["--beams", "--temp"]);
    with(&["--beams", "2", "--samples", "2"]).fails(2, &["--samples"]);
    with(&["--samples", "2", "--lookup"]).fails(2, &["--lookup"]);
    with(&["--beams", "0"]).fails(2, &["--beams"]);
    with(&["--length-penalty", "0"]).fails(2, &["--beams"]);
    with(&["--draft", &other]).fails(65, &["330 tokens where the model has 320"]);
    with(&["--draft", "no-such-model"]).fails(66, &["no-such-model"]);
}

#[test]
fn a_guard_on_the_logits_is_kept_by_every_way_of_continuing() {
    let folder = Folder::new("guard");
    let file = made_up(&folder, "model.gguf", Shape::default(), 7);
    let guard = folder.file(
        "evens.tl",
        changed_decoder("m.output.weight[d, v]", "m.output.weight[d, v] where v % 2 == 0 and v != tok[p]"),
    );
    let holds = |ids: &Value| {
        let ids: Vec<u64> = ids.as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        ids.len() == 12 && ids.iter().all(|id| id % 2 == 0) && ids.windows(2).all(|w| w[0] != w[1])
    };
    let with = |more: &[&str]| generate(&file, &[&["--with", &guard], more].concat());
    for more in [&["--temp", "0"][..], &["--seed", "1", "--temp", "2"], &["--lookup", "--temp", "0"]] {
        let ids = &with(more)["ids"];
        assert!(holds(ids), "{more:?}: {ids}");
    }
    let beams = with(&["--beams", "3"]);
    assert!(beams["beams"].as_array().unwrap().iter().all(|beam| holds(&beam["ids"])), "{beams}");
    // A text with other tokens has no probability, which is no fault of the file.
    let text = folder.file("text.txt", "hello hello");
    tl(["perplexity", &file, &text, "--with", &guard]).fails(65, &["the program excludes it"]);
}

#[test]
fn lines_become_vectors_of_length_one() {
    let folder = Folder::new("embed");
    let file = made_up(&folder, "model.gguf", Shape::default(), 7);
    let lines = "hello\r\nhello hell\n\nhello".as_bytes();
    let ran = tl_reading(["embed", &file, "--json"], lines);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let found: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.len(), 4);
    assert_eq!((&found[0], &found[0]["tokens"]), (&found[3], &json!(3)));
    for line in &found {
        let vector: Vec<f64> = serde_json::from_value(line["embedding"].clone()).unwrap();
        let length: f64 = vector.iter().map(|x| x * x).sum();
        assert!(vector.len() == 64 && (length - 1.0).abs() < 1e-5, "{length}");
    }
    let plain = tl_reading(["embed", &file, "--pooling", "last"], lines);
    assert_eq!(plain.out.lines().count(), 4);
    assert!(plain.out.lines().all(|line| line.split(' ').count() == 64));
    // Keys are as wide as two heads of 16; the sum that the layers add to is as wide as the model.
    for (tensor, width) in [("k[0]", 32), ("x", 64)] {
        let ran = tl_reading(["embed", &file, "--tensor", tensor], b"hello\n");
        assert_eq!(ran.out.trim().split(' ').count(), width, "{ran:?}");
    }
    tl_reading(["embed", &file, "--tensor", "z"], b"hello\n").fails(65, &["no tensor `z`"]);
    tl_reading(["embed", &file], b"hello\n\xff\n").fails(65, &["line 2", "UTF-8"]);
    assert_eq!(tl_reading(["embed", &file], b"").out, "");
}

/// The file of the real model's name, if tests of it are not left out.
fn real() -> Option<&'static str> {
    real_model(include_str!("decoding.rs").matches("let Some(model) = real()").count())?;
    Some(MODEL)
}

#[test]
fn the_real_model_repeats_a_list_by_guesses() {
    let Some(model) = real() else { return };
    let _turn = alone();
    let prompt = "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday, Monday, Tuesday,";
    let continued = |more: &[&str]| {
        let args = ["generate", model, "--prompt", prompt, "-n", "40", "--temp", "0", "--json"];
        tl(args.iter().chain(more)).json()
    };
    let (plain, guessed) = (continued(&[]), continued(&["--lookup"]));
    assert_eq!(plain["ids"], guessed["ids"]);
    let accepted = guessed["speculation"]["accepted"].as_u64().unwrap();
    assert!(accepted > 20, "{accepted} of 40 tokens were guessed");
}

#[test]
fn the_real_model_finds_what_is_more_probable_than_the_greedy_answer() {
    let Some(model) = real() else { return };
    let _turn = alone();
    let found = |beams: &str| {
        let args = ["generate", model, "--prompt", "My favourite season is", "-n", "10", "--json"];
        let more = ["--beams", beams, "--length-penalty", "0", "--ignore-eos"];
        tl(args.iter().chain(&more)).json()["beams"][0]["log_probability"].as_f64().unwrap()
    };
    assert!(found("4") >= found("1"));
}

#[test]
fn the_real_model_puts_like_beside_like() {
    let Some(model) = real() else { return };
    let _turn = alone();
    let lines = "A cat is sleeping on the sofa.\nThe kitten naps on the couch.\nThe central bank raised interest rates.\n";
    let ran = tl_reading(["embed", model, "--json"], lines.as_bytes());
    let vectors: Vec<Vec<f64>> = (ran.out.lines())
        .map(|line| {
            serde_json::from_value(serde_json::from_str::<Value>(line).unwrap()["embedding"].take()).unwrap()
        })
        .collect();
    let cosine = |a: usize, b: usize| -> f64 { vectors[a].iter().zip(&vectors[b]).map(|(x, y)| x * y).sum() };
    assert!(
        cosine(0, 1) > cosine(0, 2) && cosine(0, 1) > cosine(1, 2),
        "{} {} {}",
        cosine(0, 1),
        cosine(0, 2),
        cosine(1, 2)
    );
}
