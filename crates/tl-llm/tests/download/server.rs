//! A small HTTP server for tests: one closure answers every request, and every request is recorded.
//!
//! It speaks just enough HTTP/1.1, one request a connection, and can do what real servers do by accident:
//! end in the middle of a body, or never answer.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// One request, as it came in.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    headers: Vec<(String, String)>,
}

/// What to answer.
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// How many bytes of the body are sent before the end.
    sent: usize,
    end: End,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Close,
    /// The connection stays open and silent.
    Hang,
}

/// A server on a port of its own; it ends when dropped.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The first byte of a `Range: bytes=N-`.
    pub fn range_start(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: Vec::new(), sent: usize::MAX, end: End::Close }
    }

    pub fn ok(body: &[u8]) -> Reply {
        Reply { body: body.to_vec(), ..Reply::status(200) }
    }

    pub fn redirect(location: &str) -> Reply {
        Reply::status(302).header("Location", location)
    }

    /// `body` as a server gives it that honours `Range` and `If-Range`.
    pub fn ranged(request: &Request, body: &[u8], etag: &str) -> Reply {
        let fresh = request.header("if-range").is_none_or(|tag| tag == etag);
        let reply = match request.range_start().filter(|_| fresh) {
            None => Reply::ok(body),
            Some(start) if start >= body.len() => Reply::status(416),
            Some(start) => {
                let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
                let reply = Reply { body: body[start..].to_vec(), ..Reply::status(206) };
                reply.header("Content-Range", &range)
            }
        };
        reply.header("ETag", etag)
    }

    pub fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn with_status(self, status: u16) -> Reply {
        Reply { status, ..self }
    }

    /// Closes the connection after `sent` bytes of the body.
    pub fn cut_after(self, sent: usize) -> Reply {
        Reply { sent, ..self }
    }

    /// Falls silent after `sent` bytes of the body.
    pub fn hang_after(self, sent: usize) -> Reply {
        Reply { sent, end: End::Hang, ..self }
    }

    /// Never answers.
    pub fn silence() -> Reply {
        Reply { end: End::Hang, ..Reply::status(0) }
    }
}

impl Server {
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (requests, stop) = (requests.clone(), stop.clone());
            move || serve(&listener, &requests, &stop, answer)
        });
        Server { address, requests, stop, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // A connection wakes the thread, so that it sees the flag.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    listener: &TcpListener,
    requests: &Mutex<Vec<Request>>,
    stop: &AtomicBool,
    answer: impl Fn(&Request) -> Reply,
) {
    let mut silent = Vec::new();
    for stream in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        let Some(request) = read_request(&stream) else {
            // Not HTTP, as the beginning of TLS is: stay silent.
            silent.push(stream);
            continue;
        };
        requests.lock().unwrap().push(request.clone());
        let reply = answer(&request);
        // A client may hang up before it has the whole reply.
        let _ = write_reply(&mut stream, &reply);
        if reply.end == End::Hang {
            silent.push(stream);
        }
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.strip_prefix("GET ")?.split(' ').next()?.to_owned();
    let mut headers = Vec::new();
    loop {
        let line = lines.next()?.ok()?;
        if line.is_empty() {
            return Some(Request { path, headers });
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn write_reply(stream: &mut TcpStream, reply: &Reply) -> std::io::Result<()> {
    if reply.status == 0 {
        return Ok(());
    }
    let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let framed = |name: &str| reply.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    if !framed("content-length") && !framed("transfer-encoding") {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&reply.body[..reply.sent.min(reply.body.len())])?;
    stream.flush()
}
