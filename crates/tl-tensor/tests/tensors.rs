//! Tensors and buffers: construction, views against a naive model, reading, statistics, text.

use std::fs::File;
use std::io::Write;

use proptest::collection::vec;
use proptest::prelude::*;
use tl_tensor::{ALIGNMENT, Buffer, DType, Tensor, TensorError};

/// Values `0, 1, 2, …` in a shape.
fn counting(shape: &[usize]) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| i as f32).collect();
    Tensor::from_f32(shape, &values)
}

#[test]
fn construction_checks_sizes() {
    let new =
        |dtype, shape: &[usize], bytes: usize| Tensor::new(dtype, shape, Buffer::from_vec(vec![0; bytes]));
    assert!(new(DType::F32, &[2, 3], 24).is_ok());
    assert_eq!(new(DType::F32, &[2, 3], 23).unwrap_err(), TensorError::Size { needed: 24, given: 23 });
    assert_eq!(
        new(DType::Q4_0, &[2, 48], 54).unwrap_err(),
        TensorError::Blocks { dtype: DType::Q4_0, row: 48 }
    );
    assert_eq!(new(DType::Q4_0, &[], 18).unwrap_err(), TensorError::Blocks { dtype: DType::Q4_0, row: 1 });
    assert!(new(DType::Q4_0, &[2, 64], 72).is_ok());
    assert!(matches!(new(DType::F32, &[1 << 40, 1 << 40], 0).unwrap_err(), TensorError::TooLarge { .. }));
    assert!(matches!(new(DType::F32, &[1 << 40, 1 << 40, 0], 0).unwrap_err(), TensorError::TooLarge { .. }));
    assert!(matches!(new(DType::I64, &[1 << 61], 0).unwrap_err(), TensorError::TooLarge { .. }));
    assert!(new(DType::F32, &[3, 0, 5], 0).unwrap().is_empty());
    assert!(Tensor::from_vec([3], vec![1.0_f32]).is_err());
    assert!(Tensor::encode(DType::Q8_0, [64], &[0.0; 32]).is_err());
    assert_eq!(
        Tensor::encode(DType::IQ1_S, [256], &[0.0; 256]).unwrap_err(),
        TensorError::Unsupported { dtype: DType::IQ1_S, what: "written" }
    );
}

#[test]
fn views_share_bytes() {
    let t = counting(&[3, 4]);
    let start = t.data().as_ptr();
    let transposed = t.transpose();
    assert_eq!((transposed.shape(), transposed.layout().strides()), (&[4, 3][..], &[1, 4][..]));
    assert_eq!(transposed.data().as_ptr(), start);
    assert_eq!(transposed.to_f32(), [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.]);
    assert!(transposed.as_f32().is_none());
    assert_eq!(transposed.contiguous().as_f32(), Some(&*transposed.to_f32()));
    assert_eq!(transposed.transpose().as_f32(), t.as_f32());
    let row = t.row(1).unwrap();
    assert_eq!((row.shape(), row.as_f32()), (&[4][..], Some(&[4., 5., 6., 7.][..])));
    assert_eq!(row.data().as_ptr(), start.wrapping_add(16));
    assert_eq!(t.reshape([2, 6]).unwrap().data().as_ptr(), start);
    assert_eq!(transposed.reshape([12]).unwrap().to_f32(), transposed.to_f32());
    assert_eq!(counting(&[5]).transpose().shape(), [5]);
    assert_eq!(t.slice(1, 1..3).unwrap().to_f32(), [1., 2., 5., 6., 9., 10.]);
    assert_eq!(t.slice(0, 1..1).unwrap().shape(), [0, 4]);
}

