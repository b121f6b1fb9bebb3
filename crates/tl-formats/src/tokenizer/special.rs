//! Special tokens: which ids they are, which end a generation, and where text holds them.
//!
//! Files name some of them in their metadata and leave the rest to be known by their text; the lists of texts here are
//! facts about published models.

use super::error::Warning;
use super::vocabulary::{Attributes, Vocabulary};
use std::collections::BTreeSet;

/// The ids that metadata or texts give to special roles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins a sequence.
    pub bos: Option<u32>,
    /// Ends a sequence.
    pub eos: Option<u32>,
    /// Ends a turn.
    pub eot: Option<u32>,
    /// Ends a message that a tool is to answer.
    pub eom: Option<u32>,
    /// Stands for text without a token.
    pub unknown: Option<u32>,
    /// Separates sequences.
    pub separator: Option<u32>,
    /// Fills up a batch.
    pub padding: Option<u32>,
    /// Hides a token in masked models.
    pub mask: Option<u32>,
    /// Fill in the middle: before the text that precedes the gap.
    pub fim_prefix: Option<u32>,
    /// Fill in the middle: before the text that follows the gap.
    pub fim_suffix: Option<u32>,
    /// Fill in the middle: before the gap's text.
    pub fim_middle: Option<u32>,
    /// Fill in the middle: padding.
    pub fim_padding: Option<u32>,
    /// Fill in the middle: before a repository's name.
    pub fim_repository: Option<u32>,
    /// Fill in the middle: between files.
    pub fim_separator: Option<u32>,
}

/// A part of a text: a special token, or text for the model's rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fragment {
    Token(u32),
    Text { start: usize, end: usize },
}

/// The tokens to look for in text, longest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Partition {
    candidates: Vec<Candidate>,
}

#[derive(Debug, Clone)]
struct Candidate {
    id: u32,
    text: String,
    attributes: Attributes,
}

/// A place in a text that a special token takes, with the white space that it swallows.
#[derive(Debug, Clone, Copy)]
struct Hit {
    id: u32,
    start: usize,
    end: usize,
}

