//! Sampling allocates nothing once it is under way: a counting allocator stands under the whole chain.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use tl_llm::sampling::{Sampler, SamplingParams, StopMatcher};

/// The system's allocator, counting what this thread asks for.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "an allocator can only be put under a test by this trait")]
// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain thread-local number
// that needs no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System.alloc` with this layout, as every allocation here does.
        unsafe { System.dealloc(pointer, layout) }
    }

    // `realloc` has a default that calls `alloc`, and so is counted.
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn logits(n: u32) -> Vec<f32> {
    (0..5000u32)
        .map(|id| (id.wrapping_mul(2_654_435_761).wrapping_add(n * 977) >> 20) as f32 / 400.0)
        .collect()
}

#[test]
fn a_step_allocates_nothing() {
    let with_all = SamplingParams {
        typical_p: 0.95,
        repeat_penalty: 1.1,
        presence_penalty: 0.1,
        frequency_penalty: 0.1,
        logit_bias: vec![(3, -1.0)],
        ..SamplingParams::default()
    };
    let no_top_k = SamplingParams { top_k: 0, ..with_all.clone() };
    for params in [SamplingParams::default(), SamplingParams::greedy(), with_all, no_top_k] {
        let mut sampler = Sampler::new(params.clone(), 5000).unwrap();
        let steps: Vec<Vec<f32>> = (0..200).map(logits).collect();
        sampler.sample(&steps[0]).unwrap();
        let before = ALLOCATIONS.get();
        steps.iter().for_each(|step| drop(sampler.sample(step)));
        assert_eq!(ALLOCATIONS.get() - before, 0, "{params:?}");
    }
}

#[test]
fn matching_stops_allocates_nothing() {
    let mut matcher = StopMatcher::new(&["<end>", "\n\n"]).unwrap();
    let pieces = ["Hello ", "<en", "x", "\n", "word ", "é"];
    pieces.iter().for_each(|piece| assert_eq!(matcher.push(piece).stop, None));
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        pieces.iter().for_each(|piece| assert_eq!(matcher.push(piece).stop, None));
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
