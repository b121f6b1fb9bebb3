//! A generator: a function `(m, tok[p]) -> logits[p, v]` of a program, made ready to run against a model.
//!
//! ```text
//! function + model ─trace→ graph ─derive, plan→ what is remembered, kernels ─prepare→ executable
//! ```
//!
//! Nothing here knows what the equations say: which rows are remembered, and for how long, is derived from them.
//!
//! Invariant: a generator that exists fits its model: each weight was found, and the rows of logits are as wide as the vocabulary.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tl_exec::kernel::Plan;
use tl_exec::plan::Planned;
use tl_exec::state::Meter;
use tl_ir::stream::Derived;
use tl_ir::{Extent, Graph};
use tl_tensor::DType;

use crate::engine::Engine;
use crate::error::Error;
use crate::explain::Explanation;
use crate::library;
use crate::model::Model;
use crate::program::Program;
use crate::saved::fingerprint;
use crate::session::Session;
use crate::step::Stepper;

/// A generator function, traced, planned and prepared. Clones share everything.
#[derive(Clone)]
pub struct Generator {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    model: Arc<Model>,
    function: String,
    planned: Planned,
    stepper: Mutex<Stepper>,
    vocabulary: usize,
    limit: Option<usize>,
    warnings: Vec<tl_formats::Warning>,
    program: Program,
    fingerprint: OnceLock<[u8; 32]>,
    meter: Meter,
}

/// The longest sequence that any model is asked for, whatever its file says.
const LONGEST: usize = tl_formats::gguf::hyperparameters::LONGEST_CONTEXT as usize;

/// What may be chosen when a generator is made.
#[derive(Clone, Debug, Default)]
pub struct GeneratorOptions {
    /// The function, where a program has several that generate.
    pub function: Option<String>,
    /// How many tokens a sequence may have, where that is not to be the model's own context length.
    pub context: Option<usize>,
    /// The element type of the rows that sequences remember, `f32` unless said. `f16` halves their memory, `q8_0` takes about a quarter, and both round. What a
    /// recurrence makes its next row of stays `f32`, and rows that are no whole number of blocks are kept in 16 bits.
    pub pages: Option<DType>,
}

