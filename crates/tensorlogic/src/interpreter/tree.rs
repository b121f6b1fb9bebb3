//! Dicts in equations: what a file of named arrays or a table holds is read there as a model's tensors are.

use std::fmt;
use std::sync::Arc;

use tl_sema::{MetaValue, Model};
use tl_tensor::Tensor;

use super::format;
use super::value::{Dict, Key, Value};

/// A dict as a tree of tensors and numbers: `d.name[i, j]`, `d.part.name[i]`, `d["name"]`.
pub(super) struct Tree(Arc<Dict>);

impl Tree {
    /// The tree that a dict is.
    pub fn of(dict: &Arc<Dict>) -> Tree {
        Tree(Arc::clone(dict))
    }

    /// The entry of that name; or, dot by dot, of the dicts within.
    fn find(&self, name: &str) -> Option<Value> {
        let entry = |dict: &Dict, name: &str| dict.get(&Key::Str(name.into())).cloned();
        entry(&self.0, name).or_else(|| {
            let (first, rest) = name.split_once('.')?;
            match entry(&self.0, first)? {
                Value::Dict(inner) => Tree(inner).find(rest),
                _ => None,
            }
        })
    }
}

impl Model for Tree {
    fn tensor(&self, name: &str) -> Option<Tensor> {
        let tensor = super::convert::to_tensor(&self.find(name)?).ok()?;
        tensor.stored().permute(tensor.order()).ok().map(|seen| seen.contiguous())
    }

    fn first_index_is_slowest(&self) -> bool {
        true
    }

    fn meta(&self, key: &str) -> Option<MetaValue> {
        Some(match self.find(key)? {
            Value::Number(n) => MetaValue::Number(n),
            Value::Bool(b) => MetaValue::Bool(b),
            Value::Str(text) => MetaValue::Str(text.to_string()),
            _ => return None,
        })
    }

    fn tensor_names(&self) -> Vec<String> {
        self.0.iter().map(|(key, _)| format::shown(&key.value())).collect()
    }

    fn meta_keys(&self) -> Vec<String> {
        self.tensor_names()
    }

    fn describe(&self) -> String {
        "the dict".to_owned()
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tensor_names()).finish()
    }
}
