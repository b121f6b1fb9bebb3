//! Writes the table of the files of `lib/`, so that the library is in the binary and no source names one of its files.

use std::fmt::Write;
use std::path::{Path, PathBuf};

fn main() {
    let lib = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../lib");
    let mut table = String::from("&[\n");
    for folder in ["std", "models"] {
        let path = lib.join(folder);
        println!("cargo::rerun-if-changed={}", path.display());
        for file in files(&path) {
            let name = file.file_name().expect("a file has a name").to_string_lossy();
            let absolute = file.canonicalize().expect("a listed file is there");
            println!("cargo::rerun-if-changed={}", absolute.display());
            writeln!(table, "LibraryFile {{ path: \"{folder}/{name}\", text: include_str!({absolute:?}) }},")
                .expect("a string can be written to");
        }
    }
    table.push(']');
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets it")).join("library.rs");
    std::fs::write(out, table).expect("the build folder can be written to");
}

/// The `.tl` files of a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folders of the library are there");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("a folder can be read").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "tl"));
    files.sort();
    files
}
