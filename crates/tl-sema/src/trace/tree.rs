//! A model's tree: places in it, its metadata and its tensors.
//!
//! `m.blk[l].attn_q.weight[d, o]` is the tensor `blk.{l}.attn_q.weight`; the first index is the fastest in memory, as ggml counts, so the
//! axes of the weight are the indices in reverse.

use std::rc::Rc;

use tl_ir::{AxisId, Extent};
use tl_syntax::{Diagnostic, Span, codes};
use tl_tensor::Tensor as Data;

use crate::model::{find_meta, index_order, sizes_of};
use crate::program::{Expr, ExprKind, Index, IndexKind};
use crate::suggest::did_you_mean;

use super::evidence::is_key;
use super::frame::{Cx, show};
use super::slots::Slot;
use super::value::{Path, Tensor, Value};
use super::{Failed, Res, Tracer};

impl Tracer<'_> {
    /// Whether brackets continue a model's path rather than read a tensor.
    pub(super) fn is_path_index(&self, cx: &Cx, expr: &Expr) -> bool {
        cx.frame.block.trees.contains(&expr.id)
    }

    /// An expression that is a place in a model.
    pub(super) fn path(&mut self, cx: &mut Cx, expr: &Expr) -> Res<Path> {
        let found = match &expr.kind {
            ExprKind::Field(base, name) => return Ok(self.path(cx, base)?.child(&name.text)),
            ExprKind::Paren(inner) => return self.path(cx, inner),
            ExprKind::Index(base, indices) if !matches!(base.kind, ExprKind::Name(_)) && !is_key(indices) => {
                let [index] = &indices[..] else {
                    return self.fail(
                        Diagnostic::error(
                            codes::BAD_INDEX,
                            expr.span,
                            "a place in a model has one index at a time",
                        )
                        .help("write `m.blk[l].name`"),
                    );
                };
                let path = self.path(cx, base)?;
                let Some(step) = self.coordinate(cx, index)? else {
                    return self.fail(
                        Diagnostic::error(
                            codes::NOT_STATIC,
                            index.span,
                            "which tensor this is must be known before the program runs",
                        )
                        .help("use an index of the left side, or a number"),
                    );
                };
                return Ok(path.child(&step.step.to_string()));
            }
            _ => self.eval(cx, expr)?,
        };
        match found {
            Value::Path(path) => Ok(path),
            Value::Unknown => Ok(Path { model: None, segments: Vec::new() }),
            other => self.fail(
                Diagnostic::error(
                    codes::WRONG_KIND,
                    expr.span,
                    format!("{} has no fields", other.describe()),
                )
                .here("a model is expected here"),
            ),
        }
    }

    /// What stands before brackets, other than a name.
    pub(super) fn path_or_value(&mut self, cx: &mut Cx, base: &Expr) -> Res<Option<Value>> {
        match &base.kind {
            ExprKind::Field(..) => self.path(cx, base).map(|path| Some(Value::Path(path))),
            _ => self.eval(cx, base).map(Some),
        }
    }

    /// `m["key"]` or `m["key", default]`
    pub(super) fn metadata(&mut self, cx: &mut Cx, path: &Path, indices: &[Index], span: Span) -> Res<Value> {
        let IndexKind::Expr(key) = &indices[0].kind else { return Err(Failed) };
        let ExprKind::Str(text) = &key.kind else { return Err(Failed) };
        let Some(model) = path.model.clone() else { return Ok(Value::Unknown) };
        if let Some(value) = find_meta(&*model, text) {
            return Ok(Value::of_meta(&value));
        }
        if model.tensor(text).is_some() {
            return Ok(Value::Path(path.child(text)));
        }
        match indices.get(1).map(|index| &index.kind) {
            Some(IndexKind::Expr(default)) => self.eval(cx, default),
            Some(IndexKind::Name(name)) => {
                let frame = Rc::clone(&cx.frame);
                match self.variable(&frame, cx.unit, name, indices[1].span)? {
                    Some(value) => Ok(value),
                    None => self.fail(
                        Diagnostic::error(
                            codes::UNKNOWN_NAME,
                            indices[1].span,
                            format!("`{name}` is not defined"),
                        )
                        .here("the default value"),
                    ),
                }
            }
            _ => {
                let keys = model.meta_keys();
                let mut diagnostic = Diagnostic::error(
                    codes::UNKNOWN_METADATA,
                    key.span,
                    format!("{} has no metadata `{text}`", model.describe()),
                )
                .label(span, "and no default is given")
                .help(format!("give a default: `m[\"{text}\", 0]`"));
                let short = keys.iter().map(|k| k.split_once('.').map_or(k.as_str(), |(_, rest)| rest));
                if let Some(near) = did_you_mean(text, keys.iter().map(String::as_str).chain(short)) {
                    diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
                }
                self.fail(diagnostic)
            }
        }
    }

    /// An element of a list, where it is known which; else the list as a tensor.
    pub(super) fn element(
        &mut self,
        cx: &mut Cx,
        items: &Rc<Vec<Value>>,
        indices: &[Index],
        span: Span,
    ) -> Res<Value> {
        if let [first, rest @ ..] = indices
            && let Some(step) = self.coordinate(cx, first)?
        {
            if !step.known {
                return Ok(Value::Unknown);
            }
            let found = usize::try_from(step.step).ok().and_then(|i| items.get(i)).cloned();
            let Some(found) = found else {
                return self.fail(
                    Diagnostic::error(
                        codes::BAD_INDEX,
                        first.span,
                        format!("there is no element {} in this list", step.step),
                    )
                    .here(format!("the list has {}", items.len())),
                );
            };
            return if rest.is_empty() { Ok(found) } else { self.index_value(cx, found, rest, span) };
        }
        let tensor = self.as_tensor(Value::List(Rc::clone(items)), span)?;
        self.read(cx, &tensor, indices, span)
    }

    /// The axes of a model's tensor in the order of memory, slowest first.
    fn memory_order(&self, path: &Path, axes: &[AxisId]) -> Vec<AxisId> {
        match &path.model {
            Some(model) => index_order(&**model, axes.len()).into_iter().map(|k| axes[k]).collect(),
            None => axes.to_vec(),
        }
    }

    /// `m.path[indices]`: the first index is the fastest in memory, as ggml counts, unless the tree says otherwise.
    pub(super) fn read_weight(
        &mut self,
        cx: &mut Cx,
        path: &Path,
        indices: &[Index],
        span: Span,
    ) -> Res<Value> {
        let name = path.name();
        let (extents, data): (Vec<Extent>, Option<Data>) = match &path.model {
            None => (vec![Extent::Unknown; indices.len()], None),
            Some(model) => match model.tensor(&name) {
                Some(data) => {
                    (sizes_of(&**model, &data).into_iter().map(Extent::Static).collect(), Some(data))
                }
                None => return self.missing_tensor(cx, path, indices, span),
            },
        };
        if extents.len() != indices.len() {
            let sizes: Vec<String> = extents.iter().map(|&extent| show(extent)).collect();
            return self.wrong_rank(&format!("`{name}`"), &sizes, indices, span);
        }
        let (mut axes, mut slots): (Vec<AxisId>, Vec<Slot>) = (Vec::new(), Vec::new());
        for (position, (index, &extent)) in indices.iter().zip(&extents).enumerate() {
            let slot = self.slot(cx, index, extent)?;
            let axis = match &slot {
                Slot::Axis(axis) if !axes.contains(axis) => *axis,
                Slot::Split(into) => {
                    let names: Vec<&str> =
                        into.iter().map(|&a| self.graph.axis_info(a).name.as_str()).collect();
                    let joined = names.join(" ");
                    self.hidden_axis(&joined, extent)
                }
                _ => self.hidden_axis(&format!("{name}.{position}"), extent),
            };
            axes.push(axis);
            slots.push(slot);
        }
        let memory = self.memory_order(path, &axes);
        let node = self.graph.weight(&name, data, memory, span);
        self.apply_slots(node, &axes, slots, span).map(Value::Tensor)
    }

    /// Not a tensor: perhaps the path goes on, else an error that names the tensor in full.
    fn missing_tensor(&mut self, cx: &mut Cx, path: &Path, indices: &[Index], span: Span) -> Res<Value> {
        let Some(model) = path.model.clone() else { return Err(Failed) };
        let prefix = format!("{}.", path.name());
        let names = model.tensor_names();
        if let [index] = indices
            && names.iter().any(|name| name.starts_with(&prefix))
            && let Some(step) = self.coordinate(cx, index)?
        {
            return Ok(Value::Path(path.child(&step.step.to_string())));
        }
        self.fail(no_such_tensor(&path.name(), &model.describe(), &names, span))
    }

    /// A model's tensor without indices.
    pub(super) fn bare_weight(&mut self, path: &Path, span: Span) -> Res<Tensor> {
        let name = path.name();
        let Some(model) = path.model.clone() else {
            let node = self.unknown(span);
            return Ok(Tensor { node, axes: Vec::new() });
        };
        let Some(data) = model.tensor(&name) else {
            return self.fail(no_such_tensor(&name, &model.describe(), &model.tensor_names(), span));
        };
        let axes =
            self.open_axes(sizes_of(&*model, &data).into_iter().map(Extent::Static).collect::<Vec<_>>());
        let memory = self.memory_order(path, &axes);
        let node = self.graph.weight(&name, Some(data), memory, span);
        Ok(Tensor { node, axes })
    }
}

#[cold]
fn no_such_tensor(name: &str, model: &str, names: &[String], span: Span) -> Diagnostic {
    let what = if name.is_empty() {
        "a model is no tensor".into()
    } else {
        format!("{model} has no tensor `{name}`")
    };
    let mut diagnostic = Diagnostic::error(codes::UNKNOWN_TENSOR, span, what);
    if let Some(near) = did_you_mean(name, names.iter().map(String::as_str)) {
        diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
    }
    diagnostic.help("where a tensor is optional, ask for it: `if has(m.x) { … } else { … }`")
}
