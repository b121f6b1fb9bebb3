//! Language models: catalogue and download, generation, samplers, conversations.
//!
//! ```text
//! catalogue ─ download ─→ file ─ tensorlogic ─→ generator, session ─ generation, sampling ─→ text
//!                                                                    conversation
//! ```

pub mod builtins;
pub mod catalogue;
pub mod conversation;
pub mod download;
pub mod generation;
pub mod sampling;

pub use conversation::{Conversation, ConversationError};
pub use generation::{
    Finish, GenerateError, GenerateOptions, Generation, Timing, generate, logprobs, prompt_ids,
};
