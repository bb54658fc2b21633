//! A simulated kernel, network and clock, all drawn from one seed: the other implementation of [`plasma::ring::Ring`].
//!
//! - [`World`] holds the clock, the network, the scripted peers and the shards' rings, and decides what happens next;
//! - [`SimRing`] is one shard's door into it, as strict as the trait's doc and as rough as the [`Weather`];
//! - [`peers`] are the clients and the Redis outside; the [`Ledger`] knows what was accepted and judges what they saw.
//!
//! Nothing here sleeps, reads a clock or draws chance from elsewhere: the same seed is the same storm.
//!
//! A simulated wait cannot block. [`SimRing`]'s `wait` submits, and when nothing is there yet it fails with
//! `WouldBlock`: the shard passes that up out of its turn, the world runs on, and when the wait would have returned it
//! calls the turn again. What a turn does before its wait must therefore bear being done twice.

// Each test crate that includes this tree uses a part of it.
#![allow(dead_code, unused_imports, clippy::unwrap_used)]

mod core;
mod dice;
mod kernel;
mod ledger;
mod net;
mod ops;
pub mod peers;
mod pipe;
mod ring;
mod sends;
mod site;
mod weather;
mod world;

pub use self::core::Core;
pub use dice::Dice;
pub use ledger::{Expected, Ledger};
pub use net::{End, Road};
pub use ring::{RingSpec, SimRing};
pub use site::{Peer, PeerId, Site};
pub use weather::Weather;
pub use world::World;

/// One microsecond of virtual time, in nanoseconds.
pub const MICROS: u64 = 1_000;
/// One millisecond of virtual time.
pub const MILLIS: u64 = 1_000_000;
/// One second of virtual time.
pub const SECONDS: u64 = 1_000_000_000;
