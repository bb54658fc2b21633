//! Plasma pushes events to very many clients at once.

pub mod base;
pub mod dialect;
pub mod hub;
pub mod net;
pub mod ring;
pub mod server;
pub mod shard;
pub mod wire;
