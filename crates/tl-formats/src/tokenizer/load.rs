//! A tokenizer from GGUF metadata, with the checks that a hostile file needs.

use super::bpe::{Bpe, Fallback};
use super::error::{TokenizerError, Warning};
use super::metadata::{Metadata, Reader};
use super::normalize::Normalizer;
use super::pre::{self, PreRule};
use super::special::{self, Partition, SpecialTokens};
use super::spm::Spm;
use super::ugm::{Charsmap, Ugm};
use super::vocabulary::{Attributes, Vocabulary, parse_byte_token};
use super::wpm::Wpm;
use super::{Model, Spelling, Tokenizer};
use std::borrow::Cow;

/// What the caller knows better than the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Replaces `tokenizer.ggml.pre`, for files that lack it or name one that is unknown.
    pub pre: Option<String>,
}

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const ADD_SEP: &str = "tokenizer.ggml.add_sep_token";
const SUPPORTED_MODELS: &str =
    "gpt2 (byte-level BPE), gemma4 (BPE), llama (SentencePiece BPE), t5 (unigram), bert (WordPiece)";
/// Unigram and WordPiece matching walk up to a token's length at every position.
const LONGEST_MATCHED: usize = 4096;

/// The four models, before their tables exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bpe,
    Spm,
    Wpm,
    Ugm,
}

impl Kind {
    fn of(model: &str) -> Result<Self, TokenizerError> {
        match model {
            "gpt2" | "gemma4" => Ok(Self::Bpe),
            "llama" => Ok(Self::Spm),
            "bert" => Ok(Self::Wpm),
            "t5" => Ok(Self::Ugm),
            _ => {
                let what = format!("tokenizer model `{}`", super::escape(model.as_bytes()));
                Err(TokenizerError::Unsupported { what, supported: SUPPORTED_MODELS.into() })
            }
        }
    }
}

/// What the kind, and for BPE the pre-tokenizer, imply unless metadata say otherwise.
struct Defaults {
    special: SpecialTokens,
    add_bos: bool,
    add_eos: bool,
    add_separator: bool,
    add_space_prefix: bool,
}

pub(super) fn load(metadata: &dyn Metadata, options: &LoadOptions) -> Result<Tokenizer, TokenizerError> {
    let reader = Reader(metadata);
    let mut warnings = Vec::new();
    let model = reader.string(MODEL)?;
    let model =
        model.ok_or(TokenizerError::Missing { key: MODEL.into(), why: "it names the kind of tokenizer" })?;
    let kind = Kind::of(&model)?;
    let mut vocabulary = read_vocabulary(&reader, kind, &mut warnings)?;
    let (pre, rule) = match kind {
        Kind::Bpe => Some(choose_pre(&reader, &model, options, &mut warnings)?).unzip(),
        _ => (None, None),
    };
    let defaults = defaults(kind, rule.as_ref(), &vocabulary);
    let mut special = read_special(&reader, defaults.special, vocabulary.len(), &mut warnings)?;
    special::detect_roles(&mut vocabulary, &mut special, &mut warnings);
    let end_of_generation = special::detect_end(&mut vocabulary, &special, &mut warnings);
    let name = reader.string("general.name")?.unwrap_or_default();
    let architecture = reader.string("general.architecture")?.unwrap_or_default();
    special::strip_rules(&mut vocabulary, pre.as_deref().unwrap_or(""), &architecture, &name, &mut warnings);

    let add_space_prefix =
        reader.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(defaults.add_space_prefix)
            && kind != Kind::Bpe;
    let (prefix, suffix) = affixes(&reader, kind, rule.as_ref(), &defaults, &special, &mut warnings)?;
    let spelling = match &rule {
        Some(rule) if !rule.raw_utf8 => Spelling::ByteLevel,
        _ => Spelling::Metaspace,
    };
    let model = match (kind, rule) {
        (Kind::Bpe, Some(rule)) => read_bpe(&reader, &vocabulary, rule, &mut warnings)?,
        // BPE always has a rule.
        (Kind::Bpe | Kind::Spm, _) => Model::Spm(read_spm(&vocabulary, &special, &mut warnings)?),
        (Kind::Wpm, _) => Model::Wpm(read_wpm(&reader, &special)?),
        (Kind::Ugm, _) => Model::Ugm(read_ugm(&reader, &vocabulary, &special, add_space_prefix)?),
    };
    let partition = Partition::build(&vocabulary);
    Ok(Tokenizer {
        vocabulary,
        special,
        end_of_generation,
        partition,
        model,
        prefix,
        suffix,
        spelling,
        add_space_prefix,
        warnings,
        pre,
    })
}

