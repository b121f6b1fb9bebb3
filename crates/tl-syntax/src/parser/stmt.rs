//! Files, blocks and statements.
//!
//! Most statements begin with an expression, and what follows it decides what they are: `=` and its kin make an
//! equation, `:=` an assignment, `<-` a rule. The others begin with a keyword, or with a word that is one in this place
//! only and followed by the right thing: `dim g`, `param W`, `relation Edge(`, `learn {`, `main {`, `why X`, `assert x`.

use super::declarations::{dim_decl, fn_decl, learn_stmt, param_decl, relation_decl};
use super::expr::{expected_expr, expr, is_glued_assignment, opt_expr, starts_steps, where_clause};
use super::primary::{condition, if_expr, looks_like_dict};
use super::{Context, Parser};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::kind::SyntaxKind::{self, *};
use crate::tree::Marker;

/// The whole text.
pub(super) fn file(p: &mut Parser) {
    let start = p.out.marker();
    loop {
        statements(p);
        if p.at(Eof) {
            break;
        }
        report_stray(p);
        p.skip_one();
    }
    p.flush(p.raw.len());
    p.wrap(start, File);
}

/// `{ … }`, or a message that it is missing.
pub(super) fn block(p: &mut Parser) -> bool {
    if !p.at(LBrace) {
        p.expected_with(codes::EXPECTED_BLOCK, "`{`", |diagnostic| diagnostic);
        return false;
    }
    let start = p.marker();
    p.bracketed(Context::BLOCK, |p, _| statements(p));
    p.wrap(start, Block);
    true
}

/// Statements up to a closing brace or the end of the file.
fn statements(p: &mut Parser) {
    loop {
        while p.eat(Semicolon) {}
        if matches!(p.kind(), RBrace | Eof) {
            return;
        }
        if p.kind().is_closer() {
            if p.partners.of_token(p.at).is_some() {
                return; // It closes something around this block, which is therefore unclosed.
            }
            report_stray(p);
            p.skip_one();
            continue;
        }
        let before = p.at;
        statement(p);
        if p.at == before {
            p.skip_one();
        }
    }
}

fn statement(p: &mut Parser) {
    let outer = std::mem::replace(&mut p.statement, p.at);
    let start = p.statement_marker();
    let next = p.ahead(1);
    let ends_in_brace = match p.kind() {
        LetKw => let_stmt(p, start),
        FnKw if next.kind != LParen => fn_decl(p, start),
        ForKw => for_stmt(p, start),
        WhileKw => while_stmt(p, start),
        BreakKw => keyword_stmt(p, start, BreakStmt),
        ContinueKw => keyword_stmt(p, start, ContinueStmt),
        ReturnKw => return_stmt(p, start),
        ImportKw => import_stmt(p, start),
        IfKw => if_expr(p) && finish(p, start, ExprStmt, true),
        LBrace if !looks_like_dict(p) => block(p) && finish(p, start, ExprStmt, true),
        Ident if p.at_word("main") && next.kind == LBrace => main_stmt(p, start),
        Ident if p.at_word("learn") && next.kind == LBrace => learn_stmt(p, start),
        Ident if next.newline => equation_or_expr(p, start),
        Ident if p.at_word("dim") && next.kind == Ident => dim_decl(p, start),
        Ident if p.at_word("param") && next.kind == Ident => param_decl(p, start),
        Ident if p.at_word("relation") && next.kind == Ident => relation_decl(p, start),
        Ident if p.at_word("why") && next.kind == Ident => why_stmt(p, start),
        Ident if p.at_word("assert") && starts_condition(next.kind) => assert_stmt(p, start),
        _ => equation_or_expr(p, start),
    };
    end_of_statement(p, ends_in_brace);
    p.statement = outer;
}

/// Wraps a statement; says whether it ends in a brace, after which another may begin on the same line.
pub(super) fn finish(p: &mut Parser, start: Marker, kind: SyntaxKind, ends_in_brace: bool) -> bool {
    p.wrap(start, kind);
    ends_in_brace
}

fn end_of_statement(p: &mut Parser, ends_in_brace: bool) {
    let closes_outer = p.kind().is_closer() && p.partners.of_token(p.at).is_some();
    if p.at_line_end() || ends_in_brace || closes_outer {
        return;
    }
    let help = match (p.kind(), p.ahead(1).kind) {
        (Colon, Minus) => Some("the body of a rule begins with `<-`"),
        (Pipe, Pipe) => Some("write `or`"),
        (WhereKw, _) => Some("`where` belongs to an equation, a rule or a function"),
        (UntilKw, _) => Some("`until` belongs to an equation or a rule"),
        (ElseKw, _) => Some("`else` follows the block of an `if`"),
        (Colon, _) => Some("a value is assigned with `:=`, an equation written with `=`"),
        (kind, _) if kind.is_closer() => Some("nothing is open that it could close"),
        (LBracket | LBrace, _) => None,
        _ => Some("a statement ends with its line, or with `;`"),
    };
    p.expected_with(codes::EXPECTED_END_OF_STATEMENT, "the end of the statement", |diagnostic| match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    });
    p.skip_line();
}

