//! The parser: tokens to a lossless tree and diagnostics. It never fails.
//!
//! Each production is a free function over a [`Parser`], which is a cursor over the tokens that matter plus a
//! [`TreeBuilder`]. A production parses its parts and then *wraps* everything since a marker in a node; so the left
//! operand of an operator needs no second thought, and every token is in the tree whether it was expected or not.
//!
//! **Newlines.** Each significant token knows whether a line break precedes it, and [`Lines`] says what that means
//! here: in a block it ends the statement unless the token carries on what is above (a binary operator, `where`, …);
//! inside brackets it means nothing. Where an operand is needed, a line break never matters.
//!
//! **Recovery.** Brackets are paired before parsing (see `brackets`), so that a list knows whether its closing bracket
//! exists. Inside a closed bracket a wrong token is skipped; an unclosed one ends at the first thing that does not fit.
//! A statement that does not end where it should skips to the end of its line, stepping over whole bracket pairs.
//! One place gets one message.
//!
//! **Limits.** Recursion happens in brackets, blocks and prefix operators only, and is counted ([`MAX_NESTING`]); a node
//! that would make the tree deeper than [`MAX_TREE_DEPTH`] is left out, with a message. All else is loops.

mod brackets;
mod declarations;
mod expr;
mod index;
mod primary;
mod stmt;

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::kind::SyntaxKind::{self, *};
use crate::lexer::{Token, lex};
use crate::sink::Sink;
use crate::source::{Source, Span};
use crate::tree::{Marker, TreeBuilder};
use crate::{MAX_NESTING, MAX_TREE_DEPTH, Parse};
use brackets::Partners;

/// Parses a source text. Never fails: the tree holds all of the text, whatever it is.
pub fn parse(source: &Source) -> Parse {
    let lexed = lex(source);
    let mut parser = Parser::new(source, &lexed.tokens);
    stmt::file(&mut parser);
    let Parser { out, sink, .. } = parser;
    Parse { tree: out.finish(source.clone()), diagnostics: lexed.sink.merge(sink) }
}

/// What a line break means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    /// It ends the statement.
    End,
    /// Nothing, but a join does not reach over it.
    Ignored,
    /// Nothing: in grouping parentheses.
    Grouped,
}

/// What the surroundings say about how to read an expression. Brackets begin a new one.
#[derive(Clone, Copy, Debug)]
struct Context {
    lines: Lines,
    /// Inside `X[…]`, where `*t` is an index.
    index: bool,
    /// In a `learn` entry, where `by` ends the value.
    by: bool,
    /// At the head of a statement, where `<-` begins the body of a rule.
    head: bool,
}

impl Context {
    const BLOCK: Context = Context { lines: Lines::End, index: false, by: false, head: false };
    const LIST: Context = Context { lines: Lines::Ignored, ..Context::BLOCK };
    const GROUP: Context = Context { lines: Lines::Grouped, ..Context::BLOCK };
    const INDEX: Context = Context { lines: Lines::Ignored, index: true, ..Context::BLOCK };
}

/// A token that is no trivia.
#[derive(Clone, Copy)]
struct Significant {
    kind: SyntaxKind,
    /// Whether a line break precedes it.
    newline: bool,
    /// Whether anything at all stands between it and the token before.
    space: bool,
    /// Its index among all tokens.
    raw: u32,
}

struct Parser<'s> {
    source: &'s Source,
    raw: &'s [Token],
    tokens: Vec<Significant>,
    partners: Partners,
    /// Index of the current token in `tokens`.
    at: usize,
    /// Index of the first token in `raw` that is not yet in the tree.
    flushed: usize,
    out: TreeBuilder,
    sink: Sink,
    depth: usize,
    context: Context,
    /// The token at which the last error was reported: one place gets one message.
    last_error: Option<usize>,
    /// Inside a string that is not closed, which the lexer has reported.
    in_broken_string: bool,
    /// The token with which the current statement begins.
    statement: usize,
    /// The statement that was last reported to be nested too deep: one statement gets one such message.
    too_deep: Option<usize>,
}

