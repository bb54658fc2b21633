//! Codecs: bytes in, words out, and the reverse.
//!
//! Nothing here knows a socket, a clock or a topic. What a peer may get wrong comes back as a value; no input panics.

pub mod envelope;
pub mod grpc;
pub mod h2;
pub mod http1;
pub mod json;
pub mod resp;
pub mod sse;
pub mod target;
