//! Layouts: where the values of a tensor lie among its stored values.
//!
//! The value at index `i` is stored at position `sum(i[k] · strides[k])`, counted in values, not bytes, so that views of
//! quantized tensors are layouts too. Views begin at position 0: a slice moves the start of the bytes instead.
//!
//! Invariant: the number of values fits in a `usize`, and so does every position.

/// Sizes and strides of the axes, slowest axis first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl Layout {
    /// The row-major layout of a shape; `None` where the number of values overflows.
    ///
    /// Sizes of zero don't excuse the others: their product must fit all the same, for the strides are made of them.
    pub fn row_major(shape: impl Into<Vec<usize>>) -> Option<Self> {
        let shape = shape.into();
        let mut strides = vec![0; shape.len()];
        let mut stride = 1_usize;
        for (s, &size) in strides.iter_mut().zip(&shape).rev() {
            *s = stride;
            stride = stride.checked_mul(size.max(1))?;
        }
        Some(Self { shape, strides })
    }

    /// The sizes of the axes, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How far apart, in values, neighbours along each axis are stored.
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// How many axes there are.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Whether the values are stored in row-major order without gaps.
    pub fn is_row_major(&self) -> bool {
        let mut expected = 1;
        self.is_empty()
            || self.shape.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
                let fits = size == 1 || stride == expected;
                expected *= size;
                fits
            })
    }

    /// How many stored values the layout reaches over: one more than the largest position, 0 for none.
    pub fn span(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        1 + self.shape.iter().zip(&self.strides).map(|(size, stride)| (size - 1) * stride).sum::<usize>()
    }

    /// The position of the value at `index`; `None` where the index has another rank or lies outside.
    pub fn position(&self, index: &[usize]) -> Option<usize> {
        if index.len() != self.rank() || index.iter().zip(&self.shape).any(|(i, size)| i >= size) {
            return None;
        }
        Some(index.iter().zip(&self.strides).map(|(i, stride)| i * stride).sum())
    }

    /// The position of the first value of row `row`, where the rows are all runs along the last axis in row-major
    /// order.
    pub(crate) fn row_position(&self, mut row: usize) -> usize {
        let leading = self.rank().saturating_sub(1);
        let mut position = 0;
        for (&size, &stride) in self.shape[..leading].iter().zip(&self.strides[..leading]).rev() {
            position += row % size.max(1) * stride;
            row /= size.max(1);
        }
        position
    }

    /// The axes in another order; `None` where `order` does not name each axis once.
    pub(crate) fn permute(&self, order: &[usize]) -> Option<Self> {
        let mut seen = vec![false; self.rank()];
        for &axis in order {
            if std::mem::replace(seen.get_mut(axis)?, true) {
                return None;
            }
        }
        (order.len() == self.rank()).then(|| Self {
            shape: order.iter().map(|&axis| self.shape[axis]).collect(),
            strides: order.iter().map(|&axis| self.strides[axis]).collect(),
        })
    }

    /// The same layout with `size` places along `axis`, at most as many as there are.
    pub(crate) fn shorten(&self, axis: usize, size: usize) -> Self {
        let mut shorter = self.clone();
        shorter.shape[axis] = size.min(self.shape[axis]);
        shorter
    }

    /// The same layout without `axis`.
    pub(crate) fn without(&self, axis: usize) -> Self {
        let mut fewer = self.clone();
        fewer.shape.remove(axis);
        fewer.strides.remove(axis);
        fewer
    }
}
