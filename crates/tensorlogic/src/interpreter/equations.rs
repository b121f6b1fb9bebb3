//! Equations in scripts: definitions that nothing computes until somebody reads them, and the results that are kept.
//!
//! ```text
//! Y = step(W[i] X[i])     a definition of equations; traced, with all that it needs, when `Y` is read
//! E = get_tensor(m, "x")  a definition by a function of scripts; evaluated when `E`, or an equation that needs it, is read
//! ```
//!
//! A result is kept with the names of the variables that it was computed from, and forgotten when one of them changes or an
//! equation is added.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tl_sema::{Argument, Captured, Definitions, OuterTensor, Program, Scope};
use tl_syntax::ast::{self, AstNode, Expr, ProjectionOp, Stmt};
use tl_syntax::{Diagnostic, Node, SourceMap, Span, SyntaxKind, codes};

use super::Interpreter;
use super::arithmetic::{run_failed, value_of};
use super::environment::Environment;
use super::fault::{Eval, Interrupt, fault};
use super::format;
use super::function::Function;
use super::relations::Relation;
use super::tree::Tree;
use super::value::Value;
use crate::library;

/// What equations define, and what was computed of it.
#[derive(Debug, Default)]
pub(super) struct Equations {
    /// Functions of equations: the library's and the program's.
    program: Program,
    written: Vec<Written>,
    dims: Vec<ast::DimDecl>,
    /// Definitions that functions of scripts compute.
    scripted: HashMap<Arc<str>, Expr>,
    /// Those that are being evaluated, to notice a circle.
    going_on: Vec<Arc<str>>,
    /// Values of local variables that equations go on to need, and how many there ever were.
    held: HashMap<Arc<str>, Value>,
    held_count: usize,
    /// How many equations define each name.
    counts: HashMap<Arc<str>, usize>,
    results: HashMap<Arc<str>, Kept>,
    /// Relations that facts and declarations name, in the order in which they come up.
    relations: Vec<Relation>,
    /// The facts that were taken in before the script ran.
    pub(super) hoisted_facts: HashSet<Span>,
}

/// An equation or a rule with the local variables that it saw.
#[derive(Debug)]
struct Written {
    name: Arc<str>,
    clause: Clause,
    around: HashMap<Arc<str>, Captured>,
}

/// What defines a tensor.
#[derive(Clone, Debug, PartialEq)]
enum Clause {
    Equation(ast::Equation),
    Rule(ast::Rule),
}

impl Clause {
    fn syntax(&self) -> &Node {
        match self {
            Clause::Equation(equation) => equation.syntax(),
            Clause::Rule(rule) => rule.syntax(),
        }
    }

    fn left_side(&self) -> Option<Expr> {
        match self {
            Clause::Equation(equation) => equation.lhs(),
            Clause::Rule(rule) => rule.head(),
        }
    }

    /// Whether it is a rule or has parentheses on the left, and no weights: what it defines is a relation.
    fn defines_relation(&self) -> bool {
        match self {
            Clause::Rule(_) => true,
            Clause::Equation(equation) => {
                let is_true = matches!(
                    equation.op(),
                    Some(ProjectionOp::Assign | ProjectionOp::Add | ProjectionOp::Or)
                );
                is_true && matches!(equation.lhs(), Some(Expr::Call(_)))
            }
        }
    }
}

/// A result, and the names that it was computed from.
#[derive(Debug)]
struct Kept {
    value: Value,
    read: BTreeSet<Arc<str>>,
}

/// The variables of a script as the checker sees them; it remembers which were asked for.
struct Variables<'a> {
    environment: &'a Environment,
    equations: &'a Equations,
    /// Values under names that only this tracing knows.
    own: &'a [(Arc<str>, Value)],
    read: RefCell<BTreeSet<Arc<str>>>,
}

