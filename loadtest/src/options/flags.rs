//! All flags in one table, and the help that is written from it.

use std::fmt::Write as _;

use super::Scenario::{Churn, Fanout, Hold, Slow, Storm};
use super::values::{close, count, engine, format, header, pace, percent, pids, put, time};
use super::{Options, SCENARIOS, Scenario};
use crate::Failure;

/// One flag.
pub(super) struct Flag {
    pub long: &'static str,
    pub short: Option<char>,
    /// What its value is called; empty for none.
    pub value: &'static str,
    pub help: &'static str,
    /// The scenarios that know it; empty for all.
    of: &'static [Scenario],
    pub set: fn(&mut Options, &str) -> Result<(), Failure>,
}

/// Those that publish all the time.
const FLOWS: &[Scenario] = &[Fanout, Storm, Slow, Churn];

pub(super) const FLAGS: &[Flag] = &[
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
    pub fn is_of(&self, scenario: Scenario) -> bool {
        self.of.is_empty() || self.of.contains(&scenario)
    }
}

pub(super) fn overview() -> String {
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

`loadtest reference lose=97` is a small server that loses every 97th delivery, to see what is said about it. Other
faults are repeat, swap, gap, cut, refuse, and stall with stall-ms; commas stand between them.
",
    );
    text
}

pub(super) fn details(scenario: Scenario) -> String {
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
