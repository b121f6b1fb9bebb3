//! Models with random weights, other sizes and other quantizations than any real file, held against a direct evaluation in 64-bit arithmetic
//! (`support/made_up.rs`).

mod support {
    pub mod made_up;
    mod running;
    pub use running::*;
}

use support::made_up::{MadeUp, Numbers, Shape, softmax};
use support::{Folder, Ran, tl, tl_reading};
use tl_tensor::DType;

/// Differences in logits that are allowed, as a part of the largest logit.
const TOLERANCE: f64 = 1e-3;

/// Mixed as files are that were made with `Q4_K_M`: some tensors of a layer in more bits, the output matrix in six.
fn k_quants(name: &str) -> DType {
    match name {
        "output.weight" | "blk.1.attn_v.weight" | "blk.1.ffn_down.weight" => DType::Q6_K,
        "blk.0.attn_v.weight" => DType::Q5_K,
        "blk.0.ffn_down.weight" => DType::Q3_K,
        "blk.1.attn_output.weight" => DType::Q2_K,
        _ => DType::Q4_K,
    }
}

/// One format after the other.
fn small_blocks(name: &str) -> DType {
    match name.rsplit_once("attn_").or(name.rsplit_once("ffn_")).map(|parts| parts.1) {
        Some("q.weight") => DType::Q4_0,
        Some("k.weight") => DType::Q5_1,
        Some("v.weight") => DType::Q8_0,
        Some("output.weight") => DType::F16,
        Some("gate.weight") => DType::Q5_0,
        Some("up.weight") => DType::Q4_1,
        Some("down.weight") => DType::BF16,
        _ if name == "output.weight" => DType::Q8_0,
        _ => DType::F16,
    }
}

