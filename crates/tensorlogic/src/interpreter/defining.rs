//! How a script takes in equations, rules and sizes: nothing is computed, but what they see of local variables is kept with them.

use std::collections::HashMap;
use std::sync::Arc;

use tl_sema::{Captured, Definitions};
use tl_syntax::ast::{self, AstNode, Expr};
use tl_syntax::{Diagnostic, Node, SyntaxKind, codes};

use super::Interpreter;
use super::equations::{Clause, Written};
use super::fault::{Eval, fault};
use super::value::Value;

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
        let is_bare = matches!(equation.lhs(), Some(Expr::Name(_)));
        if is_bare && equation.rhs().is_some_and(|rhs| self.is_scripted(&rhs)) {
            if self.equations.defines_here(&name) {
                let message = format!("`{name}` is defined twice");
                return Err(fault(codes::DEFINED_TWICE, equation.span(), message));
            }
            self.equations.write(Written::plain(&name, Clause::Script(equation.clone())));
            return Ok(());
        }
        // Reading it once finds what is wrong with it even if nobody ever reads the tensor.
        let found = Definitions::new().add_equation(equation);
        if found.iter().any(Diagnostic::is_error) {
            return Err(found.into());
        }
        let around = self.capture_for(equation.syntax());
        let calls = self.calls_of_scripts(equation);
        let now = calls.iter().filter(|call| self.mentions_local(call)).cloned().collect::<Vec<_>>();
        let supplied = now.iter().map(|call| self.supply(equation, call)).collect::<Eval<_>>()?;
        let clause = Clause::Equation(equation.clone());
        self.equations.write(Written { name, clause, around, calls, supplied });
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
        let written = Written::plain(name.as_str(), Clause::Rule(rule.clone()));
        self.equations.write(Written { around, ..written });
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
                Some(other) => Captured::Renamed(self.equations.hold(&name, other.clone())),
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
        self.equations.forget_results();
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
    pub(super) fn is_of_scripts(&self, name: &str) -> bool {
        let is_builtin = |name: &str| {
            self.builtins.contains_key(name) && !tl_sema::builtins::names().any(|known| known == name)
        };
        self.equations.program.is_of_scripts(name, &is_builtin)
    }
}
