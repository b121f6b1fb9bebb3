//! The table of functions that are written in Rust, a family a file.
//!
//! Each file has a `TABLE` and the functions of its rows. Scalar functions come from the table of the graph; what the
//! standard library writes in equations is called as it is and stands nowhere here.

mod collections;
pub(super) mod files;
mod models;
mod numbers;
mod random;
mod tensors;
mod texts;
mod world;

pub use files::json_text;
pub use models::{allowed_tokens, generator_of, open_model, text_prompt, turn_prompt};

use tl_ir::Scalar;

use super::builtin::{Builtin, Purity};

/// All rows, a name once.
pub fn all() -> impl Iterator<Item = Builtin> {
    let tables = [
        world::TABLE,
        files::TABLE,
        texts::TABLE,
        collections::TABLE,
        numbers::TABLE,
        tensors::TABLE,
        random::TABLE,
        models::TABLE,
    ];
    let written = || tables.into_iter().flatten().copied();
    let names: Vec<&str> = written().map(|b| b.name).collect();
    let scalars = Scalar::TABLE
        .iter()
        .filter(move |row| row.arity < 3 && is_word(row.name) && !names.contains(&row.name));
    let scalars = scalars.map(|row| Builtin::scalar(row.scalar));
    written().chain(scalars)
}

/// Whether a scalar function is called by a name and is no operator.
fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && !matches!(name, "and" | "or" | "not")
}

/// A row of a table.
const fn row(
    name: &'static str,
    parameters: &'static str,
    purity: Purity,
    doc: &'static str,
    call: super::builtin::BuiltinFn,
) -> Builtin {
    Builtin::new(name, parameters, purity, doc, call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_rows_are_documented() {
        let mut names: Vec<&str> = all().map(|b| b.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for builtin in all() {
            assert!(!builtin.doc.is_empty() && !builtin.doc.contains('\n'), "{builtin:?}");
            let optional: Vec<bool> = builtin.parameter_names().map(|(_, optional)| optional).collect();
            assert!(optional.is_sorted(), "{builtin:?}: what may be left out comes last");
        }
    }
}
