//! Where tensors lie: descriptions, and the checks that they fit the file and each other.

use std::sync::Arc;

use tl_tensor::DType;

use super::cursor::{Cursor, Read};
use super::limits;
use super::value::quote;
use super::warnings::Warnings;
use crate::{Error, Result, acts_on_terminal};

/// The description of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    pub(super) name: Arc<str>,
    pub(super) ne: [u64; limits::DIMS as usize],
    pub(super) dims: usize,
    pub(super) dtype: DType,
    pub(super) part: usize,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// Where the description's offset field stands in the file.
    pub(super) described_at: u64,
}

impl TensorInfo {
    /// The name, `blk.0.attn_q.weight`. Made by a stranger: never a path, and escaped before it is printed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sizes of the axes as the file has them, fastest first; empty for a scalar.
    pub fn ne(&self) -> &[u64] {
        &self.ne[..self.dims]
    }

    /// The sizes of the axes, slowest first: [`TensorInfo::ne`] reversed.
    pub fn shape(&self) -> Vec<usize> {
        // The reader has checked that the tensor's elements fit `usize`; an axis beside an empty one may still be larger.
        self.ne().iter().rev().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect()
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The number of elements.
    pub fn elements(&self) -> u64 {
        self.ne().iter().product()
    }

    /// Which file of a split model holds the tensor, from 0.
    pub fn part(&self) -> usize {
        self.part
    }

    /// Where the bytes begin, from the beginning of the file of [`TensorInfo::part`].
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes there are.
    pub fn byte_len(&self) -> u64 {
        self.bytes
    }
}

/// ggml's types that were removed: files with them must be made again.
const REMOVED: &[(u32, &str)] = &[
    (4, "Q4_2"),
    (5, "Q4_3"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (36, "IQ4_NL_4_4"),
    (37, "IQ4_NL_4_8"),
    (38, "IQ4_NL_8_8"),
];

/// Reads one description. Its offset is still relative to the data section, and may point anywhere.
pub(super) fn read_info(cursor: &mut Cursor, warnings: &mut Warnings) -> Read<TensorInfo> {
    let start = cursor.at();
    let name = cursor.name(limits::NAME, "name")?;
    let field = || format!("tensor {}", quote(name));
    if name.len() > 64 {
        warnings.push(start, field, format!("the name has {} bytes; other readers allow 64", name.len()));
    }
    if name.chars().any(acts_on_terminal) {
        warnings.push(start, field, "the name holds control or invisible characters");
    }
    read_shape(cursor, name).map_err(|stop| stop.within(|| format!("tensor {}", quote(name))))
}

fn read_shape(cursor: &mut Cursor, name: &str) -> Read<TensorInfo> {
    let at = cursor.at();
    let count = cursor.u32("number of dimensions")?;
    if count > limits::DIMS {
        let message = format!("{count}, but at most {} are allowed", limits::DIMS);
        return Err(Error::malformed("number of dimensions", message).at(at).into());
    }
    let mut ne = [1; limits::DIMS as usize];
    let shape_at = cursor.at();
    for (i, n) in ne.iter_mut().take(count as usize).enumerate() {
        let at = cursor.at();
        *n = cursor.u64("dimension")?;
        if i64::try_from(*n).is_err() {
            return Err(Error::malformed(format!("dimension {i}"), format!("{n} is out of range"))
                .at(at)
                .into());
        }
    }
    let type_at = cursor.at();
    let dtype = dtype(cursor.u32("type")?).map_err(|e| e.at(type_at))?;
    let bytes = byte_len(&ne, dtype).map_err(|e| e.at(shape_at))?;
    let described_at = cursor.at();
    let offset = cursor.u64("offset")?;
    let dims = count as usize;
    Ok(TensorInfo { name: name.into(), ne, dims, dtype, part: 0, offset, bytes, described_at })
}

fn dtype(number: u32) -> Result<DType> {
    if let Some(dtype) = DType::from_ggml(number) {
        return Ok(dtype);
    }
    if let Some((_, name)) = REMOVED.iter().find(|(n, _)| *n == number) {
        let error =
            Error::unsupported("type", format!("{name} (ggml type {number}) was removed from the format"));
        return Err(error.hint("quantize the model again"));
    }
    // Types get small numbers one after the other, so a small one may come from a newer writer.
    if number < 256 {
        return Err(Error::unsupported("type", format!("ggml type {number} is not known to this version")));
    }
    Err(Error::malformed("type", format!("{number} is not a ggml type")))
}

/// The bytes of a tensor; an axis of size 0 makes it empty.
pub(super) fn byte_len(ne: &[u64], dtype: DType) -> Result<u64> {
    let overflow = || Error::malformed("dimensions", format!("{ne:?} {dtype} elements overflow"));
    // An empty axis must not hide an overflow of the others, so they are multiplied first.
    let elements = ne.iter().filter(|&&n| n > 0).try_fold(1u64, |product, &n| product.checked_mul(n));
    let elements = elements.filter(|&n| i64::try_from(n).is_ok()).ok_or_else(overflow)?;
    let (block, size) = (dtype.block() as u64, dtype.bytes() as u64);
    if !ne[0].is_multiple_of(block) {
        let message = format!("rows of {} elements are not a multiple of {dtype}'s block of {block}", ne[0]);
        return Err(Error::malformed("dimension 0", message));
    }
    let bytes = elements.div_ceil(block).checked_mul(size).ok_or_else(overflow)?;
    usize::try_from(bytes).map_err(|_| overflow())?;
    Ok(if ne.contains(&0) { 0 } else { bytes })
}

/// Turns offsets into absolute ones and checks that tensors are aligned, inside the file and disjoint.
/// Returns where the last one ends (`data_start` where there are none).
pub(super) fn place(
    tensors: &mut [TensorInfo],
    data_start: u64,
    alignment: u64,
    total: u64,
    warnings: &mut Warnings,
) -> Result<u64> {
    let padded = round_up(total, alignment).unwrap_or(total);
    for tensor in &mut *tensors {
        let fail = |message: String| {
            Err(Error::malformed(format!("tensor {}, offset", quote(&tensor.name)), message)
                .at(tensor.described_at))
        };
        if !tensor.offset.is_multiple_of(alignment) {
            return fail(format!("{} is not a multiple of the alignment, {alignment}", tensor.offset));
        }
        let start = data_start.checked_add(tensor.offset);
        let end = start.and_then(|start| start.checked_add(tensor.bytes));
        match (start, end) {
            // An empty tensor may stand behind padding that the file doesn't have.
            (Some(start), Some(end)) if end <= total || tensor.bytes == 0 && start <= padded => {
                tensor.offset = start;
            }
            _ => {
                return fail(format!(
                    "{} bytes at {} of the data, which begins at byte {data_start}, end outside the file of {total} bytes",
                    tensor.bytes, tensor.offset
                ));
            }
        }
    }
    check_order(tensors, data_start, alignment, total, warnings)
}

/// Tensors by their place: overlap is an error; disorder, gaps and trailing bytes are warnings.
fn check_order(
    tensors: &[TensorInfo],
    data_start: u64,
    alignment: u64,
    total: u64,
    warnings: &mut Warnings,
) -> Result<u64> {
    let mut order: Vec<&TensorInfo> = tensors.iter().filter(|t| t.bytes > 0).collect();

    if let Some(pair) = order.windows(2).find(|pair| pair[0].offset > pair[1].offset) {
        let message = format!("its bytes lie before those of {}", quote(&pair[0].name));
        warnings.push(pair[1].described_at, || format!("tensor {}", quote(&pair[1].name)), message);
    }
    order.sort_by_key(|t| t.offset);
    let mut end = data_start;
    let mut gaps = 0u64;
    for (i, tensor) in order.iter().enumerate() {
        if tensor.offset < end {
            // The first tensor begins at `data_start` or later, so there is one before.
            let before = quote(&order[i.saturating_sub(1)].name);
            let message = format!("its bytes overlap those of {before}, which end at byte {end}");
            return Err(Error::malformed(format!("tensor {}, offset", quote(&tensor.name)), message)
                .at(tensor.described_at));
        }
        gaps += tensor.offset.saturating_sub(round_up(end, alignment).unwrap_or(u64::MAX));
        end = tensor.offset + tensor.bytes;
    }
    if gaps > 0 {
        warnings.push(data_start, || "data".into(), format!("{gaps} unused bytes lie between the tensors"));
    }
    let padded = round_up(end, alignment).unwrap_or(total);
    if total > padded {
        let message = format!("{} trailing bytes follow the last tensor", total - padded);
        warnings.push(padded, || "data".into(), message);
    }
    Ok(end)
}

/// The next multiple of `alignment`, a power of two; `None` on overflow.
pub(super) fn round_up(n: u64, alignment: u64) -> Option<u64> {
    n.checked_next_multiple_of(alignment)
}
