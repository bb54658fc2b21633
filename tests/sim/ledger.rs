//! x
pub struct Expected; pub struct Ledger;
