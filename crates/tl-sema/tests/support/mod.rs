//! What the tests share: parsing, the library, made-up models.

#![allow(dead_code, reason = "each test file uses a part")]

pub mod numbers;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tl_sema::{
    Argument, Checked, Importer, Limits, MetaValue, Model, Program, Traced, check, trace_function,
};
use tl_syntax::{Diagnostic, Source, SourceMap};
use tl_tensor::Tensor;

/// The files of the standard library, each after those that it uses.
pub const STD: &[(&str, &str)] = &[
    ("activations.tl", include_str!("../../../../lib/std/activations.tl")),
    ("softmax.tl", include_str!("../../../../lib/std/softmax.tl")),
    ("norms.tl", include_str!("../../../../lib/std/norms.tl")),
    ("rope.tl", include_str!("../../../../lib/std/rope.tl")),
    ("matrix.tl", include_str!("../../../../lib/std/matrix.tl")),
    ("losses.tl", include_str!("../../../../lib/std/losses.tl")),
];

/// The decoder of the llama family.
pub const LLAMA: &str = include_str!("../../../../lib/models/llama.tl");

/// An importer that has nothing.
pub struct NoImports;

impl Importer for NoImports {
    fn import(&mut self, _: &str, _: &Source) -> Result<Source, String> {
        Err("there are no files here".into())
    }
}

/// The standard library, which must be without findings.
pub fn library(sources: &mut SourceMap) -> Program {
    let mut program = Program::new();
    for (name, text) in STD {
        let source = sources.add(*name, *text).unwrap();
        let checked = check(&source, &mut NoImports, &program);
        assert!(checked.diagnostics.is_empty(), "{name}: {}", show(&checked.diagnostics, sources));
        program = checked.program;
    }
    program
}

/// Checks a program against the standard library.
pub fn check_text(text: &str) -> (Checked, SourceMap) {
    let mut sources = SourceMap::new();
    let library = library(&mut sources);
    let source = sources.add("test.tl", text).unwrap();
    (check(&source, &mut NoImports, &library), sources)
}

/// Checks a program that must have no findings.
pub fn program(text: &str) -> (Program, SourceMap) {
    let (checked, sources) = check_text(text);
    assert!(checked.diagnostics.is_empty(), "{}", show(&checked.diagnostics, &sources));
    (checked.program, sources)
}

/// Traces a function of a program that must have no findings.
pub fn trace(text: &str, name: &str, arguments: &[Argument]) -> Traced {
    let (program, sources) = program(text);
    match trace_function(&program, name, arguments, &Limits::default()) {
        Ok(traced) => traced,
        Err(found) => panic!("{}", show(&found, &sources)),
    }
}

/// The findings of tracing a function that must fail.
pub fn trace_error(text: &str, name: &str, arguments: &[Argument]) -> String {
    let (checked, sources) = check_text(text);
    match trace_function(&checked.program, name, arguments, &Limits::default()) {
        Ok(traced) => panic!("no error, but\n{}", traced.graph),
        Err(found) => show(&found, &sources),
    }
}

/// `E0401 at "text": message [label at "text"]`, one finding a line.
pub fn show(found: &[Diagnostic], sources: &SourceMap) -> String {
    let lines = found.iter().map(|d| {
        let at = d.primary_span().map_or("", |span| sources.slice(span));
        let labels: Vec<String> = d
            .labels
            .iter()
            .filter(|l| !l.primary)
            .map(|l| format!(" [{} at `{}`]", l.text, sources.slice(l.span)))
            .collect();
        format!("{} at `{at}`: {}{}", d.code, d.message, labels.join(""))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The findings of checking a text.
pub fn findings(text: &str) -> String {
    let (checked, sources) = check_text(text);
    show(&checked.diagnostics, &sources)
}

/// A model of made-up tensors.
#[derive(Default)]
pub struct FakeModel {
    pub tensors: BTreeMap<String, Tensor>,
    pub meta: BTreeMap<String, MetaValue>,
}

impl fmt::Debug for FakeModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FakeModel")
    }
}

impl Model for FakeModel {
    fn tensor(&self, name: &str) -> Option<Tensor> {
        self.tensors.get(name).cloned()
    }

    fn meta(&self, key: &str) -> Option<MetaValue> {
        self.meta.get(key).cloned()
    }

    fn tensor_names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn meta_keys(&self) -> Vec<String> {
        self.meta.keys().cloned().collect()
    }

    fn describe(&self) -> String {
        "the made-up model".into()
    }
}

impl FakeModel {
    /// Adds a tensor of small, irregular values. `ne` is in the order of the language: the first index is the fastest.
    pub fn add(&mut self, name: &str, ne: &[usize]) -> &mut Self {
        let shape: Vec<usize> = ne.iter().rev().copied().collect();
        let count: usize = shape.iter().product();
        let seed = name.bytes().map(u64::from).fold(17u64, |a, b| a.wrapping_mul(31).wrapping_add(b));
        let values: Vec<f32> = (0..count as u64)
            .map(|i| {
                let bits = (seed.wrapping_add(i)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
                (bits as f32 / (1u64 << 24) as f32 - 0.5) * 0.6
            })
            .collect();
        self.tensors.insert(name.into(), Tensor::from_f32(&shape, &values));
        self
    }

    /// The values of a tensor in the order of its memory; none if there is no such tensor.
    pub fn values(&self, name: &str) -> Vec<f64> {
        let tensor = self.tensors.get(name);
        tensor.and_then(|t| t.as_f32()).unwrap_or_default().iter().map(|&v| f64::from(v)).collect()
    }

    pub fn number(&mut self, key: &str, value: f64) -> &mut Self {
        self.meta.insert(key.into(), MetaValue::Number(value));
        self
    }

    /// A llama of a few hundred numbers: `layers` layers, width 8, `kv` key/value heads of `heads` heads, width 4 each.
    pub fn llama(layers: usize, heads: usize, kv: usize) -> FakeModel {
        let (d, c, f, v) = (8, 4, 12, 10);
        let mut m = FakeModel::default();
        m.meta.insert("general.architecture".into(), MetaValue::Str("llama".into()));
        m.number("llama.block_count", layers as f64)
            .number("llama.embedding_length", d as f64)
            .number("llama.attention.head_count", heads as f64)
            .number("llama.attention.head_count_kv", kv as f64)
            .number("llama.attention.key_length", c as f64)
            .number("llama.attention.layer_norm_rms_epsilon", 1e-5)
            .number("llama.rope.freq_base", 10000.0);
        m.add("token_embd.weight", &[d, v]).add("output_norm.weight", &[d]).add("output.weight", &[d, v]);
        for l in 0..layers {
            let b = |name: &str| format!("blk.{l}.{name}.weight");
            m.add(&b("attn_norm"), &[d])
                .add(&b("attn_q"), &[d, heads * c])
                .add(&b("attn_k"), &[d, kv * c])
                .add(&b("attn_v"), &[d, kv * c])
                .add(&b("attn_output"), &[heads * c, d])
                .add(&b("ffn_norm"), &[d])
                .add(&b("ffn_gate"), &[d, f])
                .add(&b("ffn_up"), &[d, f])
                .add(&b("ffn_down"), &[f, d]);
        }
        m
    }

    pub fn argument(self) -> Argument {
        Argument::Model(Arc::new(self))
    }
}
