//! The batcher: continuous batching, one step after the other, on the calling thread.
//!
//! ```text
//! step:
//!     end what was cancelled
//!     admit waiting requests while there are places and memory, the first by rank first
//!     one row for each sequence that decodes; what is left of the rows goes to prompts in pieces, the one that was served
//!         longest ago first; a prompt that begins as one of this step waits for it and takes the common pages over
//!     make memory: forget the prefix that was used longest ago, or send the last request by rank back to wait
//!     run the step; draw; remember whole pages as prefixes
//! ```
//!
//! Rank is priority, then arrival. It never changes, and the first by rank is never sent back, so every request ends. A request that is sent back loses what is
//! remembered of it and nothing else: its tokens are computed again, and its draws go on where they were.
//!
//! Invariant: a request's text is the one that it has alone. The pages of all sequences and prefixes stay below the limit.

use std::collections::VecDeque;
use std::sync::Arc;

use tensorlogic::session::PAGE_ROWS;
use tensorlogic::{Feed, Generator, Wanted};
use tl_formats::tokenizer::Tokenizer;

use super::answer::{Answer, Promise, Request};
use super::job::Job;
use super::prefixes::Prefixes;
use crate::generation::{Finish, GenerateError};

/// Steps of waiting that count as one more of priority when a place or rows are given.
const PATIENCE: u64 = 64;

/// What a batcher may use.
#[derive(Clone, Debug)]
pub struct ScheduleOptions {
    /// Sequences that are computed at once, at least one.
    pub sequences: usize,
    /// Rows of a step, about: each sequence that decodes takes one, prompts share the rest.
    pub rows: usize,
    /// Bytes that all sequences and prefixes may remember together. Weights and working memory are not counted.
    pub memory: usize,
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        Self { sequences: 16, rows: 256, memory: 2 << 30 }
    }
}

/// What a batcher has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Steps.
    pub steps: u64,
    /// Rows that were computed, those of prompts and of sampled tokens.
    pub rows: u64,
    /// Rows that were not computed, because another request had begun alike.
    pub reused: u64,
    /// Requests that were sent back to wait for memory.
    pub sent_back: u64,
    /// Pages of prefixes that were forgotten for memory.
    pub forgotten: u64,
    /// The most sequences of a step.
    pub most: usize,
}

/// Runs many requests on one generator.
pub struct Batcher {
    generator: Generator,
    tokenizer: Option<Arc<Tokenizer>>,
    options: ScheduleOptions,
    prefixes: Prefixes,
    waiting: Vec<Job>,
    running: Vec<Job>,
    next: u64,
    counts: Counts,
}

impl Batcher {
    /// A batcher without requests. Without a tokenizer answers have no text, and no token ends them.
    pub fn new(generator: &Generator, tokenizer: Option<Arc<Tokenizer>>, options: ScheduleOptions) -> Self {
        let options = ScheduleOptions { sequences: options.sequences.max(1), ..options };
        let (waiting, running) = (Vec::new(), Vec::new());
        let (prefixes, counts) = (Prefixes::default(), Counts::default());
        Self { generator: generator.clone(), tokenizer, options, prefixes, waiting, running, next: 0, counts }
    }

    /// Takes a request; [`Batcher::step`] works on it. One that can't be served ends at once with an error.
    pub fn submit(&mut self, request: Request) -> Answer {
        let (answer, promise) = Answer::pair();
        self.take(request, promise);
        answer
    }

    pub(super) fn take(&mut self, request: Request, promise: Promise) {
        self.next += 1;
        let tokenizer = self.tokenizer.as_ref();
        let job = Job::new(&self.generator, tokenizer, request, promise, self.next, self.counts.steps);
        self.waiting.extend(job);
    }

