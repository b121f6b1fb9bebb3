//! How a script reads what equations define: they are traced from what is wanted, and the graph is run.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tl_sema::{Argument, OuterTensor, Scope};
use tl_syntax::ast::{self, Expr};
use tl_syntax::{Diagnostic, Span, codes};

use super::Interpreter;
use super::arithmetic::{run_failed, value_of};
use super::environment::Environment;
use super::equations::Equations;
use super::fault::{Eval, Interrupt, fault};
use super::format;
use super::tree::Tree;
use super::value::Value;

/// The variables of a script as the checker sees them; it remembers which were asked for.
struct Variables<'a> {
    environment: &'a Environment,
    equations: &'a Equations,
    /// Values under names that only this tracing knows.
    own: &'a [(Arc<str>, Value)],
    read: RefCell<BTreeSet<Arc<str>>>,
}

impl Interpreter {
    /// The value of a tensor that equations define, or of a definition by a function of scripts.
    pub(super) fn eval_tensor(&mut self, name: &ast::NameExpr) -> Eval<Value> {
        if let Some(value) = self.equations.result(name.name()) {
            return Ok(value.clone());
        }
        if let Some(equation) = self.equations.script_of(name.name()) {
            return self.eval_scripted(name.name().into(), &equation, name.span());
        }
        let (value, read) = self.trace(&Expr::Name(name.clone()), &[])?;
        self.equations.keep(name.name().into(), value.clone(), read);
        Ok(value)
    }

    fn eval_scripted(&mut self, name: Arc<str>, equation: &ast::Equation, span: Span) -> Eval<Value> {
        let Some(expr) = equation.rhs() else { return Ok(Value::Unit) };
        self.equations.begin(&name, span)?;
        let result = self.eval(&expr);
        self.equations.end();
        let value = result?;
        let read = self.equations.names_behind(&expr);
        self.equations.keep(name, value.clone(), read);
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
        if let Some((reader, name)) = self.equations.shadowed(&read) {
            let message = format!("`{name}` is defined in this call and outside of it");
            let found = Diagnostic::error(codes::DEFINED_TWICE, span, message);
            return Err(found
                .here(format!("this needs `{reader}`, which reads the one outside"))
                .help(format!("give the `{name}` of this call another name"))
                .into());
        }
        for name in &read {
            if let (None, Some(equation)) = (self.equations.result(name), self.equations.script_of(name)) {
                self.eval_scripted(Arc::clone(name), &equation, span)?;
            }
        }
        self.supply_all(&read)?;
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
        if self.equations.script_of(name).is_some() {
            return argument(name, self.equations.result(name)?);
        }
        argument(name, self.environment.get(name)?)
    }

    fn names(&self) -> Vec<String> {
        self.environment.names().map(|n| n.to_string()).collect()
    }
}

/// A value as equations see it; `None` for what has no meaning in them.
pub(super) fn argument(name: &str, value: &Value) -> Option<Argument> {
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
