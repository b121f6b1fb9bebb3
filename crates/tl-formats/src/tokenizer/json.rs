//! A tokenizer from a Hugging Face `tokenizer.json`: BPE models with the normalizers and pre-tokenizers that published
//! models of that kind use. Everything else is refused by name.

use super::bpe::{Bpe, Fallback};
use super::error::{TokenizerError, Warning};
use super::normalize::Normalizer;
use super::special::{self, Partition, SpecialTokens};
use super::split::{Behaviour, Pattern, Stage};
use super::vocabulary::{Attributes, Vocabulary, parse_byte_token};
use super::{Model, Spelling, Tokenizer};
use serde_json::Value;

type Result<T> = std::result::Result<T, TokenizerError>;

const PUNCTUATION: &str = r"[\p{P}!-/:-@\[-`{-~]";
const NORMALIZERS: &str = "NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Prepend, Replace, Sequence";
const PRE_TOKENIZERS: &str = "ByteLevel, Split, Digits, Punctuation, Metaspace, Whitespace, WhitespaceSplit, \
     BertPreTokenizer, Sequence";
const PROCESSORS: &str = "ByteLevel, TemplateProcessing, BertProcessing, RobertaProcessing, Sequence";
const DECODERS: &str = "ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip, Sequence";
/// An id may exceed the number of entries by this much before it is taken for an attack on memory.
const ID_SLACK: usize = 1 << 20;

/// What normalizers and pre-tokenizers amount to.
#[derive(Default)]
struct Pipeline {
    normalizers: Vec<Normalizer>,
    stages: Vec<Stage>,
    byte_level: bool,
}

/// What the decoder undoes.
#[derive(Default)]
struct Undo {
    byte_level: bool,
    metaspace: bool,
    strip_start: bool,
}

/// A token while the list is collected.
#[derive(Clone)]
struct Entry {
    text: Vec<u8>,
    attributes: Attributes,
}

pub(super) fn load(source: &str) -> Result<Tokenizer> {
    let root: Value = serde_json::from_str(source).map_err(|error| {
        TokenizerError::invalid("tokenizer.json", format!("it is not valid JSON: {error}"))
    })?;
    let model = root.get("model").filter(|model| model.is_object());
    let model =
        model.ok_or(TokenizerError::Missing { key: "model".into(), why: "it holds the vocabulary" })?;
    check_model(model)?;
    let mut warnings = Vec::new();
    let entries = read_entries(&root, model)?;
    let empty: Vec<_> = (0..entries.len()).filter(|id| entries[*id].text.is_empty()).collect();
    if let Some(first) = empty.first() {
        warnings.push(Warning::EmptyTokens { count: empty.len(), first: *first as u32 });
    }
    let (mut vocabulary, repeats) =
        Vocabulary::build(entries.iter().map(|e| (&*e.text, e.attributes)), Vec::new());
    if let Some(first) = repeats.first() {
        warnings.push(Warning::DuplicateTokens { count: repeats.len(), first: *first });
    }
    let mut pipeline = Pipeline::default();
    add_normalizer(component(&root, "normalizer"), &mut pipeline.normalizers)?;
    add_pre_tokenizer(component(&root, "pre_tokenizer"), &mut pipeline)?;
    let mut undo = Undo::default();
    add_decoder(component(&root, "decoder"), &mut undo)?;
    let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
    add_processor(component(&root, "post_processor"), &vocabulary, &mut prefix, &mut suffix)?;
    let bpe = build_bpe(model, &vocabulary, pipeline.byte_level, &mut warnings)?;
    let mut special = SpecialTokens {
        bos: prefix.first().copied(),
        eos: suffix.last().copied(),
        unknown: text_field(model, "unk_token").and_then(|text| vocabulary.find(text.as_bytes())),
        ..SpecialTokens::default()
    };
    special::detect_roles(&mut vocabulary, &mut special, &mut warnings);
    let end_of_generation = special::detect_end(&mut vocabulary, &special, &mut warnings);
    let spelling = match (pipeline.byte_level || undo.byte_level, undo.metaspace) {
        (true, _) => Spelling::ByteLevel,
        (false, true) => Spelling::Metaspace,
        (false, false) => Spelling::Plain,
    };
    Ok(Tokenizer {
        partition: Partition::build(&vocabulary),
        vocabulary,
        special,
        end_of_generation,
        model: Model::Bpe { bpe, normalizers: pipeline.normalizers, stages: pipeline.stages },
        prefix,
        suffix,
        spelling,
        add_space_prefix: undo.strip_start,
        warnings,
        pre: None,
    })
}