impl Generator {
    /// The generator of a model by the equations that the library has for its architecture.
    ///
    /// # Errors
    /// When the library has none, the model doesn't fit them, or memory can't be had.
    pub fn new(engine: &Engine, model: Arc<Model>) -> Result<Generator, Error> {
        Self::with_options(engine, model, &GeneratorOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As for [`Generator::new`].
    pub fn with_options(
        engine: &Engine,
        model: Arc<Model>,
        options: &GeneratorOptions,
    ) -> Result<Generator, Error> {
        let known: Vec<&str> = library::architectures().collect();
        let warnings = tl_formats::gguf::hyperparameters::check(model.file(), Some(&known))?;
        let file = library::model_for(model.architecture().unwrap_or_default());
        let program = Program::library(file.expect("the check knows the architectures of the library"));
        Self::build(engine, model, &program, options, warnings)
    }

    /// The generator of a model by a person's own equations.
    ///
    /// # Errors
    /// When the program has errors or no function that generates, the model doesn't fit it, or memory can't be had.
    pub fn with_program(
        engine: &Engine,
        model: Arc<Model>,
        program: &Program,
        options: &GeneratorOptions,
    ) -> Result<Generator, Error> {
        Self::build(engine, model, program, options, Vec::new())
    }

    fn build(
        engine: &Engine,
        model: Arc<Model>,
        program: &Program,
        options: &GeneratorOptions,
        warnings: Vec<tl_formats::Warning>,
    ) -> Result<Generator, Error> {
        let function = program.generator(options.function.as_deref())?;
        let graph = program.trace_generator(&function, Arc::clone(&model))?;
        let vocabulary = check_vocabulary(&graph, &model)?;
        let mut planned = tl_exec::plan::plan(&graph).map_err(|e| program.plan_error(e))?;
        if let Some(dtype) = options.pages {
            let stores = &mut Arc::make_mut(&mut planned.plan).stores;
            stores.iter_mut().for_each(|spec| spec.dtype = spec.fitting(dtype));
        }
        let stepper = Mutex::new(Stepper::new(engine.prepare(Arc::clone(&planned.plan))?));
        let limit = options.context.or(model.context_length().map(|n| n.min(LONGEST)));
        let inner = Inner {
            engine: engine.clone(),
            model,
            function,
            planned,
            stepper,
            vocabulary,
            limit,
            warnings,
            program: program.clone(),
            fingerprint: OnceLock::new(),
            meter: Meter::default(),
        };
        Ok(Generator { inner: Arc::new(inner) })
    }

    /// An empty sequence.
    pub fn session(&self) -> Session {
        Session::new(self.clone())
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.inner.model
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.inner.program
    }

    /// The name of the function.
    pub fn function(&self) -> &str {
        &self.inner.function
    }

    /// How many tokens the vocabulary has: the length of a row of logits.
    pub fn vocabulary(&self) -> usize {
        self.inner.vocabulary
    }

    /// How many tokens a sequence may have; `None` where neither the model nor the options say.
    pub fn context_limit(&self) -> Option<usize> {
        self.inner.limit
    }

    /// What is odd about the model's hyper-parameters, though it can be used.
    pub fn warnings(&self) -> &[tl_formats::Warning] {
        &self.inner.warnings
    }

    /// The graph that was planned.
    pub fn graph(&self) -> &Graph {
        &self.inner.planned.graph
    }

    /// What was derived of it.
    pub fn derived(&self) -> &Derived {
        &self.inner.planned.derived
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.inner.planned.plan
    }

    /// Whether sequences can be taken back to any length: nothing that is remembered has a window.
    pub fn rewinds(&self) -> bool {
        self.plan().stores.iter().all(|spec| spec.window.is_none())
    }

    /// Bytes of what all sequences remember, saved ones and forks included, each page once however many share it.
    pub fn remembered_bytes(&self) -> usize {
        self.inner.meter.bytes()
    }

    /// What tells this model with this program from any other, see [`saved`](crate::saved). Computed once.
    pub fn fingerprint(&self) -> &[u8; 32] {
        let inner = &*self.inner;
        inner
            .fingerprint
            .get_or_init(|| fingerprint(&inner.program, &inner.function, &inner.model, &inner.planned.plan))
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.inner.meter
    }

    /// What is computed, remembered and read for each token.
    pub fn explain(&self) -> Explanation {
        Explanation::of(self)
    }

    /// Whether the two are clones of one.
    pub fn is(&self, other: &Generator) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Turns the measurement of kernels on or off. While it is off it costs nothing.
    pub fn trace(&self, on: bool) {
        self.stepper().executable.trace(on);
    }

    /// Seconds that each step of the plan has taken since the last call, in the order of the plan; none unless [`Generator::trace`] is on.
    pub fn times(&self) -> Vec<f64> {
        self.stepper().executable.times()
    }

    /// What runs the steps. One uncontended lock a step, unless sequences of one generator are fed from several threads at once.
    pub(crate) fn stepper(&self) -> MutexGuard<'_, Stepper> {
        self.inner.stepper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which result of the plan the logits are.
    pub(crate) fn logits_output(&self) -> usize {
        0
    }
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Generator({} of {})", self.inner.function, self.inner.model.name())
    }
}

/// The length of a row of logits, which must be the number of tokens in the file's vocabulary if it has one.
fn check_vocabulary(graph: &Graph, model: &Model) -> Result<usize, Error> {
    let width = graph.outputs().first().and_then(|logits| match logits.axes[..] {
        [row, v] if graph.extent(row) == Extent::Rows => graph.extent(v).known(),
        _ => None,
    });
    let Some(width) = width else {
        return Err(Error::Model(format!(
            "the equations give no `logits[p, v]` of a known width for `{}`",
            model.name()
        )));
    };
    match tl_sema::Model::vocabulary(model) {
        Some(count) if count != width => Err(Error::Model(format!(
            "`{}` has {count} tokens in its vocabulary, but the output matrix makes {width} logits",
            model.name()
        ))),
        _ => Ok(width),
    }
}
