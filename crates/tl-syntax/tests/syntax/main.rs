//! Tests of the grammar through its public entry: `parse`, the views, the formatter.

mod expressions;
mod formatting;
mod hostile;
mod lexical;
mod properties;
mod recovery;
mod show;
mod statements;

use tl_syntax::{Parse, Source, SourceMap, Style, render_all};

/// Parses a text and checks what must hold for every text: the tree has all of it, and every span lies inside it.
fn parse(text: &str) -> Parse {
    let source = Source::detached("test.tl", text).unwrap();
    let parse = tl_syntax::parse(&source);
    let leaves: String = parse.tree.root().descendants().filter(|node| node.is_token()).fold(
        String::new(),
        |mut all, token| {
            all.push_str(token.text());
            all
        },
    );
    assert_eq!(leaves, text, "every byte is in exactly one token");
    for diagnostic in &parse.diagnostics {
        for label in &diagnostic.labels {
            assert!(text.get(label.span.start as usize..label.span.end as usize).is_some(), "{diagnostic:?}");
        }
    }
    parse
}

/// Parses a text that must be without any diagnostic.
fn parse_ok(text: &str) -> Parse {
    let parse = parse(text);
    assert!(parse.diagnostics.is_empty(), "{text}\n{}", report(text));
    parse
}

/// The rendered diagnostics of a text.
fn report(text: &str) -> String {
    let mut sources = SourceMap::new();
    let source = sources.add("test.tl", text).unwrap();
    render_all(&tl_syntax::parse(&source).diagnostics, &sources, Style::Plain)
}

/// Checks what the diagnostics of a text are, each as `code line:column-column message` (the columns of the first
/// primary label, the second one after its end, in characters).
fn check_diagnostics(text: &str, expected: &[&str]) {
    let source = Source::detached("test.tl", text).unwrap();
    let found: Vec<String> = parse(text)
        .diagnostics
        .iter()
        .map(|diagnostic| {
            let span = diagnostic.primary_span().unwrap();
            let (start, end) = (source.line_column(span.start), source.line_column(span.end));
            let line = if start.line == end.line { String::new() } else { format!("{}:", end.line) };
            let place = format!("{}:{}-{line}{}", start.line, start.column, end.column);
            format!("{} {place} {}", diagnostic.code, diagnostic.message)
        })
        .collect();
    assert_eq!(found, expected, "\n{text}\n{}", report(text));
}
