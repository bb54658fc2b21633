//! Protocol policy: which request means what, and which event becomes which bytes. One file per system spoken.
//!
//! Decides from a request head alone and does nothing: the shard subscribes, publishes and answers.

pub mod calls;
pub mod plasma;

use std::borrow::Cow;
use std::hint::black_box;

use crate::wire::http1::{Answer, Head, Method};
use crate::wire::target;

pub use plasma::{Resume, Subscription};

/// What the operator decided about requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `PLASMA_ORIGIN`, verbatim. Unset or empty: no CORS fields, no preflight.
    pub origin: Option<String>,
    /// Name of the query that lists topics.
    pub event_query: String,
    /// How long clients wait before they connect again, in milliseconds.
    pub retry_millis: i64,
    /// Whether `/debug` exists.
    pub debug: bool,
    /// Who may publish over HTTP.
    pub publish: Publish,
    /// Largest event in bytes, as published.
    pub event_max: usize,
    /// Largest body of a publish request in bytes.
    pub publish_max: usize,
    /// Whether tools may ask which services there are.
    pub reflection: bool,
}

/// Who may publish over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publish {
    /// Nobody.
    Closed,
    /// Everybody.
    Open,
    /// Who knows this token. An empty one is known to nobody.
    Token(String),
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A stream of events.
    Subscribe(Subscription),
    /// To publish the events in the body; allowed already.
    Publish,
    /// To publish the event in the body as `/debug` does.
    DebugPublish,
    /// The page that `/debug` shows.
    DebugPage,
    /// The health of the link upstream.
    Health,
    /// What other origins may do: [`Policy::preflight`].
    Preflight,
    /// Nothing that the body or the state of the server could change: this is the answer.
    Answer(Answer),
}

/// Sorts a request. Answers carry the CORS fields already.
pub fn route(head: &Head<'_>, policy: &Policy) -> Route {
    let route = if head.method() == Method::Options && policy.origin().is_some() {
        Route::Preflight
    } else if head.accepts_event_stream() {
        plasma::subscribe(head, policy)
    } else {
        meta_route(head, policy)
    };
    match route {
        Route::Answer(answer) => Route::Answer(policy.with_cors(answer)),
        route => route,
    }
}

impl Policy {
    /// The origin that may read answers, if any.
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref().filter(|origin| !origin.is_empty())
    }

    /// The fields that let pages of the configured origin read an answer.
    pub fn cors_fields(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let origin = self.origin();
        let vary = origin.filter(|origin| *origin != "*").map(|_| ("Vary", Cow::Borrowed("Origin")));
        origin.map(|origin| ("Access-Control-Allow-Origin", Cow::Borrowed(origin))).into_iter().chain(vary)
    }

    /// `answer` with the CORS fields.
    pub fn with_cors(&self, answer: Answer) -> Answer {
        self.cors_fields().fold(answer, |answer, (name, value)| answer.with(name, value.into_owned()))
    }

    /// The answer to a browser that asks what it may send here.
    pub fn preflight(&self) -> Answer {
        // `*` never covers Authorization, so the fields are listed. Cache-Control is what EventSource polyfills send.
        let answer = Answer::new(204)
            .with("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS")
            .with("Access-Control-Allow-Headers", "Authorization, Cache-Control, Content-Type, Last-Event-ID")
            .with("Access-Control-Max-Age", "86400");
        self.with_cors(answer)
    }
}

/// The router of everything that is no event stream. Paths are exact; one that walks in circles is redirected.
fn meta_route(head: &Head<'_>, policy: &Policy) -> Route {
    if head.path() == "*" {
        return Route::Answer(Answer::new(204).with("Allow", "GET, HEAD, POST, OPTIONS"));
    }
    let Some(path) = target::decode_path(head.path()) else {
        return Route::Answer(Answer::text(400, "malformed path\n"));
    };
    if let Some(location) = target::redirect(&path, head.query()) {
        return Route::Answer(moved(head.method(), location));
    }
    match (&*path, head.method()) {
        (b"/hc", _) => Route::Health,
        (b"/debug", Method::Get) if policy.debug => Route::DebugPage,
        (b"/debug", Method::Post) if policy.debug => Route::DebugPublish,
        (b"/debug", _) if policy.debug => Route::Answer(Answer::new(405).with("Allow", "GET, POST")),
        (b"/events", Method::Post) => publish_route(head, policy),
        (b"/events", _) => Route::Answer(Answer::text(405, "events are published with POST\n").with("Allow", "POST")),
        _ => Route::Answer(Answer::text(404, "404 page not found\n")),
    }
}

fn publish_route(head: &Head<'_>, policy: &Policy) -> Route {
    match &policy.publish {
        Publish::Open => Route::Publish,
        Publish::Closed => Route::Answer(Answer::text(
            403,
            "publishing over HTTP is closed: set PLASMA_PUBLISH_TOKEN, or PLASMA_PUBLISH_OPEN=true\n",
        )),
        Publish::Token(token) if bearer(head).is_some_and(|given| is_secret(given, token.as_bytes())) => Route::Publish,
        Publish::Token(_) => {
            let answer = Answer::text(401, "publishing needs the bearer token\n");
            Route::Answer(answer.with("WWW-Authenticate", "Bearer"))
        }
    }
}

fn moved(method: Method, location: String) -> Answer {
    let mut page = String::from("<a href=\"");
    for character in location.chars() {
        match character {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&#34;"),
            '\'' => page.push_str("&#39;"),
            _ => page.push(character),
        }
    }
    page.push_str("\">Moved Permanently</a>.\n\n");
    let answer = Answer::new(301).with("Location", location);
    match method {
        Method::Get | Method::Head => answer.with_body("text/html; charset=utf-8", page.into_bytes()),
        _ => answer,
    }
}

/// The token of an `Authorization: Bearer` field (RFC 6750 §2.1).
fn bearer<'b>(head: &Head<'b>) -> Option<&'b [u8]> {
    let (scheme, token) = head.field("authorization")?.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
}

/// Compares in a time that depends on the length of `given` and on nothing else.
fn is_secret(given: &[u8], secret: &[u8]) -> bool {
    if secret.is_empty() {
        return false;
    }
    let differing = given.iter().zip(secret.iter().cycle()).fold(0, |bits, (a, b)| black_box(bits | (a ^ b)));
    (differing == 0) & (given.len() == secret.len())
}

#[cfg(test)]
mod tests;
