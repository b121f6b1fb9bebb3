//! The options that choose the form of a text: a JSON schema, a regular expression or a grammar, for the commands that generate.

use std::path::{Path, PathBuf};

use clap::Args;
use tensorlogic::Generator;
use tl_llm::{Constrained, Form, GenerateError, Grammars};

use crate::failure::{Failure, Outcome};

/// The form: at most one of three.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Form")]
pub struct ConstraintArgs {
    /// Write JSON that this schema describes: a file, or the schema itself.
    #[arg(long, value_name = "FILE|SCHEMA", conflicts_with_all = ["regex", "grammar"])]
    json_schema: Option<String>,
    /// Write a text that this regular expression matches as a whole.
    #[arg(long, value_name = "RE", conflicts_with = "grammar")]
    regex: Option<String>,
    /// Write a text of the grammar in this file, in Lark's notation, with the rule `start`.
    #[arg(long, value_name = "FILE")]
    grammar: Option<PathBuf>,
}

impl ConstraintArgs {
    /// The form, if one is asked for.
    ///
    /// # Errors
    /// When its file can't be read.
    pub fn form(&self) -> Outcome<Option<Form>> {
        Ok(match (&self.json_schema, &self.regex, &self.grammar) {
            (Some(schema), ..) if is_schema(schema) => Some(Form::JsonSchema(schema.clone())),
            (Some(file), ..) => Some(Form::JsonSchema(read(Path::new(file))?)),
            (None, Some(regex), _) => Some(Form::Regex(regex.clone())),
            (None, None, Some(file)) => Some(Form::Grammar(read(file)?)),
            (None, None, None) => None,
        })
    }

    /// What texts of the form begin with.
    ///
    /// # Errors
    /// When its file can't be read, it is malformed, or the model has no vocabulary.
    pub fn constraint(&self, generator: &Generator) -> Outcome<Option<Constrained>> {
        let Some(form) = self.form()? else { return Ok(None) };
        let grammars = grammars(generator)?;
        Ok(Some(grammars.constraint(&form).map_err(GenerateError::from)?))
    }
}

/// What makes constraints for a model's vocabulary.
///
/// # Errors
/// When it has none, or the program was built without constraints.
pub fn grammars(generator: &Generator) -> Outcome<Grammars> {
    let tokenizer = generator.model().tokenizer()?;
    Ok(Grammars::new(tokenizer, generator.vocabulary()).map_err(GenerateError::from)?)
}

/// Whether a text is meant as a schema, which is an object or a truth, and not as the name of a file.
fn is_schema(text: &str) -> bool {
    text.trim_start().starts_with('{') || matches!(text.trim(), "true" | "false")
}

fn read(path: &Path) -> Outcome<String> {
    let bytes = std::fs::read(path).map_err(|e| Failure::file(path, &e))?;
    String::from_utf8(bytes).map_err(|_| Failure::data(format!("{} is not UTF-8", path.display())))
}
