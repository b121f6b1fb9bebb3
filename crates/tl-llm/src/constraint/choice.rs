//! The choice of a token under a constraint: the mask on the logits, and what became of the text.

use std::sync::Arc;

use tl_formats::tokenizer::Tokenizer;

use super::{Constrained, Constraint, ConstraintError, TokenMask};
use crate::generation::{Finish, GenerateError};
use crate::sampling::{SampleError, Sampler};

/// A constraint at work on one text, with the tokens that may come next.
#[derive(Debug)]
pub(crate) struct Guide {
    constraint: Box<dyn Constraint>,
    /// The tokens that end a text.
    ends: Arc<[u32]>,
    mask: TokenMask,
    /// Whether the mask is that of what may come next.
    known: bool,
}

/// What a text may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// This token came.
    Token(u32),
    /// Nothing may follow: the text is whole.
    Complete,
    /// No token fits, and the text is not whole.
    Stuck,
}

/// What chooses the tokens of one text: a sampler, and a constraint where there is one.
#[derive(Clone, Debug)]
pub(crate) struct Chooser {
    pub sampler: Sampler,
    guide: Option<Guide>,
    masked: Vec<f32>,
}

impl Clone for Guide {
    fn clone(&self) -> Self {
        let (ends, mask) = (Arc::clone(&self.ends), self.mask.clone());
        Guide { constraint: self.constraint.fork(), ends, mask, known: self.known }
    }
}

impl Guide {
    /// Begins a text. With `ignore_end` no token ends it.
    pub fn new(constrained: &Constrained, tokenizer: Option<&Arc<Tokenizer>>, ignore_end: bool) -> Guide {
        let ends = tokenizer.filter(|_| !ignore_end).into_iter();
        let ends = ends.flat_map(|t| t.end_of_generation().iter().copied()).collect();
        Guide { constraint: constrained.0.fork(), ends, mask: TokenMask::default(), known: false }
    }

    /// What may come next; `None` is any of [`Guide::may_come`].
    pub fn look(&mut self) -> Result<Option<Choice>, ConstraintError> {
        if self.is_complete() {
            return Ok(Some(Choice::Complete));
        }
        if !self.known {
            self.constraint.allowed(&mut self.mask)?;
            let (accepts, empty) = (self.constraint.accepts(), self.mask.is_empty());
            if accepts {
                self.ends.iter().for_each(|&id| self.mask.insert(id));
            }
            if empty && accepts {
                return Ok(Some(Choice::Complete));
            }
            self.known = !self.mask.is_empty();
        }
        Ok((!self.known).then_some(Choice::Stuck))
    }

    /// Whether a token may come next, after [`Guide::look`].
    pub fn may_come(&self, id: u32) -> bool {
        self.mask.has(id)
    }

    /// Takes a token that came. One that ends the text changes nothing.
    pub fn advance(&mut self, id: u32) -> Result<(), ConstraintError> {
        if self.ends.contains(&id) {
            return Ok(());
        }
        self.known = false;
        self.constraint.advance(id)
    }

    /// Whether the text is whole and nothing may follow.
    pub fn is_complete(&self) -> bool {
        self.constraint.is_complete()
    }
}

impl Chooser {
    pub fn new(sampler: Sampler, guide: Option<Guide>) -> Chooser {
        Chooser { sampler, guide, masked: Vec::new() }
    }

    /// Chooses by logits, shape `[vocabulary]`.
    pub fn choose(&mut self, logits: &[f32]) -> Result<Choice, GenerateError> {
        let Some(guide) = &mut self.guide else { return Ok(Choice::Token(self.sampler.sample(logits)?)) };
        if let Some(end) = guide.look()? {
            return Ok(end);
        }
        self.masked.clear();
        // A logit that is none stays, so that it is found and told.
        let masked = (0..).zip(logits).map(|(id, &logit)| {
            if guide.may_come(id) || logit.is_nan() || logit == f32::INFINITY {
                logit
            } else {
                f32::NEG_INFINITY
            }
        });
        self.masked.extend(masked);
        let id = self.sampler.sample(&self.masked).map_err(|error| match error {
            SampleError::NothingLeft => no_token_fits(logits),
            other => other.into(),
        })?;
        guide.advance(id)?;
        Ok(Choice::Token(id))
    }

    /// Whether the text is whole and nothing may follow.
    pub fn is_complete(&self) -> bool {
        self.guide.as_ref().is_some_and(Guide::is_complete)
    }

    /// Becomes what another is that was made for the same text.
    pub fn imitate(&mut self, other: &Chooser) {
        self.sampler.imitate(&other.sampler);
        self.guide.clone_from(&other.guide);
    }
}

/// The error where every token that a constraint allows is impossible by the logits.
fn no_token_fits(logits: &[f32]) -> GenerateError {
    match logits.iter().any(|&logit| logit > f32::NEG_INFINITY) {
        true => ConstraintError::Stuck.into(),
        false => SampleError::NothingLeft.into(),
    }
}

impl Choice {
    /// Why the text ends, where it does.
    pub fn finish(self) -> Option<Finish> {
        match self {
            Choice::Token(_) => None,
            Choice::Complete => Some(Finish::Complete),
            Choice::Stuck => Some(Finish::Stuck),
        }
    }
}
