//! Token ids equal those of llama.cpp and of Hugging Face's `tokenizers`, for every text of the fixtures.
//!
//! `fixtures/tokenizer/make_goldens.py` made the vocabularies and the expected ids.

mod tokenizer_support;

use serde_json::Value;
use tl_formats::tokenizer::{DecodeOptions, EncodeOptions, LoadOptions, Tokenizer};
use tokenizer_support::{With, fixture, gguf, ids, json};

const PLAIN: EncodeOptions = EncodeOptions { parse_special: false, add_special: false };
const PARSE: EncodeOptions = EncodeOptions { parse_special: true, add_special: false };
const ADD: EncodeOptions = EncodeOptions { parse_special: true, add_special: true };
const SPECIAL: DecodeOptions = DecodeOptions { special: true, from_start: false };

/// Compares every case of a file of expected ids; `context` names the file in messages.
fn check_cases(tokenizer: &Tokenizer, cases: &Value, context: &str) {
    let cases = cases["cases"].as_array().unwrap();
    assert!(cases.len() > 5);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        for (options, key) in
            [(PLAIN, "ids_no_special"), (PARSE, "ids_parse_special"), (ADD, "ids_add_special")]
        {
            let found = tokenizer.encode(text, options).unwrap();
            assert_eq!(found, ids(&case[key]), "{context}, {key}: {text:?}");
        }
        if let Some(hex) = case["pieces_hex"].as_str().or(case["detok_special_hex"].as_str()) {
            let bytes = tokenizer.decode(&ids(&case["ids_parse_special"]), SPECIAL);
            assert_eq!(tokenizer_support::hex(&bytes), hex, "{context}: bytes of {text:?}");
        }
    }
}

fn load(name: &str) -> Tokenizer {
    let file = gguf(name);
    Tokenizer::from_metadata(file.metadata(), &LoadOptions::default()).unwrap()
}

#[test]
fn smollm2_equals_llama_cpp() {
    let tokenizer = load("smollm2");
    check_cases(&tokenizer, &json(&fixture("smollm2.json")), "smollm2");
    check_cases(&tokenizer, &json(&fixture("smollm2_missing_bytes.json")), "missing bytes");
    assert_eq!(tokenizer.pre(), Some("smollm"));
    let im_end = tokenizer.find_token("<|im_end|>");
    assert_eq!(im_end, Some(2));
    assert_eq!(tokenizer.special().eos, Some(2));
    assert!(tokenizer.is_end_of_generation(2) && tokenizer.is_end_of_generation(0));
    assert!(tokenizer.prefix().is_empty() && tokenizer.suffix().is_empty());
}

#[test]
fn smollm2_counts_the_bytes_that_it_loses() {
    let tokenizer = load("smollm2");
    let encoding = tokenizer.encode_counted("a\u{4}b\u{6}c", PLAIN).unwrap();
    assert_eq!((encoding.ids, encoding.lost_bytes), (vec![81, 82, 83], 2));
    assert_eq!(tokenizer.encode_counted("café", PLAIN).unwrap().lost_bytes, 0);
    assert!(tokenizer.warnings().iter().any(|w| w.to_string().contains("lacks 21 of the 256 byte tokens")));
}

#[test]
fn gpt2_equals_llama_cpp() {
    check_cases(&load("gpt-2"), &json(&fixture("gpt-2.json")), "gpt-2");
}

#[test]
fn qwen2_equals_llama_cpp() {
    check_cases(&load("qwen2"), &json(&fixture("qwen2.json")), "qwen2");
}

#[test]
fn every_pre_tokenizer_equals_llama_cpp() {
    let file = gguf("gpt-2");
    let golden = json(&tokenizer_support::gunzip("pre_rules.json.gz"));
    for (pre, cases) in golden["vocabularies"].as_object().unwrap() {
        let metadata = With::new(file.metadata()).string("tokenizer.ggml.pre", pre);
        let tokenizer = Tokenizer::from_metadata(&metadata, &LoadOptions::default()).unwrap();
        check_cases(&tokenizer, cases, pre);
        let options = LoadOptions { pre: Some(pre.clone()) };
        let overridden = Tokenizer::from_metadata(file.metadata(), &options).unwrap();
        assert_eq!(overridden.pre(), Some(pre.as_str()));
    }
}

type Change = for<'a> fn(With<'a>) -> With<'a>;

fn check_file(name: &str, variants: &[(&str, Change)]) {
    let file = gguf(name);
    let golden = json(&tokenizer_support::gunzip(&format!("{name}.json.gz")));
    let vocabularies = golden["vocabularies"].as_object().unwrap();
    assert_eq!(vocabularies.len(), variants.len());
    for (variant, change) in variants {
        let metadata = change(With::new(file.metadata()));
        let tokenizer = Tokenizer::from_metadata(&metadata, &LoadOptions::default()).unwrap();
        check_cases(&tokenizer, &vocabularies[*variant], variant);
        let end: Vec<u32> = tokenizer.end_of_generation().iter().copied().collect();
        assert_eq!(end, ids(&vocabularies[*variant]["end_of_generation"]), "{variant}");
    }
}

#[test]
fn sentencepiece_bpe_equals_llama_cpp() {
    check_file(
        "spm",
        &[
            ("spm", |m| m),
            ("no_prefix", |m| {
                m.bool("tokenizer.ggml.add_space_prefix", false).bool("tokenizer.ggml.add_eos_token", true)
            }),
            ("phi-3", |m| m.string("general.name", "Phi-3 test")),
        ],
    );
}

#[test]
fn merges_over_raw_utf8_equal_llama_cpp() {
    check_file("raw_bpe", &[("raw_bpe", |m| m)]);
}

#[test]
fn unigram_equals_llama_cpp() {
    check_file(
        "unigram",
        &[
            ("unigram", |m| m),
            ("keep_spaces", |m| {
                m.bool("tokenizer.ggml.remove_extra_whitespaces", false)
                    .bool("tokenizer.ggml.add_eos_token", false)
            }),
        ],
    );
}

#[test]
fn wordpiece_equals_llama_cpp() {
    check_file("wordpiece", &[("wordpiece", |m| m)]);
}

#[test]
fn tokenizer_json_equals_hugging_face() {
    let golden = json(&tokenizer_support::gunzip("hugging_face.json.gz"));
    for (name, file) in golden["files"].as_object().unwrap() {
        let tokenizer = Tokenizer::from_json(&file["tokenizer"].to_string()).unwrap();
        for case in file["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            assert_eq!(tokenizer.encode(text, PARSE).unwrap(), ids(&case["ids"]), "{name}: {text:?}");
            assert_eq!(
                tokenizer.encode(text, ADD).unwrap(),
                ids(&case["ids_add_special"]),
                "{name}: {text:?}"
            );
        }
    }
}
