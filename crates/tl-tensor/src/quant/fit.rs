//! The search for scales: which steps reproduce values best when each is rounded to a code.
//!
//! Given the codes, the best scale (and minimum) is a linear least-squares problem; given the scale, the best codes are
//! the nearest ones. So each search tries a few steps around the obvious one, rounds, solves, and keeps the best sum of
//! squared errors. The K formats then round the scales of their groups to small integers, and each group takes the
//! integers, among the neighbours of the rounded ones, that leave the least error.
//!
//! Invariant: codes and scales lie in the ranges asked for, whatever the values; the result depends on nothing else.

use super::{extreme, inverse, range};
use crate::half::{f16_to_f32, f32_to_f16};

/// How many partial sums run beside each other, so that the compiler can keep them in a vector. Groups are multiples of
/// it.
const LANES: usize = 8;

/// Codes of a block of 256 values, `v = (d scales[g]) code - (dmin mins[g])` for group `g`.
pub(super) struct Affine {
    /// The scale of the scales.
    pub d: f32,
    /// The scale of the minima.
    pub dmin: f32,
    /// An integer for each group; only as many as there are groups are used.
    pub scales: [u8; 16],
    /// An integer for each group.
    pub mins: [u8; 16],
    /// A code for each value.
    pub codes: [u8; 256],
}

/// Codes of a block of 256 values in groups of 16, `v = (d scales[g]) code` for group `g`.
pub(super) struct Symmetric {
    /// The scale of the scales.
    pub d: f32,
    /// A signed integer for each group.
    pub scales: [i32; 16],
    /// A signed code for each value.
    pub codes: [i8; 256],
}

/// Fits groups of `GROUP` values with codes 0 to `code_max`, scales and minima 0 to `scale_max`.
pub(super) fn affine_groups<const GROUP: usize>(values: &[f32; 256], scale_max: u8, code_max: u8) -> Affine {
    let groups = values.as_chunks::<GROUP>().0;
    let mut wanted = [(0.0_f32, 0.0_f32); 16];
    for (fit, group) in wanted.iter_mut().zip(groups) {
        *fit = affine(group, f32::from(code_max));
    }
    let (largest_scale, largest_min) =
        wanted.iter().fold((0.0_f32, 0.0_f32), |(s, m), w| (s.max(w.0), m.max(w.1)));
    let mut coded = Affine {
        d: storable(largest_scale / f32::from(scale_max)),
        dmin: storable(largest_min / f32::from(scale_max)),
        scales: [0; 16],
        mins: [0; 16],
        codes: [0; 256],
    };
    for (g, group) in groups.iter().enumerate() {
        let scales = neighbours(wanted[g].0 * inverse(coded.d), 0, i32::from(scale_max));
        let mins = neighbours(wanted[g].1 * inverse(coded.dmin), 0, i32::from(scale_max));
        let mut least = f32::INFINITY;
        for (s, m) in scales.iter().flat_map(|&s| mins.iter().map(move |&m| (s, m))) {
            let (scale, min) = (coded.d * s as f32, coded.dmin * m as f32);
            let inverse = inverse(scale);
            let codes = group.map(|v| nearest_int((v + min) * inverse, 0.0, f32::from(code_max)));
            let error = squared_error(group, |i| scale * codes[i] as f32 - min);
            if error < least {
                least = error;
                (coded.scales[g], coded.mins[g]) = (s as u8, m as u8);
                coded.codes[GROUP * g..][..GROUP].copy_from_slice(&codes.map(|q| q as u8));
            }
        }
    }
    coded
}

/// Fits groups of 16 values with codes `-code_limit` to `code_limit - 1` and scales in the like range.
pub(super) fn symmetric_groups(values: &[f32; 256], scale_limit: i32, code_limit: i32) -> Symmetric {
    let groups = values.as_chunks::<16>().0;
    let wanted: [f32; 16] = std::array::from_fn(|g| symmetric(&groups[g], code_limit as f32));
    let d = storable(extreme(&wanted) / -(scale_limit as f32));
    let mut coded = Symmetric { d, scales: [0; 16], codes: [0; 256] };
    for (g, group) in groups.iter().enumerate() {
        let mut least = f32::INFINITY;
        for s in neighbours(wanted[g] * inverse(d), -scale_limit, scale_limit - 1) {
            let scale = d * s as f32;
            let inverse = inverse(scale);
            let codes = group.map(|v| nearest_int(v * inverse, -code_limit as f32, (code_limit - 1) as f32));
            let error = squared_error(group, |i| scale * codes[i] as f32);
            if error < least {
                least = error;
                coded.scales[g] = s;
                coded.codes[16 * g..][..16].copy_from_slice(&codes.map(|q| q as i8));
            }
        }
    }
    coded
}

/// The scale that lets `scale · table[q]` reproduce the values best; `nearest_to` gives the entry of an ascending table
/// that is nearest to each integer from -128 on.
pub(super) fn table_scale(values: &[f32], nearest_to: &[i8; 256]) -> f32 {
    let extreme = extreme(values);
    if extreme == 0.0 {
        return 0.0;
    }
    let ends = [f32::from(nearest_to[0]), f32::from(nearest_to[255])];
    let candidates = ends.into_iter().flat_map(|end| (-7..=7).map(move |k| extreme / (end + k as f32)));
    best_scale(values, candidates, |x| f32::from(nearest_to[(nearest_int(x, -128.0, 127.0) + 128) as usize]))
}

/// For each integer from -128 on, the entry of a table that is nearest to it.
pub(super) const fn nearest_to_each(table: &[i8; 16]) -> [i8; 256] {
    let mut nearest = [table[0]; 256];
    let mut i = 0;
    while i < 256 {
        let mut q = 1;
        while q < 16 {
            let x = i as i32 - 128;
            if (x - table[q] as i32).abs() < (x - nearest[i] as i32).abs() {
                nearest[i] = table[q];
            }
            q += 1;
        }
        i += 1;
    }
    nearest
}