#[test]
fn views_check_their_arguments() {
    let t = counting(&[3, 4]);
    assert_eq!(t.permute(&[0, 0]).unwrap_err(), TensorError::Axes { axes: vec![0, 0], rank: 2 });
    assert_eq!(t.permute(&[0]).unwrap_err(), TensorError::Axes { axes: vec![0], rank: 2 });
    assert!(t.permute(&[0, 2]).is_err());
    assert_eq!(t.slice(2, 0..1).unwrap_err(), TensorError::Axes { axes: vec![2], rank: 2 });
    assert_eq!(t.slice(0, 2..4).unwrap_err(), TensorError::Range { range: 2..4, size: 3 });
    assert!(t.row(3).is_err());
    assert!(t.row(usize::MAX).is_err());
    assert!(Tensor::scalar(1.0_f32).row(0).is_err());
    assert!(t.reshape([5]).is_err());
    assert!(t.reshape([usize::MAX, usize::MAX]).is_err());
    assert!(t.row_f32(3, &mut [0.0; 4]).is_err());
    assert!(t.row_f32(0, &mut [0.0; 3]).is_err());
    assert_eq!(t.get(&[3, 0]), None);
    assert_eq!(t.get(&[0]), None);
}

#[test]
fn quantized_views_never_cut_a_block() {
    let t = Tensor::encode(DType::Q8_0, [4, 64], counting(&[4, 64]).as_f32().unwrap()).unwrap();
    let all = t.to_f32();
    assert_eq!(t.slice(1, 32..64).unwrap().to_f32()[..32], all[32..64]);
    assert_eq!(t.slice(1, 16..64).unwrap_err(), TensorError::Blocks { dtype: DType::Q8_0, row: 16 });
    assert_eq!(t.slice(1, 0..33).unwrap_err(), TensorError::Blocks { dtype: DType::Q8_0, row: 33 });
    assert!(t.reshape([64, 4]).is_err());
    assert_eq!(t.reshape([2, 2, 64]).unwrap().dtype(), DType::Q8_0);
    assert_eq!(t.row(2).unwrap().to_f32(), all[128..192]);
    let transposed = t.transpose();
    assert_eq!(transposed.get(&[7, 3]), Some(f64::from(all[3 * 64 + 7])));
    assert_eq!(transposed.slice(1, 1..2).unwrap().to_f32(), all[64..128]);
    assert_eq!(transposed.row(5).unwrap_err(), TensorError::Blocks { dtype: DType::Q8_0, row: 5 });
    assert_eq!(transposed.contiguous().dtype(), DType::F32, "blocks ran along the other axis");
    let packed = t.reshape([2, 2, 64]).unwrap().permute(&[1, 0, 2]).unwrap().contiguous();
    assert_eq!(packed.dtype(), DType::Q8_0, "blocks still run along the last axis");
    assert_eq!(packed.to_f32()[64..128], all[128..192]);
}

#[test]
fn a_column_of_one_value_is_no_row_of_blocks() {
    let t = Tensor::encode(DType::Q8_0, [1, 32], &[1.0; 32]).unwrap().transpose();
    assert_eq!(t.shape(), [32, 1]);
    assert!(!t.is_contiguous());
    assert_eq!(t.contiguous().dtype(), DType::F32);
    assert!(t.to_f32().iter().all(|&v| (v - 1.0).abs() < 1e-3));
}

