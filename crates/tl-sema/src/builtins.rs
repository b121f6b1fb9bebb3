//! The table of what the checker itself knows beside the scalar functions of the graph and the library's functions.
//!
//! Rows here have no definition in the language: they ask about the program (`size`, `has`), refuse (`error`), or are reductions.

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Builtin {
    /// The name in programs.
    pub name: &'static str,
    /// How it is called.
    pub usage: &'static str,
    /// What it gives.
    pub doc: &'static str,
}

/// Builtin functions of equations that are neither scalar functions nor written in the language.
pub const BUILTINS: &[Builtin] = &[
    Builtin { name: "size", usage: "size(d)", doc: "how many positions the index `d` has" },
    Builtin { name: "has", usage: "has(m.path)", doc: "whether the model has that tensor or that metadata" },
    Builtin {
        name: "error",
        usage: "error(\"text\")",
        doc: "refuses to go on, with that text; it stands in the branch of an `if` that must not be taken",
    },
    Builtin { name: "sum", usage: "sum[i](x[i])", doc: "the sum over the indices, 0 of nothing" },
    Builtin { name: "prod", usage: "prod[i](x[i])", doc: "the product over the indices, 1 of nothing" },
    Builtin {
        name: "max",
        usage: "max[i](x[i]), max(a, b)",
        doc: "the largest over the indices, −∞ of nothing; of two values the larger",
    },
    Builtin {
        name: "min",
        usage: "min[i](x[i]), min(a, b)",
        doc: "the smallest over the indices, +∞ of nothing; of two values the smaller",
    },
    Builtin {
        name: "mean",
        usage: "mean[i](x[i])",
        doc: "the mean over the indices of what the guard leaves",
    },
    Builtin { name: "any", usage: "any[i](x[i])", doc: "1 where one is true, else 0" },
    Builtin { name: "all", usage: "all[i](x[i])", doc: "1 where all are true, else 0" },
    Builtin { name: "count", usage: "count[i](x[i])", doc: "how many are true" },
    Builtin {
        name: "argmax",
        usage: "argmax[i](x[i])",
        doc: "the position of the largest, the first of equals",
    },
    Builtin {
        name: "argmin",
        usage: "argmin[i](x[i])",
        doc: "the position of the smallest, the first of equals",
    },
];

/// Functions whose arguments are no values that indices could be summed in.
pub(crate) fn takes_names(name: &str) -> bool {
    matches!(name, "size" | "has" | "error")
}

/// Rows of the table of scalar functions that are operators, or called by other means.
pub(crate) fn is_operator(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_alphabetic()) || matches!(name, "and" | "or" | "not")
}

/// The value of a named constant.
pub(crate) fn constant(name: &str) -> Option<f64> {
    Some(match name {
        "pi" => std::f64::consts::PI,
        "inf" => f64::INFINITY,
        _ => return None,
    })
}

/// The names of all functions that need no library.
pub fn names() -> impl Iterator<Item = &'static str> {
    let scalars = tl_ir::Scalar::TABLE.iter().map(|row| row.name).filter(|name| !is_operator(name));
    BUILTINS.iter().map(|row| row.name).chain(scalars)
}
