//! llama.cpp with its default settings: the file mapped, keys and values in `f16`, flash attention where it chooses so, batches of 2048 and
//! parts of 512 tokens.

use std::num::NonZeroU32;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;

use crate::Outcome;
use crate::measure::{Engine, Task, most_probable};

/// A context with its sequences. The model lives as long as the process, which measures and ends.
pub struct Llama {
    backend: LlamaBackend,
    model: &'static LlamaModel,
    context: LlamaContext<'static>,
    batch: LlamaBatch<'static>,
    threads: i32,
    sequences: usize,
    /// How many tokens each sequence has.
    lengths: Vec<i32>,
}

/// The most tokens of a batch, llama.cpp's default.
const BATCH: usize = 2048;

impl Engine for Llama {
    const BATCHES: bool = true;

    fn load(task: &Task) -> Outcome<Llama> {
        let mut backend = LlamaBackend::init()?;
        backend.void_logs();
        let model = LlamaModel::load_from_file(&backend, &task.file, &LlamaModelParams::default())?;
        let model: &'static LlamaModel = Box::leak(Box::new(model));
        let threads = i32::try_from(task.threads)?;
        let context = model.new_context(&backend, params(threads, 1, task.longest())?)?;
        let batch = LlamaBatch::new(BATCH, 1);
        Ok(Llama { backend, model, context, batch, threads, sequences: 1, lengths: vec![0] })
    }

    /// One sequence is at most as long as the room that was made for it when the model was loaded; others get a context of their own.
    fn begin(&mut self, sequences: usize, length: usize) -> Outcome {
        if sequences == self.sequences {
            self.context.clear_kv_cache();
        } else {
            let params = params(self.threads, sequences, length)?;
            self.context = self.model.new_context(&self.backend, params)?;
            self.sequences = sequences;
        }
        self.lengths = vec![0; sequences];
        Ok(())
    }

    fn prefill(&mut self, tokens: &[u32]) -> Outcome<u32> {
        self.batch.clear();
        for (i, &token) in tokens.iter().enumerate() {
            self.append(token, 0, i + 1 == tokens.len())?;
        }
        self.context.decode(&mut self.batch)?;
        Ok(most_probable(self.context.get_logits_ith(self.batch.n_tokens() - 1)))
    }

    fn decode(&mut self, tokens: &[u32]) -> Outcome<Vec<u32>> {
        self.batch.clear();
        for (sequence, &token) in tokens.iter().enumerate() {
            self.append(token, sequence, true)?;
        }
        self.context.decode(&mut self.batch)?;
        let logits = |i: i32| most_probable(self.context.get_logits_ith(i));
        Ok((0..self.batch.n_tokens()).map(logits).collect())
    }
}

impl Llama {
    /// Puts a token at the end of a sequence into the next batch.
    fn append(&mut self, token: u32, sequence: usize, is_wanted: bool) -> Outcome {
        let (token, id) = (LlamaToken::new(i32::try_from(token)?), i32::try_from(sequence)?);
        self.batch.add(token, self.lengths[sequence], &[id], is_wanted)?;
        self.lengths[sequence] += 1;
        Ok(())
    }
}

fn params(threads: i32, sequences: usize, length: usize) -> Outcome<LlamaContextParams> {
    Ok(LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(u32::try_from(sequences * length)?))
        .with_n_seq_max(u32::try_from(sequences)?)
        .with_n_threads(threads)
        .with_n_threads_batch(threads))
}
