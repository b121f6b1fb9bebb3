//! The cache folder and plain paths: what is trusted, what is checked, what is replaced.

use std::fs;

use tl_llm::download::{Failure, FetchError, resolve};

use crate::server::{Reply, Server};
use crate::{Folder, attempts, get, get_from, gguf, leftovers, options, target};

#[test]
fn a_path_is_given_back_as_it_is() {
    let folder = Folder::new();
    let options = options(&folder, "http://127.0.0.1:9");
    let file = folder.0.join("own.gguf");
    fs::write(&file, "x").unwrap();
    assert_eq!(resolve(file.to_str().unwrap(), &options, &mut |_| {}).unwrap(), file);

    let missing = folder.0.join("missing.gguf");
    let error = resolve(missing.to_str().unwrap(), &options, &mut |_| {}).unwrap_err();
    assert!(matches!(&error, FetchError::NoSuchFile { path, .. } if *path == missing), "{error:?}");
    assert!(error.to_string().contains("there is no such file"), "{error}");
    let error = resolve(folder.0.to_str().unwrap(), &options, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("it is a folder"), "{error}");
}

#[test]
fn a_file_of_another_size_is_replaced() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::ok(&gguf(10_000, 1)));
    let path = get_from(&server, &folder).unwrap();
    fs::write(&path, "GGUF, but shorter").unwrap();
    assert_eq!(fs::read(get_from(&server, &folder).unwrap()).unwrap(), gguf(10_000, 1));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn verify_finds_what_a_size_does_not_show() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::ok(&gguf(10_000, 2)));
    let path = get_from(&server, &folder).unwrap();
    let mut options = options(&folder, &server.url());
    options.verify = true;
    get(&options).unwrap();
    assert_eq!(server.requests().len(), 1, "a sound file is hashed, not fetched");

    let mut bytes = fs::read(&path).unwrap();
    bytes[77] ^= 1;
    fs::write(&path, bytes).unwrap();
    get_from(&server, &folder).unwrap();
    assert_eq!(server.requests().len(), 1, "without `verify` the record is believed");
    options.offline = true;
    let failed = attempts(get(&options));
    assert!(matches!(failed[0].failure, Failure::WrongHash { .. }), "{failed:?}");
    options.offline = false;
    assert_eq!(fs::read(get(&options).unwrap()).unwrap(), gguf(10_000, 2));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_file_that_a_person_put_there_serves() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::status(500));
    fs::create_dir_all(target(&folder).parent().unwrap()).unwrap();
    fs::write(target(&folder), "GGUF by hand").unwrap();
    assert_eq!(get_from(&server, &folder).unwrap(), target(&folder));
    assert!(server.requests().is_empty());
}

#[test]
fn a_damaged_record_is_passed_over() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::ok(&gguf(10_000, 3)));
    let path = get_from(&server, &folder).unwrap();
    for text in ["", "{", "[]", "{\"sha256\": 5, \"size\": \"x\"}", "{\"sha256\": \"zz\", \"size\": 1}"] {
        fs::write(path.with_file_name("model.gguf.sha256.json"), text).unwrap();
        get_from(&server, &folder).unwrap();
    }
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_damaged_note_beside_a_part_begins_anew() {
    for text in ["", "{", "null", "{\"etag\": 1}", "{\"etag\": \"\\\"v1\\\"\", \"size\": 3}"] {
        let folder = Folder::new();
        let server = Server::start(|request| Reply::ranged(request, &gguf(10_000, 4), "\"v1\""));
        fs::create_dir_all(target(&folder).parent().unwrap()).unwrap();
        fs::write(target(&folder).with_file_name("model.gguf.part"), "GGUF rubbish").unwrap();
        fs::write(target(&folder).with_file_name("model.gguf.part.json"), text).unwrap();
        assert_eq!(fs::read(get_from(&server, &folder).unwrap()).unwrap(), gguf(10_000, 4));
        assert_eq!(server.requests()[0].range_start(), None, "{text}");
        assert_eq!(leftovers(&target(&folder)), ["model.gguf", "model.gguf.sha256.json"]);
    }
}

#[test]
fn a_cache_folder_that_cannot_be_is_told() {
    let folder = Folder::new();
    let file = folder.0.join("file");
    fs::write(&file, "").unwrap();
    let mut options = options(&folder, "http://127.0.0.1:9");
    options.cache = file;
    let error = get(&options).unwrap_err();
    assert!(error.to_string().contains("TL_HOME"), "{error}");
}
