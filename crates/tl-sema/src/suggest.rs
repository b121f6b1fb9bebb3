//! "Did you mean": the known name that is nearest to an unknown one.

/// The nearest of the names by edit distance, if it is near enough to be a slip: a third of its length, and at most 3.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    known
        .filter(|k| *k != name && k.chars().count().abs_diff(name.chars().count()) <= limit)
        .map(|k| (distance(name, k), k))
        .filter(|&(d, _)| d <= limit)
        .min()
        .map(|(_, k)| k)
}

/// The Levenshtein distance, with a swap of neighbours as one edit.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_a_stranger_is_not() {
        let known = ["softmax", "rms_norm", "sigmoid", "x"];
        assert_eq!(did_you_mean("sofmax", known.into_iter()), Some("softmax"));
        assert_eq!(did_you_mean("rms_nrom", known.into_iter()), Some("rms_norm"));
        assert_eq!(did_you_mean("conv", known.into_iter()), None);
        assert_eq!(did_you_mean("softmax", known.into_iter()), None, "a name is not its own correction");
    }
}
