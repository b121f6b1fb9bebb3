//! What can go wrong, in two kinds: the user's program (diagnostics with spans) and the world (files, models, memory).

use std::fmt;

use thiserror::Error;
use tl_exec::run::RunError;
use tl_syntax::render::{Style, render};
use tl_syntax::{Diagnostic, SourceMap};

/// Why something could not be done.
#[derive(Debug, Error)]
pub enum Error {
    /// The program is not accepted, or went wrong while it ran.
    #[error("{0}")]
    Program(Diagnostics),
    /// A file of a model can't be read.
    #[error("{0}")]
    Format(#[from] tl_formats::Error),
    /// A model's vocabulary can't be used.
    #[error("{0}")]
    Tokenizer(#[from] tl_formats::tokenizer::TokenizerError),
    /// A text can't be tokenized.
    #[error("{0}")]
    Encode(#[from] tl_formats::tokenizer::EncodeError),
    /// A chat template can't be used.
    #[error("{0}")]
    Template(#[from] tl_formats::chat_template::TemplateError),
    /// A model doesn't fit the program that is to run it, or lacks what was asked of it.
    #[error("{0}")]
    Model(String),
    /// A sequence would become longer than the model's context.
    #[error("the sequence would have {asked} tokens, but the model's context has {limit}")]
    Context {
        /// How many tokens there may be.
        limit: usize,
        /// How many there would be.
        asked: usize,
    },
    /// A token id that the vocabulary does not have.
    #[error("token {id} is not in the vocabulary of {size} tokens")]
    Token {
        /// The id.
        id: u32,
        /// How many tokens there are.
        size: usize,
    },
    /// A step was given a sequence of another generator.
    #[error("a sequence belongs to the generator that made it; another one can't feed it")]
    OtherGenerator,
    /// Logits came out as NaN or infinity.
    #[error(
        "the logits hold {count} values that are NaN or infinite, the first at {first}; check the file with `tl inspect FILE --check`"
    )]
    BadLogits {
        /// How many.
        count: usize,
        /// Position of the first.
        first: usize,
    },
    /// Rows that a rewind needs are gone.
    #[error(
        "the sequence can't go back to {len} tokens: a window of the model has dropped rows that it would need"
    )]
    Rewind {
        /// Where it was to go.
        len: usize,
    },
    /// A value is too large to be computed as a whole.
    #[error("this takes {bytes} bytes of memory; at most {limit} are possible")]
    TooLarge {
        /// How many bytes of working memory there would be.
        bytes: usize,
        /// How many there may be.
        limit: usize,
        /// The expression that takes most of them.
        span: tl_syntax::Span,
    },
    /// A recursion to a fixpoint does not come to an end.
    #[error("`{name}` has not settled after {rounds} rounds: an element still changes by {change}")]
    NotSettled {
        /// The tensors that need each other.
        name: String,
        /// How many rounds there were.
        rounds: usize,
        /// The largest change of an element in the last.
        change: f32,
        /// Where the recursion is written.
        span: tl_syntax::Span,
    },
    /// Somebody asked for it to stop.
    #[error("interrupted")]
    Interrupted,
    /// A plan could not be run.
    #[error("{0}")]
    Run(#[from] RunError),
    /// A graph could not be planned: an operation that no kernel serves.
    #[error("{0}")]
    Plan(#[from] tl_exec::plan::PlanError),
    /// The reference engine was asked to run a plan.
    #[error("the scalar reference runs no plans; use an engine with a backend")]
    NoBackend,
}

/// Findings about a program with the sources that they point into.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    /// The texts.
    pub sources: SourceMap,
    /// The findings, in the order in which they were made.
    pub list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Whether one of them keeps the program from being accepted.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(Diagnostic::is_error)
    }

    /// The findings as text for a terminal: source lines with the places underlined, coloured if asked for.
    pub fn render(&self, color: bool) -> String {
        let style = if color { Style::Ansi } else { Style::Plain };
        self.list.iter().map(|d| render(d, &self.sources, style)).collect()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}
