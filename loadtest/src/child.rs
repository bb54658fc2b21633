//! A server as seen from its parent: a process of its own, so that its memory and its limit of open files are its own
//! as well. It is this same program with other words.
//!
//! Such a program writes its port as the first line, then one line with a count for every byte on its standard input,
//! and ends with it.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;

/// Longest time for the child to close its sockets and end.
const END_FOR_MAX: Duration = Duration::from_secs(60);

/// A running server. Dropping it ends it.
pub struct Child {
    process: process::Child,
    /// Closed to end the child.
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    port: u16,
}

impl Child {
    /// Starts this program with these words.
    pub fn start<'w>(words: impl IntoIterator<Item = &'w str>) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(words);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (questions, answers) = (process.stdin.take(), process.stdout.take().ok_or("the child has no output")?);
        let mut child = Self { process, questions, answers: BufReader::new(answers), port: 0 };
        child.port = child.answer()?;
        Ok(child)
    }

    /// Where it listens, among other addresses of this machine.
    pub fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How many connections it has accepted, or streams it has opened.
    pub fn count(&mut self) -> Result<u64, Failure> {
        if let Some(questions) = &mut self.questions {
            questions.write_all(b"?")?;
            questions.flush()?;
        }
        self.answer()
    }

    fn answer<T: std::str::FromStr>(&mut self) -> Result<T, Failure> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.trim().parse().map_err(|_| "a server of ours ended early".into())
    }

    /// Ends it and waits until its sockets are gone.
    pub fn stop(mut self) -> Result<(), Failure> {
        drop(self.questions.take());
        let deadline = Instant::now() + END_FOR_MAX;
        while self.process.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err("a server of ours does not end".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both do nothing for a child that has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
