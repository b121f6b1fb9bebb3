//! Byte-pair encoding: the lowest-ranked adjacent pair is merged first, the leftmost of equals.
//!
//! Symbols are numbers: token ids, and further numbers for text that merges name and the vocabulary lacks. The queue holds
//! candidate pairs by rank, and stale ones are told by their length, so that a piece of n characters takes O(n log n).

use super::vocabulary::Vocabulary;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};

/// A text that is in no merge and no token.
const NO_SYMBOL: u32 = u32::MAX;
const NONE: u32 = u32::MAX;

/// How a symbol that is no token becomes tokens.
#[derive(Debug, Clone)]
pub(super) enum Fallback {
    /// Each byte of the symbol's spelling whose one-byte text is a token; the others are lost.
    OneByteTexts,
    /// Each byte's `<0xNN>` token; the others are lost.
    ByteTokens(Box<[Option<u32>; 256]>),
    /// The unknown token; several in a row are one if `fuse`.
    Unknown { id: u32, fuse: bool },
}

/// Merges and the symbols that they work on.
#[derive(Debug, Clone)]
pub(super) struct Bpe {
    merges: HashMap<u64, Merge, PairState>,
    /// Spelling of the symbols that are no tokens, whose numbers start at the vocabulary's size.
    extra: Vec<Box<[u8]>>,
    extra_index: HashMap<Box<[u8]>, u32>,
    vocabulary_size: u32,
    alphabet: Alphabet,
    fallback: Fallback,
    pub(super) ignore_merges: bool,
    /// A piece of line feeds only that is a token is that token.
    pub(super) newline_tokens: bool,
}

/// What the first symbols of a piece are.
#[derive(Debug, Clone)]
pub(super) enum Alphabet {
    /// One symbol a byte, spelled in GPT-2's printable alphabet.
    Bytes(Box<[u32; 256]>),
    /// One symbol a character.
    Characters,
}

/// A merge table from text, and what was odd in it.
#[derive(Debug, Default)]
pub(super) struct MergeReport {
    /// Merges whose half or whole is no token.
    pub(super) unknown: usize,
    /// Index of the first of them.
    pub(super) first_unknown: usize,
}

#[derive(Debug, Clone, Copy)]
struct Merge {
    rank: u32,
    result: u32,
}

/// A symbol of the piece being merged: a doubly linked list over positions.
#[derive(Debug, Clone, Copy)]
struct Link {
    symbol: u32,
    start: u32,
    /// 0 once merged into the one before.
    len: u32,
    prev: u32,
    next: u32,
}

/// Memory that encoding reuses from piece to piece.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    links: Vec<Link>,
    /// (rank, position of the left, length of both together, merged symbol), smallest first.
    queue: BinaryHeap<Reverse<(u32, u32, u32, u32)>>,
}

