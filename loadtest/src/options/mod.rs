//! What a run is to do, and the command line that says so.

mod flags;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

use self::flags::{FLAGS, details, overview};
use self::values::{count, way};
use crate::Failure;
use crate::engine::{Close, Kind, Protocol};
use crate::publish::http::Format;
use crate::publish::{Pace, Way};
use crate::reference::Faults;
use crate::target::Url;

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Print this text.
    Help(String),
    /// Run a scenario.
    Run(Scenario, Box<Options>),
    /// A small server that makes these mistakes: to see what the program says about them.
    Reference(Faults),
    /// The process at the other end of the reference for memory: so many rings, polls armed or not. Started by `hold`.
    Acceptor {
        /// Rings, each with a listener of its own.
        rings: u32,
        /// Whether a poll is armed on each connection.
        armed: bool,
    },
}

/// The scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Idle subscribers.
    Hold,
    /// Events to subscribers that keep up.
    Fanout,
    /// Everybody cut off and back.
    Storm,
    /// Some who do not read.
    Slow,
    /// Coming and going.
    Churn,
}

/// All scenarios, with their names and what they do in a line.
const SCENARIOS: [(Scenario, &str, &str); 5] = [
    (Scenario::Hold, "hold", "open very many idle subscribers, and say what each of them costs"),
    (
        Scenario::Fanout,
        "fanout",
        "publish to subscribers, and account for every event: how late, how dear, lost or not",
    ),
    (Scenario::Storm, "storm", "cut all subscribers while events flow, let them resume, and time the recovery"),
    (Scenario::Slow, "slow", "let some subscribers stop reading or trickle, and compare the others before and during"),
    (Scenario::Churn, "churn", "subscribers leave and come at a rate while events flow"),
];

impl Scenario {
    /// As it is called on the command line.
    pub fn name(self) -> &'static str {
        SCENARIOS.iter().find(|(scenario, ..)| *scenario == self).map_or("", |(_, name, _)| name)
    }
}

/// What a run is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The server.
    pub target: Option<Url>,
    /// Subscribers.
    pub subscribers: u32,
    /// Who keeps their connections.
    pub engine: Kind,
    /// What they speak.
    pub protocol: Protocol,
    /// Subscribers that share a connection, in HTTP/2.
    pub streams: u32,
    /// Topics that they are spread over.
    pub topics: u32,
    /// How names of topics begin.
    pub topic_prefix: String,
    /// What to GET.
    pub path: String,
    /// Headers besides.
    pub headers: Vec<(String, String)>,
    /// Threads for the subscribers.
    pub threads: u32,
    /// Connections on their way up at a time.
    pub pace: u32,
    /// Loopback addresses to spread over.
    pub destinations: Option<u32>,
    /// Longest time for one connection to be answered.
    pub answer_for_max: Duration,
    /// The server's processes.
    pub pids: Vec<u32>,
    /// Where to publish, as a URL.
    pub publish: Option<String>,
    /// How an event is written for HTTP.
    pub format: Format,
    /// Bearer token for publishing.
    pub token: Option<String>,
    /// Where to publish, with what belongs to it: of the three above.
    pub way: Option<Way>,
    /// Publishers.
    pub publishers: u32,
    /// How fast they publish.
    pub rate: Pace,
    /// Most events that go out together.
    pub batch: u32,
    /// Bytes of an event's data.
    pub size: u32,
    /// How long to publish what is measured.
    pub duration: Duration,
    /// How long to publish before that.
    pub warmup: Duration,
    /// Without an event for so long, what has not come is lost.
    pub grace: Duration,
    /// How long idle subscribers are held.
    pub stay: Duration,
    /// Whether to measure bare sockets first, as the reference for memory.
    pub bare: bool,
    /// Whether to measure them with a poll armed as well.
    pub armed: bool,
    /// How many of the held are cut and resume.
    pub storm: u32,
    /// Share of the subscribers, in percent: who is slow, who comes and goes, who is cut.
    pub share: Option<u32>,
    /// Bytes per second that the slow ones read.
    pub trickle: u32,
    /// Subscribers that leave, and come, per second.
    pub churn: u32,
    /// How connections are closed.
    pub close: Close,
    /// JSON instead of the table.
    pub json: bool,
    /// Where to write the histograms.
    pub hdr: Option<PathBuf>,
    /// No progress lines.
    pub quiet: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            target: None,
            subscribers: 1_000,
            engine: Kind::Uring,
            protocol: Protocol::Sse,
            streams: 1,
            topics: 1,
            topic_prefix: "load".to_owned(),
            path: "/?eventType={topic}".to_owned(),
            headers: Vec::new(),
            threads: 1,
            pace: 256,
            destinations: None,
            answer_for_max: Duration::from_secs(30),
            pids: Vec::new(),
            publish: None,
            format: Format::Plasma,
            token: None,
            way: None,
            publishers: 1,
            rate: Pace::Rate(100.0),
            batch: 64,
            size: 150,
            duration: Duration::from_secs(10),
            warmup: Duration::from_secs(2),
            grace: Duration::from_secs(10),
            stay: Duration::ZERO,
            bare: false,
            armed: false,
            storm: 0,
            share: None,
            trickle: 0,
            churn: 100,
            close: Close::Reset,
            json: false,
            hdr: None,
            quiet: false,
        }
    }
}

