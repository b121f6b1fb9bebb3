//! The formatter: one layout for all programs, made of white space alone.
//!
//! It keeps every token and every comment in its order, and every line break where it is (at most one empty line in a
//! row), because in this language a line break can end a statement. What it decides:
//!
//! - indentation: four columns a bracket that was opened on an earlier line, four more for a line that continues a
//!   statement or an element;
//! - the space between two tokens of a line (`spacing`), where a space has a meaning the tree says which is right:
//!   `f(x)` calls, `f (x)` joins;
//! - columns that the author has aligned stay aligned (`align`): the operators of consecutive equations, the values of
//!   consecutive entries of a dict, and the comments behind them.
//!
//! ```text
//! tree → pieces (tokens, comments; an interpolated string is one piece) → lines → aligned lines → text
//! ```
//!
//! A program with errors is left as it is. So is one whose tokens would change; that would be a mistake of ours, and the
//! check costs one more pass of the lexer.

mod align;
mod spacing;

use crate::Parse;
use crate::kind::SyntaxKind::{self, *};
use crate::lexer::lex;
use crate::source::Source;
use crate::tree::{Node, Tree};

const INDENT: usize = 4;

/// The text of a parsed program in its standard layout; the text itself if it has errors.
pub fn format(parse: &Parse) -> std::string::String {
    let text = parse.tree.text();
    if parse.has_errors() {
        return text.to_owned();
    }
    let pieces = pieces(&parse.tree);
    let mut lines = lines(&pieces);
    align::align(&mut lines);
    let formatted = write(&lines);
    if same_tokens(text, &formatted) { formatted } else { text.to_owned() }
}

/// A token or a comment that is to be written.
struct Piece {
    node: Node,
    kind: SyntaxKind,
    /// The kind of the node that the token belongs to.
    parent: SyntaxKind,
    /// Line breaks between the piece before and this one.
    newlines: usize,
    /// The column at which it begins in the source, in characters.
    column: usize,
    /// The columns of white space before it in the source, if it does not begin a line.
    gap: usize,
}

/// A line that is to be written.
struct Line<'t> {
    indent: usize,
    /// Whether an empty line comes before it.
    blank: bool,
    cells: Vec<Cell<'t>>,
}

/// A piece on a line.
struct Cell<'t> {
    text: &'t str,
    /// Spaces before it.
    gap: usize,
    source_column: usize,
    source_gap: usize,
    role: Role,
}

/// What `align` has to know of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The operator of a statement that begins on this line; with the number of the node around the statement.
    Operator(u32),
    /// The first token of the value of an entry of a dict; with the number of the dict.
    EntryValue(u32),
    /// A comment at the end of a line of code.
    TrailingComment,
    Other,
}

/// The pieces of a tree from left to right.
fn pieces(tree: &Tree) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut newlines, mut column, mut gap, mut written) = (0, 0, 0, 0);
    for node in tree.root().descendants() {
        let (start, end) = node.range();
        let is_unit = node.kind() == InterpolatedString;
        if start < written || !(node.is_token() || is_unit) {
            continue;
        }
        written = end;
        let kind = node.kind();
        let text = node.text();
        match kind {
            Newline => (newlines, column, gap) = (newlines + 1, 0, 0),
            Whitespace => (column, gap) = (column + text.chars().count(), gap + text.chars().count()),
            _ => {
                let parent = node.parent().map_or(File, |parent| parent.kind());
                pieces.push(Piece { kind, parent, newlines, column, gap, node: node.clone() });
                (newlines, gap) = (0, 0);
                column = if text.contains('\n') { width(text) } else { column + width(text) };
            }
        }
    }
    pieces
}

/// How many columns a text takes after its last line break.
fn width(text: &str) -> usize {
    text.rsplit('\n').next().unwrap_or("").chars().count()
}

/// An open bracket.
struct Open {
    /// The indentation of the line with the bracket: where its partner goes if that begins a line.
    outside: usize,
    /// The indentation of lines inside.
    inside: usize,
    /// The number of the line with the bracket.
    line: usize,
}

/// Distributes the pieces over lines with their indentation.
fn lines(pieces: &[Piece]) -> Vec<Line<'_>> {
    let mut lines: Vec<Line> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let next_code = next_code(pieces);
    for (index, piece) in pieces.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| &pieces[before]);
        let begins_line = piece.newlines > 0 || before.is_none();
        if begins_line {
            let indent = indentation(piece, next_code[index].map(|code| &pieces[code]), &open);
            let after_opener = before.is_some_and(|before| before.kind.closer().is_some());
            let blank = piece.newlines > 1 && before.is_some() && !after_opener && !piece.kind.is_closer();
            lines.push(Line { indent, blank, cells: Vec::new() });
        }
        let number = lines.len() - 1;
        let line = &mut lines[number];
        let gap = match before {
            Some(before) if !begins_line => usize::from(spacing::space_between(before, piece)),
            _ => 0,
        };
        let ends_line = pieces.get(index + 1).is_none_or(|next| next.newlines > 0);
        let role = role(before, piece, ends_line && !begins_line);
        let text = trimmed(piece);
        line.cells.push(Cell { text, gap, source_column: piece.column, source_gap: piece.gap, role });
        if piece.kind.closer().is_some() {
            let inside = match open.last() {
                Some(outer) if outer.line == number => outer.inside,
                _ => line.indent + 1,
            };
            open.push(Open { outside: line.indent, inside, line: number });
        } else if piece.kind.is_closer() {
            open.pop();
        }
    }
    lines
}

