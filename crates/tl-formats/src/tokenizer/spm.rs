//! SentencePiece's BPE vocabularies: the adjacent pair whose joined text is the token of the highest score is merged
//! first, the leftmost of equals; characters that are no token become their bytes.

use super::vocabulary::Vocabulary;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashSet};

const NONE: u32 = u32::MAX;

/// What characters without a token become.
#[derive(Debug, Clone)]
pub(super) struct Spm {
    /// The token of each byte, where the vocabulary has byte tokens.
    bytes: Option<Box<[u32; 256]>>,
    /// Else the unknown token; without it the character is lost.
    unknown: Option<u32>,
    /// Every two characters that follow each other in some token. Text is cut between all others, because no merge can
    /// cross there; short stretches stay in the cache.
    joints: HashSet<(char, char)>,
}

/// A stretch of the text that is, or may be, one token.
#[derive(Debug, Clone, Copy)]
struct Link {
    start: u32,
    /// 0 once merged into the one before.
    len: u32,
    prev: u32,
    next: u32,
}

/// Two neighbours that may become one token.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    score: f32,
    left: u32,
    len: u32,
}

impl Ord for Candidate {
    /// The greatest is merged first: the highest score, then the leftmost.
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

/// Memory that encoding reuses from stretch to stretch.
#[derive(Default)]
struct Scratch {
    links: Vec<Link>,
    queue: BinaryHeap<Candidate>,
}

impl Spm {
    pub(super) fn new(vocabulary: &Vocabulary, bytes: Option<Box<[u32; 256]>>, unknown: Option<u32>) -> Self {
        let mut joints = HashSet::new();
        for id in 0..vocabulary.len() as u32 {
            for chunk in vocabulary.text(id).unwrap_or_default().utf8_chunks() {
                joints.extend(chunk.valid().chars().zip(chunk.valid().chars().skip(1)));
            }
        }
        Self { bytes, unknown, joints }
    }

    /// Appends the tokens of `text`, whose spaces are escaped; returns how many bytes had none.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, out: &mut Vec<u32>) -> usize {
        let (mut start, mut before, mut lost) = (0, None, 0);
        let mut scratch = Scratch::default();
        for (i, c) in text.char_indices() {
            if before.is_some_and(|before| !self.joints.contains(&(before, c))) {
                lost += self.encode_stretch(vocabulary, &text[start..i], &mut scratch, out);
                start = i;
            }
            before = Some(c);
        }
        lost + self.encode_stretch(vocabulary, &text[start..], &mut scratch, out)
    }

    fn encode_stretch(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) -> usize {
        let Scratch { links, queue } = scratch;
        characters(text, links);
        for i in 1..links.len() as u32 {
            offer(vocabulary, text, links, queue, i - 1, i);
        }
        while let Some(Candidate { left, len, .. }) = queue.pop() {
            let at = links[left as usize];
            if at.len == 0 || at.next == NONE || at.len + links[at.next as usize].len != len {
                continue;
            }
            let next = links[at.next as usize].next;
            links[at.next as usize].len = 0;
            links[left as usize] = Link { len, next, ..at };
            if next != NONE {
                links[next as usize].prev = left;
                offer(vocabulary, text, links, queue, left, next);
            }
            if at.prev != NONE {
                offer(vocabulary, text, links, queue, at.prev, left);
            }
        }
        let mut lost = 0;
        for link in links.iter().filter(|link| link.len > 0) {
            let piece = &text.as_bytes()[link.start as usize..(link.start + link.len) as usize];
            match (vocabulary.find(piece), &self.bytes, self.unknown) {
                (Some(id), _, _) => out.push(id),
                (None, Some(bytes), _) => out.extend(piece.iter().map(|byte| bytes[*byte as usize])),
                (None, None, Some(unknown)) => {
                    out.push(unknown);
                    lost += piece.len();
                }
                (None, None, None) => lost += piece.len(),
            }
        }
        lost
    }
}

fn characters(text: &str, links: &mut Vec<Link>) {
    links.clear();
    for (i, c) in text.char_indices() {
        let index = links.len() as u32;
        if let Some(last) = links.last_mut() {
            last.next = index;
        }
        links.push(Link {
            start: i as u32,
            len: c.len_utf8() as u32,
            prev: index.wrapping_sub(1),
            next: NONE,
        });
    }
}

/// Puts two neighbours into the queue if together they are a token.
fn offer(
    vocabulary: &Vocabulary,
    text: &str,
    links: &[Link],
    queue: &mut BinaryHeap<Candidate>,
    left: u32,
    right: u32,
) {
    let (a, b) = (links[left as usize], links[right as usize]);
    let len = a.len + b.len;
    let joined = &text.as_bytes()[a.start as usize..(a.start + len) as usize];
    if let Some(id) = vocabulary.find(joined) {
        queue.push(Candidate { score: vocabulary.score(id), left, len });
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::Attributes;
    use super::*;

    fn vocabulary(tokens: &[(&str, f32)]) -> Vocabulary {
        let scores = tokens.iter().map(|t| t.1).collect();
        Vocabulary::build(tokens.iter().map(|t| (t.0.as_bytes(), Attributes::NORMAL)), scores).0
    }

    #[test]
    fn the_best_score_is_merged_first() {
        let vocabulary = vocabulary(&[
            ("a", 0.0),
            ("b", 0.0),
            ("c", 0.0),
            ("ab", -2.0),
            ("bc", -1.0),
            ("abc", -3.0),
            ("<unk>", 0.0),
        ]);
        let spm = Spm::new(&vocabulary, None, Some(6));
        let encode = |text: &str| {
            let mut out = Vec::new();
            let lost = spm.encode(&vocabulary, text, &mut out);
            (out, lost)
        };
        assert_eq!(encode("abc"), (vec![5], 0));
        assert_eq!(encode("abcb"), (vec![5, 1], 0));
        assert_eq!(encode("aé"), (vec![0, 6], 2));
        assert_eq!(encode(&"ab".repeat(1 << 19)).0.len(), 1 << 19);
    }
}
