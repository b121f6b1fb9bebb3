//! Views of expressions.

use super::call::CallExpr;
use super::declarations::{FnBody, FnResult, Param, ParamList};
use super::index::{IndexExpr, IndexList, VirtualIndex, indices_after_arrow, indices_of};
use super::literal::{BoolLit, InterpolatedString, NumberLit, StringLit};
use super::operators::{BinaryExpr, CompareExpr, JoinExpr, NegExpr, NotExpr, PowerExpr, RangeExpr};
use super::stmt::Block;
use super::{AstNode, Ident, child, child_after, child_before, children, view_enum, views};
use crate::kind::SyntaxKind;

views! {
    /// A name: an index, a tensor, a variable, a function.
    NameExpr: NameExpr;
    /// `_`.
    WildcardExpr: WildcardExpr;
    /// `(x)`.
    ParenExpr: ParenExpr;
    /// `(a, b)`, `(a,)`, `()`.
    TupleExpr: TupleExpr;
    /// `[a, b]`.
    ListExpr: ListExpr;
    /// `{ "a": 1, "b": 2 }`.
    DictExpr: DictExpr;
    /// `"a": 1` in a dict.
    DictEntry: DictEntry;
    /// `X[i, j]`.
    IndexedExpr: IndexExpr;
    /// `m.output`.
    FieldExpr: FieldExpr;
    /// `Y?`: evaluates on demand.
    QueryExpr: QueryExpr;
    /// `x -> [d]`: sums out every index but those named.
    ProjectExpr: ProjectExpr;
    /// `x where guard` inside brackets.
    GuardedExpr: GuardedExpr;
    /// `if a { … } else if b { … } else { … }`.
    IfExpr: IfExpr;
    /// `|x| x + 1`, `fn(x) = x + 1`, `fn(x) { … }`.
    ClosureExpr: ClosureExpr;
}

view_enum! {
    /// An expression.
    Expr {
        /// `x`
        Name(NameExpr),
        /// `2.5e-3`
        Number(NumberLit),
        /// `"text"` without interpolation, or `"""raw"""`
        String(StringLit),
        /// `"text {x}"`
        Interpolated(InterpolatedString),
        /// `true`
        Bool(BoolLit),
        /// `_`
        Wildcard(WildcardExpr),
        /// `*t`, in an index list only
        Virtual(VirtualIndex),
        /// `(x)`
        Paren(ParenExpr),
        /// `(a, b)`
        Tuple(TupleExpr),
        /// `[a, b]`
        List(ListExpr),
        /// `{ "a": 1 }`
        Dict(DictExpr),
        /// `a + b - c`, `a * b`, `a or b`, `a and b`
        Binary(BinaryExpr),
        /// `a < b`
        Compare(CompareExpr),
        /// `not a`
        Not(NotExpr),
        /// `-a`
        Neg(NegExpr),
        /// `a..b`
        Range(RangeExpr),
        /// `A[i] B[i]`
        Join(JoinExpr),
        /// `a ^ b`
        Power(PowerExpr),
        /// `f(x)`
        Call(CallExpr),
        /// `X[i]`
        Index(IndexedExpr),
        /// `m.a`
        Field(FieldExpr),
        /// `Y?`
        Query(QueryExpr),
        /// `x -> [d]`
        Project(ProjectExpr),
        /// `(x where g)`
        Guarded(GuardedExpr),
        /// `if c { … }`
        If(IfExpr),
        /// `{ … }`
        Block(Block),
        /// `|x| x`
        Closure(ClosureExpr),
    }
}

/// One `if condition { … }` of an [`IfExpr`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IfBranch {
    /// The condition.
    pub condition: Option<Expr>,
    /// What runs if it holds.
    pub body: Option<Block>,
}

/// `m.blk[l].attn_q.weight[d, (g r c)]` taken apart: a name, and what follows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The name that it begins with.
    pub root: NameExpr,
    /// The fields and index lists after it, in order.
    pub segments: Vec<PathSegment>,
}

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathSegment {
    /// `.weight`
    Field(Ident),
    /// `[d, (g r c)]`
    Index(IndexList),
}

impl Expr {
    /// The expression inside any parentheses.
    #[must_use]
    pub fn unparenthesized(&self) -> Expr {
        let mut expr = self.clone();
        while let Expr::Paren(paren) = &expr {
            match paren.inner() {
                Some(inner) => expr = inner,
                None => break,
            }
        }
        expr
    }

    /// The name of `Y`, `Y[…]` and `Y(…)`.
    pub fn head_name(&self) -> Option<Ident> {
        match self {
            Expr::Name(name) => name.ident(),
            Expr::Index(indexed) => indexed.name(),
            Expr::Call(call) => call.name(),
            _ => None,
        }
    }

