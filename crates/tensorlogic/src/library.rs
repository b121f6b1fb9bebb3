//! The equations that are built into the binary: the standard library, and the models by architecture.
//!
//! Invariant: the tables name every file of `lib/`; a test compares them with the folder. Which model file serves which
//! architecture is data of [`MODELS`] and nothing else knows an architecture's name.

/// A file of `lib/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LibraryFile {
    /// Its path below `lib/`, as an `import` names it.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// A model file and the architectures that it serves (`general.architecture` of a GGUF).
#[derive(Clone, Copy, Debug)]
pub struct ModelFile {
    /// The equations.
    pub file: LibraryFile,
    /// The function that generates.
    pub function: &'static str,
    /// Names of architectures.
    pub architectures: &'static [&'static str],
}

macro_rules! files {
    ($($path:literal)*) => { &[$(file!($path)),*] };
}

macro_rules! file {
    ($path:literal) => {
        LibraryFile { path: $path, text: include_str!(concat!("../../../lib/", $path)) }
    };
}

/// The standard library: known to every program without an import.
pub const STD: &[LibraryFile] = files! {};

/// The models.
pub const MODELS: &[ModelFile] = &[];

/// The model file that serves an architecture.
pub fn model_for(architecture: &str) -> Option<&'static ModelFile> {
    MODELS.iter().find(|m| m.architectures.contains(&architecture))
}

/// All architectures that some model file serves, in the order of the table.
pub fn architectures() -> impl Iterator<Item = &'static str> {
    MODELS.iter().flat_map(|m| m.architectures.iter().copied())
}

/// The library file that an `import` of this path means.
pub fn find(path: &str) -> Option<LibraryFile> {
    STD.iter().copied().chain(MODELS.iter().map(|m| m.file)).find(|f| f.path == path)
}
