//! What happens where a sequence has as many tokens as the context.
//!
//! Positions are part of a model's equations, so remembered rows can't be moved to other positions. To go on beyond the context, a text is
//! begun again with fewer tokens: its first few, which many models attend to whatever they say ("attention sinks"), and its last ones:
//!
//! ```text
//! a b c d e f g h i j k l     the context is full
//! a b           i j k l       sinks = 2: these are fed anew, at positions 0, 1, 2, …
//! ```
//!
//! Invariant: nothing is forgotten that is not counted.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use tensorlogic::Error;

/// What to do when the context is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContextEnd {
    /// The text ends. A prompt that doesn't fit is an error.
    #[default]
    Stop,
    /// The text goes on: its first `sinks` tokens and the later half of the others are fed again, and the rest is forgotten. A
    /// prompt that doesn't fit is cut in the same way.
    Shift {
        /// How many tokens at the beginning are kept.
        sinks: usize,
    },
    /// It is an error.
    Error,
}

/// Tokens at the beginning that a shift keeps unless told otherwise.
pub const SINKS: usize = 4;

impl ContextEnd {
    /// The prompt that is fed, shorter than the context if it was cut, and how many tokens were forgotten.
    ///
    /// # Errors
    /// When the prompt is longer than `limit`, and may not be cut.
    pub fn fit_prompt(self, prompt: &[u32], limit: usize) -> Result<(Cow<'_, [u32]>, usize), Error> {
        if prompt.len() <= limit {
            return Ok((Cow::Borrowed(prompt), 0));
        }
        match self {
            ContextEnd::Shift { sinks } if limit > 0 => {
                let mut kept = shifted(prompt, sinks, limit);
                // What comes next follows the last token, so that one stays even where there is room for no other.
                if kept.last() != prompt.last() {
                    kept.truncate(limit - 1);
                    kept.extend(prompt.last());
                }
                let forgotten = prompt.len() - kept.len();
                Ok((Cow::Owned(kept), forgotten))
            }
            _ => Err(Error::Context { limit, asked: prompt.len() }),
        }
    }

    /// How many tokens may follow a prompt in a context of `limit` tokens before the text has to end.
    ///
    /// # Errors
    /// When the prompt is longer than the context.
    pub fn room(self, prompt: &[u32], limit: usize) -> Result<usize, Error> {
        let room = limit.checked_sub(prompt.len()).ok_or(Error::Context { limit, asked: prompt.len() })?;
        Ok(if matches!(self, ContextEnd::Shift { .. }) { usize::MAX - 1 } else { room.min(usize::MAX - 1) })
    }

    /// The tokens of a full sequence that are kept where the text goes on, fewer than `limit`.
    pub fn kept(self, tokens: &[u32], limit: usize) -> Vec<u32> {
        match self {
            ContextEnd::Shift { sinks } => shifted(tokens, sinks, limit),
            _ => tokens.to_vec(),
        }
    }
}

/// The first `sinks` tokens (at most half of the context) and the later half of the room that is left.
fn shifted(tokens: &[u32], sinks: usize, limit: usize) -> Vec<u32> {
    let sinks = sinks.min(limit / 2).min(tokens.len());
    let last = ((limit - sinks) / 2).min(tokens.len() - sinks);
    [&tokens[..sinks], &tokens[tokens.len() - last..]].concat()
}

impl FromStr for ContextEnd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "stop" => Ok(ContextEnd::Stop),
            None if text == "error" => Ok(ContextEnd::Error),
            None if text == "shift" => Ok(ContextEnd::Shift { sinks: SINKS }),
            Some(("shift", sinks)) => {
                let sinks = sinks.parse().map_err(|_| format!("`{sinks}` is not a number of tokens"))?;
                Ok(ContextEnd::Shift { sinks })
            }
            _ => Err("write stop, shift, shift=SINKS or error".to_owned()),
        }
    }
}

impl fmt::Display for ContextEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContextEnd::Stop => f.write_str("stop"),
            ContextEnd::Shift { sinks } => write!(f, "shift={sinks}"),
            ContextEnd::Error => f.write_str("error"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_keeps_the_beginning_and_the_end_and_leaves_room() {
        let tokens: Vec<u32> = (0..12).collect();
        let shift = ContextEnd::Shift { sinks: 2 };
        assert_eq!(shift.kept(&tokens, 12), [0, 1, 7, 8, 9, 10, 11]);
        for limit in 1..40 {
            for sinks in 0..50 {
                let tokens: Vec<u32> = (0..limit as u32).collect();
                let kept = ContextEnd::Shift { sinks }.kept(&tokens, limit);
                assert!(kept.len() < limit && kept.is_sorted(), "{limit} {sinks} {kept:?}");
                let long: Vec<u32> = (0..100).collect();
                let (prompt, forgotten) = ContextEnd::Shift { sinks }.fit_prompt(&long, limit).unwrap();
                assert!((1..=limit).contains(&prompt.len()) && prompt.len() + forgotten == 100);
                assert_eq!(prompt.last(), Some(&99));
            }
        }
    }

    #[test]
    fn a_choice_is_written_as_it_is_read() {
        for text in ["stop", "error", "shift=4", "shift=0"] {
            assert_eq!(text.parse::<ContextEnd>().unwrap().to_string(), text);
        }
        assert_eq!("shift".parse(), Ok(ContextEnd::Shift { sinks: SINKS }));
        assert!("shift=x".parse::<ContextEnd>().is_err() && "slide".parse::<ContextEnd>().is_err());
    }
}
