//! `tl batch`: prompts and chats from a file of JSON lines, answers into another, many at once.
//!
//! Each row of the input becomes one line of the output, in order, a bad row one with an `error`. So the number of complete lines says how far the work has come,
//! and a run that was killed goes on from there (`--resume`): a line that was cut is taken away, and no row is lost or answered twice.

mod output;
mod row;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::{Value, json};
use tl_formats::chat_template::ChatTemplate;
use tl_llm::schedule::Counts;
use tl_llm::{
    Answer, Batcher, Constrained, Conversation, Form, GenerateError, GenerateOptions, Grammars, Request,
    ScheduleOptions,
};

use crate::constraint::{ConstraintArgs, grammars};
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::opening::{self, OpenArgs};
use crate::progress::RowsBar;
use crate::sampling::SamplingArgs;
use crate::terminal::remark;
use output::Output;
use row::{Line, Lines, Row};

/// The arguments of `tl batch`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A model: a name of the catalogue, a file, or hf:OWNER/REPO/FILE.gguf.
    model: String,
    /// The rows: on each line an object with a `prompt` (a text), `messages` (of a chat) or `ids` (of tokens), and options of its own.
    input: PathBuf,
    /// Where the answers go, a line for each row, in order.
    output: PathBuf,
    /// Go on where an earlier run was stopped.
    #[arg(long)]
    resume: bool,
    /// How many tokens an answer has at most, where the row doesn't say.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 256)]
    max_tokens: usize,
    /// Go on after tokens that end a text.
    #[arg(long = "ignore-eos", visible_alias = "ignore-end")]
    ignore_end: bool,
    /// How many rows are answered at once.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    sequences: u16,
    /// How much all of them and the prefixes that they share may remember, as 512M or 2G.
    #[arg(long, value_name = "BYTES", default_value = "2G", value_parser = parse_bytes)]
    memory: usize,
    /// A file with the chat template to use instead of the model's own.
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    constraint: ConstraintArgs,
}

/// A number of bytes, with `K`, `M` or `G` for powers of 1024.
fn parse_bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_uppercase().trim_end_matches("IB").trim_end_matches('B') {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err("write a number of bytes, as 512M or 2G".to_owned()),
    };
    let number: usize = digits.parse().map_err(|_| "write a number of bytes, as 512M or 2G".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "that is more than a computer has".to_owned())
}

/// Runs the command.
pub fn run(args: Args, threads: Option<usize>) -> Outcome {
    args.sampling.check()?;
    let mut input = File::open(&args.input).map_err(|e| Failure::file(&args.input, &e))?;
    let total = Lines::new(BufReader::new(&mut input)).count_rows();
    let total = total.map_err(|e| Failure::file(&args.input, &e))?;
    input.seek(SeekFrom::Start(0)).map_err(|e| Failure::file(&args.input, &e))?;
    let output = Output::open(&args.output, args.resume)?;
    let opened = opening::open(&args.model, &args.open, threads)?;
    let template = args.template.as_deref().map(super::chat::read_template).transpose()?;
    let tokenizer = opened.generator.model().tokenizer().ok().map(Arc::clone);
    let options = ScheduleOptions {
        sequences: args.sequences.into(),
        memory: args.memory,
        ..ScheduleOptions::default()
    };
    let batcher = Batcher::new(&opened.generator, tokenizer, options);
    let bar = RowsBar::new(total, output.rows());
    let constraint = args.constraint.constraint(&opened.generator)?;
    let queue = VecDeque::new();
    let (args, opened) = (&args, &opened);
    let mut work = Work { args, opened, template, constraint, grammars: None, batcher, output, bar, queue };
    let done = work.run(Lines::new(BufReader::new(input)));
    work.bar.finish();
    done
}

/// The work as it goes on.
struct Work<'a> {
    args: &'a Args,
    opened: &'a opening::Opened,
    template: Option<Arc<ChatTemplate>>,
    /// What answers have a form by, where their rows don't say.
    constraint: Option<Constrained>,
    /// What makes constraints, once a row asked for one.
    grammars: Option<Grammars>,
    batcher: Batcher,
    output: Output,
    bar: RowsBar,
    /// The rows that were read and not written, in order.
    queue: VecDeque<Waiting>,
}

/// A row that was read and not written.
struct Waiting {
    index: u64,
    id: Option<Value>,
    prompt_tokens: usize,
    answer: Result<Answer, String>,
}

/// What was written.
#[derive(Default)]
struct Written {
    rows: u64,
    bad: u64,
    tokens: usize,
}

