//! Index arithmetic: expressions between brackets as affine functions of index variables.

use std::sync::Arc;

use tl_ir::{AffineMap, Extent, Scalar};
use tl_syntax::{Diagnostic, Span, codes};

use crate::program::{Expr, ExprKind, Factor};

use super::frame::{Bound, Cx};
use super::value::Value;
use super::{Res, Tracer};

/// `(Σ coefficient · variable + offset) div divisor`
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Linear {
    pub terms: Vec<(Arc<str>, i64)>,
    pub offset: i64,
    pub divisor: i64,
}

impl Linear {
    fn constant(offset: i64) -> Self {
        Self { terms: Vec::new(), offset, divisor: 1 }
    }

    /// The constant of an expression without variables.
    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then(|| self.offset.div_euclid(self.divisor))
    }

    fn scaled(mut self, by: i64) -> Option<Self> {
        if self.divisor != 1 {
            return None;
        }
        for (_, coefficient) in &mut self.terms {
            *coefficient = coefficient.checked_mul(by)?;
        }
        self.terms.retain(|&(_, coefficient)| coefficient != 0);
        self.offset = self.offset.checked_mul(by)?;
        Some(self)
    }

    fn plus(mut self, other: Self) -> Option<Self> {
        if other.divisor != 1 {
            return if self.divisor == 1 { other.plus(self) } else { None };
        }
        if self.divisor != 1 && !other.terms.is_empty() {
            return None;
        }
        for (variable, coefficient) in other.terms {
            match self.terms.iter_mut().find(|(v, _)| *v == variable) {
                Some((_, sum)) => *sum = sum.checked_add(coefficient)?,
                None => self.terms.push((variable, coefficient)),
            }
        }
        self.terms.retain(|&(_, coefficient)| coefficient != 0);
        self.offset = self.offset.checked_add(other.offset.checked_mul(self.divisor)?)?;
        Some(self)
    }
}

