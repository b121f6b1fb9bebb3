//! The line editor: input over several lines until a statement is complete, completion of names, a history that stays.

use std::borrow::Cow;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Cmd, CompletionType, ConditionalEventHandler, Config, Context, Event, EventContext, EventHandler, Helper,
    KeyEvent, RepeatCount,
};
use tl_llm::download::FetchOptions;
use tl_syntax::{Diagnostic, Source, SyntaxKind, codes, parse};

use super::COMMANDS;
use crate::failure::Outcome;
use crate::terminal::remark;

/// Inputs beyond this length are not kept in the history.
const LONGEST_KEPT: usize = 1 << 16;

/// The editor with its history.
pub(super) struct Editor {
    inner: rustyline::Editor<Help, DefaultHistory>,
    history: Option<PathBuf>,
}

/// What was read.
pub(super) enum Read {
    /// A complete input.
    Text(String),
    /// The person gave up on it.
    Abandoned,
    /// The end of the dialogue.
    End,
}

impl Editor {
    pub(super) fn new() -> Outcome<Editor> {
        let config =
            Config::builder().history_ignore_space(true).completion_type(CompletionType::List).build();
        let mut inner = rustyline::Editor::with_config(config).map_err(failed)?;
        inner.set_helper(Some(Help { names: RefCell::default(), files: FilenameCompleter::new() }));
        inner.bind_sequence(KeyEvent::ctrl('d'), EventHandler::Conditional(Box::new(GiveUp)));
        let history = FetchOptions::from_env().ok().map(|options| options.cache.join("repl_history"));
        if let Some(path) = &history {
            // There is none the first time.
            let _ = inner.load_history(path);
        }
        Ok(Editor { inner, history })
    }

    /// Says which names can be completed.
    pub(super) fn set_names(&mut self, names: Vec<String>) {
        if let Some(help) = self.inner.helper() {
            *help.names.borrow_mut() = names;
        }
    }

    pub(super) fn read(&mut self) -> Outcome<Read> {
        // The editor counts rows in 16 bits: a paste that needs more makes it panic, after it has put the terminal in order.
        let Ok(read) = catch_unwind(AssertUnwindSafe(|| self.inner.readline("> "))) else {
            remark(format_args!("that is too long to be edited; `:load FILE` runs a program of any length"));
            *self = Editor::new()?;
            return Ok(Read::Abandoned);
        };
        match read {
            Ok(text) => {
                if text.len() <= LONGEST_KEPT && self.inner.add_history_entry(&text).unwrap_or(false) {
                    self.save();
                }
                Ok(Read::Text(text))
            }
            Err(ReadlineError::Interrupted) => Ok(Read::Abandoned),
            Err(ReadlineError::Eof) => Ok(Read::End),
            Err(error) => Err(failed(error).into()),
        }
    }

    /// Writes the history. That it can't be written is no reason to stop talking.
    fn save(&mut self) {
        let Some(path) = &self.history else { return };
        if let Some(folder) = path.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        let _ = self.inner.append_history(path);
    }
}

fn failed(error: ReadlineError) -> std::io::Error {
    std::io::Error::other(error.to_string())
}

/// Ctrl-D at the end of an unfinished input gives it up; elsewhere it does what it does in every editor.
struct GiveUp;

impl ConditionalEventHandler for GiveUp {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        (!context.line().is_empty() && context.pos() == context.line().len()).then_some(Cmd::Interrupt)
    }
}

/// What the editor asks while a person types.
struct Help {
    names: RefCell<Vec<String>>,
    files: FilenameCompleter,
}

impl Helper for Help {}

impl Hinter for Help {
    type Hint = String;
}

impl Highlighter for Help {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Borrowed(prompt)
    }
}

impl Validator for Help {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Completer for Help {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        if line.starts_with(":load ") {
            return self.files.complete(line, at, context);
        }
        let (from, found) = completions(line, at, &self.names.borrow());
        Ok((from, found.into_iter().map(|name| Pair { display: name.clone(), replacement: name }).collect()))
    }
}

/// Where the word before the cursor begins, and what it could become.
fn completions(line: &str, at: usize, names: &[String]) -> (usize, Vec<String>) {
    let before = &line[..at];
    if let Some(start) = before.strip_prefix(':').filter(|start| !start.contains(char::is_whitespace)) {
        let commands = COMMANDS.iter().filter(|c| c.name.starts_with(start)).map(|c| c.name.to_owned());
        return (1, commands.collect());
    }
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '\'';
    let word = before.rsplit(|c| !is_of_word(c)).next().unwrap_or_default();
    if word.is_empty() || word.starts_with(|c: char| c.is_ascii_digit()) {
        return (at, Vec::new());
    }
    let mut found: Vec<String> = names.iter().filter(|name| name.starts_with(word)).cloned().collect();
    found.extend(SyntaxKind::keywords().filter(|k| k.starts_with(word)).map(str::to_owned));
    found.sort_unstable();
    (at - word.len(), found)
}

/// Whether an input can be run, or is wrong beyond what more lines could mend: it is incomplete if something in it is still open,
/// or its end comes where something is missing.
pub(super) fn is_complete(text: &str) -> bool {
    let program = match text.trim_start().strip_prefix(':') {
        Some(command) => match command.split_once(char::is_whitespace) {
            Some((name, argument)) if super::takes_program(name) => argument,
            _ => "",
        },
        None => text,
    };
    let Ok(source) = Source::detached("", program) else { return true };
    let end = program.trim_end().len() as u32;
    let could_go_on = |d: &Diagnostic| match d.code {
        codes::UNCLOSED_BRACKET | codes::UNTERMINATED_COMMENT => true,
        codes::UNTERMINATED_STRING => {
            d.primary_span().is_some_and(|span| program[span.start as usize..].starts_with("\"\"\""))
        }
        codes::EXPECTED_EXPRESSION | codes::EXPECTED_BLOCK | codes::EXPECTED_TOKEN | codes::EXPECTED_NAME => {
            d.primary_span().is_some_and(|span| span.start >= end)
        }
        _ => false,
    };
    // The first error decides: those after it may be its consequences.
    let parsed = parse(&source);
    !parsed.diagnostics.iter().filter(|d| d.is_error()).any(could_go_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_goes_on_while_something_is_open() {
        for open in [
            "f(",
            "let x = [1,\n2",
            "fn f(x) {",
            "if a {\nb\n} else",
            "Y[i] = X[i] +",
            "\"\"\"raw",
            "/* a",
            "let x =",
            "for x in xs",
            ":time f(",
            ":type [1,",
        ] {
            assert!(!is_complete(open), "{open}");
        }
        for whole in [
            "",
            "x",
            "Y?",
            "f()",
            "x)",
            "\"open",
            "let x = 1",
            ":help",
            ":load a(b",
            "if a { b }",
            "Y[i] = X[i]\n    where i < 2",
        ] {
            assert!(is_complete(whole), "{whole}");
        }
    }

    #[test]
    fn words_and_commands_are_completed() {
        let names = ["softmax".to_owned(), "softplus".to_owned(), "W".to_owned()];
        assert_eq!(
            completions("y = soft", 8, &names),
            (4, vec!["softmax".to_owned(), "softplus".to_owned()])
        );
        assert_eq!(completions("wh", 2, &names).1, ["where", "while"]);
        assert_eq!(completions(":ti", 3, &names), (1, vec!["time".to_owned()]));
        assert_eq!(completions("1", 1, &names).1, [""; 0]);
        assert_eq!(completions("é", 2, &names), (0, vec![]));
        assert_eq!(completions("f(", 2, &names), (2, vec![]));
    }
}
