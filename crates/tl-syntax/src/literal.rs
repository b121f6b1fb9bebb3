//! The values of literals: numbers and strings.
//!
//! The lexer uses these functions to check, the views in [`crate::ast`] to decode, so that the two cannot disagree.
//!
//! Numbers: decimal digits with single underscores *between* digits (`1_000`), a fraction with digits on both sides of
//! the point, an exponent; or `0x` and hexadecimal digits. Whole numbers are `i64`; anything with a point or an
//! exponent is an `f64`. What does not fit is an error, never an infinity and never a silent zero.
//!
//! Strings: `\n \t \r \0 \\ \" \' \{ \} \e`, `\xHH` up to 7f, `\u{1F600}`, and `{{` and `}}` for braces. Raw strings
//! hold what is written, but a newline directly after the opening quotes is dropped and CRLF is read as LF.

use std::ops::Range;

/// The value of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Without point and exponent.
    Int(i64),
    /// With either; always finite.
    Float(f64),
}

/// Why a number has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    /// `1_`, `1__0`, `1_.5`, `0x_1`: an underscore that is not between two digits.
    Underscore,
    /// `0x` without a digit.
    NoHexDigits,
    /// `1.` or `1.e5`: no digit after the point.
    NoFraction,
    /// `1e` or `1e+`: no digit in the exponent.
    NoExponent,
    /// `2x`, `0b1`, `1e5x`: letters directly after the digits.
    Suffix,
    /// A whole number above `i64::MAX`.
    IntTooLarge,
    /// A float that would become infinite.
    FloatTooLarge,
    /// A float that is not zero but would become zero.
    FloatTooSmall,
}

impl Number {
    /// The value as a float; whole numbers above 2^53 are rounded.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Float(value) => value,
        }
    }
}

/// The value of a number from its source text.
///
/// # Errors
/// Says what is wrong with it.
pub fn decode_number(text: &str) -> Result<Number, NumberError> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return decode_hex(digits);
    }
    let (whole, rest) = split_digits(text);
    check_underscores(whole)?;
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let (digits, rest) = split_digits(rest);
            if digits.is_empty() || digits.starts_with('_') {
                return Err(NumberError::NoFraction);
            }
            check_underscores(digits)?;
            (Some(digits), rest)
        }
        None => (None, rest),
    };
    let (exponent, rest) = match rest.strip_prefix(['e', 'E']) {
        Some(rest) => {
            let (digits, rest) = split_digits(rest.strip_prefix(['+', '-']).unwrap_or(rest));
            if digits.is_empty() {
                return Err(if rest.is_empty() { NumberError::NoExponent } else { NumberError::Suffix });
            }
            check_underscores(digits)?;
            (true, rest)
        }
        None => (false, rest),
    };
    if !rest.is_empty() {
        return Err(NumberError::Suffix);
    }
    let plain: String = text.chars().filter(|&c| c != '_').collect();
    if fraction.is_none() && !exponent {
        return plain.parse().map(Number::Int).map_err(|_| NumberError::IntTooLarge);
    }
    let value: f64 = plain.parse().map_err(|_| NumberError::Suffix)?;
    let mantissa_is_zero =
        !plain.split(['e', 'E']).next().unwrap_or("").contains(|c: char| ('1'..='9').contains(&c));
    match value {
        value if value.is_infinite() => Err(NumberError::FloatTooLarge),
        0.0 if !mantissa_is_zero => Err(NumberError::FloatTooSmall),
        value => Ok(Number::Float(value)),
    }
}

fn decode_hex(digits: &str) -> Result<Number, NumberError> {
    if digits.is_empty() {
        return Err(NumberError::NoHexDigits);
    }
    if let Some(other) = digits.chars().find(|c| !c.is_ascii_hexdigit() && *c != '_') {
        let only_suffix = digits.starts_with(other);
        return Err(if only_suffix { NumberError::NoHexDigits } else { NumberError::Suffix });
    }
    check_underscores(digits)?;
    let plain: String = digits.chars().filter(|&c| c != '_').collect();
    i64::from_str_radix(&plain, 16).map(Number::Int).map_err(|_| NumberError::IntTooLarge)
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(|&byte| byte.is_ascii_digit() || byte == b'_').count();
    text.split_at(end)
}

fn check_underscores(digits: &str) -> Result<(), NumberError> {
    let wrong = digits.starts_with('_') || digits.ends_with('_') || digits.contains("__");
    if wrong { Err(NumberError::Underscore) } else { Ok(()) }
}

/// The value of a string in double quotes that has no interpolation. Quotes are optional, so that an unterminated
/// string has a value too.
pub fn decode_string(text: &str) -> String {
    let inner = text.strip_prefix('"').unwrap_or(text);
    decode_escapes(strip_closing_quote(inner))
}

