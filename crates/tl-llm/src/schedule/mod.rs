//! Many requests on one model: continuous batching, shared prefixes, a limit of memory.
//!
//! A [`Batcher`] runs steps on the calling thread; a [`Scheduler`] has a thread of its own and takes requests from any other. Both give an [`Answer`] for
//! each [`Request`].
//!
//! Invariant: the text of a request depends on its prompt, its options and its seed, not on what else is running.

mod answer;
mod batcher;
mod job;
mod prefixes;
mod scheduler;

pub use answer::{Answer, Request};
pub use batcher::{Batcher, Counts, ScheduleOptions};
pub use scheduler::Scheduler;
