//! Chat templates: the Jinja program in a model file that turns a conversation into the text of a prompt.
//!
//! Rendering follows the dialect of Hugging Face's `apply_chat_template` (blocks trimmed, Python's methods and JSON, loop
//! controls). Templates are code from strangers: they reach no file and no other template, and source, nesting, work,
//! memory and output are limited, so that any template ends soon, in a text or an error.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, context};
use std::fmt;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// The largest template, in bytes. Published ones have up to 30 KB.
pub const MAX_SOURCE: usize = 1 << 20;
/// The largest text that a template may produce beyond what the messages hold, in bytes.
pub const MAX_OUTPUT: usize = 4 << 20;
/// Steps of the template, roughly: one an instruction, one for every 64 bytes that it creates.
const FUEL: u64 = 1_000_000;
/// Nesting of macros, loops and includes at run time.
const RECURSION: usize = 96;
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
    environment: Environment<'static>,
    source: String,
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
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| TemplateError::Syntax { message: describe(&error) })?);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_recursion_limit(RECURSION);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", python_json_filter);
        environment.add_function("raise_exception", raise_exception);
        let added = environment.add_template_owned(NAME, without_generation_marks(source));
        added.map_err(|error| TemplateError::Syntax { message: describe(&error) })?;
        Ok(Self { environment, source: source.to_string() })
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
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(FUEL.saturating_add(held as u64)));
        let now = options.now.unwrap_or_else(SystemTime::now);
        environment.add_function("strftime_now", move |format: &str| strftime(format, now));
        let fixed = context! {
            messages => Value::from(Serde(messages)),
            bos_token => options.bos_token.as_str(),
            eos_token => options.eos_token.as_str(),
            add_generation_prompt => options.add_generation_prompt,
            tools => Value::from(()),
            documents => Value::from(()),
        };
        let variables = Value::from(Serde(&options.variables));
        let all = context! { ..variables, ..fixed };
        let limit = MAX_OUTPUT.saturating_add(held.saturating_mul(2));
        let mut output = Limited { bytes: Vec::new(), limit, exceeded: false };
        let template = environment.get_template(NAME);
        let rendered = template.and_then(|template| template.render_captured_to(all, &mut output).map(drop));
        match rendered {
            _ if output.exceeded => Err(TemplateError::OutputTooLong { limit }),
            Ok(()) => Ok(String::from_utf8_lossy(&output.bytes).into_owned()),
            Err(error) => Err(classify(&error)),
        }
    }
}

/// A writer that stops at a limit.
struct Limited {
    bytes: Vec<u8>,
    limit: usize,
    exceeded: bool,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.limit {
            self.exceeded = true;
            return Err(io::Error::other("the output limit is reached"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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

/// `tojson(value, indent=None, ensure_ascii=False, sort_keys=False)`, printed as Python's `json.dumps` prints.
fn python_json_filter(
    value: Value,
    indent: Option<usize>,
    options: Kwargs,
) -> Result<Value, minijinja::Error> {
    let indent = match options.get::<Option<usize>>("indent")? {
        Some(indent) => Some(indent),
        None => indent,
    };
    if indent.is_some_and(|indent| indent > 64) {
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, "tojson: the indent is too large"));
    }
    let ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let sort = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let _separators: Option<Value> = options.get("separators")?;
    options.assert_all_used()?;
    let json = serde_json::to_value(&value).map_err(|error| {
        minijinja::Error::new(ErrorKind::BadSerialization, "tojson cannot print this value")
            .with_source(error)
    })?;
    let mut out = String::new();
    PythonJson { indent, ascii, sort }.write(&json, 0, &mut out);
    Ok(Value::from_safe_string(out))
}

/// How Python's `json.dumps` lays out a value.
struct PythonJson {
    indent: Option<usize>,
    ascii: bool,
    sort: bool,
}

impl PythonJson {
    fn write(&self, value: &serde_json::Value, depth: usize, out: &mut String) {
        match value {
            serde_json::Value::Null => out.push_str("null"),
            serde_json::Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            serde_json::Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => out.push_str(&python_float(float)),
                None => out.push_str(&number.to_string()),
            },
            serde_json::Value::String(text) => self.write_text(text, out),
            serde_json::Value::Array(items) => {
                let write = |item: &serde_json::Value, out: &mut String| self.write(item, depth + 1, out);
                self.write_list(items.iter(), ['[', ']'], depth, out, write);
            }
            serde_json::Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                if self.sort {
                    entries.sort_by_key(|(key, _)| *key);
                }
                self.write_list(entries.into_iter(), ['{', '}'], depth, out, |(key, value), out| {
                    self.write_text(key, out);
                    out.push_str(": ");
                    self.write(value, depth + 1, out);
                });
            }
        }
    }

