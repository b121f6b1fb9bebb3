//! The ops of the graph and the table of scalar functions.
//!
//! There are few ops, and each is defined by how an element of its value follows from elements of its inputs; the scalar
//! reference backend is that definition, executable. Scalar functions are rows of [`Scalar::TABLE`]: name, number of
//! arguments, value, and what the passes need to know of them.

use crate::axis::AxisId;
use crate::graph::{LiteralId, WeightId};

/// How a node's value follows from its inputs' values.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// A scalar, as the bits of an `f64`.
    Const(u64),
    /// A tensor that the program wrote down or a pass computed. Its axes are the node's.
    Literal(LiteralId),
    /// Argument number `n` of the graph, given anew at each run. Its axes are the node's.
    Input(u32),
    /// A tensor of a file, in its own element type. Its axes are the node's.
    Weight(WeightId),
    /// The number of the position along the node's one axis; along the stream, the absolute position.
    Iota,
    /// A pointwise function of the inputs, broadcast over the union of their axes.
    Map(Scalar),
    /// `Σ_sum Π inputs`: the join of the inputs on their shared axes, summed over the axes `sum`.
    Contract {
        /// Axes that are summed away; each is an axis of at least one input.
        sum: Vec<AxisId>,
    },
    /// A reduction of the input over the axes `over`.
    Reduce {
        /// Which.
        kind: Reduction,
        /// Axes that are reduced away.
        over: Vec<AxisId>,
    },
    /// `exp(x − max) / Σ exp(x − max)` along an axis, 0 where the input is −∞ (and everywhere if all of it is).
    Softmax {
        /// The axis along which the values add up to 1.
        along: AxisId,
    },
    /// The same values under other axes: each `(from, to)` renames one.
    Relabel(Vec<(AxisId, AxisId)>),
    /// The axis `axis` seen as the axes `into`, slowest first; the product of their sizes is its size.
    Split {
        /// The axis that is split.
        axis: AxisId,
        /// What it becomes, slowest first.
        into: Vec<AxisId>,
    },
    /// The axes `axes`, slowest first, seen as one. They become adjacent, at the place of the first.
    Merge {
        /// The axes that are merged, slowest first.
        axes: Vec<AxisId>,
        /// What they become.
        into: AxisId,
    },
    /// `y[…, terms…] = x[…, map(terms)]`: the input read along `axis` at an affine function of other axes; 0 outside. A term's
    /// axis that the input has too is met there (a diagonal). With no terms, a constant position.
    Index {
        /// The input's axis that is read at computed positions.
        axis: AxisId,
        /// Where it is read.
        map: AffineMap,
    },
    /// `y[…, stride·i + offset] = x[…, i]`, 0 elsewhere: the input placed along a longer axis.
    Place {
        /// The input's axis.
        axis: AxisId,
        /// The axis of the value.
        into: AxisId,
        /// Distance between placed elements, ≥ 1.
        stride: i64,
        /// Position of the first.
        offset: i64,
    },
    /// `y[…] = table[…, index[…]]`: the first input read along `along` at the positions that the second holds.
    Gather {
        /// The table's axis that the index selects from.
        along: AxisId,
    },
    /// `y[n, …] = kind over { o : positions[o] = n } of x[o, …]`: the first input's elements brought together at the positions along `into` that
    /// the second holds for the axes `over`. What lies outside is dropped. Of nothing, see [`Reduction`]. No axis is along the stream.
    Scatter {
        /// How elements that meet become one: the sum, product, maximum or minimum.
        kind: Reduction,
        /// The axes of the second input; the first has them, too.
        over: Vec<AxisId>,
        /// The axis of the value in their place.
        into: AxisId,
    },
    /// `y[p] = x[p − by]` along the stream, 0 before its start. The one op whose input may come later in the graph, so
    /// that a tensor may be defined by its own earlier rows.
    Delay {
        /// How many rows back, ≥ 1.
        by: u32,
    },
}