/// Writes the model, continues random ids greedily, and compares ids and all logits of the first position. Gives what was printed.
fn compare(name: &str, made: &MadeUp) {
    let folder = Folder::new(name);
    let file = folder.file("model.gguf", made.gguf());
    let vocabulary = made.shape.vocabulary;
    let prompt = Numbers::new(5).ids(9, vocabulary);
    let run = |threads: &str| continue_ids(&file, &prompt, vocabulary, threads);
    let report = run("2");
    let one = run("1");
    assert_eq!((&report["ids"], &report["top_logits"]), (&one["ids"], &one["top_logits"]), "{name}: threads");

    let exact = made.logits(&prompt).pop().unwrap();
    let largest = exact.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    assert!(largest > 0.1, "{name}: the model says something");
    let pairs = report["top_logits"].as_array().unwrap();
    assert_eq!(pairs.len(), vocabulary);
    for pair in pairs {
        let (id, value) = (pair[0].as_u64().unwrap() as usize, pair[1].as_f64().unwrap());
        let off = (value - exact[id]).abs() / largest;
        assert!(off < TOLERANCE, "{name}: logit {id} is {value}, exactly {}", exact[id]);
    }
    let ids: Vec<u32> =
        report["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    assert_greedy(name, made, &prompt, &ids, TOLERANCE * largest);
}

fn continue_ids(file: &str, prompt: &[u32], top: usize, threads: &str) -> serde_json::Value {
    let ids: Vec<String> = prompt.iter().map(u32::to_string).collect();
    let top = top.to_string();
    let options = ["-n", "12", "--temp", "0", "--ignore-eos", "--json", "--threads", threads];
    let args = ["generate", file, "--ids", &ids.join(","), "--top-logits", &top];
    tl(args.iter().chain(&options)).json()
}

/// Each id is the most probable one, given those before it.
fn assert_greedy(name: &str, made: &MadeUp, prompt: &[u32], ids: &[u32], tolerance: f64) {
    assert_eq!(ids.len(), 12);
    let all: Vec<u32> = prompt.iter().chain(ids).copied().collect();
    let rows = made.logits(&all);
    for (step, &id) in ids.iter().enumerate() {
        let row = &rows[prompt.len() - 1 + step];
        let best = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert!(row[id as usize] > best - 2.0 * tolerance, "{name}: id {id} of step {step} is not the best");
    }
}

#[test]
fn k_quants_with_a_matrix_of_their_own_for_the_output() {
    let shape = Shape {
        width: 256,
        heads: 8,
        kv_heads: 4,
        key: 32,
        value: 32,
        turned: 32,
        feed_forward: 512,
        dtype: k_quants,
        ..Shape::default()
    };
    compare("k-quants", &MadeUp::new(shape, 1));
}

#[test]
fn small_blocks_with_biases_and_slower_positions() {
    let shape = Shape {
        width: 192,
        heads: 6,
        kv_heads: 2,
        key: 32,
        value: 32,
        turned: 32,
        feed_forward: 160,
        freq_base: 50000.0,
        slower: 2.0,
        factors: true,
        biases: true,
        dtype: small_blocks,
        ..Shape::default()
    };
    compare("small-blocks", &MadeUp::new(shape, 2));
}

#[test]
fn keys_and_values_of_other_widths_and_a_part_of_each_head_turned() {
    let shape = Shape { heads: 3, kv_heads: 1, key: 48, value: 40, turned: 24, ..Shape::default() };
    compare("widths", &MadeUp::new(shape, 3));
}

#[test]
fn rotations_of_halves_with_biases_of_queries_keys_and_values() {
    let shape = Shape {
        architecture: "qwen2",
        biases: true,
        tied: true,
        freq_base: 1e6,
        dtype: small_blocks,
        ..Shape::default()
    };
    compare("qwen2", &MadeUp::new(shape, 8));
}

#[test]
fn normed_heads_wider_than_the_model_divides() {
    let shape = Shape {
        architecture: "qwen3",
        key: 32,
        value: 32,
        turned: 32,
        freq_base: 1e6,
        slower: 4.0,
        ..Shape::default()
    };
    compare("qwen3", &MadeUp::new(shape, 9));
}

#[test]
fn one_layer_as_many_key_heads_as_heads_and_a_tied_output() {
    let dtype = |name: &str| if name.starts_with("token") { DType::Q8_0 } else { DType::BF16 };
    let shape = Shape { layers: 1, heads: 4, kv_heads: 4, tied: true, dtype, ..Shape::default() };
    compare("tied", &MadeUp::new(shape, 4));
}

#[test]
fn grids_and_ternary_weights() {
    let dtype = |name: &str| match name.rsplit_once("attn_").or(name.rsplit_once("ffn_")).map(|p| p.1) {
        Some("q.weight") => DType::IQ4_NL,
        Some("k.weight") => DType::MXFP4,
        Some("v.weight") => DType::TQ2_0,
        Some("gate.weight") => DType::IQ4_XS,
        Some("up.weight") => DType::TQ1_0,
        _ => DType::F32,
    };
    let shape = Shape {
        width: 256,
        heads: 4,
        kv_heads: 2,
        key: 64,
        value: 64,
        turned: 64,
        dtype,
        ..Shape::default()
    };
    compare("grids", &MadeUp::new(shape, 6));
}

/// Files of `tl synth` are read by everything that reads real ones, and their logits tell tokens apart.
#[test]
fn synthetic_files_speak() {
    let folder = Folder::new("synth");
    let shapes: serde_json::Value =
        serde_json::from_str(include_str!("../../tl-llm/src/synth/shapes.json")).unwrap();
    for shape in shapes["shapes"].as_array().unwrap() {
        let mut small = shape.clone();
        for (name, size) in
            [("layers", 2), ("width", 256), ("heads", 4), ("kv_heads", 2), ("feed_forward", 512)]
        {
            small["sizes"][name] = size.into();
        }
        small["sizes"]["vocabulary"] = 400.into();
        if small["vocabulary"]["first_special"] != 0 {
            for (name, id) in [("first_special", 350), ("bos", 350), ("eos", 351)] {
                small["vocabulary"][name] = id.into();
            }
        }
        let shape = folder.file("shape.json", small.to_string());
        let file = folder.path().join("model.gguf").display().to_string();
        for quantization in ["Q4_K_M", "Q4_0", "F16"] {
            let ran = tl(["synth", &shape, "--quant", quantization, "--out", &file]);
            assert_eq!(ran.code, Some(0), "{}", ran.err);
            assert_eq!(tl(["inspect", &file, "--check"]).code, Some(0));
            let report = tl([
                "generate",
                &file,
                "--prompt",
                "some words",
                "-n",
                "4",
                "--temp",
                "0",
                "--top-logits",
                "200",
                "--json",
            ]);
            let report = report.json();
            let logits: Vec<f64> = report["top_logits"]
                .as_array()
                .unwrap()
                .iter()
                .map(|pair| pair[1].as_f64().unwrap())
                .collect();
            assert!(
                logits[0] - logits[199] > 1.0 && logits[0] < 50.0,
                "{shape} {quantization}: {logits:.2?}"
            );
        }
    }
    tl(["synth", "no-such-shape", "--out", "x.gguf"]).fails(2, &["no-such-shape", "tinyllama-1.1b"]);
    tl(["synth", "tinyllama-1.1b", "--quant", "Q4", "--out", "x.gguf"]).fails(2, &["`Q4`", "Q4_0"]);
    let broken = folder.file("broken.json", "{}");
    tl(["synth", &broken, "--out", "x.gguf"]).fails(65, &["missing field"]);
}

#[test]
fn a_sentence_piece_vocabulary_encodes_scores_and_chats() {
    let shape = Shape { tied: true, ..Shape::default() };
    let mut made = MadeUp::new(shape, 7).with_sentence_pieces();
    let template =
        "{% for m in messages %}{{ bos_token }}{{ m.role }} {{ m.content }}{{ eos_token }}{% endfor %}";
    made.metadata.set("tokenizer.chat_template", template);
    let folder = Folder::new("pieces");
    let file = folder.file("model.gguf", made.gguf());

    // ▁hello: letters become pieces, the best score first. é has no piece and becomes its bytes.
    let ids = |ran: Ran| ran.json();
    assert_eq!(ids(tl_reading(["tokenize", &file, "--json"], b"hello")), serde_json::json!([259, 289]));
    assert_eq!(
        ids(tl_reading(["tokenize", &file, "--json", "--add-bos"], "hello é".as_bytes())),
        serde_json::json!([1, 259, 289, 259, 3 + 0xc3, 3 + 0xa9])
    );
    assert_eq!(
        ids(tl_reading(["tokenize", &file, "--json"], b"</s>a")).as_array().unwrap().first().unwrap(),
        2,
        "the text of a special token is that token"
    );
    let plain = ids(tl_reading(["tokenize", &file, "--json", "--no-special"], b"</s>a"));
    assert!(!plain.as_array().unwrap().contains(&serde_json::json!(2)), "{plain}");

    // A prompt begins with BOS, as the file asks.
    let report = tl(["generate", &file, "--prompt", "hello", "-n", "3", "--temp", "0", "--json"]).json();
    assert_eq!(report["prompt_ids"], serde_json::json!([1, 259, 289]));
    let report = tl(["generate", &file, "--prompt", "hello", "--no-bos", "-n", "3", "--temp", "0", "--json"]);
    assert_eq!(report.json()["prompt_ids"], serde_json::json!([259, 289]));

    // Every token but the first is scored, and nothing is prepended.
    let text = folder.file("text.txt", "hello hell he");
    let report = tl(["perplexity", &file, &text, "--json"]).json();
    let ids: Vec<u32> =
        serde_json::from_value(tl_reading(["tokenize", &file, "--json"], b"hello hell he").json()).unwrap();
    let rows = made.logits(&ids);
    let exact: Vec<f64> = (1..ids.len()).map(|i| softmax(&rows[i - 1])[ids[i] as usize].ln()).collect();
    let ours: Vec<f64> = serde_json::from_value(report["logprobs"].clone()).unwrap();
    assert_eq!(ours.len(), exact.len());
    assert!(ours.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-3), "{ours:?} {exact:?}");
    let mean = -exact.iter().sum::<f64>() / exact.len() as f64;
    assert!((report["mean_nll"].as_f64().unwrap() - mean).abs() < 1e-4);

    let talk = tl_reading(["chat", &file, "--max-tokens", "4", "--temp", "0"], b"hello\nhe\n/quit\n");
    assert_eq!(talk.code, Some(0), "{}", talk.err);
    assert!(talk.out.lines().count() >= 2, "{talk:?}");
}
