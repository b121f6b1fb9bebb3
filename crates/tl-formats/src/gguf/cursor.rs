//! Reading numbers and strings off a run of bytes, with a bound that is checked before anything else.
//!
//! The run may be a prefix of the file. `total` is the file's length: what lies beyond it is an error of the file
//! ([`Stop::Bad`]), what lies beyond the prefix only asks the caller to come back with more bytes ([`Stop::Short`]).

use super::limits;
use crate::{Error, escape_bytes};

/// Why reading stopped.
pub(super) enum Stop {
    /// The prefix ends too early: at least this many bytes are needed.
    Short(u64),
    /// The file is at fault.
    Bad(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Bad(error)
    }
}

impl Stop {
    /// Names the enclosing field of an error.
    pub fn within(self, outer: impl FnOnce() -> String) -> Self {
        match self {
            Self::Bad(error) => Self::Bad(error.within(&outer())),
            short => short,
        }
    }
}

pub(super) type Read<T> = Result<T, Stop>;

/// A position in the bytes of a file.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    total: u64,
    at: u64,
}

impl<'a> Cursor<'a> {
    /// At the beginning of `bytes`, a prefix of a file of `total` bytes.
    pub fn new(bytes: &'a [u8], total: u64) -> Self {
        Self { bytes, total, at: 0 }
    }

    /// The offset of the next byte.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// How many bytes of the file follow.
    pub fn left(&self) -> u64 {
        self.total - self.at
    }

    /// Steps over `n` bytes; their range in the file.
    pub fn skip(&mut self, n: u64, what: &str) -> Read<std::ops::Range<usize>> {
        if n > self.left() {
            let message = format!("the file is truncated: {n} bytes are needed, {} are left", self.left());
            return Err(Error::malformed(what, message).at(self.at).into());
        }
        let end = self.at + n;
        if end > self.bytes.len() as u64 {
            return Err(Stop::Short(end));
        }
        // Both fit: they are at most `bytes.len()`.
        let range = self.at as usize..end as usize;
        self.at = end;
        Ok(range)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Read<[u8; N]> {
        let range = self.skip(N as u64, what)?;
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes[range]);
        Ok(out)
    }

    pub fn u8(&mut self, what: &str) -> Read<u8> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    pub fn u16(&mut self, what: &str) -> Read<u16> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub fn u32(&mut self, what: &str) -> Read<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub fn u64(&mut self, what: &str) -> Read<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A length and that many bytes, at most `limit`.
    pub fn string(&mut self, limit: u64, what: &str) -> Read<&'a [u8]> {
        let start = self.at;
        let length = self.u64(what)?;
        if length > self.left() {
            let message = format!("a length of {length} bytes, but only {} are left", self.left());
            return Err(Error::malformed(what, message).at(start).into());
        }
        if length > limit {
            let message = format!("a length of {length} bytes, but at most {limit} are allowed");
            return Err(Error::malformed(what, message).at(start).into());
        }
        let range = self.skip(length, what)?;
        Ok(&self.bytes[range])
    }

    /// Steps over a length and that many bytes, where both are at hand and the length is at most `limit`. Says no more
    /// where they aren't: [`Cursor::string`] does, and this is for long arrays.
    pub fn skip_string(&mut self, limit: u64) -> bool {
        // The position is within the bytes, so it fits.
        let length =
            self.bytes.get(self.at as usize..).and_then(<[u8]>::first_chunk).copied().map(u64::from_le_bytes);
        // The limit keeps the sum small.
        let end = length
            .filter(|&n| n <= limit)
            .map(|n| self.at + 8 + n)
            .filter(|&end| end <= self.bytes.len() as u64);
        self.at = end.unwrap_or(self.at);
        end.is_some()
    }

    /// A length and that many bytes of UTF-8, at most `limit`, at least one.
    pub fn name(&mut self, limit: u64, what: &str) -> Read<&'a str> {
        let start = self.at;
        let bytes = self.string(limit, what)?;
        if bytes.is_empty() {
            return Err(Error::malformed(what, "an empty name").at(start).into());
        }
        std::str::from_utf8(bytes).map_err(|e| {
            let message = format!("\"{}\" is not UTF-8", escape_bytes(bytes));
            Error::malformed(what, message).at(start + 8 + e.valid_up_to() as u64).into()
        })
    }

    /// Checks that `count` records of at least `smallest` bytes can follow, and that there are no more than `limit`.
    pub fn check_count(&self, count: u64, smallest: u64, limit: u64, at: u64, what: &str) -> Read<usize> {
        let message = match count.checked_mul(smallest) {
            Some(needed) if needed <= self.left() && count <= limit => return Ok(count as usize),
            Some(needed) if needed <= self.left() => format!("{count}, but at most {limit} are allowed"),
            _ => format!("{count} need at least {smallest} bytes each, but only {} are left", self.left()),
        };
        Err(Error::malformed(what, message).at(at).into())
    }
}

// `check_count` returns `usize`; its limits must fit on the smallest platform.
const _: () = assert!(limits::ARRAY <= u32::MAX as u64);