/// A statement that begins with an expression.
fn equation_or_expr(p: &mut Parser, start: Marker) -> bool {
    let before = p.at;
    p.context.head = true;
    let found = opt_expr(p);
    p.context.head = false;
    if !found {
        expected_expr(p);
        if p.at == before {
            p.skip_one();
            p.skip_line();
        }
        return finish(p, start, Error, false);
    }
    let lhs = p.out.last_kind();
    match p.kind() {
        Eq | PlusEq => equation(p, start),
        _ if is_glued_assignment(p) => equation(p, start),
        ColonEq => {
            check_left_side(p, start, matches!(lhs, Some(NameExpr | IndexExpr | FieldExpr)), "assigned to");
            p.bump();
            expr(p);
            finish(p, start, AssignStmt, false)
        }
        LArrow => {
            check_left_side(p, start, matches!(lhs, Some(NameExpr | CallExpr)), "the head of a rule");
            rule(p, start)
        }
        _ if lhs == Some(QueryExpr) => finish(p, start, QueryStmt, false),
        _ => finish(p, start, ExprStmt, false),
    }
}

/// `Y[i] = rhs` from its operator on.
fn equation(p: &mut Parser, start: Marker) -> bool {
    let definable = matches!(p.out.last_kind(), Some(NameExpr | IndexExpr | CallExpr | FieldExpr));
    check_left_side(p, start, definable, "defined");
    let op = p.marker();
    if !matches!(p.kind(), Eq | PlusEq) {
        p.bump();
    }
    p.bump();
    p.wrap(op, ProjectionOp);
    value(p);
    clauses(p);
    finish(p, start, Equation, false)
}

/// `Head(args) <- body` from its arrow on.
fn rule(p: &mut Parser, start: Marker) -> bool {
    p.bump();
    let body = p.marker();
    loop {
        let literal = p.marker();
        expr(p);
        if p.eat(Eq) {
            expr(p);
            p.wrap(literal, RuleBinding);
        }
        if !p.eat(Comma) {
            break;
        }
    }
    p.wrap(body, RuleBody);
    clauses(p);
    finish(p, start, Rule, false)
}

/// `where guard`, `until condition`, `steps n`, each at most once, on the same line or the next.
pub(super) fn clauses(p: &mut Parser) {
    let mut seen: Vec<SyntaxKind> = Vec::new();
    loop {
        let kind = match p.kind() {
            WhereKw => WhereClause,
            UntilKw => UntilClause,
            _ if starts_steps(p) => StepsClause,
            _ => return,
        };
        if seen.contains(&kind) {
            let span = p.token_span(p.at);
            let word = p.token_text(p.at);
            let message = format!("`{word}` is given twice");
            p.report(Diagnostic::error(codes::REPEATED_CLAUSE, span, message), |diagnostic| {
                diagnostic.help("join the conditions with `and`")
            });
        }
        seen.push(kind);
        let start = p.marker();
        if kind == WhereClause {
            where_clause(p);
            continue;
        }
        p.bump();
        expr(p);
        p.wrap(start, kind);
    }
}

/// `let pattern = value`.
fn let_stmt(p: &mut Parser, start: Marker) -> bool {
    p.bump();
    pattern(p);
    if p.at(LBracket) && !p.on_new_line() {
        let span = p.token_span(p.at);
        p.report(
            Diagnostic::error(codes::BAD_LEFT_SIDE, span, "`let` binds a name, not a tensor"),
            |diagnostic| diagnostic.help("a tensor is defined by an equation without `let`: `W[i, j] = …`"),
        );
        p.skip_one();
    }
    value_after_eq(p);
    finish(p, start, LetStmt, false)
}

/// The expression after an assignment. One that seems to begin on the next line with `y =` is in truth missing.
fn value(p: &mut Parser) {
    let next = p.ahead(1);
    if p.on_new_line() && p.at(Ident) && matches!(next.kind, Eq | PlusEq | ColonEq) && !next.newline {
        return expected_expr(p);
    }
    expr(p);
}

/// `= expr`, or a message that it is missing.
pub(super) fn value_after_eq(p: &mut Parser) {
    if p.eat(Eq) {
        return value(p);
    }
    let help = p.at(ColonEq).then_some("`let` takes `=`; `:=` changes a variable that exists");
    p.expected_with(codes::EXPECTED_TOKEN, "`=` and a value", |diagnostic| match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    });
    if p.eat(ColonEq) {
        expr(p);
    }
}

