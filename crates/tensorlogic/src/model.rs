//! A model: an opened GGUF as equations see it, with its tokenizer, its chat template, and what was noticed about it.
//!
//! *Weight tying.* Many models use the embedding as the output matrix and leave the latter out; some files carry one whose
//! values are infinite or NaN. In both cases the tied weight answers for it (see [`tl_formats::gguf::FALLBACKS`]), and in the second
//! one a [`ModelWarning`] says so. The check reads the tensor's scales alone and is made once, when the model is opened.
//!
//! Invariant: opening reads metadata and checks one tensor; the tokenizer and the template are built when first asked for.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tl_formats::chat_template::{ChatTemplate, TemplateError};
use tl_formats::gguf::{File, Metadata, OpenOptions, Value, WeightNote};
use tl_formats::tokenizer::{Attributes, EncodeOptions, LoadOptions, Tokenizer, TokenizerError};
use tl_sema::NoToken;
use tl_tensor::Tensor;

use crate::error::Error;

/// The metadata key of the chat template.
const TEMPLATE: &str = "tokenizer.chat_template";

/// An opened model file.
pub struct Model {
    name: String,
    file: File,
    output: Option<WeightNote>,
    warnings: Vec<ModelWarning>,
    tokenizer: OnceLock<Result<Arc<Tokenizer>, TokenizerError>>,
    template: OnceLock<Result<Option<Arc<ChatTemplate>>, TemplateError>>,
    /// The tokens by the bytes that they stand for.
    tokens: OnceLock<HashMap<Vec<u8>, u32>>,
}

/// Something about a model that its user should know; the model works all the same.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelWarning {
    /// The output matrix holds values that are infinite or NaN.
    BadOutput(WeightNote),
    /// The reader of the file noticed something.
    File(tl_formats::Warning),
}

impl Model {
    /// Opens a GGUF, mapped into memory; the other parts too, where it is one part of a split model.
    ///
    /// # Errors
    /// When the file can't be read or is malformed.
    pub fn open(path: &Path) -> Result<Model, Error> {
        Self::open_with(path, OpenOptions::default())
    }

    /// Opens a GGUF as the options say.
    ///
    /// # Errors
    /// When the file can't be read or is malformed.
    pub fn open_with(path: &Path, options: OpenOptions) -> Result<Model, Error> {
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into());
        Ok(Self::new(tl_formats::escape(&name), File::open_with(path, options)?))
    }

    /// The model of a file that is open already; `name` is for messages.
    pub fn new(name: impl Into<String>, file: File) -> Model {
        let output = file.output_weight().ok().and_then(|weight| weight.note);
        let bad = output.iter().filter(|note| note.is_warning()).cloned().map(ModelWarning::BadOutput);
        let warnings = bad.chain(file.warnings().iter().cloned().map(ModelWarning::File)).collect();
        let (tokenizer, template, tokens) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Model { name: name.into(), file, output, warnings, tokenizer, template, tokens }
    }

    /// The name in messages, as a rule the file's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file's metadata.
    pub fn metadata(&self) -> &Metadata {
        self.file.metadata()
    }

    /// `general.architecture`.
    pub fn architecture(&self) -> Option<&str> {
        self.metadata().architecture()
    }

    /// How many positions the model was trained for, if the file says.
    pub fn context_length(&self) -> Option<usize> {
        let length: Option<u64> = self.metadata().opt("context_length").ok().flatten();
        length.and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0)
    }

    /// What was noticed when the model was opened.
    pub fn warnings(&self) -> &[ModelWarning] {
        &self.warnings
    }

    /// Whether another tensor serves as the output matrix, and why; `None` where the file's own does.
    pub fn output_note(&self) -> Option<&WeightNote> {
        self.output.as_ref()
    }

    /// The tensor of that name in its own element type, slowest axis first, or the one that stands in for it where it is
    /// missing or broken. `None` where there is neither.
    pub fn tensor(&self, name: &str) -> Option<Tensor> {
        self.file.weight(name).ok().map(|weight| weight.tensor)
    }

    /// The tokenizer of the file's vocabulary, built once.
    ///
    /// # Errors
    /// When the metadata describes none, or one that isn't supported.
    pub fn tokenizer(&self) -> Result<&Arc<Tokenizer>, Error> {
        let build = || Tokenizer::from_metadata(self.metadata(), &LoadOptions::default()).map(Arc::new);
        self.tokenizer.get_or_init(build).as_ref().map_err(|e| Error::Tokenizer(e.clone()))
    }

    /// The token that a text is, exactly; where several are, the one that the text is encoded to, else the first that is spelled so.
    ///
    /// # Errors
    /// When there is no tokenizer, or no such token.
    pub fn token(&self, text: &str) -> Result<u32, NoToken> {
        let tokenizer = self.tokenizer().map_err(|e| NoToken::NoTokenizer(e.to_string()))?;
        let encode = |text: &str| tokenizer.encode(text, EncodeOptions::default()).unwrap_or_default();
        let ids = encode(text);
        if let [id] = ids[..]
            && tokenizer.token_bytes(id) == text.as_bytes()
        {
            return Ok(id);
        }
        let known = self.tokens.get_or_init(|| tokens_by_bytes(tokenizer));
        if let Some(&id) = known.get(text.as_bytes()).filter(|_| !text.is_empty()) {
            return Ok(id);
        }
        let other = match text.strip_prefix(' ') {
            Some(rest) => rest.to_owned(),
            None => format!(" {text}"),
        };
        let near = known.contains_key(other.as_bytes()).then_some(other);
        Err(NoToken::Encodes { to: ids.iter().map(|&id| tokenizer.token_display(id)).collect(), near })
    }

    /// The chat template of the file, compiled once; `None` where the file has none.
    ///
    /// # Errors
    /// When the template is not valid.
    pub fn chat_template(&self) -> Result<Option<&Arc<ChatTemplate>>, Error> {
        let build = || match self.metadata().opt::<&str>(TEMPLATE).ok().flatten() {
            Some(source) => ChatTemplate::parse(source).map(|template| Some(Arc::new(template))),
            None => Ok(None),
        };
        let built = self.template.get_or_init(build);
        built.as_ref().map(Option::as_ref).map_err(|e| Error::Template(e.clone()))
    }
}

