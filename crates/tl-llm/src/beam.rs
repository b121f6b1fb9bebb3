//! Beam search: the most probable continuations of a prompt, several followed at once.
//!
//! ```text
//! live ← {prompt}
//! loop: all live sequences in one step; every extension of every one, in order of probability:
//!           one that ends the text is finished; the first `width` that do not are live from now on
//!       until nothing live can beat the worst of `width` that are finished, or the limit is reached
//! ```
//!
//! A sequence that lives on in several extensions is forked: what it remembers is shared, whatever the model remembers.
//!
//! The score of a continuation is `log p / n^a`: its log-probability under the model (natural logarithm), its number of tokens with the one
//! that ends it, and the length penalty. With `a = 0` the most probable continuation is searched for, which favours short ones; `a = 1` compares
//! the mean of the tokens' log-probabilities (Wu et al., "Google's Neural Machine Translation System", 2016, arXiv 1609.08144, has a relative of it).
//!
//! Invariant: nothing is drawn. Of equal probabilities the earlier sequence and the lower id come first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tensorlogic::{Feed, Session};
use tl_formats::tokenizer::Tokenizer;

use crate::constraint::{Choice, ConstraintError, Guide};
use crate::context::ContextEnd;
use crate::continuation::{Transcript, room_after};
use crate::generation::{Finish, GenerateError, GenerateOptions, Timing, feed_prompt};
use crate::sampling::{Candidates, ParamError, stages};

/// How a beam search goes.
#[derive(Clone, Debug)]
pub struct BeamOptions {
    /// How many sequences are followed, at least 1.
    pub width: usize,
    /// The exponent of the length in the score.
    pub length_penalty: f64,
}

impl Default for BeamOptions {
    fn default() -> Self {
        BeamOptions { width: 4, length_penalty: 1.0 }
    }
}

/// A continuation that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Beam {
    /// Its tokens; one that ended the text is not among them.
    pub ids: Vec<u32>,
    /// Their text, up to a stop string.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// The logarithm of its probability, the token that ended it included.
    pub log_probability: f64,
    /// What the search compared.
    pub score: f64,
}

/// What a beam search found.
#[derive(Clone, Debug)]
pub struct Beams {
    /// Up to `width` continuations, best score first.
    pub beams: Vec<Beam>,
    /// Tokens of the prompt that were fed, and the time that it took.
    pub prefill: Timing,
    /// Tokens that were fed after it, of all sequences, and the time that it took.
    pub decode: Timing,
}

/// A sequence that is being followed.
struct Live {
    session: Session,
    ids: Vec<u32>,
    transcript: Transcript,
    guide: Option<Guide>,
    log_probability: f64,
}

/// A live sequence made longer by one token.
#[derive(Clone, Copy)]
struct Extension {
    parent: usize,
    id: u32,
    log_probability: f64,
}

/// An extension that lives on, with its text.
struct Chosen {
    extension: Extension,
    transcript: Transcript,
    guide: Option<Guide>,
}

struct Search<'o> {
    options: &'o GenerateOptions,
    beam: &'o BeamOptions,
    /// How many tokens a continuation has at most.
    longest: usize,
    live: Vec<Live>,
    done: Vec<Beam>,
    candidates: Candidates,
    /// How many tokens of the vocabulary end a text.
    ends: usize,
}

