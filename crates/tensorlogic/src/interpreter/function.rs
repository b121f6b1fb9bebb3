//! Functions of programs, as values.

use std::sync::Arc;

use tl_syntax::Span;
use tl_syntax::ast;

use super::value::Value;

/// A function of a program, or a closure with what it saw.
#[derive(Clone)]
pub struct Function {
    pub(crate) shape: Shape,
    pub(crate) captured: Vec<(Arc<str>, Value)>,
}

/// Where a function is written.
#[derive(Clone)]
pub(crate) enum Shape {
    Declared(ast::FnDecl),
    Closure(ast::ClosureExpr),
    /// In the standard library, by its name.
    Library(Arc<str>, Span),
}

impl Function {
    pub(crate) fn declared(decl: ast::FnDecl) -> Function {
        Function { shape: Shape::Declared(decl), captured: Vec::new() }
    }

    pub(crate) fn closure(closure: ast::ClosureExpr, captured: Vec<(Arc<str>, Value)>) -> Function {
        Function { shape: Shape::Closure(closure), captured }
    }

    pub(crate) fn library(name: &str, span: Span) -> Function {
        Function { shape: Shape::Library(name.into(), span), captured: Vec::new() }
    }

    /// Its name, or `closure`.
    pub fn name(&self) -> String {
        match &self.shape {
            Shape::Declared(decl) => decl.name().map_or_else(|| "fn".to_owned(), |n| n.as_str().to_owned()),
            Shape::Closure(_) => "closure".to_owned(),
            Shape::Library(name, _) => name.to_string(),
        }
    }

    /// Where it is written.
    pub fn span(&self) -> Span {
        match &self.shape {
            Shape::Declared(decl) => decl.name().map_or_else(|| decl.span(), |n| n.span()),
            Shape::Closure(closure) => closure.span(),
            Shape::Library(_, span) => *span,
        }
    }

    /// Whether it is a closure.
    pub(crate) fn is_closure(&self) -> bool {
        matches!(self.shape, Shape::Closure(_))
    }

    /// Its declaration, if it stands in a program.
    pub(crate) fn declared_as(&self) -> Option<&ast::FnDecl> {
        match &self.shape {
            Shape::Declared(decl) => Some(decl),
            Shape::Closure(_) | Shape::Library(..) => None,
        }
    }

    pub(crate) fn params(&self) -> Vec<ast::Param> {
        match &self.shape {
            Shape::Declared(decl) => decl.params(),
            Shape::Closure(closure) => closure.params(),
            Shape::Library(..) => Vec::new(),
        }
    }

    pub(crate) fn body(&self) -> Option<ast::FnBody> {
        match &self.shape {
            Shape::Declared(decl) => decl.body(),
            Shape::Closure(closure) => closure.body(),
            Shape::Library(..) => None,
        }
    }

    fn result(&self) -> Option<ast::FnResult> {
        match &self.shape {
            Shape::Declared(decl) => decl.result(),
            Shape::Closure(closure) => closure.result(),
            Shape::Library(..) => None,
        }
    }

    /// Whether it is made of equations: a parameter or the result declares axes. Such a function is traced, not interpreted.
    pub(crate) fn is_equations(&self) -> bool {
        matches!(self.shape, Shape::Library(..))
            || self.params().iter().any(|p| p.indices().is_some())
            || self.result().is_some()
    }
}

/// The head of a declaration: `name(parameters) -> result`.
pub fn signature(decl: &ast::FnDecl) -> String {
    let name = decl.name().map(|n| n.as_str().to_owned()).unwrap_or_default();
    let params: Vec<String> = decl.params().iter().map(|p| p.text().trim().to_owned()).collect();
    let result = decl.result().map(|r| format!(" -> {}", r.text().trim())).unwrap_or_default();
    format!("{name}({}){result}", params.join(", "))
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "fn {}", self.name())
    }
}
