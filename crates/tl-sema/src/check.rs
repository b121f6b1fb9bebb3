//! Checking a program: its texts are parsed, imports followed, functions analysed, and traced as far as that goes without data.
//!
//! Without data every tensor of a model is there, and sizes and metadata are unknown. Recursions over indices whose number of
//! steps is unknown are unrolled a little, at steps that stand for all. What that finds is wrong for every model. A function that
//! generates, `fn f(m, tok[p]) -> logits[p, v]`, must besides be causal.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tl_ir::stream::{self, Violation, ViolationKind};
use tl_syntax::ast::{self, AstNode, Stmt};
use tl_syntax::{Diagnostic, Source, SourceId, Span, SyntaxKind, codes};

use crate::argument::{Argument, Limits, Scope};
use crate::block::{Block, unit};
use crate::capture::{Captured, Surroundings};
use crate::facts::{fact, facts_equation, two_arities};
use crate::program::{Expr, ExprId, ExprKind, Fact, Facts, Function, Name, Program};
use crate::reader::Reader;
use crate::trace::{Definitions, Tracer, with_large};

/// The largest number of files that a program may import, all in all.
const MAX_IMPORTS: usize = 1000;
/// How deep imports may be nested.
const MAX_IMPORT_DEPTH: usize = 64;

/// Brings in the files that a program imports.
pub trait Importer {
    /// The text behind `import "path"` in the file `from`. It is asked once for each import; the same file must have the same name
    /// each time.
    ///
    /// # Errors
    /// Why there is no such file, or why it may not be read, in one sentence without a full stop.
    fn import(&mut self, path: &str, from: &Source) -> Result<Source, String>;

    /// The facts that `R(a, b) = file("path")` gives a relation of so many columns, each at that place. `source` is the file that says so.
    ///
    /// # Errors
    /// Why it gives none.
    fn facts(
        &mut self,
        _call: &ast::CallExpr,
        _arity: usize,
        _source: &Source,
    ) -> Result<Vec<Fact>, Box<Diagnostic>> {
        Ok(Vec::new())
    }

    /// Whether a function is one that scripts alone can call. `X = f(…)` with such an `f` gives `X` a value when somebody reads it;
    /// it is no equation.
    fn is_of_scripts(&self, _name: &str) -> bool {
        false
    }
}

/// A program and everything that was found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The functions of the prelude, of the imported files and of the file itself.
    pub program: Program,
    /// Errors and warnings, in the order of the files and places.
    pub diagnostics: Vec<Diagnostic>,
}

/// Checks a file and all that it imports. The functions of `prelude` are known to it and not checked again.
pub fn check(entry: &Source, importer: &mut dyn Importer, prelude: &Program) -> Checked {
    let mut checker = Checker {
        importer,
        program: prelude.clone(),
        diagnostics: Vec::new(),
        sources: HashMap::new(),
        done: HashSet::new(),
        open: Vec::new(),
        own: Vec::new(),
        script: Script::default(),
    };
    checker.file(entry, None);
    checker.relations();
    checker.functions();
    checker.equations();
    let Checker { program, mut diagnostics, .. } = checker;
    diagnostics.sort_by_key(|d| d.primary_span().map(|span| (span.source, span.start)));
    Checked { program, diagnostics }
}

struct Checker<'a> {
    importer: &'a mut dyn Importer,
    program: Program,
    diagnostics: Vec<Diagnostic>,
    sources: HashMap<SourceId, Source>,
    /// Names of files that have been read.
    done: HashSet<String>,
    /// Names of files that are being read, outermost first.
    open: Vec<String>,
    /// The functions to check.
    own: Vec<Arc<str>>,
    script: Script,
}

/// What the statements outside of functions define.
#[derive(Default)]
struct Script {
    definitions: Definitions,
    variables: HashSet<Arc<str>>,
    /// Calls in statements: name, place, number of arguments.
    stated: Vec<(Arc<str>, Span, usize)>,
    /// The facts of constants alone.
    facts: Vec<(Name, Fact)>,
    /// Relations that a call of a script's fills: the equation, the call, the file.
    supplied: Vec<(Span, ast::CallExpr, Source)>,
    /// Relations with facts that only a script that runs can state, and where it does.
    computed: HashMap<Arc<str>, Span>,
}

