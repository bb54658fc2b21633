//! What a run found, for people and for machines.

mod table;

pub use table::Table;