/// A component that may be absent or null.
fn component<'a>(root: &'a Value, name: &str) -> Option<&'a Value> {
    root.get(name).filter(|value| !value.is_null())
}

fn text_field<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn flag(value: &Value, name: &str, default: bool) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or(default)
}

fn type_of(value: &Value) -> &str {
    text_field(value, "type").unwrap_or("")
}

fn unsupported<T>(what: &str, name: &str, supported: &str) -> Result<T> {
    let what = format!("the {what} `{}` of tokenizer.json", super::escape(name.as_bytes()));
    Err(TokenizerError::Unsupported { what, supported: supported.into() })
}

fn check_model(model: &Value) -> Result<()> {
    // Old files have no type; those with merges are BPE.
    let kind =
        if type_of(model).is_empty() && model.get("merges").is_some() { "BPE" } else { type_of(model) };
    if kind != "BPE" {
        return unsupported("model", kind, "BPE");
    }
    for affix in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if text_field(model, affix).is_some_and(|text| !text.is_empty()) {
            return unsupported("BPE option", affix, "BPE without affixes");
        }
    }
    if model.get("dropout").and_then(Value::as_f64).is_some_and(|dropout| dropout != 0.0) {
        return unsupported("BPE option", "dropout", "BPE without dropout");
    }
    Ok(())
}

/// The vocabulary and the added tokens, by id. Ids that no token has stay empty.
fn read_entries(root: &Value, model: &Value) -> Result<Vec<Entry>> {
    let vocabulary = model.get("vocab").and_then(Value::as_object);
    let vocabulary = vocabulary
        .ok_or(TokenizerError::Missing { key: "model.vocab".into(), why: "it lists the tokens" })?;
    let none = Vec::new();
    let added = root.get("added_tokens").and_then(Value::as_array).unwrap_or(&none);
    let limit = vocabulary.len() + added.len() + ID_SLACK;
    let byte_fallback = flag(model, "byte_fallback", false);
    let mut entries = Vec::new();
    let mut put = |id: &Value, text: &str, attributes: Attributes, path: &str| {
        let id = id.as_u64().and_then(|id| usize::try_from(id).ok()).filter(|id| *id < limit);
        let problem =
            || format!("the id of `{}` is not a number below {limit}", super::escape(text.as_bytes()));
        let id = id.ok_or_else(|| TokenizerError::invalid(path, problem()))?;
        if entries.len() <= id {
            entries.resize(id + 1, Entry { text: Vec::new(), attributes: Attributes::UNUSED });
        }
        entries[id] = Entry { text: text.as_bytes().to_vec(), attributes };
        Ok(())
    };
    for (text, id) in vocabulary {
        let byte = byte_fallback && parse_byte_token(text.as_bytes()).is_some();
        put(id, text, if byte { Attributes::BYTE } else { Attributes::NORMAL }, "model.vocab")?;
    }
    for token in added {
        let text = text_field(token, "content").unwrap_or("");
        if text.is_empty() {
            return Err(TokenizerError::invalid("added_tokens", "an added token has no content"));
        }
        if flag(token, "single_word", false) {
            return unsupported("added-token option", "single_word", "lstrip, rstrip, special");
        }
        let mut attributes =
            if flag(token, "special", false) { Attributes::CONTROL } else { Attributes::USER_DEFINED };
        for (name, attribute) in [("lstrip", Attributes::LSTRIP), ("rstrip", Attributes::RSTRIP)] {
            if flag(token, name, false) {
                attributes = attributes.union(attribute);
            }
        }
        put(token.get("id").unwrap_or(&Value::Null), text, attributes, "added_tokens")?;
    }
    Ok(entries)
}

