//! A block of equations with everything that is known of it before tracing.
//!
//! `let`s, `dim`s and default values are *units* beside the equations, because calls and reductions in them need the same
//! analysis. A unit is an equation; those of `let`s and the like define a tensor that no program can name.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use tl_ir::Reduction;
use tl_syntax::{Diagnostic, codes};

use crate::argument::{Argument, Scope};
use crate::constants::Constants;
use crate::domains::Domains;
use crate::outside;
use crate::program::*;
use crate::projection::{self, EquationFacts, Names};
use crate::relations;
use crate::rounds;
use crate::staging::Staging;

/// A block, analysed.
#[derive(Debug)]
pub(crate) struct Block {
    /// The function whose body it is; none for a script's definitions.
    pub function: Option<Arc<Function>>,
    /// Equations first, then the values of `let`s, sizes of `dim`s, defaults of parameters.
    pub units: Vec<Equation>,
    /// What was found of each unit.
    pub facts: Vec<EquationFacts>,
    /// The equations of each tensor.
    pub tensors: HashMap<Arc<str>, Vec<usize>>,
    /// Name and unit of each `let`, in order.
    pub lets: Vec<(Name, usize)>,
    /// Name and unit of each `dim`.
    pub dims: Vec<(Name, usize)>,
    /// The unit of each parameter's default.
    pub defaults: HashMap<Arc<str>, usize>,
    /// Names of index variables that mean one domain in the whole block.
    pub declared: HashSet<Arc<str>>,
    /// Which index variables and positions share a domain.
    pub domains: Domains,
    /// Arguments such as `m.blk[l]` that are parts of a model's tree and no reads of tensors.
    pub trees: HashSet<ExprId>,
    /// The named constants and the numbers of domains.
    pub constants: Constants,
    /// What is unrolled where.
    pub staging: Staging,
    /// Errors and warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// The names that a block's equations see.
pub(crate) struct BlockNames<'a> {
    program: &'a Program,
    scope: Option<&'a dyn Scope>,
    variables: HashSet<Arc<str>>,
    tensors: HashSet<Arc<str>>,
}

impl Block {
    /// Analyses the body of a function, with the relations outside of it that it reads.
    pub fn of_function(
        function: &Arc<Function>,
        program: &Program,
        outside: &crate::program::Block,
    ) -> Rc<Block> {
        let taken = outside::take_in(function, program, outside);
        let mut block = Cow::Borrowed(&function.block);
        if !taken.equations.is_empty() {
            let own = block.to_mut();
            own.equations.extend(taken.equations);
            own.schemas.extend(taken.schemas);
        }
        Self::new(Some(Arc::clone(function)), &block, None, program, None)
    }

    /// Analyses a script's definitions together with one more expression, the last unit.
    pub fn of_script(
        definitions: &crate::program::Block,
        wanted: Equation,
        program: &Program,
        scope: &dyn Scope,
    ) -> Rc<Block> {
        Self::new(None, definitions, Some(wanted), program, Some(scope))
    }

    fn new(
        function: Option<Arc<Function>>,
        block: &crate::program::Block,
        wanted: Option<Equation>,
        program: &Program,
        scope: Option<&dyn Scope>,
    ) -> Rc<Block> {
        let mut units = block.equations.clone();
        let mut tensors: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
        for (number, equation) in units.iter().enumerate() {
            tensors.entry(Arc::clone(&equation.target.text)).or_default().push(number);
        }
        let mut add = |prefix: &str, name: &Name, value: &Expr| {
            units.push(unit(prefix, name, value));
            units.len() - 1
        };
        let lets =
            block.lets.iter().map(|l| (l.name.clone(), add("let ", &l.name, &l.value))).collect::<Vec<_>>();
        let dims =
            block.dims.iter().map(|d| (d.name.clone(), add("dim ", &d.name, &d.size))).collect::<Vec<_>>();
        let params = function.iter().flat_map(|f| &f.params);
        let defaults = params
            .clone()
            .filter_map(|p| Some((Arc::clone(&p.name.text), add("default ", &p.name, p.default.as_ref()?))))
            .collect();
        units.extend(wanted);

        let mut variables: HashSet<Arc<str>> = params.map(|p| Arc::clone(&p.name.text)).collect();
        variables.extend(lets.iter().map(|(name, _)| Arc::clone(&name.text)));
        let names = BlockNames { program, scope, variables, tensors: tensors.keys().cloned().collect() };
        let mut declared: HashSet<Arc<str>> = dims.iter().map(|(name, _)| Arc::clone(&name.text)).collect();
        let dim_names: Vec<Arc<str>> = declared.iter().cloned().collect();
        if let Some(function) = &function {
            let axes =
                function.params.iter().flat_map(|p| p.axes.iter().flatten()).chain(&function.result_axes);
            declared.extend(axes.map(|axis| Arc::clone(&axis.text)));
        }
        let mut out = Block {
            function,
            facts: Vec::new(),
            tensors,
            lets,
            dims,
            defaults,
            declared,
            domains: Domains::default(),
            trees: HashSet::new(),
            constants: Constants::default(),
            staging: Staging::default(),
            diagnostics: Vec::new(),
            units,
        };
        out.units.iter_mut().for_each(|unit| relations::resolve(unit, &names));
        out.analyse(&names, &dim_names, &block.schemas);
        Rc::new(out)
    }

