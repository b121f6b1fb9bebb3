//! The Hugging Face source: statuses, redirects, the token, resumed transfers, hashes, bounds.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tl_llm::download::{Failure, Phase, Token, resolve};

use crate::server::{Reply, Request, Server};
use crate::{Folder, SPEC, attempts, get, get_from, gguf, last_failure, leftovers, options, sha256, target};

/// A server that answers the n-th request (from 0) with `answer(n, request)`.
fn numbered(answer: impl Fn(u32, &Request) -> Reply + Send + 'static) -> Server {
    let count = AtomicU32::new(0);
    Server::start(move |request| answer(count.fetch_add(1, Ordering::SeqCst), request))
}

#[test]
fn a_file_is_fetched_once_and_then_cached() {
    let body = gguf(300_000, 1);
    let folder = Folder::new();
    let server = Server::start({
        let body = body.clone();
        move |_| Reply::ok(&body)
    });
    let path = get_from(&server, &folder).unwrap();
    assert_eq!(path, target(&folder));
    assert_eq!(fs::read(&path).unwrap(), body);
    assert_eq!(leftovers(&path), ["model.gguf", "model.gguf.sha256.json"]);
    assert_eq!(get_from(&server, &folder).unwrap(), path);
    let requests = server.requests();
    assert_eq!(requests.len(), 1, "the second time comes from the cache");
    assert_eq!(requests[0].path, "/owner/repo/resolve/main/dir/model.gguf");
    assert_eq!(requests[0].header("accept-encoding"), Some("identity"));
}

#[test]
fn progress_counts_up_to_the_total() {
    let body = gguf(300_000, 2);
    let folder = Folder::new();
    let server = Server::start({
        let body = body.clone();
        move |_| Reply::ok(&body)
    });
    let mut seen = Vec::new();
    let report = &mut |p: tl_llm::download::Progress<'_>| seen.push((p.phase, p.bytes, p.total));
    resolve(SPEC, &options(&folder, &server.url()), report).unwrap();
    assert_eq!(seen[0], (Phase::Connecting, 0, None));
    assert!(seen[1..].is_sorted_by_key(|step| step.1));
    assert_eq!(seen.last(), Some(&(Phase::Downloading, 300_000, Some(300_000))));
}

#[test]
fn a_missing_file_is_told_with_the_servers_words() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::status(404).header("X-Error-Message", "Entry not found"));
    let error = get_from(&server, &folder).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("404") && text.contains("Entry not found"), "{text}");
    assert!(text.contains("cache folder") && text.contains(&server.url()), "every source is named: {text}");
    assert_eq!(last_failure(Err(error)), Failure::NotFound { message: Some("Entry not found".into()) });
    assert!(leftovers(&target(&folder)).is_empty());
}

#[test]
fn other_statuses_are_failures() {
    for code in [204, 400, 410, 429, 500, 503] {
        let folder = Folder::new();
        let server = Server::start(move |_| Reply::status(code));
        assert_eq!(last_failure(get_from(&server, &folder)), Failure::Status { code, message: None });
        assert!(leftovers(&target(&folder)).is_empty());
    }
}

#[test]
fn a_refusal_asks_for_a_token_and_then_for_another() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::status(401));
    let mut options = options(&folder, &server.url());
    let without = get(&options).unwrap_err().to_string();
    assert!(without.contains("set HF_TOKEN"), "{without}");
    options.token = Some(Token::new("hf_secret"));
    let error = get(&options).unwrap_err();
    let with = error.to_string();
    assert!(with.contains("the token in HF_TOKEN may not"), "{with}");
    assert!(!with.contains("hf_secret"), "the token is shown to no one: {with}");
    let refused = Failure::Refused { code: 401, message: None, with_token: true };
    assert_eq!(last_failure(Err(error)), refused);
    let sent: Vec<_> =
        server.requests().iter().map(|r| r.header("authorization").map(str::to_owned)).collect();
    assert_eq!(sent, [None, Some("Bearer hf_secret".into())]);
}

