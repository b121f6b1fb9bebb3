//! Typed views of the syntax tree: what the checker, the interpreter and editors read.
//!
//! A view is a [`Node`] whose kind is known; it computes nothing until asked and costs a reference count to clone, so
//! a closure value or an IR builder can simply keep one. An accessor returns an `Option` (or a shorter list) where the
//! source may be incomplete: then the parser has already reported it, and a consumer goes on without a message of its
//! own. Every view has `.span()`, `.text()` and `.syntax()`.
//!
//! The shape in brief:
//!
//! ```text
//! File, Block   = Stmt*
//! Stmt          = Equation | Rule | Query | Why | Relation | Dim | Param | Learn | Import | Fn | Let | Assign | For
//!               | While | Break | Continue | Return | Main | Assert | Expr
//! Equation      = lhs (ProjectionOp: = += max= min= or= avg=) rhs [where guard] [until cond] [steps n]
//!                 with name(), indices() for `Y[i, j]`, args() for `Path(x, y)` and `file("y.npy")`
//! Rule          = head <- BodyLiteral, …                  Positive(Expr) | Negative(Expr) | Binding(z = x + 1)
//! Expr          = Name | Number | String | Interpolated | Bool | Wildcard | Virtual | Paren | Tuple | List | Dict
//!               | Binary (flat: or, and, + -, * / %) | Compare (flat) | Not | Neg | Range | Join (flat) | Power (flat)
//!               | Call | Index | Field | Query | Project (x -> [d]) | Guarded ((x where g)) | If | Block | Closure
//! IndexExpr     = Name `i` | Dotted `t.` | Virtual `*t` | Slice `4:8` | Group `(g r c)` | Wildcard `_` | Expr
//! ```
//!
//! Chains of operators of one precedence are *one* flat node, so that `a + b + … ` with 100,000 terms has depth one;
//! the depth of any tree is bounded (see [`crate::MAX_NESTING`]) and consumers may recurse.
//!
//! A fact `Parent("Alice", "Bob")` is, to the grammar, the call of a function: [`ExprStmt::call`] gives it, and only
//! somebody who knows all names can tell the two apart.
//!
//! ```
//! use tl_syntax::ast::{Expr, IndexExpr, ProjectionOp, Stmt};
//!
//! let source = tl_syntax::Source::detached("a.tl", "Y[i, t.] = softmax(W[i, j] X[j, t]) where t <= i").unwrap();
//! let parse = tl_syntax::parse(&source);
//! assert!(parse.diagnostics.is_empty());
//! let Some(Stmt::Equation(equation)) = parse.file().stmts().next() else { panic!() };
//! assert_eq!(equation.name().unwrap().as_str(), "Y");
//! assert_eq!(equation.op(), Some(ProjectionOp::Assign));
//! assert!(matches!(equation.indices()[..], [IndexExpr::Name(_), IndexExpr::Dotted(_)]));
//! let Some(Expr::Call(call)) = equation.rhs() else { panic!() };
//! let Some(Expr::Join(join)) = call.positional().next() else { panic!() };
//! assert_eq!(join.factors().map(|factor| factor.text().to_owned()).collect::<Vec<_>>(), ["W[i, j]", "X[j, t]"]);
//! assert_eq!(equation.guard().unwrap().text(), "t <= i");
//! ```

mod call;
mod declarations;
mod expr;
mod index;
mod literal;
mod operators;
mod stmt;

pub use call::{ArgList, Argument, CallExpr, NamedArg};
pub use declarations::{
    Column, DimBinding, DimDecl, FnBody, FnDecl, FnResult, LearnEntry, LearnStmt, Param, ParamDecl,
    ParamList, RelationDecl,
};
pub use expr::{
    ClosureExpr, DictEntry, DictExpr, Expr, FieldExpr, GuardedExpr, IfBranch, IfExpr, IndexedExpr, ListExpr,
    NameExpr, ParenExpr, Path, PathSegment, ProjectExpr, QueryExpr, TupleExpr, WildcardExpr,
};
pub use index::{DottedIndex, GroupIndex, IndexExpr, IndexList, SliceIndex, VirtualIndex};
pub use literal::{BoolLit, InterpolatedString, Interpolation, NumberLit, StringLit, StringPart};
pub use operators::{
    BinOp, BinaryExpr, CmpOp, CompareExpr, JoinExpr, NegExpr, NotExpr, PowerExpr, RangeExpr,
};
pub use stmt::{
    AssertStmt, AssignStmt, Block, BodyLiteral, BreakStmt, ContinueStmt, Equation, ExprStmt, File, ForStmt,
    ImportStmt, LetStmt, MainStmt, NamePattern, Pattern, ProjectionOp, QueryStmt, ReturnStmt, Rule,
    RuleBinding, Stmt, TuplePattern, WhileStmt, WhyStmt,
};

