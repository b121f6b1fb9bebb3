//! Weight health and tying, case 96: broken values are found, named and worked around, as values and not only as text.

use tl_formats::gguf::{File, Metadata, WeightReason, Writer};
use tl_tensor::{Buffer, DType, Tensor};

const WIDTH: usize = 512;
const ROWS: usize = 4;

/// A tensor of `ROWS` rows whose values are small and sound.
fn sound(dtype: DType) -> Tensor {
    let values: Vec<f32> = (0..ROWS * WIDTH).map(|i| (i % 15) as f32 - 7.0).collect();
    Tensor::encode(dtype, [ROWS, WIDTH], &values).expect("a type that can be written")
}

/// `tensor` with these bytes instead of its own from `at` on.
fn with_bytes(tensor: &Tensor, at: usize, bytes: &[u8]) -> Tensor {
    let mut data = tensor.data().to_vec();
    data[at..at + bytes.len()].copy_from_slice(bytes);
    Tensor::new(tensor.dtype(), tensor.shape(), Buffer::from_vec(data)).expect("as many bytes as before")
}

fn file(tensors: &[(&str, &Tensor)]) -> File {
    let mut writer = Writer::new(Metadata::new());
    for (name, tensor) in tensors {
        writer.tensor(name, tensor).expect("a sound description");
    }
    let bytes = writer.write_to(Vec::new()).expect("a file in memory");
    File::from_buffer(Buffer::from_vec(bytes)).expect("what was written")
}

/// The bytes of infinity in IEEE binary16.
const INFINITY: [u8; 2] = [0x00, 0x7c];

#[test]
fn a_missing_output_is_tied() {
    let file = file(&[("token_embd.weight", &sound(DType::Q8_0))]);
    let weight = file.output_weight().expect("the tied weight");
    assert_eq!(weight.name, "token_embd.weight");
    let note = weight.note.expect("a note of the tie");
    assert_eq!((note.reason.clone(), note.is_warning()), (WeightReason::Tied, false));
    assert_eq!(weight.tensor.shape(), [ROWS, WIDTH]);
}

#[test]
fn a_sound_output_serves() {
    let file = file(&[("token_embd.weight", &sound(DType::Q8_0)), ("output.weight", &sound(DType::Q6_K))]);
    let weight = file.output_weight().expect("the output matrix");
    assert_eq!((weight.name.as_str(), weight.note), ("output.weight", None));
    assert_eq!(weight.tensor.dtype(), DType::Q6_K);
}

#[test]
fn a_broken_output_gives_way_to_the_tied_weight() {
    // The scale of a Q6_K block is its last two bytes. The third block is the first of the second row.
    let broken = with_bytes(&sound(DType::Q6_K), 3 * 210 - 2, &INFINITY);
    let file = file(&[("token_embd.weight", &sound(DType::Q8_0)), ("output.weight", &broken)]);
    for _ in 0..2 {
        let weight = file.output_weight().expect("the tied weight");
        assert_eq!(weight.name, "token_embd.weight");
        let note = weight.note.expect("a warning");
        assert!(note.is_warning());
        let WeightReason::Bad(check) = &note.reason else { panic!("{note} is about bad values") };
        assert_eq!((check.tensor.as_str(), check.bad, check.first), ("output.weight", 256, Some(512)));
        assert_eq!(check.first_indices(), Some(vec![1, 0]));
        let text = note.to_string();
        assert!(
            text.contains("\"output.weight\"") && text.contains("256 of 2048") && text.contains("[1, 0]"),
            "{text}"
        );
        assert!(text.contains("\"token_embd.weight\" serves instead"), "{text}");
    }
    // The tensor itself can still be looked at.
    assert!(file.tensor("output.weight").expect("the broken tensor").to_f32()[512].is_infinite());
}

#[test]
fn a_broken_output_stays_where_nothing_can_stand_in() {
    let broken = with_bytes(&sound(DType::F32), 4 * 7, &f32::NAN.to_le_bytes());
    let narrow = Tensor::from_f32(&[ROWS, 2], &[0.0; 2 * ROWS]);
    for substitute in [&narrow, &broken] {
        let file = file(&[("token_embd.weight", substitute), ("output.weight", &broken)]);
        let weight = file.output_weight().expect("the broken matrix");
        assert_eq!(weight.name, "output.weight");
        let note = weight.note.expect("a warning");
        assert!(note.is_warning() && note.to_string().contains("no other tensor"), "{note}");
    }
    let file = file(&[("output.weight", &broken)]);
    assert_eq!(file.output_weight().expect("the broken matrix").name, "output.weight");
}

#[test]
fn nothing_stands_in_for_other_tensors() {
    let file = file(&[("token_embd.weight", &sound(DType::F32))]);
    assert!(file.weight("blk.0.attn_q.weight").is_err());
    assert!(File::output_weight(&self::file(&[])).is_err());
    assert_eq!(file.weight("token_embd.weight").expect("the tensor").note, None);
}

#[test]
fn case_96_a_check_finds_every_bad_value() {
    let q4 = with_bytes(&sound(DType::Q4_0), 18, &INFINITY);
    let f32s = with_bytes(&sound(DType::F32), 4 * 1000, &f32::NEG_INFINITY.to_le_bytes());
    let f64s = with_bytes(&sound(DType::F64), 8 * 3, &f64::NAN.to_le_bytes());
    let f16s = with_bytes(&sound(DType::F16), 2 * 2047, &INFINITY);
    let sound = sound(DType::Q4_K);
    let file = file(&[("q4", &q4), ("f32", &f32s), ("f64", &f64s), ("f16", &f16s), ("sound", &sound)]);
    let found: Vec<_> = file.check().map(|check| check.expect("a tensor that is there")).collect();
    let expected =
        [("q4", 32, Some(32)), ("f32", 1, Some(1000)), ("f64", 1, Some(3)), ("f16", 1, Some(2047))];
    for (check, expected) in found.iter().zip(expected) {
        assert_eq!((check.tensor.as_str(), check.bad, check.first), expected);
        // The cheap look sees these too.
        assert_eq!(&file.scan(expected.0).expect("a tensor that is there"), check);
    }
    assert!(found[4].is_sound() && found[4].to_string().contains("2048 finite values"), "{}", found[4]);
}

#[test]
fn a_check_sees_what_overflows_though_the_scale_is_finite() {
    // A Q8_K block is an f32 scale and 256 bytes.
    let tensor = with_bytes(&sound(DType::Q8_K), 0, &f32::MAX.to_le_bytes());
    let file = file(&[("w", &tensor)]);
    let check = file.check().next().expect("one tensor").expect("a tensor that is there");
    let expected = tensor.to_f32().iter().filter(|v| !v.is_finite()).count();
    assert!(expected > 0);
    assert_eq!(check.bad, expected);
}
