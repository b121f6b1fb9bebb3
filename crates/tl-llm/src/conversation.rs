//! Conversations: messages, the template that makes a prompt of them, and the sequence that remembers it.
//!
//! Each turn renders the whole conversation and continues the sequence from what it has in common with the last one, so that a
//! turn costs its own tokens alone.
//!
//! Invariant: what a person wrote can't end a turn or begin another role: in messages, the text of a control token is encoded
//! as text.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tensorlogic::{Generator, Model, Session};
use tl_formats::chat_template::{ChatTemplate, Message, RenderOptions};
use tl_formats::tokenizer::{EncodeOptions, Tokenizer};

use crate::generation::{Finish, GenerateError, GenerateOptions, Generation, generate, prompt_ids};

/// Characters that mark the places of control tokens' texts while the template runs, one for each text: a private plane.
const MARKS: std::ops::RangeInclusive<char> = '\u{F0000}'..='\u{FFFFD}';

/// A conversation with a model.
pub struct Conversation {
    session: Session,
    tokenizer: Arc<Tokenizer>,
    template: Arc<ChatTemplate>,
    /// The texts of control tokens, longest first.
    controls: Vec<String>,
    messages: Vec<Message>,
}

/// Why a conversation can't begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum ConversationError {
    /// The file has no template, so it is not known how it marks turns.
    #[error(
        "`{0}` has no chat template, so it is not known how it marks turns; give one with `--template FILE`, or continue plain text with `tl generate`"
    )]
    NoTemplate(String),
    /// The template failed.
    #[error(transparent)]
    Template(#[from] tl_formats::chat_template::TemplateError),
    /// The text can't be encoded.
    #[error(transparent)]
    Encode(#[from] tl_formats::tokenizer::EncodeError),
    /// The generation failed.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The model can't be used.
    #[error(transparent)]
    Library(#[from] tensorlogic::Error),
}

impl Conversation {
    /// An empty conversation, with the file's own template unless another is given.
    ///
    /// # Errors
    /// When the file has no tokenizer, or no template and none is given.
    pub fn new(
        generator: &Generator,
        template: Option<Arc<ChatTemplate>>,
    ) -> Result<Self, ConversationError> {
        let model = generator.model();
        let tokenizer = Arc::clone(model.tokenizer()?);
        let template = match template {
            Some(template) => template,
            None => Arc::clone(own_template(model)?),
        };
        let mut controls: Vec<String> = (0..tokenizer.vocabulary_size() as u32)
            .filter(|&id| tokenizer.is_control(id))
            .filter_map(|id| String::from_utf8(tokenizer.vocabulary().text(id)?.to_vec()).ok())
            .filter(|text| !text.is_empty())
            .collect();
        controls.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Ok(Self { session: generator.session(), tokenizer, template, controls, messages: Vec::new() })
    }

    /// What was said so far.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Replaces what was said; the sequence keeps what the two have in common.
    pub fn set_messages(&mut self, messages: Vec<Message>) {
        self.messages = messages;
    }

    /// Sets, replaces or (with an empty text) removes the system message.
    pub fn set_system(&mut self, text: &str) {
        self.messages.retain(|m| m.role != "system");
        if !text.is_empty() {
            self.messages.insert(0, Message::new("system", text));
        }
    }

    /// Forgets all but the system message.
    pub fn clear(&mut self) {
        self.messages.retain(|m| m.role == "system");
    }

    /// The sequence.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The ids of the conversation so far, ending where the model is to answer.
    ///
    /// # Errors
    /// When the template refuses it, or it can't be encoded.
    pub fn prompt(&self) -> Result<Vec<u32>, ConversationError> {
        let text_of = |id: Option<u32>| {
            let text = id.and_then(|id| self.tokenizer.vocabulary().text(id));
            text.map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
        };
        let special = self.tokenizer.special();
        let options = RenderOptions {
            bos_token: text_of(special.bos),
            eos_token: text_of(special.eos),
            add_generation_prompt: true,
            ..RenderOptions::default()
        };
        let mut marked = Vec::new();
        let messages: Vec<Message> = self
            .messages
            .iter()
            .map(|m| Message::new(m.role.clone(), self.mark(&m.content, &mut marked)))
            .collect();
        let rendered = self.template.render(&messages, &options)?;
        let mut ids = self.encode(&rendered, &marked)?;
        // A template that writes BOS itself must not get a second one.
        if ids.len() > 1 && Some(ids[0]) == special.bos && ids[0] == ids[1] {
            ids.remove(0);
        }
        Ok(ids)
    }

    /// Puts the user's message and the model's answer to the conversation. A turn that failed, or was cancelled before there was an
    /// answer, leaves it as it was.
    ///
    /// # Errors
    /// See [`ConversationError`].
    pub fn say(
        &mut self,
        text: &str,
        options: &GenerateOptions,
        cancel: &AtomicBool,
        show: impl FnMut(&str),
    ) -> Result<Generation, ConversationError> {
        self.messages.push(Message::new("user", text));
        let answered = self.answer(options, cancel, show);
        match &answered {
            Ok(generation) if generation.finish != Finish::Cancelled || !generation.text.is_empty() => {
                self.messages.push(Message::new("assistant", generation.text.clone()));
            }
            _ => drop(self.messages.pop()),
        }
        answered
    }

    fn answer(
        &mut self,
        options: &GenerateOptions,
        cancel: &AtomicBool,
        show: impl FnMut(&str),
    ) -> Result<Generation, ConversationError> {
        let prompt = self.prompt()?;
        Ok(generate(&mut self.session, Some(&self.tokenizer), &prompt, options, cancel, |_| {}, show)?)
    }

    /// The content with the texts of control tokens replaced by marks. A character that looks like a mark is marked itself.
    fn mark(&self, content: &str, marked: &mut Vec<String>) -> String {
        let mut out = String::with_capacity(content.len());
        let mut rest = content;
        while let Some(c) = rest.chars().next() {
            let control = self.controls.iter().find(|text| rest.starts_with(text.as_str()));
            let own = MARKS.contains(&c).then(|| c.to_string());
            let Some(text) = control.cloned().or(own) else {
                out.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            };
            rest = &rest[text.len()..];
            let number = marked.iter().position(|m| *m == text).unwrap_or_else(|| {
                marked.push(text);
                marked.len() - 1
            });
            out.push(MARKS.clone().nth(number).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        out
    }

    /// The rendered text as ids; marks become the text that they stand for, encoded as text.
    fn encode(&self, rendered: &str, marked: &[String]) -> Result<Vec<u32>, ConversationError> {
        let (mut ids, mut rest, mut first) = (Vec::new(), rendered, true);
        loop {
            let end = rest.find(|c| MARKS.contains(&c)).unwrap_or(rest.len());
            let options = EncodeOptions { parse_special: true, add_special: first };
            ids.extend(prompt_ids(&self.tokenizer, &rest[..end], options)?);
            let Some(mark) = rest[end..].chars().next() else { return Ok(ids) };
            let number = (mark as u32 - *MARKS.start() as u32) as usize;
            if let Some(text) = marked.get(number) {
                ids.extend(self.tokenizer.encode(text, EncodeOptions::default())?);
            }
            (rest, first) = (&rest[end + mark.len_utf8()..], false);
        }
    }
}

fn own_template(model: &Model) -> Result<&Arc<ChatTemplate>, ConversationError> {
    model.chat_template()?.ok_or_else(|| ConversationError::NoTemplate(model.name().to_owned()))
}
