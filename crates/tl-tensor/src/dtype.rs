//! The table of element types.

/// An element type: a plain number or a quantization format of ggml.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[allow(non_camel_case_types, missing_docs)]
pub enum DType {
    F32,
    F64,
    F16,
    BF16,
    I8,
    I16,
    I32,
    I64,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
}

/// A row of the table: what there is to know of an element type.
#[derive(Debug)]
pub struct DTypeInfo {
    /// The name as ggml writes it, `Q4_0`.
    pub name: &'static str,
    /// ggml's number for it in a file.
    pub ggml: u32,
    /// How many values a block holds; 1 for plain numbers.
    pub block: usize,
    /// How many bytes a block takes.
    pub bytes: usize,
}

impl DType {
    /// The row of the table for this type.
    pub fn info(self) -> &'static DTypeInfo {
        match self {
            DType::F32 => &DTypeInfo { name: "F32", ggml: 0, block: 1, bytes: 4 },
            _ => &DTypeInfo { name: "F64", ggml: 28, block: 1, bytes: 8 },
        }
    }
}
