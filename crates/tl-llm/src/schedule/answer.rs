//! Requests and their answers: what is asked, and a text that comes piece by piece, to be waited for in three ways.
//!
//! ```text
//! blocking    answer.wait()                    the whole
//! streaming   for piece in &mut answer { … }   each piece as it comes, then answer.wait()
//! async       answer.piece().await, answer.await, in any runtime
//! ```
//!
//! Invariant: an answer always ends. Whoever computes it holds a [`Promise`], and a promise that is dropped ends its answer.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::generation::{GenerateError, GenerateOptions, Generation};

/// A prompt that is to be continued.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Its tokens.
    pub prompt: Vec<u32>,
    /// How it is continued. Speculation does not apply: the sequences share each step.
    pub options: GenerateOptions,
    /// Requests of a higher priority go first; one that waits rises slowly, so that all are served in the end.
    pub priority: i32,
}

/// The text that answers a request. Dropping it cancels the request.
#[derive(Debug)]
pub struct Answer(Arc<Shared>);

/// The other end of an answer.
#[derive(Debug)]
pub(super) struct Promise(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    cancelled: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Text that was not taken yet.
    text: String,
    done: Option<Result<Generation, GenerateError>>,
    ended: bool,
    waker: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.lock();
            change(&mut state);
            state.waker.take()
        };
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl State {
    /// The whole, once it has ended; it is given once.
    fn take_done(&mut self) -> Option<Result<Generation, GenerateError>> {
        self.ended.then(|| self.done.take().unwrap_or(Err(GenerateError::Stopped)))
    }

    /// The text that came since the last call, `None` at the end, or nothing yet.
    fn take_piece(&mut self) -> Poll<Option<String>> {
        if !self.text.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut self.text)));
        }
        if self.ended { Poll::Ready(None) } else { Poll::Pending }
    }
}

impl Answer {
    /// An answer and what it is given by.
    pub(super) fn pair() -> (Answer, Promise) {
        let shared = Arc::new(Shared::default());
        (Answer(Arc::clone(&shared)), Promise(shared))
    }

    /// Ends the generation at its next token.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether it has ended.
    pub fn is_done(&self) -> bool {
        self.0.lock().ended
    }

    /// Waits for the whole text.
    ///
    /// # Errors
    /// See [`GenerateError`].
    pub fn wait(self) -> Result<Generation, GenerateError> {
        let mut state = self.0.lock();
        loop {
            if let Some(done) = state.take_done() {
                return done;
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next piece of the text, or `None` once it has ended: as a future.
    pub fn piece(&mut self) -> impl Future<Output = Option<String>> + '_ {
        poll_fn(|context| self.poll_piece(context))
    }

    /// [`Answer::piece`] for those who write streams.
    pub fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<String>> {
        let mut state = self.0.lock();
        let piece = state.take_piece();
        if piece.is_pending() {
            state.waker = Some(context.waker().clone());
        }
        piece
    }
}

/// The pieces of the text, each waited for.
impl Iterator for Answer {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut state = self.0.lock();
        loop {
            if let Poll::Ready(piece) = state.take_piece() {
                return piece;
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The whole text.
impl Future for Answer {
    type Output = Result<Generation, GenerateError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        if let Some(done) = state.take_done() {
            return Poll::Ready(done);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Promise {
    /// Whether the answer is no longer wanted.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Relaxed)
    }

    /// More of the text.
    pub fn show(&self, piece: &str) {
        self.0.tell(|state| state.text.push_str(piece));
    }

    /// The end.
    pub fn keep(self, result: Result<Generation, GenerateError>) {
        self.end(result);
    }

    fn end(&self, result: Result<Generation, GenerateError>) {
        self.0.tell(|state| {
            if !std::mem::replace(&mut state.ended, true) {
                state.done = Some(result);
            }
        });
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.end(Err(GenerateError::Stopped));
    }
}