impl<'s> Parser<'s> {
    fn new(source: &'s Source, raw: &'s [Token]) -> Parser<'s> {
        let tokens = significant(source, raw);
        let partners = Partners::of(tokens.iter().map(|token| token.kind));
        let (out, sink) = (TreeBuilder::new(), Sink::default());
        let (context, last_error, in_broken_string) = (Context::BLOCK, None, false);
        Parser {
            source,
            raw,
            tokens,
            partners,
            at: 0,
            flushed: 0,
            out,
            sink,
            depth: 0,
            context,
            last_error,
            in_broken_string,
            statement: 0,
            too_deep: None,
        }
    }

    /// The kind of the current token.
    fn kind(&self) -> SyntaxKind {
        self.tokens[self.at].kind
    }

    /// The token some places ahead; the last one is the end of the file.
    fn ahead(&self, places: usize) -> Significant {
        self.tokens[(self.at + places).min(self.tokens.len() - 1)]
    }

    fn at(&self, kind: SyntaxKind) -> bool {
        self.kind() == kind
    }

    /// Whether the current token is a name spelt like this: how contextual keywords are recognized.
    fn at_word(&self, word: &str) -> bool {
        self.at(Ident) && self.token_text(self.at) == word
    }

    /// Whether a line break precedes the current token.
    fn on_new_line(&self) -> bool {
        self.tokens[self.at].newline
    }

    /// Whether the current token stands directly after the one before.
    fn is_adjacent(&self) -> bool {
        !self.tokens[self.at].space
    }

    /// Whether a statement may end before the current token.
    fn at_line_end(&self) -> bool {
        self.on_new_line() || matches!(self.kind(), Semicolon | RBrace | Eof)
    }

    fn token_text(&self, index: usize) -> &'s str {
        self.source.slice(self.token_span(index))
    }

    fn token_span(&self, index: usize) -> Span {
        let raw = self.tokens[index].raw as usize;
        let start = raw.checked_sub(1).map_or(0, |before| self.raw[before].end);
        let end = self.raw.get(raw).map_or(start, |token| token.end);
        Span::new(self.source.id(), start, end)
    }

    /// The empty span after the token before the current one.
    fn after_previous(&self) -> Span {
        match self.at.checked_sub(1) {
            Some(before) => self.token_span(before).after(),
            None => Span::new(self.source.id(), 0, 0),
        }
    }

    /// The place where the next node begins: before the current token.
    fn marker(&mut self) -> Marker {
        self.flush(self.tokens[self.at].raw as usize);
        self.out.marker()
    }

    /// The place where a statement begins: before the doc comments directly above it, if there are any.
    fn statement_marker(&mut self) -> Marker {
        let end = self.tokens[self.at].raw as usize;
        let mut start = end;
        let mut newlines = 0;
        for index in (self.flushed..end).rev() {
            match self.raw[index].kind {
                Newline => newlines += 1,
                DocComment => (start, newlines) = (index, 0),
                LineComment | BlockComment => newlines = 0,
                _ => {}
            }
            if newlines > 1 {
                break;
            }
        }
        self.flush(start);
        self.out.marker()
    }

    /// Puts the tokens before `end` into the tree: trivia that nothing has claimed.
    fn flush(&mut self, end: usize) {
        for token in &self.raw[self.flushed.min(end)..end] {
            self.out.token(token.kind, token.end);
        }
        self.flushed = self.flushed.max(end);
    }

    /// Puts the current token into the tree and goes to the next.
    fn bump(&mut self) {
        if self.at(Eof) {
            return;
        }
        self.flush(self.tokens[self.at].raw as usize + 1);
        self.at += 1;
    }

    fn eat(&mut self, kind: SyntaxKind) -> bool {
        let found = self.at(kind);
        if found {
            self.bump();
        }
        found
    }

    /// Makes a node of everything since `from`. A node that would make the tree too deep is left out, and the answer
    /// is false.
    fn wrap(&mut self, from: Marker, kind: SyntaxKind) -> bool {
        let fits = self.out.depth_since(from) < MAX_TREE_DEPTH || kind == File;
        if fits {
            self.out.wrap(from, kind);
        } else {
            let message =
                format!("this is nested too deep: the limit is {MAX_TREE_DEPTH} levels of all kinds");
            self.report_too_deep(self.after_previous(), message);
        }
        fits
    }

    /// Takes one step down; says so and does not, where that is too deep. Undone by [`Parser::leave`].
    fn enter(&mut self) -> bool {
        if self.depth >= MAX_NESTING {
            self.too_deep();
            return false;
        }
        self.depth += 1;
        true
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Parses something between brackets: the current token opens, `body` parses up to the closing one in the given
    /// context. Whether there is a closing one or not is seen to here.
    fn bracketed(&mut self, context: Context, body: impl FnOnce(&mut Parser<'s>, usize)) {
        let opener = self.at;
        if !self.enter() {
            return self.skip_group();
        }
        let outer = std::mem::replace(&mut self.context, context);
        self.bump();
        body(self, opener);
        self.context = outer;
        self.leave();
        let closer = self.tokens[opener].kind.closer().expect("called at an opening bracket");
        if !self.eat(closer) {
            self.report_unclosed(opener, closer);
        }
    }

    /// Parses items with commas between up to the closing bracket. `item` gives false where it finds no item.
    fn comma_list(&mut self, opener: usize, what: &str, mut item: impl FnMut(&mut Parser<'s>) -> bool) {
        let closer = self.tokens[opener].kind.closer().expect("called inside brackets");
        let closed = self.partners.of_token(opener).is_some();
        while !self.at(closer) && !self.at(Eof) {
            let before = self.at;
            let found = item(self);
            if self.at(closer) || (found && self.eat(Comma)) {
                continue;
            }
            if !closed {
                return;
            }
            let expected = if found {
                format!("`,` or `{}`", closer.spelling().unwrap_or("}"))
            } else {
                what.to_owned()
            };
            self.expected(&expected);
            if self.at(Comma) {
                self.bump();
            } else if self.at == before || !found {
                self.skip_one();
                self.eat(Comma);
            }
        }
    }

    /// Skips the current token, or the whole bracket pair that it opens, into an error node.
    fn skip_one(&mut self) {
        if self.partners.of_token(self.at).is_some_and(|partner| partner > self.at) {
            return self.skip_group();
        }
        let start = self.marker();
        self.bump();
        self.wrap(start, Error);
    }

    /// Skips the bracket pair that the current token opens; without a partner, to where something around it closes.
    fn skip_group(&mut self) {
        let start = self.marker();
        let opener = self.at;
        let end = self.partners.of_token(opener).unwrap_or(usize::MAX);
        while !self.at(Eof) && self.at <= end {
            let closes_outer = self.partners.of_token(self.at).is_some_and(|partner| partner < opener);
            if closes_outer {
                break;
            }
            self.bump();
        }
        self.wrap(start, Error);
    }

    /// Skips to the end of the statement into an error node, over whole bracket pairs.
    fn skip_line(&mut self) {
        if self.at_line_end() {
            return;
        }
        let start = self.marker();
        loop {
            match self.partners.of_token(self.at) {
                Some(partner) if partner > self.at => {
                    while self.at < partner {
                        self.bump();
                    }
                }
                Some(_) if !self.at(RBrace) => break,
                _ => {}
            }
            self.bump();
            if self.at_line_end() {
                break;
            }
        }
        self.wrap(start, Error);
    }

    /// Reports that something else was expected at the current token, unless that place has its message already.
    #[cold]
    fn expected(&mut self, what: &str) {
        self.expected_with(codes::EXPECTED_TOKEN, what, |diagnostic| diagnostic);
    }

    #[cold]
    fn expected_with(&mut self, code: &'static str, what: &str, add: impl FnOnce(Diagnostic) -> Diagnostic) {
        if self.has_its_message() {
            return;
        }
        let found = match self.kind() {
            kind if kind.is_token() && matches!(kind, Ident | Number) => {
                format!("`{}`", self.token_text(self.at))
            }
            kind => kind.describe(),
        };
        let ends = self.at(Eof) || (self.on_new_line() && self.at != self.statement);
        let (found, span) = match ends {
            true if !self.at(Eof) => ("the end of the line".to_owned(), self.after_previous()),
            true => (found, self.after_previous()),
            false => (found, self.token_span(self.at)),
        };
        let message = format!("expected {what}, found {found}");
        self.sink.push(add(Diagnostic::error(code, span, message).here(format!("expected {what}"))));
    }

    #[cold]
    fn error(&mut self, span: Span, code: &'static str, message: impl Into<String>) {
        self.report(Diagnostic::error(code, span, message), |diagnostic| diagnostic);
    }

    /// Pushes a diagnostic, unless the current token has one already or is itself what the lexer reported.
    #[cold]
    fn report(&mut self, diagnostic: Diagnostic, add: impl FnOnce(Diagnostic) -> Diagnostic) {
        if !self.has_its_message() {
            self.sink.push(add(diagnostic));
        }
    }

    /// Whether the current place needs no further message; from here on it needs none.
    fn has_its_message(&mut self) -> bool {
        let silent = self.in_broken_string || self.at(Unknown);
        if self.last_error.replace(self.at) == Some(self.at) || silent {
            return true;
        }
        if self.sink.is_full() {
            self.sink.leave_out(self.token_span(self.at));
            return true;
        }
        false
    }

    #[cold]
    fn too_deep(&mut self) {
        let message = format!("this is nested too deep: the limit is {MAX_NESTING}");
        self.report_too_deep(self.token_span(self.at), message);
    }

    #[cold]
    fn report_too_deep(&mut self, span: Span, message: String) {
        let first = self.too_deep.replace(self.statement) != Some(self.statement);
        if first && !self.has_its_message() {
            let diagnostic = Diagnostic::error(codes::NESTING_LIMIT, span, message);
            self.sink.push(diagnostic.help("give a part of it a name of its own"));
        }
        self.last_error = Some(self.at);
    }

    #[cold]
    fn report_unclosed(&mut self, opener: usize, closer: SyntaxKind) {
        let place = self.after_previous();
        let open = self.tokens[opener].kind.spelling().unwrap_or("{");
        let close = closer.spelling().unwrap_or("}");
        let message = format!("this `{open}` is never closed");
        let span = self.token_span(opener);
        self.report(Diagnostic::error(codes::UNCLOSED_BRACKET, span, message), |diagnostic| {
            diagnostic.here("opened here").label(place, format!("expected `{close}` here at the latest"))
        });
    }
}

/// The tokens that are no trivia, and the end of the file.
fn significant(source: &Source, raw: &[Token]) -> Vec<Significant> {
    let mut tokens = Vec::with_capacity(raw.len() / 2 + 1);
    let (mut newline, mut space, mut start) = (false, false, 0);
    for (index, token) in raw.iter().enumerate() {
        match token.kind {
            Newline => (newline, space) = (true, true),
            BlockComment => {
                newline |= source.text()[start..token.end as usize].contains('\n');
                space = true;
            }
            kind if kind.is_trivia() => space = true,
            kind => {
                tokens.push(Significant { kind, newline, space, raw: index as u32 });
                (newline, space) = (false, false);
            }
        }
        start = token.end as usize;
    }
    tokens.push(Significant { kind: Eof, newline, space, raw: raw.len() as u32 });
    tokens
}
