//! What holds for every text: decoding gives it back, streaming gives the same as decoding at once, and megabytes of
//! one character take no longer than megabytes of prose.

mod tokenizer_support;

use proptest::prelude::*;
use std::sync::OnceLock;
use tl_formats::tokenizer::{DecodeOptions, EncodeOptions, LoadOptions, Tokenizer};
use tokenizer_support::gguf;

/// Vocabularies that have a token for every byte, and for the mark that spells a space.
fn complete() -> &'static [(&'static str, Tokenizer)] {
    static TOKENIZERS: OnceLock<Vec<(&str, Tokenizer)>> = OnceLock::new();
    TOKENIZERS.get_or_init(|| ["gpt-2", "spm"].map(|name| (name, load(name))).into())
}

fn load(name: &str) -> Tokenizer {
    Tokenizer::from_metadata(gguf(name).metadata(), &LoadOptions::default()).unwrap()
}

const START: DecodeOptions = DecodeOptions { special: true, from_start: true };

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decoding_gives_the_text_back(text in r"(\PC|[a-z ]|\s|<s>|<\|endoftext\|>|\x00){0,60}", parse_special: bool) {
        for (name, tokenizer) in complete() {
            // The mark that spells a space is read as one.
            let text = if *name == "gpt-2" { text.clone() } else { text.replace('▁', " ") };
            let options = EncodeOptions { parse_special, add_special: false };
            let encoding = tokenizer.encode_counted(&text, options).unwrap();
            prop_assert_eq!(encoding.lost_bytes, 0);
            let decoded = tokenizer.decode(&encoding.ids, START);
            // After special tokens, and those that were added to the vocabulary (of which one is three spaces), a space is put that decoding
            // does not take away.
            let added = encoding.ids.iter().any(|&id| id >= 32_000);
            if *name != "spm" || !parse_special && !added {
                prop_assert_eq!(String::from_utf8_lossy(&decoded), text.as_str(), "{}", name);
            }
        }
    }

    #[test]
    fn streaming_equals_decoding_at_once(ids in proptest::collection::vec(0u32..33_000, 0..40), special: bool, from_start: bool) {
        for (name, tokenizer) in complete() {
            let options = DecodeOptions { special, from_start };
            let mut decoder = tokenizer.decoder(options);
            let mut text = String::new();
            for id in &ids {
                text.push_str(decoder.push(tokenizer, *id));
            }
            text.push_str(decoder.finish());
            prop_assert_eq!(text, tokenizer.decode_text(&ids, options), "{}", name);
        }
    }
}

#[test]
fn long_runs_are_near_linear() {
    let names = ["gpt-2", "spm", "raw_bpe", "unigram", "wordpiece"];
    let tokenizers = names.map(load);
    for unit in [" ", "a", "\n", "é", "世", ".", "ab ", "\u{301}", "<s>", "<", "1", "▁", "\0"] {
        let text = unit.repeat((1 << 18) / unit.len());
        for (name, tokenizer) in names.iter().zip(&tokenizers) {
            let options = EncodeOptions { parse_special: true, add_special: true };
            let encoding = tokenizer.encode_counted(&text, options).unwrap();
            // A space that has no token of its own becomes the three bytes of its mark.
            assert!(encoding.ids.len() <= 3 * text.len() + 2, "{name} {unit:?}");
        }
    }
}