/// `x`, `_`, `(a, b)`, or a message that it is missing.
fn pattern(p: &mut Parser) -> bool {
    let start = p.marker();
    match p.kind() {
        Ident | Underscore => {
            p.bump();
            p.wrap(start, NamePattern);
        }
        LParen => {
            p.bracketed(Context::LIST, |p, opener| {
                p.comma_list(opener, "a name", |p| {
                    matches!(p.kind(), Ident | Underscore | LParen) && pattern(p)
                });
            });
            p.wrap(start, TuplePattern);
        }
        kind => {
            let help = kind.is_keyword().then(|| format!("`{}` is reserved", p.token_text(p.at)));
            p.expected_with(codes::EXPECTED_NAME, "a name", |diagnostic| match help {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            });
            if kind.is_keyword() && !p.on_new_line() && p.ahead(1).kind == Eq {
                p.skip_one();
            }
            return false;
        }
    }
    true
}

/// `for pattern in iterable { … }`; `for a, b in …` is `for (a, b) in …`.
fn for_stmt(p: &mut Parser, start: Marker) -> bool {
    p.bump();
    let names = p.marker();
    pattern(p);
    if p.at(Comma) {
        while p.eat(Comma) {
            pattern(p);
        }
        p.wrap(names, TuplePattern);
    }
    if p.eat(InKw) {
        condition(p);
    } else {
        p.expected("`in`");
    }
    let found = block(p);
    finish(p, start, ForStmt, found)
}

fn while_stmt(p: &mut Parser, start: Marker) -> bool {
    p.bump();
    condition(p);
    let found = block(p);
    finish(p, start, WhileStmt, found)
}

/// What may follow the block of an `if`. `else` may stand on the next line.
pub(super) fn else_branches(p: &mut Parser) {
    while p.eat(ElseKw) {
        if !p.eat(IfKw) {
            block(p);
            return;
        }
        condition(p);
        block(p);
    }
}

fn keyword_stmt(p: &mut Parser, start: Marker, kind: SyntaxKind) -> bool {
    p.bump();
    finish(p, start, kind, false)
}

fn return_stmt(p: &mut Parser, start: Marker) -> bool {
    p.bump();
    if !p.at_line_end() {
        expr(p);
    }
    finish(p, start, ReturnStmt, false)
}

/// `import "other.tl"`.
fn import_stmt(p: &mut Parser, start: Marker) -> bool {
    p.bump();
    if matches!(p.kind(), Str | RawStr) {
        let path = p.marker();
        p.bump();
        p.wrap(path, StringLit);
    } else {
        p.expected_with(codes::EXPECTED_TOKEN, "a path in quotes", |diagnostic| {
            diagnostic.help("as in `import \"other.tl\"`; a path has no interpolation")
        });
        p.skip_line();
    }
    finish(p, start, ImportStmt, false)
}

fn main_stmt(p: &mut Parser, start: Marker) -> bool {
    p.bump();
    block(p);
    finish(p, start, MainStmt, true)
}

/// `why Ancestor("Alice", "Charlie")?`; the `?` may be left out.
fn why_stmt(p: &mut Parser, start: Marker) -> bool {
    p.bump();
    expr(p);
    finish(p, start, WhyStmt, false)
}

/// `assert condition, message`; in parentheses too.
fn assert_stmt(p: &mut Parser, start: Marker) -> bool {
    p.bump();
    expr(p);
    if p.eat(Comma) {
        expr(p);
    }
    finish(p, start, AssertStmt, false)
}

fn starts_condition(kind: SyntaxKind) -> bool {
    matches!(kind, Ident | Number | Str | StrBegin | LParen | NotKw | TrueKw | FalseKw)
}

/// Reports a left-hand side that is none. The current token is the operator after it.
fn check_left_side(p: &mut Parser, start: Marker, fits: bool, what: &str) {
    if fits {
        return;
    }
    let from = p.out.start_of(start);
    let span = crate::Span { start: from, ..p.after_previous() };
    let message = match what {
        "the head of a rule" => format!("this cannot be {what}"),
        what => format!("this cannot be {what}"),
    };
    p.report(Diagnostic::error(codes::BAD_LEFT_SIDE, span, message), |diagnostic| {
        diagnostic.help("on the left stands a name, with indices `Y[i]` or with arguments `Path(x, y)`")
    });
}

#[cold]
fn report_stray(p: &mut Parser) {
    let span = p.token_span(p.at);
    let message = format!("this `{}` closes nothing", p.token_text(p.at));
    p.error(span, codes::STRAY_BRACKET, message);
}
