//! The findings about projection scope and calls.

use std::sync::Arc;

use tl_syntax::{Diagnostic, Span, codes};

use crate::program::*;
use crate::suggest::did_you_mean;

use super::Occurrence;

#[cold]
pub(super) fn not_in_equation(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(codes::NOT_IN_EQUATION, span, format!("{what} can't stand in an equation"))
        .help("compute it with `let` before, and use the variable here")
}

#[cold]
pub(super) fn single_index(name: &str, span: Span) -> Diagnostic {
    Diagnostic::warning(codes::SINGLE_INDEX, span, format!("`{name}` occurs only here, so it is summed away"))
        .help(format!(
            "if that is meant, write `sum[{name}](…)`, or `_` for the index; else check the spelling"
        ))
}

#[cold]
pub(super) fn summed_and_used(name: &str, product: Span, again: Span) -> Diagnostic {
    Diagnostic::error(codes::SUMMED_AND_USED, again, format!("`{name}` is used here after it was summed"))
        .here("used again")
        .label(product, format!("`{name}` is summed over this product, because it is repeated in it"))
        .help(format!("write one product of all its factors, name the sum, `sum[{name}](…)`, or use another index name in one of the two"))
}

#[cold]
pub(super) fn ambiguous(name: &str, occurrences: &[Occurrence]) -> Diagnostic {
    let first = occurrences[0].span;
    let mut diagnostic = Diagnostic::error(
        codes::AMBIGUOUS_SUM,
        first,
        format!("it is not clear where `{name}` is to be summed"),
    );
    for other in &occurrences[1..] {
        diagnostic = diagnostic.label(other.span, "and here, in no product with the first");
    }
    diagnostic
        .note(format!("`{name}` is not on the left side, and an index is summed by itself only in a product that repeats it"))
        .help(format!("write `sum[{name}](…)` around what is to be summed, or keep `{name}` on the left side"))
}

#[cold]
pub(super) fn missing_dot(
    value: &Expr,
    wanted: usize,
    axes: &[Arc<str>],
    dots: &[Arc<str>],
    function: &Function,
) -> Diagnostic {
    let name = &function.name.text;
    let listed = axes.iter().map(|a| format!("`{a}`")).collect::<Vec<_>>().join(", ");
    let message = match (dots.len(), wanted) {
        (0, 1) => format!("along which index does `{name}` work?"),
        (0, _) => format!("along which {wanted} indices does `{name}` work?"),
        (found, _) => format!("`{name}` works along {wanted} here, but {found} indices have a dot"),
    };
    let example = axes.last().map_or_else(|| "d".into(), |a| a.to_string());
    Diagnostic::error(codes::MISSING_DOT, value.span, message)
        .here(format!("this has the indices {listed}"))
        .label(function.span, "the parameter's axes are declared here")
        .help(format!("put a dot after the index: `…[…, {example}.]`; all others are mapped over"))
}

#[cold]
pub(super) fn argument_count(name: &Name, wanted: usize, found: usize) -> Diagnostic {
    let plural = if wanted == 1 { "" } else { "s" };
    Diagnostic::error(
        codes::ARGUMENT_COUNT,
        name.span,
        format!("`{}` takes {wanted} argument{plural}, not {found}", name.text),
    )
}

#[cold]
pub(super) fn too_many_arguments(
    name: &Name,
    span: Span,
    function: &Function,
    key: Option<&Name>,
) -> Diagnostic {
    let params: Vec<&str> = function.params.iter().map(|p| &*p.name.text).collect();
    let message = match key {
        Some(key) if params.contains(&&*key.text) => format!("`{}` is given twice", key.text),
        Some(key) => format!("`{}` has no parameter `{}`", name.text, key.text),
        None => format!("`{}` takes {} arguments at most", name.text, params.len()),
    };
    let mut diagnostic = Diagnostic::error(codes::ARGUMENT_COUNT, span, message)
        .label(function.span, "declared here")
        .note(format!("its parameters are: {}", params.join(", ")));
    if let Some(near) = key.and_then(|key| did_you_mean(&key.text, params.iter().copied())) {
        diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
    }
    diagnostic
}

#[cold]
pub(super) fn missing_argument(name: &Name, function: &Function, param: &Param) -> Diagnostic {
    Diagnostic::error(
        codes::ARGUMENT_COUNT,
        name.span,
        format!("`{}` needs an argument for `{}`", name.text, param.name.text),
    )
    .label(function.span, "declared here")
}

#[cold]
pub(super) fn only_in_guard(name: &str, span: Span) -> Diagnostic {
    Diagnostic::error(codes::GUARD_SCOPE, span, format!("`{name}` stands in the guard only"))
        .here("no tensor of the equation has this index")
        .help("a guard restricts indices of the equation; check the spelling")
}

#[cold]
pub(super) fn meet_nowhere(condition: Span, first: &str, second: &str) -> Diagnostic {
    Diagnostic::error(
        codes::GUARD_SCOPE,
        condition,
        format!("the guard relates `{first}` and `{second}`, which are summed in different places"),
    )
    .help(format!(
        "sum both in one place, `sum[{first}, {second}](…)`, or write the inner sum as an equation of its own"
    ))
}