impl Options {
    /// Refuses what does not go together.
    fn check(mut self, scenario: Scenario) -> Result<Self, Failure> {
        let target = self.target.as_ref().ok_or("say where the server is, with --target http://HOST:PORT")?;
        if scenario != Scenario::Hold && self.publish.is_none() {
            self.publish = Some(format!("http://{}/events", target.authority));
        }
        self.way = self.publish.as_deref().map(|url| way(url, self.format, self.token.clone())).transpose()?;
        match &self {
            Self { engine: Kind::Raw, protocol: Protocol::Sse2 | Protocol::Grpc, .. } => {
                Err("--engine raw speaks SSE over HTTP/1.1 only".into())
            }
            Self { protocol: Protocol::Sse, streams: 2.., .. } => {
                Err("--streams is for HTTP/2: --protocol sse2 or grpc".into())
            }
            Self { armed: true, bare: false, .. } => Err("--armed goes with --bare".into()),
            Self { bare: true, engine: Kind::Uring, .. } => {
                Err("--bare goes with --engine raw: its connections weigh the same on both ends".into())
            }
            Self { storm: 1.., publish: None, .. } => {
                Err("--storm needs --publish to see that nothing was lost".into())
            }
            Self { storm, subscribers, .. } if storm > subscribers => {
                Err(format!("--storm {storm} is more than the {subscribers} subscribers").into())
            }
            Self { topics, subscribers, .. } if topics > subscribers => {
                Err(format!("{topics} topics are too many for {subscribers} subscribers").into())
            }
            Self { destinations: Some(2..), .. } if !target.address.ip().is_loopback() => {
                Err("--destinations spreads over loopback addresses only".into())
            }
            _ => Ok(self),
        }
    }

    /// Host and port of the server.
    pub fn authority(&self) -> String {
        self.target.as_ref().map(|target| target.authority.clone()).unwrap_or_default()
    }

    /// Subscribers that the share is of, at the end of them all.
    pub fn shared(&self, default_percent: u32) -> std::ops::Range<u32> {
        let percent = u64::from(self.share.unwrap_or(default_percent));
        let count = (u64::from(self.subscribers) * percent).div_ceil(100) as u32;
        self.subscribers - count.min(self.subscribers)..self.subscribers
    }
}

/// Words into a [`Command`].
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Command, Failure> {
    let mut parser = Parser::from_args(words);
    let name = match parser.next()? {
        None | Some(Long("help") | Short('h')) => return Ok(Command::Help(overview())),
        Some(Value(name)) => name.string()?,
        Some(other) => return Err(other.unexpected().into()),
    };
    match (name.as_str(), SCENARIOS.iter().find(|(_, known, _)| *known == name)) {
        ("help", _) => Ok(Command::Help(overview())),
        ("reference", _) => {
            let words = parser.values().ok().and_then(|mut words| words.next()).unwrap_or_default().string()?;
            Ok(Command::Reference(words.parse()?))
        }
        ("acceptor", _) => {
            let rings = count(&parser.value()?.string()?, 1)?;
            let armed = parser.next()?.is_some();
            Ok(Command::Acceptor { rings, armed })
        }
        (_, Some((scenario, ..))) => run(*scenario, &mut parser),
        _ => Err(format!("there is no command {name:?}").into()),
    }
}

