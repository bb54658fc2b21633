//! Sockets before they belong to a ring: listeners.
//!
//! Knows no protocol.

pub mod listen;
