//! Diagnostics as values: what is wrong, where, what was expected, and what to do about it.
//!
//! A [`Diagnostic`] is built where the problem is seen and rendered elsewhere (see [`crate::render`]). It holds no
//! source text, only spans.
//!
//! ```
//! use tl_syntax::{Diagnostic, SourceId, Span, codes};
//!
//! let here = Span::new(SourceId(0), 4, 7);
//! let diagnostic = Diagnostic::error(codes::EXPECTED_EXPRESSION, here, "expected an expression, found `)`")
//!     .label(Span::new(SourceId(0), 0, 1), "the bracket opens here")
//!     .help("write a value between the brackets");
//! assert_eq!(diagnostic.primary_span(), Some(here));
//! ```

use crate::source::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The program is accepted; something in it is probably not meant.
    Warning,
    /// The program is not accepted.
    Error,
}

/// A place that a diagnostic underlines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// What to underline.
    pub span: Span,
    /// What to say about it; may be empty.
    pub text: String,
    /// Whether it is the place of the problem (`^^^`) rather than one that explains it (`---`).
    pub primary: bool,
}

/// A change of the text that would help: replace `span` by `replacement`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What the change does, such as "remove the space".
    pub message: String,
    /// The text to replace; empty for an insertion.
    pub span: Span,
    /// What to put there; empty for a removal.
    pub replacement: String,
}

/// One finding about a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// A code of [`crate::codes`].
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// The finding in one sentence without a full stop.
    pub message: String,
    /// The places, the primary ones first as a rule. Empty if there is no text to point into.
    pub labels: Vec<Label>,
    /// Facts that explain the finding.
    pub notes: Vec<String>,
    /// What the author can do.
    pub helps: Vec<String>,
    /// Changes that a tool can make.
    pub fixes: Vec<Fix>,
}

impl Diagnostic {
    /// An error at a place.
    #[cold]
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error_without_span(code, message).primary(span, "")
    }

    /// A warning at a place.
    #[cold]
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    /// An error that no source text can show.
    #[cold]
    pub fn error_without_span(code: &'static str, message: impl Into<String>) -> Diagnostic {
        let message = message.into();
        let (labels, notes, helps, fixes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Diagnostic { code, severity: Severity::Error, message, labels, notes, helps, fixes }
    }

    /// Sets the text beside the first primary label.
    #[must_use]
    pub fn here(mut self, text: impl Into<String>) -> Diagnostic {
        if let Some(label) = self.labels.iter_mut().find(|label| label.primary) {
            label.text = text.into();
        }
        self
    }

    /// Adds a place of the problem.
    #[must_use]
    pub fn primary(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.labels.push(Label { span, text: text.into(), primary: true });
        self
    }

    /// Adds a place that explains the problem.
    #[must_use]
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.labels.push(Label { span, text: text.into(), primary: false });
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Diagnostic {
        self.notes.push(text.into());
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Diagnostic {
        self.helps.push(text.into());
        self
    }

    /// Adds a change that a tool can make; the renderer shows it as advice.
    #[must_use]
    pub fn fix(
        mut self,
        message: impl Into<String>,
        span: Span,
        replacement: impl Into<String>,
    ) -> Diagnostic {
        self.fixes.push(Fix { message: message.into(), span, replacement: replacement.into() });
        self
    }

    /// Whether it keeps the program from being accepted.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The first primary place.
    pub fn primary_span(&self) -> Option<Span> {
        self.labels.iter().find(|label| label.primary).map(|label| label.span)
    }
}
