//! A session: one sequence of tokens and what a generator remembers of it.
//!
//! Feeding tokens runs steps of the generator's plan over the session's state. A long prompt runs in chunks; the result
//! depends neither on how it was cut nor on the number of threads. A session is a value: forking it shares the remembered
//! rows, truncating it is a rewind.
//!
//! Invariant: after [`Session::reserve`], feeding one token at a time allocates nothing until the reserve is used up.

use tl_exec::state::State;

pub use tl_exec::state::PAGE_ROWS;

use crate::error::Error;
use crate::generator::Generator;
use crate::step::{Feed, Wanted};

/// Rows of a step of a prompt. More rows share each read of the weights; this many make that cost vanish.
const PROMPT_ROWS: usize = 256;

/// Rows of a step whose logits are all wanted: each has one value a token of the vocabulary.
const SCORED_ROWS: usize = 64;

/// A place in a sequence that [`Session::take_back`] can return to.
#[derive(Debug)]
pub struct Mark {
    len: usize,
    /// The sequence as it was there, where a window may drop rows before the return.
    kept: Option<Session>,
}

impl Mark {
    /// Whether the rows of the place would not last, so that the mark keeps them.
    pub fn holds_a_fork(&self) -> bool {
        self.kept.is_some()
    }
}

/// One sequence of a generator.
pub struct Session {
    generator: Generator,
    state: State,
    tokens: Vec<u32>,
    /// `[wanted, vocabulary]`: what the last tokens that were fed make of the next one; empty before any.
    logits: Vec<f32>,
}

impl Session {
    /// The empty sequence of a generator.
    pub(crate) fn new(generator: Generator) -> Session {
        let state = State::metered(generator.plan(), generator.meter());
        let logits = Vec::with_capacity(generator.vocabulary());
        Session { generator, state, tokens: Vec::new(), logits }
    }

    /// The generator.
    pub fn generator(&self) -> &Generator {
        &self.generator
    }

    /// How many tokens the sequence has.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The tokens that were fed.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The logits of the token after the last one, shape `[vocabulary]`; empty if nothing was fed since the session began or was
    /// taken back, or the last step wanted none.
    pub fn logits(&self) -> &[f32] {
        &self.logits[self.logits.len().saturating_sub(self.generator.vocabulary())..]
    }

    /// All logits that the last step wanted of this sequence, shape `[wanted, vocabulary]`, the last row being [`Session::logits`].
    pub fn all_logits(&self) -> &[f32] {
        &self.logits
    }

    /// Bytes of the remembered rows, those that a fork shares included. [`Generator::remembered_bytes`] counts shared ones once.
    pub fn bytes(&self) -> usize {
        self.state.bytes()
    }

    /// Sets memory aside for `tokens` more tokens, fed one at a time.
    ///
    /// # Errors
    /// When there is not enough.
    pub fn reserve(&mut self, tokens: usize) -> Result<(), Error> {
        self.state.reserve(tokens);
        self.tokens.reserve(tokens);
        self.logits.reserve(self.generator.vocabulary().saturating_sub(self.logits.len()));
        let stream = self.len() + tokens;
        self.generator.reserve(1, stream)
    }

