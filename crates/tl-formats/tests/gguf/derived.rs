//! What follows from well-formed files: every prefix is refused, and no changed bit or number makes the reader panic.

use std::iter::repeat_n;

use tl_formats::ErrorKind;
use tl_formats::gguf::hyperparameters;

use crate::hyperparameters::Model;
use crate::image::*;

/// A well-formed file that ends with its last tensor, and where its data begin.
struct Fixture {
    name: &'static str,
    bytes: Vec<u8>,
    data_start: usize,
}

impl Fixture {
    fn new(name: &'static str, bytes: Vec<u8>) -> Self {
        let file = read(&bytes).expect(name);
        let offset = |offset: u64| usize::try_from(offset).expect("a small file");
        let data_start = file.tensors().iter().map(|t| offset(t.offset())).min().unwrap_or(bytes.len());
        let end =
            file.tensors().iter().map(|t| offset(t.offset() + t.byte_len())).max().unwrap_or(bytes.len());
        let bytes = bytes[..end].to_vec();
        Self { name, bytes, data_start }
    }

    fn all() -> [Self; 5] {
        [
            Self::new("small", Image::small().bytes()),
            Self::new("version 2", Image::with(|i| i.version = 2)),
            Self::new("every type of value", values()),
            Self::new("a vocabulary", vocabulary()),
            Self::new("a model", Model::new().bytes()),
        ]
    }
}

fn values() -> Vec<u8> {
    let scalars = [
        (U8, vec![1]),
        (I8, vec![0xff]),
        (U16, vec![1, 2]),
        (I16, vec![1, 0x80]),
        (U32, vec![1, 2, 3, 4]),
        (I32, vec![1, 2, 3, 0x84]),
        (F32, 1.5f32.to_le_bytes().into()),
        (BOOL, vec![1]),
        (STRING, string("text")),
        (U64, vec![8; 8]),
        (I64, vec![0x88; 8]),
        (F64, 1.5f64.to_le_bytes().into()),
    ];
    let mut image = Image::small();
    for (kind, bytes) in &scalars {
        image.entries.push(entry(format!("scalar.{kind}"), *kind, bytes));
        image.entries.push(entry(format!("array.{kind}"), ARRAY, &array(*kind, 2, &bytes.repeat(2))));
        image.entries.push(entry(format!("empty.{kind}"), ARRAY, &array(*kind, 0, &[])));
    }
    let nested = [array(U8, 2, &[1, 2]), array(STRING, 1, &string("x"))].concat();
    image.entries.push(entry("nested", ARRAY, &array(ARRAY, 2, &nested)));
    image.bytes()
}

fn vocabulary() -> Vec<u8> {
    let mut image = Image::small();
    image.entries.push(text("tokenizer.ggml.model", "gpt2"));
    image.entries.push(strings("tokenizer.ggml.tokens", &["a", "b", "ab", "", "\u{120}"]));
    image.entries.push(strings("tokenizer.ggml.merges", &["a b"]));
    let types: Vec<u8> = repeat_n(1i32.to_le_bytes(), 5).flatten().collect();
    image.entries.push(entry("tokenizer.ggml.token_type", ARRAY, &array(I32, 5, &types)));
    image.infos = vec![info("scalar", &[], ggml::F32, 0), info("x", &[2, 1, 3, 1], ggml::I64, 32)];
    image.data.resize(32 + 48, 0);
    image.bytes()
}

/// Everything that a program does with a file that it could read.
fn use_file(bytes: &[u8]) {
    let Ok(file) = read(bytes) else { return };
    for entry in file.metadata().entries() {
        let _ = format!("{} {:?}", entry.value(), entry.value().array().map(|a| a.iter().count()));
    }
    let _ = hyperparameters::check(&file, None);
    let _ = file.output_weight();
    for check in file.check() {
        check.expect("a tensor of a file that could be read");
    }
}

#[test]
fn every_prefix_is_refused() {
    for fixture in Fixture::all() {
        for length in 0..fixture.bytes.len() {
            let error = read(&fixture.bytes[..length]).map(|_| ()).expect_err(fixture.name);
            assert_eq!(error.kind(), ErrorKind::Malformed, "{} bytes of {}: {error}", length, fixture.name);
            assert!(error.offset().is_some_and(|offset| offset <= length as u64), "{error}");
        }
    }
}

#[test]
fn no_flipped_bit_makes_the_reader_panic() {
    for mut fixture in Fixture::all() {
        for bit in 0..fixture.data_start * 8 {
            fixture.bytes[bit / 8] ^= 1 << (bit % 8);
            use_file(&fixture.bytes);
            fixture.bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn no_number_in_any_place_makes_the_reader_panic() {
    let numbers =
        [0, 1, 2, 31, 255, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, 1 << 61]
            .into_iter()
            .chain([(1 << 63) - 1, 1 << 63, u64::MAX - 31, u64::MAX]);
    for number in numbers {
        for fixture in Fixture::all() {
            for at in 0..fixture.data_start - 8 {
                let mut bytes = fixture.bytes.clone();
                bytes[at..at + 8].copy_from_slice(&u64::to_le_bytes(number));
                use_file(&bytes);
                let mut bytes = fixture.bytes.clone();
                bytes[at..at + 4].copy_from_slice(&u64::to_le_bytes(number)[..4]);
                use_file(&bytes);
            }
        }
    }
}
