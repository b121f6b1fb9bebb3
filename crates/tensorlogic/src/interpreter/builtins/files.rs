//! Files of data: `X = file("x.csv")` reads one, `file("y.npy") = Y` writes one.
//!
//! What a path ends with says what the file is: one row of [`FORMATS`] a kind, with how it is read and written.
//!
//! ```text
//! npy                a tensor
//! npz, safetensors   a dict of tensors
//! csv, tsv           a tensor of rows and columns where all is numbers and nothing names the columns; else a dict of columns, each a
//!                    vector of numbers or a list of texts
//! json, jsonl        the value, or a list of the lines' values
//! parquet            a dict of columns, like a CSV file with a header
//! txt                a text
//! ```
//!
//! Files come in and go out through the loader alone, which keeps a program in its project.

use std::sync::Arc;

use tl_formats::csv::{self, Column, Dialect, Header, Table};
use tl_formats::{json, npy, npz, safetensors};
use tl_syntax::Span;
use tl_tensor::{Buffer, Tensor};

use super::super::builtin::{Arguments, Builtin, CallError, Purity::*};
use super::super::context::Context;
use super::super::convert::{elements, items, to_tensor};
use super::super::tensor::{TensorValue, widen};
use super::super::value::{Dict, Key, Value};
use super::row;
use crate::loader::{LoadError, Loader, relative, resolve};

pub(super) const TABLE: &[Builtin] = &[row(
    "file",
    "path, header = (), texts = (), delimiter = ()",
    Effect,
    "What a file of data holds: CSV, TSV, JSON, JSONL, NPY, NPZ, safetensors or text; `file(path) = value` writes it. Of a table, `header` says \
     whether the first row names the columns, `texts` which columns are of texts even if they look like numbers.",
    read,
)];

/// A kind of file.
struct Format {
    /// What paths of such files end with.
    endings: &'static [&'static str],
    read: fn(Vec<u8>, &Arguments) -> Result<Value, CallError>,
    write: fn(&Value, &Arguments) -> Result<Vec<u8>, CallError>,
}

const FORMATS: &[Format] = &[
    Format { endings: &["csv"], read: read_csv, write: write_csv },
    Format { endings: &["tsv", "tab"], read: read_tsv, write: write_tsv },
    Format { endings: &["json"], read: read_json, write: write_json },
    Format { endings: &["jsonl", "ndjson"], read: read_jsonl, write: write_jsonl },
    Format { endings: &["npy"], read: read_npy, write: write_npy },
    Format { endings: &["npz"], read: read_npz, write: write_npz },
    Format { endings: &["parquet"], read: parquet::read, write: parquet::write },
    Format { endings: &["safetensors"], read: read_safetensors, write: write_safetensors },
    Format { endings: &["txt", "md"], read: read_text, write: write_text },
];

/// Parquet, in a build that has it.
#[cfg(feature = "parquet")]
mod parquet {
    use super::*;

    pub fn read(bytes: Vec<u8>, _: &Arguments) -> Result<Value, CallError> {
        tl_formats::parquet::read(bytes).map(value_of_table).map_err(malformed)
    }

    pub fn write(value: &Value, _: &Arguments) -> Result<Vec<u8>, CallError> {
        tl_formats::parquet::write(&table_of(value)?).map_err(malformed)
    }
}

/// What a build without Parquet says.
#[cfg(not(feature = "parquet"))]
mod parquet {
    use super::*;

    pub fn read(_: Vec<u8>, _: &Arguments) -> Result<Value, CallError> {
        Err(missing())
    }

    pub fn write(_: &Value, _: &Arguments) -> Result<Vec<u8>, CallError> {
        Err(missing())
    }

    #[cold]
    fn missing() -> CallError {
        CallError::new("this `tl` was built without Parquet")
            .help("build it with `cargo build --release --features parquet`, or write the table as CSV")
    }
}

