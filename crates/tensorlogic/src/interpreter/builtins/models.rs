//! Models: opening them, their tensors, their vocabulary, what they generate, and writing them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tl_formats::chat_template::{Message, RenderOptions};
use tl_formats::gguf::{Array, Metadata, Value as MetaValue, Writer};
use tl_formats::tokenizer::{DecodeOptions, EncodeOptions, Tokenizer};
use tl_tensor::{Buffer, DType, Tensor};

use super::super::builtin::{Arguments, Builtin, CallError, Purity::*};
use super::super::context::Context;
use super::super::convert::{elements, to_tensor};
use super::super::tensor::TensorValue;
use super::super::value::{Key, Value};
use super::row;
use crate::error::Error;
use crate::generator::Generator;
use crate::model::Model;
use crate::session::Session;

pub(super) const TABLE: &[Builtin] = &[
    row("load_model", "name", Effect, "Opens a model: a GGUF file.", load_model),
    row(
        "load_tokenizer",
        "name",
        Effect,
        "The tokenizer of a model, or of a `tokenizer.json`.",
        load_tokenizer,
    ),
    row(
        "warnings",
        "model",
        Pure,
        "What was noticed when the model was opened, as a list of texts.",
        warnings,
    ),
    row(
        "tensor_names",
        "model",
        Pure,
        "The names of the model's tensors, in the order of the file.",
        tensor_names,
    ),
    row(
        "get_tensor",
        "model, name",
        Pure,
        "A tensor of the model, its axes in the order of the file (`ne`): fastest first.",
        get_tensor,
    ),
    row(
        "tokenize",
        "model, text, special = false",
        Pure,
        "The ids of a text; with `special`, control tokens in it are recognized.",
        tokenize,
    ),
    row(
        "detokenize",
        "model, ids, special = false",
        Pure,
        "The text of ids; with `special`, control tokens appear in it.",
        detokenize,
    ),
    row(
        "next_logits",
        "model, ids",
        Pure,
        "What the whole model makes of the next token after these ids: a vector over the vocabulary.",
        next_logits,
    ),
    row(
        "generate",
        "model, text, n = 64, allowed = ()",
        Effect,
        "Continues a text by up to `n` tokens, the most probable one each time; gives what is new. `allowed`, a vector over the vocabulary, \
         is 0 for tokens that can't come; to end, the text needs the model's token for it.",
        generate,
    ),
    row(
        "chat",
        "model, text, n = 256, system = ()",
        Effect,
        "The model's answer to a message, up to `n` tokens long, the most probable one each time.",
        chat,
    ),
    row(
        "write_gguf",
        "path, metadata, tensors, type = \"F32\"",
        Effect,
        "Writes a model file: a dict of metadata and a dict of tensors, whose axes are in the order of the file.",
        write_gguf,
    ),
];

/// Models by the file that they were opened from, so that opening one twice gives the same.
#[derive(Default)]
struct OpenModels(HashMap<PathBuf, Arc<Model>>);

/// Generators by model, so that each is planned once.
#[derive(Default)]
struct Generators(Vec<Generator>);

/// Opens the GGUF at a path that is on disk and shows its warnings; again only shows nothing and gives the same model.
///
/// # Errors
/// When it can't be read or is malformed.
pub fn open_model(context: &mut Context<'_>, path: PathBuf) -> Result<Arc<Model>, CallError> {
    if let Some(model) = context.extension::<OpenModels>().0.get(&path) {
        return Ok(Arc::clone(model));
    }
    let model = Arc::new(Model::open(&path).map_err(failed)?);
    for warning in model.warnings() {
        context.warn(&format!("warning: {}: {warning}", model.name()));
    }
    context.extension::<OpenModels>().0.insert(path, Arc::clone(&model));
    Ok(model)
}

/// The generator of a model by the library's equations, planned once for each interpreter.
///
/// # Errors
/// When the library has no equations for it, or it doesn't fit them.
pub fn generator_of(context: &mut Context<'_>, model: &Arc<Model>) -> Result<Generator, CallError> {
    let known = &context.extension::<Generators>().0;
    if let Some(generator) = known.iter().find(|g| Arc::ptr_eq(g.model(), model)) {
        return Ok(generator.clone());
    }
    let generator = Generator::new(&context.engine(), Arc::clone(model)).map_err(failed)?;
    context.extension::<Generators>().0.push(generator.clone());
    Ok(generator)
}

