//! The `plasma` binary: see the crate documentation.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use plasma::base::log::{Level, Log};
use plasma::server::config::{Config, Outcome};
use plasma::server::logs::Logs;
use plasma::server::run::run;

/// What a configuration that cannot be used ends with.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let config = match Config::load(std::env::args_os().skip(1), std::env::vars_os()) {
        Ok(Outcome::Run(config)) => *config,
        Ok(Outcome::Print { text, warnings }) => {
            complain("warning: ", &warnings);
            // Whoever closed the pipe has read enough.
            let _ = io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(errors) => return refuse(&errors),
    };
    let logs = match Logs::open(&config) {
        Ok(logs) => logs,
        Err(errors) => return refuse(&errors),
    };
    tell(&logs.log(), &config);
    run(config, logs)
}

fn refuse(errors: &[impl Display]) -> ExitCode {
    complain("", errors);
    ExitCode::from(EXIT_CONFIG)
}

/// One line each on standard error, which may be closed.
fn complain(kind: &str, lines: &[impl Display]) {
    for line in lines {
        let _ = writeln!(io::stderr(), "plasma: {kind}{line}");
    }
}

/// What the operator should know before the first client comes.
fn tell(log: &Log, config: &Config) {
    for warning in &config.warnings {
        log.announce(Level::Warn, "configuration", |fields| fields.str("warning", warning));
    }
    for (name, port) in &config.unopened_ports {
        log.announce(Level::Info, "port not opened: its service does not exist yet", |fields| {
            fields.str("setting", name);
            fields.uint("port", u64::from(*port));
        });
    }
}
