//! Domains: which index variables and tensor positions range over the same thing.
//!
//! An equation's index variable and the position of a tensor that it stands at have one domain; so have all positions that a
//! variable stands at, and all variables of a block whose name is declared (by `dim`, a parameter `x[d]` or the result). Union-find over
//! `(tensor, position)`, `(equation, variable)` and declared names gives the *classes*.
//!
//! An offset (`x[l + 1]`, `h[p − 1]`) does not make two domains one, since their sizes differ, but it *links* them: if one is the
//! stream, or is unrolled while tracing, so is the other.
//!
//! A class is *staged*, that is, unrolled while tracing, if it selects tensors of a model (`m.blk[l]`), or if a recursion
//! runs over it: in a cycle of tensors that read each other, it is an index at which every read inside the cycle is at a constant
//! distance from what is defined, all in one direction, and not all distances are 0. Where one such class orders the whole cycle, the
//! others stay axes; a cycle that no class orders is a fixpoint.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::program::{Equation, Expr, ExprKind, Function, Head, Index, IndexKind, Name};

/// A class of things that range over one domain.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Class(pub u32);

/// What has a domain.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Key {
    /// A position of a tensor.
    Position(Arc<str>, usize),
    /// An index variable of an equation.
    Variable(usize, Arc<str>),
    /// A declared name.
    Declared(Arc<str>),
}

/// The classes of a block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Domains {
    keys: HashMap<Key, u32>,
    parent: Vec<u32>,
    links: Vec<(u32, u32)>,
    staged: HashSet<Class>,
    /// Which cycle of mutual recursion a tensor belongs to.
    cycles: HashMap<Arc<str>, usize>,
    /// The cycles that an order of steps evaluates.
    ordered: HashSet<usize>,
    /// What tokens are numbers of: the last axis of the result of a function that generates.
    vocabulary: Option<u32>,
    /// The classes along which recursions go down, from the last position to the first.
    descending: HashSet<Class>,
}

/// How an index position relates to a variable: `variable + offset`.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Offset<'e> {
    pub variable: &'e Arc<str>,
    pub offset: i64,
}

/// A read of a tensor by name in an equation.
struct Read<'e> {
    equation: usize,
    tensor: &'e Arc<str>,
    indices: &'e [Index],
}

