//! The stages again, slowly and plainly: full sorts, the system's exponentials, new vectors at each step.
//!
//! A stage here takes and gives pairs of id and logit.

/// Falling logit, then rising id.
pub fn sorted(mut items: Vec<(u32, f32)>) -> Vec<(u32, f32)> {
    items.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
    items
}

pub fn probabilities(items: &[(u32, f32)]) -> Vec<f64> {
    let max = items.iter().map(|item| item.1).fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = items.iter().map(|item| (f64::from(item.1) - f64::from(max)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

pub fn top_k(items: Vec<(u32, f32)>, k: usize) -> Vec<(u32, f32)> {
    let mut items = sorted(items);
    items.truncate(k);
    items
}

pub fn penalize(
    items: Vec<(u32, f32)>,
    history: &[u32],
    repeat: f32,
    presence: f32,
    frequency: f32,
) -> Vec<(u32, f32)> {
    let penalized = |(id, logit): (u32, f32)| {
        let n = history.iter().filter(|seen| **seen == id).count() as f32;
        if n == 0.0 {
            return (id, logit);
        }
        let scaled = if logit <= 0.0 { logit * repeat } else { logit / repeat };
        (id, scaled - n * frequency - presence)
    };
    items.into_iter().map(penalized).collect()
}

/// How many of the sorted items top-p keeps, and by how much each running sum misses `p`.
pub fn top_p(items: &[(u32, f32)], p: f64) -> (usize, Vec<f64>) {
    let mut sum = 0.0;
    let sums: Vec<f64> = probabilities(items)
        .into_iter()
        .map(|one| {
            sum += one;
            sum
        })
        .collect();
    let keep = sums.iter().position(|sum| *sum >= p).map_or(items.len(), |last| last + 1);
    (keep, sums.into_iter().map(|sum| (sum - p).abs()).collect())
}
