//! Request heads: start line and fields, parsed once they are whole.
//!
//! Nothing is judged before the empty line has arrived, except what can never become a request; so the verdict does not
//! depend on where the stream was cut.

use std::mem::MaybeUninit;

use httparse::{Error, Request, Status};
use memchr::{memchr_iter, memmem};
use smallvec::SmallVec;

use super::{BodyLength, Refusal};
use crate::base::limits::{EMPTY_LINES_MAX, HEAD_LEN_MAX, HEADERS_MAX, TARGET_LEN_MAX};

/// Fields that a head keeps inline: browsers send about 20.
const FIELDS_INLINE: usize = 24;

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113 §3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A request head that borrows from the buffer it was parsed from.
#[derive(Debug)]
pub struct Head<'b> {
    method: &'b str,
    target: &'b str,
    /// Authority of a target in absolute form; it overrules the `Host` field.
    authority: Option<&'b str>,
    /// Path and query of the target, whatever its form.
    path_and_query: &'b str,
    version_minor: u8,
    fields: SmallVec<[(&'b str, &'b [u8]); FIELDS_INLINE]>,
}

/// The methods that somebody here cares about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `POST`.
    Post,
    /// `OPTIONS`.
    Options,
    /// Anything else; [`Head::method_text`] has its name.
    Other,
}

/// Parses the request head at the start of `buf`. Returns it with its length, empty lines before it included; `None`
/// when more bytes are needed.
///
/// A buffer of [`HEAD_LEN_MAX`] bytes and room for [`EMPTY_LINES_MAX`] empty lines always suffices for a verdict.
pub fn parse_head(buf: &[u8]) -> Result<Option<(Head<'_>, usize)>, Refusal> {
    let skipped = empty_lines_len(buf)?;
    let window = &buf[skipped..buf.len().min(skipped + HEAD_LEN_MAX)];
    // What does not begin like a method can wait for its empty line for ever: a TLS greeting, say.
    if window.first().is_some_and(|byte| *byte != b'\r' && !is_token_byte(*byte)) {
        return Err(Refusal::malformed("this is not HTTP"));
    }
    let head_len = memmem::find(window, b"\r\n\r\n").map(|at| at + 4);
    refuse_bare_line_feeds(&window[..head_len.unwrap_or(window.len())])?;
    match head_len {
        Some(len) => Ok(Some((parse_whole(&window[..len])?, skipped + len))),
        None if window.len() == HEAD_LEN_MAX => Err(too_long(window)),
        None => Ok(None),
    }
}

/// Whether `buf` starts with the HTTP/2 connection preface; `None` when that cannot be told yet.
pub fn is_h2_preface(buf: &[u8]) -> Option<bool> {
    let known = buf.len().min(H2_PREFACE.len());
    if buf[..known] != H2_PREFACE[..known] {
        return Some(false);
    }
    (known == H2_PREFACE.len()).then_some(true)
}

