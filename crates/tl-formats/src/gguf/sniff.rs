//! What a file is that is not GGUF: one row a kind of file that people name `.gguf`, each with what to do about it.

use crate::{Error, escape_bytes};

/// Whether a file that begins with these bytes is of some kind.
type Test = fn(&[u8]) -> bool;

/// The kinds of files, in the order in which they are tried: name, test, what to do.
const KINDS: &[(&str, Test, &str)] = &[
    (
        "a Git LFS pointer",
        |b| b.starts_with(b"version https://git-lfs"),
        "fetch the file itself, with `git lfs pull`",
    ),
    (
        "an HTML page",
        is_html,
        "the download saved a web page; use the address of the raw file, and log in where the model asks for it",
    ),
    ("a safetensors file", is_safetensors, "convert it to GGUF first"),
    (
        "a JSON document",
        |b| matches!(text(b).first(), Some(b'{' | b'[')),
        "the download may have saved an error message; look into the file",
    ),
    (
        "a zip archive or a PyTorch checkpoint",
        |b| b.starts_with(b"PK\x03\x04") || b.starts_with(b"PK\x05\x06"),
        "unpack or convert it to GGUF first",
    ),
    (
        "a Python pickle",
        |b| b.len() > 1 && b[0] == 0x80 && (2..=5).contains(&b[1]),
        "convert it to GGUF first; pickles can run code and are never loaded",
    ),
    ("an ONNX model", is_onnx, "convert it to GGUF first"),
    ("a gzip file", |b| b.starts_with(b"\x1f\x8b"), "unpack it first"),
    ("a Zstandard file", |b| b.starts_with(b"\x28\xb5\x2f\xfd"), "unpack it first"),
    ("an xz file", |b| b.starts_with(b"\xfd7zXZ\0"), "unpack it first"),
    ("an HDF5 file", |b| b.starts_with(b"\x89HDF"), "convert it to GGUF first"),
    ("a NumPy array", |b| b.starts_with(b"\x93NUMPY"), "convert it to GGUF first"),
];

/// Magics of the formats before GGUF, as text and as the little-endian number that lies in the file.
const OLD: &[&[u8; 4]] =
    &[b"ggml", b"ggmf", b"ggjt", b"ggla", b"GGLA", b"lmgg", b"fmgg", b"tjgg", b"algg", b"ALGG"];

/// The error for a file whose first bytes, `head`, don't begin with the magic.
#[cold]
pub(super) fn not_gguf(head: &[u8]) -> Error {
    if let Some(magic) = OLD.iter().find(|m| head.starts_with(&m[..])) {
        let message = format!("\"{}\" is the magic of a format older than GGUF", escape_bytes(&magic[..]));
        return Error::unsupported("magic", message)
            .at(0)
            .hint("convert the model to GGUF again from its original");
    }
    if let Some((name, _, hint)) = KINDS.iter().find(|(_, is, _)| is(head)) {
        return Error::malformed("magic", format!("this is {name}, not a GGUF file")).at(0).hint(*hint);
    }
    let magic = escape_bytes(&head[..head.len().min(4)]);
    Error::malformed("magic", format!("not a GGUF file: it begins with \"{magic}\", not with \"GGUF\"")).at(0)
}

/// `bytes` after a byte-order mark and white space.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start()
}

fn is_html(bytes: &[u8]) -> bool {
    let text = text(bytes);
    let tag = |name: &[u8]| text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name));
    [&b"<!doctype"[..], b"<html", b"<head", b"<?xml", b"<!--"].into_iter().any(tag)
}

/// A header length of 8 bytes, then JSON.
fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.len() > 8 && bytes[8] == b'{' && bytes[4..8] == [0; 4]
}

/// A protocol buffer whose field 1 is a small number, the version, and whose next field is text or a message.
fn is_onnx(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08, 1..=32, 0x12 | 0x1a | 0x22 | 0x2a | 0x32 | 0x3a | 0x42, ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn every_kind_of_foreign_file_is_named() {
        for (head, name) in [
            (&b"\n<!DOCTYPE html><html>"[..], "HTML"),
            (b"\xef\xbb\xbf{\"error\":\"not found\"}", "JSON"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "LFS"),
            (b"\x40\0\0\0\0\0\0\0{\"__metadata__\"", "safetensors"),
            (b"PK\x03\x04\x14\0", "zip"),
            (b"\x80\x02}q\0", "pickle"),
            (b"\x08\x07\x12\x07pytorch", "ONNX"),
        ] {
            let error = not_gguf(head);
            assert_eq!(error.kind(), ErrorKind::Malformed);
            assert!(error.message().contains(name), "{error}");
            assert!(error.hint_text().is_some());
        }
        assert_eq!(not_gguf(b"tjgg\x03").kind(), ErrorKind::Unsupported);
        assert!(not_gguf(b"FUGG").hint_text().is_none());
    }
}
