//! `tl embed`: embeddings of the lines of standard input.

use std::io::BufRead;

use serde_json::json;
use tl_formats::tokenizer::EncodeOptions;
use tl_llm::{Pooling, embed};

use super::print_json;
use crate::failure::{Failure, Outcome};
use crate::opening::{self, OpenArgs};
use crate::terminal::print;

/// The arguments of `tl embed`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A model: a name of the catalogue, a file, or hf:OWNER/REPO/FILE.gguf.
    model: String,
    /// How the rows of a text's tokens become one vector.
    #[arg(long, value_enum, default_value_t = PoolingArg::Mean)]
    pooling: PoolingArg,
    /// Take the rows of this tensor of the program, as x[12], or x for its last step; if not given, of the one that the output matrix multiplies.
    #[arg(long, value_name = "NAME")]
    tensor: Option<String>,
    /// Print one JSON object for each line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    open: OpenArgs,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum PoolingArg {
    /// The mean of the rows.
    Mean,
    /// The last row.
    Last,
}

/// Runs the command: a vector of length 1 for each line.
pub fn run(args: Args, threads: Option<usize>) -> Outcome {
    let opened = opening::open(&args.model, &args.open, threads)?;
    let tokenizer = opened.generator.model().tokenizer()?;
    let mut probe = opened.generator.probe(args.tensor.as_deref())?;
    let pooling = match args.pooling {
        PoolingArg::Mean => Pooling::Mean,
        PoolingArg::Last => Pooling::Last,
    };
    for (number, line) in (1..).zip(std::io::stdin().lock().split(b'\n')) {
        let wrong = |what: String| Failure::data(format!("line {number} of standard input {what}"));
        let mut line = line?;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        let text = String::from_utf8(line)
            .map_err(|e| wrong(format!("is not UTF-8 at byte {}", e.utf8_error().valid_up_to())))?;
        let options = EncodeOptions { parse_special: false, add_special: true };
        let ids = tokenizer.encode(&text, options).map_err(|e| wrong(format!("can't be encoded: {e}")))?;
        if ids.is_empty() {
            return Err(wrong("has no tokens".to_owned()));
        }
        let vector = embed(&mut probe, &ids, pooling)?;
        if args.json {
            // As many digits as tell one number of 32 bits from the next.
            let digits = |x: &f32| x.to_string().parse::<f64>().unwrap_or_default();
            let vector: Vec<f64> = vector.iter().map(digits).collect();
            print_json(&json!({ "tokens": ids.len(), "embedding": vector }))?;
        } else {
            let numbers: Vec<String> = vector.iter().map(|x| format!("{x:.6}")).collect();
            print(format_args!("{}\n", numbers.join(" ")))?;
        }
    }
    Ok(())
}
