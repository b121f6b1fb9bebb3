//! The lossless syntax tree: every byte of the source is in exactly one of its leaves.
//!
//! The tree is one array of 16-byte entries in preorder (a parent, then its children from left to right). An entry
//! knows where its text begins and where its subtree ends in the array; its text ends where the text of the entry
//! after the subtree begins. So spans cost nothing, a walk is a loop over an array, and dropping a tree is freeing one
//! allocation, however deep it is.
//!
//! The parser builds it in *postorder*, because then a parent can be put around what was already parsed by appending
//! one entry ([`TreeBuilder::wrap`]); [`TreeBuilder::finish`] turns the array round in one pass.
//!
//! A [`Node`] is a tree and an index into it: cloning one counts a reference.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::kind::SyntaxKind;
use crate::source::{Source, Span};

/// A syntax tree. Clones share it.
#[derive(Clone)]
pub struct Tree(Arc<TreeData>);

struct TreeData {
    source: Source,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    kind: SyntaxKind,
    /// Offset of the first byte of its text.
    start: u32,
    /// Index of the entry after the last descendant.
    next: u32,
    parent: u32,
}

/// A node or a token of a [`Tree`].
#[derive(Clone)]
pub struct Node {
    tree: Tree,
    index: u32,
}

/// Direct children, tokens and trivia included.
#[derive(Clone)]
pub struct Children {
    tree: Tree,
    at: u32,
    end: u32,
}

/// Builds a tree from its leaves upward.
#[derive(Default)]
pub struct TreeBuilder {
    entries: Vec<PostEntry>,
    /// Offset after the last token that was pushed.
    offset: u32,
}

#[derive(Clone, Copy)]
struct PostEntry {
    kind: SyntaxKind,
    start: u32,
    /// Index of the first descendant; its own index for a leaf.
    first: u32,
    /// How many levels of nodes there are from here down; 0 for a token.
    depth: u32,
}

/// A place among the entries that a [`TreeBuilder`] has so far; nodes can be wrapped from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marker(u32);

impl Tree {
    /// The node of the whole file.
    pub fn root(&self) -> Node {
        Node { tree: self.clone(), index: 0 }
    }

    /// The source text that it was parsed from, byte for byte.
    pub fn text(&self) -> &str {
        self.0.source.text()
    }

    /// The source that it was parsed from.
    pub fn source(&self) -> &Source {
        &self.0.source
    }

    /// How many nodes and tokens it has.
    pub fn len(&self) -> usize {
        self.0.entries.len()
    }

    /// Never: there is always a root.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The token that holds the byte at `offset`, or the last one for the end of the text. `None` for an empty text.
    pub fn token_at(&self, offset: u32) -> Option<Node> {
        let entries = &self.0.entries;
        // Among the entries that begin at or before the offset, the last in preorder that is a leaf with text.
        let mut index = entries.partition_point(|entry| entry.start <= offset);
        while index > 0 {
            index -= 1;
            let node = Node { tree: self.clone(), index: index as u32 };
            if node.is_token() && !node.text().is_empty() {
                return Some(node);
            }
        }
        None
    }

    /// The tree as indented lines, `Kind` for nodes and `Kind "text"` for tokens; trivia are left out. For tests.
    pub fn dump(&self) -> String {
        let mut out = String::new();
        let mut open: Vec<u32> = Vec::new();
        for (index, entry) in self.0.entries.iter().enumerate() {
            open.retain(|&end| (index as u32) < end);
            if entry.kind.is_trivia() {
                continue;
            }
            out.extend(std::iter::repeat_n("  ", open.len()));
            let node = Node { tree: self.clone(), index: index as u32 };
            match node.is_token() {
                true => out.push_str(&format!("{:?} {:?}\n", entry.kind, node.text())),
                false => out.push_str(&format!("{:?}\n", entry.kind)),
            }
            open.push(entry.next);
        }
        out
    }

    fn entry(&self, index: u32) -> Entry {
        self.0.entries[index as usize]
    }

    fn text_start(&self, index: u32) -> u32 {
        self.0.entries.get(index as usize).map_or(self.text().len() as u32, |entry| entry.start)
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.dump())
    }
}

impl PartialEq for Tree {
    /// The same tree in memory, not an equal one.
    fn eq(&self, other: &Tree) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tree {}

impl Node {
    /// What it is.
    pub fn kind(&self) -> SyntaxKind {
        self.tree.entry(self.index).kind
    }

    /// Whether it is a token (a leaf with text) and not a node.
    pub fn is_token(&self) -> bool {
        self.kind().is_token()
    }

    /// The tree that it belongs to.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// A number that no other node of this tree has; small, and stable for this tree.
    pub fn id(&self) -> u32 {
        self.index
    }

    /// Where its text lies, without the doc comments that a statement begins with.
    pub fn span(&self) -> Span {
        let (mut start, end) = self.range();
        let last = self.tree.entry(self.index).next;
        let mut inner = self.index + 1;
        while inner < last && self.tree.entry(inner).kind.is_trivia() {
            inner += 1;
            start = self.tree.text_start(inner);
        }
        Span::new(self.tree.0.source.id(), start, end)
    }

    /// Offsets of the first byte of its text and of the byte after it.
    pub fn range(&self) -> (u32, u32) {
        let entry = self.tree.entry(self.index);
        (entry.start, self.tree.text_start(entry.next))
    }

