//! Domains of named constants: `M[0, "Alice"]`, `Parent("Alice", "Bob")`, `dim person = ["Alice", "Bob"]`.
//!
//! Every class of domains (see [`crate::domains`]) may have names, in the order in which the program mentions them; a `dim` with a list
//! of texts closes its domain. Once the names are known, each text that stands for a constant is replaced by its position, so that
//! nothing after this pass knows of names but who prints a result.
//!
//! The vocabulary of a function that generates is a domain whose names the model knows: a text there names a token, whose number is
//! known when the function is traced (see `trace/vocabulary.rs`).

use std::collections::HashMap;
use std::sync::Arc;

use tl_ir::Scalar;
use tl_syntax::{Diagnostic, Span, codes};

use crate::block::Block;
use crate::domains::{Class, Domains};
use crate::program::{Constant, Equation, Expr, ExprId, ExprKind, Facts, Function, IndexKind};
use crate::suggest::did_you_mean;

/// The names of the positions along an axis.
pub type Labels = Arc<[Arc<str>]>;

/// The named constants and the numbers of a block's domains.
#[derive(Clone, Debug, Default)]
pub(crate) struct Constants {
    domains: HashMap<Class, Domain>,
}

#[derive(Clone, Debug, Default)]
struct Domain {
    names: Vec<Arc<str>>,
    positions: HashMap<Arc<str>, usize>,
    /// Where the first name stands.
    named_at: Option<Span>,
    /// Whether a `dim` lists all names.
    closed: bool,
    /// The first fact that names one.
    stated_at: Option<Span>,
    /// The largest number that facts mention, and where.
    largest: Option<(usize, Span)>,
}

impl Constants {
    /// Finds all constants, and puts positions in the places of texts.
    pub fn new(
        block: &mut Block,
        is_index: &dyn Fn(usize, &str) -> bool,
        text_of: &dyn Fn(&str) -> Option<Arc<str>>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut constants = Constants::default();
        constants.close(block);
        let mut units = std::mem::take(&mut block.units);
        let last = units.len().saturating_sub(1);
        for (number, unit) in units.iter_mut().enumerate() {
            let mut pass = Pass {
                constants: &mut constants,
                domains: &block.domains,
                is_defined: &|name| block.tensors.contains_key(name),
                is_index: &|name| is_index(number, name),
                text_of,
                function: block.function.as_deref(),
                unit: number,
                asks: number == last && block.function.is_none(),
                diagnostics,
            };
            pass.unit(unit);
        }
        block.units = units;
        constants.check_kinds(diagnostics);
        constants.check_axes(block, diagnostics);
        constants
    }

    /// How many names a domain has, and where the first stands.
    pub fn size(&self, class: Class) -> Option<(usize, Span)> {
        let domain = self.domains.get(&class)?;
        Some((domain.names.len(), domain.named_at?))
    }

    /// The largest number that facts mention of a domain without names.
    pub fn largest(&self, class: Class) -> Option<(usize, Span)> {
        self.domains.get(&class).filter(|domain| domain.names.is_empty())?.largest
    }

