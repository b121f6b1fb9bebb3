//! Malformed files, cases 1 to 71: header, metadata, tensor descriptions, data.

use crate::image::Outcome::{A, R, U, W};
use crate::image::*;

const MAX: u64 = u64::MAX;

/// One test a row: name, outcome, the files.
macro_rules! cases {
    ($($name:ident: $outcome:expr, $files:expr;)*) => {
        $(#[test]
        fn $name() {
            $outcome.check($files);
        })*
    };
}

cases! {
    case_01_empty_file: R("empty"), [vec![]];
    case_02_three_bytes: R("truncated"), [b"GGU".to_vec()];
    case_03_every_length_of_a_cut_header: R("truncated"), (4..24).map(|n| Image::small().bytes()[..n].to_vec());
    case_04_wrong_magic: R("not a GGUF file"), [Image::with(|i| i.magic = b"FUGG".to_vec())];
    case_05_older_formats: U("older than GGUF"), [b"ggml", b"ggjt", b"GGLA", b"lmgg", b"tjgg", b"ALGG"].map(|magic| {
        Image::with(|i| i.magic = magic.to_vec())
    });
    case_06_html: R("HTML page"), [
        b"<!DOCTYPE html><html><title>404</title>".to_vec(), b"\n  <HTML><body>".to_vec(),
    ];
    case_06_json: R("JSON document"), [b"{\"error\": \"Repository not found\"}".to_vec(), b"[]".to_vec()];
    case_06_lfs_pointer: R("git lfs pull"), [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".to_vec(),
    ];
    case_07_safetensors: R("safetensors"), [b"\x10\0\0\0\0\0\0\0{\"__metadata__\":{}}".to_vec()];
    case_07_zip: R("zip"), [b"PK\x03\x04\x14\0\0\0".to_vec()];
    case_07_pickle: R("pickle"), [b"\x80\x02}q\0(X\x05\0\0\0".to_vec()];
    case_07_onnx: R("ONNX"), [b"\x08\x08\x12\x07pytorch".to_vec()];
    case_08_version_0: R("0 is not a version"), [Image::with(|i| i.version = 0)];
    case_09_version_1: U("version 1"), [Image::with(|i| i.version = 1)];
    case_10_version_2: A, [Image::with(|i| i.version = 2)];
    case_11_newer_versions: U("newer"), [4, u32::MAX].map(|v| Image::with(|i| i.version = v));
    case_12_big_endian: U("big-endian"), [2u32, 3].map(|v| Image::with(|i| i.version = v.swap_bytes()));
    case_13_tensors_all_ones: R("number of tensors"), [Image::with(|i| i.tensor_count = Some(MAX))];
    case_14_tensors_negative: R("number of tensors"), [Image::with(|i| i.tensor_count = Some(1 << 63))];
    case_15_tensors_beyond_the_file: R("at least 24 bytes each"), [Image::with(|i| i.tensor_count = Some(1 << 32))];
    case_16_entries_all_ones: R("number of metadata entries"), [Image::with(|i| i.entry_count = Some(MAX))];
    case_17_entries_beyond_the_file: R("number of metadata entries"), [Image::with(|i| i.entry_count = Some(1 << 40))];
    case_18_entry_missing: R("number of metadata entries"), [headless(1)];
    case_19_too_few_entries: R("tensor description 0"), [Image::with(|i| i.entry_count = Some(1))];
    case_20_key_length_all_ones: R("metadata entry 2, key"), [Image::with_entry(MAX.to_le_bytes().into())];
    case_21_key_one_byte_too_long: R("key: a length of 6 bytes, but only 5 are left"), [
        [&headless(1)[..], &6u64.to_le_bytes(), b"abcde"].concat(),
    ];
    case_22_key_empty: R("empty name"), [Image::with_entry(text("", "x"))];
    case_23_key_too_long: R("at most 65535"), [Image::with_entry(text("k".repeat(65_536), "x"))];
    case_24_key_not_utf8: R("not UTF-8"), [Image::with_entry(text(b"k\xff", "x"))];
    case_25_key_with_escapes: W("\"a\\u{1b}[2J\\nb\\u{202e}\""), [Image::with_entry(text("a\u{1b}[2J\nb\u{202e}", "x"))];
    case_26_key_twice: R("key \"general.architecture\": it appears twice"), [
        Image::with_entry(text("general.architecture", "test")),
    ];
    case_27_key_twice_with_two_types: R("it appears twice"), [Image::with_entry(entry("test.block_count", U8, &[7]))];
    case_28_value_type_13: R("13 is not a value type"), [Image::with_entry(entry("k", 13, &[0; 8]))];
    case_29_value_type_all_ones: R("is not a value type"), [Image::with_entry(entry("k", u32::MAX, &[0; 8]))];
    case_30_bool_2: R("the byte 2 is neither 0 nor 1"), [
        Image::with_entry(entry("k", BOOL, &[2])), Image::with_entry(entry("k", ARRAY, &array(BOOL, 3, &[1, 0, 2]))),
    ];
    case_31_string_length_all_ones: R("key \"k\", string"), [Image::with_entry(entry("k", STRING, &MAX.to_le_bytes()))];
    case_32_string_of_a_gibibyte: R("only "), [Image::with_entry(entry("k", STRING, &(1u64 << 30).to_le_bytes()))];
    case_33_template_not_utf8: R("not UTF-8"), [Image::with_entry(text("tokenizer.chat_template", b"{{ \xff }}"))];
    case_34_tokens_not_utf8: A, [
        Image::with_entry(entry("tokenizer.ggml.tokens", ARRAY, &array(STRING, 2, &[string(b"\xff\xfe"), string("a")].concat()))),
    ];
    case_35_array_of_2_63_bytes: R("array length"), [Image::with_entry(entry("k", ARRAY, &array(U8, 1 << 63, &[]))), {
        let k = entry("k", ARRAY, &array(U8, 1 << 63, &[]));
        // The whole file is 49 bytes.
        Image { entries: vec![k], infos: vec![], data: vec![], ..Image::small() }.head()
    }];
    case_36_array_whose_size_wraps: R("array length"), [Image::with_entry(entry("k", ARRAY, &array(U64, 1 << 61, &[])))];
    case_37_array_of_2_60_strings: R("array length"), [Image::with_entry(entry("k", ARRAY, &array(STRING, 1 << 60, &[])))];
    case_38_array_element_type_13: R("13 is not a value type"), [Image::with_entry(entry("k", ARRAY, &array(13, 1, &[0])))];
    case_39_array_of_arrays: A, [Image::with_entry(entry("k", ARRAY, &array(ARRAY, 2, &[
        array(U8, 3, &[1, 2, 3]), array(STRING, 1, &string("x")),
    ].concat())))];
    case_39_array_of_arrays_cut: R("array"), [
        Image { infos: vec![], data: vec![], entries: vec![entry("k", ARRAY, &array(ARRAY, 2, &array(U8, 3, &[1, 2, 3])))], ..Image::small() }.head(),
    ];
    case_40_arrays_10000_deep: R("nest deeper"), [
        Image::with_entry(entry("k", ARRAY, &array(ARRAY, 1, &[]).repeat(10_000))),
    ];
    case_41_alignment_of_another_type: R("wanted u32"), [
        Image::with_entry(entry("general.alignment", I32, &32i32.to_le_bytes())),
        Image::with_entry(text("general.alignment", "32")),
    ];
    case_42_alignment_0: R("not a power of two"), [alignment(0)];
    case_43_alignment_not_a_power_of_two: R("not a power of two"), [alignment(3), alignment(13)];
    case_44_alignment_too_large: R("largest alignment"), [alignment(1 << 31)];
    case_45_small_alignments: A, [1, 2, 4].map(unaligned);
    case_46_tensor_name_length_all_ones: R("tensor description 2, name"), [Image::with_info(MAX.to_le_bytes().into())];
    case_47_tensor_name_long: W("other readers allow 64"), [65, 255].map(|n| Image::with(|i| i.infos[1] = info("n".repeat(n), &[32], ggml::Q8_0, 32)));
    case_47_tensor_name_too_long: R("at most 255"), [Image::with(|i| i.infos[1] = info("n".repeat(256), &[32], ggml::Q8_0, 32))];
    case_48_tensor_name_empty: R("empty name"), [Image::with_info(info("", &[1], ggml::F32, 0))];
    case_49_tensor_name_twice: R("tensor \"a\": the name appears twice"), [Image::with_info(info("a", &[0], ggml::F32, 0))];
    case_50_tensor_name_like_a_path: A, ["../../x", "/etc/x"].map(|n| Image::with(|i| i.infos[0] = info(n, &[4], ggml::F32, 0)));
    case_51_five_dimensions: R("at most 4"), [Image::with_info(info("c", &[1; 5], ggml::F32, 0))];
    case_52_dimensions_all_ones: R("at most 4"), [
        Image::with_info([string("c"), u32::MAX.to_le_bytes().into()].concat()),
    ];
    case_53_dimension_0: A, [Image::with_info(info("c", &[4, 0], ggml::F32, 96)), Image::with_info(info("c", &[0], ggml::Q8_0, 0))];
    case_54_dimension_2_63: R("dimension 0"), [Image::with_info(info("c", &[1 << 63], ggml::I8, 0))];
    case_55_elements_overflow: R("overflow"), [
        Image::with_info(info("c", &[1 << 32, 1 << 32], ggml::I8, 0)),
        // An empty axis doesn't hide it.
        Image::with_info(info("c", &[1 << 32, 1 << 32, 0], ggml::I8, 0)),
    ];
    case_56_elements_wrap_to_4096: R("overflow"), [Image::with_info(info("c", &[4096, 7, 0x6DB6_DB6D_B6DB_6DB7], ggml::I8, 0))];
    case_57_bytes_overflow: R("overflow"), [Image::with_info(info("c", &[1 << 60, 4], ggml::I64, 0))];
    case_58_row_not_whole_blocks: R("not a multiple of Q4_K's block of 256"), [
        Image::with_info(info("c", &[100, 256], ggml::Q4_K, 0)), Image::with_info(info("c", &[], ggml::Q4_K, 0)),
    ];
    case_59_removed_types: U("was removed"), [4, 5, 31, 32, 33, 36, 37, 38].map(|t| Image::with_info(info("c", &[32], t, 0)));
    case_60_impossible_types: R("is not a ggml type"), [1 << 31, u32::MAX].map(|t| Image::with_info(info("c", &[32], t, 0)));
    case_61_types_of_a_later_version: U("tensor \"c\", type: ggml type 200"), [Image::with_info(info("c", &[32], 200, 0))];
    case_62_offset_not_aligned: R("not a multiple of the alignment"), [Image::with(|i| i.infos[1] = info("b", &[32], ggml::Q8_0, 31))];
    case_63_offset_beyond_the_end: R("outside the file"), [Image::with(|i| i.infos[1] = info("b", &[32], ggml::Q8_0, 1 << 20))];
    case_64_one_byte_beyond_the_end: R("outside the file"), [Image::with(|i| i.infos[1] = info("b", &[35], ggml::I8, 32))];
    case_65_offset_wraps: R("outside the file"), [Image::with(|i| i.infos[1] = info("b", &[32], ggml::Q8_0, MAX - 31))];
    case_66_overlap: R("overlap those of \"a\""), [
        Image::with(|i| i.infos[1] = info("b", &[32], ggml::Q8_0, 0)),
        Image::with(|i| i.infos[0] = info("a", &[9], ggml::F32, 0)),
    ];
    case_67_disorder: W("lie before those of \"a\""), [Image::with(|i| {
        i.infos = vec![info("a", &[32], ggml::Q8_0, 32), info("b", &[4], ggml::F32, 0)];
    })];
    case_67_gap: W("64 unused bytes"), [Image::with(|i| {
        i.infos[1] = info("b", &[32], ggml::Q8_0, 96);
        i.data.resize(96 + 34, 0);
    })];
    case_68_sizes_whose_sum_wraps: R("outside the file"), [Image::with(|i| {
        let size = 0x7FFF_FFFF_FFFF_FFC0;
        i.infos = vec![info("a", &[size], ggml::I8, 0), info("b", &[size], ggml::I8, size)];
    })];
    case_69_last_byte_missing: R("outside the file"), [Image::with(|i| i.data.truncate(32 + 33))];
    case_70_trailing_bytes: W("1048576 trailing bytes"), [Image::with(|i| {
        i.data.resize(i.data.len().next_multiple_of(32) + (1 << 20), 1);
    })];
}