fn build_bpe(
    model: &Value,
    vocabulary: &Vocabulary,
    byte_level: bool,
    warnings: &mut Vec<Warning>,
) -> Result<Bpe> {
    let merges = model.get("merges").and_then(Value::as_array);
    let merges = merges.ok_or(TokenizerError::Missing { key: "model.merges".into(), why: "BPE needs it" })?;
    let pairs = merges.iter().enumerate().map(|(index, merge)| {
        parse_merge(merge).ok_or_else(|| {
            TokenizerError::invalid("model.merges", format!("merge {index} is not a pair of texts: {merge}"))
        })
    });
    let pairs = pairs.collect::<Result<Vec<_>>>()?;
    let unknown = text_field(model, "unk_token").and_then(|text| vocabulary.find(text.as_bytes()));
    let fallback = match unknown {
        _ if flag(model, "byte_fallback", false) => {
            let mut ids = Box::new([None; 256]);
            (0..=255u8).for_each(|byte| ids[byte as usize] = vocabulary.find_byte(byte));
            let bytes: Vec<u8> = (0..=255u8).filter(|byte| ids[*byte as usize].is_none()).collect();
            if !bytes.is_empty() {
                warnings.push(Warning::MissingBytes { bytes });
            }
            Fallback::ByteTokens(ids)
        }
        Some(id) => Fallback::Unknown { id, fuse: flag(model, "fuse_unk", false) },
        None => Fallback::ByteTokens(Box::new([None; 256])),
    };
    let (mut bpe, report) = Bpe::build(vocabulary, pairs.into_iter(), byte_level, fallback);
    bpe.ignore_merges = flag(model, "ignore_merges", false);
    if report.unknown > 0 {
        warnings.push(Warning::UnknownMerges { count: report.unknown, first: report.first_unknown });
    }
    let bytes = bpe.missing_bytes();
    if !bytes.is_empty() {
        warnings.push(Warning::MissingBytes { bytes });
    }
    Ok(bpe)
}

/// `"left right"`, or `["left", "right"]`.
fn parse_merge(merge: &Value) -> Option<(&[u8], &[u8])> {
    let (left, right) = match merge {
        Value::String(text) => text.split_once(' ').filter(|(_, right)| !right.contains(' '))?,
        Value::Array(pair) if pair.len() == 2 => (pair[0].as_str()?, pair[1].as_str()?),
        _ => return None,
    };
    (!left.is_empty() && !right.is_empty()).then_some((left.as_bytes(), right.as_bytes()))
}

fn add_normalizer(value: Option<&Value>, out: &mut Vec<Normalizer>) -> Result<()> {
    let Some(value) = value else { return Ok(()) };
    out.push(match type_of(value) {
        "Sequence" => {
            for part in list(value, "normalizers") {
                add_normalizer(Some(part), out)?;
            }
            return Ok(());
        }
        "NFC" => Normalizer::Nfc,
        "NFD" => Normalizer::Nfd,
        "NFKC" => Normalizer::Nfkc,
        "NFKD" => Normalizer::Nfkd,
        "Lowercase" => Normalizer::Lowercase,
        "StripAccents" => Normalizer::StripAccents,
        "Strip" => Normalizer::Strip {
            left: flag(value, "strip_left", true),
            right: flag(value, "strip_right", true),
        },
        "Prepend" => Normalizer::Prepend {
            text: text_field(value, "prepend").unwrap_or("").into(),
            unless_present: false,
            first_only: false,
        },
        "Replace" => {
            let to = text_field(value, "content").unwrap_or("");
            match pattern_of(value, "normalizer")? {
                (from, false) => Normalizer::Replace { from, to: to.into() },
                (source, true) => Normalizer::matches(&source, to)?,
            }
        }
        other => return unsupported("normalizer", other, NORMALIZERS),
    });
    Ok(())
}

