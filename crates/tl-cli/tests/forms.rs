//! Texts of a form from the real model: JSON of a schema, matches of a regular expression, sentences of a grammar, in every way of generating.

#![cfg(feature = "constrain")]

#[path = "support/running.rs"]
mod support;

use serde_json::Value;
use support::{Folder, MODEL, alone, tl};

const SCHEMA: &str = r##"{"type": "object", "properties": {"name": {"type": "string", "maxLength": 12},
    "age": {"type": "integer", "minimum": 0, "maximum": 120}, "tags": {"$ref": "#/$defs/tags"}},
    "required": ["name", "age", "tags"], "additionalProperties": false,
    "$defs": {"tags": {"type": "array", "items": {"enum": ["red", "green"]}, "maxItems": 3}}}"##;

const GRAMMAR: &str = "start: \"(\" NUMBER (OP NUMBER)* \")\"\nNUMBER: /[0-9]{1,2}/\nOP: \" + \" | \" - \"\n";

/// Whether the tests of this file are left out.
fn left_out() -> bool {
    support::real_model(include_str!("forms.rs").matches("\n#[test]\n").count()).is_none()
}

fn continued(more: &[&str]) -> Value {
    let args = ["generate", MODEL, "--prompt", "Here it is: ", "-n", "120", "--json"];
    tl(args.iter().chain(more)).json()
}

/// Asserts that a text which ended is what the schema describes, and that one which did not has no other reason than its length.
fn check_person(answer: &Value) -> bool {
    let text = answer["text"].as_str().unwrap();
    match answer["finish"].as_str().unwrap() {
        "length" => return false,
        finish => assert!(["complete", "end"].contains(&finish), "{answer}"),
    }
    let person: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let fields: Vec<&String> = person.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["name", "age", "tags"], "{text}");
    assert!(person["name"].as_str().unwrap().chars().count() <= 12, "{text}");
    assert!(person["age"].as_u64().unwrap() <= 120, "{text}");
    let tags = person["tags"].as_array().unwrap();
    assert!(tags.len() <= 3 && tags.iter().all(|tag| tag == "red" || tag == "green"), "{text}");
    true
}

/// Whether a text is of the grammar.
fn is_sum(text: &str) -> bool {
    let inner = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let is_number = |n: &str| (1..=2).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit());
    inner.is_some_and(|inner| inner.split(" + ").flat_map(|part| part.split(" - ")).all(is_number))
}

#[test]
fn a_script_asks_for_an_answer_of_a_form() {
    if left_out() {
        return;
    }
    let _turn = alone();
    let folder = Folder::new("form-of-script");
    let script =
        format!("let m = load_model(\"{MODEL}\")\nprint(chat(m, \"Is water wet?\", regex: \"yes|no\"))\n");
    let ran = tl(["run", &folder.file("answer.tl", script)]);
    assert!(["yes\n", "no\n"].contains(&&*ran.out), "{ran:?}");
}

#[test]
fn json_is_what_the_schema_describes() {
    if left_out() {
        return;
    }
    let _turn = alone();
    let folder = Folder::new("schema");
    let file = folder.file("person.json", SCHEMA);
    let ways: [&[&str]; 5] = [
        &["--temp", "0"],
        &["--seed", "1"],
        &["--seed", "2"],
        &["--seed", "3", "--temp", "1.5"],
        &["--seed", "1", "--lookup"],
    ];
    let answers: Vec<Value> =
        ways.iter().map(|way| continued(&[&["--json-schema", &file], *way].concat())).collect();
    let whole = answers.iter().filter(|answer| check_person(answer)).count();
    assert!(whole > 0, "{answers:?}");
    assert_eq!(answers[1]["ids"], answers[4]["ids"], "guesses change no token");
    for answer in continued(&["--json-schema", SCHEMA, "--beams", "3"])["beams"].as_array().unwrap() {
        check_person(answer);
    }
    for answer in
        continued(&["--json-schema", SCHEMA, "--samples", "3", "--seed", "8"])["samples"].as_array().unwrap()
    {
        check_person(answer);
    }
}

#[test]
fn rows_of_a_batch_have_forms_of_their_own() {
    if left_out() {
        return;
    }
    let _turn = alone();
    let folder = Folder::new("forms");
    let rows = [
        serde_json::json!({"prompt": "A person: ", "json_schema": serde_json::from_str::<Value>(SCHEMA).unwrap()}),
        serde_json::json!({"messages": [{"role": "user", "content": "Is water wet?"}], "regex": "yes|no"}),
        serde_json::json!({"prompt": "A sum: ", "grammar": GRAMMAR}),
        serde_json::json!({"prompt": "A sum: "}),
        serde_json::json!({"prompt": "x", "regex": "(a"}),
        serde_json::json!({"prompt": "x", "regex": "a", "grammar": "start: \"a\""}),
    ];
    let input = folder.file("in.jsonl", rows.map(|row| row.to_string()).join("\n"));
    let output = folder.path().join("out.jsonl");
    let form = folder.file("sum.lark", GRAMMAR);
    let ran = tl(["batch", MODEL, &input, output.to_str().unwrap(), "--grammar", &form, "--seed", "1"]);
    ran.fails(65, &["2 of 6 rows have no answer"]);
    let written = std::fs::read_to_string(output).unwrap();
    let lines: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(check_person(&lines[0]), "{}", lines[0]);
    assert!(["yes", "no"].contains(&lines[1]["text"].as_str().unwrap()), "{}", lines[1]);
    for line in &lines[2..4] {
        assert!(is_sum(line["text"].as_str().unwrap()) || line["finish"] == "length", "{line}");
    }
    assert!(lines[4]["error"].as_str().unwrap().contains("the regular expression is wrong"), "{}", lines[4]);
    assert!(lines[5]["error"].as_str().unwrap().contains("a row has one of"), "{}", lines[5]);
}

#[test]
fn a_chat_answers_in_the_form() {
    if left_out() {
        return;
    }
    let _turn = alone();
    for seed in ["1", "2"] {
        let ran = tl([
            "chat",
            MODEL,
            "Is water wet?",
            "--regex",
            "(yes|no), because [a-z ]{3,30}\\.",
            "--seed",
            seed,
        ]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let rest = ran.out.strip_prefix("yes, because ").or(ran.out.strip_prefix("no, because "));
        let reason = rest.and_then(|rest| rest.strip_suffix(".\n")).unwrap_or_else(|| panic!("{ran:?}"));
        assert!(
            (3..=30).contains(&reason.len()) && reason.bytes().all(|b| b == b' ' || b.is_ascii_lowercase())
        );
    }
    tl(["chat", MODEL, "x", "--json-schema", "{\"type\": 7}"]).fails(2, &["the JSON schema is wrong"]);
    tl(["chat", MODEL, "x", "--json-schema", "missing.json"]).fails(66, &["missing.json"]);
    tl(["chat", MODEL, "x", "--regex", "a", "--grammar", "b"]).fails(2, &["cannot be used with"]);
}
