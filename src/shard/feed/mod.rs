//! Where events come from: the links to what lies upstream.

pub mod redis;
