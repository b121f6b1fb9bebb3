//! A trie over token texts, for longest-match and all-match look-ups from a position.

/// Nodes are numbers; 0 is the root. Children of a node lie together, sorted by byte.
#[derive(Debug, Clone)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    labels: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    /// The node of the first child; the others follow.
    first_child: u32,
    children: u32,
    /// The token that ends here, or `NO_VALUE`.
    value: u32,
}

const NO_VALUE: u32 = u32::MAX;

impl Trie {
    /// The root, where every walk starts.
    pub(super) const ROOT: u32 = 0;

    /// Builds a trie; of equal texts the first keeps its value. Empty texts are left out.
    pub(super) fn build<'a>(entries: impl Iterator<Item = (&'a [u8], u32)>) -> Self {
        let mut sorted: Vec<_> = entries.filter(|(text, _)| !text.is_empty()).collect();
        sorted.sort_by_key(|(text, _)| *text);
        sorted.dedup_by_key(|(text, _)| *text);
        let mut trie =
            Self { nodes: vec![Node { first_child: 0, children: 0, value: NO_VALUE }], labels: vec![0] };
        // Breadth first: (node, depth, range of `sorted` below it).
        let mut queue = std::collections::VecDeque::from([(0usize, 0usize, 0usize, sorted.len())]);
        while let Some((node, depth, mut start, end)) = queue.pop_front() {
            if start < end && sorted[start].0.len() == depth {
                trie.nodes[node].value = sorted[start].1;
                start += 1;
            }
            trie.nodes[node].first_child = trie.nodes.len() as u32;
            while start < end {
                let label = sorted[start].0[depth];
                let next = start + sorted[start..end].partition_point(|(text, _)| text[depth] == label);
                queue.push_back((trie.nodes.len(), depth + 1, start, next));
                trie.nodes.push(Node { first_child: 0, children: 0, value: NO_VALUE });
                trie.labels.push(label);
                trie.nodes[node].children += 1;
                start = next;
            }
        }
        trie
    }

    /// The child of a node along a byte.
    pub(super) fn step(&self, node: u32, byte: u8) -> Option<u32> {
        let Node { first_child, children, .. } = self.nodes[node as usize];
        let labels = &self.labels[first_child as usize..(first_child + children) as usize];
        labels.binary_search(&byte).ok().map(|i| first_child + i as u32)
    }

    /// The token that ends at a node.
    pub(super) fn value(&self, node: u32) -> Option<u32> {
        Some(self.nodes[node as usize].value).filter(|value| *value != NO_VALUE)
    }

    /// The longest entry that `text` starts with: its length and value.
    pub(super) fn longest(&self, text: &[u8]) -> Option<(usize, u32)> {
        let (mut node, mut best) = (Self::ROOT, None);
        for (i, byte) in text.iter().enumerate() {
            let Some(next) = self.step(node, *byte) else { break };
            node = next;
            if let Some(value) = self.value(node) {
                best = Some((i + 1, value));
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_entry_wins() {
        let entries: [&[u8]; 6] = [b"a", b"abc", b"b", b"abd", b"", b"a"];
        let trie = Trie::build(entries.into_iter().zip(0..));
        assert_eq!(trie.longest(b"abcd"), Some((3, 1)));
        assert_eq!(trie.longest(b"abx"), Some((1, 0)));
        assert_eq!(trie.longest(b"abd"), Some((3, 3)));
        assert_eq!(trie.longest(b"x"), None);
        assert_eq!(trie.longest(b""), None);
    }
}