    /// What stands for an element that an equation's guard excludes: what its operator leaves as it is, but −∞ for a logit of a function
    /// that generates. A token of logit 0 would be a token like any other; one that does not exist can't come next.
    pub fn excluded(&self, equation: &Equation) -> f64 {
        let generates = |f: &Arc<Function>| f.is_generator() && f.result.text == equation.target.text;
        match self.function.as_ref().is_some_and(generates) {
            true => f64::NEG_INFINITY,
            false => equation.projection.identity(),
        }
    }

    /// The tensors of the fixpoint that a tensor is part of, in the order of their first equations.
    pub fn members_of_fixpoint(&self, tensor: &str) -> Vec<Arc<str>> {
        let Some(cycle) = self.domains.fixpoint(tensor) else { return Vec::new() };
        let mut members: Vec<(usize, Arc<str>)> = self
            .tensors
            .iter()
            .filter(|(name, _)| self.domains.cycle(name) == Some(cycle))
            .map(|(name, units)| (units[0], Arc::clone(name)))
            .collect();
        members.sort_unstable_by_key(|&(first, _)| first);
        members.into_iter().map(|(_, name)| name).collect()
    }

    fn analyse(&mut self, names: &BlockNames<'_>, dims: &[Arc<str>], schemas: &[(Name, Vec<Name>)]) {
        let variables: Vec<_> =
            self.units.iter().map(|unit| projection::index_variables(unit, names)).collect();
        let is_index =
            |unit: usize, name: &str| variables[unit].iter().any(|(variable, _)| **variable == *name);
        self.trees = self.tree_arguments(names);
        let is_path = |expr: &Expr| self.trees.contains(&expr.id);
        self.domains =
            Domains::new(&self.units, self.function.as_deref(), dims, schemas, &is_index, &is_path);
        let mut diagnostics = Vec::new();
        self.constants = Constants::new(self, &is_index, &|name| names.text(name), &mut diagnostics);
        self.staging = Staging::new(self, &is_index);
        for (number, unit) in self.units.iter().enumerate() {
            let staged = self.staging.variables(number);
            let found = diagnostics.len();
            let is_shared = self.tensors.get(&unit.target.text).is_some_and(|units| units.len() > 1);
            let facts = projection::analyse(unit, &self.declared, staged, is_shared, names, &mut diagnostics);
            // What is not known binds nothing: that has been said.
            if !diagnostics[found..].iter().any(Diagnostic::is_error) {
                diagnostics.extend(relations::check_safety(unit, &facts.variables));
                diagnostics.extend(self.grows_without_end(unit, &|name| is_index(number, name)));
            }
            self.facts.push(facts);
            if let Some(bound) = unit.bound.until.as_ref().or(unit.bound.steps.as_ref())
                && self.domains.fixpoint(&unit.target.text).is_none()
            {
                diagnostics.push(not_repeated(unit, bound));
            }
        }
        diagnostics.extend(rounds::check(self));
        self.diagnostics = diagnostics;
    }

    /// A recursive rule that makes numbers, `Nat(n + 1) <- Nat(n)`, over a domain that nothing bounds.
    fn grows_without_end(&self, unit: &Equation, is_index: &dyn Fn(&str) -> bool) -> Option<Diagnostic> {
        let target = &unit.target.text;
        if unit.head != Head::Rule || self.domains.cycle(target).is_none() {
            return None;
        }
        let declared: Vec<_> =
            self.dims.iter().filter_map(|(name, _)| self.domains.declared(&name.text)).collect();
        let grows = |&(position, index): &(usize, &Index)| {
            let IndexKind::Expr(expr) = &index.kind else { return false };
            let mut varies = false;
            expr.walk(&mut |part| varies |= matches!(&part.kind, ExprKind::Name(name) if is_index(name)));
            let class = self.domains.position(target, position);
            varies
                && !class.is_some_and(|class| {
                    self.domains.with_linked([class]).iter().any(|c| declared.contains(c))
                })
        };
        let (_, index) = unit.indices.iter().flatten().enumerate().find(grows)?;
        let found = Diagnostic::error(codes::GROWS, index.span, format!("`{target}` grows without end"))
            .here("the rule makes new numbers from its own")
            .help("say how many there are: `dim n = 100`, for the index `n` of the rule");
        Some(found)
    }

