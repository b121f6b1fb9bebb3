//! The lexer: source text to tokens, trivia included. It never fails; what it cannot read becomes a token of kind
//! [`SyntaxKind::Unknown`] (or of the kind that was plainly meant) and a diagnostic.
//!
//! It is a loop over characters with one piece of state: the stack of open interpolations. `"a {x} b"` becomes
//! `StrBegin StrText InterpOpen … InterpClose StrText StrEnd`, with the tokens of the expression between; strings
//! without interpolation, by far the most, are single [`SyntaxKind::Str`] tokens. A string in double quotes ends
//! at the end of its line at the latest, so that a forgotten quote costs one line and not the file.
//!
//! Invariant: the tokens follow each other without a gap from the first byte to the last.

mod chars;
mod strings;

pub(crate) use chars::is_invisible;

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::kind::SyntaxKind::{self, *};
use crate::literal::{NumberError, decode_number};
use crate::sink::Sink;
use crate::source::{Source, Span};

/// How many tokens one source text may have: 4 Mi, which bounds the memory of a parse.
pub(crate) const MAX_TOKENS: usize = 1 << 22;

/// How long a name may be, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 255;

/// How deep block comments may nest.
const MAX_COMMENT_NESTING: usize = 256;

/// A token; it begins where the one before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: SyntaxKind,
    pub end: u32,
}

/// What lexing gives.
pub(crate) struct Lexed {
    pub tokens: Vec<Token>,
    pub sink: Sink,
}

/// Splits a source text into tokens.
pub(crate) fn lex(source: &Source) -> Lexed {
    let mut lexer = Lexer {
        source,
        text: source.text(),
        at: 0,
        tokens: Vec::new(),
        sink: Sink::default(),
        open: Vec::new(),
    };
    chars::check_text(source, &mut lexer.sink);
    lexer.run();
    chars::check_names(source, &lexer.tokens, &mut lexer.sink);
    Lexed { tokens: lexer.tokens, sink: lexer.sink }
}

struct Lexer<'s> {
    source: &'s Source,
    text: &'s str,
    at: usize,
    tokens: Vec<Token>,
    sink: Sink,
    /// The interpolations that are open here, the innermost last.
    open: Vec<OpenInterpolation>,
}

/// An interpolation whose `}` is still to come.
struct OpenInterpolation {
    /// Offset of the quote that opened its string.
    quote: usize,
    /// Braces that are open in its expression.
    braces: u32,
    /// Other brackets that are open in its expression.
    brackets: u32,
}

impl<'s> Lexer<'s> {
    fn run(&mut self) {
        if self.text.starts_with('\u{feff}') {
            self.at = '\u{feff}'.len_utf8();
            self.push(Whitespace);
        }
        while self.at < self.text.len() {
            if self.tokens.len() >= MAX_TOKENS {
                return self.give_up();
            }
            self.token();
        }
        self.close_all_strings();
    }

    fn token(&mut self) {
        let start = self.at;
        let c = self.peek().expect("a token begins before the end");
        self.at += c.len_utf8();
        let kind = match c {
            '\n' => return self.newline(),
            '\r' if self.eat('\n') => return self.newline(),
            ' ' | '\t' | '\r' | '\x0b' | '\x0c' => self.white_space(),
            '0'..='9' => self.number(start),
            '"' => return self.string(start),
            '/' if self.eat('/') => self.line_comment(start),
            '/' if self.eat('*') => self.block_comment(start),
            '{' | '}' | '(' | ')' | '[' | ']' | ':' if !self.open.is_empty() => {
                return self.bracket_in_string(c);
            }
            c if c == '_' || unicode_ident::is_xid_start(c) => self.name(start),
            c => match self.punctuation(c) {
                Some(kind) => kind,
                None if c.is_whitespace() => self.white_space(),
                None if is_invisible(c) => {
                    if !chars::changes_direction(c) {
                        chars::warn_invisible(self.source, start, c, &mut self.sink);
                    }
                    Whitespace
                }
                None => self.unknown(start, c),
            },
        };
        self.push(kind);
    }

    /// A line break. It ends all strings that are open, because a string stands on one line.
    fn newline(&mut self) {
        self.close_all_strings();
        self.push(Newline);
    }

    fn white_space(&mut self) -> SyntaxKind {
        while let Some(c) = self.peek() {
            let ends_line = c == '\n' || (c == '\r' && self.text[self.at..].starts_with("\r\n"));
            if ends_line || !c.is_whitespace() {
                break;
            }
            self.at += c.len_utf8();
        }
        Whitespace
    }

    fn line_comment(&mut self, start: usize) -> SyntaxKind {
        let line = self.text[self.at..].split('\n').next().unwrap_or("");
        self.at += line.strip_suffix('\r').unwrap_or(line).len();
        let text = &self.text[start..self.at];
        if text.starts_with("///") && !text.starts_with("////") { DocComment } else { LineComment }
    }

