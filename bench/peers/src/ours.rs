//! TensorLogic, as its command line runs a model: the library's equations, remembered rows in `f32`.

use std::sync::Arc;

use tensorlogic::{Engine as Runtime, Feed, Generator, Model, Session};

use crate::Outcome;
use crate::measure::{Engine, Task, most_probable};

/// A generator and its sequences.
pub struct Ours {
    generator: Generator,
    sessions: Vec<Session>,
}

impl Engine for Ours {
    const BATCHES: bool = true;

    fn load(task: &Task) -> Outcome<Ours> {
        let model = Arc::new(Model::open(&task.file)?);
        let generator = Generator::new(&Runtime::cpu_with_threads(task.threads), model)?;
        let mut ours = Ours { generator, sessions: Vec::new() };
        ours.begin(1, task.longest())?;
        Ok(ours)
    }

    fn begin(&mut self, sequences: usize, length: usize) -> Outcome {
        self.sessions = (0..sequences).map(|_| self.generator.session()).collect();
        for session in &mut self.sessions {
            session.reserve(length)?;
        }
        Ok(())
    }

    fn prefill(&mut self, tokens: &[u32]) -> Outcome<u32> {
        Ok(most_probable(self.sessions[0].feed(tokens)?))
    }

    fn decode(&mut self, tokens: &[u32]) -> Outcome<Vec<u32>> {
        let feeds = self.sessions.iter_mut().zip(tokens.chunks(1));
        let mut feeds: Vec<Feed<'_>> = feeds.map(|(session, token)| Feed::last(session, token)).collect();
        self.generator.step(&mut feeds)?;
        Ok(self.sessions.iter().map(|session| most_probable(session.logits())).collect())
    }
}
