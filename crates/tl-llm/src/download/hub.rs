//! A Hugging Face repository as a source: one file over HTTPS, resumed where an earlier transfer stopped.
//!
//! ```text
//! take up NAME.part, if it says what it is the beginning of
//! loop:
//!     ask for the file, from the first byte that is missing, if it is still the same file
//!     206 from that byte, and nothing that is known differs → go on
//!     200 → the whole file comes: begin anew
//!     416, or another file meanwhile → throw the beginning away, ask again
//!     broken off, but further than before → ask again
//! check size and hash, rename
//! ```
//!
//! The invariant: bytes of two answers are joined only if an entity tag or a hash says that they are of one
//! file, and the whole is hashed in any case.

use std::io::{ErrorKind, Read};
use std::path::Path;

use ureq::Body;

use super::cache::Expected;
use super::http::{Answer, Client, Range};
use super::part::{Identity, Part};
use super::progress::{Phase, Progress, Report};
use super::{Failure, FetchOptions, HubFile};

/// How often a transfer that made a little progress is taken up again before the next source is tried.
const MAX_RESUMES: u32 = 3;
/// So many bytes from one request are more than a little progress, and the count begins anew.
const GOOD_PROGRESS: u64 = 16 << 20;
/// How often a beginning is thrown away: once for a file that changed, once for bytes that were damaged.
const MAX_RESTARTS: u32 = 2;

/// The source, for people.
pub(super) fn describe(file: &HubFile, options: &FetchOptions) -> String {
    format!("Hugging Face {}/{}", options.endpoint.trim_end_matches('/'), file.url_path())
}

/// Fetches `file` to `target`. With `last_source` the timeouts are longer, as nothing else is left to try.
///
/// # Errors
///
/// Why the repository does not give the file; a `.part` stays where going on with it can help.
pub(super) fn fetch(
    file: &HubFile,
    target: &Path,
    expected: Expected,
    last_source: bool,
    options: &FetchOptions,
    report: Report,
) -> Result<(), Failure> {
    if options.offline {
        return Err(Failure::Offline);
    }
    let timeouts = if last_source { options.timeouts.patient() } else { options.timeouts };
    let client = Client::new(options, timeouts)?;
    let begun = Part::take_up(target, expected.sha256.is_some(), report)?;
    let path = file.url_path();
    let cap = options.size_cap;
    Transfer { client, path: &path, target, expected, cap, begun, report }.run()
}

/// A file on its way, over as many requests as it takes.
struct Transfer<'a> {
    client: Client,
    path: &'a str,
    target: &'a Path,
    expected: Expected<'a>,
    cap: u64,
    /// The bytes that are there, and what they are the beginning of.
    begun: Option<(Part, Identity)>,
    report: Report<'a>,
}

enum Step {
    Done,
    /// The beginning is of no use: ask for the whole file.
    Restart(Failure),
}

