//! How values are printed: as a person would write them.
//!
//! Whole numbers have no point, others have as many digits as tell something; a small tensor is a table, a large one its
//! shape, a summary and a corner. Control characters of texts are shown, not sent to the terminal.

use std::fmt::Write;

use super::tensor::TensorValue;
use super::value::Value;

/// A vector of up to so many elements is printed whole.
const WHOLE_VECTOR: usize = 64;
/// A matrix of up to so many rows and columns is printed whole.
const WHOLE_SIDE: usize = 16;
/// How many elements along each axis of a large tensor are shown.
const CORNER: usize = 4;
/// How deep lists are shown inside one another.
const MAX_DEPTH: usize = 32;

/// A value as `print` shows it: a text without quotes.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Str(text) => text.to_string(),
        other => nested(other),
    }
}

/// A value as it is shown inside another: a text with quotes.
pub fn nested(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value, MAX_DEPTH);
    out
}

/// A named value as a query prints it: `Y = 1`.
pub fn named(name: &str, value: &Value) -> String {
    let prefix = format!("{name} = ");
    if let Value::Tensor(tensor) = value
        && let Some(text) = super::tables::labelled(name, tensor)
    {
        return text;
    }
    match value {
        Value::Tensor(tensor) => format!("{prefix}{}", tensor_text(tensor, prefix.chars().count())),
        Value::Number(n) => format!("{prefix}{}", element(*n)),
        other => format!("{prefix}{}", nested(other)),
    }
}

/// A number of a script: whole numbers without a point, others with up to 12 significant digits.
pub fn number(n: f64) -> String {
    significant(n, 12)
}

/// An element of a tensor: up to 6 significant digits.
pub fn element(n: f64) -> String {
    significant(n, 6)
}

/// A text in which control characters, other than line ends and tabs, are written out.
pub fn without_controls(text: &str) -> String {
    if !text.chars().any(acts) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Whether a terminal may do something for this character other than showing it.
fn acts(c: char) -> bool {
    // Joiners shape letters and emoji, and do nothing else.
    tl_formats::acts_on_terminal(c) && !matches!(c, '\n' | '\t' | '\u{200c}' | '\u{200d}')
}

fn significant(n: f64, digits: usize) -> String {
    if n.is_nan() {
        return "nan".to_owned();
    }
    if n.is_infinite() {
        return if n > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0 {
        return format!("{}", n + 0.0);
    }
    let scientific = format!("{n:.*e}", digits - 1);
    let (mantissa, exponent) =
        scientific.split_once('e').expect("a number in scientific form has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    if (-5..15).contains(&exponent) {
        let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
        return trimmed(&format!("{n:.decimals$}")).to_owned();
    }
    format!("{}e{exponent}", trimmed(mantissa))
}

fn trimmed(text: &str) -> &str {
    if !text.contains('.') {
        return text;
    }
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0" } else { text }
}

fn write_value(out: &mut String, value: &Value, depth: usize) {
    if depth == 0 {
        out.push('…');
        return;
    }
    match value {
        Value::Unit => out.push_str("()"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&number(*n)),
        Value::Str(text) => quote(out, text),
        Value::List(items) => write_all(out, "[", items, "]", depth),
        Value::Tuple(items) => write_all(out, "(", items, if items.len() == 1 { ",)" } else { ")" }, depth),
        Value::Dict(dict) => {
            out.push('{');
            for (i, (key, value)) in dict.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { " " });
                write_value(out, &key.value(), depth - 1);
                out.push_str(": ");
                write_value(out, value, depth - 1);
            }
            out.push_str(if dict.is_empty() { "}" } else { " }" });
        }
        Value::Range(from, to) => _ = write!(out, "{from}..{to}"),
        Value::Tensor(tensor) => out.push_str(&tensor_text(tensor, 0)),
        Value::Model(model) => _ = write!(out, "model {}", model.name()),
        Value::Branch(model, path) => _ = write!(out, "{path} of model {}", model.name()),
        Value::Tokenizer(_) => out.push_str("tokenizer"),
        Value::Function(function) => _ = write!(out, "fn {}", function.name()),
        Value::Builtin(builtin) => _ = write!(out, "fn {}", builtin.name),
    }
}

