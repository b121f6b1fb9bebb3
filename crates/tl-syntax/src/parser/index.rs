//! What stands between the brackets of `X[…]`.

use super::expr::opt_expr;
use super::{Context, Parser};
use crate::kind::SyntaxKind::*;

/// `[i, t., 4:8, (g r c), tok[p], x + dx]`.
pub(super) fn index_list(p: &mut Parser) {
    let start = p.marker();
    p.bracketed(Context::INDEX, |p, opener| p.comma_list(opener, "an index", index_item));
    p.wrap(start, IndexList);
}

fn index_item(p: &mut Parser) -> bool {
    let start = p.marker();
    if p.at(Ident) && p.ahead(1).kind == Dot && matches!(p.ahead(2).kind, Comma | RBracket) {
        p.bump();
        p.bump();
        p.wrap(start, DottedIndex);
        return true;
    }
    if let Some(names) = group_length(p) {
        for _ in 0..names + 2 {
            p.bump();
        }
        p.wrap(start, GroupIndex);
        return true;
    }
    let found = opt_expr(p);
    if p.at(Colon) {
        for _ in 0..2 {
            if p.eat(Colon) {
                opt_expr(p);
            }
        }
        p.wrap(start, SliceIndex);
        return true;
    }
    found
}

/// How many names there are in the group `(g r c)` at the current token, if it is one: a parenthesis with at least two
/// names and nothing else. `(g)` is `g` in parentheses.
fn group_length(p: &Parser) -> Option<usize> {
    if !p.at(LParen) {
        return None;
    }
    let names = (1..).take_while(|&place| p.ahead(place).kind == Ident).count();
    (names >= 2 && p.ahead(names + 1).kind == RParen).then_some(names)
}