/// How deep a value that is written as JSON may be nested: what is read may not be deeper either.
const JSON_DEPTH: usize = 100;

const PATH: usize = 0;
const HEADER: usize = 1;
const TEXTS: usize = 2;
const DELIMITER: usize = 3;

fn read(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    read_from(&*context.loader(), &|path| context.resolve(path), &arguments)
}

/// What the file that the arguments of `file(…)` name holds.
fn read_from(
    loader: &dyn Loader,
    resolve: &dyn Fn(&str) -> Result<String, LoadError>,
    arguments: &Arguments,
) -> Result<Value, CallError> {
    let written = arguments.text(PATH)?;
    let format = format_of(&written)?;
    let about = |message: String| CallError::new(message).about(PATH);
    let path = resolve(&written).map_err(|e| about(e.to_string()))?;
    let bytes = loader.read(&path).map_err(|e| about(e.to_string()))?;
    (format.read)(bytes, arguments).map_err(|e| in_file(&written, e))
}

/// What `file(…)` gives for arguments that are known before the program runs; `from` is the file that says so.
pub(in super::super) fn read_known(
    loader: &dyn Loader,
    from: &str,
    given: Vec<(Option<Arc<str>>, Value, Span)>,
) -> Result<Value, CallError> {
    let arguments = TABLE[0].bind(given).map_err(|(error, _)| error)?;
    let of_file = |path: &str| match loader.is_open() {
        true => Ok(relative(path, from)),
        false => resolve(path, from),
    };
    read_from(loader, &of_file, &arguments)
}

/// Writes a value into the file that the arguments of `file(…)` name.
pub(in super::super) fn write(
    context: &mut Context<'_>,
    arguments: &Arguments,
    value: &Value,
) -> Result<(), CallError> {
    let written = arguments.text(PATH)?;
    let format = format_of(&written)?;
    let about = |message: String| CallError::new(message).about(PATH);
    let path = context.resolve(&written).map_err(|e| about(e.to_string()))?;
    let bytes = (format.write)(value, arguments).map_err(|e| in_file(&written, e))?;
    context.loader().write(&path, &bytes).map_err(|e| about(e.to_string()))
}

fn format_of(path: &str) -> Result<&'static Format, CallError> {
    let ending =
        path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, ending)| ending);
    let found = FORMATS.iter().find(|f| f.endings.iter().any(|e| e.eq_ignore_ascii_case(ending)));
    found.ok_or_else(|| {
        let known: Vec<String> = FORMATS.iter().flat_map(|f| f.endings).map(|e| format!("`.{e}`")).collect();
        CallError::new(format!("`{}` does not end in what says how to read it", path.escape_debug()))
            .about(PATH)
            .help(format!("known are {}", known.join(", ")))
    })
}

/// Says which file an error is about.
#[cold]
fn in_file(path: &str, error: CallError) -> CallError {
    CallError { message: format!("{}: {}", path.escape_debug(), error.message), ..error }
}

/// The error of a file as a builtin's. What the file's reader advises is help.
#[cold]
fn malformed(error: tl_formats::Error) -> CallError {
    let text = error.to_string();
    match error.hint_text() {
        Some(hint) => CallError::new(text.trim_end_matches(&format!("; {hint}"))).help(hint),
        None => CallError::new(text),
    }
}

#[cold]
fn cannot_write(wanted: &str, value: &Value) -> CallError {
    CallError::new(format!("such a file holds {wanted}, not {}", value.kind()))
}

fn read_csv(bytes: Vec<u8>, arguments: &Arguments) -> Result<Value, CallError> {
    read_table(&bytes, arguments, csv::CSV)
}

fn read_tsv(bytes: Vec<u8>, arguments: &Arguments) -> Result<Value, CallError> {
    read_table(&bytes, arguments, csv::TSV)
}

