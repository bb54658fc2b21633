//! Repeatable measurements of Plasma on one machine.
fn main() {}
