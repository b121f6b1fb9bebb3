//! A job: a request on its way, with the sequence that serves it and the text that is being made of it.
//!
//! The tokens of a job are all that its sequence is to hold; what the session has not been fed of them is *pending*. So a prompt, a sampled token, a job
//! that lost its memory and one whose context was shifted are one case: feed what is pending, then draw.

use std::time::{Duration, Instant};

use tensorlogic::{Generator, Session};

use super::answer::{Promise, Request};
use crate::context::ContextEnd;
use crate::continuation::Continuation;
use crate::generation::{Finish, GenerateError, Generation, Timing};
use crate::speculation::Guessed;

/// A request on its way.
pub(super) struct Job {
    /// What the sequence is to hold.
    pub tokens: Vec<u32>,
    /// The sequence; `None` while the job waits for memory.
    pub session: Option<Session>,
    pub priority: i32,
    /// The number of the request: earlier ones are smaller.
    pub number: u64,
    /// The step in which rows of it were computed last.
    pub served: u64,
    text: Continuation,
    promise: Promise,
    context_end: ContextEnd,
    forgotten: usize,
    /// Rows of the prompt that were computed.
    prompt_rows: usize,
    began: Option<Instant>,
    /// When the prompt's logits were there.
    ready: Option<Instant>,
    decoded: usize,
}

impl Job {
    /// The job of a request. One that can't be served ends at once with an error.
    pub fn new(
        generator: &Generator,
        tokenizer: Option<&std::sync::Arc<tl_formats::tokenizer::Tokenizer>>,
        request: Request,
        promise: Promise,
        number: u64,
        now: u64,
    ) -> Option<Job> {
        let Request { prompt, options, priority } = request;
        let context = generator.context_limit();
        let made = (|| {
            let vocabulary = generator.vocabulary();
            if let Some(&id) = prompt.iter().find(|&&id| id as usize >= vocabulary) {
                return Err(tensorlogic::Error::Token { id, size: vocabulary }.into());
            }
            let limit = context.unwrap_or(usize::MAX);
            let (tokens, forgotten) = options.context_end.fit_prompt(&prompt, limit)?;
            let text = Continuation::new(tokenizer, &options, &tokens, vocabulary, context)?;
            Ok((tokens.into_owned(), forgotten, text))
        })();
        match made {
            Err(error) => {
                promise.keep(Err(error));
                None
            }
            Ok((tokens, forgotten, text)) => Some(Job {
                tokens,
                session: None,
                priority,
                number,
                served: now,
                text,
                promise,
                context_end: options.context_end,
                forgotten,
                prompt_rows: 0,
                began: None,
                ready: None,
                decoded: 0,
            }),
        }
    }

    /// How many tokens the sequence has.
    pub fn len(&self) -> usize {
        self.session.as_ref().map_or(0, Session::len)
    }

    /// How many tokens are pending.
    pub fn pending(&self) -> usize {
        self.tokens.len() - self.len()
    }

    /// Whether it only has to be fed the token that was drawn last.
    pub fn is_decoding(&self) -> bool {
        self.session.is_some() && self.pending() == 1 && self.ready.is_some()
    }

    pub fn is_cancelled(&self) -> bool {
        self.promise.is_cancelled()
    }

    /// Takes note of rows that were computed, and draws if logits came of them. `true` if the text has ended.
    pub fn fed(&mut self, rows: usize, limit: usize) -> Result<bool, GenerateError> {
        match self.ready {
            None => self.prompt_rows += rows,
            Some(_) => self.decoded += rows,
        }
        if self.pending() > 0 {
            return Ok(false);
        }
        self.ready.get_or_insert_with(Instant::now);
        self.draw(limit)
    }

    /// The job has its first token of time.
    pub fn begin(&mut self) {
        self.began.get_or_insert_with(Instant::now);
    }

    /// Draws the next token. `true` if the text has ended.
    fn draw(&mut self, limit: usize) -> Result<bool, GenerateError> {
        let Some(session) = &mut self.session else { return Ok(false) };
        let promise = &self.promise;
        let Some(id) = self.text.next(session.logits(), |piece| promise.show(piece))? else {
            return match self.text.finish() {
                Some(Finish::Context) if self.context_end == ContextEnd::Error => {
                    Err(tensorlogic::Error::Context { limit, asked: limit.saturating_add(1) }.into())
                }
                _ => Ok(true),
            };
        };
        if self.tokens.len() >= limit {
            let kept = self.context_end.kept(&self.tokens, limit);
            self.forgotten += self.tokens.len() - kept.len();
            let shared = kept.iter().zip(&self.tokens).take_while(|(a, b)| a == b).count();
            if session.truncate(shared).is_err() {
                session.truncate(0)?;
            }
            self.tokens = kept;
        }
        self.tokens.push(id);
        Ok(false)
    }

    /// Ends the job.
    pub fn end(mut self, finish: Finish) {
        let promise = &self.promise;
        self.text.end(finish, |piece| promise.show(piece));
        let since = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
            (Some(from), Some(to)) => to.saturating_duration_since(from),
            _ => Duration::ZERO,
        };
        let prefill = Timing { tokens: self.prompt_rows, time: since(self.began, self.ready) };
        let decode = Timing { tokens: self.decoded, time: since(self.ready, Some(Instant::now())) };
        let seed = self.text.sampler().seed();
        let finish = self.text.finish().cloned().unwrap_or(Finish::Cancelled);
        let (ids, text) = self.text.into_parts();
        let (guessed, forgotten) = (Guessed::default(), self.forgotten);
        self.promise.keep(Ok(Generation {
            ids,
            text,
            finish,
            prefill,
            decode,
            plain: decode,
            guessed,
            seed,
            forgotten,
        }));
    }

    /// Ends the job with an error.
    pub fn fail(self, error: GenerateError) {
        self.promise.keep(Err(error));
    }
}
