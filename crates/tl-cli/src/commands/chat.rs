//! `tl chat`: one answer, or a conversation.

use std::io::{BufRead, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustyline::error::ReadlineError;
use tl_formats::chat_template::{ChatTemplate, Message};
use tl_llm::catalogue::Catalogue;
use tl_llm::{Constrained, Conversation, Finish, GenerateOptions, Generation, Speculation};

use super::{stats, tell_forgotten};
use crate::constraint::ConstraintArgs;
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::opening::{self, OpenArgs, Opened};
use crate::sampling::{SETTABLE, SamplingArgs};
use crate::speculation::SpeculationArgs;
use crate::terminal::{print, remark, stream};

/// The arguments of `tl chat`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// [MODEL] [MESSAGE]: a name of the catalogue, a file or hf:OWNER/REPO/FILE.gguf, and what to say. One that names no model is
    /// the message for the default model; without a message a conversation begins.
    #[arg(value_name = "MODEL|MESSAGE", num_args = 0..=2)]
    words: Vec<String>,
    /// The system message.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// A file with the chat template to use instead of the model's own.
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// How many tokens an answer has at most.
    #[arg(short = 'n', long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Print the tokens per second of prompt and answer, and what came of guesses.
    #[arg(long)]
    stats: bool,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    constraint: ConstraintArgs,
    #[command(flatten)]
    speculation: SpeculationArgs,
}

const HELP: &str = "\
/help              this
/set NAME VALUE    change an option of sampling, as /set temp 0.7
/system TEXT       set the system message; without a text, remove it
/clear             forget what was said
/save FILE         write the conversation as JSON
/load FILE         read a conversation
/quit              leave (or Ctrl-D)
Ctrl-C stops an answer.";

/// Runs the command.
pub fn run(args: Args, threads: Option<usize>) -> Outcome {
    args.sampling.check()?;
    let words = args.words.clone();
    let (model, message) = split_words(&words)?;
    let opened = opening::open(model, &args.open, threads)?;
    let template = args.template.as_deref().map(read_template).transpose()?;
    let mut conversation = Conversation::new(&opened.generator, template)?;
    if let Some(system) = &args.system {
        conversation.set_system(system);
    }
    let speculation = args.speculation.speculation(&opened.generator, &args.open)?;
    let constraint = args.constraint.constraint(&opened.generator)?;
    let mut chat = Chat { conversation, constraint, args, opened, speculation, cancel: interrupt::flag() };
    match message {
        Some(message) => chat.say_once(message),
        None if std::io::stdin().is_terminal() => chat.converse(),
        None => chat.read_lines(),
    }
}

/// The model and the message among the words of the command line.
fn split_words(words: &[String]) -> Outcome<(&str, Option<&str>)> {
    let default = opening::default_name();
    let is_model = |word: &str| {
        let path = Path::new(word);
        word.starts_with("hf:")
            || Catalogue::get().find(word).is_some()
            || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"))
            || path.is_file()
    };
    match words {
        [] => Ok((default, None)),
        [one] if is_model(one) => Ok((one, None)),
        [one] => {
            if let Some(near) = Catalogue::get().suggest(one) {
                remark(format_args!(
                    "note: `{one}` names no model, so it is the message; is `{near}` meant?"
                ));
            }
            Ok((default, Some(one)))
        }
        [model, message] => Ok((model, Some(message))),
        _ => Err(Failure::usage("tl chat takes a model and a message; put the message in quotes")),
    }
}

pub(super) fn read_template(path: &Path) -> Outcome<Arc<ChatTemplate>> {
    let source = std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?;
    ChatTemplate::parse(&source).map(Arc::new).map_err(|e| Failure::data(format!("{}: {e}", path.display())))
}

struct Chat {
    constraint: Option<Constrained>,
    conversation: Conversation,
    args: Args,
    opened: Opened,
    speculation: Speculation,
    cancel: Arc<AtomicBool>,
}

/// Whether the conversation goes on.
enum Next {
    Go,
    Quit,
}

impl Chat {
    fn say_once(&mut self, message: &str) -> Outcome {
        let generation = self.say(message)?;
        if generation.finish == Finish::Cancelled { Err(Failure::interrupted()) } else { Ok(()) }
    }

    /// One turn, streamed.
    fn say(&mut self, message: &str) -> Outcome<Generation> {
        self.cancel.store(false, Ordering::Relaxed);
        let options = GenerateOptions {
            max_tokens: self.args.max_tokens,
            sampling: self.args.sampling.params(self.opened.entry),
            stop: self.args.sampling.stop.clone(),
            speculation: self.speculation.clone(),
            context_end: self.args.sampling.context_end,
            constraint: self.constraint.clone(),
            ..GenerateOptions::default()
        };
        let cancel = Arc::clone(&self.cancel);
        let mut written = Ok(());
        let generation = self.conversation.say(message, &options, &cancel, |text| {
            if written.is_ok() {
                written = stream(text);
                cancel.fetch_or(written.is_err(), Ordering::Relaxed);
            }
        })?;
        self.cancel.store(false, Ordering::Relaxed);
        written?;
        print(format_args!("\n"))?;
        tell_forgotten(generation.forgotten);
        match &generation.finish {
            Finish::Context => remark(format_args!("(the context is full; /clear begins again)")),
            Finish::Stuck => remark(format_args!("{}", super::generate::STUCK)),
            Finish::Cancelled => remark(format_args!("(stopped)")),
            _ => {}
        }
        if self.args.stats {
            let Generation { prefill, decode, guessed, .. } = generation;
            let written = generation.ids.len();
            remark(format_args!("{}", stats(prefill, written, decode, guessed, generation.speed_up())));
        }
        Ok(generation)
    }

