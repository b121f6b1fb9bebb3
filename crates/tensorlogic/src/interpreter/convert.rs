//! Conversions between values: lists to tensors, tensors and ranges to items.

use std::sync::Arc;

use super::builtin::CallError;
use super::tensor::{TensorValue, widen};
use super::value::Value;

/// A list that a range or a tensor is turned into may have so many items: 2²⁴.
pub const MAX_ITEMS: usize = 1 << 24;

/// The value as a tensor: a tensor itself, a number, or a list, nested to any depth, of numbers.
///
/// # Errors
/// `None` where it is no such thing; `Some` of a sentence where it nearly is.
pub fn to_tensor(value: &Value) -> Result<TensorValue, Option<String>> {
    if let Value::Tensor(tensor) = value {
        return Ok(tensor.clone());
    }
    let mut shape = Vec::new();
    let mut first = value;
    while let Value::List(items) = first {
        shape.push(items.len());
        match items.first() {
            Some(item) => first = item,
            None => break,
        }
    }
    if let Value::Range(from, to) = *value {
        if value.length().is_none_or(|n| n > MAX_ITEMS) {
            return Err(Some(format!("a range of {} numbers is too long for a tensor", to - from)));
        }
        let values: Vec<f32> = (from..to).map(|i| i as f32).collect();
        return Ok(TensorValue::new(&[values.len()], &values));
    }
    let mut values = Vec::new();
    collect(value, &shape, &mut values)?;
    Ok(TensorValue::new(&shape, &values))
}

fn collect(value: &Value, shape: &[usize], out: &mut Vec<f32>) -> Result<(), Option<String>> {
    match (value, shape) {
        (Value::List(items), [size, inner @ ..]) => {
            if items.len() != *size {
                return Err(Some(format!(
                    "a tensor's rows are equally long; these have {size} and {} items",
                    items.len()
                )));
            }
            items.iter().try_for_each(|item| collect(item, inner, out))
        }
        (Value::Tensor(tensor), []) if tensor.scalar().is_none() => {
            Err(Some("write numbers in the list, not tensors".to_owned()))
        }
        (item, []) => match item.as_number() {
            Some(number) => {
                out.push(number as f32);
                Ok(())
            }
            None => Err(None),
        },
        _ => Err(Some("a tensor's rows are all lists or all numbers".to_owned())),
    }
}

/// The elements of a tensor in row-major order.
///
/// # Errors
/// When it is too large to be decoded as a whole.
pub fn elements(tensor: &TensorValue) -> Result<Arc<[f32]>, CallError> {
    tensor.values().map_err(|e| {
        CallError::new(format!("a tensor of {} elements is too large to be decoded as a whole", e.elements))
    })
}

/// The items of a list, a tuple, a range, a dict (its keys), a text (its characters) or a tensor (its rows).
pub fn items(value: &Value) -> Option<Vec<Value>> {
    if value.length()? > MAX_ITEMS {
        return None;
    }
    Some(match value {
        Value::List(items) => items.to_vec(),
        Value::Tuple(items) => items.to_vec(),
        Value::Range(from, to) => (*from..*to).map(|i| Value::Number(i as f64)).collect(),
        Value::Dict(dict) => dict.iter().map(|(key, _)| key.value()).collect(),
        Value::Str(text) => text.chars().map(|c| Value::text(c.encode_utf8(&mut [0; 4]))).collect(),
        Value::Tensor(tensor) => rows(tensor)?,
        _ => return None,
    })
}

/// The slices of a tensor along its first axis; numbers, if it has no other.
fn rows(tensor: &TensorValue) -> Option<Vec<Value>> {
    let shape = tensor.shape();
    let (&count, inner) = shape.split_first()?;
    let values = tensor.values().ok()?;
    if inner.is_empty() {
        return Some(values.iter().map(|&x| Value::Number(widen(x))).collect());
    }
    let each = inner.iter().product::<usize>();
    Some((0..count).map(|i| TensorValue::new(inner, &values[i * each..][..each]).into()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_lists_are_tensors() {
        let row = |a: f64, b: f64| Value::list([a.into(), b.into()]);
        let t = to_tensor(&Value::list([row(1., 2.), row(3., 4.)])).unwrap();
        assert_eq!((t.shape(), t.values().unwrap().to_vec()), (vec![2, 2], vec![1., 2., 3., 4.]));
        assert_eq!(to_tensor(&Value::Range(2, 5)).unwrap().shape(), [3]);
        let ragged = Value::list([row(1., 2.), Value::list([1.0.into()])]);
        assert!(to_tensor(&ragged).is_err_and(|e| e.is_some()));
        assert!(to_tensor(&Value::text("x")).is_err_and(|e| e.is_none()));
    }
}
