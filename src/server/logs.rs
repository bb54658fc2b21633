//! Where log lines go: one thread takes them from the queue and writes them, many at a time.
//!
//! An output that fails or hangs holds up this thread and nobody else.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::config::{Config, ConfigError, LogTo, Output};
use crate::base::log::{self, Line, Lines, Log, Next, Target};

/// Bytes that are gathered before they are written: large enough that the system call does not matter.
const BATCH_LEN: usize = 64 * 1024;

/// How often the thread looks for dropped lines when no line comes.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Longest wait for the last lines at the end.
const CLOSE_FOR: Duration = Duration::from_secs(1);

/// Both logs, open, with their thread.
pub struct Logs {
    log: Log,
}

impl Logs {
    /// Opens the outputs and starts the thread.
    pub fn open(config: &Config) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut open = |name: &str, to: &LogTo| {
            open(&to.out).unwrap_or_else(|error| {
                let shown = if let Output::File(path) = &to.out { format!("={path:?}") } else { String::new() };
                let allowed = "allowed is stdout, stderr, discard or a file that can be appended to";
                errors.push(ConfigError::new(format!("{name}{shown}: cannot be opened: {error}; {allowed}")));
                None
            })
        };
        let error = open("PLASMA_ERROR_LOG_OUT", &config.error_log);
        let access = open("PLASMA_ACCESS_LOG_OUT", &config.access_log);
        let levels = log::Levels {
            error: error.is_some().then_some(config.error_log.level),
            access: access.is_some().then_some(config.access_log.level),
        };
        let (log, lines) = log::channel(levels, system_clock);
        let writer = Writer { lines, error: Out::new(error), access: Out::new(access) };
        if errors.is_empty()
            && let Err(error) = thread::Builder::new().name("log".to_owned()).spawn(move || writer.run())
        {
            errors.push(ConfigError::new(format!("cannot start the thread that writes logs: {error}")));
        }
        if errors.is_empty() { Ok(Self { log }) } else { Err(errors) }
    }

    /// A handle, for one thread.
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    /// Writes what is queued, but for no longer than a second. Lines that come later are dropped.
    pub fn close(self) {
        self.log.close(CLOSE_FOR);
    }
}

/// Nanoseconds since 1970.
fn system_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn open(output: &Output) -> io::Result<Option<File>> {
    match output {
        // Own descriptors, so that no lock and no buffer of the standard library is in between.
        Output::Stdout => Ok(Some(io::stdout().as_fd().try_clone_to_owned()?.into())),
        Output::Stderr => Ok(Some(io::stderr().as_fd().try_clone_to_owned()?.into())),
        Output::Discard => Ok(None),
        Output::File(path) => OpenOptions::new().append(true).create(true).mode(0o644).open(path).map(Some),
    }
}

/// One output and what is to be written to it.
struct Out {
    file: Option<File>,
    batch: Vec<u8>,
}

impl Out {
    fn new(file: Option<File>) -> Self {
        Self { file, batch: Vec::new() }
    }

    fn add(&mut self, line: &[u8]) {
        if self.file.is_some() {
            self.batch.extend_from_slice(line);
        }
    }

    /// Writes the batch; returns the lines that could not be written.
    fn flush(&mut self) -> u64 {
        let Some(file) = &mut self.file else { return 0 };
        let written = write_all(file, &self.batch);
        let lost = memchr::memchr_iter(b'\n', &self.batch[written..]).count();
        self.batch.clear();
        // A burst must not keep its memory for ever.
        self.batch.shrink_to(BATCH_LEN);
        lost as u64
    }
}

/// Bytes that were written before the output failed for good.
fn write_all(file: &mut File, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(len) => written += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A terminal or pipe that somebody made non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(10)),
            // A pipe whose reader is gone, a full disk: the lines are lost and counted, the server goes on.
            Err(_) => break,
        }
    }
    written
}

struct Writer {
    lines: Lines,
    error: Out,
    access: Out,
}

impl Writer {
    fn run(mut self) {
        let mut next = self.lines.wait();
        loop {
            match next {
                Next::Line(line) => next = self.gather(line),
                Next::Empty => {
                    self.flush();
                    self.report_dropped();
                    next = self.lines.wait_for(LOOK_EVERY);
                }
                Next::Close(done) => {
                    self.flush();
                    self.report_dropped();
                    // Whoever asked may have given up waiting.
                    let _ = done.send(());
                    return;
                }
                Next::Gone => return self.flush(),
            }
        }
    }

    fn gather(&mut self, line: Line) -> Next {
        match line.target {
            Target::Error => self.error.add(&line.text),
            Target::Access => self.access.add(&line.text),
        }
        if self.error.batch.len() + self.access.batch.len() >= BATCH_LEN {
            self.flush();
        }
        self.lines.take()
    }

    fn flush(&mut self) {
        let lost = self.error.flush() + self.access.flush();
        if lost > 0 {
            self.lines.lose(lost);
        }
    }

    fn report_dropped(&mut self) {
        if self.error.file.is_none() {
            return;
        }
        if let Some((line, count)) = self.lines.take_dropped() {
            self.error.add(&line);
            if self.error.flush() > 0 {
                // Nobody could be told: the count waits until the output works again.
                self.lines.lose(count);
            }
        }
    }
}

#[cfg(test)]
mod tests;
