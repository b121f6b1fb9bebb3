//! Relations that stand outside of functions and are read in them.
//!
//! ```text
//! Allowed(" yes")                                    outside
//! fn answer(m, tok[p]) -> logits[p, v] {
//!     …
//!     logits[p, v] = base[p, v] where Allowed(v)     inside: `Allowed` is taken in, with all that it reads
//! }
//! ```
//!
//! What is taken in keeps its meaning: its index variables are renamed, so that they are neither axes that the function declares nor its
//! parameters.

use std::collections::HashSet;
use std::sync::Arc;

use crate::builtins;
use crate::program::{
    Block, Equation, Expr, ExprId, ExprKind, Fact, Function, Head, Index, IndexKind, Name, Program,
};

/// What a function reads of the relations outside.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub equations: Vec<Equation>,
    pub schemas: Vec<(Name, Vec<Name>)>,
}

impl Function {
    /// The names before brackets and parentheses in its equations that it does not define itself: functions, and relations outside.
    pub fn reads(&self) -> HashSet<Arc<str>> {
        let own = own_names(self);
        let mut found = HashSet::new();
        let block = &self.block;
        let equations = block.equations.iter().flat_map(|e| [&e.value].into_iter().chain(&e.guard));
        let beside = block.lets.iter().map(|l| &l.value).chain(block.dims.iter().map(|d| &d.size));
        equations.chain(beside).for_each(|expr| read_names(expr, &mut found));
        found.retain(|name| !own.contains(name));
        found
    }
}

impl Program {
    /// The facts of the relations outside of functions, those of files too.
    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.outside.equations.iter().flat_map(|equation| match &equation.value.kind {
            ExprKind::Facts(facts) => &facts.rows[..],
            _ => &[],
        })
    }
}

/// The names that a function reads, without those of functions.
pub(crate) fn reads(function: &Function, program: &Program) -> HashSet<Arc<str>> {
    let mut found = function.reads();
    found.retain(|name| !is_function(name, program));
    found
}

/// Takes in the relations that a function reads, and what they read in turn.
pub(crate) fn take_in(function: &Function, program: &Program, outside: &Block) -> Taken {
    if outside.equations.is_empty() {
        return Taken::default();
    }
    let is_relation =
        |name: &Arc<str>| outside.equations.iter().any(|e| e.target.text == *name && e.head != Head::Tensor);
    let mut pending: Vec<Arc<str>> = reads(function, program).into_iter().filter(is_relation).collect();
    let mut taken: HashSet<Arc<str>> = HashSet::new();
    while let Some(name) = pending.pop() {
        if !taken.insert(Arc::clone(&name)) {
            continue;
        }
        for equation in outside.equations.iter().filter(|e| e.target.text == name) {
            equation.each_name(&mut |name| {
                if outside.equations.iter().any(|e| e.target.text == *name) {
                    pending.push(Arc::clone(name));
                }
            });
            let mut called = HashSet::new();
            equation.value.walk(&mut |part| each_called(part, &mut called));
            equation.guard.iter().for_each(|guard| guard.walk(&mut |part| each_called(part, &mut called)));
            pending.extend(called.into_iter().filter(|name| !is_function(name, program)));
        }
    }
    let rename = Rename { taken: &taken, own: &own_names(function), program };
    let is_taken = |name: &Name| taken.contains(&name.text);
    let mut equations: Vec<Equation> =
        outside.equations.iter().filter(|e| is_taken(&e.target)).cloned().collect();
    equations.iter_mut().for_each(|equation| rename.equation(equation));
    let mut schemas: Vec<(Name, Vec<Name>)> =
        outside.schemas.iter().filter(|(name, _)| is_taken(name)).cloned().collect();
    for (relation, columns) in &mut schemas {
        rename.name(&mut relation.text);
        columns.iter_mut().for_each(|column| rename.name(&mut column.text));
    }
    Taken { equations, schemas }
}

fn own_names(function: &Function) -> HashSet<Arc<str>> {
    let block = &function.block;
    let params = function.params.iter().map(|p| &p.name);
    let lets = block.lets.iter().map(|l| &l.name);
    params.chain(lets).chain(block.equations.iter().map(|e| &e.target)).map(|n| Arc::clone(&n.text)).collect()
}

fn is_function(name: &str, program: &Program) -> bool {
    program.function(name).is_some() || builtins::names().any(|known| *known == *name)
}

/// The names before brackets and parentheses.
fn read_names(expr: &Expr, found: &mut HashSet<Arc<str>>) {
    expr.walk(&mut |part| {
        each_called(part, found);
        if let ExprKind::Index(base, _) = &part.kind
            && let ExprKind::Name(name) = &base.kind
        {
            found.insert(Arc::clone(name));
        }
    });
}

fn each_called(part: &Expr, found: &mut HashSet<Arc<str>>) {
    if let ExprKind::Call(name, _) = &part.kind {
        found.insert(Arc::clone(&name.text));
    }
}

/// Gives the names of what is taken in meanings that nothing in the function has. No program can write a name with a space.
struct Rename<'a> {
    taken: &'a HashSet<Arc<str>>,
    own: &'a HashSet<Arc<str>>,
    program: &'a Program,
}

impl Rename<'_> {
    fn equation(&self, equation: &mut Equation) {
        self.name(&mut equation.target.text);
        equation.indices.iter_mut().flatten().for_each(|index| self.index(index));
        equation.walk_mut(&mut |expr| self.expr(expr));
    }

    fn expr(&self, expr: &mut Expr) {
        // The numbers of expressions outside are counted by themselves.
        expr.id = ExprId(expr.id.0 | 1 << 31);
        match &mut expr.kind {
            ExprKind::Name(name) => self.name(name),
            ExprKind::Call(name, _) if self.taken.contains(&name.text) => self.name(&mut name.text),
            ExprKind::Index(_, indices) => indices.iter_mut().for_each(|index| self.index(index)),
            ExprKind::Project(_, names, _) | ExprKind::Keep(_, names) => {
                names.iter_mut().for_each(|name| self.name(&mut name.text));
            }
            _ => {}
        }
    }

    fn index(&self, index: &mut Index) {
        match &mut index.kind {
            IndexKind::Name(name) => self.name(name),
            IndexKind::Group(names) => names.iter_mut().for_each(|name| self.name(&mut name.text)),
            _ => {}
        }
    }

    fn name(&self, name: &mut Arc<str>) {
        let stays = match self.taken.contains(name) {
            true => !self.own.contains(name),
            false => builtins::constant(name).is_some() || self.program.function(name).is_some(),
        };
        if !stays {
            *name = format!("{name} ").into();
        }
    }
}
