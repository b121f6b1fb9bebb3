//! The backend: a plan on this processor's threads and vectors.
//!
//! A plan is compiled once into tasks (`task`), which hold what can be known before a run: function pointers, sizes, the cut into
//! parts. A step copies the arguments into the arena, runs the tasks in order, each as one fork-join or, where little is to be
//! done, on the calling thread (`products`, `passes`, `attention`, `moves`), and advances the states.
//!
//! Invariants: the arena and all scratch memory grow only in [`Executable::reserve`] and when a step is larger than any before, so
//! a steady state allocates nothing; how work is cut never changes the order of operations within an element.

mod arena;
mod attention;
mod check;
mod moves;
mod packing;
mod passes;
mod products;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tl_exec::kernel::{BufferId, Dim, Kernel, Plan, Step};
use tl_exec::run::{Backend, Executable, RunError, Sequence};
use tl_exec::state::State;
use tl_tensor::{Buffer, Tensor};

use crate::aligned::Aligned;
use crate::dispatch::{Isa, Kernels};
use crate::kernels::attention::Memory;
use crate::kernels::matmul::{QuantizedRows, Scratch};
use crate::kernels::tape::{Buffers, Registers, Window};
use crate::pool::Pool;
use arena::{Arena, Room, Spare};
use packing::{Packed, Packings};
use task::{Task, compile};

/// The CPU backend.
pub struct CpuBackend {
    pool: Arc<Pool>,
    isa: Isa,
    interrupt: Option<Arc<AtomicBool>>,
    spare: Arc<Spare>,
    packings: Packings,
}

impl CpuBackend {
    /// The backend with so many threads (unless said, one a core) and an instruction set: the best that the processor has, unless it has
    /// the one asked for.
    pub fn new(threads: Option<usize>, isa: Option<Isa>) -> Self {
        let isa = isa.filter(|&isa| Kernels::new(isa).is_some()).unwrap_or_else(Isa::detect);
        let pool = Arc::new(Pool::new(threads.unwrap_or(0)));
        Self::with(pool, isa).expect("the processor has the instruction set")
    }

    /// The same on an existing pool and with a given instruction set; `None` if the processor does not have it.
    pub fn with(pool: Arc<Pool>, isa: Isa) -> Option<Self> {
        Kernels::new(isa)?;
        Some(Self { pool, isa, interrupt: None, spare: Arc::default(), packings: Packings::default() })
    }

    /// The same backend, which stops with [`RunError::Interrupted`] some milliseconds after the flag is set: between kernels, and between the
    /// parts that they are cut into. Whoever sets it clears it.
    pub fn with_interrupt(self, flag: Arc<AtomicBool>) -> Self {
        Self { interrupt: Some(flag), ..self }
    }

    /// The threads.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> String {
        let threads = self.pool.threads();
        format!("cpu ({}, {threads} thread{})", self.isa, if threads == 1 { "" } else { "s" })
    }

    fn prepare(&self, plan: Arc<Plan>) -> Result<Box<dyn Executable>, RunError> {
        let kernels =
            Kernels::new(self.isa).expect("the instruction set was there when the backend was made");
        let weights = task::weights(&plan);
        let machine = Machine {
            workers: Workers::new(self.pool.threads()),
            pool: Arc::clone(&self.pool),
            kernels,
            quantized: QuantizedRows::default(),
            attends: Vec::new(),
            partials: Aligned::default(),
            interrupt: self.interrupt.clone(),
        };
        let outside = read_in_place(&plan, &weights);
        let is_there = |step: &&Step| !matches!(step.kernel, Kernel::Decode { out, .. } if outside.iter().any(|(buffer, _)| *buffer == out));
        let setup: Vec<Step> = plan.setup.iter().filter(is_there).cloned().collect();
        let matrices = task::integer_matrices(&plan, &weights, &machine.kernels);
        let packed = self.packings.take(matrices)?;
        let setup = compile(&plan, &setup, &weights, &packed);
        let tasks = compile(&plan, &plan.steps, &weights, &packed);
        let mut run = Run {
            tasks: tasks.into(),
            machine,
            arena: Arena::new(&self.spare, outside),
            windows: Vec::new(),
            whole: Window::default(),
            times: None,
            _weights: weights,
            packed,
            plan,
        };
        run.make_room(Room { rows: 1, wanted: 1, stream: 1 })?;
        for (buffer, values) in &run.plan.constants {
            run.arena.slice_mut(*buffer, values.len()).copy_from_slice(values);
        }
        run.machine.make_room(&run.plan, &setup, Room { rows: 0, wanted: 0, stream: 0 });
        let whole = Window::default();
        run.machine.run(
            &run.plan,
            &setup,
            run.arena.buffers(),
            Bracket { states: &mut [], windows: &mut [], whole: &whole },
            None,
        );
        run.machine.check_interrupt()?;
        Ok(Box::new(run))
    }
}