impl Checker<'_> {
    fn file(&mut self, source: &Source, imported_at: Option<Span>) {
        if let Some(at) = self.open.iter().position(|name| name == source.name()) {
            self.diagnostics.push(circle(&self.open[at..], source.name(), imported_at.unwrap_or(Span::NONE)));
            return;
        }
        if !self.done.insert(source.name().to_owned()) {
            return;
        }
        if self.open.len() >= MAX_IMPORT_DEPTH || self.done.len() > MAX_IMPORTS {
            let what = match self.open.len() >= MAX_IMPORT_DEPTH {
                true => format!("imports are nested deeper than {MAX_IMPORT_DEPTH}"),
                false => format!("a program may import at most {MAX_IMPORTS} files"),
            };
            self.diagnostics.push(Diagnostic::error(
                codes::IMPORT_LIMIT,
                imported_at.unwrap_or(Span::NONE),
                what,
            ));
            return;
        }
        self.sources.insert(source.id(), source.clone());
        self.open.push(source.name().to_owned());
        let parse = tl_syntax::parse(source);
        self.diagnostics.extend(parse.diagnostics.iter().cloned());
        // What an equation means may depend on the functions that it calls.
        let (functions, others): (Vec<Stmt>, Vec<Stmt>) =
            parse.file().stmts().partition(|stmt| matches!(stmt, Stmt::Fn(_)));
        functions.iter().chain(&others).for_each(|stmt| self.stmt(source, stmt));
        self.open.pop();
    }

    fn stmt(&mut self, source: &Source, stmt: &Stmt) {
        match stmt {
            Stmt::Fn(decl) => self.define(decl),
            Stmt::Import(import) => self.import(source, import),
            Stmt::Equation(equation) if self.is_scripted(equation) => {
                self.script.variables.extend(equation.name().map(|name| name.as_str().into()));
                self.bindings(stmt);
            }
            // A file that is written is no tensor.
            Stmt::Equation(equation) if equation.args().is_some() && is_file(equation) => self.bindings(stmt),
            Stmt::Equation(equation) => {
                let indices = left_indices(equation);
                let mentions_index = |call: &ast::CallExpr| {
                    let mut names = call.syntax().descendants().filter(|n| n.kind() == SyntaxKind::Ident);
                    names.any(|name| indices.iter().any(|index| index == name.text()))
                };
                let is_call = |call: &ast::CallExpr| self.calls_script(call) && !mentions_index(call);
                let rows = equation.args().is_some()
                    && equation.rhs().is_some_and(
                        |rhs| matches!(rhs.unparenthesized(), ast::Expr::Call(call) if is_call(&call)),
                    );
                let calls = calls_in(equation).filter(is_call).map(|call| call.span()).collect();
                if rows && let Some(ast::Expr::Call(call)) = equation.rhs().map(|rhs| rhs.unparenthesized()) {
                    self.script.supplied.push((equation.span(), call, source.clone()));
                }
                let found = match rows {
                    true => self.script.definitions.add_facts_of(equation, Vec::new()),
                    false => self.script.definitions.add_equation_within(equation, &Calls(calls)),
                };
                self.diagnostics.extend(found);
            }
            Stmt::Dim(dims) => {
                let found = self.script.definitions.add_dims(dims);
                self.diagnostics.extend(found);
            }
            Stmt::Main(main) => {
                main.body().iter().flat_map(|body| body.stmts()).for_each(|s| self.stmt(source, &s))
            }
            Stmt::Rule(rule) => {
                let found = self.script.definitions.add_rule(rule);
                self.diagnostics.extend(found);
            }
            Stmt::Relation(decl) => {
                if let Some(name) = decl.name() {
                    let arity = decl.columns().count();
                    self.script.definitions.add_facts(name.as_str(), name.span(), arity, Vec::new());
                }
            }
            Stmt::Param(decl) => self.script.variables.extend(decl.name().map(|name| name.as_str().into())),
            Stmt::Expr(stated) if stated.call().is_some_and(|call| fact(&call).is_some()) => {
                self.script.facts.extend(stated.call().and_then(|call| fact(&call)));
                self.bindings(stmt);
            }
            _ => {
                let inner = stmt.syntax().descendants().filter_map(ast::ExprStmt::cast);
                let named = inner.filter_map(|inner| inner.call()?.name());
                self.script.computed.extend(named.map(|name| (name.as_str().into(), name.span())));
                self.bindings(stmt);
            }
        }
    }

    /// The relations outside of functions that functions may read. Files of facts are read for those that one does read.
    fn relations(&mut self) {
        let mut outside = self.script.definitions.block.clone();
        let mut later: Vec<(Arc<str>, Diagnostic)> = Vec::new();
        let mut stated: Vec<(Name, Vec<Fact>)> = Vec::new();
        for (name, fact) in &self.script.facts {
            match stated.iter_mut().find(|(other, _)| other.text == name.text) {
                Some((_, rows)) => rows.push(fact.clone()),
                None => stated.push((name.clone(), vec![fact.clone()])),
            }
        }
        for (name, mut rows) in stated {
            let arity = rows.first().map_or(0, |row| row.constants.len());
            // Another number of columns is an error of a script, too, when it states the fact.
            if let Some(other) = rows.iter().find(|row| row.constants.len() != arity) {
                later.push((Arc::clone(&name.text), two_arities(&name, arity, other)));
                rows.retain(|row| row.constants.len() == arity);
            }
            self.program.next_expr += 1;
            outside.equations.push(facts_equation(&name, arity, rows, ExprId(self.program.next_expr)));
        }
        for (name, span, arity) in &self.script.stated {
            let Some(at) = self.script.computed.get(name).filter(|at| *at == span) else { continue };
            let is_function = self.program.function(name).is_some() || self.importer.is_of_scripts(name);
            if is_function || self.script.variables.contains(name) {
                continue;
            }
            later.push((Arc::clone(name), made_later(name, *at)));
            if !outside.equations.iter().any(|e| e.target.text == *name) {
                let name = Name { text: Arc::clone(name), span: *span };
                self.program.next_expr += 1;
                let id = ExprId(self.program.next_expr);
                outside.equations.push(facts_equation(&name, *arity, Vec::new(), id));
            }
        }
        let own = self.own.iter().filter_map(|name| self.program.function(name));
        let functions: Vec<Arc<Function>> = own.filter(|f| f.script.is_none()).cloned().collect();
        let mut wanted: HashSet<Span> = HashSet::new();
        for function in &functions {
            let taken = crate::outside::take_in(function, &self.program, &outside).equations;
            wanted.extend(taken.iter().map(|equation| equation.span));
        }
        for (span, call, source) in std::mem::take(&mut self.script.supplied) {
            let own = outside.equations.iter_mut().find(|e| e.span == span && wanted.contains(&span));
            let Some(equation) = own else { continue };
            let arity = equation.indices.as_ref().map_or(0, Vec::len);
            match self.importer.facts(&call, arity, &source) {
                Ok(rows) => equation.value.kind = ExprKind::Facts(Arc::new(Facts { arity, rows })),
                // The script may make the file, and a program that only runs as one is not wrong.
                Err(found) => later.push((Arc::clone(&equation.target.text), *found)),
            }
        }
        self.program.outside = outside;
        self.program.later = later;
    }

    /// Whether the right side of an equation without indices calls a function that scripts alone can call.
    fn is_scripted(&self, equation: &ast::Equation) -> bool {
        let bare = equation.indexed().is_none() && equation.args().is_none();
        bare && calls_in(equation).any(|call| self.calls_script(&call))
    }

    /// Whether a call is one that scripts alone can make.
    fn calls_script(&self, call: &ast::CallExpr) -> bool {
        call.axes().is_none()
            && call.name().is_some_and(|name| {
                self.program.is_of_scripts(name.as_str(), &|name| self.importer.is_of_scripts(name))
            })
    }

    /// The variables that a statement and everything in it binds, and the calls that may state facts.
    fn bindings(&mut self, stmt: &Stmt) {
        let calls = stmt.syntax().descendants().filter_map(ast::CallExpr::cast);
        for call in calls.filter(|call| call.axes().is_none()) {
            let Some(name) = call.name() else { continue };
            self.script.stated.push((name.as_str().into(), name.span(), call.arguments().count()));
        }
        for node in stmt.syntax().descendants() {
            let names = match node.kind() {
                SyntaxKind::NamePattern | SyntaxKind::TuplePattern | SyntaxKind::Param => node,
                _ => continue,
            };
            let idents = names.descendants().filter(|n| n.kind() == SyntaxKind::Ident);
            self.script.variables.extend(idents.map(|ident| Arc::<str>::from(ident.text())));
        }
        if let Stmt::Assign(assign) = stmt
            && let Some(ast::Expr::Name(name)) = assign.target()
        {
            self.script.variables.insert(name.name().into());
        }
    }

    fn import(&mut self, source: &Source, import: &ast::ImportStmt) {
        let Some(path) = import.path() else { return };
        match self.importer.import(&path.value(), source) {
            Ok(imported) => self.file(&imported, Some(path.span())),
            Err(why) => self.diagnostics.push(
                Diagnostic::error(
                    codes::IMPORT_FAILED,
                    path.span(),
                    format!("this file can't be imported: {why}"),
                )
                .help("paths are relative to the file that imports"),
            ),
        }
    }

    fn define(&mut self, decl: &ast::FnDecl) {
        let mut reader = Reader::new(&mut self.program);
        let function = reader.function(decl);
        self.diagnostics.append(&mut reader.diagnostics);
        let Some(function) = function else { return };
        let name = Arc::clone(&function.name.text);
        let span = function.name.span;
        let before = self.program.define(function);
        if let Some(before) = before.filter(|_| self.own.contains(&name)) {
            self.diagnostics.push(
                Diagnostic::error(
                    codes::DEFINED_TWICE,
                    span,
                    format!("the function `{name}` is defined twice"),
                )
                .label(before.name.span, "the first definition"),
            );
        }
        if !self.own.contains(&name) {
            self.own.push(name);
        }
    }

    /// Analyses the functions, and traces those whose analysis found no error.
    fn functions(&mut self) {
        for name in self.own.clone() {
            let Some(function) = self.program.function(&name).cloned() else { continue };
            if function.script.is_some() {
                continue; // The interpreter runs it; its equations are checked when it does.
            }
            let (limits, program) = (Limits::default(), &self.program);
            let arguments: Vec<Argument> =
                function.params.iter().map(|p| argument(&function, &p.name)).collect();
            let (traced, graph, found) = with_large(|stack| {
                let mut tracer = Tracer::new(program, None, &limits, stack);
                let traced = tracer.check_function(&function, &arguments).is_ok();
                let (graph, found) = tracer.into_parts();
                (traced, graph, found)
            });
            let found = found.into_iter().filter(|d| self.is_certain(&function, d)).collect::<Vec<_>>();
            self.diagnostics.extend(found);
            if traced
                && function.is_generator()
                && let Err(violations) = stream::derive(&graph)
            {
                let found: Vec<Diagnostic> = violations.iter().map(|v| self.looks_ahead(v)).collect();
                self.diagnostics.extend(found);
            }
        }
        self.remove_repetitions();
    }

    /// Whether a finding about a function holds however it is called.
    fn is_certain(&self, function: &Function, found: &Diagnostic) -> bool {
        if function.is_generator() {
            return true;
        }
        // A recursion may run along a stream, which needs no beginning, if the function is called with one; and one whose
        // condition is not known does not end here.
        if [codes::NO_BEGINNING, codes::TOO_MANY_STEPS].contains(&found.code) {
            return false;
        }
        // A function without axes may be one that only scripts call, with texts and lists. Names must mean something all the same,
        // and calls fit what they call.
        let of_scripts = function.params.iter().all(|p| p.axes.is_none()) && function.result_axes.is_empty();
        let name = found
            .primary_span()
            .and_then(|s| Some(self.sources.get(&s.source)?.slice(s)))
            .unwrap_or_default();
        let of_names =
            [codes::UNKNOWN_NAME, codes::UNKNOWN_FUNCTION, codes::ARGUMENT_COUNT].contains(&found.code);
        let is_value =
            self.script.variables.contains(name) || function.params.iter().any(|p| *p.name.text == *name);
        !of_scripts || of_names && !is_value && !self.importer.is_of_scripts(name)
    }

    /// Analyses the equations outside of functions. Their variables have no values yet.
    fn equations(&mut self) {
        let mut script = std::mem::take(&mut self.script);
        for (name, span, arity) in std::mem::take(&mut script.stated) {
            let is_function = self.program.function(&name).is_some()
                || self.importer.is_of_scripts(&name)
                || crate::builtins::names().any(|known| *known == *name)
                || script.variables.contains(&name);
            if !is_function && !script.definitions.defines(&name) {
                script.definitions.add_facts(&name, span, arity, Vec::new());
            }
        }
        if script.definitions.tensors().is_empty() {
            return;
        }
        let nothing = Expr { id: ExprId(0), kind: ExprKind::Number(0.0), span: Span::NONE };
        let wanted = unit("", &Name { text: "nothing".into(), span: Span::NONE }, &nothing);
        let block = Block::of_script(&script.definitions.block, wanted, &self.program, &script);
        self.diagnostics.extend(block.diagnostics.iter().cloned());
        self.remove_repetitions();
    }

    fn remove_repetitions(&mut self) {
        let mut seen = HashSet::new();
        self.diagnostics.retain(|d| seen.insert((d.code, d.primary_span(), d.message.clone())));
    }

    /// The read of a generator that needs what is not there yet.
    #[cold]
    fn looks_ahead(&self, violation: &Violation) -> Diagnostic {
        let span = violation.span;
        let text = self.sources.get(&span.source).map_or("", |source| source.slice(span));
        let read = match (text.is_empty() || text.len() > 60 || text.contains('\n'), &violation.tensor) {
            (false, _) => text.to_owned(),
            (true, Some(tensor)) => tensor.clone(),
            (true, None) => "a tensor".to_owned(),
        };
        let row = &violation.row;
        let error = |message: String| Diagnostic::error(codes::LOOKS_AHEAD, span, message);
        let diagnostic = match &violation.kind {
            ViolationKind::LooksAhead { index, reach: None } => {
                error(format!("`{read}` is read at every `{index}`, also after `{row}`"))
                    .here("this read looks ahead")
                    .help(format!("add `where {index} <= {row}` to the equation"))
            }
            ViolationKind::LooksAhead { index, reach: Some(reach) } => {
                error(format!("`{read}` is read up to {reach} positions after `{row}`"))
                    .here("this read looks ahead")
                    .help(format!("restrict `{index}` to what has been: `where {index} <= {row}`"))
            }
            ViolationKind::ReducesRows => error(format!("`{read}` is reduced over all positions"))
                .here("the result of one position depends on all")
                .help(format!("reduce over another index `t` with `where t <= {row}`")),
            ViolationKind::DataDependent => {
                error(format!("`{read}` is read at a position that is data")).here("this read may look ahead")
            }
        };
        diagnostic.note(
            "a function that generates computes the tokens one after the other: a row may read no later row",
        )
    }
}