impl Domains {
    /// The classes of the equations. `is_index` says whether a name of that equation is an index variable.
    pub fn new(
        equations: &[Equation],
        signature: Option<&Function>,
        dims: &[Arc<str>],
        schemas: &[(Name, Vec<Name>)],
        is_index: &dyn Fn(usize, &str) -> bool,
        is_path_index: &dyn Fn(&Expr) -> bool,
    ) -> Self {
        let mut domains = Domains::default();
        let mut declared: HashSet<Arc<str>> = dims.iter().cloned().collect();
        if let Some(function) = signature {
            domains.declare_signature(function, &mut declared);
        }
        for (relation, columns) in schemas {
            for (position, column) in columns.iter().enumerate() {
                declared.insert(Arc::clone(&column.text));
                domains.union(
                    Key::Position(Arc::clone(&relation.text), position),
                    Key::Declared(Arc::clone(&column.text)),
                );
            }
        }
        let mut reads = Vec::new();
        for (number, equation) in equations.iter().enumerate() {
            let index = |name: &str| is_index(number, name);
            let indices = equation.indices.as_deref().unwrap_or_default();
            domains.place(number, &equation.target.text, indices, &index, &declared);
            let mut visit = |expr: &'_ Expr| {
                domains.paths(number, expr, &index, &declared, is_path_index);
            };
            equation.value.walk(&mut visit);
            equation.guard.iter().for_each(|g| g.walk(&mut visit));
            let mut collect = Vec::new();
            equation.value.walk(&mut |expr| collect.push(expr));
            equation.guard.iter().for_each(|g| g.walk(&mut |expr| collect.push(expr)));
            let mut indexed = HashSet::new();
            for expr in collect {
                if let ExprKind::Index(base, indices) = &expr.kind
                    && let ExprKind::Name(tensor) = &base.kind
                {
                    indexed.insert(base.id);
                    domains.place(number, tensor, indices, &index, &declared);
                    if is_relation(equations, tensor) {
                        domains.place_tokens(tensor, indices, signature);
                    }
                    reads.push(Read { equation: number, tensor, indices });
                }
                if let ExprKind::Name(tensor) = &expr.kind
                    && !indexed.contains(&expr.id)
                    && !index(tensor)
                {
                    reads.push(Read { equation: number, tensor, indices: &[] });
                }
            }
        }
        domains.find_recursion(equations, &reads, is_index);
        domains.spread_staged();
        domains
    }

    /// The class of an equation's index variable.
    pub fn variable(&self, equation: usize, name: &Arc<str>, declared_elsewhere: bool) -> Option<Class> {
        let key = Key::Variable(equation, Arc::clone(name));
        let found = self.keys.get(&key).map(|&k| self.find(k));
        found.or_else(|| if declared_elsewhere { self.declared(name) } else { None })
    }

    /// The class of a tensor's position.
    pub fn position(&self, tensor: &Arc<str>, position: usize) -> Option<Class> {
        self.keys.get(&Key::Position(Arc::clone(tensor), position)).map(|&k| self.find(k))
    }

    /// The class of a declared name.
    pub fn declared(&self, name: &Arc<str>) -> Option<Class> {
        self.keys.get(&Key::Declared(Arc::clone(name))).map(|&k| self.find(k))
    }

    /// Whether the class is unrolled while tracing, unless it is the stream.
    pub fn is_staged(&self, class: Class) -> bool {
        self.staged.contains(&class)
    }

    /// Whether the recursion along a class goes down: `s[i] = s[i + 1] + …`.
    pub fn is_descending(&self, class: Class) -> bool {
        self.with_linked([class]).iter().any(|c| self.descending.contains(c))
    }

    /// The number of the cycle that a tensor is part of, if no order of steps evaluates it: it is a fixpoint.
    pub fn fixpoint(&self, tensor: &str) -> Option<usize> {
        self.cycle(tensor).filter(|number| !self.ordered.contains(number))
    }

    /// The number of the recursive cycle that a tensor is part of.
    pub fn cycle(&self, tensor: &str) -> Option<usize> {
        self.cycles.get(tensor).copied()
    }

    /// Whether the class is the vocabulary of a model.
    pub fn is_vocabulary(&self, class: Class) -> bool {
        self.vocabulary() == Some(class)
    }

    /// The class of the vocabulary, in a function that generates.
    pub fn vocabulary(&self) -> Option<Class> {
        self.vocabulary.map(|key| self.find(key))
    }

    /// The classes and all that are linked to them by offsets.
    pub fn with_linked(&self, classes: impl IntoIterator<Item = Class>) -> HashSet<Class> {
        let mut reached: HashSet<Class> = classes.into_iter().collect();
        loop {
            let before = reached.len();
            for &(a, b) in &self.links {
                let (a, b) = (self.find(a), self.find(b));
                if reached.contains(&a) || reached.contains(&b) {
                    reached.extend([a, b]);
                }
            }
            if reached.len() == before {
                return reached;
            }
        }
    }

    /// The name that the equations have for a class, where one asks for it by the name of a variable of any equation.
    pub fn anywhere(&self, name: &str) -> Option<Class> {
        let mut found =
            self.keys.iter().filter(|(key, _)| matches!(key, Key::Variable(_, n) if **n == *name));
        let first = found.next().map(|(_, &k)| self.find(k))?;
        found.all(|(_, &k)| self.find(k) == first).then_some(first)
    }

    fn declare_signature(&mut self, function: &Function, declared: &mut HashSet<Arc<str>>) {
        let params = function.params.iter().filter_map(|p| Some((&p.name.text, p.axes.as_ref()?)));
        for (tensor, axes) in params.chain([(&function.result.text, &function.result_axes)]) {
            for (position, axis) in axes.iter().enumerate() {
                declared.insert(Arc::clone(&axis.text));
                self.union(
                    Key::Position(Arc::clone(tensor), position),
                    Key::Declared(Arc::clone(&axis.text)),
                );
            }
        }
        if let (true, Some(axis)) = (function.is_generator(), function.result_axes.last()) {
            self.vocabulary = Some(self.key(Key::Declared(Arc::clone(&axis.text))));
        }
    }

    /// What stands in the place of a token in a relation, `Follows(tok[p], v)`, ranges over the vocabulary.
    fn place_tokens(&mut self, relation: &Arc<str>, indices: &[Index], signature: Option<&Function>) {
        let Some(vocabulary) =
            signature.and_then(|f| f.result_axes.last()).filter(|_| self.vocabulary.is_some())
        else {
            return;
        };
        for (position, index) in indices.iter().enumerate() {
            if let IndexKind::Expr(expr) = &index.kind
                && signature.is_some_and(|function| function.is_token(expr))
            {
                let place = Key::Position(Arc::clone(relation), position);
                self.union(place, Key::Declared(Arc::clone(&vocabulary.text)));
            }
        }
    }

    /// Unifies what stands at each position of an index list.
    fn place(
        &mut self,
        equation: usize,
        tensor: &Arc<str>,
        indices: &[Index],
        is_index: &dyn Fn(&str) -> bool,
        declared: &HashSet<Arc<str>>,
    ) {
        for (position, index) in indices.iter().enumerate() {
            let place = Key::Position(Arc::clone(tensor), position);
            self.key(place.clone());
            match &index.kind {
                IndexKind::Name(name) if is_index(name) => {
                    let variable = self.variable_key(equation, name, declared);
                    self.union(place, variable);
                }
                IndexKind::Group(names) => names.iter().filter(|n| is_index(&n.text)).for_each(|name| {
                    self.variable_key(equation, &name.text, declared);
                }),
                IndexKind::Expr(expr) => {
                    expr.walk(&mut |part| {
                        if let ExprKind::Name(name) = &part.kind
                            && is_index(name)
                        {
                            self.variable_key(equation, name, declared);
                        }
                    });
                    if let Some(Offset { variable, .. }) = offset_of(index, is_index) {
                        let variable = self.variable_key(equation, variable, declared);
                        let link = (self.key(place), self.key(variable));
                        self.links.push(link);
                    }
                }
                _ => {}
            }
        }
    }

    /// Marks the index variables that select tensors of a model.
    fn paths(
        &mut self,
        equation: usize,
        expr: &Expr,
        is_index: &dyn Fn(&str) -> bool,
        declared: &HashSet<Arc<str>>,
        is_path_index: &dyn Fn(&Expr) -> bool,
    ) {
        let ExprKind::Index(base, indices) = &expr.kind else {
            if let ExprKind::Field(base, _) = &expr.kind
                && let ExprKind::Index(_, indices) = &base.kind
            {
                self.stage(equation, indices, is_index, declared);
            }
            return;
        };
        let root_is_name = matches!(base.kind, ExprKind::Name(_));
        if !root_is_name && is_path_index(expr) {
            self.stage(equation, indices, is_index, declared);
        }
        if !root_is_name {
            // The variables of a read of a model's tensor have classes of their own.
            let nowhere: Arc<str> = format!("{}", base.id.0).into();
            self.place(equation, &nowhere, indices, is_index, declared);
        }
    }

    fn stage(
        &mut self,
        equation: usize,
        indices: &[Index],
        is_index: &dyn Fn(&str) -> bool,
        declared: &HashSet<Arc<str>>,
    ) {
        for index in indices {
            if let Some(Offset { variable, .. }) = offset_of(index, is_index) {
                let key = self.variable_key(equation, variable, declared);
                let class = self.key(key);
                self.staged.insert(Class(class));
            }
        }
    }

    /// A declared name is one domain in all equations of the block.
    fn variable_key(&mut self, equation: usize, name: &Arc<str>, declared: &HashSet<Arc<str>>) -> Key {
        let key = Key::Variable(equation, Arc::clone(name));
        self.key(key.clone());
        if declared.contains(name) {
            self.union(key.clone(), Key::Declared(Arc::clone(name)));
        }
        key
    }

    fn key(&mut self, key: Key) -> u32 {
        let next = self.parent.len() as u32;
        let id = *self.keys.entry(key).or_insert(next);
        if id == next {
            self.parent.push(next);
        }
        id
    }

    fn find(&self, mut id: u32) -> Class {
        while self.parent[id as usize] != id {
            id = self.parent[id as usize];
        }
        Class(id)
    }

    fn union(&mut self, a: Key, b: Key) {
        let (a, b) = (self.key(a), self.key(b));
        let (Class(a), Class(b)) = (self.find(a), self.find(b));
        // The smaller root wins; chains stay short because blocks are small.
        self.parent[a.max(b) as usize] = a.min(b);
    }

    /// Finds the cycles of tensors that read each other, and the classes that the recursion runs over.
    fn find_recursion(
        &mut self,
        equations: &[Equation],
        reads: &[Read<'_>],
        is_index: &dyn Fn(usize, &str) -> bool,
    ) {
        let mut edges: HashMap<&Arc<str>, Vec<&Arc<str>>> = HashMap::new();
        for read in reads {
            edges.entry(&equations[read.equation].target.text).or_default().push(read.tensor);
        }
        let components = components(&edges);
        for (&tensor, &component) in &components {
            let alone = components.values().filter(|&&c| c == component).count() == 1;
            if !alone || edges.get(tensor).is_some_and(|reads| reads.contains(&tensor)) {
                self.cycles.insert(Arc::clone(tensor), component);
            }
        }
        let numbers: HashSet<usize> = self.cycles.values().copied().collect();
        for number in numbers {
            let inside = |tensor: &Arc<str>| self.cycles.get(tensor) == Some(&number);
            let inner: Vec<&Read<'_>> = reads
                .iter()
                .filter(|r| inside(r.tensor) && inside(&equations[r.equation].target.text))
                .collect();
            let places = inner.iter().flat_map(|r| (0..r.indices.len()).map(move |k| (r.tensor, k)));
            let mut candidates: Vec<Class> = places.filter_map(|(t, k)| self.position(t, k)).collect();
            candidates.sort_unstable();
            candidates.dedup();
            let of_class = |c| Some((c, self.distances(c, equations, &inner, is_index)?));
            let (complete, partial): (Vec<_>, Vec<_>) =
                candidates.into_iter().filter_map(of_class).partition(|(_, (_, complete))| *complete);
            let mut found: Vec<(Class, Vec<i64>)> = complete.into_iter().map(|(c, (d, _))| (c, d)).collect();
            if let Some(one) = found.iter().position(|(_, distances)| orders(equations, &inner, &[distances]))
            {
                // A family of linked classes is one order.
                let family = self.with_linked([found[one].0]);
                found.retain(|(class, _)| family.contains(class));
            }
            // A class with reads at unknown distances is no order by itself; as a stream, it may be one.
            let along = partial.iter().map(|(_, (distances, _))| distances);
            let all: Vec<&Vec<i64>> = found.iter().map(|(_, distances)| distances).chain(along).collect();
            if !orders(equations, &inner, &all) {
                continue;
            }
            self.ordered.insert(number);
            for (class, distances) in found {
                self.staged.insert(class);
                if distances.iter().any(|&d| d > 0) {
                    self.descending.insert(class);
                }
            }
        }
    }

    /// The distance along `class` of each read inside of a cycle from what is defined, if all that are constant point in one direction
    /// and not all are 0; and whether every one is constant. Those that are not count as 0.
    fn distances(
        &self,
        class: Class,
        equations: &[Equation],
        reads: &[&Read<'_>],
        is_index: &dyn Fn(usize, &str) -> bool,
    ) -> Option<(Vec<i64>, bool)> {
        let family = self.with_linked([class]);
        let at = |tensor: &Arc<str>, indices: &'_ [Index]| {
            (0..indices.len()).find(|&k| self.position(tensor, k).is_some_and(|c| family.contains(&c)))
        };
        let (mut distances, mut complete) = (Vec::new(), true);
        for read in reads {
            let equation = &equations[read.equation];
            let left = equation.indices.as_deref().unwrap_or_default();
            let (Some(k), Some(t)) = (at(&equation.target.text, left), at(read.tensor, read.indices)) else {
                complete = false;
                distances.push(0);
                continue;
            };
            let index = |name: &str| is_index(read.equation, name);
            distances.push(match (offset_of(&left[k], &index), offset_of(&read.indices[t], &index)) {
                (Some(defined), Some(read)) if defined.variable == read.variable => {
                    read.offset - defined.offset
                }
                // A base case may read what it likes.
                (None, _) if is_constant(&left[k], &index) => BASE,
                // Reading one fixed element, such as `x[0]`, is at no distance, and well-founded.
                (_, None) if is_constant(&read.indices[t], &index) => BASE,
                _ => {
                    complete = false;
                    0
                }
            });
        }
        let steps = || distances.iter().filter(|&&d| d != BASE);
        let one_way = steps().all(|&d| d <= 0) || steps().all(|&d| d >= 0);
        (one_way && steps().any(|&d| d != 0)).then_some((distances, complete))
    }

    fn spread_staged(&mut self) {
        let staged: HashSet<Class> = self.staged.iter().map(|c| self.find(c.0)).collect();
        self.staged = self.with_linked(staged);
    }
}