/// Searches the most probable continuations of a prompt, which the session's sequence becomes. Of the options the maximal number of tokens (the
/// context's, if there is none), the logit bias, stop strings, the constraint and what ends a text count; the rest of sampling does not. A search that is
/// cancelled gives what it has.
///
/// A constraint excludes continuations and changes no probability: those that are left are compared by what the model says of them.
///
/// # Errors
/// When the width is 0 or the penalty no number, and as for [`generate`](crate::generate).
pub fn beam_search(
    session: &mut Session,
    tokenizer: Option<&Arc<Tokenizer>>,
    prompt: &[u32],
    options: &GenerateOptions,
    beam: &BeamOptions,
    cancel: &AtomicBool,
) -> Result<Beams, GenerateError> {
    beam.check()?;
    options.sampling.check_for(session.generator().vocabulary())?;
    let room = room_after(prompt, session.generator().context_limit(), ContextEnd::Stop)?;
    let transcript = Transcript::new(tokenizer, options)?;
    let guide = options.constraint.as_ref().map(|c| Guide::new(c, tokenizer, options.ignore_end));
    let prefill = feed_prompt(session, prompt, cancel)?;
    let mut search = Search {
        options,
        beam,
        longest: options.max_tokens.unwrap_or(usize::MAX).min(room + 1),
        live: vec![Live {
            session: session.fork(),
            ids: Vec::new(),
            transcript,
            guide,
            log_probability: 0.0,
        }],
        done: Vec::new(),
        candidates: Candidates::new(),
        ends: tokenizer.map_or(0, |t| t.end_of_generation().len()),
    };
    let mut decode = Timing::default();
    let began = Instant::now();
    while prefill.is_some() && !search.is_over() && !cancel.load(Ordering::Relaxed) {
        search.extend()?;
        // Those that have all their tokens need no step more.
        if search.live.first().is_some_and(|live| live.ids.len() < search.longest) {
            decode.tokens += search.step()?;
        }
    }
    decode.time = began.elapsed();
    let cancelled = prefill.is_none() || cancel.load(Ordering::Relaxed);
    let limit = options.max_tokens.unwrap_or(usize::MAX);
    for live in std::mem::take(&mut search.live) {
        let finish = match () {
            () if live.ids.len() >= limit => Finish::Length,
            () if cancelled => Finish::Cancelled,
            () if live.ids.len() > room => Finish::Context,
            // The search was over before it: it can't be better than those that are finished.
            () => continue,
        };
        search.finish(live.transcript, live.ids, live.log_probability, 0, finish);
    }
    search.keep_best();
    if search.done.is_empty() && options.constraint.is_some() && !cancelled {
        return Err(ConstraintError::Stuck.into());
    }
    Ok(Beams { beams: search.done, prefill: prefill.unwrap_or_default(), decode })
}

impl BeamOptions {
    fn check(&self) -> Result<(), ParamError> {
        let wrong = |field, value: String, expected: &str| {
            Err(ParamError { field, value, expected: expected.to_owned() })
        };
        match (self.width, self.length_penalty.is_finite()) {
            (0, _) => wrong("width", "0".to_owned(), "at least 1"),
            (_, false) => wrong("length_penalty", self.length_penalty.to_string(), "a finite number"),
            _ => Ok(()),
        }
    }

    /// `log p / n^a`.
    fn score(&self, log_probability: f64, tokens: usize) -> f64 {
        log_probability / (tokens.max(1) as f64).powf(self.length_penalty)
    }
}

