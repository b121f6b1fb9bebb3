//! From the typed tree to the [`Program`]: drops syntax, keeps spans, and reports what equations can't contain.
//!
//! The reader never fails. What the parser has reported becomes [`ExprKind::Missing`]; what is legal in scripts only becomes
//! [`ExprKind::Unsupported`], which is reported when somebody traces it.

use std::sync::Arc;

use tl_ir::{Reduction, Scalar};
use tl_syntax::ast;
use tl_syntax::{Diagnostic, Span, codes};

use crate::facts::{fact, facts_equation, rows_of, two_arities};
use crate::program::*;

/// Reads declarations into a program and collects what is wrong with them.
#[derive(Debug)]
pub struct Reader<'p> {
    program: &'p mut Program,
    /// What was found.
    pub diagnostics: Vec<Diagnostic>,
}

impl<'p> Reader<'p> {
    /// A reader that adds to `program`.
    pub fn new(program: &'p mut Program) -> Self {
        Self { program, diagnostics: Vec::new() }
    }

    /// A function declaration; `None` where the syntax is too broken to have a name.
    pub fn function(&mut self, decl: &ast::FnDecl) -> Option<Function> {
        let name = name_of(&decl.name()?);
        let params: Vec<Param> = decl.params().iter().filter_map(|param| self.param(param)).collect();
        self.check_distinct(&params);
        let (result_name, result_axes) = match decl.result() {
            Some(result) => (result.name(), self.axis_names(result.indices().unwrap_or_default())),
            None => (None, Vec::new()),
        };
        let head_end = decl.result().map(|r| r.span()).or_else(|| params.last().map(|p| p.name.span));
        let span = head_end.map_or(name.span, |end| name.span.to(end));
        let result =
            result_name.as_ref().map_or_else(|| Name { text: "result".into(), span: name.span }, name_of);
        let mut function = Function {
            name,
            params,
            result,
            result_axes,
            block: Block::default(),
            script: None,
            doc: decl.docs(),
            kernel: None,
            span,
        };
        match decl.body() {
            Some(ast::FnBody::Expr(expr)) => {
                let guard = decl.guard().map(|g| self.conditions(&g)).unwrap_or_default();
                self.result_equation(&mut function, &expr, guard);
            }
            Some(ast::FnBody::Block(block)) => self.block(&mut function, &block),
            None => function.script = Some((function.span, "a function without a body")),
        }
        function.kernel = crate::kernels::recognize(&function);
        Some(function)
    }

    /// An equation; `None` if its left side does not name a tensor.
    pub fn equation(&mut self, equation: &ast::Equation) -> Option<Equation> {
        let target = name_of(&equation.name()?);
        let lhs = equation.lhs()?;
        let (indices, parenthesized) = match &lhs {
            ast::Expr::Name(_) => (None, false),
            ast::Expr::Index(indexed) => (Some(indexed.indices().map(|i| self.index(&i)).collect()), false),
            ast::Expr::Call(call) => (Some(self.arguments_as_indices(&call.args()?)), true),
            _ => return None,
        };
        let op = equation.op()?;
        let (projection, explicit) = match op {
            ast::ProjectionOp::Assign | ast::ProjectionOp::Add if parenthesized => (Projection::Any, false),
            ast::ProjectionOp::Assign | ast::ProjectionOp::Add => (Projection::Reduce(Reduction::Sum), false),
            ast::ProjectionOp::Max => (Projection::Reduce(Reduction::Max), true),
            ast::ProjectionOp::Min => (Projection::Reduce(Reduction::Min), true),
            ast::ProjectionOp::Or => (Projection::Any, true),
            ast::ProjectionOp::Avg => (Projection::Mean, true),
        };
        let is_virtual =
            lhs.syntax().descendants().any(|node| node.kind() == tl_syntax::SyntaxKind::VirtualIndex);
        let mut value = self.opt_expr(equation.rhs(), equation.span());
        let head = if parenthesized && projection == Projection::Any { Head::Boolean } else { Head::Tensor };
        let mut head = head;
        let mut projection = projection;
        let mut is_plain = op == ast::ProjectionOp::Assign;
        let columns = indices.as_deref().unwrap_or_default();
        let are_columns = columns.iter().all(|index: &Index| matches!(index.kind, IndexKind::Name(_)));
        let arity = columns.len();
        if head == Head::Boolean
            && !explicit
            && are_columns
            && let Some(rows) = rows_of(&value, arity)
        {
            // `Allowed(v) = [" yes", " no"]`
            value.kind = ExprKind::Facts(Arc::new(Facts { arity, rows }));
            (projection, head, is_plain) = (Projection::Any, Head::Rule, false);
        }
        if head == Head::Boolean && !explicit {
            value = self.truth(value);
        }
        let guard = equation.guard().map(|g| self.conditions(&g)).unwrap_or_default();
        let bound = self.bound(equation.until(), equation.steps());
        let span = equation.span();
        Some(Equation {
            target,
            indices,
            projection,
            explicit,
            is_plain,
            head,
            bound,
            is_virtual,
            value,
            guard,
            span,
        })
    }

