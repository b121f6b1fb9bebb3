//! Bounds on what a script may do. Exceeding one is an error that names it.

/// The bounds.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Turns of all loops, and calls, together.
    pub steps: u64,
    /// Calls within calls.
    pub calls: usize,
    /// Characters of a text, and items of a list.
    pub length: usize,
    /// Imports within imports.
    pub import_depth: usize,
    /// Files that a program may import.
    pub imports: usize,
    /// Bounds on tracing equations into graphs.
    pub trace: tl_sema::Limits,
}

/// How deep expressions and calls may be evaluated within one another, all together; the stack is made for that many.
pub(crate) const MAX_DEPTH: usize = 20_000;

/// Bytes of the stack that scripts run on. It is reserved and used only as far as a script nests.
pub(crate) const STACK_BYTES: usize = 512 << 20;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            steps: 1_000_000_000,
            calls: 2_000,
            length: 1 << 26,
            import_depth: 64,
            imports: 1_000,
            trace: tl_sema::Limits::default(),
        }
    }
}
