//! A sequence that grows row by row allocates nothing, once memory was set aside.

#[path = "../../tl-exec/tests/programs/mod.rs"]
mod programs;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use programs::{Options, decoder};
use tl_cpu::CpuBackend;
use tl_exec::plan::plan;
use tl_exec::run::{Backend, Sequence, Wanted};
use tl_exec::state::State;
use tl_tensor::DType;

/// The system's allocator, counting what the current thread asks for: other threads may be on their way to start or to end.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: Everything is passed on to the system's allocator.
#[expect(unsafe_code, reason = "an allocator is unsafe by its interface")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: As for the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: As for the caller.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How many allocations are made by 300 steps of one row, after a prefill.
fn allocations(options: &Options, threads: usize) -> usize {
    let planned = plan(&decoder(options)).unwrap();
    let mut executable = CpuBackend::new(Some(threads), None).prepare(Arc::clone(&planned.plan)).unwrap();
    executable.reserve(16, 512).unwrap();
    let mut state = State::new(&planned.plan);
    state.reserve(512);
    let mut step = |tokens: &[f32]| {
        let mut sequences = [Sequence { state: &mut state, rows: tokens.len(), wanted: Wanted::Last }];
        executable.run(&mut sequences, &[tokens]).unwrap();
        assert!(executable.output(0).iter().all(|v| v.is_finite()));
    };
    step(&[1.0; 16]);
    // In these, the weights are packed.
    (0..20).for_each(|_| step(&[2.0]));
    let before = ALLOCATIONS.get();
    (0..300).for_each(|i| step(&[(i % 90) as f32]));
    ALLOCATIONS.get() - before
}

// With one thread, all parts of a step run on it.
#[test]
fn steps_of_one_row_allocate_nothing() {
    let options = Options {
        width: 256,
        inner: 512,
        head: 64,
        queries: 2,
        vocabulary: 100,
        weights: Some(DType::Q4_0),
        ..Options::default()
    };
    for threads in [1, 2] {
        assert_eq!(allocations(&options, threads), 0);
        assert_eq!(allocations(&Options { window: Some(100.0), ..options.clone() }, threads), 0);
        assert_eq!(
            allocations(&Options { weights: None, soft_cap: true, slope: true, ..options.clone() }, threads),
            0
        );
        // Scores that stand in buffers are as long as the stream.
        assert_eq!(allocations(&Options { unfused: true, ..options.clone() }, threads), 0);
    }
}
