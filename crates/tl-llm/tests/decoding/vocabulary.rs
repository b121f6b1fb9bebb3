//! Relations over the vocabulary: facts and rules of texts, as guards on the logits.

use std::sync::Arc;

use tensorlogic::{Engine, Error, Generator, GeneratorOptions, MemoryLoader, Program};
use tl_formats::tokenizer::Tokenizer;

use crate::made_up::Shape;
use crate::models::{greedy, model, run, tiny, unchanged};

/// The equations of the recurrent model, with what stands outside of it and its last equations.
fn program(outside: &str, inside: &str) -> String {
    format!(
        "{outside}
        fn guarded(m, tok[p]) -> logits[p, v] {{
            x[p, d] = m.token_embd.weight[d, tok[p]]
            h[p, d] = tanh(0.5 * h[p - 1, e] m.blk[0].attn_q.weight[e, d] + x[p, d])
            base[p, v] = h[p, d] m.output.weight[d, v]
            {inside}
        }}"
    )
}

fn checked(text: &str) -> Program {
    let files =
        MemoryLoader::new([("words.csv", "hello,1\nhe,2\n\" \",3\n"), ("words.json", r#"["hello", "he"]"#)]);
    Program::check("guarded.tl", text, &files)
}

fn build(shape: &Shape, text: &str) -> Result<Generator, Error> {
    let program = checked(text);
    assert!(!program.has_errors(), "{}", program.diagnostics().render(false));
    let engine = Engine::cpu_with_threads(1);
    Generator::with_program(&engine, model(shape, 21), &program, &GeneratorOptions::default())
}

fn generator(outside: &str, inside: &str) -> Generator {
    build(&Shape::default(), &program(outside, inside)).unwrap_or_else(|e| panic!("{e}"))
}

/// The texts of the tokens whose logits exist.
fn left(generator: &Generator, ids: &[u32]) -> Vec<String> {
    let tokenizer: Arc<Tokenizer> = Arc::clone(generator.model().tokenizer().unwrap());
    let mut session = generator.session();
    let logits = session.feed(ids).unwrap();
    let kept = (0..logits.len()).filter(|&id| logits[id] > f32::NEG_INFINITY);
    let mut texts: Vec<String> =
        kept.map(|id| String::from_utf8(tokenizer.token_bytes(id as u32)).unwrap()).collect();
    texts.sort();
    texts
}

#[test]
fn what_may_come_is_said_in_texts_wherever_they_stand() {
    let guard = "logits[p, v] = base[p, v] where Allowed(v)";
    let inside = |facts: &str| format!("{facts}\n{guard}");
    let facts = "Allowed(\"hello\")\n Allowed(\"he\")";
    for (outside, inside) in [
        (facts, guard.to_owned()),
        ("", inside(facts)),
        ("", format!("{guard}\n{facts}")),
        ("Allowed(v) = [\"hello\", \"he\"]", guard.to_owned()),
        ("Allowed(v) = file(\"words.json\")", guard.to_owned()),
        ("Word(w, n) = file(\"words.csv\")\nAllowed(v) <- Word(v, n), n < 3", guard.to_owned()),
        ("Word(\"hello\")\nWord(\"he\")\nWord(\"ll\")\nAllowed(v) <- Word(v), v != \"ll\"", guard.to_owned()),
        // What is called like an axis or a parameter of the function is none outside of it.
        ("Word(\"hello\")\nWord(\"he\")\nAllowed(p) <- Word(p)", guard.to_owned()),
        ("Word(\"hello\")\nWord(\"he\")\nAllowed(tok) <- Word(tok)", guard.to_owned()),
        // What asks is no fact.
        (
            "Allowed(\"hello\")\nAllowed(\"he\")\nprint(Allowed(v))\nif Allowed(\"he\") { print(1) }",
            guard.to_owned(),
        ),
        ("Word(\"hello\")", inside("Allowed(\"he\")\nAllowed(w) <- Word(w)")),
        ("", "logits[p, v] = base[p, v] where v == \"hello\" or v == \"he\"".to_owned()),
        ("", inside("Allowed(v) = v == \"hello\" or \"he\" == v")),
        ("", "yes[\"hello\"] = 1\n yes[\"he\"] = 1\n logits[p, v] = base[p, v] where yes[v]".to_owned()),
    ] {
        assert_eq!(left(&generator(outside, &inside), &[5]), ["he", "hello"], "{outside}\n{inside}");
    }
}

#[test]
fn a_model_says_what_is_allowed_and_nothing_else() {
    // After a word a space, after a space a word, and the end after the second.
    let generator = generator(
        "Word(\"hello\")\nWord(\"he\")
        Follows(v, \" \") <- Word(v)
        Follows(\" \", v) <- Word(v)
        Follows(\"ll\", \"</s>\")
        Follows(\"he\", \"ll\")",
        "logits[p, v] = base[p, v] where Follows(tok[p], v)",
    );
    let tokenizer = Arc::clone(generator.model().tokenizer().unwrap());
    let id = |text: &str| generator.model().token(text).unwrap();
    let parts = ["hello", " ", "he", "ll"];
    assert_eq!(left(&generator, &[id(" ")]), ["he", "hello"]);
    assert_eq!(left(&generator, &[id("he")]), [" ", "ll"]);
    assert_eq!(left(&generator, &[id("hello")]), [" "]);
    assert_eq!(left(&generator, &[id("ll")]), ["</s>"]);
    for options in [greedy(20), unchanged(20, 1), unchanged(20, 2), unchanged(20, 3)] {
        let done = run(&mut generator.session(), &[id(" ")], &options);
        let mut before = " ".to_owned();
        assert!(!done.ids.is_empty());
        for &token in &done.ids {
            let text = String::from_utf8(tokenizer.token_bytes(token)).unwrap();
            let may_follow = match &*before {
                " " => ["hello", "he"].contains(&&*text),
                "hello" => text == " ",
                "he" => [" ", "ll"].contains(&&*text),
                _ => text == "</s>",
            };
            assert!(parts.contains(&&*text) && may_follow, "{text:?} after {before:?}");
            before = text;
        }
    }
}

#[test]
fn a_generator_that_is_guarded_from_outside_takes_its_vocabulary_from_the_model() {
    let text = "Allowed(\"hello\")\nAllowed(\"he\")".to_owned()
        + &program("", "logits[p, v] = base[p, v]")
        + "fn wrapped(m, tok[p]) -> logits[p, v] {
            free[p, v.] = guarded(m, tok[p])
            logits[p, v] = free[p, v] where Allowed(v) and tok[p] != \"he\"
        }";
    let program = checked(&text);
    assert!(!program.has_errors(), "{}", program.diagnostics().render(false));
    let options = GeneratorOptions { function: Some("wrapped".to_owned()), ..GeneratorOptions::default() };
    let engine = Engine::cpu_with_threads(1);
    let made = Generator::with_program(&engine, model(&Shape::default(), 21), &program, &options);
    let generator = made.unwrap_or_else(|e| panic!("{e}"));
    let id = |text: &str| generator.model().token(text).unwrap();
    assert_eq!(left(&generator, &[id("ll")]), ["he", "hello"]);
    assert_eq!(left(&generator, &[id("he")]), [""; 0]);
}

/// What is wrong with a program, when it is checked or when it meets its model.
fn wrong(shape: &Shape, text: &str) -> String {
    let program = checked(text);
    if program.has_errors() {
        return program.diagnostics().render(false);
    }
    match build(shape, text) {
        Err(Error::Program(found)) => found.render(false),
        other => panic!("{other:?}"),
    }
}

#[test]
fn texts_that_name_no_token_are_underlined() {
    let guard = "logits[p, v] = base[p, v] where Allowed(v)";
    for (outside, inside, at, parts) in [
        (
            "Allowed(\"hello he\")",
            guard,
            "Allowed(\"hello he\")",
            "4 tokens: \" \", \"hello\", \" \", \"he\"",
        ),
        ("", "logits[p, v] = base[p, v] where v != \"hehe\"", "\"hehe\"", "\"he\", \"he\""),
        ("Allowed(\" \")", "yes[\"héll\"] = 1\nlogits[p, v] = base[p, v] where yes[v]", "\"héll\"", "\"ll\""),
    ] {
        let said = wrong(&Shape::default(), &program(outside, inside));
        assert!(said.contains("error[E0501]") && said.contains(parts), "{said}");
        assert!(said.contains(&"^".repeat(at.chars().count())), "{said}");
    }
    // A vocabulary of five tokens without texts.
    let said = wrong(&tiny(), &program("Allowed(\"a\")", guard));
    assert!(said.contains("error[E0501]") && said.contains("has no tokenizer"), "{said}");
    let numbers = build(&tiny(), &program("Allowed(3)", guard)).unwrap_or_else(|e| panic!("{e}"));
    let logits = numbers.session().feed(&[1]).unwrap().to_vec();
    assert!((0..5).all(|id| (logits[id] > f32::NEG_INFINITY) == (id == 3)), "{logits:?}");
}

#[test]
fn facts_that_only_a_script_could_state_are_refused() {
    let guard = "logits[p, v] = base[p, v] where Allowed(v)";
    let said = wrong(&Shape::default(), &program("for w in [\"he\"] { Allowed(w) }", guard));
    assert!(said.contains("error[E0305]") && said.contains("Allowed"), "{said}");
    let said = wrong(&Shape::default(), &program("Allowed(v) = file(\"none.csv\")", guard));
    assert!(said.contains("none.csv"), "{said}");
    let said = wrong(&Shape::default(), &program("Allowed(\"he\")\nAllowed(\"he\", \"ll\")", guard));
    assert!(said.contains("error[E0403]") && said.contains("2 are given"), "{said}");
    // What nothing reads is a statement of scripts, as ever.
    let said = wrong(&Shape::default(), &program("", "print(\"x\")\nlogits[p, v] = base[p, v]"));
    assert!(said.contains("expression statement"), "{said}");
}
