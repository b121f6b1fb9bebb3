//! The rows of a batch: lines of JSON, read one at a time.
//!
//! Invariant: a line that is no row is an error of that row alone, however long or broken it is.

use std::io::{self, BufRead, Read};

use serde::Deserialize;
use serde_json::Value;
use tl_formats::chat_template::Message;
use tl_formats::tokenizer::{EncodeOptions, Tokenizer};
use tl_llm::sampling::SamplingParams;
use tl_llm::{Form, prompt_ids};

/// The longest line that is read: 16 MiB.
const LONGEST: u64 = 16 << 20;

/// A file of rows. Lines of white space are none.
pub struct Lines<R> {
    from: R,
    row: u64,
    line: u64,
}

/// A line that is to be a row.
pub struct Line {
    /// Which row, from 0.
    pub row: u64,
    number: u64,
    bytes: Vec<u8>,
}

/// A row: a prompt, and options where it has its own.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What the answer is to be known by: any value.
    pub id: Option<Value>,
    prompt: Option<String>,
    messages: Option<Vec<Said>>,
    ids: Option<Vec<u32>>,
    pub max_tokens: Option<usize>,
    stop: Option<Stops>,
    #[serde(default)]
    pub priority: i32,
    seed: Option<u64>,
    #[serde(alias = "temp")]
    temperature: Option<f32>,
    top_k: Option<usize>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    json_schema: Option<Value>,
    regex: Option<String>,
    grammar: Option<String>,
}

#[derive(Deserialize, Debug)]
struct Said {
    role: String,
    content: String,
}

#[derive(Deserialize, Debug)]
#[serde(untagged)]
enum Stops {
    One(String),
    Many(Vec<String>),
}

impl<R: BufRead> Lines<R> {
    pub fn new(from: R) -> Self {
        Self { from, row: 0, line: 0 }
    }

    /// The next row's line.
    pub fn next_row(&mut self) -> io::Result<Option<Line>> {
        loop {
            let mut bytes = Vec::new();
            (&mut self.from).take(LONGEST + 1).read_until(b'\n', &mut bytes)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            self.line += 1;
            if bytes.len() as u64 > LONGEST && bytes.last() != Some(&b'\n') {
                self.from.skip_until(b'\n')?;
            }
            if bytes.iter().any(|b| !b.is_ascii_whitespace()) {
                self.row += 1;
                return Ok(Some(Line { row: self.row - 1, number: self.line, bytes }));
            }
        }
    }

    /// Passes over so many rows.
    pub fn skip_rows(&mut self, rows: u64) -> io::Result<()> {
        while self.row < rows && self.next_row()?.is_some() {}
        Ok(())
    }

    /// How many rows there are from here on.
    pub fn count_rows(mut self) -> io::Result<u64> {
        self.skip_rows(u64::MAX)?;
        Ok(self.row)
    }
}

impl Line {
    /// The row, or what is wrong with it.
    pub fn parse(&self) -> Result<Row, String> {
        if self.bytes.len() as u64 > LONGEST {
            return Err(format!("line {} is longer than {LONGEST} bytes", self.number));
        }
        let row: Row =
            serde_json::from_slice(&self.bytes).map_err(|e| format!("line {}: {}", self.number, told(&e)))?;
        let kinds = [row.prompt.is_some(), row.messages.is_some(), row.ids.is_some()];
        if kinds.iter().filter(|&&is| is).count() != 1 {
            return Err(format!("line {}: a row has one of `prompt`, `messages` and `ids`", self.number));
        }
        let forms = [row.json_schema.is_some(), row.regex.is_some(), row.grammar.is_some()];
        if forms.iter().filter(|&&is| is).count() > 1 {
            let number = self.number;
            return Err(format!("line {number}: a row has one of `json_schema`, `regex` and `grammar`"));
        }
        Ok(row)
    }
}

/// What serde says, with the column alone: each line is a file of its own to it.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{what}, at column {}", error.column()),
        None => text,
    }
}

impl Row {
    /// The messages of a chat.
    pub fn messages(&self) -> Option<Vec<Message>> {
        let messages = self.messages.as_ref()?;
        Some(messages.iter().map(|m| Message::new(m.role.clone(), m.content.clone())).collect())
    }

    /// The tokens of a row that is no chat.
    pub fn plain_prompt(&self, tokenizer: Result<&Tokenizer, String>) -> Result<Vec<u32>, String> {
        match (&self.prompt, &self.ids) {
            (Some(text), _) => {
                let options = EncodeOptions { parse_special: false, add_special: true };
                prompt_ids(tokenizer?, text, options).map_err(|e| e.to_string())
            }
            (None, ids) => Ok(ids.clone().unwrap_or_default()),
        }
    }

    /// The row's own stop strings.
    pub fn stop(&self) -> Option<Vec<String>> {
        self.stop.as_ref().map(|stops| match stops {
            Stops::One(stop) => vec![stop.clone()],
            Stops::Many(stops) => stops.clone(),
        })
    }

    /// The row's own form.
    pub fn form(&self) -> Option<Form> {
        match (&self.json_schema, &self.regex, &self.grammar) {
            (Some(Value::String(text)), ..) => Some(Form::JsonSchema(text.clone())),
            (Some(schema), ..) => Some(Form::JsonSchema(schema.to_string())),
            (None, Some(regex), _) => Some(Form::Regex(regex.clone())),
            (None, None, grammar) => grammar.clone().map(Form::Grammar),
        }
    }

    /// Puts the row's own sampling in place.
    pub fn change(&self, sampling: &mut SamplingParams) {
        sampling.seed = self.seed.or(sampling.seed);
        sampling.temperature = self.temperature.unwrap_or(sampling.temperature);
        sampling.top_k = self.top_k.unwrap_or(sampling.top_k);
        sampling.top_p = self.top_p.unwrap_or(sampling.top_p);
        sampling.min_p = self.min_p.unwrap_or(sampling.min_p);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8]) -> Vec<Result<Row, String>> {
        let mut lines = Lines::new(text);
        std::iter::from_fn(|| lines.next_row().unwrap()).map(|line| line.parse()).collect()
    }

    #[test]
    fn a_bad_line_is_an_error_of_its_own() {
        let text = b"{\"prompt\":\"a\"}\n\n  \n{\"prompt\":\n{\"ids\":[1],\"id\":{\"x\":1}}\n{\"prompt\":\"a\",\"ids\":[]}\n{\"promt\":\"a\"}\n\xff\n{\"messages\":[]}";
        let rows = rows(text);
        let bad: Vec<usize> = (0..rows.len()).filter(|&i| rows[i].is_err()).collect();
        assert_eq!((rows.len(), bad), (7, vec![1, 3, 4, 5]));
        assert!(rows[4].as_ref().unwrap_err().contains("unknown field `promt`"), "{rows:?}");
        assert!(rows[1].as_ref().unwrap_err().starts_with("line 4: "), "{rows:?}");
    }

    #[test]
    fn a_line_without_end_is_passed_over() {
        let mut text = vec![b'['; LONGEST as usize + 70_000];
        text.extend(b"\n{\"prompt\":\"b\"}\n");
        let rows = rows(&text);
        assert!(rows.len() == 2 && rows[0].is_err() && rows[1].is_ok());
        assert_eq!(Lines::new(&text[..]).count_rows().unwrap(), 2);
    }
}