    /// How many requests have not ended.
    pub fn unfinished(&self) -> usize {
        self.waiting.len() + self.running.len()
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes that sequences and prefixes remember, each page once.
    pub fn memory(&self) -> usize {
        self.generator.remembered_bytes()
    }

    /// How many pages of tokens are kept as prefixes.
    pub fn prefix_pages(&self) -> usize {
        self.prefixes.len()
    }

    /// Ends all requests as cancelled.
    pub fn cancel_all(&mut self) {
        self.waiting.drain(..).chain(self.running.drain(..)).for_each(|job| job.end(Finish::Cancelled));
    }

    /// Runs one step. `false` if no request is left.
    pub fn step(&mut self) -> bool {
        for jobs in [&mut self.waiting, &mut self.running] {
            jobs.extract_if(.., |job| job.is_cancelled()).for_each(|job| job.end(Finish::Cancelled));
        }
        self.admit();
        self.take_over_prefixes();
        let mut rows = self.share_rows();
        self.make_memory(&mut rows);
        if rows.iter().any(|&rows| rows > 0) {
            self.run(&rows);
        }
        self.unfinished() > 0
    }

    /// Gives places to waiting requests.
    fn admit(&mut self) {
        let now = self.counts.steps;
        self.waiting.sort_by_key(|job| (std::cmp::Reverse(risen(job, now)), job.number));
        let mut waiting: VecDeque<Job> = std::mem::take(&mut self.waiting).into();
        while self.running.len() < self.options.sequences {
            let Some(mut job) = waiting.pop_front() else { break };
            let known = self.prefixes.find(&job.tokens, 0);
            let session = known.unwrap_or_else(|| self.generator.session());
            let rest = job.tokens.len() - session.len();
            let growth = session.growth(rest, self.longest_piece()) + self.headroom();
            let mut fits = self.fits(growth);
            // Prefixes make room for a request, but for the first of all it needs not all fit.
            while !fits && self.prefixes.evict() {
                self.counts.forgotten += 1;
                fits = self.fits(growth);
            }
            if !fits && !self.running.is_empty() {
                waiting.push_front(job);
                break;
            }
            self.counts.reused += session.len() as u64;
            job.begin();
            job.session = Some(session);
            self.running.push(job);
        }
        self.waiting = waiting.into();
        self.running.sort_by_key(rank);
    }

    /// Bytes that the running requests will take for the next page of tokens: one that is admitted into less would soon be sent back.
    fn headroom(&self) -> usize {
        self.running.iter().filter_map(|job| job.session.as_ref()).map(|s| s.growth(PAGE_ROWS, 1)).sum()
    }

    fn fits(&self, bytes: usize) -> bool {
        self.memory().saturating_add(bytes) <= self.options.memory
    }

    /// Lets prompts go on from pages that others have computed meanwhile.
    fn take_over_prefixes(&mut self) {
        for job in self.running.iter_mut().filter(|job| !job.is_decoding()) {
            let len = job.len();
            if let Some(session) = self.prefixes.find(&job.tokens, len) {
                self.counts.reused += (session.len() - len) as u64;
                job.session = Some(session);
            }
        }
    }

    /// How many rows each running request gets in this step.
    fn share_rows(&mut self) -> Vec<usize> {
        let now = self.counts.steps;
        let mut rows: Vec<usize> = self.running.iter().map(|job| usize::from(job.is_decoding())).collect();
        let mut left = self.options.rows.saturating_sub(rows.iter().sum());
        let mut prompts: Vec<usize> = (0..rows.len()).filter(|&i| rows[i] == 0).collect();
        prompts.sort_by_key(|&i| {
            let job = &self.running[i];
            (std::cmp::Reverse(risen(job, now)), job.served, job.number)
        });
        // A step without any row would make no way.
        left = left.max(usize::from(rows.iter().all(|&rows| rows == 0)) * PAGE_ROWS);
        let mut begun: Vec<usize> = Vec::new();
        for i in prompts {
            let job = &self.running[i];
            let page = job.len() / PAGE_ROWS * PAGE_ROWS + PAGE_ROWS;
            let is_computed = |&other: &usize| {
                let (other, end) = (&self.running[other], self.running[other].len() + rows[other]);
                end >= page && job.tokens.len() > page && other.tokens[..page] == job.tokens[..page]
            };
            if left > 0 && !begun.iter().any(is_computed) {
                rows[i] = self.piece(job, left);
                left -= rows[i];
                begun.push(i);
            }
        }
        rows
    }

    /// How many of a job's tokens are fed where `most` can be. A model whose sequences can't be taken back stops at the end of each page, so that it can be
    /// remembered.
    fn piece(&self, job: &Job, most: usize) -> usize {
        let page_end = (job.len() / PAGE_ROWS + 1) * PAGE_ROWS - job.len();
        let most = if self.generator.rewinds() { most } else { most.min(page_end) };
        job.pending().min(most)
    }

    /// The longest piece that [`Batcher::piece`] gives.
    fn longest_piece(&self) -> usize {
        if self.generator.rewinds() { self.options.rows.max(PAGE_ROWS) } else { PAGE_ROWS }
    }

    /// Makes room for the pages of a step: `rows` for each running request.
    fn make_memory(&mut self, rows: &mut Vec<usize>) {
        loop {
            let grown = self.running.iter().zip(&*rows);
            let growth =
                grown.map(|(job, &rows)| job.session.as_ref().map_or(0, |s| s.growth(rows, rows))).sum();
            if self.fits(growth) {
                return;
            }
            if self.prefixes.evict() {
                self.counts.forgotten += 1;
                continue;
            }
            // Running requests are in the order of their rank.
            let Some(mut last) = self.running.pop() else { return };
            let own = rows.pop().unwrap_or(0);
            if self.running.is_empty() {
                let shorter = own / 2;
                let session = last.session.as_ref();
                if shorter > 0 || session.is_none_or(|s| self.fits(s.growth(own, own))) {
                    self.running.push(last);
                    rows.push(shorter);
                    continue;
                }
                let (needed, limit) = (self.memory().saturating_add(growth), self.options.memory);
                last.fail(GenerateError::Memory { needed, limit });
                return;
            }
            last.session = None;
            last.served = self.counts.steps;
            self.counts.sent_back += 1;
            self.waiting.push(last);
        }
    }

    /// Runs the step and draws.
    fn run(&mut self, rows: &[usize]) {
        self.counts.steps += 1;
        self.counts.most = self.counts.most.max(rows.iter().filter(|&&rows| rows > 0).count());
        let mut feeds: Vec<Feed<'_>> = Vec::with_capacity(rows.len());
        for (job, &rows) in self.running.iter_mut().zip(rows) {
            let (Some(session), true) = (&mut job.session, rows > 0) else { continue };
            let tokens = &job.tokens[session.len()..session.len() + rows];
            let wanted = if session.len() + rows == job.tokens.len() { Wanted::Last } else { Wanted::None };
            feeds.push(Feed { session, tokens, wanted });
        }
        let mut failed = vec![None; 0];
        if let Err(error) = self.generator.step(&mut feeds) {
            // One request must not end the others.
            let alone = feeds.len() == 1;
            for feed in &mut feeds {
                let again = if alone { None } else { Some(self.generator.step(std::slice::from_mut(feed))) };
                failed
                    .push(again.map_or_else(|| Some(error.to_string()), |r| r.err().map(|e| e.to_string())));
            }
        }
        let mut failed = failed.into_iter();
        let (now, limit) = (self.counts.steps, self.generator.context_limit().unwrap_or(usize::MAX));
        let mut running = Vec::with_capacity(self.running.len());
        for (mut job, &rows) in std::mem::take(&mut self.running).into_iter().zip(rows) {
            if rows == 0 {
                running.push(job);
                continue;
            }
            if let Some(message) = failed.next().flatten() {
                job.fail(GenerateError::Step(message));
                continue;
            }
            job.served = now;
            self.counts.rows += rows as u64;
            if let Some(session) = &job.session
                && session.len() / PAGE_ROWS > (session.len() - rows) / PAGE_ROWS
            {
                self.prefixes.insert(session);
            }
            match job.fed(rows, limit) {
                Ok(false) => running.push(job),
                Ok(true) => job.end(Finish::Cancelled),
                Err(error) => job.fail(error),
            }
        }
        self.running = running;
    }
}

/// The priority with what was gained by waiting.
fn risen(job: &Job, now: u64) -> i64 {
    i64::from(job.priority) + (now.saturating_sub(job.served) / PATIENCE) as i64
}

/// The order in which requests keep their memory.
fn rank(job: &Job) -> (std::cmp::Reverse<i32>, u64) {
    (std::cmp::Reverse(job.priority), job.number)
}
