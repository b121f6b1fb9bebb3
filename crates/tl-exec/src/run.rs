//! What a backend is: it prepares a plan and runs steps of it.

use std::fmt;
use std::sync::Arc;

use tl_tensor::Buffer;

use crate::kernel::Plan;
use crate::state::State;

/// A processor that runs plans.
pub trait Backend: Send + Sync {
    /// Its name and what it was chosen for, as `cpu (avx2, 2 threads)`.
    fn name(&self) -> String;

    /// Makes a plan ready: constants in place, setup kernels run, memory reserved for one row.
    ///
    /// # Errors
    /// When the memory that the plan needs can't be had.
    fn prepare(&self, plan: Arc<Plan>) -> Result<Box<dyn Executable>, RunError>;
}

/// A plan that was made ready on a backend. It owns its arena; sequences own their states.
pub trait Executable: Send {
    /// The plan.
    fn plan(&self) -> &Plan;

    /// Makes room for steps of `rows` rows over sequences of up to `stream` positions, so that they allocate nothing.
    ///
    /// # Errors
    /// When there is not enough memory.
    fn reserve(&mut self, rows: usize, stream: usize) -> Result<(), RunError>;

    /// Runs one step: the new rows of each sequence, stacked in the order of `sequences`. A plan without a stream is given none.
    /// Appends to the stores of each state and advances it.
    ///
    /// `arguments[n]` holds argument `n` for all rows.
    ///
    /// # Errors
    /// When an argument has the wrong size, an index is outside of its table, or somebody asked the backend to stop. The states are then as
    /// they were before.
    fn run(&mut self, sequences: &mut [Sequence<'_>], arguments: &[&[f32]]) -> Result<(), RunError>;

    /// A result of the last step, in the buffer's own order: the wanted rows of all sequences, stacked.
    fn output(&self, number: usize) -> &[f32];

    /// Takes a result of the last step out, so that it need not be copied: as little-endian `f32`, as many elements as the result has at
    /// least. Nothing else may be asked of the executable afterwards. `None`, and all stays as it was, where a copy is better.
    fn take_output(&mut self, number: usize) -> Option<Buffer> {
        _ = number;
        None
    }

    /// The time that each step of the plan has taken since the last call, in seconds, by position in `plan().steps`; empty
    /// unless asked for by [`Executable::trace`].
    fn times(&mut self) -> Vec<f64>;

    /// Turns the measurement of times on or off.
    fn trace(&mut self, on: bool);
}

/// A sequence in a step.
#[derive(Debug)]
pub struct Sequence<'a> {
    /// What it remembers.
    pub state: &'a mut State,
    /// How many rows it adds.
    pub rows: usize,
    /// Which of them have results.
    pub wanted: Wanted,
}

/// Which rows of a sequence have results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// None.
    None,
    /// The last.
    Last,
    /// All.
    All,
}

impl Wanted {
    /// How many of `rows` rows.
    pub fn count(self, rows: usize) -> usize {
        match self {
            Wanted::None => 0,
            Wanted::Last => rows.min(1),
            Wanted::All => rows,
        }
    }
}

/// Why a plan could not be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RunError {
    /// An argument has another number of elements than its axes ask for.
    ArgumentSize {
        /// Which argument.
        argument: usize,
        /// How many elements it must have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// The arena would need more memory than there is.
    Memory {
        /// How many bytes.
        bytes: usize,
    },
    /// Somebody asked the backend to stop.
    Interrupted,
}

impl std::error::Error for RunError {}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::ArgumentSize { argument, expected, found } => {
                write!(f, "argument {argument} has {found} elements where its axes ask for {expected}")
            }
            RunError::Memory { bytes } => write!(f, "{bytes} bytes of working memory can't be had"),
            RunError::Interrupted => f.write_str("interrupted"),
        }
    }
}
