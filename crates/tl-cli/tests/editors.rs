//! The grammar for editors knows the language's keywords, no more and no fewer, and its rules are rules that exist.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tl_syntax::SyntaxKind;

fn json(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../editors/vscode").join(path);
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()
}

#[test]
fn the_keywords_are_those_of_the_lexer() {
    let grammar = json("syntaxes/tensorlogic.tmLanguage.json");
    let rules = grammar["repository"]["keywords"]["patterns"].as_array().unwrap();
    let mut found = BTreeSet::new();
    for rule in rules {
        let pattern = rule["match"].as_str().unwrap();
        let words = pattern.strip_prefix(r"\b(").and_then(|rest| rest.strip_suffix(r")\b")).expect(pattern);
        for word in words.split('|') {
            assert!(found.insert(word), "{word} is coloured twice");
        }
    }
    assert_eq!(found, SyntaxKind::keywords().collect());
}

#[test]
fn every_rule_that_is_included_exists() {
    let grammar = json("syntaxes/tensorlogic.tmLanguage.json");
    let mut pending = vec![&grammar];
    let mut count = 0;
    while let Some(value) = pending.pop() {
        match value {
            Value::Object(map) => {
                if let Some(name) = map.get("include").and_then(Value::as_str) {
                    let name = name.strip_prefix('#').expect(name);
                    assert!(grammar["repository"].get(name).is_some(), "{name}");
                    count += 1;
                }
                pending.extend(map.values());
            }
            Value::Array(items) => pending.extend(items),
            _ => {}
        }
    }
    assert!(count > 5);
}

#[test]
fn the_extension_names_files_that_exist() {
    let contributes = &json("package.json")["contributes"];
    let grammar = &contributes["grammars"][0];
    assert_eq!(json(grammar["path"].as_str().unwrap())["scopeName"], grammar["scopeName"]);
    let language = &contributes["languages"][0];
    assert!(json(language["configuration"].as_str().unwrap()).is_object());
    assert_eq!((&language["id"], &language["extensions"][0]), (&grammar["language"], &Value::from(".tl")));
}
