//! Thousands of malformed programs, made from those of the suite, the examples and the library: none panics, and every error says where.
//!
//! A program is a list of tokens; a mutation removes, repeats, exchanges or replaces some, or cuts the text off. The seeds are fixed,
//! so that a failure can be repeated: it names the program.

use std::path::Path;
use std::sync::Arc;

use tensorlogic::interpreter::CapturedHost;
use tensorlogic::{Engine, Error, Interpreter, MemoryLoader};

/// How many programs are made where `TL_MUTANTS` does not say.
const COUNT: u64 = 3000;

#[test]
fn no_malformed_program_panics_or_is_refused_without_a_place() {
    let texts = texts();
    let pool: Vec<String> = texts.iter().flatten().filter(|t| !t.trim().is_empty()).cloned().collect();
    let count = std::env::var("TL_MUTANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(COUNT);
    let wrong = |seed: u64| {
        let text = mutant(seed, &texts, &pool);
        fault_of(&text).map(|what| format!("seed {seed}: {what}\n{text}\n"))
    };
    let found: Vec<String> = (0..count).filter_map(wrong).take(10).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What is wrong with how a program is answered.
fn fault_of(text: &str) -> Option<String> {
    let host = CapturedHost::new();
    let mut interpreter =
        Interpreter::new(Engine::cpu_with_threads(1), Arc::new(MemoryLoader::default()), Box::new(host));
    let limits = interpreter.limits_mut();
    limits.steps = 20_000;
    limits.length = 100_000;
    let error = interpreter.run("malformed.tl", text).err()?;
    let Error::Program(found) = error else { return Some(format!("an error of the world: {error}")) };
    let placeless = found.list.iter().find(|d| d.primary_span().is_none_or(|span| span.is_none()));
    let own = found.list.iter().find(|d| d.message.contains("a mistake in TensorLogic"));
    own.or(placeless).map(|d| format!("{}: {}", d.code, d.message))
}

/// The programs of the suite as tokens, without their expectations.
fn texts() -> Vec<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = ["tests/suite", "examples/paper", "lib/std"];
    let (mut folders, mut texts) = (folders.map(|folder| root.join(folder)).to_vec(), Vec::new());
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "tl") {
                let text = std::fs::read_to_string(&path).unwrap();
                let lines = text.lines().filter(|line| !line.starts_with("//"));
                texts.push(tokens(&lines.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    texts
}

/// Words, numbers, white space and single characters.
fn tokens(text: &str) -> Vec<String> {
    let kind = |c: char| if c.is_alphanumeric() || c == '_' { 1 } else { u8::from(c.is_whitespace()) * 2 };
    let mut out: Vec<String> = Vec::new();
    let mut before = 0;
    for c in text.chars() {
        match out.last_mut() {
            Some(last) if kind(c) != 0 && kind(c) == before => last.push(c),
            _ => out.push(c.to_string()),
        }
        before = kind(c);
    }
    out
}

fn mutant(seed: u64, texts: &[Vec<String>], pool: &[String]) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
    let mut below = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % n.max(1)
    };
    let mut program = texts[below(texts.len())].clone();
    for _ in 0..1 + below(3) {
        if program.is_empty() {
            break;
        }
        let at = below(program.len());
        match below(6) {
            0 => drop(program.remove(at)),
            1 => program.insert(at, pool[below(pool.len())].clone()),
            2 => program[at] = pool[below(pool.len())].clone(),
            3 => {
                let other = below(program.len());
                program.swap(at, other);
            }
            4 => program.truncate(at),
            _ => {
                let end = (at + 1 + below(6)).min(program.len());
                let copy = program[at..end].to_vec();
                program.splice(at..at, copy);
            }
        }
    }
    program.concat()
}
