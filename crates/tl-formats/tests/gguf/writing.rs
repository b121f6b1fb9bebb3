//! The writer: what it writes is what was meant, and a well-formed file survives reading and writing byte by byte.

use proptest::prelude::*;
use tl_formats::gguf::{Array, File, Metadata, Value, ValueType, Writer};
use tl_tensor::{Buffer, DType, Tensor};

use crate::image::*;

fn rewrite(bytes: &[u8]) -> Vec<u8> {
    let file = read(bytes).expect("a well-formed file");
    let writer = Writer::copy_of(&file).expect("its tensors are there");
    writer.write_to(Vec::new()).expect("writing to memory")
}

/// A value of any type but an array of arrays of arrays.
fn value() -> impl Strategy<Value = Value> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let numbers = prop_oneof![
        bytes().prop_map(|b| Array::from(&b[..])),
        prop::collection::vec(any::<i64>(), 0..9).prop_map(|v| Array::from(&v[..])),
        prop::collection::vec(any::<f32>(), 0..9).prop_map(|v| Array::from(&v[..])),
        prop::collection::vec(any::<bool>(), 0..9).prop_map(|v| Array::from(&v[..])),
        prop::collection::vec(bytes(), 0..9).prop_map(Array::from_strings),
    ];
    prop_oneof![
        any::<u8>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        any::<u16>().prop_map(Value::from),
        any::<i16>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        bytes().prop_map(Value::String),
        numbers.clone().prop_map(Value::from),
        prop::collection::vec(numbers, 0..4).prop_map(|arrays| Array::from_arrays(arrays).into()),
    ]
}