/// `{"String": …}` or `{"Regex": …}`: the text, and whether it is an expression.
fn pattern_of(value: &Value, path: &str) -> Result<(String, bool)> {
    let pattern = value.get("pattern").unwrap_or(&Value::Null);
    let found = match (text_field(pattern, "String"), text_field(pattern, "Regex")) {
        (Some(text), _) => Some((text.to_string(), false)),
        (None, Some(source)) => Some((source.to_string(), true)),
        (None, None) => None,
    };
    let found = found.filter(|(text, _)| !text.is_empty());
    found.ok_or_else(|| TokenizerError::invalid(path, "its pattern is neither a text nor an expression"))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn add_pre_tokenizer(value: Option<&Value>, out: &mut Pipeline) -> Result<()> {
    let Some(value) = value else { return Ok(()) };
    match type_of(value) {
        "Sequence" => {
            for part in list(value, "pretokenizers") {
                add_pre_tokenizer(Some(part), out)?;
            }
        }
        "ByteLevel" => {
            if flag(value, "add_prefix_space", true) {
                prepend(out, " ", false, "ByteLevel with add_prefix_space after another pre-tokenizer")?;
            }
            if flag(value, "use_regex", true) {
                out.stages.push(Stage::Gpt2);
            }
            out.byte_level = true;
        }
        "Split" => {
            let behaviour = behaviour_of(value, "behavior", "")?;
            let (source, is_regex) = pattern_of(value, "pre_tokenizer")?;
            let source = if is_regex { source } else { fancy_regex::escape(&source).into_owned() };
            let pattern = Pattern::parse(&source, behaviour, flag(value, "invert", false))?;
            out.stages.push(Stage::Pattern(pattern));
        }
        "Digits" => {
            let limit = if flag(value, "individual_digits", false) { 1 } else { usize::MAX };
            out.stages.push(Stage::Numbers { limit });
        }
        "Punctuation" => {
            let behaviour = behaviour_of(value, "behavior", "Isolated")?;
            out.stages.push(Stage::Pattern(Pattern::class(PUNCTUATION, behaviour)));
        }
        "Metaspace" => add_metaspace(value, out)?,
        "Whitespace" => {
            let words = Pattern::parse(r"\w+|[^\w\s]+", Behaviour::Removed, true)?;
            out.stages.push(Stage::Pattern(words));
        }
        "WhitespaceSplit" => out.stages.push(Stage::Pattern(Pattern::class(r"\s", Behaviour::Removed))),
        "BertPreTokenizer" => {
            out.stages.push(Stage::Pattern(Pattern::class(r"\s", Behaviour::Removed)));
            out.stages.push(Stage::Pattern(Pattern::class(PUNCTUATION, Behaviour::Isolated)));
        }
        other => return unsupported("pre-tokenizer", other, PRE_TOKENIZERS),
    }
    Ok(())
}

fn behaviour_of(value: &Value, name: &str, default: &str) -> Result<Behaviour> {
    Ok(match text_field(value, name).unwrap_or(default) {
        "Isolated" => Behaviour::Isolated,
        "Removed" => Behaviour::Removed,
        "MergedWithPrevious" => Behaviour::MergedWithPrevious,
        "MergedWithNext" => Behaviour::MergedWithNext,
        "Contiguous" => Behaviour::Contiguous,
        other => {
            let supported = "Isolated, Removed, MergedWithPrevious, MergedWithNext, Contiguous";
            return unsupported("split behaviour", other, supported);
        }
    })
}

/// Spaces become `▁`, one is put before the text, and words begin at each.
fn add_metaspace(value: &Value, out: &mut Pipeline) -> Result<()> {
    let mark = text_field(value, "replacement").unwrap_or("▁");
    if mark != "▁" {
        return unsupported("Metaspace replacement", mark, "▁");
    }
    let old_default = if flag(value, "add_prefix_space", true) { "always" } else { "never" };
    let scheme = text_field(value, "prepend_scheme").unwrap_or(old_default);
    if !out.stages.is_empty() {
        return unsupported("pre-tokenizer", "Metaspace after another pre-tokenizer", PRE_TOKENIZERS);
    }
    out.normalizers.push(Normalizer::spaces());
    match scheme {
        "always" => prepend(out, mark, false, "Metaspace")?,
        "first" => prepend(out, mark, true, "Metaspace")?,
        "never" => {}
        other => return unsupported("Metaspace scheme", other, "always, first, never"),
    }
    if flag(value, "split", true) {
        out.stages.push(Stage::Pattern(Pattern::class("▁", Behaviour::MergedWithNext)));
    }
    Ok(())
}

/// A prefix can only be put before the whole text, not before each piece of an earlier stage.
fn prepend(out: &mut Pipeline, text: &str, first_only: bool, what: &str) -> Result<()> {
    if !out.stages.is_empty() {
        return unsupported("pre-tokenizer", what, PRE_TOKENIZERS);
    }
    out.normalizers.push(Normalizer::Prepend { text: text.into(), unless_present: true, first_only });
    Ok(())
}

fn add_decoder(value: Option<&Value>, out: &mut Undo) -> Result<()> {
    let Some(value) = value else { return Ok(()) };
    match type_of(value) {
        "Sequence" => {
            for part in list(value, "decoders") {
                add_decoder(Some(part), out)?;
            }
        }
        "ByteLevel" => out.byte_level = true,
        "Metaspace" => {
            out.metaspace = true;
            let old_default = if flag(value, "add_prefix_space", true) { "always" } else { "never" };
            out.strip_start = text_field(value, "prepend_scheme").unwrap_or(old_default) != "never";
        }
        "Replace"
            if pattern_of(value, "decoder")? == ("▁".into(), false)
                && text_field(value, "content") == Some(" ") =>
        {
            out.metaspace = true;
        }
        "ByteFallback" | "Fuse" => {}
        "Strip"
            if text_field(value, "content") == Some(" ")
                && value.get("stop").and_then(Value::as_u64) == Some(0) =>
        {
            out.strip_start = value.get("start").and_then(Value::as_u64) == Some(1);
        }
        other => return unsupported("decoder", other, DECODERS),
    }
    Ok(())
}

/// The special tokens that the post-processor puts around a single text.
fn add_processor(
    value: Option<&Value>,
    vocabulary: &Vocabulary,
    prefix: &mut Vec<u32>,
    suffix: &mut Vec<u32>,
) -> Result<()> {
    let Some(value) = value else { return Ok(()) };
    let known = |id: Option<u64>| {
        let id = id.filter(|id| *id < vocabulary.len() as u64);
        id.map(|id| id as u32).ok_or_else(|| {
            TokenizerError::invalid("post_processor", "it names a token outside the vocabulary")
        })
    };
    match type_of(value) {
        "ByteLevel" => {}
        "Sequence" => {
            for part in list(value, "processors") {
                add_processor(Some(part), vocabulary, prefix, suffix)?;
            }
        }
        "BertProcessing" | "RobertaProcessing" => {
            prefix.push(known(value.pointer("/cls/1").and_then(Value::as_u64))?);
            suffix.push(known(value.pointer("/sep/1").and_then(Value::as_u64))?);
        }
        "TemplateProcessing" => {
            let mut behind = false;
            for part in list(value, "single") {
                behind |= part.get("Sequence").is_some();
                let Some(name) = part.pointer("/SpecialToken/id").and_then(Value::as_str) else { continue };
                let ids = value.get("special_tokens").and_then(|tokens| tokens.get(name));
                for id in ids.map_or(&[][..], |token| list(token, "ids")) {
                    if behind { &mut *suffix } else { &mut *prefix }.push(known(id.as_u64())?);
                }
            }
        }
        other => return unsupported("post-processor", other, PROCESSORS),
    }
    Ok(())
}
