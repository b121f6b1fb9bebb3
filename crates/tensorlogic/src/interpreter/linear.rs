//! Systems of linear equations, dense, in 64-bit floating point.
//!
//! ```text
//! solve A x = b:
//!     A symmetric:    A = L Lᵀ (Cholesky), if no pivot is found that is not positive
//!     else, or then:  P A = L U, each pivot the largest of its column
//!     x by substitution, for each column of b
//! ```
//!
//! After Golub and Van Loan, "Matrix Computations", chapters 3 and 4. A matrix counts as singular where a pivot is less than what rounding
//! makes of nothing: `n · ε · max |A|`.
//!
//! Invariant: the factors take the place of the matrix, so that a system takes no memory beside its own.

/// A square matrix in row-major order, with its factors once it is factored.
pub struct Matrix {
    size: usize,
    cells: Vec<f64>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsolved {
    /// The equations do not have one answer: the pivot of this column, from 0, is nothing.
    Singular {
        /// The column, from 0.
        column: usize,
    },
    /// Somebody asked to stop.
    Stopped,
}

impl Matrix {
    /// A matrix of `size` rows; the cells are as many as that needs.
    pub fn new(size: usize, cells: Vec<f64>) -> Matrix {
        assert_eq!(cells.len(), size * size, "a square matrix");
        Matrix { size, cells }
    }

    /// Replaces `b` (row-major, `columns` wide) by the `x` of `A x = b`. `stop` is asked before each column is factored.
    ///
    /// # Errors
    /// Where the matrix is singular, or `stop` says so.
    pub fn solve(mut self, b: &mut [f64], columns: usize, stop: &dyn Fn() -> bool) -> Result<(), Unsolved> {
        if self.is_symmetric() {
            let whole = self.cells.clone();
            if self.cholesky(stop)? {
                self.substitute(b, columns);
                self.substitute_back(b, columns, Factor::Transposed);
                return Ok(());
            }
            self.cells = whole;
        }
        self.eliminate(b, columns, stop)?;
        self.substitute_back(b, columns, Factor::Upper);
        Ok(())
    }

    fn is_symmetric(&self) -> bool {
        let n = self.size;
        (0..n).all(|i| (0..i).all(|j| self.cells[i * n + j] == self.cells[j * n + i]))
    }

    /// What is taken for nothing.
    fn tolerance(&self) -> f64 {
        let largest = self.cells.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        self.size as f64 * f64::EPSILON * largest
    }

    /// Puts `L` of `A = L Lᵀ` into the lower half; false where a pivot is not positive.
    fn cholesky(&mut self, stop: &dyn Fn() -> bool) -> Result<bool, Unsolved> {
        let (n, tolerance) = (self.size, self.tolerance());
        for j in 0..n {
            if stop() {
                return Err(Unsolved::Stopped);
            }
            let (above, below) = self.cells.split_at_mut((j + 1) * n);
            let row = &mut above[j * n..];
            let pivot = row[j] - dot(&row[..j], &row[..j]);
            if pivot.is_nan() || pivot <= tolerance {
                return Ok(false);
            }
            row[j] = pivot.sqrt();
            for other in below.chunks_exact_mut(n) {
                other[j] = (other[j] - dot(&other[..j], &row[..j])) / row[j];
            }
        }
        Ok(true)
    }

    /// `b := L⁻¹ b`, with the lower half as `L`.
    fn substitute(&self, b: &mut [f64], columns: usize) {
        let n = self.size;
        for i in 0..n {
            let (done, rest) = b.split_at_mut(i * columns);
            let row = &mut rest[..columns];
            for j in 0..i {
                subtract(row, self.cells[i * n + j], &done[j * columns..][..columns]);
            }
            row.iter_mut().for_each(|x| *x /= self.cells[i * n + i]);
        }
    }

    /// `b := U⁻¹ b`.
    fn substitute_back(&self, b: &mut [f64], columns: usize, factor: Factor) {
        let n = self.size;
        let upper = |i: usize, j: usize| match factor {
            Factor::Upper => self.cells[i * n + j],
            Factor::Transposed => self.cells[j * n + i],
        };
        for i in (0..n).rev() {
            let (rest, done) = b.split_at_mut((i + 1) * columns);
            let row = &mut rest[i * columns..];
            for j in i + 1..n {
                subtract(row, upper(i, j), &done[(j - i - 1) * columns..][..columns]);
            }
            row.iter_mut().for_each(|x| *x /= upper(i, i));
        }
    }

