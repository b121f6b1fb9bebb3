//! `tl bench`: how fast a model runs on this machine, and how near to what its memory allows.
//!
//! Each figure is measured once a round, all figures in turn, so that a disturbance of the machine meets all of them; the median and the spread are
//! printed. Decoding reads every weight and what the sequence remembers for each token, so the memory's speed bounds it: the share of that bound says how
//! much of the machine is used.

use std::time::Instant;

use serde_json::{Value, json};
use tensorlogic::{Explanation, Feed, Generator, Session};
use tl_cpu::limits::Limits;
use tl_cpu::{Isa, Pool};

use super::print_json;
use crate::failure::{Failure, Outcome};
use crate::opening::{self, OpenArgs};
use crate::terminal::print;

/// The arguments of `tl bench`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A model: a name of the catalogue, a file, or hf:OWNER/REPO/FILE.gguf; the default model if not given.
    model: Option<String>,
    /// Lengths of prompts; 16, 128 and 512 if not given, as far as the model's context goes.
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', value_parser = at_least_one)]
    prefill: Option<Vec<usize>>,
    /// How many tokens a sequence has when decoding begins; 0, 512 and 2048 if not given, as far as the model's context goes.
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    depth: Option<Vec<usize>>,
    /// How many sequences are decoded together.
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_value = "8", value_parser = at_least_one)]
    batch: Vec<usize>,
    /// Tokens that are decoded of each sequence.
    #[arg(long, value_name = "N", default_value = "32", value_parser = at_least_one)]
    tokens: usize,
    /// How often everything is measured.
    #[arg(long, value_name = "N", default_value = "5", value_parser = at_least_one)]
    rounds: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    open: OpenArgs,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".to_owned()),
        Ok(n) => Ok(n),
        Err(e) => Err(format!("{e}")),
    }
}

/// What is measured.
#[derive(Clone, Copy)]
enum Kind {
    /// A prompt of so many tokens.
    Prefill(usize),
    /// One token after the other, after so many.
    Decode(usize),
    /// One token after the other of so many sequences at once.
    Batch(usize),
}

/// A figure with its measurements, in tokens a second.
struct Figure {
    kind: Kind,
    speeds: Vec<f64>,
}

/// All that was found out.
struct Report {
    model: String,
    explanation: Explanation,
    limits: Limits,
    load_seconds: f64,
    first_seconds: f64,
    figures: Vec<Figure>,
}

/// Tokens of the first prompt.
const FIRST_PROMPT: usize = 16;
/// Lengths of prompts if none are given.
const PREFILL: [usize; 3] = [16, 128, 512];
/// Depths if none are given.
const DEPTH: [usize; 3] = [0, 512, 2048];

/// Runs the command.
pub fn run(args: Args, threads: Option<usize>) -> Outcome {
    let model = args.model.as_deref().unwrap_or_else(|| opening::default_name());
    let opened = opening::open(model, &args.open, threads)?;
    let generator = &opened.generator;
    let limit = generator.context_limit().unwrap_or(usize::MAX);
    let prefill = args.prefill.unwrap_or_else(|| up_to(limit, PREFILL));
    let depth = args.depth.unwrap_or_else(|| up_to(limit.saturating_sub(args.tokens), DEPTH));
    let longest = prefill.iter().copied().chain(depth.iter().map(|d| d + args.tokens)).max().unwrap_or(0);
    if longest > limit {
        return Err(Failure::usage(format!(
            "{longest} tokens are asked for, but a sequence of this model has {limit} at most; see --prefill, --depth and --tokens"
        )));
    }
    let start = Instant::now();
    generator.session().feed(&ids(generator, FIRST_PROMPT))?;
    let first_seconds = start.elapsed().as_secs_f64();
    let kinds = prefill.into_iter().map(Kind::Prefill);
    let kinds = kinds.chain(depth.into_iter().map(Kind::Decode));
    let kinds = kinds.chain(args.batch.iter().map(|&n| Kind::Batch(n)));
    let mut figures: Vec<Figure> = kinds.map(|kind| Figure { kind, speeds: Vec::new() }).collect();
    for _ in 0..args.rounds {
        for figure in &mut figures {
            figure.speeds.push(measure(generator, figure.kind, args.tokens)?);
        }
    }
    figures.iter_mut().for_each(|figure| figure.speeds.sort_by(f64::total_cmp));
    let pool = Pool::new(threads.unwrap_or(0));
    let report = Report {
        model: generator.model().name().to_string(),
        explanation: generator.explain(),
        limits: Limits::measure(&pool, Isa::detect()),
        load_seconds: opened.load_seconds,
        first_seconds,
        figures,
    };
    if args.json { print_json(&report.to_json()) } else { print(format_args!("{}", report.text())) }
}

/// The lengths, those above `most` replaced by it.
fn up_to(most: usize, lengths: [usize; 3]) -> Vec<usize> {
    let mut lengths = lengths.map(|length| length.min(most)).to_vec();
    lengths.dedup();
    lengths
}

/// Token ids that look random.
fn ids(generator: &Generator, count: usize) -> Vec<u32> {
    let vocabulary = generator.vocabulary() as u64;
    (1..=count as u64).map(|i| (i.wrapping_mul(2_654_435_761) % vocabulary) as u32).collect()
}

