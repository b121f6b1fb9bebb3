//! Whether a space stands between two tokens of a line.

use super::Piece;
use crate::kind::SyntaxKind::*;
use crate::tree::Node;

/// Whether there is a space between two neighbours on one line. The rules are in the order of their force.
pub(super) fn space_between(before: &Piece, after: &Piece) -> bool {
    if before.kind.is_trivia() || after.kind.is_trivia() {
        let opens = matches!(before.kind, LParen | LBracket);
        return !opens && !matches!(after.kind, RParen | RBracket | Comma | Semicolon);
    }
    match (before.kind, after.kind) {
        (_, RParen | RBracket | Comma | Semicolon | Question) => false,
        (LParen | LBracket, _) => false,
        (Comma | Semicolon, _) => true,
        (LBrace, RBrace) => false,
        (LBrace, _) | (_, RBrace) => true,
        (Dot, _) => false,
        // `1 .x` is a field of a number, `1.x` a malformed number.
        (Number, Dot) => true,
        (_, Dot) => false,
        (_, Colon) => false,
        (Colon, _) => before.parent != SliceIndex,
        (_, LParen) if matches!(after.parent, ArgList | ParamList | RelationDecl) => false,
        (_, LParen) if is_whole_assertion(after) => false,
        (RArrow, _) => true,
        (_, LBracket) if after.parent == IndexList => false,
        (Minus, _) if before.parent == NegExpr => false,
        (Star, _) if before.parent == VirtualIndex => false,
        (Caret | DotDot, _) | (_, Caret | DotDot) => false,
        (Star | Slash, _) if is_factor_of_an_index(before) => false,
        (_, Star | Slash) if is_factor_of_an_index(after) => false,
        (_, Pipe) if !opens_params(after) => false,
        (Pipe, _) if opens_params(before) => false,
        (_, Eq) if before.parent == ProjectionOp && after.parent == ProjectionOp => false,
        _ => true,
    }
}

/// Whether a `|` is the first of its pair.
fn opens_params(pipe: &Piece) -> bool {
    pipe.node.parent().is_some_and(|params| params.range().0 == pipe.node.range().0)
}

/// Whether a `(` opens all that is asserted, as in `assert(x > 0, "why")`, which then looks like the call that it resembles.
fn is_whole_assertion(paren: &Piece) -> bool {
    let assertion = paren.node.parent().and_then(|inside| inside.parent());
    matches!(paren.parent, ParenExpr | TupleExpr) && assertion.is_some_and(|node| node.kind() == AssertStmt)
}

/// Whether an operator multiplies or divides names and numbers in an index that is written out, as in `y[2*j + 1]`: there, it is tight.
fn is_factor_of_an_index(operator: &Piece) -> bool {
    let is_plain = |product: Node| product.nodes().all(|node| matches!(node.kind(), NameExpr | NumberLit));
    let product = operator.node.parent().filter(|parent| parent.kind() == ProductExpr);
    if !product.is_some_and(is_plain) {
        return false;
    }
    let mut node = operator.node.parent();
    while let Some(around) = node {
        match around.kind() {
            IndexList => return true,
            ProductExpr | SumExpr | NegExpr | SliceIndex | DottedIndex => node = around.parent(),
            _ => return false,
        }
    }
    false
}
