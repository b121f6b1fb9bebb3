//! Strings: where they end, and the interpolations inside them.

use super::{Lexer, OpenInterpolation};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::kind::SyntaxKind::*;
use crate::literal;

/// What ends a stretch of string text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Quote,
    Interpolation,
    /// The end of the line or of the file.
    Line,
}

impl Lexer<'_> {
    /// A string; its first quote is behind us.
    pub(super) fn string(&mut self, start: usize) {
        if self.text[start..].starts_with(r#"""""#) {
            return self.raw_string(start);
        }
        let end = self.string_text();
        self.check_escapes(start + 1);
        match end {
            End::Quote => {
                self.at += 1;
                self.push(Str);
            }
            End::Line => {
                self.push(Str);
                self.report_unterminated(start, false);
            }
            End::Interpolation => {
                let text_end = std::mem::replace(&mut self.at, start + 1);
                self.push(StrBegin);
                self.at = text_end;
                self.push(StrText);
                self.interpolation(start);
            }
        }
    }

    /// A string that is raw and may have many lines.
    fn raw_string(&mut self, start: usize) {
        self.at = start + 3;
        match self.text[self.at..].find(r#"""""#) {
            Some(end) => self.at += end + 3,
            None => {
                self.at = self.text.len();
                let span = self.span(start, start + 3);
                let message = "this raw string is never closed";
                let diagnostic =
                    Diagnostic::error(codes::UNTERMINATED_STRING, span, message).here("opened here");
                self.sink.push(diagnostic.help(r#"close it with `"""`"#));
            }
        }
        self.push(RawStr);
    }

    /// Steps over string text up to what ends it.
    fn string_text(&mut self) -> End {
        loop {
            let rest = &self.text[self.at..];
            let Some(found) = rest.find(['"', '\\', '{', '\n']) else {
                self.at = self.text.len();
                return End::Line;
            };
            self.at += found;
            let rest = &rest[found..];
            match rest.as_bytes()[0] {
                b'"' => return End::Quote,
                b'{' if rest.starts_with("{{") => self.at += 2,
                b'{' => return End::Interpolation,
                b'\n' => {
                    // The `\r` of a CRLF belongs to the line break and not to the string.
                    self.at -= usize::from(found > 0 && self.text[..self.at].ends_with('\r'));
                    return End::Line;
                }
                _ => self.at += escape_length(rest),
            }
        }
    }

    /// The `{` that begins an interpolation.
    fn interpolation(&mut self, quote: usize) {
        self.at += 1;
        self.push(InterpOpen);
        self.open.push(OpenInterpolation { quote, braces: 0, brackets: 0 });
    }

    /// A bracket or a colon inside an interpolation, which may end it or begin its format.
    pub(super) fn bracket_in_string(&mut self, c: char) {
        let open = self.open.last_mut().expect("called inside an interpolation only");
        match c {
            '{' => open.braces += 1,
            '(' | '[' => open.brackets += 1,
            ')' | ']' => open.brackets = open.brackets.saturating_sub(1),
            '}' if open.braces > 0 => open.braces -= 1,
            '}' => {
                let quote = open.quote;
                self.push(InterpClose);
                self.open.pop();
                return self.rest_of_string(quote);
            }
            _ if open.braces == 0 && open.brackets == 0 => return self.format(),
            _ => {}
        }
        let kind = self.punctuation(c).expect("these characters are punctuation");
        self.push(kind);
    }

    /// The format after the colon of `{x:.2}`; the colon is behind us.
    fn format(&mut self) {
        let rest = &self.text[self.at..];
        let length = rest.find(['}', '"', '\n']).unwrap_or(rest.len());
        self.at += rest[..length].strip_suffix('\r').unwrap_or(&rest[..length]).len();
        self.push(FormatSpec);
    }

    /// What follows the `}` of an interpolation.
    fn rest_of_string(&mut self, quote: usize) {
        let start = self.at;
        let end = self.string_text();
        self.check_escapes(start);
        self.push(StrText);
        match end {
            End::Quote => {
                self.at += 1;
                self.push(StrEnd);
            }
            End::Interpolation => self.interpolation(quote),
            End::Line => self.report_unterminated(quote, true),
        }
    }

    /// Forgets all interpolations that are open, because the line or the file ends; reports the outermost string.
    pub(super) fn close_all_strings(&mut self) {
        if let Some(outermost) = self.open.first() {
            let quote = outermost.quote;
            self.open.clear();
            self.report_unterminated(quote, true);
        }
    }

    #[cold]
    fn report_unterminated(&mut self, quote: usize, interpolated: bool) {
        if !self.open.is_empty() {
            return; // The string around it is reported at the end of the line.
        }
        let span = self.span(quote, quote + 1);
        let diagnostic = Diagnostic::error(codes::UNTERMINATED_STRING, span, "this string is never closed");
        let diagnostic =
            diagnostic.here("opened here").help(r#"close it with `"`; text of many lines stands in `"""`"#);
        self.sink.push(match interpolated {
            true => diagnostic.help("`{` begins an interpolation; a brace in a string is written `{{`"),
            false => diagnostic,
        });
    }

    /// Reports wrong escapes and stray braces between `start` and here.
    fn check_escapes(&mut self, start: usize) {
        let text = &self.text[start..self.at];
        if !text.contains(['\\', '}']) {
            return;
        }
        for wrong in literal::wrong_escapes(text) {
            let span = self.span(start + wrong.start, start + wrong.end);
            let escape = &text[wrong];
            self.sink.push(match escape.starts_with('\\') {
                true => Diagnostic::error(
                    codes::BAD_ESCAPE,
                    span,
                    format!("`{escape}` is no escape sequence"),
                )
                .help(r#"escapes are \n \t \r \0 \e \\ \" \' \{ \} \x41 \u{1F600}; a backslash is `\\`"#),
                false => Diagnostic::error(
                    codes::STRAY_BRACE_IN_STRING,
                    span,
                    "this brace closes no interpolation",
                )
                .fix("a brace in a string is doubled", span, "}}"),
            });
        }
    }
}

/// The length of the escape that `text` begins with, at least as much as hides quotes and braces in it.
fn escape_length(text: &str) -> usize {
    if let Some(inner) = text.strip_prefix("\\u{") {
        let digits = inner.bytes().take_while(u8::is_ascii_hexdigit).count();
        return 3 + digits + usize::from(inner.as_bytes().get(digits) == Some(&b'}'));
    }
    match text[1..].chars().next() {
        Some('\n' | '\r') | None => 1,
        Some(c) => 1 + c.len_utf8(),
    }
}
