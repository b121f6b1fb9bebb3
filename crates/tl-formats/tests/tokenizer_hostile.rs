//! Tokenizer metadata that are wrong, made up, or merely odd: each has its stated outcome, and none makes a panic.

mod tokenizer_support;

use tl_formats::tokenizer::{
    DecodeOptions, EncodeOptions, LoadOptions, Tokenizer, TokenizerError, Value, Warning,
};
use tokenizer_support::{With, gguf};

const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";

/// A small byte-level vocabulary: `a`, `b`, `ab`, `Ġ`.
fn bpe() -> With<'static> {
    With::nothing()
        .string("tokenizer.ggml.model", "gpt2")
        .string("tokenizer.ggml.pre", "gpt-2")
        .strings(TOKENS, &["a", "b", "ab", "Ġ", "<|end|>"])
        .set(TYPES, Value::I32s(vec![1, 1, 1, 1, 3]))
        .strings(MERGES, &["a b"])
}

/// A small SentencePiece vocabulary with all byte tokens.
fn spm() -> With<'static> {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>", "▁", "a", "b", "ab"].map(String::from).to_vec();
    let mut types = vec![2, 3, 3, 1, 1, 1, 1];
    tokens.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    types.extend([6; 256]);
    With::nothing()
        .string("tokenizer.ggml.model", "llama")
        .set(SCORES, Value::F32s(vec![0.0; tokens.len()]))
        .set(TYPES, Value::I32s(types))
        .strings(TOKENS, &tokens)
}

fn load(metadata: &With<'_>) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_metadata(metadata, &LoadOptions::default())
}

/// The message of a refusal.
fn refusal(metadata: &With<'_>) -> String {
    let error = load(metadata).expect_err("it must be refused");
    assert!(!error.is_unsupported(), "{error}");
    error.to_string()
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, EncodeOptions::default()).unwrap()
}

#[test]
fn the_small_vocabularies_load() {
    let tokenizer = load(&bpe()).unwrap();
    assert_eq!(encode(&tokenizer, "ab ba"), [2, 3, 1, 0]);
    let tokenizer = load(&spm()).unwrap();
    assert!(tokenizer.warnings().is_empty(), "{:?}", tokenizer.warnings());
    assert_eq!(encode(&tokenizer, "aé"), [3, 4, 7 + 0xC3, 7 + 0xA9]);
}

#[test]
fn missing_or_mistyped_tokens_are_refused() {
    assert!(refusal(&bpe().without(TOKENS)).contains("`tokenizer.ggml.tokens` is missing"));
    assert!(
        refusal(&bpe().set(TOKENS, Value::I32s(vec![1, 2])))
            .contains("array of i32, expected an array of strings")
    );
    assert!(refusal(&bpe().strings::<&str>(TOKENS, &[])).contains("empty"));
    assert!(refusal(&bpe().without(MERGES)).contains("merges"));
    assert!(refusal(&spm().without(SCORES)).contains("scores"));
    assert!(refusal(&bpe().without("tokenizer.ggml.model")).contains("tokenizer.ggml.model"));
}

#[test]
fn lengths_must_agree_and_types_be_right() {
    assert!(refusal(&spm().set(SCORES, Value::F32s(vec![0.0; 3]))).contains("3 values for 263 tokens"));
    assert!(refusal(&bpe().set(TYPES, Value::I32s(vec![1; 6]))).contains("6 values for 5 tokens"));
    assert!(
        refusal(&spm().set(SCORES, Value::Bytes(vec![0; 263].into()))).contains("expected an array of f32")
    );
}

#[test]
fn nan_scores_are_refused_and_unknown_types_are_normal() {
    let mut scores = vec![0.0; 263];
    scores[5] = f32::NAN;
    assert!(refusal(&spm().set(SCORES, Value::F32s(scores))).contains("token 5 is NaN"));
    let tokenizer = load(&bpe().set(TYPES, Value::I32s(vec![1, 99, 1, -7, 3]))).unwrap();
    let expected = Warning::UnknownTokenTypes { count: 2, first: 1, value: 99 };
    assert!(tokenizer.warnings().contains(&expected), "{:?}", tokenizer.warnings());
    assert_eq!(encode(&tokenizer, "b"), [1]);
}

#[test]
fn special_ids_are_in_the_vocabulary_or_none() {
    for (key, id) in [(BOS, 5), (EOS, 1 << 40), (BOS, -2), ("tokenizer.ggml.eot_token_id", 99)] {
        let message = refusal(&bpe().integer(key, id));
        assert!(message.contains(key) && message.contains(&id.to_string()), "{message}");
    }
    for none in [-1, i128::from(u32::MAX)] {
        let tokenizer = load(&spm().integer(BOS, none).integer(EOS, none)).unwrap();
        assert_eq!((tokenizer.special().bos, tokenizer.special().eos), (None, None));
        assert!(tokenizer.prefix().is_empty());
    }
    let tokenizer = load(&bpe().integer("tokenizer.ggml.padding_token_id", 5)).unwrap();
    assert!(tokenizer.warnings().iter().any(|w| w.to_string().contains("padding_token_id")));
    assert!(refusal(&bpe().string(BOS, "a")).contains("expected an integer"));
}