fn read_vocabulary(
    reader: &Reader<'_>,
    kind: Kind,
    warnings: &mut Vec<Warning>,
) -> Result<Vocabulary, TokenizerError> {
    let tokens = reader.strings(TOKENS)?;
    let tokens =
        tokens.ok_or(TokenizerError::Missing { key: TOKENS.into(), why: "it lists the vocabulary" })?;
    if tokens.is_empty() {
        return Err(TokenizerError::invalid(TOKENS, "the vocabulary is empty"));
    }
    if tokens.len() > (u32::MAX / 4) as usize {
        return Err(TokenizerError::invalid(TOKENS, format!("{} tokens are too many", tokens.len())));
    }
    let scores = read_scores(reader, kind, tokens.len())?;
    let types = reader.i32s(TYPES)?.unwrap_or_default();
    check_length(TYPES, types.len(), tokens.len())?;
    let attributes = token_attributes(&tokens, &types, warnings);
    let (vocabulary, repeats) = Vocabulary::build(
        tokens.iter().zip(attributes).map(|(text, attributes)| (&**text, attributes)),
        scores,
    );
    if let Some(first) = repeats.first() {
        warnings.push(Warning::DuplicateTokens { count: repeats.len(), first: *first });
    }
    if let Some(first) = tokens.iter().position(|text| text.is_empty()) {
        let count = tokens.iter().filter(|text| text.is_empty()).count();
        warnings.push(Warning::EmptyTokens { count, first: first as u32 });
    }
    if matches!(kind, Kind::Wpm | Kind::Ugm) && vocabulary.longest() > LONGEST_MATCHED {
        let problem =
            format!("a token has {} bytes; this kind allows {LONGEST_MATCHED}", vocabulary.longest());
        return Err(TokenizerError::invalid(TOKENS, problem));
    }
    Ok(vocabulary)
}

/// Scores, finite or not but numbers, or none where the kind can do without.
fn read_scores(reader: &Reader<'_>, kind: Kind, tokens: usize) -> Result<Vec<f32>, TokenizerError> {
    let mut scores = reader.scores(SCORES)?.unwrap_or_default();
    check_length(SCORES, scores.len(), tokens)?;
    if scores.is_empty() && matches!(kind, Kind::Spm | Kind::Ugm) {
        let why = "this kind of tokenizer merges by score";
        return Err(TokenizerError::Missing { key: SCORES.into(), why });
    }
    for (id, score) in scores.iter_mut().enumerate() {
        if score.is_nan() {
            return Err(TokenizerError::invalid(SCORES, format!("the score of token {id} is NaN")));
        }
        // Negative zero would order below zero.
        *score += 0.0;
    }
    Ok(scores)
}

fn check_length(key: &str, found: usize, tokens: usize) -> Result<(), TokenizerError> {
    if found == 0 || found == tokens {
        return Ok(());
    }
    Err(TokenizerError::invalid(key, format!("it has {found} values for {tokens} tokens")))
}

