//! The program as the checker sees it: functions, equations and expressions with their spans, free of syntax.
//!
//! It is built once from the typed tree (see [`crate::reader`]) and never changes. Products and sums are flat chains,
//! because projection is defined on whole chains; parentheses stay, because they end a chain. Every expression has an
//! [`ExprId`] that is unique in its [`Program`], so that analyses can attach facts to it.

use std::collections::HashMap;
use std::sync::Arc;

use tl_ir::{Reduction, Scalar};
use tl_syntax::{Diagnostic, Span};

/// Identity of an expression within its program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ExprId(pub u32);

/// A name and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// The text.
    pub text: Arc<str>,
    /// Where it stands.
    pub span: Span,
}

/// An expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// Its identity.
    pub id: ExprId,
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// What an expression is.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// `2.5`
    Number(f64),
    /// `"text"`
    Str(Arc<str>),
    /// `true`
    Bool(bool),
    /// `[a, b]`
    List(Vec<Expr>),
    /// A variable, a tensor without indices, or an index used as a number.
    Name(Arc<str>),
    /// `base.field`
    Field(Box<Expr>, Name),
    /// `base[indices]`
    Index(Box<Expr>, Vec<Index>),
    /// `f(arguments)`
    Call(Name, Vec<Arg>),
    /// `a b c`: a join.
    Join(Vec<Expr>),
    /// `a * b / c`: a chain, the first factor with [`Factor::Times`].
    Product(Vec<(Factor, Expr)>),
    /// `a + b − c`: a chain, the first term with `false`, a subtracted one with `true`.
    Sum(Vec<(bool, Expr)>),
    /// A scalar function of operands: power, remainder, negation, comparisons, `and`, `or`, `not`.
    Apply(Scalar, Vec<Expr>),
    /// `sum[i, j](body)`
    Project(Projection, Vec<Name>, Box<Expr>),
    /// `body -> [d]`: every other index is summed.
    Keep(Box<Expr>, Vec<Name>),
    /// `body where guard`, in parentheses.
    Guarded(Box<Expr>, Vec<Expr>),
    /// `if c { a } else { b }`
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `(e)`
    Paren(Box<Expr>),
    /// The facts of a relation: 1 where one of them says so, else 0.
    Facts(Arc<Facts>),
    /// The token of the model's vocabulary that a text names, as a number.
    Token(Arc<str>),
    /// Something that equations can't contain; the text says what, for the message.
    Unsupported(&'static str),
    /// Syntax that the parser has reported already.
    Missing,
}

/// The facts of one relation.
#[derive(Clone, Debug)]
pub struct Facts {
    /// How many columns it has.
    pub arity: usize,
    /// The facts, each with as many constants.
    pub rows: Vec<Fact>,
}

/// `Parent("Alice", "Bob")`
#[derive(Clone, Debug)]
pub struct Fact {
    /// The constants in order.
    pub constants: Vec<Constant>,
    /// Where it stands.
    pub span: Span,
}

/// A constant of a fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// A number: a position.
    Number(usize),
    /// A named constant.
    Str(Arc<str>),
}

/// How a factor enters a product.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Factor {
    /// `* e`
    Times,
    /// `/ e`
    Over,
}

/// An argument of a call.
#[derive(Clone, Debug)]
pub struct Arg {
    /// `name: value`
    pub name: Option<Name>,
    /// The value.
    pub value: Expr,
}

/// How values that a projection brings together become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Projection {
    /// One of the graph's reductions.
    Reduce(Reduction),
    /// The mean of what the guard leaves.
    Mean,
    /// Whether one is true.
    Any,
    /// Whether all are true.
    All,
    /// How many are true.
    Count,
}

/// What stands at one position between the brackets.
#[derive(Clone, Debug)]
pub struct Index {
    /// What it is.
    pub kind: IndexKind,
    /// Whether a dot follows: `t.`
    pub dotted: bool,
    /// Where it stands.
    pub span: Span,
}

/// What an index is.
#[derive(Clone, Debug)]
pub enum IndexKind {
    /// A bare name: an index variable, or a variable in scope.
    Name(Arc<str>),
    /// `_`
    Any,
    /// `l + 1`, `2 * j`, `0`, `tok[p]`, `"Alice"`
    Expr(Box<Expr>),
    /// `(g r c)`, slowest first.
    Group(Vec<Name>),
    /// `a:b`, `a:b:step`
    Slice(Option<Box<Expr>>, Option<Box<Expr>>, Option<Box<Expr>>),
}

