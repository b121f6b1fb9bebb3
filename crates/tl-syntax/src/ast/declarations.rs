//! Views of declarations: functions with their parameters, relations, dimensions, learned parameters, `learn`.

use super::expr::Expr;
use super::index::{IndexExpr, IndexList};
use super::stmt::Block;
use super::{AstNode, Ident, child, child_after, children, docs, views};
use crate::kind::SyntaxKind;

views! {
    /// `fn name(params) -> result = expr` or `fn name(params) -> result { … }`.
    FnDecl: FnDecl;
    /// `(x[d], eps = 1e-5)` or `|x, y|`.
    ParamList: ParamList;
    /// One parameter: a name, the axes that the function works on, a default.
    Param: Param;
    /// `[d]`, `y` or `y[d]` after `->`.
    FnResult: FnResult;
    /// `relation Edge(node, node)`.
    RelationDecl: RelationDecl;
    /// A column of a relation: a domain, or a name with its domain, `from: node`.
    Column: Column;
    /// `dim g = 3` or `dim g = 3, c = 64`.
    DimDecl: DimDecl;
    /// `g = 3` in a `dim`.
    DimBinding: DimBinding;
    /// `param W[d, k] = glorot()`.
    ParamDecl: ParamDecl;
    /// `learn { objective: Loss, epochs: 100 }`.
    LearnStmt: LearnStmt;
    /// `batch: e by 64` in a `learn`.
    LearnEntry: LearnEntry;
}

/// What stands after the head of a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FnBody {
    /// `= expr`
    Expr(Expr),
    /// `{ … }`
    Block(Block),
}

impl FnDecl {
    /// The name.
    pub fn name(&self) -> Option<Ident> {
        Ident::of(&self.0)
    }

    /// The parameters.
    pub fn params(&self) -> Vec<Param> {
        child::<ParamList>(&self.0).map(|list| list.params().collect()).unwrap_or_default()
    }

    /// What stands after `->`.
    pub fn result(&self) -> Option<FnResult> {
        child(&self.0)
    }

    /// The body.
    pub fn body(&self) -> Option<FnBody> {
        FnBody::of(&self.0)
    }

    /// The condition after `where`, for a function that is one expression.
    pub fn guard(&self) -> Option<Expr> {
        child(&self.0.child(SyntaxKind::WhereClause)?)
    }

    /// The doc comment above, one line each, without the slashes.
    pub fn docs(&self) -> Option<String> {
        docs(&self.0)
    }
}

impl FnBody {
    /// The body among the children of a function or a closure: what stands after `=`, or a block.
    pub(super) fn of(node: &crate::tree::Node) -> Option<FnBody> {
        match node.child(SyntaxKind::Eq) {
            Some(_) => child_after(node, SyntaxKind::Eq).map(FnBody::Expr),
            None => match child::<Expr>(node)? {
                Expr::Block(block) => Some(FnBody::Block(block)),
                expr => Some(FnBody::Expr(expr)),
            },
        }
    }
}

impl ParamList {
    /// The parameters in order.
    pub fn params(&self) -> impl Iterator<Item = Param> + use<> {
        children(&self.0)
    }
}

impl Param {
    /// The name.
    pub fn name(&self) -> Option<Ident> {
        Ident::of(&self.0)
    }

    /// The axes that the function works on: `Some` for `x[d]` (and for `x[]`), `None` for a plain `x`.
    pub fn indices(&self) -> Option<Vec<IndexExpr>> {
        child::<IndexList>(&self.0).map(|list| list.items().collect())
    }

    /// The default value.
    pub fn default(&self) -> Option<Expr> {
        child_after(&self.0, SyntaxKind::Eq)
    }
}

impl FnResult {
    /// The name of the equation that is the result.
    pub fn name(&self) -> Option<Ident> {
        Ident::of(&self.0)
    }

    /// The axes of the result: `Some` for `[d]` and `y[d]`.
    pub fn indices(&self) -> Option<Vec<IndexExpr>> {
        child::<IndexList>(&self.0).map(|list| list.items().collect())
    }
}

impl RelationDecl {
    /// The name.
    pub fn name(&self) -> Option<Ident> {
        // The first name is the word `relation` itself.
        self.0.children().filter_kind(|kind| kind == SyntaxKind::Ident).nth(1).map(Ident)
    }

    /// The columns in order.
    pub fn columns(&self) -> impl Iterator<Item = Column> + use<> {
        children(&self.0)
    }

    /// The doc comment above.
    pub fn docs(&self) -> Option<String> {
        docs(&self.0)
    }
}

impl Column {
    /// The name of a column that has one: `from` in `from: node`.
    pub fn name(&self) -> Option<Ident> {
        self.0.child(SyntaxKind::Colon).and_then(|_| Ident::of(&self.0))
    }

    /// The domain: `node`.
    pub fn domain(&self) -> Option<Ident> {
        match self.0.child(SyntaxKind::Colon) {
            None => Ident::of(&self.0),
            Some(colon) => self.0.tokens().find(|token| token.id() > colon.id()).map(Ident),
        }
    }
}

impl DimDecl {
    /// The dimensions in order.
    pub fn bindings(&self) -> impl Iterator<Item = DimBinding> + use<> {
        children(&self.0)
    }

    /// The doc comment above.
    pub fn docs(&self) -> Option<String> {
        docs(&self.0)
    }
}

impl DimBinding {
    /// The index whose domain is given.
    pub fn name(&self) -> Option<Ident> {
        Ident::of(&self.0)
    }

    /// Its size, or a list of its constants; `None` for a `dim g` that only declares the name.
    pub fn value(&self) -> Option<Expr> {
        child_after(&self.0, SyntaxKind::Eq)
    }
}

impl ParamDecl {
    /// The name and the indices as written: `W[d, k]`, or `W` for a scalar.
    pub fn target(&self) -> Option<Expr> {
        super::child_before(&self.0, SyntaxKind::Eq)
    }

    /// The name.
    pub fn name(&self) -> Option<Ident> {
        self.target()?.head_name()
    }

    /// The indices; none for a scalar.
    pub fn indices(&self) -> Vec<IndexExpr> {
        match self.target() {
            Some(Expr::Index(indexed)) => indexed.indices().collect(),
            _ => Vec::new(),
        }
    }

    /// How it is initialized.
    pub fn init(&self) -> Option<Expr> {
        child_after(&self.0, SyntaxKind::Eq)
    }

    /// The doc comment above.
    pub fn docs(&self) -> Option<String> {
        docs(&self.0)
    }
}

impl LearnStmt {
    /// The entries in order.
    pub fn entries(&self) -> impl Iterator<Item = LearnEntry> + use<> {
        children(&self.0)
    }

    /// The value of the entry with this name.
    pub fn get(&self, name: &str) -> Option<LearnEntry> {
        self.entries().find(|entry| entry.name().is_some_and(|found| found.as_str() == name))
    }
}

impl LearnEntry {
    /// The name.
    pub fn name(&self) -> Option<Ident> {
        Ident::of(&self.0)
    }

    /// The value.
    pub fn value(&self) -> Option<Expr> {
        child_after(&self.0, SyntaxKind::Colon)
    }

    /// The amount after `by`: 64 in `batch: e by 64`.
    pub fn by(&self) -> Option<Expr> {
        self.0.children().filter_kind(Expr::can_cast).filter_map(Expr::cast).nth(1)
    }
}