#[test]
fn merges_have_two_halves_and_unknown_ones_are_counted() {
    assert!(refusal(&bpe().strings(MERGES, &["a b", "ab"])).contains("merge 1 (`ab`) has no space"));
    assert!(refusal(&bpe().strings(MERGES, &["a "])).contains("empty half"));
    assert!(refusal(&bpe().strings(MERGES, &[" a"])).contains("no space between two halves"));
    assert!(refusal(&bpe().strings(MERGES, &[""])).contains("merge 0"));
    let tokenizer = load(&bpe().strings(MERGES, &["x yz", "a b", "q a"])).unwrap();
    assert!(tokenizer.warnings().contains(&Warning::UnknownMerges { count: 2, first: 0 }));
    assert_eq!(encode(&tokenizer, "abxyzqa"), [2, 0]);
}

#[test]
fn byte_tokens_are_complete_or_absent() {
    let replaced = |from: &str, to: &str| {
        let base = spm();
        let Some(Value::Strings(tokens)) = tl_formats::tokenizer::Metadata::value(&base, TOKENS) else {
            panic!()
        };
        let tokens: Vec<Vec<u8>> = tokens
            .iter()
            .map(|text| if **text == *from.as_bytes() { to.into() } else { text.to_vec() })
            .collect();
        base.strings(TOKENS, &tokens)
    };
    for odd in ["<0x-1>", "<0xZZ>"] {
        let message = refusal(&replaced("<0x41>", odd));
        assert!(message.contains("1 of the 256 byte tokens are missing (<0x41>)"), "{message}");
    }
    let extra = ["<unk>", "<s>", "</s>", "▁", "a", "<0xZZ>"];
    let text_only = With::nothing()
        .string("tokenizer.ggml.model", "llama")
        .strings(TOKENS, &extra)
        .set(SCORES, Value::F32s(vec![0.0; 6]))
        .set(TYPES, Value::I32s(vec![2, 3, 3, 1, 1, 6]));
    let tokenizer = load(&text_only).unwrap();
    assert!(tokenizer.warnings().contains(&Warning::BadByteTokens { count: 1, first: 5 }));
    let encoding = tokenizer.encode_counted("aé", EncodeOptions::default()).unwrap();
    assert_eq!((encoding.ids, encoding.lost_bytes), (vec![3, 4, 0], 2));
    assert_eq!(tokenizer.token_bytes(5), b"<0xZZ>");
}

#[test]
fn repeated_empty_and_huge_tokens_load() {
    let huge = "z".repeat(1 << 20);
    let metadata = bpe().strings(TOKENS, &["a", "b", "ab", "", "a", &huge]).without(TYPES);
    let tokenizer = load(&metadata).unwrap();
    assert!(tokenizer.warnings().contains(&Warning::DuplicateTokens { count: 1, first: 4 }));
    assert!(tokenizer.warnings().contains(&Warning::EmptyTokens { count: 1, first: 3 }));
    assert_eq!(encode(&tokenizer, "aab"), [0, 2]);
    assert_eq!(tokenizer.token_bytes(4), b"a");
    assert_eq!(tokenizer.token_bytes(3), b"");
    assert_eq!(tokenizer.token_bytes(5).len(), 1 << 20);
    assert_eq!(tokenizer.token_bytes(6), b"");
    assert_eq!(tokenizer.token_display(6), "<invalid id 6>");
}

#[test]
fn unknown_models_and_rules_are_refused_by_name() {
    let error = load(&bpe().string("tokenizer.ggml.model", "fo\u{1b}o")).unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("`fo\\u{1b}o`"), "{error}");
    let unknown = bpe().string("tokenizer.ggml.pre", "foo");
    let error = load(&unknown).unwrap_err();
    assert!(error.is_unsupported());
    for part in ["`foo`", "llama-bpe", "smollm", "--pre"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let options = LoadOptions { pre: Some("gpt-2".into()) };
    assert!(Tokenizer::from_metadata(&unknown, &options).is_ok());
    let tokenizer = load(&bpe().without("tokenizer.ggml.pre")).unwrap();
    assert!(tokenizer.warnings().contains(&Warning::MissingPre));
    assert_eq!(tokenizer.pre(), Some("default"));
}