use crate::kind::SyntaxKind;
use crate::source::Span;
use crate::tree::Node;

/// What all views have in common.
pub trait AstNode: Sized {
    /// Whether nodes of this kind can be seen as `Self`.
    fn can_cast(kind: SyntaxKind) -> bool;
    /// The view of a node, if it is of a right kind.
    fn cast(node: Node) -> Option<Self>;
    /// The node below the view.
    fn syntax(&self) -> &Node;
}

/// A name where it is written: a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ident(Node);

impl Ident {
    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.text()
    }

    /// Where it is written.
    pub fn span(&self) -> Span {
        self.0.span()
    }

    /// The token below.
    pub fn syntax(&self) -> &Node {
        &self.0
    }

    /// The first name among the direct tokens of a node.
    fn of(node: &Node) -> Option<Ident> {
        node.child(SyntaxKind::Ident).map(Ident)
    }
}

/// Defines views of one node kind (or of a few) with what all of them offer.
macro_rules! views {
    ($($(#[$meta:meta])* $name:ident: $($kind:ident)|+;)*) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(crate::tree::Node);

        impl $name {
            /// The node below.
            pub fn syntax(&self) -> &crate::tree::Node {
                &self.0
            }

            /// Where it is written.
            pub fn span(&self) -> crate::source::Span {
                self.0.span()
            }

            /// Its source text.
            pub fn text(&self) -> &str {
                self.0.text()
            }
        }

        impl crate::ast::AstNode for $name {
            fn can_cast(kind: crate::kind::SyntaxKind) -> bool {
                matches!(kind, $(crate::kind::SyntaxKind::$kind)|+)
            }

            fn cast(node: crate::tree::Node) -> Option<$name> {
                <$name as crate::ast::AstNode>::can_cast(node.kind()).then(|| $name(node))
            }

            fn syntax(&self) -> &crate::tree::Node {
                &self.0
            }
        }
    )* };
}

/// Defines an enum of views, one variant a view.
macro_rules! view_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident($view:ty),)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant($view),)* }

        impl $name {
            /// The node below.
            pub fn syntax(&self) -> &crate::tree::Node {
                match self { $($name::$variant(view) => view.syntax(),)* }
            }

            /// Where it is written.
            pub fn span(&self) -> crate::source::Span {
                self.syntax().span()
            }

            /// Its source text.
            pub fn text(&self) -> &str {
                self.syntax().text()
            }
        }

        impl crate::ast::AstNode for $name {
            fn can_cast(kind: crate::kind::SyntaxKind) -> bool {
                $(<$view as crate::ast::AstNode>::can_cast(kind))||*
            }

            fn cast(node: crate::tree::Node) -> Option<$name> {
                let kind = node.kind();
                $(if <$view as crate::ast::AstNode>::can_cast(kind) {
                    return <$view as crate::ast::AstNode>::cast(node).map($name::$variant);
                })*
                None
            }

            fn syntax(&self) -> &crate::tree::Node {
                $name::syntax(self)
            }
        }
    };
}

use {view_enum, views};

/// The direct children of a node that can be seen as `T`.
fn children<T: AstNode>(node: &Node) -> impl Iterator<Item = T> + use<T> {
    node.children().filter_kind(T::can_cast).filter_map(T::cast)
}

/// The first direct child that can be seen as `T`.
fn child<T: AstNode>(node: &Node) -> Option<T> {
    children(node).next()
}

/// The first `T` among the direct children after the first token or node of kind `mark`.
fn child_after<T: AstNode>(node: &Node, mark: SyntaxKind) -> Option<T> {
    node.children()
        .filter_kind(|kind| kind == mark || T::can_cast(kind))
        .skip_while(|child| child.kind() != mark)
        .skip(1)
        .find_map(T::cast)
}

/// The first `T` among the direct children before the first token or node of kind `mark`.
fn child_before<T: AstNode>(node: &Node, mark: SyntaxKind) -> Option<T> {
    node.children().take_while(|child| child.kind() != mark).find_map(T::cast)
}

/// The doc comments that a statement begins with, one line each, without `///` and one space; `None` without any.
fn docs(node: &Node) -> Option<String> {
    let lines: Vec<String> = node
        .children()
        .take_while(|child| child.kind().is_trivia())
        .filter(|child| child.kind() == SyntaxKind::DocComment)
        .map(|comment| {
            let text = comment.text().trim_start_matches('/');
            text.strip_prefix(' ').unwrap_or(text).trim_end().to_owned()
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
