//! An open-loop load generator for servers that push events, with its books kept to the event.
//!
//! ```text
//! main → options → command → { engine, publish } → books → { ledger → board → stamp }   wire, target, machine below
//! ```
//!
//! - `command`: the scenarios. Each conducts a [`engine::Crowd`] of subscribers and some publishers.
//! - `engine`: the subscribers' connections, by one of two engines.
//! - `publish`: events into the server, over HTTP, Redis or gRPC, on a schedule or as fast as they are accepted.
//! - `books`, `ledger`, `board`, `stamp`: which event reached whom, how late, and which did not.
//! - `wire`: what subscribers hear, as bytes in and words out. Deliberately none of the server's own code: a mistake
//!   there must not hide behind the same mistake here.
//! - `reference`: a server whose mistakes are known, to hold the books against.
//!
//! Open loop: an event is due at a moment that does not depend on how the server copes, and its latency counts from
//! that moment. A server that stalls cannot hide the events that it kept from being published.

pub mod acceptor;
pub mod board;
pub mod books;
pub mod child;
pub mod command;
pub mod engine;
pub mod ledger;
pub mod machine;
pub mod memory;
pub mod options;
pub mod publish;
pub mod reference;
pub mod report;
pub mod ring;
pub mod stamp;
pub mod stats;
pub mod target;
pub mod wire;

use std::error::Error;

/// What went wrong, in words for the person at the terminal.
pub type Failure = Box<dyn Error + Send + Sync>;
