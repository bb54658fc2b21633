//! The process: configuration, logs, and everything that needs files, signals or threads.
//!
//! Starts shards and knows what the operator wants; never touches a client's bytes.

pub mod config;
pub mod logs;
pub mod machine;
pub mod run;
pub mod signals;
