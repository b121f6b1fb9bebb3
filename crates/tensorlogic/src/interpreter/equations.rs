//! Equations in scripts: definitions that nothing computes until somebody reads them, and the results that are kept.
//!
//! ```text
//! Y = step(W[i] X[i])     a definition of equations; traced, with all that it needs, when `Y` is read
//! E = get_tensor(m, "x")  a definition by a function of scripts; evaluated when `E`, or an equation that needs it, is read
//! X[i] = file("x.npy")    an equation with such a call in it, which is made at that time, too (see [`super::supplied`])
//! ```
//!
//! A result is kept with the names of the variables that it was computed from, and forgotten when one of them changes or an
//! equation is added.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use tl_sema::{Captured, Definitions, Fact, Program, Surroundings};
use tl_syntax::ast::{self, Expr, ProjectionOp, Stmt};
use tl_syntax::{Diagnostic, Node, SourceMap, Span, SyntaxKind, codes};

use super::fault::{Eval, fault};
use super::function::Function;
use super::relations::Relation;
use super::supplied::{Supplied, What};
use super::value::Value;
use crate::library;

/// What equations define, and what was computed of it.
#[derive(Debug, Default)]
pub(super) struct Equations {
    /// Functions of equations: the library's and the program's.
    pub(super) program: Program,
    /// Those of the top level first, then those of the calls that are running.
    written: Vec<Written>,
    pub(super) dims: Vec<ast::DimDecl>,
    /// Where the equations of the running call begin; at the top level, all are its own.
    from: usize,
    /// How many equations the top level has, while a call is running.
    globals: Option<usize>,
    /// The definitions that the script is computing, to notice a circle.
    going_on: Vec<Arc<str>>,
    /// Values of local variables that equations go on to need, and how many there ever were.
    pub(super) held: HashMap<Arc<str>, Value>,
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
pub(super) struct Written {
    pub name: Arc<str>,
    pub clause: Clause,
    pub around: HashMap<Arc<str>, Captured>,
    /// The calls in it that scripts make, and what those that have been made have supplied.
    pub calls: Vec<ast::CallExpr>,
    pub supplied: Vec<Supplied>,
}

/// What defines a tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Clause {
    Equation(ast::Equation),
    Rule(ast::Rule),
    /// An equation whose right side the script computes.
    Script(ast::Equation),
}

/// What to go back to when a call ends.
#[derive(Debug)]
pub(super) struct Mark {
    from: usize,
    globals: Option<usize>,
    written: usize,
    dims: usize,
}

impl Clause {
    fn syntax(&self) -> &Node {
        match self {
            Clause::Equation(equation) | Clause::Script(equation) => equation.syntax(),
            Clause::Rule(rule) => rule.syntax(),
        }
    }

    fn left_side(&self) -> Option<Expr> {
        match self {
            Clause::Equation(equation) | Clause::Script(equation) => equation.lhs(),
            Clause::Rule(rule) => rule.head(),
        }
    }

