//! Measures Plasma next to what the kernel alone can do, on this machine and in the same run.
//!
//! `fanout` compares sends per second of CPU, `ingest` events per second of CPU on their way into the log, `hold`
//! memory per idle connection. Every figure comes with its spread, and every reference is taken with the same code,
//! minutes from the figure that it is compared with.
//!
//! Rates are per second of the sending thread's CPU clock, not of the clock on the wall: what else runs on the machine
//! then costs patience and not throughput. It still costs warm caches, so subjects alternate in short windows, and a
//! ratio is taken between neighbours. Not measured here: latency, connecting, network cards.
//!
//! Traffic stays on the loopback addresses unless `hold --target` names another one.

mod args;
mod fanout;
mod grpc;
mod hold;
mod ingest;
mod machine;
mod memory;
mod report;
mod ring;
mod stats;

use std::error::Error;
use std::process::ExitCode;

use args::Command;

/// What went wrong, in words for the person at the terminal.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("bench: {error}\nTry `bench --help`.");
            return ExitCode::from(2);
        }
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    machine::raise_file_limit()?;
    match command {
        Command::Help(text) => print!("{text}"),
        Command::Fanout(options) => fanout::run(&options)?,
        Command::Ingest(options) => ingest::run(&options)?,
        Command::Hold(options) => hold::run(&options)?,
        Command::Acceptor(options) => hold::acceptor::run(options)?,
        Command::Serve(server, connections) => grpc::served::run(server, connections)?,
    }
    Ok(())
}