/// For each piece the next one from there that is no comment.
fn next_code(pieces: &[Piece]) -> Vec<Option<usize>> {
    let mut next = None;
    let mut found: Vec<Option<usize>> = Vec::with_capacity(pieces.len());
    for (index, piece) in pieces.iter().enumerate().rev() {
        next = if piece.kind.is_trivia() { next } else { Some(index) };
        found.push(next);
    }
    found.reverse();
    found
}

/// The indentation of a line that begins with this piece. A comment goes where the code after it does, and at the end
/// of a block where the block's statements do.
fn indentation(piece: &Piece, code: Option<&Piece>, open: &[Open]) -> usize {
    let inside = open.last().map_or(0, |open| open.inside);
    if piece.kind.is_closer() {
        return open.last().map_or(0, |open| open.outside);
    }
    match code {
        Some(code) if code.kind.is_closer() => inside,
        Some(code) if !begins_element(&code.node) && !matches!(code.kind, ElseKw | LBrace) => inside + 1,
        _ => inside,
    }
}

/// Whether a token is the first of a statement, of an element of a list and so on, rather than a continuation.
fn begins_element(token: &Node) -> bool {
    let start = token.span().start;
    let mut node = token.clone();
    while let Some(parent) = node.parent() {
        if parent.span().start != start || parent.kind() == File {
            let container = matches!(
                parent.kind(),
                File | Block | ArgList | ParamList | IndexList | ListExpr | TupleExpr | ParenExpr | DictExpr
            );
            return container || matches!(parent.kind(), LearnStmt | RelationDecl | TuplePattern);
        }
        node = parent;
    }
    true
}

fn role(before: Option<&Piece>, piece: &Piece, may_trail: bool) -> Role {
    if let Some(colon) = before.filter(|before| before.kind == Colon && before.parent == DictEntry) {
        let dict = colon.node.parent().and_then(|entry| entry.parent());
        return dict.map_or(Role::Other, |dict| Role::EntryValue(dict.id()));
    }
    let around = |levels: usize| {
        let mut node = piece.node.clone();
        for _ in 0..levels {
            node = node.parent()?;
        }
        Some(node)
    };
    match (piece.kind, piece.parent) {
        (LineComment | DocComment | BlockComment, _) if may_trail => Role::TrailingComment,
        (Eq, LetStmt | ParamDecl) | (ColonEq, AssignStmt) | (LArrow, Rule) => operator(around(2)),
        (Eq, DimBinding) => operator(around(3)),
        (_, ProjectionOp) if piece.node.parent().is_some_and(|op| op.range().0 == piece.node.range().0) => {
            operator(around(3))
        }
        _ => Role::Other,
    }
}

fn operator(container: Option<Node>) -> Role {
    container.map_or(Role::Other, |node| Role::Operator(node.id()))
}

/// The text of a piece; of a line comment without the spaces at its end.
fn trimmed(piece: &Piece) -> &str {
    match piece.kind {
        LineComment | DocComment => piece.node.text().trim_end(),
        _ => piece.node.text(),
    }
}

fn write(lines: &[Line]) -> std::string::String {
    let mut out = std::string::String::new();
    for line in lines {
        if line.blank {
            out.push('\n');
        }
        out.extend(std::iter::repeat_n(' ', line.indent * INDENT));
        for cell in &line.cells {
            out.extend(std::iter::repeat_n(' ', cell.gap));
            out.push_str(cell.text);
        }
        out.push('\n');
    }
    out
}

/// Whether two texts have the same tokens, and comments of the same text but for spaces at their end.
fn same_tokens(a: &str, b: &str) -> bool {
    let tokens = |text: &str| {
        let source = Source::detached("", text).ok()?;
        let mut start = 0;
        let mut found = Vec::new();
        for token in lex(&source).tokens {
            let text = &text[std::mem::replace(&mut start, token.end as usize)..token.end as usize];
            match token.kind {
                Whitespace | Newline => {}
                kind => found.push((kind, text.trim_end().to_owned())),
            }
        }
        Some(found)
    };
    tokens(a) == tokens(b)
}
