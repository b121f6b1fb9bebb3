//! NPZ, NumPy's file of named arrays: a ZIP archive whose members `NAME.npy` are NPY files, stored or deflated.
//!
//! Invariant: what the archive says about sizes is a bound and never believed: members are decompressed up to a limit in all, and a
//! member that is longer than it says is an error.

use std::collections::HashSet;
use std::io::{Cursor, Read, Write};

use tl_tensor::{Buffer, Tensor};

use crate::{Error, Result, escape, npy};

/// The most bytes of all members, decompressed.
pub const MOST_BYTES: u64 = 1 << 30;
/// The most members.
const MOST_MEMBERS: usize = 65_536;

/// Reads all arrays, in the order of the archive.
///
/// # Errors
/// What is wrong, with the array and the field.
pub fn read(bytes: &[u8]) -> Result<Vec<(String, Tensor)>> {
    let mut archive =
        zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| Error::malformed("archive", e.to_string()))?;
    if archive.len() > MOST_MEMBERS {
        return Err(Error::malformed("archive", format!("it has more than {MOST_MEMBERS} members")));
    }
    let (mut arrays, mut names, mut left) = (Vec::new(), HashSet::new(), MOST_BYTES);
    for number in 0..archive.len() {
        let fail =
            |e: zip::result::ZipError| Error::malformed(format!("member {number}"), escape(&e.to_string()));
        let member = archive.by_index(number).map_err(fail)?;
        let name = member.name().map_err(fail)?.into_owned();
        let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else { continue };
        let field = field(&name);
        let fail = |message: String| Error::malformed(field.clone(), message);
        if !names.insert(name.clone()) {
            return Err(fail("the name appears twice".into()));
        }
        let size = member.size();
        if size > left {
            return Err(fail(format!("the arrays take more than {MOST_BYTES} bytes")));
        }
        let mut content = Vec::new();
        member.take(size + 1).read_to_end(&mut content).map_err(|e| fail(escape(&e.to_string())))?;
        if content.len() as u64 != size {
            return Err(fail(format!("it is not the {size} bytes long that the archive says")));
        }
        left -= size;
        let tensor = npy::read(&Buffer::from_vec(content)).map_err(|e| e.within(&field))?;
        arrays.push((name, tensor));
    }
    Ok(arrays)
}

/// Writes arrays, compressed.
///
/// # Errors
/// Where two names are the same.
pub fn write(arrays: &[(&str, &Tensor)]) -> Result<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (name, tensor) in arrays {
        let fail = |message: String| Error::malformed(field(name), message);
        archive.start_file(format!("{name}.npy"), options).map_err(|e| fail(e.to_string()))?;
        archive.write_all(&npy::write(tensor)).map_err(|e| fail(e.to_string()))?;
    }
    let finished = archive.finish().map_err(|e| Error::malformed("archive", e.to_string()))?;
    Ok(finished.into_inner())
}

fn field(name: &str) -> String {
    format!("array \"{}\"", escape(name))
}