const EOT: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
];
const EOM: &[&str] = &["<|eom_id|>"];
const FIM_PREFIX: &[&str] = &[
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<|code_prefix|>",
    "<|prefix|>",
];
const FIM_SUFFIX: &[&str] = &[
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<|code_suffix|>",
    "<|suffix|>",
];
const FIM_MIDDLE: &[&str] = &[
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<|code_middle|>",
    "<|middle|>",
];
const FIM_PADDING: &[&str] = &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"];
const FIM_REPOSITORY: &[&str] = &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"];
const FIM_SEPARATOR: &[&str] = &["<|file_sep|>"];
const END_OF_GENERATION: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];
/// Markers inside an answer that are shown although their files call them control tokens.
const SHOWN: &[&str] = &["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// Finds the roles that metadata left open, by text; marks the tokens found as control.
pub(super) fn detect_roles(
    vocabulary: &mut Vocabulary,
    special: &mut SpecialTokens,
    warnings: &mut Vec<Warning>,
) {
    let roles: [(&mut Option<u32>, &[&str]); 8] = [
        (&mut special.eot, EOT),
        (&mut special.eom, EOM),
        (&mut special.fim_prefix, FIM_PREFIX),
        (&mut special.fim_suffix, FIM_SUFFIX),
        (&mut special.fim_middle, FIM_MIDDLE),
        (&mut special.fim_padding, FIM_PADDING),
        (&mut special.fim_repository, FIM_REPOSITORY),
        (&mut special.fim_separator, FIM_SEPARATOR),
    ];
    for (role, names) in roles {
        if role.is_none()
            && let Some(id) = names.iter().find_map(|name| vocabulary.find(name.as_bytes()))
        {
            *role = Some(id);
            mark_control(vocabulary, id, warnings);
        }
    }
    for id in 0..vocabulary.len() as u32 {
        let attributes = vocabulary.attributes(id);
        let text = vocabulary.text(id).unwrap_or_default();
        if attributes.intersects(Attributes::CONTROL) && text.windows(6).any(|window| window == b"unused") {
            vocabulary.set_attributes(id, attributes.union(Attributes::UNUSED));
        }
    }
}

/// The ids that end a generation, and the corrections of attributes that depend on them.
pub(super) fn detect_end(
    vocabulary: &mut Vocabulary,
    special: &SpecialTokens,
    warnings: &mut Vec<Warning>,
) -> BTreeSet<u32> {
    let mut end: BTreeSet<u32> =
        [special.fim_padding, special.fim_repository, special.fim_separator].into_iter().flatten().collect();
    for name in END_OF_GENERATION {
        if let Some(id) = vocabulary.find(name.as_bytes()) {
            end.insert(id);
            mark_control(vocabulary, id, warnings);
        }
    }
    for id in SHOWN.iter().filter_map(|name| vocabulary.find(name.as_bytes())).collect::<Vec<_>>() {
        vocabulary.set_attributes(id, Attributes::USER_DEFINED);
    }
    end.extend([special.eos, special.eot, special.eom].into_iter().flatten());

    let ends =
        |end: &BTreeSet<u32>, name: &str| vocabulary.find(name.as_bytes()).filter(|id| end.contains(id));
    let calls = ends(&end, "<|call|>").or_else(|| ends(&end, "<|calls|>")).is_some();
    let returns = ends(&end, "<|return|>").or_else(|| ends(&end, "<|flush|>")).is_some();
    // Where `<|return|>` or `<|flush|>` ends the answer, `<|end|>` only ends one message of it.
    let inner_end = ends(&end, "<|end|>").filter(|_| calls && returns);
    // Where these exist, `</s>` is ordinary text (struck-out text in HTML).
    let plain = ends(&end, "<|tool_response>").or_else(|| ends(&end, "<|plamo:eos|>"));
    let struck_out = ends(&end, "</s>").filter(|_| plain.is_some());
    if let Some(id) = inner_end {
        end.remove(&id);
        vocabulary.set_attributes(id, Attributes::USER_DEFINED);
    }
    if let Some(id) = struck_out {
        end.remove(&id);
        vocabulary.set_attributes(id, Attributes::NORMAL);
    }
    end
}

/// White space that special tokens of certain families swallow. `pre`, `architecture` and `name` are the file's.
pub(super) fn strip_rules(
    vocabulary: &mut Vocabulary,
    pre: &str,
    architecture: &str,
    name: &str,
    warnings: &mut Vec<Warning>,
) {
    let name = name.to_ascii_lowercase();
    let mut set = |text: &'static str, attribute: Attributes, on: bool| match vocabulary.find(text.as_bytes())
    {
        Some(id) => {
            let before = vocabulary.attributes(id);
            vocabulary
                .set_attributes(id, if on { before.union(attribute) } else { before.without(attribute) });
        }
        None if on => warnings.push(Warning::MissingNamedToken { text }),
        None => {}
    };
    if ["jina-v2-de", "jina-v2-es", "jina-v2-code", "mmbert"].iter().any(|part| pre.contains(part))
        || ["nomic-bert-moe", "jina-bert-v3"].iter().any(|part| architecture.contains(part))
    {
        set("<mask>", Attributes::LSTRIP, true);
    } else if name.contains("phi-3") || name.contains("phi3") {
        set("</s>", Attributes::RSTRIP, true);
        let special = Attributes::CONTROL.union(Attributes::USER_DEFINED).union(Attributes::UNKNOWN);
        for id in 0..vocabulary.len() as u32 {
            let attributes = vocabulary.attributes(id);
            let kept =
                [&b"<unk>"[..], b"<s>", b"<|endoftext|>"].contains(&vocabulary.text(id).unwrap_or_default());
            if attributes.intersects(special) && !kept {
                vocabulary.set_attributes(id, attributes.union(Attributes::RSTRIP));
            }
        }
    } else if name.contains("modern-bert") {
        set("[MASK]", Attributes::LSTRIP, true);
    }
}

fn mark_control(vocabulary: &mut Vocabulary, id: u32, warnings: &mut Vec<Warning>) {
    let attributes = vocabulary.attributes(id);
    if !attributes.intersects(Attributes::CONTROL) {
        let text = super::decode::escape(vocabulary.text(id).unwrap_or_default());
        warnings.push(Warning::ControlByName { id, text });
        vocabulary.set_attributes(id, attributes.union(Attributes::CONTROL));
    }
}

impl Partition {
    /// Collects the control, user-defined and unknown tokens.
    pub(super) fn build(vocabulary: &Vocabulary) -> Self {
        let special = Attributes::CONTROL.union(Attributes::USER_DEFINED).union(Attributes::UNKNOWN);
        let mut candidates = Vec::new();
        for id in 0..vocabulary.len() as u32 {
            let (attributes, text) = (vocabulary.attributes(id), vocabulary.text(id).unwrap_or_default());
            if attributes.intersects(special)
                && vocabulary.find(text) == Some(id)
                && let Ok(text) = std::str::from_utf8(text)
            {
                candidates.push(Candidate { id, text: text.to_string(), attributes });
            }
        }
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.text.len()));
        Self { candidates }
    }

    /// Cuts a text at the special tokens in it: user-defined ones always, control and unknown ones with `parse_special`.
    pub(super) fn cut(&self, text: &str, parse_special: bool) -> Vec<Fragment> {
        let pairs = PairSet::of(text);
        let reserved = Attributes::CONTROL.union(Attributes::UNKNOWN);
        let mut taken = Vec::new();
        let mut hits = Vec::new();
        for candidate in &self.candidates {
            let allowed = parse_special || !candidate.attributes.intersects(reserved);
            if allowed && pairs.may_contain(&candidate.text) {
                taken.resize(text.len(), false);
                find_all(candidate, text, &mut taken, &mut hits);
            }
        }
        hits.sort_unstable_by_key(|hit| hit.start);
        let mut fragments = Vec::with_capacity(hits.len() * 2 + 1);
        let mut done = 0;
        for hit in hits {
            if hit.start > done {
                fragments.push(Fragment::Text { start: done, end: hit.start });
            }
            fragments.push(Fragment::Token(hit.id));
            done = hit.end;
        }
        if done < text.len() {
            fragments.push(Fragment::Text { start: done, end: text.len() });
        }
        fragments
    }
}