#[test]
fn a_token_that_is_none_is_not_sent() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::status(404));
    let mut options = options(&folder, &server.url());
    options.token = Some(Token::new("hf_\r\nX-Evil: 1"));
    let failure = last_failure(get(&options));
    assert!(matches!(failure, Failure::BadSetting { variable: "HF_TOKEN", .. }), "{failure:?}");
    assert!(server.requests().is_empty());
}

#[test]
fn a_redirect_keeps_the_token_at_home() {
    let body = gguf(1000, 3);
    let folder = Folder::new();
    let other = Server::start({
        let body = body.clone();
        move |_| Reply::ok(&body)
    });
    let away = format!("{}/signed?key=1", other.url());
    let server = Server::start(move |request| match request.path.as_str() {
        "/moved/file" => Reply::redirect(&away),
        _ => Reply::status(307).header("Location", "/moved/file"),
    });
    let mut options = options(&folder, &server.url());
    options.token = Some(Token::new("hf_secret"));
    let path = get(&options).unwrap();
    assert_eq!(fs::read(path).unwrap(), body);
    let tokens = |server: &Server| -> Vec<bool> {
        server.requests().iter().map(|request| request.header("authorization").is_some()).collect()
    };
    assert_eq!(tokens(&server), [true, true], "the endpoint's own host gets it, also after a redirect");
    assert_eq!(tokens(&other), [false], "no other host does");
    assert_eq!(other.requests()[0].path, "/signed?key=1");
}

#[test]
fn redirects_in_a_circle_end() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::redirect("/again"));
    let failure = last_failure(get_from(&server, &folder));
    assert!(failure.to_string().contains("redirects"), "{failure}");
    let server = Server::start(|_| Reply::status(302));
    assert!(last_failure(get_from(&server, &folder)).to_string().contains("Location"));
}

#[test]
fn a_cut_off_transfer_goes_on_within_one_run() {
    let body = gguf(500_000, 4);
    let folder = Folder::new();
    let server = numbered({
        let body = body.clone();
        move |n, request| {
            let reply = Reply::ranged(request, &body, "\"v1\"");
            if n == 0 { reply.cut_after(200_000) } else { reply }
        }
    });
    let path = get_from(&server, &folder).unwrap();
    assert_eq!(fs::read(&path).unwrap(), body);
    assert_eq!(leftovers(&path), ["model.gguf", "model.gguf.sha256.json"]);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].header("range"), Some("bytes=200000-"));
    assert_eq!(requests[1].header("if-range"), Some("\"v1\""));
}

#[test]
fn a_cut_off_transfer_goes_on_in_the_next_run() {
    let body = gguf(500_000, 5);
    let folder = Folder::new();
    // The first run gets a beginning, and then nothing more.
    let first = numbered({
        let body = body.clone();
        move |n, request| {
            let reply = Reply::ranged(request, &body, "\"v1\"");
            if n == 0 { reply.cut_after(123_456) } else { reply.cut_after(0) }
        }
    });
    let failure = last_failure(get_from(&first, &folder));
    assert!(matches!(failure, Failure::CutOff { got: 123_456, total: Some(500_000), .. }), "{failure:?}");
    assert!(!target(&folder).exists(), "a half file is never at the final place");
    assert_eq!(leftovers(&target(&folder)), ["model.gguf.part", "model.gguf.part.json"]);

    let second = Server::start({
        let body = body.clone();
        move |request| Reply::ranged(request, &body, "\"v1\"")
    });
    let path = get_from(&second, &folder).unwrap();
    assert_eq!(fs::read(&path).unwrap(), body);
    assert_eq!(second.requests()[0].range_start(), Some(123_456));
    assert_eq!(leftovers(&path), ["model.gguf", "model.gguf.sha256.json"]);
}

#[test]
fn a_server_that_ignores_ranges_sends_all_again() {
    let body = gguf(400_000, 6);
    let folder = Folder::new();
    let server = numbered({
        let body = body.clone();
        move |n, _| {
            let reply = Reply::ok(&body).header("ETag", "\"v1\"");
            if n == 0 { reply.cut_after(100_000) } else { reply }
        }
    });
    let path = get_from(&server, &folder).unwrap();
    assert_eq!(fs::read(path).unwrap(), body);
    assert_eq!(server.requests()[1].range_start(), Some(100_000));
}

