//! Typed views as compact text, with parentheses around whatever binds together; `·` is a join.

use tl_syntax::ast::*;

/// One statement a line.
pub fn file(file: &File) -> String {
    file.stmts().map(|s| stmt(&s)).collect::<Vec<_>>().join("\n")
}

pub fn stmt(s: &Stmt) -> String {
    match s {
        Stmt::Equation(s) => {
            let op = s.op().map_or("?", ProjectionOp::as_str);
            let tail = clauses(s.guard(), s.until(), s.steps());
            format!("eq {} {op} {}{tail}", opt(s.lhs()), opt(s.rhs()))
        }
        Stmt::Rule(s) => {
            let body = s.body().map(|literal| match literal {
                BodyLiteral::Positive(e) => expr(&e),
                BodyLiteral::Negative(e) => format!("not {}", expr(&e)),
                BodyLiteral::Binding(b) => format!("{} := {}", opt(b.target()), opt(b.value())),
            });
            let body = body.collect::<Vec<_>>().join(", ");
            format!("rule {} <- {body}{}", opt(s.head()), clauses(s.guard(), s.until(), s.steps()))
        }
        Stmt::Query(s) => format!("query {}", opt(s.target())),
        Stmt::Why(s) => format!("why {}", opt(s.target())),
        Stmt::Relation(s) => {
            let columns = s.columns().map(|c| {
                let name = c.name().map_or(String::new(), |name| format!("{}: ", name.as_str()));
                format!("{name}{}", ident(c.domain()))
            });
            format!("relation {}({})", ident(s.name()), columns.collect::<Vec<_>>().join(", "))
        }
        Stmt::Dim(s) => {
            let bindings = s.bindings().map(|b| match b.value() {
                Some(value) => format!("{} = {}", ident(b.name()), expr(&value)),
                None => ident(b.name()),
            });
            format!("dim {}", bindings.collect::<Vec<_>>().join(", "))
        }
        Stmt::Param(s) => {
            format!("param {}{} = {}", ident(s.name()), list(s.indices(), index), opt(s.init()))
        }
        Stmt::Learn(s) => {
            let entries = s.entries().map(|e| {
                let by = e.by().map_or(String::new(), |by| format!(" by {}", expr(&by)));
                format!("{}: {}{by}", ident(e.name()), opt(e.value()))
            });
            format!("learn {{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Stmt::Import(s) => format!("import {:?}", s.path().map(|path| path.value()).unwrap_or_default()),
        Stmt::Fn(s) => {
            let guard = s.guard().map_or(String::new(), |g| format!(" where {}", expr(&g)));
            format!("fn {}{}{guard}", ident(s.name()), function(s.params(), s.result(), s.body()))
        }
        Stmt::Let(s) => {
            format!("let {} = {}", s.pattern().map_or("?".into(), |p| pattern(&p)), opt(s.value()))
        }
        Stmt::Assign(s) => format!("assign {} := {}", opt(s.target()), opt(s.value())),
        Stmt::For(s) => {
            let pattern = s.pattern().map_or("?".into(), |p| pattern(&p));
            format!("for {pattern} in {} {}", opt(s.iterable()), opt_block(s.body()))
        }
        Stmt::While(s) => format!("while {} {}", opt(s.condition()), opt_block(s.body())),
        Stmt::Break(_) => "break".into(),
        Stmt::Continue(_) => "continue".into(),
        Stmt::Return(s) => format!("return{}", s.value().map_or(String::new(), |e| format!(" {}", expr(&e)))),
        Stmt::Main(s) => format!("main {}", opt_block(s.body())),
        Stmt::Assert(s) => {
            let message = s.message().map_or(String::new(), |m| format!(", {}", expr(&m)));
            format!("assert {}{message}", opt(s.condition()))
        }
        Stmt::Expr(s) => opt(s.expr()),
    }
}

pub fn expr(e: &Expr) -> String {
    match e {
        Expr::Name(e) => e.name().to_owned(),
        Expr::Number(e) => e.text().to_owned(),
        Expr::String(e) => format!("{:?}", e.value()),
        Expr::Interpolated(e) => {
            let parts = e.parts().map(|part| match part {
                StringPart::Text(text) => format!("{text:?}"),
                StringPart::Interpolation(i) => {
                    let format = i.format().map_or(String::new(), |f| format!(":{f}"));
                    format!("<{}{format}>", opt(i.expr()))
                }
            });
            format!("(str {})", parts.collect::<Vec<_>>().join(" "))
        }
        Expr::Bool(e) => e.value().to_string(),
        Expr::Wildcard(_) => "_".into(),
        Expr::Virtual(e) => format!("*{}", ident(e.name())),
        Expr::Paren(e) => format!("paren({})", opt(e.inner())),
        Expr::Tuple(e) => format!("tuple({})", e.elements().map(|e| expr(&e)).collect::<Vec<_>>().join(", ")),
        Expr::List(e) => list(e.elements(), |e| expr(&e)),
        Expr::Dict(e) => {
            let entries = e.entries().map(|e| format!("{}: {}", opt(e.key()), opt(e.value())));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Expr::Binary(e) => {
            let rest = e.rest().map(|(op, _, operand)| format!(" {} {}", op.as_str(), expr(&operand)));
            format!("({}{})", opt(e.first()), rest.collect::<String>())
        }
        Expr::Compare(e) => {
            let rest = e.rest().map(|(op, _, operand)| format!(" {} {}", op.as_str(), expr(&operand)));
            format!("({}{})", opt(e.first()), rest.collect::<String>())
        }
        Expr::Not(e) => format!("(not {})", opt(e.operand())),
        Expr::Neg(e) => format!("(-{})", opt(e.operand())),
        Expr::Range(e) => format!("({}..{})", opt(e.start()), opt(e.end())),
        Expr::Join(e) => format!("({})", e.factors().map(|e| expr(&e)).collect::<Vec<_>>().join(" · ")),
        Expr::Power(e) => format!("({})", e.operands().map(|e| expr(&e)).collect::<Vec<_>>().join(" ^ ")),
        Expr::Call(e) => {
            let arguments = e.arguments().map(|argument| match argument {
                Argument::Positional(e) => expr(&e),
                Argument::Named(arg) => format!("{}: {}", ident(arg.name()), opt(arg.value())),
            });
            format!("{}({})", opt(e.callee()), arguments.collect::<Vec<_>>().join(", "))
        }
        Expr::Index(e) => format!("{}{}", opt(e.base()), list(e.indices(), index)),
        Expr::Field(e) => format!("{}.{}", opt(e.base()), ident(e.name())),
        Expr::Query(e) => format!("{}?", opt(e.target())),
        Expr::Project(e) => format!("({} -> {})", opt(e.operand()), list(e.indices(), index)),
        Expr::Guarded(e) => format!("({} where {})", opt(e.operand()), opt(e.guard())),
        Expr::If(e) => {
            let branches = e.branches();
            let branches = branches
                .iter()
                .map(|b| format!("if {} {}", opt(b.condition.clone()), opt_block(b.body.clone())));
            let last = e.else_block().map_or(String::new(), |b| format!(" else {}", block(&b)));
            format!("({}{last})", branches.collect::<Vec<_>>().join(" else "))
        }
        Expr::Block(e) => block(e),
        Expr::Closure(e) => format!("(fn{})", function(e.params(), e.result(), e.body())),
    }
}

pub fn index(i: IndexExpr) -> String {
    match i {
        IndexExpr::Name(i) => i.name().to_owned(),
        IndexExpr::Dotted(i) => format!("{}.", ident(i.name())),
        IndexExpr::Virtual(i) => format!("*{}", ident(i.name())),
        IndexExpr::Slice(i) => {
            let part = |e: Option<Expr>| e.map_or(String::new(), |e| expr(&e));
            let step = i.step().map_or(String::new(), |e| format!(":{}", expr(&e)));
            format!("{}:{}{step}", part(i.start()), part(i.end()))
        }
        IndexExpr::Group(i) => {
            format!("<{}>", i.names().map(|n| n.as_str().to_owned()).collect::<Vec<_>>().join(" "))
        }
        IndexExpr::Wildcard(_) => "_".into(),
        IndexExpr::Expr(e) => expr(&e),
    }
}

fn function(params: Vec<Param>, result: Option<FnResult>, body: Option<FnBody>) -> String {
    let params = params.iter().map(|param| {
        let indices = param.indices().map_or(String::new(), |indices| list(indices, index));
        let default = param.default().map_or(String::new(), |e| format!(" = {}", expr(&e)));
        format!("{}{indices}{default}", ident(param.name()))
    });
    let params = params.collect::<Vec<_>>().join(", ");
    let result = result.map_or(String::new(), |r| {
        let name = r.name().map_or(String::new(), |name| name.as_str().to_owned());
        format!(" -> {name}{}", r.indices().map_or(String::new(), |indices| list(indices, index)))
    });
    let body = match body {
        Some(FnBody::Expr(e)) => format!("= {}", expr(&e)),
        Some(FnBody::Block(b)) => block(&b),
        None => "?".into(),
    };
    format!("({params}){result} {body}")
}

fn pattern(p: &Pattern) -> String {
    match p {
        Pattern::Name(p) => p.name().map_or("_".into(), |name| name.as_str().to_owned()),
        Pattern::Tuple(p) => format!("({})", p.parts().map(|p| pattern(&p)).collect::<Vec<_>>().join(", ")),
    }
}

fn clauses(guard: Option<Expr>, until: Option<Expr>, steps: Option<Expr>) -> String {
    let clause = |word: &str, e: Option<Expr>| e.map_or(String::new(), |e| format!(" {word} {}", expr(&e)));
    format!("{}{}{}", clause("where", guard), clause("until", until), clause("steps", steps))
}

fn block(b: &Block) -> String {
    format!("{{{}}}", b.stmts().map(|s| stmt(&s)).collect::<Vec<_>>().join("; "))
}

fn opt_block(b: Option<Block>) -> String {
    b.map_or("?".into(), |b| block(&b))
}

fn opt(e: Option<Expr>) -> String {
    e.map_or("?".into(), |e| expr(&e))
}

fn ident(name: Option<Ident>) -> String {
    name.map_or("?".into(), |name| name.as_str().to_owned())
}

fn list<T>(items: impl IntoIterator<Item = T>, show: impl Fn(T) -> String) -> String {
    format!("[{}]", items.into_iter().map(show).collect::<Vec<_>>().join(", "))
}
