//! Operators, from loosest to tightest:
//!
//! ```text
//! x -> [d]                       projection onto indices
//! or
//! and
//! not
//! < <= == != >= > in             chains: 0 <= x < n
//! ..
//! + -
//! * / %
//! - (prefix)
//! A[i, j] B[j, k]                join by juxtaposition
//! ^                              from the right; an exponent may begin with a minus
//! f(x)  X[i]  m.field  Y?        postfix
//! ```
//!
//! A chain of one level becomes one flat node, so that long sums are neither deep to parse nor deep to walk.
//!
//! **Join.** What follows an operand on the same line (in grouping parentheses, on any line) joins it if it is a name or
//! an opening parenthesis: `A[i, j] B[j, k]`, `2 x`, `W[i] (X[i] + Y[i])`. The operand before must be a name, a number, a
//! call, an indexed or parenthesized expression, a field or a power. A number, a string or a list after an operand is
//! an error and not a product, because `[1 2 3]` is a forgotten comma.
//!
//! **Call or join.** `f(x)` without a space calls, `f (x)` joins. A parenthesis after a number or after a parenthesis
//! joins with and without a space: `2(x)`, `(a + b)(c + d)`. `x[i]` indexes; `x [i]` is an error, because it could be
//! meant either way.
//!
//! **Minus.** After an operand it is always binary, at the beginning of a line too: a line that starts with `-x`
//! continues the one above (with a warning where no space follows the minus, since it looks like a statement of its own).

use super::primary::primary;
use super::{Lines, Parser};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::kind::SyntaxKind::{self, *};

/// Precedence, loosest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Or,
    And,
    Not,
    Compare,
    Range,
    Sum,
    Product,
    Neg,
    Join,
    Power,
}

impl Level {
    /// The level of the right operand of a left-associative operator.
    fn tighter(self) -> Level {
        match self {
            Level::Or => Level::And,
            Level::And => Level::Not,
            Level::Not => Level::Compare,
            Level::Compare => Level::Range,
            Level::Range => Level::Sum,
            Level::Sum => Level::Product,
            Level::Product => Level::Neg,
            Level::Neg => Level::Join,
            Level::Join | Level::Power => Level::Power,
        }
    }
}

/// An expression, or a message that one is missing.
pub(super) fn expr(p: &mut Parser) -> bool {
    let found = opt_expr(p);
    if !found {
        expected_expr(p);
    }
    found
}

/// An expression with everything that can follow it, or nothing.
pub(super) fn opt_expr(p: &mut Parser) -> bool {
    let start = p.marker();
    if !operators(p, Level::Or) {
        return false;
    }
    while p.at(RArrow) && p.ahead(1).kind == LBracket {
        p.bump();
        super::index::index_list(p);
        if !p.wrap(start, ProjectExpr) {
            p.skip_line();
            return true;
        }
    }
    if p.at(WhereKw) && p.context.lines != Lines::End {
        where_clause(p);
        p.wrap(start, GuardedExpr);
    }
    true
}

/// `where guard`. A guard has no guard of its own.
pub(super) fn where_clause(p: &mut Parser) {
    let start = p.marker();
    p.bump();
    if !operators(p, Level::Or) {
        expected_expr(p);
    }
    p.wrap(start, WhereClause);
}

/// Operands with operators of level `min` or tighter between them.
fn operators(p: &mut Parser, min: Level) -> bool {
    let start = p.marker();
    if !prefix(p) {
        return false;
    }
    while let Some((level, node)) = infix(p).filter(|&(level, _)| level >= min) {
        let mut operands = 1;
        while infix(p).is_some_and(|(next, _)| next == level) {
            check_infix(p, level, operands);
            if level != Level::Join {
                p.bump();
            }
            right_operand(p, level);
            operands += 1;
        }
        if !p.wrap(start, node) {
            p.skip_line();
            return true;
        }
    }
    true
}

/// The right operand of an operator, or a message that it is missing. Operators in its place are skipped.
fn right_operand(p: &mut Parser, level: Level) {
    let operand =
        |p: &mut Parser| if level == Level::Power { exponent(p) } else { operators(p, level.tighter()) };
    if operand(p) {
        return;
    }
    expected_expr(p);
    while infix(p).is_some_and(|(level, _)| level != Level::Join) {
        p.skip_one();
        p.last_error = Some(p.at);
        if operand(p) {
            return;
        }
    }
}

/// A prefix operator with its operand, or an operand.
fn prefix(p: &mut Parser) -> bool {
    if matches!(p.kind(), Plus | Unknown) && !skip_foreign(p) {
        return false;
    }
    let (level, node) = match p.kind() {
        Minus => (Level::Neg, NegExpr),
        NotKw => (Level::Not, NotExpr),
        _ => return postfix(p),
    };
    let start = p.marker();
    if !p.enter() {
        while matches!(p.kind(), Minus | NotKw) {
            p.bump();
        }
        p.wrap(start, Error);
        return postfix(p);
    }
    p.bump();
    if !operators(p, level) {
        expected_expr(p);
    }
    p.leave();
    p.wrap(start, node);
    true
}

