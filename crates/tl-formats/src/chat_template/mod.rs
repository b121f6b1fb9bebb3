//! Chat templates: the Jinja program in a model file that turns a conversation into the text of a prompt.
//!
//! Rendering follows the dialect of Hugging Face's `apply_chat_template` (blocks trimmed, Python's methods and JSON, loop
//! controls). Templates are code from strangers: they reach no file and no other template, and source, nesting, work,
//! memory and output are limited, so that any template ends soon, in a text or an error.

mod guard;
mod operators;
mod python;

use minijinja::value::{Serde, Value};
use minijinja::{ErrorKind, context};
use std::fmt;
use std::time::SystemTime;

/// The largest template, in bytes. Published ones have up to 30 KB.
pub const MAX_SOURCE: usize = 128 << 10;
/// The largest text that a template may produce beyond twice what the messages hold, in bytes.
pub const MAX_OUTPUT: usize = 4 << 20;
/// Steps of the template, roughly: one an instruction, one for every 64 bytes that it creates.
const FUEL: u64 = 200_000;
/// Further steps for each message.
const FUEL_PER_MESSAGE: u64 = 2_000;
const MAX_FUEL: u64 = 1_000_000;
/// Nesting of macros and recursive loops at run time.
const RECURSION: usize = 96;
/// Stack that every parse and rendering gets, in bytes.
const STACK: usize = 8 << 20;
/// The parser's tree nests by at most one level a byte (`--1`) and takes 400 bytes of stack a level to walk and drop.
const STACK_PER_BYTE: usize = 1024;
/// A chain of namespaces can grow by one with each step and takes 100 bytes of stack a link to drop.
const STACK_PER_STEP: usize = 256;
const NAME: &str = "chat_template";

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// The text.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// What a template may use besides the messages.
#[derive(Debug, Clone, Default)]
pub struct RenderOptions {
    /// The text of the BOS token; empty where there is none.
    pub bos_token: String,
    /// The text of the EOS token; empty where there is none.
    pub eos_token: String,
    /// End with the opening of the assistant's turn.
    pub add_generation_prompt: bool,
    /// Further variables, such as `enable_thinking`.
    pub variables: serde_json::Map<String, serde_json::Value>,
    /// The time that `strftime_now` prints, in UTC; the system's clock if `None`.
    pub now: Option<SystemTime>,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The source is longer than [`MAX_SOURCE`].
    #[error("the chat template has {bytes} bytes; the limit is {MAX_SOURCE}")]
    SourceTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The source does not parse, or nests too deeply.
    #[error("the chat template does not parse: {message}")]
    Syntax {
        /// The engine's words, with the line.
        message: String,
    },
    /// The template itself refused the conversation (`raise_exception`).
    #[error("the chat template refuses this conversation: {message}")]
    Raised {
        /// The template's words.
        message: String,
    },
    /// The template takes too many steps or creates too much.
    #[error("the chat template does not end within its limit of steps and memory ({message})")]
    OutOfFuel {
        /// The engine's words, with the line.
        message: String,
    },
    /// The output is longer than [`MAX_OUTPUT`] beyond the messages.
    #[error("the chat template produces more than {limit} bytes")]
    OutputTooLong {
        /// The limit for this conversation.
        limit: usize,
    },
    /// Any other error at run time: an undefined value, a wrong type, too deep a recursion.
    #[error("the chat template fails: {message}")]
    Render {
        /// The engine's words, with the line.
        message: String,
    },
}

/// A parsed template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    /// The source as it is compiled.
    code: String,
}

