//! What the operator wants: environment variables, overridden by flags, made into one typed value before anything
//! opens.
//!
//! Everything that may be set is one row of `table`; parsing, `--help`, the reference and `--print-config` all come
//! from there. First `said` finds out what was said and where, then the rows say what it means, then `rules` looks at
//! the whole.
//!
//! Never opens a file or a socket and never prints: what it is given goes in, a [`Config`], a text or errors come out.

mod duration;
mod nearest;
mod rules;
mod said;
mod setting;
mod show;
mod table;
mod value;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::log::Level;
use said::{Ask, Said};
pub use show::reference_markdown;

/// Everything that may be set, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Where clients connect; 0 lets the kernel choose, here and for the other ports.
    pub port: u16,
    /// The second client port, by convention for gRPC.
    pub grpc_port: u16,
    /// Where operators and Prometheus connect.
    pub metrics_port: u16,
    /// Where the profiler listens.
    pub pprof: Pprof,
    /// Whether `/debug` exists.
    pub debug: bool,
    /// Value of `Access-Control-Allow-Origin`; without one the header is absent. May be empty.
    pub origin: Option<String>,
    /// Server-Sent Events.
    pub sse: Sse,
    /// HTTP/2 and gRPC.
    pub http2: Http2,
    /// Where events come from.
    pub upstream: Upstream,
    /// Period of the made-up events of [`Upstream::Mock`].
    pub mock_interval: Duration,
    /// The Redis to subscribe to and publish through.
    pub redis: Redis,
    /// One line per request that ended.
    pub access_log: LogTo,
    /// What goes wrong, and the life of the process.
    pub error_log: LogTo,
    /// Certificate and key; TLS is on when both are there.
    pub tls: Tls,
    /// Metrics that are sent, other than those that are fetched.
    pub metrics: Metrics,
    /// Threads that serve, each with a ring of its own.
    pub shards: usize,
    /// What an idle client costs.
    pub idle: Idle,
    /// Bytes of the event log.
    pub history_bytes: usize,
    /// Largest event, in bytes of its JSON.
    pub event_max_bytes: usize,
    /// Sends from this size on are zero-copy; `None` is never.
    pub zerocopy_bytes: Option<usize>,
    /// What becomes of a client that the event log has lapped.
    pub slow_consumer: SlowConsumer,
    /// How long a write may make no progress.
    pub write_timeout: Duration,
    /// How long a request head may take.
    pub request_timeout: Duration,
    /// How long the farewells take.
    pub drain: Duration,
    /// Who may publish over HTTP.
    pub publish: Publish,
    /// The systems whose clients are served.
    pub dialects: Vec<Dialect>,
    /// Ports that were accepted and are not opened, because what they are for does not exist yet: name and number.
    pub unopened_ports: Vec<(&'static str, u16)>,
    /// What works but may not be meant; for the error log.
    pub warnings: Vec<String>,
}

/// Where the profiler listens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pprof {
    /// Address to bind; empty is every interface.
    pub host: String,
    /// Port to bind.
    pub port: u16,
}

/// Server-Sent Events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sse {
    /// Milliseconds for the `retry:` line.
    pub retry_millis: u32,
    /// Name of the query parameter that lists event types.
    pub event_query: String,
    /// A stream that was quiet for this long gets a comment.
    pub heartbeat: Duration,
}

/// HTTP/2 and gRPC. A time of zero is never.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Http2 {
    /// Streams that one connection may have open.
    pub max_streams: u32,
    /// A peer that was silent for this long is asked whether it is there.
    pub keepalive: Duration,
    /// How long it may take to answer.
    pub keepalive_timeout: Duration,
    /// Shortest time between two PINGs of a client to which nothing else is sent.
    pub keepalive_min: Duration,
    /// A connection without a stream for this long is ended.
    pub max_idle: Duration,
    /// A connection of this age is ended.
    pub max_age: Duration,
    /// Whether gRPC server reflection is served.
    pub reflection: bool,
}

/// Where events come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upstream {
    /// From HTTP publishers only, no outside broker.
    #[default]
    Memory,
    /// From Redis Pub/Sub.
    Redis,
    /// Made up, one per interval.
    Mock,
}

/// The Redis to subscribe to and publish through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Redis {
    /// Where it is.
    pub addr: HostPort,
    /// User for AUTH; without one AUTH has the password only.
    pub username: Option<String>,
    /// Password for AUTH; without one and without a user there is no AUTH.
    pub password: Option<Secret>,
    /// Database for SELECT, which is sent unless it is 0.
    pub db: u32,
    /// Channels to subscribe to, as they are; the first one is published to.
    pub channels: Vec<String>,
    /// What to do when Redis failed too often.
    pub over_max_retry: OverMaxRetry,
    /// Consecutive failures that are too many.
    pub max_retry: u32,
    /// Silence after which a PING asks whether the link lives; zero never asks.
    pub timeout: Duration,
    /// Longest pause between attempts to connect.
    pub retry_interval: Duration,
}