    /// A rule as the equation of a Boolean tensor: `Head(x) <- A(x, y), not B(y), x < y` is
    /// `Head(x) = A(x, y) not(B(y)) where x < y`.
    pub fn rule(&mut self, rule: &ast::Rule) -> Option<Equation> {
        let target = name_of(&rule.name()?);
        let indices = rule.args().map(|args| self.arguments_as_indices(&args)).unwrap_or_default();
        let (mut atoms, mut guard) = (Vec::new(), Vec::new());
        for literal in rule.body() {
            match &literal {
                ast::BodyLiteral::Positive(
                    expr @ (ast::Expr::Call(_) | ast::Expr::Name(_) | ast::Expr::Index(_)),
                ) => {
                    atoms.push(self.expr(expr));
                }
                ast::BodyLiteral::Positive(condition) => guard.extend(self.conditions(condition)),
                ast::BodyLiteral::Negative(expr) => {
                    let atom = self.expr(expr);
                    atoms.push(self.new_expr(ExprKind::Apply(Scalar::Not, vec![atom]), literal.span()));
                }
                ast::BodyLiteral::Binding(binding) => {
                    if let (Some(target), Some(value)) = (binding.target(), binding.value()) {
                        guard.push(self.compare(&target, ast::CmpOp::Eq, &value));
                    }
                }
            }
        }
        guard.extend(rule.guard().iter().flat_map(|g| self.conditions(g)));
        let span = rule.span();
        let body = atoms.first().zip(atoms.last()).map_or(span, |(first, last)| first.span.to(last.span));
        let value = match atoms.len() {
            0 => self.new_expr(ExprKind::Number(1.0), body),
            1 => atoms.remove(0),
            _ => self.new_expr(ExprKind::Join(atoms), body),
        };
        let value = self.truth(value);
        let bound = self.bound(rule.until(), rule.steps());
        Some(Equation {
            target,
            indices: Some(indices),
            projection: Projection::Any,
            explicit: false,
            is_plain: false,
            head: Head::Rule,
            bound,
            is_virtual: false,
            value,
            guard,
            span,
        })
    }

    /// `step(value)`: whether a sum is positive.
    fn truth(&mut self, value: Expr) -> Expr {
        let span = value.span;
        self.new_expr(ExprKind::Apply(Scalar::Step, vec![value]), span)
    }

