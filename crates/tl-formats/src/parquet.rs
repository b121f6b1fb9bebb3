//! Parquet: columns of numbers and of texts, read and written. A feature, because the library behind it is large.
//!
//! What is nested, and bytes that are no text, is refused with the column's name. The library may panic on files that no writer makes; that
//! is an error like any other here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::Field;
use parquet::schema::types::{Type, TypePtr};

use crate::csv::{Column, MOST_CELLS, MOST_COLUMNS, Table};
use crate::{Error, Result, escape};

/// Reads a file: its columns by name, numbers as such (missing ones are NaN), times as their number, texts as texts (missing ones are empty).
///
/// # Errors
/// What is malformed, nested or too large, with the column where there is one.
pub fn read(bytes: Vec<u8>) -> Result<Table> {
    match catch_unwind(AssertUnwindSafe(|| read_columns(bytes))) {
        Ok(table) => table,
        Err(_) => Err(Error::malformed("Parquet", "the file is damaged")),
    }
}

fn read_columns(bytes: Vec<u8>) -> Result<Table> {
    let reader = SerializedFileReader::new(Bytes::from(bytes)).map_err(|e| damaged(&e))?;
    let metadata = reader.metadata().file_metadata();
    let fields = metadata.schema().get_fields();
    let rows = usize::try_from(metadata.num_rows()).unwrap_or(usize::MAX);
    if fields.len() > MOST_COLUMNS || rows.checked_mul(fields.len()).is_none_or(|cells| cells > MOST_CELLS) {
        let what = format!("{rows} rows of {} columns are more than {MOST_CELLS} cells", fields.len());
        return Err(Error::malformed("Parquet", what));
    }
    let names: Vec<String> = fields.iter().map(|field| field.name().to_owned()).collect();
    let mut columns: Vec<Column> = fields.iter().map(empty_column).collect::<Result<_>>()?;
    for row in reader.get_row_iter(None).map_err(|e| damaged(&e))? {
        let row = row.map_err(|e| damaged(&e))?;
        for ((name, field), column) in row.get_column_iter().zip(&mut columns) {
            match column {
                Column::Numbers(numbers) => numbers.push(number(name, field)?),
                Column::Texts(texts) => texts.push(text(name, field)?),
            }
        }
    }
    Ok(Table { names: Some(names), columns })
}

/// A column for a field's values, by its type.
fn empty_column(field: &TypePtr) -> Result<Column> {
    let is_single = field.is_primitive() && field.get_basic_info().repetition() != Repetition::REPEATED;
    if !is_single {
        return Err(of_column(field.name(), "holds lists or records, not one value a row"));
    }
    let info = field.get_basic_info();
    let is_decimal = matches!(info.logical_type_ref(), Some(LogicalType::Decimal { .. }));
    Ok(match field.get_physical_type() {
        Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY if !is_decimal => Column::Texts(Vec::new()),
        _ => Column::Numbers(Vec::new()),
    })
}

fn number(name: &str, field: &Field) -> Result<f64> {
    Ok(match field {
        Field::Null => f64::NAN,
        Field::Bool(b) => f64::from(u8::from(*b)),
        Field::Byte(n) => f64::from(*n),
        Field::Short(n) => f64::from(*n),
        Field::Int(n) | Field::Date(n) | Field::TimeMillis(n) => f64::from(*n),
        Field::Long(n) | Field::TimeMicros(n) | Field::TimestampMillis(n) | Field::TimestampMicros(n) => {
            *n as f64
        }
        Field::UByte(n) => f64::from(*n),
        Field::UShort(n) => f64::from(*n),
        Field::UInt(n) => f64::from(*n),
        Field::ULong(n) => *n as f64,
        Field::Float16(x) => f64::from(*x),
        Field::Float(x) => f64::from(*x),
        Field::Double(x) => *x,
        other => {
            // A decimal is written as a number.
            let written = other.to_string();
            written.parse().map_err(|_| of_column(name, "holds what is no number"))?
        }
    })
}

fn text(name: &str, field: &Field) -> Result<Arc<str>> {
    match field {
        Field::Null => Ok("".into()),
        Field::Str(text) => Ok(text.as_str().into()),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(of_column(name, "holds bytes that are no UTF-8 text")),
        },
        _ => Err(of_column(name, "holds what is no text")),
    }
}

/// Writes columns: numbers as 64-bit floating point, texts as UTF-8; columns without names are called by their numbers.
///
/// # Errors
/// Columns of different lengths.
pub fn write(table: &Table) -> Result<Vec<u8>> {
    let rows = table.rows();
    let length = |column: &Column| match column {
        Column::Numbers(numbers) => numbers.len(),
        Column::Texts(texts) => texts.len(),
    };
    if table.columns.iter().any(|column| length(column) != rows) {
        return Err(Error::malformed("Parquet", "the columns are not equally long"));
    }
    write_columns(table).map_err(|e| damaged(&e))
}

fn write_columns(table: &Table) -> std::result::Result<Vec<u8>, ParquetError> {
    let field = |(number, column): (usize, &Column)| {
        let name = table.names.as_ref().map_or_else(|| number.to_string(), |names| names[number].clone());
        let (physical, logical) = match column {
            Column::Numbers(_) => (Physical::DOUBLE, None),
            Column::Texts(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        Type::primitive_type_builder(&name, physical)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    let fields = table.columns.iter().enumerate().map(field).collect::<std::result::Result<_, _>>()?;
    let schema = Arc::new(Type::group_type_builder("table").with_fields(fields).build()?);
    let mut out = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut out, schema, Arc::new(WriterProperties::default()))?;
    let mut group = writer.next_row_group()?;
    for column in &table.columns {
        let Some(mut next) = group.next_column()? else { break };
        match column {
            Column::Numbers(numbers) => {
                next.typed::<DoubleType>().write_batch(numbers, None, None)?;
            }
            Column::Texts(texts) => {
                let values: Vec<ByteArray> = texts.iter().map(|text| ByteArray::from(&**text)).collect();
                next.typed::<ByteArrayType>().write_batch(&values, None, None)?;
            }
        }
        next.close()?;
    }
    group.close()?;
    writer.close()?;
    Ok(out)
}

#[cold]
fn of_column(name: &str, what: &str) -> Error {
    Error::malformed(format!("column `{}`", escape(name)), what)
}

#[cold]
fn damaged(error: &ParquetError) -> Error {
    Error::malformed("Parquet", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let numbers = Column::Numbers(vec![1.5, -2.0, f64::NAN, 1e300]);
        let texts = ["a", "", "Größe", "x,y"].map(Arc::from).to_vec();
        let names = Some(vec!["n".to_owned(), "t".to_owned()]);
        Table { names, columns: vec![numbers, Column::Texts(texts)] }
    }

    #[test]
    fn what_is_written_is_read() {
        let written = write(&table()).unwrap();
        let read = read(written).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", table()));
    }

    #[test]
    fn damaged_files_are_errors() {
        let whole = write(&table()).unwrap();
        for end in 0..whole.len() {
            assert!(read(whole[..end].to_vec()).is_err(), "the first {end} bytes");
        }
        // A bit that is wrong gives an error or other values.
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            _ = read(bytes);
        }
    }

    #[test]
    fn columns_of_different_lengths_are_no_table() {
        let columns = vec![Column::Numbers(vec![1.0]), Column::Numbers(vec![1.0, 2.0])];
        assert!(write(&Table { names: None, columns }).is_err());
    }
}