impl Tracer<'_> {
    /// The expression as an affine function of index variables; `None` where it is none, a gather for instance.
    pub(super) fn linear(&mut self, cx: &mut Cx, expr: &Expr) -> Res<Option<Linear>> {
        if !self.mentions_axes(cx, expr) {
            return self.linear_constant(cx, expr);
        }
        Ok(match &expr.kind {
            ExprKind::Name(name) => {
                Some(Linear { terms: vec![(Arc::clone(name), 1)], offset: 0, divisor: 1 })
            }
            ExprKind::Paren(inner) => self.linear(cx, inner)?,
            ExprKind::Apply(Scalar::Neg, operands) => {
                self.linear(cx, &operands[0])?.and_then(|l| l.scaled(-1))
            }
            ExprKind::Sum(terms) => {
                let mut sum = Some(Linear::constant(0));
                for (minus, term) in terms {
                    let term =
                        self.linear(cx, term)?.and_then(|l| if *minus { l.scaled(-1) } else { Some(l) });
                    sum = sum.zip(term).and_then(|(sum, term)| sum.plus(term));
                }
                sum
            }
            ExprKind::Join(factors) => {
                let factors: Vec<(Factor, &Expr)> = factors.iter().map(|f| (Factor::Times, f)).collect();
                self.linear_product(cx, &factors)?
            }
            ExprKind::Product(factors) => {
                let factors: Vec<(Factor, &Expr)> = factors.iter().map(|(f, e)| (*f, e)).collect();
                self.linear_product(cx, &factors)?
            }
            _ => None,
        })
    }

    /// A product of one linear factor and constants, perhaps divided by one at the end.
    fn linear_product(&mut self, cx: &mut Cx, factors: &[(Factor, &Expr)]) -> Res<Option<Linear>> {
        let mut product = Linear::constant(1);
        for (factor, expr) in factors {
            let Some(next) = self.linear(cx, expr)? else { return Ok(None) };
            let combined = match (factor, product.as_constant(), next.as_constant()) {
                (Factor::Times, Some(by), _) => next.scaled(by),
                (Factor::Times, _, Some(by)) => product.scaled(by),
                (Factor::Over, _, Some(by)) if by > 0 => {
                    let divisor = product.divisor.checked_mul(by);
                    divisor.map(|divisor| Linear { divisor, ..product })
                }
                _ => None,
            };
            let Some(combined) = combined else { return Ok(None) };
            product = combined;
        }
        Ok(Some(product))
    }

    fn linear_constant(&mut self, cx: &mut Cx, expr: &Expr) -> Res<Option<Linear>> {
        let value = self.eval(cx, expr)?;
        let number = match value {
            Value::Tensor(ref tensor) if tensor.axes.is_empty() => self.graph.as_constant(tensor.node),
            ref other => other.number(),
        };
        match number {
            Some(n) if n.fract() == 0.0 && n.abs() <= 1e15 => Ok(Some(Linear::constant(n as i64))),
            Some(n) => self.fail(
                Diagnostic::error(
                    codes::BAD_INDEX,
                    expr.span,
                    format!("an index is a whole number, this is {n}"),
                )
                .help("use `floor(…)` or `round(…)` if the nearest one is meant"),
            ),
            None => Ok(None),
        }
    }

    /// Whether the expression depends on an index variable that is an axis.
    pub(super) fn mentions_axes(&self, cx: &Cx, expr: &Expr) -> bool {
        let facts = &cx.frame.block.facts[cx.unit];
        let is_axis = |name: &Arc<str>| {
            facts.variables.iter().any(|(v, _)| v == name)
                && !matches!(cx.variables.get(name), Some(Bound::Step(_)))
        };
        let mut found = false;
        expr.walk(&mut |part| match &part.kind {
            ExprKind::Name(name) => found |= is_axis(name),
            ExprKind::Index(_, indices) => {
                for index in indices {
                    match &index.kind {
                        crate::program::IndexKind::Name(name) => found |= is_axis(name),
                        crate::program::IndexKind::Group(names) => {
                            found |= names.iter().any(|n| is_axis(&n.text))
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        });
        found
    }

    /// The linear function over axes.
    pub(super) fn affine_map(&mut self, cx: &mut Cx, linear: &Linear, span: Span) -> Res<AffineMap> {
        let mut terms = Vec::new();
        for (variable, coefficient) in &linear.terms {
            terms.push((self.axis_of(cx, variable, span)?, *coefficient));
        }
        Ok(AffineMap { terms, offset: linear.offset, divisor: linear.divisor })
    }

    /// Whether a comparison of affine functions holds everywhere (`Some(true)`), nowhere, or here and there (`None`).
    pub(super) fn settle_comparison(&mut self, cx: &mut Cx, expr: &Expr) -> Res<Option<bool>> {
        let ExprKind::Apply(scalar @ (Scalar::Lt | Scalar::Le), operands) = &expr.unparenthesized().kind
        else {
            return Ok(None);
        };
        if !self.is_arithmetic(cx, &operands[0]) || !self.is_arithmetic(cx, &operands[1]) {
            return Ok(None);
        }
        let (a, b) = (self.linear(cx, &operands[0])?, self.linear(cx, &operands[1])?);
        let difference = a.zip(b).and_then(|(a, b)| a.plus(b.scaled(-1)?)).filter(|d| d.divisor == 1);
        let Some(difference) = difference else { return Ok(None) };
        let (mut low, mut high) = (difference.offset, difference.offset);
        for (variable, coefficient) in &difference.terms {
            let Some(Bound::Axis(axis)) = cx.variables.get(variable).copied() else { return Ok(None) };
            let Extent::Static(size) = self.graph.extent(axis) else { return Ok(None) };
            let reach = coefficient.saturating_mul((size as i64 - 1).max(0));
            low = low.saturating_add(reach.min(0));
            high = high.saturating_add(reach.max(0));
        }
        // a < b is a − b < 0.
        let limit = if *scalar == Scalar::Lt { -1 } else { 0 };
        Ok(if high <= limit {
            Some(true)
        } else if low > limit {
            Some(false)
        } else {
            None
        })
    }

    /// Whether the expression is arithmetic on numbers and indices with whole constants, so that asking for its linear form
    /// reports nothing.
    fn is_arithmetic(&mut self, cx: &mut Cx, expr: &Expr) -> bool {
        if !self.mentions_axes(cx, expr) {
            let number = self.eval(cx, expr).ok().and_then(|v| v.number());
            return number.is_some_and(|n| n.fract() == 0.0 && n.abs() <= 1e15);
        }
        match &expr.kind {
            ExprKind::Name(_) => true,
            ExprKind::Paren(inner) => self.is_arithmetic(cx, inner),
            ExprKind::Apply(Scalar::Neg, operands) => self.is_arithmetic(cx, &operands[0]),
            ExprKind::Sum(terms) => terms.iter().all(|(_, t)| self.is_arithmetic(cx, t)),
            ExprKind::Join(factors) => factors.iter().all(|f| self.is_arithmetic(cx, f)),
            ExprKind::Product(factors) => {
                factors.iter().all(|(f, e)| *f == Factor::Times && self.is_arithmetic(cx, e))
            }
            _ => false,
        }
    }
}