fn write_all(out: &mut String, open: &str, items: &[Value], close: &str, depth: usize) {
    out.push_str(open);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_value(out, item, depth - 1);
    }
    out.push_str(close);
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if acts(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A tensor. Lines after the first are moved right by `indent`.
fn tensor_text(tensor: &TensorValue, indent: usize) -> String {
    let shape = tensor.shape();
    let small = match shape[..] {
        [] => true,
        [n] => n <= WHOLE_VECTOR,
        _ => shape.iter().all(|&n| n <= WHOLE_SIDE) && tensor.len() <= WHOLE_SIDE * WHOLE_SIDE,
    };
    let Ok(values) = tensor.values() else {
        return format!("tensor of {} {}", dims(&shape), tensor.dtype());
    };
    if small {
        return table(&shape, &values, indent);
    }
    let corner: Vec<usize> = shape.iter().map(|&n| n.min(CORNER)).collect();
    let strides: Vec<usize> = (0..shape.len()).map(|a| shape[a + 1..].iter().product()).collect();
    let shown = crate::engine::permute(&values, &corner, &strides);
    let pad = " ".repeat(indent);
    format!(
        "tensor of {} {}, {}\n{pad}begins {}",
        dims(&shape),
        tensor.dtype(),
        summary(&values),
        table(&corner, &shown, indent + "begins ".len())
    )
}

/// A shape as it is printed: `[2, 3]`.
pub fn dims(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", sizes.join(", "))
}

fn summary(values: &[f32]) -> String {
    let numbers = || values.iter().copied().filter(|x| !x.is_nan()).map(f64::from);
    let nans = values.len() - numbers().count();
    if nans == values.len() {
        return "all nan".to_owned();
    }
    let (min, max) = numbers().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), x| (lo.min(x), hi.max(x)));
    let mean = numbers().sum::<f64>() / (values.len() - nans) as f64;
    let mut text = format!("min {}, max {}, mean {}", element(min), element(max), element(mean));
    if nans > 0 {
        _ = write!(text, ", {nans} nan");
    }
    text
}

/// All elements, innermost axis along the line, with columns that align.
fn table(shape: &[usize], values: &[f32], indent: usize) -> String {
    let texts: Vec<String> = values.iter().map(|&x| element(super::tensor::widen(x))).collect();
    match shape {
        [] => texts.first().cloned().unwrap_or_default(),
        [_] => format!("[{}]", texts.join(", ")),
        _ => {
            let columns = shape[shape.len() - 1];
            let width =
                |column: usize| texts.iter().skip(column).step_by(columns.max(1)).map(String::len).max();
            let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
            let mut out = String::new();
            write_table(&mut out, shape, &texts, &widths, indent);
            out
        }
    }
}

fn write_table(out: &mut String, shape: &[usize], texts: &[String], widths: &[usize], indent: usize) {
    out.push('[');
    if let [_] = shape {
        for (i, (text, width)) in texts.iter().zip(widths).enumerate() {
            let separator = if i > 0 { ", " } else { "" };
            _ = write!(out, "{separator}{text:>width$}");
        }
    } else {
        let each = shape[1..].iter().product::<usize>();
        for i in 0..shape[0] {
            if i > 0 {
                out.push(',');
                out.push_str(&"\n".repeat(shape.len() - 1));
                out.push_str(&" ".repeat(indent + 1));
            }
            write_table(out, &shape[1..], &texts[i * each..][..each], widths, indent + 1);
        }
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_a_person_writes_them() {
        for (n, text) in [
            (1.0, "1"),
            (-0.0, "0"),
            (0.5, "0.5"),
            (0.1 + 0.2, "0.3"),
            (1.0 / 3.0, "0.333333333333"),
            (1e20, "1e20"),
            (123456789.0, "123456789"),
            (1e-9, "1e-9"),
            (-2.5e-7, "-2.5e-7"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
            (1234.5678, "1234.5678"),
        ] {
            assert_eq!(number(n), text);
        }
        assert_eq!(element(0.333_333_34), "0.333333");
        assert_eq!(element(1e-4), "0.0001");
    }

    #[test]
    fn a_matrix_is_a_table() {
        let t = TensorValue::new(&[2, 3], &[1., 2., 3.5, 10., 5., 6.]);
        assert_eq!(named("Y", &t.into()), "Y = [[ 1, 2, 3.5],\n     [10, 5,   6]]");
        assert_eq!(nested(&TensorValue::new(&[], &[2.0]).into()), "2");
        assert_eq!(nested(&TensorValue::new(&[0], &[]).into()), "[]");
    }

    #[test]
    fn a_large_tensor_is_a_summary() {
        let values: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let t = TensorValue::new(&[1000], &values);
        assert_eq!(
            nested(&t.into()),
            "tensor of [1000] F32, min 0, max 999, mean 499.5\nbegins [0, 1, 2, 3]"
        );
    }

    #[test]
    fn texts_cannot_act_on_a_terminal() {
        assert_eq!(without_controls("a\x1b[31mb\n\tc"), "a\\u{1b}[31mb\n\tc");
        assert_eq!(nested(&Value::text("a\"\x07")), "\"a\\\"\\u{7}\"");
    }
}
