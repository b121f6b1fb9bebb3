//! The options that choose where guesses of the next tokens come from: for the commands that generate.

use clap::Args;
use tensorlogic::{Generator, GeneratorOptions};
use tl_llm::speculation::GUESSES;
use tl_llm::{Draft, Speculation};

use crate::failure::Outcome;
use crate::opening::{self, OpenArgs};
use crate::terminal::remark;

/// Speculation: guesses change the speed, never the text.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Speculation")]
pub struct SpeculationArgs {
    /// Guess the next tokens from what followed the same tokens before.
    #[arg(long, conflicts_with = "draft")]
    lookup: bool,
    /// Guess the next tokens with a smaller model of the same vocabulary.
    #[arg(long, value_name = "MODEL")]
    draft: Option<String>,
    /// How many tokens are guessed at most for each step.
    #[arg(long, value_name = "N", default_value_t = GUESSES)]
    guesses: usize,
}

impl SpeculationArgs {
    /// What guesses for a model; a draft is opened as the options say, but by its own equations.
    pub fn speculation(&self, model: &Generator, open: &OpenArgs) -> Outcome<Speculation> {
        let most = self.guesses;
        let Some(draft) = &self.draft else {
            return Ok(if self.lookup { Speculation::Lookup { most } } else { Speculation::Off });
        };
        let file = opening::open_model(&opening::find(draft)?, open)?;
        let generator = Generator::with_options(model.engine(), file, &GeneratorOptions::default())?;
        for warning in generator.warnings() {
            remark(format_args!("warning: {warning}"));
        }
        Ok(Speculation::Draft(Draft::new(model, &generator, most)?))
    }
}
