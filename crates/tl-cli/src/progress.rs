//! Progress of a download on a terminal: a bar on standard error, and nothing where that is no terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use tl_llm::download::{Phase, Progress};

/// A bar that follows reports.
pub struct Bar {
    bar: Option<ProgressBar>,
    phase: Option<Phase>,
}

impl Bar {
    /// A bar, invisible if standard error is no terminal.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0));
        Self { bar, phase: None }
    }

    /// Shows a report.
    pub fn show(&mut self, progress: Progress<'_>) {
        let Some(bar) = &self.bar else { return };
        if self.phase != Some(progress.phase) {
            self.phase = Some(progress.phase);
            bar.set_style(style(progress.total.is_some()));
            bar.set_message(describe(progress.phase, progress.subject));
            bar.reset_eta();
        }
        if let Some(total) = progress.total {
            bar.set_length(total);
        }
        bar.set_position(progress.bytes);
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar that counts rows and says how long the rest will take; nothing where standard error is no terminal.
pub struct RowsBar(Option<ProgressBar>);

impl RowsBar {
    /// A bar for so many rows, of which some are done.
    pub fn new(rows: u64, done: u64) -> Self {
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} rows {msg} {eta} left")
            .expect("the template is valid");
        Self(std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(rows).with_style(style).with_position(done);
            bar.reset_eta();
            bar
        }))
    }

    /// One more row is done.
    pub fn advance(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }

    /// Says how fast it goes.
    pub fn tell(&self, message: impl FnOnce() -> String) {
        if let Some(bar) = &self.0 {
            bar.set_message(message());
        }
    }

    /// Prints a remark above the bar.
    pub fn remark(&self, text: &str) {
        match &self.0 {
            Some(bar) => bar.println(text),
            None => crate::terminal::remark(format_args!("{text}")),
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}

fn style(bounded: bool) -> ProgressStyle {
    let template = if bounded {
        "{wide_msg} {bar:24} {bytes}/{total_bytes} {bytes_per_sec} {eta}"
    } else {
        "{wide_msg} {spinner} {bytes}"
    };
    ProgressStyle::with_template(template).expect("the template is valid")
}

fn describe(phase: Phase, subject: &str) -> String {
    let verb = match phase {
        Phase::WaitingForLock => "waiting for another download of",
        Phase::Hashing => "checking",
        Phase::Connecting => "asking",
        Phase::Downloading => "downloading",
        Phase::RunningPip => "downloading with pip",
        Phase::Unpacking => "unpacking",
    };
    format!("{verb} {subject}")
}
