//! Speculation: several tokens from one step of the model.
//!
//! ```text
//! guess what may follow; feed the last token and the guesses in one step; draw after each row, in order
//! keep the guesses as long as each is what was drawn; take the sequence back to the first that is not
//! ```
//!
//! A row has the same logits whatever rows are computed with it, and every token is drawn from them by the one sampler with its own random
//! numbers. So the text is not only of the same distribution as without guesses: it is the same text, and a guess decides about
//! nothing but speed.
//!
//! Guesses come from the sequence itself ([`Speculation::Lookup`]: what followed the last time that it said the same), or from a smaller
//! model with the same vocabulary ([`Speculation::Draft`]), which draws with a copy of the sampler, random numbers and constraint included.

use std::sync::{Arc, Mutex, PoisonError};

use tensorlogic::{Generator, Session};

use crate::constraint::{Choice, Chooser};
use crate::continuation::Continuation;
use crate::generation::GenerateError;

/// How many tokens are guessed at most, unless told otherwise.
pub const GUESSES: usize = 8;

/// The longest run of tokens that is looked for.
const LONGEST_RUN: usize = 8;

/// The shortest run whose continuation is worth a guess.
const SHORTEST_RUN: usize = 2;

/// Where guesses come from.
#[derive(Clone, Debug, Default)]
pub enum Speculation {
    /// Nothing is guessed.
    #[default]
    Off,
    /// What followed the last time that the sequence said the same.
    Lookup {
        /// How many tokens are guessed at most.
        most: usize,
    },
    /// What a smaller model says.
    Draft(Draft),
}

/// A smaller model with its sequence, which is kept from one generation to the next.
#[derive(Clone, Debug)]
pub struct Draft {
    session: Arc<Mutex<Session>>,
    most: usize,
}

/// What speculation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guessed {
    /// Tokens that were guessed.
    pub guessed: usize,
    /// Those of them that were drawn.
    pub accepted: usize,
}

impl Draft {
    /// A draft for a model. Up to `most` tokens are guessed for each step.
    ///
    /// # Errors
    /// When the two have other vocabularies.
    pub fn new(model: &Generator, draft: &Generator, most: usize) -> Result<Draft, GenerateError> {
        let differ = |what: String| {
            let (model, draft) = (model.model().name(), draft.model().name());
            GenerateError::OtherVocabulary(format!("`{draft}` can't be a draft for `{model}`: {what}"))
        };
        let (ours, theirs) = (model.vocabulary(), draft.vocabulary());
        if ours != theirs {
            return Err(differ(format!("it has {theirs} tokens where the model has {ours}")));
        }
        if let (Ok(ours), Ok(theirs)) = (model.model().tokenizer(), draft.model().tokenizer()) {
            let other =
                (0..model.vocabulary() as u32).find(|&id| ours.token_bytes(id) != theirs.token_bytes(id));
            if let Some(id) = other {
                let (ours, theirs) = (ours.token_display(id), theirs.token_display(id));
                return Err(differ(format!("token {id} is `{theirs}` where the model has `{ours}`")));
            }
        }
        Ok(Draft { session: Arc::new(Mutex::new(draft.session())), most })
    }
}

/// What guesses during one generation, and how far.
pub(crate) struct Guesser {
    speculation: Speculation,
    /// The copy of what chooses with which a draft draws.
    chooser: Option<Chooser>,
    /// The sequence so far, the token that is to be fed included.
    tokens: Vec<u32>,
    guesses: Vec<u32>,
    /// How many tokens are guessed next: more after guesses that were right, fewer after others.
    reach: usize,
    pub(crate) done: Guessed,
}

impl Guesser {
    pub(crate) fn new(speculation: &Speculation, prompt: &[u32]) -> Guesser {
        Guesser {
            speculation: speculation.clone(),
            chooser: None,
            tokens: if speculation.is_on() { prompt.to_vec() } else { Vec::new() },
            guesses: Vec::new(),
            reach: 2,
            done: Guessed::default(),
        }
    }

    /// Guesses up to `most` tokens after the sequence; `chooser` is what will draw.
    pub(crate) fn guess(&mut self, most: usize, chooser: &Chooser) -> Result<&[u32], GenerateError> {
        self.guesses.clear();
        let most = self.speculation.most().min(self.reach).min(most);
        match &self.speculation {
            _ if most == 0 => {}
            Speculation::Off => {}
            Speculation::Lookup { .. } => look_up(&self.tokens, most, &mut self.guesses),
            Speculation::Draft(draft) => {
                let own = self.chooser.get_or_insert_with(|| chooser.clone());
                own.imitate(chooser);
                let mut session = draft.session.lock().unwrap_or_else(PoisonError::into_inner);
                draw_ahead(&mut session, &self.tokens, own, most, &mut self.guesses)?;
            }
        }
        Ok(&self.guesses)
    }

    /// Says which token was drawn and not guessed.
    pub(crate) fn follow(&mut self, id: u32) {
        if self.speculation.is_on() {
            self.tokens.push(id);
        }
    }

