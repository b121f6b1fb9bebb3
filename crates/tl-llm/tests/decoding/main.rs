//! Ways of continuing a prompt, held against the plain one and against exhaustive enumeration, on models that remember in different ways.

#[path = "../../../tl-cli/tests/support/made_up.rs"]
mod made_up;

mod beams;
#[cfg(feature = "constrain")]
mod constraints;
mod embeddings;
mod guards;
mod models;
mod samples;
mod speculation;
mod vocabulary;
