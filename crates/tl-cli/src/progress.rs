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