    /// Feeds a token and the guesses after it and lets the continuation draw. Gives how many rows the sequence has more now, and the
    /// token that is to be fed next, if there is one.
    pub(crate) fn verify(
        &mut self,
        session: &mut Session,
        continuation: &mut Continuation,
        id: u32,
        mut show: impl FnMut(&str),
    ) -> Result<(usize, Option<u32>), GenerateError> {
        let rows: Vec<u32> = std::iter::once(id).chain(self.guesses.iter().copied()).collect();
        let mark = session.mark(rows.len());
        let (start, mut kept) = (session.len(), 0);
        // What was drawn after the last row that is kept.
        let mut drawn: Option<Result<Option<u32>, GenerateError>> = None;
        session.feed_all_logits(&rows, |row, logits| {
            if drawn.is_some() {
                return;
            }
            let next = continuation.next(logits, &mut show);
            kept = row + 1;
            if !matches!(next, Ok(Some(token)) if self.guesses.get(row) == Some(&token)) {
                drawn = Some(next);
            }
        })?;
        session.take_back(mark, start + kept)?;
        let right = kept - 1;
        self.tokens.extend_from_slice(&self.guesses[..right]);
        self.done.guessed += self.guesses.len();
        self.done.accepted += right;
        self.reach = if right == self.guesses.len() { 2 * self.reach } else { right.max(1) };
        self.reach = self.reach.min(self.speculation.most());
        Ok((kept, drawn.transpose()?.flatten()))
    }
}

impl Speculation {
    /// Whether something is guessed.
    pub fn is_on(&self) -> bool {
        self.most() > 0
    }

    fn most(&self) -> usize {
        match self {
            Speculation::Off => 0,
            Speculation::Lookup { most } => *most,
            Speculation::Draft(draft) => draft.most,
        }
    }
}

/// Guesses what followed the longest run of tokens with which the sequence ends and which it has had before; of several the last time.
fn look_up(tokens: &[u32], most: usize, out: &mut Vec<u32>) {
    let len = tokens.len();
    let run_before = |end: usize| {
        let pairs = tokens[..end].iter().rev().zip(tokens.iter().rev());
        pairs.take(LONGEST_RUN).take_while(|(a, b)| a == b).count()
    };
    let mut best = (SHORTEST_RUN - 1, 0);
    for end in (1..len).rev() {
        let run = run_before(end);
        if run > best.0 {
            best = (run, end);
            if run == LONGEST_RUN {
                break;
            }
        }
    }
    if best.1 > 0 {
        // Beyond the end of the sequence what was guessed goes on: a sequence that repeats itself is guessed to do so.
        let of = |i: usize, out: &Vec<u32>| tokens.get(i).copied().unwrap_or_else(|| out[i - len]);
        (0..most).for_each(|i| out.push(of(best.1 + i, out)));
    }
}

/// Lets a draft draw `most` tokens after the sequence, or as many as its context allows.
fn draw_ahead(
    session: &mut Session,
    tokens: &[u32],
    chooser: &mut Chooser,
    most: usize,
    out: &mut Vec<u32>,
) -> Result<(), GenerateError> {
    let context = session.generator().context_limit().unwrap_or(usize::MAX);
    let most = most.min(context.saturating_sub(tokens.len()));
    if most == 0 {
        return Ok(());
    }
    session.continue_with(tokens)?;
    let mark = session.mark(most);
    for step in 0..most {
        // The last guess need not be fed: nothing is drawn after it.
        if step > 0 {
            session.feed(&out[step - 1..step])?;
        }
        match chooser.choose(session.logits())? {
            Choice::Token(id) => out.push(id),
            // The text ends here.
            _ => break,
        }
    }
    // What was guessed may turn out to be right, so it stays unless it could not be taken back later.
    if mark.holds_a_fork() {
        session.take_back(mark, tokens.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guessed(tokens: &[u32], most: usize) -> Vec<u32> {
        let mut out = Vec::new();
        look_up(tokens, most, &mut out);
        out
    }

    #[test]
    fn the_longest_run_that_came_before_is_continued() {
        assert_eq!(guessed(&[1, 2, 3, 4, 9, 2, 3], 2), [4, 9]);
        // The longer run wins over the later one.
        assert_eq!(guessed(&[1, 2, 3, 4, 9, 2, 3, 7, 1, 2, 3], 1), [4]);
        assert_eq!(guessed(&[2, 3, 4, 9, 2, 3, 7, 5, 2, 3], 2), [7, 5], "of equal runs the last");
        assert!(guessed(&[1, 2, 3, 4], 3).is_empty());
        assert!(guessed(&[3, 1, 3], 3).is_empty(), "one token is no run");
        assert!(guessed(&[], 3).is_empty());
    }

    #[test]
    fn a_repetition_is_guessed_to_go_on() {
        assert_eq!(guessed(&[1, 2, 1, 2], 5), [1, 2, 1, 2, 1]);
        assert_eq!(guessed(&[7; 20], 4), [7; 4]);
    }
}