impl Equations {
    /// The functions of the standard library, and no definitions.
    pub fn with_library(sources: &mut SourceMap) -> Equations {
        let mut equations = Equations::default();
        for file in library::standard() {
            let source =
                sources.add(format!("lib/{}", file.path), file.text).expect("the library's files are small");
            for statement in tl_syntax::parse(&source).file().stmts() {
                if let Stmt::Fn(decl) = statement {
                    equations.define_function(&decl).expect("the library has no errors");
                }
            }
        }
        equations
    }

    /// Takes in a function.
    pub fn define_function(&mut self, decl: &ast::FnDecl) -> Eval<()> {
        let mut reader = tl_sema::reader::Reader::new(&mut self.program);
        let function = reader.function(decl);
        let found = std::mem::take(&mut reader.diagnostics);
        if let Some(function) = function {
            // What is wrong with a function of scripts is found when it runs.
            let of_equations = function.script.is_none();
            self.program.define(function);
            if of_equations && found.iter().any(Diagnostic::is_error) {
                return Err(found.into());
            }
        }
        self.results.clear();
        Ok(())
    }

    /// A function of equations.
    pub fn function(&self, name: &str) -> Option<&Arc<tl_sema::Function>> {
        self.program.function(name)
    }

    /// Whether equations, or functions of scripts, define a tensor of that name.
    pub fn defines(&self, name: &str) -> bool {
        self.scripted.contains_key(name)
            || self.counts.contains_key(name)
            || self.relations.iter().any(|r| *r.name == *name)
    }

    /// Whether facts, rules or equations with parentheses define that name.
    pub fn is_relation(&self, name: &str) -> bool {
        self.relations.iter().any(|r| *r.name == *name)
            || self.counts.contains_key(name)
                && self.written.iter().any(|w| *w.name == *name && w.clause.defines_relation())
    }

    /// A relation that facts or a declaration name, made if there is none.
    pub fn relation(&mut self, name: &str, span: Span, arity: usize) -> &mut Relation {
        let found = self.relations.iter().position(|r| *r.name == *name);
        let at = found.unwrap_or_else(|| {
            let (name, rows) = (name.into(), Vec::new());
            self.relations.push(Relation { name, span, arity, columns: None, rows });
            self.relations.len() - 1
        });
        &mut self.relations[at]
    }

    /// Forgets what was computed from relations, of which one has changed.
    pub fn forget_relations(&mut self) {
        let relations: BTreeSet<Arc<str>> = self.relations.iter().map(|r| Arc::clone(&r.name)).collect();
        self.results.retain(|name, kept| !relations.contains(name) && kept.read.is_disjoint(&relations));
    }

    /// What to call the columns of a relation: its domains, or the variables of the head of a rule.
    pub fn headings(&self, name: &str) -> Option<Vec<String>> {
        let declared = self.relations.iter().find(|r| *r.name == *name).and_then(|r| r.columns.as_ref());
        if let Some(columns) = declared {
            return Some(columns.iter().map(|c| c.to_string()).collect());
        }
        let head = |written: &Written| match written.clause.left_side()? {
            Expr::Call(call) => call
                .arguments()
                .map(|a| match a.value()? {
                    Expr::Name(name) => Some(name.name().to_owned()),
                    _ => None,
                })
                .collect::<Option<Vec<String>>>(),
            _ => None,
        };
        self.written.iter().filter(|w| *w.name == *name).find_map(head)
    }

    /// The names that are defined, some more than once.
    pub fn names(&self) -> Vec<Arc<str>> {
        let relations = self.relations.iter().map(|r| &r.name);
        self.written.iter().map(|w| &w.name).chain(self.scripted.keys()).chain(relations).cloned().collect()
    }

    /// A function of the standard library.
    pub fn library_function(&self, name: &str) -> Option<Value> {
        let function = self.program.function(name)?;
        Some(Value::Function(Arc::new(Function::library(name, function.span))))
    }

    /// The names of functions of equations.
    pub fn function_names(&self) -> Vec<Arc<str>> {
        self.program.functions().map(|f| Arc::clone(&f.name.text)).collect()
    }

    /// Forgets the results that were computed from a name.
    pub fn forget_readers_of(&mut self, name: &str) {
        self.results.retain(|result, kept| **result != *name && !kept.read.contains(name));
    }

