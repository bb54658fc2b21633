//! What a run is to do, and the command line that says so: one table, from which the help is written too.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

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

/// One flag.
struct Flag {
    long: &'static str,
    short: Option<char>,
    /// What its value is called; empty for none.
    value: &'static str,
    help: &'static str,
    /// The scenarios that know it; empty for all.
    of: &'static [Scenario],
    set: fn(&mut Options, &str) -> Result<(), Failure>,
}

use Scenario::{Churn, Fanout, Hold, Slow, Storm};

/// Those that publish all the time.
const FLOWS: &[Scenario] = &[Fanout, Storm, Slow, Churn];

const FLAGS: &[Flag] = &[
    flag("target", Some('t'), "URL", "the server, as http://HOST:PORT", &[], |to, word| {
        put(&mut to.target, word.parse().map(Some))
    }),
    flag("subscribers", Some('n'), "N", "subscribers (1,000)", &[], |to, word| {
        put(&mut to.subscribers, count(word, 1))
    }),
    flag("protocol", Some('p'), "NAME", "sse (over HTTP/1.1), sse2 (over HTTP/2) or grpc", &[], |to, word| {
        put(&mut to.protocol, word.parse())
    }),
    flag("streams", None, "S", "subscribers that share a connection of HTTP/2 (1)", &[], |to, word| {
        put(&mut to.streams, count(word, 1))
    }),
    flag(
        "engine",
        Some('e'),
        "NAME",
        "uring, or raw for more connections than a process may have files",
        &[],
        |to, word| put(&mut to.engine, engine(word)),
    ),
    flag("threads", None, "T", "threads for the subscribers (1)", &[], |to, word| put(&mut to.threads, count(word, 1))),
    flag("topics", Some('k'), "K", "topics that subscribers are spread over (1)", &[], |to, word| {
        put(&mut to.topics, count(word, 1))
    }),
    flag("topic", None, "NAME", "topics are called NAME-0, NAME-1, ... (load)", &[], |to, word| {
        put(&mut to.topic_prefix, Ok(word.to_owned()))
    }),
    flag("path", None, "PATH", "what to GET ('/?eventType={topic}')", &[], |to, word| {
        put(&mut to.path, Ok(word.to_owned()))
    }),
    flag("header", Some('H'), "'N: V'", "a header to send besides; may be given several times", &[], |to, word| {
        header(word).map(|header| to.headers.push(header))
    }),
    flag("pace", None, "P", "connections on their way up at a time (256)", &[], |to, word| {
        put(&mut to.pace, count(word, 1))
    }),
    flag(
        "destinations",
        None,
        "D",
        "loopback addresses to spread over (as many as the local ports ask for)",
        &[],
        |to, word| put(&mut to.destinations, count(word, 1).map(Some)),
    ),
    flag("timeout", None, "SECONDS", "longest time for a connection to be answered (30)", &[], |to, word| {
        put(&mut to.answer_for_max, time(word))
    }),
    flag("pid", None, "PID[,PID]", "the server's processes, for their CPU time and memory", &[], |to, word| {
        put(&mut to.pids, pids(word))
    }),
    flag(
        "publish",
        None,
        "URL",
        "where: http://HOST:PORT/PATH, redis://HOST:PORT/CHANNEL or grpc://HOST:PORT (the target's /events)",
        &[],
        |to, word| put(&mut to.publish, Ok(Some(word.to_owned()))),
    ),
    flag(
        "format",
        None,
        "NAME",
        "plasma (a line of JSON for each event) or raw (a POST for each, {topic} in the path)",
        &[],
        |to, word| put(&mut to.format, format(word)),
    ),
    flag("token", None, "TOKEN", "bearer token for publishing", &[], |to, word| {
        put(&mut to.token, Ok(Some(word.to_owned())))
    }),
    flag("publishers", None, "P", "publishers, with a connection each (1)", FLOWS, |to, word| {
        put(&mut to.publishers, count(word, 1))
    }),
    flag(
        "rate",
        Some('r'),
        "R",
        "events per second over all publishers, or max: as fast as they are accepted (100)",
        FLOWS,
        |to, word| put(&mut to.rate, pace(word)),
    ),
    flag("batch", None, "B", "most events that are published together (64)", FLOWS, |to, word| {
        put(&mut to.batch, count(word, 1))
    }),
    flag("size", Some('s'), "BYTES", "length of an event's data (150)", &[], |to, word| {
        put(&mut to.size, count(word, 1))
    }),
    flag("duration", Some('d'), "SECONDS", "how long to publish what is measured (10)", FLOWS, |to, word| {
        put(&mut to.duration, time(word))
    }),
    flag("warmup", None, "SECONDS", "how long to publish before that (2)", FLOWS, |to, word| {
        put(&mut to.warmup, time(word))
    }),
    flag("grace", None, "SECONDS", "when nothing comes for so long, what is missing is lost (10)", &[], |to, word| {
        put(&mut to.grace, time(word))
    }),
    flag("stay", None, "SECONDS", "how long to hold them before the end (0)", &[Hold], |to, word| {
        put(&mut to.stay, time(word))
    }),
    flag(
        "bare",
        None,
        "",
        "measure bare sockets first, and tell the server's end apart from ours",
        &[Hold],
        |to, _| put(&mut to.bare, Ok(true)),
    ),
    flag("armed", None, "", "and once more with a poll armed on each of them", &[Hold], |to, _| {
        put(&mut to.armed, Ok(true))
    }),
    flag("storm", None, "M", "cut M of them, publish, let them resume, and time it (0)", &[Hold], |to, word| {
        put(&mut to.storm, count(word, 0))
    }),
    flag(
        "share",
        None,
        "PERCENT",
        "of the subscribers: who is cut (100), is slow (10), comes and goes (50)",
        &[Storm, Slow, Churn],
        |to, word| put(&mut to.share, percent(word).map(Some)),
    ),
    flag("trickle", None, "BYTES", "what the slow ones read per second; 0 is nothing (0)", &[Slow], |to, word| {
        put(&mut to.trickle, count(word, 0))
    }),
    flag(
        "churn",
        None,
        "R",
        "subscribers that leave, and as many that come, per second (100)",
        &[Churn],
        |to, word| put(&mut to.churn, count(word, 1)),
    ),
    flag("close", None, "HOW", "reset, or fin, which leaves our ends in TIME_WAIT (reset)", &[], |to, word| {
        put(&mut to.close, close(word))
    }),
    flag("json", None, "", "print JSON instead of the table", &[], |to, _| put(&mut to.json, Ok(true))),
    flag("hdr", None, "FILE", "write the latencies as an HdrHistogram log", FLOWS, |to, word| {
        put(&mut to.hdr, Ok(Some(word.into())))
    }),
    flag("quiet", Some('q'), "", "say nothing while it runs", &[], |to, _| put(&mut to.quiet, Ok(true))),
];

