//! Model files with random weights, of the shape and size of real ones.
//!
//! Speed depends on shapes and types, not on what the weights say. So a file of the right shape measures an engine, on any machine and without a
//! download. The weights are spread so that activations stay near 1 through all layers; the vocabulary is made up, and reads and writes text.
//!
//! ```text
//! shapes.json ─ table ─→ metadata, vocabulary ─┐
//!              quantization ─→ types ─→ weights ┴─ writer ─→ file
//! ```
//!
//! Invariant: the same shape, quantization and seed give the same bytes on every machine. A file larger than memory can be written.

mod table;
mod vocabulary;
mod weights;

pub use table::{Family, Pieces, Quantization, Role, Shape, Table, TensorRow, VocabularyRow};

use std::io::Write;

use tl_formats::gguf::{Metadata, Stream, Writer};
use tl_tensor::DType;

use weights::Weights;

/// Why a file can't be written.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// A shape that says too little, or what can't be.
    #[error("the shape: {0}")]
    Shape(String),
    /// An architecture that the table does not describe.
    #[error("the table has no tensors of the family \"{family}\"; it has those of {known}")]
    Family {
        /// What the shape says.
        family: String,
        /// The families of the table.
        known: String,
    },
    /// Writing failed.
    #[error(transparent)]
    Format(#[from] tl_formats::Error),
}

/// A tensor of the file.
struct Planned<'a> {
    row: &'a TensorRow,
    name: String,
    axes: Vec<usize>,
    dtype: DType,
}

/// Writes a file of this shape with random weights to `sink`; gives the sink back, flushed.
///
/// # Errors
/// Where the shape can't be, or `sink` fails.
pub fn write<W: Write>(
    shape: &Shape,
    quantization: &Quantization,
    seed: u64,
    sink: W,
) -> Result<W, SynthError> {
    let table = Table::get();
    let family = table.families.get(&shape.family).ok_or_else(|| SynthError::Family {
        family: shape.family.clone(),
        known: table.families.keys().cloned().collect::<Vec<_>>().join(", "),
    })?;
    let mut writer = Writer::new(metadata(shape, family, quantization)?);
    let tensors = plan(table, shape, family, quantization)?;
    for tensor in &tensors {
        writer.announce(&tensor.name, &tensor.axes, tensor.dtype)?;
    }
    let mut stream = writer.begin(sink)?;
    let mut weights = Weights::new(seed);
    for tensor in &tensors {
        write_tensor(&mut stream, &mut weights, shape, tensor)?;
    }
    Ok(stream.finish()?)
}

fn metadata(shape: &Shape, family: &Family, quantization: &Quantization) -> Result<Metadata, SynthError> {
    let mut metadata = Metadata::new();
    metadata
        .set("general.architecture", shape.family.as_str())
        .set("general.name", format!("{} with random weights", shape.title).as_str())
        .set("general.file_type", quantization.file_type)
        .set("general.quantization_version", 2u32);
    for (key, name) in &family.metadata {
        let key = format!("{}.{key}", shape.family);
        match (shape.sizes.get(name), shape.numbers.get(name)) {
            (Some(&size), _) => metadata.set(&key, size),
            (None, Some(&number)) => metadata.set(&key, number),
            (None, None) => return Err(SynthError::Shape(format!("`{name}` is missing"))),
        };
    }
    vocabulary::set(&mut metadata, &shape.vocabulary, shape.size("vocabulary")?)?;
    Ok(metadata)
}