/// The buffers that tensors of files are decoded into which need no decoding.
fn read_in_place(plan: &Plan, weights: &[Tensor]) -> Vec<(BufferId, Tensor)> {
    let decoded = plan.setup.iter().filter_map(|step| match step.kernel {
        Kernel::Decode { weight, out } => Some((out, &weights[weight.index()])),
        _ => None,
    });
    let plain = decoded.filter(|(_, tensor)| tensor.as_f32().is_some_and(|values| !values.is_empty()));
    plain.map(|(buffer, tensor)| (buffer, tensor.clone())).collect()
}

/// A plan that is ready to run.
struct Run {
    plan: Arc<Plan>,
    /// What the tasks point into: tensors of files, in order.
    _weights: Vec<Tensor>,
    packed: Packed,
    tasks: Arc<[Task]>,
    machine: Machine,
    arena: Arena,
    /// A window for each sequence of the step, and that of all their rows.
    windows: Vec<Window>,
    whole: Window,
    times: Option<Vec<f64>>,
}

/// What tasks are run with.
struct Machine {
    pool: Arc<Pool>,
    kernels: Kernels,
    workers: Workers,
    quantized: QuantizedRows,
    attends: Vec<attention::Part>,
    partials: Aligned<f32>,
    interrupt: Option<Arc<AtomicBool>>,
}

/// The sequences that tasks are run for: all of a step, or one.
struct Bracket<'a, 'b> {
    states: &'a mut [Sequence<'b>],
    windows: &'a mut [Window],
    /// The rows of them all.
    whole: &'a Window,
}

/// Memory of one thread.
#[derive(Default)]
struct Worker {
    scratch: Scratch,
    /// Products before their epilogue, `[weight][row][column]`.
    products: Aligned<f32>,
    /// A tile of weights that are not packed yet.
    tile: Aligned<u8>,
    registers: Registers,
    attention: Memory,
    /// Packed operands of dense products.
    packed: Aligned<f32>,
}

/// Memory of all threads, each its own.
struct Workers(Box<[std::cell::UnsafeCell<Worker>]>);

// SAFETY: `get` asks that a worker's memory is used by one thread at a time.
#[expect(unsafe_code, reason = "each thread uses the memory of its own number")]
unsafe impl Sync for Workers {}

impl Workers {
    fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| Worker::default().into()).collect())
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.0.iter_mut().map(|cell| cell.get_mut())
    }

    /// The memory of worker `number`.
    ///
    /// # Safety
    /// Nobody else uses it. A part of a fork-join may use that of its worker, once.
    #[expect(unsafe_code, clippy::mut_from_ref, reason = "each thread uses the memory of its own number")]
    unsafe fn get(&self, number: usize) -> &mut Worker {
        // SAFETY: The caller vouches that the reference is the only one.
        unsafe { &mut *self.0[number].get() }
    }
}

impl Machine {
    /// Runs `work` for each part: on all threads, or on this one if there is less to do than starting them would cost. `cost` is
    /// about how many vector instructions it takes in all. Parts that have not begun when somebody asks to stop are left out.
    fn fork(&self, parts: usize, cost: usize, work: &(dyn Fn(usize, usize) + Sync)) {
        const WORTH_A_FORK: usize = 4000;
        let work = |part, worker| {
            if !self.is_interrupted() {
                work(part, worker);
            }
        };
        if cost < WORTH_A_FORK {
            (0..parts).for_each(|part| work(part, 0));
        } else {
            self.pool.run(parts, &work);
        }
    }

