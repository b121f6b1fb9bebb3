//! The table of element types: plain numbers and the quantization formats of ggml.
//!
//! A type is one row of the table below and one file (`plain.rs` for plain numbers, `quant/*.rs` for formats) with its
//! scalar definition. A file gives functions on one block; the row turns them into functions on runs of blocks, and the
//! compiler checks that both agree on the block's sizes.
//!
//! Invariant: sizes, names, numbers in files, decoders and encoders come from this table and from nowhere else.

use std::fmt;

use crate::{plain, quant};

/// Decodes whole blocks.
pub type Decode = fn(&[u8], &mut [f32]);

/// Encodes whole blocks.
pub type Encode = fn(&[f32], &mut [u8]);

/// A row of the table: what there is to know of an element type.
#[derive(Debug)]
pub struct DTypeInfo {
    /// The name as ggml writes it, `Q4_0`.
    pub name: &'static str,
    /// ggml's number for it in a file; `None` for types that no GGUF file holds.
    pub ggml: Option<u32>,
    /// How many values a block holds; 1 for plain numbers.
    pub block: usize,
    /// How many bytes a block takes.
    pub bytes: usize,
    /// Decodes whole blocks. Both slices hold the same number of blocks; where they don't, the shorter one counts and
    /// the rest of the output stays as it is. Never panics, whatever the bytes.
    pub decode: Decode,
    /// Encodes whole blocks, under the same rule; `None` where the type is only read.
    pub encode: Option<Encode>,
    /// Counts values that decode to an infinity or NaN. Looks at the scales of a block only and decodes no block whose
    /// scales are sound.
    pub scan: fn(&[u8]) -> Scan,
}

/// What a check for infinities and NaN found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// How many values are infinite or NaN.
    pub bad: usize,
    /// Where the first of them is, counted in values.
    pub first: Option<usize>,
}

/// What kind of number the values of a type are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Binary floating point.
    Float,
    /// Signed or unsigned integers.
    Int,
    /// Truth values.
    Bool,
    /// Blocks of small integers with scales.
    Quantized,
}

