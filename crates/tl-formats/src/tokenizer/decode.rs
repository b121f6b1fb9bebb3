//! From token bytes to text, without ever splitting a character.

/// Collects bytes and hands out the text that is certain: complete characters at once, U+FFFD for bytes that cannot
/// begin or go on a character, nothing for a character that may still be completed.
///
/// Whatever way bytes are cut up, the text is that of `String::from_utf8_lossy` over all of them.
#[derive(Debug, Clone, Default)]
pub struct Utf8Stream {
    /// The start of a character, at most three bytes once `push` has returned.
    pending: Vec<u8>,
    text: String,
}

impl Utf8Stream {
    /// Takes bytes and returns the text that they complete. The buffers are reused: no allocation in the long run.
    pub fn push(&mut self, bytes: &[u8]) -> &str {
        self.text.clear();
        self.pending.extend_from_slice(bytes);
        let mut rest = 0;
        loop {
            match std::str::from_utf8(&self.pending[rest..]) {
                Ok(valid) => {
                    self.text.push_str(valid);
                    rest = self.pending.len();
                    break;
                }
                Err(error) => {
                    let valid = rest + error.valid_up_to();
                    self.text.push_str(std::str::from_utf8(&self.pending[rest..valid]).unwrap_or_default());
                    rest = valid;
                    let Some(length) = error.error_len() else { break };
                    self.text.push('\u{fffd}');
                    rest += length;
                }
            }
        }
        self.pending.drain(..rest);
        &self.text
    }

    /// The end of the stream: U+FFFD if a character was left incomplete.
    pub fn finish(&mut self) -> &str {
        self.text.clear();
        if !self.pending.is_empty() {
            self.text.push('\u{fffd}');
            self.pending.clear();
        }
        &self.text
    }

    /// Bytes that wait for the rest of their character.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.pending
    }
}

/// Writes bytes so that they print on one line: control characters, invalid UTF-8 and backslashes escaped as in a
/// Rust literal, all other characters as they are.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' | '\n' | '\r' | '\t' => out.extend(c.escape_default()),
                _ if c.is_control() || is_invisible(c) => out.extend(c.escape_unicode()),
                _ => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02X}"));
        }
    }
    out
}

/// Characters that change how a line is laid out without showing.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_text(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 0..12)) {
            let mut stream = Utf8Stream::default();
            let mut text = String::new();
            for chunk in &chunks {
                text.push_str(stream.push(chunk));
                prop_assert!(stream.pending().len() < 4);
            }
            text.push_str(stream.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&chunks.concat()).into_owned());
        }
    }

    #[test]
    fn characters_come_out_whole() {
        let mut stream = Utf8Stream::default();
        let cat = "🐈".as_bytes();
        assert_eq!(stream.push(&cat[..2]), "");
        assert_eq!(stream.push(&cat[2..]), "🐈");
        assert_eq!(stream.push(b"\xffa\xe4\xb8"), "\u{fffd}a");
        assert_eq!(stream.finish(), "\u{fffd}");
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn escapes_print_on_one_line() {
        assert_eq!(escape(b"a\n\\\x1b\xff\xe4\xb8\x96"), "a\\n\\\\\\u{1b}\\xFF世");
    }
}
