//! Statements.

use std::collections::HashMap;
use std::sync::Arc;

use tl_syntax::ast::{self, Stmt};
use tl_syntax::{Diagnostic, Source, Span, codes};

use super::Interpreter;
use super::environment::AssignError;
use super::fault::{Eval, Interrupt, closest, fault, not_available, wrong_kind};
use super::format;
use super::function::Function;
use super::value::Value;

impl Interpreter {
    /// Parses a source, takes in what it defines, and runs its statements. `main` is false for an imported file.
    pub(super) fn run_source(&mut self, source: &Source, main: bool) -> Eval<Value> {
        let parse = tl_syntax::parse(source);
        let (errors, warnings): (Vec<_>, Vec<_>) =
            parse.diagnostics.iter().cloned().partition(Diagnostic::is_error);
        if main {
            warnings.iter().for_each(|w| self.warn(w));
        }
        if !errors.is_empty() {
            return Err(errors.into());
        }
        let statements: Vec<Stmt> = parse.file().stmts().collect();
        self.hoist(&statements)?;
        self.run_all(&statements)
    }

    /// Takes in the functions and the equations of the top level, whose order does not matter.
    fn hoist(&mut self, statements: &[Stmt]) -> Eval<()> {
        let mut problems = Vec::new();
        // What an equation means may depend on the functions that it calls.
        let (functions, others): (Vec<_>, Vec<_>) =
            statements.iter().partition(|statement| matches!(statement, Stmt::Fn(_)));
        problems.extend(defined_twice(&functions));
        for statement in functions.into_iter().chain(others) {
            let result = match statement {
                Stmt::Fn(decl) => self.define_function(decl),
                // A file is written when its statement is reached.
                Stmt::Equation(equation) if writes_file(equation) => Ok(()),
                Stmt::Equation(equation) => self.define_equation(equation),
                Stmt::Rule(rule) => self.define_rule(rule),
                Stmt::Dim(dim) => self.define_dims(dim),
                Stmt::Main(main) => match main.body() {
                    Some(body) => self.hoist(&body.stmts().collect::<Vec<_>>()),
                    None => Ok(()),
                },
                _ => Ok(()),
            };
            match result {
                Err(Interrupt::Fault(found)) => problems.extend(found),
                other => other?,
            }
        }
        match self.hoist_facts(statements) {
            Err(Interrupt::Fault(found)) => problems.extend(found),
            other => other?,
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.into()) }
    }

    /// Runs statements of the top level; equations and functions were taken in before.
    fn run_all(&mut self, statements: &[Stmt]) -> Eval<Value> {
        let mut last = Value::Unit;
        for statement in statements {
            last = match statement {
                Stmt::Equation(equation) if writes_file(equation) => self.run_statement(statement)?,
                Stmt::Fn(_) | Stmt::Equation(_) | Stmt::Rule(_) | Stmt::Dim(_) | Stmt::Relation(_) => {
                    Value::Unit
                }
                Stmt::Main(main) => match main.body() {
                    Some(body) => self.run_all(&body.stmts().collect::<Vec<_>>())?,
                    None => Value::Unit,
                },
                other => self.run_statement(other)?,
            };
        }
        Ok(last)
    }

    /// Runs the statements of a block in a scope of their own; gives the value of the last one.
    pub(super) fn run_block(&mut self, block: &ast::Block) -> Eval<Value> {
        self.environment.push_scope();
        let result = self.deeper(block.span(), |i| i.run_statements(block.stmts()));
        self.environment.pop_scope();
        result
    }

    pub(super) fn run_statements(&mut self, statements: impl Iterator<Item = Stmt>) -> Eval<Value> {
        let mut last = Value::Unit;
        for statement in statements {
            last = self.run_statement(&statement)?;
        }
        Ok(last)
    }

    fn run_statement(&mut self, statement: &Stmt) -> Eval<Value> {
        match statement {
            Stmt::Expr(statement) => match statement.expr() {
                Some(ast::Expr::Call(call)) if self.run_fact(&call)?.is_some() => return Ok(Value::Unit),
                Some(expr) => return self.eval(&expr),
                None => return Ok(Value::Unit),
            },
            Stmt::Let(statement) => self.run_let(statement)?,
            Stmt::Assign(statement) => self.run_assign(statement)?,
            Stmt::For(statement) => self.run_for(statement)?,
            Stmt::While(statement) => self.run_while(statement)?,
            Stmt::Break(statement) => return Err(Interrupt::Break(statement.span())),
            Stmt::Continue(statement) => return Err(Interrupt::Continue(statement.span())),
            Stmt::Return(statement) => {
                let value = statement.value().map_or(Ok(Value::Unit), |e| self.eval(&e))?;
                return Err(Interrupt::Return(statement.span(), Box::new(value)));
            }
            Stmt::Query(statement) => self.run_query(statement)?,
            Stmt::Assert(statement) => self.run_assert(statement)?,
            Stmt::Import(statement) => self.run_import(statement)?,
            Stmt::Equation(equation) if writes_file(equation) => self.write_file(equation)?,
            Stmt::Equation(equation) => self.define_equation(equation)?,
            Stmt::Dim(dim) => self.define_dims(dim)?,
            Stmt::Fn(decl) => self.define_local_function(decl)?,
            Stmt::Main(main) => {
                if let Some(body) = main.body() {
                    return self.run_block(&body);
                }
            }
            Stmt::Rule(rule) => self.define_rule(rule)?,
            Stmt::Relation(decl) => {
                let message = "a relation is declared at the top level";
                return Err(fault(codes::NOT_AVAILABLE, decl.span(), message));
            }
            Stmt::Why(why) => return Err(not_available(why.span(), "`why`")),
            Stmt::Param(param) => return Err(not_available(param.span(), "`param`")),
            Stmt::Learn(learn) => return Err(not_available(learn.span(), "`learn`")),
        }
        Ok(Value::Unit)
    }

    fn define_function(&mut self, decl: &ast::FnDecl) -> Eval<()> {
        let Some(name) = decl.name() else { return Ok(()) };
        let name: Arc<str> = name.as_str().into();
        self.equations.define_function(decl)?;
        let function = Function::declared(decl.clone());
        self.equations.forget_readers_of(&name);
        self.environment.define(name, Value::Function(Arc::new(function)));
        Ok(())
    }

    /// A function within a block: a closure with a name.
    fn define_local_function(&mut self, decl: &ast::FnDecl) -> Eval<()> {
        if self.environment.at_top() {
            return self.define_function(decl);
        }
        let Some(name) = decl.name() else { return Ok(()) };
        let mut function = Function::declared(decl.clone());
        if function.is_equations() {
            return Err(fault(
                codes::NOT_AVAILABLE,
                decl.span(),
                "a function of equations stands at the top level, not in a block",
            ));
        }
        function.captured = self.environment.capture();
        self.environment.define(name.as_str().into(), Value::Function(Arc::new(function)));
        Ok(())
    }

    fn run_let(&mut self, statement: &ast::LetStmt) -> Eval<()> {
        let (Some(pattern), Some(expr)) = (statement.pattern(), statement.value()) else { return Ok(()) };
        let value = self.eval(&expr)?;
        self.bind(&pattern, value, expr.span())
    }

    /// Gives the names of a pattern their values.
    fn bind(&mut self, pattern: &ast::Pattern, value: Value, span: Span) -> Eval<()> {
        match pattern {
            ast::Pattern::Name(name) => {
                if let Some(name) = name.name() {
                    let name: Arc<str> = name.as_str().into();
                    if self.environment.at_top() {
                        self.equations.forget_readers_of(&name);
                    }
                    self.environment.define(name, value);
                }
                Ok(())
            }
            ast::Pattern::Tuple(tuple) => {
                let parts: Vec<_> = tuple.parts().collect();
                let items = match &value {
                    Value::Tuple(items) => items.to_vec(),
                    Value::List(items) => items.to_vec(),
                    other => return Err(wrong_kind(span, "a tuple", other)),
                };
                if items.len() != parts.len() {
                    let message = format!("{} names for {} values", parts.len(), items.len());
                    let diagnostic = Diagnostic::error(codes::PATTERN_MISMATCH, tuple.span(), message);
                    return Err(diagnostic.label(span, "the values come from here").into());
                }
                parts.iter().zip(items).try_for_each(|(part, item)| self.bind(part, item, span))
            }
        }
    }

    fn run_for(&mut self, statement: &ast::ForStmt) -> Eval<()> {
        let (Some(pattern), Some(iterable), Some(body)) =
            (statement.pattern(), statement.iterable(), statement.body())
        else {
            return Ok(());
        };
        let over = self.eval(&iterable)?;
        // A range counts; everything else is a list of items.
        if let Value::Range(from, to) = over {
            for i in from..to {
                if self.run_turn(&pattern, Value::Number(i as f64), &body, iterable.span())?.is_break() {
                    break;
                }
            }
            return Ok(());
        }
        let Some(items) = super::convert::items(&over) else {
            return Err(wrong_kind(iterable.span(), "a list, a range or something else with items", &over));
        };
        for item in items {
            if self.run_turn(&pattern, item, &body, iterable.span())?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn run_turn(
        &mut self,
        pattern: &ast::Pattern,
        item: Value,
        body: &ast::Block,
        span: Span,
    ) -> Eval<std::ops::ControlFlow<()>> {
        self.count_step(body.span())?;
        self.environment.push_scope();
        let result = self.bind(pattern, item, span).and_then(|()| self.run_block(body));
        self.environment.pop_scope();
        after_turn(result)
    }

    fn run_while(&mut self, statement: &ast::WhileStmt) -> Eval<()> {
        let (Some(condition), Some(body)) = (statement.condition(), statement.body()) else { return Ok(()) };
        while self.eval_condition(&condition)? {
            self.count_step(condition.span())?;
            if after_turn(self.run_block(&body))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn run_assert(&mut self, statement: &ast::AssertStmt) -> Eval<()> {
        let Some(condition) = statement.condition() else { return Ok(()) };
        if self.eval_condition(&condition)? {
            return Ok(());
        }
        let message = match statement.message() {
            Some(message) => format!("assertion failed: {}", format::shown(&self.eval(&message)?)),
            None => "assertion failed".to_owned(),
        };
        let mut diagnostic = Diagnostic::error(codes::ASSERTION_FAILED, condition.span(), message);
        if let ast::Expr::Compare(comparison) = condition.unparenthesized() {
            for operand in comparison.first().into_iter().chain(comparison.rest().map(|(_, _, e)| e)) {
                if let Ok(value) = self.eval(&operand) {
                    diagnostic =
                        diagnostic.note(format!("`{}` is {}", operand.text(), format::nested(&value)));
                }
            }
        }
        Err(diagnostic.into())
    }

    fn run_assign(&mut self, statement: &ast::AssignStmt) -> Eval<()> {
        let (Some(target), Some(expr)) = (statement.target(), statement.value()) else { return Ok(()) };
        let value = self.eval(&expr)?;
        match target.unparenthesized() {
            ast::Expr::Name(name) => {
                *self.variable_mut(name.name(), name.span())? = value;
                self.forget_if_global(name.name());
                Ok(())
            }
            ast::Expr::Index(indexed) => self.assign_element(&indexed, value),
            other => Err(fault(
                codes::NOT_A_VARIABLE,
                other.span(),
                "only variables and their elements can be assigned to",
            )),
        }
    }

    /// A variable to change.
    pub(super) fn variable_mut(&mut self, name: &str, span: Span) -> Eval<&mut Value> {
        match self.environment.get_mut(name) {
            Ok(_) => {}
            Err(AssignError::Captured) => return Err(captured(name, span)),
            Err(AssignError::Unknown) => {
                let mut names: Vec<&str> = self.environment.names().map(|n| &**n).collect();
                names.sort_unstable();
                return Err(unknown_variable(name, span, closest(name, names), self.equations.defines(name)));
            }
        }
        Ok(self.environment.get_mut(name).expect("it was there just now"))
    }

    /// What was computed from a global variable is computed anew once it has another value.
    pub(super) fn forget_if_global(&mut self, name: &str) {
        if !self.environment.is_local(name) {
            self.equations.forget_readers_of(name);
        }
    }
}

/// Whether an equation is `file("…") = …`.
fn writes_file(equation: &ast::Equation) -> bool {
    equation.args().is_some() && equation.name().is_some_and(|name| name.as_str() == "file")
}

/// What the body of a loop asks the loop to do.
fn after_turn(result: Eval<Value>) -> Eval<std::ops::ControlFlow<()>> {
    match result {
        Ok(_) | Err(Interrupt::Continue(_)) => Ok(std::ops::ControlFlow::Continue(())),
        Err(Interrupt::Break(_)) => Ok(std::ops::ControlFlow::Break(())),
        Err(other) => Err(other),
    }
}

#[cold]
fn captured(name: &str, span: Span) -> Interrupt {
    Diagnostic::error(
        codes::NOT_A_VARIABLE,
        span,
        format!("`{name}` is a closure's copy and can't be assigned to"),
    )
    .note("a closure keeps the values that variables had when it was made")
    .help("return the new value, or make the variable a global one")
    .into()
}

#[cold]
fn unknown_variable(name: &str, span: Span, similar: Option<&str>, is_equation: bool) -> Interrupt {
    let message = format!("there is no variable `{name}` to assign to");
    let mut diagnostic = Diagnostic::error(codes::NOT_A_VARIABLE, span, message);
    if is_equation {
        diagnostic =
            diagnostic.note(format!("`{name}` is defined by an equation, and equations don't change"));
    }
    diagnostic = match similar {
        Some(similar) => diagnostic.help(format!("did you mean `{similar}`?")),
        None => diagnostic.help(format!("`let {name} = …` makes one")),
    };
    diagnostic.into()
}

/// Functions of one file that have one name.
fn defined_twice(functions: &[&Stmt]) -> Vec<Diagnostic> {
    let mut first: HashMap<String, Span> = HashMap::new();
    let mut found = Vec::new();
    for function in functions {
        let Stmt::Fn(decl) = function else { continue };
        let Some(name) = decl.name() else { continue };
        let before = *first.entry(name.as_str().to_owned()).or_insert(name.span());
        if before != name.span() {
            let message = format!("the function `{}` is defined twice", name.as_str());
            let error = Diagnostic::error(codes::DEFINED_TWICE, name.span(), message);
            found.push(error.label(before, "the first definition"));
        }
    }
    found
}
