//! Feeding one token at a time allocates nothing, once a session has reserved; nor do steps of several sequences.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use support::*;
use tensorlogic::{Engine, Feed, Generator, Session};
use tl_tensor::DType;

/// Counts what any thread asks of the system's allocator.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator that counts")]
// SAFETY: Every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: The caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: As above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: As above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn steady_state_decode_allocates_nothing() {
    let engine = Engine::cpu_with_threads(2);
    let model = model(SMALL, DType::Q8_0);
    let window = changed_library("where t <= p", "where t <= p and p - t < 70");
    for generator in [Generator::new(&engine, model.clone()).unwrap(), generator(&engine, &model, &window)] {
        let mut session = generator.session();
        session.feed(&tokens(30, SMALL.vocabulary)).unwrap();
        // The second step has rows enough to pack all weights.
        session.feed(&tokens(30, SMALL.vocabulary)).unwrap();
        session.reserve(300).unwrap();
        session.feed(&[1]).unwrap();
        let next = tokens(290, SMALL.vocabulary);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for &token in &next {
            session.feed(&[token]).unwrap();
        }
        let made = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert_eq!(made, 0, "{made} allocations in 290 steps");

        let mut sessions: [Session; 3] = std::array::from_fn(|_| generator.session());
        sessions.iter_mut().for_each(|session| session.reserve(300).unwrap());
        generator.reserve(3, 300).unwrap();
        let mut step = |token: u32| {
            let mut feeds = sessions.each_mut().map(|session| (session, [token]));
            generator
                .step(&mut feeds.each_mut().map(|(session, tokens)| Feed::last(session, &*tokens)))
                .unwrap();
        };
        step(1);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        next.iter().for_each(|&token| step(token));
        let made = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert_eq!(made, 0, "{made} allocations in 290 steps of three sequences");
    }
}
