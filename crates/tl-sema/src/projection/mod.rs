//! Projection scope: where each index that is not on the left is summed, decided before anything is traced.
//!
//! The rule of the language, bottom up over the right side:
//!
//! ```text
//! free(X[i, j])       = {i, j}
//! free(product)       = ∪ free(factor); an index that is free in two factors or more, and is not kept, is summed here
//! free(a + b)         = free(a) ∪ free(b)
//! free(f(x))          = free(x) − the axes that f works along + the axes of its result
//! free(sum[i](x))     = free(x) − {i};  inside, i is kept
//! kept                = the left side's indices, and those that a function or a reduction around works along
//! ```
//!
//! A *product* is a maximal chain of joins, or of `*` and `/`; the joins in `a b * c d` are products of their own. A *term* is
//! an operand of `+` or `−`, an argument of a function, or a whole right side. What is left free at the top and not kept:
//!
//! - was it summed in a product elsewhere? An error that shows both places.
//! - does it occur once? It is summed over the smallest term that has it, with a warning.
//! - else an error that asks for `sum[i](…)`.
//!
//! Invariant: the result says for every expression which indices are summed *at* it, so that tracing never decides.

mod call;
mod report;
mod settle;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tl_ir::Scalar;
use tl_syntax::{Diagnostic, Span, codes};

use crate::builtins;
use crate::program::*;
use crate::suggest::did_you_mean;

use report::{argument_count, not_in_equation};

/// What names mean around the equations of a block.
pub(crate) trait Names {
    /// Whether it is a variable: a parameter, a `let`, a variable of the script. Then it is no index.
    fn is_variable(&self, name: &str) -> bool;
    /// Whether equations define a tensor of that name.
    fn is_tensor(&self, name: &str) -> bool;
    /// The function of that name.
    fn function(&self, name: &str) -> Option<Arc<Function>>;
    /// Everything that is known, for "did you mean".
    fn all(&self) -> Vec<String>;
}

/// What is known of an equation before tracing.
#[derive(Clone, Debug, Default)]
pub(crate) struct EquationFacts {
    /// The index variables, with the first place of each.
    pub variables: Vec<(Arc<str>, Span)>,
    /// Those on the left side.
    pub left: Vec<Arc<str>>,
    /// Those with a dot on the left side.
    pub dotted: Vec<Arc<str>>,
    /// Which indices are summed at which expression.
    pub sums: HashMap<ExprId, Vec<Arc<str>>>,
    /// The indices that `max=` and its kind project at the very top.
    pub projected: Vec<Arc<str>>,
    /// The indices of a reduction without brackets, `max(x[i])`.
    pub reduced: HashMap<ExprId, Vec<Arc<str>>>,
    /// How calls of functions meet their arguments.
    pub calls: HashMap<ExprId, CallFacts>,
}

/// A call of a function that is written in the language.
#[derive(Clone, Debug)]
pub(crate) struct CallFacts {
    /// The function.
    pub function: Arc<Function>,
    /// For each parameter, which argument it takes and along which axes.
    pub arguments: Vec<Binding>,
    /// For each axis of the result, the index that it is outside.
    pub result: Vec<ResultAxis>,
}

/// A parameter's argument.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    /// The number of the argument; `None` takes the default.
    pub argument: Option<usize>,
    /// The caller's indices that the parameter's axes are.
    pub axes: BoundAxes,
}

/// The caller's side of a parameter's axes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BoundAxes {
    /// The parameter declares no axes: every index is mapped over.
    Mapped,
    /// These indices, in order.
    Indices(Vec<Arc<str>>),
    /// The last axes of a tensor that is given without indices.
    Bare,
}

/// The caller's side of an axis of the result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ResultAxis {
    /// This index.
    Index(Arc<str>),
    /// An axis of a tensor without indices.
    Bare,
}

/// An occurrence of an index that is free in an expression.
#[derive(Clone, Debug)]
struct Occurrence {
    span: Span,
    /// The smallest term around it.
    term: ExprId,
    /// Whether it stands several times in one tensor's brackets.
    repeated: bool,
}

type Free = Vec<(Arc<str>, Vec<Occurrence>)>;

/// Where an index was summed in a product.
struct Summed {
    index: Arc<str>,
    product: Span,
}

/// What stays free around the expression that is walked.
#[derive(Clone)]
struct Around<'a> {
    kept: &'a [Arc<str>],
    term: ExprId,
    /// Whether the expression is the whole right side.
    outermost: bool,
}

