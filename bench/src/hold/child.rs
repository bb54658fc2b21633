//! The bare acceptor as seen from its parent: a process of its own, so that its memory and its limit of open files are
//! its own as well.

use std::io::{BufRead, BufReader, Write};
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;

/// Longest time for the child to close its sockets and end.
const END_FOR_MAX: Duration = Duration::from_secs(60);

/// A running acceptor. Dropping it ends it.
pub struct Child {
    process: process::Child,
    /// Closed to end the child.
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    port: u16,
}

impl Child {
    /// Starts an acceptor with so many rings.
    pub fn start(rings: u32, armed: bool) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["acceptor", "--rings", &rings.to_string()]).args(armed.then_some("--armed"));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (questions, answers) = (process.stdin.take(), process.stdout.take().ok_or("the child has no output")?);
        let mut child = Self { process, questions, answers: BufReader::new(answers), port: 0 };
        child.port = child.answer()?;
        Ok(child)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How many connections it has accepted.
    pub fn accepted(&mut self) -> Result<u64, Failure> {
        if let Some(questions) = &mut self.questions {
            questions.write_all(b"?")?;
            questions.flush()?;
        }
        self.answer()
    }

    fn answer<T: std::str::FromStr>(&mut self) -> Result<T, Failure> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.trim().parse().map_err(|_| "the bare acceptor ended early".into())
    }

    /// Ends it and waits until its sockets are gone.
    pub fn stop(mut self) -> Result<(), Failure> {
        drop(self.questions.take());
        let deadline = Instant::now() + END_FOR_MAX;
        while self.process.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err("the bare acceptor does not end".into());
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
