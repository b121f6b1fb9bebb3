//! The table of shapes: families with their metadata and tensors, models with their sizes, quantizations with their mixes.
//!
//! All of it is data, in `shapes.json`. An axis of a tensor is a size of the shape, a product of two or a half; a metadata key takes the value of
//! a size or a number. A shape from a person's own file is read in the same form.
//!
//! Invariant: the built-in table is correct; a test says so, which is why reading it cannot fail.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer};
use tl_tensor::DType;

use super::SynthError;

/// The whole table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// What models of an architecture have in common, by `general.architecture`.
    pub families: BTreeMap<String, Family>,
    /// The shapes.
    pub shapes: Vec<Shape>,
    /// The quantizations that a file can have.
    pub quantizations: Vec<Quantization>,
    /// What takes the place of a type where its block does not divide the rows, as the usual quantizer of GGUF files has it.
    narrow: BTreeMap<TypeName, TypeName>,
}

/// What models of an architecture have in common.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// From metadata keys, the architecture left out, to names of sizes and numbers.
    pub metadata: BTreeMap<String, String>,
    /// The tensors in the order of the file.
    pub tensors: Vec<TensorRow>,
}

/// A tensor of a family; one for each layer if `{l}` is in its name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorRow {
    /// Its name.
    pub name: String,
    /// Its axes, slowest first.
    pub axes: Vec<String>,
    /// What it does, which decides about its values and its type.
    pub role: Role,
}

/// What a tensor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Rows that tokens stand for.
    Embedding,
    /// The logits' matrix; absent where it is the embedding.
    Output,
    /// Any other matrix.
    Matrix,
    /// A matrix whose results are added to the stream of the layers.
    Residual,
    /// Weights around 1.
    Norm,
    /// Weights around 0.
    Bias,
    /// Numbers that the shape gives; absent where it gives none.
    Given,
}

/// A shape.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// The name that is typed.
    pub name: String,
    /// The name for people.
    pub title: String,
    /// The architecture, a key of [`Table::families`].
    pub family: String,
    /// Whether the output matrix is the embedding.
    #[serde(default)]
    pub tied: bool,
    /// Whole numbers by name.
    pub sizes: BTreeMap<String, u32>,
    /// Other numbers by name.
    pub numbers: BTreeMap<String, f32>,
    /// Values of tensors whose role is [`Role::Given`].
    #[serde(default)]
    pub given: BTreeMap<String, Vec<f32>>,
    /// The vocabulary.
    pub vocabulary: VocabularyRow,
}

/// What a vocabulary is like.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VocabularyRow {
    /// How its pieces are written.
    pub pieces: Pieces,
    /// `tokenizer.ggml.model`.
    pub model: String,
    /// `tokenizer.ggml.pre`.
    pub pre: Option<String>,
    /// Control tokens, which have consecutive ids.
    pub special: Vec<String>,
    /// The id of the first of them.
    pub first_special: u32,
    /// The id of the token for what the vocabulary lacks.
    pub unknown: Option<u32>,
    /// The id of the token that begins a text.
    pub bos: u32,
    /// The id of the token that ends one.
    pub eos: u32,
    /// Whether a text begins with the former.
    pub add_bos: bool,
}

/// How the pieces of a vocabulary are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pieces {
    /// With scores, and bytes as `<0x0A>`.
    SentencePieces,
    /// In GPT-2's byte alphabet, with merges.
    BytePairs,
}

/// A quantization of a whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    /// The name that is typed.
    pub name: String,
    /// `general.file_type`.
    pub file_type: u32,
    /// The type of matrices.
    base: TypeName,
    /// That of the output matrix, where it differs.
    output: Option<TypeName>,
    /// That of the layers that get more bits, and for which tensors.
    more: Option<TypeName>,
    #[serde(default)]
    more_for: Vec<String>,
}

/// An element type as the table writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TypeName(DType);

impl<'de> Deserialize<'de> for TypeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = DType::ALL.iter().find(|t| t.info().name == name);
        let unknown = || serde::de::Error::custom(format_args!("there is no type `{name}`"));
        found.map(|&t| TypeName(t)).ok_or_else(unknown)
    }
}

