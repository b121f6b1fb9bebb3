//! Properties of every row of the table: its own consistency, decoders on any bytes, scans against full decoding, and how
//! far a value may move when it is encoded.

use proptest::collection::vec;
use proptest::prelude::*;
use tl_tensor::{DType, Kind, Tensor};

/// Every type, one at random.
fn any_dtype() -> impl Strategy<Value = DType> {
    proptest::sample::select(DType::ALL)
}

/// A type and three blocks of arbitrary bytes.
fn any_blocks() -> impl Strategy<Value = (DType, Vec<u8>)> {
    any_dtype().prop_flat_map(|dtype| (Just(dtype), vec(any::<u8>(), 3 * dtype.bytes())))
}

/// 256 values of one magnitude between 1e-3 and 1e3, some of them zero.
fn values() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![1 => Just(0.0_f32), 9 => -1.0_f32..1.0];
    (-3.0_f32..3.0, vec(value, 256)).prop_map(|(e, v)| v.into_iter().map(|v| v * 10f32.powf(e)).collect())
}

#[test]
fn rows_are_consistent() {
    for (i, &dtype) in DType::ALL.iter().enumerate() {
        let info = dtype.info();
        assert_eq!(dtype as usize, i, "{dtype}: the table is indexed by the enum");
        assert_eq!(format!("{dtype:?}"), info.name);
        assert_eq!(DType::from_name(&info.name.to_lowercase()), Some(dtype));
        assert_eq!(info.block > 1, dtype.kind() == Kind::Quantized, "{dtype}");
        assert!(256 % info.block == 0, "{dtype}: blocks divide 256");
        if let Some(number) = info.ggml {
            assert_eq!(DType::from_ggml(number), Some(dtype));
        }
    }
    for retired in [4, 5, 31, 32, 33, 36, 37, 38, 43, 1 << 31, u32::MAX] {
        assert_eq!(DType::from_ggml(retired), None, "{retired}");
    }
    assert_eq!(DType::from_name("Q4_2"), None);
}

#[test]
fn row_sizes_are_checked() {
    assert_eq!(DType::Q4_K.row_bytes(512), Some(288));
    assert_eq!(DType::Q4_K.row_bytes(100), None, "part of a block");
    assert_eq!(DType::I64.row_bytes(usize::MAX), None, "overflow");
    assert_eq!(DType::F64.row_bytes(0), Some(0));
    let mut out = [0.0; 32];
    assert_eq!(DType::Q4_0.decode(&[0; 17], &mut out), None);
    assert_eq!(DType::Q4_0.encode(&out, &mut [0; 19]), None);
}

#[test]
fn an_infinite_scale_spoils_its_block_alone() {
    for &dtype in DType::ALL.iter().filter(|d| d.is_quantized() && d.info().encode.is_some()) {
        let (block, bytes) = (dtype.block(), dtype.bytes());
        let ones = Tensor::encode(dtype, [4 * block], &vec![1.0; 4 * block]).unwrap();
        let sound = dtype.scan(ones.data());
        assert_eq!((sound.bad, sound.first), (0, None), "{dtype}");
        let Some(scale) = (0..bytes).find(|&at| spoilt(dtype, ones.data(), 2 * bytes + at).bad == block)
        else {
            assert_eq!(dtype, DType::NVFP4, "only E4M3 has no infinity");
            continue;
        };
        assert_eq!(spoilt(dtype, ones.data(), 2 * bytes + scale).first, Some(2 * block), "{dtype}");
    }
}

/// Scans blocks of which two bytes (four in `Q8_K`) from `at` on are those of an infinity.
fn spoilt(dtype: DType, bytes: &[u8], at: usize) -> tl_tensor::Scan {
    let mut bytes = bytes.to_vec();
    let infinity: &[u8] = match dtype {
        DType::Q8_K => &[0, 0, 0x80, 0x7f],
        DType::MXFP4 => &[0xff],
        DType::IQ1_M => return tl_tensor::Scan::default(),
        _ => &[0, 0x7c],
    };
    let end = (at + infinity.len()).min(bytes.len());
    bytes[at..end].copy_from_slice(&infinity[..end - at]);
    dtype.scan(&bytes)
}

