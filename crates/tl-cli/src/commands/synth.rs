//! `tl synth`: writes a model file with random weights, to measure with.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use tl_llm::synth::{self, Shape, SynthError, Table};

use crate::failure::{Failure, Outcome};
use crate::terminal::print;

/// The arguments of `tl synth`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A shape by its name, or a JSON file that describes one.
    #[arg(required_unless_present = "list")]
    shape: Option<String>,
    /// How the weights are stored: Q4_0, Q4_K_M, Q8_0, F16, …
    #[arg(long, value_name = "TYPE", default_value = "Q4_K_M")]
    quant: String,
    /// The file to write.
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    out: Option<PathBuf>,
    /// The same seed gives the same file.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the names of shapes and quantizations, and write nothing.
    #[arg(long)]
    list: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    let table = Table::get();
    let (Some(name), Some(out), false) = (&args.shape, &args.out, args.list) else {
        for shape in &table.shapes {
            print(format_args!("{:<20} {}\n", shape.name, shape.title))?;
        }
        return print(format_args!("\n{}\n", quantizations()));
    };
    let quantization = table.quantization(&args.quant).ok_or_else(|| {
        Failure::usage(format!("there is no quantization `{}`; there are {}", args.quant, quantizations()))
    })?;
    let shape = find(name)?;
    let file = File::create(out).map_err(|e| Failure::file(out, &e))?;
    synth::write(&shape, quantization, args.seed, BufWriter::with_capacity(1 << 20, file))?;
    print(format_args!("{}\n", out.display()))
}

fn find(name: &str) -> Outcome<Shape> {
    if let Some(shape) = Table::get().shape(name) {
        return Ok(shape.clone());
    }
    if !name.ends_with(".json") {
        let known: Vec<&str> = Table::get().shapes.iter().map(|s| s.name.as_str()).collect();
        return Err(Failure::usage(format!(
            "there is no shape `{name}`; there are {}, or a JSON file of your own",
            known.join(", ")
        )));
    }
    let text = std::fs::read_to_string(name).map_err(|e| Failure::file(Path::new(name), &e))?;
    Ok(Shape::from_json(&text)?)
}

fn quantizations() -> String {
    Table::get().quantizations.iter().map(|q| q.name.as_str()).collect::<Vec<_>>().join(", ")
}

impl From<SynthError> for Failure {
    fn from(error: SynthError) -> Self {
        match error {
            SynthError::Format(error) => error.into(),
            other => Failure::data(other.to_string()),
        }
    }
}