impl Bpe {
    /// Builds the table. `merges` are pairs of halves in order of rank.
    pub(super) fn build<'a>(
        vocabulary: &Vocabulary,
        merges: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        byte_level: bool,
        fallback: Fallback,
    ) -> (Self, MergeReport) {
        let mut bpe = Self {
            merges: HashMap::with_capacity_and_hasher(merges.size_hint().0, PairState::default()),
            extra: Vec::new(),
            extra_index: HashMap::new(),
            vocabulary_size: vocabulary.len() as u32,
            alphabet: Alphabet::Characters,
            fallback,
            ignore_merges: false,
            newline_tokens: false,
        };
        let mut report = MergeReport::default();
        let mut whole = Vec::new();
        for (rank, (left, right)) in merges.enumerate() {
            whole.clear();
            whole.extend_from_slice(left);
            whole.extend_from_slice(right);
            let halves = [bpe.intern(vocabulary, left), bpe.intern(vocabulary, right)];
            let merge = Merge { rank: rank as u32, result: bpe.intern(vocabulary, &whole) };
            if halves.iter().chain([&merge.result]).any(|symbol| *symbol >= bpe.vocabulary_size) {
                if report.unknown == 0 {
                    report.first_unknown = rank;
                }
                report.unknown += 1;
            }
            bpe.merges.entry(pair(halves[0], halves[1])).or_insert(merge);
        }
        if byte_level {
            let mut alphabet = Box::new([0; 256]);
            for byte in 0..=255u8 {
                alphabet[byte as usize] =
                    bpe.intern(vocabulary, byte_char(byte).encode_utf8(&mut [0; 4]).as_bytes());
            }
            bpe.alphabet = Alphabet::Bytes(alphabet);
        }
        (bpe, report)
    }

    /// Bytes for which no token stands alone; empty for an alphabet of characters.
    pub(super) fn missing_bytes(&self) -> Vec<u8> {
        match &self.alphabet {
            Alphabet::Bytes(symbols) => {
                (0..=255).filter(|b| symbols[*b as usize] >= self.vocabulary_size).collect()
            }
            Alphabet::Characters => Vec::new(),
        }
    }

    /// Appends the tokens of one piece; returns how many bytes had none.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        piece: &str,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) -> usize {
        if let Some(id) = self.whole_token(vocabulary, piece) {
            out.push(id);
            return 0;
        }
        self.start(vocabulary, piece, scratch);
        self.merge(scratch);
        let (mut lost, mut after_unknown) = (0, false);
        for link in scratch.links.iter().filter(|link| link.len > 0) {
            let known = link.symbol < self.vocabulary_size;
            if known {
                out.push(link.symbol);
            } else {
                let text = &piece.as_bytes()[link.start as usize..(link.start + link.len) as usize];
                lost += self.fall_back(vocabulary, link.symbol, text, after_unknown, out);
            }
            after_unknown = !known;
        }
        lost
    }

    fn whole_token(&self, vocabulary: &Vocabulary, piece: &str) -> Option<u32> {
        let lines = self.newline_tokens && piece.bytes().all(|b| b == b'\n');
        if !self.ignore_merges && !lines {
            return None;
        }
        match &self.alphabet {
            Alphabet::Characters => vocabulary.find(piece.as_bytes()),
            Alphabet::Bytes(_) if piece.len() > vocabulary.longest() => None,
            Alphabet::Bytes(_) => {
                let spelled: String = piece.bytes().map(byte_char).collect();
                vocabulary.find(spelled.as_bytes())
            }
        }
    }

    fn start(&self, vocabulary: &Vocabulary, piece: &str, scratch: &mut Scratch) {
        let links = &mut scratch.links;
        links.clear();
        match &self.alphabet {
            Alphabet::Bytes(symbols) => {
                for (i, byte) in piece.bytes().enumerate() {
                    links.push(Link {
                        symbol: symbols[byte as usize],
                        start: i as u32,
                        len: 1,
                        prev: NONE,
                        next: NONE,
                    });
                }
            }
            Alphabet::Characters => {
                for (i, c) in piece.char_indices() {
                    let text = &piece.as_bytes()[i..i + c.len_utf8()];
                    let symbol = vocabulary.find(text).or_else(|| self.extra_index.get(text).copied());
                    let (symbol, len) = (symbol.unwrap_or(NO_SYMBOL), text.len() as u32);
                    links.push(Link { symbol, start: i as u32, len, prev: NONE, next: NONE });
                }
            }
        }
        for i in 1..links.len() {
            links[i].prev = i as u32 - 1;
            links[i - 1].next = i as u32;
        }
    }

    fn merge(&self, scratch: &mut Scratch) {
        scratch.queue.clear();
        for i in 1..scratch.links.len() as u32 {
            self.offer(scratch, i - 1, i);
        }
        while let Some(Reverse((_, left, len, symbol))) = scratch.queue.pop() {
            let at = scratch.links[left as usize];
            if at.len == 0 || at.next == NONE || at.len + scratch.links[at.next as usize].len != len {
                continue;
            }
            let right = std::mem::replace(
                &mut scratch.links[at.next as usize],
                Link { symbol: NO_SYMBOL, start: 0, len: 0, prev: NONE, next: NONE },
            );
            scratch.links[left as usize] = Link { symbol, len, next: right.next, ..at };
            if right.next != NONE {
                scratch.links[right.next as usize].prev = left;
                self.offer(scratch, left, right.next);
            }
            if at.prev != NONE {
                self.offer(scratch, at.prev, left);
            }
        }
    }

    /// Puts a pair of neighbours into the queue if it is a merge.
    fn offer(&self, scratch: &mut Scratch, left: u32, right: u32) {
        let (a, b) = (scratch.links[left as usize], scratch.links[right as usize]);
        if a.symbol == NO_SYMBOL || b.symbol == NO_SYMBOL {
            return;
        }
        if let Some(merge) = self.merges.get(&pair(a.symbol, b.symbol)) {
            scratch.queue.push(Reverse((merge.rank, left, a.len + b.len, merge.result)));
        }
    }

    /// Appends what stands for a symbol that is no token; returns how many bytes had nothing.
    fn fall_back(
        &self,
        vocabulary: &Vocabulary,
        symbol: u32,
        text: &[u8],
        after_unknown: bool,
        out: &mut Vec<u32>,
    ) -> usize {
        let before = out.len();
        match &self.fallback {
            Fallback::OneByteTexts => {
                let spelled =
                    symbol.checked_sub(self.vocabulary_size).and_then(|i| self.extra.get(i as usize));
                let spelled = spelled.map_or(text, |s| s);
                out.extend(spelled.iter().filter_map(|byte| vocabulary.find(&[*byte])));
            }
            Fallback::ByteTokens(ids) => out.extend(text.iter().filter_map(|byte| ids[*byte as usize])),
            Fallback::Unknown { id, fuse } => {
                if !(*fuse && after_unknown) {
                    out.push(*id);
                }
                return text.len();
            }
        }
        text.len().saturating_sub(out.len() - before)
    }

    /// The symbol for a text: its token, or a number of its own.
    fn intern(&mut self, vocabulary: &Vocabulary, text: &[u8]) -> u32 {
        if let Some(id) = vocabulary.find(text) {
            return id;
        }
        if let Some(symbol) = self.extra_index.get(text) {
            return *symbol;
        }
        let symbol = self.vocabulary_size + self.extra.len() as u32;
        self.extra.push(text.into());
        self.extra_index.insert(text.into(), symbol);
        symbol
    }
}

fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// The printable character that GPT-2's byte alphabet writes for a byte: itself where it prints in Latin-1, else
/// U+0100 and up, in order.
pub fn byte_char(byte: u8) -> char {
    let prints = |b: u8| matches!(b, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    if prints(byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|b| !prints(*b)).count() as u32;
    char::from_u32(256 + rank).expect("U+0100 to U+0143 are characters")
}

/// The byte that a character of GPT-2's alphabet stands for.
pub(super) fn char_byte(c: char) -> Option<u8> {
    match c as u32 {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => Some(c as u32 as u8),
        0x100..=0x120 => Some((c as u32 - 0x100) as u8),
        0x121..=0x142 => Some((c as u32 - 0x121) as u8 + 0x7F),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// Hashes a pair of symbols by folding one multiplication, with a random key.
#[derive(Debug, Clone)]
struct PairState(u64);

impl Default for PairState {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0u64))
    }
}

impl BuildHasher for PairState {
    type Hasher = PairHasher;
    fn build_hasher(&self) -> PairHasher {
        PairHasher(self.0)
    }
}

struct PairHasher(u64);

impl Hasher for PairHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u64(&mut self, value: u64) {
        let product = u128::from(value ^ self.0) * u128::from(self.0 | 1 << 63 | 1);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::Attributes;
    use super::*;

    #[test]
    fn the_byte_alphabet_is_a_bijection() {
        for byte in 0..=255 {
            assert_eq!(char_byte(byte_char(byte)), Some(byte));
        }
        assert_eq!(byte_char(b' '), 'Ġ');
        assert_eq!(byte_char(b'\n'), 'Ċ');
        assert_eq!(char_byte('世'), None);
    }

    #[test]
    fn merges_apply_by_rank_then_from_the_left() {
        let tokens: Vec<String> = ["a", "b", "ab", "aa", "aab"].iter().map(|s| s.to_string()).collect();
        let (vocabulary, _) =
            Vocabulary::build(tokens.iter().map(|t| (t.as_bytes(), Attributes::NORMAL)), vec![]);
        let merges: [(&[u8], &[u8]); 3] = [(b"a", b"b"), (b"a", b"a"), (b"aa", b"b")];
        let (bpe, report) = Bpe::build(&vocabulary, merges.into_iter(), true, Fallback::OneByteTexts);
        assert_eq!(report.unknown, 0);
        let encode = |text: &str| {
            let mut out = Vec::new();
            let lost = bpe.encode(&vocabulary, text, &mut Scratch::default(), &mut out);
            (out, lost)
        };
        assert_eq!(encode("aab"), (vec![0, 2], 0));
        assert_eq!(encode("aaaa"), (vec![3, 3], 0));
        assert_eq!(encode("aaa"), (vec![3, 0], 0));
        assert_eq!(encode("axb"), (vec![0, 1], 1));
        assert_eq!(encode(&"a".repeat(1 << 20)).0.len(), 1 << 19);
    }
}