#[test]
fn a_file_that_changed_is_not_joined_to_the_old_one() {
    let (old, new) = (gguf(400_000, 7), gguf(400_000, 8));
    // Whether the server honours If-Range, or sends a range of the new file all the same.
    for honours in [true, false] {
        let folder = Folder::new();
        let server = numbered({
            let (old, new) = (old.clone(), new.clone());
            move |n, request| match n {
                0 => Reply::ok(&old).header("ETag", "\"v1\"").cut_after(100_000),
                1 if !honours => {
                    let range = format!("bytes 100000-{}/{}", new.len() - 1, new.len());
                    let mut reply = Reply::ok(&new[100_000..]).header("ETag", "\"v2\"");
                    reply = reply.header("Content-Range", &range).with_status(206);
                    reply
                }
                _ => Reply::ranged(request, &new, "\"v2\""),
            }
        });
        let path = get_from(&server, &folder).unwrap();
        assert_eq!(fs::read(path).unwrap(), new, "honours If-Range: {honours}");
    }
}

#[test]
fn a_range_from_the_wrong_place_is_not_joined() {
    let body = gguf(400_000, 9);
    let folder = Folder::new();
    let server = numbered({
        let body = body.clone();
        move |n, request| match n {
            0 => Reply::ok(&body).header("ETag", "\"v1\"").cut_after(100_000),
            1 => Reply::ok(&body[90_000..])
                .with_status(206)
                .header("ETag", "\"v1\"")
                .header("Content-Range", &format!("bytes 90000-{}/{}", body.len() - 1, body.len())),
            _ => Reply::ranged(request, &body, "\"v1\""),
        }
    });
    assert_eq!(fs::read(get_from(&server, &folder).unwrap()).unwrap(), body);
}

#[test]
fn a_beginning_that_cannot_be_told_apart_is_not_gone_on_with() {
    // Neither an entity tag nor a hash: another file of that size would not be noticed.
    let (old, new) = (gguf(400_000, 10), gguf(400_000, 11));
    let folder = Folder::new();
    let server = numbered({
        let new = new.clone();
        move |n, _| match n {
            0 => Reply::ok(&old).cut_after(100_000),
            1 => Reply::ok(&new).cut_after(200_000),
            _ => Reply::status(503),
        }
    });
    last_failure(get_from(&server, &folder));
    let second = Server::start({
        let new = new.clone();
        move |request| Reply::ranged(request, &new, "\"v1\"")
    });
    assert_eq!(fs::read(get_from(&second, &folder).unwrap()).unwrap(), new);
    for request in server.requests().iter().chain(&second.requests()) {
        assert_eq!(request.range_start(), None);
    }
}

#[test]
fn damaged_bytes_in_a_part_are_fetched_again() {
    let body = gguf(400_000, 11);
    let folder = Folder::new();
    let hash = format!("\"{}\"", sha256(&body));
    let first = numbered({
        let (body, hash) = (body.clone(), hash.clone());
        move |n, request| {
            let reply = Reply::ranged(request, &body, "\"v1\"").header("X-Linked-Etag", &hash);
            if n == 0 { reply.cut_after(100_000) } else { reply.cut_after(0) }
        }
    });
    last_failure(get_from(&first, &folder));
    let part = target(&folder).with_file_name("model.gguf.part");
    let mut bytes = fs::read(&part).unwrap();
    bytes[5000] ^= 1;
    fs::write(&part, bytes).unwrap();
    let second = Server::start({
        let body = body.clone();
        move |request| Reply::ranged(request, &body, "\"v1\"").header("X-Linked-Etag", &hash)
    });
    assert_eq!(fs::read(get_from(&second, &folder).unwrap()).unwrap(), body);
    let starts: Vec<_> = second.requests().iter().map(Request::range_start).collect();
    assert_eq!(starts, [Some(100_000), None]);
}

