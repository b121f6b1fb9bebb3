//! Sizes by unification: facts about index variables go in, the extent of each comes out, contradictions are kept.
//!
//! ```text
//! a plain index at an axis of size n      i = n
//! a group (g r c) at an axis of size n    g · r · c = n; one unknown follows from the others
//! an affine index 2·j + 1 at an axis of n j has as many positions as keep the index inside, over all such reads and writes
//! ```
//!
//! Affine facts are used only for what nothing else settles, because a read outside of a tensor is 0 and no error. The same solver
//! serves one equation (keys are its variables) and a whole block (keys are classes of its domains).

use std::collections::HashMap;
use std::hash::Hash;

use tl_ir::Extent;
use tl_syntax::Span;

/// Where a size comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The place.
    pub span: Span,
    /// What it is, as in "`m.output.weight` has this size there".
    pub what: String,
}

/// `a[Σ cᵢ·i + offset]` at an axis of a known extent.
#[derive(Clone, Debug)]
pub(crate) struct Affine<K> {
    pub terms: Vec<(K, i64)>,
    pub offset: i64,
    pub divisor: i64,
    pub extent: Extent,
    pub origin: Origin,
}

/// A group at an axis of a known extent.
#[derive(Clone, Debug)]
struct Group<K> {
    keys: Vec<K>,
    extent: Extent,
    origin: Origin,
}

/// Two facts that contradict each other.
#[derive(Clone, Debug)]
pub(crate) enum Conflict<K> {
    /// One key has two sizes.
    Sizes { key: K, first: (Extent, Origin), second: (Extent, Origin) },
    /// A group does not make up its axis.
    Group { keys: Vec<(K, Option<usize>)>, extent: usize, origin: Origin },
}

/// The facts, and what follows from them.
#[derive(Clone, Debug)]
pub(crate) struct Solver<K> {
    known: HashMap<K, (Extent, Origin)>,
    groups: Vec<Group<K>>,
    affine: Vec<Affine<K>>,
    pub conflicts: Vec<Conflict<K>>,
}

impl<K: Clone + Eq + Hash + Ord> Solver<K> {
    pub fn new() -> Self {
        Self { known: HashMap::new(), groups: Vec::new(), affine: Vec::new(), conflicts: Vec::new() }
    }

    /// A key has an extent. What is unknown gives way to what is known.
    pub fn plain(&mut self, key: K, extent: Extent, origin: Origin) {
        match self.known.get(&key) {
            None => {
                self.known.insert(key, (extent, origin));
            }
            Some((Extent::Unknown, _)) if extent != Extent::Unknown => {
                self.known.insert(key, (extent, origin));
            }
            Some((first, _)) if agree(*first, extent) => {}
            Some(first) => {
                let first = first.clone();
                self.conflicts.push(Conflict::Sizes { key, first, second: (extent, origin) });
            }
        }
    }

    /// The keys together make up an axis, slowest first.
    pub fn group(&mut self, keys: Vec<K>, extent: Extent, origin: Origin) {
        self.groups.push(Group { keys, extent, origin });
    }

    /// An axis is read or written at an affine position.
    pub fn affine(&mut self, fact: Affine<K>) {
        self.affine.push(fact);
    }

    /// What is known of a key.
    pub fn get(&self, key: &K) -> Option<&(Extent, Origin)> {
        self.known.get(key)
    }

    /// Draws all conclusions: groups first, affine bounds only where nothing else says anything.
    pub fn solve(&mut self) {
        let mut done = vec![false; self.groups.len()];
        loop {
            let progress = self.settle_groups(&mut done) || self.settle_affine();
            if !progress {
                return;
            }
        }
    }

    fn settle_groups(&mut self, done: &mut [bool]) -> bool {
        let mut progress = false;
        for (group, done) in self.groups.clone().into_iter().zip(done) {
            let unknown = group.keys.iter().filter(|k| !self.known.contains_key(k)).count();
            if *done || unknown > 1 && group.extent != Extent::Unknown {
                continue;
            }
            (*done, progress) = (true, true);
            let Extent::Static(extent) = group.extent else {
                // Nothing is known of the axis, so nothing of its parts that nobody else knows.
                for key in group.keys {
                    self.known.entry(key).or_insert((Extent::Unknown, group.origin.clone()));
                }
                continue;
            };
            self.settle_group(group, extent);
        }
        progress
    }

    fn settle_group(&mut self, group: Group<K>, extent: usize) {
        let sizes: Vec<(K, Option<usize>)> =
            group.keys.iter().map(|k| (k.clone(), self.known.get(k).and_then(|(e, _)| e.known()))).collect();
        let open: Vec<&K> = group.keys.iter().filter(|k| !self.known.contains_key(k)).collect();
        let product = sizes.iter().filter_map(|(_, n)| *n).try_fold(1usize, usize::checked_mul);
        let some_unknown = group.keys.iter().any(|k| matches!(self.known.get(k), Some((Extent::Unknown, _))));
        match (product, &open[..]) {
            (Some(product), [one]) if !some_unknown && product > 0 && extent.is_multiple_of(product) => {
                let key = (*one).clone();
                self.known.insert(key, (Extent::Static(extent / product), group.origin));
            }
            (Some(product), []) if some_unknown || product == extent => {}
            (_, [one]) if some_unknown => {
                let key = (*one).clone();
                self.known.insert(key, (Extent::Unknown, group.origin));
            }
            _ => self.conflicts.push(Conflict::Group { keys: sizes, extent, origin: group.origin }),
        }
    }

