//! What rendered diagnostics look like.

use super::*;
use crate::codes;
use crate::source::{SourceId, Span};

/// Renders an error with labels, each given as the text that it underlines, `@` for the place after the last one.
fn check(text: &str, labels: &[(&str, &str, bool)], expected: &str) {
    let mut sources = SourceMap::new();
    sources.add("a.tl", text).unwrap();
    let mut diagnostic = Diagnostic::error_without_span(codes::EXPECTED_TOKEN, "message");
    for &(marked, label, primary) in labels {
        let start = if marked.is_empty() { text.len() } else { text.find(marked).unwrap() };
        let span = Span::new(SourceId(0), start as u32, (start + marked.len()) as u32);
        diagnostic = if primary { diagnostic.primary(span, label) } else { diagnostic.label(span, label) };
    }
    let shown = render(&diagnostic, &sources, Style::Plain);
    let body = shown.strip_prefix("error[E0202]: message\n").unwrap();
    assert_eq!(body.trim_end(), expected.trim_matches('\n'), "\n{shown}");
}

#[test]
fn one_label_has_its_text_behind_the_carets() {
    check(
        "let x = \nfoo(bar)\n",
        &[("bar", "expected this", true)],
        "
 --> a.tl:2:5
  |
2 | foo(bar)
  |     ^^^ expected this",
    );
}

#[test]
fn several_labels_hang_below_each_other() {
    check(
        "a + bb * c",
        &[("bb", "two", true), ("a", "one", false), ("c", "three", false)],
        "
 --> a.tl:1:5
  |
1 | a + bb * c
  | -   ^^   - three
  | |   |
  | |   two
  | one",
    );
}

#[test]
fn a_label_inside_another_keeps_both_texts() {
    check(
        "f(x, y)",
        &[("x", "here", true), ("f(x, y)", "in this call", false)],
        "
 --> a.tl:1:3
  |
1 | f(x, y)
  | --^----
  | | |
  | | here
  | in this call",
    );
}

#[test]
fn far_lines_are_elided_and_a_single_line_between_is_shown() {
    let text = "a\nb\nc\nd\ne\nf\n";
    check(
        text,
        &[("a", "x", true), ("c", "y", false), ("f", "z", false)],
        "
 --> a.tl:1:1
  |
1 | a
  | ^ x
2 | b
3 | c
  | - y
...
6 | f
  | - z",
    );
}

#[test]
fn a_label_over_several_lines_marks_its_first_and_last_line() {
    check(
        "x = (\n    a\n    b\n  ) + 1\n",
        &[("(\n    a\n    b\n  )", "all this", true)],
        "
 --> a.tl:1:5
  |
1 | x = (
  |     ^
...
4 |   ) + 1
  |   ^ all this",
    );
}

#[test]
fn columns_are_right_after_tabs_astral_and_combining_characters() {
    check(
        "\tx\t= y",
        &[("y", "here", true)],
        "
 --> a.tl:1:6
  |
1 |     x   = y
  |           ^ here",
    );
    check(
        "\"😀漢\" y",
        &[("y", "here", true)],
        "
 --> a.tl:1:6
  |
1 | \"😀漢\" y
  |        ^ here",
    );
    check(
        "e\u{301} y",
        &[("y", "here", true)],
        "
 --> a.tl:1:4
  |
1 | e\u{301} y
  |   ^ here",
    );
}

