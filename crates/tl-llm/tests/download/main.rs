//! Downloads against a local HTTP server and a stand-in for pip: every way in which a source can fail, and
//! that none of them leaves a half file, leaks the token or hangs.

mod cached;
mod hub;
mod server;
#[cfg(unix)]
mod wheel;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tl_llm::download::{Attempt, Failure, FetchError, FetchOptions, Timeouts, resolve};

use server::Server;

/// A folder of its own for a test, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tl-download-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Settings for a test: short waits, no proxy, no Python.
fn options(folder: &Folder, endpoint: &str) -> FetchOptions {
    let mut options = FetchOptions::with_cache(&folder.0);
    options.endpoint = endpoint.to_owned();
    options.pythons = Vec::new();
    let long = Duration::from_secs(20);
    options.timeouts = Timeouts { lookup: long, connect: long, answer: long, stall: long };
    options
}

const SPEC: &str = "hf:owner/repo/dir/model.gguf";

/// Where `SPEC` goes in the cache.
fn target(folder: &Folder) -> PathBuf {
    folder.0.join("models/hf/owner/repo/main/dir/model.gguf")
}

fn get(options: &FetchOptions) -> Result<PathBuf, FetchError> {
    resolve(SPEC, options, &mut |_| {})
}

/// `get` from a server, with the cache in `folder`.
fn get_from(server: &Server, folder: &Folder) -> Result<PathBuf, FetchError> {
    get(&options(folder, &server.url()))
}

fn attempts(result: Result<PathBuf, FetchError>) -> Vec<Attempt> {
    match result {
        Err(FetchError::Unavailable { attempts, .. }) => attempts,
        other => panic!("expected a list of failed sources, got {other:?}"),
    }
}

/// The failure of the last source.
fn last_failure(result: Result<PathBuf, FetchError>) -> Failure {
    attempts(result).pop().unwrap().failure
}

/// A body that looks like a GGUF file: `size` bytes that do not repeat soon.
fn gguf(size: usize, salt: u8) -> Vec<u8> {
    let mut body = b"GGUF".to_vec();
    body.extend((4..size).map(|i| (i as u32).wrapping_mul(2654435761).to_le_bytes()[3] ^ salt));
    body
}

fn sha256(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names of the files in the folder of `target`, without its lock.
fn leftovers(target: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(target.parent().unwrap()) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.ends_with(".lock")).collect();
    names.sort();
    names
}