/// Writes the enum and the table from one list of rows:
/// name, ggml's number, values per block, bytes per block, kind, module of the definition, and what the module offers
/// beside `decode` and `suspect`.
macro_rules! dtypes {
    ($($(#[$doc:meta])* $name:ident, $ggml:expr, $block:literal, $bytes:literal, $kind:ident, $($module:ident)::+ $(, $encode:ident)?;)*) => {
        /// An element type: a plain number or a quantization format of ggml.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        #[expect(non_camel_case_types, reason = "the names are ggml's")]
        pub enum DType {
            $($(#[$doc])* $name,)*
        }

        impl DType {
            /// Every element type, in the order of the table.
            pub const ALL: &[DType] = &[$(DType::$name),*];
        }

        static TABLE: [DTypeInfo; DType::ALL.len()] = [$(DTypeInfo {
            name: stringify!($name),
            ggml: $ggml,
            block: $block,
            bytes: $bytes,
            decode: |bytes, out| decode_blocks::<$block, $bytes>(bytes, out, $($module)::+::decode),
            encode: dtypes!(@encode $block, $bytes, $($module)::+ $(, $encode)?),
            scan: |bytes| scan_blocks::<$block, $bytes>(bytes, $($module)::+::suspect, $($module)::+::decode),
        }),*];

        const KINDS: [Kind; DType::ALL.len()] = [$(Kind::$kind),*];
    };
    (@encode $block:literal, $bytes:literal, $($module:ident)::+, encode) => {
        Some(|values, out| encode_blocks::<$block, $bytes>(values, out, $($module)::+::encode))
    };
    (@encode $block:literal, $bytes:literal, $($module:ident)::+) => { None };
}

dtypes! {
    /// 32-bit floating point.
    F32, Some(0), 1, 4, Float, plain::float32, encode;
    /// 64-bit floating point.
    F64, Some(28), 1, 8, Float, plain::float64, encode;
    /// IEEE binary16.
    F16, Some(1), 1, 2, Float, plain::float16, encode;
    /// The upper half of an `f32`.
    BF16, Some(30), 1, 2, Float, plain::bfloat16, encode;
    /// 8-bit signed integer.
    I8, Some(24), 1, 1, Int, plain::int8, encode;
    /// 16-bit signed integer.
    I16, Some(25), 1, 2, Int, plain::int16, encode;
    /// 32-bit signed integer.
    I32, Some(26), 1, 4, Int, plain::int32, encode;
    /// 64-bit signed integer.
    I64, Some(27), 1, 8, Int, plain::int64, encode;
    /// 8-bit unsigned integer. In memory only.
    U8, None, 1, 1, Int, plain::uint8, encode;
    /// A byte that is zero for false. In memory only.
    Bool, None, 1, 1, Bool, plain::boolean, encode;
    /// 1 bit, a sign under one scale per 128.
    Q1_0, Some(41), 128, 18, Quantized, quant::q1_0, encode;
    /// 2 bits, one scale per 64.
    Q2_0, Some(42), 64, 18, Quantized, quant::q2_0, encode;
    /// 4 bits, one scale per 32.
    Q4_0, Some(2), 32, 18, Quantized, quant::q4_0, encode;
    /// 4 bits, a scale and a minimum per 32.
    Q4_1, Some(3), 32, 20, Quantized, quant::q4_1, encode;
    /// 5 bits, one scale per 32.
    Q5_0, Some(6), 32, 22, Quantized, quant::q5_0, encode;
    /// 5 bits, a scale and a minimum per 32.
    Q5_1, Some(7), 32, 24, Quantized, quant::q5_1, encode;
    /// 8 bits, one scale per 32.
    Q8_0, Some(8), 32, 34, Quantized, quant::q8_0, encode;
    /// 8 bits, one scale and the block's sum per 32; for activations.
    Q8_1, Some(9), 32, 36, Quantized, quant::q8_1, encode;
    /// 2 bits; 4-bit scales and minima per 16 under two scales per 256.
    Q2_K, Some(10), 256, 84, Quantized, quant::q2_k, encode;
    /// 3 bits; 6-bit scales per 16 under one scale per 256.
    Q3_K, Some(11), 256, 110, Quantized, quant::q3_k, encode;
    /// 4 bits; 6-bit scales and minima per 32 under two scales per 256.
    Q4_K, Some(12), 256, 144, Quantized, quant::q4_k, encode;
    /// 5 bits; 6-bit scales and minima per 32 under two scales per 256.
    Q5_K, Some(13), 256, 176, Quantized, quant::q5_k, encode;
    /// 6 bits; 8-bit scales per 16 under one scale per 256.
    Q6_K, Some(14), 256, 210, Quantized, quant::q6_k, encode;
    /// 8 bits, an `f32` scale per 256, and sums per 16; for activations.
    Q8_K, Some(15), 256, 292, Quantized, quant::q8_k, encode;
    /// 1.56 bits: points of a ternary grid, eight at a time, shifted by an eighth.
    IQ1_S, Some(19), 256, 50, Quantized, quant::iq1_s;
    /// 1.75 bits: as `IQ1_S`, with scales per 16.
    IQ1_M, Some(29), 256, 56, Quantized, quant::iq1_m;
    /// 2.06 bits: points of a grid of 256, eight at a time, with signs.
    IQ2_XXS, Some(16), 256, 66, Quantized, quant::iq2_xxs;
    /// 2.31 bits: points of a grid of 512, eight at a time, with signs.
    IQ2_XS, Some(17), 256, 74, Quantized, quant::iq2_xs;
    /// 2.56 bits: points of a grid of 1024, eight at a time, with signs.
    IQ2_S, Some(22), 256, 82, Quantized, quant::iq2_s;
    /// 3.06 bits: points of a grid of 256, four at a time, with signs.
    IQ3_XXS, Some(18), 256, 98, Quantized, quant::iq3_xxs;
    /// 3.44 bits: points of a grid of 512, four at a time, with signs.
    IQ3_S, Some(21), 256, 110, Quantized, quant::iq3_s;
    /// 4 bits into a table of 16 unevenly spaced values, one scale per 32.
    IQ4_NL, Some(20), 32, 18, Quantized, quant::iq4_nl, encode;
    /// As `IQ4_NL`, with 6-bit scales per 32 under one scale per 256.
    IQ4_XS, Some(23), 256, 136, Quantized, quant::iq4_xs, encode;
    /// Ternary, five values to a byte, one scale per 256.
    TQ1_0, Some(34), 256, 54, Quantized, quant::tq1_0, encode;
    /// Ternary, four values to a byte, one scale per 256.
    TQ2_0, Some(35), 256, 66, Quantized, quant::tq2_0, encode;
    /// 4-bit floating point (E2M1), a power of two per 32; of the Open Compute Project.
    MXFP4, Some(39), 32, 17, Quantized, quant::mxfp4, encode;
    /// 4-bit floating point (E2M1), an 8-bit floating-point scale per 16; of NVIDIA.
    NVFP4, Some(40), 64, 36, Quantized, quant::nvfp4, encode;
}

impl DType {
    /// The row of the table for this type.
    #[inline]
    pub fn info(self) -> &'static DTypeInfo {
        &TABLE[self as usize]
    }

    /// The name as ggml writes it, `Q4_0`.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// How many values a block holds; 1 for plain numbers.
    #[inline]
    pub fn block(self) -> usize {
        self.info().block
    }

    /// How many bytes a block takes.
    #[inline]
    pub fn bytes(self) -> usize {
        self.info().bytes
    }

    /// What kind of number the values are.
    pub fn kind(self) -> Kind {
        KINDS[self as usize]
    }

    /// Whether the type packs several values into a block.
    pub fn is_quantized(self) -> bool {
        self.kind() == Kind::Quantized
    }

    /// Whether the type is a plain floating-point number.
    pub fn is_float(self) -> bool {
        self.kind() == Kind::Float
    }

    /// Whether the type is a plain integer.
    pub fn is_integer(self) -> bool {
        self.kind() == Kind::Int
    }

    /// The type that has this number in ggml's files; `None` for numbers that are unknown or retired.
    pub fn from_ggml(number: u32) -> Option<DType> {
        Self::ALL.iter().copied().find(|t| t.info().ggml == Some(number))
    }

    /// The type of this name, in upper or lower case.
    pub fn from_name(name: &str) -> Option<DType> {
        Self::ALL.iter().copied().find(|t| t.name().eq_ignore_ascii_case(name))
    }

    /// How many bytes `values` values of a row take; `None` where they don't fill whole blocks or the number is too large.
    pub fn row_bytes(self, values: usize) -> Option<usize> {
        let info = self.info();
        values.is_multiple_of(info.block).then(|| (values / info.block).checked_mul(info.bytes))?
    }

    /// Decodes whole blocks into `out`. Returns `None`, with nothing written, where the sizes don't belong together.
    #[must_use]
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) -> Option<()> {
        (self.row_bytes(out.len())? == bytes.len()).then(|| (self.info().decode)(bytes, out))
    }

    /// Encodes values as whole blocks into `out`. Returns `None`, with nothing written, where the sizes don't belong
    /// together or the type is only read.
    #[must_use]
    pub fn encode(self, values: &[f32], out: &mut [u8]) -> Option<()> {
        let encode = self.info().encode?;
        (self.row_bytes(values.len())? == out.len()).then(|| encode(values, out))
    }

    /// Counts the values of whole blocks that are infinite or NaN; cheap, for it looks at the scales.
    pub fn scan(self, bytes: &[u8]) -> Scan {
        (self.info().scan)(bytes)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Applies a definition of one block to each of a run of blocks.
fn decode_blocks<const BLOCK: usize, const BYTES: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; BLOCK]),
) {
    for (block, values) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        decode(block, values);
    }
}

/// Applies an encoder of one block to each of a run of blocks.
fn encode_blocks<const BLOCK: usize, const BYTES: usize>(
    values: &[f32],
    out: &mut [u8],
    encode: impl Fn(&[f32; BLOCK], &mut [u8; BYTES]),
) {
    for (values, block) in values.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        encode(values, block);
    }
}

/// Decodes the blocks whose scales are `suspect`, and counts what is wrong in them.
fn scan_blocks<const BLOCK: usize, const BYTES: usize>(
    bytes: &[u8],
    suspect: impl Fn(&[u8; BYTES]) -> bool,
    decode: impl Fn(&[u8; BYTES], &mut [f32; BLOCK]),
) -> Scan {
    let mut found = Scan::default();
    for (i, block) in bytes.as_chunks().0.iter().enumerate().filter(|(_, block)| suspect(block)) {
        let mut values = [0.0; BLOCK];
        decode(block, &mut values);
        for (j, _) in values.iter().enumerate().filter(|(_, v)| !v.is_finite()) {
            found.bad += 1;
            found.first.get_or_insert(i * BLOCK + j);
        }
    }
    found
}
