//! The program: words into a command, the command's findings onto the terminal.

use std::process::ExitCode;

use loadtest::options::{self, Command};
use loadtest::{Failure, acceptor, command, machine, reference};

fn main() -> ExitCode {
    let command = match options::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("loadtest: {error}\nTry `loadtest --help`.");
            return ExitCode::from(2);
        }
    };
    match run(command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all was well.
fn run(command: Command) -> Result<bool, Failure> {
    machine::raise_file_limit()?;
    match command {
        Command::Help(text) => print!("{text}"),
        Command::Reference(faults) => reference::run(faults)?,
        Command::Acceptor { rings, armed } => acceptor::run(acceptor::Options { rings, armed })?,
        Command::Run(scenario, options) => return command::run(scenario, &options),
    }
    Ok(true)
}