    /// How many equations there are, to go back to.
    pub fn mark(&self) -> usize {
        self.written.len()
    }

    /// Forgets the equations that were written since a mark: those of a call that has ended.
    pub fn rewind(&mut self, mark: usize) {
        while self.written.len() > mark {
            self.forget(self.written.len() - 1);
        }
    }

    /// Forgets what earlier programs said that an equation of a dialogue now says: definitions of its left side, or with another number
    /// of indices.
    fn make_room_for(&mut self, name: &Arc<str>, equation: &ast::Equation) {
        if equation.op() == Some(ProjectionOp::Add) {
            return;
        }
        self.scripted.remove(name);
        let source = equation.span().source;
        let left = |e: &ast::Equation| e.lhs().map(|lhs| lhs.text().split_whitespace().collect::<String>());
        let count = |e: &ast::Equation| e.indexed().map_or(0, |indexed| indexed.indices().count());
        let replaces = |old: &Clause| match old {
            Clause::Equation(old) => {
                old.span().source != source && (left(old) == left(equation) || count(old) != count(equation))
            }
            Clause::Rule(_) => false,
        };
        while let Some(at) = self.written.iter().position(|w| w.name == *name && replaces(&w.clause)) {
            self.forget(at);
        }
        self.forget_readers_of(name);
    }

    /// Forgets one equation.
    fn forget(&mut self, at: usize) {
        let written = self.written.remove(at);
        self.forget_readers_of(&written.name);
        if let Some(count) = self.counts.get_mut(&written.name) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&written.name);
            }
        }
        self.release(&written);
    }

    /// Takes in an equation. The same one written again, for the same elements, takes the place of the first.
    fn write(&mut self, written: Written) {
        self.forget_readers_of(&written.name);
        let in_place = matches!(&written.clause, Clause::Equation(e) if e.op() == Some(ProjectionOp::Assign));
        let same = self.written.iter_mut().find(|old| in_place && old.defines_the_same(&written));
        match same {
            Some(old) => {
                let old = std::mem::replace(old, written);
                self.release(&old);
            }
            None => {
                *self.counts.entry(Arc::clone(&written.name)).or_default() += 1;
                self.written.push(written);
            }
        }
    }

    /// Takes in an equation that sees no local variable, for the time of one tracing.
    pub fn write_plain(&mut self, name: &str, equation: &ast::Equation) {
        let clause = Clause::Equation(equation.clone());
        self.write(Written { name: name.into(), clause, around: HashMap::new() });
    }

    /// Lets go of what an equation held.
    fn release(&mut self, written: &Written) {
        for captured in written.around.values() {
            if let Captured::Renamed(hidden) = captured {
                self.held.remove(hidden);
            }
        }
    }

    /// All names that an expression mentions, also through equations.
    fn names_behind(&self, expr: &Expr) -> BTreeSet<Arc<str>> {
        let mut found = BTreeSet::new();
        let mut pending: Vec<Node> = vec![expr.syntax().clone()];
        while let Some(node) = pending.pop() {
            for ident in node.descendants().filter(|n| n.kind() == SyntaxKind::Ident) {
                let name: Arc<str> = ident.text().into();
                if found.insert(Arc::clone(&name)) {
                    let behind =
                        self.written.iter().filter(|w| w.name == name).map(|w| w.clause.syntax().clone());
                    pending.extend(behind.chain(self.scripted.get(&name).map(|e| e.syntax().clone())));
                    found.extend(self.sharing_domains(&name));
                }
            }
        }
        found
    }

    /// The relations that are declared over a domain that a relation has, too.
    fn sharing_domains(&self, name: &str) -> Vec<Arc<str>> {
        let columns_of = |relation: &Relation| relation.columns.clone().unwrap_or_default();
        let own = self.relations.iter().find(|r| *r.name == *name).map(columns_of).unwrap_or_default();
        let shares = |relation: &&Relation| columns_of(relation).iter().any(|column| own.contains(column));
        self.relations.iter().filter(shares).map(|r| Arc::clone(&r.name)).collect()
    }

    /// The equations that define some of the names.
    fn definitions_of(&self, names: &BTreeSet<Arc<str>>) -> Result<Definitions, Vec<Diagnostic>> {
        let mut definitions = Definitions::new();
        let mut found = Vec::new();
        for dim in &self.dims {
            found.extend(definitions.add_dims(dim));
        }
        for relation in self.relations.iter().filter(|r| names.contains(&r.name)) {
            if let Some(columns) = &relation.columns {
                definitions.add_schema(&relation.name, relation.span, columns);
            }
            definitions.add_facts(&relation.name, relation.span, relation.arity, relation.rows.clone());
        }
        for written in self.written.iter().filter(|w| names.contains(&w.name)) {
            let around = |name: &str| written.around.get(name).cloned();
            found.extend(match &written.clause {
                Clause::Equation(equation) => definitions.add_equation_within(equation, &around),
                Clause::Rule(rule) => definitions.add_rule_within(rule, &around),
            });
        }
        if found.iter().any(Diagnostic::is_error) { Err(found) } else { Ok(definitions) }
    }
}