    /// The domains of which facts mention numbers or texts name constants.
    pub fn classes(&self) -> impl Iterator<Item = Class> + '_ {
        self.domains.keys().copied()
    }

    /// The names of a domain.
    pub fn labels(&self, class: Class) -> Option<Labels> {
        let domain = self.domains.get(&class).filter(|domain| !domain.names.is_empty())?;
        Some(domain.names.iter().cloned().collect())
    }

    /// The position of a named constant.
    pub fn position(&self, class: Class, name: &str) -> Option<usize> {
        self.domains.get(&class)?.positions.get(name).copied()
    }

    /// `dim person = ["Alice", "Bob"]`
    fn close(&mut self, block: &Block) {
        for (name, unit) in &block.dims {
            let value = &block.units[*unit].value;
            let (Some(class), ExprKind::List(items)) = (block.domains.declared(&name.text), &value.kind)
            else {
                continue;
            };
            let texts: Option<Vec<&Arc<str>>> = items
                .iter()
                .map(|item| if let ExprKind::Str(text) = &item.kind { Some(text) } else { None })
                .collect();
            let domain = self.domains.entry(class).or_default();
            for text in texts.unwrap_or_default() {
                domain.add(text, value.span);
            }
            domain.closed = !domain.names.is_empty();
        }
    }

    /// An axis that a function is given has an order that whoever calls it knows: facts may not give it another.
    fn check_axes(&self, block: &Block, diagnostics: &mut Vec<Diagnostic>) {
        let Some(function) = &block.function else { return };
        let axes = function.params.iter().flat_map(|p| p.axes.iter().flatten()).chain(&function.result_axes);
        for axis in axes {
            let class = block.domains.declared(&axis.text);
            let domain = class.and_then(|class| self.domains.get(&class)).filter(|domain| !domain.closed);
            let Some(stated) = domain.and_then(|domain| domain.stated_at) else { continue };
            let name = &axis.text;
            diagnostics.push(
                Diagnostic::error(
                    codes::BAD_INDEX,
                    stated,
                    format!("the axis `{name}` of `{}` has no names for its positions", function.name.text),
                )
                .here("this fact names one")
                .label(axis.span, "declared here")
                .help(format!("list them in the function in their order: `dim {name} = [\"…\", \"…\"]`")),
            );
        }
    }

    fn check_kinds(&self, diagnostics: &mut Vec<Diagnostic>) {
        for domain in self.domains.values() {
            if let (Some(named), Some((number, span))) = (domain.named_at, domain.largest) {
                diagnostics.push(
                    Diagnostic::error(codes::BAD_INDEX, span, "a domain has numbers and named constants")
                        .here(format!("{number} is a number"))
                        .label(named, "these constants have names")
                        .help("write all constants of one domain as texts, or all as numbers"),
                );
            }
        }
    }
}

impl Domain {
    fn add(&mut self, name: &Arc<str>, span: Span) -> usize {
        if let Some(&position) = self.positions.get(name) {
            return position;
        }
        self.named_at.get_or_insert(span);
        self.names.push(Arc::clone(name));
        self.positions.insert(Arc::clone(name), self.names.len() - 1);
        self.names.len() - 1
    }
}

