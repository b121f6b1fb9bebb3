//! Characters that need a word of warning: invisible ones, ones that change the direction of text, and ones that look
//! like others.
//!
//! The tables hold what people meet in practice (text pasted from web pages and word processors, Cyrillic and Greek
//! letters that look Latin), not all of Unicode's confusables.

use std::collections::HashMap;

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::kind::SyntaxKind;
use crate::sink::Sink;
use crate::source::{Source, Span};

use super::Token;

/// Whether a character changes the direction in which text is shown, so that a line can read other than it runs.
pub(crate) fn changes_direction(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character has no width and no meaning in a program.
pub(crate) fn is_invisible(c: char) -> bool {
    let zero_width = matches!(c, '\u{00ad}' | '\u{034f}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180e}')
        || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}')
        || matches!(c, '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}');
    zero_width || changes_direction(c)
}

/// What was probably meant by a character that starts no token, and what to write instead.
pub(super) fn meant_by(text: &str) -> Option<(&'static str, &'static str)> {
    let first = text.chars().next()?;
    Some(match first {
        '−' | '–' | '—' | '‐' | '‑' => ("-", "a minus is the ASCII character `-`"),
        '×' | '·' | '∗' | '⋅' | '∙' => ("*", "a product is written `*`, a join by juxtaposition"),
        '÷' | '∕' => ("/", "a quotient is written `/`"),
        '≤' | '⩽' => ("<=", "write `<=`"),
        '≥' | '⩾' => (">=", "write `>=`"),
        '≠' => ("!=", "write `!=`"),
        '←' => ("<-", "write `<-`"),
        '→' => ("->", "write `->`"),
        '“' | '”' | '„' | '«' | '»' => ("\"", "strings stand in straight quotes `\"`"),
        '‘' | '’' | '′' => ("'", "a prime is the ASCII character `'`, and strings stand in `\"`"),
        '\'' => ("\"", "strings stand in double quotes `\"`"),
        '，' | '、' => (",", "write `,`"),
        '（' => ("(", "write `(`"),
        '）' => (")", "write `)`"),
        '；' => (";", "write `;`"),
        '：' => (":", "write `:`"),
        '＝' => ("=", "write `=`"),
        '∧' => ("and", "write `and`"),
        '∨' => ("or", "write `or`"),
        '¬' | '!' => ("not", "negation is written `not`"),
        '∈' => ("in", "write `in`"),
        '∞' => ("inf", "write `inf`"),
        '&' => ("and", "write `and`"),
        '#' => ("//", "comments begin with `//`"),
        '…' => ("..", "a range is written `..`"),
        '$' => ("", "names have no sigil; in strings write `{name}`"),
        _ => return None,
    })
}

/// Warns of characters that change the direction of text, and reports NUL, wherever they stand.
pub(super) fn check_text(source: &Source, sink: &mut Sink) {
    for (at, c) in source.text().char_indices() {
        if c == '\0' {
            let message = format!("NUL character at byte {at}");
            let diagnostic = Diagnostic::error(codes::NUL_BYTE, span_of(source, at, c), message);
            sink.push(diagnostic.help("remove it; in a string it can be written `\\0`"));
        } else if !c.is_ascii() && changes_direction(c) {
            warn_invisible(source, at, c, sink);
        }
    }
}

/// Warns of one character that cannot be seen.
#[cold]
pub(super) fn warn_invisible(source: &Source, at: usize, c: char, sink: &mut Sink) {
    let (what, note) = match changes_direction(c) {
        true => ("changes the direction of text", "the text may read otherwise than it is compiled"),
        false => ("cannot be seen", "two names that look alike may differ in it"),
    };
    let span = span_of(source, at, c);
    let message = format!("the character U+{:04X} {what}", u32::from(c));
    let warning = Diagnostic::warning(codes::INVISIBLE_CHARACTER, span, message).note(note);
    sink.push(warning.fix("remove it", span, ""));
}