/// Takes every occurrence of a candidate in the text that is still free. Earlier candidates are at least as long, so
/// that an occurrence is free if its ends are.
fn find_all(candidate: &Candidate, text: &str, taken: &mut [bool], hits: &mut Vec<Hit>) {
    let is_blank = |byte: u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(found) = text[from..].find(&candidate.text) {
        let (mut start, mut end) = (from + found, from + found + candidate.text.len());
        if taken[start] {
            from = (start..text.len()).find(|i| !taken[*i]).unwrap_or(text.len());
            continue;
        }
        if taken[end - 1] {
            from = (start + 1..).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len());
            continue;
        }
        if candidate.attributes.intersects(Attributes::LSTRIP) {
            while start > 0 && !taken[start - 1] && is_blank(bytes[start - 1]) {
                start -= 1;
            }
        }
        if candidate.attributes.intersects(Attributes::RSTRIP) {
            while end < text.len() && !taken[end] && is_blank(bytes[end]) {
                end += 1;
            }
        }
        taken[start..end].fill(true);
        hits.push(Hit { id: candidate.id, start, end });
        from = end;
    }
}

/// The pairs of adjacent bytes in a text: most special tokens are ruled out by one that is absent.
struct PairSet {
    pairs: Vec<u64>,
    len: usize,
}

impl PairSet {
    fn of(text: &str) -> Self {
        let mut pairs = vec![0u64; 1024];
        for pair in text.as_bytes().windows(2) {
            let index = usize::from(pair[0]) << 8 | usize::from(pair[1]);
            pairs[index >> 6] |= 1 << (index & 63);
        }
        Self { pairs, len: text.len() }
    }

    fn may_contain(&self, needle: &str) -> bool {
        let has = |pair: &[u8]| {
            let index = usize::from(pair[0]) << 8 | usize::from(pair[1]);
            self.pairs[index >> 6] >> (index & 63) & 1 == 1
        };
        needle.len() <= self.len && needle.as_bytes().windows(2).all(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(tokens: &[(&str, Attributes)]) -> Partition {
        Partition::build(&Vocabulary::build(tokens.iter().map(|t| (t.0.as_bytes(), t.1)), vec![]).0)
    }

    fn show(partition: &Partition, text: &str, parse_special: bool) -> Vec<String> {
        let show = |fragment: &Fragment| match fragment {
            Fragment::Token(id) => format!("#{id}"),
            Fragment::Text { start, end } => text[*start..*end].to_string(),
        };
        partition.cut(text, parse_special).iter().map(show).collect()
    }

    #[test]
    fn longer_tokens_come_first_and_control_needs_permission() {
        let partition = partition(&[
            ("<a>", Attributes::CONTROL),
            ("<a><b>", Attributes::CONTROL),
            ("  ", Attributes::USER_DEFINED),
        ]);
        assert_eq!(show(&partition, "x<a><a><b>y", true), ["x", "#0", "#1", "y"]);
        assert_eq!(show(&partition, "x<a>y   z", false), ["x<a>y", "#2", " z"]);
        assert_eq!(show(&partition, "", true), Vec::<String>::new());
    }

    #[test]
    fn strip_attributes_swallow_white_space() {
        let partition = partition(&[
            ("<l>", Attributes::CONTROL.union(Attributes::LSTRIP)),
            ("<r>", Attributes::CONTROL.union(Attributes::RSTRIP)),
        ]);
        assert_eq!(show(&partition, "a \n<l> b <r> \t c<r>", true), ["a", "#0", " b ", "#1", "c", "#1"]);
    }

    #[test]
    fn many_nested_tokens_over_a_long_run_stay_linear() {
        let texts: Vec<String> = (1..=64).map(|n| "a".repeat(n)).collect();
        let tokens: Vec<_> = texts.iter().map(|t| (t.as_str(), Attributes::USER_DEFINED)).collect();
        let fragments = partition(&tokens).cut(&"a".repeat(1 << 20), false);
        assert_eq!(fragments.len(), 1 << 14);
    }
}
