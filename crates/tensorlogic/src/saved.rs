//! Sequences as files: a session is written, and read again by a generator of the same model and program.
//!
//! ```text
//! "TLSEQ" 0 0 1 · fingerprint: 32 bytes
//! tokens: a number (u64) and the ids (u32 each) · logits: a number (u64) and the values (f32 each)
//! what is remembered, see tl_exec::state
//! SHA-256 of all that
//! ```
//!
//! Numbers are little-endian. The *fingerprint* is the SHA-256 of the program's texts, the function, the types of pages, the model's metadata, and of each tensor its name,
//! type, shape and the first, middle and last 4096 bytes: two files that agree in all these are taken for the same model.
//!
//! Invariant: reading gives the sequence that was written, or an error that says why not; it trusts nothing that it reads.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};
use tl_exec::kernel::Plan;
use tl_exec::state::State;
use tl_formats::gguf::{Array, Value};

use crate::error::Error;
use crate::generator::Generator;
use crate::model::Model;
use crate::program::Program;
use crate::session::Session;

const MAGIC: [u8; 8] = *b"TLSEQ\0\0\x01";

/// Bytes of a tensor that a fingerprint takes at each of three places.
const SAMPLE: usize = 4096;

/// Values that are read at a time, so that a false length takes no memory.
const PIECE: usize = 4096;

/// Why a saved sequence can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// Reading or writing failed.
    #[error(transparent)]
    Io(io::Error),
    /// It is no saved sequence, or a damaged one.
    #[error("this is no saved sequence: {0}")]
    Malformed(String),
    /// It is one of another model, another program or another type of pages.
    #[error("the sequence was saved with another model, program or type of pages")]
    Other,
    /// Its tokens don't fit.
    #[error(transparent)]
    Tokens(#[from] Error),
}

impl From<io::Error> for SavedError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Malformed("it ends too early".to_owned()),
            io::ErrorKind::InvalidData => Self::Malformed(error.to_string()),
            _ => Self::Io(error),
        }
    }
}

impl Session {
    /// Writes the sequence: its tokens, its logits and what is remembered of it.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn save(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut out = Hashing { inner: out, hash: Sha256::new() };
        out.write_all(&MAGIC)?;
        out.write_all(self.generator().fingerprint())?;
        out.write_all(&(self.len() as u64).to_le_bytes())?;
        for tokens in self.tokens().chunks(PIECE) {
            out.write_all(&tokens.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>())?;
        }
        out.write_all(&(self.logits().len() as u64).to_le_bytes())?;
        for logits in self.logits().chunks(PIECE) {
            out.write_all(&logits.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
        }
        self.state().write(&mut out)?;
        let sum = out.hash.finalize();
        out.inner.write_all(&sum)
    }
}

impl Generator {
    /// Reads a sequence that [`Session::save`] wrote.
    ///
    /// # Errors
    /// When it was saved with another model, program or type of pages, is longer than the context, is damaged, or can't be read.
    pub fn load_session(&self, from: &mut dyn Read) -> Result<Session, SavedError> {
        let mut from = Hashing { inner: from, hash: Sha256::new() };
        let mut head = [0; 8];
        from.read_exact(&mut head)?;
        if head != MAGIC {
            return Err(SavedError::Malformed("it begins with other bytes".to_owned()));
        }
        let mut fingerprint = [0; 32];
        from.read_exact(&mut fingerprint)?;
        if fingerprint != *self.fingerprint() {
            return Err(SavedError::Other);
        }
        let mut session = self.session();
        let tokens = numbers(&mut from, self.context_limit(), u32::from_le_bytes)?;
        session.check(&tokens)?;
        let logits = numbers(&mut from, Some(self.vocabulary()), f32::from_le_bytes)?;
        if ![0, self.vocabulary()].contains(&logits.len()) {
            return Err(SavedError::Malformed("its logits are of another vocabulary".to_owned()));
        }
        let state = State::read(self.plan(), self.meter(), tokens.len(), &mut from)?;
        let sum = from.hash.finalize();
        let mut written = [0; 32];
        from.inner.read_exact(&mut written)?;
        if written != *sum || from.inner.read(&mut [0])? != 0 {
            return Err(SavedError::Malformed("its checksum is wrong".to_owned()));
        }
        session.resume(state, tokens, logits);
        Ok(session)
    }
}

/// A number of values and the values themselves; more than `most` are refused.
fn numbers<T>(
    from: &mut dyn Read,
    most: Option<usize>,
    value: fn([u8; 4]) -> T,
) -> Result<Vec<T>, SavedError> {
    let mut count = [0; 8];
    from.read_exact(&mut count)?;
    let count = usize::try_from(u64::from_le_bytes(count)).unwrap_or(usize::MAX);
    if most.is_some_and(|most| count > most) {
        return Err(SavedError::Malformed(format!(
            "it says that it has {count} numbers where that can't be"
        )));
    }
    let (mut values, mut bytes) = (Vec::new(), vec![0; 4 * PIECE]);
    while values.len() < count {
        let piece = &mut bytes[..4 * (count - values.len()).min(PIECE)];
        from.read_exact(piece)?;
        values.extend(piece.as_chunks::<4>().0.iter().map(|&bytes| value(bytes)));
    }
    Ok(values)
}

/// Reads or writes, and hashes what went through.
struct Hashing<'a, T: ?Sized> {
    inner: &'a mut T,
    hash: Sha256,
}

impl Write for Hashing<'_, dyn Write + '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Read for Hashing<'_, dyn Read + '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }
}

/// What tells a model with its program from any other.
pub(crate) fn fingerprint(program: &Program, function: &str, model: &Model, plan: &Plan) -> [u8; 32] {
    let mut hash = Fields(Sha256::new());
    hash.add(function.as_bytes());
    plan.stores.iter().for_each(|store| hash.add(store.dtype.name().as_bytes()));
    for source in program.diagnostics().sources.iter() {
        hash.add(source.text().as_bytes());
    }
    // Those of a file are in no source text.
    for fact in program.functions().facts() {
        hash.add(format!("{:?}", fact.constants).as_bytes());
    }
    for entry in model.metadata().entries() {
        hash.add(entry.key().as_bytes());
        hash.value(entry.value());
    }
    for info in model.file().tensors() {
        hash.add(info.name().as_bytes());
        let Some(tensor) = model.tensor(info.name()) else { continue };
        hash.add(format!("{:?} {:?}", tensor.dtype(), tensor.shape()).as_bytes());
        let data = tensor.data();
        let last = data.len().saturating_sub(SAMPLE);
        for start in [0, last / 2, last] {
            hash.add(&data[start..data.len().min(start + SAMPLE)]);
        }
    }
    hash.0.finalize().into()
}

/// A hash of fields, each with its length before it, so that no two lists of fields give the same bytes.
struct Fields(Sha256);

impl Fields {
    fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn value(&mut self, value: &Value) {
        let Some(array) = value.array() else { return self.add(format!("{value:?}").as_bytes()) };
        self.array(array);
    }

    fn array(&mut self, array: &Array) {
        self.add(format!("{:?} {}", array.element(), array.len()).as_bytes());
        match (array.strings(), array.bytes()) {
            (Some(strings), _) => strings.iter().for_each(|text| self.add(text)),
            (_, Some(bytes)) => self.add(bytes),
            _ => array.iter().for_each(|value| self.value(&value)),
        }
    }
}
