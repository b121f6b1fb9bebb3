//! Hyper-parameters and tensors that don't agree, cases 72 to 82 and 91.

use tl_formats::gguf::{Array, File, Metadata, Value, Writer, hyperparameters};
use tl_formats::{Error, ErrorKind, Warning};
use tl_tensor::{Buffer, DType, Tensor};

/// A model of two blocks that is in order: width 8, 4 heads over 2, 10 tokens.
pub struct Model {
    pub metadata: Metadata,
    pub blocks: usize,
    pub embedding: [usize; 2],
    pub extra: Vec<(&'static str, Vec<usize>)>,
}

impl Model {
    pub fn new() -> Self {
        let mut metadata = Metadata::new();
        metadata.set("general.architecture", "test");
        let integers = [
            ("block_count", 2u32),
            ("context_length", 64),
            ("embedding_length", 8),
            ("feed_forward_length", 16),
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
            ("rope.dimension_count", 2),
        ];
        for (key, value) in integers {
            metadata.set(&format!("test.{key}"), value);
        }
        metadata
            .set("test.rope.freq_base", 10_000.0f32)
            .set("test.attention.layer_norm_rms_epsilon", 1e-5f32);
        let tokens: Vec<String> = (0..10).map(|i| format!("t{i}")).collect();
        metadata.set("tokenizer.ggml.tokens", Array::from_strings(&tokens));
        Self { metadata, blocks: 2, embedding: [10, 8], extra: Vec::new() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new(self.metadata.clone());
        let mut add = |name: &str, shape: &[usize]| {
            let tensor = Tensor::zeros(DType::F32, shape).expect("a small tensor");
            writer.tensor(name, &tensor).expect("a sound tensor");
        };
        add("token_embd.weight", &self.embedding);
        for block in 0..self.blocks {
            add(&format!("blk.{block}.attn_norm.weight"), &[8]);
            add(&format!("blk.{block}.attn_q.weight"), &[8, 8]);
        }
        self.extra.iter().for_each(|(name, shape)| add(name, shape));
        writer.write_to(Vec::new()).expect("a sound file")
    }
}

fn check(model: &Model) -> Result<Vec<Warning>, Error> {
    let file = File::from_buffer(Buffer::from_vec(model.bytes())).expect("a well-formed file");
    hyperparameters::check(&file, Some(&["other", "test"]))
}

fn with(key: &str, value: impl Into<Value>) -> Model {
    let mut model = Model::new();
    model.metadata.set(key, value);
    model
}

fn without(key: &str) -> Model {
    let mut model = Model::new();
    model.metadata.remove(key);
    model
}

/// Asserts that each value of `key` is refused, with the key's name and this in the message.
fn refuses<T: Into<Value>>(key: &str, values: impl IntoIterator<Item = T>, fragment: &str) {
    for value in values {
        let error = check(&with(key, value)).expect_err("the value is refused");
        assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
        let text = error.to_string();
        assert!(text.contains(key) && text.contains(fragment), "{key} and {fragment:?} in {text}");
        assert!(error.offset().is_some(), "{error}");
    }
}

fn accepts(model: &Model) {
    assert_eq!(check(model), Ok(vec![]));
}

#[test]
fn a_model_in_order_is_accepted() {
    accepts(&Model::new());
}

#[test]
fn case_72_no_architecture() {
    let error = check(&without("general.architecture")).expect_err("no architecture");
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(error.to_string().contains("general.architecture"), "{error}");
}

#[test]
fn case_73_unknown_architecture() {
    let error = check(&with("general.architecture", "fo\u{1b}o")).expect_err("an unknown architecture");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.to_string().contains("\"fo\\u{1b}o\" is not supported; the supported ones are other, test"),
        "{error}"
    );
}

#[test]
fn case_74_architecture_is_a_number() {
    refuses("general.architecture", [7u32], "wanted UTF-8 string, found u32 7");
}

#[test]
fn case_75_block_count_out_of_range() {
    refuses("test.block_count", [0, 1_000_000, u32::MAX], "out of range");
    refuses("test.block_count", [-1i32], "out of range");
    refuses("test.block_count", ["2"], "wanted an integer, found string \"2\"");
    let error = check(&without("test.block_count")).expect_err("a key is missing");
    assert!(error.to_string().contains("\"test.block_count\""), "{error}");
}

#[test]
fn case_76_tensors_of_a_block_missing() {
    let mut model = with("test.block_count", 31u32);
    model.blocks = 30;
    let error = check(&model).expect_err("a block is missing").to_string();
    assert!(error.contains("blk.30.attn_norm.weight"), "{error}");
    model.metadata.set("test.block_count", 29u32);
    let warnings = check(&model).expect("a block too many is odd");
    assert!(warnings[0].field.contains("blk.29.attn_norm.weight"), "{}", warnings[0]);
}

#[test]
fn case_77_heads() {
    refuses("test.attention.head_count", [0u32], "out of range");
    refuses("test.attention.head_count", [3u32], "3 heads do not divide the embedding length, 8");
    refuses("test.attention.head_count_kv", [0u32], "out of range");
    refuses("test.attention.head_count_kv", [3u32, 8], "do not divide the 4 heads");
    // Heads of their own width need not divide the model's.
    let mut model = with("test.attention.head_count", 6u32);
    model.metadata.set("test.attention.key_length", 4u32);
    accepts(&model);
    accepts(&with("test.attention.head_count", Array::from(&[4u32, 0][..])));
    refuses("test.attention.head_count", [Array::from(&[4u32, 1 << 20][..])], "element 1");
    refuses("test.attention.head_count", [Array::from(&[4u32][..])], "1 elements for 2 blocks");
}

#[test]
fn case_78_width_of_the_embedding() {
    refuses("test.attention.head_count", [5u32], "8");
    let error = check(&with("test.embedding_length", 16u32)).expect_err("another width").to_string();
    assert!(error.contains("8 wide") && error.contains("embedding length is 16"), "{error}");
    let mut model = Model::new();
    model.embedding = [8, 10];
    assert!(check(&model).is_err());
}

#[test]
fn case_79_context_length() {
    refuses("test.context_length", [0u32], "out of range");
    let warnings = check(&with("test.context_length", 1u32 << 31)).expect("a long context is capped");
    assert!(warnings[0].message.contains("capped"), "{}", warnings[0]);
}

#[test]
fn case_80_floats() {
    let bad = [0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    refuses("test.rope.freq_base", bad, "out of range");
    refuses("test.attention.layer_norm_rms_epsilon", bad, "out of range");
    refuses("test.rope.scaling.factor", [f32::NAN], "not finite");
    refuses("test.rope.freq_base", [10_000u32], "wanted a float, found u32 10000");
}

#[test]
fn case_81_rotated_dimensions() {
    refuses("test.rope.dimension_count", [1u32, 4], "even number up to the size of a head, 2");
    accepts(&with("test.rope.dimension_count", 0u32));
}

#[test]
fn case_82_experts_and_windows() {
    let mut model = with("test.expert_count", 2u32);
    model.metadata.set("test.expert_used_count", 2u32);
    accepts(&model);
    model.metadata.set("test.expert_used_count", 3u32);
    assert!(check(&model).is_err());
    refuses("test.expert_used_count", [1u32], "1 experts are used, but there are 0");
    // A window of 0 means that there is none.
    accepts(&with("test.attention.sliding_window", 0u32));
}

#[test]
fn case_91_vocabulary_and_rows() {
    let mut model = Model::new();
    model.embedding = [11, 8];
    let error = check(&model).expect_err("another number of rows").to_string();
    assert!(error.contains("11 rows") && error.contains("10 tokens"), "{error}");
    let warnings = check(&with("test.vocab_size", 12u32)).expect("the number is not used");
    assert!(warnings[0].message.contains("10 rows"), "{}", warnings[0]);
}

#[test]
fn case_53_an_empty_axis_is_refused_here() {
    let mut model = Model::new();
    model.extra.push(("empty", vec![0, 4]));
    let error = check(&model).expect_err("an empty axis").to_string();
    assert!(error.contains("tensor \"empty\", dimension 1"), "{error}");
}
