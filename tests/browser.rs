//! Case 82 of the compatibility checklist: real browsers and EventSource libraries against the built binary.
//!
//! Each test runs one script of `tests/browser` under Node.js; `tests/run` installs what they need.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::skip;

/// Debian's Chromium, unless `CHROMIUM` names another.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Runs a script, which ends by itself, and shows what it printed when it failed.
fn passes(script: &str, needs_browser: bool) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| CHROMIUM.to_owned());
    if Command::new("node").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip("node is not installed");
    }
    if !folder.join("node_modules/playwright-core").exists() {
        return skip("`npm ci` has not been run in tests/browser");
    }
    if needs_browser && !Path::new(&chromium).exists() {
        return skip("chromium is not installed");
    }
    let mut command = Command::new("node");
    command.arg(folder.join(script)).env("PLASMA_BIN", env!("CARGO_BIN_EXE_plasma")).env("CHROMIUM", chromium);
    let output = command.output().expect("node can be started");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {}\n{stdout}\n{stderr}", output.status);
}

#[test]
fn case_82_a_native_event_source_misses_nothing_and_sees_nothing_twice() {
    passes("native.mjs", true);
}

#[test]
fn case_82_a_native_event_source_is_told_of_a_restart() {
    passes("restart.mjs", true);
}

#[test]
fn case_82_the_yaffle_polyfill_resumes_by_query() {
    passes("polyfill.mjs", true);
}

#[test]
fn case_82_the_npm_library_resumes() {
    passes("library.mjs", false);
}

#[test]
fn the_debug_page_works_on_a_phone() {
    passes("debug_page.mjs", true);
}