    /// A conversation on a terminal.
    fn converse(&mut self) -> Outcome {
        let mut editor = rustyline::DefaultEditor::new().map_err(|e| std::io::Error::other(e.to_string()))?;
        let model = self.opened.generator.model();
        remark(format_args!("{}: /help for help, Ctrl-D to leave", model.name()));
        loop {
            match editor.readline("> ") {
                Ok(line) => {
                    let _ = editor.add_history_entry(&line);
                    match self.line(&line) {
                        Ok(Next::Quit) => return Ok(()),
                        Err(failure) if failure.is_closed_pipe() => return Err(failure),
                        Err(failure) => failure.tell(),
                        Ok(Next::Go) => {}
                    }
                }
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(std::io::Error::other(error.to_string()).into()),
            }
        }
    }

    /// A conversation whose lines come from a pipe. A line that fails is told and the rest goes on, but the command has failed.
    fn read_lines(&mut self) -> Outcome {
        let mut done = Ok(());
        for line in std::io::stdin().lock().lines() {
            let line = line.map_err(|error| match error.kind() {
                ErrorKind::InvalidData => Failure::data("standard input is not UTF-8"),
                _ => error.into(),
            })?;
            match self.line(&line) {
                Ok(Next::Go) => {}
                Ok(Next::Quit) => break,
                Err(failure) if failure.is_closed_pipe() => return Err(failure),
                Err(failure) => {
                    failure.tell();
                    done = done.and(Err(failure.told()));
                }
            }
        }
        done
    }

    /// A line of a conversation: a command, or something to say.
    fn line(&mut self, line: &str) -> Outcome<Next> {
        let line = line.trim();
        match line.strip_prefix('/').map(|rest| rest.split_once(char::is_whitespace).unwrap_or((rest, ""))) {
            None if line.is_empty() => {}
            None => _ = self.say(line)?,
            Some(("quit" | "exit", _)) => return Ok(Next::Quit),
            Some((command, rest)) => self.command(command, rest.trim())?,
        }
        Ok(Next::Go)
    }

    fn command(&mut self, command: &str, rest: &str) -> Outcome {
        match command {
            "help" => return print(format_args!("{HELP}\n{SETTABLE}\n")),
            "set" => return self.set(rest),
            "save" | "load" if rest.is_empty() => {
                return Err(Failure::usage(format!("write /{command} FILE")));
            }
            "save" => return self.save(Path::new(rest)),
            "load" => return self.load(Path::new(rest)),
            "system" => self.conversation.set_system(rest),
            "clear" => self.conversation.clear(),
            other => return Err(Failure::usage(format!("there is no command /{other}; /help lists them"))),
        }
        Ok(())
    }

    fn set(&mut self, rest: &str) -> Outcome {
        let (name, value) = rest
            .split_once([' ', '='])
            .ok_or_else(|| Failure::usage(format!("write /set NAME VALUE; {SETTABLE}")))?;
        let mut changed = self.args.sampling.clone();
        if matches!(name, "max-tokens" | "n") {
            let count = value
                .trim()
                .parse()
                .map_err(|_| Failure::usage(format!("`{value}` is not a number of tokens")))?;
            self.args.max_tokens = Some(count);
            return Ok(());
        }
        changed.set(name, value.trim()).map_err(Failure::usage)?;
        changed.params(self.opened.entry).check().map_err(|e| Failure::usage(e.to_string()))?;
        self.args.sampling = changed;
        Ok(())
    }

    fn save(&self, path: &Path) -> Outcome {
        let messages = self.conversation.messages();
        let text = serde_json::to_string_pretty(messages).map_err(|e| Failure::data(e.to_string()))?;
        // Written beside it and renamed: a failure leaves the old file.
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path));
        written.map_err(|e| Failure::file(path, &e))?;
        remark(format_args!("saved {} messages to {}", messages.len(), path.display()));
        Ok(())
    }

    fn load(&mut self, path: &Path) -> Outcome {
        let text = std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?;
        let messages: Vec<Message> =
            serde_json::from_str(&text).map_err(|e| Failure::data(format!("{}: {e}", path.display())))?;
        remark(format_args!("loaded {} messages from {}", messages.len(), path.display()));
        self.conversation.set_messages(messages);
        Ok(())
    }
}
