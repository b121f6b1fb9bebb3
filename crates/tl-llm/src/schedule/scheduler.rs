//! The scheduler: a batcher on a thread of its own.
//!
//! The thread sleeps while there is nothing to do. Dropping the scheduler cancels what is unfinished and waits for the thread.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tensorlogic::Generator;
use tl_formats::tokenizer::Tokenizer;

use super::answer::{Answer, Promise, Request};
use super::batcher::{Batcher, Counts, ScheduleOptions};

/// Runs requests that come from any thread.
///
/// ```
/// # fn answers(generator: &tensorlogic::Generator) -> Result<(), tl_llm::GenerateError> {
/// use tl_llm::{Request, ScheduleOptions, Scheduler};
///
/// let scheduler = Scheduler::new(generator, None, ScheduleOptions::default());
/// let ask = |prompt: &[u32]| scheduler.submit(Request { prompt: prompt.to_vec(), ..Request::default() });
/// let (one, other) = (ask(&[1, 2, 3]), ask(&[4, 5]));
/// println!("{:?} {:?}", one.wait()?.ids, other.wait()?.ids);
/// # Ok(())
/// # }
/// ```
pub struct Scheduler {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Inbox {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    requests: VecDeque<(Request, Promise)>,
    counts: Counts,
    closed: bool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scheduler {
    /// Starts the thread. Without a tokenizer answers have no text, and no token ends them.
    pub fn new(generator: &Generator, tokenizer: Option<Arc<Tokenizer>>, options: ScheduleOptions) -> Self {
        let inbox = Arc::new(Inbox::default());
        let batcher = Batcher::new(generator, tokenizer, options);
        let own = Arc::clone(&inbox);
        let thread = std::thread::spawn(move || work(&own, batcher));
        Self { inbox, thread: Some(thread) }
    }

    /// Hands a request over.
    pub fn submit(&self, request: Request) -> Answer {
        let (answer, promise) = Answer::pair();
        self.inbox.lock().requests.push_back((request, promise));
        self.inbox.filled.notify_one();
        answer
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.inbox.lock().counts
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.inbox.lock().closed = true;
        self.inbox.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // If the thread panicked, its promises have ended their answers.
            let _ = thread.join();
        }
    }
}

fn work(inbox: &Inbox, mut batcher: Batcher) {
    loop {
        let mut state = inbox.lock();
        state.counts = batcher.counts();
        while batcher.unfinished() == 0 && state.requests.is_empty() && !state.closed {
            state = inbox.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (requests, closed) = (std::mem::take(&mut state.requests), state.closed);
        drop(state);
        requests.into_iter().for_each(|(request, promise)| batcher.take(request, promise));
        if closed {
            return batcher.cancel_all();
        }
        batcher.step();
    }
}
