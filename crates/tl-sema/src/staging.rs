//! Staging: which tensors and index variables are unrolled, given the classes of domains that a recursion runs over.
//!
//! `H[t, j] = a H[t - 1, j] + X[t, i] U[i, j]` runs over `t`. `H` is evaluated step by step, and so is what is computed from it; but
//! `X`, which is data, is one tensor whose rows the steps read. A tensor is *whole* if it is in no recursion, selects no tensor of a
//! model, and has the size of each staged position from what it reads.
//!
//! An index variable is unrolled in an equation if its class is staged and it stands at a position of a tensor that is not whole, or
//! selects a model's tensor; elsewhere it is an axis like any other.

use std::collections::HashSet;
use std::sync::Arc;

use crate::block::Block;
use crate::domains::offset_of;
use crate::program::{Equation, ExprKind, Index, IndexKind};

/// What is unrolled in a block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Staging {
    /// The tensors with staged positions that are evaluated step by step.
    tensors: HashSet<Arc<str>>,
    /// For each unit, the index variables that are steps.
    variables: Vec<HashSet<Arc<str>>>,
}

impl Staging {
    pub fn new(block: &Block, is_index: &dyn Fn(usize, &str) -> bool) -> Self {
        let mut staging = Staging { tensors: candidates(block), variables: Vec::new() };
        loop {
            let whole: Vec<Arc<str>> = staging
                .tensors
                .iter()
                .filter(|tensor| staging.is_whole(block, tensor, is_index))
                .cloned()
                .collect();
            if whole.is_empty() {
                break;
            }
            staging.tensors.retain(|tensor| !whole.contains(tensor));
        }
        staging.variables = (0..block.units.len())
            .map(|unit| staging.steps_of(block, unit, &|n| is_index(unit, n)))
            .collect();
        staging
    }

    /// Whether the staged positions of a tensor are unrolled.
    pub fn unrolls(&self, tensor: &str) -> bool {
        self.tensors.contains(tensor)
    }

    /// The index variables of a unit that are steps.
    pub fn variables(&self, unit: usize) -> &HashSet<Arc<str>> {
        &self.variables[unit]
    }

    /// Whether a tensor can be had whole: tensors that are staged still are not among what it reads.
    fn is_whole(&self, block: &Block, tensor: &Arc<str>, is_index: &dyn Fn(usize, &str) -> bool) -> bool {
        if block.domains.cycle(tensor).is_some() {
            return false;
        }
        block.tensors[tensor].iter().all(|&unit| {
            let equation = &block.units[unit];
            let staged = staged_variables(block, tensor, equation, &|n| is_index(unit, n));
            let Some(staged) = staged else { return false };
            let reads = reads_of(equation);
            let no_path = !reads.iter().any(|(base, _)| base.is_none());
            let mut no_staged = true;
            equation.each_name(&mut |name| no_staged &= !self.tensors.contains(name));
            let is_sized = |variable: &Arc<str>| {
                reads.iter().any(|(_, indices)| {
                    indices.iter().any(|i| matches!(&i.kind, IndexKind::Name(name) if name == variable))
                })
            };
            let open = matches!(equation.value.unparenthesized().kind, ExprKind::List(_) | ExprKind::Name(_));
            no_path && no_staged && (open || staged.iter().all(is_sized))
        })
    }

    fn steps_of(&self, block: &Block, unit: usize, is_index: &dyn Fn(&str) -> bool) -> HashSet<Arc<str>> {
        let mut found = HashSet::new();
        let mut stand = |indices: &[Index], staged: &dyn Fn(usize) -> bool| {
            let staged = indices.iter().enumerate().filter(|(k, _)| staged(*k));
            found.extend(
                staged.filter_map(|(_, index)| Some(Arc::clone(offset_of(index, is_index)?.variable))),
            );
        };
        let equation = &block.units[unit];
        let of_tensor = |name: &Arc<str>| {
            let (name, unrolled) = (Arc::clone(name), self.tensors.contains(name));
            move |k: usize| {
                unrolled && block.domains.position(&name, k).is_some_and(|c| block.domains.is_staged(c))
            }
        };
        let target = &equation.target.text;
        stand(equation.indices.as_deref().unwrap_or_default(), &of_tensor(target));
        for (base, indices) in reads_of(equation) {
            match base {
                Some(name) => stand(indices, &of_tensor(name)),
                None => stand(indices, &|_| true),
            }
        }
        found.retain(|name| {
            block.domains.variable(unit, name, true).is_some_and(|c| block.domains.is_staged(c))
        });
        found
    }
}

/// The tensors that have positions which could be unrolled: all of their equations name them.
fn candidates(block: &Block) -> HashSet<Arc<str>> {
    let named = block
        .tensors
        .iter()
        .filter(|(_, units)| units.iter().all(|&unit| block.units[unit].indices.is_some()));
    let staged = named.filter(|(tensor, units)| {
        let rank = block.units[units[0]].indices.as_ref().map_or(0, Vec::len);
        (0..rank).any(|k| block.domains.position(tensor, k).is_some_and(|c| block.domains.is_staged(c)))
    });
    staged.map(|(tensor, _)| Arc::clone(tensor)).collect()
}

/// The index variables at staged positions of the left side; `None` if something else than plain names stands there.
fn staged_variables(
    block: &Block,
    tensor: &Arc<str>,
    equation: &Equation,
    is_index: &dyn Fn(&str) -> bool,
) -> Option<Vec<Arc<str>>> {
    let mut found = Vec::new();
    for (position, index) in equation.indices.iter().flatten().enumerate() {
        if block.domains.position(tensor, position).is_some_and(|c| block.domains.is_staged(c)) {
            match &index.kind {
                IndexKind::Name(name) if is_index(name) => found.push(Arc::clone(name)),
                _ => return None,
            }
        }
    }
    Some(found)
}

/// What an equation indexes: a name, or a place in a model's tree (`None`).
fn reads_of(equation: &Equation) -> Vec<(Option<&Arc<str>>, &[Index])> {
    let mut found = Vec::new();
    for expr in [&equation.value].into_iter().chain(&equation.guard) {
        expr.walk(&mut |part| {
            if let ExprKind::Index(base, indices) = &part.kind {
                let name = if let ExprKind::Name(name) = &base.kind { Some(name) } else { None };
                found.push((name, &indices[..]));
            }
        });
    }
    found
}
