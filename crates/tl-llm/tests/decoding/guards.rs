//! Guards on the logits: a token that the guard excludes does not exist. It is never drawn, greedy or not, in a beam or by a guess.

use std::sync::atomic::AtomicBool;

use tensorlogic::{Engine, Generator, GeneratorOptions, MemoryLoader, Program};
use tl_llm::sampling::SampleError;
use tl_llm::{BeamOptions, GenerateError, GenerateOptions, Speculation, beam_search, logprobs};

use crate::models::{greedy, model, run, tiny, unchanged};

/// The recurrent model with another last equation, and whatever it needs.
fn guarded(logits: &str) -> Generator {
    let text = format!(
        "fn guarded(m, tok[p]) -> logits[p, v] {{
            x[p, d] = m.token_embd.weight[d, tok[p]]
            h[p, d] = tanh(0.5 * h[p - 1, e] m.blk[0].attn_q.weight[e, d] + x[p, d])
            base[p, v] = h[p, d] m.output.weight[d, v]
            {logits}
        }}"
    );
    with(&text)
}

fn with(text: &str) -> Generator {
    let program = Program::check("guarded.tl", text, &MemoryLoader::default());
    assert!(!program.has_errors(), "{}", program.diagnostics().render(false));
    let engine = Engine::cpu_with_threads(1);
    Generator::with_program(&engine, model(&tiny(), 4), &program, &GeneratorOptions::default())
        .unwrap_or_else(|e| panic!("{e}"))
}

fn logits(generator: &Generator, ids: &[u32]) -> Vec<f32> {
    generator.session().feed(ids).unwrap().to_vec()
}

const NONE: f32 = f32::NEG_INFINITY;

#[test]
fn excluded_logits_do_not_exist_and_the_others_stay() {
    let free = logits(&guarded("logits[p, v] = base[p, v]"), &[1, 2]);
    let kept = |keep: &[usize]| -> Vec<f32> {
        (0..5).map(|v| if keep.contains(&v) { free[v] } else { NONE }).collect()
    };
    for (equations, keep) in [
        ("logits[p, v] = base[p, v] where v >= 1 and v < 3", &[1, 2][..]),
        // The same without the detour.
        ("logits[p, v] = h[p, d] m.output.weight[d, v] where v >= 1 and v < 3", &[1, 2]),
        // A vector over the vocabulary.
        ("allowed[v] = v % 2 == 0\n logits[p, v] = base[p, v] where allowed[v]", &[0, 2, 4]),
        // What the sequence says: no token twice in a row.
        ("logits[p, v] = base[p, v] where v != tok[p]", &[0, 1, 3, 4]),
        // No token that was said before.
        (
            "seen[p, v] = count[t](tok[t] == v) where t <= p\n logits[p, v] = base[p, v] where seen[p, v] == 0",
            &[0, 3, 4],
        ),
        // A condition that always holds, and two equations for different tokens.
        ("logits[p, v] = base[p, v] where 1 < 2", &[0, 1, 2, 3, 4]),
        ("logits[p, v] = base[p, v] where v < 1\n logits[p, v] = base[p, v] where v > 3", &[0, 4]),
    ] {
        assert_eq!(logits(&guarded(equations), &[1, 2]), kept(keep), "{equations}");
    }
    // Where both exist they add up, as ever.
    let both = "logits[p, v] = base[p, v] where v < 3\n logits[p, v] = base[p, v] where v > 1";
    let twice: Vec<f32> = free.iter().zip(0..).map(|(l, v)| if v == 2 { 2.0 * l } else { *l }).collect();
    assert_eq!(logits(&guarded(both), &[1, 2]), twice);
    // A guard on another tensor means what it does everywhere: 0.
    let inner = "part[p, v] = base[p, v] where v < 2\n logits[p, v] = part[p, v]";
    assert_eq!(logits(&guarded(inner), &[1, 2]), [free[0], free[1], 0.0, 0.0, 0.0]);
}

