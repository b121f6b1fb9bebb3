//! Many requests at once, held against each of them alone, on models that remember all rows, a ring of them and one row.

#[path = "../../../tl-cli/tests/support/made_up.rs"]
mod made_up;

mod answers;
#[path = "../decoding/models.rs"]
#[allow(dead_code, reason = "these tests use a part")]
mod models;
mod order;
mod prefixes;
mod saved;
mod soak;

use std::sync::Arc;

use made_up::Shape;
use tensorlogic::{Engine, Generator, GeneratorOptions};
use tl_llm::{Batcher, GenerateOptions, Generation, Request, ScheduleOptions};

/// Generators that remember all rows, a ring of them, and one row; sequences may have `context` tokens.
pub fn every_memory(shape: &Shape, seed: u64, context: usize) -> [(&'static str, Generator); 3] {
    let engine = Engine::cpu_with_threads(1);
    let options = GeneratorOptions { context: Some(context), ..GeneratorOptions::default() };
    models::every_memory(shape, seed).map(|(memory, generator)| {
        let program = generator.program();
        let model = Arc::clone(generator.model());
        (memory, Generator::with_program(&engine, model, program, &options).unwrap())
    })
}

/// A batcher.
pub fn batcher(generator: &Generator, options: ScheduleOptions) -> Batcher {
    Batcher::new(generator, generator.model().tokenizer().ok().map(Arc::clone), options)
}

/// A request of the usual priority.
pub fn request(prompt: &[u32], options: &GenerateOptions) -> Request {
    Request { prompt: prompt.to_vec(), options: options.clone(), priority: 0 }
}

/// What a request gives alone.
pub fn alone(generator: &Generator, prompt: &[u32], options: &GenerateOptions) -> Generation {
    models::run(&mut generator.session(), prompt, options)
}

/// Steps until nothing is left.
pub fn finish(batcher: &mut Batcher) {
    while batcher.step() {}
}
