//! Where lexer and parser put their diagnostics: at most [`MAX_DIAGNOSTICS`] of them, so that 16 MiB of noise do not
//! become gigabytes of messages.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::source::Span;

/// How many diagnostics one source text can have.
pub(crate) const MAX_DIAGNOSTICS: usize = 500;

/// A bounded list of diagnostics.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    diagnostics: Vec<Diagnostic>,
    /// Where the first one that found no room was.
    overflow: Option<Span>,
}

impl Sink {
    /// Whether the next one would find room; building a message can be spared otherwise.
    pub fn is_full(&self) -> bool {
        self.diagnostics.len() >= MAX_DIAGNOSTICS
    }

    pub fn push(&mut self, diagnostic: Diagnostic) {
        match diagnostic.primary_span() {
            Some(span) if self.is_full() => self.leave_out(span),
            _ => self.diagnostics.push(diagnostic),
        }
    }

    /// Notes that there was one more at this place.
    pub fn leave_out(&mut self, span: Span) {
        self.overflow = self.overflow.or(Some(span));
    }

    /// All diagnostics of two sinks in the order of the text.
    pub fn merge(self, other: Sink) -> Vec<Diagnostic> {
        let start = |diagnostic: &Diagnostic| diagnostic.primary_span().map_or(0, |span| span.start);
        let mut all = self.diagnostics;
        all.extend(other.diagnostics);
        all.sort_by_key(start);
        let mut overflow = self.overflow.or(other.overflow);
        if all.len() > MAX_DIAGNOSTICS {
            overflow = all[MAX_DIAGNOSTICS].primary_span();
            all.truncate(MAX_DIAGNOSTICS);
        }
        if let Some(span) = overflow {
            let message = format!("more than {MAX_DIAGNOSTICS} errors: the rest is not shown");
            all.push(Diagnostic::error(codes::TOO_MANY_ERRORS, span, message));
        }
        all
    }
}