impl tl_sema::Model for Model {
    fn tensor(&self, name: &str) -> Option<Tensor> {
        Model::tensor(self, name)
    }

    fn meta(&self, key: &str) -> Option<tl_sema::MetaValue> {
        meta_value(self.metadata().exact(key)?.value())
    }

    fn tensor_names(&self) -> Vec<String> {
        self.file.tensors().iter().map(|t| t.name().to_owned()).collect()
    }

    fn meta_keys(&self) -> Vec<String> {
        self.metadata().entries().iter().map(|e| e.key().to_owned()).collect()
    }

    fn vocabulary(&self) -> Option<usize> {
        let tokens: Option<&tl_formats::gguf::Strings> =
            self.metadata().opt("tokenizer.ggml.tokens").ok().flatten();
        tokens.map(|tokens| tokens.len())
    }

    fn token(&self, text: &str) -> Result<u32, NoToken> {
        Model::token(self, text)
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({})", self.name)
    }
}

impl fmt::Display for ModelWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelWarning::BadOutput(note) => note.fmt(f),
            ModelWarning::File(warning) => warning.fmt(f),
        }
    }
}

/// Every token by the bytes that it stands for; of several, the first that is spelled so, then one of a byte, then a control token.
fn tokens_by_bytes(tokenizer: &Tokenizer) -> HashMap<Vec<u8>, u32> {
    let rank = |id: u32| {
        let is_byte = tokenizer.vocabulary().attributes(id).intersects(Attributes::BYTE);
        (tokenizer.is_control(id), is_byte)
    };
    let mut known: HashMap<Vec<u8>, u32> = HashMap::new();
    for id in 0..tokenizer.vocabulary_size() as u32 {
        let own = known.entry(tokenizer.token_bytes(id)).or_insert(id);
        if rank(id) < rank(*own) {
            *own = id;
        }
    }
    known
}

/// A metadata value as equations see it.
fn meta_value(value: &Value) -> Option<tl_sema::MetaValue> {
    Some(match value {
        Value::Bool(b) => tl_sema::MetaValue::Bool(*b),
        Value::String(bytes) => tl_sema::MetaValue::Str(String::from_utf8_lossy(bytes).into()),
        Value::Array(array) => {
            tl_sema::MetaValue::List(array.iter().filter_map(|v| meta_value(&v)).collect())
        }
        number => tl_sema::MetaValue::Number(match number.integer() {
            Some(integer) => integer as f64,
            None => number.float()?,
        }),
    })
}
