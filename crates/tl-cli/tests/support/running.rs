//! Running `tl` as a person or a program does, and the real model for tests that need it.
//!
//! Invariant: a test writes into a folder of its own and nowhere else; without `TL_TEST_OFFLINE` the model is fetched by the program itself.

#![allow(dead_code, reason = "each test uses a part")]

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The name of the default model.
pub const MODEL: &str = "smollm2-135m";

/// The folder of the whole project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// The output as JSON, of a command that succeeded.
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "{}", self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e} in {}", self.out))
    }

    /// Asserts the exit code and that the message holds all of these; gives it.
    #[track_caller]
    pub fn fails(&self, code: i32, parts: &[&str]) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "{part:?} in {:?}", self.err);
        }
        &self.err
    }
}

/// The program, not coloured.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tl"));
    command.env("NO_COLOR", "1");
    command
}

/// Runs `tl` with these arguments and nothing to read.
pub fn tl<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    tl_reading(args, b"")
}

/// Runs `tl` with these arguments and this standard input.
pub fn tl_reading<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, input: &[u8]) -> Ran {
    let mut child = command()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails early does not read.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Whether tests of the real model are to be left out; says how many, past the capture of the test runner.
pub fn left_out(tests: usize, what: &str) -> bool {
    let offline = std::env::var_os("TL_TEST_OFFLINE").is_some_and(|value| !value.is_empty() && value != "0");
    if offline {
        let _ = writeln!(std::io::stderr(), "left out (TL_TEST_OFFLINE): {tests} {what}");
    }
    offline
}

/// The real model's file, fetched once; `None` if tests of it are left out, which is said once: `tests` is how many there are.
pub fn real_model(tests: usize) -> Option<&'static Path> {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let fetch = || {
        if left_out(tests, "tests of the real model") {
            return None;
        }
        let ran = tl(["pull", MODEL]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        Some(PathBuf::from(ran.out.trim_end()))
    };
    FILE.get_or_init(fetch).as_deref()
}

/// Held by a test while it computes with the real model: one at a time has all threads of the machine.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder that is removed again.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tl-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file; gives its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The library's decoder with a piece of its text replaced.
pub fn changed_decoder(from: &str, to: &str) -> String {
    let text = std::fs::read_to_string(root().join("lib/models/llama.tl")).unwrap();
    assert!(text.contains(from), "the library's file has {from:?}");
    text.replace(from, to)
}
