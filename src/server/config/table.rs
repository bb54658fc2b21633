//! Everything that may be set, one row each.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::setting::Default::{Cpus, Text, Unset};
use super::setting::Group::{Clients, Engine, Events, Http2, Logs, Metrics, Ports, Publishing, Redis};
use super::setting::Spelling::{Also, Main, Odd};
use super::setting::{Default, Group, Kind, Setting, Spelling};
use super::value::{self, Parsed};
use super::{Config, Dialect, Idle, Output, OverMaxRetry, Secret, SlowConsumer, Upstream};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// For periods that would be a busy loop when shorter.
const PERIOD: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;
const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);
/// For deadlines: a shorter one would cut off healthy clients, a longer one is none.
const DEADLINE: RangeInclusive<Duration> = Duration::from_millis(100)..=HOUR;

type Names = &'static [(Spelling, &'static str)];
type Set = fn(&mut Config, &str) -> Parsed<()>;

const fn row(group: Group, names: Names, kind: Kind, default: Default, doc: &'static str, set: Set) -> Setting {
    let mut at = 0;
    while !matches!(names[at].0, Main) {
        at += 1;
    }
    Setting { group, name: names[at].1, names, kind, default, keeps_empty: false, doc, set }
}

impl Setting {
    const fn keeping_empty(mut self) -> Self {
        self.keeps_empty = true;
        self
    }
}

/// Stores what was read.
fn put<T>(to: &mut T, read: Parsed<T>) -> Parsed<()> {
    *to = read?;
    Ok(())
}