impl Table {
    /// The built-in table.
    pub fn get() -> &'static Table {
        static TABLE: LazyLock<Table> = LazyLock::new(|| {
            serde_json::from_str(include_str!("shapes.json")).expect("a test reads the built-in table")
        });
        &TABLE
    }

    /// The shape of a name; upper and lower case are the same.
    pub fn shape(&self, name: &str) -> Option<&Shape> {
        self.shapes.iter().find(|s| s.name.eq_ignore_ascii_case(name))
    }

    /// The quantization of a name; upper and lower case are the same.
    pub fn quantization(&self, name: &str) -> Option<&Quantization> {
        self.quantizations.iter().find(|q| q.name.eq_ignore_ascii_case(name))
    }

    /// The type of a matrix with so many `columns` in layer `layer` of a file.
    pub(super) fn dtype(
        &self,
        quantization: &Quantization,
        shape: &Shape,
        row: &TensorRow,
        layer: usize,
        columns: usize,
    ) -> DType {
        let is_output = row.role == Role::Output || row.role == Role::Embedding && shape.tied;
        let gets_more = quantization.more_for.iter().any(|part| row.name.ends_with(part.as_str()))
            && has_more_bits(layer, shape.layers());
        let wanted = match quantization {
            Quantization { output: Some(output), .. } if is_output => *output,
            Quantization { more: Some(more), .. } if gets_more => *more,
            other => other.base,
        };
        let fits = |t: &TypeName| columns.is_multiple_of(t.0.block());
        let narrow = || self.narrow.get(&wanted).copied().filter(fits).unwrap_or(TypeName(DType::F16));
        Some(wanted).filter(fits).unwrap_or_else(narrow).0
    }
}

/// The layers that the usual mixes (`Q4_K_M` and the like) give more bits: the first and the last eighth, and every third between.
fn has_more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

impl Shape {
    /// Reads a shape in the form of the table.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn from_json(text: &str) -> Result<Self, SynthError> {
        serde_json::from_str(text).map_err(|e| SynthError::Shape(e.to_string()))
    }

    /// How many layers there are.
    pub fn layers(&self) -> usize {
        self.sizes.get("layers").map_or(0, |&n| n as usize)
    }

    /// The length of an axis that is written as a size, `a*b`, or `a/2`.
    pub(super) fn axis(&self, written: &str) -> Result<usize, SynthError> {
        let (written, divisor) = written.strip_suffix("/2").map_or((written, 1), |rest| (rest, 2));
        let mut product = 1usize;
        for name in written.split('*') {
            product = product.checked_mul(self.size(name)?).ok_or_else(|| too_large(written))?;
        }
        Ok(product / divisor)
    }

    /// A size by its name.
    pub(super) fn size(&self, name: &str) -> Result<usize, SynthError> {
        let missing = || SynthError::Shape(format!("the size `{name}` is missing or 0"));
        self.sizes.get(name).filter(|&&n| n > 0).map(|&n| n as usize).ok_or_else(missing)
    }
}

fn too_large(what: &str) -> SynthError {
    SynthError::Shape(format!("`{what}` is too large to be counted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_well_formed() {
        let table = Table::get();
        for shape in &table.shapes {
            let family = &table.families[&shape.family];
            for axis in family.tensors.iter().flat_map(|t| &t.axes) {
                assert!(shape.axis(axis).unwrap() > 0, "{}: {axis}", shape.name);
            }
            for name in family.metadata.values() {
                assert!(shape.sizes.contains_key(name) || shape.numbers.contains_key(name), "{name}");
            }
        }
        for q in &table.quantizations {
            assert!(q.base.0.info().encode.is_some(), "{} can be written", q.name);
        }
    }

    /// What the usual quantizer chose for TinyLlama 1.1B in `Q4_K_M`: 22 layers.
    #[test]
    fn mixes_give_more_bits_to_the_layers_that_get_them_elsewhere() {
        let more: Vec<usize> = (0..22).filter(|&l| has_more_bits(l, 22)).collect();
        assert_eq!(more, [0, 1, 4, 7, 10, 13, 16, 19, 20, 21]);
        let table = Table::get();
        let (shape, mix) = (table.shape("tinyllama-1.1b").unwrap(), table.quantization("q4_k_m").unwrap());
        let tensors = &table.families[&shape.family].tensors;
        let row =
            |name: &str| tensors.iter().find(|t| t.name.trim_start_matches("blk.{l}.") == name).unwrap();
        let dtype = |name, layer, columns| table.dtype(mix, shape, row(name), layer, columns);
        assert_eq!(dtype("attn_v.weight", 0, 2048), DType::Q6_K);
        assert_eq!(dtype("attn_v.weight", 2, 2048), DType::Q4_K);
        assert_eq!(dtype("attn_q.weight", 0, 2048), DType::Q4_K);
        assert_eq!(dtype("output.weight", 0, 2048), DType::Q6_K);
        assert_eq!(dtype("attn_q.weight", 0, 896), DType::Q5_0, "256 does not divide the row");
        assert_eq!(dtype("output.weight", 0, 896), DType::Q8_0);
        assert_eq!(dtype("attn_q.weight", 0, 100), DType::F16, "neither does 32");
    }
}
