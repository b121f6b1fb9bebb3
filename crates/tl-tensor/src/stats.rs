//! Statistics of a tensor of any type and layout, in one pass and a fixed amount of memory.

use crate::{Scan, Tensor};

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

    /// Takes a run of values in; `start` is the index of the first and `step` the distance of the indices.
    fn add_run(&mut self, start: usize, step: usize, run: &[f32]) {
        const LANES: usize = 8;
        let (head, tail) = run.as_chunks::<LANES>();
        for (i, values) in head.iter().enumerate() {
            if values.iter().fold(true, |finite, v| finite & v.is_finite()) {
                let min = values.iter().fold(values[0], |m, &v| if v < m { v } else { m });
                let max = values.iter().fold(values[0], |m, &v| if v > m { v } else { m });
                self.len += LANES;
                self.min = self.min.min(f64::from(min));
                self.max = self.max.max(f64::from(max));
                self.mean += values.iter().map(|&v| f64::from(v)).sum::<f64>();
            } else {
                self.add_each(start + i * LANES * step, step, values);
            }
        }
        self.add_each(start + head.len() * LANES * step, step, tail);
    }

    fn add_each(&mut self, start: usize, step: usize, values: &[f32]) {
        for (i, &value) in values.iter().enumerate() {
            self.add(start + i * step, f64::from(value));
        }
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
    /// How many values are infinite or NaN, and the row-major index of the first. Of a contiguous quantized tensor only
    /// the scales are read, so this is cheap.
    pub fn scan(&self) -> Scan {
        if self.is_contiguous() {
            return self.dtype().scan(self.data());
        }
        let stats = self.stats();
        Scan { bad: stats.bad(), first: stats.first_bad }
    }

    /// Counts, extremes and mean, over every value.
    pub fn stats(&self) -> Stats {
        let mut stats =
            Stats { len: 0, min: f64::NAN, max: f64::NAN, mean: 0.0, nan: 0, inf: 0, first_bad: None };
        if self.is_wide() {
            self.each_position(|position| stats.add(stats.len, self.wide(position)));
        } else {
            self.each_run(|start, step, run| stats.add_run(start, step, run));
        }
        // The mean has been the sum so far. No finite values: 0 / 0 is NaN.
        stats.mean /= (stats.len - stats.bad()) as f64;
        stats
    }
}
