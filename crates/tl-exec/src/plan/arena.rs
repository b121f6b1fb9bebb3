//! Where buffers stand in memory: one arena, in which buffers that are never needed at the same time share space.
//!
//! A buffer lives from the first step that writes it to the last that uses it; steps inside a bracket are one step, since their rows
//! interleave. Constants, what setup computes, arguments and results live always. Buffers are placed in the order of their first
//! step, each at the lowest place where it overlaps none that lives at the same time.

use crate::kernel::{BufferId, Dim, Plan};

/// Elements between the beginnings of buffers: a cache line.
const ALIGNMENT: usize = 16;

/// The place of each buffer in an arena of `f32`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The first element of each buffer, by id.
    pub offsets: Vec<usize>,
    /// How many elements each may have, by id.
    pub sizes: Vec<usize>,
    /// The length of the arena.
    pub len: usize,
}

/// Lays out the buffers for steps of up to `rows` rows, of which up to `wanted` have results, over up to `stream` positions. `None` if
/// the arena would be too large to address.
pub fn layout(plan: &Plan, rows: usize, wanted: usize, stream: usize) -> Option<Layout> {
    layout_without(&[], plan, rows, wanted, stream)
}

/// The same where some buffers stand outside of the arena: they have sizes and no place.
pub fn layout_without(
    outside: &[BufferId],
    plan: &Plan,
    rows: usize,
    wanted: usize,
    stream: usize,
) -> Option<Layout> {
    let length = |dim: &Dim| match dim {
        Dim::Static(n) => *n,
        Dim::Rows => rows,
        Dim::Wanted => wanted,
        Dim::Stream => stream,
    };
    let size = |dims: &[Dim]| dims.iter().try_fold(1usize, |size, dim| size.checked_mul(length(dim)));
    let sizes: Vec<usize> = plan.buffers.iter().map(|b| size(&b.dims)).collect::<Option<_>>()?;
    let mut lives = lifetimes(plan);
    let is_inside = |&buffer: &usize| !outside.iter().any(|other| other.index() == buffer);
    let mut order: Vec<usize> = (0..sizes.len()).filter(is_inside).collect();
    order.sort_by_key(|&b| (lives[b].0, std::cmp::Reverse(sizes[b])));
    let mut offsets = vec![0; sizes.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut len = 0usize;
    for &buffer in &order {
        if lives[buffer].0 > lives[buffer].1 {
            lives[buffer] = (0, 0);
        }
        let (start, end) = lives[buffer];
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&other| lives[other].0 <= end && start <= lives[other].1)
            .map(|&other| (offsets[other], sizes[other]))
            .collect();
        taken.sort_unstable();
        let mut at = 0usize;
        for (offset, size) in taken {
            if at.checked_add(sizes[buffer])? <= offset {
                break;
            }
            at = at.max(offset.checked_add(size)?.checked_next_multiple_of(ALIGNMENT)?);
        }
        offsets[buffer] = at;
        len = len.max(at.checked_add(sizes[buffer])?);
        placed.push(buffer);
    }
    Some(Layout { offsets, sizes, len })
}

/// The first and the last step in which each buffer must keep its values.
fn lifetimes(plan: &Plan) -> Vec<(usize, usize)> {
    let end = plan.steps.len();
    let mut lives = vec![(usize::MAX, 0); plan.buffers.len()];
    let mut always = |buffer: BufferId| lives[buffer.index()] = (0, end);
    plan.constants.iter().for_each(|c| always(c.0));
    plan.inputs.iter().flatten().for_each(|&b| always(b));
    plan.outputs.iter().for_each(|o| always(o.buffer));
    plan.positions.into_iter().chain(plan.wanted_positions).for_each(&mut always);
    for step in &plan.setup {
        step.kernel.each_buffer(&mut |buffer, _| always(buffer));
    }
    for (at, step) in plan.steps.iter().enumerate() {
        step.kernel.each_buffer(&mut |buffer, _| {
            let life = &mut lives[buffer.index()];
            *life = (life.0.min(at), life.1.max(at));
        });
    }
    lives
}