/// `target[indices] op value where guard`
#[derive(Clone, Debug)]
pub struct Equation {
    /// The tensor that it defines.
    pub target: Name,
    /// The left side's indices; `None` where there are no brackets at all.
    pub indices: Option<Vec<Index>>,
    /// How values are projected; `=` is the sum.
    pub projection: Projection,
    /// Whether an operator such as `max=` stands there rather than `=` or `+=`.
    pub explicit: bool,
    /// Whether a plain `=` stands there.
    pub is_plain: bool,
    /// How its left side is written.
    pub head: Head,
    /// When the recursion that it is part of ends, where no order of steps evaluates that.
    pub bound: Bound,
    /// Whether an index of the left side is virtual, `*t`: its recursion begins with zeros where nothing else begins it.
    pub is_virtual: bool,
    /// The right side.
    pub value: Expr,
    /// The conditions of `where`, all of which must hold.
    pub guard: Vec<Expr>,
    /// The whole equation.
    pub span: Span,
}

/// How the left side of an equation is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Head {
    /// `Y[i]`: numbers.
    Tensor,
    /// `Y(x) = …`: truth values.
    Boolean,
    /// `Y(x) <- …`: truth values; an index that occurs once is no mistake.
    Rule,
}

/// `until change < 1e-6` and `steps 50`.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// The largest change of an element between two rounds at which they end.
    pub until: Option<Expr>,
    /// The largest number of rounds.
    pub steps: Option<Expr>,
}

/// `let name = value` of a block.
#[derive(Clone, Debug)]
pub struct Let {
    /// The variable.
    pub name: Name,
    /// Its value.
    pub value: Expr,
}

/// `dim g = 3`
#[derive(Clone, Debug)]
pub struct Dim {
    /// The index variable.
    pub name: Name,
    /// Its size.
    pub size: Expr,
}

/// A block of equations, `let`s and `dim`s, in any order. A `let` may be used after it only.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// The `let`s in order.
    pub lets: Vec<Let>,
    /// The `dim`s.
    pub dims: Vec<Dim>,
    /// The equations.
    pub equations: Vec<Equation>,
    /// Declared relations: the name, and the domain of each column.
    pub schemas: Vec<(Name, Vec<Name>)>,
}

/// A parameter of a function.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: Name,
    /// The axes that the function works on, for a tensor parameter.
    pub axes: Option<Vec<Name>>,
    /// What it is if the call gives no argument.
    pub default: Option<Expr>,
}

/// An op of the graph that computes what a function of the library defines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kernel {
    /// `softmax(x[d]) -> [d]`
    Softmax,
}

/// A function that can be traced into a graph.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: Name,
    /// Its parameters.
    pub params: Vec<Param>,
    /// The tensor of the block that is its result; an expression body defines the tensor of this name.
    pub result: Name,
    /// The axes of the result.
    pub result_axes: Vec<Name>,
    /// The body.
    pub block: Block,
    /// Why it can't be traced: the first statement that is neither an equation, a `let` nor a `dim`.
    pub script: Option<(Span, &'static str)>,
    /// The doc comment above it.
    pub doc: Option<String>,
    /// The op of the graph that computes it, for a function of the library that has one.
    pub kernel: Option<Kernel>,
    /// The head: name, parameters, result.
    pub span: Span,
}

/// Functions by name, and the counter of expressions.
#[derive(Clone, Debug, Default)]
pub struct Program {
    functions: HashMap<Arc<str>, Arc<Function>>,
    /// Names in the order of definition.
    order: Vec<Arc<str>>,
    /// What stands outside of functions: relations, and what they read. See [`crate::outside`].
    pub(crate) outside: Block,
    /// Relations outside whose facts are not known without the script around them, and what to say of it.
    pub(crate) later: Vec<(Arc<str>, Diagnostic)>,
    pub(crate) next_expr: u32,
}

impl Program {
    /// A program without functions.
    pub fn new() -> Self {
        Self::default()
    }

    /// The function of that name.
    pub fn function(&self, name: &str) -> Option<&Arc<Function>> {
        self.functions.get(name)
    }