    /// How many parts to cut work into: several for each thread, so that a slow one holds up nobody, but none too small, and none so
    /// large that it could not be waited for.
    fn parts(&self, places: usize, cost: usize) -> usize {
        const LEAST: usize = 1000;
        const MOST: usize = 1 << 22;
        (self.pool.threads() * 4).max(cost / MOST).min(cost / LEAST + 1).min(places.max(1))
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    fn check_interrupt(&self) -> Result<(), RunError> {
        if self.is_interrupted() { Err(RunError::Interrupted) } else { Ok(()) }
    }
}

impl Executable for Run {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn reserve(&mut self, rows: usize, stream: usize) -> Result<(), RunError> {
        self.make_room(Room { rows, wanted: rows, stream })?;
        // Each sequence has a row at least.
        let bytes = rows.saturating_mul(size_of::<Window>());
        self.windows.try_reserve(rows).map_err(|_| RunError::Memory { bytes })
    }

    fn run(&mut self, sequences: &mut [Sequence<'_>], arguments: &[&[f32]]) -> Result<(), RunError> {
        self.check_states(sequences);
        self.place(sequences)?;
        self.take_arguments(arguments)?;
        self.packed.go_on(self.whole.rows.len(), &self.machine);
        let undo = Undo(sequences);
        let bracket = Bracket { states: &mut *undo.0, windows: &mut self.windows, whole: &self.whole };
        let tasks = Arc::clone(&self.tasks);
        self.machine.run(&self.plan, &tasks, self.arena.buffers(), bracket, self.times.as_deref_mut());
        self.machine.check_interrupt()?;
        for sequence in undo.finish() {
            sequence.state.advance(sequence.rows);
        }
        Ok(())
    }

    fn output(&self, number: usize) -> &[f32] {
        let buffer = self.plan.outputs[number].buffer;
        let stream = self.windows.iter().map(|w| w.stream).max().unwrap_or(0);
        self.arena.slice(buffer, length(&self.plan, buffer, &self.whole, stream))
    }

    fn take_output(&mut self, number: usize) -> Option<Buffer> {
        self.arena.take(self.plan.outputs[number].buffer)
    }

    fn times(&mut self) -> Vec<f64> {
        match &mut self.times {
            Some(times) => {
                let taken = times.clone();
                times.fill(0.0);
                taken
            }
            None => Vec::new(),
        }
    }

    fn trace(&mut self, on: bool) {
        self.times = on.then(|| vec![0.0; self.plan.steps.len()]);
    }
}

/// Takes the rows of a step that does not come to its end out of the stores again.
struct Undo<'a, 'b>(&'a mut [Sequence<'b>]);

impl<'a, 'b> Undo<'a, 'b> {
    /// The step has come to its end.
    fn finish(mut self) -> &'a mut [Sequence<'b>] {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Undo<'_, '_> {
    fn drop(&mut self) {
        for sequence in &mut *self.0 {
            let len = sequence.state.len();
            // Rows are dropped only at the end of a step, so those before it are still there.
            let _ = sequence.state.truncate(len);
        }
    }
}

impl Run {
    /// The states belong to the plan: kernels rely on their widths.
    fn check_states(&self, sequences: &[Sequence<'_>]) {
        for sequence in sequences {
            let stores = sequence.state.stores();
            let same = stores.len() == self.plan.stores.len()
                && stores.iter().zip(&self.plan.stores).all(|(store, spec)| store.width() == spec.width);
            assert!(same, "the state of a sequence was made for this plan");
        }
    }

    /// Finds the window of each sequence and writes the positions of the rows.
    fn place(&mut self, sequences: &[Sequence<'_>]) -> Result<(), RunError> {
        self.windows.clear();
        let (mut row, mut want, mut stream) = (0, 0, 0);
        for sequence in sequences {
            let (rows, wanted) = (sequence.rows, sequence.wanted.count(sequence.rows));
            let end = sequence.state.len() + rows;
            self.windows.push(Window { rows: row..row + rows, wanted: want..want + wanted, stream: end });
            (row, want, stream) = (row + rows, want + wanted, stream.max(end));
        }
        self.whole = Window { rows: 0..row, wanted: 0..want, stream: 0 };
        self.make_room(Room { rows: row, wanted: want, stream })?;
        for window in &self.windows {
            let numbers = |range: &std::ops::Range<usize>| window.stream - range.len()..window.stream;
            for (buffer, range) in
                [(self.plan.positions, &window.rows), (self.plan.wanted_positions, &window.wanted)]
            {
                let Some(buffer) = buffer else { continue };
                let to = &mut self.arena.slice_mut(buffer, range.end)[range.clone()];
                to.iter_mut().zip(numbers(range)).for_each(|(to, position)| *to = position as f32);
            }
        }
        Ok(())
    }

    fn take_arguments(&mut self, arguments: &[&[f32]]) -> Result<(), RunError> {
        let stream = self.windows.iter().map(|w| w.stream).max().unwrap_or(0);
        let inputs = || self.plan.inputs.iter().enumerate().filter_map(|(n, buffer)| Some((n, (*buffer)?)));
        for (argument, buffer) in inputs() {
            let expected = length(&self.plan, buffer, &self.whole, stream);
            let found = arguments.get(argument).map_or(0, |a| a.len());
            if expected != found {
                return Err(RunError::ArgumentSize { argument, expected, found });
            }
        }
        for (argument, buffer) in inputs() {
            let values = arguments[argument];
            self.arena.slice_mut(buffer, values.len()).copy_from_slice(values);
        }
        Ok(())
    }

    /// Makes room for steps of this size. Does nothing if there was room before.
    fn make_room(&mut self, room: Room) -> Result<(), RunError> {
        let before = self.arena.room();
        if self.arena.make_room(&self.plan, room)? || before.stream < room.stream {
            let tasks = Arc::clone(&self.tasks);
            self.machine.make_room(&self.plan, &tasks, self.arena.room());
        }
        Ok(())
    }
}

impl Machine {
    /// Runs tasks in order, until somebody asks to stop.
    fn run(
        &mut self,
        plan: &Plan,
        tasks: &[Task],
        buffers: Buffers<'_>,
        mut bracket: Bracket<'_, '_>,
        mut times: Option<&mut [f64]>,
    ) {
        for (i, task) in tasks.iter().enumerate() {
            if self.is_interrupted() {
                return;
            }
            let start = times.is_some().then(Instant::now);
            self.run_task(plan, task, buffers, &mut bracket);
            if let (Some(times), Some(start)) = (times.as_deref_mut(), start) {
                times[i] += start.elapsed().as_secs_f64();
            }
        }
    }

    fn run_task(&mut self, plan: &Plan, task: &Task, buffers: Buffers<'_>, bracket: &mut Bracket<'_, '_>) {
        match task {
            Task::Product(product) => self.product(product, plan, buffers, bracket.whole),
            Task::Pass(pass) => self.pass(pass, buffers, bracket.whole),
            Task::Einsum(einsum) => self.einsum(einsum, buffers, bracket.whole),
            Task::Dense(dense) => self.dense(dense, buffers),
            Task::Attention(attention) => self.attention(attention, plan, buffers, bracket),
            Task::Move(motion) => self.copy(motion, plan, buffers, bracket),
            Task::PerSequence(tasks) => {
                for i in 0..bracket.windows.len() {
                    let whole = bracket.windows[i].clone();
                    let (states, windows) = (&mut bracket.states[i..=i], &mut bracket.windows[i..=i]);
                    self.run(plan, tasks, buffers, Bracket { states, windows, whole: &whole }, None);
                }
            }
            Task::Scan(tasks) => self.scan(plan, tasks, buffers, bracket),
        }
    }

    /// Runs tasks for each row of each sequence by itself.
    fn scan(&mut self, plan: &Plan, tasks: &[Task], buffers: Buffers<'_>, bracket: &mut Bracket<'_, '_>) {
        for i in 0..bracket.windows.len() {
            let all = bracket.windows[i].clone();
            let first_wanted = all.rows.end - all.wanted.len();
            for row in all.rows.clone() {
                let wanted = all.wanted.start + row.saturating_sub(first_wanted);
                let whole = Window {
                    rows: row..row + 1,
                    wanted: wanted..wanted + usize::from(row >= first_wanted),
                    stream: all.stream - (all.rows.end - row - 1),
                };
                bracket.windows[i] = whole.clone();
                let (states, windows) = (&mut bracket.states[i..=i], &mut bracket.windows[i..=i]);
                self.run(plan, tasks, buffers, Bracket { states, windows, whole: &whole }, None);
            }
            bracket.windows[i] = all;
        }
    }
}

/// How many values a buffer holds for the rows of a window.
fn length(plan: &Plan, buffer: BufferId, window: &Window, stream: usize) -> usize {
    let len = |dim: &Dim| if *dim == Dim::Stream { stream } else { window.range(*dim).len() };
    plan.buffers[buffer.index()].dims.iter().map(len).product()
}

/// The state of a sequence, to read.
fn state<'a>(bracket: &'a Bracket<'_, '_>, sequence: usize) -> &'a State {
    bracket.states[sequence].state
}