    /// Whether it is a rule or has parentheses on the left, and no weights: what it defines is a relation.
    fn defines_relation(&self) -> bool {
        match self {
            Clause::Rule(_) => true,
            Clause::Script(_) => false,
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
    /// Where the equations begin that define it.
    from: usize,
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
        self.counts.contains_key(name) && self.visible(name).next().is_some()
            || self.relations.iter().any(|r| *r.name == *name)
    }

    /// Whether the running call has equations of its own for a name; at the top level, whether there are any.
    pub fn defines_here(&self, name: &str) -> bool {
        self.written[self.from..].iter().any(|w| *w.name == *name)
    }

    /// What defines a name where the script is: equations of the running call, or else those of the top level.
    fn visible(&self, name: &str) -> impl Iterator<Item = (usize, &Written)> {
        let range = match self.defines_here(name) {
            true => self.from..self.written.len(),
            false => 0..self.globals.unwrap_or(self.written.len()),
        };
        self.written
            .iter()
            .enumerate()
            .take(range.end)
            .skip(range.start)
            .filter(move |(_, w)| *w.name == *name)
    }

    /// The definition of a name that the script computes.
    pub fn script_of(&self, name: &str) -> Option<ast::Equation> {
        self.visible(name).find_map(|(_, written)| match &written.clause {
            Clause::Script(equation) => Some(equation.clone()),
            _ => None,
        })
    }

    /// What was computed of a name, if it still holds.
    pub fn result(&self, name: &str) -> Option<&Value> {
        self.results.get(name).filter(|kept| kept.from == self.home_of(name)).map(|kept| &kept.value)
    }

    /// Keeps what was computed of a name, with the names that it was computed from.
    pub fn keep(&mut self, name: Arc<str>, value: Value, read: BTreeSet<Arc<str>>) {
        let from = self.home_of(&name);
        self.results.insert(name, Kept { value, read, from });
    }

    /// Forgets all results.
    pub fn forget_results(&mut self) {
        self.results.clear();
    }

    fn home_of(&self, name: &str) -> usize {
        if self.defines_here(name) { self.from } else { 0 }
    }

    /// An equation of the top level among some tensors' that reads a name which the running call has defined anew.
    pub fn shadowed(&self, names: &BTreeSet<Arc<str>>) -> Option<(Arc<str>, Arc<str>)> {
        self.globals?;
        let outside =
            names.iter().filter(|name| !self.defines_here(name)).flat_map(|name| self.visible(name));
        outside.into_iter().find_map(|(_, written)| {
            let mut idents = written.clause.syntax().descendants().filter(|n| n.kind() == SyntaxKind::Ident);
            let shadowed = idents.find(|ident| self.defines_here(ident.text()))?;
            Some((Arc::clone(&written.name), Arc::from(shadowed.text())))
        })
    }

    /// Whether facts, rules or equations with parentheses define that name.
    pub fn is_relation(&self, name: &str) -> bool {
        self.relations.iter().any(|r| *r.name == *name)
            || self.counts.contains_key(name)
                && self.visible(name).any(|(_, written)| written.clause.defines_relation())
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
        self.visible(name).find_map(|(_, written)| head(written))
    }

    /// The names that are defined, some more than once.
    pub fn names(&self) -> Vec<Arc<str>> {
        let relations = self.relations.iter().map(|r| &r.name);
        self.written.iter().map(|w| &w.name).chain(relations).cloned().collect()
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
        let mut stale = Vec::new();
        for written in self.written.iter_mut().filter(|w| !w.supplied.is_empty()) {
            stale.extend(written.supplied.extract_if(.., |supplied| supplied.read.contains(name)));
        }
        stale.iter().for_each(|supplied| self.let_go(supplied));
    }

    /// Begins a call: it sees the equations of the top level and its own. A closure sees those of the call around it, too.
    pub fn enter(&mut self, is_closure: bool) -> Mark {
        let written = self.written.len();
        let mark = Mark { from: self.from, globals: self.globals, written, dims: self.dims.len() };
        if !is_closure {
            self.globals.get_or_insert(written);
            self.from = written;
        }
        mark
    }

    /// Ends a call, and forgets what it has said.
    pub fn leave(&mut self, mark: Mark) {
        while self.written.len() > mark.written {
            self.forget(self.written.len() - 1);
        }
        if self.dims.len() > mark.dims {
            self.dims.truncate(mark.dims);
            self.results.clear();
        }
        (self.from, self.globals) = (mark.from, mark.globals);
    }

    /// Forgets what earlier programs said that an equation of a dialogue now says: definitions of its left side, or with another number
    /// of indices.
    pub fn make_room_for(&mut self, name: &Arc<str>, equation: &ast::Equation) {
        if equation.op() == Some(ProjectionOp::Add) {
            return;
        }
        let source = equation.span().source;
        let left = |e: &ast::Equation| e.lhs().map(|lhs| lhs.text().split_whitespace().collect::<String>());
        let count = |e: &ast::Equation| e.indexed().map_or(0, |indexed| indexed.indices().count());
        let replaces = |old: &Clause| match old {
            Clause::Equation(old) => {
                old.span().source != source && (left(old) == left(equation) || count(old) != count(equation))
            }
            Clause::Script(old) => old.span().source != source,
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
    pub fn write(&mut self, written: Written) {
        self.forget_readers_of(&written.name);
        let in_place = matches!(&written.clause, Clause::Equation(e) if e.op() == Some(ProjectionOp::Assign));
        let mut own = self.written[self.from..].iter_mut();
        let same = own.find(|old| in_place && old.defines_the_same(&written));
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
        self.write(Written::plain(name, Clause::Equation(equation.clone())));
    }

    /// Holds a value under a name that no program can write, made from another.
    pub fn hold(&mut self, name: &str, value: Value) -> Arc<str> {
        self.held_count += 1;
        let hidden: Arc<str> = format!("{name} {}", self.held_count).into();
        self.held.insert(Arc::clone(&hidden), value);
        hidden
    }

    /// The equations of some tensors with calls that have not been made, and these calls.
    pub fn unsupplied(&self, names: &BTreeSet<Arc<str>>) -> Vec<(usize, ast::Equation, Vec<ast::CallExpr>)> {
        let of = |(at, written): (usize, &Written)| {
            let is_made = |call: &ast::CallExpr| written.supplied.iter().any(|g| g.span == call.span());
            let calls: Vec<_> = written.calls.iter().filter(|call| !is_made(call)).cloned().collect();
            match &written.clause {
                Clause::Equation(equation) if !calls.is_empty() => Some((at, equation.clone(), calls)),
                _ => None,
            }
        };
        names.iter().flat_map(|name| self.visible(name)).filter_map(of).collect()
    }

    /// Keeps what calls of an equation have supplied.
    pub fn keep_supplied(&mut self, at: usize, supplied: Vec<Supplied>) {
        self.written[at].supplied.extend(supplied);
    }

    /// Notes that the script computes a definition.
    ///
    /// # Errors
    /// If it does so already: the definition is a circle.
    pub fn begin(&mut self, name: &str, span: Span) -> Eval<()> {
        if self.going_on.iter().any(|other| **other == *name) {
            let circle = format!("{} → {name}", self.going_on.join(" → "));
            return Err(fault(
                codes::CYCLIC_DEFINITION,
                span,
                format!("the definition needs itself: {circle}"),
            ));
        }
        self.going_on.push(name.into());
        Ok(())
    }

    /// Notes that the definition that was begun last has been computed, or has failed.
    pub fn end(&mut self) {
        self.going_on.pop();
    }

    /// Lets go of what an equation held.
    fn release(&mut self, written: &Written) {
        for captured in written.around.values() {
            if let Captured::Renamed(hidden) = captured {
                self.held.remove(hidden);
            }
        }
        written.supplied.iter().for_each(|supplied| self.let_go(supplied));
    }

    fn let_go(&mut self, supplied: &Supplied) {
        if let What::Held(hidden) = &supplied.what {
            self.held.remove(hidden);
        }
    }

    /// All names that an expression mentions, also through equations.
    pub fn names_behind(&self, expr: &Expr) -> BTreeSet<Arc<str>> {
        let mut found = BTreeSet::new();
        let mut pending: Vec<Node> = vec![expr.syntax().clone()];
        while let Some(node) = pending.pop() {
            for ident in node.descendants().filter(|n| n.kind() == SyntaxKind::Ident) {
                let name: Arc<str> = ident.text().into();
                if found.insert(Arc::clone(&name)) {
                    pending.extend(self.visible(&name).map(|(_, w)| w.clause.syntax().clone()));
                    let dims = self.dims.iter().filter(|dim| declares(dim, &name));
                    pending.extend(dims.map(|dim| dim.syntax().clone()));
                    found.extend(self.sharing_domains(&name));
                    for relation in self.read_in_functions(&name) {
                        if found.insert(Arc::clone(&relation)) {
                            pending.extend(self.visible(&relation).map(|(_, w)| w.clause.syntax().clone()));
                            found.extend(self.sharing_domains(&relation));
                        }
                    }
                }
            }
        }
        found
    }

    /// The relations outside that a function reads, and the functions that it calls.
    fn read_in_functions(&self, name: &str) -> BTreeSet<Arc<str>> {
        let (mut relations, mut functions) = (BTreeSet::new(), BTreeSet::new());
        let mut pending: Vec<Arc<str>> = vec![name.into()];
        while let Some(name) = pending.pop() {
            let Some(function) = self.program.function(&name).filter(|_| functions.insert(Arc::clone(&name)))
            else {
                continue;
            };
            for read in function.reads() {
                match self.is_relation(&read) {
                    true => _ = relations.insert(read),
                    false => pending.push(read),
                }
            }
        }
        relations
    }

    /// The relations that are declared over a domain that a relation has, too.
    fn sharing_domains(&self, name: &str) -> Vec<Arc<str>> {
        let columns_of = |relation: &Relation| relation.columns.clone().unwrap_or_default();
        let own = self.relations.iter().find(|r| *r.name == *name).map(columns_of).unwrap_or_default();
        let shares = |relation: &&Relation| columns_of(relation).iter().any(|column| own.contains(column));
        self.relations.iter().filter(shares).map(|r| Arc::clone(&r.name)).collect()
    }

    /// The equations that define some of the names.
    pub fn definitions_of(&self, names: &BTreeSet<Arc<str>>) -> Result<Definitions, Vec<Diagnostic>> {
        let mut definitions = Definitions::new();
        let mut found = Vec::new();
        for dim in self.dims.iter().filter(|dim| names.iter().any(|name| declares(dim, name))) {
            found.extend(definitions.add_dims(dim));
        }
        for relation in self.relations.iter().filter(|r| names.contains(&r.name)) {
            if let Some(columns) = &relation.columns {
                definitions.add_schema(&relation.name, relation.span, columns);
            }
            definitions.add_facts(&relation.name, relation.span, relation.arity, relation.rows.clone());
        }
        let mut wanted: Vec<(usize, &Written)> = names.iter().flat_map(|name| self.visible(name)).collect();
        wanted.sort_unstable_by_key(|&(at, _)| at);
        for (_, written) in wanted {
            found.extend(match (&written.clause, written.facts()) {
                (Clause::Script(_), _) => continue,
                (Clause::Equation(equation), Some(facts)) => {
                    definitions.add_facts_of(equation, facts.to_vec())
                }
                (Clause::Equation(equation), None) => definitions.add_equation_within(equation, written),
                (Clause::Rule(rule), _) => definitions.add_rule_within(rule, written),
            });
        }
        if found.iter().any(Diagnostic::is_error) { Err(found) } else { Ok(definitions) }
    }
}

/// Whether a declaration says the size of an index.
fn declares(dim: &ast::DimDecl, index: &str) -> bool {
    dim.bindings().filter_map(|binding| binding.name()).any(|name| name.as_str() == index)
}

impl Surroundings for Written {
    fn variable(&self, name: &str) -> Option<Captured> {
        self.around.get(name).cloned()
    }

    fn call(&self, span: Span) -> Option<Arc<str>> {
        self.supplied.iter().find(|supplied| supplied.span == span).and_then(|supplied| {
            match &supplied.what {
                What::Held(hidden) => Some(Arc::clone(hidden)),
                What::Facts(_) => None,
            }
        })
    }
}

impl Written {
    /// A clause that sees no local variable and has no calls of scripts.
    pub fn plain(name: &str, clause: Clause) -> Written {
        let (around, calls, supplied) = (HashMap::new(), Vec::new(), Vec::new());
        Written { name: name.into(), clause, around, calls, supplied }
    }

    /// The rows of the relation that it defines, if a call has supplied them.
    fn facts(&self) -> Option<&[Fact]> {
        self.supplied.iter().find_map(|supplied| match &supplied.what {
            What::Facts(facts) => Some(&facts[..]),
            What::Held(_) => None,
        })
    }

    /// Whether another is the same equation for the same elements of the left side.
    fn defines_the_same(&self, other: &Written) -> bool {
        let Some(lhs) = self.clause.left_side().filter(|_| self.clause == other.clause) else { return false };
        let mut names = lhs.syntax().descendants().filter(|n| n.kind() == SyntaxKind::Ident);
        names.all(|n| self.around.get(n.text()) == other.around.get(n.text()))
    }
}
