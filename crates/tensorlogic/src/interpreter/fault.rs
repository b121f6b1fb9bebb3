//! What ends the evaluation of an expression or a statement early.

use tl_syntax::{Diagnostic, Span, codes};

use super::value::Value;

/// A result of evaluation.
pub(crate) type Eval<T> = Result<T, Interrupt>;

/// Why evaluation goes no further here.
#[derive(Debug)]
pub(crate) enum Interrupt {
    /// Something is wrong with the program.
    Fault(Vec<Diagnostic>),
    /// `break`
    Break(Span),
    /// `continue`
    Continue(Span),
    /// `return value`
    Return(Span, Box<Value>),
}

impl From<Diagnostic> for Interrupt {
    fn from(diagnostic: Diagnostic) -> Interrupt {
        Interrupt::Fault(vec![diagnostic])
    }
}

impl From<Vec<Diagnostic>> for Interrupt {
    fn from(diagnostics: Vec<Diagnostic>) -> Interrupt {
        Interrupt::Fault(diagnostics)
    }
}

impl Interrupt {
    /// The findings, where this reaches the top of a program or of a function.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        let misplaced = |span, what: &str| {
            let message = format!("`{what}` stands outside of what it could leave");
            vec![Diagnostic::error(codes::MISPLACED_JUMP, span, message)]
        };
        match self {
            Interrupt::Fault(diagnostics) => diagnostics,
            Interrupt::Break(span) => misplaced(span, "break"),
            Interrupt::Continue(span) => misplaced(span, "continue"),
            Interrupt::Return(span, _) => misplaced(span, "return"),
        }
    }
}

/// A value of the wrong kind.
#[cold]
pub(crate) fn wrong_kind(span: Span, wanted: &str, found: &Value) -> Interrupt {
    Diagnostic::error(codes::WRONG_KIND, span, format!("expected {wanted}, found {}", found.kind())).into()
}

/// An error that says what to do.
#[cold]
pub(crate) fn fault(code: &'static str, span: Span, message: impl Into<String>) -> Interrupt {
    Diagnostic::error(code, span, message).into()
}

/// Something that the language has and this version does not.
#[cold]
pub(crate) fn not_available(span: Span, what: &str) -> Interrupt {
    Diagnostic::error(codes::NOT_AVAILABLE, span, format!("{what} can't be run yet")).into()
}

/// The name that is most like `name`, if one is like it at all: few letters to change, in relation to its length.
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = 1 + name.chars().count() / 4;
    let near = known
        .into_iter()
        .map(|k| (distance(name, k, allowed), k))
        .filter(|(d, k)| *d <= allowed && *k != name);
    near.min_by_key(|&(d, k)| (d, k)).map(|(_, k)| k)
}

/// Letters to insert, remove, replace or swap; more than `limit` is any number above it.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let differs = usize::from(!a[i - 1].eq_ignore_ascii_case(&b[j - 1]));
            row[j] = (above[j] + 1).min(row[j - 1] + 1).min(above[j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_are_recognized() {
        let known = ["tokenize", "detokenize", "print", "softmax"];
        assert_eq!(closest("tokenise", known), Some("tokenize"));
        assert_eq!(closest("pritn", known), Some("print"));
        assert_eq!(closest("sofmax", known), Some("softmax"));
        assert_eq!(closest("quaternion", known), None);
    }
}
