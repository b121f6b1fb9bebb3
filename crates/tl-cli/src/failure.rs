//! Errors of every crate as one message and one exit code.
//!
//! The codes follow `sysexits.h` where it has one; [`CODES`] lists them.
//!
//! Invariant: a message is printed once, on standard error, and each code means one thing.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use tensorlogic::{Diagnostics, Error, SavedError};
use tl_formats::ErrorKind;
use tl_llm::download::FetchError;
use tl_llm::{ConversationError, GenerateError};
use tl_syntax::codes;

use crate::terminal::{color, remark};

/// The exit codes, as `tl --help` tells them.
pub const CODES: &str = "\
Exit codes:
    0  done
    1  a program is wrong, or a check found something
    2  the command line is wrong
   65  a file is malformed, or does not fit what is asked of it
   66  a file or a model is not there
   69  a download is not possible
   70  a computation failed
   74  reading or writing failed
  130  interrupted";

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

/// The result of a command.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A wrong command line that clap could not see.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// A check that found something; what, was printed.
    pub fn found() -> Self {
        Self { code: 1, message: String::new() }
    }

    /// The person interrupted.
    pub fn interrupted() -> Self {
        Self { code: 130, message: String::new() }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Whether the command ended only because no one reads its output any more.
    pub fn is_closed_pipe(&self) -> bool {
        self.code == 0
    }

    /// Data that is not what it should be.
    pub fn data(message: impl Into<String>) -> Self {
        Self { code: 65, message: message.into() }
    }

    /// A file that can't be read or written.
    pub fn file(path: &std::path::Path, error: &io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::NotFound { 66 } else { 74 };
        Self { code, message: format!("{}: {error}", path.display()) }
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        self.message.trim_end()
    }

    /// Prints the message to standard error.
    pub fn tell(&self) {
        if !self.message.is_empty() {
            // Findings about a program say themselves what they are.
            let already_headed = ["error", "warning"].iter().any(|head| self.message.starts_with(head));
            let head = if already_headed { "" } else { "error: " };
            remark(format_args!("{head}{}", self.message.trim_end()));
        }
    }

    /// The failure once its message was printed.
    pub fn told(self) -> Self {
        Self { message: String::new(), ..self }
    }

    /// Prints the message to standard error and gives the exit code. A reader that went away is no failure.
    pub fn report(self) -> ExitCode {
        self.tell();
        ExitCode::from(self.code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { code: 0, message: String::new() };
        }
        Self { code: 74, message: error.to_string() }
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        let code = match &error {
            FetchError::UnknownName { .. } | FetchError::NoSuchFile { .. } => 66,
            FetchError::BadSpec { .. } => 2,
            FetchError::Unavailable { .. } => 69,
            FetchError::NoCacheFolder | FetchError::Cache { .. } => 74,
        };
        Self { code, message: error.to_string() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Program(found) if found.list.iter().any(|d| d.code == codes::INTERRUPTED) => 130,
            Error::Program(_) | Error::Plan(_) => 1,
            Error::Context { .. } | Error::Token { .. } => 2,
            Error::Format(e) => format_code(e.kind()),
            Error::Tokenizer(_) | Error::Template(_) | Error::Model(_) | Error::Encode(_) => 65,
            _ => 70,
        };
        let message = match &error {
            Error::Program(diagnostics) => diagnostics.render(color()) + &more_about(diagnostics),
            other => other.to_string(),
        };
        Self { code, message }
    }
}

/// On a terminal, where to read more about the first finding.
pub fn more_about(diagnostics: &Diagnostics) -> String {
    match diagnostics.list.first() {
        Some(first) if io::stderr().is_terminal() => {
            format!("for more about it: tl check --explain {}\n", first.code)
        }
        _ => String::new(),
    }
}

impl From<SavedError> for Failure {
    fn from(error: SavedError) -> Self {
        match error {
            SavedError::Io(error) => error.into(),
            SavedError::Tokens(error) => error.into(),
            SavedError::Malformed(_) | SavedError::Other => Self::data(error.to_string()),
        }
    }
}

impl From<tl_formats::Error> for Failure {
    fn from(error: tl_formats::Error) -> Self {
        Self { code: format_code(error.kind()), message: error.to_string() }
    }
}

fn format_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Malformed | ErrorKind::Unsupported => 65,
        ErrorKind::Io(io::ErrorKind::NotFound) => 66,
        ErrorKind::Io(_) => 74,
    }
}

impl From<GenerateError> for Failure {
    fn from(error: GenerateError) -> Self {
        match error {
            GenerateError::Library(error) => error.into(),
            GenerateError::Param(error) => Self::usage(error.to_string()),
            GenerateError::Constraint(
                tl_llm::ConstraintError::Malformed { .. } | tl_llm::ConstraintError::NotBuilt,
            ) => Self::usage(error.to_string()),
            GenerateError::Constraint(_) => Self { code: 70, message: error.to_string() },
            GenerateError::EmptyPrompt => Self::usage(error.to_string()),
            GenerateError::OtherVocabulary(message) => Self::data(message),
            GenerateError::Excluded { .. } => Self::data(error.to_string()),
            GenerateError::Sample(_)
            | GenerateError::Memory { .. }
            | GenerateError::Step(_)
            | GenerateError::Stopped => Self { code: 70, message: error.to_string() },
        }
    }
}

impl From<ConversationError> for Failure {
    fn from(error: ConversationError) -> Self {
        match error {
            ConversationError::Generate(error) => error.into(),
            ConversationError::Library(error) => error.into(),
            other => Self { code: 65, message: other.to_string() },
        }
    }
}

impl From<tl_formats::tokenizer::EncodeError> for Failure {
    fn from(error: tl_formats::tokenizer::EncodeError) -> Self {
        Self { code: 65, message: error.to_string() }
    }
}
