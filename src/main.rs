//! The `plasma` binary: see the crate documentation.

fn main() {}
