//! Views of literals. How their text is decoded is in [`crate::literal`], which the lexer checks them with.

use super::expr::Expr;
use super::{AstNode, child, views};
use crate::kind::SyntaxKind;
use crate::literal::{self, Number};

views! {
    /// `1`, `1_000`, `0x1f`, `2.5e-3`.
    NumberLit: NumberLit;
    /// `"text"` or `"""raw text"""`.
    StringLit: StringLit;
    /// `"text {expr} text"`.
    InterpolatedString: InterpolatedString;
    /// `{expr}` or `{expr:format}` in a string.
    Interpolation: Interpolation;
    /// `true`, `false`.
    BoolLit: BoolLit;
}

/// A piece of an interpolated string.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StringPart {
    /// Text with its escapes decoded.
    Text(String),
    /// `{expr}`
    Interpolation(Interpolation),
}

impl NumberLit {
    /// The value; `None` for a malformed number or one out of range, which the lexer has reported.
    pub fn value(&self) -> Option<Number> {
        literal::decode_number(self.0.text()).ok()
    }
}

impl StringLit {
    /// The text with its escapes decoded. A wrong escape, which the lexer has reported, stands for itself.
    pub fn value(&self) -> String {
        match self.0.child(SyntaxKind::RawStr) {
            Some(raw) => literal::decode_raw_string(raw.text()),
            None => literal::decode_string(self.0.text()),
        }
    }
}

impl InterpolatedString {
    /// Texts and interpolations in order.
    pub fn parts(&self) -> impl Iterator<Item = StringPart> + use<> {
        self.0.children().filter_map(|part| match part.kind() {
            SyntaxKind::StrText => Some(StringPart::Text(literal::decode_escapes(part.text()))),
            SyntaxKind::Interpolation => Interpolation::cast(part).map(StringPart::Interpolation),
            _ => None,
        })
    }
}

impl Interpolation {
    /// The expression.
    pub fn expr(&self) -> Option<Expr> {
        child(&self.0)
    }

    /// The format after a colon, as written: `.2` in `{x:.2}`.
    pub fn format(&self) -> Option<String> {
        let spec = self.0.child(SyntaxKind::FormatSpec)?;
        Some(spec.text().strip_prefix(':').unwrap_or(spec.text()).to_owned())
    }
}

impl BoolLit {
    /// The value.
    pub fn value(&self) -> bool {
        self.0.child(SyntaxKind::TrueKw).is_some()
    }
}