/// Whether truth values alone define a tensor.
fn is_relation(equations: &[Equation], tensor: &str) -> bool {
    let mut own = equations.iter().filter(|equation| *equation.target.text == *tensor).peekable();
    own.peek().is_some() && own.all(|equation| equation.head != Head::Tensor)
}

/// The distance of a read that no order of steps needs to look at.
const BASE: i64 = i64::MIN;

/// Whether evaluating step by step along some classes settles a cycle: without the reads that go back along one of them, no
/// tensor reads itself.
fn orders(equations: &[Equation], reads: &[&Read<'_>], distances: &[&Vec<i64>]) -> bool {
    let mut edges: HashMap<&Arc<str>, Vec<&Arc<str>>> = HashMap::new();
    for (number, read) in reads.iter().enumerate() {
        if distances.iter().all(|of_class| of_class[number] == 0) {
            edges.entry(&equations[read.equation].target.text).or_default().push(read.tensor);
        }
    }
    let components = components(&edges);
    let mut numbers: Vec<usize> = components.values().copied().collect();
    numbers.sort_unstable();
    numbers.windows(2).all(|pair| pair[0] != pair[1])
        && edges.iter().all(|(tensor, reads)| !reads.contains(tensor))
}

/// The index as `variable + constant`, if that is what it says.
pub(crate) fn offset_of<'e>(index: &'e Index, is_index: &dyn Fn(&str) -> bool) -> Option<Offset<'e>> {
    match &index.kind {
        IndexKind::Name(name) if is_index(name) => Some(Offset { variable: name, offset: 0 }),
        IndexKind::Expr(expr) => {
            let (variable, offset) = offset_in(expr, is_index)?;
            Some(Offset { variable: variable?, offset })
        }
        _ => None,
    }
}

