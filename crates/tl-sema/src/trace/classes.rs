//! What the whole block says of each class of domains: sizes for indices of which their own equation says nothing.
//!
//! Unification over all units, from data alone: nothing is defined for it. Staged indices are taken at step 0, and what is wrong is
//! reported where it is evaluated.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tl_ir::Extent;

use crate::domains::Class;
use crate::program::{Expr, ExprKind, Index, IndexKind};
use crate::sizes::{Affine, Origin, Solver};

use super::evidence::{Position, list_sizes};
use super::frame::{Bound, Cx, Frame};
use super::value::{Coordinate, Value};
use super::{Res, Tracer};

/// A fact about an axis of the block whose size is not known yet.
enum Deferred {
    Affine(Class, Affine<Class>),
    Group(Class, Vec<Class>, Origin),
    /// The axis is as large as the positions that are written.
    Written(Class, Affine<Class>),
}

impl Tracer<'_> {
    /// What is known of a class from everywhere in the block.
    pub(super) fn class_extent(&mut self, frame: &Rc<Frame>, class: Class) -> Res<Option<(Extent, Origin)>> {
        if let Some((axis, origin)) = frame.home(class) {
            return Ok(Some((self.graph.extent(axis), origin)));
        }
        if frame.class_sizes.get().is_none() {
            let sizes = self.solve_classes(frame)?;
            // Solving may have asked for a class itself, by way of a `dim` that uses `size`; the first answer stays.
            let _ = frame.class_sizes.set(sizes);
        }
        Ok(frame.class_sizes.get().and_then(|sizes| sizes.get(&class)).cloned())
    }

    /// Unification over all units, from data alone: nothing is defined for it. Staged indices are taken at step 0.
    fn solve_classes(&mut self, frame: &Rc<Frame>) -> Res<HashMap<Class, (Extent, Origin)>> {
        let block = Rc::clone(&frame.block);
        let mut solver = Solver::new();
        let mut deferred = Vec::new();
        for (name, _) in &block.dims {
            if let (Some(class), Some((extent, origin))) =
                (block.domains.anywhere(&name.text), self.dim(frame, &name.text)?)
            {
                solver.plain(class, extent, origin);
            }
        }
        for (name, (extent, origin)) in self.homes_of(frame) {
            solver.plain(name, extent, origin);
        }
        for class in block.constants.classes() {
            let what = "the constants of this domain".to_owned();
            if let Some((size, span)) = block.constants.size(class) {
                solver.plain(class, Extent::Static(size), Origin { span, what });
            } else if let Some((largest, span)) = block.constants.largest(class) {
                let (terms, origin) = (Vec::new(), Origin { span, what });
                let fact =
                    Affine { terms, offset: largest as i64, divisor: 1, extent: Extent::Unknown, origin };
                deferred.push(Deferred::Written(class, fact));
            }
        }
        for unit in 0..block.units.len() {
            let mut cx = Cx {
                frame: Rc::clone(frame),
                unit,
                variables: HashMap::new(),
                rows: Vec::new(),
                early: false,
            };
            for (name, _) in &block.facts[unit].variables {
                if self.is_unrolled(&cx, name) {
                    cx.variables.insert(Arc::clone(name), Bound::Step(Coordinate { step: 0, known: false }));
                }
            }
            let reported = self.diagnostics.len();
            let equation = &block.units[unit];
            let guards = equation.guard.iter();
            let walked = [&equation.value]
                .into_iter()
                .chain(guards)
                .try_for_each(|expr| self.class_evidence(&mut cx, expr, &mut solver, &mut deferred));
            if walked.is_ok() {
                self.class_left(&mut cx, &mut solver, &mut deferred).ok();
            }
            // What is wrong is reported where it is evaluated.
            self.withheld.extend(self.diagnostics.drain(reported..));
        }
        settle_deferred(&mut solver, &mut deferred);
        if let Some(vocabulary) = block.domains.vocabulary()
            && solver.get(&vocabulary).is_none()
            && let Some((extent, origin)) = self.vocabulary_size(frame)
        {
            solver.plain(vocabulary, extent, origin);
            settle_deferred(&mut solver, &mut deferred);
        }
        let classes = self.all_classes(&block);
        Ok(classes.into_iter().filter_map(|class| Some((class, solver.get(&class)?.clone()))).collect())
    }

    fn homes_of(&self, frame: &Frame) -> Vec<(Class, (Extent, Origin))> {
        let classes = self.all_classes(&frame.block);
        let home = |class| frame.home(class).map(|(axis, origin)| (class, (self.graph.extent(axis), origin)));
        classes.into_iter().filter_map(home).collect()
    }

    fn all_classes(&self, block: &crate::block::Block) -> Vec<Class> {
        let mut classes: Vec<Class> = block
            .facts
            .iter()
            .enumerate()
            .flat_map(|(unit, facts)| facts.variables.iter().map(move |(name, _)| (unit, name)))
            .filter_map(|(unit, name)| block.domains.variable(unit, name, true))
            .collect();
        for (tensor, equations) in &block.tensors {
            let rank = equations.iter().filter_map(|&e| block.units[e].indices.as_ref()).map(Vec::len).max();
            classes.extend((0..rank.unwrap_or(0)).filter_map(|k| block.domains.position(tensor, k)));
        }
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    fn class_evidence(
        &mut self,
        cx: &mut Cx,
        expr: &Expr,
        solver: &mut Solver<Class>,
        deferred: &mut Vec<Deferred>,
    ) -> Res<()> {
        match &expr.kind {
            ExprKind::Field(..) => return Ok(()),
            ExprKind::Call(name, _) if crate::builtins::takes_names(&name.text) => return Ok(()),
            _ => {}
        }
        if let ExprKind::If(condition, yes, no) = &expr.kind {
            let known = match self.mentions_axes(cx, condition) || mentions_tensors(cx, condition) {
                true => None,
                false => self.eval(cx, condition)?.number(),
            };
            return match known {
                Some(n) => self.class_evidence(cx, if n != 0.0 { yes } else { no }, solver, deferred),
                None => {
                    self.class_evidence(cx, yes, solver, deferred)?;
                    self.class_evidence(cx, no, solver, deferred)
                }
            };
        }
        if let ExprKind::Index(base, indices) = &expr.kind
            && !self.is_path_index(cx, expr)
        {
            let frame = Rc::clone(&cx.frame);
            let positions = match &base.kind {
                ExprKind::Name(name) if frame.block.tensors.contains_key(name) => {
                    let class = |k| frame.block.domains.position(name, k);
                    let position = |k| Position { extent: None, class: class(k) };
                    Some(((0..indices.len()).map(position).collect(), format!("the axis of `{name}`")))
                }
                _ => self.positions(cx, base, indices, expr.span)?,
            };
            let (positions, what) = positions.unwrap_or_default();
            for (index, position) in indices.iter().zip(positions) {
                let origin = Origin { span: index.span, what: what.clone() };
                self.class_index(cx, index, &position, origin, solver, deferred)?;
            }
        }
        let mut parts = Vec::new();
        expr.each_part(&mut |part| parts.push(part));
        parts.into_iter().try_for_each(|part| self.class_evidence(cx, part, solver, deferred))
    }

    fn class_index(
        &mut self,
        cx: &mut Cx,
        index: &Index,
        position: &Position,
        origin: Origin,
        solver: &mut Solver<Class>,
        deferred: &mut Vec<Deferred>,
    ) -> Res<()> {
        let frame = Rc::clone(&cx.frame);
        let of = |tracer: &Self, name: &Arc<str>| tracer.class_of(&frame, cx.unit, name);
        match (&index.kind, position.extent) {
            (IndexKind::Name(name), Some(extent)) => {
                if let Some(class) = of(self, name) {
                    solver.plain(class, extent, origin);
                }
            }
            (IndexKind::Group(names), extent) => {
                let keys: Option<Vec<Class>> = names.iter().map(|name| of(self, &name.text)).collect();
                match (keys, extent, position.class) {
                    (Some(keys), Some(extent), _) => solver.group(keys, extent, origin),
                    (Some(keys), None, Some(class)) => deferred.push(Deferred::Group(class, keys, origin)),
                    _ => {}
                }
            }
            (IndexKind::Expr(expr), extent) => {
                if mentions_tensors(cx, expr) {
                    return Ok(());
                }
                let Some(linear) = self.linear(cx, expr)?.filter(|l| !l.terms.is_empty()) else {
                    return Ok(());
                };
                let class = |(name, c): &(Arc<str>, i64)| Some((self.class_of(&frame, cx.unit, name)?, *c));
                let Some(terms) = linear.terms.iter().map(class).collect::<Option<Vec<_>>>() else {
                    return Ok(());
                };
                let extent_or = extent.unwrap_or(Extent::Unknown);
                let fact = Affine {
                    terms,
                    offset: linear.offset,
                    divisor: linear.divisor,
                    extent: extent_or,
                    origin,
                };
                match (extent, position.class) {
                    (Some(extent), _) if !extent.is_stream() => solver.affine(fact),
                    (None, Some(class)) => deferred.push(Deferred::Affine(class, fact)),
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What the left side and a list on the right say.
    fn class_left(
        &mut self,
        cx: &mut Cx,
        solver: &mut Solver<Class>,
        deferred: &mut Vec<Deferred>,
    ) -> Res<()> {
        let frame = Rc::clone(&cx.frame);
        let equation = &frame.block.units[cx.unit];
        let left = equation.indices.as_deref().unwrap_or_default();
        let sizes = match &equation.value.unparenthesized().kind {
            ExprKind::List(_) => match self.eval(cx, &equation.value)? {
                Value::List(items) => list_sizes(&items),
                _ => Vec::new(),
            },
            ExprKind::Name(name) if !frame.block.tensors.contains_key(name) => {
                match self.variable(&frame, cx.unit, name, equation.value.span)? {
                    Some(Value::Tensor(tensor)) => {
                        tensor.axes.iter().map(|&a| self.graph.extent(a)).collect()
                    }
                    Some(Value::List(items)) => list_sizes(&items),
                    _ => Vec::new(),
                }
            }
            _ => Vec::new(),
        };
        if equation.indices.is_none() {
            let origin = Origin {
                span: equation.target.span,
                what: format!("the axis of `{}`", equation.target.text),
            };
            for (k, extent) in sizes.iter().enumerate() {
                if let Some(class) = frame.block.domains.position(&equation.target.text, k) {
                    solver.plain(class, *extent, origin.clone());
                }
            }
        }
        for (k, index) in left.iter().enumerate() {
            let Some(class) = frame.block.domains.position(&equation.target.text, k) else { continue };
            let origin = Origin { span: index.span, what: format!("the axis of `{}`", equation.target.text) };
            if let (Some(&extent), true) = (sizes.get(k), sizes.len() == left.len()) {
                solver.plain(class, extent, origin.clone());
            }
            match &index.kind {
                IndexKind::Group(names) => {
                    let of = |name: &crate::program::Name| self.class_of(&frame, cx.unit, &name.text);
                    if let Some(keys) = names.iter().map(of).collect() {
                        deferred.push(Deferred::Group(class, keys, origin));
                    }
                }
                IndexKind::Expr(expr) if !mentions_tensors(cx, expr) => {
                    let Some(linear) = self.linear(cx, expr)? else { continue };
                    let of = |(name, c): &(Arc<str>, i64)| Some((self.class_of(&frame, cx.unit, name)?, *c));
                    let Some(terms) = linear.terms.iter().map(of).collect::<Option<Vec<_>>>() else {
                        continue;
                    };
                    let (offset, divisor, extent) = (linear.offset, linear.divisor, Extent::Unknown);
                    let fact = Affine { terms, offset, divisor, extent, origin };
                    deferred.push(Deferred::Affine(class, fact.clone()));
                    if !frame.is_staged(class) {
                        deferred.push(Deferred::Written(class, fact));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Deferred facts become facts as the sizes of their axes become known.
fn settle_deferred(solver: &mut Solver<Class>, deferred: &mut Vec<Deferred>) {
    loop {
        solver.solve();
        let before = deferred.len();
        deferred.retain(|fact| match fact {
            Deferred::Affine(class, fact) => match solver.get(class).map(|(e, _)| *e) {
                Some(extent) if !extent.is_stream() => {
                    solver.affine(Affine { extent, ..fact.clone() });
                    false
                }
                _ => true,
            },
            Deferred::Group(class, keys, origin) => match solver.get(class).map(|(e, _)| *e) {
                Some(extent) => {
                    solver.group(keys.clone(), extent, origin.clone());
                    false
                }
                None => {
                    let sizes: Option<Vec<usize>> =
                        keys.iter().map(|k| solver.get(k).and_then(|(e, _)| e.known())).collect();
                    let product = sizes.and_then(|s| s.into_iter().try_fold(1usize, usize::checked_mul));
                    if let Some(product) = product {
                        solver.plain(*class, Extent::Static(product), origin.clone());
                    }
                    product.is_none()
                }
            },
            Deferred::Written(..) => true,
        });
        if deferred.len() == before && !settle_written(solver, deferred) {
            return;
        }
    }
}

/// An axis that nothing else sizes is as large as what is written to it.
fn settle_written(solver: &mut Solver<Class>, deferred: &mut Vec<Deferred>) -> bool {
    let mut ends: HashMap<Class, Option<(usize, Origin)>> = HashMap::new();
    for fact in deferred.iter() {
        let Deferred::Written(class, fact) = fact else { continue };
        if solver.get(class).is_some() {
            continue;
        }
        let mut last = Some(fact.offset);
        for (key, coefficient) in &fact.terms {
            let size = solver.get(key).and_then(|(e, _)| e.known()).filter(|&n| n > 0);
            last = last
                .zip(size)
                .map(|(last, n)| last.saturating_add(coefficient.saturating_mul(n as i64 - 1).max(0)));
        }
        let end =
            last.map(|last| last.div_euclid(fact.divisor).max(-1) as usize).map(|last| last.wrapping_add(1));
        let known = ends.entry(*class).or_insert(Some((0, fact.origin.clone())));
        *known = known.take().zip(end).map(|((n, origin), end)| (n.max(end), origin));
    }
    let Some((class, (size, origin))) =
        ends.into_iter().filter_map(|(class, end)| Some((class, end?))).min_by_key(|(class, _)| *class)
    else {
        return false;
    };
    solver.plain(class, Extent::Static(size), origin);
    deferred.retain(|fact| !matches!(fact, Deferred::Written(c, _) if *c == class));
    true
}

/// Whether the expression reads a tensor that the block defines.
fn mentions_tensors(cx: &Cx, expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |part| {
        if let ExprKind::Name(name) = &part.kind {
            found |= cx.frame.block.tensors.contains_key(name);
        }
    });
    found
}
