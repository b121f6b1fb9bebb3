//! CSV, TSV, NPY, NPZ and JSON: what is written is read, and what is malformed is refused with its place.

use std::io::{Cursor, Write};

use proptest::prelude::*;
use tl_formats::csv::{self, CSV, Column, Header, TSV, Table};
use tl_formats::{Result, json, npy, npz};
use tl_tensor::{Buffer, DType, Tensor};

fn table(text: &str) -> Result<Table> {
    csv::read(text.as_bytes(), CSV, Header::Guess, &[])
}

/// Asserts that a result is an error that begins so.
fn refused<T: std::fmt::Debug>(result: Result<T>, start: &str) {
    let error = result.expect_err("it is refused").to_string();
    assert!(error.starts_with(start), "{start:?} begins {error:?}");
}

fn texts(cells: &[&str]) -> Column {
    Column::Texts(cells.iter().map(|&c| c.into()).collect())
}

#[test]
fn columns_are_of_numbers_or_of_texts() {
    let read = table("name, age,note\r\n\"Müller, \"\"A\"\"\",41,\r\n\nBob,1e3,x\n").unwrap();
    assert_eq!(read.names.as_deref(), Some(&["name", "age", "note"].map(String::from)[..]));
    let expected = [texts(&["Müller, \"A\"", "Bob"]), Column::Numbers(vec![41.0, 1000.0]), texts(&["", "x"])];
    assert_eq!(read.columns, expected);
    let read = table("\u{feff}1,2\n3,-inf").unwrap();
    assert_eq!((read.names, read.columns[1].clone()), (None, Column::Numbers(vec![2.0, f64::NEG_INFINITY])));
    let read = csv::read(b"a;1\nb;2", csv::Dialect { delimiter: b';', ..CSV }, Header::No, &["1"]).unwrap();
    assert_eq!(read.columns, [texts(&["a", "b"]), texts(&["1", "2"])]);
    let read = csv::read(b"a \"b\"\tc\nd\t\n", TSV, Header::No, &[]).unwrap();
    assert_eq!(read.columns, [texts(&["a \"b\"", "d"]), texts(&["c", ""])]);
}

#[test]
fn missing_numbers_are_nan() {
    let Column::Numbers(cells) = &table("x,y\n,1\nNA,2\n3,4").unwrap().columns[0] else { panic!("numbers") };
    assert!(cells[0].is_nan() && cells[1].is_nan() && cells[2] == 3.0);
}

#[test]
fn empty_files_and_headers_alone_are_tables_without_rows() {
    assert_eq!(table("").unwrap(), Table::default());
    assert_eq!(table("\n\r\n").unwrap(), Table::default());
    let read = table("a,b\n").unwrap();
    assert_eq!((read.rows(), read.columns.len()), (0, 2));
}

#[test]
fn malformed_tables_are_refused_with_row_and_column() {
    refused(table("1,2\n3\n"), "row 2, column 1: the row has 1 cells, and the first has 2 (at byte 4)");
    refused(table("1,2\n3,4,5\n"), "row 2, column 3: the row has 3 cells, and the first has 2 (at byte 8)");
    refused(table("a,b\n1,\"x\n2,y\n"), "row 2, column 2: a quoted cell has no closing quote (at byte 6)");
    refused(table("a,b\n1,x\"y\n"), "row 2, column 2: a quote stands within a cell");
    refused(table("a,b\n1,\"x\"y\n"), "row 2, column 2: something follows the closing quote");
    refused(table("a,b\n1,2\n\n3,four\n"), "row 4, column 2: `four` is no number");
    refused(table("a,a\n1,2\n"), "row 1, column 2: the name `a` is taken");
    refused(csv::read(b"1,\xff", CSV, Header::No, &[]), "row 1, column 2: the cell is not UTF-8 (at byte 2)");
    refused(csv::read(b"1,2", CSV, Header::No, &["x"]), "the file has no column `x`");
}

#[test]
fn long_lines_are_refused_before_they_are_copied() {
    refused(table(&"a".repeat(csv::LONGEST_CELL + 1)), "row 1, column 1: a cell is longer than");
    refused(table(&"1,".repeat(csv::MOST_COLUMNS + 1)), "row 1, column 65537: a row has more than");
}

