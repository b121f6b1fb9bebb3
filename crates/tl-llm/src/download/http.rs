//! HTTP requests to the hub: redirects, the token, the resumed range, and failures in words.
//!
//! Redirects are followed here and not by the HTTP library, for two reasons: the hub says what the file is
//! (its hash and size) in the answer that redirects, and the token must not travel.
//!
//! The invariants: the `Authorization` header is sent to the endpoint's own scheme, host and port only; a
//! redirect never leads from HTTPS to HTTP; all requests up to the last answer share one deadline.

use std::fs;
use std::time::{Duration, Instant};

use ureq::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ureq::http::{Response, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::cache::is_sha256;
use super::part::Identity;
use super::{Failure, FetchOptions, Timeouts};

const MAX_REDIRECTS: usize = 8;

/// Asks one endpoint for files.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    origin: Origin,
    token: Option<HeaderValue>,
    timeouts: Timeouts,
}

/// A success, or the news that a range is out of reach.
pub(super) struct Answer {
    /// 200, 206 or 416.
    pub(super) status: u16,
    /// First byte of the range that is sent, with status 206.
    pub(super) range_start: Option<u64>,
    pub(super) identity: Identity,
    pub(super) body: Body,
}

/// What is asked of a resumed transfer: the bytes from `start`, if the file is still `etag`.
pub(super) struct Range<'a> {
    pub(super) start: u64,
    pub(super) etag: Option<&'a str>,
}

/// Scheme, host and port: what a token is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Client {
    /// A client of the options' endpoint.
    ///
    /// # Errors
    ///
    /// [`Failure::BadSetting`] for an endpoint, a token or a file of certificates that cannot be used.
    pub(super) fn new(options: &FetchOptions, timeouts: Timeouts) -> Result<Client, Failure> {
        let endpoint = options.endpoint.trim_end_matches('/').to_owned();
        let origin = endpoint.parse().ok().as_ref().and_then(Origin::of);
        let Some(origin) = origin else {
            let reason = format!("is `{endpoint}`, but must be an address like https://huggingface.co");
            return Err(Failure::BadSetting { variable: "HF_ENDPOINT", reason });
        };
        let token = options.token.as_ref().map(|token| bearer(token.reveal())).transpose()?;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("tensorlogic/", env!("CARGO_PKG_VERSION")))
            .timeout_per_read(Some(timeouts.stall))
            .timeout_per_write(Some(timeouts.answer))
            .tls_config(TlsConfig::builder().root_certs(root_certificates(options)?).build());
        if !options.proxy_from_env {
            config = config.proxy(None);
        }
        Ok(Client { agent: config.build().new_agent(), endpoint, origin, token, timeouts })
    }

    /// Gets the file at a path below the endpoint, following redirects.
    ///
    /// # Errors
    ///
    /// All but statuses 200, 206 and 416.
    pub(super) fn get(&self, path: &str, range: Option<&Range>) -> Result<Answer, Failure> {
        let Timeouts { lookup, connect, answer, .. } = self.timeouts;
        let deadline = Instant::now() + lookup + connect + answer;
        let mut uri = parse_uri(&format!("{}/{path}", self.endpoint))?;
        let mut identity = Identity::default();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(&uri, range, deadline)?;
            let at_origin = Origin::of(&uri).as_ref() == Some(&self.origin);
            learn_identity(&mut identity, response.headers(), at_origin);
            match response.status().as_u16() {
                200 | 206 | 416 => return read_head(response, identity),
                301 | 302 | 303 | 307 | 308 => uri = follow(&uri, response.headers())?,
                code => return Err(describe_status(code, response.headers(), self.token.is_some())),
            }
        }
        Err(bad_answer(format!("more than {MAX_REDIRECTS} redirects")))
    }

    /// One request, without following redirects.
    fn ask(&self, uri: &Uri, range: Option<&Range>, deadline: Instant) -> Result<Response<Body>, Failure> {
        let Timeouts { lookup, connect, answer, .. } = self.timeouts;
        let left = deadline.saturating_duration_since(Instant::now());
        let bound = |timeout: Duration| Some(timeout.min(left));
        let mut request = self
            .agent
            .get(uri)
            .config()
            .timeout_resolve(bound(lookup))
            .timeout_connect(bound(connect))
            .timeout_send_request(bound(answer))
            .timeout_recv_response(bound(answer))
            .build()
            // A compressed body would be neither what the hash is of nor what a range counts.
            .header(header::ACCEPT_ENCODING, "identity");
        if let Some(token) = &self.token
            && Origin::of(uri).as_ref() == Some(&self.origin)
        {
            request = request.header(header::AUTHORIZATION, token);
        }
        if let Some(Range { start, etag }) = range {
            request = request.header(header::RANGE, format!("bytes={start}-"));
            if let Some(etag) = etag {
                request = request.header(header::IF_RANGE, *etag);
            }
        }
        request.call().map_err(|error| self.describe_error(error, uri))
    }

    /// Why no answer came, in words.
    fn describe_error(&self, error: ureq::Error, uri: &Uri) -> Failure {
        let Timeouts { lookup, connect, answer, .. } = self.timeouts;
        let reason = match error {
            ureq::Error::HostNotFound => "its name is not known".to_owned(),
            ureq::Error::Timeout(ureq::Timeout::Resolve) => {
                format!("its name was not found within {} s", lookup.as_secs_f32())
            }
            ureq::Error::Timeout(ureq::Timeout::Connect) => {
                format!("no connection within {} s", connect.as_secs_f32())
            }
            ureq::Error::Timeout(_) => format!("no answer within {} s", answer.as_secs_f32()),
            ureq::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        };
        Failure::Unreachable { host: uri.host().unwrap_or("the server").to_owned(), reason }
    }
}

