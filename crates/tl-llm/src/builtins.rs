//! What this crate adds to the language: sampling, and models by their names.
//!
//! Each sampler of the chain is a function that draws on its own (`top_k_sample(logits, k)`), and `sample` is the whole chain with the
//! command line's names and defaults. All draw from one generator of random numbers, which `seed(n)` sets. `beam_search` draws nothing.

use std::sync::Arc;

use tensorlogic::interpreter::builtins::{generator_of, open_model};
use tensorlogic::interpreter::value::{Dict, Key};
use tensorlogic::interpreter::{Arguments, Builtin, CallError, Context, Purity, TensorValue, Value};

use crate::beam::{Beam, BeamOptions, beam_search as search};
use crate::constraint::builtins as forms;
use crate::constraint::builtins::with_forms;
use crate::download::{FetchOptions, Spec, fetch};
use crate::generation::{Finish, GenerateOptions};
use crate::sampling::builtins as draw;
use crate::sampling::{Candidates, Rng, SampleError, Sampler, SamplingParams, random_seed};

/// The functions, to be registered with an interpreter.
pub fn all() -> impl Iterator<Item = Builtin> {
    TABLE.iter().chain(forms::TABLE).copied()
}

const TABLE: &[Builtin] = &[
    Builtin::new(
        "load_model",
        "name",
        Purity::Effect,
        "Opens a model: a name of the catalogue, a GGUF file, or hf:OWNER/REPO/FILE.gguf; fetched if that is needed.",
        load_model,
    ),
    Builtin::new("seed", "n", Purity::Effect, "Makes the draws that follow the same in every run.", seed),
    Builtin::new(
        "sample",
        "logits, temp = 0.8, top_k = 40, top_p = 0.95, min_p = 0.05, typical = 1, recent = [], repeat_penalty = 1, \
         presence_penalty = 0, frequency_penalty = 0, logit_bias = []",
        Purity::Effect,
        "Draws a token by the whole chain; `recent` are the tokens that the penalties see, `logit_bias` pairs of id and bias.",
        sample,
    ),
    Builtin::new(
        "temperature_sample",
        "logits, t = 0.8",
        Purity::Effect,
        "Draws a token at temperature `t`; 0 takes the most probable.",
        |context, args| one_stage(context, &args, draw::temperature_sample, 0.8),
    ),
    Builtin::new(
        "top_k_sample",
        "logits, k = 40",
        Purity::Effect,
        "Draws among the `k` most probable tokens; 0 is all.",
        |context, args| {
            let k = args.count_or(1, 40)?;
            draw_with(context, &args, |logits, rng, c| draw::top_k_sample(logits, k, rng, c))
        },
    ),
    Builtin::new(
        "top_p_sample",
        "logits, p = 0.95",
        Purity::Effect,
        "Draws among the fewest most probable tokens whose probabilities sum to `p`.",
        |context, args| one_stage(context, &args, draw::top_p_sample, 0.95),
    ),
    Builtin::new(
        "min_p_sample",
        "logits, p = 0.05",
        Purity::Effect,
        "Draws among the tokens at least `p` times as probable as the most probable.",
        |context, args| one_stage(context, &args, draw::min_p_sample, 0.05),
    ),
    Builtin::new(
        "typical_sample",
        "logits, p = 0.95",
        Purity::Effect,
        "Draws among the locally typical tokens of mass `p`.",
        |context, args| one_stage(context, &args, draw::typical_sample, 0.95),
    ),
    Builtin::new(
        "beam_search",
        with_forms!("model, tokens, width = 4, length_penalty = 1, n = 64, allowed = ()"),
        Purity::Effect,
        "The most probable continuations of ids by up to `n` tokens, `width` followed at once: a list, best first, of dicts of `ids`, `text`, \
         `score`, `log_probability` and `ended` (whether the model or the form ended it). The score is `log_probability / length ^ length_penalty`. \
         `allowed`, a vector over the vocabulary, is 0 for tokens that can't come; `json_schema`, `regex` or `grammar` as in `generate`.",
        beam_search,
    ),
    Builtin::new(
        "penalize",
        "logits, recent, repeat = 1, presence = 0, frequency = 0",
        Purity::Pure,
        "The logits with those of recent tokens made smaller.",
        penalize,
    ),
];

/// The most sequences that a script may follow at once.
const MAX_WIDTH: usize = 1024;

/// The generator of random numbers and the buffer of one interpreter.
struct Draws {
    rng: Rng,
    candidates: Candidates,
}

impl Default for Draws {
    fn default() -> Self {
        Self { rng: Rng::from_seed(random_seed()), candidates: Candidates::new() }
    }
}

fn load_model(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let name = arguments.text(0)?;
    let failed = |message: String| CallError::new(message).about(0);
    let path = match Spec::parse(&name).map_err(|e| failed(e.to_string()))? {
        Spec::File(_) => context.locate(&name).map_err(|e| failed(e.to_string()))?,
        spec => {
            let options = FetchOptions::from_env().map_err(|e| failed(e.to_string()))?;
            Some(fetch(&spec, &options, &mut |_| {}).map_err(|e| failed(e.to_string()))?)
        }
    };
    let path = path.ok_or_else(|| failed(format!("`{name}` is not on disk")))?;
    Ok(Value::Model(open_model(context, path).map_err(|e| e.about(0))?))
}

fn seed(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    context.extension::<Draws>().rng = Rng::from_seed(arguments.count(0)? as u64);
    Ok(Value::Unit)
}

