//! What the integration tests share: the server as a process, clients that see every byte, Redis real and faked.
//!
//! Nothing here waits for a time to pass: every wait is for something to happen, and ends with a clear word when it did
//! not happen within its deadline.

// Each test crate uses its own part of this.
#![allow(dead_code)]

pub mod fake_redis;
pub mod grpc;
pub mod h2;
pub mod hpack;
pub mod http;
pub mod lines;
pub mod plasma;
pub mod redis;
pub mod resp;
pub mod sse;
pub mod stage;
pub mod wait;
pub mod witness;

use std::fs::OpenOptions;
use std::io::Write;
use std::{env, thread};

/// Says that the running test proves nothing here, and why. Where `CI=true` that is a failure.
pub fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    assert!(env::var("CI").as_deref() != Ok("true"), "{test} may not be skipped in CI: {reason}");
    eprintln!("SKIPPED {test}: {reason}");
    if let Ok(list) = env::var("PLASMA_TEST_SKIPS") {
        let mut list =
            OpenOptions::new().create(true).append(true).open(list).expect("the list of skips can be opened");
        writeln!(list, "{test}: {reason}").expect("the list of skips can be written");
    }
}