impl Written {
    /// Whether another is the same equation for the same elements of the left side.
    fn defines_the_same(&self, other: &Written) -> bool {
        let Some(lhs) = self.clause.left_side().filter(|_| self.clause == other.clause) else { return false };
        let mut names = lhs.syntax().descendants().filter(|n| n.kind() == SyntaxKind::Ident);
        names.all(|n| self.around.get(n.text()) == other.around.get(n.text()))
    }
}

impl Interpreter {
    /// Takes in an equation. Nothing is computed.
    pub(super) fn define_equation(&mut self, equation: &ast::Equation) -> Eval<()> {
        let Some(name) = equation.name() else {
            return match equation.lhs() {
                Some(lhs) => Err(fault(codes::BAD_LEFT_SIDE, lhs.span(), "this can't be defined")),
                None => Ok(()),
            };
        };
        let name: Arc<str> = name.as_str().into();
        if self.dialogue && self.calls == 0 {
            self.equations.make_room_for(&name, equation);
            self.environment.remove_global(&name);
        }
        if let Some(rhs) = equation
            .rhs()
            .filter(|rhs| matches!(equation.lhs(), Some(Expr::Name(_))) && self.is_scripted(rhs))
        {
            if self.equations.defines(&name) {
                let message = format!("`{name}` is defined twice");
                return Err(fault(codes::DEFINED_TWICE, equation.span(), message));
            }
            self.equations.forget_readers_of(&name);
            self.equations.scripted.insert(name, rhs);
            return Ok(());
        }
        // Reading it once finds what is wrong with it even if nobody ever reads the tensor.
        let found = Definitions::new().add_equation(equation);
        if found.iter().any(Diagnostic::is_error) {
            return Err(found.into());
        }
        let around = self.capture_for(equation.syntax());
        self.equations.write(Written { name, clause: Clause::Equation(equation.clone()), around });
        Ok(())
    }

    /// Takes in a rule. Nothing is computed.
    pub(super) fn define_rule(&mut self, rule: &ast::Rule) -> Eval<()> {
        let Some(name) = rule.name() else { return Ok(()) };
        let found = Definitions::new().add_rule(rule);
        if found.iter().any(Diagnostic::is_error) {
            return Err(found.into());
        }
        let around = self.capture_for(rule.syntax());
        self.equations.forget_relations();
        self.equations.write(Written {
            name: name.as_str().into(),
            clause: Clause::Rule(rule.clone()),
            around,
        });
        Ok(())
    }

