//! The vocabulary: texts that name tokens of the model of a function that generates.
//!
//! `Allowed(" yes")`, `v == " yes"`, `logits[p, " yes"]`: which token the text is, the model's tokenizer says, when the function is traced
//! with a model. Without one, in a check, the token is a number that is not known.

use std::rc::Rc;
use std::sync::Arc;

use tl_ir::Extent;
use tl_syntax::{Diagnostic, Span, codes};

use crate::model::{Model, NoToken};
use crate::program::Constant;
use crate::sizes::Origin;

use super::frame::Frame;
use super::value::{Path, Value};
use super::{Res, Tracer};

/// How many tokens of a text an error shows.
const SHOWN: usize = 12;

impl Tracer<'_> {
    /// The number of the token that a text is; unknown where the model is.
    pub(super) fn token(&mut self, frame: &Rc<Frame>, text: &Arc<str>, span: Span) -> Res<Value> {
        let Some(model) = model_of(frame) else { return Ok(Value::Unknown) };
        match model.token(text) {
            Ok(id) => Ok(Value::Number(f64::from(id))),
            Err(why) => self.fail(no_token(&*model, text, why, span)),
        }
    }

    /// The position of a fact's constant in its domain; `None` where it has none.
    pub(super) fn fact_position(
        &mut self,
        frame: &Rc<Frame>,
        class: crate::domains::Class,
        constant: &Constant,
        span: Span,
    ) -> Res<Option<usize>> {
        match constant {
            Constant::Number(n) => Ok(Some(*n)),
            Constant::Str(text) if frame.block.domains.is_vocabulary(class) => {
                Ok(self.token(frame, text, span)?.number().map(|id| id as usize))
            }
            Constant::Str(name) => Ok(frame.block.constants.position(class, name)),
        }
    }

    /// How large the vocabulary is by what the model says, for a block that does not say it.
    pub(super) fn vocabulary_size(&self, frame: &Frame) -> Option<(Extent, Origin)> {
        let function = frame.block.function.as_ref()?;
        let extent = match model_of(frame) {
            Some(model) => Extent::Static(model.vocabulary()?),
            None => Extent::Unknown,
        };
        Some((extent, Origin { span: function.result.span, what: "the model's vocabulary".to_owned() }))
    }
}

/// The model that a function is given; `None` where nothing is known of it.
fn model_of(frame: &Frame) -> Option<Arc<dyn Model>> {
    let function = frame.block.function.as_ref()?;
    function.params.iter().find_map(|param| match frame.param(&param.name.text) {
        Some(Value::Path(Path { model, .. })) => model,
        _ => None,
    })
}

#[cold]
fn no_token(model: &dyn Model, text: &str, why: NoToken, span: Span) -> Diagnostic {
    let error = |message: String| Diagnostic::error(codes::NO_TOKEN, span, message);
    match why {
        NoToken::NoTokenizer(why) => {
            error(format!("{text:?} names a token, and {} has no tokenizer", model.describe()))
                .note(why)
                .help("write the number of the token, or use a model file with a vocabulary")
        }
        NoToken::Encodes { to, .. } if to.is_empty() => {
            error(format!("{text:?} is no token of {}", model.describe()))
                .note("it is encoded to no token at all")
        }
        NoToken::Encodes { to, near } => {
            let mut shown: Vec<String> = to.iter().take(SHOWN).map(|token| format!("\"{token}\"")).collect();
            if to.len() > SHOWN {
                shown.push("…".to_owned());
            }
            let plural = if to.len() == 1 { "token" } else { "tokens" };
            let found = error(format!("{text:?} is no token of {}", model.describe())).note(format!(
                "it is encoded to {} {plural}: {}",
                to.len(),
                shown.join(", ")
            ));
            match near {
                Some(near) => found.help(format!("{near:?} is a token: a space before a word is part of it")),
                None => found.help("the relation ranges over tokens: `tl tokenize` shows those of a text"),
            }
        }
    }
}
