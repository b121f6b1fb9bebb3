//! Views of what stands between the brackets of `X[…]`.

use super::expr::{Expr, NameExpr, WildcardExpr};
use super::{AstNode, Ident, child, child_after, children, views};
use crate::kind::SyntaxKind;
use crate::source::Span;
use crate::tree::Node;

views! {
    /// `[i, j + 1, 4:8]`.
    IndexList: IndexList;
    /// `t.`: the axis that the outermost function works along.
    DottedIndex: DottedIndex;
    /// `*t`: a virtual index, of which one step is kept.
    VirtualIndex: VirtualIndex;
    /// `4:8`, `:8`, `4:`, `:`, `0:10:2`.
    SliceIndex: SliceIndex;
    /// `(g r c)`: one axis that is made of several.
    GroupIndex: GroupIndex;
}

/// One member of an index list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IndexExpr {
    /// A bare name: an index, or a variable of that name if one is in scope.
    Name(NameExpr),
    /// `t.`
    Dotted(DottedIndex),
    /// `*t`
    Virtual(VirtualIndex),
    /// `4:8`
    Slice(SliceIndex),
    /// `(g r c)`
    Group(GroupIndex),
    /// `_`
    Wildcard(WildcardExpr),
    /// Anything else: a constant `0` or `"Alice"`, arithmetic `x + dx`, `x / 2`, `*t + 1`, a gather `tok[p]`.
    Expr(Expr),
}

impl IndexList {
    /// The members in order.
    pub fn items(&self) -> impl Iterator<Item = IndexExpr> + use<> {
        children(&self.0)
    }
}

impl IndexExpr {
    /// The node below.
    pub fn syntax(&self) -> &Node {
        match self {
            IndexExpr::Name(view) => view.syntax(),
            IndexExpr::Dotted(view) => view.syntax(),
            IndexExpr::Virtual(view) => view.syntax(),
            IndexExpr::Slice(view) => view.syntax(),
            IndexExpr::Group(view) => view.syntax(),
            IndexExpr::Wildcard(view) => view.syntax(),
            IndexExpr::Expr(view) => view.syntax(),
        }
    }

    /// Where it is written.
    pub fn span(&self) -> Span {
        self.syntax().span()
    }

    /// Its source text.
    pub fn text(&self) -> &str {
        self.syntax().text()
    }

    /// The name of `i`, `t.` and `*t`.
    pub fn name(&self) -> Option<Ident> {
        match self {
            IndexExpr::Name(view) => view.ident(),
            IndexExpr::Dotted(view) => view.name(),
            IndexExpr::Virtual(view) => view.name(),
            _ => None,
        }
    }

    /// Whether it is marked with a dot.
    pub fn is_dotted(&self) -> bool {
        matches!(self, IndexExpr::Dotted(_))
    }

    /// It as an expression, where it can be read as one: not a dotted index, a slice or a group.
    pub fn expr(&self) -> Option<Expr> {
        Expr::cast(self.syntax().clone())
    }
}

impl AstNode for IndexExpr {
    fn can_cast(kind: SyntaxKind) -> bool {
        matches!(kind, SyntaxKind::DottedIndex | SyntaxKind::SliceIndex | SyntaxKind::GroupIndex)
            || Expr::can_cast(kind)
    }

    fn cast(node: Node) -> Option<IndexExpr> {
        match node.kind() {
            SyntaxKind::NameExpr => NameExpr::cast(node).map(IndexExpr::Name),
            SyntaxKind::DottedIndex => DottedIndex::cast(node).map(IndexExpr::Dotted),
            SyntaxKind::VirtualIndex => VirtualIndex::cast(node).map(IndexExpr::Virtual),
            SyntaxKind::SliceIndex => SliceIndex::cast(node).map(IndexExpr::Slice),
            SyntaxKind::GroupIndex => GroupIndex::cast(node).map(IndexExpr::Group),
            SyntaxKind::WildcardExpr => WildcardExpr::cast(node).map(IndexExpr::Wildcard),
            _ => Expr::cast(node).map(IndexExpr::Expr),
        }
    }

    fn syntax(&self) -> &Node {
        IndexExpr::syntax(self)
    }
}

impl DottedIndex {
    /// The name before the dot.
    pub fn name(&self) -> Option<Ident> {
        Ident::of(&self.0)
    }
}

impl VirtualIndex {
    /// The name after the star.
    pub fn name(&self) -> Option<Ident> {
        Ident::of(&self.0)
    }
}

impl SliceIndex {
    /// The first element, if given.
    pub fn start(&self) -> Option<Expr> {
        super::child_before(&self.0, SyntaxKind::Colon)
    }

    /// The element after the last, if given.
    pub fn end(&self) -> Option<Expr> {
        self.after_colon(1)
    }

    /// The step, if given.
    pub fn step(&self) -> Option<Expr> {
        self.after_colon(2)
    }

    /// The expression directly after the given colon.
    fn after_colon(&self, number: usize) -> Option<Expr> {
        let mut colons = 0;
        for node in self.0.children().filter_kind(|kind| kind == SyntaxKind::Colon || Expr::can_cast(kind)) {
            match node.kind() {
                SyntaxKind::Colon => colons += 1,
                _ if colons == number => return Expr::cast(node),
                _ => {}
            }
        }
        None
    }
}

impl GroupIndex {
    /// The axes, the slowest first.
    pub fn names(&self) -> impl Iterator<Item = Ident> + use<> {
        self.0.children().filter_kind(|kind| kind == SyntaxKind::Ident).map(Ident)
    }
}

/// The members of the index list of a node that has one.
pub(super) fn indices_of(node: &Node) -> impl Iterator<Item = IndexExpr> + use<> {
    child::<IndexList>(node).into_iter().flat_map(|list| list.items())
}

/// The index list after `->`.
pub(super) fn indices_after_arrow(node: &Node) -> impl Iterator<Item = IndexExpr> + use<> {
    child_after::<IndexList>(node, SyntaxKind::RArrow).into_iter().flat_map(|list| list.items())
}