    /// The local variables that an equation mentions. What can't be written down in it is held under a name of its own.
    fn capture_for(&mut self, clause: &Node) -> HashMap<Arc<str>, Captured> {
        let mut around = HashMap::new();
        for ident in clause.descendants().filter(|n| n.kind() == SyntaxKind::Ident) {
            let name: Arc<str> = ident.text().into();
            if !self.environment.is_local(&name) || around.contains_key(&name) {
                continue;
            }
            let captured = match self.environment.get(&name) {
                Some(Value::Number(n)) => Captured::Number(*n),
                Some(Value::Bool(b)) => Captured::Bool(*b),
                Some(Value::Str(text)) => Captured::Str(text.clone()),
                Some(other) => {
                    // No program can write a name with a space.
                    self.equations.held_count += 1;
                    let hidden: Arc<str> = format!("{name} {}", self.equations.held_count).into();
                    self.equations.held.insert(Arc::clone(&hidden), other.clone());
                    Captured::Renamed(hidden)
                }
                None => continue,
            };
            around.insert(name, captured);
        }
        around
    }

    pub(super) fn define_dims(&mut self, dim: &ast::DimDecl) -> Eval<()> {
        let found = Definitions::new().add_dims(dim);
        if found.iter().any(Diagnostic::is_error) {
            return Err(found.into());
        }
        self.equations.results.clear();
        self.equations.dims.push(dim.clone());
        Ok(())
    }

    /// Whether the right side of an equation without indices is something that only scripts compute.
    fn is_scripted(&self, rhs: &Expr) -> bool {
        let rhs = rhs.unparenthesized();
        let is_value = matches!(
            rhs,
            Expr::String(_)
                | Expr::Interpolated(_)
                | Expr::Dict(_)
                | Expr::Closure(_)
                | Expr::Tuple(_)
                | Expr::Range(_)
        );
        let calls =
            rhs.syntax().descendants().filter_map(ast::CallExpr::cast).filter(|call| call.axes().is_none());
        is_value || calls.filter_map(|call| call.name()).any(|name| self.is_of_scripts(name.as_str()))
    }

    /// Whether a function can be called by scripts only, and not in equations.
    fn is_of_scripts(&self, name: &str) -> bool {
        match self.equations.program.function(name) {
            Some(function) => function.script.is_some(),
            None => {
                self.builtins.contains_key(name) && !tl_sema::builtins::names().any(|known| known == name)
            }
        }
    }

    /// The value of a tensor that equations define, or of a definition by a function of scripts.
    pub(super) fn eval_tensor(&mut self, name: &ast::NameExpr) -> Eval<Value> {
        if let Some(kept) = self.equations.results.get(name.name()) {
            return Ok(kept.value.clone());
        }
        if self.equations.scripted.contains_key(name.name()) {
            return self.eval_scripted(name.name().into(), name.span());
        }
        let (value, read) = self.trace(&Expr::Name(name.clone()), &[])?;
        self.equations.results.insert(name.name().into(), Kept { value: value.clone(), read });
        Ok(value)
    }

    fn eval_scripted(&mut self, name: Arc<str>, span: Span) -> Eval<Value> {
        if self.equations.going_on.contains(&name) {
            let circle = format!("{} → {name}", self.equations.going_on.join(" → "));
            return Err(fault(
                codes::CYCLIC_DEFINITION,
                span,
                format!("the definition needs itself: {circle}"),
            ));
        }
        let Some(expr) = self.equations.scripted.get(&name).cloned() else { return Ok(Value::Unit) };
        self.equations.going_on.push(Arc::clone(&name));
        let result = self.eval(&expr);
        self.equations.going_on.pop();
        let value = result?;
        let read = self.equations.names_behind(&expr);
        self.equations.results.insert(name, Kept { value: value.clone(), read });
        Ok(value)
    }

    /// The value of an expression with indices of its own.
    pub(super) fn eval_equation(&mut self, expr: &Expr) -> Eval<Value> {
        Ok(self.trace(expr, &[])?.0)
    }

