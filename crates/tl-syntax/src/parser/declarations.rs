//! Functions and their parameters, relations, dimensions, learned parameters, `learn`.

use super::expr::{expr, postfix};
use super::index::index_list;
use super::stmt::{block, clauses, finish, value_after_eq};
use super::{Context, Parser};
use crate::codes;
use crate::kind::SyntaxKind::*;
use crate::tree::Marker;

/// `fn name(params) -> result = expr` or `… { … }`.
pub(super) fn fn_decl(p: &mut Parser, start: Marker) -> bool {
    p.bump();
    expect_name(p, "the name of the function");
    param_list(p);
    let ends_in_brace = fn_tail(p);
    finish(p, start, FnDecl, ends_in_brace)
}

/// What follows the parameters of a function: `-> result`, and `= expr` or a block.
pub(super) fn fn_tail(p: &mut Parser) -> bool {
    if p.at(RArrow) {
        p.bump();
        let result = p.marker();
        let named = p.eat(Ident);
        if p.at(LBracket) && !(named && p.on_new_line()) {
            index_list(p);
        } else if !named {
            p.expected("`[d]` or `y[d]`");
        }
        p.wrap(result, FnResult);
    }
    if p.eat(Eq) {
        expr(p);
        clauses(p);
        return false;
    }
    if p.at(LBrace) {
        return block(p);
    }
    p.expected_with(codes::EXPECTED_BLOCK, "`=` or `{`", |diagnostic| {
        diagnostic.help("the body of a function is `= expression` or a block")
    });
    false
}

/// `(x[d], eps = 1e-5, n)`, or a message that it is missing.
pub(super) fn param_list(p: &mut Parser) {
    if !p.at(LParen) {
        return p.expected("`(` and parameters");
    }
    let start = p.marker();
    p.bracketed(Context::LIST, |p, opener| {
        p.comma_list(opener, "a parameter", |p| p.at(Ident) && param(p, true));
    });
    p.wrap(start, ParamList);
}

/// `|x, y|`; also `||`, which has no parameter.
pub(super) fn pipe_params(p: &mut Parser) {
    let start = p.marker();
    p.bump();
    while p.at(Ident) {
        param(p, false);
        if !p.eat(Comma) {
            break;
        }
    }
    if !p.eat(Pipe) {
        p.expected("`|`");
    }
    p.wrap(start, ParamList);
}

fn param(p: &mut Parser, with_default: bool) -> bool {
    let start = p.marker();
    p.bump();
    if p.at(LBracket) {
        index_list(p);
    }
    if with_default && p.eat(Eq) {
        expr(p);
    }
    p.wrap(start, Param);
    true
}

/// `relation Edge(node, node)`, `relation Edge(from: node, to: node)`.
pub(super) fn relation_decl(p: &mut Parser, start: Marker) -> bool {
    p.bump();
    p.bump();
    if p.at(LParen) {
        p.bracketed(Context::LIST, |p, opener| {
            p.comma_list(opener, "the domain of a column", |p| {
                let column = p.marker();
                if !p.eat(Ident) {
                    return false;
                }
                if p.eat(Colon) {
                    expect_name(p, "the domain of the column");
                }
                p.wrap(column, Column);
                true
            });
        });
    } else {
        p.expected("`(` and the columns");
    }
    finish(p, start, RelationDecl, false)
}

/// `dim g = 3`, `dim g = 3, c = 64`.
pub(super) fn dim_decl(p: &mut Parser, start: Marker) -> bool {
    p.bump();
    loop {
        let binding = p.marker();
        if !expect_name(p, "the name of an index") {
            break;
        }
        if p.eat(Eq) {
            expr(p);
        }
        p.wrap(binding, DimBinding);
        if !p.eat(Comma) {
            break;
        }
    }
    finish(p, start, DimDecl, false)
}

/// `param W[d, k] = glorot()`.
pub(super) fn param_decl(p: &mut Parser, start: Marker) -> bool {
    p.bump();
    postfix(p);
    value_after_eq(p);
    finish(p, start, ParamDecl, false)
}

/// `learn { objective: Loss, epochs: 100 }`; entries end with a comma or with their line.
pub(super) fn learn_stmt(p: &mut Parser, start: Marker) -> bool {
    p.bump();
    p.bracketed(Context { by: true, ..Context::BLOCK }, |p, _| {
        loop {
            while p.eat(Comma) || p.eat(Semicolon) {}
            if matches!(p.kind(), RBrace | Eof) {
                return;
            }
            learn_entry(p);
        }
    });
    finish(p, start, LearnStmt, true)
}

fn learn_entry(p: &mut Parser) {
    let start = p.marker();
    if !p.at(Ident) || p.ahead(1).kind != Colon {
        p.expected("an entry such as `objective: Loss`");
        p.skip_one();
        return skip_entry(p);
    }
    p.bump();
    p.bump();
    expr(p);
    if p.at_word("by") {
        p.bump();
        expr(p);
    }
    p.wrap(start, LearnEntry);
    if !p.at(Comma) && !p.at_line_end() {
        p.expected("`,` or the end of the line");
        skip_entry(p);
    }
}

/// Skips what is left of a `learn` entry.
fn skip_entry(p: &mut Parser) {
    while !p.at(Comma) && !p.at_line_end() {
        p.skip_one();
    }
}

/// A name, or a message that it is missing.
fn expect_name(p: &mut Parser, what: &str) -> bool {
    let found = p.eat(Ident);
    if !found {
        p.expected_with(codes::EXPECTED_NAME, what, |diagnostic| diagnostic);
    }
    found
}