    /// Arguments such as `m.blk[l]` that are a part of a model's tree, because the parameter is used as one.
    fn tree_arguments(&self, names: &BlockNames<'_>) -> HashSet<ExprId> {
        let mut found = HashSet::new();
        for unit in &self.units {
            unit.value.walk(&mut |expr| {
                let ExprKind::Call(name, args) = &expr.kind else { return };
                let Some(function) = names.function(&name.text) else { return };
                for (number, arg) in args.iter().enumerate() {
                    let param = match &arg.name {
                        Some(key) => function.params.iter().find(|p| p.name.text == key.text),
                        None => function.params.get(number),
                    };
                    if param.is_some_and(|p| p.axes.is_none() && is_tree(&function, &p.name.text, names, 8)) {
                        found.insert(arg.value.unparenthesized().id);
                    }
                }
            });
        }
        found
    }
}

/// Whether a function uses a parameter as a model: takes a field of it or metadata, or gives it to a function that does.
fn is_tree(function: &Function, param: &str, names: &BlockNames<'_>, depth: usize) -> bool {
    let mut tree = false;
    let is_param =
        |expr: &Expr| matches!(&expr.unparenthesized().kind, ExprKind::Name(name) if **name == *param);
    let mut visit = |expr: &Expr| match &expr.kind {
        ExprKind::Field(base, _) => tree |= is_param(base),
        ExprKind::Index(base, indices) => {
            let key = |index: &Index| matches!(&index.kind, IndexKind::Expr(e) if matches!(e.kind, ExprKind::Str(_)));
            tree |= is_param(base) && indices.first().is_some_and(key);
        }
        ExprKind::Call(name, args) if depth > 0 && args.iter().any(|arg| is_param(&arg.value)) => {
            if let Some(inner) = names.function(&name.text) {
                let taken = args.iter().zip(&inner.params).filter(|(arg, _)| is_param(&arg.value));
                tree |= taken.into_iter().any(|(_, p)| is_tree(&inner, &p.name.text, names, depth - 1));
            }
        }
        _ => {}
    };
    let block = &function.block;
    let values = block.equations.iter().map(|e| &e.value).chain(block.lets.iter().map(|l| &l.value));
    values.chain(block.dims.iter().map(|d| &d.size)).for_each(|value| value.walk(&mut visit));
    tree
}

/// An expression as a unit.
pub(crate) fn unit(prefix: &str, name: &Name, value: &Expr) -> Equation {
    Equation {
        target: Name { text: format!("{prefix}{}", name.text).into(), span: name.span },
        indices: None,
        projection: Projection::Reduce(Reduction::Sum),
        explicit: false,
        is_plain: true,
        head: Head::Tensor,
        bound: Bound::default(),
        is_virtual: false,
        value: value.clone(),
        guard: Vec::new(),
        span: value.span,
    }
}

impl BlockNames<'_> {
    /// The text that a variable of the script holds.
    fn text(&self, name: &str) -> Option<Arc<str>> {
        match self
            .scope
            .filter(|_| !self.variables.contains(name) && !self.tensors.contains(name))?
            .variable(name)?
        {
            Argument::Str(text) => Some(text),
            _ => None,
        }
    }
}

#[cold]
fn not_repeated(unit: &Equation, bound: &Expr) -> Diagnostic {
    Diagnostic::error(codes::NOT_IN_EQUATION, bound.span, "nothing is repeated here")
        .label(unit.target.span, format!("`{}` does not depend on its own elements", unit.target.text))
        .help(
            "`until` and `steps` end a recursion that no index orders, such as `x[i] = A[i, j] x[j] + b[i]`",
        )
}

impl Names for BlockNames<'_> {
    fn is_variable(&self, name: &str) -> bool {
        self.variables.contains(name)
            || !self.tensors.contains(name) && self.scope.is_some_and(|scope| scope.variable(name).is_some())
    }

    fn is_tensor(&self, name: &str) -> bool {
        self.tensors.contains(name)
    }

    fn function(&self, name: &str) -> Option<Arc<Function>> {
        self.program.function(name).cloned()
    }

    fn all(&self) -> Vec<String> {
        let own = self.variables.iter().chain(&self.tensors).map(|name| name.to_string());
        let functions = self.program.functions().map(|f| f.name.text.to_string());
        own.chain(functions).chain(self.scope.map(|scope| scope.names()).unwrap_or_default()).collect()
    }
}
