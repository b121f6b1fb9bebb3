//! A stack that is large enough: tracing follows the program's own recursion, and says so before the stack ends.
//!
//! Most programs need little, and a thread with a large stack takes longer to make than a small program to trace. So tracing begins where it
//! is called, and begins again on a large stack if that was not enough.

use std::cell::Cell;

/// How large the stack is; only what is used becomes memory.
const STACK_BYTES: usize = 256 << 20;
/// What is left for the functions that don't ask.
const RESERVE_BYTES: usize = 4 << 20;
/// What is assumed of a stack that is not ours.
const FOREIGN_BYTES: usize = 768 << 10;

/// The end of the stack, as far as it may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    begin: usize,
    usable: usize,
}

thread_local! {
    /// Whether somebody found no room since tracing began on this thread.
    static EXHAUSTED: Cell<bool> = const { Cell::new(false) };
}

impl Stack {
    fn here(usable: usize) -> Self {
        Self { begin: address(), usable }
    }

    /// Whether there is room for more.
    pub fn has_room(self) -> bool {
        let has_room = self.begin.abs_diff(address()) < self.usable;
        if !has_room {
            EXHAUSTED.set(true);
        }
        has_room
    }
}

/// Roughly where the stack is.
#[inline(never)]
fn address() -> usize {
    let here = 0u8;
    std::ptr::from_ref(&here).addr()
}

/// Runs `work` on the stack that there is, and again on a large one if it needed more, unless the system has no other to give.
pub(crate) fn with_large<T: Send>(mut work: impl FnMut(Stack) -> T + Send) -> T {
    EXHAUSTED.set(false);
    let value = work(Stack::here(FOREIGN_BYTES));
    if !EXHAUSTED.get() {
        return value;
    }
    std::thread::scope(|scope| {
        let run = || work(Stack::here(STACK_BYTES - RESERVE_BYTES));
        let spawned = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, run);
        match spawned.map(|thread| thread.join()) {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => value,
        }
    })
}