/// A draw with one number as its parameter.
fn one_stage(
    context: &mut Context<'_>,
    arguments: &Arguments,
    stage: impl FnOnce(&[f32], f32, &mut Rng, &mut Candidates) -> Result<u32, SampleError>,
    default: f64,
) -> Result<Value, CallError> {
    let parameter = arguments.number_or(1, default)? as f32;
    draw_with(context, arguments, |logits, rng, candidates| stage(logits, parameter, rng, candidates))
}

fn draw_with(
    context: &mut Context<'_>,
    arguments: &Arguments,
    stage: impl FnOnce(&[f32], &mut Rng, &mut Candidates) -> Result<u32, SampleError>,
) -> Result<Value, CallError> {
    let logits = arguments.logits(0)?;
    let draws = context.extension::<Draws>();
    let id = stage(&logits, &mut draws.rng, &mut draws.candidates);
    id.map(Value::from).map_err(|e| CallError::new(e.to_string()).about(0))
}

fn sample(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let logits = arguments.logits(0)?;
    let number =
        |parameter, default: f32| arguments.number_or(parameter, f64::from(default)).map(|n| n as f32);
    let base = SamplingParams::default();
    let recent = if arguments.get(6).is_some() { arguments.token_ids(6)? } else { Vec::new() };
    let params = SamplingParams {
        temperature: number(1, base.temperature)?,
        top_k: arguments.count_or(2, base.top_k)?,
        top_p: number(3, base.top_p)?,
        min_p: number(4, base.min_p)?,
        typical_p: number(5, base.typical_p)?,
        repeat_last_n: None,
        repeat_penalty: number(7, base.repeat_penalty)?,
        presence_penalty: number(8, base.presence_penalty)?,
        frequency_penalty: number(9, base.frequency_penalty)?,
        logit_bias: biases(&arguments, 10)?,
        seed: Some(context.extension::<Draws>().rng.next_u64()),
    };
    let failed = |message: String| CallError::new(message);
    let mut sampler = Sampler::new(params, logits.len()).map_err(|e| failed(e.to_string()))?;
    recent.into_iter().for_each(|id| sampler.accept(id));
    sampler.sample(&logits).map(Value::from).map_err(|e| failed(e.to_string()).about(0))
}

/// Pairs of token id and bias.
fn biases(arguments: &Arguments, parameter: usize) -> Result<Vec<(u32, f32)>, CallError> {
    if arguments.get(parameter).is_none() {
        return Ok(Vec::new());
    }
    let wrong = || arguments.wrong(parameter, "a list of pairs (id, bias)");
    let pair = |item: Value| {
        let parts = tensorlogic::interpreter::convert::items(&item).ok_or_else(wrong)?;
        let [id, bias] = &parts[..] else { return Err(wrong()) };
        let id = id.as_integer().and_then(|n| u32::try_from(n).ok()).ok_or_else(wrong)?;
        Ok((id, bias.as_number().ok_or_else(wrong)? as f32))
    };
    arguments.items(parameter)?.into_iter().map(pair).collect()
}

fn beam_search(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let (model, prompt) = (arguments.model(0)?, arguments.token_ids(1)?);
    let beam = BeamOptions { width: arguments.count_or(2, 4)?, length_penalty: arguments.number_or(3, 1.0)? };
    let mut options =
        GenerateOptions { max_tokens: Some(arguments.count_or(4, 64)?), ..GenerateOptions::default() };
    if beam.width > MAX_WIDTH {
        return Err(arguments.wrong(2, &format!("at most {MAX_WIDTH}")));
    }
    // Without a vocabulary there are ids all the same, and nothing but their number ends them.
    let tokenizer = model.tokenizer().ok();
    let mut session = generator_of(context, &model)?.session();
    let generator = session.generator().clone();
    options.sampling.logit_bias = forms::excluded(&arguments, 5, generator.vocabulary())?;
    options.constraint = forms::asked(context, &arguments, 6, &generator)?;
    let cancel = context.host().interrupt().unwrap_or_default();
    let found = search(&mut session, tokenizer, &prompt, &options, &beam, &cancel);
    // A script that is to stop stops here.
    context.check()?;
    let found = found.map_err(|e| CallError::new(e.to_string()))?;
    Ok(Value::list(found.beams.iter().map(beam_value)))
}

fn beam_value(beam: &Beam) -> Value {
    let mut dict = Dict::new();
    let ended = matches!(beam.finish, Finish::End(_) | Finish::Complete);
    let entries = [
        ("ids", Value::list(beam.ids.iter().map(|&id| Value::from(id)))),
        ("text", Value::text(&beam.text)),
        ("score", Value::Number(beam.score)),
        ("log_probability", Value::Number(beam.log_probability)),
        ("ended", Value::Bool(ended)),
    ];
    for (key, value) in entries {
        dict.set(Key::Str(key.into()), value);
    }
    Value::Dict(Arc::new(dict))
}

fn penalize(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let logits = arguments.logits(0)?;
    let (repeat, presence) = (arguments.number_or(2, 1.0)? as f32, arguments.number_or(3, 0.0)? as f32);
    let frequency = arguments.number_or(4, 0.0)? as f32;
    if repeat <= 0.0 {
        return Err(arguments.wrong(2, "a number above 0"));
    }
    let mut counts = vec![0u32; logits.len()];
    for id in arguments.token_ids(1)? {
        match counts.get_mut(id as usize) {
            Some(count) => *count += 1,
            None => return Err(arguments.wrong(1, "token ids of the vocabulary")),
        }
    }
    let penalized: Vec<f32> = logits
        .iter()
        .zip(&counts)
        .map(|(&logit, &count)| {
            if count == 0 {
                return logit;
            }
            let scaled = if logit > 0.0 { logit / repeat } else { logit * repeat };
            scaled - presence - frequency * count as f32
        })
        .collect();
    Ok(TensorValue::new(&[penalized.len()], &penalized).into())
}