#[test]
fn integers_are_read_exactly() {
    let big = (1_i64 << 53) + 1;
    let t = Tensor::from_vec([3], vec![big, -1, i64::MIN]).unwrap();
    assert_eq!(t.to_i64().unwrap(), [big, -1, i64::MIN]);
    assert_eq!(t.cast(DType::I32).unwrap().to_i64().unwrap(), [i64::from(i32::MAX), -1, i64::from(i32::MIN)]);
    assert_eq!(t.cast(DType::U8).unwrap().to_i64().unwrap(), [255, 0, 0]);
    let t = Tensor::from_vec([2], vec![16_777_217_i32, -5]).unwrap();
    assert_eq!(t.to_f64(), [16_777_217.0, -5.0]);
    assert_eq!(t.get(&[0]), Some(16_777_217.0));
    assert_eq!(t.transpose().cast(DType::I64).unwrap().to_i64().unwrap(), [16_777_217, -5]);
    assert!(counting(&[2]).to_i64().is_err());
    let bools = Tensor::from_bools([2], &[true, false]).unwrap();
    assert_eq!((bools.to_f32(), bools.to_i64().unwrap()), (vec![1.0, 0.0], vec![1, 0]));
    let doubles = Tensor::from_vec([2], vec![0.1_f64, 1e300]).unwrap();
    assert_eq!(doubles.to_f64(), [0.1, 1e300]);
    assert_eq!(doubles.cast(DType::I64).unwrap().to_i64().unwrap(), [0, i64::MAX]);
    assert_eq!(counting(&[3]).cast(DType::F16).unwrap().to_f32(), [0., 1., 2.]);
    assert_eq!(Tensor::scalar(7_i32).item(), Some(7.0));
    assert_eq!(Tensor::scalar(2.5_f64).cast(DType::F32).unwrap().as_f32(), Some(&[2.5][..]));
    assert_eq!(counting(&[2]).item(), None);
}

#[test]
fn statistics_leave_bad_values_out() {
    let mut values: Vec<f32> = (0..10_000).map(|i| i as f32 - 2.0).collect();
    values[9000] = f32::NAN;
    values[8000] = f32::INFINITY;
    let t = Tensor::from_f32(&[100, 100], &values);
    let stats = t.stats();
    assert_eq!((stats.len, stats.nan, stats.inf, stats.first_bad), (10_000, 1, 1, Some(8000)));
    assert_eq!((stats.min, stats.max), (-2.0, 9997.0));
    assert_eq!(
        stats.mean,
        (values.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v)).sum::<f64>()) / 9998.0
    );
    let transposed = t.transpose();
    assert_eq!(transposed.stats().first_bad, Some(80), "index [0, 80] comes before [0, 90]");
    assert_eq!((transposed.scan().bad, transposed.scan().first), (2, Some(80)));
    assert_eq!((t.scan().bad, t.scan().first), (2, Some(8000)));
    let none = Tensor::from_f32(&[1], &[f32::NEG_INFINITY]).stats();
    assert!(none.min.is_nan() && none.max.is_nan() && none.mean.is_nan());
    let empty = counting(&[0]).stats();
    assert_eq!((empty.len, empty.first_bad), (0, None));
    let wide = Tensor::from_vec([2], vec![1e300_f64, f64::NAN]).unwrap().stats();
    assert_eq!((wide.max, wide.nan, wide.inf), (1e300, 1, 0));
}

#[test]
fn text_is_readable() {
    let check = |t: Tensor, expected: &str| assert_eq!(t.to_string(), expected);
    check(Tensor::scalar(3.25_f32), "3.25");
    check(Tensor::scalar(-7_i64), "-7");
    check(Tensor::from_f32(&[4], &[1.0, 0.1, f32::NAN, -1e-9]), "[1, 0.1, NaN, -1.00000e-9]");
    check(Tensor::from_f32(&[2, 2], &[1.0, -10.5, 0.0, 2.0]), "[    1, -10.5]\n[    0,     2]");
    check(
        counting(&[2, 1, 2]),
        "[0, 0]\n[0, 1]\n[1, 0]\n[2, 3]".replace("[0, 0]\n", "[0]\n").replace("[1, 0]\n", "[1]\n").as_str(),
    );
    check(counting(&[3, 0]), "F32 [3, 0]");
    check(Tensor::scalar(9_007_199_254_740_993_i64), "9007199254740993");
    let large = counting(&[100, 20]).to_string();
    assert!(
        large.starts_with("F32 [100, 20]  min 0, max 1999, mean 999.5\n[  0,   1,   2,   3,   4,   5, …]\n"),
        "{large}"
    );
    assert!(large.ends_with("\n…"), "{large}");
    assert!(counting(&[100]).to_string().ends_with("[0, 1, 2, 3, 4, 5, …]"));
}

