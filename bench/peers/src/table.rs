//! The table: medians over the rounds, and ratios within them.
//!
//! A ratio is taken of two children of the same round, which ran one after the other, and then the median over the rounds: so a machine that is slower in one round than
//! in the next makes no difference.

use std::fmt;

use serde::Serialize;

use crate::measure::{FIRST_PROMPT, Figure, Measured, Peer};

/// The figures of one child.
#[derive(Serialize)]
pub struct Run {
    /// The engine.
    pub peer: Peer,
    /// Its threads.
    pub threads: usize,
    /// The round.
    pub round: usize,
    /// What it found out.
    pub measured: Measured,
}

/// Everything that was measured.
#[derive(Serialize)]
pub struct Report {
    /// The name of the model's file.
    pub file: String,
    /// Bytes of weights that decoding a token reads.
    pub bytes_per_token: usize,
    /// How busy the machine was before.
    pub load_average: Option<f64>,
    /// For each number of threads, bytes that are read from memory in a second.
    pub bandwidth: Vec<(usize, f64)>,
    /// All children.
    pub runs: Vec<Run>,
}

impl Run {
    fn figure(&self, figure: Figure) -> Option<f64> {
        self.measured.figures.iter().find(|(f, _)| *f == figure).map(|&(_, value)| value)
    }
}

impl Report {
    fn runs(&self, peer: Peer, threads: usize) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.peer == peer && run.threads == threads)
    }

    /// The engines that gave figures, in the order of the columns.
    fn engines(&self) -> Vec<Peer> {
        Peer::ALL.into_iter().filter(|&peer| self.runs.iter().any(|run| run.peer == peer)).collect()
    }

    /// A figure of an engine in all rounds.
    fn values(&self, peer: Peer, threads: usize, figure: Figure) -> Option<Spread> {
        Spread::of(self.runs(peer, threads).filter_map(|run| run.figure(figure)))
    }

    /// Ours by a peer's, round by round.
    fn ratio(&self, peer: Peer, threads: usize, figure: Figure) -> Option<Spread> {
        Spread::of(self.runs(Peer::TensorLogic, threads).filter_map(|ours| {
            let theirs = self.runs(peer, threads).find(|run| run.round == ours.round)?;
            Some(ours.figure(figure)? / theirs.figure(figure)?)
        }))
    }

    /// The figures that the first engine has; all but candle have all of them.
    fn figures(&self) -> Vec<Figure> {
        let first = self.engines().into_iter().next();
        let run = self.runs.iter().find(|run| Some(run.peer) == first);
        run.into_iter().flat_map(|run| run.measured.figures.iter().map(|&(figure, _)| figure)).collect()
    }

    /// A figure, and for one sequence the share of what memory allows.
    fn cell(&self, peer: Peer, threads: usize, bandwidth: f64, figure: Figure) -> String {
        let Some(Spread { median, .. }) = self.values(peer, threads, figure) else { return String::new() };
        match figure {
            Figure::Load | Figure::First => format!("{:.0} ms", median * 1e3),
            Figure::Peak => format!("{:.0} MB", median / 1e6),
            Figure::Decode(_) => {
                let share = median * self.bytes_per_token as f64 / bandwidth;
                format!("{median:.1} ({:.0} %)", share * 100.0)
            }
            Figure::Prefill(_) | Figure::Batch(_) => format!("{median:.1}"),
        }
    }

    /// How many answers of a peer are ours.
    fn agreement(&self, peer: Peer) -> Option<(usize, usize)> {
        let ours = &self.runs.iter().find(|run| run.peer == Peer::TensorLogic)?.measured.answers;
        let theirs = &self.runs.iter().find(|run| run.peer == peer)?.measured.answers;
        Some((ours.iter().zip(theirs).filter(|(a, b)| a == b).count(), ours.len()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engines = self.engines();
        let peers = || engines.iter().copied().filter(|&peer| peer != Peer::TensorLogic);
        write!(f, "{}, {:.1} MB of weights a token", self.file, self.bytes_per_token as f64 / 1e6)?;
        if let Some(load) = self.load_average {
            write!(f, "; load average of the machine before: {load:.2}")?;
        }
        writeln!(f)?;
        for &(threads, bandwidth) in &self.bandwidth {
            let plural = if threads == 1 { "" } else { "s" };
            write!(f, "\n| {threads} thread{plural}, memory {:.1} GB/s |", bandwidth / 1e9)?;
            engines.iter().try_for_each(|peer| write!(f, " {} |", peer.name()))?;
            peers().try_for_each(|peer| write!(f, " ours ÷ {} |", peer.name()))?;
            writeln!(f, "\n|---|{}", "--:|".repeat(engines.len() + peers().count()))?;
            for figure in self.figures() {
                write!(f, "| {figure} |")?;
                for &peer in &engines {
                    write!(f, " {} |", self.cell(peer, threads, bandwidth, figure))?;
                }
                for peer in peers() {
                    match self.ratio(peer, threads, figure) {
                        Some(ratio) => write!(f, " {ratio} |")?,
                        None => write!(f, " |")?,
                    }
                }
                writeln!(f)?;
            }
        }
        for peer in peers() {
            if let Some((same, all)) = self.agreement(peer) {
                write!(f, "\n{} gives our most probable token in {same} of {all} steps.", peer.name())?;
            }
        }
        writeln!(f)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Figure::Load => write!(f, "load"),
            Figure::First => write!(f, "load and first token of {FIRST_PROMPT}"),
            Figure::Prefill(tokens) => write!(f, "prefill {tokens}, tokens/s"),
            Figure::Decode(depth) => write!(f, "decode at {depth}, tokens/s"),
            Figure::Batch(sequences) => write!(f, "decode {sequences} sequences, tokens/s"),
            Figure::Peak => write!(f, "peak memory, one sequence"),
        }
    }
}

/// The median of measurements, the least and the greatest.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    /// `None` of nothing.
    fn of(values: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        Some(Spread { median, least, most })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.median, self.least, self.most)
    }
}
