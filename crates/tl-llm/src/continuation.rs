//! A text in the making: what chooses the next token of one sequence, writes its text, and says when it ends.
//!
//! It knows logits and ids, no sequence and no model, so that whoever drives it may feed one sequence or many, one token at a time or guesses
//! of several: what comes out depends on the logits alone.
//!
//! Invariant: after the first few tokens nothing is allocated for each.

use std::sync::Arc;

use tl_formats::tokenizer::{DecodeOptions, Decoder, Tokenizer};

use crate::constraint::{Choice, Chooser, Guide};
use crate::context::ContextEnd;
use crate::generation::{Finish, GenerateError, GenerateOptions};
use crate::sampling::{ParamError, Sampler, StopMatcher};

/// The text of new tokens as they come, up to a stop string. Without a tokenizer there is none.
#[derive(Clone, Debug)]
pub struct Transcript {
    decoder: Option<(Arc<Tokenizer>, Decoder)>,
    stops: StopMatcher,
    text: String,
}

/// A text in the making.
#[derive(Clone, Debug)]
pub struct Continuation {
    chooser: Chooser,
    transcript: Transcript,
    ignore_end: bool,
    /// At most so many tokens.
    limit: usize,
    /// How many of them the context can be fed.
    room: usize,
    ids: Vec<u32>,
    finish: Option<Finish>,
}

impl Transcript {
    /// An empty text.
    ///
    /// # Errors
    /// When a stop string is empty.
    pub fn new(
        tokenizer: Option<&Arc<Tokenizer>>,
        options: &GenerateOptions,
    ) -> Result<Transcript, ParamError> {
        let decoding = DecodeOptions { special: options.show_special, from_start: false };
        let decoder = tokenizer.map(|t| (Arc::clone(t), t.decoder(decoding)));
        let stops = StopMatcher::new(&options.stop)?;
        Ok(Transcript { decoder, stops, text: String::with_capacity(4096) })
    }

    /// Takes a token, shows what text is certain now, and gives the stop string that came, if one did.
    pub fn push(&mut self, id: u32, mut show: impl FnMut(&str)) -> Option<&str> {
        let piece = self.decoder.as_mut().map_or("", |(tokenizer, decoder)| decoder.push(tokenizer, id));
        let step = self.stops.push(piece);
        if !step.text.is_empty() {
            self.text.push_str(step.text);
            show(step.text);
        }
        let which = step.stop?;
        self.stops.stop_string(which)
    }

    /// Ends the text: shows what was held back.
    pub fn finish(&mut self, mut show: impl FnMut(&str)) {
        let last = self.decoder.as_mut().map_or("", |(_, decoder)| decoder.finish());
        for rest in [self.stops.push(last).text.to_owned(), self.stops.finish().to_owned()] {
            if !rest.is_empty() {
                self.text.push_str(&rest);
                show(&rest);
            }
        }
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a token ends a text.
    pub fn is_end(&self, id: u32) -> bool {
        self.decoder.as_ref().is_some_and(|(tokenizer, _)| tokenizer.is_end_of_generation(id))
    }
}

impl Continuation {
    /// What continues a prompt of a model with `vocabulary` tokens, whose sequences may have `context` tokens. Without a tokenizer there
    /// is no text, and no token ends it.
    ///
    /// # Errors
    /// When the prompt is empty or longer than the context, or an option is out of its range.
    pub fn new(
        tokenizer: Option<&Arc<Tokenizer>>,
        options: &GenerateOptions,
        prompt: &[u32],
        vocabulary: usize,
        context: Option<usize>,
    ) -> Result<Continuation, GenerateError> {
        let room = room_after(prompt, context, options.context_end)?;
        let mut sampler = Sampler::new(options.sampling.clone(), vocabulary)?;
        let transcript = Transcript::new(tokenizer, options)?;
        let limit = options.max_tokens.unwrap_or(usize::MAX);
        prompt.iter().for_each(|&id| sampler.accept(id));
        let guide = options.constraint.as_ref().map(|c| Guide::new(c, tokenizer, options.ignore_end));
        let chooser = Chooser::new(sampler, guide);
        let ids = Vec::with_capacity(limit.min(room).min(4096));
        let ignore_end = options.ignore_end;
        Ok(Continuation { chooser, transcript, ignore_end, limit, room, ids, finish: None })
    }

    /// Chooses the token after those so far by the logits after the last of them, shape `[vocabulary]`, and shows its text. Gives the token, which
    /// is to be fed next; `None` once the text has ended.
    ///
    /// # Errors
    /// When the logits are no distribution, or the constraint can't be followed within its limits.
    pub fn next(&mut self, logits: &[f32], mut show: impl FnMut(&str)) -> Result<Option<u32>, GenerateError> {
        if self.finish.is_none() && self.ids.len() >= self.limit {
            self.end(Finish::Length, &mut show);
        }
        if self.finish.is_some() {
            return Ok(None);
        }
        let choice = self.chooser.choose(logits)?;
        let Choice::Token(id) = choice else {
            choice.finish().into_iter().for_each(|finish| self.end(finish, &mut show));
            return Ok(None);
        };
        if !self.ignore_end && self.transcript.is_end(id) {
            self.end(Finish::End(id), show);
            return Ok(None);
        }
        self.ids.push(id);
        let stopped = self.transcript.push(id, &mut show).map(str::to_owned);
        match stopped {
            Some(stop) => self.end(Finish::Stop(stop), show),
            None if self.chooser.is_complete() => self.end(Finish::Complete, show),
            None if self.ids.len() >= self.limit => self.end(Finish::Length, show),
            None if self.ids.len() > self.room => self.end(Finish::Context, show),
            None => {}
        }
        Ok(self.finish.is_none().then_some(id))
    }

    /// Ends the text, unless it has ended already.
    pub fn end(&mut self, finish: Finish, show: impl FnMut(&str)) {
        if self.finish.is_none() {
            self.finish = Some(finish);
            self.transcript.finish(show);
        }
    }

    /// Why the text ended, once it has.
    pub fn finish(&self) -> Option<&Finish> {
        self.finish.as_ref()
    }

    /// The tokens so far; one that ended the text is not among them.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Their text, up to a stop string.
    pub fn text(&self) -> &str {
        self.transcript.text()
    }

    /// What chooses the tokens.
    pub fn sampler(&self) -> &Sampler {
        &self.chooser.sampler
    }

    /// What chooses them, the constraint included.
    pub(crate) fn chooser(&self) -> &Chooser {
        &self.chooser
    }

    /// How many more tokens may be fed before the text ends for its length or that of the context.
    pub fn left(&self) -> usize {
        self.limit.saturating_sub(self.ids.len()).min((self.room + 1).saturating_sub(self.ids.len()))
    }

    /// The ids and the text.
    pub fn into_parts(self) -> (Vec<u32>, String) {
        (self.ids, self.transcript.text)
    }
}

/// How many tokens a context has left after the prompt. A prompt that is too long is refused before any of it is fed.
pub(crate) fn room_after(
    prompt: &[u32],
    context: Option<usize>,
    end: ContextEnd,
) -> Result<usize, GenerateError> {
    if prompt.is_empty() {
        return Err(GenerateError::EmptyPrompt);
    }
    Ok(end.room(prompt, context.unwrap_or(usize::MAX))?)
}