#[test]
fn a_cell_that_tsv_cannot_hold_is_refused() {
    let bad = Table { names: None, columns: vec![texts(&["a\tb"])] };
    refused(csv::write(&bad, TSV), "row 1, column 1: the cell holds a tab");
    let ragged = Table { names: None, columns: vec![texts(&["a"]), Column::Numbers(vec![])] };
    refused(csv::write(&ragged, CSV), "column 2: it has 0 cells");
}

/// An NPY file with this header, and so many bytes of data.
fn array(header: &str, data: &[u8]) -> Buffer {
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    Buffer::from_vec(out)
}

#[test]
fn arrays_are_read_in_either_order_of_axes_and_of_bytes() {
    let read = |descr: &str, order: &str, shape: &str, data: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}    \n");
        npy::read(&array(&header, data)).unwrap()
    };
    let t = read("|u1", "False", "(2, 3)", &[1, 2, 3, 4, 5, 6]);
    assert_eq!((t.dtype(), t.shape(), t.to_f32()), (DType::U8, &[2, 3][..], vec![1., 2., 3., 4., 5., 6.]));
    let t = read("|u1", "True", "(2, 3)", &[1, 2, 3, 4, 5, 6]);
    assert_eq!((t.shape(), t.to_f32()), (&[2, 3][..], vec![1., 3., 5., 2., 4., 6.]));
    assert_eq!(read(">i2", "False", "(2,)", &[1, 0, 0xff, 0xff]).to_f32(), [256., -1.]);
    assert_eq!(read("<u2", "False", "(2,)", &[0xff, 0xff, 1, 0]).to_f32(), [65535., 1.]);
    assert_eq!(read(">u4", "False", "()", &[0, 0, 1, 2]).to_f32(), [258.]);
    assert_eq!(read("<f8", "False", "(0, 5)", &[]).shape(), [0, 5]);
    assert_eq!(read("|b1", "False", "(2L,)", &[0, 1]).to_f32(), [0., 1.]);
}