    /// All functions, in the order of their definition.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.order.iter().filter_map(|name| self.functions.get(name))
    }

    /// Whether scripts alone can call a function: it has statements in its body, or, without working along axes, calls such a function.
    /// `is_builtin` says so of names that are no functions of the program.
    pub fn is_of_scripts(&self, name: &str, is_builtin: &dyn Fn(&str) -> bool) -> bool {
        self.calls_scripts(name, is_builtin, &mut Vec::new())
    }

    /// `around` are the functions that call it, so that those that call each other are looked at once.
    fn calls_scripts(
        &self,
        name: &str,
        is_builtin: &dyn Fn(&str) -> bool,
        around: &mut Vec<Arc<str>>,
    ) -> bool {
        let Some(function) = self.functions.get(name) else { return is_builtin(name) };
        let is_traced = function.params.iter().any(|p| p.axes.is_some()) || !function.result_axes.is_empty();
        if function.script.is_some() || is_traced || around.contains(&function.name.text) {
            return function.script.is_some();
        }
        around.push(Arc::clone(&function.name.text));
        let block = &function.block;
        let values = block.equations.iter().map(|e| &e.value).chain(block.lets.iter().map(|l| &l.value));
        let mut called: Vec<&Name> = Vec::new();
        for value in values {
            value.walk(&mut |part| {
                if let ExprKind::Call(name, _) = &part.kind {
                    called.push(name);
                }
            });
        }
        called.into_iter().any(|name| self.calls_scripts(&name.text, is_builtin, around))
    }

    /// Adds a function; one of the same name is replaced and returned.
    pub fn define(&mut self, function: Function) -> Option<Arc<Function>> {
        let name = Arc::clone(&function.name.text);
        if !self.order.contains(&name) {
            self.order.push(Arc::clone(&name));
        }
        self.functions.insert(name, Arc::new(function))
    }
}

impl Function {
    /// Whether it generates: one parameter is a stream of tokens `tok[p]` and the result is `logits[p, v]`.
    pub fn is_generator(&self) -> bool {
        let stream = self.params.iter().find_map(|p| match p.axes.as_deref() {
            Some([axis]) => Some(&axis.text),
            _ => None,
        });
        &*self.result.text == "logits"
            && matches!((stream, &self.result_axes[..]), (Some(p), [row, _]) if *p == row.text)
    }
}

impl Function {
    /// The parameter that is the stream of tokens, if it generates.
    fn tokens(&self) -> Option<&Arc<str>> {
        let row = self.result_axes.first().filter(|_| self.is_generator())?;
        let is_stream = |p: &&Param| matches!(p.axes.as_deref(), Some([axis]) if axis.text == row.text);
        self.params.iter().find(is_stream).map(|param| &param.name.text)
    }

    /// Whether the expression is a token of the stream: `tok[p]`.
    pub(crate) fn is_token(&self, expr: &Expr) -> bool {
        let ExprKind::Index(base, _) = &expr.unparenthesized().kind else { return false };
        matches!(&base.kind, ExprKind::Name(name) if self.tokens() == Some(name))
    }
}

impl Projection {
    /// What it leaves as it is, on a left side: −∞ for the maximum, ∞ for the minimum, else 0.
    pub fn identity(self) -> f64 {
        match self {
            Self::Reduce(Reduction::Max) => f64::NEG_INFINITY,
            Self::Reduce(Reduction::Min) => f64::INFINITY,
            _ => 0.0,
        }
    }

    /// The projection of that name, as `sum[i](…)` spells it.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "sum" => Self::Reduce(Reduction::Sum),
            "prod" => Self::Reduce(Reduction::Prod),
            "max" => Self::Reduce(Reduction::Max),
            "min" => Self::Reduce(Reduction::Min),
            "argmax" => Self::Reduce(Reduction::Argmax),
            "argmin" => Self::Reduce(Reduction::Argmin),
            "mean" => Self::Mean,
            "any" => Self::Any,
            "all" => Self::All,
            "count" => Self::Count,
            _ => return None,
        })
    }
}

impl Expr {
    /// The expression without parentheses around it.
    pub fn unparenthesized(&self) -> &Expr {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }

    /// Calls `visit` on every direct part, those inside of indices included.
    pub fn each_part<'e>(&'e self, visit: &mut dyn FnMut(&'e Expr)) {
        match &self.kind {
            ExprKind::Number(_) | ExprKind::Str(_) | ExprKind::Bool(_) | ExprKind::Name(_) => {}
            ExprKind::Facts(_) | ExprKind::Token(_) => {}
            ExprKind::Unsupported(_) | ExprKind::Missing => {}
            ExprKind::List(parts) | ExprKind::Join(parts) | ExprKind::Apply(_, parts) => {
                parts.iter().for_each(visit)
            }
            ExprKind::Field(base, _) | ExprKind::Paren(base) => visit(base),
            ExprKind::Project(_, _, body) | ExprKind::Keep(body, _) => visit(body),
            ExprKind::Call(_, args) => args.iter().for_each(|arg| visit(&arg.value)),
            ExprKind::Product(factors) => factors.iter().for_each(|(_, factor)| visit(factor)),
            ExprKind::Sum(terms) => terms.iter().for_each(|(_, term)| visit(term)),
            ExprKind::Guarded(body, guard) => {
                visit(body);
                guard.iter().for_each(visit);
            }
            ExprKind::If(condition, yes, no) => [condition, yes, no].into_iter().for_each(|part| visit(part)),
            ExprKind::Index(base, indices) => {
                visit(base);
                indices.iter().for_each(|index| index.each_part(visit));
            }
        }
    }