    /// Appends tokens and gives the logits after the last of them, shape `[vocabulary]`. No tokens give the logits that
    /// there are.
    ///
    /// # Errors
    /// When a token is not in the vocabulary, the context is full, or memory can't be had; the sequence is then as it was.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<&[f32], Error> {
        self.check(tokens)?;
        let start = self.len();
        let steps = tokens.len().div_ceil(PROMPT_ROWS);
        for (step, chunk) in tokens.chunks(PROMPT_ROWS).enumerate() {
            let wanted = if step + 1 == steps { Wanted::Last } else { Wanted::None };
            self.step(chunk, wanted, start)?;
        }
        Ok(self.logits())
    }

    /// Appends tokens and shows the logits after each of them: `see(i, logits)` for `tokens[i]`, in order.
    ///
    /// # Errors
    /// As for [`Session::feed`]; `see` may have been called for some tokens then.
    pub fn feed_all_logits(
        &mut self,
        tokens: &[u32],
        mut see: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        self.check(tokens)?;
        let (start, vocabulary) = (self.len(), self.generator.vocabulary());
        for (step, chunk) in tokens.chunks(SCORED_ROWS).enumerate() {
            self.step(chunk, Wanted::All, start)?;
            for (row, logits) in self.logits.chunks_exact(vocabulary).enumerate() {
                see(step * SCORED_ROWS + row, logits);
            }
        }
        self.logits.drain(..self.logits.len().saturating_sub(vocabulary));
        self.logits.shrink_to(vocabulary);
        Ok(())
    }

    /// Makes the sequence these tokens: keeps what it has in common with them and feeds the rest. Gives the logits after the last one, which
    /// is fed again unless they are there. This is how a chat keeps its past between turns.
    ///
    /// # Errors
    /// As for [`Session::feed`].
    pub fn continue_with(&mut self, tokens: &[u32]) -> Result<&[f32], Error> {
        let shared = self.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        if shared == tokens.len() && shared == self.len() && !self.logits.is_empty() {
            return Ok(self.logits());
        }
        let keep = if shared == tokens.len() { shared.saturating_sub(1) } else { shared };
        if keep < self.len() && self.truncate(keep).is_err() {
            // A window has dropped rows: begin again.
            self.truncate(0)?;
        }
        let from = self.len();
        self.feed(&tokens[from..])
    }

    /// Takes the sequence back to its first `len` tokens; its logits are gone then, unless it is that long already.
    ///
    /// # Errors
    /// When a window of the model has dropped rows that would be needed, or the sequence is shorter; nothing changes then.
    pub fn truncate(&mut self, len: usize) -> Result<(), Error> {
        if len == self.len() {
            return Ok(());
        }
        if len == 0 {
            self.state = State::metered(self.generator.plan(), self.generator.meter());
        } else if !self.state.truncate(len) {
            return Err(Error::Rewind { len });
        }
        self.tokens.truncate(len);
        self.logits.clear();
        Ok(())
    }

    /// Marks the present place, to be returned to after up to `tokens` more tokens. Costs nothing but where a window is about to drop rows
    /// that the return needs: then the mark holds a fork.
    pub fn mark(&self, tokens: usize) -> Mark {
        let kept = (!self.state.can_return_after(tokens)).then(|| self.fork());
        Mark { len: self.len(), kept }
    }

    /// Takes the sequence back to its first `len` tokens, at least those that it had at the mark. Its logits are gone then, unless it is that
    /// long already.
    ///
    /// # Errors
    /// When more tokens were fed than the mark was made for and a window has dropped rows; when memory can't be had.
    pub fn take_back(&mut self, mark: Mark, len: usize) -> Result<(), Error> {
        debug_assert!(mark.len <= len && len <= self.len(), "the place lies between the mark and the end");
        match (self.truncate(len), mark.kept) {
            (Err(_), Some(kept)) => {
                let again = self.tokens[mark.len..len].to_vec();
                *self = kept;
                self.feed(&again)?;
                Ok(())
            }
            (result, _) => result,
        }
    }

    /// Whether [`Session::truncate`] to `len` tokens is possible.
    pub fn can_truncate(&self, len: usize) -> bool {
        len == self.len() || len == 0 || self.state.can_truncate(len)
    }

    /// At most so many bytes are taken by feeding `tokens` more tokens in steps of up to `step`, beyond those that there are.
    pub fn growth(&self, tokens: usize, step: usize) -> usize {
        self.state.growth(tokens, step)
    }

    /// A second sequence of this one's first `len` tokens, without logits; what is remembered of them is shared. `None` where a window of the
    /// model has dropped rows that would be needed.
    #[must_use]
    pub fn fork_at(&self, len: usize) -> Option<Session> {
        if len > self.len() || !self.can_truncate(len) {
            return None;
        }
        let mut state = self.state.clone();
        if len < self.len() && !state.truncate(len) {
            return Some(Session::new(self.generator.clone()));
        }
        let tokens = self.tokens[..len].to_vec();
        Some(Session { generator: self.generator.clone(), state, tokens, logits: Vec::new() })
    }

    /// A second sequence that begins as this one; what is remembered so far is shared.
    #[must_use]
    pub fn fork(&self) -> Session {
        Session {
            generator: self.generator.clone(),
            state: self.state.clone(),
            tokens: self.tokens.clone(),
            logits: self.logits.clone(),
        }
    }

    /// Becomes a sequence that was read.
    pub(crate) fn resume(&mut self, state: State, tokens: Vec<u32>, logits: Vec<f32>) {
        (self.state, self.tokens, self.logits) = (state, tokens, logits);
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// Refuses tokens that can't be appended.
    pub(crate) fn check(&self, tokens: &[u32]) -> Result<(), Error> {
        let size = self.generator.vocabulary();
        if let Some(&id) = tokens.iter().find(|&&id| id as usize >= size) {
            return Err(Error::Token { id, size });
        }
        let asked = self.len() + tokens.len();
        match self.generator.context_limit() {
            Some(limit) if asked > limit => Err(Error::Context { limit, asked }),
            _ => Ok(()),
        }
    }

    /// Takes note of a step that appended these tokens and wanted these logits.
    pub(crate) fn stepped(&mut self, tokens: &[u32], logits: &[f32]) {
        self.tokens.extend_from_slice(tokens);
        self.logits.clear();
        self.logits.extend_from_slice(logits);
    }

    /// Runs one step of this sequence alone. On failure, goes back to `start` tokens.
    fn step(&mut self, tokens: &[u32], wanted: Wanted, start: usize) -> Result<(), Error> {
        let generator = self.generator.clone();
        if let Err(error) = generator.step(&mut [Feed { session: self, tokens, wanted }]) {
            // The earlier steps of this call are taken back; where a window forbids that, the sequence begins again.
            if self.truncate(start).is_err() {
                self.truncate(0)?;
            }
            return Err(error);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({} tokens)", self.len())
    }
}