    fn block_comment(&mut self, start: usize) -> SyntaxKind {
        let bytes = self.text.as_bytes();
        let mut depth = 1;
        let mut deepest = 1;
        while depth > 0 {
            match (bytes.get(self.at), bytes.get(self.at + 1)) {
                (Some(b'/'), Some(b'*')) => (self.at, depth) = (self.at + 2, depth + 1),
                (Some(b'*'), Some(b'/')) => (self.at, depth) = (self.at + 2, depth - 1),
                (Some(_), _) => self.at += 1,
                (None, _) => break,
            }
            deepest = deepest.max(depth);
        }
        let opener = self.span(start, start + 2);
        if depth > 0 {
            let diagnostic =
                Diagnostic::error(codes::UNTERMINATED_COMMENT, opener, "this comment is never closed");
            let still_open = format!("{depth} more `*/` needed before the end of the file; comments nest");
            self.sink.push(diagnostic.here("opened here").note(still_open));
        }
        if deepest > MAX_COMMENT_NESTING {
            let message = format!("comments are nested {deepest} deep; the limit is {MAX_COMMENT_NESTING}");
            self.sink.push(Diagnostic::error(codes::COMMENT_NESTING, opener, message));
        }
        BlockComment
    }

    fn name(&mut self, start: usize) -> SyntaxKind {
        while let Some(c) = self.peek().filter(|&c| unicode_ident::is_xid_continue(c)) {
            if is_invisible(c) {
                chars::warn_invisible(self.source, self.at, c, &mut self.sink);
            }
            self.at += c.len_utf8();
        }
        while self.eat('\'') {}
        let text = &self.text[start..self.at];
        if text.len() > MAX_NAME_BYTES {
            let message = format!("this name has {} bytes; the limit is {MAX_NAME_BYTES}", text.len());
            self.sink.push(Diagnostic::error(codes::NAME_TOO_LONG, self.span(start, self.at), message));
        }
        match text {
            "_" => Underscore,
            text => SyntaxKind::keyword(text).unwrap_or(Ident),
        }
    }

