//! Functions whose text is the definition of an op of the graph.
//!
//! The compiler may compute a function by a faster op if, and only if, the function's text *is* the op's definition: names
//! are replaced by numbers in the order of their first appearance and the result is compared with a table. So the library's softmax is
//! the op, anybody's copy of it too, and a softmax that was changed is what it says.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use crate::program::*;

/// The form of each function that an op computes.
const TABLE: &[(&str, Kernel)] = &[(
    "fn(0[1 ];)->2[1 ]{2[1 ]=<*exp(<+0[1 ]-Reduce(Max)[1 ](0[1 ])>,)/Reduce(Sum)[1 ](exp(<+0[1 ]-Reduce(Max)[1 ](0[1 ])>,))>}",
    Kernel::Softmax,
)];

/// The op that computes a function, if its text is one's definition.
pub(crate) fn recognize(function: &Function) -> Option<Kernel> {
    if function.script.is_some() {
        return None;
    }
    let form = Form::default().function(function)?;
    TABLE.iter().find(|(known, _)| *known == form).map(|&(_, kernel)| kernel)
}

/// Writes the form of a function.
#[derive(Default)]
struct Form {
    numbers: HashMap<Arc<str>, usize>,
    out: String,
}

impl Form {
    /// The form; `None` for a function that has anything that no definition in the table has.
    fn function(mut self, function: &Function) -> Option<String> {
        self.out.push_str("fn(");
        for param in &function.params {
            if param.default.is_some() {
                return None;
            }
            self.name(&param.name.text);
            self.names(param.axes.as_ref()?);
            self.out.push(';');
        }
        self.out.push_str(")->");
        self.name(&function.result.text);
        self.names(&function.result_axes);
        let block = &function.block;
        if !block.lets.is_empty() || !block.dims.is_empty() {
            return None;
        }
        for equation in &block.equations {
            self.equation(equation)?;
        }
        Some(self.out)
    }

    fn equation(&mut self, equation: &Equation) -> Option<()> {
        if !equation.guard.is_empty() || equation.explicit {
            return None;
        }
        self.out.push('{');
        self.name(&equation.target.text);
        self.indices(equation.indices.as_ref()?)?;
        self.out.push('=');
        self.expr(&equation.value)?;
        self.out.push('}');
        Some(())
    }

    fn expr(&mut self, expr: &Expr) -> Option<()> {
        match &expr.kind {
            ExprKind::Paren(inner) => return self.expr(inner),
            ExprKind::Number(n) => {
                let _ = write!(self.out, "{n}");
            }
            ExprKind::Index(base, indices) => {
                let ExprKind::Name(name) = &base.kind else { return None };
                self.name(name);
                self.indices(indices)?;
            }
            ExprKind::Call(name, args) => {
                let _ = write!(self.out, "{}(", name.text);
                for arg in args {
                    self.expr(&arg.value)?;
                    self.out.push(',');
                }
                self.out.push(')');
            }
            ExprKind::Project(kind, names, body) => {
                let _ = write!(self.out, "{kind:?}");
                self.names(names);
                self.out.push('(');
                self.expr(body)?;
                self.out.push(')');
            }
            ExprKind::Product(factors) => {
                self.out.push('<');
                for (factor, part) in factors {
                    self.out.push(if *factor == Factor::Over { '/' } else { '*' });
                    self.expr(part)?;
                }
                self.out.push('>');
            }
            ExprKind::Sum(terms) => {
                self.out.push('<');
                for (minus, term) in terms {
                    self.out.push(if *minus { '-' } else { '+' });
                    self.expr(term)?;
                }
                self.out.push('>');
            }
            _ => return None,
        }
        Some(())
    }

    fn indices(&mut self, indices: &[Index]) -> Option<()> {
        self.out.push('[');
        for index in indices {
            let IndexKind::Name(name) = &index.kind else { return None };
            self.name(name);
            self.out.push(' ');
        }
        self.out.push(']');
        Some(())
    }

    fn names(&mut self, names: &[Name]) {
        self.out.push('[');
        for name in names {
            self.name(&name.text);
            self.out.push(' ');
        }
        self.out.push(']');
    }

    fn name(&mut self, name: &Arc<str>) {
        let next = self.numbers.len();
        let number = *self.numbers.entry(Arc::clone(name)).or_insert(next);
        let _ = write!(self.out, "{number}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::Reader;

    fn kernel_of(text: &str) -> Option<Kernel> {
        let source = tl_syntax::Source::detached("test.tl", text).unwrap();
        let Some(tl_syntax::ast::Stmt::Fn(decl)) = tl_syntax::parse(&source).file().stmts().next() else {
            panic!("a function")
        };
        let mut program = Program::new();
        let function = Reader::new(&mut program).function(&decl).unwrap();
        function.kernel
    }

    #[test]
    fn the_library_softmax_is_the_op_under_any_names() {
        let library = include_str!("../../../lib/std/softmax.tl");
        let text = &library[library.find("fn softmax").unwrap()..];
        assert_eq!(kernel_of(text), Some(Kernel::Softmax));
        let renamed =
            "fn s(a[k]) -> b[k] { b[k] = exp(a[k] - max[k](a[k])) / sum[k](exp(a[k] - max[k](a[k]))) }";
        assert_eq!(kernel_of(renamed), Some(Kernel::Softmax));
    }

    #[test]
    fn a_changed_softmax_is_what_it_says() {
        let changed = "fn softmax(x[d]) -> y[d] { y[d] = exp(x[d]) / sum[d](exp(x[d])) }";
        assert_eq!(kernel_of(changed), None);
        let other =
            "fn softmax(x[d]) -> y[d] { y[d] = exp(x[d] - min[d](x[d])) / sum[d](exp(x[d] - max[d](x[d]))) }";
        assert_eq!(kernel_of(other), None);
    }
}
