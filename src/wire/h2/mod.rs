//! HTTP/2 (RFC 9113), as far as a server of event streams needs it.

pub mod hpack;
