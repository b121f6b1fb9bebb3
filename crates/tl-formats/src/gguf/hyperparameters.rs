//! The second layer: hyper-parameters in their ranges, and in agreement with each other and with the tensors.
//!
//! One table has the keys that families share, each with the values that make sense. What relates several keys, or a key
//! and a tensor, is a function below. A family's own equations check the rest: they name the tensors that they read.

use std::collections::{BTreeMap, BTreeSet};

use super::file::File;
use super::layout::TensorInfo;
use super::metadata::{Entry, Metadata};
use super::value::{Value, quote};
use crate::{Error, Result, Warning, escape};

/// The longest context that anyone has use for; files that name a longer one are read, with a warning.
pub const LONGEST_CONTEXT: u64 = 1 << 24;

/// A key, what its value may be, and whether it must be there.
struct Rule {
    key: &'static str,
    range: Range,
    required: bool,
}

/// The values that a hyper-parameter may have. A list, one value a block, may hold 0 too.
enum Range {
    Integer {
        least: u64,
        most: u64,
    },
    /// A finite number above 0 and up to this.
    Positive {
        most: f64,
    },
    /// A finite number.
    Finite,
}

const fn integer(key: &'static str, least: u64, most: u64) -> Rule {
    Rule { key, range: Range::Integer { least, most }, required: false }
}

const fn required(key: &'static str, least: u64, most: u64) -> Rule {
    Rule { key, range: Range::Integer { least, most }, required: true }
}

const fn positive(key: &'static str, most: f64) -> Rule {
    Rule { key, range: Range::Positive { most }, required: false }
}

const fn finite(key: &'static str) -> Rule {
    Rule { key, range: Range::Finite, required: false }
}

/// Keys without the architecture in front.
const RULES: &[Rule] = &[
    required("block_count", 1, 4096),
    required("embedding_length", 1, 1 << 20),
    integer("context_length", 1, u32::MAX as u64),
    integer("feed_forward_length", 0, 1 << 24),
    integer("vocab_size", 1, 1 << 26),
    integer("attention.head_count", 1, 1 << 16),
    integer("attention.head_count_kv", 1, 1 << 16),
    integer("attention.key_length", 1, 1 << 16),
    integer("attention.value_length", 1, 1 << 16),
    integer("attention.sliding_window", 0, u32::MAX as u64),
    integer("rope.dimension_count", 0, 1 << 16),
    integer("rope.scaling.original_context_length", 0, u32::MAX as u64),
    integer("expert_count", 0, 1 << 16),
    integer("expert_used_count", 0, 1 << 16),
    positive("rope.freq_base", 1e15),
    positive("rope.freq_base_swa", 1e15),
    positive("attention.layer_norm_rms_epsilon", 1.0),
    positive("attention.layer_norm_epsilon", 1.0),
    finite("attn_logit_softcapping"),
    finite("final_logit_softcapping"),
    finite("rope.scaling.factor"),
    finite("rope.scaling.attn_factor"),
    finite("attention.scale"),
    finite("attention.clamp_kqv"),
    finite("attention.max_alibi_bias"),
    finite("logit_scale"),
    finite("residual_scale"),
    finite("embedding_scale"),
];

/// Checks that `file` is a language model whose hyper-parameters and tensors agree. `supported` are the architectures
/// that the caller can run; `None` asks for any. Gives what is odd but harmless.
///
/// # Errors
/// The first disagreement: names the key or tensor and both numbers. An architecture that isn't `supported` is
/// [`crate::ErrorKind::Unsupported`].
pub fn check(file: &File, supported: Option<&[&str]>) -> Result<Vec<Warning>> {
    let located = |e: Error| match file.path() {
        Some(path) => e.in_file(path),
        None => e,
    };
    check_all(file, supported).map_err(located)
}

fn check_all(file: &File, supported: Option<&[&str]>) -> Result<Vec<Warning>> {
    let metadata = file.metadata();
    check_architecture(metadata, supported)?;
    for rule in RULES {
        rule.check(metadata)?;
    }
    let mut warnings = Vec::new();
    check_context(metadata, &mut warnings);
    check_heads(metadata)?;
    check_experts(metadata)?;
    for tensor in file.tensors() {
        check_axes(tensor)?;
    }
    check_embedding(file, &mut warnings)?;
    check_blocks(file, &mut warnings)?;
    Ok(warnings)
}