const fn flag(
    long: &'static str,
    short: Option<char>,
    value: &'static str,
    help: &'static str,
    of: &'static [Scenario],
    set: fn(&mut Options, &str) -> Result<(), Failure>,
) -> Flag {
    Flag { long, short, value, help, of, set }
}

impl Flag {
    fn is_of(&self, scenario: Scenario) -> bool {
        self.of.is_empty() || self.of.contains(&scenario)
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

fn overview() -> String {
    let mut text = "\
Loads a server that pushes events over Server-Sent Events or gRPC, and accounts for every one of them.

Usage: loadtest COMMAND --target http://HOST:PORT [OPTIONS]

Commands:
"
    .to_owned();
    for (_, name, what) in SCENARIOS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<8}{what}");
    }
    text.push_str(
        "
`loadtest COMMAND --help` explains each. The exit code is 0 when everything went well, 1 when one single event was
lost, repeated or out of order or a connection failed, and 2 when the words make no sense.
",
    );
    text
}

fn details(scenario: Scenario) -> String {
    let name = scenario.name();
    let what = SCENARIOS.iter().find(|(known, ..)| *known == scenario).map_or("", |(_, _, what)| what);
    let mut text =
        format!("loadtest {name}: {what}.\n\nUsage: loadtest {name} --target http://HOST:PORT [OPTIONS]\n\n");
    for flag in FLAGS.iter().filter(|flag| flag.is_of(scenario)) {
        let short = flag.short.map_or("   ".to_owned(), |letter| format!("-{letter},"));
        let left = format!("{short} --{} {}", flag.long, flag.value);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {left:<26} {}", flag.help);
    }
    text.push_str("  -h, --help                 this text\n");
    text.push_str(match scenario {
        Hold => {
            "
Kernel memory is the growth of the slab caches that sockets and rings live in, both ends of a connection together when
the server is on this machine. With --bare the server's end is told apart: half of a bare connection, plus what the
server adds to both ends, plus the growth of its resident memory. With --publish an event is sent to all at the end.
"
        }
        Fanout => {
            "
Latency counts from the moment at which an event was due by the schedule, or at rate max from its request.
"
        }
        Storm => {
            "
The recovery ends when all are back and have everything that was published before the last of them was.
"
        }
        Slow => {
            "
What the slow ones lose is no failure as long as the server says so; latencies are those of the others.
"
        }
        Churn => {
            "
Half of the subscribers stay and have to get everything; who comes has to get what is published after its answer.
"
        }
    });
    text
}