/// Skips what no operand begins with and has its message. Says whether an operand may still follow.
fn skip_foreign(p: &mut Parser) -> bool {
    while matches!(p.kind(), Plus | Unknown) {
        if p.at(Plus) {
            report_foreign(p, "there is no plus sign before an operand", "leave it out");
        }
        p.skip_one();
        p.last_error = Some(p.at);
        if p.at_line_end() && p.context.lines == Lines::End {
            return false;
        }
    }
    true
}

/// An exponent: `2 ^ -n` needs no parentheses.
fn exponent(p: &mut Parser) -> bool {
    if !p.at(Minus) {
        return postfix(p);
    }
    let start = p.marker();
    if !p.enter() {
        while p.eat(Minus) {}
        p.wrap(start, Error);
        return postfix(p);
    }
    p.bump();
    if !operators(p, Level::Power) {
        expected_expr(p);
    }
    p.leave();
    p.wrap(start, NegExpr);
    true
}

/// The operator at the current token, if the expression goes on there: its level and the node that it makes.
fn infix(p: &Parser) -> Option<(Level, SyntaxKind)> {
    Some(match p.kind() {
        OrKw if !is_glued_assignment(p) => (Level::Or, OrExpr),
        AndKw => (Level::And, AndExpr),
        Lt | LtEq | EqEq | BangEq | GtEq | Gt | InKw => (Level::Compare, CompareExpr),
        LArrow if !p.context.head => (Level::Compare, CompareExpr),
        DotDot => (Level::Range, RangeExpr),
        Plus | Minus => (Level::Sum, SumExpr),
        Star | Slash | Percent => (Level::Product, ProductExpr),
        Caret => (Level::Power, PowerExpr),
        _ if starts_join(p) => (Level::Join, JoinExpr),
        _ => return None,
    })
}

/// Whether the current token is a further factor of a join.
fn starts_join(p: &Parser) -> bool {
    if p.on_new_line() && p.context.lines != Lines::Grouped {
        return false;
    }
    let joinable = matches!(
        p.out.last_kind(),
        Some(NameExpr | NumberLit | ParenExpr | CallExpr | IndexExpr | FieldExpr | PowerExpr | JoinExpr)
    );
    joinable
        && match p.kind() {
            Ident => !ends_operand(p),
            LParen => true,
            // These are reported by `check_infix`, and then taken for a factor.
            Number | Str | RawStr | StrBegin => true,
            _ => false,
        }
}

/// Whether the name at the current token is a word that ends the expression here.
fn ends_operand(p: &Parser) -> bool {
    is_glued_assignment(p) || starts_steps(p) || (p.context.by && p.at_word("by"))
}

/// Whether the current token is the word of `max=`, `min=`, `avg=` or `or=`.
pub(super) fn is_glued_assignment(p: &Parser) -> bool {
    let word = p.at(OrKw) || p.at_word("max") || p.at_word("min") || p.at_word("avg");
    word && p.ahead(1).kind == Eq && !p.ahead(1).space
}

/// Whether the current token is the word of a clause `steps 50`.
pub(super) fn starts_steps(p: &Parser) -> bool {
    let next = p.ahead(1);
    let number = next.kind == Number || (next.kind == Ident && !p.on_new_line());
    p.context.lines == Lines::End && p.at_word("steps") && number && !next.newline
}

/// Reports what is wrong with an operator that is read all the same.
fn check_infix(p: &mut Parser, level: Level, operands: usize) {
    match (level, p.kind()) {
        (Level::Join, Number | Str | RawStr | StrBegin) => report_missing_operator(p),
        (Level::Range, _) if operands > 1 => {
            let span = p.token_span(p.at);
            p.error(span, codes::CHAINED_RANGE, "a range has two ends");
        }
        (Level::Compare, LArrow) => {
            report_foreign(
                p,
                "`<-` begins the body of a rule",
                "for a comparison put a space between: `< -`",
            );
        }
        (Level::Sum, Minus) if p.context.lines == Lines::End && p.on_new_line() && !p.ahead(1).space => {
            warn_leading_minus(p);
        }
        _ => {}
    }
}

/// An operand with calls, index lists, fields and `?` after it.
pub(super) fn postfix(p: &mut Parser) -> bool {
    let start = p.marker();
    if !primary(p) {
        return false;
    }
    loop {
        let same_line = !p.on_new_line();
        let node = match p.kind() {
            Dot if same_line || p.ahead(1).kind == Ident => {
                field(p);
                FieldExpr
            }
            LBracket if same_line => {
                if !p.is_adjacent() {
                    report_space_before_bracket(p);
                }
                super::index::index_list(p);
                IndexExpr
            }
            LParen if p.is_adjacent() && is_callable(p) => {
                arg_list(p);
                CallExpr
            }
            Question if same_line => {
                p.bump();
                QueryExpr
            }
            _ => return true,
        };
        if !p.wrap(start, node) {
            p.skip_line();
            return true;
        }
        if node == QueryExpr {
            return true;
        }
    }
}