fn read_table(bytes: &[u8], arguments: &Arguments, dialect: Dialect) -> Result<Value, CallError> {
    let header = match arguments.get(HEADER) {
        None | Some(Value::Unit) => Header::Guess,
        Some(_) if arguments.bool_or(HEADER, true)? => Header::Yes,
        Some(_) => Header::No,
    };
    let texts = match arguments.get(TEXTS) {
        None | Some(Value::Unit) => Vec::new(),
        Some(_) => arguments.items(TEXTS)?,
    };
    let texts: Vec<String> = texts.iter().map(super::super::format::shown).collect();
    let names: Vec<&str> = texts.iter().map(String::as_str).collect();
    let table = csv::read(bytes, dialect_of(arguments, dialect)?, header, &names).map_err(malformed)?;
    Ok(value_of_table(table))
}

fn dialect_of(arguments: &Arguments, dialect: Dialect) -> Result<Dialect, CallError> {
    match arguments.get(DELIMITER) {
        None | Some(Value::Unit) => Ok(dialect),
        Some(_) => match *arguments.text(DELIMITER)?.as_bytes() {
            [delimiter] if !matches!(delimiter, b'"' | b'\n' | b'\r') => Ok(Dialect { delimiter, ..dialect }),
            _ => Err(arguments.wrong(DELIMITER, "one character of ASCII that is no quote")),
        },
    }
}

fn value_of_table(table: Table) -> Value {
    let (rows, count) = (table.rows(), table.columns.len());
    let numbers: Option<Vec<&Vec<f64>>> =
        table.columns.iter().map(|c| if let Column::Numbers(n) = c { Some(n) } else { None }).collect();
    if let (Some(numbers), None) = (numbers, &table.names)
        && count > 0
    {
        let values: Vec<f32> = (0..rows).flat_map(|row| numbers.iter().map(move |c| c[row] as f32)).collect();
        return TensorValue::new(&[rows, count], &values).into();
    }
    let mut dict = Dict::new();
    for (position, column) in table.columns.into_iter().enumerate() {
        let key = match &table.names {
            Some(names) => Value::text(&names[position]),
            None => position.into(),
        };
        let cells = match column {
            Column::Numbers(numbers) => {
                let values: Vec<f32> = numbers.iter().map(|&n| n as f32).collect();
                TensorValue::new(&[values.len()], &values).into()
            }
            Column::Texts(texts) => Value::list(texts.into_iter().map(Value::Str)),
        };
        dict.set(Key::of(&key).expect("a text and a count are keys"), cells);
    }
    Value::Dict(Arc::new(dict))
}

fn write_csv(value: &Value, arguments: &Arguments) -> Result<Vec<u8>, CallError> {
    csv::write(&table_of(value)?, dialect_of(arguments, csv::CSV)?).map_err(malformed)
}

fn write_tsv(value: &Value, arguments: &Arguments) -> Result<Vec<u8>, CallError> {
    csv::write(&table_of(value)?, dialect_of(arguments, csv::TSV)?).map_err(malformed)
}

/// A dict of columns as a table with a header; a matrix, or a vector as a column, as one without.
fn table_of(value: &Value) -> Result<Table, CallError> {
    if let Value::Dict(dict) = value {
        let names = dict.iter().map(|(key, _)| super::super::format::shown(&key.value())).collect();
        let columns: Result<_, _> = dict.iter().map(|(_, cells)| column_of(cells)).collect();
        return Ok(Table { names: Some(names), columns: columns? });
    }
    let tensor = to_tensor(value).map_err(|_| cannot_write("a matrix or a dict of columns", value))?;
    let (rows, count) = match tensor.shape()[..] {
        [rows] => (rows, 1),
        [rows, columns] => (rows, columns),
        _ => return Err(CallError::new("such a file holds rows and columns: a tensor of one or two axes")),
    };
    let values = elements(&tensor)?;
    let column = |c: usize| Column::Numbers((0..rows).map(|row| widen(values[row * count + c])).collect());
    Ok(Table { names: None, columns: (0..count).map(column).collect() })
}

