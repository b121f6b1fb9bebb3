//! Views of files, blocks and statements. Declarations with a body of their own are in `declarations`.

use super::call::{ArgList, CallExpr};
use super::declarations::{DimDecl, FnDecl, LearnStmt, ParamDecl, RelationDecl};
use super::expr::{Expr, IndexedExpr, QueryExpr, TupleExpr};
use super::index::IndexExpr;
use super::literal::StringLit;
use super::operators::NotExpr;
use super::{AstNode, Ident, child, child_after, child_before, children, docs, view_enum, views};
use crate::kind::SyntaxKind;
use crate::source::Span;

views! {
    /// A whole source text.
    File: File;
    /// `{ … }`: statements in braces; as an expression, the value of its last one.
    Block: Block;
    /// `Y[i] = W[i, j] X[j] where j < i`, `Y += …`, `file("y.npy") = Y`, `Path(x, y) min= …`.
    Equation: Equation;
    /// `Head(args) <- body, not body, x < y, z = x + 1`.
    Rule: Rule;
    /// `z = x + 1` in the body of a rule.
    RuleBinding: RuleBinding;
    /// `Y?`, `Y[3, j]?`, `Ancestor("Alice", x)?` as a statement.
    QueryStmt: QueryStmt;
    /// `why Ancestor("Alice", "Charlie")?`.
    WhyStmt: WhyStmt;
    /// `import "other.tl"`.
    ImportStmt: ImportStmt;
    /// `let pattern = value`.
    LetStmt: LetStmt;
    /// `target := value`.
    AssignStmt: AssignStmt;
    /// `for pattern in iterable { … }`.
    ForStmt: ForStmt;
    /// `while condition { … }`.
    WhileStmt: WhileStmt;
    /// `break`.
    BreakStmt: BreakStmt;
    /// `continue`.
    ContinueStmt: ContinueStmt;
    /// `return` or `return value`.
    ReturnStmt: ReturnStmt;
    /// `main { … }`, which means no more than its statements.
    MainStmt: MainStmt;
    /// `assert condition`, `assert condition, message` or `assert(condition, message)`.
    AssertStmt: AssertStmt;
    /// An expression as a statement: a call, an `if`, a fact, the value of a block.
    ExprStmt: ExprStmt;
    /// A name that is bound; `_` binds nothing.
    NamePattern: NamePattern;
    /// `(a, b)`: names for the parts of a tuple.
    TuplePattern: TuplePattern;
}

view_enum! {
    /// A statement.
    Stmt {
        /// A tensor equation.
        Equation(Equation),
        /// A rule with a body.
        Rule(Rule),
        /// `Y?`
        Query(QueryStmt),
        /// `why X?`
        Why(WhyStmt),
        /// `relation Edge(node, node)`
        Relation(RelationDecl),
        /// `dim g = 3`
        Dim(DimDecl),
        /// `param W[d, k] = glorot()`
        Param(ParamDecl),
        /// `learn { … }`
        Learn(LearnStmt),
        /// `import "x.tl"`
        Import(ImportStmt),
        /// `fn f(x) = …`
        Fn(FnDecl),
        /// `let x = …`
        Let(LetStmt),
        /// `x := …`
        Assign(AssignStmt),
        /// `for x in xs { … }`
        For(ForStmt),
        /// `while c { … }`
        While(WhileStmt),
        /// `break`
        Break(BreakStmt),
        /// `continue`
        Continue(ContinueStmt),
        /// `return x`
        Return(ReturnStmt),
        /// `main { … }`
        Main(MainStmt),
        /// `assert c`
        Assert(AssertStmt),
        /// Any expression, facts among them.
        Expr(ExprStmt),
    }
}

view_enum! {
    /// What `let`, `for` bind.
    Pattern {
        /// `x` or `_`
        Name(NamePattern),
        /// `(a, b)`
        Tuple(TuplePattern),
    }
}

/// How an equation combines what it projects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProjectionOp {
    /// `=`: the same as `+=`.
    Assign,
    /// `+=`: sum.
    Add,
    /// `max=`
    Max,
    /// `min=`
    Min,
    /// `or=`
    Or,
    /// `avg=`: mean.
    Avg,
}

/// One member of the body of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BodyLiteral {
    /// An atom `Parent(x, y)` or a comparison `x < y`.
    Positive(Expr),
    /// `not atom`; holds the atom.
    Negative(Expr),
    /// `z = x + 1`
    Binding(RuleBinding),
}

impl File {
    /// The statements in order.
    pub fn stmts(&self) -> impl Iterator<Item = Stmt> + use<> {
        children(&self.0)
    }
}

impl Block {
    /// The statements in order.
    pub fn stmts(&self) -> impl Iterator<Item = Stmt> + use<> {
        children(&self.0)
    }

