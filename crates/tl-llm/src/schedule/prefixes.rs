//! Prefixes: what is remembered of token sequences that were computed, kept for those that begin alike.
//!
//! A tree with a node for each page of tokens. A node at depth `n` stands for `n` pages, and may hold a *snapshot*: a session of just those tokens. A
//! snapshot serves its ancestors, too, where it can be taken back to their length; where a window or a recurrence of the model forbids that, each node
//! needs its own. Nothing here asks what kind of model it is: it asks the session whether it can be taken back.
//!
//! ```text
//! find    walk down as far as the tokens agree; from there up, the first node that some snapshot serves
//! insert  a snapshot at a node; the ancestors that it serves drop theirs
//! evict   the leaf that was used longest ago loses its page: its snapshot, taken back by a page, becomes the parent's, if it can be
//! ```
//!
//! Snapshots share pages with each other and with the sequences that run, so a node costs its own page.

use tensorlogic::Session;
use tensorlogic::session::PAGE_ROWS;

/// The tree.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    nodes: Vec<Option<Node>>,
    /// The nodes of first pages.
    roots: Vec<usize>,
    clock: u64,
}

#[derive(Debug)]
struct Node {
    /// The tokens of its page.
    tokens: Box<[u32]>,
    parent: Option<usize>,
    children: Vec<usize>,
    snapshot: Option<Session>,
    /// How many pages it stands for.
    depth: usize,
    used: u64,
}

impl Prefixes {
    /// A fork of the longest prefix of `tokens` that is known, shorter than they are; `None` if there is none longer than `beyond`.
    pub fn find(&mut self, tokens: &[u32], beyond: usize) -> Option<Session> {
        let pages = tokens.len().saturating_sub(1) / PAGE_ROWS;
        let path = self.path(&tokens[..pages * PAGE_ROWS]);
        self.clock += 1;
        for (i, &node) in path.iter().enumerate().rev() {
            let len = (i + 1) * PAGE_ROWS;
            if len <= beyond {
                return None;
            }
            if let Some(found) = self.serve(node, len) {
                path[..=i].iter().for_each(|&n| self.node_mut(n).used = self.clock);
                return Some(found);
            }
        }
        None
    }

    /// Remembers the whole pages of a session, if it can be taken back to their end.
    pub fn insert(&mut self, session: &Session) {
        let len = session.len() / PAGE_ROWS * PAGE_ROWS;
        let Some(snapshot) = session.fork_at(len).filter(|s| !s.is_empty()) else { return };
        self.clock += 1;
        let mut parent = None;
        for page in snapshot.tokens().chunks_exact(PAGE_ROWS) {
            let node = self.child(parent, page).unwrap_or_else(|| self.add(parent, page));
            self.node_mut(node).used = self.clock;
            parent = Some(node);
        }
        let Some(node) = parent else { return };
        if self.serve(node, len).is_some() {
            return;
        }
        let mut above = self.node(node).parent;
        while let Some(n) = above {
            if snapshot.can_truncate(self.node(n).depth * PAGE_ROWS) {
                self.node_mut(n).snapshot = None;
            }
            above = self.node(n).parent;
        }
        self.node_mut(node).snapshot = Some(snapshot);
    }

    /// Forgets the page that was used longest ago; `false` if there is none.
    pub fn evict(&mut self) -> bool {
        let leaves = self.nodes.iter().enumerate().filter_map(|(i, node)| Some((i, node.as_ref()?)));
        let leaf = leaves.filter(|(_, node)| node.children.is_empty()).min_by_key(|(_, node)| node.used);
        let Some(leaf) = leaf.map(|(i, _)| i) else { return false };
        let Some(Node { parent, snapshot, .. }) = self.nodes[leaf].take() else { return false };
        match parent {
            None => self.roots.retain(|&n| n != leaf),
            Some(parent) => {
                let node = self.node_mut(parent);
                node.children.retain(|&n| n != leaf);
                let len = node.depth * PAGE_ROWS;
                if node.snapshot.is_none() {
                    node.snapshot = snapshot.and_then(|snapshot| snapshot.fork_at(len));
                }
            }
        }
        true
    }

    /// How many pages of tokens are known.
    pub fn len(&self) -> usize {
        self.nodes.iter().flatten().count()
    }

    /// The nodes of the pages that agree with `tokens`, from the first page on.
    fn path(&self, tokens: &[u32]) -> Vec<usize> {
        let mut path = Vec::new();
        for page in tokens.chunks_exact(PAGE_ROWS) {
            let Some(node) = self.child(path.last().copied(), page) else { break };
            path.push(node);
        }
        path
    }

    fn child(&self, parent: Option<usize>, page: &[u32]) -> Option<usize> {
        let children = parent.map_or(&self.roots, |n| &self.node(n).children);
        children.iter().copied().find(|&n| *self.node(n).tokens == *page)
    }

    fn add(&mut self, parent: Option<usize>, page: &[u32]) -> usize {
        let depth = parent.map_or(1, |n| self.node(n).depth + 1);
        let used = self.clock;
        let node = Node { tokens: page.into(), parent, children: Vec::new(), snapshot: None, depth, used };
        let number = self.nodes.iter().position(Option::is_none).unwrap_or(self.nodes.len());
        if number == self.nodes.len() {
            self.nodes.push(None);
        }
        self.nodes[number] = Some(node);
        match parent {
            None => self.roots.push(number),
            Some(parent) => self.node_mut(parent).children.push(number),
        }
        number
    }

    /// A fork of the `len` tokens that a node stands for, of its own snapshot or of one below it.
    fn serve(&self, node: usize, len: usize) -> Option<Session> {
        let mut open = vec![node];
        while let Some(n) = open.pop() {
            let found = self.node(n).snapshot.as_ref().and_then(|snapshot| snapshot.fork_at(len));
            if found.is_some() {
                return found;
            }
            open.extend(&self.node(n).children);
        }
        None
    }

    fn node(&self, number: usize) -> &Node {
        self.nodes[number].as_ref().expect("nodes refer to nodes that are there")
    }

    fn node_mut(&mut self, number: usize) -> &mut Node {
        self.nodes[number].as_mut().expect("nodes refer to nodes that are there")
    }
}