impl Work<'_> {
    fn run(&mut self, mut lines: Lines<BufReader<File>>) -> Outcome {
        let (began, cancel) = (Instant::now(), interrupt::flag());
        let mut written = Written::default();
        let mut open = true;
        lines.skip_rows(self.output.rows()).map_err(|e| Failure::file(&self.args.input, &e))?;
        while open || !self.queue.is_empty() {
            // Rows are read ahead of the one that is written next, but not without end.
            let ahead = 4 * usize::from(self.args.sequences);
            while open && self.batcher.unfinished() < ahead / 2 && self.queue.len() < 16 * ahead {
                match lines.next_row().map_err(|e| Failure::file(&self.args.input, &e))? {
                    Some(line) => self.take(line),
                    None => open = false,
                }
            }
            self.batcher.step();
            while self.queue.front().is_some_and(Waiting::is_done) {
                let Some(waiting) = self.queue.pop_front() else { break };
                self.write(waiting, &mut written)?;
                let rate = written.tokens as f64 / began.elapsed().as_secs_f64();
                self.bar.tell(|| format!("{rate:.1} tokens/s"));
            }
            if cancel.load(Ordering::Relaxed) {
                self.bar.remark(&format!(
                    "{} rows were written; --resume goes on from there",
                    self.output.rows()
                ));
                return Err(Failure::interrupted());
            }
        }
        remark(format_args!("{}", summary(&written, self.batcher.counts(), began.elapsed().as_secs_f64())));
        match written.bad {
            0 => Ok(()),
            bad => Err(Failure::data(format!(
                "{bad} of {} rows have no answer; their lines say why",
                written.rows
            ))),
        }
    }

    /// Takes a row: submits it, or notes what is wrong with it.
    fn take(&mut self, line: Line) {
        let index = line.row;
        let parsed = line.parse();
        let id = parsed.as_ref().ok().and_then(|row| row.id.clone());
        let request = parsed.and_then(|row| self.request(row, index));
        let prompt_tokens = request.as_ref().map_or(0, |request| request.prompt.len());
        let answer = request.map(|request| self.batcher.submit(request));
        self.queue.push_back(Waiting { index, id, prompt_tokens, answer });
    }

    /// What a row's text begins with.
    fn constraint(&mut self, form: Option<Form>) -> Result<Option<Constrained>, String> {
        let Some(form) = form else { return Ok(self.constraint.clone()) };
        if self.grammars.is_none() {
            self.grammars = Some(grammars(&self.opened.generator).map_err(|e| e.message().to_owned())?);
        }
        let made = self.grammars.as_ref().map(|grammars| grammars.constraint(&form));
        made.transpose().map_err(|e| e.to_string())
    }

    fn request(&mut self, row: Row, index: u64) -> Result<Request, String> {
        let generator = &self.opened.generator;
        let prompt = if let Some(messages) = row.messages() {
            let conversation = Conversation::new(generator, self.template.clone());
            let mut conversation = conversation.map_err(|e| e.to_string())?;
            conversation.set_messages(messages);
            conversation.prompt().map_err(|e| e.to_string())?
        } else {
            let tokenizer = generator.model().tokenizer();
            row.plain_prompt(tokenizer.map_err(|e| e.to_string()).map(|t| &**t))?
        };
        let mut sampling = self.args.sampling.params(self.opened.entry);
        // Each row has draws of its own, the same whichever run answers it.
        sampling.seed = sampling.seed.map(|seed| seed.wrapping_add(index));
        row.change(&mut sampling);
        let constraint = self.constraint(row.form())?;
        let options = GenerateOptions {
            max_tokens: Some(row.max_tokens.unwrap_or(self.args.max_tokens)),
            sampling,
            stop: row.stop().unwrap_or_else(|| self.args.sampling.stop.clone()),
            ignore_end: self.args.ignore_end,
            context_end: self.args.sampling.context_end,
            constraint,
            ..GenerateOptions::default()
        };
        Ok(Request { prompt, options, priority: row.priority })
    }

    fn write(&mut self, waiting: Waiting, written: &mut Written) -> Outcome {
        let Waiting { index, id, prompt_tokens, answer } = waiting;
        let mut line = json!({ "index": index });
        if let Some(id) = id {
            line["id"] = id;
        }
        match answer.and_then(|answer| answer.wait().map_err(|e: GenerateError| e.to_string())) {
            Ok(generation) => {
                written.tokens += generation.ids.len();
                line["text"] = json!(generation.text);
                line["ids"] = json!(generation.ids);
                line["finish"] = json!(super::generate::finish_name(&generation.finish));
                line["prompt_tokens"] = json!(prompt_tokens);
                line["seed"] = json!(generation.seed);
                if generation.forgotten > 0 {
                    line["forgotten"] = json!(generation.forgotten);
                }
            }
            Err(error) => {
                written.bad += 1;
                self.bar.remark(&format!("row {}: {error}", index + 1));
                line["error"] = json!(error);
            }
        }
        written.rows += 1;
        self.output.write(&line)?;
        self.bar.advance();
        Ok(())
    }
}

impl Waiting {
    fn is_done(&self) -> bool {
        self.answer.as_ref().map_or(true, Answer::is_done)
    }
}

/// What was done, and how fast.
fn summary(written: &Written, counts: Counts, seconds: f64) -> String {
    let Written { rows, tokens, .. } = written;
    let rate = if seconds > 0.0 { *tokens as f64 / seconds } else { 0.0 };
    format!(
        "{rows} rows, {tokens} tokens in {seconds:.1} s: {rate:.1} tokens/s; {} rows of prompts came of prefixes, at most {} sequences at once",
        counts.reused, counts.most
    )
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn bytes_are_read_with_their_units() {
        let read = |text| parse_bytes(text).ok();
        assert_eq!(
            [read("12"), read("3K"), read("2GiB"), read("5mb")],
            [12, 3 << 10, 2 << 30, 5 << 20].map(Some)
        );
        assert_eq!([read(""), read("G"), read("1T"), read("99999999999999999999G"), read("-1")], [None; 5]);
    }
}