    /// Settles one key by its affine facts, if there is one of which all other keys are known.
    fn settle_affine(&mut self) -> bool {
        let mut bounds: HashMap<K, (Extent, Origin)> = HashMap::new();
        for fact in &self.affine {
            let mut open = fact.terms.iter().filter(|(k, _)| !self.known.contains_key(k));
            let (Some((key, coefficient)), None) = (open.next(), open.next()) else { continue };
            let bound = self.bound(fact, key, *coefficient);
            let smaller = match (bounds.get(key), bound) {
                (Some((Extent::Static(a), _)), Extent::Static(b)) => b < *a,
                (Some((Extent::Unknown, _)), Extent::Static(_)) | (None, _) => true,
                _ => false,
            };
            if smaller {
                bounds.insert(key.clone(), (bound, fact.origin.clone()));
            }
        }
        // One at a time, in a fixed order, so that the result does not depend on hashing.
        let Some(key) = bounds.keys().min().cloned() else { return false };
        let bound = bounds.remove(&key).expect("it was found there");
        self.known.insert(key, bound);
        true
    }

    /// How many positions a key may have so that the index stays inside the axis.
    fn bound(&self, fact: &Affine<K>, key: &K, coefficient: i64) -> Extent {
        let Extent::Static(size) = fact.extent else { return Extent::Unknown };
        let mut rest = fact.offset;
        for (other, c) in fact.terms.iter().filter(|(k, _)| k != key) {
            match self.known.get(other) {
                Some((Extent::Static(n), _)) if *c > 0 => {
                    rest = rest.saturating_add(c.saturating_mul((*n as i64).saturating_sub(1).max(0)));
                }
                Some((Extent::Static(_), _)) => {}
                _ => return Extent::Unknown,
            }
        }
        let last = (size as i64).saturating_mul(fact.divisor).saturating_sub(1);
        let room = if coefficient > 0 { last.saturating_sub(rest) } else { rest };
        if room < 0 || coefficient == 0 {
            return Extent::Static(0);
        }
        Extent::Static((room / coefficient.abs()) as usize + 1)
    }
}

/// Whether two extents can be of one axis.
pub(crate) fn agree(a: Extent, b: Extent) -> bool {
    a == b || a == Extent::Unknown || b == Extent::Unknown || a.is_stream() && b.is_stream()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin { span: Span::NONE, what: String::new() }
    }

    fn size(solver: &Solver<&'static str>, key: &'static str) -> Option<usize> {
        solver.get(&key).and_then(|(e, _)| e.known())
    }

    #[test]
    fn a_group_gives_its_one_unknown() {
        let mut solver = Solver::new();
        solver.plain("g", Extent::Static(3), origin());
        solver.plain("c", Extent::Static(64), origin());
        solver.group(vec!["g", "r", "c"], Extent::Static(576), origin());
        solver.solve();
        assert_eq!(size(&solver, "r"), Some(3));
        assert!(solver.conflicts.is_empty());
    }

    #[test]
    fn a_group_that_does_not_divide_is_a_conflict() {
        let mut solver = Solver::new();
        solver.plain("c", Extent::Static(64), origin());
        solver.group(vec!["g", "c"], Extent::Static(100), origin());
        solver.solve();
        assert!(matches!(&solver.conflicts[..], [Conflict::Group { extent: 100, .. }]));
    }

    #[test]
    fn affine_reads_bound_what_nothing_else_settles() {
        let fact = |offset, terms: Vec<(&'static str, i64)>, size| Affine {
            terms,
            offset,
            divisor: 1,
            extent: Extent::Static(size),
            origin: origin(),
        };
        let mut solver = Solver::new();
        solver.affine(fact(0, vec![("j", 2)], 64));
        solver.affine(fact(1, vec![("j", 2)], 64));
        solver.solve();
        assert_eq!(size(&solver, "j"), Some(32), "both 2j and 2j + 1 stay inside 64");

        let mut solver = Solver::new();
        solver.plain("dx", Extent::Static(3), origin());
        solver.affine(fact(0, vec![("x", 1), ("dx", 1)], 10));
        solver.solve();
        assert_eq!(size(&solver, "x"), Some(8), "a convolution of 10 with 3");

        let mut solver = Solver::new();
        solver.plain("i", Extent::Static(10), origin());
        solver.affine(fact(1, vec![("i", 1)], 10));
        solver.solve();
        assert_eq!(size(&solver, "i"), Some(10), "what is known stays: a read outside is 0");
    }

    #[test]
    fn two_sizes_of_one_key_are_a_conflict_and_the_unknown_agrees_with_all() {
        let mut solver = Solver::new();
        solver.plain("d", Extent::Unknown, origin());
        solver.plain("d", Extent::Static(4), origin());
        solver.plain("d", Extent::Static(4), origin());
        assert!(solver.conflicts.is_empty());
        solver.plain("d", Extent::Static(5), origin());
        assert_eq!(solver.conflicts.len(), 1);
        assert_eq!(size(&solver, "d"), Some(4));
    }
}
