//! Weights as models use them: the tensor of a name, or the one that stands in for it.
//!
//! Families share few rules of substitution, and they are the rows of [`FALLBACKS`]: a model whose output matrix is tied to
//! its embedding has no output matrix in its file. The same substitute serves where the tensor is there but broken, and
//! the caller is told so with a value.

use std::fmt;

use tl_tensor::Tensor;

use super::check::WeightCheck;
use super::file::File;
use super::value::quote;
use crate::Result;

/// A tensor and what stands in for it where it is missing or holds values that are not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    /// The name that a model asks for.
    pub tensor: &'static str,
    /// The name of the substitute.
    pub substitute: &'static str,
}

/// The rules of substitution.
pub const FALLBACKS: &[Fallback] = &[Fallback { tensor: OUTPUT, substitute: "token_embd.weight" }];

/// The output matrix of a language model, one row a token.
const OUTPUT: &str = "output.weight";

/// A weight, and how it was found.
#[derive(Debug, Clone)]
pub struct Weight {
    /// The tensor to use.
    pub tensor: Tensor,
    /// The name that `tensor` has in the file.
    pub name: String,
    /// What was wrong with the tensor that was asked for.
    pub note: Option<WeightNote>,
}

/// Why the tensor that was asked for needed a substitute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightNote {
    /// The name that was asked for.
    pub wanted: String,
    /// The name of the tensor that serves; `wanted` itself where it is broken and nothing can stand in for it.
    pub used: String,
    /// What was wrong.
    pub reason: WeightReason,
}

/// What was wrong with a tensor that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightReason {
    /// The file has none of this name: the weights are tied, which is nothing to worry about.
    Tied,
    /// It holds values that are infinite or NaN.
    Bad(WeightCheck),
}

impl WeightNote {
    /// Whether a person should hear of it.
    pub fn is_warning(&self) -> bool {
        matches!(self.reason, WeightReason::Bad(_))
    }
}

impl fmt::Display for WeightNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            WeightReason::Tied => {
                write!(f, "the file has no {}; {} serves", quote(&self.wanted), quote(&self.used))
            }
            WeightReason::Bad(check) if self.used == self.wanted => {
                write!(f, "{check}; no other tensor can stand in for it")
            }
            WeightReason::Bad(check) => {
                write!(f, "{check}; the tied weight {} serves instead", quote(&self.used))
            }
        }
    }
}

impl File {
    /// The tensor of this name, or by [`FALLBACKS`] its substitute where it is missing or a scan finds values in it that
    /// are infinite or NaN. A broken tensor whose substitute is missing, broken or of another shape is given as it is.
    ///
    /// # Errors
    /// Where there is neither the tensor nor a substitute, or the file was shortened since it was opened.
    pub fn weight(&self, name: &str) -> Result<Weight> {
        let row = FALLBACKS.iter().position(|f| f.tensor == name);
        let (Some(row), wanted) = (row, self.find(name)) else { return self.plain(name, name, None) };
        let substitute = FALLBACKS[row].substitute;
        let Some(wanted) = wanted else {
            if self.find(substitute).is_none() {
                return self.plain(name, name, None);
            }
            return self.plain(name, substitute, Some(WeightReason::Tied));
        };
        let check = self.scan_once(row, name)?;
        if check.is_sound() {
            return self.plain(name, name, None);
        }
        let fits = self.find(substitute).is_some_and(|s| s.ne() == wanted.ne());
        let used = if fits && self.scan(substitute)?.is_sound() { substitute } else { name };
        self.plain(name, used, Some(WeightReason::Bad(check)))
    }

    /// The output matrix of a language model: `output.weight`, or the tied embedding, as [`File::weight`] decides.
    ///
    /// # Errors
    /// As [`File::weight`].
    pub fn output_weight(&self) -> Result<Weight> {
        self.weight(OUTPUT)
    }

    fn plain(&self, wanted: &str, used: &str, reason: Option<WeightReason>) -> Result<Weight> {
        let note = reason.map(|reason| WeightNote { wanted: wanted.into(), used: used.into(), reason });
        Ok(Weight { tensor: self.tensor(used)?, name: used.into(), note })
    }

    /// The scan of the tensor in a row of [`FALLBACKS`], made at its first use.
    fn scan_once(&self, row: usize, name: &str) -> Result<WeightCheck> {
        if let Some(check) = self.scans[row].get() {
            return Ok(check.clone());
        }
        let check = self.scan(name)?;
        Ok(self.scans[row].get_or_init(|| check).clone())
    }
}
