//! The splitting rules that `tokenizer.ggml.pre` names, as facts: which name means which stages, and what else a name
//! implies (BOS, whole words before merges, SPM-style text).
//!
//! The expressions are those of the GGUF ecosystem's reference implementation, including where it simplifies the
//! expression of the model's own tokenizer (letter case beyond ASCII), because files are made and tested against it.

use super::split::{Pattern, Stage};
use super::words::{Blank, Contractions, Letters, WordRules};

/// What a `tokenizer.ggml.pre` name stands for.
#[derive(Debug, Clone)]
pub(super) struct PreRule {
    pub(super) stages: Vec<Stage>,
    /// A piece that is a token is that token, merges or not.
    pub(super) ignore_merges: bool,
    /// BOS is added unless the file says otherwise.
    pub(super) add_bos: bool,
    /// Text is raw UTF-8 with `▁` for space and `<0xNN>` for missing characters, instead of GPT-2's byte alphabet.
    pub(super) raw_utf8: bool,
    /// A piece of line feeds only that is a token is that token.
    pub(super) newline_tokens: bool,
    /// BOS is added whatever the file says.
    pub(super) force_bos: bool,
}

impl PreRule {
    fn plain(stages: Vec<Stage>) -> Self {
        Self {
            stages,
            ignore_merges: false,
            add_bos: false,
            raw_utf8: false,
            newline_tokens: false,
            force_bos: false,
        }
    }
}

/// One row per rule: the names, and how to build it.
type Row = (&'static [&'static str], fn() -> PreRule);

const RULES: &[Row] = &[
    (&["default"], || PreRule::plain(default_stages())),
    (
        &[
            "llama3",
            "llama-v3",
            "llama-bpe",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        || PreRule { ignore_merges: true, add_bos: true, ..words(WordRules::THREE_DIGITS) },
    ),
    (&["dbrx", "smaug-bpe", "chatglm-bpe"], || words(WordRules::THREE_DIGITS)),
    (&["glm4", "glm5"], || PreRule { ignore_merges: true, ..words(WordRules::THREE_DIGITS) }),
    (&["jais-2"], || words(WordRules { blank: Blank::Cascade, ..WordRules::THREE_DIGITS })),
    (
        &[
            "qwen2",
            "deepseek-r1-qwen",
            "kormo",
            "f2llmv2",
            "megrez",
            "stablelm2",
            "hunyuan",
            "solar-open",
            "grok-2",
            "bailingmoe",
            "bailingmoe2",
            "llada-moe",
        ],
        || words(WordRules::ONE_DIGIT),
    ),
    (&["qwen35"], || {
        words(WordRules { letters: Letters::WithMarks, marks_apart: true, ..WordRules::ONE_DIGIT })
    }),
    (&["seed-coder"], || words(WordRules { tail: &[], ..WordRules::ONE_DIGIT })),
    (&["ufakzeka"], || words(WordRules { contractions: Contractions::None, ..WordRules::ONE_DIGIT })),
    (&["laguna"], || PreRule::plain(vec![Stage::Lines, Stage::Words(WordRules::ONE_DIGIT)])),
    (&["minicpm5"], || PreRule {
        ignore_merges: true,
        ..PreRule::plain(vec![
            Stage::Numbers { limit: 3 },
            Stage::Words(WordRules { digits: usize::MAX, ..WordRules::THREE_DIGITS }),
        ])
    }),
    (&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], || words(four_o(Letters::Cased))),
    (&["granite-embed-multi-97m"], || PreRule {
        ignore_merges: true,
        ..words(four_o(Letters::CasedWithMarks))
    }),
    (&["tekken"], || PreRule {
        ignore_merges: true,
        add_bos: true,
        ..words(WordRules { contractions: Contractions::None, digits: 1, ..four_o(Letters::Cased) })
    }),
    (&["tiny_aya", "cohere2moe"], || {
        let stages = vec![Stage::RightGroups { ascii: false }, Stage::Words(four_o(Letters::WithMarks))];
        PreRule::plain(stages)
    }),
    (&["kimi-k2"], || words(WordRules { tail: &['\r', '\n'], ..four_o(Letters::HanApart) })),
    (&["youtu"], || PreRule {
        ignore_merges: true,
        ..PreRule::plain(vec![
            isolate(YOUTU_SCRIPTS),
            Stage::Words(WordRules { digits: 1, ..four_o(Letters::WithMarks) }),
        ])
    }),
    (
        &[
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "gigachat",
            "jina-v2-es",
            "jina-v2-de",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "jina-v1-en",
            "jina-v2-code",
            "roberta-bpe",
            "exaone4",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
        ],
        || PreRule::plain(vec![Stage::Gpt2]),
    ),
    (&["starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"], || {
        PreRule::plain(vec![Stage::Numbers { limit: 1 }, Stage::Gpt2])
    }),
    (&["falcon"], || {
        PreRule::plain(vec![isolate(r"[\p{P}$+<=>^~|`]+"), Stage::Gpt2, isolate("[0-9][0-9][0-9]")])
    }),
    (&["deepseek-llm"], || {
        let latin = format!(r"\s?[{DEEPSEEK_LETTERS}]+");
        PreRule::plain(vec![
            isolate(r"[\r\n]"),
            isolate(&latin),
            isolate(
                "\\s?[[!-/:-~\u{ff01}-\u{ff0f}\u{ff1a}-\u{ff5e}\u{2018}-\u{201f}\u{3000}-\u{3002}]&&\\S]+",
            ),
            isolate(r"\s+$"),
            isolate(CJK),
            Stage::Numbers { limit: usize::MAX },
        ])
    }),
    (&["deepseek-coder"], || {
        PreRule::plain(vec![
            isolate(r"[\r\n]"),
            isolate(r"\s?\p{L}+"),
            isolate(r"\s?\p{P}+"),
            isolate(CJK),
            Stage::Numbers { limit: 1 },
        ])
    }),
    (&["deepseek-v3", "hunyuan-dense", "hy_v4", "joyai-llm"], || {
        PreRule::plain(vec![Stage::Numbers { limit: 3 }, isolate(HAN_KANA), isolate(PUNCTUATED_WORDS)])
    }),
    (&["spark2_5"], || {
        PreRule::plain(vec![
            Stage::Numbers { limit: 3 },
            isolate(HAN_KANA),
            isolate(SPARK_WORDS),
            Stage::Numbers { limit: 1 },
        ])
    }),
    (&["afmoe"], || {
        PreRule::plain(vec![
            Stage::RightGroups { ascii: false },
            isolate(ASIAN_SCRIPTS),
            isolate(PUNCTUATED_WORDS),
        ])
    }),
    (&["poro-chat", "bloom", "gpt3-finnish"], || PreRule::plain(vec![isolate(BLOOM_WORDS)])),
    (&["viking"], || PreRule::plain(vec![isolate(BLOOM_WORDS), Stage::Numbers { limit: 1 }])),
    (&["superbpe"], || {
        PreRule::plain(vec![Stage::Numbers { limit: usize::MAX }, Stage::RightGroups { ascii: true }])
    }),
    (&["exaone-moe"], || PreRule::plain(vec![isolate(EXAONE_MOE)])),
    (&["chameleon"], || PreRule {
        add_bos: true,
        ..PreRule::plain(vec![
            isolate("<sentinel:[0-9]+>"),
            isolate("IMGIMG[A-I]{1,4}Z"),
            isolate(r"[\t\n]|    |  "),
            Stage::Numbers { limit: 1 },
            isolate(r"[\p{P}!-/:-@\[-`{-~]"),
            Stage::Gpt2,
        ])
    }),
    (&["gemma4", "granite-embed-multi-311m"], || PreRule {
        raw_utf8: true,
        newline_tokens: true,
        force_bos: true,
        ..PreRule::plain(vec![Stage::Lines])
    }),
    (&["sarvam-moe"], || PreRule { raw_utf8: true, ..PreRule::plain(vec![Stage::Lines]) }),
];