fn put<T>(place: &mut T, value: Result<T, Failure>) -> Result<(), Failure> {
    *place = value?;
    Ok(())
}

/// Digits, with `_` or `,` between them and `k` or `M` at the end as people like.
fn count(word: &str, min: u32) -> Result<u32, Failure> {
    let (digits, factor) = match word.strip_suffix('k').or_else(|| word.strip_suffix('M')) {
        Some(digits) => (digits, if word.ends_with('k') { 1_000 } else { 1_000_000 }),
        None => (word, 1),
    };
    let number = digits.replace(['_', ','], "").parse::<u32>().ok().and_then(|number| number.checked_mul(factor));
    number.filter(|number| *number >= min).ok_or_else(|| format!("not a whole number of at least {min}").into())
}

fn percent(word: &str) -> Result<u32, Failure> {
    count(word.trim_end_matches('%'), 0).ok().filter(|percent| *percent <= 100).ok_or_else(|| "not 0 to 100".into())
}

fn time(word: &str) -> Result<Duration, Failure> {
    let seconds = word.trim_end_matches('s').parse::<f64>().ok();
    let time = seconds.filter(|seconds| (0.0..=86_400.0).contains(seconds)).map(Duration::from_secs_f64);
    time.ok_or_else(|| "not a number of seconds up to a day".into())
}

fn pids(words: &str) -> Result<Vec<u32>, Failure> {
    words.split(',').map(|word| count(word, 1)).collect()
}

fn header(word: &str) -> Result<(String, String), Failure> {
    let (name, value) = word.split_once(':').ok_or("not a name and a value with a colon between them")?;
    let clean = |text: &str| !text.is_empty() && !text.contains(['\r', '\n', '\0']);
    let (name, value) = (name.trim(), value.trim());
    if !clean(name) || !clean(value) {
        return Err("not a header".into());
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn engine(word: &str) -> Result<Kind, Failure> {
    match word {
        "uring" => Ok(Kind::Uring),
        "raw" => Ok(Kind::Raw),
        _ => Err("there are uring and raw".into()),
    }
}

fn format(word: &str) -> Result<Format, Failure> {
    match word {
        "plasma" => Ok(Format::Plasma),
        "raw" => Ok(Format::Raw),
        _ => Err("there are plasma and raw".into()),
    }
}

fn pace(word: &str) -> Result<Pace, Failure> {
    if word == "max" {
        return Ok(Pace::Max);
    }
    let rate = match word.strip_suffix('k') {
        Some(thousands) => thousands.parse::<f64>().ok().map(|rate| rate * 1_000.0),
        None => word.replace(['_', ','], "").parse().ok(),
    };
    let rate = rate.filter(|rate| (0.001..=1e8).contains(rate)).map(Pace::Rate);
    rate.ok_or_else(|| "neither a number of events per second nor max".into())
}

fn way(url: &str, format: Format, token: Option<String>) -> Result<Way, Failure> {
    match url.split_once("://") {
        Some(("redis", _)) => Ok(Way::Redis(url.parse()?)),
        Some(("grpc", place)) => Ok(Way::Grpc(place.parse()?, token)),
        _ => {
            let url: Url = url.parse()?;
            Ok(Way::Http(
                Url { path: if url.path.is_empty() { "/".to_owned() } else { url.path }, ..url },
                format,
                token,
            ))
        }
    }
}

fn close(word: &str) -> Result<Close, Failure> {
    match word {
        "reset" => Ok(Close::Reset),
        "fin" => Ok(Close::Fin),
        _ => Err("there are reset and fin".into()),
    }
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
