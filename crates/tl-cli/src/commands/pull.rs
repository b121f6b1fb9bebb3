//! `tl pull`: downloads a model and says where it is.

use tl_llm::catalogue::Catalogue;

use crate::failure::Outcome;
use crate::opening;
use crate::terminal::print;

/// The arguments of `tl pull`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A name of the catalogue, or hf:OWNER/REPO/FILE.gguf; the default model if not given.
    model: Option<String>,
    /// Print the names of the catalogue and download nothing.
    #[arg(long)]
    list: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    if args.list {
        for entry in &Catalogue::get().models {
            print(format_args!("{:<20} {}\n", entry.name, entry.title))?;
        }
        return Ok(());
    }
    let found = opening::find(args.model.as_deref().unwrap_or_else(|| opening::default_name()))?;
    print(format_args!("{}\n", found.path.display()))
}
