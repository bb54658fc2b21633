//! From a configuration to a serving process and its exit code.

use std::process::ExitCode;

use super::config::Config;
use super::logs::Logs;
use crate::base::log::Level;

/// Serves until a signal ends it.
pub fn run(config: Config, logs: Logs) -> ExitCode {
    let log = logs.log();
    log.announce(Level::Fatal, "failed to start", |fields| {
        fields.uint("shards", config.shards as u64);
        fields.str("error", "this build does not serve");
    });
    drop(log);
    logs.close();
    ExitCode::FAILURE
}