#[test]
fn zeros_encode_to_zeros() {
    for &dtype in DType::ALL.iter().filter(|d| d.info().encode.is_some()) {
        let zeros = Tensor::encode(dtype, [256], &[0.0; 256]).unwrap();
        assert!(zeros.to_f32().iter().all(|&v| v == 0.0), "{dtype}");
    }
}

proptest! {
    #[test]
    fn decoding_never_panics_and_fills_every_value((dtype, bytes) in any_blocks()) {
        let mut first = vec![1.0; 3 * dtype.block()];
        let mut second = vec![2.0; 3 * dtype.block()];
        dtype.decode(&bytes, &mut first).unwrap();
        dtype.decode(&bytes, &mut second).unwrap();
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&first), bits(&second), "no value keeps what was there before");
    }

    #[test]
    fn raw_decoders_take_any_lengths(dtype in any_dtype(), bytes in vec(any::<u8>(), 0..700), len in 0..600_usize) {
        let mut out = vec![0.0; len];
        (dtype.info().decode)(&bytes, &mut out);
        if let Some(encode) = dtype.info().encode {
            encode(&out, &mut bytes.clone());
        }
    }

    #[test]
    fn scans_count_what_decoding_finds((dtype, bytes) in any_blocks()) {
        prop_assume!(dtype != DType::F64, "a finite f64 may decode to an infinite f32");
        let mut values = vec![0.0; 3 * dtype.block()];
        dtype.decode(&bytes, &mut values).unwrap();
        let scan = dtype.scan(&bytes);
        prop_assert_eq!(scan.bad, values.iter().filter(|v| !v.is_finite()).count());
        prop_assert_eq!(scan.first, values.iter().position(|v| !v.is_finite()));
    }

    #[test]
    fn encoders_never_panic(dtype in any_dtype(), bits in vec(any::<u32>(), 256)) {
        let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        if dtype.info().encode.is_some() {
            Tensor::encode(dtype, [256], &values).unwrap();
        }
    }

    #[test]
    fn encoded_values_stay_near(values in values()) {
        let largest = values.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        // The largest error of a value, in parts of the largest magnitude: half a step and the rounding of the scales,
        // which in the K formats are themselves coarse.
        for (dtype, bound) in [
            (DType::F32, 0.0), (DType::F16, 0.0005), (DType::BF16, 0.004),
            (DType::Q8_0, 0.0045), (DType::Q8_1, 0.0045), (DType::Q8_K, 0.0045),
            (DType::Q5_0, 0.066), (DType::Q5_1, 0.035), (DType::Q4_0, 0.13), (DType::Q4_1, 0.07),
            (DType::Q6_K, 0.05), (DType::Q5_K, 0.1), (DType::Q4_K, 0.2), (DType::Q3_K, 0.35), (DType::Q2_K, 0.6),
            (DType::IQ4_NL, 0.16), (DType::IQ4_XS, 0.18), (DType::MXFP4, 0.26), (DType::NVFP4, 0.2),
            (DType::TQ1_0, 0.51), (DType::TQ2_0, 0.51),
        ] {
            let decoded = Tensor::encode(dtype, [256], &values).unwrap().to_f32();
            // Beside that, scales of small values are subnormal and coarse: binary16, and E4M3 all the more.
            let coarse = if dtype == DType::NVFP4 { 6e-3 } else { 1e-5 };
            let allowed = bound * largest + coarse;
            for (v, d) in values.iter().zip(&decoded) {
                prop_assert!((v - d).abs() <= allowed, "{}: {} became {}, largest {}", dtype, v, d, largest);
            }
        }
    }

    #[test]
    fn encoding_what_was_decoded_changes_nothing(values in values()) {
        for dtype in [DType::F16, DType::BF16, DType::Q8_0, DType::TQ1_0, DType::TQ2_0, DType::MXFP4] {
            let once = Tensor::encode(dtype, [256], &values).unwrap().to_f32();
            let twice = Tensor::encode(dtype, [256], &once).unwrap().to_f32();
            prop_assert_eq!(once, twice, "{}", dtype);
        }
    }
}
