//! Progress of a download, told to a callback. Nothing here knows of a terminal.

/// What a download is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Another process downloads the same file; this one waits for it.
    WaitingForLock,
    /// Hashing bytes that are already on this machine.
    Hashing,
    /// Asking a server.
    Connecting,
    /// Receiving the file.
    Downloading,
    /// `pip download` is running; the bytes are those that it has written.
    RunningPip,
    /// Taking the file out of a wheel.
    Unpacking,
}

/// One report. Reports come often, at least one for each piece of 128 KiB; a display may skip some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is being done.
    pub phase: Phase,
    /// To what: a file, a host, a wheel.
    pub subject: &'a str,
    /// Bytes that are done in this phase.
    pub bytes: u64,
    /// Bytes of the whole phase, where known.
    pub total: Option<u64>,
}

/// Takes the reports of a download.
pub type Report<'a> = &'a mut dyn FnMut(Progress<'_>);
