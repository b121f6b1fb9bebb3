//! The catalogue: which models have a short name, where their files are, and which program serves a family.
//!
//! The idea: one table, `catalogue.json`, built into the binary. A model family is one line of its
//! `families` (the `general.architecture` of a GGUF file, and the program that computes it), a model one
//! entry of its `models`. No Rust code names either.
//!
//! The invariant: the table is well-formed, its names are distinct, and every family it names has a program;
//! a test says so, which is why reading it cannot fail.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::sampling::SamplingParams;

/// The whole table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Name of the model that is used where none is named.
    pub default: String,
    /// From a GGUF file's `general.architecture` to the path of the program in the library.
    pub families: BTreeMap<String, String>,
    /// The models, the default one first.
    pub models: Vec<Entry>,
}

/// A model with a short name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The short name.
    pub name: String,
    /// Other names of the same entry.
    pub aliases: Vec<String>,
    /// Name for people, with the quantization.
    pub title: String,
    /// Licence of the weights.
    pub licence: String,
    /// `general.architecture` of the file, a key of [`Catalogue::families`].
    pub architecture: String,
    /// Name of the file, in the repository and in the cache.
    pub file: String,
    /// Size of the file in bytes, where it is known.
    pub size: Option<u64>,
    /// SHA-256 of the file in lower-case hexadecimal, where it is known.
    pub sha256: Option<String>,
    /// The Hugging Face repository.
    pub hub: HubSource,
    /// A Python wheel that holds the same file.
    pub wheel: Option<WheelSource>,
    /// The sampling that the model's authors recommend.
    pub sampling: RecommendedSampling,
}

/// A repository of Hugging Face that holds an entry's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubSource {
    /// OWNER/REPO.
    pub repo: String,
    /// Commit, branch or tag.
    #[serde(default = "main_branch")]
    pub revision: String,
}

/// A wheel on the Python package index that holds an entry's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WheelSource {
    /// Name of the project.
    pub project: String,
    /// Exact version.
    pub version: String,
    /// Path of the file inside the wheel.
    pub path: String,
    /// Size of the wheel in bytes, for the progress bar.
    pub size: u64,
}

/// Recommended sampling: the fields that differ from the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecommendedSampling {
    /// Temperature.
    pub temperature: Option<f32>,
    /// Nucleus size.
    pub top_p: Option<f32>,
    /// Seed, where a first answer is to be one that can be repeated.
    pub seed: Option<u64>,
}

impl RecommendedSampling {
    /// The default parameters, with the recommended ones in place.
    pub fn params(&self) -> SamplingParams {
        let mut params = SamplingParams::default();
        params.temperature = self.temperature.unwrap_or(params.temperature);
        params.top_p = self.top_p.unwrap_or(params.top_p);
        params.seed = self.seed;
        params
    }
}

impl Catalogue {
    /// The built-in table.
    pub fn get() -> &'static Catalogue {
        static TABLE: LazyLock<Catalogue> = LazyLock::new(|| {
            serde_json::from_str(include_str!("catalogue.json")).expect("a test reads the built-in catalogue")
        });
        &TABLE
    }

    /// The model that is used where none is named.
    pub fn default_entry(&self) -> &Entry {
        self.find(&self.default).expect("a test finds the default model")
    }

    /// The entry of a name or an alias; upper and lower case are the same.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.models.iter().find(|entry| entry.names().any(|known| known.eq_ignore_ascii_case(name)))
    }

    /// The entry whose file has this SHA-256, to find the recommended sampling of a file at a path.
    pub fn find_by_sha256(&self, sha256: &str) -> Option<&Entry> {
        self.models.iter().find(|entry| entry.sha256.as_deref() == Some(sha256))
    }

    /// The entry whose file has this name, in the same letters.
    pub fn find_by_file(&self, file: &str) -> Option<&Entry> {
        self.models.iter().find(|entry| entry.file == file)
    }

    /// The library program that computes models of a `general.architecture`.
    pub fn program_of(&self, architecture: &str) -> Option<&str> {
        self.families.get(architecture).map(String::as_str)
    }

    /// The known name nearest to a mistyped one, if any is near.
    pub fn suggest(&self, name: &str) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        let all = self.models.iter().flat_map(Entry::names);
        let near = all.map(|known| (edit_distance(&name, known), known));
        let within = near.filter(|(distance, known)| {
            let prefix = name.len() >= 3 && known.starts_with(&name);
            prefix || *distance <= 1 + known.len().min(name.len()) / 4
        });
        within.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
    }
}

impl Entry {
    /// The name, then the aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.aliases.iter().map(String::as_str))
    }
}

fn main_branch() -> String {
    "main".to_owned()
}

/// Levenshtein's distance between two strings, in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // A name of a megabyte is not near to any known one; the cap bounds the work.
    for (i, x) in a.chars().take(256).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_table_is_well_formed() {
        let table = Catalogue::get();
        let mut names = HashSet::new();
        for entry in &table.models {
            for name in entry.names() {
                assert!(names.insert(name.to_ascii_lowercase()), "{name} stands twice");
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
                assert!(name.chars().all(plain), "{name}: names are typed, so they are plain");
            }
            assert!(table.program_of(&entry.architecture).is_some(), "{}: no program", entry.name);
            assert!(entry.file.ends_with(".gguf"));
            if let Some(sha256) = &entry.sha256 {
                assert!(sha256.len() == 64 && sha256.bytes().all(|b| b"0123456789abcdef".contains(&b)));
                assert!(entry.size.is_some(), "{}: a known file has a known size", entry.name);
            }
            assert!(entry.wheel.is_none() || entry.sha256.is_some(), "{}: a wheel needs a hash", entry.name);
            entry.sampling.params().check().unwrap();
        }
        assert_eq!(table.default_entry().name, "smollm2-135m");
    }

    #[test]
    fn the_default_model_carries_its_sampling() {
        let params = Catalogue::get().default_entry().sampling.params();
        assert_eq!((params.temperature, params.top_p, params.top_k), (0.2, 0.9, 40));
        assert!(params.seed.is_some(), "a first chat says what the README says");
    }

    #[test]
    fn names_are_found_in_any_case_and_mistyped_ones_suggested() {
        let table = Catalogue::get();
        assert_eq!(table.find("SmolLM2-135M-Instruct").map(|e| e.name.as_str()), Some("smollm2-135m"));
        assert_eq!(table.suggest("smolm2-135m"), Some("smollm2-135m"));
        assert_eq!(table.suggest("smollm2-135"), Some("smollm2-135m"));
        assert_eq!(table.suggest("Tinylama"), Some("tinyllama"));
        assert_eq!(table.suggest("weather"), None);
        assert_eq!(table.suggest(""), None);
        assert_eq!(table.suggest(&"x".repeat(1 << 20)), None);
    }

    #[test]
    fn edit_distance_counts_edits() {
        for (a, b, n) in [("", "", 0), ("", "ab", 2), ("kitten", "sitting", 3), ("flaw", "lawn", 2)] {
            assert_eq!(edit_distance(a, b), n, "{a} {b}");
        }
    }
}
