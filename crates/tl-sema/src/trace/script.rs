//! Scripts: definitions that grow, and expressions that are traced against them.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tl_syntax::{Diagnostic, Span, ast, codes};

use crate::argument::{Argument, Limits, Scope, Traced};
use crate::block::Block;
use crate::constants::Labels;
use crate::program::*;
use crate::projection::Names;
use crate::reader::Reader;
use crate::relations;

use super::frame::Frame;
use super::{Res, Tracer, with_large};

/// Traces an expression of a script against the script's definitions and variables. An indexed expression at the top keeps its
/// index variables as the axes of the result, in order (`Y[3, j]` has one axis); all other indices are summed as on the right
/// side of an equation.
///
/// # Errors
/// What is wrong with the expression or with the definitions that it needs, with spans.
pub fn trace_expr(
    program: &Program,
    definitions: &Definitions,
    scope: &dyn Scope,
    expr: &ast::Expr,
    limits: &Limits,
) -> Result<Traced, Vec<Diagnostic>> {
    let mut own = Program::new();
    own.next_expr = definitions.program.next_expr;
    let mut reader = Reader::new(&mut own);
    let mut value = reader.expr(expr);
    if let ExprKind::Call(name, _) = &value.kind
        && definitions.defines(&name.text)
    {
        relations::resolve_call(&mut value, &Defined { program, definitions });
    }
    let errors: Vec<Diagnostic> = std::mem::take(&mut reader.diagnostics);
    if errors.iter().any(Diagnostic::is_error) {
        return Err(errors);
    }
    let kept = kept_indices(&value, scope, definitions);
    let mut wanted = crate::block::unit("", &Name { text: "value".into(), span: value.span }, &value);
    wanted.indices = kept;
    let scope = Snapshot::of(scope, definitions, &wanted);
    with_large(|stack| {
        let block = Block::of_script(&definitions.block, wanted.clone(), program, &scope);
        let mut tracer = Tracer::new(program, Some(&scope), limits, stack);
        tracer.outside = &definitions.block;
        tracer.diagnostics.extend(errors.iter().cloned());
        let traced = tracer.script(block);
        tracer.finish(traced, value.span)
    })
}

/// The tensors of a script as names.
struct Defined<'a> {
    program: &'a Program,
    definitions: &'a Definitions,
}

impl Names for Defined<'_> {
    fn is_variable(&self, _: &str) -> bool {
        false
    }

    fn is_tensor(&self, name: &str) -> bool {
        self.definitions.defines(name)
    }

    fn function(&self, name: &str) -> Option<Arc<Function>> {
        self.program.function(name).cloned()
    }

    fn all(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The variables that the equations may mean, taken from a scope once.
struct Snapshot {
    values: HashMap<Arc<str>, Argument>,
    names: Vec<String>,
}

impl Snapshot {
    fn of(scope: &dyn Scope, definitions: &Definitions, wanted: &Equation) -> Self {
        let mut values = HashMap::new();
        let mut take = |name: &Arc<str>| {
            if !values.contains_key(name)
                && let Some(value) = scope.variable(name)
            {
                values.insert(Arc::clone(name), value);
            }
        };
        for equation in definitions.block.equations.iter().chain([wanted]) {
            equation.each_name(&mut take);
        }
        definitions.block.dims.iter().for_each(|dim| dim.size.each_name(&mut take));
        Self { values, names: scope.names() }
    }
}

impl Scope for Snapshot {
    fn variable(&self, name: &str) -> Option<Argument> {
        self.values.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.names.clone()
    }
}

/// The tensors that a script defines by equations, and its `dim`s. It grows as the script runs.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    pub(crate) block: crate::program::Block,
    pub(crate) program: Program,
}

impl Definitions {
    /// No definitions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an equation. The diagnostics are those of reading it; the equations are analysed when something needs them.
    pub fn add_equation(&mut self, equation: &ast::Equation) -> Vec<Diagnostic> {
        let mut reader = Reader::new(&mut self.program);
        let read = reader.equation(equation);
        let diagnostics = std::mem::take(&mut reader.diagnostics);
        self.block.equations.extend(read);
        diagnostics
    }

    /// Adds a rule.
    pub fn add_rule(&mut self, rule: &ast::Rule) -> Vec<Diagnostic> {
        let mut reader = Reader::new(&mut self.program);
        let read = reader.rule(rule);
        let diagnostics = std::mem::take(&mut reader.diagnostics);
        self.block.equations.extend(read);
        diagnostics
    }

    /// Declares a relation; `columns` are the names of its domains.
    pub fn add_schema(&mut self, name: &str, span: Span, columns: &[Arc<str>]) {
        let column = |text: &Arc<str>| Name { text: Arc::clone(text), span };
        let columns = columns.iter().map(column).collect();
        self.block.schemas.push((Name { text: name.into(), span }, columns));
    }