    /// Gaussian elimination with partial pivoting, of `b` too: `U` is left in the upper half.
    fn eliminate(&mut self, b: &mut [f64], columns: usize, stop: &dyn Fn() -> bool) -> Result<(), Unsolved> {
        let (n, tolerance) = (self.size, self.tolerance());
        for k in 0..n {
            if stop() {
                return Err(Unsolved::Stopped);
            }
            let key = |i: &usize| self.cells[i * n + k].abs();
            let best = (k..n).max_by(|i, j| key(i).total_cmp(&key(j))).unwrap_or(k);
            let pivot = self.cells[best * n + k].abs();
            if pivot.is_nan() || pivot <= tolerance {
                return Err(Unsolved::Singular { column: k });
            }
            swap_rows(&mut self.cells, n, k, best);
            swap_rows(b, columns, k, best);
            let (above, below) = self.cells.split_at_mut((k + 1) * n);
            let (b_above, b_below) = b.split_at_mut((k + 1) * columns);
            let (pivot, b_pivot) = (&above[k * n..], &b_above[k * columns..]);
            for (row, b_row) in below.chunks_exact_mut(n).zip(b_below.chunks_exact_mut(columns.max(1))) {
                let factor = row[k] / pivot[k];
                if factor != 0.0 {
                    subtract(&mut row[k..], factor, &pivot[k..]);
                    subtract(b_row, factor, b_pivot);
                }
            }
        }
        Ok(())
    }
}

/// Which half of the cells is the upper factor.
#[derive(Clone, Copy)]
enum Factor {
    /// The upper one.
    Upper,
    /// The lower one, transposed.
    Transposed,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// `row −= factor · other`
fn subtract(row: &mut [f64], factor: f64, other: &[f64]) {
    row.iter_mut().zip(other).for_each(|(x, y)| *x -= factor * y);
}

fn swap_rows(cells: &mut [f64], width: usize, a: usize, b: usize) {
    if a != b {
        let (first, second) = cells.split_at_mut(b * width);
        first[a * width..][..width].swap_with_slice(&mut second[..width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in −1..1.
    fn numbers(count: usize, mut seed: u64) -> Vec<f64> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 40) as f64 / f64::from(1 << 23) - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn product(a: &[f64], x: &[f64], n: usize, columns: usize) -> Vec<f64> {
        let cell = |i: usize, c: usize| (0..n).map(|j| a[i * n + j] * x[j * columns + c]).sum();
        (0..n).flat_map(|i| (0..columns).map(move |c| cell(i, c))).collect()
    }

    #[test]
    fn what_is_solved_gives_back_the_right_side() {
        for (n, columns) in [(1, 1), (2, 3), (7, 2), (40, 1)] {
            let a = numbers(n * n, n as u64);
            let mut gram: Vec<f64> =
                (0..n * n).map(|k| dot(&a[k / n * n..][..n], &a[k % n * n..][..n])).collect();
            (0..n).for_each(|i| gram[i * n + i] += 0.1);
            // The Gram matrix is positive, its negative symmetric and not.
            let negative: Vec<f64> = gram.iter().map(|x| -x).collect();
            for matrix in [a, gram, negative] {
                let b = numbers(n * columns, 9);
                let mut x = b.clone();
                Matrix::new(n, matrix.clone()).solve(&mut x, columns, &|| false).unwrap();
                let back = product(&matrix, &x, n, columns);
                assert!(back.iter().zip(&b).all(|(p, q)| (p - q).abs() < 1e-9), "{n} × {n}");
            }
        }
    }

    #[test]
    fn a_pivot_that_is_nothing_is_found() {
        let solve = |cells: [f64; 4]| Matrix::new(2, cells.to_vec()).solve(&mut [1.0, 1.0], 1, &|| false);
        assert_eq!(solve([1.0, 2.0, 2.0, 4.0]), Err(Unsolved::Singular { column: 1 }));
        assert_eq!(solve([0.0, 0.0, 1.0, 0.0]), Err(Unsolved::Singular { column: 1 }));
        assert_eq!(solve([0.0; 4]), Err(Unsolved::Singular { column: 0 }));
        assert_eq!(solve([f64::NAN; 4]), Err(Unsolved::Singular { column: 0 }));
        let stopped = Matrix::new(1, vec![1.0]).solve(&mut [1.0], 1, &|| true);
        assert_eq!(stopped, Err(Unsolved::Stopped));
        assert_eq!(solve([0.0, 1.0, 1.0, 0.0]), Ok(()));
    }
}