/// `(Σ coefficient · axis + offset) div divisor`, a position along an axis. Division is floor division.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AffineMap {
    /// The axes and their coefficients, each axis once.
    pub terms: Vec<(AxisId, i64)>,
    /// The constant term.
    pub offset: i64,
    /// What the sum is divided by, ≥ 1.
    pub divisor: i64,
}

/// How a set of values becomes one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reduction {
    /// The sum, 0 of nothing.
    Sum,
    /// The product, 1 of nothing.
    Prod,
    /// The largest, −∞ of nothing.
    Max,
    /// The smallest, +∞ of nothing.
    Min,
    /// The position of the largest, the first of equals.
    Argmax,
    /// The position of the smallest, the first of equals.
    Argmin,
}

impl Reduction {
    /// What it is of nothing, for all but `Argmax` and `Argmin`.
    pub fn identity(self) -> f64 {
        self.of(&[])
    }

    /// Of these values, in order.
    pub fn of(self, values: &[f64]) -> f64 {
        let best = |better: fn(f64, f64) -> bool| {
            let start = (0, values.first().copied().unwrap_or(0.0));
            values.iter().enumerate().fold(start, |b, (i, &v)| if better(v, b.1) { (i, v) } else { b }).0
                as f64
        };
        match self {
            Reduction::Sum => values.iter().sum(),
            Reduction::Prod => values.iter().product(),
            Reduction::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Reduction::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
            Reduction::Argmax => best(|v, b| v > b),
            Reduction::Argmin => best(|v, b| v < b),
        }
    }
}

macro_rules! scalars {
    ($($variant:ident $name:literal $arity:literal $zero:literal $cost:literal $doc:literal $eval:expr;)*) => {
        /// A function of one to three numbers, mapped over tensors. Booleans are 0 and 1.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Scalar { $(#[doc = $doc] $variant,)* }

        impl Scalar {
            /// One row a function.
            pub const TABLE: &'static [ScalarInfo] = &[$(ScalarInfo {
                scalar: Scalar::$variant, name: $name, arity: $arity, keeps_zero: $zero, cost: $cost, doc: $doc, eval: $eval,
            },)*];
        }
    };
}

/// A row of the table of scalar functions.
#[derive(Debug)]
pub struct ScalarInfo {
    /// The function.
    pub scalar: Scalar,
    /// Its name in programs, or its operator.
    pub name: &'static str,
    /// How many arguments it takes.
    pub arity: usize,
    /// Whether it is 0 when all its arguments are (so that it keeps what lies outside of a guard at 0).
    pub keeps_zero: bool,
    /// About how many vector instructions it takes; much more where it is computed one number after the other.
    pub cost: usize,
    /// What it computes.
    pub doc: &'static str,
    /// Its value; the unused arguments are ignored.
    pub eval: fn(f64, f64, f64) -> f64,
}

fn truth(b: bool) -> f64 {
    f64::from(u8::from(b))
}

