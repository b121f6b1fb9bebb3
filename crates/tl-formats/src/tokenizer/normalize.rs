//! What happens to text before it is cut into pieces.

use super::error::{EncodeError, TokenizerError};
use fancy_regex::Regex;
use std::borrow::Cow;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// One step of normalization.
#[derive(Debug, Clone)]
pub(super) enum Normalizer {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
    /// Combining marks are dropped.
    StripAccents,
    /// White space is dropped at the ends.
    Strip {
        left: bool,
        right: bool,
    },
    /// Put before text that is not empty; with `unless_present` only where it is not there already.
    Prepend {
        text: String,
        unless_present: bool,
        first_only: bool,
    },
    Replace {
        from: String,
        to: String,
    },
    ReplaceMatches {
        pattern: Regex,
        to: String,
    },
}

impl Normalizer {
    /// Spaces become `▁`.
    pub(super) fn spaces() -> Self {
        Self::Replace { from: " ".into(), to: "▁".into() }
    }

    /// Matches of an expression become `to`.
    pub(super) fn matches(source: &str, to: &str) -> Result<Self, TokenizerError> {
        let pattern = Regex::new(source).map_err(|error| {
            TokenizerError::invalid(
                "normalizer",
                format!("the expression `{source}` does not compile: {error}"),
            )
        })?;
        Ok(Self::ReplaceMatches { pattern, to: to.into() })
    }

    fn apply(&self, text: &str, at_start: bool) -> Result<Option<String>, EncodeError> {
        Ok(match self {
            Self::Nfc => Some(text.nfc().collect()),
            Self::Nfd => Some(text.nfd().collect()),
            Self::Nfkc => Some(text.nfkc().collect()),
            Self::Nfkd => Some(text.nfkd().collect()),
            Self::Lowercase => Some(text.to_lowercase()),
            Self::StripAccents => Some(text.chars().filter(|c| !is_combining_mark(*c)).collect()),
            Self::Strip { left, right } => {
                let text = if *left { text.trim_start() } else { text };
                Some(if *right { text.trim_end() } else { text }.to_string())
            }
            Self::Prepend { text: prefix, unless_present, first_only } => {
                let skip = text.is_empty()
                    || *first_only && !at_start
                    || *unless_present && text.starts_with(prefix.as_str());
                (!skip).then(|| format!("{prefix}{text}"))
            }
            Self::Replace { from, .. } if !text.contains(from.as_str()) => None,
            Self::Replace { from, to } => Some(text.replace(from.as_str(), to)),
            Self::ReplaceMatches { pattern, to } => Some(replace_matches(pattern, to, text)?),
        })
    }
}

/// Applies all steps. `at_start` says that the text begins the input (no special token before it).
pub(super) fn apply<'a>(
    steps: &[Normalizer],
    text: &'a str,
    at_start: bool,
) -> Result<Cow<'a, str>, EncodeError> {
    let mut text = Cow::Borrowed(text);
    for step in steps {
        if let Some(changed) = step.apply(&text, at_start)? {
            text = Cow::Owned(changed);
        }
    }
    Ok(text)
}

fn replace_matches(pattern: &Regex, to: &str, text: &str) -> Result<String, EncodeError> {
    let (mut out, mut done) = (String::with_capacity(text.len()), 0);
    for found in pattern.find_iter(text) {
        let found = found.map_err(|error| EncodeError::Pattern {
            pattern: pattern.as_str().to_string(),
            problem: error.to_string(),
        })?;
        out.push_str(&text[done..found.start()]);
        out.push_str(to);
        done = found.end();
    }
    out.push_str(&text[done..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_apply_in_order() {
        let steps = [
            Normalizer::Nfc,
            Normalizer::matches(" {2,}", " ").unwrap(),
            Normalizer::Prepend { text: "▁".into(), unless_present: true, first_only: true },
            Normalizer::spaces(),
        ];
        assert_eq!(apply(&steps, "e\u{301}   x", true).unwrap(), "▁é▁x");
        assert_eq!(apply(&steps, "e\u{301}   x", false).unwrap(), "é▁x");
        assert_eq!(apply(&steps, "", true).unwrap(), "");
    }
}