/// The rule that a name stands for.
pub(super) fn find(name: &str) -> Option<PreRule> {
    let (_, build) = RULES.iter().find(|(names, _)| names.contains(&name))?;
    Some(build())
}

/// All names, in alphabetical order.
pub(super) fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = RULES.iter().flat_map(|(names, _)| names.iter().copied()).collect();
    names.sort_unstable();
    names
}

/// White space beyond ASCII inside these ranges does not count: the reference reads it as a plain space.
const CJK: &str = "[[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]&&\\S]+";
const HAN_KANA: &str = "[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+";
const YOUTU_SCRIPTS: &str = "[\u{ac00}-\u{d7a3}\u{3131}-\u{318e}]+|[\u{ff01}\u{2026}\u{201c}\u{201d}\u{2018}\u{2019}\u{2014}\u{ff1a}\u{ff1b}\u{ff0c}\u{3001}-\u{303f}\u{fe30}-\u{fe4f}]+|[\u{3105}-\u{312f}]+|[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+";
const ASIAN_SCRIPTS: &str = "[\u{4e00}-\u{9fff}\u{3400}-\u{4dbf}\u{8c48}-\u{faff}\u{3040}-\u{309f}\u{30a0}-\u{30ff}\u{ff65}-\u{ff9f}\u{2f00}-\u{2fdf}\u{e40}-\u{e7f}\u{e80}-\u{eff}\u{1780}-\u{17ff}\u{1000}-\u{109f}\u{aa60}-\u{aa7f}\u{a9e0}-\u{a9ff}\u{ac00}-\u{d7af}\u{1100}-\u{11ff}]+";
const BLOOM_WORDS: &str = " ?[^(\\s|.,!?\u{2026}\u{3002}\u{ff0c}\u{3001}\u{964}\u{6d4}\u{60c})]+";
const PUNCTUATED_WORDS: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const SPARK_WORDS: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+"##;
const EXAONE_MOE: &str = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
const DEEPSEEK_LETTERS: &str = concat!(
    "A-Za-z\u{b5}\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{1ba}\u{1bc}-\u{1bf}\u{1c4}-\u{293}\u{295}-\u{2af}",
    "\u{370}-\u{373}\u{376}\u{377}\u{37b}-\u{37d}\u{37f}\u{386}\u{388}-\u{38a}\u{38c}\u{38e}-\u{3a1}",
    "\u{3a3}-\u{3f5}\u{3f7}-\u{481}\u{48a}-\u{52f}\u{531}-\u{556}\u{10a0}-\u{10c5}\u{13a0}-\u{13f5}",
    "\u{13f8}-\u{13fd}\u{1c90}-\u{1cba}\u{1cbd}-\u{1cbf}\u{1d00}-\u{1d2b}\u{1d6b}-\u{1d77}",
    "\u{1d79}-\u{1d9a}\u{1e00}-\u{1f15}\u{1f18}-\u{1f1d}\u{1f20}-\u{1f45}\u{1f48}-\u{1f4d}",
    "\u{1f50}-\u{1f57}\u{1f59}\u{1f5b}\u{1f5d}\u{1f5f}-\u{1f7d}\u{1f80}-\u{1fb4}\u{1fb6}-\u{1fbc}",
    "\u{1fbe}\u{1fc2}-\u{1fc4}\u{1fc6}-\u{1fcc}\u{1fd0}-\u{1fd3}\u{1fd6}-\u{1fdb}\u{1fe0}-\u{1fec}",
    "\u{1ff2}-\u{1ff4}\u{1ff6}-\u{1ffc}\u{2102}\u{2107}\u{210a}-\u{2113}\u{2115}\u{2119}-\u{211d}",
    "\u{2124}\u{2126}\u{2128}\u{212a}-\u{212d}\u{212f}-\u{2134}\u{2139}\u{213c}-\u{213f}",
    "\u{2145}-\u{2149}\u{214e}\u{2183}\u{2184}\u{2c00}-\u{2c7b}\u{2c7e}-\u{2ce4}\u{2ceb}-\u{2cee}",
    "\u{2cf2}\u{2cf3}\u{a640}-\u{a66d}\u{a680}-\u{a69b}\u{a722}-\u{a76f}\u{a771}-\u{a787}",
    "\u{a78b}-\u{a78e}\u{ab70}-\u{abbf}\u{fb00}-\u{fb06}\u{fb13}-\u{fb17}\u{ff21}-\u{ff3a}",
    "\u{ff41}-\u{ff5a}\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}",
    "\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\u{1e900}-\u{1e943}",
);

