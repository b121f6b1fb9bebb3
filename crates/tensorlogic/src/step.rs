//! A step: new tokens of any number of sequences, computed together.
//!
//! The rows of all sequences are stacked, so that each weight is read once for all of them; what can't be stacked, the backend runs sequence by
//! sequence. Nothing here schedules: who is in a step, and with how many tokens, is the caller's choice.
//!
//! Invariant: what a sequence gets out of a step depends on nothing that other sequences of the step are given.

use tl_exec::run::{Executable, Sequence};

pub use tl_exec::run::Wanted;

use crate::error::Error;
use crate::generator::Generator;
use crate::session::Session;

/// The part of one sequence in a step.
#[derive(Debug)]
pub struct Feed<'a> {
    /// The sequence.
    pub session: &'a mut Session,
    /// What is appended to it. With no tokens the sequence stays as it is, its logits included.
    pub tokens: &'a [u32],
    /// After which of these tokens logits are wanted: none of them, the last, or all. [`Session::logits`] and
    /// [`Session::all_logits`] give them.
    pub wanted: Wanted,
}

impl<'a> Feed<'a> {
    /// Tokens with the logits after the last of them.
    pub fn last(session: &'a mut Session, tokens: &'a [u32]) -> Self {
        Self { session, tokens, wanted: Wanted::Last }
    }
}

/// What runs a generator's steps, with the memory that a step needs and the next one uses again.
pub(crate) struct Stepper {
    pub executable: Box<dyn Executable>,
    /// The tokens of a step as numbers.
    inputs: Vec<f32>,
    /// Empty between steps; kept for its memory.
    sequences: Vec<Sequence<'static>>,
}

impl Stepper {
    pub fn new(executable: Box<dyn Executable>) -> Self {
        Self { executable, inputs: Vec::new(), sequences: Vec::new() }
    }

    /// Makes room for steps of `rows` rows, see [`Executable::reserve`].
    pub fn reserve(&mut self, rows: usize, stream: usize) -> Result<(), Error> {
        self.inputs.reserve(rows.saturating_sub(self.inputs.len()));
        self.sequences.reserve(rows);
        Ok(self.executable.reserve(rows, stream)?)
    }

    fn run(&mut self, feeds: &mut [Feed<'_>]) -> Result<(), Error> {
        self.inputs.clear();
        self.inputs.extend(feeds.iter().flat_map(|feed| feed.tokens).map(|&id| id as f32));
        let mut sequences = emptied(std::mem::take(&mut self.sequences));
        sequences.extend(feeds.iter_mut().filter(|feed| !feed.tokens.is_empty()).map(|feed| Sequence {
            rows: feed.tokens.len(),
            wanted: feed.wanted,
            state: feed.session.state_mut(),
        }));
        let done = match sequences.is_empty() {
            true => Ok(()),
            false => self.executable.run(&mut sequences, &[&self.inputs]),
        };
        self.sequences = emptied(sequences);
        Ok(done?)
    }
}

/// The same memory as an empty list of other sequences: collecting in place keeps the allocation.
fn emptied<'b>(mut sequences: Vec<Sequence<'_>>) -> Vec<Sequence<'b>> {
    sequences.clear();
    sequences.into_iter().map(|_| unreachable!("the list was emptied")).collect()
}

impl Generator {
    /// Runs one step: appends to each sequence its tokens and leaves in it the logits that were wanted. The rows of all sequences are
    /// computed together. Working memory grows with the number of rows, so long prompts are best fed in pieces of some hundred tokens
    /// ([`Session::feed`] does so for one sequence).
    ///
    /// ```
    /// # fn next_tokens(generator: &tensorlogic::Generator) -> Result<(), tensorlogic::Error> {
    /// use tensorlogic::Feed;
    ///
    /// let (mut one, mut other) = (generator.session(), generator.session());
    /// generator.step(&mut [Feed::last(&mut one, &[1, 2, 3]), Feed::last(&mut other, &[4])])?;
    /// assert_eq!((one.len(), other.len()), (3, 1));
    /// assert_eq!(one.logits().len(), generator.vocabulary());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When a token is not in the vocabulary, a sequence is of another generator or would be longer than the context, or memory can't
    /// be had. All sequences are then as they were.
    pub fn step(&self, feeds: &mut [Feed<'_>]) -> Result<(), Error> {
        for feed in &*feeds {
            if !feed.session.generator().is(self) {
                return Err(Error::OtherGenerator);
            }
            feed.session.check(feed.tokens)?;
        }
        let mut stepper = self.stepper();
        stepper.run(feeds)?;
        let mut logits = stepper.executable.output(self.logits_output());
        for feed in feeds.iter_mut().filter(|feed| !feed.tokens.is_empty()) {
            let rows = feed.wanted.count(feed.tokens.len());
            let (own, rest) = logits.split_at(rows * self.vocabulary());
            feed.session.stepped(feed.tokens, own);
            logits = rest;
        }
        Ok(())
    }

    /// Sets working memory aside for steps of up to `rows` rows over sequences of up to `stream` tokens, so that they allocate nothing.
    ///
    /// # Errors
    /// When there is not enough.
    pub fn reserve(&self, rows: usize, stream: usize) -> Result<(), Error> {
        self.stepper().reserve(rows, stream)
    }
}
