//! A fork-join pool: `run(parts, work)` calls `work(part, worker)` once for each part, on all threads, and returns when all are done.
//!
//! The caller is worker 0. The others spin for some microseconds after a job and then park, so that the next job of a busy
//! program starts at once and an idle program costs nothing. One atomic word holds the whole protocol:
//!
//! ```text
//! word = epoch | open | inside      epoch counts jobs; `open` while one may be entered; `inside` workers are in it
//!
//! caller:  write the job, nothing taken; word += open + epoch; unpark the parked
//!          take parts until there are none; word −= open; spin until inside = 0
//! worker:  spin until word is open with a new epoch; word += inside
//!          if it was open: take parts until there are none
//!          word −= inside
//! ```
//!
//! The caller waits only for workers that are inside: one that the system delays before it enters delays no one.
//!
//! Each worker has a [`share`] of the parts, neighbours one after the other, which it takes by a counter of its own; then it takes what is
//! left of the others' shares. So the same worker meets the same weights in every step, in order, no counter is fought for, and a slow
//! thread still takes fewer.
//!
//! Invariants: a job is read only between entering an open word and leaving it, and it stays in place until the word is closed and
//! `inside` is 0. Which worker does a part never changes what is computed. Nothing here allocates or locks after [`Pool::new`],
//! unless a part panics.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

const INSIDE: u64 = (1 << 16) - 1;
const OPEN: u64 = 1 << 16;
const EPOCH: u64 = 1 << 17;

/// How often a worker looks for a job before it parks: some tens of microseconds.
const SPINS_BEFORE_PARKING: u32 = 4000;

/// How often the caller looks whether the workers are done before it offers its processor to them.
const SPINS_BEFORE_YIELDING: u32 = 20_000;

type Work = dyn Fn(usize, usize) + Sync;

/// Threads that wait for work.
pub struct Pool {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
}

/// A value on cache lines of its own, so that its writers do not slow down the readers of its neighbours.
#[repr(align(128))]
struct OwnLine<T>(T);

struct Shared {
    word: OwnLine<AtomicU64>,
    /// How many parts of each worker's share were taken.
    taken: Vec<OwnLine<AtomicUsize>>,
    job: OwnLine<UnsafeCell<Option<Job>>>,
    busy: AtomicBool,
    stop: AtomicBool,
    panicked: AtomicBool,
    payload: Mutex<Option<Box<dyn Any + Send>>>,
    parked: Vec<OwnLine<AtomicBool>>,
}

#[derive(Clone, Copy)]
struct Job {
    work: *const Work,
    parts: usize,
}

// SAFETY: `job` is the one field that is not `Sync`. The caller alone writes it, while the word is closed and no worker is inside;
// workers read it while they are inside. The pointer in it is to a `Sync` closure that outlives the job.
#[expect(unsafe_code, reason = "the job is shared by a protocol of atomics")]
unsafe impl Sync for Shared {}
// SAFETY: As above; the pointer is only followed inside a job.
#[expect(unsafe_code, reason = "the job is shared by a protocol of atomics")]
unsafe impl Send for Shared {}

/// The parts of worker `worker` of so many.
fn share(parts: usize, worker: usize, workers: usize) -> Range<usize> {
    parts * worker / workers..parts * (worker + 1) / workers
}

/// How many threads a pool has if nobody says: one a core, where hardware threads that share a core count once on larger machines.
pub fn default_threads() -> usize {
    let logical = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if logical <= 4 { logical } else { (logical / hardware_threads_per_core()).max(1) }
}

#[cfg(target_arch = "x86_64")]
fn hardware_threads_per_core() -> usize {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    // Leaf 11, level 0: the number of logical processors in a core (Intel SDM, CPUID; AMD APM volume 3, appendix E).
    if __cpuid(0).eax < 11 {
        return 1;
    }
    ((__cpuid_count(11, 0).ebx & 0xFFFF) as usize).clamp(1, 8)
}