    /// The path, if it is a name followed by fields and index lists only (a bare name included).
    pub fn path(&self) -> Option<Path> {
        let mut segments = Vec::new();
        let mut expr = self.clone();
        loop {
            expr = match expr {
                Expr::Name(root) => {
                    segments.reverse();
                    return Some(Path { root, segments });
                }
                Expr::Field(field) => {
                    segments.push(PathSegment::Field(field.name()?));
                    field.base()?
                }
                Expr::Index(indexed) => {
                    segments.push(PathSegment::Index(indexed.list()?));
                    indexed.base()?
                }
                _ => return None,
            };
        }
    }
}

impl NameExpr {
    /// The name as a token.
    pub fn ident(&self) -> Option<Ident> {
        Ident::of(&self.0)
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.0.text()
    }
}

impl ParenExpr {
    /// What is inside.
    pub fn inner(&self) -> Option<Expr> {
        child(&self.0)
    }
}

impl TupleExpr {
    /// The elements.
    pub fn elements(&self) -> impl Iterator<Item = Expr> + use<> {
        children(&self.0)
    }
}

impl ListExpr {
    /// The elements.
    pub fn elements(&self) -> impl Iterator<Item = Expr> + use<> {
        children(&self.0)
    }
}

impl DictExpr {
    /// The entries in order.
    pub fn entries(&self) -> impl Iterator<Item = DictEntry> + use<> {
        children(&self.0)
    }
}

impl DictEntry {
    /// The key; a bare name is an expression like any other.
    pub fn key(&self) -> Option<Expr> {
        child_before(&self.0, SyntaxKind::Colon)
    }

    /// The value.
    pub fn value(&self) -> Option<Expr> {
        child_after(&self.0, SyntaxKind::Colon)
    }
}

impl IndexedExpr {
    /// What is indexed.
    pub fn base(&self) -> Option<Expr> {
        child(&self.0)
    }

    /// The name of `X[…]`, if it is a name that is indexed.
    pub fn name(&self) -> Option<Ident> {
        match self.base()? {
            Expr::Name(name) => name.ident(),
            _ => None,
        }
    }

    /// The brackets with what is in them.
    pub fn list(&self) -> Option<IndexList> {
        child(&self.0)
    }

    /// The members of the index list.
    pub fn indices(&self) -> impl Iterator<Item = IndexExpr> + use<> {
        indices_of(&self.0)
    }
}

impl FieldExpr {
    /// What has the field.
    pub fn base(&self) -> Option<Expr> {
        child(&self.0)
    }

    /// The name of the field, which may be spelt like a keyword.
    pub fn name(&self) -> Option<Ident> {
        self.0
            .tokens()
            .find(|token| token.kind() == SyntaxKind::Ident || token.kind().is_keyword())
            .map(Ident)
    }
}

impl QueryExpr {
    /// What is asked for.
    pub fn target(&self) -> Option<Expr> {
        child(&self.0)
    }
}

impl ProjectExpr {
    /// What is projected.
    pub fn operand(&self) -> Option<Expr> {
        child(&self.0)
    }

    /// The indices that stay.
    pub fn indices(&self) -> impl Iterator<Item = IndexExpr> + use<> {
        indices_after_arrow(&self.0)
    }
}

impl GuardedExpr {
    /// What is guarded.
    pub fn operand(&self) -> Option<Expr> {
        child_before(&self.0, SyntaxKind::WhereClause)
    }

    /// The condition.
    pub fn guard(&self) -> Option<Expr> {
        child(&self.0.child(SyntaxKind::WhereClause)?)
    }
}

impl IfExpr {
    /// The `if` and every `else if`, in order.
    pub fn branches(&self) -> Vec<IfBranch> {
        let mut branches: Vec<IfBranch> = Vec::new();
        for node in self.0.children() {
            match node.kind() {
                SyntaxKind::IfKw => branches.push(IfBranch { condition: None, body: None }),
                SyntaxKind::Block => {
                    // The block of a final `else` finds the last branch complete and is left out.
                    if let Some(branch) = branches.last_mut().filter(|branch| branch.body.is_none()) {
                        branch.body = Block::cast(node);
                    }
                }
                _ => {
                    if let (Some(branch), Some(expr)) = (branches.last_mut(), Expr::cast(node)) {
                        branch.condition = Some(expr);
                    }
                }
            }
        }
        branches
    }

    /// The block of the final `else`.
    pub fn else_block(&self) -> Option<Block> {
        let mut after_else = false;
        for node in self.0.children() {
            match node.kind() {
                SyntaxKind::ElseKw => after_else = true,
                SyntaxKind::IfKw => after_else = false,
                SyntaxKind::Block if after_else => return Block::cast(node),
                _ => {}
            }
        }
        None
    }
}

impl ClosureExpr {
    /// The parameters.
    pub fn params(&self) -> Vec<Param> {
        child::<ParamList>(&self.0).map(|list| list.params().collect()).unwrap_or_default()
    }

    /// What stands after `->` in `fn(x[d]) -> [d] = …`.
    pub fn result(&self) -> Option<FnResult> {
        child(&self.0)
    }

    /// The body.
    pub fn body(&self) -> Option<FnBody> {
        FnBody::of(&self.0)
    }
}
