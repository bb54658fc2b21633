//! Logs on real files, full disks and pipes that nobody reads.

use std::path::PathBuf;

use super::*;
use crate::base::log::Level;

/// A directory of this test's own, gone at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("plasma-logs-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> LogTo {
        LogTo { out: Output::File(self.0.join(name)), level: Level::Info }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn to(error: LogTo, access: LogTo) -> Config {
    Config { error_log: error, access_log: access, ..Config::default() }
}

#[test]
fn case_78_a_file_is_appended_to_and_discard_is_nothing() {
    let dir = Dir::new("append");
    for round in 1..=2 {
        let logs = Logs::open(&to(LogTo::default(), dir.file("access"))).unwrap();
        let log = logs.log();
        assert!(!log.takes(Level::Fatal));
        for at in 0..1_000u64 {
            log.access("sse", |fields| fields.uint("at", at));
        }
        logs.close();
        let text = dir.read("access");
        assert_eq!(text.lines().count(), 1_000 * round);
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((last["msg"].as_str(), last["at"].as_u64()), (Some("sse"), Some(999)));
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(dir.0.join("access")).unwrap().permissions().mode();
    assert_eq!(mode & 0o133, 0, "no more than 0644: {mode:o}");
}

#[test]
fn both_logs_may_share_a_file() {
    let dir = Dir::new("shared");
    let logs = Logs::open(&to(dir.file("log"), dir.file("log"))).unwrap();
    let log = logs.log();
    log.announce(Level::Info, "up", |_| {});
    log.access("sse", |_| {});
    logs.close();
    assert_eq!(dir.read("log").lines().count(), 2);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_of_its_setting() {
    let dir = Dir::new("missing");
    let errors = Logs::open(&to(dir.file("no/error"), dir.file("no/access"))).err().unwrap();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2);
    assert!(
        texts[0].starts_with("PLASMA_ERROR_LOG_OUT=") && texts[0].contains("cannot be opened: No such file"),
        "{texts:?}"
    );
    assert!(texts[1].starts_with("PLASMA_ACCESS_LOG_OUT="), "{texts:?}");
}

#[test]
fn a_failing_output_loses_lines_but_not_their_number() {
    let dir = Dir::new("full");
    let full = LogTo { out: Output::File(PathBuf::from("/dev/full")), level: Level::Info };
    let logs = Logs::open(&to(dir.file("error"), full)).unwrap();
    let log = logs.log();
    for _ in 0..10 {
        log.access("sse", |_| {});
    }
    logs.close();
    let counts: u64 = dir
        .read("error")
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["msg"] == "log lines dropped")
        .map(|line| line["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counts, 10);
}

#[test]
fn a_reader_that_hangs_holds_up_nobody() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (log, lines) = log::channel(log::Levels { error: None, access: Some(Level::Info) }, system_clock);
    let file = File::from(std::os::fd::OwnedFd::from(writer));
    let hung = Writer { lines, error: Out::new(None), access: Out::new(Some(file)) };
    let thread = thread::spawn(move || hung.run());
    let began = std::time::Instant::now();
    let long = "x".repeat(900);
    for _ in 0..20_000 {
        log.access("sse", |fields| fields.str("x", &long));
    }
    assert!(log.dropped_count() > 0);
    assert!(!log.close(Duration::from_millis(50)));
    assert!(began.elapsed() < Duration::from_secs(5));
    // The reader leaves: every write fails from now on, and the writer ends when nobody can log any more.
    drop(reader);
    drop(log);
    thread.join().unwrap();
}