impl<'b> Head<'b> {
    /// A head from the parts that another version of HTTP delivers: judged by that version's rules already, but for
    /// what concerns every request.
    pub(in crate::wire) fn assembled(
        method: &'b str,
        path_and_query: &'b str,
        authority: Option<&'b str>,
        fields: impl Iterator<Item = (&'b str, &'b [u8])>,
    ) -> Result<Self, &'static str> {
        let is_host = |host: &[u8]| host.iter().copied().all(is_authority_byte);
        if method.is_empty() || !method.bytes().all(is_token_byte) || !authority.is_none_or(|it| is_host(it.as_bytes()))
        {
            return Err("malformed method or authority");
        }
        let fields = fields.collect();
        Ok(Self { method, target: path_and_query, authority, path_and_query, version_minor: 1, fields })
    }

    /// The method, sorted.
    pub fn method(&self) -> Method {
        match self.method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        }
    }

    /// The method as it came.
    pub fn method_text(&self) -> &'b str {
        self.method
    }

    /// The request target as it came.
    pub fn target(&self) -> &'b str {
        self.target
    }

    /// The path, still escaped. Starts with a slash, or is `*`.
    pub fn path(&self) -> &'b str {
        self.path_and_query.split_once('?').map_or(self.path_and_query, |(path, _)| path)
    }

    /// What follows the first question mark, still escaped; empty without one.
    pub fn query(&self) -> &'b str {
        self.path_and_query.split_once('?').map_or("", |(_, query)| query)
    }

    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub fn version_minor(&self) -> u8 {
        self.version_minor
    }

    /// Value of the first field of that name, in any case, without surrounding white space.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields(name).next()
    }

    /// Values of all fields of that name, in the order they came.
    pub fn fields<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'b [u8]> + 'h {
        self.fields.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The authority asked for: the target's own, else the `Host` field (RFC 9112 §3.2.2).
    pub fn host(&self) -> Option<&'b [u8]> {
        self.authority.map(str::as_bytes).or_else(|| self.field("host"))
    }

    /// Whether an `Accept` field lists `text/event-stream`. Parameters do not matter, but a weight of zero means "not
    /// that" (RFC 9110 §12.4.2).
    pub fn accepts_event_stream(&self) -> bool {
        self.list("accept").any(|range| {
            let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let is_event_stream = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"text/event-stream"));
            is_event_stream && !parts.any(is_weight_zero)
        })
    }

    /// Whether the client wants to send another request on this connection.
    pub fn keep_alive(&self) -> bool {
        if self.list_has("connection", b"close") {
            return false;
        }
        self.version_minor == 1 || self.list_has("connection", b"keep-alive")
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.version_minor == 1 && self.list_has("expect", b"100-continue")
    }

    /// How the body is delimited (RFC 9112 §6). To be asked before a byte after the head is read as anything.
    pub fn body(&self) -> Result<BodyLength, Refusal> {
        if self.field("transfer-encoding").is_some() { self.coded_body() } else { self.counted_body() }
    }

    fn coded_body(&self) -> Result<BodyLength, Refusal> {
        if self.version_minor == 0 {
            return Err(Refusal::malformed("HTTP/1.0 has no Transfer-Encoding"));
        }
        if self.field("content-length").is_some() {
            return Err(Refusal::malformed("both Transfer-Encoding and Content-Length"));
        }
        let mut chunked_count = 0;
        for coding in self.list("transfer-encoding") {
            match coding {
                _ if coding.eq_ignore_ascii_case(b"chunked") => chunked_count += 1,
                b"" => return Err(Refusal::malformed("empty transfer coding")),
                _ => return Err(Refusal::new(501, "the only transfer coding known here is chunked")),
            }
        }
        if chunked_count == 1 { Ok(BodyLength::Chunked) } else { Err(Refusal::malformed("chunked more than once")) }
    }

    fn counted_body(&self) -> Result<BodyLength, Refusal> {
        let mut known = None;
        for text in self.list("content-length") {
            let len = parse_length(text)?;
            if known.is_some_and(|known| known != len) {
                return Err(Refusal::malformed("Content-Length fields differ"));
            }
            known = Some(len);
        }
        Ok(known.map_or(BodyLength::None, BodyLength::Exactly))
    }

    /// Elements of a list-valued field over all its lines, trimmed.
    fn list<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'b [u8]> + 'h {
        self.fields(name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }

    fn list_has(&self, name: &str, element: &[u8]) -> bool {
        self.list(name).any(|known| known.eq_ignore_ascii_case(element))
    }

    fn check_host(&self) -> Result<(), Refusal> {
        let mut hosts = self.fields("host");
        match (hosts.next(), hosts.next()) {
            (_, Some(_)) => Err(Refusal::malformed("more than one Host field")),
            (None, _) if self.version_minor == 1 => Err(Refusal::malformed("no Host field")),
            (Some(host), _) if !host.iter().copied().all(is_authority_byte) => {
                Err(Refusal::malformed("malformed Host field"))
            }
            _ => Ok(()),
        }
    }
}