    /// The last statement if it is an expression: the value of the block.
    pub fn tail(&self) -> Option<Expr> {
        match self.stmts().last()? {
            Stmt::Expr(stmt) => stmt.expr(),
            _ => None,
        }
    }
}

impl Equation {
    /// The whole left-hand side.
    pub fn lhs(&self) -> Option<Expr> {
        child_before(&self.0, SyntaxKind::ProjectionOp)
    }

    /// The name that is defined, where the left-hand side is `Y`, `Y[…]` or `Y(…)`.
    pub fn name(&self) -> Option<Ident> {
        self.lhs()?.head_name()
    }

    /// The indices of a left-hand side `Y[i, j]`; none for any other.
    pub fn indices(&self) -> Vec<IndexExpr> {
        match self.lhs() {
            Some(Expr::Index(indexed)) => indexed.indices().collect(),
            _ => Vec::new(),
        }
    }

    /// The left-hand side `Y[i, j]` as an indexed expression.
    pub fn indexed(&self) -> Option<IndexedExpr> {
        match self.lhs()? {
            Expr::Index(indexed) => Some(indexed),
            _ => None,
        }
    }

    /// The arguments of a left-hand side `Path(x, y)` or `file("y.npy")`.
    pub fn args(&self) -> Option<ArgList> {
        match self.lhs()? {
            Expr::Call(call) => call.args(),
            _ => None,
        }
    }

    /// The projection operator.
    pub fn op(&self) -> Option<ProjectionOp> {
        let op = self.0.child(SyntaxKind::ProjectionOp)?;
        Some(match op.text() {
            "+=" => ProjectionOp::Add,
            "max=" => ProjectionOp::Max,
            "min=" => ProjectionOp::Min,
            "or=" => ProjectionOp::Or,
            "avg=" => ProjectionOp::Avg,
            _ => ProjectionOp::Assign,
        })
    }

    /// Where the projection operator is written.
    pub fn op_span(&self) -> Option<Span> {
        self.0.child(SyntaxKind::ProjectionOp).map(|op| op.span())
    }

    /// The right-hand side.
    pub fn rhs(&self) -> Option<Expr> {
        child_after(&self.0, SyntaxKind::ProjectionOp)
    }

    /// The condition after `where`.
    pub fn guard(&self) -> Option<Expr> {
        clause(&self.0, SyntaxKind::WhereClause)
    }

    /// The condition after `until`: when a fixpoint iteration may stop.
    pub fn until(&self) -> Option<Expr> {
        clause(&self.0, SyntaxKind::UntilClause)
    }

    /// The number after `steps`: how often a fixpoint iteration runs at most.
    pub fn steps(&self) -> Option<Expr> {
        clause(&self.0, SyntaxKind::StepsClause)
    }

    /// The doc comment above.
    pub fn docs(&self) -> Option<String> {
        docs(&self.0)
    }
}

impl ProjectionOp {
    /// How it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            ProjectionOp::Assign => "=",
            ProjectionOp::Add => "+=",
            ProjectionOp::Max => "max=",
            ProjectionOp::Min => "min=",
            ProjectionOp::Or => "or=",
            ProjectionOp::Avg => "avg=",
        }
    }
}

impl Rule {
    /// The head: a call `Ancestor(x, y)`, or a bare name for a relation without columns.
    pub fn head(&self) -> Option<Expr> {
        child_before(&self.0, SyntaxKind::LArrow)
    }

    /// The name of the relation that is defined.
    pub fn name(&self) -> Option<Ident> {
        self.head()?.head_name()
    }

    /// The arguments of the head.
    pub fn args(&self) -> Option<ArgList> {
        match self.head()? {
            Expr::Call(call) => call.args(),
            _ => None,
        }
    }

    /// The members of the body in order.
    pub fn body(&self) -> impl Iterator<Item = BodyLiteral> + use<> {
        let body = self.0.child(SyntaxKind::RuleBody);
        body.into_iter().flat_map(|body| body.nodes()).filter_map(BodyLiteral::cast)
    }

    /// The condition after `where`.
    pub fn guard(&self) -> Option<Expr> {
        clause(&self.0, SyntaxKind::WhereClause)
    }

    /// The condition after `until`.
    pub fn until(&self) -> Option<Expr> {
        clause(&self.0, SyntaxKind::UntilClause)
    }

    /// The number after `steps`.
    pub fn steps(&self) -> Option<Expr> {
        clause(&self.0, SyntaxKind::StepsClause)
    }

    /// The doc comment above.
    pub fn docs(&self) -> Option<String> {
        docs(&self.0)
    }
}

impl BodyLiteral {
    fn cast(node: crate::tree::Node) -> Option<BodyLiteral> {
        match node.kind() {
            SyntaxKind::RuleBinding => RuleBinding::cast(node).map(BodyLiteral::Binding),
            SyntaxKind::NotExpr => NotExpr::cast(node)?.operand().map(BodyLiteral::Negative),
            _ => Expr::cast(node).map(BodyLiteral::Positive),
        }
    }