/// `(variable, constant)` of a sum of at most one variable and whole numbers.
fn offset_in<'e>(expr: &'e Expr, is_index: &dyn Fn(&str) -> bool) -> Option<(Option<&'e Arc<str>>, i64)> {
    match &expr.kind {
        ExprKind::Name(name) if is_index(name) => Some((Some(name), 0)),
        ExprKind::Number(n) if n.fract() == 0.0 && n.abs() < 1e15 => Some((None, *n as i64)),
        ExprKind::Paren(inner) => offset_in(inner, is_index),
        ExprKind::Sum(terms) => {
            let (mut variable, mut offset) = (None, 0i64);
            for (minus, term) in terms {
                let (v, constant) = offset_in(term, is_index)?;
                if v.is_some() && (*minus || variable.is_some()) {
                    return None;
                }
                variable = variable.or(v);
                offset = offset.checked_add(if *minus { -constant } else { constant })?;
            }
            Some((variable, offset))
        }
        _ => None,
    }
}

/// Whether the index names one position: it has no index variable in it.
fn is_constant(index: &Index, is_index: &dyn Fn(&str) -> bool) -> bool {
    match &index.kind {
        IndexKind::Name(name) => !is_index(name),
        IndexKind::Expr(expr) => {
            let mut constant = true;
            expr.walk(&mut |part| {
                constant &= !matches!(&part.kind, ExprKind::Index(..))
                    && !matches!(&part.kind, ExprKind::Name(n) if is_index(n));
            });
            constant
        }
        _ => false,
    }
}

