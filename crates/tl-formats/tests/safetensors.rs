//! safetensors: what is written is read, and nothing else is.

use proptest::prelude::*;
use tl_formats::safetensors::{File, write};
use tl_formats::{Error, ErrorKind};
use tl_tensor::{Buffer, DType, Tensor};

/// A file with this header and so many bytes of data.
fn image(header: &str, data: usize) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend((0..data).map(|i| i as u8));
    out
}

fn read(bytes: &[u8]) -> Result<File, Error> {
    File::from_buffer(Buffer::from_vec(bytes.to_vec()))
}

/// Asserts that the file is refused, with this in the message and an offset inside it.
fn refused(bytes: &[u8], fragment: &str) {
    let error = read(bytes).map(|_| ()).expect_err("the file is refused");
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    assert!(error.to_string().contains(fragment), "{fragment:?} in {error}");
    assert!(error.offset().is_some_and(|offset| offset <= bytes.len() as u64), "{error}");
}

const SMALL: &str = r#"{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"__metadata__":{"k":"text"},"b":{"dtype":"I8","shape":[],"data_offsets":[8,9]}}"#;

#[test]
fn a_small_file_is_read() {
    let file = read(&image(SMALL, 9)).expect("a well-formed file");
    assert_eq!(file.metadata(), [("k".to_string(), "text".to_string())]);
    assert_eq!(file.tensors().iter().map(|t| t.name()).collect::<Vec<_>>(), ["a", "b"]);
    let a = file.tensor("a").expect("a tensor");
    assert_eq!((a.dtype(), a.shape()), (DType::F32, &[1, 2][..]));
    assert_eq!(a.data()[..], [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(a.as_f32().is_some(), "the numbers lie as they must");
    assert_eq!(file.tensor("b").expect("a tensor").shape(), [0usize; 0]);
    assert!(file.tensor("c").is_err());
}

#[test]
fn opening_and_reading_agree() {
    let path = std::env::temp_dir().join(format!("tl-safetensors-{}.safetensors", std::process::id()));
    std::fs::write(&path, image(SMALL, 9)).expect("a file in the temporary directory");
    for file in [File::open(&path), File::read(&path)] {
        assert_eq!(file.expect("a well-formed file").tensor("b").expect("a tensor").data()[..], [8]);
    }
    std::fs::write(&path, image(SMALL, 8)).expect("a file in the temporary directory");
    for file in [File::open(&path), File::read(&path)] {
        let error = file.map(|_| ()).expect_err("the file is cut");
        assert_eq!(error.path(), Some(&*path));
    }
    std::fs::remove_file(&path).expect("an own file");
    assert!(File::open(std::env::temp_dir()).is_err());
}

#[test]
fn headers_that_break_the_format() {
    refused(&[], "empty");
    refused(&[1, 2, 3], "truncated");
    refused(&image("", 0), "too few");
    refused(&u64::MAX.to_le_bytes(), "at most 100000000");
    refused(&100_000_001u64.to_le_bytes(), "at most 100000000");
    refused(&100_000_000u64.to_le_bytes(), "only 0 are left");
    refused(&image(" {}", 0), "must begin with");
    refused(&image("[]", 0), "must begin with");
    refused(&image("{]", 0), "key must be a string");
    refused(&image("{} x", 0), "trailing");
    refused(&image(&format!("{{\"a\":{}", "[".repeat(100_000)), 0), "header");
    let mut bytes = image("{\"aa\":1}", 0);
    bytes[10] = 0xff;
    refused(&bytes, "not UTF-8");
    let twice = SMALL.replace("\"b\":", "\"a\":");
    refused(&image(&twice, 9), "appears twice");
    refused(&image(&SMALL.replace("\"k\":\"text\"", "\"k\":1"), 9), "invalid type");
    refused(&image(&SMALL.replace("\"dtype\":\"F32\"", "\"dtype\":\"F32\",\"x\":1"), 9), "unknown field");
    refused(
        &image(&SMALL.replace("\"dtype\":\"F32\"", "\"dtype\":\"F32\",\"dtype\":\"F32\""), 9),
        "duplicate field",
    );
    refused(&image(&SMALL.replace("[1,2]", "[-1,2]"), 9), "invalid value");
    refused(&image(&SMALL.replace("[1,2]", "[1,1,1,1,1,1,1,1,2]"), 9), "more than 8 axes");
}

#[test]
fn padding_after_the_header_is_blank() {
    assert!(read(&image(&format!("{SMALL}   "), 9)).is_ok());
}

#[test]
fn bytes_with_two_meanings_or_none() {
    refused(&image(SMALL, 10), "the tensors take 9 bytes, but 10 follow");
    refused(&image(SMALL, 8), "the tensors take 9 bytes, but 8 follow");
    refused(&image(&SMALL.replace("[8,9]", "[7,8]"), 8), "overlap");
    refused(&image(&SMALL.replace("[8,9]", "[9,10]"), 10), "leave a hole");
    refused(&image(&SMALL.replace("[0,8]", "[1,9]").replace("[8,9]", "[9,10]"), 10), "leave a hole");
    refused(&image(&SMALL.replace("[0,8]", "[8,0]"), 9), "are not the 8");
    refused(&image(&SMALL.replace("[0,8]", "[0,7]"), 9), "are not the 8");
    refused(&image("{}", 1), "the tensors take 0 bytes");
}

#[test]
fn sizes_that_overflow() {
    for shape in [
        "[4294967296,4294967296]",
        "[18446744073709551615]",
        "[4294967296,4294967296,0]",
        "[2305843009213693952]",
    ] {
        refused(&image(&SMALL.replace("[1,2]", shape), 9), "overflows");
    }
}

#[test]
fn unknown_types_are_unsupported() {
    let error = read(&image(&SMALL.replace("F32", "F8_E4M3"), 9)).map(|_| ()).expect_err("an unknown type");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("tensor \"a\"") && error.to_string().contains("F8_E4M3"), "{error}");
}

#[test]
fn every_prefix_is_refused_and_no_flipped_bit_panics() {
    let bytes = image(SMALL, 9);
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "{length} bytes");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(file) = read(&bytes) {
            for info in file.tensors() {
                file.tensor(info.name()).expect("a tensor of a file that could be read");
            }
        }
    }
}

