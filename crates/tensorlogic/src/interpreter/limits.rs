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

/// Bytes of the stack that scripts run on: the first of these that can be had. It is reserved, and used only as far as a script
/// nests.
pub(crate) const STACK_BYTES: [usize; 3] = [512 << 20, 128 << 20, 32 << 20];

/// Bytes of it that are left for what the deepest expression does, such as tracing equations.
pub(crate) const RESERVE_BYTES: usize = 4 << 20;

/// Bytes of stack that one expression or call within another may take; it divides the stack into the greatest depth.
pub(crate) const LEVEL_BYTES: usize = 24 << 10;

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