/// The small file with an alignment that is given only as metadata.
fn alignment(n: u32) -> Vec<u8> {
    Image::with_entry(entry("general.alignment", U32, &n.to_le_bytes()))
}

/// A header that promises so many entries and no tensors.
fn headless(entries: u64) -> Vec<u8> {
    Image { entry_count: Some(entries), entries: vec![], infos: vec![], data: vec![], ..Image::small() }
        .head()
}

/// A file whose data begin at an odd multiple of the alignment `n`.
fn unaligned(n: u32) -> Vec<u8> {
    let mut image = Image::small();
    image.alignment = n as usize;
    image.infos[1] = info("b", &[32], ggml::Q8_0, 16);
    image.data.truncate(16 + 34);
    image.entries.push(entry("general.alignment", U32, &n.to_le_bytes()));
    image.entries.push(text("k", ""));
    for length in 0.. {
        image.entries[3] = text("k", "x".repeat(length));
        if image.head().len() % (2 * image.alignment) == image.alignment {
            break;
        }
    }
    image.bytes()
}

#[test]
fn case_45_numbers_are_copied_to_where_they_can_be_read() {
    for n in [1, 2, 4] {
        let file = read(&unaligned(n)).expect("a file of small alignment");
        let tensor = file.tensor("a").expect("a tensor of small alignment");
        assert_eq!(tensor.as_f32(), Some(&[0.0, 1.0, 2.0, 3.0][..]));
    }
}