fn column_of(cells: &Value) -> Result<Column, CallError> {
    if let Ok(tensor) = to_tensor(cells)
        && tensor.rank() == 1
    {
        return Ok(Column::Numbers(elements(&tensor)?.iter().map(|&x| widen(x)).collect()));
    }
    let texts: Option<Vec<Arc<str>>> = items(cells).and_then(|items| {
        items.into_iter().map(|item| if let Value::Str(text) = item { Some(text) } else { None }).collect()
    });
    texts.map(Column::Texts).ok_or_else(|| cannot_write("columns of numbers or of texts", cells))
}

fn read_json(bytes: Vec<u8>, _: &Arguments) -> Result<Value, CallError> {
    Ok(value_of_json(json::read(&bytes).map_err(malformed)?))
}

fn read_jsonl(bytes: Vec<u8>, _: &Arguments) -> Result<Value, CallError> {
    let lines = json::read_lines(&bytes).map_err(malformed)?;
    Ok(Value::list(lines.into_iter().map(value_of_json)))
}

fn value_of_json(value: json::Value) -> Value {
    match value {
        json::Value::Null => Value::Unit,
        json::Value::Bool(b) => Value::Bool(b),
        json::Value::Number(n) => Value::Number(n.as_f64().unwrap_or(f64::NAN)),
        json::Value::String(text) => Value::text(text),
        json::Value::Array(items) => Value::list(items.into_iter().map(value_of_json)),
        json::Value::Object(map) => {
            let mut dict = Dict::new();
            for (key, value) in map {
                dict.set(Key::Str(key.into()), value_of_json(value));
            }
            Value::Dict(Arc::new(dict))
        }
    }
}

fn write_json(value: &Value, _: &Arguments) -> Result<Vec<u8>, CallError> {
    Ok(json::write(&json_of(value, JSON_DEPTH)?))
}

/// A value as a text of JSON.
///
/// # Errors
/// When it holds something that JSON has not.
pub fn json_text(value: &Value) -> Result<String, CallError> {
    Ok(String::from_utf8_lossy(&json::write(&json_of(value, JSON_DEPTH)?)).into_owned())
}

fn write_jsonl(value: &Value, _: &Arguments) -> Result<Vec<u8>, CallError> {
    let lines = items(value).filter(|_| !matches!(value, Value::Str(_) | Value::Dict(_)));
    let lines = lines.ok_or_else(|| cannot_write("a list", value))?;
    let lines: Result<Vec<_>, _> = lines.iter().map(|line| json_of(line, JSON_DEPTH)).collect();
    Ok(json::write_lines(&lines?))
}

fn json_of(value: &Value, depth: usize) -> Result<json::Value, CallError> {
    if depth == 0 {
        return Err(CallError::new(format!("the value is nested deeper than {JSON_DEPTH} levels")));
    }
    Ok(match value {
        Value::Unit => json::Value::Null,
        Value::Tuple(items) if items.is_empty() => json::Value::Null,
        Value::Bool(b) => json::Value::Bool(*b),
        Value::Str(text) => json::Value::String(text.to_string()),
        Value::Dict(dict) => {
            let mut map = json::Map::new();
            for (key, value) in dict.iter() {
                map.insert(super::super::format::shown(&key.value()), json_of(value, depth - 1)?);
            }
            json::Value::Object(map)
        }
        _ => match (value.as_integer(), value.as_number(), items(value)) {
            (Some(n), _, _) => json::Value::Number(n.into()),
            (_, Some(n), _) => {
                let number = json::Number::from_f64(n);
                json::Value::Number(number.ok_or_else(|| CallError::new(format!("JSON has no number {n}")))?)
            }
            (_, _, Some(items)) => json::Value::Array(
                items.iter().map(|item| json_of(item, depth - 1)).collect::<Result<_, _>>()?,
            ),
            _ => return Err(cannot_write("texts, numbers, lists and dicts", value)),
        },
    })
}

