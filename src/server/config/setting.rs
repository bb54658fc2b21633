//! What a row of the table is.

use super::Config;
use super::said::{Origin, Value};
use super::value::Parsed;

/// One thing that may be set.
pub struct Setting {
    /// The heading it stands under.
    pub group: Group,
    /// Its variable as documented. The flag is made from it.
    pub name: &'static str,
    /// All variables that are read for it, in order of precedence.
    pub names: &'static [(Spelling, &'static str)],
    /// What its values look like.
    pub kind: Kind,
    /// What holds when nothing was said.
    pub default: Default,
    /// Whether an empty value is a value; else it is as if the variable were not set.
    pub keeps_empty: bool,
    /// What it does, in a sentence or two.
    pub doc: &'static str,
    /// Reads a value into the configuration.
    pub set: fn(&mut Config, &str) -> Parsed<()>,
}

/// How a variable relates to its setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// The documented name.
    Main,
    /// Another name that was always read.
    Also,
    /// A name that stood in documents or charts and was never read, or one without our prefix: works, with a warning.
    Odd,
}

/// The headings of help and reference, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Ports,
    Events,
    Redis,
    Publishing,
    Clients,
    Http2,
    Engine,
    Logs,
    Metrics,
}

impl Group {
    pub const ALL: [Self; 9] = [
        Self::Ports,
        Self::Events,
        Self::Redis,
        Self::Publishing,
        Self::Clients,
        Self::Http2,
        Self::Engine,
        Self::Logs,
        Self::Metrics,
    ];

    pub const fn title(self) -> &'static str {
        match self {
            Self::Ports => "Ports and TLS",
            Self::Http2 => "HTTP/2 and gRPC",
            Self::Events => "Where events come from",
            Self::Redis => "Redis",
            Self::Publishing => "Publishing over HTTP",
            Self::Clients => "Clients",
            Self::Engine => "Engine",
            Self::Logs => "Logs",
            Self::Metrics => "Metrics and profiling",
        }
    }
}

/// What values look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Bytes,
    Choice(&'static str),
    Duration,
    HostPort,
    Int,
    Level,
    List,
    Output,
    Path,
    Port,
    Secret,
    Text,
}

impl Kind {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Bytes => "bytes",
            Self::Choice(words) => words,
            Self::Duration => "duration",
            Self::HostPort => "host:port",
            Self::Int => "int",
            Self::Level => "level",
            Self::List => "list",
            Self::Output => "output",
            Self::Path => "path",
            Self::Port => "port",
            Self::Secret => "secret",
            Self::Text => "text",
        }
    }
}

/// What holds when nothing was said.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// This text, read like any other.
    Text(&'static str),
    /// The number of CPUs that the process may use.
    Cpus,
    /// Nothing.
    Unset,
}

impl Default {
    /// For help and reference.
    pub fn label(self) -> Option<&'static str> {
        match self {
            Self::Text("") => Some("empty"),
            Self::Text(text) => Some(text),
            Self::Cpus => Some("the number of CPUs"),
            Self::Unset => None,
        }
    }

    /// As it would have been said.
    pub fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.to_owned()),
            Self::Cpus => Some(cpus().to_string()),
            Self::Unset => None,
        }
    }
}

/// CPUs that the process may run on.
fn cpus() -> u32 {
    // It can fail on machines with more CPUs than the set holds, and then the set is full.
    rustix::thread::sched_getaffinity(None).map_or(1_024, |set| set.count()).clamp(1, 1_024)
}

impl Setting {
    /// `--subscriber-redis-addr`
    pub fn flag(&self) -> String {
        format!("--{}", self.name.trim_start_matches("PLASMA_").to_ascii_lowercase().replace('_', "-"))
    }

    /// The value as it may be shown, on one line.
    pub fn mask(&self, text: &str) -> String {
        if self.kind == Kind::Secret && !text.is_empty() { "***".to_owned() } else { text.escape_debug().to_string() }
    }

    /// Who said what, for errors: `PLASMA_PORT="x"`.
    pub fn quote(&self, value: &Value) -> String {
        let shown = self.mask(&value.text);
        match value.origin {
            Origin::Flag => format!("{}=\"{shown}\"", self.flag()),
            Origin::Variable(name) => format!("{name}=\"{shown}\""),
            Origin::Default => format!("{}=\"{shown}\"", self.name),
        }
    }
}
