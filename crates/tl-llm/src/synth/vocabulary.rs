//! A vocabulary of any size, made up so that text can be read with it.
//!
//! Its words are all sequences of letters, the short ones first, each perhaps after a space. Word `n` beyond the letters is word `(n − 27) / 26` with one letter
//! more, so each is a merge of two that come before it. Below them stand the 256 bytes.

use tl_formats::gguf::{Array, Metadata, ValueType};
use tl_formats::tokenizer::byte_char;
use tl_tensor::Buffer;

use super::SynthError;
use super::table::{Pieces, VocabularyRow};

/// The most tokens that a made-up vocabulary has.
const MOST: usize = 1 << 20;

/// The space and the letters.
const LETTERS: usize = 27;

/// Kinds of tokens, as GGUF numbers them.
mod kind {
    pub const NORMAL: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const CONTROL: i32 = 3;
    pub const BYTE: i32 = 6;
}

/// A token: its text, its score, its kind.
type Token = (String, f32, i32);

/// Writes a vocabulary of `size` tokens.
pub(super) fn set(metadata: &mut Metadata, row: &VocabularyRow, size: usize) -> Result<(), SynthError> {
    let special = row.special.len();
    let first_special = row.first_special as usize;
    if size > MOST || size < 256 + LETTERS + special || first_special + special > size {
        let least = 256 + LETTERS + special;
        return Err(SynthError::Shape(format!(
            "a vocabulary has {least} to {MOST} tokens, its special ones among them"
        )));
    }
    if [Some(row.bos), Some(row.eos), row.unknown].iter().flatten().any(|&id| id as usize >= size) {
        return Err(SynthError::Shape(format!("the ids of special tokens are below {size}")));
    }
    let (space, mut plain) = match row.pieces {
        Pieces::SentencePieces => ('▁', byte_pieces()),
        Pieces::BytePairs => (byte_char(b' '), byte_letters()),
    };
    let words = words(space, size - special - plain.len() + LETTERS);
    // The letters of GPT-2's alphabet are its bytes.
    let listed = if row.pieces == Pieces::BytePairs { LETTERS } else { 0 };
    let new = words[listed..].iter().zip(1..);
    plain.extend(new.map(|(word, n)| (word.clone(), -(n as f32), kind::NORMAL)));
    plain.truncate(size - special);
    let named = row.special.iter().zip(first_special..).map(|(text, id)| {
        let is_unknown = row.unknown.is_some_and(|unknown| unknown as usize == id);
        (text.clone(), 0.0, if is_unknown { kind::UNKNOWN } else { kind::CONTROL })
    });
    let tokens: Vec<Token> = {
        let rest = plain.split_off(first_special.min(plain.len()));
        plain.into_iter().chain(named).chain(rest).collect()
    };
    write(metadata, row, &tokens);
    if row.pieces == Pieces::BytePairs {
        let merges = &words[LETTERS..size - special - 256 + LETTERS];
        let pairs = merges.iter().map(|word| {
            let (last, _) = word.char_indices().next_back().expect("a word has letters");
            format!("{} {}", &word[..last], &word[last..])
        });
        metadata.set("tokenizer.ggml.merges", Array::from_strings(pairs));
    }
    Ok(())
}

/// The first `count` words.
fn words(space: char, count: usize) -> Vec<String> {
    let mut words: Vec<String> = std::iter::once(space).chain('a'..='z').map(String::from).collect();
    for n in words.len()..count {
        let (parent, letter) = ((n - LETTERS) / 26, b'a' + ((n - LETTERS) % 26) as u8);
        words.push(format!("{}{}", words[parent], char::from(letter)));
    }
    words
}

fn byte_pieces() -> Vec<Token> {
    (0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), 0.0, kind::BYTE)).collect()
}

fn byte_letters() -> Vec<Token> {
    (0..=255u8).map(|byte| (byte_char(byte).to_string(), 0.0, kind::NORMAL)).collect()
}

fn write(metadata: &mut Metadata, row: &VocabularyRow, tokens: &[Token]) {
    metadata.set("tokenizer.ggml.model", row.model.as_str());
    if let Some(pre) = &row.pre {
        metadata.set("tokenizer.ggml.pre", pre.as_str());
    }
    metadata.set("tokenizer.ggml.tokens", Array::from_strings(tokens.iter().map(|t| &t.0)));
    if row.pieces == Pieces::SentencePieces {
        metadata
            .set("tokenizer.ggml.scores", numbers(ValueType::F32, tokens.iter().map(|t| t.1.to_le_bytes())));
    }
    metadata
        .set("tokenizer.ggml.token_type", numbers(ValueType::I32, tokens.iter().map(|t| t.2.to_le_bytes())));
    if let Some(unknown) = row.unknown {
        metadata.set("tokenizer.ggml.unknown_token_id", unknown);
    }
    metadata
        .set("tokenizer.ggml.bos_token_id", row.bos)
        .set("tokenizer.ggml.eos_token_id", row.eos)
        .set("tokenizer.ggml.add_bos_token", row.add_bos);
}

fn numbers(kind: ValueType, words: impl Iterator<Item = [u8; 4]>) -> Array {
    let bytes: Vec<u8> = words.flatten().collect();
    Array::from_bytes(kind, Buffer::from_vec(bytes)).expect("whole words")
}

#[cfg(test)]
mod tests {
    use tl_formats::tokenizer::{DecodeOptions, EncodeOptions, LoadOptions, Tokenizer};

    use super::*;
    use crate::synth::Table;

    #[test]
    fn text_is_read_and_written_with_every_vocabulary_of_the_table() {
        for shape in &Table::get().shapes {
            let mut metadata = Metadata::new();
            let size = shape.size("vocabulary").unwrap();
            set(&mut metadata, &shape.vocabulary, size).unwrap();
            let tokenizer = Tokenizer::from_metadata(&metadata, &LoadOptions::default()).unwrap();
            assert_eq!(tokenizer.vocabulary_size(), size, "{}", shape.name);
            assert!(tokenizer.warnings().is_empty(), "{}: {:?}", shape.name, tokenizer.warnings());
            let text = "the quick brown fox: Zwölf Boxkämpfer, 12!\n";
            let ids =
                tokenizer.encode(text, EncodeOptions { parse_special: true, add_special: false }).unwrap();
            assert!(ids.len() < text.len(), "{}: some letters are merged", shape.name);
            let decoded =
                tokenizer.decode_text(&ids, DecodeOptions { from_start: true, ..DecodeOptions::default() });
            assert_eq!(decoded, text, "{}", shape.name);
        }
    }
}