impl Origin {
    fn of(uri: &Uri) -> Option<Origin> {
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let host = uri.host().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        Some(Origin { https, host, port })
    }
}

/// `Bearer TOKEN`, kept out of debug output.
fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    let plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    let header = HeaderValue::try_from(format!("Bearer {token}")).ok().filter(|_| plain);
    let mut header = header.ok_or_else(|| Failure::BadSetting {
        variable: "HF_TOKEN",
        reason: "holds characters that no token has".to_owned(),
    })?;
    header.set_sensitive(true);
    Ok(header)
}

/// The built-in certificates, or those of the file that the options name.
fn root_certificates(options: &FetchOptions) -> Result<RootCerts, Failure> {
    let Some(path) = &options.certificates else { return Ok(RootCerts::WebPki) };
    let bad = |what: String| Failure::BadSetting {
        variable: "SSL_CERT_FILE",
        reason: format!("names {}, which {what}", path.display()),
    };
    let text = fs::read(path).map_err(|error| bad(format!("cannot be read: {error}")))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&text) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(bad(format!("is damaged: {error}"))),
        }
    }
    if certificates.is_empty() {
        return Err(bad("holds no certificate".to_owned()));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

/// Adds what the headers of one answer say about the file.
///
/// `X-Linked-Etag` is the SHA-256 of a large file, `X-Linked-Size` its size; the hub sends them with the
/// redirect. An entity tag in the form of a SHA-256 is one only where the hub itself sent it, as those of
/// delivery networks are of their own making.
fn learn_identity(identity: &mut Identity, headers: &HeaderMap, at_origin: bool) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let linked = text("x-linked-etag");
    let own = text("etag").filter(|_| at_origin);
    let hash = linked.or(own).map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase());
    if let Some(hash) = hash.filter(|hash| is_sha256(hash)) {
        identity.sha256.get_or_insert(hash);
    }
    if let Some(size) = text("x-linked-size").and_then(|text| text.parse().ok()) {
        identity.size.get_or_insert(size);
    }
    // Of the last answer, and only a strong one: a weak tag may stand for other bytes.
    identity.etag = text("etag").filter(|tag| tag.starts_with('"')).map(str::to_owned);
}