/// The code whose `scale · table[code]` is nearest to `value`; the first of equals.
pub(super) fn nearest(value: f32, scale: f32, table: &[i8; 16]) -> u8 {
    let (mut best, mut least) = (0, f32::INFINITY);
    for (q, &t) in (0..).zip(table) {
        let error = (scale * f32::from(t) - value).abs();
        if error < least {
            (best, least) = (q, error);
        }
    }
    best
}

/// The scale and the minimum, neither negative, that reproduce values best as `scale · q - min`, with codes `q` from 0
/// to `code_max`.
fn affine(values: &[f32], code_max: f32) -> (f32, f32) {
    let (low, high) = range(values);
    let low = low.min(0.0);
    if high <= low {
        return (0.0, -low);
    }
    let (mut best, mut least) = ((0.0, -low), f32::INFINITY);
    for step in -4..=4 {
        let mut fit = ((high - low) / (code_max + 0.25 * step as f32), -low);
        for _ in 0..3 {
            let (error, better) = refit(values, fit, code_max);
            if error < least {
                (best, least) = (fit, error);
            }
            fit = better;
        }
    }
    best
}

/// The squared error that a scale and a minimum leave, and the least-squares solution for the codes that they give.
fn refit(values: &[f32], (scale, min): (f32, f32), code_max: f32) -> (f32, (f32, f32)) {
    let inverse = inverse(scale);
    let mut lanes = [[0.0; LANES]; 5];
    for values in values.as_chunks::<LANES>().0 {
        let q = values.map(|v| nearest_int((v + min) * inverse, 0.0, code_max) as f32);
        for i in 0..LANES {
            let (v, q) = (values[i], q[i]);
            let error = scale * q - min - v;
            lanes[0][i] += error * error;
            lanes[1][i] += v;
            lanes[2][i] += q;
            lanes[3][i] += q * q;
            lanes[4][i] += q * v;
        }
    }
    let n = values.len() as f32;
    let [error, v1, q1, qq, qv] = lanes.map(|lane| lane.iter().sum::<f32>());
    let determinant = n * qq - q1 * q1;
    if determinant <= 0.0 {
        return (error, (scale, min));
    }
    let min = (q1 * qv - qq * v1) / determinant;
    // A minimum below 0 has no code: the best scale without one.
    let fit = if min > 0.0 { ((n * qv - q1 * v1) / determinant, min) } else { (qv / qq, 0.0) };
    (error, (fit.0.max(0.0), fit.1))
}

/// The scale, of either sign, that reproduces values best as `scale · q`, with codes `q` from `-limit` to `limit - 1`.
fn symmetric(values: &[f32], limit: f32) -> f32 {
    let extreme = extreme(values);
    if extreme == 0.0 {
        return 0.0;
    }
    let candidates = (-9..=9).map(|step| extreme / -(limit + 0.1 * step as f32));
    best_scale(values, candidates, |x| nearest_int(x, -limit, limit - 1.0) as f32)
}

/// Of the least-squares solutions for the codes that each candidate gives, the one that leaves the least error.
fn best_scale(values: &[f32], candidates: impl Iterator<Item = f32>, code: impl Fn(f32) -> f32) -> f32 {
    let (mut best, mut most) = (0.0, 0.0);
    for candidate in candidates {
        let (mut qq, mut qv) = ([0.0; LANES], [0.0; LANES]);
        let inverse = inverse(candidate);
        for values in values.as_chunks::<LANES>().0 {
            for (i, &v) in values.iter().enumerate() {
                let q = code(v * inverse);
                qq[i] += q * q;
                qv[i] += q * v;
            }
        }
        let (sum_qq, sum_qv) = (qq.iter().sum::<f32>(), qv.iter().sum::<f32>());
        // With scale = sum_qv / sum_qq the squared error falls by sum_qv² / sum_qq.
        let scale = sum_qv / sum_qq;
        if scale * sum_qv > most {
            (best, most) = (scale, scale * sum_qv);
        }
    }
    best
}

/// The sum of the squared differences between values and what their codes decode to.
fn squared_error<const GROUP: usize>(values: &[f32; GROUP], decoded: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    for (i, v) in values.iter().enumerate() {
        lanes[i % LANES] += (decoded(i) - v).powi(2);
    }
    lanes.iter().sum()
}

/// The value as the block's binary16 field will hold it. Where that is a subnormal number, which is coarse, it is rounded
/// away from zero, so that small integers times it reach the values.
pub(super) fn storable(value: f32) -> f32 {
    let bits = f32_to_f16(value);
    let short = bits & 0x7c00 == 0 && f16_to_f32(bits).abs() < value.abs();
    f16_to_f32(bits + u16::from(short))
}

/// The integer nearest to `x` and the ones beside it, as far as they lie in the range.
fn neighbours(x: f32, low: i32, high: i32) -> [i32; 3] {
    let middle = nearest_int(x, low as f32, high as f32);
    [middle, (middle - 1).max(low), (middle + 1).min(high)]
}

/// The integer nearest to `x`, ties to even, within `low..=high`, which lie within ±2^22; `low` for NaN.
#[inline]
fn nearest_int(x: f32, low: f32, high: f32) -> i32 {
    // Adding 1.5 · 2^23 leaves no bits for a fraction, so the addition itself rounds. Unlike a call of the rounding
    // function this needs no processor feature and works on vectors.
    let clamped = if x > low { x } else { low };
    let clamped = if clamped < high { clamped } else { high };
    ((clamped + 12_582_912.0).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}