fn read_npy(bytes: Vec<u8>, _: &Arguments) -> Result<Value, CallError> {
    let tensor = npy::read(&Buffer::from_vec(bytes)).map_err(malformed)?;
    Ok(value_of_tensor(tensor))
}

fn read_npz(bytes: Vec<u8>, _: &Arguments) -> Result<Value, CallError> {
    Ok(dict_of(npz::read(&bytes).map_err(malformed)?))
}

fn read_safetensors(bytes: Vec<u8>, _: &Arguments) -> Result<Value, CallError> {
    let file = safetensors::File::from_buffer(Buffer::from_vec(bytes)).map_err(malformed)?;
    let tensor = |info: &safetensors::TensorInfo| Ok((info.name().to_owned(), file.tensor(info.name())?));
    let tensors: Result<Vec<_>, _> = file.tensors().iter().map(tensor).collect();
    Ok(dict_of(tensors.map_err(malformed)?))
}

fn dict_of(tensors: Vec<(String, Tensor)>) -> Value {
    let mut dict = Dict::new();
    for (name, tensor) in tensors {
        dict.set(Key::Str(name.into()), value_of_tensor(tensor));
    }
    Value::Dict(Arc::new(dict))
}

fn value_of_tensor(tensor: Tensor) -> Value {
    match tensor.item() {
        Some(number) if tensor.rank() == 0 => Value::Number(number),
        _ => TensorValue::over(tensor, None).into(),
    }
}

fn write_npy(value: &Value, _: &Arguments) -> Result<Vec<u8>, CallError> {
    Ok(npy::write(&stored(value)?))
}

fn write_npz(value: &Value, _: &Arguments) -> Result<Vec<u8>, CallError> {
    let tensors = named_tensors(value)?;
    npz::write(&tensors.iter().map(|(name, t)| (&**name, t)).collect::<Vec<_>>()).map_err(malformed)
}

fn write_safetensors(value: &Value, _: &Arguments) -> Result<Vec<u8>, CallError> {
    let tensors = named_tensors(value)?;
    let tensors: Vec<_> = tensors.iter().map(|(name, t)| (&**name, t)).collect();
    safetensors::write(&tensors, &[], Vec::new()).map_err(malformed)
}

fn named_tensors(value: &Value) -> Result<Vec<(Arc<str>, Tensor)>, CallError> {
    let Value::Dict(dict) = value else { return Err(cannot_write("a dict of tensors", value)) };
    let named = |(key, value): &(Key, Value)| match key {
        Key::Str(name) => {
            let tensor = stored(value).map_err(|e| CallError::new(format!("`{name}`: {}", e.message)))?;
            Ok((Arc::clone(name), tensor))
        }
        _ => Err(CallError::new("the names of tensors are texts")),
    };
    dict.iter().map(named).collect()
}

/// A tensor as it is seen, in its own element type.
fn stored(value: &Value) -> Result<Tensor, CallError> {
    let tensor = to_tensor(value)
        .map_err(|reason| reason.map_or_else(|| cannot_write("tensors", value), CallError::new))?;
    let seen = tensor.stored().permute(tensor.order()).map_err(|e| CallError::new(e.to_string()))?;
    Ok(seen.contiguous())
}

fn read_text(bytes: Vec<u8>, _: &Arguments) -> Result<Value, CallError> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let text = std::str::from_utf8(text)
        .map_err(|e| CallError::new(format!("the file is not UTF-8 (at byte {})", e.valid_up_to())))?;
    Ok(Value::text(text))
}

fn write_text(value: &Value, _: &Arguments) -> Result<Vec<u8>, CallError> {
    match value {
        Value::Str(text) => Ok(text.as_bytes().to_vec()),
        other => Err(cannot_write("a text", other)),
    }
}