/// The names that stand as indices on the left side of an equation.
pub fn left_indices(equation: &ast::Equation) -> Vec<String> {
    let names = |node: tl_syntax::Node| {
        node.descendants()
            .filter(|n| n.kind() == SyntaxKind::Ident)
            .map(|n| n.text().to_owned())
            .collect::<Vec<_>>()
    };
    match equation.lhs() {
        Some(ast::Expr::Index(left)) => {
            left.indices().flat_map(|index| names(index.syntax().clone())).collect()
        }
        Some(ast::Expr::Call(head)) => head
            .arguments()
            .filter_map(|a| a.value())
            .flat_map(|value| names(value.syntax().clone()))
            .collect(),
        _ => Vec::new(),
    }
}

/// The calls on the right side of an equation.
fn calls_in(equation: &ast::Equation) -> impl Iterator<Item = ast::CallExpr> {
    equation.rhs().into_iter().flat_map(|rhs| rhs.syntax().descendants().filter_map(ast::CallExpr::cast))
}

/// Calls in an equation that scripts make: what they give is not known.
struct Calls(Vec<Span>);

/// The variable in the place of such a call. No program can write a name with a space.
const GIVEN: &str = "a call";

impl Surroundings for Calls {
    fn variable(&self, _: &str) -> Option<Captured> {
        None
    }