#[cfg(not(target_arch = "x86_64"))]
fn hardware_threads_per_core() -> usize {
    1
}

impl Pool {
    /// A pool of `threads` threads, the caller of [`Pool::run`] included; 0 means [`default_threads`]. If the system refuses
    /// threads, the pool has fewer.
    pub fn new(threads: usize) -> Self {
        let threads = if threads == 0 { default_threads() } else { threads.min(1024) };
        let parked = (1..threads).map(|_| OwnLine(AtomicBool::new(false))).collect();
        let shared = Arc::new(Shared {
            word: OwnLine(AtomicU64::new(0)),
            taken: (0..threads).map(|_| OwnLine(AtomicUsize::new(0))).collect(),
            job: OwnLine(UnsafeCell::new(None)),
            busy: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            payload: Mutex::new(None),
            parked,
        });
        let handles = (1..threads)
            .map_while(|id| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("tl-worker-{id}"))
                    .spawn(move || shared.serve(id))
                    .ok()
            })
            .collect();
        Self { shared, handles }
    }

    /// How many threads take part, the caller included. Worker numbers are below it.
    pub fn threads(&self) -> usize {
        self.handles.len() + 1
    }

    /// Calls `work(part, worker)` once for each `part < parts`. `worker` is different for parts that run at the same time.
    ///
    /// If the pool is already at work (for another thread, or because a part calls this), all parts run on the calling thread,
    /// as worker 0.
    ///
    /// # Panics
    /// If a part panics, with its payload, after all parts that had begun are done. The others may be left out.
    pub fn run(&self, parts: usize, work: &(dyn Fn(usize, usize) + Sync)) {
        let shared = &*self.shared;
        if parts <= 1 || self.handles.is_empty() || shared.busy.swap(true, Ordering::Acquire) {
            (0..parts).for_each(|part| work(part, 0));
            return;
        }
        shared.open(work, parts);
        for (parked, handle) in shared.parked.iter().zip(&self.handles) {
            if parked.0.load(Ordering::SeqCst) {
                handle.thread().unpark();
            }
        }
        shared.take_parts(0);
        shared.close();
        let panic = shared.take_panic();
        shared.busy.store(false, Ordering::Release);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for handle in self.handles.drain(..) {
            handle.thread().unpark();
            // A worker catches what its parts throw, so it has nothing to report.
            let _ = handle.join();
        }
    }
}