#[test]
fn a_wrong_hash_leaves_no_file() {
    let body = gguf(10_000, 12);
    let (want, found) = (sha256(b"another"), sha256(&body));
    let folder = Folder::new();
    let server = Server::start({
        let hash = format!("\"{want}\"");
        move |_| Reply::ok(&body).header("X-Linked-Etag", &hash)
    });
    let error = get_from(&server, &folder).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&want) && text.contains(&found), "both hashes are named: {text}");
    assert_eq!(last_failure(Err(error)), Failure::WrongHash { expected: want, found });
    assert!(leftovers(&target(&folder)).is_empty());
    assert_eq!(server.requests().len(), 1, "a whole wrong file is not asked for again");
}

#[test]
fn the_hash_of_a_redirect_counts_and_a_networks_tag_does_not() {
    let body = gguf(10_000, 13);
    // The delivery network's entity tag looks like a hash and is none.
    let network = Server::start({
        let (body, tag) = (body.clone(), format!("\"{}\"", sha256(b"of its own making")));
        move |_| Reply::ok(&body).header("ETag", &tag)
    });
    let to = network.url();
    let with_hash = |hash: String| {
        let to = to.clone();
        Server::start(move |_| {
            let size = 10_000.to_string();
            Reply::redirect(&to)
                .header("X-Linked-Etag", &format!("\"{hash}\""))
                .header("X-Linked-Size", &size)
        })
    };
    let folder = Folder::new();
    get_from(&with_hash(sha256(&body)), &folder).unwrap();
    let folder = Folder::new();
    let failure = last_failure(get_from(&with_hash(sha256(b"x")), &folder));
    assert!(matches!(failure, Failure::WrongHash { .. }), "{failure:?}");
}

#[test]
fn a_file_of_another_size_is_refused_before_it_comes() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::ok(&gguf(10_000, 14)).header("X-Linked-Size", "9999"));
    let failure = last_failure(get_from(&server, &folder));
    assert_eq!(failure, Failure::WrongSize { expected: 9999, found: 10_000 });
    assert!(leftovers(&target(&folder)).is_empty());
}

#[test]
fn the_size_cap_holds_with_and_without_an_announced_size() {
    for chunked in [false, true] {
        let folder = Folder::new();
        let server = Server::start(move |_| {
            if !chunked {
                return Reply::ok(&gguf(10_000, 15));
            }
            let body = gguf(10_000, 15);
            let mut framed = format!("{:x}\r\n", body.len()).into_bytes();
            framed.extend(body);
            framed.extend(b"\r\n0\r\n\r\n");
            Reply::ok(&framed).header("Transfer-Encoding", "chunked")
        });
        let mut options = options(&folder, &server.url());
        options.size_cap = 10_000;
        get(&options).unwrap();
        fs::remove_file(target(&folder)).unwrap();
        options.size_cap = 9_999;
        assert_eq!(last_failure(get(&options)), Failure::TooLarge { cap: 9_999 }, "chunked: {chunked}");
        assert!(!target(&folder).exists());
        assert!(!target(&folder).with_file_name("model.gguf.part").exists());
    }
}

#[test]
fn a_web_page_is_no_model() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::ok(b"<html>please log in</html>"));
    let failure = last_failure(get_from(&server, &folder));
    assert!(failure.to_string().contains("GGUF"), "{failure}");
    assert!(leftovers(&target(&folder)).is_empty());
}

#[test]
fn a_compressed_answer_is_refused() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::ok(&gguf(100, 16)).header("Content-Encoding", "gzip"));
    assert!(last_failure(get_from(&server, &folder)).to_string().contains("gzip"));
}

#[test]
fn offline_asks_no_one() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::ok(&gguf(100, 17)));
    let mut options = options(&folder, &server.url());
    options.offline = true;
    let error = get(&options).unwrap_err();
    assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
    assert_eq!(last_failure(Err(error)), Failure::Offline);
    assert!(server.requests().is_empty());
    // What is in the cache serves all the same.
    get_from(&server, &folder).unwrap();
    get(&options).unwrap();
}

