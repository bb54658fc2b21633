//! What every floor stands on: limits with their reasons, time, memory that the kernel may read, deadlines.
//!
//! Knows nothing of anything else in the house.

pub mod id;
pub mod levels;
pub mod limits;
pub mod log;
pub mod region;
pub mod time;
pub mod wheel;