    /// A number with everything that runs into it, so that `1.e5` and `2x` are one malformed token.
    fn number(&mut self, start: usize) -> SyntaxKind {
        let digit_at =
            |lexer: &Self, ahead: usize| lexer.byte(ahead).is_some_and(|byte| byte.is_ascii_digit());
        let is_hex = self.text[start..].starts_with("0x") || self.text[start..].starts_with("0X");
        self.eat_name_characters(|byte| byte.is_ascii_digit() || byte == b'_');
        if self.tokens.last().is_some_and(|token| token.kind == Dot) {
            return Number; // `m.blk.0.weight`: the parser says that an index stands in brackets.
        }
        if !is_hex && self.byte(0) == Some(b'.') && self.byte(1) != Some(b'.') {
            self.at += 1;
            self.eat_name_characters(|byte| byte.is_ascii_digit() || byte == b'_');
        }
        if !is_hex && matches!(self.byte(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.byte(1), Some(b'+' | b'-')));
            if digit_at(self, 1 + sign) {
                self.at += 1 + sign;
            }
        }
        while let Some(c) = self.peek().filter(|&c| unicode_ident::is_xid_continue(c)) {
            self.at += c.len_utf8();
        }
        if let Err(error) = decode_number(&self.text[start..self.at]) {
            self.report_number(start, error);
        }
        Number
    }

    fn eat_name_characters(&mut self, keep: impl Fn(u8) -> bool) {
        self.at += self.text.as_bytes()[self.at..].iter().take_while(|&&byte| keep(byte)).count();
    }

    fn punctuation(&mut self, first: char) -> Option<SyntaxKind> {
        let next = self.byte(0);
        let (kind, length) = match (first, next) {
            (':', Some(b'=')) => (ColonEq, 2),
            ('.', Some(b'.')) => (DotDot, 2),
            ('+', Some(b'=')) => (PlusEq, 2),
            ('=', Some(b'=')) => (EqEq, 2),
            ('!', Some(b'=')) => (BangEq, 2),
            ('<', Some(b'=')) => (LtEq, 2),
            ('<', Some(b'-')) => (LArrow, 2),
            ('>', Some(b'=')) => (GtEq, 2),
            ('-', Some(b'>')) => (RArrow, 2),
            ('(', _) => (LParen, 1),
            (')', _) => (RParen, 1),
            ('[', _) => (LBracket, 1),
            (']', _) => (RBracket, 1),
            ('{', _) => (LBrace, 1),
            ('}', _) => (RBrace, 1),
            (',', _) => (Comma, 1),
            (';', _) => (Semicolon, 1),
            (':', _) => (Colon, 1),
            ('.', _) => (Dot, 1),
            ('?', _) => (Question, 1),
            ('|', _) => (Pipe, 1),
            ('+', _) => (Plus, 1),
            ('-', _) => (Minus, 1),
            ('*', _) => (Star, 1),
            ('/', _) => (Slash, 1),
            ('%', _) => (Percent, 1),
            ('^', _) => (Caret, 1),
            ('=', _) => (Eq, 1),
            ('<', _) => (Lt, 1),
            ('>', _) => (Gt, 1),
            _ => return None,
        };
        self.at += length - 1;
        Some(kind)
    }

    /// A run of characters that start no token, with what was probably meant by the first of them.
    fn unknown(&mut self, start: usize, first: char) -> SyntaxKind {
        if first == '\'' {
            self.single_quoted();
        } else if first == '&' {
            self.eat('&');
        } else if chars::meant_by(&self.text[start..]).is_none() {
            while let Some(c) = self.peek().filter(|&c| starts_nothing(c)) {
                self.at += c.len_utf8();
            }
        }
        if first != '\0' {
            self.report_unknown(start);
        }
        Unknown
    }

    /// The rest of `'text'`, if it closes on this line.
    fn single_quoted(&mut self) {
        let rest = &self.text[self.at..];
        match rest.find(['\'', '\n']) {
            Some(end) if rest.as_bytes()[end] == b'\'' => self.at += end + 1,
            // Quotes that do not close are rare; what they might hold is lexed as what it is.
            _ => {}
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    /// The byte at a distance from here.
    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.text[self.at..].starts_with(c);
        self.at += if found { c.len_utf8() } else { 0 };
        found
    }

    /// Appends a token that ends here, unless it would be empty.
    fn push(&mut self, kind: SyntaxKind) {
        let start = self.tokens.last().map_or(0, |token| token.end as usize);
        if self.at > start {
            self.tokens.push(Token { kind, end: self.at as u32 });
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.source.id(), start as u32, end as u32)
    }

    #[cold]
    fn give_up(&mut self) {
        let message = format!("this text has more than {MAX_TOKENS} tokens: the rest is not read");
        let span = self.span(self.at, self.at);
        let diagnostic = Diagnostic::error(codes::TOO_MANY_TOKENS, span, message);
        self.sink.push(diagnostic.help("keep data in data files and read it with `file(…)`"));
        self.at = self.text.len();
        self.push(Unknown);
    }

    #[cold]
    fn report_unknown(&mut self, start: usize) {
        let span = self.span(start, self.at);
        let text = &self.text[start..self.at];
        let shown = if text.chars().count() > 20 { "these characters start no token" } else { "" };
        let message = match shown {
            "" => format!("`{text}` starts no token"),
            shown => shown.to_owned(),
        };
        let diagnostic = Diagnostic::error(codes::UNKNOWN_CHARACTER, span, message);
        self.sink.push(match chars::meant_by(text) {
            Some((instead, help)) if text.chars().count() == 1 && instead != "\"" && !instead.is_empty() => {
                diagnostic.fix(help, span, instead)
            }
            Some((_, help)) => diagnostic.help(help),
            None => diagnostic,
        });
    }

    #[cold]
    fn report_number(&mut self, start: usize, error: NumberError) {
        let span = self.span(start, self.at);
        let text = &self.text[start..self.at];
        let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'_').count();
        let malformed = |message: &str| Diagnostic::error(codes::MALFORMED_NUMBER, span, message);
        let range = |message: &str| Diagnostic::error(codes::NUMBER_OUT_OF_RANGE, span, message);
        self.sink.push(match error {
            NumberError::Underscore => {
                malformed("an underscore in a number stands between two digits").help("as in `1_000`")
            }
            NumberError::NoHexDigits => {
                malformed("`0x` is followed by hexadecimal digits").help("as in `0x1f`")
            }
            NumberError::NoFraction => malformed("the point of a number is followed by a digit")
                .help(format!("write `{0}.0`, or `{0} .. n` for a range", &text[..digits])),
            NumberError::NoExponent => malformed("an exponent has at least one digit").help("as in `1e5`"),
            NumberError::Suffix => malformed("a number runs into a name")
                .help("put a space or an operator between them: `2 x` is a join, `2 * x` a product"),
            NumberError::IntTooLarge => range("this whole number is too large")
                .note(format!("the largest is {}", i64::MAX))
                .help("with a point or an exponent it would be a float"),
            NumberError::FloatTooLarge => range("this number is too large for a float")
                .note("the largest is about 1.8e308")
                .help("write `inf` if infinity is meant"),
            NumberError::FloatTooSmall => range("this number is too small for a float: it would become 0")
                .note("the smallest is about 4.9e-324"),
        });
    }
}

/// Whether a character is no part of any token.
fn starts_nothing(c: char) -> bool {
    let known = c.is_ascii() || c == '_' || c.is_whitespace() || is_invisible(c);
    !known && !unicode_ident::is_xid_start(c) && chars::meant_by(c.encode_utf8(&mut [0; 4])).is_none()
}