    /// Calls `visit` on the expression and everything in it, outer ones first; it may change them.
    pub fn walk_mut(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        visit(self);
        match &mut self.kind {
            ExprKind::Number(_) | ExprKind::Str(_) | ExprKind::Bool(_) | ExprKind::Name(_) => {}
            ExprKind::Facts(_) | ExprKind::Token(_) => {}
            ExprKind::Unsupported(_) | ExprKind::Missing => {}
            ExprKind::List(parts) | ExprKind::Join(parts) | ExprKind::Apply(_, parts) => {
                parts.iter_mut().for_each(|part| part.walk_mut(visit));
            }
            ExprKind::Field(base, _) | ExprKind::Paren(base) => base.walk_mut(visit),
            ExprKind::Project(_, _, body) | ExprKind::Keep(body, _) => body.walk_mut(visit),
            ExprKind::Call(_, args) => args.iter_mut().for_each(|arg| arg.value.walk_mut(visit)),
            ExprKind::Product(factors) => factors.iter_mut().for_each(|(_, factor)| factor.walk_mut(visit)),
            ExprKind::Sum(terms) => terms.iter_mut().for_each(|(_, term)| term.walk_mut(visit)),
            ExprKind::Guarded(body, guard) => {
                body.walk_mut(visit);
                guard.iter_mut().for_each(|condition| condition.walk_mut(visit));
            }
            ExprKind::If(condition, yes, no) => {
                [condition, yes, no].into_iter().for_each(|part| part.walk_mut(visit));
            }
            ExprKind::Index(base, indices) => {
                base.walk_mut(visit);
                indices.iter_mut().for_each(|index| index.walk_mut(visit));
            }
        }
    }

    /// Calls `visit` on the expression and everything in it, outer ones first.
    pub fn walk<'e>(&'e self, visit: &mut dyn FnMut(&'e Expr)) {
        visit(self);
        self.each_part(&mut |part| part.walk(visit));
    }
}

impl Index {
    /// Calls `visit` on everything in the expressions that the index holds; it may change them.
    pub fn walk_mut(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        match &mut self.kind {
            IndexKind::Expr(expr) => expr.walk_mut(visit),
            IndexKind::Slice(from, to, step) => {
                from.iter_mut().chain(to).chain(step).for_each(|bound| bound.walk_mut(visit));
            }
            IndexKind::Name(_) | IndexKind::Any | IndexKind::Group(_) => {}
        }
    }

    /// Calls `visit` on every expression that the index directly holds.
    pub fn each_part<'e>(&'e self, visit: &mut dyn FnMut(&'e Expr)) {
        match &self.kind {
            IndexKind::Expr(expr) => visit(expr),
            IndexKind::Slice(from, to, step) => {
                from.iter().chain(to).chain(step).for_each(|bound| visit(bound))
            }
            IndexKind::Name(_) | IndexKind::Any | IndexKind::Group(_) => {}
        }
    }
}

impl Expr {
    /// Calls `visit` on every name that stands for a value in the expression, those in indices included.
    pub fn each_name(&self, visit: &mut dyn FnMut(&Arc<str>)) {
        self.walk(&mut |part| match &part.kind {
            ExprKind::Name(name) => visit(name),
            ExprKind::Index(_, indices) => indices.iter().for_each(|index| index.each_name(visit)),
            _ => {}
        });
    }
}

impl Index {
    pub(crate) fn each_name(&self, visit: &mut dyn FnMut(&Arc<str>)) {
        match &self.kind {
            IndexKind::Name(name) => visit(name),
            IndexKind::Group(names) => names.iter().for_each(|name| visit(&name.text)),
            IndexKind::Any | IndexKind::Expr(_) | IndexKind::Slice(..) => {}
        }
    }
}

impl Equation {
    /// Calls `visit` on every name that stands for a value or an index.
    pub fn each_name(&self, visit: &mut dyn FnMut(&Arc<str>)) {
        for index in self.indices.iter().flatten() {
            index.each_name(visit);
            index.each_part(&mut |part| part.each_name(visit));
        }
        self.value.each_name(visit);
        self.guard.iter().for_each(|condition| condition.each_name(visit));
        self.bound.until.iter().chain(&self.bound.steps).for_each(|bound| bound.each_name(visit));
    }

    /// Calls `visit` on everything on both sides and in the guard; it may change them.
    pub fn walk_mut(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        self.indices.iter_mut().flatten().for_each(|index| index.walk_mut(visit));
        self.value.walk_mut(visit);
        self.guard.iter_mut().for_each(|condition| condition.walk_mut(visit));
        self.bound.until.iter_mut().chain(&mut self.bound.steps).for_each(|bound| bound.walk_mut(visit));
    }
}