/// Tokens a second.
fn measure(generator: &Generator, kind: Kind, tokens: usize) -> Outcome<f64> {
    let mut session = generator.session();
    match kind {
        Kind::Prefill(n) => {
            let prompt = ids(generator, n);
            timed(&mut session, &[&prompt]).map(|seconds| n as f64 / seconds)
        }
        Kind::Decode(depth) => {
            session.feed(&ids(generator, depth))?;
            let next = ids(generator, tokens);
            let steps: Vec<&[u32]> = next.chunks(1).collect();
            timed(&mut session, &steps).map(|seconds| tokens as f64 / seconds)
        }
        Kind::Batch(count) => {
            let mut sessions: Vec<Session> = (0..count).map(|_| generator.session()).collect();
            let next = ids(generator, tokens + 1);
            // The first step makes room.
            step(generator, &mut sessions, &next[..1])?;
            let start = Instant::now();
            for token in next[1..].chunks(1) {
                step(generator, &mut sessions, token)?;
            }
            Ok((count * tokens) as f64 / start.elapsed().as_secs_f64())
        }
    }
}

/// Appends tokens to all sequences in one step.
fn step(generator: &Generator, sessions: &mut [Session], tokens: &[u32]) -> Outcome {
    let mut feeds: Vec<Feed<'_>> = sessions.iter_mut().map(|session| Feed::last(session, tokens)).collect();
    Ok(generator.step(&mut feeds)?)
}

/// Seconds that these steps take. Room for them is made before.
fn timed(session: &mut Session, steps: &[&[u32]]) -> Outcome<f64> {
    session.reserve(steps.iter().map(|s| s.len()).sum())?;
    let start = Instant::now();
    for step in steps {
        session.feed(step)?;
    }
    Ok(start.elapsed().as_secs_f64())
}

impl Figure {
    fn median(&self) -> f64 {
        self.speeds[self.speeds.len() / 2]
    }

    fn spread(&self) -> (f64, f64) {
        (self.speeds[0], self.speeds[self.speeds.len() - 1])
    }
}

impl Report {
    /// The share of the memory's speed that decoding at a depth reaches.
    fn share(&self, figure: &Figure) -> Option<f64> {
        let Kind::Decode(depth) = figure.kind else { return None };
        let e = &self.explanation;
        let windows = e.stores.iter().filter_map(|s| Some(s.window?.min(depth) * s.row_bytes()));
        let bytes = e.bytes_per_token + e.growing_bytes_per_position * depth + windows.sum::<usize>();
        Some(figure.median() * bytes as f64 / self.limits.read)
    }

    fn to_json(&self) -> Value {
        let figure = |f: &Figure| {
            let (least, most) = f.spread();
            let mut entry = json!({ "tok_s": f.median(), "least": least, "most": most });
            match f.kind {
                Kind::Prefill(n) => entry["tokens"] = n.into(),
                Kind::Decode(depth) => entry["depth"] = depth.into(),
                Kind::Batch(count) => entry["sequences"] = count.into(),
            }
            if let Some(share) = self.share(f) {
                entry["bandwidth_share"] = share.into();
            }
            entry
        };
        let list = |is_wanted: fn(Kind) -> bool| -> Vec<Value> {
            self.figures.iter().filter(|f| is_wanted(f.kind)).map(figure).collect()
        };
        json!({
            "model": self.model, "backend": self.explanation.backend,
            "load_s": self.load_seconds, "first_token_s": self.first_seconds, "peak_bytes": peak_bytes(),
            "read_bytes_s": self.limits.read, "float_flop_s": self.limits.float, "integer_op_s": self.limits.integer,
            "bytes_per_token": self.explanation.bytes_per_token,
            "prefill": list(|kind| matches!(kind, Kind::Prefill(_))),
            "decode": list(|kind| matches!(kind, Kind::Decode(_))),
            "batch": list(|kind| matches!(kind, Kind::Batch(_))),
        })
    }

    fn text(&self) -> String {
        let (read, float, integer) =
            (self.limits.read / 1e9, self.limits.float / 1e9, self.limits.integer / 1e9);
        let mut out = format!("{} on {}\n", self.model, self.explanation.backend);
        out += &format!(
            "the machine: memory reads {read:.1} GB/s, f32 {float:.0} Gop/s, 16-bit integers {integer:.0} Gop/s\n"
        );
        out += &format!(
            "load {:.3} s, then the first token of {FIRST_PROMPT} after {:.3} s",
            self.load_seconds, self.first_seconds
        );
        if let Some(peak) = peak_bytes() {
            out += &format!(", at most {:.0} MB of memory", peak as f64 / 1e6);
        }
        out += "\n\n                   tokens/s      least       most\n";
        for figure in &self.figures {
            let name = match figure.kind {
                Kind::Prefill(n) => format!("prefill {n}"),
                Kind::Decode(depth) => format!("decode at {depth}"),
                Kind::Batch(1) => "1 sequence".to_owned(),
                Kind::Batch(count) => format!("{count} sequences"),
            };
            let (least, most) = figure.spread();
            out += &format!("{name:<16} {:>10.1} {least:>10.1} {most:>10.1}", figure.median());
            if let Some(share) = self.share(figure) {
                out += &format!("   {:.0} % of what memory allows", share * 100.0);
            }
            out += "\n";
        }
        out
    }
}

/// The most memory that this process has had, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays_in_the_context() {
        assert_eq!(up_to(usize::MAX, DEPTH), [0, 512, 2048]);
        assert_eq!(up_to(2016, DEPTH), [0, 512, 2016]);
        assert_eq!(up_to(8, PREFILL), [8]);
    }
}
