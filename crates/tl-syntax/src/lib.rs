//! TensorLogic source text: spans, diagnostics, lexer, lossless tree, parser, typed views, formatter.
//!
//! ```text
//! Source ─lex→ tokens ─parse→ Tree ─views→ ast::File
//! ```
//!
//! [`parse`] never fails: it gives a tree that holds every byte of the source, and the diagnostics it found. The typed
//! views over the tree are in [`mod@ast`]; begin there. Diagnostics are values, built anywhere, shown by [`render`].
//!
//! Invariants: `parse(source).tree.text() == source.text()`; parsing takes time linear in the text and a bounded stack;
//! the crate reads no file, clock or environment.

pub mod ast;
pub mod codes;
mod diagnostic;
pub mod fmt;
mod kind;
mod lexer;
pub mod literal;
mod parser;
pub mod render;
mod sink;
mod source;
mod tree;
mod width;

pub use diagnostic::{Diagnostic, Fix, Label, Severity};
pub use kind::SyntaxKind;
pub use literal::Number;
pub use parser::parse;
pub use render::{Style, render, render_all};
pub use source::{LineColumn, MAX_SOURCE_BYTES, Source, SourceError, SourceId, SourceMap, Span};
pub use tree::{Children, Marker, Node, Tree, TreeBuilder};

use ast::AstNode;

/// How deep brackets, blocks and prefix operators may nest.
pub const MAX_NESTING: usize = 256;

/// How many levels of nodes a tree may have; what would be deeper is reported and left out. So consumers may recurse.
pub const MAX_TREE_DEPTH: usize = 768;

/// What parsing gives: a tree of the whole text, whatever it was, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Parse {
    /// The lossless tree.
    pub tree: Tree,
    /// Errors and warnings in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parse {
    /// The typed view of the whole file.
    pub fn file(&self) -> ast::File {
        ast::File::cast(self.tree.root()).expect("the root of a tree is a file")
    }

    /// Whether there is an error among the diagnostics.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}