fn check_architecture(metadata: &Metadata, supported: Option<&[&str]>) -> Result<()> {
    let name: &str = metadata.get("general.architecture")?;
    match supported {
        Some(list) if !list.contains(&name) => {
            let message =
                format!("\"{}\" is not supported; the supported ones are {}", escape(name), list.join(", "));
            let error = Error::unsupported("key \"general.architecture\"", message);
            let offset = metadata.exact("general.architecture").and_then(Entry::offset);
            Err(offset.map_or(error.clone(), |offset| error.at(offset)))
        }
        _ => Ok(()),
    }
}

impl Rule {
    fn check(&self, metadata: &Metadata) -> Result<()> {
        let Some(entry) = metadata.entry(self.key) else {
            // The getter's error names both forms of the key.
            return if self.required { metadata.get::<u64>(self.key).map(|_| ()) } else { Ok(()) };
        };
        match entry.value() {
            Value::Array(array) if !self.required => {
                // The table has the number of blocks before every key that may be a list.
                let blocks: u64 = metadata.get("block_count")?;
                if (array.len() as u64) < blocks {
                    return Err(entry.error(format!("{} elements for {blocks} blocks", array.len())));
                }
                for (i, value) in array.iter().enumerate() {
                    let zero = value.integer() == Some(0);
                    if !zero && let Err(message) = self.range.check(&value) {
                        return Err(entry.error(format!("element {i}: {message}")));
                    }
                }
                Ok(())
            }
            value => self.range.check(value).map_err(|message| entry.error(message)),
        }
    }
}

impl Range {
    fn check(&self, value: &Value) -> std::result::Result<(), String> {
        let found = value.describe();
        match *self {
            Self::Integer { least, most } => match value.integer() {
                Some(n) if (i128::from(least)..=i128::from(most)).contains(&n) => Ok(()),
                Some(n) => Err(format!("{n} is out of range; it must be {least} to {most}")),
                None => Err(format!("wanted an integer, found {found}")),
            },
            Self::Positive { most } => match value.float() {
                Some(x) if x > 0.0 && x <= most => Ok(()),
                Some(x) => Err(format!("{x} is out of range; it must be above 0 and at most {most:e}")),
                None => Err(format!("wanted a float, found {found}")),
            },
            Self::Finite => match value.float() {
                Some(x) if x.is_finite() => Ok(()),
                Some(x) => Err(format!("{x} is not finite")),
                None => Err(format!("wanted a float, found {found}")),
            },
        }
    }
}

fn check_context(metadata: &Metadata, warnings: &mut Vec<Warning>) {
    let Some(entry) = metadata.entry("context_length") else { return };
    if entry.value().integer() > Some(LONGEST_CONTEXT.into()) {
        let message = format!("{} positions; the context is capped at {LONGEST_CONTEXT}", entry.value());
        let field = format!("key {}", quote(entry.key()));
        warnings.push(Warning { field, message, offset: entry.offset().unwrap_or(0) });
    }
}

/// Attention heads divide the width, key/value heads the heads, and rotation fits a head. Families with lists of heads,
/// one number a block, are left to their own equations.
fn check_heads(metadata: &Metadata) -> Result<()> {
    let number =
        |key: &str| metadata.entry(key).and_then(|e| Some((e, u64::try_from(e.value().integer()?).ok()?)));
    let width: u64 = metadata.get("embedding_length")?;
    let Some((heads_entry, heads)) = number("attention.head_count") else { return Ok(()) };
    let key_length = number("attention.key_length");
    if key_length.is_none() && !width.is_multiple_of(heads) {
        return Err(heads_entry.error(format!("{heads} heads do not divide the embedding length, {width}")));
    }
    if let Some((entry, groups)) = number("attention.head_count_kv")
        && (groups > heads || !heads.is_multiple_of(groups))
    {
        return Err(entry.error(format!("{groups} key/value heads do not divide the {heads} heads")));
    }
    let head = key_length.map_or(width / heads, |(_, n)| n);
    if let Some((entry, rotated)) = number("rope.dimension_count")
        && (rotated > head || !rotated.is_multiple_of(2))
    {
        return Err(entry.error(format!("{rotated} is not an even number up to the size of a head, {head}")));
    }
    Ok(())
}