    /// Where it is written, without the `not`.
    pub fn span(&self) -> Span {
        match self {
            BodyLiteral::Positive(expr) | BodyLiteral::Negative(expr) => expr.span(),
            BodyLiteral::Binding(binding) => binding.span(),
        }
    }
}

impl RuleBinding {
    /// What is bound, as a rule a name.
    pub fn target(&self) -> Option<Expr> {
        child_before(&self.0, SyntaxKind::Eq)
    }

    /// The value.
    pub fn value(&self) -> Option<Expr> {
        child_after(&self.0, SyntaxKind::Eq)
    }
}

impl QueryStmt {
    /// What is asked for, without the `?`.
    pub fn target(&self) -> Option<Expr> {
        child::<QueryExpr>(&self.0)?.target()
    }
}

impl WhyStmt {
    /// What is to be explained, without the `?`.
    pub fn target(&self) -> Option<Expr> {
        match child(&self.0)? {
            Expr::Query(query) => query.target(),
            expr => Some(expr),
        }
    }
}

impl ImportStmt {
    /// The path as a literal.
    pub fn path(&self) -> Option<StringLit> {
        child(&self.0)
    }
}

impl LetStmt {
    /// What is bound.
    pub fn pattern(&self) -> Option<Pattern> {
        child(&self.0)
    }

    /// The value.
    pub fn value(&self) -> Option<Expr> {
        child_after(&self.0, SyntaxKind::Eq)
    }
}

impl Pattern {
    /// All names that it binds, from left to right, `_` left out.
    pub fn names(&self) -> Vec<Ident> {
        let names = self.syntax().descendants().filter(|node| node.kind() == SyntaxKind::Ident);
        names.map(Ident).collect()
    }
}

impl NamePattern {
    /// The name; `None` for `_`.
    pub fn name(&self) -> Option<Ident> {
        Ident::of(&self.0)
    }
}

impl TuplePattern {
    /// The parts.
    pub fn parts(&self) -> impl Iterator<Item = Pattern> + use<> {
        children(&self.0)
    }
}

impl AssignStmt {
    /// What is assigned to: a name, an element `xs[0]`, a field.
    pub fn target(&self) -> Option<Expr> {
        child_before(&self.0, SyntaxKind::ColonEq)
    }

    /// The value.
    pub fn value(&self) -> Option<Expr> {
        child_after(&self.0, SyntaxKind::ColonEq)
    }
}

impl ForStmt {
    /// What each element is bound to.
    pub fn pattern(&self) -> Option<Pattern> {
        child(&self.0)
    }

    /// What is run through.
    pub fn iterable(&self) -> Option<Expr> {
        child_after::<Expr>(&self.0, SyntaxKind::InKw).filter(|expr| !matches!(expr, Expr::Block(_)))
    }

    /// The body.
    pub fn body(&self) -> Option<Block> {
        child(&self.0)
    }
}

impl WhileStmt {
    /// The condition.
    pub fn condition(&self) -> Option<Expr> {
        child::<Expr>(&self.0).filter(|expr| !matches!(expr, Expr::Block(_)))
    }

    /// The body.
    pub fn body(&self) -> Option<Block> {
        child(&self.0)
    }
}

impl ReturnStmt {
    /// The value, if one is given.
    pub fn value(&self) -> Option<Expr> {
        child(&self.0)
    }
}

impl MainStmt {
    /// The body.
    pub fn body(&self) -> Option<Block> {
        child(&self.0)
    }
}

impl AssertStmt {
    /// The condition.
    pub fn condition(&self) -> Option<Expr> {
        self.parts().0
    }

    /// The message, if one is given.
    pub fn message(&self) -> Option<Expr> {
        self.parts().1
    }

    /// `assert(c, m)` is, to the grammar, one tuple.
    fn parts(&self) -> (Option<Expr>, Option<Expr>) {
        let mut exprs = children::<Expr>(&self.0);
        match (exprs.next(), exprs.next()) {
            (Some(Expr::Tuple(tuple)), None) => tuple_parts(&tuple),
            parts => parts,
        }
    }
}

impl ExprStmt {
    /// The expression.
    pub fn expr(&self) -> Option<Expr> {
        child(&self.0)
    }

    /// The call, if it is one: a call of a function, or a fact.
    pub fn call(&self) -> Option<CallExpr> {
        child(&self.0)
    }

    /// The doc comment above.
    pub fn docs(&self) -> Option<String> {
        docs(&self.0)
    }
}

fn tuple_parts(tuple: &TupleExpr) -> (Option<Expr>, Option<Expr>) {
    let mut elements = tuple.elements();
    (elements.next(), elements.next())
}

fn clause(node: &crate::tree::Node, kind: SyntaxKind) -> Option<Expr> {
    child(&node.child(kind)?)
}
