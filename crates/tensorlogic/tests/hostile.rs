//! Hostile programs: each is answered with a result or with errors that say where, and neither stops the process nor exhausts its memory.
//!
//! The cases are numbered, and each has a test of its name. Learning and the language server have none yet: `learn` is refused before it
//! runs, and there is no server.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tensorlogic::error::Error;
use tensorlogic::interpreter::CapturedHost;
use tensorlogic::loader::{DiskLoader, Loader, MemoryLoader};
use tensorlogic::{Engine, Interpreter};
use tl_syntax::codes;

/// What came of a program.
#[derive(Debug)]
struct Answer {
    output: String,
    /// The codes of warnings.
    warnings: Vec<&'static str>,
    /// Codes, messages with notes and hints, and the texts that are underlined.
    errors: Vec<(&'static str, String, String)>,
}

impl Answer {
    /// There is one error, of this code, whose text and underlined place hold these pieces.
    #[track_caller]
    fn refuses(&self, code: &str, place: &str, pieces: &[&str]) {
        let [(found, text, at)] = &self.errors[..] else { panic!("not one error: {self:?}") };
        assert_eq!(*found, code, "{self:?}");
        assert_eq!(at, place, "the underlined place of: {text}");
        for piece in pieces {
            assert!(text.contains(piece), "`{piece}` is not in: {text}");
        }
    }

    /// There are errors, the first of this code, and each says where.
    #[track_caller]
    fn begins_with(&self, code: &str) {
        let first = self.errors.first().map(|(code, ..)| *code);
        assert_eq!(first, Some(code), "{:.2000?}", format!("{self:?}"));
    }

