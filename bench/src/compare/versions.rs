//! What exactly was compared: versions of everything, and the date.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::machine::Machine;
use crate::peers::Peer;

/// The crates that this program was built with, by its lock file.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// Where and when, and which versions.
pub struct Circumstances {
    machine: Machine,
    date: String,
    versions: Vec<(Peer, String)>,
}

impl Circumstances {
    /// As they are now.
    pub fn look(peers: &[Peer]) -> Self {
        Self {
            machine: Machine::look(),
            date: said_by("date", &["--utc", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default(),
            versions: peers.iter().map(|&peer| (peer, version(peer))).collect(),
        }
    }

    /// Lines of Markdown: the machine, the date, and a list of versions.
    pub fn to_markdown(&self) -> String {
        let versions: String =
            self.versions.iter().map(|(peer, version)| format!("- **{}**: {version}\n", peer.name())).collect();
        format!("{}, {}\n\n{versions}", self.date, self.machine.line())
    }

    /// The same as an object.
    pub fn to_json(&self) -> Value {
        let versions: serde_json::Map<_, _> =
            self.versions.iter().map(|(peer, version)| (peer.name().to_owned(), json!(version))).collect();
        json!({ "date": self.date, "machine": self.machine.to_json(), "versions": versions })
    }
}

fn version(peer: Peer) -> String {
    match peer {
        Peer::Plasma => match commit() {
            Some(commit) => format!("{} ({commit}), its defaults", env!("CARGO_PKG_VERSION")),
            None => format!("{}, its defaults", env!("CARGO_PKG_VERSION")),
        },
        Peer::Bare => "one thread, one io_uring ring: sends and nothing else; neither topics nor resume".to_owned(),
        Peer::Nchan => {
            let package = said_by("dpkg-query", &["--show", "--showformat", "${Version}", "libnginx-mod-nchan"]);
            format!("{}, nchan {}", nginx(), package.as_deref().unwrap_or("of unknown version"))
        }
        Peer::Axum => format!("{}; frames made once, no resume", crates(&["axum", "hyper", "tokio"])),
        Peer::Tonic => format!("{}; no resume", crates(&["tonic", "h2", "tokio"])),
    }
}

/// The commit that this program was built from, where its sources still are.
fn commit() -> Option<String> {
    let sources = env!("CARGO_MANIFEST_DIR");
    Path::new(sources).exists().then(|| said_by("git", &["-C", sources, "rev-parse", "--short", "HEAD"])).flatten()
}

/// `nginx/1.22.1`, as it says itself.
fn nginx() -> String {
    let output = Command::new("nginx").arg("-v").output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stderr).trim().to_owned()).unwrap_or_default();
    said.rsplit(' ').next().unwrap_or_default().to_owned()
}

/// The first line that a program writes, if it ends well.
fn said_by(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

/// Names and versions by the lock file.
fn crates(names: &[&str]) -> String {
    let version = |name: &str| {
        let (_, rest) = LOCK.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        rest.split_once('"').map(|(version, _)| version)
    };
    let words: Vec<String> =
        names.iter().map(|name| format!("{name} {}", version(name).unwrap_or("of unknown version"))).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_crates_are_known() {
        let words = crates(&["axum", "no such crate"]);
        assert!(words.starts_with("axum 0."), "{words}");
        assert!(words.ends_with("no such crate of unknown version"), "{words}");
    }
}
