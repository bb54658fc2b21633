//! The comparison in small: every server comes through every scenario that it is fit for, and all is written down. How
//! fast anybody was is not looked at.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, process, thread};

use serde_json::Value;

/// Who takes part where. Those that may be missing on a machine are left out.
const EXPECTED: [(&str, &[&str]); 8] = [
    ("fanout-1", &["plasma", "bare", "axum"]),
    ("fanout-16", &["plasma", "bare", "axum"]),
    ("latency", &["plasma", "bare", "axum"]),
    ("idle", &["plasma", "bare", "axum"]),
    ("topics", &["plasma", "axum"]),
    ("slow", &["plasma", "bare", "axum"]),
    ("storm", &["plasma", "bare", "axum"]),
    ("grpc", &["plasma", "tonic"]),
];

#[test]
fn a_quick_comparison_writes_tables_and_plots() {
    let bench = Path::new(env!("CARGO_BIN_EXE_bench"));
    for program in ["plasma", "loadtest"] {
        if !bench.with_file_name(program).exists() {
            return skip(&format!("{program} is not built: `cargo test --workspace` builds it"));
        }
    }
    let folder = Folder(env::temp_dir().join(format!("bench-compare-{}", process::id())));
    let mut command = Command::new(bench);
    command.args(["compare", "--quick", "--rounds", "1", "--out"]).arg(&folder.0);
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let all: Value = serde_json::from_str(&folder.read("compare.json")).expect("it writes JSON");
    let runs = all["runs"].as_array().expect("there are runs");
    let mut seen = BTreeSet::new();
    for run in runs {
        let words = |name: &str| run[name].as_str().unwrap_or_default().to_owned();
        assert!(run["error"].is_null(), "{}, {}: {}", words("scenario"), words("server"), run["error"]);
        if words("server") == "plasma" {
            assert_eq!(run["found"]["faults"], serde_json::json!([]), "{}", words("scenario"));
        }
        seen.insert((words("scenario"), words("server")));
    }
    let page = folder.read("compare.md");
    for (scenario, servers) in EXPECTED {
        for server in servers {
            assert!(seen.contains(&(scenario.to_owned(), (*server).to_owned())), "{scenario}: no {server}");
        }
    }
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| server")).count();
    assert_eq!(rows, seen.len() + EXPECTED.len(), "a row for each server and one under each heading:\n{page}");
    for plot in ["latency.svg", "memory.svg"] {
        let plot = folder.read(plot);
        assert!(plot.starts_with("<svg ") && plot.ends_with("</svg>\n") && plot.contains(">plasma<"), "{plot}");
        assert!(!plot.contains("NaN"), "{plot}");
    }
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Says that the running test proves nothing here, and why. Where `CI=true` that is a failure.
fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    assert!(env::var("CI").as_deref() != Ok("true"), "{test} may not be skipped in CI: {reason}");
    eprintln!("SKIPPED {test}: {reason}");
    if let Ok(list) = env::var("PLASMA_TEST_SKIPS") {
        let mut list = OpenOptions::new().create(true).append(true).open(list).expect("the list can be opened");
        writeln!(list, "{test}: {reason}").expect("the list can be written");
    }
}
