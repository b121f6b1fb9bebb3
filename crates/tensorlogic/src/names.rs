//! Names in the statements of a script: each must be a variable, a tensor, a function or a builtin.
//!
//! The checker of equations looks at equations and functions of equations; this looks at everything else, without running it. It knows
//! no values, so it reports only what can't be right: a name that nothing defines, wherever in the program. Names between
//! brackets may be indices and are left to whoever evaluates them.

use std::collections::HashSet;

use tl_syntax::ast::{self, AstNode, Stmt};
use tl_syntax::{Diagnostic, Node, Span, SyntaxKind, codes};

use crate::interpreter::closest;

/// Reports the names of a program that mean nothing. `files` are its own statements and those of the files that it imports, `known`
/// says of a name whether it is a function of the library or of the language.
pub(crate) fn check(
    files: &[ast::File],
    known: &dyn Fn(&str) -> bool,
    functions: &[&str],
) -> Vec<Diagnostic> {
    let mut names =
        Names { globals: HashSet::new(), scopes: Vec::new(), known, functions, found: Vec::new() };
    files.iter().for_each(|file| names.collect(file.stmts()));
    files.iter().for_each(|file| names.collect_indices(file.syntax()));
    for file in files {
        file.syntax().children().for_each(|node| names.visit(&node));
    }
    names.found
}

struct Names<'a> {
    /// What the top level defines, in any order.
    globals: HashSet<String>,
    /// The local variables of each open scope, innermost last.
    scopes: Vec<Vec<String>>,
    known: &'a dyn Fn(&str) -> bool,
    /// All functions that are known, for "did you mean".
    functions: &'a [&'a str],
    found: Vec<Diagnostic>,
}

impl Names<'_> {
    /// Takes in what statements of the top level define.
    fn collect(&mut self, statements: impl Iterator<Item = Stmt>) {
        for statement in statements {
            match &statement {
                Stmt::Let(statement) => self.globals.extend(pattern_names(statement.pattern())),
                Stmt::Fn(decl) => self.globals.extend(decl.name().map(|n| n.as_str().to_owned())),
                Stmt::Equation(equation) => {
                    self.globals.extend(equation.name().map(|n| n.as_str().to_owned()))
                }
                Stmt::Main(main) => main.body().iter().for_each(|body| self.collect(body.stmts())),
                // Whatever else a relation, a fact or a rule defines is a name too.
                Stmt::Rule(rule) => self.globals.extend(rule.name().map(|n| n.as_str().to_owned())),
                Stmt::Relation(decl) => self.globals.extend(decl.name().map(|n| n.as_str().to_owned())),
                Stmt::Param(decl) => self.globals.extend(decl.name().map(|n| n.as_str().to_owned())),
                Stmt::Expr(statement) => {
                    let fact = statement.call().and_then(|call| call.name());
                    let is_fact = |name: &str| name.starts_with(char::is_uppercase);
                    self.globals.extend(fact.map(|n| n.as_str().to_owned()).filter(|n| is_fact(n)));
                }
                _ => {}
            }
        }
    }

    /// Takes in the names between brackets: in `W[i] * i` the second one is an index too.
    fn collect_indices(&mut self, file: &Node) {
        for list in file.descendants().filter(|node| node.kind() == SyntaxKind::IndexList) {
            let names = list.descendants().filter(|node| node.kind() == SyntaxKind::Ident);
            self.globals.extend(names.map(|name| name.text().to_owned()));
        }
    }

    fn visit(&mut self, node: &Node) {
        match node.kind() {
            SyntaxKind::Equation | SyntaxKind::Rule | SyntaxKind::IndexList | SyntaxKind::DimDecl => {
                // An equation in a loop defines slices of a tensor that everybody sees.
                if let Some(name) = ast::Equation::cast(node.clone()).and_then(|e| e.name()) {
                    self.globals.insert(name.as_str().to_owned());
                }
            }
            SyntaxKind::RelationDecl
            | SyntaxKind::ParamDecl
            | SyntaxKind::LearnStmt
            | SyntaxKind::WhyStmt => {}
            SyntaxKind::FnDecl => self.visit_function(node),
            SyntaxKind::ClosureExpr => {
                let params = ast::ClosureExpr::cast(node.clone()).map(|c| c.params()).unwrap_or_default();
                self.in_scope(node, param_names(&params));
            }
            SyntaxKind::Block => self.in_scope(node, Vec::new()),
            SyntaxKind::ForStmt => {
                let Some(statement) = ast::ForStmt::cast(node.clone()) else { return };
                if let Some(iterable) = statement.iterable() {
                    self.visit(iterable.syntax());
                }
                if let Some(body) = statement.body() {
                    self.in_scope(body.syntax(), pattern_names(statement.pattern()));
                }
            }
            SyntaxKind::LetStmt => {
                let Some(statement) = ast::LetStmt::cast(node.clone()) else { return };
                if let Some(value) = statement.value() {
                    self.visit(value.syntax());
                }
                let names = pattern_names(statement.pattern());
                match self.scopes.last_mut() {
                    Some(scope) => scope.extend(names),
                    None => self.globals.extend(names),
                }
            }
            // `sum[d](…)`, joins and their like are equations in an expression.
            SyntaxKind::JoinExpr | SyntaxKind::ProjectExpr | SyntaxKind::GuardedExpr => {}
            SyntaxKind::QueryStmt if node.children().any(|child| is_call(&child)) => {}
            SyntaxKind::CallExpr if ast::CallExpr::cast(node.clone()).is_some_and(|c| c.axes().is_some()) => {
            }
            SyntaxKind::NameExpr => self.name(node.text().trim(), node.span()),
            _ => node.children().filter(|child| !child.is_token()).for_each(|child| self.visit(&child)),
        }
    }

    /// The body of a function of scripts; those of equations are checked elsewhere.
    fn visit_function(&mut self, node: &Node) {
        let Some(decl) = ast::FnDecl::cast(node.clone()) else { return };
        let of_equations = decl.result().is_some() || decl.params().iter().any(|p| p.indices().is_some());
        if let (Some(scope), Some(name)) = (self.scopes.last_mut(), decl.name()) {
            scope.push(name.as_str().to_owned());
        }
        if !of_equations {
            self.in_scope(node, param_names(&decl.params()));
        }
    }

    /// The children of a node in a scope of their own.
    fn in_scope(&mut self, node: &Node, names: Vec<String>) {
        self.scopes.push(names);
        node.children().filter(|child| !child.is_token()).for_each(|child| self.visit(&child));
        self.scopes.pop();
    }

    fn name(&mut self, name: &str, span: Span) {
        let is_local = self.scopes.iter().flatten().any(|local| local == name);
        if is_local || self.globals.contains(name) || (self.known)(name) {
            return;
        }
        let mut near: Vec<&str> =
            self.scopes.iter().flatten().chain(&self.globals).map(String::as_str).collect();
        near.extend(self.functions);
        near.sort_unstable();
        let mut diagnostic = Diagnostic::error(codes::UNKNOWN_NAME, span, format!("`{name}` is not defined"));
        if let Some(similar) = closest(name, near) {
            diagnostic = diagnostic.help(format!("did you mean `{similar}`?"));
        }
        self.found.push(diagnostic);
    }
}