#[test]
fn headers_that_lie_are_refused_before_anything_is_allocated() {
    let header = |text: &str| npy::read(&array(text, &[0; 8]));
    let shape =
        |shape: &str| header(&format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"));
    assert_eq!(shape("(2,)").unwrap().len(), 2);
    refused(shape("(3,)"), "data: the shape needs 12 bytes, but 8 follow the header");
    refused(shape("(1,)"), "data: the shape needs 4 bytes, but 8 follow the header");
    refused(shape("(1000000000000,)"), "data: the shape needs 4000000000000 bytes");
    refused(shape("(4294967296, 4294967296)"), "shape: the shape [4294967296, 4294967296] overflows");
    refused(shape("(0, 9223372036854775807, 3)"), "shape: the shape");
    refused(shape("(18446744073709551616,)"), "header: a tuple of sizes is expected");
    refused(shape("(-1,)"), "header: a tuple of sizes is expected");
    refused(shape("(2"), "header: a tuple of sizes is expected");
    refused(header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"), "descr: the element type `|O`");
    refused(
        header("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}"),
        "descr: the element type `<c8`",
    );
    refused(header("{'descr': [('x', '<f4')]}"), "descr: arrays of records are not supported");
    refused(header("{'descr': __import__('os')}"), "header: a text is expected");
    refused(header("{'descr': '<f4', 'descr': '<f4'}"), "header: a key appears twice");
    refused(header("{'descr': '<f4'}"), "header: it needs `descr`, `fortran_order` and `shape`");
    refused(header("{'evil': '<f4'}"), "header: there is no key `evil`");
    refused(header(""), "header: a dict is expected");
    refused(npy::read(&Buffer::from_vec(b"PK\x03\x04".to_vec())), "magic: this is no NPY file");
    refused(npy::read(&Buffer::from_vec(b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec())), "header, length");
    refused(npy::read(&Buffer::from_vec(b"\x93NUMPY\x09\x00\x00\x00".to_vec())), "version: 9 is not known");
}

#[test]
fn every_prefix_of_an_array_is_refused() {
    let whole = npy::write(&Tensor::from_f32(&[2, 2], &[1., 2., 3., 4.]));
    for length in 0..whole.len() {
        assert!(npy::read(&Buffer::from_vec(whole[..length].to_vec())).is_err(), "{length} bytes");
    }
}

#[test]
fn archives_hold_named_arrays() {
    let (a, b) = (Tensor::from_f32(&[2], &[1., 2.]), Tensor::scalar(7i64));
    let whole = npz::write(&[("a", &a), ("dir/b", &b)]).unwrap();
    let arrays = npz::read(&whole).unwrap();
    let seen: Vec<_> = arrays.iter().map(|(name, t)| (name.as_str(), t.dtype(), t.to_f32())).collect();
    assert_eq!(seen, [("a", DType::F32, vec![1., 2.]), ("dir/b", DType::I64, vec![7.])]);
    assert!(npz::write(&[("a", &a), ("a", &b)]).is_err(), "a name is written once");
    for length in 0..whole.len() {
        assert!(npz::read(&whole[..length]).is_err(), "{length} bytes");
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        _ = npz::read(&flipped);
    }
}

#[test]
fn an_archive_that_unpacks_to_too_much_is_refused() {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().large_file(true);
    archive.start_file("a.npy", options).unwrap();
    archive.write_all(&npy::write(&Tensor::from_f32(&[1000], &[0.0; 1000]))).unwrap();
    let mut bytes = archive.finish().unwrap().into_inner();
    // The central directory's word about the size is what a reader sees first.
    let central = bytes.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    bytes[central + 24..central + 28].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
    refused(npz::read(&bytes), "array \"a\": the arrays take more than");
    bytes[central + 24..central + 28].copy_from_slice(&100u32.to_le_bytes());
    assert!(npz::read(&bytes).is_err(), "the size is another one than the archive says");
}

#[test]
fn json_is_read_whole_or_by_lines() {
    let lines = json::read_lines(b"\xef\xbb\xbf{\"a\": [1, 2]}\n\n\"x\"\r\n").unwrap();
    assert_eq!(json::write_lines(&lines), b"{\"a\":[1,2]}\n\"x\"\n");
    refused(json::read_lines(b"1\n{\"a\": }\n"), "row 2, column 7: expected value");
    refused(json::read(b"[1,\n2"), "row 2, column 1: EOF while parsing a list");
    refused(json::read(b"\xff"), "the file is not UTF-8 (at byte 0)");
    refused(json::read("[".repeat(100_000).as_bytes()), "row 1, column 128: recursion limit exceeded");
    refused(json::read(b"1e999"), "row 1, column 5: number out of range");
}

proptest! {
    #[test]
    fn a_table_that_is_written_is_read(
        numbers in proptest::collection::vec(-1e9f64..1e9, 1..20),
        words in proptest::collection::vec("[a-z,\"\r\n é]{0,6}", 20),
        named in any::<bool>(),
    ) {
        // A leading letter keeps a column of texts from looking like one of numbers.
        let words: Vec<_> = words[..numbers.len()].iter().map(|w| format!("t{w}").into()).collect();
        let names = named.then(|| vec!["n".to_owned(), "text, of it".to_owned()]);
        let table = Table { names, columns: vec![Column::Numbers(numbers), Column::Texts(words)] };
        let header = if named { Header::Yes } else { Header::No };
        let bytes = csv::write(&table, CSV).unwrap();
        prop_assert_eq!(csv::read(&bytes, CSV, header, &[]).unwrap(), table);
    }

    #[test]
    fn an_array_that_is_written_is_read(shape in proptest::collection::vec(0usize..4, 0..4), kind in 0usize..10) {
        let dtype = [DType::F32, DType::F64, DType::F16, DType::I8, DType::I16, DType::I32, DType::I64, DType::U8, DType::Bool,
            DType::BF16][kind];
        let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| (i % 2) as f32).collect();
        let tensor = Tensor::encode(dtype, shape.clone(), &values).unwrap();
        let read = npy::read(&Buffer::from_vec(npy::write(&tensor))).unwrap();
        prop_assert_eq!((read.shape(), read.to_f32()), (&shape[..], values));
        prop_assert!(read.dtype() == dtype || dtype == DType::BF16);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), header in "[{}'a-z:,() 0-9]{0,80}") {
        _ = csv::read(&bytes, CSV, Header::Guess, &[]);
        _ = csv::read(&bytes, TSV, Header::Guess, &[]);
        _ = npy::read(&array(&header, &bytes));
        _ = npz::read(&bytes);
        _ = json::read_lines(&bytes);
    }
}
