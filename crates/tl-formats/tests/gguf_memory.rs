//! A hostile file may not make the reader use more memory than 16 MiB and twice its metadata.
//!
//! One test, alone in its process, because the memory of a process is counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use tl_formats::gguf::File;
use tl_tensor::Buffer;

/// The system's allocator, with a count of what is in use and of the most that ever was.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: Every call is passed on unchanged to the system's allocator, which keeps the contract; counting has no effect on it.
#[expect(unsafe_code, reason = "counting what is allocated")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(used, Ordering::Relaxed);
        // SAFETY: The caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: The pointer came from `System.alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The most memory that reading `bytes` takes beside the bytes themselves, and whether they were accepted.
fn memory_of(bytes: Vec<u8>) -> (usize, bool) {
    let bytes = Buffer::from_vec(bytes);
    let before = USED.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let accepted = File::from_buffer(bytes).is_ok();
    (MOST.load(Ordering::Relaxed) - before, accepted)
}

fn header(tensors: u64, entries: u64) -> Vec<u8> {
    [b"GGUF", &3u32.to_le_bytes()[..], &tensors.to_le_bytes(), &entries.to_le_bytes()].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn array(kind: u32, count: u64, element: &[u8]) -> Vec<u8> {
    let elements = element.repeat(usize::try_from(count).expect("a small count"));
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), &elements].concat()
}

fn entry(key: &str, kind: u32, payload: &[u8]) -> Vec<u8> {
    [&string(key), &kind.to_le_bytes()[..], payload].concat()
}

/// Files that ask for as much as they can, by name.
fn greedy_files() -> Vec<(&'static str, Vec<u8>)> {
    let many = |n: usize, record: &dyn Fn(usize) -> Vec<u8>| (0..n).flat_map(record).collect::<Vec<u8>>();
    let odd = |i: usize| format!("{}{i:05}", "\u{202e}".repeat(80));
    // One axis of no elements, so that nothing overlaps.
    let info = |name: &str| [&string(name), &1u32.to_le_bytes()[..], &[0; 20]].concat();
    let joined = |head: Vec<u8>, body: Vec<u8>| [head, body].concat();
    let entries = |n: usize, body: Vec<u8>| joined(header(0, n as u64), body);
    vec![
        ("counts that nothing backs", joined(header(60_000, 60_000), vec![0; 60_000 * 24])),
        ("the shortest entries", entries(65_536, many(65_536, &|i| entry(&format!("{i:x}"), 0, &[1])))),
        ("entries with odd keys", entries(65_536, many(65_536, &|i| entry(&odd(i), 0, &[1])))),
        (
            "the shortest arrays",
            entries(65_536, many(65_536, &|i| entry(&format!("{i:x}"), 9, &array(8, 0, &[])))),
        ),
        ("empty strings", entries(1, entry("k", 9, &array(8, 4 << 20, &[0; 8])))),
        ("empty arrays in an array", entries(1, entry("k", 9, &array(9, 65_536, &array(0, 0, &[]))))),
        ("too many arrays in an array", entries(1, entry("k", 9, &array(9, 4 << 20, &array(0, 0, &[]))))),
        ("a long string", entries(1, entry("k", 8, &string(&"x".repeat(16 << 20))))),
        ("the shortest tensors", joined(header(65_536, 0), many(65_536, &|i| info(&format!("{i:x}"))))),
        ("tensors with odd names", joined(header(60_000, 0), many(60_000, &|i| info(&odd(i))))),
    ]
}

#[test]
fn reading_takes_memory_in_proportion_to_the_metadata() {
    for (name, bytes) in greedy_files() {
        let size = bytes.len();
        let (most, accepted) = memory_of(bytes);
        let allowed = (16 << 20) + 2 * size;
        assert!(most <= allowed, "{name}: {most} bytes for a file of {size}, {allowed} are allowed");
        // A file that was refused for another reason than was meant would prove nothing.
        let refused = ["counts that nothing backs", "too many arrays in an array"].contains(&name);
        assert_eq!(accepted, !refused, "{name}");
    }
}
