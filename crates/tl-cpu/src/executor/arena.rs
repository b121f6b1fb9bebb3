//! The memory that the buffers of a plan stand in.
//!
//! Most stand in one arena. Tensors of files that are plain numbers are read where they are, and have no place in it. Memory that is no
//! longer needed goes back to the [`Spare`] of its backend, so that programs of many small evaluations neither fault pages in nor clear them again and
//! again.

#![expect(
    unsafe_code,
    reason = "buffers are addressed through pointers, and results are given away as bytes"
)]

use std::sync::{Arc, Mutex, PoisonError};

use tl_exec::kernel::{BufferId, Plan};
use tl_exec::plan::{Layout, layout_without};
use tl_exec::run::RunError;
use tl_tensor::{Buffer, Tensor};

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
pub(super) struct Arena {
    memory: Recycled,
    layout: Layout,
    room: Option<Room>,
    outside: Vec<(BufferId, Tensor)>,
    starts: Starts,
}

/// Where each buffer begins.
#[derive(Default)]
struct Starts(Vec<*mut f32>);

// SAFETY: The pointers lead into memory that the arena owns or keeps alive.
unsafe impl Send for Starts {}

impl Arena {
    /// No memory yet. Buffers `outside` are the elements of contiguous `f32` tensors, which nobody writes.
    pub fn new(spare: &Arc<Spare>, outside: Vec<(BufferId, Tensor)>) -> Self {
        let memory = Recycled { memory: Aligned::default(), spare: Arc::clone(spare) };
        Self { memory, layout: Layout::default(), room: None, outside, starts: Starts::default() }
    }

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
        let outside: Vec<BufferId> = self.outside.iter().map(|(buffer, _)| *buffer).collect();
        let new = layout_without(&outside, plan, room.rows, room.wanted, room.stream).ok_or(too_large)?;
        check(plan, &new.sizes, room);
        if new == self.layout && !self.memory.memory.is_empty() {
            self.room = Some(room);
            return Ok(false);
        }
        let bytes = new.len.saturating_mul(4);
        let mut memory = self.memory.spare.take(new.len).ok_or(RunError::Memory { bytes })?;
        if !self.memory.memory.is_empty() {
            for buffer in lasting(plan).into_iter().filter(|buffer| !outside.contains(buffer)) {
                let (from, to) = (self.layout.offsets[buffer.index()], new.offsets[buffer.index()]);
                let len = self.layout.sizes[buffer.index()].min(new.sizes[buffer.index()]);
                memory[to..to + len].copy_from_slice(&self.memory.memory[from..from + len]);
            }
        }
        let start = memory.as_mut_ptr();
        self.starts.0 = new.offsets.iter().map(|&offset| start.wrapping_add(offset)).collect();
        for (buffer, tensor) in &self.outside {
            let values = tensor.as_f32().expect("a tensor that is read where it stands is plain numbers");
            self.starts.0[buffer.index()] = values.as_ptr().cast_mut();
        }
        let spare = Arc::clone(&self.memory.spare);
        (self.memory, self.layout, self.room) = (Recycled { memory, spare }, new, Some(room));
        Ok(true)
    }

    /// The buffers for kernels.
    pub fn buffers(&mut self) -> Buffers<'_> {
        Buffers { starts: &self.starts.0 }
    }

    /// The first `len` values of a buffer.
    pub fn slice(&self, buffer: BufferId, len: usize) -> &[f32] {
        assert!(len <= self.layout.sizes[buffer.index()], "a buffer has room for its values");
        match self.outside.iter().find(|(outside, _)| *outside == buffer) {
            Some((_, tensor)) => &tensor.as_f32().expect("plain numbers")[..len],
            None => &self.memory.memory[self.layout.offsets[buffer.index()]..][..len],
        }
    }

    /// The first `len` values of a buffer, to write.
    pub fn slice_mut(&mut self, buffer: BufferId, len: usize) -> &mut [f32] {
        assert!(len <= self.layout.sizes[buffer.index()], "a buffer has room for its values");
        assert!(
            !self.outside.iter().any(|(outside, _)| *outside == buffer),
            "tensors of files are read alone"
        );
        &mut self.memory.memory[self.layout.offsets[buffer.index()]..][..len]
    }

    /// Gives the memory away as the values of a buffer, if these are the better part of it; the arena is empty then.
    pub fn take(&mut self, buffer: BufferId) -> Option<Buffer> {
        let (at, len) = (self.layout.offsets[buffer.index()], self.layout.sizes[buffer.index()]);
        let is_outside = self.outside.iter().any(|(outside, _)| *outside == buffer);
        if is_outside || len < WORTH_KEEPING || len * 2 < self.layout.len || cfg!(target_endian = "big") {
            return None;
        }
        let empty = Recycled { memory: Aligned::default(), spare: Arc::clone(&self.memory.spare) };
        let memory = std::mem::replace(&mut self.memory, empty);
        (self.layout, self.room, self.starts) = (Layout::default(), None, Starts::default());
        Some(Buffer::from_owner(Taken { memory, at, len }))
    }
}

/// Fewer values are copied.
const WORTH_KEEPING: usize = 1 << 12;

/// A result in the memory of an arena.
struct Taken {
    memory: Recycled,
    at: usize,
    len: usize,
}

impl AsRef<[u8]> for Taken {
    fn as_ref(&self) -> &[u8] {
        let values = &self.memory.memory[self.at..][..self.len];
        // SAFETY: Numbers are bytes, four each, of the weakest alignment.
        unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len() * 4) }
    }
}

/// Memory that goes back to the spare of its backend.
struct Recycled {
    memory: Aligned<f32>,
    spare: Arc<Spare>,
}

impl Drop for Recycled {
    fn drop(&mut self) {
        self.spare.give(std::mem::take(&mut self.memory));
    }
}

/// Memory of arenas that are gone.
#[derive(Default)]
pub(super) struct Spare(Mutex<Vec<Aligned<f32>>>);

/// So many pieces are kept at most, and so many values in all: 64 MiB.
const MAX_PIECES: usize = 8;
const MAX_SPARE: usize = 1 << 24;

impl Spare {
    /// Memory for `len` values, which may hold anything; `None` if there is not enough.
    fn take(&self, len: usize) -> Option<Aligned<f32>> {
        let mut pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |piece: &&mut Aligned<f32>| piece.len() >= len && piece.len() / 4 <= len;
        let smallest = pieces.iter_mut().filter(fits).min_by_key(|piece| piece.len());
        let Some(piece) = smallest.filter(|_| len >= WORTH_KEEPING) else {
            drop(pieces);
            return Aligned::try_zeros(len);
        };
        let mut taken = std::mem::take(piece);
        pieces.retain(|piece| !piece.is_empty());
        // What nobody has written must not matter; where it does, tests shall see it.
        if cfg!(debug_assertions) {
            taken.fill(f32::NAN);
        }
        Some(taken)
    }

    fn give(&self, memory: Aligned<f32>) {
        let mut pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: usize = pieces.iter().map(|piece| piece.len()).sum();
        if memory.len() >= WORTH_KEEPING && pieces.len() < MAX_PIECES && kept + memory.len() <= MAX_SPARE {
            pieces.push(memory);
        }
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