fn default_stages() -> Vec<Stage> {
    vec![
        isolate(r"[\p{P}$+<=>^~|]+"),
        Stage::Gpt2,
        Stage::Numbers { limit: usize::MAX },
        isolate("[0-9][0-9][0-9]"),
    ]
}

fn words(rules: WordRules) -> PreRule {
    PreRule::plain(vec![Stage::Words(rules)])
}

fn four_o(letters: Letters) -> WordRules {
    let tail = &['\r', '\n', '/'];
    WordRules { contractions: Contractions::Suffix, letters, tail, ..WordRules::THREE_DIGITS }
}

fn isolate(source: &str) -> Stage {
    Stage::Pattern(Pattern::builtin(source))
}

#[cfg(test)]
mod tests {
    use super::super::split::split;
    use super::*;

    #[test]
    fn every_name_builds_and_covers_text_without_loss() {
        let text =
            "Ünïcode'S 12345 世界 ½  \r\n\t x=(1+2)…\u{301}e\u{301} 가ㄱ <sentinel:1>IMGIMGABZ don't/\n\n";
        for name in names() {
            let rule = find(name).unwrap();
            let spans = split(&rule.stages, text).unwrap();
            assert_eq!(spans.iter().map(|s| s.of(text)).collect::<String>(), text, "{name}");
        }
        assert!(find("foo").is_none());
    }

    #[test]
    fn every_rule_is_near_linear_on_runs_of_one_class() {
        let n = 1 << 16;
        for name in names() {
            let rule = find(name).unwrap();
            for unit in [" ", "a", "\n", "1", ".", "A", "é", "世", "\u{301}", "a ", " \n", "  .", "1a"] {
                let text = unit.repeat(n / unit.len());
                let mut cut = 0;
                for span in split(&rule.stages, &text).unwrap() {
                    cut += span.of(&text).len();
                }
                assert_eq!(cut, text.len(), "{name} {unit:?}");
            }
        }
    }
}