/// The index variables of an equation: names between brackets that are no variables.
pub(crate) fn index_variables(equation: &Equation, names: &dyn Names) -> Vec<(Arc<str>, Span)> {
    let mut found = Variables { names, found: Vec::new() };
    equation.indices.iter().flatten().for_each(|index| found.index(index));
    let mut visit = |expr: &Expr| match &expr.kind {
        ExprKind::Index(_, indices) => indices.iter().for_each(|index| found.index(index)),
        ExprKind::Project(_, bound, _) | ExprKind::Keep(_, bound) => {
            bound.iter().for_each(|name| found.name(name))
        }
        _ => {}
    };
    equation.value.walk(&mut visit);
    equation.guard.iter().for_each(|guard| guard.walk(&mut visit));
    found.found
}

struct Variables<'a> {
    names: &'a dyn Names,
    found: Vec<(Arc<str>, Span)>,
}

impl Variables<'_> {
    fn add(&mut self, text: &Arc<str>, span: Span) {
        if !self.names.is_variable(text) && !self.found.iter().any(|(name, _)| name == text) {
            self.found.push((Arc::clone(text), span));
        }
    }

    fn name(&mut self, name: &Name) {
        self.add(&name.text, name.span);
    }

    fn index(&mut self, index: &Index) {
        match &index.kind {
            IndexKind::Name(name) => self.add(name, index.span),
            IndexKind::Group(names) => names.iter().for_each(|name| self.name(name)),
            IndexKind::Expr(expr) => self.arithmetic(expr),
            IndexKind::Any | IndexKind::Slice(..) => {}
        }
    }

    /// Names in index arithmetic, but not what is called or indexed there.
    fn arithmetic(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Name(name) => self.add(name, expr.span),
            ExprKind::Index(_, indices) => indices.iter().for_each(|index| self.index(index)),
            ExprKind::Field(..) => {}
            ExprKind::Call(name, _) if builtins::takes_names(&name.text) => {}
            _ => expr.each_part(&mut |part| self.arithmetic(part)),
        }
    }
}

/// Analyses one equation. What is wrong is added to `diagnostics`.
/// `staged` are the index variables that are unrolled: they are numbers, no axes. `is_shared` says that other equations define elements
/// of the same tensor, and so the sizes of its axes.
pub(crate) fn analyse(
    equation: &Equation,
    declared: &HashSet<Arc<str>>,
    staged: &HashSet<Arc<str>>,
    is_shared: bool,
    names: &dyn Names,
    diagnostics: &mut Vec<Diagnostic>,
) -> EquationFacts {
    let mut facts = EquationFacts { variables: index_variables(equation, names), ..EquationFacts::default() };
    let left = Variables { names, found: Vec::new() };
    let left = equation.indices.iter().flatten().fold(left, |mut left, index| {
        left.index(index);
        if let (true, IndexKind::Name(name)) = (index.dotted, &index.kind) {
            facts.dotted.push(Arc::clone(name));
        }
        left
    });
    facts.left = left.found.iter().map(|(name, _)| Arc::clone(name)).collect();
    let kept: Vec<Arc<str>> = match equation.explicit {
        true => facts.variables.iter().map(|(name, _)| Arc::clone(name)).collect(),
        false => facts.left.clone(),
    };
    let mut walk = Walk {
        names,
        facts: &mut facts,
        diagnostics,
        staged: staged.clone(),
        summed: Vec::new(),
        guarded: HashSet::new(),
        is_rule: equation.head == Head::Rule,
        sites: Vec::new(),
    };
    walk.beside(equation);
    let conditions = walk.guard(&equation.guard);
    let root = equation.value.unparenthesized();
    let free = walk.expr(&equation.value, &Around { kept: &kept, term: root.id, outermost: true });
    let summed = std::mem::take(&mut walk.summed);
    if equation.explicit {
        let projected =
            free.iter().map(|(name, _)| Arc::clone(name)).filter(|name| !walk.facts.left.contains(name));
        walk.facts.projected = projected.collect();
        let projected = walk.facts.projected.clone();
        walk.sites.extend(projected.into_iter().map(|name| (name, root.id)));
    } else {
        walk.settle(&free, &kept, &summed);
    }
    walk.check_guard(&conditions);
    walk.check_dots(equation);
    if !is_shared {
        walk.check_left(equation, &free, &left.found, declared);
    }
    facts
}

