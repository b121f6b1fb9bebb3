//! Views of expressions.

use super::declarations::{FnBody, FnResult, Param, ParamList};
use super::index::{IndexExpr, IndexList, VirtualIndex, indices_after_arrow, indices_of};
use super::literal::{BoolLit, InterpolatedString, NumberLit, StringLit};
use super::stmt::Block;
use super::{AstNode, Ident, child, child_after, child_before, children, view_enum, views};
use crate::kind::SyntaxKind;
use crate::source::Span;
use crate::tree::Node;

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
    /// `f(x, lr: 0.1)`, `sum[d](…)`, `Parent("Alice", x)`.
    CallExpr: CallExpr;
    /// `(x, lr: 0.1)`.
    ArgList: ArgList;
    /// `lr: 0.1`.
    NamedArg: NamedArg;
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

/// An argument of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Argument {
    /// `x`
    Positional(Expr),
    /// `lr: 0.1`
    Named(NamedArg),
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