fn check_experts(metadata: &Metadata) -> Result<()> {
    let experts: u64 = metadata.opt("expert_count")?.unwrap_or(0);
    match metadata.entry("expert_used_count") {
        Some(entry) if entry.value().integer() > Some(experts.into()) => {
            Err(entry.error(format!("{} experts are used, but there are {experts}", entry.value())))
        }
        _ => Ok(()),
    }
}

fn check_axes(tensor: &TensorInfo) -> Result<()> {
    match tensor.ne().iter().position(|&n| n == 0) {
        Some(i) => {
            let field = format!("tensor {}, dimension {i}", quote(tensor.name()));
            Err(Error::malformed(field, "the axis is empty").at(tensor.described_at))
        }
        None => Ok(()),
    }
}

/// The embedding has one row a token, each as wide as the model.
fn check_embedding(file: &File, warnings: &mut Vec<Warning>) -> Result<()> {
    const NAME: &str = "token_embd.weight";
    let metadata = file.metadata();
    let tensor = file.find(NAME).ok_or_else(|| Error::malformed(format!("tensor \"{NAME}\""), "missing"))?;
    let fail = |message: String| {
        Err(Error::malformed(format!("tensor \"{NAME}\""), message).at(tensor.described_at))
    };
    let &[width, rows] = tensor.ne() else {
        return fail(format!("{} axes; an embedding has 2", tensor.ne().len()));
    };
    let wanted: u64 = metadata.get("embedding_length")?;
    if width != wanted {
        return fail(format!("it is {width} wide, but the embedding length is {wanted}"));
    }
    if let Some(tokens) = metadata.entry("tokenizer.ggml.tokens").and_then(|e| e.value().array())
        && tokens.len() as u64 != rows
    {
        return fail(format!("it has {rows} rows, but the vocabulary has {} tokens", tokens.len()));
    }
    if let Some(entry) = metadata.entry("vocab_size")
        && entry.value().integer() != Some(rows.into())
    {
        let message = format!("{} tokens, but {} has {rows} rows", entry.value(), quote(NAME));
        let field = format!("key {}", quote(entry.key()));
        warnings.push(Warning { field, message, offset: entry.offset().unwrap_or(0) });
    }
    Ok(())
}

/// Every block has tensors. A block without any is named by those that every other block has.
fn check_blocks(file: &File, warnings: &mut Vec<Warning>) -> Result<()> {
    let blocks = file.metadata().get::<u64>("block_count")?;
    let mut found: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    let mut beyond: Option<&TensorInfo> = None;
    for tensor in file.tensors() {
        let Some((block, suffix)) = block_of(tensor.name()) else { continue };
        found.entry(block).or_default().insert(suffix);
        if block >= blocks {
            beyond.get_or_insert(tensor);
        }
    }
    if let Some(missing) = (0..blocks).find(|block| !found.contains_key(block)) {
        return Err(missing_block(file.metadata(), missing, &found));
    }
    if let Some(tensor) = beyond {
        let message = format!("it belongs to a block beyond the {blocks} of the model and is not used");
        warnings.push(Warning {
            field: format!("tensor {}", quote(tensor.name())),
            message,
            offset: tensor.described_at,
        });
    }
    Ok(())
}

#[cold]
fn missing_block(metadata: &Metadata, block: u64, found: &BTreeMap<u64, BTreeSet<&str>>) -> Error {
    let shared =
        found.values().cloned().reduce(|a, b| a.intersection(&b).copied().collect()).unwrap_or_default();
    const SHOWN: usize = 16;
    let mut names: Vec<String> =
        shared.iter().take(SHOWN).map(|s| escape(&format!("blk.{block}.{s}"))).collect();
    match shared.len().saturating_sub(SHOWN) {
        0 if names.is_empty() => names.push(format!("blk.{block}.*")),
        0 => {}
        more => names.push(format!("and {more} more")),
    }
    let message = format!("the file has no tensors of block {block}: {} missing", names.join(", "));
    match metadata.entry("block_count") {
        Some(entry) => entry.error(message),
        None => Error::malformed("tensors", message),
    }
}

/// The block and the rest of a name like `blk.7.attn_q.weight`.
fn block_of(name: &str) -> Option<(u64, &str)> {
    let (number, suffix) = name.strip_prefix("blk.")?.split_once('.')?;
    let digits = number.bytes().all(|b| b.is_ascii_digit()) && (number == "0" || !number.starts_with('0'));
    Some((digits.then(|| number.parse().ok())??, suffix))
}
