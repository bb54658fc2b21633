//! What RFC 9113 and RFC 7541 demand of a server and a client can see, case by case: the exact error code, an error of
//! the stream where the RFC says so, else one of the connection, and the connection closed after it.
//!
//! A case is named after the section that it comes from. Each has a server of its own, which must be well in the end.
//! `PLASMA_H2_ORACLE=address` plays the cases on another server, to check the cases themselves: it should answer as
//! ours does to `GET /`, `GET /hc` and `POST /events`. Cases that need more than that say so and are skipped.

mod conformance;
mod support;
