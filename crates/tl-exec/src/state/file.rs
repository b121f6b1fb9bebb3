//! States as bytes: what a sequence remembers, written and read again.
//!
//! ```text
//! number of stores: u32
//! for each store: values of a row: u64, element type: u32, first page: u64, then the rows of each page
//! ```
//!
//! All numbers are little-endian. Whose state it is, and how many rows it has, the reader must know.
//!
//! Invariant: reading trusts nothing. Bytes that are not a state of the plan are refused before memory is set aside for them.

use std::io::{self, Read, Write};

use tl_tensor::DType;

use super::{Meter, State};
use crate::kernel::Plan;

impl State {
    /// Writes the state.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&(self.stores.len() as u32).to_le_bytes())?;
        for store in &self.stores {
            out.write_all(&(store.width() as u64).to_le_bytes())?;
            out.write_all(&(type_number(store.dtype())).to_le_bytes())?;
            out.write_all(&(store.first_page() as u64).to_le_bytes())?;
            store.each_page(|bytes| out.write_all(bytes))?;
        }
        Ok(())
    }

    /// Reads a state of `len` rows that [`State::write`] wrote.
    ///
    /// # Errors
    /// When the reader fails or ends too early, or what it gives is not such a state of this plan ([`io::ErrorKind::InvalidData`]).
    pub fn read(plan: &Plan, meter: &Meter, len: usize, from: &mut dyn Read) -> io::Result<State> {
        let mut state = State::metered(plan, meter);
        let stores = u32::from_le_bytes(number(from)?) as usize;
        if stores != state.stores.len() {
            return Err(bad(format!("it has {stores} stores, not {}", state.stores.len())));
        }
        for (store, spec) in state.stores.iter_mut().zip(&plan.stores) {
            let width = u64::from_le_bytes(number(from)?);
            let dtype = u32::from_le_bytes(number(from)?);
            let first = u64::from_le_bytes(number(from)?);
            if width != store.width() as u64 || dtype != type_number(store.dtype()) {
                return Err(bad(format!("the rows of `{}` have another form", spec.name)));
            }
            let first = usize::try_from(first).ok().filter(|&first| first <= store.latest_first_page(len));
            let first = first.ok_or_else(|| bad(format!("rows of `{}` are missing", spec.name)))?;
            store.fill(len, first, |bytes| from.read_exact(bytes))?;
        }
        state.len = len;
        Ok(state)
    }
}

/// The number of an element type in files.
fn type_number(dtype: DType) -> u32 {
    dtype.info().ggml.unwrap_or(u32::MAX)
}

fn number<const N: usize>(from: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn bad(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
