//! Statistics of a tensor of any type and layout, in one pass and a fixed amount of memory.

use crate::Tensor;

/// What there is to say of a tensor's values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// How many values there are.
    pub len: usize,
    /// The smallest finite value; NaN where there is none.
    pub min: f64,
    /// The largest finite value; NaN where there is none.
    pub max: f64,
    /// The mean of the finite values; NaN where there are none.
    pub mean: f64,
    /// How many values are NaN.
    pub nan: usize,
    /// How many values are infinite.
    pub inf: usize,
    /// The row-major index of the first value that is infinite or NaN.
    pub first_bad: Option<usize>,
}

impl Stats {
    /// How many values are infinite or NaN.
    pub fn bad(&self) -> usize {
        self.nan + self.inf
    }

    fn add(&mut self, index: usize, value: f64) {
        self.len += 1;
        if value.is_finite() {
            // `min` and `max` of a number and NaN are the number.
            self.min = self.min.min(value);
            self.max = self.max.max(value);
            self.mean += value;
            return;
        }
        self.nan += usize::from(value.is_nan());
        self.inf += usize::from(value.is_infinite());
        self.first_bad = Some(self.first_bad.map_or(index, |first| first.min(index)));
    }
}

impl Tensor {
    /// Counts, extremes and mean, over every value.
    pub fn stats(&self) -> Stats {
        let mut stats =
            Stats { len: 0, min: f64::NAN, max: f64::NAN, mean: 0.0, nan: 0, inf: 0, first_bad: None };
        if self.is_wide() {
            self.each_position(|position| stats.add(stats.len, self.wide(position)));
        } else {
            self.each_run(|start, step, run| {
                for (i, &value) in run.iter().enumerate() {
                    stats.add(start + i * step, f64::from(value));
                }
            });
        }
        // The mean has been the sum so far. No finite values: 0 / 0 is NaN.
        stats.mean /= (stats.len - stats.bad()) as f64;
        stats
    }
}