struct Walk<'a> {
    names: &'a dyn Names,
    facts: &'a mut EquationFacts,
    diagnostics: &'a mut Vec<Diagnostic>,
    /// Indices that are unrolled: they are numbers, no axes.
    staged: HashSet<Arc<str>>,
    summed: Vec<Summed>,
    /// Whether an index may occur once: in a rule, it says that there is one.
    is_rule: bool,
    /// Indices that a guard mentions.
    guarded: HashSet<Arc<str>>,
    /// Where each index is reduced away: at products, reductions, calls.
    sites: Vec<(Arc<str>, ExprId)>,
}

impl Walk<'_> {
    fn is_index(&self, name: &str) -> bool {
        self.facts.variables.iter().any(|(variable, _)| **variable == *name)
    }

    /// Walks what stands on the left side and in the bound of a recursion, where nothing is summed, for names that mean nothing.
    fn beside(&mut self, equation: &Equation) {
        let all: Vec<Arc<str>> = self.facts.variables.iter().map(|(name, _)| Arc::clone(name)).collect();
        let mut parts: Vec<&Expr> = equation.bound.until.iter().chain(&equation.bound.steps).collect();
        equation.indices.iter().flatten().for_each(|index| index.each_part(&mut |part| parts.push(part)));
        for part in parts {
            self.expr(part, &Around { kept: &all, term: part.id, outermost: false });
        }
    }

    /// Walks conditions; gives the indices that each relates.
    fn guard(&mut self, guard: &[Expr]) -> Vec<(Span, Free)> {
        let mut conditions = Vec::new();
        for condition in guard {
            let all: Vec<Arc<str>> = self.facts.variables.iter().map(|(name, _)| Arc::clone(name)).collect();
            let free = self.expr(condition, &Around { kept: &all, term: condition.id, outermost: false });
            self.guarded.extend(free.iter().map(|(name, _)| Arc::clone(name)));
            conditions.push((condition.span, free));
        }
        conditions
    }

    fn expr(&mut self, expr: &Expr, around: &Around<'_>) -> Free {
        let inner = Around { outermost: false, ..around.clone() };
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::Str(_) | ExprKind::Bool(_) => Vec::new(),
            ExprKind::Facts(_) | ExprKind::Token(_) | ExprKind::Missing => Vec::new(),
            ExprKind::Unsupported(what) => {
                self.diagnostics.push(not_in_equation(expr.span, what));
                Vec::new()
            }
            ExprKind::Name(name) => self.name(name, expr, around),
            ExprKind::Paren(body) => self.expr(body, around),
            ExprKind::Guarded(body, guard) => {
                self.guard(guard);
                self.expr(body, around)
            }
            ExprKind::Field(base, _) => self.path(base, around),
            ExprKind::Index(..) => self.access(expr, around),
            ExprKind::List(parts) => {
                parts.iter().flat_map(|part| self.term(part, &inner)).collect::<Free>().merged()
            }
            ExprKind::Apply(Scalar::Neg, operands) => self.expr(&operands[0], &inner),
            ExprKind::Apply(_, operands) => {
                operands.iter().flat_map(|operand| self.term(operand, &inner)).collect::<Free>().merged()
            }
            ExprKind::Sum(terms) => {
                terms.iter().flat_map(|(_, term)| self.term(term, &inner)).collect::<Free>().merged()
            }
            ExprKind::Join(factors) => self.product(expr, &mut factors.iter(), &inner),
            ExprKind::Product(factors) => self.product(expr, &mut factors.iter().map(|(_, f)| f), &inner),
            ExprKind::If(condition, yes, no) => {
                let mut free = self.term(condition, &inner);
                free.extend(self.expr(yes, around));
                free.extend(self.expr(no, around));
                free.merged()
            }
            ExprKind::Project(_, bound, body) => self.project(expr, bound, body, around),
            ExprKind::Keep(body, kept) => {
                let kept: Vec<Arc<str>> = kept.iter().map(|name| Arc::clone(&name.text)).collect();
                let outer = std::mem::take(&mut self.summed);
                let free = self
                    .expr(body, &Around { kept: &kept, term: body.unparenthesized().id, outermost: false });
                let summed = std::mem::replace(&mut self.summed, outer);
                self.settle(&free, &kept, &summed);
                free.into_iter()
                    .filter(|(name, _)| kept.contains(name))
                    .map(|(n, o)| (n, at_term(o, around.term)))
                    .collect()
            }
            ExprKind::Call(name, args) => self.call(expr, name, args, around),
        }
    }

    /// An expression that is a term of its own.
    fn term(&mut self, expr: &Expr, around: &Around<'_>) -> Free {
        self.expr(expr, &Around { term: expr.unparenthesized().id, ..around.clone() })
    }

    fn name(&mut self, name: &Arc<str>, expr: &Expr, around: &Around<'_>) -> Free {
        if self.is_index(name) {
            let occurrence = Occurrence { span: expr.span, term: around.term, repeated: false };
            return vec![(Arc::clone(name), vec![occurrence])];
        }
        if !self.names.is_variable(name) && !self.names.is_tensor(name) && builtins::constant(name).is_none()
        {
            self.unknown(name, expr.span);
        }
        Vec::new()
    }

    fn unknown(&mut self, name: &str, span: Span) {
        let mut known = self.names.all();
        known.extend(self.facts.variables.iter().map(|(name, _)| name.to_string()));
        let mut diagnostic = Diagnostic::error(codes::UNKNOWN_NAME, span, format!("`{name}` is not defined"))
            .here("no variable, tensor or index of this equation has this name");
        if self.names.function(name).is_some() {
            diagnostic = diagnostic.help(format!("`{name}` is a function: call it, `{name}(…)`"));
        } else if let Some(near) = did_you_mean(name, known.iter().map(String::as_str)) {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
        }
        self.diagnostics.push(diagnostic);
    }

    /// What is before the last field or brackets: a name, or a path with indices in it.
    fn path(&mut self, base: &Expr, around: &Around<'_>) -> Free {
        match &base.kind {
            ExprKind::Name(name) => {
                if !self.names.is_variable(name) && !self.names.is_tensor(name) {
                    self.unknown(name, base.span);
                }
                Vec::new()
            }
            ExprKind::Field(inner, _) => self.path(inner, around),
            ExprKind::Index(..) => self.access(base, around),
            _ => self.expr(base, around),
        }
    }

    /// A read: all indices of its brackets and of its path are free in it.
    fn access(&mut self, expr: &Expr, around: &Around<'_>) -> Free {
        let ExprKind::Index(base, indices) = &expr.kind else { return Vec::new() };
        let mut free = self.path(base, around);
        for index in indices {
            match &index.kind {
                IndexKind::Name(name) if self.is_index(name) => {
                    free.push((
                        Arc::clone(name),
                        vec![Occurrence { span: index.span, term: around.term, repeated: false }],
                    ));
                }
                IndexKind::Group(names) => {
                    free.extend(names.iter().filter(|n| self.is_index(&n.text)).map(|name| {
                        (
                            Arc::clone(&name.text),
                            vec![Occurrence { span: name.span, term: around.term, repeated: false }],
                        )
                    }))
                }
                IndexKind::Expr(inner) => {
                    // Index arithmetic is no place for sums: everything is kept.
                    let all: Vec<Arc<str>> =
                        self.facts.variables.iter().map(|(name, _)| Arc::clone(name)).collect();
                    let around = Around { kept: &all, term: around.term, outermost: false };
                    let inner = self.expr(inner, &around);
                    free.extend(inner.into_iter().map(|(name, o)| (name, at_term(o, around.term))));
                }
                IndexKind::Slice(from, to, step) => {
                    for bound in from.iter().chain(to).chain(step) {
                        self.expr(bound, &Around { outermost: false, ..around.clone() });
                    }
                }
                IndexKind::Any | IndexKind::Name(_) => {}
            }
        }
        let mut merged = free.merged();
        for (_, occurrences) in &mut merged {
            let repeated = occurrences.len() > 1 || occurrences.iter().any(|o| o.repeated);
            occurrences.truncate(1);
            occurrences[0].repeated = repeated;
        }
        merged
    }

    fn product(
        &mut self,
        expr: &Expr,
        factors: &mut dyn Iterator<Item = &Expr>,
        around: &Around<'_>,
    ) -> Free {
        let frees: Vec<Free> = factors.map(|factor| self.expr(factor, around)).collect();
        let mut counts: HashMap<Arc<str>, usize> = HashMap::new();
        for (name, _) in frees.iter().flatten() {
            *counts.entry(Arc::clone(name)).or_default() += 1;
        }
        let mut free = frees.into_iter().flatten().collect::<Free>().merged();
        free.retain(|(name, _)| {
            let summed = counts[name] > 1 && !around.kept.contains(name);
            if summed {
                self.facts.sums.entry(expr.id).or_default().push(Arc::clone(name));
                self.summed.push(Summed { index: Arc::clone(name), product: expr.span });
                self.sites.push((Arc::clone(name), expr.id));
            }
            !summed
        });
        free
    }

    pub(super) fn project(&mut self, expr: &Expr, bound: &[Name], body: &Expr, around: &Around<'_>) -> Free {
        let mut kept = around.kept.to_vec();
        kept.extend(bound.iter().map(|name| Arc::clone(&name.text)));
        let outer = std::mem::take(&mut self.summed);
        let term = body.unparenthesized().id;
        let inner = self.expr(body, &Around { kept: &kept, term, outermost: false });
        let inside = std::mem::replace(&mut self.summed, outer);
        // What the body sums in products concerns the rest of the equation, but not the indices bound here.
        self.summed.extend(inside.into_iter().filter(|s| !bound.iter().any(|name| name.text == s.index)));
        for name in bound {
            let found = inner.iter().any(|(index, _)| *index == name.text);
            if !found && !self.could_be_open(body) {
                self.diagnostics.push(
                    Diagnostic::warning(
                        codes::SINGLE_INDEX,
                        name.span,
                        format!("`{}` does not occur in what is reduced", name.text),
                    )
                    .note("the value is taken once for each position of the index"),
                );
            }
        }
        let free = inner.into_iter().filter(|(index, _)| !bound.iter().any(|name| name.text == *index));
        self.sites.extend(bound.iter().map(|name| (Arc::clone(&name.text), expr.id)));
        free.map(|(name, o)| (name, at_term(o, around.term))).collect()
    }

    fn call(&mut self, expr: &Expr, name: &Name, args: &[Arg], around: &Around<'_>) -> Free {
        let inner = Around { outermost: false, ..around.clone() };
        if let Some(function) = self.names.function(&name.text) {
            return self.call_function(expr, name, args, function, around);
        }
        if builtins::takes_names(&name.text) {
            if &*name.text == "has" {
                args.iter().for_each(|arg| drop(self.path(arg.value.unparenthesized(), &inner)));
            }
            return Vec::new();
        }
        if let (Some(_), [arg]) = (Projection::named(&name.text), args)
            && Scalar::named(&name.text).is_none_or(|s| s.info().arity > 1)
        {
            return self.reduce_all(expr, arg, &inner);
        }
        match Scalar::named(&name.text).filter(|_| !builtins::is_operator(&name.text)) {
            Some(scalar) if scalar.info().arity != args.len() => {
                self.diagnostics.push(argument_count(name, scalar.info().arity, args.len()));
            }
            Some(_) => {}
            None => self.diagnostics.push(self.unknown_function(name)),
        }
        args.iter().flat_map(|arg| self.term(&arg.value, &inner)).collect::<Free>().merged()
    }

    /// `max(x[i])`: reduces every index that is not on the left.
    fn reduce_all(&mut self, expr: &Expr, arg: &Arg, around: &Around<'_>) -> Free {
        let all: Vec<Arc<str>> = self.facts.variables.iter().map(|(name, _)| Arc::clone(name)).collect();
        let term = arg.value.unparenthesized().id;
        let free = self.expr(&arg.value, &Around { kept: &all, term, outermost: false });
        let (stay, reduced): (Free, Free) =
            free.into_iter().partition(|(name, _)| around.kept.contains(name));
        self.sites.extend(reduced.iter().map(|(name, _)| (Arc::clone(name), expr.id)));
        self.facts.reduced.insert(expr.id, reduced.into_iter().map(|(name, _)| name).collect());
        stay.into_iter().map(|(name, o)| (name, at_term(o, around.term))).collect()
    }

    fn unknown_function(&self, name: &Name) -> Diagnostic {
        let mut known = self.names.all();
        known.extend(builtins::names().map(str::to_owned));
        let diagnostic = Diagnostic::error(
            codes::UNKNOWN_FUNCTION,
            name.span,
            format!("there is no function `{}`", name.text),
        );
        match did_you_mean(&name.text, known.iter().map(String::as_str)) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic,
        }
    }
}

/// Whether a function works along axes of an argument.
pub(crate) fn takes_axes(function: &Function) -> bool {
    function.params.iter().any(|p| p.axes.as_ref().is_some_and(|axes| !axes.is_empty()))
}

trait Merge {
    fn merged(self) -> Self;
}

impl Merge for Free {
    /// Brings the occurrences of each index together.
    fn merged(self) -> Self {
        let mut out: Free = Vec::new();
        for (name, occurrences) in self {
            match out.iter_mut().find(|(index, _)| *index == name) {
                Some((_, all)) => all.extend(occurrences),
                None => out.push((name, occurrences)),
            }
        }
        out
    }
}

fn at_term(occurrences: Vec<Occurrence>, term: ExprId) -> Vec<Occurrence> {
    occurrences.into_iter().map(|o| Occurrence { term, ..o }).collect()
}
