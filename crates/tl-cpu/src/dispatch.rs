//! The choice of an instruction set, made once: a table of function pointers.

use std::fmt;
use std::ops::Range;

use tl_tensor::DType;

use crate::aligned::Aligned;
use crate::kernels::attention::{Attend, run_join};
use crate::kernels::dense::RunDense;
use crate::kernels::einsum::RunEinsum;
use crate::kernels::matmul::{
    FloatFn, FloatRows, IntegerKernel, Layout, Out, QuantizedRows, RowWriter, Rows, Scratch, integer_kernel,
    layouts, packed_bytes, run_float, run_quantize,
};
use crate::kernels::tape::{RunLoop, RunTape};
use crate::limits::run_chains;
use crate::simd::portable::Portable;
use crate::simd::{Simd, SimdFn};

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isa {
    /// What every processor of the target has.
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 with VNNI.
    Avx512,
}

/// The kernels of one instruction set, which the processor has.
pub struct Kernels {
    isa: Isa,
    name: &'static str,
    pub(crate) quantize: fn(&[f32], usize, RowWriter),
    /// Layouts of activations that `integer` reads.
    pub(crate) layouts: &'static [Layout],
    pub(crate) integer: fn(DType) -> Option<IntegerKernel>,
    pub(crate) float: FloatFn,
    pub(crate) loops: unsafe fn(RunLoop<'_>),
    pub(crate) tape: unsafe fn(RunTape<'_>),
    pub(crate) attend: unsafe fn(Attend<'_>),
    pub(crate) join: fn(&mut [f32], &[f32]),
    pub(crate) einsum: unsafe fn(RunEinsum<'_>),
    pub(crate) dense: unsafe fn(RunDense<'_>),
    pub(crate) chains: fn(usize, bool) -> usize,
}

/// A matrix of weights: `n` rows of `k` values, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct WeightView<'a> {
    /// Type of the values.
    pub dtype: DType,
    /// The rows.
    pub bytes: &'a [u8],
    /// How many rows.
    pub n: usize,
    /// Values in a row.
    pub k: usize,
}

/// A matrix of weights whose bytes stand in the order that integer products read them in.
pub struct PackedWeights {
    dtype: DType,
    bytes: Aligned<u8>,
    n: usize,
    k: usize,
}

impl Isa {
    /// The best instruction set that this processor has.
    pub fn detect() -> Self {
        Self::available().last().unwrap_or(Self::Portable)
    }

    /// All instruction sets that this processor has, the best last.
    pub fn available() -> impl Iterator<Item = Isa> {
        [Isa::Portable, Isa::Avx2, Isa::Avx512].into_iter().filter(|&isa| Kernels::new(isa).is_some())
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Portable => "portable",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512 VNNI",
        })
    }
}

impl Kernels {
    /// The kernels of an instruction set, `None` if the processor does not have it.
    pub fn new(isa: Isa) -> Option<Self> {
        match isa {
            Isa::Portable => Portable::detect().map(|s| Self::of(isa, s)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => crate::simd::avx2::Avx2::detect().map(|s| Self::of(isa, s)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => crate::simd::avx512::Avx512::detect().map(|s| Self::of(isa, s)),
            #[cfg(not(target_arch = "x86_64"))]
            _ => None,
        }
    }

    /// The table. The token is the proof that its entries may be called.
    #[expect(unsafe_code, reason = "makes the entries of the table")]
    fn of<S: Simd>(isa: Isa, _token: S) -> Self {
        Self {
            isa,
            name: S::NAME,
            quantize: run_quantize::<S>,
            layouts: layouts::<S>(),
            integer: integer_kernel::<S>,
            float: run_float::<S>,
            // SAFETY: The caller vouches for the kernel, the table for the processor.
            loops: |kernel| unsafe { run::<S, _>(kernel) },
            // SAFETY: The caller vouches for the kernel, the table for the processor.
            tape: |kernel| unsafe { run::<S, _>(kernel) },
            // SAFETY: The caller vouches for the kernel, the table for the processor.
            attend: |kernel| unsafe { run::<S, _>(kernel) },
            join: run_join::<S>,
            // SAFETY: The caller vouches for the kernel, the table for the processor.
            einsum: |kernel| unsafe { run::<S, _>(kernel) },
            // SAFETY: The caller vouches for the kernel, the table for the processor.
            dense: |kernel| unsafe { run::<S, _>(kernel) },
            chains: run_chains::<S>,
        }
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Whether weights of this type are multiplied as integers, so that [`Kernels::matmul_quantized`] takes them.
    pub fn has_integer_kernel(&self, dtype: DType) -> bool {
        (self.integer)(dtype).is_some()
    }

    /// Quantizes rows of `k` values, a multiple of 32.
    ///
    /// # Panics
    /// If `x` is not rows of `k` values or `k` is not a multiple of 32.
    pub fn quantize_rows(&self, x: &[f32], k: usize, to: &mut QuantizedRows) {
        assert!(k > 0 && x.len().is_multiple_of(k), "{} values are not rows of {k}", x.len());
        to.reserve(x.len() / k, k, self.layouts);
        let writer = to.writer();
        for (row, x) in x.chunks_exact(k).enumerate() {
            (self.quantize)(x, row, writer);
        }
    }

    /// Packs weights for [`Kernels::matmul_quantized`].
    ///
    /// # Panics
    /// If the type has no integer kernel or the bytes are not `n` rows of `k` values.
    pub fn pack(&self, weights: &WeightView<'_>) -> PackedWeights {
        let WeightView { dtype, bytes, n, k } = *weights;
        let kernel = (self.integer)(dtype).expect("the type has an integer kernel");
        let row_bytes = weights.row_bytes();
        let mut packed = Aligned::zeros(packed_bytes(n, row_bytes));
        (kernel.pack)(bytes, row_bytes, &mut packed);
        PackedWeights { dtype, bytes: packed, n, k }
    }

    /// `out[r · stride + i] = Σ_k x[r][k] · w[n][k]` for the rows `r` of `x`, where `n` is the `i`-th of `columns`.
    ///
    /// # Panics
    /// If the sizes do not belong together.
    #[expect(unsafe_code, reason = "checks what the kernel relies on")]
    pub fn matmul_quantized(
        &self,
        weights: &PackedWeights,
        columns: Range<usize>,
        x: &QuantizedRows,
        out: &mut [f32],
        stride: usize,
        scratch: &mut Scratch,
    ) {
        let PackedWeights { dtype, bytes, n, k } = weights;
        assert_eq!(*k, x.k(), "weights and activations are contracted over the same axis");
        let kernel = (self.integer)(*dtype).expect("packed weights have an integer kernel");
        let row_bytes = dtype.row_bytes(*k).expect("packed rows are whole blocks");
        let rows = Rows { data: bytes.as_ptr(), stride: row_bytes };
        let out = check(*n, &columns, x.rows(), out, stride);
        // SAFETY: The weights are packed, the sizes were checked, and `out` is borrowed exclusively.
        unsafe { (kernel.run)(rows, columns, x, 0..x.rows(), out, scratch) }
    }

    /// The same for weights of any type, with activations in `f32`, rows of `k` values.
    ///
    /// # Panics
    /// If the sizes do not belong together.
    #[expect(unsafe_code, reason = "checks what the kernel relies on")]
    pub fn matmul_float(
        &self,
        weights: &WeightView<'_>,
        columns: Range<usize>,
        x: &[f32],
        out: &mut [f32],
        stride: usize,
        scratch: &mut Scratch,
    ) {
        let k = weights.k;
        assert!(k > 0 && x.len().is_multiple_of(k), "{} values are not rows of {k}", x.len());
        let x = FloatRows { data: x.as_ptr(), stride: k, rows: x.len() / k };
        let rows = Rows { data: weights.bytes.as_ptr(), stride: weights.row_bytes() };
        let out = check(weights.n, &columns, x.rows, out, stride);
        // SAFETY: The sizes were checked, and `out` is borrowed exclusively.
        unsafe { (self.float)(rows, weights.dtype, k, columns, x, out, scratch) }
    }
}

/// Runs a kernel whose safety the caller vouches for.
#[expect(unsafe_code, reason = "an entry of the table of function pointers")]
unsafe fn run<S: Simd, K: SimdFn<Output = ()>>(kernel: K) {
    // SAFETY: The table that this is an entry of was made from a token.
    unsafe { S::assume() }.vectorize(kernel);
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernels({})", self.name)
    }
}

impl WeightView<'_> {
    /// Bytes of a row, of which there are `n`.
    fn row_bytes(&self) -> usize {
        let row_bytes = self.dtype.row_bytes(self.k).expect("a row of weights is whole blocks");
        assert_eq!(self.bytes.len(), self.n * row_bytes, "the weights are n rows");
        row_bytes
    }
}

/// Checks that there are columns and that the product has room for those of `rows` rows.
fn check(n: usize, columns: &Range<usize>, rows: usize, out: &mut [f32], stride: usize) -> Out {
    assert!(columns.start <= columns.end && columns.end <= n, "the columns are rows of the weights");
    let width = columns.len();
    assert!(rows == 0 || out.len() >= (rows - 1) * stride + width, "the product has room");
    assert!(rows <= 1 || stride >= width, "rows of the product do not overlap");
    Out { data: out.as_mut_ptr().wrapping_sub(columns.start), stride }
}
