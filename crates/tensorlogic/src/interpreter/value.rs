//! Values of scripts.
//!
//! Every value is immutable and cheap to copy: lists, dicts and tensors are shared until one of their holders changes its
//! own. So a value never contains itself, and printing or comparing one always ends.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tl_formats::tokenizer::Tokenizer;

use super::builtin::Builtin;
use super::function::Function;
use super::tensor::TensorValue;
use crate::model::Model;

/// A value.
#[derive(Clone)]
pub enum Value {
    /// `()`: what a function without a result gives.
    Unit,
    /// `true`, `false`
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Str(Arc<str>),
    /// `[a, b]`
    List(Arc<Vec<Value>>),
    /// `(a, b)`
    Tuple(Arc<[Value]>),
    /// `{ "a": 1 }`
    Dict(Arc<Dict>),
    /// `a..b`: the integers from `a` to before `b`.
    Range(i64, i64),
    /// A tensor.
    Tensor(TensorValue),
    /// A model.
    Model(Arc<Model>),
    /// A part of a model's tree, as `m.blk[0]`: the model and the beginning of a tensor's name.
    Branch(Arc<Model>, Arc<str>),
    /// A tokenizer.
    Tokenizer(Arc<Tokenizer>),
    /// A function of the program, or a closure.
    Function(Arc<Function>),
    /// A function of the language.
    Builtin(Builtin),
}

/// A dict: keys in the order in which they were added.
#[derive(Clone, Default)]
pub struct Dict {
    entries: Vec<(Key, Value)>,
    index: HashMap<Key, usize>,
}

/// A key of a dict.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A text.
    Str(Arc<str>),
    /// A number, by its bits; −0 is 0.
    Number(u64),
    /// A truth value.
    Bool(bool),
}

impl Value {
    /// A text.
    pub fn text(text: impl AsRef<str>) -> Value {
        Value::Str(text.as_ref().into())
    }

    /// A list.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Value {
        Value::List(Arc::new(items.into_iter().collect()))
    }

    /// What kind of value it is, with an article, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Unit => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            Value::Str(_) => "a text",
            Value::List(_) => "a list",
            Value::Tuple(_) => "a tuple",
            Value::Dict(_) => "a dict",
            Value::Range(..) => "a range",
            Value::Tensor(_) => "a tensor",
            Value::Model(_) => "a model",
            Value::Branch(..) => "a part of a model",
            Value::Tokenizer(_) => "a tokenizer",
            Value::Function(_) | Value::Builtin(_) => "a function",
        }
    }

    /// The number, if it is one. A tensor of one element is one, and truth values are 0 and 1.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Number(n) => Some(*n),
            Value::Bool(b) => Some(f64::from(u8::from(*b))),
            Value::Tensor(t) => t.scalar(),
            _ => None,
        }
    }

    /// The whole number, if it is one.
    pub fn as_integer(&self) -> Option<i64> {
        let number = self.as_number()?;
        (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
    }

    /// The truth value of a condition: a truth value itself, or a number that is 0 or 1.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => match self.as_number()? {
                0.0 => Some(false),
                1.0 => Some(true),
                _ => None,
            },
        }
    }

    /// How many elements it has, if it has any to count: bytes of nothing, characters of a text.
    pub fn length(&self) -> Option<usize> {
        Some(match self {
            Value::Str(text) => text.chars().count(),
            Value::List(items) => items.len(),
            Value::Tuple(items) => items.len(),
            Value::Dict(dict) => dict.len(),
            Value::Range(from, to) => usize::try_from(to.saturating_sub(*from)).unwrap_or(0),
            Value::Tensor(tensor) => tensor.shape().first().copied().unwrap_or(1),
            _ => return None,
        })
    }

    /// Whether two values are equal; `None` where they are of kinds that can't be compared.
    pub fn equals(&self, other: &Value) -> Option<bool> {
        Some(match (self, other) {
            (Value::Unit, Value::Unit) => true,
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::List(a), Value::List(b)) => all_equal(a, b)?,
            (Value::Tuple(a), Value::Tuple(b)) => all_equal(a, b)?,
            (Value::Range(a, b), Value::Range(c, d)) => (a, b) == (c, d),
            (Value::Dict(a), Value::Dict(b)) => a.equals(b)?,
            (Value::Tensor(a), Value::Tensor(b)) if a.scalar().is_none() || b.scalar().is_none() => {
                a.shape() == b.shape() && a.values().ok()? == b.values().ok()?
            }
            (Value::Model(a), Value::Model(b)) => Arc::ptr_eq(a, b),
            (Value::Function(a), Value::Function(b)) => Arc::ptr_eq(a, b),
            (Value::Builtin(a), Value::Builtin(b)) => a.name == b.name,
            _ => match (self.as_number(), other.as_number()) {
                (Some(a), Some(b)) => a == b,
                // A text is no number, and a list no text: they differ, and asking is no mistake.
                _ => false,
            },
        })
    }
}

fn all_equal(a: &[Value], b: &[Value]) -> Option<bool> {
    if a.len() != b.len() {
        return Some(false);
    }
    for (x, y) in a.iter().zip(b) {
        if !x.equals(y)? {
            return Some(false);
        }
    }
    Some(true)
}

impl Dict {
    /// A dict without entries.
    pub fn new() -> Dict {
        Dict::default()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.index.get(key).map(|&at| &self.entries[at].1)
    }

    /// Sets the value of a key, in its place where there is one and at the end where there isn't.
    pub fn set(&mut self, key: Key, value: Value) {
        match self.index.get(&key) {
            Some(&at) => self.entries[at].1 = value,
            None => {
                self.index.insert(key.clone(), self.entries.len());
                self.entries.push((key, value));
            }
        }
    }

    /// The value of a key, to change.
    pub fn get_mut(&mut self, key: &Key) -> Option<&mut Value> {
        let at = *self.index.get(key)?;
        Some(&mut self.entries[at].1)
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = &(Key, Value)> {
        self.entries.iter()
    }

    fn equals(&self, other: &Dict) -> Option<bool> {
        if self.len() != other.len() {
            return Some(false);
        }
        for (key, value) in self.iter() {
            let Some(theirs) = other.get(key) else { return Some(false) };
            if !value.equals(theirs)? {
                return Some(false);
            }
        }
        Some(true)
    }
}

impl Key {
    /// The key that a value is, if it can be one.
    pub fn of(value: &Value) -> Option<Key> {
        Some(match value {
            Value::Str(text) => Key::Str(text.clone()),
            Value::Bool(b) => Key::Bool(*b),
            Value::Number(n) if !n.is_nan() => Key::Number((n + 0.0).to_bits()),
            _ => return None,
        })
    }

    /// The value that it is.
    pub fn value(&self) -> Value {
        match self {
            Key::Str(text) => Value::Str(text.clone()),
            Key::Number(bits) => Value::Number(f64::from_bits(*bits)),
            Key::Bool(b) => Value::Bool(*b),
        }
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Value {
        Value::Bool(b)
    }
}

impl From<f64> for Value {
    fn from(n: f64) -> Value {
        Value::Number(n)
    }
}

impl From<usize> for Value {
    fn from(n: usize) -> Value {
        Value::Number(n as f64)
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Value {
        Value::Number(f64::from(n))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::text(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::text(text)
    }
}

impl From<TensorValue> for Value {
    fn from(tensor: TensorValue) -> Value {
        Value::Tensor(tensor)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::format::nested(self))
    }
}