/// Warns of names that mix Latin letters with Cyrillic ones that look Latin, and of different names that look alike.
pub(super) fn check_names(source: &Source, tokens: &[Token], sink: &mut Sink) {
    let names = || tokens_of_kind(source, tokens, SyntaxKind::Ident);
    let mut foreign: HashMap<String, (&str, Span)> = HashMap::new();
    for (name, span) in names().filter(|(name, _)| !name.is_ascii()) {
        if foreign.insert(skeleton(name), (name, span)).is_none() && mixes_scripts(name) {
            let message = format!("`{name}` mixes Latin letters with Cyrillic ones that look Latin");
            sink.push(Diagnostic::warning(codes::CONFUSABLE_NAME, span, message));
        }
    }
    if foreign.is_empty() {
        return;
    }
    for (name, span) in names() {
        let Some(&(other, place)) = foreign.get(&skeleton(name)) else { continue };
        if other != name {
            foreign.remove(&skeleton(name));
            let message = format!("the names `{name}` and `{other}` look alike and are different");
            let warning = Diagnostic::warning(codes::CONFUSABLE_NAME, place, message);
            sink.push(
                warning.label(span, "the other name").note("their letters belong to different scripts"),
            );
        }
    }
}

fn tokens_of_kind<'s>(
    source: &'s Source,
    tokens: &[Token],
    kind: SyntaxKind,
) -> impl Iterator<Item = (&'s str, Span)> {
    let mut start = 0;
    tokens.iter().filter_map(move |token| {
        let span = Span::new(source.id(), std::mem::replace(&mut start, token.end), token.end);
        (token.kind == kind).then(|| (source.slice(span), span))
    })
}

fn mixes_scripts(name: &str) -> bool {
    let cyrillic = |c: char| matches!(c, '\u{0400}'..='\u{052f}') && look_alike(c) != c;
    name.contains(|c: char| c.is_ascii_alphabetic()) && name.contains(cyrillic)
}

/// The name with every letter replaced by the Latin one that it looks like, and without invisible characters.
fn skeleton(name: &str) -> String {
    name.chars().filter(|&c| !is_invisible(c)).map(look_alike).collect()
}

/// The Latin letter that a Cyrillic or Greek letter, or a full-width form, looks like; itself otherwise.
fn look_alike(c: char) -> char {
    match c {
        'а' => 'a',
        'с' => 'c',
        'ԁ' => 'd',
        'е' => 'e',
        'һ' => 'h',
        'і' | 'ι' => 'i',
        'ј' | 'ϳ' => 'j',
        'ԛ' => 'q',
        'о' | 'ο' | 'օ' => 'o',
        'р' | 'ρ' => 'p',
        'ѕ' => 's',
        'ν' | 'ѵ' => 'v',
        'ԝ' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'γ' => 'y',
        'А' | 'Α' => 'A',
        'В' | 'Β' => 'B',
        'С' | 'Ϲ' => 'C',
        'Е' | 'Ε' => 'E',
        'Н' | 'Η' => 'H',
        'І' | 'Ι' => 'I',
        'Ј' | 'Ϳ' => 'J',
        'К' | 'Κ' => 'K',
        'М' | 'Μ' => 'M',
        'Ν' => 'N',
        'О' | 'Ο' => 'O',
        'Р' | 'Ρ' => 'P',
        'Ѕ' => 'S',
        'Т' | 'Τ' => 'T',
        'Х' | 'Χ' => 'X',
        'У' | 'Υ' | 'Ү' => 'Y',
        'Ζ' => 'Z',
        'Ԝ' => 'W',
        'Ԛ' => 'Q',
        '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}' | '\u{ff10}'..='\u{ff19}' => {
            char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c)
        }
        c => c,
    }
}

fn span_of(source: &Source, at: usize, c: char) -> Span {
    Span::new(source.id(), at as u32, (at + c.len_utf8()) as u32)
}
