//! A stack that is large enough: tracing follows the program's own recursion, and says so before the stack ends.

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

impl Stack {
    fn here(usable: usize) -> Self {
        Self { begin: address(), usable }
    }

    /// Whether there is room for more.
    pub fn has_room(self) -> bool {
        self.begin.abs_diff(address()) < self.usable
    }
}

/// Roughly where the stack is.
#[inline(never)]
fn address() -> usize {
    let here = 0u8;
    std::ptr::from_ref(&here).addr()
}

/// Runs `work` on a large stack, or on the one there is if the system has no other to give.
pub(crate) fn with_large<T: Send>(work: impl FnOnce(Stack) -> T + Send) -> T {
    let mut work = Some(work);
    std::thread::scope(|scope| {
        let slot = &mut work;
        let run = move || slot.take().map(|work| work(Stack::here(STACK_BYTES - RESERVE_BYTES)));
        let spawned = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, run);
        match spawned.map(|thread| thread.join()) {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => None,
        }
    })
    .unwrap_or_else(|| {
        let work = work.take().expect("the thread that would have run it was not made");
        work(Stack::here(FOREIGN_BYTES))
    })
}
