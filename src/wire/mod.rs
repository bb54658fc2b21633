//! wire
pub mod resp;
