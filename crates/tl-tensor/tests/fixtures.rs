//! Every format against ggml's own bytes and values: decoders to the bit, encoders to the bit where ggml's way of
//! quantizing is the obvious one, and by their error where a search is involved.

use std::fs;
use std::path::PathBuf;

use tl_tensor::{Buffer, DType, Tensor};

/// A line of `index.json`, as far as it is needed.
struct Entry {
    name: String,
    number: u32,
    block: usize,
    bytes: usize,
    rel_rmse: f64,
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/quant").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn floats(name: &str) -> Vec<f32> {
    bytes(name).as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Reads the index, which has one type a line.
fn index() -> Vec<Entry> {
    let text = String::from_utf8(bytes("index.json")).unwrap();
    let entry = |line: &str| {
        let field = |key: &str| {
            let rest = line.split_once(&format!("\"{key}\":"))?.1;
            Some(rest.split([',', '}']).next()?.trim_matches('"').to_owned())
        };
        Some(Entry {
            name: field("type")?,
            number: field("id")?.parse().ok()?,
            block: field("block")?.parse().ok()?,
            bytes: field("block_bytes")?.parse().ok()?,
            rel_rmse: field("rel_rmse")?.parse().ok()?,
        })
    };
    let entries: Vec<_> = text.lines().filter_map(entry).collect();
    assert_eq!(entries.len(), 29, "all types of the index are read");
    entries
}

fn dtype(entry: &Entry) -> DType {
    DType::from_name(&entry.name).unwrap_or_else(|| panic!("no type {}", entry.name))
}

fn assert_bits(name: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{name}");
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert_eq!(g.to_bits(), e.to_bits(), "{name}: value {i} is {g}, expected {e}");
    }
}

fn relative_error(got: &[f32], expected: &[f32]) -> f64 {
    let square = |v: f32| f64::from(v).powi(2);
    let error: f64 = got.iter().zip(expected).map(|(g, e)| square(g - e)).sum();
    (error / expected.iter().map(|&e| square(e)).sum::<f64>()).sqrt()
}

#[test]
fn table_agrees_with_ggml() {
    for entry in index() {
        let info = dtype(&entry).info();
        assert_eq!(
            (info.ggml, info.block, info.bytes),
            (Some(entry.number), entry.block, entry.bytes),
            "{}",
            info.name
        );
    }
}

#[test]
fn decoders_equal_ggml_to_the_bit() {
    for entry in index() {
        for variant in ["", ".rand"] {
            let q = format!("{}{variant}.q.bin", entry.name);
            if !path(&q).exists() {
                continue;
            }
            let expected = floats(&format!("{}{variant}.f32.bin", entry.name));
            let mut got = vec![0.0; expected.len()];
            dtype(&entry).decode(&bytes(&q), &mut got).unwrap_or_else(|| panic!("{q}: sizes"));
            assert_bits(&q, &got, &expected);
        }
    }
}

#[test]
fn scans_find_fixtures_sound() {
    for entry in index() {
        let q = format!("{}.q.bin", entry.name);
        assert_eq!(dtype(&entry).scan(&bytes(&q)).bad, 0, "{q}");
    }
}

#[test]
fn direct_encoders_equal_ggml_to_the_bit() {
    let input = floats("input.f32.bin");
    for name in [
        "F16", "BF16", "Q1_0", "Q2_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q8_K", "TQ1_0",
        "TQ2_0", "MXFP4", "NVFP4",
    ] {
        let dtype = DType::from_name(name).unwrap();
        let got = Tensor::encode(dtype, [1024], &input).unwrap();
        let expected = bytes(&format!("{name}.q.bin"));
        let differing = got.data().iter().zip(&expected).position(|(g, e)| g != e);
        assert_eq!(differing, None, "{name}: the first byte that differs");
        assert_eq!(got.data().len(), expected.len(), "{name}");
    }
}

#[test]
fn searching_encoders_are_no_worse_than_ggml() {
    let input = floats("input.f32.bin");
    for entry in index() {
        if dtype(&entry).info().encode.is_none() {
            continue;
        }
        let got = Tensor::encode(dtype(&entry), [1024], &input).unwrap().to_f32();
        let error = relative_error(&got, &input);
        println!("{:8} {error:.6} ggml {:.6}", entry.name, entry.rel_rmse);
        assert!(error <= entry.rel_rmse * 1.0001 + 1e-6, "{}: {error}, ggml {}", entry.name, entry.rel_rmse);
    }
}

#[test]
fn quantized_rows_decode_alone() {
    for entry in index() {
        let expected = floats(&format!("{}.f32.bin", entry.name));
        let data = Buffer::from_vec(bytes(&format!("{}.q.bin", entry.name)));
        let tensor = Tensor::new(dtype(&entry), [4, 256], data).unwrap();
        let mut row = [0.0; 256];
        tensor.row_f32(2, &mut row).unwrap();
        assert_bits(&entry.name, &row, &expected[512..768]);
        assert_eq!(tensor.get(&[3, 77]), Some(f64::from(expected[3 * 256 + 77])));
    }
}