/// A name or address, without brackets, and a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPort {
    /// Name, IPv4 or IPv6 address.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// What to do when Redis failed too often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverMaxRetry {
    /// Go on trying.
    #[default]
    Alive,
    /// End with exit code 1.
    Die,
}

/// One of the logs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogTo {
    /// Where its lines go.
    pub out: Output,
    /// The least level it takes.
    pub level: Level,
}

/// Where lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Nowhere.
    #[default]
    Discard,
    /// A file that is appended to.
    File(PathBuf),
}

/// Certificate and key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// PEM file with the certificate chain.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the key.
    pub key_file: Option<PathBuf>,
}

/// Metrics that are sent. The sender itself is always off for now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// How often values are taken.
    pub interval: Duration,
    /// Sender `log`.
    pub log: MetricsLog,
    /// Sender `syslog`.
    pub syslog: MetricsSyslog,
}

/// Metrics as lines of text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsLog {
    /// Where lines go.
    pub out: Output,
    /// What each line begins with; may be empty.
    pub prefix: String,
    /// Bits of the time stamp: 1 date, 2 time, 4 microseconds, 8 and 16 source file, 32 UTC, 64 prefix before message.
    pub flag: u32,
    /// How often they are written.
    pub interval: Duration,
}

/// Metrics as syslog messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsSyslog {
    /// Name of the program in each message.
    pub tag: String,
    /// How often they are sent.
    pub interval: Duration,
    /// Read for the sake of old configurations; messages are always `info`.
    pub severity: u8,
    /// Facility, already shifted: local0 is 128.
    pub facility: u8,
    /// `udp`, `tcp` or empty for the local socket.
    pub network: String,
    /// Where the network form goes.
    pub addr: String,
}

/// What an idle client costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// One armed poll: a hang-up is noticed at once.
    #[default]
    Poll,
    /// Nothing: a hang-up is noticed by the next write or sweep.
    Dense,
}

/// What becomes of a client that the event log has lapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowConsumer {
    /// It is told what it lost and goes on with the oldest event held.
    #[default]
    Gap,
    /// Its stream ends.
    Close,
}

/// Who may publish over HTTP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Publish {
    /// Whoever knows this.
    pub token: Option<Secret>,
    /// Everybody.
    pub open: bool,
    /// Largest publish request.
    pub max_bytes: usize,
}

/// A system whose clients are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The server's own.
    Plasma,
}

/// A text that no log, no error and no `{:?}` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("***")
    }
}

/// One line that names the setting, its value and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    /// An error that reads `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// What the command line asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Serve.
    Run(Box<Config>),
    /// Print `text`, warn on standard error, and end with exit code 0.
    Print {
        /// For standard output, its last newline included.
        text: String,
        /// What works but may not be meant.
        warnings: Vec<String>,
    },
}

impl Config {
    /// Reads the command line (without the program's name) and the environment. All errors are reported, not the first.
    pub fn load<A, E>(args: A, env: E) -> Result<Outcome, Vec<ConfigError>>
    where
        A: IntoIterator<Item: Into<OsString>>,
        E: IntoIterator<Item = (OsString, OsString)>,
    {
        let said = Said::hear(args, env);
        let print = |text| Ok(Outcome::Print { text, warnings: Vec::new() });
        match said.ask {
            Ask::Help => return print(show::help()),
            Ask::Version => return print(show::version()),
            Ask::Reference => return print(reference_markdown()),
            Ask::Run | Ask::Check | Ask::Print => {}
        }
        let mut config = Self::default();
        let mut errors = said.errors.clone();
        for (setting, value) in said.values() {
            if let Some(value) = value
                && let Err(wrong) = (setting.set)(&mut config, &value.text)
            {
                errors.push(ConfigError(format!("{}: {wrong}", setting.quote(value))));
            }
        }
        // A rule about several settings says nothing sensible while one of them is unread.
        if errors.is_empty() {
            errors = rules::judge(&mut config, &said);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        config.warnings.splice(0..0, said.warnings.iter().cloned());
        match said.ask {
            Ask::Print => Ok(Outcome::Print { text: show::values(&said), warnings: config.warnings }),
            Ask::Check => Ok(Outcome::Print { text: "configuration ok\n".to_owned(), warnings: config.warnings }),
            _ => Ok(Outcome::Run(Box::new(config))),
        }
    }
}

#[cfg(test)]
mod tests;
