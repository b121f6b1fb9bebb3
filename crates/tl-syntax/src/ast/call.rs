//! Views of calls: functions, reductions, facts and atoms alike.

use super::expr::Expr;
use super::index::IndexList;
use super::{AstNode, Ident, child, children, views};
use crate::kind::SyntaxKind;
use crate::source::Span;
use crate::tree::Node;

views! {
    /// `f(x, lr: 0.1)`, `sum[d](…)`, `Parent("Alice", x)`.
    CallExpr: CallExpr;
    /// `(x, lr: 0.1)`.
    ArgList: ArgList;
    /// `lr: 0.1`.
    NamedArg: NamedArg;
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Argument {
    /// `x`
    Positional(Expr),
    /// `lr: 0.1`
    Named(NamedArg),
}

impl CallExpr {
    /// What is called: a name, a path, or a reduction with its axes `sum[d]`.
    pub fn callee(&self) -> Option<Expr> {
        child(&self.0)
    }

    /// The name of `f(…)` and of `sum[d](…)`.
    pub fn name(&self) -> Option<Ident> {
        match self.callee()? {
            Expr::Name(name) => name.ident(),
            Expr::Index(indexed) => indexed.name(),
            _ => None,
        }
    }

    /// The axes of a reduction `sum[d, e](…)`; `None` for a plain call.
    pub fn axes(&self) -> Option<IndexList> {
        match self.callee()? {
            Expr::Index(indexed) => indexed.list(),
            _ => None,
        }
    }

    /// The argument list.
    pub fn args(&self) -> Option<ArgList> {
        child(&self.0)
    }

    /// The arguments in order.
    pub fn arguments(&self) -> impl Iterator<Item = Argument> + use<> {
        self.args().into_iter().flat_map(|args| args.arguments())
    }

    /// The arguments without a name, in order.
    pub fn positional(&self) -> impl Iterator<Item = Expr> + use<> {
        self.args().into_iter().flat_map(|args| args.positional())
    }

    /// The argument with this name.
    pub fn named(&self, name: &str) -> Option<NamedArg> {
        self.args()?.named(name)
    }
}

impl ArgList {
    /// The arguments in order.
    pub fn arguments(&self) -> impl Iterator<Item = Argument> + use<> {
        children(&self.0)
    }

    /// The arguments without a name, in order.
    pub fn positional(&self) -> impl Iterator<Item = Expr> + use<> {
        children(&self.0)
    }

    /// The argument with this name.
    pub fn named(&self, name: &str) -> Option<NamedArg> {
        children::<NamedArg>(&self.0).find(|arg| arg.name().is_some_and(|found| found.as_str() == name))
    }
}

impl Argument {
    /// The value.
    pub fn value(&self) -> Option<Expr> {
        match self {
            Argument::Positional(expr) => Some(expr.clone()),
            Argument::Named(arg) => arg.value(),
        }
    }

    /// Where it is written.
    pub fn span(&self) -> Span {
        AstNode::syntax(self).span()
    }
}

impl AstNode for Argument {
    fn can_cast(kind: SyntaxKind) -> bool {
        kind == SyntaxKind::NamedArg || Expr::can_cast(kind)
    }

    fn cast(node: Node) -> Option<Argument> {
        match node.kind() {
            SyntaxKind::NamedArg => NamedArg::cast(node).map(Argument::Named),
            _ => Expr::cast(node).map(Argument::Positional),
        }
    }

    fn syntax(&self) -> &Node {
        match self {
            Argument::Positional(expr) => expr.syntax(),
            Argument::Named(arg) => arg.syntax(),
        }
    }
}

impl NamedArg {
    /// The name.
    pub fn name(&self) -> Option<Ident> {
        Ident::of(&self.0)
    }

    /// The value.
    pub fn value(&self) -> Option<Expr> {
        child(&self.0)
    }
}