#[test]
fn what_the_format_lacks_is_not_written() {
    let plain = Tensor::from_f32(&[1], &[1.0]);
    let packed = Tensor::zeros(DType::Q4_0, [32]).expect("a block");
    assert!(write(&[("t", &packed)], &[], Vec::new()).is_err());
    assert!(write(&[("t", &plain), ("t", &plain)], &[], Vec::new()).is_err());
    assert!(write(&[("__metadata__", &plain)], &[], Vec::new()).is_err());
}

fn tensor() -> impl Strategy<Value = Tensor> {
    let dtypes = [
        DType::F64,
        DType::F32,
        DType::F16,
        DType::BF16,
        DType::I64,
        DType::I32,
        DType::I16,
        DType::I8,
        DType::U8,
    ];
    (prop::sample::select(dtypes.to_vec()), prop::collection::vec(0..4usize, 0..4), any::<u8>()).prop_map(
        |(dtype, shape, byte)| {
            let bytes = shape.iter().product::<usize>() * dtype.bytes();
            Tensor::new(dtype, shape, Buffer::from_vec(vec![byte; bytes]))
                .expect("as many bytes as the shape needs")
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(tensors in prop::collection::vec(tensor(), 0..6), text in ".*") {
        let names: Vec<String> = (0..tensors.len()).map(|i| format!("{text}{i}")).collect();
        let pairs: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(&tensors).collect();
        let bytes = write(&pairs, &[("key", &text)], Vec::new()).expect("writing to memory");
        let file = read(&bytes).expect("what was written");
        prop_assert_eq!(file.metadata(), [("key".to_string(), text)]);
        for (name, tensor) in &pairs {
            let read = file.tensor(name).expect("a tensor that was written");
            prop_assert_eq!((read.dtype(), read.shape()), (tensor.dtype(), tensor.shape()));
            prop_assert_eq!(&read.data()[..], &tensor.data()[..]);
        }
        let again: Vec<(&str, Tensor)> =
            file.tensors().iter().map(|t| (t.name(), file.tensor(t.name()).expect("a tensor"))).collect();
        let again: Vec<(&str, &Tensor)> = again.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let metadata: Vec<(&str, &str)> = file.metadata().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        prop_assert_eq!(write(&again, &metadata, Vec::new()).expect("writing to memory"), bytes);
    }
}
