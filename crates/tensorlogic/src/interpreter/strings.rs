//! Interpolated texts and the formats in them: `{x}`, `{x:.2}`, `{x:>8.3}`.

use tl_syntax::ast::{self, StringPart};
use tl_syntax::codes;

use super::Interpreter;
use super::fault::{Eval, fault};
use super::format;
use super::value::Value;

/// The widest that a format may ask for.
const MAX_WIDTH: usize = 10_000;

/// `[fill][<^>][0][width][.precision]`
#[derive(Debug, PartialEq)]
struct Format {
    fill: char,
    align: Option<char>,
    width: usize,
    precision: Option<usize>,
}

impl Interpreter {
    pub(super) fn eval_interpolated(&mut self, text: &ast::InterpolatedString) -> Eval<Value> {
        let mut out = String::new();
        for part in text.parts() {
            match part {
                StringPart::Text(text) => out.push_str(&text),
                StringPart::Interpolation(part) => {
                    let Some(expr) = part.expr() else { continue };
                    let value = self.eval(&expr)?;
                    match part.format() {
                        None => out.push_str(&format::shown(&value)),
                        Some(spec) => match formatted(&value, &spec) {
                            Some(text) => out.push_str(&text),
                            None => {
                                let message = format!("`{spec}` is not a format for {}", value.kind());
                                return Err(fault(codes::CALL_FAILED, part.span(), message));
                            }
                        },
                    }
                }
            }
            self.check_length(out.len(), text.span())?;
        }
        Ok(Value::text(out))
    }
}

/// The value in a format; `None` where that is none, or none for this value.
fn formatted(value: &Value, spec: &str) -> Option<String> {
    let spec = Format::parse(spec)?;
    let text = match (spec.precision, value) {
        (None, value) => format::shown(value),
        (Some(digits), Value::Str(text)) => text.chars().take(digits).collect(),
        (Some(digits), value) => {
            let number = value.as_number()?;
            if number.is_finite() { format!("{number:.digits$}") } else { format::number(number) }
        }
    };
    Some(spec.padded(&text, matches!(value, Value::Number(_) | Value::Bool(_))))
}

impl Format {
    fn parse(spec: &str) -> Option<Format> {
        let mut chars: Vec<char> = spec.chars().collect();
        let (mut fill, mut align) = (' ', None);
        let is_align = |c: Option<&char>| c.copied().filter(|c| "<^>".contains(*c));
        if let Some(found) = is_align(chars.get(1)) {
            (fill, align) = (chars[0], Some(found));
            chars.drain(..2);
        } else if let Some(found) = is_align(chars.first()) {
            align = Some(found);
            chars.remove(0);
        }
        let rest: String = chars.into_iter().collect();
        let (width, precision) = match rest.split_once('.') {
            Some((width, precision)) => (width, Some(precision.parse::<usize>().ok().filter(|&p| p <= 60)?)),
            None => (&*rest, None),
        };
        if align.is_none() && width.len() > 1 && width.starts_with('0') {
            (fill, align) = ('0', Some('>'));
        }
        let width = if width.is_empty() { 0 } else { width.parse().ok().filter(|&w| w <= MAX_WIDTH)? };
        Some(Format { fill, align, width, precision })
    }

    fn padded(&self, text: &str, is_number: bool) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        let before = match self.align.unwrap_or(if is_number { '>' } else { '<' }) {
            '<' => 0,
            '^' => missing / 2,
            _ => missing,
        };
        let fill = |n: usize| std::iter::repeat_n(self.fill, n).collect::<String>();
        if self.fill == '0' && text.starts_with('-') {
            return format!("-{}{}", fill(before), &text[1..]);
        }
        format!("{}{text}{}", fill(before), fill(missing - before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_what_a_person_expects() {
        for (value, spec, expected) in [
            (Value::Number(2.71234), ".2", "2.71"),
            (Value::Number(2.71234), "8.2", "    2.71"),
            (Value::Number(-2.5), "06.1", "-002.5"),
            (Value::Number(7.0), "3", "  7"),
            (Value::text("ab"), "4", "ab  "),
            (Value::text("ab"), ">4", "  ab"),
            (Value::text("ab"), "*^6", "**ab**"),
            (Value::text("abcdef"), ".3", "abc"),
        ] {
            assert_eq!(formatted(&value, spec).as_deref(), Some(expected), "{spec}");
        }
        for spec in ["x", ".", ".x", "99999999", ".999"] {
            assert_eq!(formatted(&Value::Number(1.0), spec), None, "{spec}");
        }
    }
}
