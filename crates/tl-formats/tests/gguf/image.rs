//! Files made byte by byte, so that any field can be wrong.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use tl_formats::gguf::{File, OpenOptions};
use tl_formats::{Error, ErrorKind};
use tl_tensor::Buffer;

pub const U8: u32 = 0;
pub const I8: u32 = 1;
pub const U16: u32 = 2;
pub const I16: u32 = 3;
pub const U32: u32 = 4;
pub const I32: u32 = 5;
pub const F32: u32 = 6;
pub const BOOL: u32 = 7;
pub const STRING: u32 = 8;
pub const ARRAY: u32 = 9;
pub const U64: u32 = 10;
pub const I64: u32 = 11;
pub const F64: u32 = 12;

/// ggml's numbers of element types.
pub mod ggml {
    pub const F32: u32 = 0;
    pub const Q8_0: u32 = 8;
    pub const Q4_K: u32 = 12;
    pub const I8: u32 = 24;
    pub const I64: u32 = 27;
}

/// The parts of a file. `Some` count overrides the number of records that are there.
#[derive(Clone)]
pub struct Image {
    pub magic: Vec<u8>,
    pub version: u32,
    pub tensor_count: Option<u64>,
    pub entry_count: Option<u64>,
    pub entries: Vec<Vec<u8>>,
    pub infos: Vec<Vec<u8>>,
    pub alignment: usize,
    pub data: Vec<u8>,
}

impl Image {
    /// A small, well-formed file: two entries, `a` with the values 0 to 3 and `b` with 32 zeros in Q8_0.
    pub fn small() -> Self {
        let mut data: Vec<u8> = (0..4).flat_map(|i| (i as f32).to_le_bytes()).collect();
        data.resize(32 + 34, 0);
        Self {
            magic: b"GGUF".to_vec(),
            version: 3,
            tensor_count: None,
            entry_count: None,
            entries: vec![
                text("general.architecture", "test"),
                entry("test.block_count", U32, &7u32.to_le_bytes()),
            ],
            infos: vec![info("a", &[4], ggml::F32, 0), info("b", &[32], ggml::Q8_0, 32)],
            alignment: 32,
            data,
        }
    }

    /// The small file with one more entry.
    pub fn with_entry(entry: Vec<u8>) -> Vec<u8> {
        let mut image = Self::small();
        image.entries.push(entry);
        image.bytes()
    }

    /// The small file with one more tensor description.
    pub fn with_info(info: Vec<u8>) -> Vec<u8> {
        let mut image = Self::small();
        image.infos.push(info);
        image.bytes()
    }

    /// The small file, changed.
    pub fn with(change: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut image = Self::small();
        change(&mut image);
        image.bytes()
    }

    /// Everything before the padding.
    pub fn head(&self) -> Vec<u8> {
        let mut out = self.magic.clone();
        out.extend(self.version.to_le_bytes());
        out.extend(self.tensor_count.unwrap_or(self.infos.len() as u64).to_le_bytes());
        out.extend(self.entry_count.unwrap_or(self.entries.len() as u64).to_le_bytes());
        self.entries.iter().chain(&self.infos).for_each(|part| out.extend(part));
        out
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.head();
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(&self.data);
        out
    }
}

/// A length and bytes.
pub fn string(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&(bytes.len() as u64).to_le_bytes(), bytes].concat()
}

/// A key, the number of a type, and a value of that type.
pub fn entry(key: impl AsRef<[u8]>, kind: u32, payload: &[u8]) -> Vec<u8> {
    [&string(key), &kind.to_le_bytes()[..], payload].concat()
}

/// A key whose value is a string.
pub fn text(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    entry(key, STRING, &string(value))
}

/// The payload of an array: element type, length, elements.
pub fn array(kind: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), elements].concat()
}

/// A key whose value is an array of strings.
pub fn strings(key: &str, values: &[&str]) -> Vec<u8> {
    let elements: Vec<u8> = values.iter().flat_map(string).collect();
    entry(key, ARRAY, &array(STRING, values.len() as u64, &elements))
}

/// A tensor's description; sizes fastest axis first.
pub fn info(name: impl AsRef<[u8]>, ne: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut out = string(name);
    out.extend((ne.len() as u32).to_le_bytes());
    ne.iter().for_each(|n| out.extend(n.to_le_bytes()));
    out.extend(kind.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out
}

pub fn read(bytes: &[u8]) -> Result<File, Error> {
    File::from_buffer(Buffer::from_vec(bytes.to_vec()))
}

/// What a file must answer.
pub enum Outcome {
    /// Rejected as malformed, with this in the message.
    R(&'static str),
    /// Rejected as unsupported, with this in the message.
    U(&'static str),
    /// Read, with this in a warning.
    W(&'static str),
    /// Read, without a warning.
    A,
}

impl Outcome {
    /// Asserts that every file answers so, from memory, from a map and from reads.
    pub fn check(&self, files: impl IntoIterator<Item = Vec<u8>>) {
        for bytes in files {
            self.judge(read(&bytes), bytes.len());
            let folder = Folder::new();
            let path = folder.write("model.gguf", &bytes);
            for map in [true, false] {
                self.judge(File::open_with(&path, OpenOptions { map }), bytes.len());
            }
        }
    }

    fn judge(&self, found: Result<File, Error>, length: usize) {
        let (kind, fragment) = match self {
            Self::A => return assert!(found.expect("the file is accepted").warnings().is_empty()),
            Self::W(fragment) => {
                let file = found.expect("the file is accepted");
                let warnings: Vec<String> = file.warnings().iter().map(ToString::to_string).collect();
                return assert!(
                    warnings.iter().any(|w| w.contains(fragment)),
                    "{fragment:?} in {warnings:?}"
                );
            }
            Self::R(fragment) => (ErrorKind::Malformed, fragment),
            Self::U(fragment) => (ErrorKind::Unsupported, fragment),
        };
        let error = found.map(|_| ()).expect_err("the file is rejected");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(fragment), "{fragment:?} in {error}");
        let offset = error.offset().expect("the error has an offset");
        assert!(offset <= length as u64, "{offset} is inside the file of {length} bytes: {error}");
    }
}

/// A folder of this test's own, gone when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tl-gguf-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder in the temporary directory");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("a file in the temporary directory");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind in the temporary directory does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
