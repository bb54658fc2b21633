//! The lines that a process prints, kept as they come.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use serde_json::Value;

use super::wait::Deadline;

/// One output stream of a process.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

struct Shared {
    printed: Mutex<Printed>,
    changed: Condvar,
}

struct Printed {
    lines: Vec<String>,
    /// Whether the stream was closed.
    ended: bool,
}

impl Lines {
    /// Reads `source` to its end in a thread of its own.
    pub fn follow(source: impl Read + Send + 'static) -> Self {
        let printed = Mutex::new(Printed { lines: Vec::new(), ended: false });
        let shared = Arc::new(Shared { printed, changed: Condvar::new() });
        let writer = shared.clone();
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                writer.printed.lock().expect("no reader panics with the lock").lines.push(line);
                writer.changed.notify_all();
            }
            writer.printed.lock().expect("no reader panics with the lock").ended = true;
            writer.changed.notify_all();
        });
        Self(shared)
    }

    /// Everything printed so far.
    pub fn all(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// How many lines so far are wanted.
    pub fn count(&self, wanted: impl Fn(&str) -> bool) -> usize {
        self.lock().lines.iter().filter(|line| wanted(line)).count()
    }

    /// The first wanted line, printed already or not yet; fails at the deadline and at the end of the stream.
    pub fn wait_for(&self, what: &str, deadline: Deadline, wanted: impl Fn(&str) -> bool) -> String {
        self.wait_for_nth(what, 1, deadline, wanted)
    }

    /// The `nth` wanted line, counted from 1.
    pub fn wait_for_nth(&self, what: &str, nth: usize, deadline: Deadline, wanted: impl Fn(&str) -> bool) -> String {
        let found = self.try_wait_for_nth(nth, deadline, wanted);
        found.unwrap_or_else(|| panic!("in vain: {what} ({nth}.)\nprinted:\n{}", self.all().join("\n")))
    }

    /// The `nth` wanted line, or `None` when the deadline or the end of the stream comes first.
    pub fn try_wait_for_nth(&self, nth: usize, deadline: Deadline, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let mut printed = self.lock();
        loop {
            if let Some(line) = printed.lines.iter().filter(|line| wanted(line)).nth(nth - 1) {
                return Some(line.clone());
            }
            if printed.ended {
                return None;
            }
            printed = self.0.changed.wait_timeout(printed, deadline.remaining()?).expect("as above").0;
        }
    }

    /// Everything, once the stream has been closed.
    pub fn wait_end(&self, deadline: Deadline) -> Vec<String> {
        let mut printed = self.lock();
        while !printed.ended {
            let left = deadline.remaining().expect("in vain: the end of the output");
            printed = self.0.changed.wait_timeout(printed, left).expect("as above").0;
        }
        printed.lines.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.0.printed.lock().expect("no writer panics with the lock")
    }
}

/// A log line as JSON; `Null` when it is none.
pub fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or(Value::Null)
}

/// Whether a log line's `msg` is `msg`.
pub fn says(line: &str, msg: &str) -> bool {
    json(line)["msg"] == msg
}

/// The keys of a JSON object of scalars in the order in which they stand.
pub fn keys(line: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let Value::Object(object) = json(line) else { panic!("no JSON object: {line}") };
    let mut placed: Vec<(usize, String)> = object
        .keys()
        .map(|key| (line.find(&format!("\"{key}\":")).expect("a key stands in its line"), key.clone()))
        .collect();
    placed.sort();
    keys.extend(placed.into_iter().map(|(_, key)| key));
    keys
}