fn load_model(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let name = arguments.text(0)?;
    match context.locate(&name).map_err(|e| CallError::new(e.to_string()).about(0))? {
        Some(path) => Ok(Value::Model(open_model(context, path).map_err(|e| e.about(0))?)),
        None => {
            let path = context.resolve(&name).map_err(|e| CallError::new(e.to_string()).about(0))?;
            let bytes = context.loader().read(&path).map_err(|e| CallError::new(e.to_string()).about(0))?;
            let file = tl_formats::gguf::File::from_buffer(Buffer::from_vec(bytes));
            Ok(Value::Model(Arc::new(Model::new(
                &*name,
                file.map_err(|e| CallError::new(e.to_string()).about(0))?,
            ))))
        }
    }
}

fn load_tokenizer(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    if arguments.get(0).is_some_and(|v| matches!(v, Value::Model(_) | Value::Tokenizer(_))) {
        return Ok(Value::Tokenizer(arguments.tokenizer(0)?));
    }
    let name = arguments.text(0)?;
    if !name.ends_with(".json") {
        let Value::Model(model) = load_model(context, arguments)? else { return Ok(Value::Unit) };
        return Ok(Value::Tokenizer(Arc::clone(model.tokenizer().map_err(failed)?)));
    }
    let path = context.resolve(&name).map_err(|e| CallError::new(e.to_string()).about(0))?;
    let bytes = context.loader().read(&path).map_err(|e| CallError::new(e.to_string()).about(0))?;
    let text =
        String::from_utf8(bytes).map_err(|_| CallError::new(format!("`{name}` is not UTF-8")).about(0))?;
    let tokenizer = Tokenizer::from_json(&text).map_err(|e| CallError::new(e.to_string()).about(0))?;
    Ok(Value::Tokenizer(Arc::new(tokenizer)))
}

fn warnings(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(Value::list(arguments.model(0)?.warnings().iter().map(|w| Value::from(w.to_string()))))
}

fn tensor_names(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(Value::list(arguments.model(0)?.file().tensors().iter().map(|t| Value::text(t.name()))))
}

fn get_tensor(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let (model, name) = (arguments.model(0)?, arguments.text(1)?);
    if let Some(tensor) = model.tensor(&name) {
        return Ok(TensorValue::from_model(&name, tensor).into());
    }
    let shown = tl_formats::escape(&name);
    let error = CallError::new(format!("`{}` has no tensor `{shown}`", model.name())).about(1);
    let names = model.file().tensors().iter().map(|t| t.name());
    Err(match super::super::fault::closest(&name, names) {
        Some(similar) => error.help(format!("did you mean `{}`?", tl_formats::escape(similar))),
        None => error.help("`tensor_names(model)` lists them"),
    }
    .code(tl_syntax::codes::UNKNOWN_TENSOR))
}

fn tokenize(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let options = EncodeOptions { parse_special: arguments.bool_or(2, false)?, add_special: false };
    let ids = arguments.tokenizer(0)?.encode(&arguments.text(1)?, options);
    let ids = ids.map_err(|e| CallError::new(e.to_string()).about(1))?;
    Ok(Value::list(ids.into_iter().map(Value::from)))
}

fn detokenize(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let (tokenizer, ids) = (arguments.tokenizer(0)?, arguments.token_ids(1)?);
    if let Some(id) = ids.iter().find(|&&id| id as usize >= tokenizer.vocabulary_size()) {
        let message =
            format!("token {id} is not in the vocabulary of {} tokens", tokenizer.vocabulary_size());
        return Err(CallError::new(message).about(1));
    }
    let options = DecodeOptions { special: arguments.bool_or(2, false)?, from_start: true };
    Ok(tokenizer.decode_text(&ids, options).into())
}

fn next_logits(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let (model, ids) = (arguments.model(0)?, arguments.token_ids(1)?);
    if ids.is_empty() {
        return Err(CallError::new("a model needs at least one token").about(1));
    }
    let mut session = generator_of(context, &model)?.session();
    let logits = session.feed(&ids).map_err(failed)?;
    Ok(TensorValue::new(&[logits.len()], logits).into())
}

fn generate(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let (model, text, n) = (arguments.model(0)?, arguments.text(1)?, arguments.count_or(2, 64)?);
    let tokenizer = Arc::clone(model.tokenizer().map_err(failed)?);
    let prompt = text_prompt(&model, &text)?;
    let session = generator_of(context, &model)?.session();
    let allowed = arguments.get(3).map(|_| allowed_tokens(&arguments, 3, session.generator().vocabulary()));
    let allowed = allowed.transpose()?;
    let ids = continue_greedily(context, session, &tokenizer, &prompt, n, allowed.as_deref())?;
    Ok(tokenizer.decode_text(&ids, DecodeOptions::default()).into())
}