#[test]
fn a_function_that_generates_can_be_guarded_from_outside_and_again() {
    let library = tensorlogic::library::models().next().unwrap().text;
    let wrapped = |name: &str| {
        let text = format!(
            "{library}
            fn evens(m, tok[p]) -> logits[p, v] {{
                base[p, v.] = llama(m, tok[p])
                logits[p, v] = base[p, v] where v % 2 == 0
            }}
            fn small_evens(m, tok[p]) -> logits[p, v] {{
                base[p, v.] = evens(m, tok[p])
                logits[p, v] = base[p, v] where v < 3
            }}"
        );
        let program = Program::check("wrapped.tl", &text, &MemoryLoader::default());
        let options = GeneratorOptions { function: Some(name.to_owned()), ..GeneratorOptions::default() };
        let engine = Engine::cpu_with_threads(1);
        let made = Generator::with_program(&engine, model(&tiny(), 4), &program, &options);
        logits(&made.unwrap_or_else(|e| panic!("{e}")), &[1, 2, 3])
    };
    let free = wrapped("llama");
    assert_eq!(wrapped("evens"), [free[0], NONE, free[2], NONE, free[4]]);
    assert_eq!(wrapped("small_evens"), [free[0], NONE, free[2], NONE, NONE]);
}

#[test]
fn no_way_of_continuing_draws_what_is_excluded() {
    // After a token only its neighbours, in a circle: what may come next is a relation between tokens.
    let generator = guarded("logits[p, v] = base[p, v] where (v - tok[p]) % 5 == 1 or (tok[p] - v) % 5 == 1");
    let holds = |ids: &[u32]| ids.windows(2).all(|w| matches!((w[1] + 5 - w[0]) % 5, 1 | 4));
    let never = AtomicBool::new(false);
    for speculation in [Speculation::Off, Speculation::Lookup { most: 4 }] {
        for options in [greedy(60), unchanged(60, 3)] {
            let options = GenerateOptions { speculation: speculation.clone(), ..options };
            let ids = run(&mut generator.session(), &[0], &options).ids;
            assert!(ids.len() == 60 && holds(&[&[0], &ids[..]].concat()), "{ids:?}");
        }
    }
    let beam = BeamOptions { width: 6, length_penalty: 0.0 };
    let mut session = generator.session();
    let found = beam_search(&mut session, None, &[0], &unchanged(4, 0), &beam, &never).unwrap();
    assert!(found.beams.len() == 6 && found.beams.iter().all(|b| holds(&[&[0], &b.ids[..]].concat())));
    // Two of five each time: there are no more than these.
    let all = BeamOptions { width: 40, length_penalty: 0.0 };
    let found = beam_search(&mut generator.session(), None, &[0], &unchanged(4, 0), &all, &never).unwrap();
    assert_eq!(found.beams.len(), 16);
    let total: f64 = found.beams.iter().map(|b| b.log_probability.exp()).sum();
    assert!((total - 1.0).abs() < 1e-5, "the probabilities are of what is left: {total}");
}

#[test]
fn a_guard_that_leaves_nothing_is_an_error_and_an_excluded_text_has_no_probability() {
    let generator = guarded("logits[p, v] = base[p, v] where v > 7");
    let never = AtomicBool::new(false);
    let none = tl_llm::generate(&mut generator.session(), None, &[1], &greedy(3), &never, |_| {}, |_| {});
    assert!(matches!(none, Err(GenerateError::Sample(SampleError::NothingLeft))), "{none:?}");
    let generator = guarded("logits[p, v] = base[p, v] where v > 2");
    assert_eq!(logprobs(&mut generator.session(), &[0, 3, 4]).unwrap().len(), 2);
    let excluded = logprobs(&mut generator.session(), &[0, 3, 1]);
    assert!(matches!(excluded, Err(GenerateError::Excluded { id: 1, position: 2 })), "{excluded:?}");
}
