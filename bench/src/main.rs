//! Measures Plasma next to what the kernel alone can do, on this machine and in the same run.
//!
//! `fanout` compares sends per second of CPU, `ingest` events per second of CPU on their way into the log; `codecs` and
//! `ring` take the parts of the server one by one; `compare` puts other servers beside it. Every figure comes with its
//! spread, and every reference is taken with the same code, minutes from the figure that it is compared with.
//!
//! Rates are per second of the sending thread's CPU clock, not of the clock on the wall: what else runs on the machine
//! then costs patience and not throughput. It still costs warm caches, so subjects alternate in short windows, and a
//! ratio is taken between neighbours. Not measured here: latency, connecting, network cards.
//!
//! Traffic stays on the loopback addresses.

mod args;
mod codecs;
mod compare;
mod fanout;
mod grpc;
mod ingest;
mod peers;
mod ring_ops;
mod selection;
mod turns;

use std::process::ExitCode;

use args::Command;
use loadtest::{Failure, machine, report, ring, stats};

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
        Command::Codecs(options) => codecs::run(&options)?,
        Command::Ring(options) => ring_ops::run(&options)?,
        Command::Compare(options) => compare::run(&options)?,
        Command::Serve(options) => peers::run(&options)?,
        Command::Streams(server, connections) => grpc::served::run(server, connections)?,
    }
    Ok(())
}
