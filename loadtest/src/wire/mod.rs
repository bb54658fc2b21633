//! What subscribers hear, as bytes in and words out; no sockets, no clocks.

pub mod body;
pub mod grpc;
pub mod sse;
pub mod stream;