/// The ids of a text that a model is to continue; the text is the second argument.
///
/// # Errors
/// When the model has no tokenizer, or the text no tokens.
pub fn text_prompt(model: &Model, text: &str) -> Result<Vec<u32>, CallError> {
    let options = EncodeOptions { parse_special: false, add_special: true };
    let tokenizer = model.tokenizer().map_err(failed)?;
    let prompt = tokenizer.encode(text, options).map_err(|e| CallError::new(e.to_string()).about(1))?;
    match prompt.is_empty() {
        true => Err(CallError::new("a model continues a text of at least one token").about(1)),
        false => Ok(prompt),
    }
}

/// An argument that says of each token of a vocabulary whether it may come.
///
/// # Errors
/// When it is no vector of that many numbers, or allows none.
pub fn allowed_tokens(
    arguments: &Arguments,
    parameter: usize,
    vocabulary: usize,
) -> Result<Vec<bool>, CallError> {
    let tensor = arguments.tensor(parameter)?;
    let values = elements(&tensor).map_err(|e| e.about(parameter))?;
    let wrong = |what: String| Err(CallError::new(what).about(parameter));
    if tensor.shape() != [vocabulary] {
        let shape = super::super::format::dims(&tensor.shape());
        return wrong(format!("`allowed` has shape {shape}; the vocabulary has {vocabulary} tokens"));
    }
    if values.iter().all(|&x| x == 0.0) {
        return wrong("`allowed` is 0 for every token, so none can come".to_owned());
    }
    Ok(values.iter().map(|&x| x != 0.0).collect())
}

fn chat(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let (model, text, n) = (arguments.model(0)?, arguments.text(1)?, arguments.count_or(2, 256)?);
    let tokenizer = Arc::clone(model.tokenizer().map_err(failed)?);
    let system = arguments.get(3).map(|_| arguments.text(3)).transpose()?;
    let prompt = turn_prompt(&model, &text, system.as_deref())?;
    let session = generator_of(context, &model)?.session();
    let ids = continue_greedily(context, session, &tokenizer, &prompt, n, None)?;
    Ok(tokenizer.decode_text(&ids, DecodeOptions::default()).into())
}

/// The ids of a conversation with one message, which is the second argument, up to where the answer begins.
///
/// # Errors
/// When the model has no tokenizer or no chat template, or the template fails.
pub fn turn_prompt(model: &Model, text: &str, system: Option<&str>) -> Result<Vec<u32>, CallError> {
    let tokenizer = model.tokenizer().map_err(failed)?;
    let Some(template) = model.chat_template().map_err(failed)? else {
        let help = "`generate(model, text)` continues a text";
        return Err(CallError::new(format!("`{}` has no chat template", model.name())).about(0).help(help));
    };
    let messages: Vec<Message> =
        system.iter().map(|s| Message::new("system", *s)).chain([Message::new("user", text)]).collect();
    let special =
        |id: Option<u32>| id.map(|id| String::from_utf8_lossy(&tokenizer.token_bytes(id)).into_owned());
    let options = RenderOptions {
        bos_token: special(tokenizer.special().bos).unwrap_or_default(),
        eos_token: special(tokenizer.special().eos).unwrap_or_default(),
        add_generation_prompt: true,
        ..RenderOptions::default()
    };
    let rendered = template.render(&messages, &options).map_err(|e| CallError::new(e.to_string()))?;
    let options = EncodeOptions { parse_special: true, add_special: false };
    tokenizer.encode(&rendered, options).map_err(|e| CallError::new(e.to_string()).about(1))
}

/// Feeds a prompt and the most probable token after it that is allowed, again and again: up to `n`, or up to the end of the answer.
fn continue_greedily(
    context: &mut Context<'_>,
    mut session: Session,
    tokenizer: &Tokenizer,
    prompt: &[u32],
    n: usize,
    allowed: Option<&[bool]>,
) -> Result<Vec<u32>, CallError> {
    let mut ids = Vec::new();
    let mut next = prompt.to_vec();
    while ids.len() < n {
        context.check()?;
        let logits = session.feed(&next).map_err(failed)?;
        let id = most_probable(logits, allowed)?;
        if tokenizer.is_end_of_generation(id) {
            break;
        }
        ids.push(id);
        next = vec![id];
    }
    Ok(ids)
}

