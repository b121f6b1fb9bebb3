//! Split models: finding the parts beside the one that was named, and checking that they belong together.

use std::path::{Path, PathBuf};

use super::parse::Description;
use super::source::Source;
use crate::{Error, Result, escape};

/// One part: its bytes and its description.
pub(super) type Part = (Source, Description);

/// The parts of the model that `named` belongs to, in order; `named` alone where it is not split.
pub(super) fn open_parts(
    path: &Path,
    named: Part,
    open: impl Fn(&Path) -> Result<Part>,
) -> Result<Vec<Part>> {
    let place = Place::of(&named.1).map_err(|e| e.in_file(path))?;
    if place.count <= 1 {
        return Ok(vec![named]);
    }
    let paths = part_paths(path, place).map_err(|e| e.in_file(path))?;
    let mut named = Some(named);
    let mut parts = Vec::new();
    for (i, part) in paths.iter().enumerate() {
        parts.push(match named.take_if(|_| i == place.number) {
            Some(named) => named,
            None => open(part).map_err(|e| e.within(&format!("part {} of {}", i + 1, place.count)))?,
        });
    }
    check_parts(&parts)?;
    Ok(parts)
}

/// Checks that the parts are all there and in order.
pub(super) fn check_parts(parts: &[Part]) -> Result<()> {
    let mut tensors = 0;
    for (i, (source, part)) in parts.iter().enumerate() {
        let located = |e: Error| source.locate(e);
        let place = Place::of(part).map_err(located)?;
        if place.count != parts.len() && (place.count > 1 || parts.len() > 1) {
            let message = format!("the model has {} parts, but {} were given", place.count, parts.len());
            return Err(located(error_at(part, "split.count", message)));
        }
        if place.number != i {
            let message = format!("this is part {}, but part {} belongs here", place.number + 1, i + 1);
            return Err(located(error_at(part, "split.no", message)));
        }
        tensors += part.tensors.len();
    }
    let Some((_, first)) = parts.first() else { return Err(Error::malformed("", "a model without parts")) };
    match first.metadata.opt::<u64>("split.tensors.count")? {
        Some(count) if parts.len() > 1 && count != tensors as u64 => {
            let message = format!("the model has {count} tensors, but its parts have {tensors}");
            Err(error_at(first, "split.tensors.count", message))
        }
        _ => Ok(()),
    }
}

/// Which part of how many a file says it is. A merged model may keep the keys with a count of 0.
#[derive(Clone, Copy)]
struct Place {
    number: usize,
    count: usize,
}

impl Place {
    fn of(part: &Description) -> Result<Self> {
        let count = usize::from(part.metadata.opt::<u16>("split.count")?.unwrap_or(0));
        if count <= 1 {
            return Ok(Self { number: 0, count: 1 });
        }
        let number = usize::from(part.metadata.get::<u16>("split.no")?);
        if number >= count {
            return Err(error_at(part, "split.no", format!("part {number} (from 0) of {count} parts")));
        }
        Ok(Self { number, count })
    }
}

/// The names of all parts, from the name of one.
fn part_paths(path: &Path, place: Place) -> Result<Vec<PathBuf>> {
    let ending = |i: usize| format!("-{:05}-of-{:05}.gguf", i + 1, place.count);
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let Some(prefix) = name.strip_suffix(&ending(place.number)) else {
        let message = format!(
            "this is part {} of {}, so its name must end in \"{}\", but it is \"{}\"",
            place.number + 1,
            place.count,
            ending(place.number),
            escape(name)
        );
        return Err(
            Error::malformed("split.no", message).hint("give each part the name that it was made with")
        );
    };
    Ok((0..place.count).map(|i| path.with_file_name(format!("{prefix}{}", ending(i)))).collect())
}

#[cold]
fn error_at(part: &Description, key: &str, message: String) -> Error {
    match part.metadata.exact(key) {
        Some(entry) => entry.error(message),
        None => Error::malformed(format!("key \"{key}\""), message),
    }
}
