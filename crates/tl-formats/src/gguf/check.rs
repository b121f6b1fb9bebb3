//! Weight health: which values of which tensors are infinite or NaN.
//!
//! There are two looks. A *scan* reads the scales of blocks, which is where a broken file shows, and is cheap enough for
//! every load. A *check* decodes every value of every tensor.

use std::fmt;

use tl_tensor::{DType, Scan, Tensor};

use super::file::File;
use super::value::quote;
use crate::Result;

/// What was found in one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightCheck {
    /// The tensor's name, as the file has it.
    pub tensor: String,
    /// Its element type.
    pub dtype: DType,
    /// The sizes of its axes, slowest first.
    pub shape: Vec<usize>,
    /// How many of its values are infinite or NaN.
    pub bad: usize,
    /// Where the first of them is, counted in values from the tensor's beginning.
    pub first: Option<usize>,
}

impl WeightCheck {
    /// Whether every value is a finite number.
    pub fn is_sound(&self) -> bool {
        self.bad == 0
    }

    /// The indices of the first bad value, slowest axis first.
    pub fn first_indices(&self) -> Option<Vec<usize>> {
        let mut rest = self.first?;
        let mut indices: Vec<usize> = Vec::with_capacity(self.shape.len());
        for &size in self.shape.iter().rev() {
            indices.push(rest % size.max(1));
            rest /= size.max(1);
        }
        indices.reverse();
        Some(indices)
    }
}

impl fmt::Display for WeightCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: usize = self.shape.iter().product();
        write!(f, "tensor {} ({} {:?})", quote(&self.tensor), self.dtype, self.shape)?;
        match (self.first, self.first_indices()) {
            (Some(first), Some(indices)) => {
                write!(
                    f,
                    ": {} of {values} values are infinite or NaN, the first at {indices:?} (value {first})",
                    self.bad
                )
            }
            _ => write!(f, ": {values} finite values"),
        }
    }
}

impl File {
    /// Looks at the scales of one tensor's blocks (of a plain type, at its values).
    ///
    /// # Errors
    /// Where there is no such tensor, or the file was shortened since it was opened.
    pub fn scan(&self, name: &str) -> Result<WeightCheck> {
        let tensor = self.tensor(name)?;
        Ok(report(name, &tensor, tensor.dtype().scan(tensor.data())))
    }

    /// Decodes every value of every tensor, one tensor a step.
    ///
    /// # Errors
    /// A step fails where the file was shortened since it was opened.
    pub fn check(&self) -> impl ExactSizeIterator<Item = Result<WeightCheck>> + '_ {
        self.tensors().iter().map(|info| {
            let tensor = self.view(info)?;
            Ok(report(info.name(), &tensor, decode_all(&tensor)))
        })
    }
}

fn report(name: &str, tensor: &Tensor, found: Scan) -> WeightCheck {
    let shape = tensor.shape().to_vec();
    WeightCheck { tensor: name.into(), dtype: tensor.dtype(), shape, bad: found.bad, first: found.first }
}

/// Counts what is not finite among all values.
fn decode_all(tensor: &Tensor) -> Scan {
    let (dtype, data) = (tensor.dtype(), tensor.data());
    if !dtype.is_quantized() {
        // A scan of a plain type looks at every value, and at an f64 before it is rounded.
        return dtype.scan(data);
    }
    /// A multiple of every block.
    const VALUES: usize = 1 << 14;
    let mut values = vec![0.0f32; VALUES];
    let mut found = Scan::default();
    for (chunk, bytes) in data.chunks(VALUES / dtype.block() * dtype.bytes()).enumerate() {
        let count = bytes.len() / dtype.bytes() * dtype.block();
        let out = &mut values[..count];
        // The reader has checked that tensors are whole blocks, so this decodes.
        if dtype.decode(bytes, out).is_none() {
            return found;
        }
        for (i, _) in out.iter().enumerate().filter(|(_, v)| !v.is_finite()) {
            found.bad += 1;
            found.first.get_or_insert(chunk * VALUES + i);
        }
    }
    found
}