    fn write_list<T>(
        &self,
        items: impl ExactSizeIterator<Item = T>,
        [open, close]: [char; 2],
        depth: usize,
        out: &mut String,
        write: impl Fn(T, &mut String),
    ) {
        out.push(open);
        let empty = items.len() == 0;
        for (i, item) in items.enumerate() {
            match (i, self.indent) {
                (0, None) => {}
                (_, None) => out.push_str(", "),
                (0, Some(indent)) => new_line(indent * (depth + 1), out),
                (_, Some(indent)) => {
                    out.push(',');
                    new_line(indent * (depth + 1), out);
                }
            }
            write(item, out);
        }
        if let Some(indent) = self.indent.filter(|_| !empty) {
            new_line(indent * depth, out);
        }
        out.push(close);
    }

    fn write_text(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                _ if c < ' ' || self.ascii && !(' '..='~').contains(&c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                _ => out.push(c),
            }
        }
        out.push('"');
    }
}

fn new_line(spaces: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', spaces));
}

/// A float as Python's `repr` prints it: the shortest digits that read back, with an exponent below 1e-4 and from 1e16.
fn python_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    let text = value.to_string();
    if text.contains('.') { text } else { text + ".0" }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A date and time in UTC.
struct Date {
    year: i64,
    month: usize,
    day: i64,
    weekday: usize,
    day_of_year: i64,
    second_of_day: i64,
}

impl Date {
    /// The proleptic Gregorian date, by counting days from 1 March of year 0, when leap days come last.
    fn of(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs() as i64);
        let days = seconds.div_euclid(86_400);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * from_march + 2) / 153;
        let day = from_march - (153 * month_from_march + 2) / 5 + 1;
        let month = ((month_from_march + 2) % 12) as usize;
        let year = year_of_era + era * 400 + i64::from(month < 2);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month];
        Self {
            year,
            month,
            day,
            weekday: (days + 4).rem_euclid(7) as usize,
            day_of_year: before + day + i64::from(leap && month > 1),
            second_of_day: seconds.rem_euclid(86_400),
        }
    }
}

/// Prints a time as C's `strftime` does in the C locale, for the conversions that templates use.
fn strftime(format: &str, time: SystemTime) -> Result<String, minijinja::Error> {
    let date = Date::of(time);
    let (hour, minute, second) =
        (date.second_of_day / 3600, date.second_of_day / 60 % 60, date.second_of_day % 60);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let conversion = chars.next();
        out.push_str(&match conversion {
            Some('Y') => date.year.to_string(),
            Some('y') => format!("{:02}", date.year % 100),
            Some('m') => format!("{:02}", date.month + 1),
            Some('B') => MONTHS[date.month].into(),
            Some('b' | 'h') => MONTHS[date.month][..3].into(),
            Some('d') => format!("{:02}", date.day),
            Some('e') => format!("{:2}", date.day),
            Some('j') => format!("{:03}", date.day_of_year),
            Some('A') => DAYS[date.weekday].into(),
            Some('a') => DAYS[date.weekday][..3].into(),
            Some('w') => date.weekday.to_string(),
            Some('H') => format!("{hour:02}"),
            Some('I') => format!("{:02}", (hour + 11) % 12 + 1),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.into(),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{second:02}"),
            Some('f') => "000000".into(),
            Some('z') => "+0000".into(),
            Some('Z') => "UTC".into(),
            Some('F') => format!("{}-{:02}-{:02}", date.year, date.month + 1, date.day),
            Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('%') => "%".into(),
            other => {
                let message =
                    format!("strftime_now does not know %{}", other.map_or(String::new(), String::from));
                return Err(minijinja::Error::new(ErrorKind::InvalidOperation, message));
            }
        });
    }
    Ok(out)
}