impl Shared {
    /// Publishes a job. The caller holds `busy`.
    #[expect(unsafe_code, reason = "writes the job")]
    fn open(&self, work: &(dyn Fn(usize, usize) + Sync), parts: usize) {
        // SAFETY: Only the lifetime is forgotten: `run` returns only after `close`, when no worker reads the pointer any more.
        let work =
            unsafe { std::mem::transmute::<*const (dyn Fn(usize, usize) + Sync + '_), *const Work>(work) };
        // SAFETY: The word is closed and nobody is inside (`close` saw to it), so nobody reads the job.
        unsafe { *self.job.0.get() = Some(Job { work, parts }) };
        self.taken.iter().for_each(|taken| taken.0.store(0, Ordering::Relaxed));
        self.word.0.fetch_add(EPOCH + OPEN, Ordering::SeqCst);
    }

    /// Waits until nobody is inside the job and none can enter.
    fn close(&self) {
        self.word.0.fetch_sub(OPEN, Ordering::SeqCst);
        let mut spins = 0u32;
        while self.word.0.load(Ordering::Acquire) & INSIDE != 0 {
            spins += 1;
            if spins.is_multiple_of(SPINS_BEFORE_YIELDING) {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }

    /// Runs parts until there are none left. The caller is inside an open job, or is the one who opened it.
    #[expect(unsafe_code, reason = "reads the job")]
    fn take_parts(&self, worker: usize) {
        // SAFETY: Nobody writes the job while it is open or somebody is inside, and its closure lives as long.
        let Some((work, parts)) = (unsafe { (*self.job.0.get()).map(|job| (&*job.work, job.parts)) }) else {
            return;
        };
        let result = catch_unwind(AssertUnwindSafe(|| {
            let workers = self.taken.len();
            for owner in (worker..workers).chain(0..worker) {
                let share = share(parts, owner, workers);
                let taken = || share.start + self.taken[owner].0.fetch_add(1, Ordering::Relaxed);
                let mut part = taken();
                while part < share.end {
                    work(part, worker);
                    part = taken();
                }
            }
        }));
        if let Err(payload) = result {
            self.taken.iter().for_each(|taken| taken.0.store(parts, Ordering::Relaxed));
            self.payload.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
            self.panicked.store(true, Ordering::Release);
        }
    }

    /// What a part of the job that was just closed threw.
    fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        if !self.panicked.swap(false, Ordering::Acquire) {
            return None;
        }
        self.payload.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The life of a worker.
    fn serve(&self, id: usize) {
        let mut seen = 0;
        while let Some(epoch) = self.wait_for_job(id, seen) {
            let before = self.word.0.fetch_add(1, Ordering::SeqCst);
            if before & OPEN != 0 {
                seen = before / EPOCH;
                self.take_parts(id);
            } else {
                seen = epoch;
            }
            self.word.0.fetch_sub(1, Ordering::Release);
        }
    }

    /// The epoch of an open job after `seen`; `None` when the pool ends.
    fn wait_for_job(&self, id: usize, seen: u64) -> Option<u64> {
        let new_job = || {
            let word = self.word.0.load(Ordering::SeqCst);
            (word & OPEN != 0 && word / EPOCH != seen).then_some(word / EPOCH)
        };
        loop {
            for _ in 0..SPINS_BEFORE_PARKING {
                if let Some(epoch) = new_job() {
                    return Some(epoch);
                }
                std::hint::spin_loop();
            }
            let parked = &self.parked[id - 1].0;
            parked.store(true, Ordering::SeqCst);
            let job = new_job();
            let stop = self.stop.load(Ordering::SeqCst);
            if job.is_none() && !stop {
                std::thread::park();
            }
            parked.store(false, Ordering::SeqCst);
            if stop {
                return None;
            }
            if job.is_some() {
                return job;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_runs_once_by_a_worker_of_the_pool() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads);
            for parts in [0, 1, 2, 7, 100] {
                for _ in 0..50 {
                    let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                    pool.run(parts, &|part, worker| {
                        assert!(worker < pool.threads());
                        counts[part].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
                }
            }
        }
    }

    #[test]
    fn parts_at_the_same_time_have_different_workers() {
        let pool = Pool::new(4);
        let inside: Vec<AtomicBool> = (0..4).map(|_| AtomicBool::new(false)).collect();
        for _ in 0..200 {
            pool.run(64, &|_, worker| {
                assert!(!inside[worker].swap(true, Ordering::SeqCst));
                std::hint::black_box((0..200).sum::<u64>());
                inside[worker].store(false, Ordering::SeqCst);
            });
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3);
        for bad in [0, 5, 63] {
            let run = || pool.run(64, &|part, _| assert!(part != bad, "part {bad} fails"));
            let payload = catch_unwind(AssertUnwindSafe(run)).expect_err("the panic is passed on");
            assert_eq!(payload.downcast_ref::<String>().unwrap(), &format!("part {bad} fails"));
            let count = AtomicUsize::new(0);
            pool.run(64, &|_, _| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 64);
        }
    }

    #[test]
    fn a_part_may_use_the_pool_and_so_may_other_threads() {
        let pool = Pool::new(2);
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        pool.run(4, &|_, _| {
                            pool.run(4, &|_, _| {
                                count.fetch_add(1, Ordering::Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 3 * 100 * 16);
    }
}
