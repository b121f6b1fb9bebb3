//! Constraints: which tokens may come next, so that a text has a form: that of a JSON schema, a regular expression or a grammar.
//!
//! ```text
//! mask ← what may come next; logits outside it are −∞; the text may end if the constraint accepts it
//! draw; advance(token); nothing may follow: the text is complete
//! ```
//!
//! A [`Constraint`] is the state of one text. It is a value: a beam, a sample and a draft fork it. What speaks of forms is behind it
//! ([`Grammars`], with the feature `constrain`), and anything else that can say which tokens may come next may stand there.
//!
//! Invariant: tokens that end a text are none of a mask. Whether they may come follows from [`Constraint::accepts`].

pub(crate) mod builtins;
mod choice;
#[cfg(feature = "constrain")]
mod guidance;

use std::fmt;
use std::sync::Arc;

use tl_formats::tokenizer::Tokenizer;

pub(crate) use choice::{Choice, Chooser, Guide};

/// A set of tokens of a vocabulary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenMask {
    bits: Vec<u32>,
}

impl TokenMask {
    /// Makes it the set of these bits: token `i` is bit `i % 32` of word `i / 32`.
    pub fn assign(&mut self, words: &[u32]) {
        self.bits.clear();
        self.bits.extend_from_slice(words);
    }

    /// Makes it the empty set.
    pub fn clear(&mut self) {
        self.bits.clear();
    }

    /// Puts a token in.
    pub fn insert(&mut self, id: u32) {
        let word = id as usize / 32;
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= 1 << (id % 32);
    }

    /// Takes a token out.
    pub fn remove(&mut self, id: u32) {
        if let Some(word) = self.bits.get_mut(id as usize / 32) {
            *word &= !(1 << (id % 32));
        }
    }

    /// Whether a token is in.
    pub fn has(&self, id: u32) -> bool {
        self.bits.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
    }

    /// Whether none is in.
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|&word| word == 0)
    }
}

/// What says which tokens may come next in one text.
pub trait Constraint: fmt::Debug + Send + Sync {
    /// Makes `mask` the set of tokens that may come next, those that end a text left out.
    ///
    /// # Errors
    /// When that can't be found out within the limits.
    fn allowed(&mut self, mask: &mut TokenMask) -> Result<(), ConstraintError>;

    /// Whether the text so far is whole, so that it may end. Asked after [`allowed`](Constraint::allowed).
    fn accepts(&mut self) -> bool;

    /// Takes a token that came, one of those that may.
    ///
    /// # Errors
    /// When it may not come.
    fn advance(&mut self, id: u32) -> Result<(), ConstraintError>;

    /// Whether the text is whole and nothing may follow.
    fn is_complete(&self) -> bool;

    /// Another of the same state.
    fn fork(&self) -> Box<dyn Constraint>;
}

/// A constraint that texts begin with; cloning it forks it.
#[derive(Debug)]
pub struct Constrained(pub Box<dyn Constraint>);

impl Clone for Constrained {
    fn clone(&self) -> Self {
        Constrained(self.0.fork())
    }
}

/// Why there is no constraint, or it can't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// The description of the form is wrong.
    #[error("the {kind} is wrong: {message}")]
    Malformed {
        /// What it is: `JSON schema`, `regular expression`, `grammar`.
        kind: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// It takes more work than is allowed.
    #[error("the constraint is too complex to follow: {0}")]
    TooComplex(String),
    /// The vocabulary can't be used.
    #[error("the vocabulary can't be constrained: {0}")]
    Vocabulary(String),
    /// A token came that may not.
    #[error("token {0} may not come here")]
    Forbidden(u32),
    /// No text of the form can be written in these tokens.
    #[error("no token of the vocabulary can go on as the constraint asks")]
    Stuck,
    /// The program has no part for it.
    #[error(
        "this program was built without JSON schemas, regular expressions and grammars; build it with the feature `constrain`, which is on by default"
    )]
    NotBuilt,
}

/// The form of a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// A JSON value that a schema describes.
    JsonSchema(String),
    /// A text that a regular expression matches as a whole, in the syntax of the crate `regex`.
    Regex(String),
    /// A text of a context-free grammar, in Lark's notation, with the rule `start`.
    Grammar(String),
}

impl Form {
    /// What it is, as an error names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Form::JsonSchema(_) => "JSON schema",
            Form::Regex(_) => "regular expression",
            Form::Grammar(_) => "grammar",
        }
    }

    /// What describes it.
    pub fn text(&self) -> &str {
        match self {
            Form::JsonSchema(text) | Form::Regex(text) | Form::Grammar(text) => text,
        }
    }
}

/// The longest description of a form that is read: 1 MiB.
pub const LONGEST_FORM: usize = 1 << 20;

/// What makes constraints of forms, for one vocabulary: the tokens are sorted once and shared by all.
#[derive(Clone)]
pub struct Grammars {
    #[cfg(feature = "constrain")]
    factory: Arc<guidance::Factory>,
}

impl fmt::Debug for Grammars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grammars")
    }
}

impl Grammars {
    /// For the tokens of a tokenizer; `vocabulary` is how many logits the model has.
    ///
    /// # Errors
    /// When the program was built without the feature `constrain`, or the vocabulary is too large (some four million bytes of different
    /// beginnings).
    pub fn new(tokenizer: &Arc<Tokenizer>, vocabulary: usize) -> Result<Grammars, ConstraintError> {
        #[cfg(feature = "constrain")]
        return Ok(Grammars { factory: Arc::new(guidance::Factory::new(tokenizer, vocabulary)?) });
        #[cfg(not(feature = "constrain"))]
        {
            let _ = (tokenizer, vocabulary);
            Err(ConstraintError::NotBuilt)
        }
    }

    /// The constraint that texts of a form begin with.
    ///
    /// # Errors
    /// When the form is longer than [`LONGEST_FORM`], is malformed, or goes beyond the limits of complexity.
    pub fn constraint(&self, form: &Form) -> Result<Constrained, ConstraintError> {
        if form.text().len() > LONGEST_FORM {
            let message = format!("it has {} bytes, and at most {LONGEST_FORM} are read", form.text().len());
            return Err(ConstraintError::Malformed { kind: form.kind(), message });
        }
        #[cfg(feature = "constrain")]
        return Ok(Constrained(Box::new(self.factory.begin(form)?)));
        #[cfg(not(feature = "constrain"))]
        Err(ConstraintError::NotBuilt)
    }
}