#[test]
fn case_61_every_type_of_the_table_is_read() {
    for dtype in tl_tensor::DType::ALL {
        let Some(number) = dtype.info().ggml else { continue };
        let image = Image {
            infos: vec![info("w", &[512, 3], number, 0)],
            data: vec![0; 512 / dtype.block() * dtype.bytes() * 3],
            ..Image::small()
        };
        let file = read(&image.bytes()).expect("a type of the table");
        let tensor = file.tensor("w").expect("a tensor of zeros");
        assert_eq!((tensor.dtype(), tensor.shape()), (*dtype, &[3, 512][..]));
    }
}

#[test]
fn case_25_and_50_names_are_printed_escaped() {
    let image = Image::with(|i| i.infos[0] = info("a\u{1b}[31m", &[4], ggml::F32, 0));
    let file = read(&image).expect("an odd name is a warning");
    let warning = file.warnings()[0].to_string();
    assert!(warning.contains("a\\u{1b}[31m") && !warning.contains('\u{1b}'), "{warning}");
    let error = file.tensor("\u{1b}").expect_err("no such tensor").to_string();
    assert!(!error.contains('\u{1b}'), "{error}");
}

#[test]
fn warnings_are_counted_beyond_a_hundred() {
    let image = Image::with(|i| i.entries.extend((0..500).map(|n| text(format!("\u{7}{n}"), ""))));
    let file = read(&image).expect("odd keys are warnings");
    assert_eq!(file.warnings().len(), 101);
    assert!(file.warnings()[100].message.contains("400 more"), "{}", file.warnings()[100]);
}