    /// The arguments of a head as indices.
    fn arguments_as_indices(&mut self, args: &ast::ArgList) -> Vec<Index> {
        let mut indices = Vec::new();
        for argument in args.arguments() {
            let Some(value) = argument.value() else { continue };
            if let ast::Argument::Named(named) = &argument {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::BAD_INDEX,
                        named.span(),
                        "the columns of a relation have no names here",
                    )
                    .help("give its arguments in their order"),
                );
            }
            let value = self.expr(&value);
            indices.push(argument_index(value));
        }
        indices
    }

    /// The clauses that end a recursion.
    fn bound(&mut self, until: Option<ast::Expr>, steps: Option<ast::Expr>) -> Bound {
        let mut bound = Bound { until: None, steps: steps.map(|steps| self.expr(&steps)) };
        if let Some(until) = until {
            let small = match &until {
                ast::Expr::Compare(chain) => match &chain.comparisons()[..] {
                    [(ast::Expr::Name(name), ast::CmpOp::Lt | ast::CmpOp::Le, limit)]
                        if name.name() == "change" =>
                    {
                        Some(limit.clone())
                    }
                    _ => None,
                },
                _ => None,
            };
            match small {
                Some(limit) => bound.until = Some(self.expr(&limit)),
                None => self.diagnostics.push(
                    Diagnostic::error(
                        codes::NOT_IN_EQUATION,
                        until.span(),
                        "a recursion ends when little changes",
                    )
                    .help("write `until change < 1e-6`: the largest change of an element between two rounds"),
                ),
            }
        }
        bound
    }

    /// The bindings of a `dim` declaration.
    pub fn dims(&mut self, decl: &ast::DimDecl) -> Vec<Dim> {
        let bind = |binding: ast::DimBinding| {
            let name = name_of(&binding.name()?);
            let size = self.expr(&binding.value()?);
            Some(Dim { name, size })
        };
        decl.bindings().filter_map(bind).collect()
    }

    /// An expression.
    pub fn expr(&mut self, expr: &ast::Expr) -> Expr {
        let span = expr.span();
        let kind = match expr {
            ast::Expr::Name(name) => ExprKind::Name(name.name().into()),
            ast::Expr::Number(number) => {
                number.value().map_or(ExprKind::Missing, |n| ExprKind::Number(n.as_f64()))
            }
            ast::Expr::String(text) => ExprKind::Str(text.value().into()),
            ast::Expr::Bool(value) => ExprKind::Bool(value.value()),
            ast::Expr::Paren(paren) => match paren.inner() {
                Some(inner) => ExprKind::Paren(Box::new(self.expr(&inner))),
                None => ExprKind::Missing,
            },
            ast::Expr::List(list) => ExprKind::List(list.elements().map(|e| self.expr(&e)).collect()),
            ast::Expr::Binary(chain) => return self.chain(chain),
            ast::Expr::Compare(chain) => return self.comparison(chain),
            ast::Expr::Not(not) => self.unary(Scalar::Not, not.operand(), span),
            ast::Expr::Neg(neg) => self.unary(Scalar::Neg, neg.operand(), span),
            ast::Expr::Join(join) => ExprKind::Join(join.factors().map(|f| self.expr(&f)).collect()),
            ast::Expr::Power(power) => return self.power(power),
            ast::Expr::Call(call) => self.call(call),
            ast::Expr::Index(indexed) => {
                let base = self.opt_expr(indexed.base(), span);
                ExprKind::Index(Box::new(base), indexed.indices().map(|i| self.index(&i)).collect())
            }
            ast::Expr::Field(field) => match field.name() {
                Some(name) => ExprKind::Field(Box::new(self.opt_expr(field.base(), span)), name_of(&name)),
                None => ExprKind::Missing,
            },
            ast::Expr::Project(project) => {
                let body = self.opt_expr(project.operand(), span);
                let kept = self.axis_names(project.indices().collect());
                ExprKind::Keep(Box::new(body), kept)
            }
            ast::Expr::Guarded(guarded) => {
                let body = self.opt_expr(guarded.operand(), span);
                let guard = guarded.guard().map(|g| self.conditions(&g)).unwrap_or_default();
                ExprKind::Guarded(Box::new(body), guard)
            }
            ast::Expr::If(conditional) => self.conditional(conditional),
            ast::Expr::Block(block) => return self.block_value(Some(block.clone()), span),
            ast::Expr::Interpolated(_) => ExprKind::Unsupported("an interpolated string"),
            ast::Expr::Wildcard(_) => ExprKind::Unsupported(ANYTHING),
            // A virtual index is an index: what is stored is derived.
            ast::Expr::Virtual(index) => {
                index.name().map_or(ExprKind::Missing, |n| ExprKind::Name(n.as_str().into()))
            }
            ast::Expr::Tuple(_) => ExprKind::Unsupported("a tuple"),
            ast::Expr::Dict(_) => ExprKind::Unsupported("a dictionary"),
            ast::Expr::Range(_) => ExprKind::Unsupported("a range"),
            ast::Expr::Query(_) => ExprKind::Unsupported("a query"),
            ast::Expr::Closure(_) => ExprKind::Unsupported("a closure"),
        };
        self.new_expr(kind, span)
    }

    /// A condition, taken apart into what must all hold.
    pub fn conditions(&mut self, expr: &ast::Expr) -> Vec<Expr> {
        match expr.unparenthesized() {
            ast::Expr::Binary(chain) if chain.rest().all(|(op, ..)| op == ast::BinOp::And) => {
                chain.operands().flat_map(|operand| self.conditions(&operand)).collect()
            }
            ast::Expr::Compare(chain) => {
                let pairs = chain.comparisons();
                pairs.into_iter().map(|(a, op, b)| self.compare(&a, op, &b)).collect()
            }
            other => vec![self.expr(&other)],
        }
    }

    fn new_expr(&mut self, kind: ExprKind, span: Span) -> Expr {
        self.program.next_expr += 1;
        Expr { id: ExprId(self.program.next_expr), kind, span }
    }

    fn opt_expr(&mut self, expr: Option<ast::Expr>, around: Span) -> Expr {
        match expr {
            Some(expr) => self.expr(&expr),
            None => self.new_expr(ExprKind::Missing, around),
        }
    }

    fn param(&mut self, param: &ast::Param) -> Option<Param> {
        let name = name_of(&param.name()?);
        let axes = param.indices().map(|indices| self.axis_names(indices));
        let default = param.default().map(|e| self.expr(&e));
        Some(Param { name, axes, default })
    }

    fn check_distinct(&mut self, params: &[Param]) {
        for (i, param) in params.iter().enumerate() {
            if let Some(first) = params[..i].iter().find(|p| p.name.text == param.name.text) {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::DEFINED_TWICE,
                        param.name.span,
                        format!("two parameters are named `{}`", param.name.text),
                    )
                    .label(first.name.span, "the first one"),
                );
            }
        }
    }

    /// The plain names of an index list that declares axes.
    fn axis_names(&mut self, indices: Vec<ast::IndexExpr>) -> Vec<Name> {
        let mut names = Vec::new();
        for index in indices {
            match &index {
                ast::IndexExpr::Name(name) => names.extend(name.ident().map(|i| name_of(&i))),
                other => self.diagnostics.push(
                    Diagnostic::error(codes::BAD_INDEX, other.span(), "an axis is declared by a plain name")
                        .help("write a name such as `d` here and use the index expression in the body"),
                ),
            }
        }
        names
    }

    fn result_equation(&mut self, function: &mut Function, value: &ast::Expr, guard: Vec<Expr>) {
        let value = self.expr(value);
        let index = |axis: &Name| Index {
            kind: IndexKind::Name(Arc::clone(&axis.text)),
            dotted: false,
            span: axis.span,
        };
        let indices = match function.result_axes.is_empty() {
            true => None,
            false => Some(function.result_axes.iter().map(index).collect()),
        };
        function.block.equations.push(Equation {
            target: function.result.clone(),
            indices,
            projection: Projection::Reduce(Reduction::Sum),
            explicit: false,
            is_plain: true,
            head: Head::Tensor,
            bound: Bound::default(),
            is_virtual: false,
            span: value.span,
            value,
            guard,
        });
    }

    /// A function that works along axes is one of equations: facts, rules and relations may stand in it.
    fn block(&mut self, function: &mut Function, block: &ast::Block) {
        let last = block.stmts().count();
        let is_traced = !function.result_axes.is_empty() || function.params.iter().any(|p| p.axes.is_some());
        let is_named = |name: &str| {
            block
                .stmts()
                .any(|s| matches!(&s, ast::Stmt::Equation(e) if e.name().is_some_and(|n| n.as_str() == name)))
        };
        let has_result = is_named(&function.result.text);
        let mut facts: Vec<(Name, Fact)> = Vec::new();
        for (i, stmt) in block.stmts().enumerate() {
            match &stmt {
                ast::Stmt::Equation(equation) => match self.equation(equation) {
                    Some(equation) => function.block.equations.push(equation),
                    None => {
                        function
                            .script
                            .get_or_insert((equation.span(), "an equation whose left side is no tensor"));
                    }
                },
                ast::Stmt::Let(binding) => self.binding(function, binding),
                ast::Stmt::Dim(decl) => {
                    let dims = self.dims(decl);
                    function.block.dims.extend(dims);
                }
                ast::Stmt::Rule(rule) if is_traced => {
                    let rule = self.rule(rule);
                    function.block.equations.extend(rule);
                }
                ast::Stmt::Relation(decl) if is_traced => {
                    let columns = decl.columns().filter_map(|c| c.domain()).map(|d| name_of(&d)).collect();
                    function.block.schemas.extend(decl.name().map(|name| (name_of(&name), columns)));
                }
                ast::Stmt::Expr(stated)
                    if is_traced
                        && (has_result || i + 1 < last)
                        && stated.call().and_then(|c| fact(&c)).is_some() =>
                {
                    facts.extend(stated.call().and_then(|call| fact(&call)));
                }
                ast::Stmt::Expr(tail) if i + 1 == last => match tail.expr() {
                    Some(expr) => self.result_equation(function, &expr, Vec::new()),
                    None => continue,
                },
                other => {
                    function.script.get_or_insert((other.syntax().span(), describe(other)));
                }
            }
        }
        self.state(function, facts);
        let found = function.block.equations.iter().any(|e| e.target.text == function.result.text);
        if !found && function.script.is_none() {
            function.script = Some((function.span, "no equation that defines the result"));
        }
    }

    /// The facts of a function's body, those of one relation together. What no equation reads is no relation but a call of a script's.
    fn state(&mut self, function: &mut Function, facts: Vec<(Name, Fact)>) {
        let read = crate::outside::reads(function, self.program);
        let mut relations: Vec<(Name, Vec<Fact>)> = Vec::new();
        for (name, fact) in facts {
            let is_defined = function.block.equations.iter().any(|e| e.target.text == name.text);
            if !is_defined && !read.contains(&name.text) {
                function.script.get_or_insert((fact.span, "an expression statement"));
                continue;
            }
            match relations.iter_mut().find(|(other, _)| other.text == name.text) {
                Some((_, rows)) => rows.push(fact),
                None => relations.push((name, vec![fact])),
            }
        }
        for (name, rows) in relations {
            let arity = rows[0].constants.len();
            if let Some(other) = rows.iter().find(|row| row.constants.len() != arity) {
                self.diagnostics.push(two_arities(&name, arity, other));
                continue;
            }
            self.program.next_expr += 1;
            let id = ExprId(self.program.next_expr);
            function.block.equations.push(facts_equation(&name, arity, rows, id));
        }
    }

    fn binding(&mut self, function: &mut Function, binding: &ast::LetStmt) {
        match (binding.pattern(), binding.value()) {
            (Some(ast::Pattern::Name(pattern)), Some(value)) => {
                let value = self.expr(&value);
                if let Some(name) = pattern.name() {
                    function.block.lets.push(Let { name: name_of(&name), value });
                }
            }
            (Some(ast::Pattern::Tuple(pattern)), _) => {
                function.script.get_or_insert((pattern.span(), "a `let` with several names"));
            }
            _ => {}
        }
    }

    fn index(&mut self, index: &ast::IndexExpr) -> Index {
        let span = index.span();
        let named =
            |ident: Option<ast::Ident>| ident.map_or(IndexKind::Any, |i| IndexKind::Name(i.as_str().into()));
        let (kind, dotted) = match index {
            ast::IndexExpr::Name(name) => (named(name.ident()), false),
            ast::IndexExpr::Dotted(name) => (named(name.name()), true),
            ast::IndexExpr::Virtual(name) => (named(name.name()), false),
            ast::IndexExpr::Wildcard(_) => (IndexKind::Any, false),
            ast::IndexExpr::Group(group) => {
                (IndexKind::Group(group.names().map(|n| name_of(&n)).collect()), false)
            }
            ast::IndexExpr::Slice(slice) => {
                let mut bound = |e: Option<ast::Expr>| e.map(|e| Box::new(self.expr(&e)));
                (IndexKind::Slice(bound(slice.start()), bound(slice.end()), bound(slice.step())), false)
            }
            ast::IndexExpr::Expr(expr) => (IndexKind::Expr(Box::new(self.expr(expr))), false),
        };
        Index { kind, dotted, span }
    }

    fn unary(&mut self, scalar: Scalar, operand: Option<ast::Expr>, span: Span) -> ExprKind {
        let operand = self.opt_expr(operand, span);
        match (scalar, &operand.kind) {
            (Scalar::Neg, ExprKind::Number(n)) => ExprKind::Number(-n),
            _ => ExprKind::Apply(scalar, vec![operand]),
        }
    }

    /// `a ^ b ^ c` is `a ^ (b ^ c)`.
    fn power(&mut self, power: &ast::PowerExpr) -> Expr {
        let mut operands: Vec<Expr> = power.operands().map(|e| self.expr(&e)).collect();
        let Some(mut result) = operands.pop() else { return self.new_expr(ExprKind::Missing, power.span()) };
        while let Some(base) = operands.pop() {
            let span = base.span.to(result.span);
            result = self.new_expr(ExprKind::Apply(Scalar::Pow, vec![base, result]), span);
        }
        result
    }

    /// Chains of one precedence. `%` ends a product: what is before it is one operand.
    fn chain(&mut self, chain: &ast::BinaryExpr) -> Expr {
        let first = self.opt_expr(chain.first(), chain.span());
        let rest: Vec<_> = chain.rest().collect();
        match rest.first().map(|&(op, ..)| op) {
            Some(ast::BinOp::Add | ast::BinOp::Sub) => {
                let mut terms = vec![(false, first)];
                terms.extend(rest.iter().map(|(op, _, e)| (*op == ast::BinOp::Sub, self.expr(e))));
                self.new_expr(ExprKind::Sum(terms), chain.span())
            }
            Some(ast::BinOp::And | ast::BinOp::Or) => {
                let start = first.span;
                rest.iter().fold(first, |left, (op, _, e)| {
                    let right = self.expr(e);
                    let scalar = if *op == ast::BinOp::And { Scalar::And } else { Scalar::Or };
                    let span = start.to(right.span);
                    self.new_expr(ExprKind::Apply(scalar, vec![left, right]), span)
                })
            }
            Some(_) => self.product(first, &rest),
            None => first,
        }
    }

    fn product(&mut self, first: Expr, rest: &[(ast::BinOp, Span, ast::Expr)]) -> Expr {
        let start = first.span;
        let mut factors = vec![(Factor::Times, first)];
        for (op, _, operand) in rest {
            let operand = self.expr(operand);
            match op {
                ast::BinOp::Rem => {
                    let before = self.finish_product(factors, start);
                    let span = start.to(operand.span);
                    let remainder = self.new_expr(ExprKind::Apply(Scalar::Mod, vec![before, operand]), span);
                    factors = vec![(Factor::Times, remainder)];
                }
                ast::BinOp::Div => factors.push((Factor::Over, operand)),
                _ => factors.push((Factor::Times, operand)),
            }
        }
        self.finish_product(factors, start)
    }

    fn finish_product(&mut self, mut factors: Vec<(Factor, Expr)>, start: Span) -> Expr {
        match (factors.len(), factors.last()) {
            (2.., Some((_, last))) => {
                let span = start.to(last.span);
                self.new_expr(ExprKind::Product(factors), span)
            }
            _ => factors.remove(0).1,
        }
    }

    fn comparison(&mut self, chain: &ast::CompareExpr) -> Expr {
        let pairs = chain.comparisons();
        let mut compared =
            pairs.into_iter().map(|(a, op, b)| self.compare(&a, op, &b)).collect::<Vec<_>>().into_iter();
        let Some(first) = compared.next() else { return self.new_expr(ExprKind::Missing, chain.span()) };
        compared.fold(first, |left, right| {
            let span = left.span.to(right.span);
            self.new_expr(ExprKind::Apply(Scalar::And, vec![left, right]), span)
        })
    }

    /// One comparison. `a > b` is `b < a`, so that passes see two of the four.
    fn compare(&mut self, a: &ast::Expr, op: ast::CmpOp, b: &ast::Expr) -> Expr {
        let span = a.span().to(b.span());
        let (left, right) = (self.expr(a), self.expr(b));
        let kind = match op {
            ast::CmpOp::Lt => ExprKind::Apply(Scalar::Lt, vec![left, right]),
            ast::CmpOp::Le => ExprKind::Apply(Scalar::Le, vec![left, right]),
            ast::CmpOp::Gt => ExprKind::Apply(Scalar::Lt, vec![right, left]),
            ast::CmpOp::Ge => ExprKind::Apply(Scalar::Le, vec![right, left]),
            ast::CmpOp::Eq => ExprKind::Apply(Scalar::Eq, vec![left, right]),
            ast::CmpOp::Ne => ExprKind::Apply(Scalar::Ne, vec![left, right]),
            ast::CmpOp::In => ExprKind::Unsupported("`in`"),
        };
        self.new_expr(kind, span)
    }

    fn call(&mut self, call: &ast::CallExpr) -> ExprKind {
        let Some(ident) = call.name() else {
            return ExprKind::Unsupported("a call of something that is no name");
        };
        let arguments: Vec<ast::Argument> = call.arguments().collect();
        if let Some(axes) = call.axes() {
            let Some(projection) = Projection::named(ident.as_str()) else {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::UNKNOWN_NAME,
                        ident.span(),
                        format!("`{}` is no reduction", ident.as_str()),
                    )
                    .help("the reductions are sum, prod, max, min, mean, any, all, count, argmax, argmin"),
                );
                return ExprKind::Missing;
            };
            let names = self.axis_names(axes.items().collect());
            return match &arguments[..] {
                [ast::Argument::Positional(body)] => {
                    ExprKind::Project(projection, names, Box::new(self.expr(body)))
                }
                _ => {
                    self.diagnostics.push(
                        Diagnostic::error(
                            codes::ARGUMENT_COUNT,
                            call.span(),
                            "a reduction takes one argument",
                        )
                        .help(format!("write `{}[i](x[i])`", ident.as_str())),
                    );
                    ExprKind::Missing
                }
            };
        }
        let args = arguments.iter().filter_map(|argument| {
            let value = self.expr(&argument.value()?);
            let name = match argument {
                ast::Argument::Named(named) => named.name().map(|n| name_of(&n)),
                ast::Argument::Positional(_) => None,
            };
            Some(Arg { name, value })
        });
        ExprKind::Call(name_of(&ident), args.collect())
    }

    fn conditional(&mut self, conditional: &ast::IfExpr) -> ExprKind {
        let mut result = conditional.else_block().map(|e| self.block_value(Some(e), conditional.span()));
        for branch in conditional.branches().into_iter().rev() {
            let condition = self.opt_expr(branch.condition, conditional.span());
            let value = Box::new(self.block_value(branch.body, conditional.span()));
            let kind = match result {
                Some(otherwise) => ExprKind::If(Box::new(condition), value, Box::new(otherwise)),
                // Without an `else`, what the condition excludes does not exist.
                None => ExprKind::Guarded(value, vec![condition]),
            };
            result = Some(self.new_expr(kind, conditional.span()));
        }
        result.map_or(ExprKind::Missing, |result| result.kind)
    }

    fn block_value(&mut self, block: Option<ast::Block>, around: Span) -> Expr {
        let Some(block) = block else { return self.new_expr(ExprKind::Missing, around) };
        match block.tail() {
            Some(tail) if block.stmts().count() == 1 => {
                let value = self.expr(&tail);
                let span = value.span;
                self.new_expr(ExprKind::Paren(Box::new(value)), span)
            }
            _ => self.new_expr(ExprKind::Unsupported("a block of statements"), block.span()),
        }
    }
}

