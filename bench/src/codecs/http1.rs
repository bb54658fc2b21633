//! HTTP/1.1: request heads in, the head of a stream out, and what a request means.

use std::hint::black_box;

use plasma::dialect::{self, Policy, Route, plasma as original};
use plasma::wire::http1::{Head, http_date, parse_head};

use super::operation::Operation;
use super::vectors::{CHROME_HEAD, CURL_HEAD};
use crate::fanout::plasma::policy;

/// Some second; its digits do not matter.
pub const SECOND: u64 = 1_770_000_000;

/// What is measured here.
pub fn operations() -> Vec<Operation> {
    let (writing, routing) = (policy(), policy());
    let head = parsed(CHROME_HEAD);
    vec![
        Operation::new("http1/head-chrome", CHROME_HEAD.len(), || parse(CHROME_HEAD)),
        Operation::new("http1/head-curl", CURL_HEAD.len(), || parse(CURL_HEAD)),
        Operation::new("http1/route", CHROME_HEAD.len(), move || route(&head, &routing)),
        Operation::new("http1/answer-stream", stream_head(&writing).len(), move || {
            black_box(&stream_head(&writing));
        }),
    ]
}

fn parse(bytes: &[u8]) {
    black_box(&parsed(black_box(bytes)));
}

fn parsed(bytes: &[u8]) -> Head<'_> {
    parse_head(bytes).expect("the request is well-formed").expect("the head is whole").0
}

/// Which topics a request asks for, and from where on.
fn route(head: &Head<'_>, policy: &Policy) {
    let route = dialect::route(black_box(head), policy);
    assert!(matches!(black_box(&route), Route::Subscribe(_)));
}

/// The head of an event stream and what the stream begins with.
fn stream_head(policy: &Policy) -> Vec<u8> {
    original::stream_head(policy, 1, &http_date(black_box(SECOND)))
}