    /// Traces an expression and runs its graph; also gives the names of the variables that were read.
    pub(super) fn trace(
        &mut self,
        expr: &Expr,
        own: &[(Arc<str>, Value)],
    ) -> Eval<(Value, BTreeSet<Arc<str>>)> {
        let span = expr.span();
        let (traced, read) = self.traced(expr, own)?;
        let interrupt = self.interrupt.clone();
        let go_on = || !interrupt.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed));
        let results = self.engine.evaluate_traced(&traced, &[], &go_on);
        let mut results = results.map_err(|e| run_failed(e, span))?;
        let dense =
            results.pop().ok_or_else(|| fault(codes::RUN_FAILED, span, "the equations have no result"))?;
        let value = match value_of(dense) {
            Value::Tensor(tensor) if traced.labels.iter().any(Option::is_some) => {
                tensor.with_labels(traced.labels).into()
            }
            value => value,
        };
        Ok((value, read))
    }

    /// The graph of an expression, and the names of the variables that were read.
    pub(super) fn traced(
        &mut self,
        expr: &Expr,
        own: &[(Arc<str>, Value)],
    ) -> Eval<(tl_sema::Traced, BTreeSet<Arc<str>>)> {
        let span = expr.span();
        let mut read = self.equations.names_behind(expr);
        let scripted: Vec<Arc<str>> =
            read.iter().filter(|name| self.equations.scripted.contains_key(*name)).cloned().collect();
        for name in scripted {
            if !self.equations.results.contains_key(&name) {
                self.eval_scripted(name, span)?;
            }
        }
        let definitions = self.equations.definitions_of(&read).map_err(Interrupt::from)?;
        let variables = Variables {
            environment: &self.environment,
            equations: &self.equations,
            own,
            read: RefCell::default(),
        };
        let program = &self.equations.program;
        let traced = tl_sema::trace_expr(program, &definitions, &variables, expr, &self.limits.trace);
        read.extend(variables.read.into_inner());
        let traced = traced.map_err(Interrupt::from)?;
        traced.warnings.iter().for_each(|w| self.warn_once(w));
        Ok((traced, read))
    }

    /// `Y?`: evaluates and prints.
    pub(super) fn run_query(&mut self, statement: &ast::QueryStmt) -> Eval<()> {
        let Some(target) = statement.target() else { return Ok(()) };
        if let Some(text) = self.query_relation(&target)? {
            self.print(&format!("{text}\n"));
            return Ok(());
        }
        let value = self.eval(&target)?;
        let text = format::named(target.text().trim(), &value);
        self.print(&format!("{text}\n"));
        Ok(())
    }
}

impl Scope for Variables<'_> {
    fn variable(&self, name: &str) -> Option<Argument> {
        if let Some((_, value)) = self.own.iter().find(|(own, _)| **own == *name) {
            return argument(name, value);
        }
        if let Some(held) = self.equations.held.get(name) {
            return argument(name, held);
        }
        self.read.borrow_mut().insert(name.into());
        if self.equations.scripted.contains_key(name) {
            return argument(name, &self.equations.results.get(name)?.value);
        }
        argument(name, self.environment.get(name)?)
    }

    fn names(&self) -> Vec<String> {
        self.environment.names().map(|n| n.to_string()).collect()
    }
}

/// A value as equations see it; `None` for what has no meaning in them.
fn argument(name: &str, value: &Value) -> Option<Argument> {
    Some(match value {
        Value::Number(n) => Argument::Number(*n),
        Value::Bool(b) => Argument::Bool(*b),
        Value::Str(text) => Argument::Str(text.clone()),
        Value::Model(model) => Argument::Model(Arc::clone(model) as Arc<dyn tl_sema::Model>),
        Value::Tensor(tensor) => Argument::Tensor(OuterTensor {
            tensor: tensor.stored().clone(),
            order: tensor.order().to_vec(),
            name: name.into(),
        }),
        Value::List(items) => match super::convert::to_tensor(value) {
            Ok(tensor) => return argument(name, &tensor.into()),
            Err(_) => {
                // The graph knows a tensor by its name, so each has its own.
                let item = |(i, item)| argument(&format!("{name} {i}"), item);
                Argument::List(items.iter().enumerate().map(item).collect::<Option<_>>()?)
            }
        },
        Value::Dict(dict) => Argument::Model(Arc::new(Tree::of(dict))),
        Value::Range(..) => return argument(name, &super::convert::to_tensor(value).ok()?.into()),
        _ => return None,
    })
}
