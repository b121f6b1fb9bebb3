//! Forms in scripts: `generate(model, text, regex: "[0-9]+")`, and the same of `chat` and `beam_search`.
//!
//! What makes constraints for a model's vocabulary is made once for each interpreter and model.

use std::sync::Arc;

use tensorlogic::interpreter::builtins::{allowed_tokens, generator_of, json_text, text_prompt, turn_prompt};
use tensorlogic::interpreter::{Arguments, Builtin, CallError, Context, Purity, Value};
use tensorlogic::{Generator, Model};

use super::{Constrained, Form, Grammars};
use crate::context::ContextEnd;
use crate::generation::{Finish, GenerateOptions, generate as run};
use crate::sampling::SamplingParams;

/// The parameters that choose a form, as the last ones of a function.
macro_rules! with_forms {
    ($parameters:literal) => {
        concat!($parameters, ", json_schema = (), regex = (), grammar = ()")
    };
}
pub(crate) use with_forms;

/// The functions that continue a text; they take the place of those without forms.
pub(crate) const TABLE: &[Builtin] = &[
    Builtin::new(
        "generate",
        with_forms!("model, text, n = 64, allowed = ()"),
        Purity::Effect,
        "Continues a text by up to `n` tokens, the most probable one each time; gives what is new. `allowed`, a vector over the vocabulary, \
         is 0 for tokens that can't come; to end, the text needs the model's token for it. `json_schema` (a text or a dict), `regex` or \
         `grammar` says what form the text has.",
        generate,
    ),
    Builtin::new(
        "chat",
        with_forms!("model, text, n = 256, system = ()"),
        Purity::Effect,
        "The model's answer to a message, up to `n` tokens long, the most probable one each time; of a form, as in `generate`.",
        chat,
    ),
];

/// Grammars by model, so that each vocabulary is sorted once.
#[derive(Default)]
struct Known(Vec<(Arc<Model>, Grammars)>);

/// The constraint that the arguments from `first` on ask for, if they do.
///
/// # Errors
/// When more than one form is asked for, one is malformed, or there is no vocabulary or no such feature.
pub(crate) fn asked(
    context: &mut Context<'_>,
    arguments: &Arguments,
    first: usize,
    generator: &Generator,
) -> Result<Option<Constrained>, CallError> {
    let given: Vec<usize> = (first..first + 3).filter(|&n| arguments.get(n).is_some()).collect();
    let at = match given[..] {
        [] => return Ok(None),
        [at] => at,
        [_, second, ..] => {
            return Err(
                CallError::new("a text has one form: `json_schema`, `regex` or `grammar`").about(second)
            );
        }
    };
    let form = match at - first {
        0 => Form::JsonSchema(match arguments.get(at) {
            Some(schema @ Value::Dict(_)) => json_text(schema).map_err(|e| e.about(at))?,
            _ => arguments.text(at)?.to_string(),
        }),
        1 => Form::Regex(arguments.text(at)?.to_string()),
        _ => Form::Grammar(arguments.text(at)?.to_string()),
    };
    let failed = |message: String| CallError::new(message).about(at);
    let model = generator.model();
    let known = &mut context.extension::<Known>().0;
    let found = match known.iter().position(|(known, _)| Arc::ptr_eq(known, model)) {
        Some(found) => found,
        None => {
            let tokenizer = model.tokenizer().map_err(|e| failed(e.to_string()))?;
            let grammars =
                Grammars::new(tokenizer, generator.vocabulary()).map_err(|e| failed(e.to_string()))?;
            known.push((Arc::clone(model), grammars));
            known.len() - 1
        }
    };
    known[found].1.constraint(&form).map(Some).map_err(|e| failed(e.to_string()))
}

/// The tokens that an argument excludes, as biases.
///
/// # Errors
/// As for [`allowed_tokens`].
pub(crate) fn excluded(
    arguments: &Arguments,
    parameter: usize,
    vocabulary: usize,
) -> Result<Vec<(u32, f32)>, CallError> {
    if arguments.get(parameter).is_none() {
        return Ok(Vec::new());
    }
    let allowed = allowed_tokens(arguments, parameter, vocabulary)?;
    Ok((0..).zip(allowed).filter(|(_, allowed)| !allowed).map(|(id, _)| (id, f32::NEG_INFINITY)).collect())
}

fn generate(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let model = arguments.model(0)?;
    let prompt = text_prompt(&model, &arguments.text(1)?)?;
    let generator = generator_of(context, &model)?;
    let bias = excluded(&arguments, 3, generator.vocabulary())?;
    continued(context, &arguments, 4, &generator, &prompt, arguments.count_or(2, 64)?, bias)
}

fn chat(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let model = arguments.model(0)?;
    let system = arguments.get(3).map(|_| arguments.text(3)).transpose()?;
    let prompt = turn_prompt(&model, &arguments.text(1)?, system.as_deref())?;
    let generator = generator_of(context, &model)?;
    continued(context, &arguments, 4, &generator, &prompt, arguments.count_or(2, 256)?, Vec::new())
}

/// What the model makes of a prompt, the most probable token each time.
fn continued(
    context: &mut Context<'_>,
    arguments: &Arguments,
    first_form: usize,
    generator: &Generator,
    prompt: &[u32],
    n: usize,
    logit_bias: Vec<(u32, f32)>,
) -> Result<Value, CallError> {
    let constraint = asked(context, arguments, first_form, generator)?;
    let sampling = SamplingParams { logit_bias, seed: Some(0), ..SamplingParams::greedy() };
    let options = GenerateOptions {
        max_tokens: Some(n),
        sampling,
        constraint,
        context_end: ContextEnd::Error,
        ..GenerateOptions::default()
    };
    let tokenizer = generator.model().tokenizer().map_err(|e| CallError::new(e.to_string()))?;
    let cancel = context.host().interrupt().unwrap_or_default();
    let mut session = generator.session();
    let done = run(&mut session, Some(tokenizer), prompt, &options, &cancel, |_| {}, |_| {});
    // A script that is to stop stops here.
    context.check()?;
    let done = done.map_err(|e| CallError::new(e.to_string()))?;
    match done.finish {
        Finish::Stuck => Err(CallError::new("no token of the vocabulary goes on as the form asks")),
        _ => Ok(done.text.into()),
    }
}