impl Search<'_> {
    /// Whether nothing that is live can come to be among the best.
    fn is_over(&self) -> bool {
        let Some(first) = self.live.first() else { return true };
        if first.ids.len() >= self.longest {
            return true;
        }
        if self.done.len() < self.beam.width {
            return false;
        }
        // A log-probability only falls, and it is negative: the more it is divided by, the better.
        let tokens = if self.beam.length_penalty > 0.0 { self.longest } else { first.ids.len() + 1 };
        let best = self.live.iter().map(|l| l.log_probability).fold(f64::NEG_INFINITY, f64::max);
        self.done.iter().all(|done| done.score >= self.beam.score(best, tokens))
    }

    /// Chooses which extensions of the live sequences live on, and finishes those that end.
    fn extend(&mut self) -> Result<(), GenerateError> {
        let mut extensions = Vec::new();
        for parent in 0..self.live.len() {
            self.extensions_of(parent, &mut extensions)?;
        }
        extensions.sort_by(|a, b| b.log_probability.total_cmp(&a.log_probability));
        let mut chosen: Vec<Chosen> = Vec::with_capacity(self.beam.width);
        for extension in extensions {
            if chosen.len() == self.beam.width {
                break;
            }
            let parent = &self.live[extension.parent];
            let (mut transcript, mut ids) = (parent.transcript.clone(), parent.ids.clone());
            if !self.options.ignore_end && transcript.is_end(extension.id) {
                let finish = Finish::End(extension.id);
                self.finish(transcript, ids, extension.log_probability, 1, finish);
                continue;
            }
            match transcript.push(extension.id, |_| {}).map(str::to_owned) {
                None => {
                    let mut guide = parent.guide.clone();
                    guide.as_mut().map_or(Ok(()), |guide| guide.advance(extension.id))?;
                    if guide.as_ref().is_some_and(Guide::is_complete) {
                        ids.push(extension.id);
                        self.finish(transcript, ids, extension.log_probability, 0, Finish::Complete);
                    } else {
                        chosen.push(Chosen { extension, transcript, guide });
                    }
                }
                Some(stop) => {
                    ids.push(extension.id);
                    self.finish(transcript, ids, extension.log_probability, 0, Finish::Stop(stop));
                }
            }
        }
        self.keep_best();
        self.live_on(chosen);
        Ok(())
    }

    /// The most probable extensions of a live sequence: as many as may be chosen, those that may turn out to end the text not counted.
    fn extensions_of(&mut self, parent: usize, out: &mut Vec<Extension>) -> Result<(), GenerateError> {
        let Live { session, guide, log_probability, .. } = &mut self.live[parent];
        match guide.as_mut().map_or(Ok(None), Guide::look)? {
            None => {}
            // A text that is whole from the start; one that can't go on is none.
            Some(choice) => {
                if choice == Choice::Complete {
                    let (transcript, ids, sum) = (
                        self.live[parent].transcript.clone(),
                        self.live[parent].ids.clone(),
                        self.live[parent].log_probability,
                    );
                    self.finish(transcript, ids, sum, 0, Finish::Complete);
                }
                return Ok(());
            }
        }
        self.candidates.load(session.logits())?;
        stages::bias(&mut self.candidates, &self.options.sampling.logit_bias);
        let log_sum = self.candidates.log_sum()?;
        if let Some(guide) = guide {
            self.candidates.retain(|id| guide.may_come(id));
        }
        let stops = if self.options.stop.is_empty() && self.options.constraint.is_none() {
            0
        } else {
            self.beam.width
        };
        stages::top_k(&mut self.candidates, self.beam.width + stops + self.ends);
        let possible = self.candidates.as_slice().iter().filter(|c| c.logit > f32::NEG_INFINITY);
        out.extend(possible.map(|candidate| Extension {
            parent,
            id: candidate.id,
            log_probability: *log_probability + f64::from(candidate.logit) - log_sum,
        }));
        Ok(())
    }

    /// Makes the chosen extensions the live sequences. The last extension of a sequence takes it over, the others fork it.
    fn live_on(&mut self, chosen: Vec<Chosen>) {
        let mut heirs = vec![0usize; self.live.len()];
        chosen.iter().for_each(|chosen| heirs[chosen.extension.parent] += 1);
        let mut parents: Vec<Option<(Session, Vec<u32>)>> =
            std::mem::take(&mut self.live).into_iter().map(|live| Some((live.session, live.ids))).collect();
        // What does not live on gives its pages back before the forks begin to write.
        parents.iter_mut().zip(&heirs).filter(|(_, heirs)| **heirs == 0).for_each(|(p, _)| *p = None);
        for Chosen { extension: Extension { parent, id, log_probability }, transcript, guide } in chosen {
            heirs[parent] -= 1;
            let taken = match heirs[parent] {
                0 => parents[parent].take(),
                _ => parents[parent].as_ref().map(|(session, ids)| (session.fork(), ids.clone())),
            };
            let (session, mut ids) = taken.expect("a sequence is there until its last heir takes it");
            ids.push(id);
            self.live.push(Live { session, ids, transcript, guide, log_probability });
        }
    }

    /// Feeds every live sequence its last token, in one step. Gives how many those were.
    fn step(&mut self) -> Result<usize, GenerateError> {
        let Some(generator) = self.live.first().map(|live| live.session.generator().clone()) else {
            return Ok(0);
        };
        let mut feeds: Vec<Feed<'_>> = (self.live.iter_mut())
            .map(|Live { session, ids, .. }| Feed::last(session, &ids[ids.len() - 1..]))
            .collect();
        generator.step(&mut feeds)?;
        Ok(feeds.len())
    }

    /// Takes note of a continuation that ended; `unseen` tokens count for its length and are not among its ids.
    fn finish(
        &mut self,
        mut transcript: Transcript,
        ids: Vec<u32>,
        log_probability: f64,
        unseen: usize,
        finish: Finish,
    ) {
        transcript.finish(|_| {});
        let score = self.beam.score(log_probability, ids.len() + unseen);
        self.done.push(Beam { ids, text: transcript.text().to_owned(), finish, log_probability, score });
    }

    fn keep_best(&mut self) {
        self.done.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.done.truncate(self.beam.width);
    }
}