#[test]
fn control_characters_never_reach_the_terminal() {
    check(
        "a\x1b[31m\u{202e}b\0 c",
        &[("c", "here", true)],
        "
 --> a.tl:1:11
  |
1 | a␛[31m<U+202E>b␀ c
  |                  ^ here",
    );
    assert_eq!(visible("a\nb\u{9b}\u{200b}"), "a␊b<U+009B><U+200B>");
}

#[test]
fn the_end_of_the_text_and_of_a_line_can_be_marked() {
    check(
        "abc",
        &[("", "more", true)],
        "
 --> a.tl:1:4
  |
1 | abc
  |    ^ more",
    );
    check(
        "abc\ndef",
        &[("\n", "more", true)],
        "
 --> a.tl:1:4
  |
1 | abc
  |    ^ more",
    );
    check(
        "",
        &[("", "nothing", true)],
        "
 --> a.tl:1:1
  |
1 |
  | ^ nothing",
    );
}

#[test]
fn of_a_long_line_a_window_is_shown() {
    let text = format!("{}MARK{}", "x".repeat(1000), "y".repeat(1000));
    let mut sources = SourceMap::new();
    sources.add("a.tl", text.as_str()).unwrap();
    let span = Span::new(SourceId(0), 1000, 1004);
    let shown =
        render(&Diagnostic::error(codes::EXPECTED_TOKEN, span, "m").here("here"), &sources, Style::Plain);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.iter().all(|line| line.chars().count() < 160), "{shown}");
    let at = lines[3].chars().position(|c| c == 'M').unwrap();
    assert_eq!(lines[4].chars().position(|c| c == '^'), Some(at), "{shown}");
    assert_eq!(lines[4].matches('^').count(), 4);
    assert!(lines[3].contains('…') && lines[3].ends_with('…'));
}

#[test]
fn crlf_is_not_part_of_the_line() {
    check(
        "ab\r\ncd\r\n",
        &[("b\r\n", "here", true)],
        "
 --> a.tl:1:2
  |
1 | ab
  |  ^ here",
    );
}

#[test]
fn labels_in_other_files_have_their_own_snippet_and_notes_follow() {
    let mut sources = SourceMap::new();
    let a = sources.add("a.tl", "import \"b.tl\"").unwrap();
    let b = sources.add("b.tl", "\n\n\n\n\n\n\n\n\nx = 1").unwrap();
    let diagnostic = Diagnostic::warning(codes::CONFUSABLE_NAME, Span::new(a.id(), 7, 13), "odd")
        .label(Span::new(b.id(), 9, 10), "defined here")
        .note("first line\nsecond line")
        .help("do this")
        .fix("write this", Span::new(a.id(), 0, 6), "use");
    let expected = "\
warning[W0151]: odd
  --> a.tl:1:8
   |
 1 | import \"b.tl\"
   |        ^^^^^^
  ::: b.tl:10:1
   |
10 | x = 1
   | - defined here
   |
   = note: first line
           second line
   = help: do this
   = help: write this: `use`
";
    assert_eq!(render(&diagnostic, &sources, Style::Plain), expected);
}

#[test]
fn colour_changes_nothing_but_escapes() {
    let mut sources = SourceMap::new();
    let a = sources.add("a.tl", "let x = 1").unwrap();
    let diagnostic =
        Diagnostic::error(codes::EXPECTED_TOKEN, Span::new(a.id(), 4, 5), "m").here("here").note("n");
    let plain = render(&diagnostic, &sources, Style::Plain);
    let mut rest = render(&diagnostic, &sources, Style::Ansi);
    assert!(rest.contains("\x1b[1;31m^ here") || rest.contains("\x1b[1;31m^"), "{rest:?}");
    while let Some(start) = rest.find('\x1b') {
        let end = start + rest[start..].find('m').unwrap() + 1;
        rest.replace_range(start..end, "");
    }
    assert_eq!(rest, plain);
}

#[test]
fn a_diagnostic_without_text_is_its_message_and_notes() {
    let diagnostic = Diagnostic::error_without_span(codes::NOT_UTF8, "bad file").help("save it as UTF-8");
    let shown = render(&diagnostic, &SourceMap::new(), Style::Plain);
    assert_eq!(shown, "error[E0002]: bad file\n  = help: save it as UTF-8\n");
    let all = render_all(&[diagnostic.clone(), diagnostic], &SourceMap::new(), Style::Plain);
    assert!(all.ends_with("\n2 errors\n"), "{all}");
    assert_eq!(render_all(&[], &SourceMap::new(), Style::Plain), "");
}