    #[track_caller]
    fn prints(&self, output: &str) {
        assert!(self.errors.is_empty(), "{self:?}");
        assert_eq!(self.output.trim_end(), output);
    }
}

fn run(text: &str) -> Answer {
    run_with(text, Arc::new(MemoryLoader::default()))
}

fn run_with(text: &str, loader: Arc<dyn Loader>) -> Answer {
    let host = CapturedHost::new();
    let mut interpreter = Interpreter::new(Engine::cpu_with_threads(2), loader, Box::new(host.clone()));
    let result = interpreter.run("hostile.tl", text);
    let warnings = interpreter.take_warnings().iter().map(|w| w.code).collect();
    let mut errors = Vec::new();
    if let Err(error) = result {
        let Error::Program(found) = error else { panic!("an error of the world: {error}") };
        for diagnostic in &found.list {
            let span = diagnostic.primary_span().filter(|span| !span.is_none());
            let span = span.unwrap_or_else(|| panic!("no place: {}", diagnostic.message));
            let source = found.sources.get(span.source).expect("the place lies in a source");
            let rest = diagnostic.notes.iter().chain(&diagnostic.helps).map(|text| format!("\n{text}"));
            let text = format!("{}{}", diagnostic.message, rest.collect::<String>());
            errors.push((diagnostic.code, text, source.slice(span).to_owned()));
        }
    }
    Answer { output: host.take_output(), warnings, errors }
}

fn nested(open: &str, inner: &str, close: &str, times: usize) -> String {
    format!("print({}{inner}{})", open.repeat(times), close.repeat(times))
}

#[test]
fn case_01_nested_parentheses() {
    run(&nested("(", "1", ")", 100_000)).begins_with(codes::NESTING_LIMIT);
    run(&nested("(", "1", ")", 200)).prints("1");
}

#[test]
fn case_02_nested_brackets_blocks_and_comments() {
    run(&nested("[", "1", "]", 100_000)).begins_with(codes::NESTING_LIMIT);
    run(&nested("{ ", "1", " }", 100_000)).begins_with(codes::NESTING_LIMIT);
    run(&format!("{}{}", "/*".repeat(100_000), "*/".repeat(100_000))).begins_with(codes::COMMENT_NESTING);
    let blocks = run(&"if true { ".repeat(100_000));
    assert!(blocks.errors.iter().any(|(code, ..)| *code == codes::NESTING_LIMIT), "{blocks:?}");
}

#[test]
fn case_03_a_flat_chain_of_sums() {
    run(&format!("print(1{})", " + 1".repeat(100_000))).prints("100001");
}

#[test]
fn case_04_unary_minus() {
    run(&format!("print({}1)", "-".repeat(100_000))).begins_with(codes::NESTING_LIMIT);
}

#[test]
fn case_05_what_is_never_closed_is_shown_where_it_opens() {
    run("print(1)\nlet x = \"abc").refuses(codes::UNTERMINATED_STRING, "\"", &[]);
    run("print(1)\n/* a").refuses(codes::UNTERMINATED_COMMENT, "/*", &[]);
    run("print(1)\nprint([1, 2").begins_with(codes::UNCLOSED_BRACKET);
}

#[test]
fn case_06_numbers_out_of_range() {
    run(&format!("print({})", "9".repeat(400))).begins_with(codes::NUMBER_OUT_OF_RANGE);
    run("print(1e999)").refuses(codes::NUMBER_OUT_OF_RANGE, "1e999", &[]);
}

#[test]
fn case_07_sizes_of_texts() {
    let large = |interpreter: &mut Interpreter, text: &str| interpreter.run("large.tl", text).is_err();
    let host = CapturedHost::new();
    let mut interpreter =
        Interpreter::new(Engine::scalar(), Arc::new(MemoryLoader::default()), Box::new(host));
    assert!(large(&mut interpreter, &" ".repeat(100 << 20)));
    assert!(large(&mut interpreter, &format!("let x = \"{}\"", "a".repeat(100 << 20))));
    run(&format!("let {} = 1", "a".repeat(1 << 20))).begins_with(codes::NAME_TOO_LONG);
}

#[test]
fn case_08_bytes_that_are_no_text() {
    let files = MemoryLoader::new([("bad.tl", b"let x = \"\xff\"".to_vec())]);
    run_with("import \"bad.tl\"", Arc::new(files)).refuses(codes::NOT_UTF8, "\"bad.tl\"", &["UTF-8", "9"]);
    run("print(1)\0").begins_with(codes::NUL_BYTE);
}

#[test]
fn case_09_byte_order_marks_and_line_ends() {
    run("\u{feff}print(1)\r\n\tprint(2)").prints("1\n2");
    run("\u{feff}\r\nprint(nothing_of_it)").refuses(codes::UNKNOWN_NAME, "nothing_of_it", &[]);
}

#[test]
fn case_10_names_that_look_like_others() {
    let confused = run("let a = 1\nlet \u{430} = 2\nprint(a + \u{430})");
    assert!(confused.warnings.contains(&codes::CONFUSABLE_NAME), "{confused:?}");
    let invisible = run("let x = 1 // \u{202e}");
    assert!(invisible.warnings.contains(&codes::INVISIBLE_CHARACTER), "{invisible:?}");
}

#[test]
fn case_11_nothing_to_do() {
    run("").prints("");
    run("// only this\n/* and /* this */ */").prints("");
}

#[test]
fn case_12_numbers_at_their_edges() {
    run("for i in 1..2 { print(i) }").prints("1");
    run("print(1.e5)").begins_with(codes::MALFORMED_NUMBER);
    run("print(0x)").begins_with(codes::MALFORMED_NUMBER);
    run("print(1_)").begins_with(codes::MALFORMED_NUMBER);
    run("print(1__0)").begins_with(codes::MALFORMED_NUMBER);
    run("print(.5)").begins_with(codes::EXPECTED_TOKEN);
    run("print(1_0, 0x1f)").prints("10 31");
}

#[test]
fn case_13_a_tensor_that_fits_nowhere() {
    let answer = run("dim i = 10000000000, j = 10000000000\nX[i, j] = 1\nX?");
    assert!(!answer.errors.is_empty(), "{answer:?}");
    run("dim i = 100000, j = 100000\nX[i, j] = i + j\nprint(X)").begins_with(codes::RUN_FAILED);
}

#[test]
fn case_14_a_size_whose_product_wraps() {
    let answer = run("dim i = 4294967296, j = 4294967296, k = 2\nX[i, j, k] = 1\nX?");
    assert!(!answer.errors.is_empty(), "{answer:?}");
}

#[test]
fn case_15_sizes_that_are_none() {
    run("dim i = -1\nX[i] = 1\nX?").refuses(codes::BAD_SIZE, "-1", &[]);
    run("dim i = 2.5\nX[i] = 1\nX?").refuses(codes::BAD_SIZE, "2.5", &[]);
    run("dim i = 0\nX[i] = 1\nX?").prints("X = []");
}

#[test]
fn case_16_one_index_with_two_sizes() {
    run("A = [1, 2]\nB = [1, 2, 3]\nC[i] = A[i] * B[i]\nC?").refuses(codes::SIZE_MISMATCH, "i", &["2", "3"]);
}

#[test]
fn case_17_an_index_that_nothing_binds() {
    run("X = [1, 2]\nY[i, j] = X[i]\nY?").refuses(codes::UNBOUND_INDEX, "j", &["dim j"]);
}

#[test]
fn case_18_a_diagonal() {
    run("X = [1, 2]\nY[i, i] = X[i]\nY?").prints("Y = [[1, 0],\n     [0, 2]]");
}

#[test]
fn case_19_thirty_operands() {
    let names: Vec<String> = (0..30).map(|k| format!("M{k}")).collect();
    let definitions: Vec<String> =
        names.iter().enumerate().map(|(k, name)| format!("{name}[a{k}, b{k}] = [[1, 2], [3, 4]]")).collect();
    let factors: Vec<String> =
        names.iter().enumerate().map(|(k, name)| format!("{name}[i{k}, i{}]", k + 1)).collect();
    let text = format!("{}\nY[i0, i30] = {}\nprint(Y[0, 0] > 1)", definitions.join("\n"), factors.join(" "));
    run(&text).prints("true");
    // Sixty indices in thirty operands that share none: each is summed before anything is joined.
    let apart: Vec<String> =
        names.iter().enumerate().map(|(k, name)| format!("{name}[i{k}, j{k}]")).collect();
    run(&format!(
        "{}\nY = sum[{}]({})\nprint(Y > 1)",
        definitions.join("\n"),
        (0..30).map(|k| format!("i{k}, j{k}")).collect::<Vec<_>>().join(", "),
        apart.join(" ")
    ))
    .prints("true");
    // Kept, they are a tensor of 2^60 elements.
    let left = (0..30).map(|k| format!("i{k}, j{k}")).collect::<Vec<_>>().join(", ");
    let kept = run(&format!("{}\nY[{left}] = {}\nprint(Y)", definitions.join("\n"), apart.join(" ")));
    assert!(!kept.errors.is_empty(), "{kept:?}");
}

#[test]
fn case_20_reads_outside() {
    run("X = [1, 2, 3]\nY[i] = X[i + 1]\ndim i = 3\nY?").prints("Y = [2, 3, 0]");
    let answer = run("X = [1, 2, 3]\nY[i] = X[i + 9223372036854775807]\ndim i = 3\nY?");
    assert!(answer.errors.len() == 1 || answer.output.starts_with("Y = [0, 0, 0]"), "{answer:?}");
}

#[test]
fn case_21_results_that_are_no_numbers() {
    run("print(1 / 0, log(0), sqrt(-1))").prints("inf -inf nan");
    run("X = [1, 2]\nY[i.] = softmax(X[i]) where i > 5\nY?").prints("Y = [0, 0]");
    run("dim i = 0\nX[i] = 1\nY = sum[i](X[i])\nY?").prints("Y = 0");
    let nothing = run("print(argmax([]))");
    assert!(!nothing.errors.is_empty(), "{nothing:?}");
}

#[test]
fn case_22_a_recursion_without_a_beginning() {
    run("f[n] = f[n + 1]\nlet x = f[0]\nprint(x)").begins_with(codes::NO_BEGINNING);
    run("f[n + 1] = 2 * f[n]\nlet x = f[3]\nprint(x)").begins_with(codes::NO_BEGINNING);
}

#[test]
fn case_23_numbers_without_end() {
    run("Nat(0)\nNat(n + 1) <- Nat(n)\nNat?").refuses(codes::GROWS, "n + 1", &["`Nat`"]);
}

#[test]
fn case_24_a_negation_of_itself() {
    run("P(x) <- Q(x), not P(x)\nQ(\"a\")\nP?").refuses(codes::NOT_STRATIFIED, "P(x)", &["P → not P"]);
    run("P(x) <- Q(x), not R(x)\nR(x) <- S(x)\nS(x) <- P(x)\nQ(\"a\")\nP?").refuses(
        codes::NOT_STRATIFIED,
        "R(x)",
        &["P → not R → S → P"],
    );
}

#[test]
fn case_25_fixpoints_that_are_none() {
    run("x = 2 * x + 1 until change < 1e-6\nx?").begins_with(codes::NOT_SETTLED);
    run("x = 1 - x until change < 1e-6\nx?").begins_with(codes::NOT_SETTLED);
    run("x = 2 * x + 1\nx?").begins_with(codes::CYCLIC_DEFINITION);
}

#[test]
fn case_26_a_circle_of_definitions() {
    run("a = b\nb = a\na?").refuses(codes::CYCLIC_DEFINITION, "b", &["a → b → a"]);
}

#[test]
fn case_27_rules_that_are_not_safe() {
    run("P(x, y) <- Q(x)\nQ(\"a\")\nP?").begins_with(codes::UNBOUND_INDEX);
    run("P(x) <- Q(x), not R(x, y)\nQ(\"a\")\nR(\"a\", \"b\")\nP?").begins_with(codes::UNBOUND_INDEX);
}

#[test]
fn case_28_a_relation_of_two_shapes() {
    run("P(\"a\")\nP(\"a\", \"b\")\nP?").begins_with(codes::INDEX_COUNT);
    run("P(\"a\")\nP(1)\nP?").begins_with(codes::BAD_INDEX);
}

#[test]
fn case_29_a_cross_product_of_millions() {
    let text = "dim n = 1000000\nA(n) <- n >= 0\nB(n) <- n >= 0\nC(x, y) <- A(x), B(y)\nprint(sum(C))";
    let answer = run(text);
    assert!(!answer.errors.is_empty(), "{:.500}", answer.output);
}

#[test]
fn case_30_imports_in_a_circle() {
    let files = MemoryLoader::new([("a.tl", "import \"b.tl\""), ("b.tl", "import \"a.tl\"")]);
    run_with("import \"a.tl\"", Arc::new(files)).begins_with(codes::IMPORT_CYCLE);
    let own = MemoryLoader::new([("a.tl", "import \"a.tl\"")]);
    run_with("import \"a.tl\"", Arc::new(own)).begins_with(codes::IMPORT_CYCLE);
}

#[test]
fn case_31_very_many_imports() {
    let chain = (0..10_000).map(|k| (format!("f{k}.tl"), format!("import \"f{}.tl\"", k + 1)));
    run_with("import \"f0.tl\"", Arc::new(MemoryLoader::new(chain))).begins_with(codes::IMPORT_LIMIT);
    let all: String = (0..40).map(|k| format!("import \"f{k}.tl\"\n")).collect();
    let many = (0..40).map(|k| (format!("f{k}.tl"), format!("import \"g.tl\"\nlet x{k} = {k}\n")));
    let many = many.chain([("g.tl".to_owned(), "print(\"once\")".to_owned())]);
    run_with(&all, Arc::new(MemoryLoader::new(many))).prints("once");
}

#[test]
fn case_32_imports_from_outside() {
    let folder = std::env::temp_dir().join(format!("tl-hostile-{}", std::process::id()));
    let inner = folder.join("project");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(folder.join("secret.tl"), "print(\"secret\")").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.join("secret.tl"), inner.join("link.tl")).unwrap();
    let loader: Arc<dyn Loader> = Arc::new(DiskLoader::new(&inner));
    let paths = ["../secret.tl", "../../etc/passwd", "/etc/passwd", "~/x.tl", "a/../../secret.tl", "link.tl"];
    let others = ["\\\\\\\\host\\\\x.tl", "http://localhost/x.tl", "a\\u{0}b.tl", "C:\\\\x.tl"];
    for path in paths.iter().chain(&others) {
        let answer = run_with(&format!("import \"{path}\""), Arc::clone(&loader));
        assert!(!answer.errors.is_empty() && !answer.output.contains("secret"), "{path}: {answer:?}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn case_33_data_from_outside() {
    let folder = std::env::temp_dir().join(format!("tl-hostile-data-{}", std::process::id()));
    let inner = folder.join("project");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(folder.join("secret.csv"), "1,2\n").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/dev/zero", inner.join("zero.txt")).unwrap();
    let loader: Arc<dyn Loader> = Arc::new(DiskLoader::new(&inner));
    for path in ["../secret.csv", "/etc/passwd.txt", "/dev/zero.txt", "zero.txt", ".", "missing.csv", "x.exe"]
    {
        for statement in [format!("print(file(\"{path}\"))"), format!("file(\"../{path}\") = 1")] {
            let answer = run_with(&statement, Arc::clone(&loader));
            assert!(!answer.errors.is_empty(), "{statement}: {answer:?}");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn case_34_broken_tables() {
    let read = |text: &str| {
        let files = MemoryLoader::new([("t.csv", text)]);
        run_with("print(file(\"t.csv\"))", Arc::new(files))
    };
    read("1,2\n3\n").refuses(codes::CALL_FAILED, "file(\"t.csv\")", &["row 2"]);
    read("a,b\n1,2\n3,x\n").refuses(codes::CALL_FAILED, "file(\"t.csv\")", &["row 3", "column 2"]);
    read("a,\"b\n1,2\n").refuses(codes::CALL_FAILED, "file(\"t.csv\")", &["row 1"]);
    assert!(read("").errors.is_empty());
    assert!(read("a,b\n").errors.is_empty());
    read(&format!("1,2\n3,{}\n", "9".repeat(1 << 20))).refuses(
        codes::CALL_FAILED,
        "file(\"t.csv\")",
        &["row 2"],
    );
}

#[test]
fn case_35_a_model_that_is_none() {
    let folder = std::env::temp_dir().join(format!("tl-hostile-model-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let header = b"GGUF\x03\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0";
    for (name, bytes) in [("empty.gguf", &b""[..]), ("short.gguf", b"GGUF\x03"), ("many.gguf", header)] {
        std::fs::write(folder.join(name), bytes).unwrap();
        let loader = Arc::new(DiskLoader::new(&folder));
        let answer = run_with(&format!("let m = load_model(\"{name}\")\nprint(m)"), loader);
        assert_eq!(answer.errors.len(), 1, "{name}: {answer:?}");
        assert_eq!(answer.errors[0].0, codes::CALL_FAILED, "{name}: {answer:?}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn case_36_names_that_are_wrong() {
    run("let value = 1\nprint(valeu)").refuses(codes::UNKNOWN_NAME, "valeu", &["did you mean `value`"]);
    run("print(softmx([1]))").refuses(codes::UNKNOWN_FUNCTION, "softmx", &["did you mean `softmax`"]);
    run("fn f(x) = x\nfn f(x) = 2 * x\nprint(f(1))").begins_with(codes::DEFINED_TWICE);
    run("fn f(x) = x\nprint(f(1, 2))").begins_with(codes::ARGUMENT_COUNT);
    run("fn softmax(x) = 7\nprint(softmax(1))").prints("7");
}

#[test]
fn case_37_learning_is_refused_before_it_runs() {
    run("X = [1]\nparam W[i] = 0\nprint(1)").begins_with(codes::NOT_AVAILABLE);
}

#[test]
fn case_38_escapes_of_a_terminal() {
    run("print(\"a\\u{1b}[31mb\")").prints("a\\u{1b}[31mb");
}

#[test]
fn case_39_an_interruption_ends_an_endless_script() {
    let host = CapturedHost::new();
    let flag = Arc::clone(host.interrupt_flag());
    let mut interpreter =
        Interpreter::new(Engine::cpu_with_threads(1), Arc::new(MemoryLoader::default()), Box::new(host));
    let waiting = std::thread::spawn(move || flag.store(true, Ordering::Relaxed));
    let result = interpreter.run("endless.tl", "let i = 0\nwhile true { i := i + 1 }");
    waiting.join().unwrap();
    let Err(Error::Program(found)) = result else { panic!("{result:?}") };
    let code = found.list[0].code;
    assert!([codes::INTERRUPTED, codes::STEP_LIMIT].contains(&code), "{code}");
}
