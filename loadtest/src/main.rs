//! Reserved for Plasma's open-loop load generator, which does not exist yet: running this says so and fails.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!("loadtest: not available yet; `cargo run --release -p bench -- --help` lists what can be measured today");
    ExitCode::from(2)
}