/// A tensor of any type of the format, of up to three axes after the rows.
fn tensor() -> impl Strategy<Value = Tensor> {
    let dtypes: Vec<DType> = DType::ALL.iter().copied().filter(|t| t.info().ggml.is_some()).collect();
    let shape = prop::collection::vec(1..4usize, 1..4);
    (prop::sample::select(dtypes), shape, any::<u8>()).prop_map(|(dtype, mut shape, byte)| {
        *shape.last_mut().expect("one axis at least") *= dtype.block();
        let bytes = shape.iter().product::<usize>() / dtype.block() * dtype.bytes();
        Tensor::new(dtype, shape, Buffer::from_vec(vec![byte; bytes]))
            .expect("as many bytes as the shape needs")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        values in prop::collection::vec(value(), 0..12),
        tensors in prop::collection::vec(tensor(), 0..6),
        alignment in prop::option::of(0..10u32),
        version_2 in any::<bool>(),
    ) {
        let mut metadata = Metadata::new();
        if let Some(exponent) = alignment {
            metadata.set("general.alignment", 1u32 << exponent);
        }
        values.into_iter().enumerate().for_each(|(i, value)| { metadata.set(&format!("key {i}"), value); });
        let mut writer = Writer::new(metadata.clone());
        if version_2 {
            writer.version_2();
        }
        for (i, tensor) in tensors.iter().enumerate() {
            writer.tensor(&format!("tensor {i}"), tensor).expect("a sound tensor");
        }
        let bytes = writer.write_to(Vec::new()).expect("writing to memory");
        let file = read(&bytes).expect("what was written");
        prop_assert_eq!(file.version(), if version_2 { 2 } else { 3 });
        prop_assert_eq!(format!("{:?}", file.metadata().entries().iter().map(|e| (e.key(), e.value())).collect::<Vec<_>>()),
            format!("{:?}", metadata.entries().iter().map(|e| (e.key(), e.value())).collect::<Vec<_>>()));
        for (i, tensor) in tensors.iter().enumerate() {
            let read = file.tensor(&format!("tensor {i}")).expect("a tensor that was written");
            prop_assert_eq!((read.dtype(), read.shape()), (tensor.dtype(), tensor.shape()));
            prop_assert_eq!(&read.data()[..], &tensor.data()[..]);
        }
        prop_assert_eq!(rewrite(&bytes), bytes);
    }
}

#[test]
fn tensors_may_come_in_pieces() {
    let mut writer = Writer::new(Metadata::new());
    writer.announce("a", &[3], DType::F32).expect("a sound description");
    writer.announce("empty", &[0], DType::F32).expect("a sound description");
    writer.announce("b", &[2, 32], DType::Q8_0).expect("a sound description");
    let mut stream = writer.begin(Vec::new()).expect("the descriptions");
    stream.write(&[1; 5]).expect("a piece");
    assert!(stream.write(&[1; 8]).is_err(), "a piece must not reach into the next tensor");
    stream.write(&[1; 7]).expect("a piece");
    stream.write(&[2; 68]).expect("a whole tensor");
    assert!(stream.write(&[3]).is_err(), "nothing follows the last tensor");
    let bytes = stream.finish().expect("all bytes are there");
    let file = read(&bytes).expect("what was written");
    assert_eq!(file.tensor("a").expect("a tensor").data()[..], [1; 12]);
    assert_eq!(file.tensor("b").expect("a tensor").data()[..], [2; 68]);
    assert_eq!(file.tensor("empty").expect("a tensor").len(), 0);
    assert_eq!(rewrite(&bytes), bytes);
}

#[test]
fn missing_bytes_are_an_error() {
    let mut writer = Writer::new(Metadata::new());
    writer.announce("a", &[3], DType::F32).expect("a sound description");
    assert!(writer.write_to(Vec::new()).is_err());
    let mut stream = writer.begin(Vec::new()).expect("the descriptions");
    stream.write(&[0; 11]).expect("a piece");
    assert!(stream.finish().expect_err("a byte is missing").to_string().contains("1 of its bytes"));
}

#[test]
fn a_view_is_written_as_it_is_seen() {
    let tensor = Tensor::from_f32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let mut writer = Writer::new(Metadata::new());
    writer.tensor("t", &tensor.transpose()).expect("a sound tensor");
    let file = read(&writer.write_to(Vec::new()).expect("writing to memory")).expect("what was written");
    let read = file.tensor("t").expect("a tensor");
    assert_eq!((read.shape(), read.to_f32()), (&[3, 2][..], vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let mut writer = Writer::new(Metadata::new());
    let one = Tensor::from_f32(&[1], &[1.0]);
    assert!(writer.tensor("", &one).is_err());
    assert!(writer.tensor(&"n".repeat(256), &one).is_err());
    assert!(writer.tensor("t", &Tensor::from_f32(&[1; 5], &[1.0])).is_err());
    assert!(writer.tensor("t", &Tensor::from_bools([1], &[true]).expect("a truth value")).is_err());
    assert!(writer.announce("t", &[31], DType::Q8_0).is_err());
    writer.tensor("t", &one).expect("a sound tensor");
    assert!(writer.tensor("t", &one).is_err());
    let deep = (0..2).fold(Array::from(&[1u8][..]), |array, _| Array::from_arrays(vec![array]));
    let long = Value::String(vec![b'x'; (16 << 20) + 1]);
    let values = [("", Value::U8(1)), ("general.alignment", 3u32.into()), ("general.alignment", "32".into())];
    for (key, value) in values.into_iter().chain([("k", deep.into()), ("k", long)]) {
        let mut metadata = Metadata::new();
        metadata.set(key, value);
        assert!(Writer::new(metadata).write_to(Vec::new()).is_err());
    }
}

#[test]
fn a_failing_sink_is_an_error() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let error = Writer::new(Metadata::new()).write_to(Full).map(|_| ()).expect_err("the disk is full");
    assert_eq!(error.kind(), tl_formats::ErrorKind::Io(std::io::ErrorKind::StorageFull));
}

#[test]
fn an_image_made_by_hand_is_what_the_writer_writes() {
    let mut image = Image::small();
    image.entries.push(entry("nested", ARRAY, &array(ARRAY, 1, &array(BOOL, 2, &[1, 0]))));
    image.data.resize(image.data.len().next_multiple_of(32), 0);
    let bytes = image.bytes();
    assert_eq!(rewrite(&bytes), bytes);
    let file = File::from_buffer(Buffer::from_vec(bytes)).expect("the image");
    assert_eq!(
        file.metadata().value("nested").and_then(Value::array).map(Array::element),
        Some(ValueType::Array)
    );
}
