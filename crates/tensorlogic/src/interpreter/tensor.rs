//! Tensors as scripts hold them: a run of elements and the order in which its axes are seen.
//!
//! Transposing and taking a model's tensor copy nothing: they are views, in which axis `i` of the value is axis `axes[i]` of the
//! stored tensor. A GGUF writes shapes fastest axis first (`ne`), so its tensors are seen with all axes reversed.

use std::sync::{Arc, OnceLock};

use tl_sema::Labels;
use tl_tensor::{DType, Tensor};

use crate::engine::permute;

/// The most elements of a tensor that a script may hold decoded: 2³⁰ (4 GiB).
pub const MAX_ELEMENTS: usize = 1 << 30;

/// A tensor with an order of axes. Clones share everything.
#[derive(Clone)]
pub struct TensorValue(Arc<View>);

struct View {
    stored: Tensor,
    axes: Vec<usize>,
    name: Option<Arc<str>>,
    /// For each axis that is seen, the names of its positions, if it has any; empty if none has.
    labels: Vec<Option<Labels>>,
    /// The elements in the order of the view, once somebody has asked for them.
    values: OnceLock<Arc<[f32]>>,
}

/// A tensor is too large to be decoded as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// How many elements it has.
    pub elements: usize,
}

impl TensorValue {
    /// A tensor of numbers, `shape` slowest axis first. The shape's product is the number of values.
    pub fn new(shape: &[usize], values: &[f32]) -> TensorValue {
        Self::over(Tensor::from_f32(shape, values), None)
    }

    /// A tensor of a model, its axes in the order of the file (`ne`): fastest first.
    pub fn from_model(name: &str, tensor: Tensor) -> TensorValue {
        Self::over(tensor, Some(name.into())).transposed()
    }

    /// A tensor as it is stored, slowest axis first.
    pub fn over(stored: Tensor, name: Option<Arc<str>>) -> TensorValue {
        let axes = (0..stored.shape().len()).collect();
        TensorValue(Arc::new(View { stored, axes, name, labels: Vec::new(), values: OnceLock::new() }))
    }

    /// The sizes of the axes as they are seen.
    pub fn shape(&self) -> Vec<usize> {
        self.0.axes.iter().map(|&a| self.0.stored.shape()[a]).collect()
    }

    /// How many axes there are.
    pub fn rank(&self) -> usize {
        self.0.axes.len()
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.0.stored.shape().iter().product()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type that it is stored in.
    pub fn dtype(&self) -> DType {
        self.0.stored.dtype()
    }

    /// Its name in the file that it came from.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.0.name.as_ref()
    }

    /// The tensor as it is stored.
    pub fn stored(&self) -> &Tensor {
        &self.0.stored
    }

    /// For each axis that is seen, the stored axis.
    pub fn order(&self) -> &[usize] {
        &self.0.axes
    }

    /// The same elements with the axes in reverse order: a view.
    #[must_use]
    pub fn transposed(&self) -> TensorValue {
        let View { stored, axes, name, labels, .. } = &*self.0;
        let axes = axes.iter().rev().copied().collect();
        let labels = labels.iter().rev().cloned().collect();
        TensorValue(Arc::new(View {
            stored: stored.clone(),
            axes,
            name: name.clone(),
            labels,
            values: OnceLock::new(),
        }))
    }

    /// The same elements with names for the positions along its axes.
    #[must_use]
    pub fn with_labels(&self, labels: Vec<Option<Labels>>) -> TensorValue {
        let View { stored, axes, name, values, .. } = &*self.0;
        let (stored, axes, name, values) = (stored.clone(), axes.clone(), name.clone(), values.clone());
        TensorValue(Arc::new(View { stored, axes, name, labels, values }))
    }

    /// The names of the positions along an axis.
    pub fn labels(&self, axis: usize) -> Option<&Labels> {
        self.0.labels.get(axis)?.as_ref()
    }

    /// The elements, decoded, in row-major order of the axes as they are seen. Computed once.
    ///
    /// # Errors
    /// When there are more than [`MAX_ELEMENTS`].
    pub fn values(&self) -> Result<Arc<[f32]>, TooLarge> {
        if self.len() > MAX_ELEMENTS {
            return Err(TooLarge { elements: self.len() });
        }
        Ok(Arc::clone(self.0.values.get_or_init(|| self.decode())))
    }

    /// The one element of a tensor without axes.
    pub fn scalar(&self) -> Option<f64> {
        if !self.0.axes.is_empty() {
            return None;
        }
        self.values().ok()?.first().map(|&x| widen(x))
    }

    fn decode(&self) -> Arc<[f32]> {
        let values = self.0.stored.to_f32();
        if self.0.axes.iter().enumerate().all(|(i, &a)| i == a) {
            return values.into();
        }
        let sizes = self.0.stored.shape();
        let stride = |a: usize| sizes[a + 1..].iter().product::<usize>();
        let strides: Vec<usize> = self.0.axes.iter().map(|&a| stride(a)).collect();
        permute(&values, &self.shape(), &strides).into()
    }
}

/// The number whose shortest decimal form is that of `x`: 0.1 for the `f32` nearest to it. It rounds back to `x`.
pub fn widen(x: f32) -> f64 {
    if !x.is_finite() || f64::from(x).fract() == 0.0 {
        return f64::from(x);
    }
    format!("{x:e}").parse().unwrap_or(f64::from(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_view_has_the_elements_in_its_own_order() {
        let t = TensorValue::new(&[2, 3], &[1., 2., 3., 4., 5., 6.]);
        let view = t.transposed();
        assert_eq!(view.shape(), [3, 2]);
        assert_eq!(*view.values().unwrap(), [1., 4., 2., 5., 3., 6.]);
        assert_eq!(view.transposed().values(), t.values());
    }

    #[test]
    fn widening_keeps_the_decimal_form() {
        assert_eq!(widen(0.1), 0.1);
        assert_eq!(widen(1e-30), 1e-30);
        assert_eq!(widen(3.0), 3.0);
        assert_eq!(widen(f32::MAX), f64::from(f32::MAX));
        assert!(widen(f32::NAN).is_nan());
    }
}