/// Types from the file; byte tokens that are not written `<0xNN>` and unknown types count as normal.
fn token_attributes(tokens: &[Cow<'_, [u8]>], types: &[i32], warnings: &mut Vec<Warning>) -> Vec<Attributes> {
    let (mut unknown, mut bad_bytes) = ((0, 0, 0), (0, 0));
    let mut attributes = Vec::with_capacity(tokens.len());
    for (id, text) in tokens.iter().enumerate() {
        let value = types.get(id).copied().unwrap_or(1);
        let attribute = match Attributes::from_gguf(value) {
            Some(Attributes::BYTE) if parse_byte_token(text).is_none() => {
                bad_bytes = (bad_bytes.0 + 1, if bad_bytes.0 == 0 { id } else { bad_bytes.1 });
                Attributes::NORMAL
            }
            Some(attribute) => attribute,
            None => {
                unknown = if unknown.0 == 0 { (1, id, value) } else { (unknown.0 + 1, unknown.1, unknown.2) };
                Attributes::NORMAL
            }
        };
        attributes.push(attribute);
    }
    if unknown.0 > 0 {
        let (count, first, value) = unknown;
        warnings.push(Warning::UnknownTokenTypes { count, first: first as u32, value });
    }
    if bad_bytes.0 > 0 {
        warnings.push(Warning::BadByteTokens { count: bad_bytes.0, first: bad_bytes.1 as u32 });
    }
    attributes
}

fn choose_pre(
    reader: &Reader<'_>,
    model: &str,
    options: &LoadOptions,
    warnings: &mut Vec<Warning>,
) -> Result<(String, PreRule), TokenizerError> {
    let in_file = reader.string(PRE)?;
    let name = match (&options.pre, in_file) {
        (Some(name), _) => name.clone(),
        (None, _) if model == "gemma4" => "gemma4".to_string(),
        (None, Some(name)) if !name.is_empty() => name,
        (None, _) => {
            warnings.push(Warning::MissingPre);
            "default".to_string()
        }
    };
    match pre::find(&name) {
        Some(rule) => Ok((name, rule)),
        None => Err(TokenizerError::Unsupported {
            what: format!("pre-tokenizer `{}`", super::escape(name.as_bytes())),
            supported: format!("{} (choose one with `--pre`)", pre::names().join(", ")),
        }),
    }
}

/// Ids and flags that files of a kind leave out. Default ids beyond the vocabulary do not count.
fn defaults(kind: Kind, rule: Option<&PreRule>, vocabulary: &Vocabulary) -> Defaults {
    let mut special = SpecialTokens::default();
    let id = |id: u32| Some(id).filter(|id| (*id as usize) < vocabulary.len());
    match kind {
        Kind::Bpe => {}
        Kind::Spm => (special.unknown, special.bos, special.eos) = (id(0), id(1), id(2)),
        Kind::Wpm => {
            (special.bos, special.unknown, special.separator) = (id(101), id(100), id(102));
            (special.padding, special.mask) = (id(0), id(103));
        }
        Kind::Ugm => (special.eos, special.unknown, special.padding) = (id(1), id(2), id(0)),
    }
    Defaults {
        special,
        add_bos: match kind {
            Kind::Bpe => rule.is_some_and(|rule| rule.add_bos),
            Kind::Spm | Kind::Wpm => true,
            Kind::Ugm => false,
        },
        add_eos: kind == Kind::Ugm,
        add_separator: kind == Kind::Wpm,
        add_space_prefix: kind == Kind::Spm,
    }
}

fn read_special(
    reader: &Reader<'_>,
    mut special: SpecialTokens,
    size: usize,
    warnings: &mut Vec<Warning>,
) -> Result<SpecialTokens, TokenizerError> {
    let s = &mut special;
    // Generation depends on the first four: they must be right. The rest is ignored where it is wrong.
    let roles: [(&'static str, &mut Option<u32>, bool); 14] = [
        ("tokenizer.ggml.bos_token_id", &mut s.bos, true),
        ("tokenizer.ggml.eos_token_id", &mut s.eos, true),
        ("tokenizer.ggml.eot_token_id", &mut s.eot, true),
        ("tokenizer.ggml.eom_token_id", &mut s.eom, true),
        ("tokenizer.ggml.unknown_token_id", &mut s.unknown, false),
        ("tokenizer.ggml.seperator_token_id", &mut s.separator, false),
        ("tokenizer.ggml.padding_token_id", &mut s.padding, false),
        ("tokenizer.ggml.mask_token_id", &mut s.mask, false),
        ("tokenizer.ggml.fim_pre_token_id", &mut s.fim_prefix, false),
        ("tokenizer.ggml.fim_suf_token_id", &mut s.fim_suffix, false),
        ("tokenizer.ggml.fim_mid_token_id", &mut s.fim_middle, false),
        ("tokenizer.ggml.fim_pad_token_id", &mut s.fim_padding, false),
        ("tokenizer.ggml.fim_rep_token_id", &mut s.fim_repository, false),
        ("tokenizer.ggml.fim_sep_token_id", &mut s.fim_separator, false),
    ];
    for (key, role, essential) in roles {
        let Some(value) = reader.integer(key)? else { continue };
        // −1 says "none", whatever width the writer stored it in.
        if value == -1 || value == i128::from(u32::MAX) || value == i128::from(u64::MAX) {
            *role = None;
        } else if (0..size as i128).contains(&value) {
            *role = Some(value as u32);
        } else if essential {
            let problem = format!("{value} is outside the vocabulary of {size} tokens");
            return Err(TokenizerError::invalid(key, problem));
        } else {
            let id = value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
            warnings.push(Warning::SpecialOutOfRange { key, id, size });
            *role = None;
        }
    }
    for (key, role) in [
        ("tokenizer.ggml.prefix_token_id", &mut special.fim_prefix),
        ("tokenizer.ggml.suffix_token_id", &mut special.fim_suffix),
        ("tokenizer.ggml.middle_token_id", &mut special.fim_middle),
    ] {
        let value = reader.integer(key)?.filter(|value| (0..size as i128).contains(value));
        *role = role.or(value.map(|value| value as u32));
    }
    Ok(special)
}

/// The ids that `add_special` puts before and after a text.
fn affixes(
    reader: &Reader<'_>,
    kind: Kind,
    rule: Option<&PreRule>,
    defaults: &Defaults,
    special: &SpecialTokens,
    warnings: &mut Vec<Warning>,
) -> Result<(Vec<u32>, Vec<u32>), TokenizerError> {
    let mut add_bos = reader.bool(ADD_BOS)?.unwrap_or(defaults.add_bos);
    let add_eos = reader.bool(ADD_EOS)?.unwrap_or(defaults.add_eos);
    let add_separator = reader.bool(ADD_SEP)?.unwrap_or(defaults.add_separator);
    if rule.is_some_and(|rule| rule.force_bos) && !add_bos {
        add_bos = true;
        warnings.push(Warning::Overridden { key: ADD_BOS, why: "models with this pre-tokenizer need BOS" });
    }
    let mut needed = |key: &'static str, id: Option<u32>| {
        if id.is_none() {
            warnings.push(Warning::Overridden { key, why: "the file names no such token" });
        }
        id.into_iter().collect::<Vec<_>>()
    };
    let (adds_first, last) = match kind {
        Kind::Wpm => (true, (add_separator, ADD_SEP, special.separator)),
        _ => (add_bos, (add_eos, ADD_EOS, special.eos)),
    };
    let prefix = if adds_first { needed(ADD_BOS, special.bos) } else { Vec::new() };
    let suffix = if last.0 { needed(last.1, last.2) } else { Vec::new() };
    Ok((prefix, suffix))
}

fn read_bpe(
    reader: &Reader<'_>,
    vocabulary: &Vocabulary,
    rule: PreRule,
    warnings: &mut Vec<Warning>,
) -> Result<Model, TokenizerError> {
    let merges = reader.strings(MERGES)?;
    let merges =
        merges.ok_or(TokenizerError::Missing { key: MERGES.into(), why: "byte-pair encoding needs it" })?;
    let pairs = merges.iter().enumerate().map(|(i, merge)| parse_merge(i, merge));
    let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
    let fallback = if rule.raw_utf8 {
        let mut ids = Box::new([None; 256]);
        for byte in 0..=255u8 {
            ids[byte as usize] = vocabulary.find_byte(byte);
        }
        let missing: Vec<u8> = (0..=255).filter(|byte| ids[*byte as usize].is_none()).collect();
        if !missing.is_empty() {
            warnings.push(Warning::MissingBytes { bytes: missing });
        }
        Fallback::ByteTokens(ids)
    } else {
        Fallback::OneByteTexts
    };
    let (mut bpe, report) = Bpe::build(vocabulary, pairs.into_iter(), !rule.raw_utf8, fallback);
    if report.unknown > 0 {
        warnings.push(Warning::UnknownMerges { count: report.unknown, first: report.first_unknown });
    }
    let missing = bpe.missing_bytes();
    if !missing.is_empty() {
        warnings.push(Warning::MissingBytes { bytes: missing });
    }
    bpe.ignore_merges = rule.ignore_merges;
    bpe.newline_tokens = rule.newline_tokens;
    let normalizers = if rule.raw_utf8 { vec![Normalizer::spaces()] } else { Vec::new() };
    Ok(Model::Bpe { bpe, normalizers, stages: rule.stages })
}

/// `left right`: the first space that does not begin the merge separates its halves.
fn parse_merge(index: usize, merge: &[u8]) -> Result<(&[u8], &[u8]), TokenizerError> {
    let separator = merge.iter().skip(1).position(|byte| *byte == b' ').map(|i| i + 1);
    let problem = match separator {
        None => "has no space between two halves",
        Some(at) if at + 1 == merge.len() => "has an empty half",
        Some(at) => return Ok((&merge[..at], &merge[at + 1..])),
    };
    Err(TokenizerError::invalid(MERGES, format!("merge {index} (`{}`) {problem}", super::escape(merge))))
}

fn read_spm(
    vocabulary: &Vocabulary,
    special: &SpecialTokens,
    warnings: &mut Vec<Warning>,
) -> Result<Spm, TokenizerError> {
    let found: Vec<_> = (0..=255).map(|byte: u8| vocabulary.find_byte(byte)).collect();
    let missing: Vec<u8> = (0..=255).filter(|byte| found[*byte as usize].is_none()).collect();
    let bytes = match missing.len() {
        0 => {
            let mut ids = Box::new([0; 256]);
            ids.iter_mut().zip(&found).for_each(|(slot, id)| *slot = id.unwrap_or_default());
            Some(ids)
        }
        256 => None,
        count => {
            let bytes: Vec<String> = missing.iter().take(8).map(|byte| format!("<0x{byte:02X}>")).collect();
            let problem = format!("{count} of the 256 byte tokens are missing ({})", bytes.join(" "));
            return Err(TokenizerError::invalid(TOKENS, problem));
        }
    };
    if bytes.is_none() && special.unknown.is_none() {
        warnings.push(Warning::MissingBytes { bytes: missing });
    }
    Ok(Spm::new(vocabulary, bytes, special.unknown))
}

fn read_wpm(reader: &Reader<'_>, special: &SpecialTokens) -> Result<Wpm, TokenizerError> {
    let lowercase = reader.bool("tokenizer.ggml.normalizer.lowercase")?.unwrap_or(true);
    let strip_accents = reader.bool("tokenizer.ggml.normalizer.strip_accents")?.unwrap_or(lowercase);
    let unknown = unknown_token(special)?;
    Ok(Wpm { lowercase, strip_accents, unknown })
}

fn read_ugm(
    reader: &Reader<'_>,
    vocabulary: &Vocabulary,
    special: &SpecialTokens,
    add_space_prefix: bool,
) -> Result<Ugm, TokenizerError> {
    let charsmap = reader.bytes("tokenizer.ggml.precompiled_charsmap")?;
    let charsmap = charsmap.map(|blob| Charsmap::parse(&blob)).transpose()?;
    let mut ugm = Ugm::build(vocabulary, unknown_token(special)?, charsmap);
    ugm.add_space_prefix = add_space_prefix;
    ugm.remove_extra_whitespace = reader.bool("tokenizer.ggml.remove_extra_whitespaces")?.unwrap_or(false);
    Ok(ugm)
}

fn unknown_token(special: &SpecialTokens) -> Result<u32, TokenizerError> {
    let why = "this kind of tokenizer needs an unknown token";
    special.unknown.ok_or(TokenizerError::Missing { key: "tokenizer.ggml.unknown_token_id".into(), why })
}