fn plan<'a>(
    table: &Table,
    shape: &Shape,
    family: &'a Family,
    quantization: &Quantization,
) -> Result<Vec<Planned<'a>>, SynthError> {
    const LAYER: &str = "{l}";
    let in_layers = |row: &&TensorRow| row.name.contains(LAYER);
    let absent = |row: &TensorRow| match row.role {
        Role::Output => shape.tied,
        Role::Given => !shape.given.contains_key(&row.name),
        _ => false,
    };
    let planned = |row: &'a TensorRow, layer: usize| {
        let axes = row.axes.iter().map(|axis| shape.axis(axis)).collect::<Result<Vec<_>, _>>()?;
        let dtype = match axes[..] {
            [_, columns] => table.dtype(quantization, shape, row, layer, columns),
            _ => DType::F32,
        };
        Ok(Planned { row, name: row.name.replace(LAYER, &layer.to_string()), axes, dtype })
    };
    let layers = shape.size("layers")?;
    let (each, once): (Vec<_>, Vec<_>) =
        family.tensors.iter().filter(|row| !absent(row)).partition(in_layers);
    let repeated = (0..layers).flat_map(|layer| each.iter().map(move |row| (*row, layer)));
    once.into_iter().map(|row| (row, 0)).chain(repeated).map(|(row, layer)| planned(row, layer)).collect()
}

fn write_tensor<W: Write>(
    stream: &mut Stream<W>,
    weights: &mut Weights,
    shape: &Shape,
    tensor: &Planned<'_>,
) -> Result<(), SynthError> {
    let name = &tensor.name;
    let count = tensor.axes.iter().product::<usize>();
    let (rows, columns) = match tensor.axes[..] {
        [rows, columns] => (rows, columns),
        _ => (1, count),
    };
    let width = columns as f32;
    let spread = match tensor.row.role {
        Role::Norm => return Ok(stream.write(&weights.vector(name, count, 1.0, 0.1))?),
        Role::Bias => return Ok(stream.write(&weights.vector(name, count, 0.0, 0.1))?),
        Role::Given => return write_given(stream, shape, name, count),
        // Logits of a normed row then differ by a few, so that some tokens are likelier than others.
        Role::Embedding | Role::Output => 2.0 / width.sqrt(),
        Role::Matrix => 1.0 / width.sqrt(),
        // Each layer adds twice to the stream; all of them together add about 1.
        Role::Residual => 1.0 / (width * 2.0 * shape.layers() as f32).sqrt(),
    };
    weights.draw(name, tensor.dtype, [rows, columns], spread, |bytes| Ok(stream.write(bytes)?))
}

fn write_given<W: Write>(
    stream: &mut Stream<W>,
    shape: &Shape,
    name: &str,
    count: usize,
) -> Result<(), SynthError> {
    let values = &shape.given[name];
    if values.len() != count {
        let given = values.len();
        return Err(SynthError::Shape(format!("`{name}` has {given} numbers, but {count} are needed")));
    }
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Ok(stream.write(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shape that is written in a moment.
    fn small() -> Shape {
        let mut shape = Table::get().shapes[0].clone();
        for (name, size) in [
            ("layers", 1),
            ("width", 256),
            ("heads", 4),
            ("kv_heads", 2),
            ("feed_forward", 256),
            ("vocabulary", 300),
        ] {
            shape.sizes.insert(name.to_owned(), size);
        }
        shape
    }

    #[test]
    fn a_seed_gives_the_same_file_and_another_one_another() {
        let table = Table::get();
        for quantization in &table.quantizations {
            let write = |seed| write(&small(), quantization, seed, Vec::new()).unwrap();
            assert!(write(1) == write(1) && write(1) != write(2), "{}", quantization.name);
        }
    }

    #[test]
    fn shapes_that_cannot_be_are_refused() {
        let quantization = &Table::get().quantizations[0];
        let refused = |change: fn(&mut Shape)| {
            let mut shape = small();
            change(&mut shape);
            write(&shape, quantization, 0, Vec::new()).unwrap_err().to_string()
        };
        assert!(refused(|s| _ = s.sizes.remove("width")).contains("`width`"));
        assert!(refused(|s| _ = s.sizes.insert("heads".into(), 0)).contains("`heads`"));
        assert!(refused(|s| _ = s.sizes.insert("vocabulary".into(), 100)).contains("vocabulary"));
        assert!(refused(|s| _ = s.sizes.insert("vocabulary".into(), u32::MAX)).contains("vocabulary"));
        assert!(refused(|s| s.family = "none".into()).contains("none"));
        assert!(refused(|s| s.vocabulary.eos = 300).contains("below 300"));
        assert!(Shape::from_json("{}").unwrap_err().to_string().contains("missing field"));
    }
}