/// Strongly connected components (Tarjan's algorithm, with a stack of its own): the number of each tensor's.
fn components<'e>(edges: &HashMap<&'e Arc<str>, Vec<&'e Arc<str>>>) -> HashMap<&'e Arc<str>, usize> {
    #[derive(Clone, Copy)]
    struct State {
        order: usize,
        low: usize,
        on_stack: bool,
    }
    let mut states: HashMap<&Arc<str>, State> = HashMap::new();
    let (mut stack, mut found, mut next, mut count) = (Vec::new(), HashMap::new(), 0, 0);
    let mut roots: Vec<&Arc<str>> = edges.keys().copied().collect();
    roots.sort();
    for root in roots {
        if states.contains_key(root) {
            continue;
        }
        let mut work = vec![(root, 0usize)];
        while let Some((node, child)) = work.pop() {
            if child == 0 {
                states.insert(node, State { order: next, low: next, on_stack: true });
                next += 1;
                stack.push(node);
            }
            let successors = edges.get(node).map_or(&[][..], |s| s);
            if let Some(&successor) = successors.get(child) {
                work.push((node, child + 1));
                match states.get(successor) {
                    None => work.push((successor, 0)),
                    Some(state) if state.on_stack => {
                        let order = state.order;
                        let me = states.get_mut(node).expect("visited");
                        me.low = me.low.min(order);
                    }
                    Some(_) => {}
                }
                continue;
            }
            let State { order, low, .. } = states[node];
            if low == order {
                while let Some(member) = stack.pop() {
                    states.get_mut(member).expect("visited").on_stack = false;
                    found.insert(member, count);
                    if member == node {
                        break;
                    }
                }
                count += 1;
            }
            if let Some(&(parent, _)) = work.last() {
                let parent = states.get_mut(parent).expect("visited");
                parent.low = parent.low.min(low);
            }
        }
    }
    found
}