/// What `_` is where a value is wanted.
pub(crate) const ANYTHING: &str = "`_` as a value";

/// An argument of a relation as an index.
pub(crate) fn argument_index(value: Expr) -> Index {
    let span = value.span;
    let kind = match value.kind {
        ExprKind::Name(name) => IndexKind::Name(name),
        ExprKind::Unsupported(what) if what == ANYTHING => IndexKind::Any,
        _ => IndexKind::Expr(Box::new(value)),
    };
    Index { kind, dotted: false, span }
}

pub(crate) fn name_of(ident: &ast::Ident) -> Name {
    Name { text: ident.as_str().into(), span: ident.span() }
}

fn describe(stmt: &ast::Stmt) -> &'static str {
    match stmt {
        ast::Stmt::For(_) => "a `for` loop",
        ast::Stmt::While(_) => "a `while` loop",
        ast::Stmt::Return(_) => "a `return`",
        ast::Stmt::Assign(_) => "an assignment",
        ast::Stmt::Fn(_) => "a function in a function",
        ast::Stmt::Expr(_) => "an expression statement",
        ast::Stmt::Rule(_) => "a rule",
        ast::Stmt::Query(_) => "a query",
        ast::Stmt::Param(_) => "a `param`",
        _ => "a statement of scripts",
    }
}
