//! Checking whole programs: imports, names, and what is found without data.

mod support;

use std::collections::BTreeMap;

use support::{findings, library, show};
use tl_sema::{Importer, check};
use tl_syntax::{Source, SourceMap};

/// Files by name.
struct Files<'s> {
    files: BTreeMap<&'static str, &'static str>,
    sources: &'s mut SourceMap,
}

impl Importer for Files<'_> {
    fn import(&mut self, path: &str, _: &Source) -> Result<Source, String> {
        let text = self.files.get(path).ok_or("there is no such file")?;
        self.sources.add(path, *text).map_err(|e| e.to_string())
    }
}

fn findings_of(files: &[(&'static str, &'static str)]) -> String {
    let mut sources = SourceMap::new();
    let library = library(&mut sources);
    let (name, text) = files[0];
    let entry = sources.add(name, text).unwrap();
    let mut importer = Files { files: files.iter().copied().collect(), sources: &mut sources };
    let checked = check(&entry, &mut importer, &library);
    show(&checked.diagnostics, &sources)
}

#[test]
fn functions_of_imported_files_are_known() {
    let main = "import \"layers.tl\"\nfn f(x[d]) -> y[d] { y[d] = twice(x[d]) }";
    assert_eq!(findings_of(&[("main.tl", main), ("layers.tl", "fn twice(x) = 2 * x")]), "");
    let found = findings_of(&[("main.tl", main), ("layers.tl", "fn twice(x) = 2 * y")]);
    assert_eq!(found, "E0301 at `y`: `y` is not defined");
}

#[test]
fn imports_that_fail_or_go_round_are_shown() {
    let found = findings_of(&[("main.tl", "import \"none.tl\"")]);
    assert!(
        found.starts_with("E0801 at `\"none.tl\"`") && found.contains("there is no such file"),
        "{found}"
    );
    let found = findings_of(&[("a.tl", "import \"b.tl\""), ("b.tl", "import \"a.tl\"")]);
    assert!(found.starts_with("E0802 at `\"a.tl\"`"), "{found}");
    let found = findings_of(&[("a.tl", "import \"a.tl\"")]);
    assert!(found.starts_with("E0802"), "{found}");
    let twice =
        [("a.tl", "import \"b.tl\"\nimport \"c.tl\""), ("b.tl", "import \"c.tl\""), ("c.tl", "fn f(x) = x")];
    assert_eq!(findings_of(&twice), "", "a file that is imported twice is read once");
}

#[test]
fn all_errors_are_found_not_the_first_alone() {
    let found = findings("fn f(x[d]) -> y[d] { y[d] = x[d] + z[d]\n u[d] = sofmax(x[d]) }\nfn g(x) = x + q");
    let codes: Vec<&str> = found.lines().map(|line| &line[..5]).collect();
    assert_eq!(codes, ["E0301", "E0303", "E0301"], "{found}");
}

#[test]
fn a_slip_gets_a_suggestion() {
    let mut sources = SourceMap::new();
    let library = library(&mut sources);
    let source = sources.add("t.tl", "fn f(x[d]) -> y[d] { y[d] = rms_nrom(x[d.]) }").unwrap();
    let checked = check(&source, &mut support::NoImports, &library);
    let helps: Vec<&String> = checked.diagnostics.iter().flat_map(|d| &d.helps).collect();
    assert!(helps.iter().any(|h| h.contains("did you mean `rms_norm`?")), "{helps:?}");
}

#[test]
fn two_functions_of_one_name_are_an_error_but_the_library_may_be_replaced() {
    let found = findings("fn f(x) = x\nfn f(x) = 2 * x");
    assert_eq!(found, "E0302 at `f`: the function `f` is defined twice [the first definition at `f`]");
    assert_eq!(findings("fn silu(x) = x"), "");
}

#[test]
fn calls_are_matched_with_their_parameters() {
    let with = |call: &str| findings(&format!("fn g(a, b = 2) = a + b\nfn f(x) = {call}"));
    assert_eq!(with("g(x)"), "");
    assert_eq!(with("g(x, b: 3)"), "");
    assert!(with("g(x, 1, 2)").contains("E0304 at `2`: `g` takes 2 arguments at most"));
    assert!(with("g(b: 1)").contains("E0304 at `g`: `g` needs an argument for `a`"));
    assert!(with("g(x, c: 1)").contains("E0304 at `c`: `g` has no parameter `c`"));
    assert!(with("g(x, a: 1)").contains("E0304 at `a`: `a` is given twice"));
    assert!(with("exp(x, 1)").contains("E0304 at `exp`: `exp` takes 1 argument, not 2"));
}

#[test]
fn equations_of_scripts_are_checked_with_the_names_around_them() {
    assert_eq!(findings("let k = 2\nfor i in 0..3 { print(i) }\nY[i] = k * [1, 2]"), "");
    assert_eq!(findings("Y[i] = k2 * i\nlet k = 2").lines().count(), 1);
    assert_eq!(findings("Parent(\"Alice\", \"Bob\")\nGrand(x, z) <- Parent(x, y), Parent(y, z)"), "");
}

#[test]
fn an_index_that_occurs_once_is_a_warning() {
    let found = findings("fn f(x[d], W[d, e]) -> y[e] { y[e] = x[d] W[f, e] }");
    let codes: Vec<&str> = found.lines().map(|line| &line[..5]).collect();
    assert_eq!(codes, ["W0450", "W0450"], "{found}");
    assert_eq!(findings("fn f(x[d]) -> [] = sum[d](x[d])"), "");
    assert_eq!(findings("fn f(x[d, e]) -> y[d] { y[d] = x[d, _] }"), "", "`_` says that it is meant");
}

#[test]
fn sizes_that_contradict_without_data_are_found() {
    let found = findings(
        "fn f(m, tok[p]) -> logits[p, v] { dim v = 3, d = 4\n x[p, d] = tok[p] * d\n logits[p, v] = x[p, v] }",
    );
    assert!(found.contains("E0401 at `v`"), "{found}");
}
