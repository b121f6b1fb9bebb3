//! Views of operators: chains of one precedence are flat, with their operands in order.

use super::expr::Expr;
use super::{AstNode, child, child_after, child_before, children, views};
use crate::kind::SyntaxKind;
use crate::source::Span;
use crate::tree::Node;

views! {
    /// A flat chain of left-associative operators of one precedence: `a - b + c`, `a * b / c`, `a and b and c`.
    BinaryExpr: OrExpr | AndExpr | SumExpr | ProductExpr;
    /// A flat chain of comparisons: `a < b`, `0 <= x < n` (which means `0 <= x and x < n`).
    CompareExpr: CompareExpr;
    /// `not x`.
    NotExpr: NotExpr;
    /// `-x`.
    NegExpr: NegExpr;
    /// `a..b`: from `a` to before `b`.
    RangeExpr: RangeExpr;
    /// A flat join by juxtaposition: `A[i, j] B[j, k] C[k]`.
    JoinExpr: JoinExpr;
    /// A flat chain of powers, to be read from the right: `a ^ b ^ c` is `a ^ (b ^ c)`.
    PowerExpr: PowerExpr;
}

/// The operator of a [`BinaryExpr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinOp {
    /// `or`
    Or,
    /// `and`
    And,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
}

/// The operator of a [`CompareExpr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CmpOp {
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `>=`
    Ge,
    /// `>`
    Gt,
    /// `in`
    In,
}

impl BinaryExpr {
    /// The first operand.
    pub fn first(&self) -> Option<Expr> {
        child(&self.0)
    }

    /// The other operands, each with the operator before it and where that is written. To be folded from the left.
    pub fn rest(&self) -> impl Iterator<Item = (BinOp, Span, Expr)> + use<> {
        operations(&self.0, BinOp::of)
    }

    /// All operands.
    pub fn operands(&self) -> impl Iterator<Item = Expr> + use<> {
        children(&self.0)
    }
}

impl BinOp {
    fn of(kind: SyntaxKind) -> Option<BinOp> {
        Some(match kind {
            SyntaxKind::OrKw => BinOp::Or,
            SyntaxKind::AndKw => BinOp::And,
            SyntaxKind::Plus => BinOp::Add,
            SyntaxKind::Minus => BinOp::Sub,
            SyntaxKind::Star => BinOp::Mul,
            SyntaxKind::Slash => BinOp::Div,
            SyntaxKind::Percent => BinOp::Rem,
            _ => return None,
        })
    }

    /// How it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            BinOp::Or => "or",
            BinOp::And => "and",
            BinOp::Add => "+",
            BinOp::Sub => "-",
            BinOp::Mul => "*",
            BinOp::Div => "/",
            BinOp::Rem => "%",
        }
    }
}

impl CompareExpr {
    /// The first operand.
    pub fn first(&self) -> Option<Expr> {
        child(&self.0)
    }

    /// The other operands, each with the operator before it and where that is written.
    pub fn rest(&self) -> impl Iterator<Item = (CmpOp, Span, Expr)> + use<> {
        operations(&self.0, CmpOp::of)
    }

    /// The comparisons that must all hold: `0 <= x < n` gives `(0, <=, x)` and `(x, <, n)`.
    pub fn comparisons(&self) -> Vec<(Expr, CmpOp, Expr)> {
        let mut left = self.first();
        let pairs = self.rest().filter_map(|(op, _, right)| Some((left.replace(right.clone())?, op, right)));
        pairs.collect()
    }
}

impl CmpOp {
    fn of(kind: SyntaxKind) -> Option<CmpOp> {
        Some(match kind {
            SyntaxKind::Lt => CmpOp::Lt,
            SyntaxKind::LtEq => CmpOp::Le,
            SyntaxKind::EqEq => CmpOp::Eq,
            SyntaxKind::BangEq => CmpOp::Ne,
            SyntaxKind::GtEq => CmpOp::Ge,
            SyntaxKind::Gt => CmpOp::Gt,
            SyntaxKind::InKw => CmpOp::In,
            _ => return None,
        })
    }

    /// How it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            CmpOp::Lt => "<",
            CmpOp::Le => "<=",
            CmpOp::Eq => "==",
            CmpOp::Ne => "!=",
            CmpOp::Ge => ">=",
            CmpOp::Gt => ">",
            CmpOp::In => "in",
        }
    }
}

impl NotExpr {
    /// The operand.
    pub fn operand(&self) -> Option<Expr> {
        child(&self.0)
    }
}

impl NegExpr {
    /// The operand.
    pub fn operand(&self) -> Option<Expr> {
        child(&self.0)
    }
}

impl RangeExpr {
    /// The first number.
    pub fn start(&self) -> Option<Expr> {
        child_before(&self.0, SyntaxKind::DotDot)
    }

    /// The number after the last.
    pub fn end(&self) -> Option<Expr> {
        child_after(&self.0, SyntaxKind::DotDot)
    }
}

impl JoinExpr {
    /// The factors from left to right, at least two in a correct program.
    pub fn factors(&self) -> impl Iterator<Item = Expr> + use<> {
        children(&self.0)
    }
}

impl PowerExpr {
    /// The base and the exponents from left to right; to be folded from the right.
    pub fn operands(&self) -> impl Iterator<Item = Expr> + use<> {
        children(&self.0)
    }
}

/// The operands after the first with the operators before them. An operator without an operand is left out.
fn operations<Op: Copy>(
    node: &Node,
    of: fn(SyntaxKind) -> Option<Op>,
) -> impl Iterator<Item = (Op, Span, Expr)> + use<Op> {
    let mut pending: Option<(Op, Span)> = None;
    node.children().filter_map(move |child| match of(child.kind()) {
        Some(op) => {
            pending = Some((op, child.span()));
            None
        }
        None => {
            let expr = Expr::cast(child)?;
            let (op, span) = pending.take()?;
            Some((op, span, expr))
        }
    })
}