/// The walk over one unit.
struct Pass<'a> {
    constants: &'a mut Constants,
    domains: &'a Domains,
    is_defined: &'a dyn Fn(&str) -> bool,
    is_index: &'a dyn Fn(&str) -> bool,
    text_of: &'a dyn Fn(&str) -> Option<Arc<str>>,
    function: Option<&'a Function>,
    unit: usize,
    /// Whether the unit asks rather than says: a constant that only it names is most likely misspelt.
    asks: bool,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Pass<'_> {
    fn unit(&mut self, unit: &mut Equation) {
        let target = Arc::clone(&unit.target.text);
        if let ExprKind::Facts(facts) = &unit.value.kind {
            self.facts(&target, &Arc::clone(facts));
        }
        for (position, index) in unit.indices.iter_mut().flatten().enumerate() {
            self.index(&target, position, &mut index.kind, index.span);
        }
        unit.walk_mut(&mut |expr| self.expr(expr));
    }

    fn facts(&mut self, target: &Arc<str>, facts: &Facts) {
        for column in 0..facts.arity {
            let class =
                self.domains.position(target, column).filter(|&class| !self.domains.is_vocabulary(class));
            let Some(class) = class else { continue };
            for row in &facts.rows {
                match row.constants.get(column) {
                    Some(Constant::Str(name)) => {
                        self.name(class, name, row.span);
                        let domain = self.constants.domains.entry(class).or_default();
                        domain.stated_at.get_or_insert(row.span);
                    }
                    Some(Constant::Number(n)) => {
                        let domain = self.constants.domains.entry(class).or_default();
                        if domain.largest.is_none_or(|(largest, _)| largest < *n) {
                            domain.largest = Some((*n, row.span));
                        }
                    }
                    None => {}
                }
            }
        }
    }

    fn expr(&mut self, expr: &mut Expr) {
        match &mut expr.kind {
            ExprKind::Index(base, indices) => {
                let ExprKind::Name(tensor) = &base.kind else { return };
                let tensor = Arc::clone(tensor);
                for (position, index) in indices.iter_mut().enumerate() {
                    self.index(&tensor, position, &mut index.kind, index.span);
                }
            }
            // `x == "Alice"`, `tok[p] == " yes"`
            ExprKind::Apply(Scalar::Eq | Scalar::Ne, sides) => {
                let class = sides.iter().find_map(|side| match &side.unparenthesized().kind {
                    ExprKind::Name(name) if (self.is_index)(name) => {
                        self.domains.variable(self.unit, name, true)
                    }
                    _ if self.function.is_some_and(|function| function.is_token(side)) => {
                        self.domains.vocabulary()
                    }
                    _ => None,
                });
                let Some(class) = class else { return };
                for side in sides {
                    if let ExprKind::Str(text) = &side.kind
                        && let Some(named) = self.named(class, &Arc::clone(text), side.span)
                    {
                        side.kind = named;
                    }
                }
            }
            _ => {}
        }
    }

    fn index(&mut self, tensor: &Arc<str>, position: usize, kind: &mut IndexKind, span: Span) {
        let text = match kind {
            IndexKind::Expr(expr) => match &expr.kind {
                ExprKind::Str(text) => Arc::clone(text),
                _ => return,
            },
            IndexKind::Name(name) if !(self.is_index)(name) => match (self.text_of)(name) {
                Some(text) => text,
                None => return,
            },
            _ => return,
        };
        let Some(class) = self.domains.position(tensor, position) else { return };
        let is_closed = self.constants.domains.get(&class).is_some_and(|domain| domain.closed);
        // A text after a variable may be a key of metadata.
        if !(self.is_defined)(tensor) && !is_closed && !self.domains.is_vocabulary(class) {
            return;
        }
        if let Some(named) = self.named(class, &text, span) {
            *kind = IndexKind::Expr(Box::new(Expr { id: ExprId(u32::MAX), kind: named, span }));
        }
    }

    /// What stands in the place of a text.
    fn named(&mut self, class: Class, name: &Arc<str>, span: Span) -> Option<ExprKind> {
        match self.domains.is_vocabulary(class) {
            true => Some(ExprKind::Token(Arc::clone(name))),
            false => self.name(class, name, span).map(|at| ExprKind::Number(at as f64)),
        }
    }

    /// The position of a name, which is added to an open domain.
    fn name(&mut self, class: Class, name: &Arc<str>, span: Span) -> Option<usize> {
        let domain = self.constants.domains.entry(class).or_default();
        if let Some(&position) = domain.positions.get(name) {
            return Some(position);
        }
        let near = did_you_mean(name, domain.names.iter().map(|n| &**n)).map(str::to_owned);
        let help = |found: Diagnostic| match &near {
            Some(near) => found.help(format!("did you mean \"{near}\"?")),
            None => found,
        };
        if domain.closed {
            let names: Vec<String> = domain.names.iter().take(8).map(|n| format!("\"{n}\"")).collect();
            let more = if domain.names.len() > 8 { ", …" } else { "" };
            let found =
                Diagnostic::error(codes::UNKNOWN_NAME, span, format!("no constant is named \"{name}\""))
                    .note(format!("the domain has {}{more}", names.join(", ")));
            self.diagnostics.push(help(found));
            return None;
        }
        if self.asks && !domain.names.is_empty() {
            let found = Diagnostic::warning(
                codes::UNKNOWN_CONSTANT,
                span,
                format!("nothing else names the constant \"{name}\""),
            );
            self.diagnostics.push(help(found));
        }
        Some(domain.add(name, span))
    }
}
