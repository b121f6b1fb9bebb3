//! candle with the quantized models of `candle-transformers`, on as many threads as `RAYON_NUM_THREADS` says. They know one sequence.

use std::fs::File;
use std::io::BufReader;

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2, quantized_qwen3};

use crate::Outcome;
use crate::measure::{Engine, Task, most_probable};

/// A model with its sequence.
pub struct Candle {
    model: Model,
    /// How many tokens the sequence has.
    length: usize,
}

/// The models share no trait.
enum Model {
    Llama(quantized_llama::ModelWeights),
    Qwen2(quantized_qwen2::ModelWeights),
    Qwen3(quantized_qwen3::ModelWeights),
}

impl Engine for Candle {
    const BATCHES: bool = false;

    fn load(task: &Task) -> Outcome<Candle> {
        let mut file = BufReader::new(File::open(&task.file)?);
        let content = Content::read(&mut file)?;
        let architecture = content.metadata.get("general.architecture").ok_or("no architecture is named")?;
        let model = match architecture.to_string()?.as_str() {
            "llama" => {
                Model::Llama(quantized_llama::ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?)
            }
            "qwen2" => {
                Model::Qwen2(quantized_qwen2::ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?)
            }
            "qwen3" => {
                Model::Qwen3(quantized_qwen3::ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?)
            }
            other => return Err(format!("a model of the architecture {other} is not known here").into()),
        };
        Ok(Candle { model, length: 0 })
    }

    fn begin(&mut self, _sequences: usize, _length: usize) -> Outcome {
        self.length = 0;
        match &mut self.model {
            Model::Llama(model) => model.clear_kv_cache(),
            Model::Qwen2(model) => model.clear_kv_cache(),
            Model::Qwen3(model) => model.clear_kv_cache(),
        }
        Ok(())
    }

    fn prefill(&mut self, tokens: &[u32]) -> Outcome<u32> {
        let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?; // [1, tokens]
        let logits = match &mut self.model {
            Model::Llama(model) => model.forward(&input, self.length),
            Model::Qwen2(model) => model.forward(&input, self.length),
            Model::Qwen3(model) => model.forward(&input, self.length),
        }?;
        self.length += tokens.len();
        Ok(most_probable(&logits.flatten_all()?.to_vec1::<f32>()?))
    }

    fn decode(&mut self, tokens: &[u32]) -> Outcome<Vec<u32>> {
        Ok(vec![self.prefill(tokens)?])
    }
}