scalars! {
    Add "+" 2 true 1 "`a + b`" |a, b, _| a + b;
    Sub "-" 2 true 1 "`a − b`" |a, b, _| a - b;
    Mul "*" 2 true 1 "`a · b`" |a, b, _| a * b;
    Div "/" 2 false 4 "`a / b`" |a, b, _| a / b;
    Pow "^" 2 false 32 "`a` to the power `b`" |a, b, _| a.powf(b);
    Mod "%" 2 false 128 "the remainder of `a / b`, of the sign of `b`" |a, b, _| a - b * (a / b).floor();
    FloorDiv "floor_div" 2 false 128 "the largest integer that is at most `a / b`" |a, b, _| (a / b).floor();
    Min "min" 2 true 1 "the smaller of `a` and `b`" |a, b, _| a.min(b);
    Max "max" 2 true 1 "the larger of `a` and `b`" |a, b, _| a.max(b);
    Neg "neg" 1 true 1 "`−a`" |a, _, _| -a;
    Abs "abs" 1 true 1 "the absolute value" |a, _, _| a.abs();
    Sign "sign" 1 true 4 "−1, 0 or 1" |a, _, _| if a == 0.0 { 0.0 } else { a.signum() };
    Exp "exp" 1 false 32 "`e` to the power `a`" |a, _, _| a.exp();
    Log "log" 1 false 32 "the natural logarithm" |a, _, _| a.ln();
    Sqrt "sqrt" 1 true 4 "the square root" |a, _, _| a.sqrt();
    Sin "sin" 1 true 32 "the sine of an angle in radians" |a, _, _| a.sin();
    Cos "cos" 1 false 32 "the cosine of an angle in radians" |a, _, _| a.cos();
    Tanh "tanh" 1 true 32 "the hyperbolic tangent" |a, _, _| a.tanh();
    Sigmoid "sigmoid" 1 false 32 "`1 / (1 + e^−a)`" |a, _, _| 1.0 / (1.0 + (-a).exp());
    Erf "erf" 1 true 32 "the error function" |a, _, _| erf(a);
    Floor "floor" 1 true 4 "the largest integer that is at most `a`" |a, _, _| a.floor();
    Ceil "ceil" 1 true 4 "the smallest integer that is at least `a`" |a, _, _| a.ceil();
    Round "round" 1 true 4 "the nearest integer, halves to even" |a, _, _| a.round_ties_even();
    Step "step" 1 true 1 "1 where `a > 0`, else 0" |a, _, _| truth(a > 0.0);
    Lt "<" 2 true 1 "whether `a < b`" |a, b, _| truth(a < b);
    Le "<=" 2 false 1 "whether `a ≤ b`" |a, b, _| truth(a <= b);
    Eq "==" 2 false 1 "whether `a = b`" |a, b, _| truth(a == b);
    Ne "!=" 2 true 1 "whether `a ≠ b`" |a, b, _| truth(a != b);
    And "and" 2 true 1 "whether both are true" |a, b, _| truth(a != 0.0 && b != 0.0);
    Or "or" 2 true 1 "whether one is true" |a, b, _| truth(a != 0.0 || b != 0.0);
    Not "not" 1 false 1 "whether it is false" |a, _, _| truth(a == 0.0);
    Select "select" 3 true 1 "`b` where `a` is true, else `c`" |a, b, c| if a != 0.0 { b } else { c };
}

impl Scalar {
    /// The row of the table.
    pub fn info(self) -> &'static ScalarInfo {
        &Self::TABLE[self as usize]
    }

    /// The function of that name, operators included.
    pub fn named(name: &str) -> Option<Scalar> {
        Self::TABLE.iter().find(|row| row.name == name).map(|row| row.scalar)
    }
}

/// The error function, to about 1.2e-16: its Maclaurin series near 0, the continued fraction of `erfc` farther out.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    let magnitude = if a < 2.5 {
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term.abs() > 1e-17 * sum.abs() && n < 200.0 {
            n += 1.0;
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else if a < 6.0 {
        let tail = (1..=60).rev().fold(0.0, |f, k| f64::from(k) / 2.0 / (a + f));
        1.0 - (-a * a).exp() / std::f64::consts::PI.sqrt() / (a + tail)
    } else if a.is_nan() {
        return x;
    } else {
        1.0
    };
    magnitude.copysign(x)
}

impl AffineMap {
    /// `axis · coefficient + offset`.
    pub fn of(axis: AxisId, coefficient: i64, offset: i64) -> Self {
        Self { terms: vec![(axis, coefficient)], offset, divisor: 1 }
    }

    /// The constant position `offset`.
    pub fn constant(offset: i64) -> Self {
        Self { terms: Vec::new(), offset, divisor: 1 }
    }

    /// Where the map leads from the given position of each axis.
    pub fn at(&self, position: impl Fn(AxisId) -> i64) -> i64 {
        let sum: i64 = self.terms.iter().map(|&(axis, c)| c * position(axis)).sum();
        (sum + self.offset).div_euclid(self.divisor)
    }
}