fn run(scenario: Scenario, parser: &mut Parser) -> Result<Command, Failure> {
    let mut options = Options::default();
    while let Some(arg) = parser.next()? {
        let found = match &arg {
            Long("help") | Short('h') => return Ok(Command::Help(details(scenario))),
            Long(name) => FLAGS.iter().find(|flag| flag.long == *name),
            Short(letter) => FLAGS.iter().find(|flag| flag.short == Some(*letter)),
            Value(_) => None,
        };
        let Some(flag) = found else { return Err(arg.unexpected().into()) };
        if !flag.is_of(scenario) {
            return Err(format!("--{} is nothing for `{}`", flag.long, scenario.name()).into());
        }
        let word = if flag.value.is_empty() { String::new() } else { parser.value()?.string()? };
        (flag.set)(&mut options, &word).map_err(|error| format!("--{} {word:?}: {error}", flag.long))?;
    }
    Ok(Command::Run(scenario, Box::new(options.check(scenario)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (word, number) in [("100k", 100_000), ("1M", 1_000_000), ("1_000", 1_000), ("1,000", 1_000), ("7", 7)] {
            assert_eq!(count(word, 1).ok(), Some(number), "{word}");
        }
        for bad in ["", "k", "-1", "1.5", "0", "5000M", "1G"] {
            assert!(count(bad, 1).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn help_is_there_at_every_place() {
        for line in ["", "--help", "help", "hold --help", "fanout -n 5 -h", "storm -h", "slow -h", "churn --help"] {
            let Ok(Command::Help(text)) = parsed(line) else { panic!("{line:?} asks for help") };
            assert!(text.lines().all(|line| line.chars().count() <= 130), "{line:?}");
        }
    }

    #[test]
    fn options_land_where_they_belong() {
        let line =
            "fanout -t http://127.0.0.1:80 -n 2k -k 10 --rate max --pid 7,8 --protocol grpc --streams=100 --json";
        let Ok(Command::Run(Scenario::Fanout, options)) = parsed(line) else { panic!("a good line") };
        assert_eq!((options.subscribers, options.topics, options.rate), (2_000, 10, Pace::Max));
        assert_eq!((options.pids.as_slice(), options.protocol, options.streams), (&[7, 8][..], Protocol::Grpc, 100));
        let Some(Way::Http(url, Format::Plasma, None)) = &options.way else { panic!("events go to the target") };
        assert_eq!((url.authority.as_str(), url.path.as_str()), ("127.0.0.1:80", "/events"));
    }

    #[test]
    fn a_share_is_the_end_of_the_subscribers() {
        let options = Options { subscribers: 1_000, ..Options::default() };
        assert_eq!(options.shared(10), 900..1_000);
        assert_eq!(Options { share: Some(0), ..options.clone() }.shared(10), 1_000..1_000);
        assert_eq!(Options { subscribers: 3, share: Some(50), ..options }.shared(10), 1..3);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, word) in [
            ("fly", "fly"),
            ("hold", "--target"),
            ("hold -t nowhere", "nowhere"),
            ("hold -t http://127.0.0.1:1 -n 0", "--subscribers"),
            ("hold -t http://127.0.0.1:1 --rate 5", "--rate"),
            ("hold -t http://127.0.0.1:1 --armed", "--bare"),
            ("hold -t http://127.0.0.1:1 --bare", "raw"),
            ("hold -t http://127.0.0.1:1 --storm 5", "--publish"),
            ("hold -t http://127.0.0.1:1 --close loudly", "loudly"),
            ("hold -t http://10.0.0.1:1 --destinations 2", "loopback"),
            ("fanout -t http://127.0.0.1:1 -e raw -p grpc", "raw"),
            ("fanout -t http://127.0.0.1:1 --streams 2", "HTTP/2"),
            ("fanout -t http://127.0.0.1:1 -n 5 -k 6", "6 topics"),
            ("fanout -t http://127.0.0.1:1 --rate fast", "fast"),
            ("slow -t http://127.0.0.1:1 --share 101", "--share"),
            ("fanout -t http://127.0.0.1:1 -H nonsense", "nonsense"),
            ("fanout -t https://127.0.0.1:1", "TLS"),
            ("fanout --colour", "--colour"),
            ("fanout -t http://127.0.0.1:1 surplus", "surplus"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(word), "{line:?}: {error}");
        }
    }
}
