//! The equations that are built into the binary: the standard library, and the models by architecture.
//!
//! The table of files is written when the crate is built, from what is in `lib/`. A model file `models/NAME.tl` serves the
//! architecture `NAME`, and those that a comment line of its own, `// architectures: A, B`, names.
//!
//! Invariant: nothing else in the project knows which equations serve which architecture.

/// A file of `lib/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LibraryFile {
    /// Its path below `lib/`, as an `import` names it.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// Every file of the library, by path.
pub const FILES: &[LibraryFile] = include!(concat!(env!("OUT_DIR"), "/library.rs"));

/// The files of the standard library, whose functions every program knows without an import.
pub fn standard() -> impl Iterator<Item = LibraryFile> {
    FILES.iter().copied().filter(|f| f.path.starts_with("std/"))
}

/// The model files.
pub fn models() -> impl Iterator<Item = LibraryFile> {
    FILES.iter().copied().filter(|f| f.path.starts_with("models/"))
}

/// The model file that serves an architecture (`general.architecture` of a GGUF).
pub fn model_for(architecture: &str) -> Option<LibraryFile> {
    models().find(|f| f.architectures().any(|name| name == architecture))
}

/// All architectures that some model file serves.
pub fn architectures() -> impl Iterator<Item = &'static str> {
    models().flat_map(|f| f.architectures())
}

/// The library file that an `import` of this path means.
pub fn find(path: &str) -> Option<LibraryFile> {
    FILES.iter().copied().find(|f| f.path == path)
}

impl LibraryFile {
    /// The architectures that a model file serves.
    pub fn architectures(self) -> impl Iterator<Item = &'static str> {
        let own = self.path.strip_prefix("models/").and_then(|name| name.strip_suffix(".tl"));
        let named = self.text.lines().filter_map(|line| line.strip_prefix("// architectures:"));
        own.into_iter().chain(named.flat_map(|names| names.split(',')).map(str::trim))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_path_and_by_architecture() {
        assert!(standard().count() > 0 && models().count() > 0);
        for file in models() {
            assert_eq!(find(file.path), Some(file));
            assert!(
                file.architectures().all(|a| model_for(a) == Some(file)),
                "{} serves each of its own",
                file.path
            );
        }
        assert_eq!(model_for("no such architecture"), None);
    }

    #[test]
    fn a_comment_names_further_architectures() {
        let file = LibraryFile { path: "models/a.tl", text: "// A model.\n// architectures: b, c\n" };
        assert_eq!(file.architectures().collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
