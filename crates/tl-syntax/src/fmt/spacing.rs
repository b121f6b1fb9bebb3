//! Whether a space stands between two tokens of a line.

use super::Piece;
use crate::kind::SyntaxKind::*;

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
        (RArrow, _) => true,
        (_, LBracket) if after.parent == IndexList => false,
        (Minus, _) if before.parent == NegExpr => false,
        (Star, _) if before.parent == VirtualIndex => false,
        (Caret | DotDot, _) | (_, Caret | DotDot) => false,
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