    /// Adds the facts of a relation, each with as many constants as it has columns.
    pub fn add_facts(&mut self, name: &str, span: Span, arity: usize, rows: Vec<Fact>) {
        self.program.next_expr += 1;
        let id = ExprId(self.program.next_expr);
        let name = Name { text: name.into(), span };
        self.block.equations.push(crate::facts::facts_equation(&name, arity, rows, id));
    }

    /// Adds the facts of a relation that an equation defines; its left side names the columns.
    pub fn add_facts_of(&mut self, equation: &ast::Equation, rows: Vec<Fact>) -> Vec<Diagnostic> {
        let mut reader = Reader::new(&mut self.program);
        let read = reader.equation(equation);
        let mut found = std::mem::take(&mut reader.diagnostics);
        let Some(mut read) = read else { return found };
        let indices = read.indices.as_deref().unwrap_or_default();
        let is_column = |index: &&Index| matches!(index.kind, IndexKind::Name(_));
        if let Some(other) = indices.iter().find(|index| !is_column(index)) {
            found.push(Diagnostic::error(
                codes::BAD_INDEX,
                other.span,
                "a column of a relation has a plain name",
            ));
            return found;
        }
        self.program.next_expr += 1;
        let (arity, span) = (indices.len(), read.value.span);
        let kind = ExprKind::Facts(Arc::new(Facts { arity, rows }));
        read.value = Expr { id: ExprId(self.program.next_expr), kind, span };
        (read.projection, read.head, read.is_plain) = (Projection::Any, Head::Rule, false);
        self.block.equations.push(read);
        found
    }

    /// Adds a `dim` declaration; it replaces an earlier one of the same name.
    pub fn add_dims(&mut self, decl: &ast::DimDecl) -> Vec<Diagnostic> {
        let mut reader = Reader::new(&mut self.program);
        let dims = reader.dims(decl);
        let diagnostics = std::mem::take(&mut reader.diagnostics);
        self.block.dims.retain(|old| !dims.iter().any(|new| new.name.text == old.name.text));
        self.block.dims.extend(dims);
        diagnostics
    }

    /// Forgets the equations that define a tensor, so that it can be defined anew.
    pub fn remove(&mut self, tensor: &str) {
        self.block.equations.retain(|equation| *equation.target.text != *tensor);
    }

    /// Whether equations define a tensor of that name.
    pub fn defines(&self, tensor: &str) -> bool {
        self.block.equations.iter().any(|equation| *equation.target.text == *tensor)
    }

    /// The tensors that are defined, in the order of their first equations.
    pub fn tensors(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for equation in &self.block.equations {
            if !names.contains(&equation.target.text) {
                names.push(Arc::clone(&equation.target.text));
            }
        }
        names
    }
}

/// The indices that an indexed expression at the top keeps.
fn kept_indices(
    value: &crate::program::Expr,
    scope: &dyn Scope,
    definitions: &Definitions,
) -> Option<Vec<Index>> {
    let ExprKind::Index(_, indices) = &value.unparenthesized().kind else { return None };
    let is_index = |name: &str| definitions.defines(name) || scope.variable(name).is_none();
    let mut kept: Vec<Index> = Vec::new();
    for index in indices {
        if let IndexKind::Name(name) = &index.kind
            && is_index(name)
            && !kept.iter().any(|k| matches!(&k.kind, IndexKind::Name(n) if n == name))
        {
            kept.push(Index { dotted: false, ..index.clone() });
        }
    }
    (!kept.is_empty()).then_some(kept)
}

/// The names of the positions along the axes of a unit's value.
fn labels_of(block: &Block, unit: usize, rank: usize) -> Vec<Option<Labels>> {
    let equation = &block.units[unit];
    let class = |position: usize| match (&equation.indices, &equation.value.unparenthesized().kind) {
        (Some(indices), _) => match &indices.get(position)?.kind {
            IndexKind::Name(name) => block.domains.variable(unit, name, true),
            _ => None,
        },
        (None, ExprKind::Name(tensor)) => block.domains.position(tensor, position),
        _ => None,
    };
    (0..rank).map(|position| block.constants.labels(class(position)?)).collect()
}

impl Tracer<'_> {
    /// Traces the last unit of a script's block.
    fn script(&mut self, block: Rc<Block>) -> Res<()> {
        self.report_block(&block)?;
        let last = block.units.len() - 1;
        let frame = Frame::new(Rc::clone(&block), ("".into(), 0), Vec::new());
        let unit: &Equation = &block.units[last];
        let tensor = self.equation(&frame, last, &[])?;
        self.close_pending()?;
        let result = self.materialize(tensor, unit.span);
        self.labels = labels_of(&block, last, result.axes.len());
        self.graph.output("value", result.node, result.axes);
        Ok(())
    }
}