impl ChatTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError::SourceTooLong`], or [`TemplateError::Syntax`] with the line.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        if source.len() > MAX_SOURCE {
            return Err(TemplateError::SourceTooLong { bytes: source.len() });
        }
        let code = without_generation_marks(source);
        with_stack(STACK + code.len() * STACK_PER_BYTE, || guard::compile(&code).map(drop))??;
        Ok(Self { source: source.to_string(), code })
    }

    /// The source that was parsed.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of a conversation, ready to be encoded with special tokens parsed.
    ///
    /// # Errors
    /// The template's own refusal, a limit, or a mistake in the template.
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<String, TemplateError> {
        let held: usize = messages.iter().map(|m| m.role.len() + m.content.len()).sum();
        let steps = FUEL + FUEL_PER_MESSAGE * messages.len() as u64;
        let fuel = steps.min(MAX_FUEL) + held as u64 / 8;
        let limit = MAX_OUTPUT.saturating_add(held.saturating_mul(2));
        let stack = STACK + self.code.len() * STACK_PER_BYTE + steps.min(MAX_FUEL) as usize * STACK_PER_STEP;
        with_stack(stack, || self.render_within(messages, options, fuel, limit))?
    }

    fn render_within(
        &self,
        messages: &[Message],
        options: &RenderOptions,
        fuel: u64,
        limit: usize,
    ) -> Result<String, TemplateError> {
        let instructions = guard::compile(&self.code)?;
        let mut environment = guard::environment(RECURSION, fuel);
        environment.add_function("raise_exception", raise_exception);
        let now = options.now.unwrap_or_else(SystemTime::now);
        environment.add_function("strftime_now", move |format: &str| python::strftime(format, now));
        let fixed = context! {
            messages => Value::from(Serde(messages)),
            bos_token => options.bos_token.as_str(),
            eos_token => options.eos_token.as_str(),
            add_generation_prompt => options.add_generation_prompt,
        };
        let variables = Value::from(Serde(&options.variables));
        let absent = context! { tools => Value::from(()), documents => Value::from(()) };
        let all = context! { ..fixed, ..context! { ..variables, ..absent } };
        let mut text = String::new();
        let rendered = guard::run(&environment, &instructions, all, &mut text);
        match rendered {
            Err(error) => Err(classify(&error)),
            Ok(()) if text.len() > limit => Err(TemplateError::OutputTooLong { limit }),
            Ok(()) => Ok(text),
        }
    }
}

/// Runs `work` on a thread with this much stack: templates nest their syntax and their values as deeply as their limits
/// allow, and the engine follows by recursion. Memory is taken only for the stack that is used.
fn with_stack<T: Send>(bytes: usize, work: impl FnOnce() -> T + Send) -> Result<T, TemplateError> {
    let failed = |message: String| TemplateError::Render { message };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(NAME.into()).stack_size(bytes);
        let thread = thread.spawn_scoped(scope, work);
        let thread = thread.map_err(|error| failed(format!("its thread does not start: {error}")))?;
        thread.join().map_err(|_| failed("the template engine stopped on an internal error".into()))
    })
}

/// The message of `raise_exception`, as the source of the engine's error.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn raise_exception(message: String) -> Result<Value, minijinja::Error> {
    let error = minijinja::Error::new(ErrorKind::InvalidOperation, "raise_exception");
    Err(error.with_source(Raised(message)))
}

fn classify(error: &minijinja::Error) -> TemplateError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(Raised(message)) = inner.downcast_ref::<Raised>() {
            return TemplateError::Raised { message: message.clone() };
        }
        if let Some(inner) = inner.downcast_ref::<minijinja::Error>()
            && inner.kind() == ErrorKind::OutOfFuel
        {
            return TemplateError::OutOfFuel { message: describe(error) };
        }
        cause = inner.source();
    }
    TemplateError::Render { message: describe(error) }
}

/// The engine's message with its line, and those of its causes.
fn describe(error: &minijinja::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// `{% generation %}` … `{% endgeneration %}` mark the assistant's words for training; rendering sees through them.
fn without_generation_marks(source: &str) -> String {
    if !source.contains("generation") {
        return source.to_string();
    }
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{%") {
        let Some(length) = rest[open..].find("%}") else { break };
        let tag = &rest[open..open + length + 2];
        let inner = tag[2..tag.len() - 2].trim_matches(['-', '+']).trim();
        out.push_str(&rest[..open]);
        match inner {
            "generation" => out.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => out.push_str(&tag.replace("endgeneration", "endif")),
            _ => out.push_str(tag),
        }
        rest = &rest[open + length + 2..];
    }
    out + rest
}
