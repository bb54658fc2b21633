//! shard

pub mod feed;