/// Reads the head of the last answer.
fn read_head(response: Response<Body>, mut identity: Identity) -> Result<Answer, Failure> {
    let status = response.status().as_u16();
    let headers = response.headers();
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(encoding) = text(header::CONTENT_ENCODING).filter(|e| !e.eq_ignore_ascii_case("identity")) {
        return Err(bad_answer(format!("the file comes compressed ({encoding}), which was not asked for")));
    }
    let mut range_start = None;
    let mut size = None;
    match status {
        200 => size = text(header::CONTENT_LENGTH).and_then(|text| text.trim().parse().ok()),
        206 => {
            let range = text(header::CONTENT_RANGE).and_then(parse_content_range);
            let Some((start, total)) = range else {
                return Err(bad_answer("a part of the file without a valid Content-Range".into()));
            };
            (range_start, size) = (Some(start), total);
        }
        _ => {}
    }
    if let (Some(announced), Some(size)) = (identity.size, size)
        && announced != size
    {
        return Err(Failure::WrongSize { expected: announced, found: size });
    }
    identity.size = identity.size.or(size);
    Ok(Answer { status, range_start, identity, body: response.into_body() })
}

/// Start and total size of `bytes START-END/TOTAL`, where TOTAL may be `*`.
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

/// Where a redirect leads.
fn follow(from: &Uri, headers: &HeaderMap) -> Result<Uri, Failure> {
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| bad_answer("a redirect without a valid Location".into()))?;
    let to = parse_uri(&join(from, location))?;
    match (Origin::of(from), Origin::of(&to)) {
        (Some(from), Some(to)) if !from.https || to.https => {}
        _ => return Err(bad_answer("a redirect that leaves HTTPS".into())),
    }
    Ok(to)
}

/// Resolves a reference against an address, as RFC 3986 (section 5.2) does but for dot segments, which
/// servers resolve themselves.
fn join(base: &Uri, reference: &str) -> String {
    let reference = reference.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str().unwrap_or("https");
    let authority = base.authority().map_or("", |authority| authority.as_str());
    if reference.contains("://") && !reference.starts_with(['/', '?']) {
        reference.to_owned()
    } else if let Some(rest) = reference.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{authority}{reference}")
    } else if reference.starts_with('?') {
        format!("{scheme}://{authority}{}{reference}", base.path())
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{reference}")
    }
}

fn parse_uri(text: &str) -> Result<Uri, Failure> {
    text.parse().map_err(|error| bad_answer(format!("an address that cannot be used: {error}")))
}

/// A status that is no success, with what the hub says about it.
fn describe_status(code: u16, headers: &HeaderMap, with_token: bool) -> Failure {
    let message = headers.get("x-error-message").and_then(|value| value.to_str().ok());
    let message = message.map(|text| text.chars().take(200).collect());
    match code {
        401 | 403 => Failure::Refused { code, message, with_token },
        404 => Failure::NotFound { message },
        _ => Failure::Status { code, message },
    }
}

fn bad_answer(reason: String) -> Failure {
    Failure::BadAnswer { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved() {
        let base: Uri = "https://a.example:8443/x/y/z?q=1".parse().unwrap();
        for (reference, want) in [
            ("https://b.example/c", "https://b.example/c"),
            ("//b.example/c", "https://b.example/c"),
            ("/c?d=e://f", "https://a.example:8443/c?d=e://f"),
            ("c", "https://a.example:8443/x/y/c"),
            ("?r=2", "https://a.example:8443/x/y/z?r=2"),
            ("/c#fragment", "https://a.example:8443/c"),
        ] {
            assert_eq!(join(&base, reference), want);
        }
    }

    #[test]
    fn a_redirect_may_not_leave_https() {
        let to = |from: &str, location: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_static(location));
            follow(&from.parse().unwrap(), &headers).is_ok()
        };
        assert!(to("https://a.example/", "https://b.example/"));
        assert!(to("http://a.example/", "https://b.example/"));
        assert!(to("http://a.example/", "http://b.example/"));
        assert!(!to("https://a.example/", "http://a.example/"));
        assert!(!to("https://a.example/", "ftp://a.example/"));
        assert!(!to("https://a.example/", "file:///etc/passwd"));
    }

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        let of = |text: &str| Origin::of(&text.parse().unwrap());
        assert_eq!(of("https://A.example/x"), of("https://a.example:443/y"));
        assert_ne!(of("https://a.example"), of("http://a.example"));
        assert_ne!(of("https://a.example"), of("https://a.example:444"));
        assert_ne!(of("https://a.example"), of("https://a.example.evil"));
        assert_eq!(of("ftp://a.example"), None);
        assert_eq!(of("/just/a/path"), None);
    }

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(parse_content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((5, None)));
        for bad in ["", "bytes", "bytes */10", "5-9/10", "bytes x-9/10"] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }
}