#[test]
fn errors_say_what_was_expected() {
    let text = |e: TensorError| e.to_string();
    assert_eq!(text(TensorError::Size { needed: 8, given: 4 }), "the shape needs 8 bytes and there are 4");
    assert_eq!(
        text(TensorError::Blocks { dtype: DType::Q4_K, row: 100 }),
        "Q4_K packs 256 values in a block along a row, and 100 is no multiple of 256"
    );
}

#[test]
fn buffers_slice_without_copies() {
    let buffer = Buffer::from_values(vec![1.0_f32, 2.0, 3.0]);
    assert_eq!(buffer.as_slice::<f32>(), Some(&[1.0, 2.0, 3.0][..]));
    let part = buffer.slice(4..12).unwrap();
    assert_eq!(part.as_ptr(), buffer.as_ptr().wrapping_add(4));
    assert_eq!(part.slice(4..8).unwrap().as_slice::<f32>(), Some(&[3.0][..]));
    assert_eq!(buffer.slice(1..9).unwrap().as_slice::<f32>(), None, "not aligned");
    assert_eq!(buffer.slice(0..7).unwrap().as_slice::<f32>(), None, "not whole numbers");
    assert!(buffer.slice(0..13).is_none());
    assert!(buffer.slice(usize::MAX..usize::MAX).is_none());
    #[expect(clippy::reversed_empty_ranges, reason = "what is tested")]
    let reversed = buffer.slice(8..4);
    assert!(reversed.is_none());
    assert_eq!(&*Buffer::from_f32(&[1.0]), [0, 0, 0x80, 0x3f]);
    let built = Buffer::build(100, |bytes| {
        bytes[99] = 7;
        Ok(())
    });
    let built = built.unwrap();
    assert!(built.is_aligned(ALIGNMENT) && !built.is_aligned(0));
    assert_eq!((built.len(), built[0], built[99]), (100, 0, 7));
    assert!(Buffer::build(usize::MAX - 63, |_| Ok(())).is_err());
    assert!(Tensor::zeros(DType::U8, [usize::MAX / 2]).is_err());
}

#[test]
#[cfg_attr(miri, ignore = "files are outside of the interpreter")]
fn files_are_read_and_mapped_alike() {
    let path = std::env::temp_dir().join(format!("tl-tensor-buffer-{}", std::process::id()));
    let bytes: Vec<u8> = (0..1000_u32).map(|i| i as u8).collect();
    File::create(&path).unwrap().write_all(&bytes).unwrap();
    let file = File::open(&path).unwrap();
    let (read, mapped) = (Buffer::read_file(&file).unwrap(), Buffer::map_file(&file).unwrap());
    assert_eq!(*read, bytes);
    assert_eq!(*mapped, bytes);
    assert!(read.is_aligned(ALIGNMENT) && mapped.is_aligned(ALIGNMENT));
    assert_eq!(*Buffer::read_file(&file).unwrap(), bytes, "each reading begins at the first byte");
    File::create(&path).unwrap();
    let empty = File::open(&path).unwrap();
    assert!(Buffer::map_file(&empty).unwrap().is_empty() && Buffer::read_file(&empty).unwrap().is_empty());
    std::fs::remove_file(&path).unwrap();
    let directory = File::open(std::env::temp_dir());
    assert!(directory.is_err() || Buffer::map_file(&directory.unwrap()).is_err());
}

/// A view made step by step, and what it should read, made by copying.
#[derive(Clone, Debug)]
enum Step {
    Permute(u8),
    Slice(u8, u8, u8),
    Row(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        any::<u8>().prop_map(Step::Permute),
        (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(a, b, c)| Step::Slice(a, b, c)),
        any::<u8>().prop_map(Step::Row),
    ];
    vec(step, 0..5)
}

