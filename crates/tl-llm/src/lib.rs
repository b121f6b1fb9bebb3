//! Language models: catalogue and download, generation, samplers, speculation, constraints, conversations.
//!
//! ```text
//! catalogue ─ download ─→ file ─ tensorlogic ─→ generator, session ─ generation, speculation ─ continuation, sampling ─→ text
//!                                                                    samples, beam, schedule, embedding, constraint
//!                                                                    conversation
//! ```

pub mod beam;
pub mod builtins;
pub mod catalogue;
pub mod constraint;
pub mod context;
pub mod continuation;
pub mod conversation;
pub mod download;
pub mod embedding;
pub mod generation;
pub mod prompt_cache;
pub mod samples;
pub mod sampling;
pub mod schedule;
pub mod speculation;
pub mod synth;

pub use beam::{Beam, BeamOptions, Beams, beam_search};
pub use constraint::{Constrained, Constraint, ConstraintError, Form, Grammars};
pub use context::ContextEnd;
pub use continuation::Continuation;
pub use conversation::{Conversation, ConversationError};
pub use embedding::{Pooling, embed};
pub use generation::{
    Finish, GenerateError, GenerateOptions, Generation, Timing, feed_prompt, generate, logprobs, prompt_ids,
};
pub use samples::{Sample, Samples, sample_many};
pub use schedule::{Answer, Batcher, Request, ScheduleOptions, Scheduler};
pub use speculation::{Draft, Speculation};

/// The guide's programs, compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/sequences.md")]
mod guide {}