    /// Its text with all comments and white space inside.
    pub fn text(&self) -> &str {
        let (start, end) = self.range();
        &self.tree.text()[start as usize..end as usize]
    }

    /// The node around it.
    pub fn parent(&self) -> Option<Node> {
        (self.index > 0).then(|| self.at(self.tree.entry(self.index).parent))
    }

    /// Direct children from left to right, tokens and trivia included.
    pub fn children(&self) -> Children {
        Children { tree: self.tree.clone(), at: self.index + 1, end: self.tree.entry(self.index).next }
    }

    /// Direct children that are nodes.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        self.children().filter_kind(|kind| !kind.is_token())
    }

    /// Direct children that are tokens but not trivia.
    pub fn tokens(&self) -> impl Iterator<Item = Node> + use<> {
        self.children().filter_kind(|kind| kind.is_token() && !kind.is_trivia())
    }

    /// The first direct child of this kind.
    pub fn child(&self, kind: SyntaxKind) -> Option<Node> {
        self.children().filter_kind(move |found| found == kind).next()
    }

    /// Itself and everything below it in preorder. A loop: deep trees need no stack.
    pub fn descendants(&self) -> impl Iterator<Item = Node> + use<> {
        let tree = self.tree.clone();
        (self.index..self.tree.entry(self.index).next).map(move |index| Node { tree: tree.clone(), index })
    }

    fn at(&self, index: u32) -> Node {
        Node { tree: self.tree.clone(), index }
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.index == other.index && self.tree == other.tree
    }
}

impl Eq for Node {}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (Arc::as_ptr(&self.tree.0) as usize, self.index).hash(state);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.kind(), self.text())
    }
}

impl Children {
    /// The children whose kind passes, skipping the others without touching their nodes.
    pub fn filter_kind(mut self, keep: impl Fn(SyntaxKind) -> bool) -> impl Iterator<Item = Node> {
        std::iter::from_fn(move || {
            loop {
                let index = self.advance()?;
                if keep(self.tree.entry(index).kind) {
                    return Some(Node { tree: self.tree.clone(), index });
                }
            }
        })
    }

    fn advance(&mut self) -> Option<u32> {
        let index = (self.at < self.end).then_some(self.at)?;
        self.at = self.tree.entry(index).next;
        Some(index)
    }
}

impl Iterator for Children {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        let index = self.advance()?;
        Some(Node { tree: self.tree.clone(), index })
    }
}

impl TreeBuilder {
    /// An empty builder.
    pub fn new() -> TreeBuilder {
        TreeBuilder::default()
    }

    /// Appends a token that ends at offset `end`; it begins where the last one ended.
    pub fn token(&mut self, kind: SyntaxKind, end: u32) {
        let first = self.entries.len() as u32;
        self.entries.push(PostEntry { kind, start: self.offset, first, depth: 0 });
        self.offset = end;
    }

    /// The place after everything so far.
    pub fn marker(&self) -> Marker {
        Marker(self.entries.len() as u32)
    }

    /// Puts a node around all entries since `from`, none included.
    pub fn wrap(&mut self, from: Marker, kind: SyntaxKind) {
        let (start, depth) = (self.start_of(from), self.depth_since(from) as u32 + 1);
        self.entries.push(PostEntry { kind, start, first: from.0, depth });
    }

    /// How many levels of nodes there are among the entries since `from`; 0 if they are tokens only. Looks at what
    /// would become the direct children.
    pub fn depth_since(&self, from: Marker) -> usize {
        let (mut end, mut depth) = (self.entries.len(), 0);
        while end > from.0 as usize {
            let child = &self.entries[end - 1];
            depth = depth.max(child.depth);
            end = child.first as usize;
        }
        depth as usize
    }

    /// The offset at which the text since `from` begins.
    pub fn start_of(&self, from: Marker) -> u32 {
        self.entries.get(from.0 as usize).map_or(self.offset, |entry| entry.start)
    }

    /// The kind of the last node or token that was completed.
    pub fn last_kind(&self) -> Option<SyntaxKind> {
        self.entries.last().map(|entry| entry.kind)
    }

    /// The finished tree. The last entry must be a node around all others.
    pub fn finish(self, source: Source) -> Tree {
        let post = self.entries;
        let root = post.len().checked_sub(1).expect("a tree has a root");
        assert!(post[root].first == 0, "the root covers every entry");
        let mut place = vec![0u32; post.len()];
        let filler = Entry { kind: SyntaxKind::File, start: 0, next: post.len() as u32, parent: 0 };
        let mut entries = vec![filler; post.len()];
        entries[0].kind = post[root].kind;
        // Parents come before their children when the postorder is read from its end. Each hands out places to its
        // children from the right, because the last child is the entry just before it.
        for index in (0..post.len()).rev() {
            let at = place[index];
            let mut next = entries[at as usize].next;
            let mut child = index;
            while child > post[index].first as usize {
                child -= 1;
                let size = (child as u32) - post[child].first + 1;
                place[child] = next - size;
                let PostEntry { kind, start, first, .. } = post[child];
                entries[place[child] as usize] = Entry { kind, start, next, parent: at };
                next -= size;
                child = first as usize;
            }
        }
        Tree(Arc::new(TreeData { source, entries }))
    }
}
