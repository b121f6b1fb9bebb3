//! Operands: names, literals, brackets of all sorts, `if`, functions without a name.

use super::declarations::{fn_tail, param_list, pipe_params};
use super::expr::{expr, opt_expr};
use super::stmt::{block, else_branches};
use super::{Context, Parser};
use crate::codes;
use crate::kind::SyntaxKind::*;

/// An operand, or nothing.
pub(super) fn primary(p: &mut Parser) -> bool {
    let node = match p.kind() {
        Ident => NameExpr,
        Number => NumberLit,
        Str | RawStr => StringLit,
        TrueKw | FalseKw => BoolLit,
        Underscore => WildcardExpr,
        StrBegin => return interpolated_string(p),
        LParen => return paren_or_tuple(p),
        LBracket => return list(p),
        LBrace => return dict_or_block(p),
        IfKw => return if_expr(p),
        FnKw => return fn_closure(p),
        Pipe => return pipe_closure(p),
        Star if p.context.index && p.ahead(1).kind == Ident => return virtual_index(p),
        _ => return false,
    };
    let start = p.marker();
    p.bump();
    p.wrap(start, node);
    true
}

/// `*t`.
fn virtual_index(p: &mut Parser) -> bool {
    let start = p.marker();
    p.bump();
    p.bump();
    p.wrap(start, VirtualIndex);
    true
}

/// `"a {x} b"`. Where the string is not closed, which the lexer has reported, the tokens of the string just end.
fn interpolated_string(p: &mut Parser) -> bool {
    let start = p.marker();
    p.bump();
    loop {
        match p.kind() {
            StrText => p.bump(),
            InterpOpen => interpolation(p),
            _ => break,
        }
    }
    p.eat(StrEnd);
    p.wrap(start, InterpolatedString);
    true
}

/// `{x}` or `{x:.2}`.
fn interpolation(p: &mut Parser) {
    let start = p.marker();
    let outer = p.in_broken_string;
    p.in_broken_string |= p.partners.of_token(p.at).is_none();
    p.bracketed(Context::LIST, |p, opener| {
        expr(p);
        p.eat(FormatSpec);
        if !p.at(InterpClose) && p.partners.of_token(opener).is_some() {
            p.expected("`}`");
            let rest = p.marker();
            while p.partners.of_token(p.at) != Some(opener) {
                p.bump();
            }
            p.wrap(rest, Error);
        }
    });
    p.in_broken_string = outer;
    p.wrap(start, Interpolation);
}

/// `(x)`, `(a, b)`, `(a,)`, `()`.
fn paren_or_tuple(p: &mut Parser) -> bool {
    let start = p.marker();
    let (mut items, mut commas) = (0, 0);
    p.bracketed(Context::GROUP, |p, opener| {
        p.comma_list(opener, "an expression", |p| {
            let found = opt_expr(p);
            items += usize::from(found);
            commas += usize::from(p.at(Comma));
            found
        });
    });
    let kind = if items == 1 && commas == 0 { ParenExpr } else { TupleExpr };
    p.wrap(start, kind);
    true
}

/// `[a, b]`.
fn list(p: &mut Parser) -> bool {
    let start = p.marker();
    p.bracketed(Context::LIST, |p, opener| p.comma_list(opener, "an expression", opt_expr));
    p.wrap(start, ListExpr);
    true
}

/// A brace where an operand is wanted: a dict if it is empty or begins with a key and a colon, else a block.
fn dict_or_block(p: &mut Parser) -> bool {
    if !looks_like_dict(p) && p.ahead(1).kind != RBrace {
        return block(p);
    }
    let start = p.marker();
    p.bracketed(Context::LIST, |p, opener| p.comma_list(opener, "a key", dict_entry));
    p.wrap(start, DictExpr);
    true
}

/// Whether the brace at the current token opens a dict with at least one entry.
pub(super) fn looks_like_dict(p: &Parser) -> bool {
    match p.ahead(1).kind {
        StrBegin => true,
        Ident | Number | Str | RawStr | TrueKw | FalseKw => p.ahead(2).kind == Colon,
        Minus => p.ahead(2).kind == Number && p.ahead(3).kind == Colon,
        _ => false,
    }
}

fn dict_entry(p: &mut Parser) -> bool {
    let start = p.marker();
    if !opt_expr(p) {
        return false;
    }
    if p.eat(Colon) {
        expr(p);
    } else {
        p.expected("`:` and a value");
        opt_expr(p);
    }
    p.wrap(start, DictEntry);
    true
}

/// `if a { … } else if b { … } else { … }`, flat however many branches there are.
pub(super) fn if_expr(p: &mut Parser) -> bool {
    let start = p.marker();
    if !p.enter() {
        p.skip_line();
        return true;
    }
    p.bump();
    condition(p);
    block(p);
    else_branches(p);
    p.leave();
    p.wrap(start, IfExpr);
    true
}

/// The expression between a keyword and a block.
pub(super) fn condition(p: &mut Parser) {
    let outer = p.context;
    p.context.head = false;
    if p.at(LBrace) && !looks_like_dict(p) {
        super::expr::expected_expr(p);
    } else {
        expr(p);
    }
    p.context = outer;
    if p.at(Eq) {
        p.expected_with(codes::EXPECTED_BLOCK, "`{`", |diagnostic| {
            diagnostic.help("equality is written `==`")
        });
        let rest = p.marker();
        p.bump();
        opt_expr(p);
        p.wrap(rest, Error);
    }
}

/// `fn(x) = x + 1`, `fn(x) -> y { … }`.
fn fn_closure(p: &mut Parser) -> bool {
    let start = p.marker();
    if !p.enter() {
        p.skip_line();
        return true;
    }
    p.bump();
    param_list(p);
    fn_tail(p);
    p.leave();
    p.wrap(start, ClosureExpr);
    true
}

/// `|x| x + 1`, `|x, y| { … }`, `|| 0`.
fn pipe_closure(p: &mut Parser) -> bool {
    let start = p.marker();
    if !p.enter() {
        p.skip_line();
        return true;
    }
    pipe_params(p);
    if p.at(LBrace) && !looks_like_dict(p) {
        block(p);
    } else {
        expr(p);
    }
    p.leave();
    p.wrap(start, ClosureExpr);
    true
}