#[test]
fn an_endpoint_that_is_no_address_is_a_bad_setting() {
    for endpoint in ["", "huggingface.co", "ftp://x", "https://", "http://a b"] {
        let folder = Folder::new();
        let failure = last_failure(get(&options(&folder, endpoint)));
        assert!(
            matches!(failure, Failure::BadSetting { variable: "HF_ENDPOINT", .. }),
            "{endpoint}: {failure:?}"
        );
    }
}

#[test]
fn a_port_where_no_one_listens_is_told() {
    let folder = Folder::new();
    let gone = Server::start(|_| Reply::status(500)).url();
    let attempts = attempts(get(&options(&folder, &gone)));
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0].failure, Failure::Absent);
    assert!(matches!(attempts[1].failure, Failure::Unreachable { .. }), "{attempts:?}");
}

#[test]
fn waiting_is_bounded_at_every_stage() {
    let folder = Folder::new();
    // Connects, and never says a word: to a request, and to the beginning of TLS.
    let server = Server::start(|_| Reply::silence());
    let mut options = options(&folder, &server.url());
    let short = Duration::from_millis(20);
    options.timeouts.answer = short;
    let failure = last_failure(get(&options));
    assert!(
        matches!(&failure, Failure::Unreachable { reason, .. } if reason.contains("no answer")),
        "{failure:?}"
    );
    options.timeouts.connect = short;
    options.endpoint = options.endpoint.replace("http:", "https:");
    let failure = last_failure(get(&options));
    assert!(matches!(failure, Failure::Unreachable { .. }), "{failure:?}");

    // Falls silent in the middle of the body.
    let server = numbered(|n, request| {
        let reply = Reply::ranged(request, &gguf(100_000, 18), "\"v1\"");
        if n == 0 { reply.hang_after(50_000) } else { reply.hang_after(0) }
    });
    let mut options = crate::options(&folder, &server.url());
    options.timeouts.stall = short;
    let failure = last_failure(get(&options));
    assert!(matches!(failure, Failure::CutOff { got: 50_000, .. }), "{failure:?}");
}

#[test]
fn two_at_once_fetch_once() {
    let body = gguf(100_000, 19);
    let folder = Folder::new();
    // The server holds the first transfer back until the second run says that it waits.
    let (waits, waiting) = mpsc::channel::<()>();
    let (asked, first_asked) = mpsc::channel::<()>();
    let waiting = Mutex::new(waiting);
    let server = Server::start({
        let body = body.clone();
        move |_| {
            asked.send(()).unwrap();
            waiting.lock().unwrap().recv().unwrap();
            Reply::ok(&body)
        }
    });
    let options = Arc::new(options(&folder, &server.url()));
    let first = thread::spawn({
        let options = options.clone();
        move || get(&options)
    });
    first_asked.recv().unwrap();
    let report = &mut |progress: tl_llm::download::Progress<'_>| {
        if progress.phase == Phase::WaitingForLock {
            waits.send(()).unwrap();
        }
    };
    let second = resolve(SPEC, &options, report).unwrap();
    assert_eq!(first.join().unwrap().unwrap(), second);
    assert_eq!(fs::read(second).unwrap(), body);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_split_set_comes_whole() {
    let folder = Folder::new();
    let server = Server::start(|request| {
        let salt = request.path.as_bytes()[request.path.len() - "1-of-00003.gguf".len()];
        Reply::ok(&gguf(1000, salt))
    });
    let options = options(&folder, &server.url());
    let path = resolve("hf:o/r/m-00001-of-00003.gguf", &options, &mut |_| {}).unwrap();
    assert!(path.ends_with("m-00001-of-00003.gguf"));
    for n in [b'1', b'2', b'3'] {
        let part = path.with_file_name(format!("m-0000{}-of-00003.gguf", n as char));
        assert_eq!(fs::read(part).unwrap(), gguf(1000, n));
    }
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_revision_is_one_part_of_the_address() {
    let folder = Folder::new();
    let server = Server::start(|_| Reply::ok(&gguf(100, 20)));
    let options = options(&folder, &server.url());
    resolve("hf:o/r/a b.gguf@refs/pr/1", &options, &mut |_| {}).unwrap();
    assert_eq!(server.requests()[0].path, "/o/r/resolve/refs%2Fpr%2F1/a%20b.gguf");
}