/// The model: a shape and, for each row-major index of the view, the index in the original.
struct Model {
    shape: Vec<usize>,
    origin: Vec<usize>,
}

impl Model {
    /// Picks values by mapping an index of the new shape to an index of the old one.
    fn pick(&self, shape: Vec<usize>, map: impl Fn(&[usize]) -> Vec<usize>) -> Self {
        let len: usize = shape.iter().product();
        let origin = (0..len).map(|i| {
            let (mut rest, mut index) = (i, vec![0; shape.len()]);
            for (place, &size) in index.iter_mut().zip(&shape).rev() {
                (*place, rest) = (rest % size, rest / size);
            }
            let old = map(&index).iter().zip(&self.shape).fold(0, |flat, (i, size)| flat * size + i);
            self.origin[old]
        });
        Self { origin: origin.collect(), shape }
    }
}

proptest! {
    #[test]
    fn views_read_what_copies_would(
        sizes in vec(1..4_usize, 0..3), quantized in any::<bool>(), last in 1..5_usize, steps in steps()
    ) {
        let mut shape = sizes;
        shape.push(if quantized { 32 * last } else { last });
        let len: usize = shape.iter().product();
        let values: Vec<f32> = (0..len).map(|i| (i * 7 % 64) as f32).collect();
        let mut tensor = Tensor::from_f32(&shape, &values);
        if quantized {
            tensor = tensor.cast(DType::Q8_0).unwrap();
        }
        let values = tensor.to_f32();
        let mut model = Model { shape, origin: (0..len).collect() };
        for step in steps {
            let rank = tensor.rank();
            let (next, expected) = match step {
                Step::Permute(by) if rank > 0 => {
                    let mut order: Vec<usize> = (0..rank).collect();
                    order.rotate_left(usize::from(by) % rank);
                    let shape = order.iter().map(|&a| model.shape[a]).collect();
                    let expected = model.pick(shape, |index| {
                        let mut old = vec![0; rank];
                        order.iter().zip(index).for_each(|(&a, &i)| old[a] = i);
                        old
                    });
                    (tensor.permute(&order), expected)
                }
                Step::Slice(axis, start, len) if rank > 0 => {
                    let axis = usize::from(axis) % rank;
                    let start = usize::from(start) % (model.shape[axis] + 1);
                    let len = usize::from(len) % (model.shape[axis] - start + 1);
                    let mut shape = model.shape.clone();
                    shape[axis] = len;
                    let expected = model.pick(shape, |index| {
                        let mut old = index.to_vec();
                        old[axis] += start;
                        old
                    });
                    (tensor.slice(axis, start..start + len), expected)
                }
                Step::Row(row) if rank > 0 && model.shape[0] > 0 => {
                    let row = usize::from(row) % model.shape[0];
                    let expected = model.pick(model.shape[1..].to_vec(), |index| [&[row], index].concat());
                    (tensor.row(row), expected)
                }
                _ => continue,
            };
            match next {
                Ok(next) => (tensor, model) = (next, expected),
                Err(TensorError::Blocks { .. }) if quantized => {}
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
        let expected: Vec<f32> = model.origin.iter().map(|&i| values[i]).collect();
        prop_assert_eq!(tensor.shape(), &*model.shape);
        prop_assert_eq!(&tensor.to_f32(), &expected);
        prop_assert_eq!(&tensor.contiguous().to_f32(), &expected);
        prop_assert!(tensor.contiguous().is_contiguous());
        prop_assert_eq!(tensor.stats().len, expected.len());
        let size = tensor.shape().last().copied().unwrap_or(1);
        let mut row = vec![0.0; size];
        for (i, expected) in expected.chunks(size.max(1)).enumerate() {
            tensor.row_f32(i, &mut row).unwrap();
            prop_assert_eq!(&*row, expected);
        }
        let _ = tensor.to_string();
    }
}