impl Transfer<'_> {
    fn run(mut self) -> Result<(), Failure> {
        let (mut resumes, mut restarts) = (0, 0);
        loop {
            let before = self.begun.as_ref().map_or(0, |(part, _)| part.length());
            match self.step() {
                Ok(Step::Done) => return Ok(()),
                Ok(Step::Restart(failure)) => {
                    self.begun = None;
                    Part::discard(self.target);
                    restarts += 1;
                    if restarts > MAX_RESTARTS {
                        return Err(failure);
                    }
                }
                Err(failure) => {
                    let Failure::CutOff { got, .. } = failure else { return Err(failure) };
                    resumes = if got >= before + GOOD_PROGRESS { 1 } else { resumes + 1 };
                    if got <= before || resumes > MAX_RESUMES {
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// One request, and all bytes that it brings.
    fn step(&mut self) -> Result<Step, Failure> {
        if self.has_all() {
            return self.finish(true);
        }
        let told = |known: &Identity| self.expected.sha256.is_some() || known.is_telling();
        let begun = self.begun.as_ref().filter(|(part, known)| part.length() > 0 && told(known));
        let range = begun.map(|(part, known)| Range { start: part.length(), etag: known.etag.as_deref() });
        let resumed = range.is_some();
        (self.report)(Progress { phase: Phase::Connecting, subject: self.path, bytes: 0, total: None });
        let Answer { status, range_start, identity, body } = self.client.get(self.path, range.as_ref())?;
        self.check_identity(&identity)?;
        match status {
            200 => self.begin(identity)?,
            206 if resumed && self.goes_on(range_start, &identity) => {}
            _ if resumed => return Ok(Step::Restart(changed())),
            _ => return Err(bad_answer(format!("status {status} to a request for the whole file"))),
        }
        self.receive(body)?;
        self.finish(resumed && status == 206)
    }

    /// Refuses a file that is not the expected one before any byte of it comes.
    fn check_identity(&self, identity: &Identity) -> Result<(), Failure> {
        if let (Some(expected), Some(found)) = (self.expected.sha256, &identity.sha256)
            && expected != found
        {
            return Err(Failure::WrongHash { expected: expected.to_owned(), found: found.clone() });
        }
        let Some(found) = identity.size else { return Ok(()) };
        match self.expected.size {
            Some(expected) if expected != found => Err(Failure::WrongSize { expected, found }),
            _ if found > self.cap => Err(Failure::TooLarge { cap: self.cap }),
            _ => Ok(()),
        }
    }

    /// Begins anew with the file that `identity` describes.
    fn begin(&mut self, identity: Identity) -> Result<(), Failure> {
        let mut part = match self.begun.take() {
            Some((part, _)) => part,
            None => Part::create(self.target)?,
        };
        part.restart()?;
        part.identify(&identity)?;
        self.begun = Some((part, identity));
        Ok(())
    }

    /// Whether an answer to a request for a range goes on with the bytes that are there.
    fn goes_on(&self, range_start: Option<u64>, identity: &Identity) -> bool {
        self.begun
            .as_ref()
            .is_some_and(|(part, known)| range_start == Some(part.length()) && known.agrees_with(identity))
    }

    /// Whether all bytes are there already: an earlier run ended between the last of them and the rename.
    fn has_all(&self) -> bool {
        self.begun.as_ref().is_some_and(|(part, known)| {
            let hash = self.expected.sha256.or(known.sha256.as_deref());
            hash.is_some() && self.expected.size.or(known.size) == Some(part.length())
        })
    }

    /// Writes the body to the part.
    fn receive(&mut self, body: Body) -> Result<(), Failure> {
        let Some((part, identity)) = &mut self.begun else { return Err(changed()) };
        let total = self.expected.size.or(identity.size);
        let most = total.unwrap_or(self.cap);
        let mut reader = body.into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 128 << 10];
        let cut_off = |got, reason| Failure::CutOff { got, total, reason };
        loop {
            let n = match reader.read(&mut buffer) {
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(cut_off(part.length(), error.to_string())),
            };
            if n == 0 {
                break;
            }
            if part.length() + n as u64 > most {
                Part::discard(self.target);
                return Err(match total {
                    Some(total) => bad_answer(format!("more than the {total} bytes of the file came")),
                    None => Failure::TooLarge { cap: self.cap },
                });
            }
            part.write(&buffer[..n])?;
            let (subject, bytes) = (self.path, part.length());
            (self.report)(Progress { phase: Phase::Downloading, subject, bytes, total });
        }
        match total {
            Some(total) if part.length() < total => {
                Err(cut_off(part.length(), "the server closed the connection".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Checks the whole and moves it to its place. A wrong file that was put together from two answers may
    /// have been damaged between them, and is asked for once more.
    fn finish(&mut self, joined: bool) -> Result<Step, Failure> {
        let Some((part, identity)) = self.begun.take() else { return Err(changed()) };
        let expected = Expected {
            size: self.expected.size.or(identity.size),
            sha256: self.expected.sha256.or(identity.sha256.as_deref()),
        };
        match part.finish(expected) {
            Ok(()) => Ok(Step::Done),
            Err(failure @ (Failure::WrongHash { .. } | Failure::BadAnswer { .. })) if joined => {
                Ok(Step::Restart(failure))
            }
            Err(failure) => Err(failure),
        }
    }
}

fn changed() -> Failure {
    bad_answer("the file changed on the server while it was transferred".to_owned())
}

fn bad_answer(reason: String) -> Failure {
    Failure::BadAnswer { reason }
}
