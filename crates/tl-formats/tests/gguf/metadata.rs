//! Metadata: getters, prefixes, types, and what their errors say.

use tl_formats::gguf::{Array, Metadata, Strings, Value, ValueType};

use crate::image::*;

fn sample() -> Metadata {
    let mut metadata = Metadata::new();
    metadata
        .set("general.architecture", "test")
        .set("test.width", 7u32)
        .set("width", -1i32)
        .set("test.eps", 0.5f32);
    metadata.set("test.list", Array::from(&[1i32, -2][..])).set("flag", true).set("test.big", u64::MAX);
    metadata.set("words", Array::from_strings(["a", "", "ccc"]));
    metadata
}

#[test]
fn the_architectures_prefix_may_be_left_out() {
    let metadata = sample();
    assert_eq!(metadata.get::<f32>("eps"), Ok(0.5));
    assert_eq!(metadata.get::<f32>("test.eps"), Ok(0.5));
    // The exact key comes first.
    assert_eq!(metadata.get::<i64>("width"), Ok(-1));
    assert_eq!(metadata.get::<u32>("test.width"), Ok(7));
    assert_eq!(metadata.opt::<u32>("none"), Ok(None));
}

#[test]
fn integers_are_read_at_any_width_where_they_fit() {
    let metadata = sample();
    assert_eq!(metadata.get::<u64>("test.width"), Ok(7));
    assert_eq!(metadata.get::<usize>("test.width"), Ok(7));
    assert_eq!(metadata.get::<u64>("big"), Ok(u64::MAX));
    let error = metadata.get::<u32>("width").expect_err("a negative number").to_string();
    assert_eq!(error, "key \"width\": wanted u32, found i32 -1");
    assert!(metadata.get::<i64>("big").is_err());
    assert!(metadata.get::<u32>("eps").is_err());
    assert!(metadata.get::<f32>("test.width").is_err());
}

#[test]
fn errors_name_key_wanted_and_found() {
    let metadata = sample();
    let text = |e: tl_formats::Error| e.to_string();
    assert_eq!(
        metadata.get::<u32>("depth").map_err(text),
        Err("key \"depth\": missing (also as \"test.depth\"); wanted u32".into())
    );
    assert_eq!(
        metadata.get::<&str>("list").map_err(text),
        Err("key \"test.list\": wanted UTF-8 string, found array of 2 i32".into())
    );
    assert_eq!(
        metadata.get::<Vec<u32>>("list").map_err(text),
        Err("key \"test.list\": wanted array of u32, found element 1: i32 -2".into())
    );
    let file = read(&Image::small().bytes()).expect("the small file");
    let error = file.metadata().get::<&str>("block_count").expect_err("a number");
    let at = error.offset().expect("where the value is") as usize;
    assert_eq!(Image::small().bytes()[at..at + 4], 7u32.to_le_bytes());
}

#[test]
fn arrays_are_read_as_lists() {
    let metadata = sample();
    assert_eq!(metadata.get::<Vec<i32>>("list"), Ok(vec![1, -2]));
    let words: &Strings = metadata.get("words").expect("an array of strings");
    assert_eq!(words.iter().collect::<Vec<_>>(), [&b"a"[..], b"", b"ccc"]);
    assert_eq!((words.len(), words.get(2), words.get(3)), (3, Some(&b"ccc"[..]), None));
    assert!(metadata.get::<&Strings>("list").is_err());
    assert!(metadata.get::<Vec<f32>>("list").is_err());
}

#[test]
fn the_order_is_kept() {
    let mut metadata = sample();
    metadata.set("flag", false);
    assert_eq!(metadata.remove("width"), Some(Value::I32(-1)));
    let keys: Vec<&str> = metadata.entries().iter().map(|e| e.key()).collect();
    assert_eq!(
        keys,
        ["general.architecture", "test.width", "test.eps", "test.list", "flag", "test.big", "words"]
    );
    // What stood behind the removed entry is still found.
    assert_eq!(metadata.get::<bool>("flag"), Ok(false));
    assert_eq!(metadata.get::<u32>("width"), Ok(7));
}

#[test]
fn every_type_is_read() {
    let mut image = Image::small();
    image.entries = vec![
        entry("u8", U8, &[0xfe]),
        entry("i8", I8, &[0xfe]),
        entry("u16", U16, &[0xfe, 0xff]),
        entry("i16", I16, &[0xfe, 0xff]),
        entry("u32", U32, &[0xfe, 0xff, 0xff, 0xff]),
        entry("i32", I32, &[0xfe, 0xff, 0xff, 0xff]),
        entry("f32", F32, &1.5f32.to_le_bytes()),
        entry("bool", BOOL, &[1]),
        text("string", b"\xff"),
        entry("u64", U64, &[0xff; 8]),
        entry("i64", I64, &[0xff; 8]),
        entry("f64", F64, &1.5f64.to_le_bytes()),
        entry("i16s", ARRAY, &array(I16, 2, &[1, 0, 0xff, 0xff])),
        entry("bools", ARRAY, &array(BOOL, 2, &[1, 0])),
        entry("nested", ARRAY, &array(ARRAY, 1, &array(U8, 2, &[1, 2]))),
    ];
    let file = read(&image.bytes()).expect("every type");
    let value = |key| file.metadata().value(key).expect("the key is there").clone();
    assert_eq!(value("u8"), Value::U8(254));
    assert_eq!(value("i8"), Value::I8(-2));
    assert_eq!(value("u16"), Value::U16(65534));
    assert_eq!(value("i16"), Value::I16(-2));
    assert_eq!(value("u32"), Value::U32(u32::MAX - 1));
    assert_eq!(value("i32"), Value::I32(-2));
    assert_eq!(value("f32"), Value::F32(1.5));
    assert_eq!(value("bool"), Value::Bool(true));
    assert_eq!(value("string"), Value::String(vec![0xff]));
    assert_eq!(value("u64"), Value::U64(u64::MAX));
    assert_eq!(value("i64"), Value::I64(-1));
    assert_eq!(value("f64"), Value::F64(1.5));
    assert_eq!(value("i16s"), Value::Array(Array::from(&[1i16, -1][..])));
    assert_eq!(file.metadata().get("bools"), Ok(vec![true, false]));
    assert_eq!(value("nested"), Value::Array(Array::from_arrays(vec![Array::from(&[1u8, 2][..])])));
    assert_eq!(value("nested").to_string(), "[[1, 2]]");
    // Text that nobody reads may be bytes, but that is odd.
    assert!(file.warnings()[0].message.contains("not UTF-8"));
}

#[test]
fn arrays_of_the_wrong_bytes_are_not_made() {
    let bytes = |n: usize| tl_tensor::Buffer::from_vec(vec![2; n]);
    assert!(Array::from_bytes(ValueType::U32, bytes(6)).is_none());
    assert!(Array::from_bytes(ValueType::Bool, bytes(1)).is_none());
    assert!(Array::from_bytes(ValueType::String, bytes(8)).is_none());
    assert_eq!(Array::from_bytes(ValueType::U16, bytes(6)).map(|a| a.len()), Some(3));
}