/// Parses a head that ends with its empty line.
fn parse_whole(head: &[u8]) -> Result<Head<'_>, Refusal> {
    let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut fields) {
        Ok(Status::Complete(len)) if len == head.len() => {}
        Ok(_) => return Err(Refusal::malformed("malformed request head")),
        Err(Error::TooManyHeaders) => return Err(Refusal::new(431, "too many header fields")),
        Err(Error::Version) => return Err(bad_version(head)),
        Err(Error::HeaderName | Error::HeaderValue) => return Err(Refusal::malformed("malformed header field")),
        Err(_) => return Err(Refusal::malformed("malformed request line")),
    }
    let (Some(method), Some(target), Some(version_minor)) = (request.method, request.path, request.version) else {
        return Err(Refusal::malformed("malformed request line"));
    };
    if target.len() > TARGET_LEN_MAX {
        return Err(Refusal::new(414, "request target too long"));
    }
    let (authority, path_and_query) = split_target(method, target)?;
    let fields = request.headers.iter().map(|field| (field.name, field.value.trim_ascii())).collect();
    let head = Head { method, target, authority, path_and_query, version_minor, fields };
    head.check_host()?;
    Ok(head)
}

/// Authority, path and query of a target in origin, absolute or asterisk form (RFC 9112 §3.2). We are no proxy, so
/// the authority form of CONNECT is refused.
fn split_target<'b>(method: &str, target: &'b str) -> Result<(Option<&'b str>, &'b str), Refusal> {
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok((None, target));
    }
    let (scheme, rest) = target.split_once("://").unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(Refusal::malformed("malformed request target"));
    }
    let authority_len = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path_and_query) = rest.split_at(authority_len);
    match path_and_query.as_bytes().first() {
        _ if authority.is_empty() || !authority.bytes().all(is_authority_byte) => {
            Err(Refusal::malformed("malformed authority in the request target"))
        }
        Some(b'/') => Ok((Some(authority), path_and_query)),
        None => Ok((Some(authority), "/")),
        // `http://host?query` has an empty path; saying so costs an allocation that nobody needs.
        Some(_) => Err(Refusal::malformed("no path in the request target")),
    }
}

/// Length of the empty lines before a request, which are forgiven up to a bound.
fn empty_lines_len(buf: &[u8]) -> Result<usize, Refusal> {
    let lines = buf.chunks(2).take_while(|line| *line == b"\r\n").count();
    if lines > EMPTY_LINES_MAX {
        return Err(Refusal::malformed("too many empty lines before the request"));
    }
    Ok(2 * lines)
}

/// A line feed alone ends a line for some readers and not for others, which is how requests are smuggled.
fn refuse_bare_line_feeds(head: &[u8]) -> Result<(), Refusal> {
    if memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r') {
        return Err(Refusal::malformed("line feed without carriage return"));
    }
    Ok(())
}

/// What made a head without an end too long: the target or the fields.
fn too_long(window: &[u8]) -> Refusal {
    let line_len = memmem::find(window, b"\r\n").unwrap_or(window.len());
    let mut words = window[..line_len].split(|byte| *byte == b' ');
    match words.nth(1) {
        Some(target) if target.len() > TARGET_LEN_MAX => Refusal::new(414, "request target too long"),
        _ => Refusal::new(431, "request head too long"),
    }
}

/// Tells another version of HTTP from something that is no version at all.
fn bad_version(head: &[u8]) -> Refusal {
    let line_len = memmem::find(head, b"\r\n").unwrap_or(head.len());
    let version = head[..line_len].rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    match version.strip_prefix(b"HTTP/") {
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Refusal::new(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        }
        _ => Refusal::malformed("malformed HTTP version"),
    }
}

/// Digits only: no sign, no blank, no hexadecimal.
fn parse_length(text: &[u8]) -> Result<u64, Refusal> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::malformed("malformed Content-Length"));
    }
    let len = text.iter().try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    len.ok_or(Refusal::new(413, "the body is too large"))
}

/// `q=0`, with up to three decimals.
fn is_weight_zero(parameter: &[u8]) -> bool {
    let [b'q' | b'Q', b'=', weight @ ..] = parameter else { return false };
    weight.starts_with(b"0") && weight[1..].iter().all(|byte| matches!(byte, b'.' | b'0'))
}

/// RFC 9110 §5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a host and a port may consist of; user names have no business here.
fn is_authority_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=:[]%".contains(&byte)
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