/// The value of a raw string in triple quotes.
pub fn decode_raw_string(text: &str) -> String {
    let inner = text.strip_prefix(r#"""""#).unwrap_or(text);
    let inner = inner.strip_suffix(r#"""""#).unwrap_or(inner).replace("\r\n", "\n");
    inner.strip_prefix('\n').map(str::to_owned).unwrap_or(inner)
}

/// Text inside quotes with its escapes decoded. A wrong escape stands for itself.
pub fn decode_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    scan_escapes(text, |piece| match piece {
        Piece::Text(text) => out.push_str(text),
        Piece::Char(c) => out.push(c),
        Piece::Wrong(range) => out.push_str(&text[range]),
    });
    out
}

/// The byte ranges of wrong escapes and of stray closing braces in text inside quotes.
pub fn wrong_escapes(text: &str) -> Vec<Range<usize>> {
    let mut wrong = Vec::new();
    scan_escapes(text, |piece| {
        if let Piece::Wrong(range) = piece {
            wrong.push(range);
        }
    });
    wrong
}

enum Piece<'t> {
    Text(&'t str),
    Char(char),
    Wrong(Range<usize>),
}

fn scan_escapes<'t>(text: &'t str, mut emit: impl FnMut(Piece<'t>)) {
    let mut at = 0;
    while let Some(found) = text[at..].find(['\\', '{', '}']) {
        emit(Piece::Text(&text[at..at + found]));
        at += found;
        let rest = &text[at..];
        let (length, value) = match rest.as_bytes()[0] {
            b'\\' => escape(rest),
            brace if rest.as_bytes().get(1) == Some(&brace) => (2, Some(brace as char)),
            _ => (1, None),
        };
        emit(value.map_or(Piece::Wrong(at..at + length), Piece::Char));
        at += length;
    }
    emit(Piece::Text(&text[at..]));
}

/// Length and value of the escape that `text` begins with.
fn escape(text: &str) -> (usize, Option<char>) {
    let Some(letter) = text[1..].chars().next() else { return (1, None) };
    let simple = |value| (2, Some(value));
    match letter {
        'n' => simple('\n'),
        't' => simple('\t'),
        'r' => simple('\r'),
        '0' => simple('\0'),
        'e' => simple('\u{1b}'),
        '\\' | '"' | '\'' | '{' | '}' => simple(letter),
        'x' => {
            let digits = text[2..].bytes().take(2).take_while(u8::is_ascii_hexdigit).count();
            let value = u32::from_str_radix(&text[2..2 + digits], 16).ok();
            (2 + digits, value.filter(|&value| digits == 2 && value < 0x80).and_then(char::from_u32))
        }
        'u' => {
            let Some(inner) = text[2..].strip_prefix('{') else { return (2, None) };
            let digits = inner.bytes().take(7).take_while(u8::is_ascii_hexdigit).count();
            let closed = inner.as_bytes().get(digits) == Some(&b'}');
            let value = u32::from_str_radix(&inner[..digits], 16).ok().and_then(char::from_u32);
            (3 + digits + usize::from(closed), value.filter(|_| closed && digits <= 6))
        }
        other => (1 + other.len_utf8(), None),
    }
}

/// Removes a closing quote that is not escaped.
fn strip_closing_quote(text: &str) -> &str {
    let Some(inner) = text.strip_suffix('"') else { return text };
    let backslashes = inner.bytes().rev().take_while(|&byte| byte == b'\\').count();
    if backslashes % 2 == 0 { inner } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_values() {
        let int = |text| decode_number(text).unwrap();
        assert_eq!(int("0"), Number::Int(0));
        assert_eq!(int("1_000"), Number::Int(1000));
        assert_eq!(int("007"), Number::Int(7));
        assert_eq!(int("0x1f"), Number::Int(31));
        assert_eq!(int("0xFF_ff"), Number::Int(65535));
        assert_eq!(int("9223372036854775807"), Number::Int(i64::MAX));
        assert_eq!(int("2.5e-3"), Number::Float(0.0025));
        assert_eq!(int("1e5"), Number::Float(100_000.0));
        assert_eq!(int("1_0.2_5E+1"), Number::Float(102.5));
        assert_eq!(int("0e999"), Number::Float(0.0));
    }

    #[test]
    fn malformed_and_out_of_range_numbers_say_why() {
        let cases = [
            ("1_", NumberError::Underscore),
            ("1__0", NumberError::Underscore),
            ("1_.5", NumberError::Underscore),
            ("0x_1", NumberError::Underscore),
            ("0x", NumberError::NoHexDigits),
            ("0xg", NumberError::NoHexDigits),
            ("0x1g", NumberError::Suffix),
            ("1.", NumberError::NoFraction),
            ("1.e5", NumberError::NoFraction),
            ("1e", NumberError::NoExponent),
            ("1e+", NumberError::NoExponent),
            ("2x", NumberError::Suffix),
            ("0b1", NumberError::Suffix),
            ("9223372036854775808", NumberError::IntTooLarge),
            ("0xffffffffffffffff", NumberError::IntTooLarge),
            ("1e999", NumberError::FloatTooLarge),
            ("1e-999", NumberError::FloatTooSmall),
        ];
        for (text, error) in cases {
            assert_eq!(decode_number(text), Err(error), "{text}");
        }
        assert_eq!(decode_number(&"9".repeat(400)), Err(NumberError::IntTooLarge));
    }

    #[test]
    fn escapes_are_decoded_and_wrong_ones_found() {
        assert_eq!(decode_string(r#""a\n\t\"\\\u{1F600}\x41{{}}\{\}""#), "a\n\t\"\\😀A{}{}");
        assert_eq!(decode_string(r#""open\""#), "open\"", "an unterminated string keeps its last escape");
        assert_eq!(wrong_escapes(r"a\q\u{110000}\u{12\xffb}"), [1..3, 3..13, 13..18, 18..22, 23..24]);
        assert_eq!(wrong_escapes(r"\u{0001F600}\u"), [0..10, 11..12, 12..14]);
        assert_eq!(decode_escapes(r"\q\"), r"\q\");
    }

    #[test]
    fn raw_strings_keep_everything_but_the_first_newline() {
        assert_eq!(decode_raw_string("\"\"\"\r\na {b} \\n\r\n\"\"\""), "a {b} \\n\n");
        assert_eq!(decode_raw_string("\"\"\"x\"\"\""), "x");
    }
}