#[test]
fn the_embedding_must_have_a_row_for_each_token() {
    let tokenizer = load(&bpe()).unwrap();
    assert!(tokenizer.check_embedding_rows(5).is_ok());
    let message = tokenizer.check_embedding_rows(6).unwrap_err().to_string();
    assert!(message.contains('5') && message.contains('6'));
}

#[test]
fn invalid_utf8_in_tokens_survives() {
    let tokens: [&[u8]; 4] = [b"a", b"\xff\xfe", b"\xe4\xb8", b"<|\xff|>"];
    let metadata = bpe().strings(TOKENS, &tokens).set(TYPES, Value::I32s(vec![1, 1, 4, 3]));
    let tokenizer = load(&metadata).unwrap();
    assert_eq!(tokenizer.token_bytes(1), b"\xff\xfe");
    assert_eq!(
        tokenizer.decode(&[0, 1, 2, 3], DecodeOptions { special: true, from_start: false }),
        b"a\xff\xfe\xe4\xb8<|\xff|>"
    );
    assert_eq!(tokenizer.decode_text(&[0, 1, 0], DecodeOptions::default()), "a\u{fffd}\u{fffd}a");
    assert_eq!(tokenizer.token_display(1), "\\xFF\\xFE");
}

#[test]
fn control_tokens_appear_only_with_permission() {
    let tokenizer = load(&bpe()).unwrap();
    let parse = EncodeOptions { parse_special: true, add_special: false };
    assert_eq!(tokenizer.encode("a<|end|>b", parse).unwrap(), [0, 4, 1]);
    assert_eq!(encode(&tokenizer, "a<|end|>b"), [0, 1]);
    assert!(tokenizer.is_end_of_generation(4) && tokenizer.is_control(4));
    assert_eq!(tokenizer.decode(&[0, 4, 1], DecodeOptions::default()), b"ab");
    assert_eq!(
        tokenizer.decode(&[0, 4, 1], DecodeOptions { special: true, from_start: false }),
        b"a<|end|>b"
    );
}

#[test]
fn a_tokenizer_json_that_is_not_one_is_refused() {
    for (source, part) in [
        ("", "not valid JSON"),
        ("[]", "`model` is missing"),
        (r#"{"model":{"type":"WordLevel"}}"#, "model `WordLevel`"),
        (r#"{"model":{"type":"BPE","merges":[]}}"#, "model.vocab"),
        (r#"{"model":{"type":"BPE","vocab":{"a":4000000000},"merges":[]}}"#, "not a number below"),
        (r#"{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}"#, "not a number below"),
        (r#"{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}}"#, "merge 0"),
        (r#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a"]]}}"#, "merge 0"),
        (r#"{"model":{"type":"BPE","vocab":{"a":0}}}"#, "model.merges"),
        (r#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[],"dropout":0.1}}"#, "dropout"),
        (
            r#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"normalizer":{"type":"Precompiled"}}"#,
            "`Precompiled`",
        ),
        (
            r#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"UnicodeScripts"}}"#,
            "UnicodeScripts",
        ),
        (
            r#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated"}}"#,
            "does not compile",
        ),
        (
            r#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"post_processor":{"type":"BertProcessing","sep":["x",9],"cls":["y",0]}}"#,
            "outside the vocabulary",
        ),
    ] {
        let error = Tokenizer::from_json(source).unwrap_err().to_string();
        assert!(error.contains(part), "{source}: {error}");
    }
}

#[test]
fn no_metadata_key_of_another_type_makes_a_panic() {
    let file = gguf("wordpiece");
    let keys: Vec<String> = file.metadata().entries().iter().map(|entry| entry.key().to_string()).collect();
    let values = || {
        [
            Value::Bool(true),
            Value::Integer(i128::MAX),
            Value::Integer(0),
            Value::Float(f64::NAN),
            Value::String(b"\xff"[..].into()),
            Value::Strings(vec![]),
            Value::Strings(vec![b""[..].into(), b"\xff"[..].into()]),
            Value::I32s(vec![i32::MIN]),
            Value::F32s(vec![f32::INFINITY]),
            Value::Bytes(vec![0; 7].into()),
            Value::Other("an array of arrays".into()),
        ]
    };
    for model in ["bert", "llama", "gpt2", "t5", "gemma4"] {
        for key in
            keys.iter().map(String::as_str).chain([SCORES, MERGES, "tokenizer.ggml.precompiled_charsmap"])
        {
            for value in values() {
                let base = With::new(file.metadata()).string("tokenizer.ggml.model", model);
                if let Ok(tokenizer) = load(&base.set(key, value)) {
                    let ids = encode(&tokenizer, "Hello <s> wörld");
                    assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocabulary_size()));
                }
            }
        }
    }
}