fn most_probable(logits: &[f32], allowed: Option<&[bool]>) -> Result<u32, CallError> {
    if let Some(first) = logits.iter().position(|x| !x.is_finite() && *x != f32::NEG_INFINITY) {
        let count = logits.iter().filter(|x| !x.is_finite()).count();
        return Err(failed(Error::BadLogits { count, first }));
    }
    let possible = |&id: &usize| allowed.is_none_or(|a| a[id]) && logits[id] > f32::NEG_INFINITY;
    let better = |best: usize, id: usize| if logits[id] > logits[best] { id } else { best };
    let best = (0..logits.len()).filter(possible).reduce(better);
    best.map(|id| id as u32).ok_or_else(|| CallError::new("no token can come next: all of them are excluded"))
}

fn write_gguf(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let path = context.resolve(&arguments.text(0)?).map_err(|e| CallError::new(e.to_string()).about(0))?;
    let (Some(Value::Dict(entries)), Some(Value::Dict(tensors))) = (arguments.get(1), arguments.get(2))
    else {
        let wrong = if matches!(arguments.get(1), Some(Value::Dict(_))) { 2 } else { 1 };
        return Err(arguments.wrong(wrong, "a dict"));
    };
    let mut metadata = Metadata::new();
    for (key, value) in entries.iter() {
        let Key::Str(key) = key else {
            return Err(CallError::new("the keys of metadata are texts").about(1));
        };
        let value = meta_value(value).ok_or_else(|| {
            CallError::new(format!("`{key}` can't be metadata: it is {}", value.kind())).about(1)
        })?;
        metadata.set(key, value);
    }
    let dtype = match arguments.get(3) {
        Some(_) => dtype_named(&arguments.text(3)?)?,
        None => DType::F32,
    };
    let mut writer = Writer::new(metadata);
    for (name, value) in tensors.iter() {
        let Key::Str(name) = name else {
            return Err(CallError::new("the names of tensors are texts").about(2));
        };
        let tensor = to_tensor(value)
            .map_err(|_| CallError::new(format!("`{name}` is {}, not a tensor", value.kind())).about(2))?;
        let stored = encoded(&tensor, dtype).map_err(|e| e.about(2))?;
        writer.tensor(name, &stored).map_err(|e| CallError::new(e.to_string()).about(2))?;
    }
    let bytes = writer.write_to(Vec::new()).map_err(|e| CallError::new(e.to_string()))?;
    context.loader().write(&path, &bytes).map_err(|e| CallError::new(e.to_string()).about(0))?;
    Ok(Value::Unit)
}

/// A tensor as a file holds it: the axes reversed, slowest first.
fn encoded(tensor: &TensorValue, dtype: DType) -> Result<Tensor, CallError> {
    let reversed = tensor.transposed();
    Tensor::encode(dtype, reversed.shape(), &elements(&reversed)?).map_err(|e| CallError::new(e.to_string()))
}

fn dtype_named(name: &str) -> Result<DType, CallError> {
    let found = DType::ALL.iter().copied().find(|d| d.info().name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| CallError::new(format!("there is no element type `{name}`")).about(3))
}

/// A value as metadata: whole numbers as `u32` or `i64`, others as `f32`; lists of one kind.
fn meta_value(value: &Value) -> Option<MetaValue> {
    Some(match value {
        Value::Bool(b) => MetaValue::Bool(*b),
        Value::Str(text) => MetaValue::String(text.as_bytes().to_vec()),
        Value::List(items) => MetaValue::Array(meta_array(items)?),
        _ => match (value.as_integer(), value.as_number()?) {
            (Some(n), _) => u32::try_from(n).map_or(MetaValue::I64(n), MetaValue::U32),
            (None, n) => MetaValue::F32(n as f32),
        },
    })
}

fn meta_array(items: &[Value]) -> Option<Array> {
    use tl_formats::gguf::ValueType;
    if items.iter().all(|v| matches!(v, Value::Str(_))) {
        let texts = items.iter().map(|v| if let Value::Str(text) = v { text.as_bytes() } else { &[] });
        return Some(Array::from_strings(texts));
    }
    let whole: Option<Vec<i32>> = items.iter().map(|v| i32::try_from(v.as_integer()?).ok()).collect();
    if let Some(whole) = whole {
        return Array::from_bytes(ValueType::I32, Buffer::from_values(whole));
    }
    let numbers: Option<Vec<f32>> = items.iter().map(|v| Some(v.as_number()? as f32)).collect();
    Array::from_bytes(ValueType::F32, Buffer::from_values(numbers?))
}

/// The world's error as a builtin's.
fn failed(error: Error) -> CallError {
    CallError::new(error.to_string())
}