fn is_callable(p: &Parser) -> bool {
    matches!(p.out.last_kind(), Some(NameExpr | IndexExpr | FieldExpr | CallExpr))
}

/// `.name`; a field may be spelt like a keyword.
fn field(p: &mut Parser) {
    p.bump();
    let names_field = p.at(Ident) || p.kind().is_keyword();
    if names_field && !p.on_new_line() || p.at(Ident) {
        return p.bump();
    }
    let is_number = p.at(Number) && p.is_adjacent();
    p.expected_with(codes::EXPECTED_NAME, "the name of a field", |diagnostic| match is_number {
        true => diagnostic.help("an index stands in brackets: `m.blk[0].weight`"),
        false => diagnostic,
    });
    if is_number {
        p.skip_one();
    }
}

/// `(x, lr: 0.1)`.
pub(super) fn arg_list(p: &mut Parser) {
    let start = p.marker();
    let mut named = false;
    p.bracketed(super::Context::LIST, |p, opener| {
        p.comma_list(opener, "an argument", |p| {
            let argument = p.marker();
            if p.at(Ident) && p.ahead(1).kind == Colon {
                named = true;
                p.bump();
                p.bump();
                expr(p);
                p.wrap(argument, NamedArg);
                return true;
            }
            let place = p.token_span(p.at);
            let found = opt_expr(p);
            if found && named {
                let message = "a positional argument follows a named one";
                p.error(place, codes::POSITIONAL_AFTER_NAMED, message);
            }
            found
        });
    });
    p.wrap(start, ArgList);
}

#[cold]
pub(super) fn expected_expr(p: &mut Parser) {
    let before = p.at.checked_sub(1).map(|index| p.tokens[index].kind);
    let help = match (before, p.kind()) {
        (Some(Minus | Star | Slash | Percent | Caret), Eq) if p.is_adjacent() => {
            Some("there is no such assignment; write `x := x - …`")
        }
        (Some(Star), Star) => Some("a power is written `^`"),
        (Some(Eq), Gt) => Some("a function is written `|x| …`"),
        (_, Dot) if p.ahead(1).kind == Number => Some("a number begins with a digit: `0.5`"),
        (_, Star) if p.ahead(1).kind == Ident => Some("`*t` is an index and stands in an index list"),
        (_, kind) if kind.is_keyword() => Some("this word is reserved"),
        _ => None,
    };
    p.expected_with(codes::EXPECTED_EXPRESSION, "an expression", |diagnostic| match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    });
}

#[cold]
fn report_foreign(p: &mut Parser, message: &str, help: &str) {
    let span = p.token_span(p.at);
    p.report(Diagnostic::error(codes::FOREIGN_OPERATOR, span, message), |diagnostic| diagnostic.help(help));
}

#[cold]
fn report_missing_operator(p: &mut Parser) {
    let span = p.token_span(p.at);
    let place = p.after_previous();
    let what = p.kind().describe();
    let message = format!("{what} directly after an operand");
    let is_list = p.context.lines == Lines::Ignored;
    let text = p.kind() != Number;
    p.report(Diagnostic::error(codes::MISSING_OPERATOR, span, message), |diagnostic| {
        let diagnostic = diagnostic.here("an operator or a comma is missing before this");
        match (is_list, text) {
            (true, _) => diagnostic.fix("separate the two", place, ","),
            (false, true) => diagnostic.help("a call needs parentheses: `f(\"text\")`"),
            (false, false) => {
                diagnostic.help("only names and parentheses join: write the number first, or `*`")
            }
        }
    });
}

#[cold]
fn report_space_before_bracket(p: &mut Parser) {
    let bracket = p.token_span(p.at);
    let gap = crate::Span { start: p.after_previous().start, end: bracket.start, ..bracket };
    let message = "a space before `[` makes it unclear whether it indexes";
    p.report(Diagnostic::error(codes::SPACE_BEFORE_BRACKET, bracket, message), |diagnostic| {
        diagnostic.fix("to index, remove the space", gap, "").help("to multiply by a list, write `*`")
    });
}

#[cold]
fn warn_leading_minus(p: &mut Parser) {
    let minus = p.token_span(p.at);
    let message = "this line continues the expression above";
    let warning = Diagnostic::warning(codes::LINE_STARTS_WITH_MINUS, minus, message);
    if !p.sink.is_full() {
        p.sink.push(
            warning
                .fix("if that is meant, put a space after the minus", minus.after(), " ")
                .help("for a statement of its own write `(-x)`"),
        );
    }
}
