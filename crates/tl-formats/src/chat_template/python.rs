//! How Python prints: JSON as `json.dumps` does, dates as `strftime` does in the C locale.

use minijinja::value::{Kwargs, Value};
use minijinja::{ErrorKind, State};
use std::time::{SystemTime, UNIX_EPOCH};

/// `tojson(value, indent=None, ensure_ascii=False, sort_keys=False)`, printed as Python's `json.dumps` prints.
pub(super) fn tojson(
    state: &State,
    value: Value,
    indent: Option<usize>,
    options: Kwargs,
) -> Result<Value, minijinja::Error> {
    super::guard::charge(state, &value)?;
    let indent = match options.get::<Option<usize>>("indent")? {
        Some(indent) => Some(indent),
        None => indent,
    };
    if indent.is_some_and(|indent| indent > 64) {
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, "tojson: the indent is too large"));
    }
    let ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let sort = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let _separators: Option<Value> = options.get("separators")?;
    options.assert_all_used()?;
    let json = serde_json::to_value(&value).map_err(|error| {
        minijinja::Error::new(ErrorKind::BadSerialization, "tojson cannot print this value")
            .with_source(error)
    })?;
    let mut out = String::new();
    PythonJson { indent, ascii, sort }.write(&json, 0, &mut out);
    Ok(Value::from_safe_string(out))
}

/// How Python's `json.dumps` lays out a value.
struct PythonJson {
    indent: Option<usize>,
    ascii: bool,
    sort: bool,
}

impl PythonJson {
    fn write(&self, value: &serde_json::Value, depth: usize, out: &mut String) {
        match value {
            serde_json::Value::Null => out.push_str("null"),
            serde_json::Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            serde_json::Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => out.push_str(&python_float(float)),
                None => out.push_str(&number.to_string()),
            },
            serde_json::Value::String(text) => self.write_text(text, out),
            serde_json::Value::Array(items) => {
                let write = |item: &serde_json::Value, out: &mut String| self.write(item, depth + 1, out);
                self.write_list(items.iter(), ['[', ']'], depth, out, write);
            }
            serde_json::Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                if self.sort {
                    entries.sort_by_key(|(key, _)| *key);
                }
                self.write_list(entries.into_iter(), ['{', '}'], depth, out, |(key, value), out| {
                    self.write_text(key, out);
                    out.push_str(": ");
                    self.write(value, depth + 1, out);
                });
            }
        }
    }

    fn write_list<T>(
        &self,
        items: impl ExactSizeIterator<Item = T>,
        [open, close]: [char; 2],
        depth: usize,
        out: &mut String,
        write: impl Fn(T, &mut String),
    ) {
        out.push(open);
        let empty = items.len() == 0;
        for (i, item) in items.enumerate() {
            match (i, self.indent) {
                (0, None) => {}
                (_, None) => out.push_str(", "),
                (0, Some(indent)) => new_line(indent * (depth + 1), out),
                (_, Some(indent)) => {
                    out.push(',');
                    new_line(indent * (depth + 1), out);
                }
            }
            write(item, out);
        }
        if let Some(indent) = self.indent.filter(|_| !empty) {
            new_line(indent * depth, out);
        }
        out.push(close);
    }

    fn write_text(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                _ if c < ' ' || self.ascii && !(' '..='~').contains(&c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                _ => out.push(c),
            }
        }
        out.push('"');
    }
}

fn new_line(spaces: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', spaces));
}

/// A float as Python's `repr` prints it: the shortest digits that read back, with an exponent below 1e-4 and from 1e16.
fn python_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    let text = value.to_string();
    if text.contains('.') { text } else { text + ".0" }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A date and time in UTC.
struct Date {
    year: i64,
    month: usize,
    day: i64,
    weekday: usize,
    day_of_year: i64,
    second_of_day: i64,
}

impl Date {
    /// The proleptic Gregorian date, by counting days from 1 March of year 0, when leap days come last.
    fn of(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs() as i64);
        let days = seconds.div_euclid(86_400);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * from_march + 2) / 153;
        let day = from_march - (153 * month_from_march + 2) / 5 + 1;
        let month = ((month_from_march + 2) % 12) as usize;
        let year = year_of_era + era * 400 + i64::from(month < 2);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month];
        Self {
            year,
            month,
            day,
            weekday: (days + 4).rem_euclid(7) as usize,
            day_of_year: before + day + i64::from(leap && month > 1),
            second_of_day: seconds.rem_euclid(86_400),
        }
    }
}

/// Prints a time as C's `strftime` does in the C locale, for the conversions that templates use.
pub(super) fn strftime(format: &str, time: SystemTime) -> Result<String, minijinja::Error> {
    let date = Date::of(time);
    let (hour, minute, second) =
        (date.second_of_day / 3600, date.second_of_day / 60 % 60, date.second_of_day % 60);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let conversion = chars.next();
        out.push_str(&match conversion {
            Some('Y') => date.year.to_string(),
            Some('y') => format!("{:02}", date.year % 100),
            Some('m') => format!("{:02}", date.month + 1),
            Some('B') => MONTHS[date.month].into(),
            Some('b' | 'h') => MONTHS[date.month][..3].into(),
            Some('d') => format!("{:02}", date.day),
            Some('e') => format!("{:2}", date.day),
            Some('j') => format!("{:03}", date.day_of_year),
            Some('A') => DAYS[date.weekday].into(),
            Some('a') => DAYS[date.weekday][..3].into(),
            Some('w') => date.weekday.to_string(),
            Some('H') => format!("{hour:02}"),
            Some('I') => format!("{:02}", (hour + 11) % 12 + 1),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.into(),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{second:02}"),
            Some('f') => "000000".into(),
            Some('z') => "+0000".into(),
            Some('Z') => "UTC".into(),
            Some('F') => format!("{}-{:02}-{:02}", date.year, date.month + 1, date.day),
            Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('%') => "%".into(),
            other => {
                let message =
                    format!("strftime_now does not know %{}", other.map_or(String::new(), String::from));
                return Err(minijinja::Error::new(ErrorKind::InvalidOperation, message));
            }
        });
    }
    Ok(out)
}