    fn call(&self, span: Span) -> Option<Arc<str>> {
        self.0.contains(&span).then(|| GIVEN.into())
    }
}

/// Whether an equation writes a file.
fn is_file(equation: &ast::Equation) -> bool {
    equation.name().is_some_and(|name| name.as_str() == "file")
}

/// What stands for a parameter where there are no data.
fn argument(function: &Function, param: &Name) -> Argument {
    let is_stream = function.is_generator()
        && function.params.iter().any(|p| {
            p.name.text == param.text
                && matches!(p.axes.as_deref(), Some([axis]) if function.result_axes.first().is_some_and(|row| row.text == axis.text))
        });
    if is_stream { Argument::Stream } else { Argument::Opaque }
}

/// A function that generates runs without the script around it.
#[cold]
fn made_later(relation: &str, span: Span) -> Diagnostic {
    let message =
        format!("a function that generates reads `{relation}`, and only the script states this fact");
    Diagnostic::error(codes::NOT_IN_EQUATION, span, message)
        .here("it is no list of constants at the top level")
        .help(format!(
            "state each as `{relation}(\"…\")`, or read them: `{relation}(x) = file(\"facts.csv\")`"
        ))
}

#[cold]
fn circle(open: &[String], again: &str, span: Span) -> Diagnostic {
    let mut way: Vec<&str> = open.iter().map(String::as_str).collect();
    way.push(again);
    Diagnostic::error(codes::IMPORT_CYCLE, span, "files import one another in a circle").note(way.join(" → "))
}

impl Scope for Script {
    fn variable(&self, name: &str) -> Option<Argument> {
        (self.variables.contains(name) || name == GIVEN).then_some(Argument::Opaque)
    }

    fn names(&self) -> Vec<String> {
        self.variables.iter().map(|name| name.to_string()).collect()
    }
}
