//! Questions about the program: how large an index is, whether a model has something.

use std::rc::Rc;
use std::sync::Arc;

use tl_ir::Extent;
use tl_syntax::{Diagnostic, Span, codes};

use crate::program::{Arg, ExprKind, IndexKind, Name};
use crate::suggest::did_you_mean;

use super::frame::{Bound, Cx, Frame};
use super::value::Value;
use super::{Res, Tracer, bound_axis};

impl Tracer<'_> {
    /// What an argument of `has` names, without reading it.
    pub(super) fn has(&mut self, cx: &mut Cx, args: &[Arg], span: Span) -> Res<Value> {
        let [Arg { value, .. }] = args else {
            return self.fail(
                Diagnostic::error(codes::ARGUMENT_COUNT, span, "`has` takes one argument")
                    .help("write `has(m.blk[l].attn_q.bias)` or `has(m[\"attention.key_length\"])`"),
            );
        };
        if let ExprKind::Index(base, indices) = &value.unparenthesized().kind
            && let [index] = &indices[..]
            && let crate::program::IndexKind::Expr(key) = &index.kind
            && let ExprKind::Str(key) = &key.kind
        {
            let path = self.path(cx, base)?;
            return Ok(match path.model {
                None => Value::Unknown,
                Some(model) => Value::Bool(crate::model::find_meta(&*model, key).is_some()),
            });
        }
        let path = self.path(cx, value.unparenthesized())?;
        Ok(match &path.model {
            None => Value::Unknown,
            Some(model) => Value::Bool(model.tensor(&path.name()).is_some()),
        })
    }

    /// `error("text")`
    pub(super) fn refuse(&mut self, cx: &mut Cx, name: &Name, args: &[Arg]) -> Res<Value> {
        let text = match args {
            [Arg { value, .. }] => self.eval(cx, value)?,
            _ => return self.wrong_arguments(name, "error(\"text\")"),
        };
        let text = match text {
            Value::Str(text) => text.to_string(),
            _ => "the program refuses what it is given".to_owned(),
        };
        self.fail(Diagnostic::error(codes::REFUSED, name.span, text).here("the program itself says so"))
    }

    /// `size(d)`: the size of an index of this equation, or of a declared one.
    pub(super) fn size(&mut self, cx: &mut Cx, args: &[Arg], span: Span) -> Res<Value> {
        let [Arg { value, .. }] = args else {
            return self.fail(Diagnostic::error(codes::ARGUMENT_COUNT, span, "`size` takes one index"));
        };
        let ExprKind::Name(name) = &value.unparenthesized().kind else {
            return self.fail(
                Diagnostic::error(codes::WRONG_KIND, value.span, "`size` takes the name of an index")
                    .help("write `size(d)`"),
            );
        };
        if let Some(Bound::Axis(axis)) = bound_axis(cx, name) {
            return self.axis_size(axis, span);
        }
        let frame = Rc::clone(&cx.frame);
        let class = self.class_of(&frame, cx.unit, name).or_else(|| frame.block.domains.anywhere(name));
        let extent = match class {
            Some(class) => self.class_extent(&frame, class)?.map(|(extent, _)| extent),
            None => self.dim(&frame, name)?.map(|(extent, _)| extent),
        };
        match (extent, class) {
            (Some(Extent::Static(n)), _) => Ok(Value::Number(n as f64)),
            (Some(Extent::Unknown), _) => Ok(Value::Unknown),
            (Some(_), Some(class)) => match frame.home(class) {
                Some((axis, _)) => self.axis_size(axis, span),
                None => self.unknown_size(name, value.span, &frame),
            },
            _ => self.unknown_size(name, value.span, &frame),
        }
    }

    #[cold]
    pub(super) fn unknown_size<T>(&mut self, name: &str, span: Span, frame: &Frame) -> Res<T> {
        let known = frame.block.declared.iter().map(|d| &**d);
        let mut diagnostic = Diagnostic::error(
            codes::UNKNOWN_SIZE,
            span,
            format!("the size of `{name}` does not follow from anything"),
        )
        .help(format!("declare it: `dim {name} = …`"));
        if let Some(near) = did_you_mean(name, known) {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
        }
        self.fail(diagnostic)
    }

    /// The size along an axis of a tensor does not follow.
    #[cold]
    pub(super) fn unknown_axis<T>(
        &mut self,
        tensor: &Arc<str>,
        position: usize,
        span: Span,
        frame: &Frame,
    ) -> Res<T> {
        let is_endless = frame.block.domains.cycle(tensor).is_some() && self.never_begins(frame, tensor);
        if is_endless && frame.is_staged_position(tensor, position) {
            return self.fail(super::define::no_beginning(frame, tensor, 0, span));
        }
        let units = frame.block.tensors.get(tensor).into_iter().flatten();
        let index = units
            .filter_map(|&unit| frame.block.units[unit].indices.as_ref()?.get(position))
            .find_map(|index| if let IndexKind::Name(name) = &index.kind { Some(name) } else { None });
        let message =
            format!("the size of axis {} of `{tensor}` does not follow from anything", position + 1);
        let found = Diagnostic::error(codes::UNKNOWN_SIZE, span, message);
        self.fail(match index {
            Some(name) => found.help(format!("declare it: `dim {name} = …`")),
            None => found.help("let an equation cover all of it, such as `A[n] = 0` with `dim n = 10`"),
        })
    }
}
