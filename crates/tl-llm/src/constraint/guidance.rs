//! Constraints by the crate `llguidance`: a lexer of derivatives of regular expressions under an Earley parser, walked over the trie of all tokens.
//!
//! The trie has the bytes that each token stands for. Control and unknown tokens have none, so that they never come; neither do tokens that begin
//! with the byte 0xFF (which is in no text) or are longer than the trie is deep. One token beyond the vocabulary stands for the
//! end: it is allowed exactly where the text may end.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use llguidance::api::{StopReason, TopLevelGrammar};
use llguidance::{ParserFactory, TokenParser};
use tl_formats::tokenizer::Tokenizer;
use toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};

use super::{Constraint, ConstraintError, Form, TokenMask};

/// How deep the trie may be: it keeps the way up in ten bits.
const LONGEST_TOKEN: usize = 1000;

/// How many nodes the trie may have: it keeps the size of a subtree in 22 bits.
const MOST_NODES: usize = (1 << 22) - 2;

/// The stack on which forms are read: what reads them recurses into what they nest.
const STACK: usize = 64 << 20;

/// The trie of a vocabulary, and what is shared by the constraints over it.
pub(super) struct Factory {
    parsers: ParserFactory,
    end: u32,
}

/// The state of one text.
#[derive(Clone)]
pub(super) struct Guidance {
    parser: TokenParser,
    end: u32,
    accepts: bool,
}

impl fmt::Debug for Guidance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guidance").field("tokens", &self.parser.num_tokens()).finish()
    }
}

impl Factory {
    pub fn new(tokenizer: &Arc<Tokenizer>, vocabulary: usize) -> Result<Factory, ConstraintError> {
        let wrong = |message: String| ConstraintError::Vocabulary(message);
        let mut words: Vec<Vec<u8>> = (0..vocabulary as u32).map(|id| plain_bytes(tokenizer, id)).collect();
        words.push(Vec::new());
        let nodes = count_nodes(&words);
        if nodes > MOST_NODES || vocabulary >= MOST_NODES {
            return Err(wrong(format!("its trie has {nodes} nodes, and {MOST_NODES} are the most")));
        }
        let end = vocabulary as u32;
        let trie = TokTrie::from(&TokRxInfo::new(end + 1, end), &words);
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let parsers = ParserFactory::new(&env, InferenceCapabilities::default(), &[]);
        let mut parsers = parsers.map_err(|e| wrong(e.to_string()))?;
        parsers.quiet();
        parsers.limits_mut().verbose_errors = false;
        Ok(Factory { parsers, end })
    }

    /// The state before the first token.
    pub fn begin(&self, form: &Form) -> Result<Guidance, ConstraintError> {
        let malformed = |message: String| ConstraintError::Malformed { kind: form.kind(), message };
        let grammar = match form {
            Form::JsonSchema(text) => {
                let schema = serde_json::from_str(text).map_err(|e| malformed(format!("no JSON: {e}")))?;
                TopLevelGrammar::from_json_schema(schema)
            }
            Form::Regex(text) => TopLevelGrammar::from_regex(text),
            Form::Grammar(text) => TopLevelGrammar::from_lark(text.clone()),
        };
        let read = || {
            let mut parser = self.parsers.create_parser(grammar)?;
            parser.start_without_prompt();
            parser.check_stop()?;
            Ok::<_, anyhow::Error>(parser)
        };
        let parser = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, read);
            match thread.map(|thread| thread.join()) {
                Ok(Ok(Ok(parser))) => Ok(parser),
                Ok(Ok(Err(error))) => Err(malformed(format!("{error:#}"))),
                Ok(Err(_)) => Err(malformed("it can't be read".to_owned())),
                Err(error) => Err(malformed(error.to_string())),
            }
        })?;
        Ok(Guidance { parser, end: self.end, accepts: false })
    }
}

impl Guidance {
    /// Asks the parser. What it can't bear is an error, a panic of its own too.
    fn ask<T>(
        &mut self,
        question: impl FnOnce(&mut TokenParser) -> anyhow::Result<T>,
    ) -> Result<T, ConstraintError> {
        match catch_unwind(AssertUnwindSafe(|| question(&mut self.parser))) {
            Ok(answer) => answer.map_err(|error| ConstraintError::TooComplex(error.to_string())),
            Err(_) => Err(ConstraintError::TooComplex("its parser failed".to_owned())),
        }
    }
}

impl Constraint for Guidance {
    fn allowed(&mut self, mask: &mut TokenMask) -> Result<(), ConstraintError> {
        mask.clear();
        if self.parser.stopped() {
            self.accepts = self.is_complete();
            return Ok(());
        }
        match self.ask(TokenParser::compute_mask) {
            Ok(found) => {
                self.accepts = found.is_allowed(self.end);
                mask.assign(found.as_slice());
                mask.remove(self.end);
                Ok(())
            }
            // No token fits, and the text may not end.
            Err(_) if self.parser.stop_reason() == StopReason::NoExtensionBias => {
                self.accepts = false;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn accepts(&mut self) -> bool {
        self.accepts
    }

    fn advance(&mut self, id: u32) -> Result<(), ConstraintError> {
        if !self.ask(|parser| parser.validate_token(id))? {
            return Err(ConstraintError::Forbidden(id));
        }
        self.ask(|parser| {
            parser.consume_token(id)?;
            parser.check_stop()
        })?;
        Ok(())
    }

    fn is_complete(&self) -> bool {
        matches!(self.parser.stop_reason(), StopReason::NoExtension | StopReason::EndOfSentence)
    }

    fn fork(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }
}

/// The bytes that a token puts into a text; none of one that may not come.
fn plain_bytes(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !tokenizer.is_end_of_generation(id) {
        tokenizer.append_bytes(id, false, &mut bytes);
    }
    if bytes.len() > LONGEST_TOKEN || bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) {
        bytes.clear();
    }
    bytes
}

/// How many nodes a trie of these words has, its root included.
fn count_nodes(words: &[Vec<u8>]) -> usize {
    let mut sorted: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    sorted.sort_unstable();
    let pairs = std::iter::once(&[][..]).chain(sorted.iter().copied()).zip(&sorted);
    let new =
        pairs.map(|(before, word)| word.len() - before.iter().zip(*word).take_while(|(a, b)| a == b).count());
    1 + new.sum::<usize>()
}