/// Whether a query asks for a relation.
fn is_call(query: &Node) -> bool {
    query.children().any(|target| target.kind() == SyntaxKind::CallExpr)
}

fn pattern_names(pattern: Option<ast::Pattern>) -> Vec<String> {
    pattern.iter().flat_map(|p| p.names()).map(|n| n.as_str().to_owned()).collect()
}

fn param_names(params: &[ast::Param]) -> Vec<String> {
    params.iter().filter_map(|p| p.name()).map(|n| n.as_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use crate::loader::MemoryLoader;
    use crate::program::Program;

    fn found(text: &str) -> Vec<String> {
        let loader = MemoryLoader::new([("other.tl", "let shared = 1\nfn of_other(x) = x + shared\n")]);
        let program = Program::check_script("a.tl", text, &loader, &["sample"]);
        program.diagnostics().list.iter().map(|d| d.message.clone()).collect()
    }

    #[test]
    fn names_that_mean_nothing_are_found_before_anything_runs() {
        assert_eq!(found("print(total)"), ["`total` is not defined"]);
        assert_eq!(found("for i in 0..3 { print(j) }"), ["`j` is not defined"]);
        assert_eq!(
            found("fn f(x) { let y = x\n prnt(y)\n z }"),
            ["`prnt` is not defined", "`z` is not defined"]
        );
        assert_eq!(found("{ let x = 1 }\nprint(x)"), ["`x` is not defined"]);
        assert_eq!(found("let f = |a| a + b"), ["`b` is not defined"]);
        assert_eq!(found("print(\"{nme}\")"), ["`nme` is not defined"]);
    }

    #[test]
    fn names_that_mean_something_are_left_alone() {
        for text in [
            "let x = 1\nlet f = |y| x + y\nprint(f(2), pi, inf)",
            "print(later)\nlet later = 1",
            "W = [1, 2]\nprint(W[i] W[i], W[i] * i)\nW?",
            "import \"other.tl\"\nprint(of_other(shared))",
            "for l in 0..2 { X[l] = l }\nprint(X, sum[k](X[k]))",
            "print(sample([1, 2]), softmax([1, 2]), relu(1), exp(1))",
            "fn outer(n) { fn inner(m) = m + n\n inner(1) }\nprint(outer(1))",
            "for (k, v) in [(1, 2)] { print(k, v) }\nmain { let q = 1 }\nprint(q)",
        ] {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }
}
