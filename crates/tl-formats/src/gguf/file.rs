//! An open model: one GGUF file, or the parts of a split one.
//!
//! A split model is `NAME-00001-of-00003.gguf` and so on. The first part has the metadata; each says which part it is.
//! Tensors of all parts are one list.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tl_tensor::{Buffer, Tensor};

use super::check::WeightCheck;
use super::layout::TensorInfo;
use super::metadata::Metadata;
use super::parse::Description;
use super::source::Source;
use super::split;
use super::value::quote;
use super::weight::FALLBACKS;
use crate::disk::view;
use crate::{Error, Result, Warning};

/// An open model. Its tensors are views into the file, made when they are asked for.
#[derive(Debug)]
pub struct File {
    version: u32,
    alignment: u64,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    index: HashMap<Arc<str>, usize>,
    warnings: Vec<Warning>,
    sources: Vec<Source>,
    /// The scan of each row of [`FALLBACKS`], made when it is first needed.
    pub(super) scans: [OnceLock<WeightCheck>; FALLBACKS.len()],
}

/// How to open a file.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions {
    /// Map the file into memory instead of reading it. Whoever maps must not shorten the file meanwhile.
    pub map: bool,
}

impl Default for OpenOptions {
    /// Maps.
    fn default() -> Self {
        Self { map: true }
    }
}

impl File {
    /// Opens the file at `path`, memory-mapped, and the other parts where it is one part of a split model.
    ///
    /// # Errors
    /// What is wrong, with field and byte, where the file breaks the format, is of another format, or can't be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, OpenOptions::default())
    }

    /// Opens the file at `path` as `options` say.
    ///
    /// # Errors
    /// As [`File::open`].
    pub fn open_with(path: impl AsRef<Path>, options: OpenOptions) -> Result<Self> {
        let path = path.as_ref();
        let first = Source::open(path, options.map)?;
        let parts = split::open_parts(path, first, |part| Source::open(part, options.map))?;
        Self::join(parts)
    }

    /// Reads a file that is in memory.
    ///
    /// # Errors
    /// What is wrong, with field and byte; also where the file is one part of a split model.
    pub fn from_buffer(bytes: Buffer) -> Result<Self> {
        Self::from_parts(vec![bytes])
    }

    /// Reads the parts of a split model that are in memory, in their order.
    ///
    /// # Errors
    /// What is wrong, with field and byte, and where a part is missing or in the wrong place.
    pub fn from_parts(parts: Vec<Buffer>) -> Result<Self> {
        let parts = parts.into_iter().map(Source::memory).collect::<Result<Vec<_>>>()?;
        split::check_parts(&parts)?;
        Self::join(parts)
    }

    /// Makes one list of the tensors of all parts, of which there is at least one.
    fn join(parts: Vec<(Source, Description)>) -> Result<Self> {
        let mut file = Self {
            version: 0,
            alignment: 0,
            metadata: Metadata::new(),
            tensors: Vec::new(),
            index: HashMap::new(),
            warnings: Vec::new(),
            sources: Vec::new(),
            scans: Default::default(),
        };
        for (part, (source, description)) in parts.into_iter().enumerate() {
            if part == 0 {
                file.version = description.version;
                file.alignment = description.alignment;
                file.metadata = description.metadata;
            }
            for mut tensor in description.tensors {
                tensor.part = part;
                if file.index.insert(tensor.name.clone(), file.tensors.len()).is_some() {
                    let field = format!("tensor {}", quote(tensor.name()));
                    let error =
                        Error::malformed(field, "the name appears in two parts").at(tensor.described_at);
                    return Err(source.locate(error));
                }
                file.tensors.push(tensor);
            }
            file.warnings.extend(description.warnings);
            file.sources.push(source);
        }
        Ok(file)
    }

    /// The version of the format, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What the offsets of tensors are multiples of, in bytes.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// The metadata (of a split model: its first part's).
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The description of the tensor of this name.
    pub fn find(&self, name: &str) -> Option<&TensorInfo> {
        self.index.get(name).map(|&i| &self.tensors[i])
    }

    /// What is odd about the file, though it could be read.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The path of the first part, where the model came from one.
    pub fn path(&self) -> Option<&Path> {
        self.sources.first()?.path()
    }

    /// How many files the model is in.
    pub fn part_count(&self) -> usize {
        self.sources.len()
    }

    /// The tensor of this name, a view of the file's bytes: the shape is slowest axis first, [`TensorInfo::ne`] reversed.
    ///
    /// # Errors
    /// Where there is no such tensor, or the file was shortened since it was opened.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let info = self.find(name).ok_or_else(|| self.no_tensor(name))?;
        self.view(info)
    }

    /// The tensor that `info` of this file describes.
    pub(super) fn view(&self, info: &TensorInfo) -> Result<Tensor> {
        let source = &self.sources[info.part];
        let viewed = source.tensor_bytes(info).and_then(|bytes| view(info.dtype, info.shape(), bytes));
        viewed.map_err(|e| source.locate(e.at(info.offset).within(&format!("tensor {}", quote(info.name())))))
    }

    #[cold]
    fn no_tensor(&self, name: &str) -> Error {
        let error = Error::malformed(format!("tensor {}", quote(name)), "the model has no such tensor");
        match self.path() {
            Some(path) => error.in_file(path),
            None => error,
        }
    }
}