fn filled(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn output(text: &str) -> Output {
    match text {
        "stdout" => Output::Stdout,
        "stderr" => Output::Stderr,
        "discard" => Output::Discard,
        path => Output::File(PathBuf::from(path)),
    }
}

fn dialects(text: &str) -> Parsed<Vec<Dialect>> {
    let mut dialects = Vec::new();
    for name in text.split(',').map(str::trim) {
        let later = ["sseserver", "sse-cluster", "unifrost"];
        let dialect = value::choice_or_later(name, &[("plasma", Dialect::Plasma)], &later);
        let dialect = dialect.map_err(|wrong| format!("{:?} is {wrong}", name))?;
        if !dialects.contains(&dialect) {
            dialects.push(dialect);
        }
    }
    Ok(dialects)
}

/// Every setting, group by group.
pub static TABLE: &[Setting] = &[
    row(
        Ports,
        &[(Main, "PLASMA_PORT")],
        Kind::Port,
        Text("8080"),
        "Where clients connect; 0 lets the kernel choose.",
        |c, v| put(&mut c.port, value::port(v)),
    ),
    row(
        Ports,
        &[(Also, "PLASMA_GRPCPORT"), (Main, "PLASMA_GRPC_PORT")],
        Kind::Port,
        Text("50051"),
        "The second client port, by convention for gRPC. Both ports speak the same: HTTP/1.1, HTTP/2 and gRPC.",
        |c, v| put(&mut c.grpc_port, value::port(v)),
    ),
    row(
        Ports,
        &[(Also, "PLASMA_MERTICSPORT"), (Main, "PLASMA_METRICS_PORT"), (Also, "PLASMA_METRICSPORT")],
        Kind::Port,
        Text("9999"),
        "Where operators and Prometheus connect. Not opened yet.",
        |c, v| put(&mut c.metrics_port, value::port(v)),
    ),
    row(
        Ports,
        &[(Main, "PLASMA_TLS_CERT_FILE"), (Odd, "CERT_FILE")],
        Kind::Path,
        Unset,
        "PEM file with the certificate chain. TLS needs the key too. Not supported yet.",
        |c, v| put(&mut c.tls.cert_file, Ok(filled(v).map(PathBuf::from))),
    ),
    row(
        Ports,
        &[(Main, "PLASMA_TLS_KEY_FILE"), (Odd, "KEY_FILE")],
        Kind::Path,
        Unset,
        "PEM file with the key of the certificate. Not supported yet.",
        |c, v| put(&mut c.tls.key_file, Ok(filled(v).map(PathBuf::from))),
    ),
    row(
        Events,
        &[(Main, "PLASMA_SUBSCRIBER_TYPE")],
        Kind::Choice("memory|redis|mock"),
        Text("memory"),
        "Where events come from: memory takes what is published over HTTP, redis subscribes to channels of a Redis, \
         mock makes events up.",
        |c, v| {
            let known = [("memory", Upstream::Memory), ("redis", Upstream::Redis), ("mock", Upstream::Mock)];
            let read = value::choice_or_later(v, &known, &["redis-stream"]);
            put(
                &mut c.upstream,
                read.map_err(|wrong| match wrong.strip_prefix("unknown") {
                    Some(allowed) => format!("can't get such {} type subscriber{allowed}", v.escape_debug()),
                    None => wrong,
                }),
            )
        },
    ),
    row(
        Events,
        &[(Main, "PLASMA_SUBSCRIBER_MOCK_INTERVAL"), (Odd, "PLASMA_MOCK_INTERVAL")],
        Kind::Duration,
        Text("1s"),
        "Period of the made-up events.",
        |c, v| put(&mut c.mock_interval, value::duration(v, PERIOD)),
    ),
    row(
        Events,
        &[(Main, "PLASMA_EVENT_MAX_BYTES")],
        Kind::Bytes,
        Text("1MiB"),
        "Largest event, in bytes of its JSON. Larger ones are refused.",
        |c, v| put(&mut c.event_max_bytes, value::bytes(v, 64..=64 * MIB)),
    ),
    row(
        Events,
        &[(Main, "PLASMA_HISTORY_BYTES")],
        Kind::Bytes,
        Text("64MiB"),
        "Bytes of the event log in each wire format, of which there are two (SSE and gRPC): clients that were away or \
         are late catch up from it. At least 8 times the largest event.",
        |c, v| put(&mut c.history_bytes, value::bytes(v, MIB..=64 * GIB)),
    ),
    row(
        Redis,
        &[(Main, "PLASMA_SUBSCRIBER_REDIS_ADDR")],
        Kind::HostPort,
        Text("localhost:6379"),
        "Where Redis is.",
        |c, v| put(&mut c.redis.addr, value::host_port(v)),
    ),
    row(
        Redis,
        &[(Main, "PLASMA_SUBSCRIBER_REDIS_USERNAME")],
        Kind::Text,
        Unset,
        "User for AUTH, where Redis has access lists.",
        |c, v| put(&mut c.redis.username, Ok(filled(v).map(str::to_owned))),
    ),
    row(Redis, &[(Main, "PLASMA_SUBSCRIBER_REDIS_PASSWORD")], Kind::Secret, Unset, "Password for AUTH.", |c, v| {
        put(&mut c.redis.password, Ok(filled(v).map(Secret::new)))
    })
    .keeping_empty(),
    row(
        Redis,
        &[(Main, "PLASMA_SUBSCRIBER_REDIS_DB")],
        Kind::Int,
        Text("0"),
        "Database to SELECT. Pub/Sub does not care.",
        |c, v| put(&mut c.redis.db, value::small(v, 0..=i64::from(i32::MAX))),
    ),
    row(
        Redis,
        &[(Main, "PLASMA_SUBSCRIBER_REDIS_CHANNELS")],
        Kind::List,
        Unset,
        "Channels to subscribe to, between commas, blanks included. Publishing goes to the first one.",
        |c, v| put(&mut c.redis.channels, Ok(filled(v).map(value::list).unwrap_or_default())),
    ),
    row(
        Redis,
        &[(Main, "PLASMA_SUBSCRIBER_REDIS_OVER_MAX_RETRY_BEHAVIOR"), (Odd, "OVER_MAX_RETRY_BEHAVIOR")],
        Kind::Choice("alive|die"),
        Text("alive"),
        "What to do when Redis failed too often in a row: go on trying, or end with exit code 1.",
        |c, v| {
            let known = [("alive", OverMaxRetry::Alive), ("die", OverMaxRetry::Die)];
            put(&mut c.redis.over_max_retry, value::choice(v, &known))
        },
    ),
    row(
        Redis,
        &[(Main, "PLASMA_SUBSCRIBER_REDIS_MAXRETRY"), (Odd, "PLASMA_SUBSCRIBER_REDIS_MAX_RETRY")],
        Kind::Int,
        Text("5"),
        "Failures in a row that are too often.",
        |c, v| put(&mut c.redis.max_retry, value::small(v, 0..=i64::from(i32::MAX))),
    ),
    row(
        Redis,
        &[(Main, "PLASMA_SUBSCRIBER_REDIS_TIMEOUT")],
        Kind::Duration,
        Text("1s"),
        "Silence after which a PING asks whether the link lives; 0 asks every 30 seconds.",
        |c, v| put(&mut c.redis.timeout, value::duration(v, Duration::ZERO..=DAY)),
    ),
    row(
        Redis,
        &[
            (Main, "PLASMA_SUBSCRIBER_REDIS_RETRY_INTERVAL"),
            (Odd, "RETRY_INTERVAL"),
            (Odd, "PLASMA_SUBSCRIBER_REDIS_RETRY_INTERBAL"),
        ],
        Kind::Duration,
        Text("5s"),
        "Longest pause between attempts to connect; the first ones follow quicker.",
        |c, v| put(&mut c.redis.retry_interval, value::duration(v, Duration::ZERO..=DAY)),
    ),
    row(
        Publishing,
        &[(Main, "PLASMA_PUBLISH_TOKEN")],
        Kind::Secret,
        Unset,
        "Who sends this as a bearer token may publish over HTTP. Without it, and without the next one, nobody may.",
        |c, v| put(&mut c.publish.token, filled(v).map(value::token).transpose()),
    ),
    row(
        Publishing,
        &[(Main, "PLASMA_PUBLISH_OPEN")],
        Kind::Bool,
        Text("false"),
        "Whether everybody may publish over HTTP.",
        |c, v| put(&mut c.publish.open, value::boolean(v)),
    ),
    row(
        Publishing,
        &[(Main, "PLASMA_PUBLISH_MAX_BYTES")],
        Kind::Bytes,
        Text("16MiB"),
        "Largest publish request, which may hold many events.",
        |c, v| put(&mut c.publish.max_bytes, value::bytes(v, KIB..=GIB)),
    ),
    row(
        Clients,
        &[(Main, "PLASMA_DIALECTS")],
        Kind::List,
        Text("plasma"),
        "The systems whose clients are served, between commas.",
        |c, v| put(&mut c.dialects, dialects(v)),
    ),
    row(
        Clients,
        &[(Main, "PLASMA_ORIGIN")],
        Kind::Text,
        Unset,
        "Value of Access-Control-Allow-Origin, such as * or https://example.org. Without it the header is not sent.",
        |c, v| put(&mut c.origin, value::header(v).map(Some)),
    )
    .keeping_empty(),
    row(
        Clients,
        &[(Main, "PLASMA_DEBUG")],
        Kind::Bool,
        Text("false"),
        "Whether /debug, a page to watch and publish, is there. It lets everybody publish.",
        |c, v| put(&mut c.debug, value::boolean(v)),
    ),
    row(
        Clients,
        &[(Main, "PLASMA_SSE_EVENTQUERY"), (Odd, "PLASMA_SSE_EVENT_QUERY")],
        Kind::Text,
        Text("eventType"),
        "Name of the query parameter in which SSE clients list event types.",
        |c, v| put(&mut c.sse.event_query, Ok(v.to_owned())),
    ),
    row(
        Clients,
        &[(Main, "PLASMA_SSE_RETRY")],
        Kind::Int,
        Text("2000"),
        "Milliseconds after which an SSE client that lost its connection comes back.",
        |c, v| put(&mut c.sse.retry_millis, value::small(v, 0..=i64::from(i32::MAX))),
    ),
    row(
        Clients,
        &[(Main, "PLASMA_SSE_HEARTBEAT")],
        Kind::Duration,
        Text("15s"),
        "An SSE stream that was quiet for this long gets a comment, so that nothing on the way gives it up.",
        |c, v| put(&mut c.sse.heartbeat, value::duration(v, Duration::from_secs(1)..=DAY)),
    ),
    row(
        Clients,
        &[(Main, "PLASMA_SLOW_CONSUMER")],
        Kind::Choice("gap|close"),
        Text("gap"),
        "What becomes of an SSE client so slow that the event log lapped it: it is told what it lost, or its \
         stream ends.",
        |c, v| {
            let known = [("gap", SlowConsumer::Gap), ("close", SlowConsumer::Close)];
            put(&mut c.slow_consumer, value::choice(v, &known))
        },
    ),
    row(
        Clients,
        &[(Main, "PLASMA_WRITE_TIMEOUT")],
        Kind::Duration,
        Text("30s"),
        "How long a client may take nothing of what is sent to it.",
        |c, v| put(&mut c.write_timeout, value::duration(v, DEADLINE)),
    ),
    row(
        Clients,
        &[(Main, "PLASMA_REQUEST_TIMEOUT")],
        Kind::Duration,
        Text("10s"),
        "How long a client may take to send a request head.",
        |c, v| put(&mut c.request_timeout, value::duration(v, DEADLINE)),
    ),
    row(
        Clients,
        &[(Main, "PLASMA_DRAIN")],
        Kind::Duration,
        Text("10s"),
        "Time over which streams are ended at shutdown, so that not all clients come back at once.",
        |c, v| put(&mut c.drain, value::duration(v, Duration::ZERO..=HOUR)),
    ),
    row(
        Http2,
        &[(Main, "PLASMA_GRPC_MAX_STREAMS")],
        Kind::Int,
        Text("1000"),
        "Streams that one HTTP/2 connection may have open; more are refused and may be tried on another.",
        |c, v| put(&mut c.http2.max_streams, value::small(v, 1..=65_535)),
    ),
    row(
        Http2,
        &[(Main, "PLASMA_GRPC_KEEPALIVE")],
        Kind::Duration,
        Text("30s"),
        "A client of HTTP/2 that was silent for this long is sent a PING; 0 is never.",
        |c, v| put(&mut c.http2.keepalive, value::duration(v, Duration::ZERO..=DAY)),
    ),
    row(
        Http2,
        &[(Main, "PLASMA_GRPC_KEEPALIVE_TIMEOUT")],
        Kind::Duration,
        Text("10s"),
        "How long it may take to answer before its connection is closed.",
        |c, v| put(&mut c.http2.keepalive_timeout, value::duration(v, DEADLINE)),
    ),
    row(
        Http2,
        &[(Main, "PLASMA_GRPC_KEEPALIVE_MIN")],
        Kind::Duration,
        Text("10s"),
        "PINGs of a client that come sooner after one another than this, and answer no data, are too many once there \
         were sixty: its connection is closed with ENHANCE_YOUR_CALM.",
        |c, v| put(&mut c.http2.keepalive_min, value::duration(v, Duration::ZERO..=HOUR)),
    ),
    row(
        Http2,
        &[(Main, "PLASMA_GRPC_MAX_IDLE")],
        Kind::Duration,
        Text("5m"),
        "An HTTP/2 connection without a stream for this long is ended; 0 is never.",
        |c, v| put(&mut c.http2.max_idle, value::duration(v, Duration::ZERO..=DAY)),
    ),
    row(
        Http2,
        &[(Main, "PLASMA_GRPC_MAX_AGE")],
        Kind::Duration,
        Text("0"),
        "An HTTP/2 connection of this age, give or take a tenth, is ended, so that clients spread anew over several \
         nodes; 0 is never.",
        |c, v| put(&mut c.http2.max_age, value::duration(v, Duration::ZERO..=DAY)),
    ),
    row(
        Http2,
        &[(Main, "PLASMA_GRPC_REFLECTION")],
        Kind::Bool,
        Text("true"),
        "Whether gRPC tools may ask which services there are (server reflection).",
        |c, v| put(&mut c.http2.reflection, value::boolean(v)),
    ),
    row(
        Engine,
        &[(Main, "PLASMA_SHARDS")],
        Kind::Int,
        Cpus,
        "Threads that serve, each with its own io_uring. More of them hold more connections where RLIMIT_NOFILE is \
         low.",
        |c, v| put(&mut c.shards, value::small(v, 1..=1_024)),
    ),
    row(
        Engine,
        &[(Main, "PLASMA_IDLE")],
        Kind::Choice("poll|dense"),
        Text("poll"),
        "What an idle client costs: poll notices a hang-up at once, dense needs less memory and notices it later.",
        |c, v| put(&mut c.idle, value::choice(v, &[("poll", Idle::Poll), ("dense", Idle::Dense)])),
    ),
    row(
        Engine,
        &[(Main, "PLASMA_ZEROCOPY_BYTES")],
        Kind::Bytes,
        Text("16KiB"),
        "Sends from this size on go without a copy in the kernel; 0 is never.",
        |c, v| put(&mut c.zerocopy_bytes, value::bytes(v, 0..=GIB).map(|least| Some(least).filter(|&least| least > 0))),
    ),
    row(
        Logs,
        &[(Main, "PLASMA_ACCESS_LOG_OUT")],
        Kind::Output,
        Text("stdout"),
        "Where the access log goes: stdout, stderr, discard or a file, which is appended to.",
        |c, v| put(&mut c.access_log.out, Ok(output(v))),
    ),
    row(
        Logs,
        &[(Main, "PLASMA_ACCESS_LOG_LEVEL")],
        Kind::Level,
        Text("debug"),
        "The least level of the access log, whose lines are all info.",
        |c, v| put(&mut c.access_log.level, value::level(v)),
    ),
    row(
        Logs,
        &[(Main, "PLASMA_ERROR_LOG_OUT")],
        Kind::Output,
        Text("stderr"),
        "Where the error log goes, likewise.",
        |c, v| put(&mut c.error_log.out, Ok(output(v))),
    ),
    row(
        Logs,
        &[(Main, "PLASMA_ERROR_LOG_LEVEL")],
        Kind::Level,
        Text("debug"),
        "The least level of the error log: debug, info, warn, error, dpanic, panic or fatal.",
        |c, v| put(&mut c.error_log.level, value::level(v)),
    ),
    row(
        Metrics,
        &[(Main, "PLASMA_PPROF_HOST")],
        Kind::Text,
        Text("127.0.0.1"),
        "Address of the profiler, which shows more than strangers should see; empty is every interface.",
        |c, v| put(&mut c.pprof.host, Ok(v.to_owned())),
    )
    .keeping_empty(),
    row(
        Metrics,
        &[(Main, "PLASMA_PPROF_PORT")],
        Kind::Port,
        Text("6060"),
        "Port of the profiler. Not opened yet.",
        |c, v| put(&mut c.pprof.port, value::port(v)),
    ),
    row(
        Metrics,
        &[(Main, "PLASMA_METRICS_TYPE")],
        Kind::Choice("log|syslog"),
        Unset,
        "Sends metrics to a log or to syslog, other than waiting for them to be fetched. Not supported yet.",
        |_, v| {
            let read = if v.is_empty() { Ok(()) } else { value::choice_or_later(v, &[("", ())], &["log", "syslog"]) };
            read.map_err(|wrong| format!("failed to create metrics: {wrong}"))
        },
    ),
    row(
        Metrics,
        &[(Main, "PLASMA_METRICS_INTERVAL")],
        Kind::Duration,
        Text("10s"),
        "How often values are taken for sending.",
        |c, v| put(&mut c.metrics.interval, value::duration(v, PERIOD)),
    ),
    row(
        Metrics,
        &[(Main, "PLASMA_METRICS_LOG_OUT")],
        Kind::Output,
        Text("stdout"),
        "Where sender log writes to.",
        |c, v| put(&mut c.metrics.log.out, Ok(output(v))),
    ),
    row(
        Metrics,
        &[(Main, "PLASMA_METRICS_LOG_PREFIX")],
        Kind::Text,
        Text("metrics"),
        "What its lines begin with; may be empty.",
        |c, v| put(&mut c.metrics.log.prefix, Ok(v.to_owned())),
    )
    .keeping_empty(),
    row(
        Metrics,
        &[(Main, "PLASMA_METRICS_LOG_FLAG")],
        Kind::Int,
        Text("4"),
        "Bits of its time stamp: 1 date, 2 time, 4 microseconds, 8 and 16 source file, 32 UTC, 64 prefix before the \
         message.",
        |c, v| put(&mut c.metrics.log.flag, value::small(v, 0..=127)),
    ),
    row(
        Metrics,
        &[(Main, "PLASMA_METRICS_LOG_INTERVAL")],
        Kind::Duration,
        Text("1m"),
        "How often it writes.",
        |c, v| put(&mut c.metrics.log.interval, value::duration(v, PERIOD)),
    ),
    row(
        Metrics,
        &[(Main, "PLASMA_METRICS_SYSLOG_TAG"), (Odd, "PLASMA_METRICS_SYS_LOG_TAG")],
        Kind::Text,
        Text("plasma"),
        "Name of the program in what sender syslog sends.",
        |c, v| put(&mut c.metrics.syslog.tag, Ok(v.to_owned())),
    ),
    row(
        Metrics,
        &[(Main, "PLASMA_METRICS_SYSLOG_INTERVAL"), (Odd, "PLASMA_METRICS_SYS_LOG_INTERVAL")],
        Kind::Duration,
        Text("1m"),
        "How often it sends.",
        |c, v| put(&mut c.metrics.syslog.interval, value::duration(v, PERIOD)),
    ),
    row(
        Metrics,
        &[(Main, "PLASMA_METRICS_SYSLOG_SEVERITY"), (Odd, "PLASMA_METRICS_SYS_LOG_SEVERITY")],
        Kind::Int,
        Text("6"),
        "Read for the sake of old configurations: messages are always of severity info.",
        |c, v| put(&mut c.metrics.syslog.severity, value::small(v, 0..=7)),
    ),
    row(
        Metrics,
        &[(Main, "PLASMA_METRICS_SYSLOG_FACILITY"), (Odd, "PLASMA_METRICS_SYS_LOG_FACILITY")],
        Kind::Int,
        Text("0"),
        "Facility times 8: local0 is 128.",
        |c, v| put(&mut c.metrics.syslog.facility, value::small(v, 0..=191)),
    ),
    row(
        Metrics,
        &[
            (Main, "PLASMA_METRICS_SYSLOG_NETWORK"),
            (Odd, "PLASMA_METRICS_SYS_LOG_NETWORK"),
            (Odd, "PLASMA_METRICS_SYSLOG_NETWORDK"),
        ],
        Kind::Text,
        Text(""),
        "How it reaches a syslog elsewhere, such as udp; empty is the local one.",
        |c, v| put(&mut c.metrics.syslog.network, Ok(v.to_owned())),
    ),
    row(
        Metrics,
        &[(Main, "PLASMA_METRICS_SYSLOG_ADDR"), (Odd, "PLASMA_METRICS_SYS_LOG_ADDR")],
        Kind::Text,
        Text(""),
        "Where that is.",
        |c, v| put(&mut c.metrics.syslog.addr, Ok(v.to_owned())),
    ),
];
