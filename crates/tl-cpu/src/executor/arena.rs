//! The memory that the buffers of a plan stand in.

use tl_exec::kernel::{BufferId, Plan};
use tl_exec::plan::{Layout, layout};
use tl_exec::run::RunError;

use super::check::check;
use crate::aligned::Aligned;
use crate::kernels::tape::Buffers;

/// How large steps may be.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Room {
    pub rows: usize,
    pub wanted: usize,
    pub stream: usize,
}

/// The buffers, laid out for steps up to a size.
#[derive(Default)]
pub(super) struct Arena {
    memory: Aligned<f32>,
    layout: Layout,
    room: Option<Room>,
}

impl Arena {
    /// The size of steps that there is room for.
    pub fn room(&self) -> Room {
        self.room.unwrap_or_default()
    }

    /// Makes room; `true` if buffers moved. Results and what setup computed, constants among it, move with their buffers; other
    /// values are lost.
    pub fn make_room(&mut self, plan: &Plan, room: Room) -> Result<bool, RunError> {
        let old = self.room();
        let fits = room.rows <= old.rows && room.wanted <= old.wanted && room.stream <= old.stream;
        if self.room.is_some() && fits {
            return Ok(false);
        }
        let grown = |need: usize, has: usize| if need <= has { has } else { need.max(has + has / 2) };
        let room = Room {
            rows: room.rows.max(old.rows),
            wanted: room.wanted.max(old.wanted),
            // Positions come one by one: make room for some more.
            stream: grown(room.stream, old.stream),
        };
        let too_large = RunError::Memory { bytes: usize::MAX };
        let new = layout(plan, room.rows, room.wanted, room.stream).ok_or(too_large)?;
        check(plan, &new.sizes, room);
        if new == self.layout && !self.memory.is_empty() {
            self.room = Some(room);
            return Ok(false);
        }
        let bytes = new.len.saturating_mul(4);
        let mut memory = Aligned::try_zeros(new.len).ok_or(RunError::Memory { bytes })?;
        if !self.memory.is_empty() {
            for buffer in lasting(plan) {
                let (from, to) = (self.layout.offsets[buffer.index()], new.offsets[buffer.index()]);
                let len = self.layout.sizes[buffer.index()].min(new.sizes[buffer.index()]);
                memory[to..to + len].copy_from_slice(&self.memory[from..from + len]);
            }
        }
        (self.memory, self.layout, self.room) = (memory, new, Some(room));
        Ok(true)
    }

    /// The buffers for kernels.
    pub fn buffers(&mut self) -> Buffers<'_> {
        Buffers { arena: self.memory.as_mut_ptr(), offsets: &self.layout.offsets }
    }

    /// The first `len` values of a buffer.
    pub fn slice(&self, buffer: BufferId, len: usize) -> &[f32] {
        assert!(len <= self.layout.sizes[buffer.index()], "a buffer has room for its values");
        &self.memory[self.layout.offsets[buffer.index()]..][..len]
    }

    /// The first `len` values of a buffer, to write.
    pub fn slice_mut(&mut self, buffer: BufferId, len: usize) -> &mut [f32] {
        assert!(len <= self.layout.sizes[buffer.index()], "a buffer has room for its values");
        &mut self.memory[self.layout.offsets[buffer.index()]..][..len]
    }
}

/// The buffers whose values outlive a step: constants, results and what setup writes.
fn lasting(plan: &Plan) -> Vec<BufferId> {
    let mut lasting: Vec<BufferId> = plan.constants.iter().map(|c| c.0).collect();
    lasting.extend(plan.outputs.iter().map(|o| o.buffer));
    for step in &plan.setup {
        step.kernel.each_buffer(&mut |buffer, written| {
            if written && !lasting.contains(&buffer) {
                lasting.push(buffer);
            }
        });
    }
    lasting
}
