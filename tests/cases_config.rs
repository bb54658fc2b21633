//! Cases 69 to 79 of the compatibility checklist: every spelling of every setting, values good and bad, where logs go.

mod support;

use std::net::TcpListener;
use std::path::PathBuf;
use std::{env, fs, process};

use support::http::{Connection, get, head};
use support::lines::{json, says};
use support::plasma::{Ended, Plasma, Setup};
use support::sse::Stream;
use support::stage::Stage;
use support::wait::Deadline;

/// Everything as `--print-config` shows it under these variables.
fn printed(settings: &[(&str, &str)]) -> String {
    let ended = Plasma::setup().set_all(settings).flags(&["--print-config"]).run();
    assert_eq!(ended.code, 0, "{settings:?}: {}", ended.stderr);
    ended.stdout
}

fn check(setup: Setup) -> Ended {
    setup.flags(&["--check"]).run()
}

fn is_accepted(settings: &[(&str, &str)]) {
    let ended = check(Plasma::setup().set_all(settings));
    assert_eq!(ended.code, 0, "{settings:?}: {}", ended.stderr);
}

/// Checks that starting ends with code 2 before any port is opened, and that the reason names all of `parts`.
fn is_refused(settings: &[(&str, &str)], parts: &[&str]) {
    for flags in [&[][..], &["--check"]] {
        let ended = Plasma::setup().set_all(settings).flags(flags).run();
        assert_eq!(ended.code, 2, "{settings:?} {flags:?}: {}", ended.stderr);
        for part in parts {
            assert!(ended.stderr.contains(part), "{part:?} in {:?}", ended.stderr);
        }
        assert!(!ended.stderr.lines().any(|line| says(line, "listening")), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

/// What `--print-config` shows for one setting: its value, without where it came from.
fn shown(settings: &[(&str, &str)], name: &str) -> String {
    let printed = printed(settings);
    let line = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let line = line.unwrap_or_else(|| panic!("no {name} in {printed}"));
    line.split("  #").next().expect("a text has a first part").to_owned()
}

/// All spellings of the setting `name`, the strongest first: each works alone and goes before those that follow it.
fn is_spelt(name: &str, spellings: &[&str], one: &str, other: &str) {
    for (index, wins) in spellings.iter().enumerate() {
        assert_eq!(shown(&[(wins, one)], name), one, "{wins} alone");
        for loses in &spellings[index + 1..] {
            assert_eq!(shown(&[(wins, one), (loses, other)], name), one, "{wins} before {loses}");
        }
    }
}

/// The first bytes of any stream of this server.
fn opening(plasma: &Plasma) -> String {
    let mut connection = Connection::open(plasma.http());
    connection.send(head("GET", "/?eventType=a", &[("Accept", "text/event-stream")], None));
    connection.read_head();
    let bytes = connection.read_through(b"\n\n", Deadline::patient()).expect("an opening");
    String::from_utf8(bytes).expect("a stream is text")
}

#[test]
fn case_69_both_spellings_of_the_grpc_port() {
    is_spelt("PLASMA_GRPC_PORT", &["PLASMA_GRPCPORT", "PLASMA_GRPC_PORT"], "26001", "26002");
}

#[test]
fn case_70_all_spellings_of_the_metrics_port() {
    let spellings = ["PLASMA_MERTICSPORT", "PLASMA_METRICS_PORT", "PLASMA_METRICSPORT"];
    is_spelt("PLASMA_METRICS_PORT", &spellings, "26003", "26004");
}

#[test]
fn case_71_all_spellings_of_the_others() {
    is_spelt("PLASMA_SSE_EVENTQUERY", &["PLASMA_SSE_EVENTQUERY", "PLASMA_SSE_EVENT_QUERY"], "one", "other");
    let interval = "PLASMA_SUBSCRIBER_MOCK_INTERVAL";
    is_spelt(interval, &[interval, "PLASMA_MOCK_INTERVAL"], "353ms", "359ms");
    let max_retry = "PLASMA_SUBSCRIBER_REDIS_MAXRETRY";
    is_spelt(max_retry, &[max_retry, "PLASMA_SUBSCRIBER_REDIS_MAX_RETRY"], "11", "12");
    let interval = "PLASMA_SUBSCRIBER_REDIS_RETRY_INTERVAL";
    let typo = "PLASMA_SUBSCRIBER_REDIS_RETRY_INTERBAL";
    is_spelt(interval, &[interval, "RETRY_INTERVAL", typo], "347ms", "349ms");
    let behavior = "PLASMA_SUBSCRIBER_REDIS_OVER_MAX_RETRY_BEHAVIOR";
    is_spelt(behavior, &[behavior, "OVER_MAX_RETRY_BEHAVIOR"], "die", "alive");
    for part in ["TAG", "NETWORK", "ADDR"] {
        let name = format!("PLASMA_METRICS_SYSLOG_{part}");
        is_spelt(&name, &[&name, &format!("PLASMA_METRICS_SYS_LOG_{part}")], "one", "other");
    }
    let network = "PLASMA_METRICS_SYSLOG_NETWORK";
    is_spelt(network, &[network, "PLASMA_METRICS_SYSLOG_NETWORDK"], "one", "other");
}

#[test]
fn case_71_spellings_of_what_comes_later_are_known() {
    // Without a metrics type these mean nothing yet, but a chart sets them.
    for name in [
        "PLASMA_METRICS_SYSLOG_TAG",
        "PLASMA_METRICS_SYS_LOG_TAG",
        "PLASMA_METRICS_SYSLOG_NETWORK",
        "PLASMA_METRICS_SYSLOG_NETWORDK",
        "PLASMA_METRICS_SYS_LOG_NETWORK",
        "PLASMA_METRICS_SYSLOG_ADDR",
        "PLASMA_METRICS_LOG_PREFIX",
    ] {
        let ended = check(Plasma::setup().set(name, ""));
        assert_eq!(ended.code, 0, "{name}: {}", ended.stderr);
        assert!(!ended.stderr.contains("unknown"), "{name}: {}", ended.stderr);
    }
}

#[test]
fn case_71_a_spelling_that_the_first_plasma_ignored_is_warned_about() {
    let plasma = Plasma::setup().set("PLASMA_SSE_EVENT_QUERY", "q").start();
    let warned = |line: &str| {
        json(line)["level"] == "warn"
            && line.contains("PLASMA_SSE_EVENT_QUERY")
            && line.contains("PLASMA_SSE_EVENTQUERY")
    };
    plasma.stderr.wait_for("a warning with both spellings", Deadline::patient(), warned);
    assert!(Stream::open(plasma.http(), "/?q=a").head.status == 200);
}

/// What the first Plasma's chart sets, most of it to nothing.
const CHART: &[(&str, &str)] = &[
    ("PLASMA_PORT", ""),
    ("PLASMA_GRPC_PORT", ""),
    ("PLASMA_METRICS_PORT", ""),
    ("PLASMA_DEBUG", "false"),
    ("PLASMA_ORIGIN", "*"),
    ("PLASMA_SSE_RETRY", "2000"),
    ("PLASMA_SSE_EVENT_QUERY", "eventType"),
    ("PLASMA_SUBSCRIBER_TYPE", "mock"),
    ("PLASMA_MOCK_INTERVAL", ""),
    ("PLASMA_SUBSCRIBER_REDIS_ADDR", ""),
    ("PLASMA_SUBSCRIBER_REDIS_PASSWORD", ""),
    ("PLASMA_SUBSCRIBER_REDIS_DB", ""),
    ("PLASMA_SUBSCRIBER_REDIS_CHANNELS", "plasma"),
    ("PLASMA_SUBSCRIBER_REDIS_OVER_MAX_RETRY_BEHAVIOR", "alive"),
    ("PLASMA_SUBSCRIBER_REDIS_MAX_RETRY", ""),
    ("PLASMA_SUBSCRIBER_REDIS_TIMEOUT", ""),
    ("PLASMA_SUBSCRIBER_REDIS_RETRY_INTERBAL", ""),
    ("PLASMA_ACCESS_LOG_OUT", "stdout"),
    ("PLASMA_ACCESS_LOG_LEVEL", "info"),
    ("PLASMA_ERROR_LOG_OUT", "stderr"),
    ("PLASMA_ERROR_LOG_LEVEL", "error"),
    ("PLASMA_TLS_CERT_FILE", ""),
    ("PLASMA_TLS_KEY_FILE", ""),
    ("PLASMA_METRICS_TYPE", ""),
    ("PLASMA_METRICS_INTERVAL", ""),
    ("PLASMA_METRICS_LOG_OUT", ""),
    ("PLASMA_METRICS_LOG_PREFIX", ""),
    ("PLASMA_METRICS_LOG_FLAG", ""),
    ("PLASMA_METRICS_LOG_INTERVAL", ""),
    ("PLASMA_METRICS_SYS_LOG_TAG", ""),
    ("PLASMA_METRICS_SYS_LOG_INTERVAL", ""),
    ("PLASMA_METRICS_SYS_LOG_SEVERITY", ""),
    ("PLASMA_METRICS_SYS_LOG_FACILITY", ""),
    ("PLASMA_METRICS_SYS_LOG_NETWORK", ""),
    ("PLASMA_METRICS_SYS_LOG_ADDR", ""),
    ("PLASMA_PPROF_HOST", ""),
    ("PLASMA_PPROF_PORT", ""),
];

#[test]
fn case_72_the_chart_starts() {
    is_accepted(CHART);
    let free_ports = [("PLASMA_PORT", "0"), ("PLASMA_ERROR_LOG_LEVEL", "info")];
    let plasma = Plasma::setup().set_all(CHART).set_all(&free_ports).start();
    assert_eq!(get(plasma.http(), "/hc").status(), 200);
}

#[test]
fn case_72_empty_is_unset_where_nothing_else_makes_sense() {
    for name in
        ["PLASMA_PORT", "PLASMA_SSE_RETRY", "PLASMA_DEBUG", "PLASMA_SSE_HEARTBEAT", "PLASMA_SUBSCRIBER_REDIS_ADDR"]
    {
        assert_eq!(shown(&[], name), shown(&[(name, "")], name), "{name}");
    }
}

#[test]
fn case_73_booleans_as_go_reads_them() {
    for yes in ["1", "t", "T", "TRUE", "true", "True"] {
        is_accepted(&[("PLASMA_DEBUG", yes)]);
    }
    for no in ["0", "f", "F", "FALSE", "false", "False"] {
        is_accepted(&[("PLASMA_DEBUG", no)]);
    }
    for bad in ["yes", "no", "on", "tRUE", "2", " true"] {
        is_refused(&[("PLASMA_DEBUG", bad)], &["PLASMA_DEBUG", bad, "true"]);
    }
    let plasma = Plasma::setup().set("PLASMA_DEBUG", "T").start();
    assert_eq!(get(plasma.http(), "/debug").status(), 200);
}

#[test]
fn case_73_integers_as_go_reads_them() {
    let name = "PLASMA_SSE_RETRY";
    for (text, value) in [("0x1f5", "501"), ("0765", "501"), ("+7", "7")] {
        let plasma = Plasma::setup().set(name, text).start();
        assert_eq!(opening(&plasma), format!("retry: {value}\n:ok\n\n"), "{text}");
    }
    for bad in ["abc", "1.5", "1e3", "08", "0xg", "99999999999999999999", "5 "] {
        is_refused(&[(name, bad)], &[name, bad]);
    }
}

#[test]
fn case_73_ports_are_ports() {
    for bad in ["http", "65536", "-1", "80800000000000000000"] {
        is_refused(&[("PLASMA_PORT", bad)], &["PLASMA_PORT", bad]);
    }
}

#[test]
fn case_74_durations_as_go_reads_them() {
    let name = "PLASMA_SUBSCRIBER_REDIS_TIMEOUT";
    for good in [
        "1500us",
        "1.5s",
        "0",
        "1500µs",
        "1500μs",
        "2h45m",
        "1h15m30.918273645s",
        "100ms",
        ".5s",
        "5.s",
        "+5s",
        "300000ns",
    ] {
        is_accepted(&[(name, good)]);
    }
    for bad in ["5", "s", "1d", "1 s", "1.5.s", ".s", "1s2", "1S", "9999999999999h"] {
        is_refused(&[(name, bad)], &[name, bad]);
    }
}

#[test]
fn case_75_unknown_types_are_refused_with_what_is_known() {
    is_refused(&[("PLASMA_SUBSCRIBER_TYPE", "foo")], &["PLASMA_SUBSCRIBER_TYPE", "foo", "memory", "redis", "mock"]);
    is_refused(&[("PLASMA_METRICS_TYPE", "foo")], &["PLASMA_METRICS_TYPE", "foo"]);
    is_refused(&[("PLASMA_SLOW_CONSUMER", "foo")], &["PLASMA_SLOW_CONSUMER", "foo", "gap", "close"]);
    is_refused(&[("PLASMA_IDLE", "foo")], &["PLASMA_IDLE", "foo", "poll", "dense"]);
    is_refused(&[("PLASMA_ACCESS_LOG_LEVEL", "loud")], &["PLASMA_ACCESS_LOG_LEVEL", "loud", "info"]);
    for level in ["debug", "INFO", "warn", "error", "dpanic", "panic", "FATAL"] {
        is_accepted(&[("PLASMA_ERROR_LOG_LEVEL", level)]);
    }
}

#[test]
fn case_76_tls_is_refused_until_it_is_there() {
    let pair = [("PLASMA_TLS_CERT_FILE", "cert.pem"), ("PLASMA_TLS_KEY_FILE", "key.pem")];
    is_refused(&pair, &["PLASMA_TLS_CERT_FILE", "not supported yet"]);
    is_refused(&[("CERT_FILE", "cert.pem"), ("KEY_FILE", "key.pem")], &["not supported yet"]);
    let plasma = Plasma::setup().set("PLASMA_TLS_CERT_FILE", "cert.pem").start();
    assert_eq!(get(plasma.http(), "/hc").status(), 200, "one file alone is plain");
}

#[test]
fn case_77_metrics_senders_are_refused_until_they_are_there() {
    for kind in ["log", "syslog"] {
        is_refused(&[("PLASMA_METRICS_TYPE", kind)], &["PLASMA_METRICS_TYPE", kind, "not supported yet"]);
    }
}

#[test]
fn what_comes_later_is_refused_and_not_ignored() {
    is_refused(&[("PLASMA_SUBSCRIBER_TYPE", "redis-stream")], &["PLASMA_SUBSCRIBER_TYPE", "not supported yet"]);
    for dialect in ["sseserver", "plasma,sse-cluster", "unifrost"] {
        is_refused(&[("PLASMA_DIALECTS", dialect)], &["PLASMA_DIALECTS", "not supported yet"]);
    }
    is_refused(&[("PLASMA_DIALECTS", "esperanto")], &["PLASMA_DIALECTS", "esperanto", "plasma"]);
    is_accepted(&[("PLASMA_DIALECTS", "plasma")]);
}

/// A file of this test's own that is gone in the end.
struct OwnFile(PathBuf);

impl OwnFile {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("plasma-test-{}-{name}", process::id()));
        let _ = fs::remove_file(&path);
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path of text")
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn case_78_the_access_log_may_be_a_file() {
    let file = OwnFile::new("access.log");
    fs::write(file.path(), "{\"kept\":true}\n").expect("a file can be written");
    let plasma = Plasma::setup().set("PLASMA_ACCESS_LOG_OUT", file.path()).start();
    get(plasma.http(), "/hc");
    support::wait::until("the line in the file", Deadline::patient(), || {
        let text = fs::read_to_string(file.path()).expect("the file is there");
        let lines: Vec<&str> = text.split_terminator('\n').collect();
        (text.ends_with('\n') && lines.len() == 2 && lines[0] == "{\"kept\":true}" && says(lines[1], "healthCheck"))
            .then_some(())
    });
    assert_eq!(plasma.stdout.all(), [""; 0]);
}

#[test]
fn case_78_logs_may_be_discarded_or_swapped() {
    let mut plasma = Plasma::setup().set("PLASMA_ACCESS_LOG_OUT", "discard").start();
    get(plasma.http(), "/hc");
    plasma.signal(rustix::process::Signal::TERM);
    let code = plasma.wait_exit(Deadline::patient());
    assert_eq!(plasma.take_end(code).stdout, "");
    let plasma = Plasma::setup().set("PLASMA_ACCESS_LOG_OUT", "stderr").start();
    get(plasma.http(), "/hc");
    plasma.wait_for_log("healthCheck");
}

#[test]
fn case_78_a_log_that_cannot_be_opened_is_refused() {
    let path = "/nowhere/at/all/access.log";
    let ended = Plasma::setup().set("PLASMA_ACCESS_LOG_OUT", path).run();
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("PLASMA_ACCESS_LOG_OUT") && ended.stderr.contains(path), "{}", ended.stderr);
}

#[test]
fn case_78_levels_hide_what_is_below_them() {
    let settings = [("PLASMA_ACCESS_LOG_LEVEL", "error")];
    let mut plasma = Plasma::setup().set_all(&settings).start();
    get(plasma.http(), "/hc");
    plasma.signal(rustix::process::Signal::TERM);
    let code = plasma.wait_exit(Deadline::patient());
    assert_eq!(plasma.take_end(code).stdout, "");
}

#[test]
fn case_79_mock_events_have_three_shapes() {
    let stage = Stage::memory_with(&[("PLASMA_SUBSCRIBER_TYPE", "mock"), ("PLASMA_SUBSCRIBER_MOCK_INTERVAL", "5ms")]);
    let mut stream = stage.subscribe("eventType=poll,program,other");
    let (mut polls, mut programs, mut others) = (0, 0, 0);
    while polls.min(programs).min(others) < 3 {
        let event = stream.next_event();
        let kind = event.json()["meta"]["type"].as_str().expect("a type").to_owned();
        let text = |data: &str| format!(r#"{{"meta":{{"type":"{kind}"}},"data":{data}}}"#);
        match kind.as_str() {
            "poll" => {
                assert_eq!(event.data(), text(r#"{"1":"One","2":"Two","3":"Three","4":"Four"}"#));
                polls += 1;
            }
            "program" => {
                let id = event.payload()["programId"].as_u64().expect("a number");
                assert!(id <= 99_999);
                assert_eq!(event.data(), text(&format!(r#"{{"programId":{id}}}"#)));
                programs += 1;
            }
            "other" => {
                assert_eq!(event.data(), text("null"));
                others += 1;
            }
            unknown => panic!("{unknown} is none of the three"),
        }
    }
}

#[test]
fn the_default_broker_is_memory() {
    let plasma = Plasma::setup().start();
    assert_eq!(plasma.listening["upstream"], "memory");
    assert_eq!(plasma.listening["level"], "info");
}

#[test]
fn an_unknown_variable_is_warned_about_with_the_nearest_name() {
    let plasma = Plasma::setup().set("PLASMA_SSE_RETYR", "1").start();
    let warned = |line: &str| {
        json(line)["level"] == "warn" && line.contains("PLASMA_SSE_RETYR") && line.contains("PLASMA_SSE_RETRY")
    };
    plasma.stderr.wait_for("a warning with the nearest name", Deadline::patient(), warned);
}

#[test]
fn help_names_every_setting() {
    let ended = Plasma::setup().flags(&["--help"]).run();
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    for name in [
        "PLASMA_SHARDS",
        "PLASMA_IDLE",
        "PLASMA_HISTORY_BYTES",
        "PLASMA_EVENT_MAX_BYTES",
        "PLASMA_ZEROCOPY_BYTES",
        "PLASMA_SSE_HEARTBEAT",
        "PLASMA_SLOW_CONSUMER",
        "PLASMA_WRITE_TIMEOUT",
        "PLASMA_REQUEST_TIMEOUT",
        "PLASMA_DRAIN",
        "PLASMA_PUBLISH_TOKEN",
        "PLASMA_PUBLISH_OPEN",
        "PLASMA_PUBLISH_MAX_BYTES",
        "PLASMA_DIALECTS",
        "PLASMA_SUBSCRIBER_REDIS_USERNAME",
        "PLASMA_SUBSCRIBER_REDIS_OVER_MAX_RETRY_BEHAVIOR",
    ] {
        assert!(ended.stdout.contains(name), "{name} in the help");
    }
}

#[test]
fn flags_go_before_variables() {
    let plasma = Plasma::setup().set("PLASMA_SSE_RETRY", "500").flags(&["--sse-retry", "700"]).start();
    assert_eq!(opening(&plasma), "retry: 700\n:ok\n\n");
    let plasma = Plasma::setup().flags(&["--sse-retry=701"]).start();
    assert_eq!(opening(&plasma), "retry: 701\n:ok\n\n");
}

#[test]
fn an_unknown_flag_is_refused() {
    let ended = Plasma::setup().flags(&["--sse-retyr", "1"]).run();
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("--sse-retyr"), "{}", ended.stderr);
    let ended = check(Plasma::setup().flags(&["--sse-retry", "soon"]));
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("soon"), "{}", ended.stderr);
}

#[test]
fn secrets_are_masked_in_what_is_printed() {
    let shown = printed(&[
        ("PLASMA_SUBSCRIBER_REDIS_PASSWORD", "redis-s3cret"),
        ("PLASMA_PUBLISH_TOKEN", "publish-s3cret"),
        ("PLASMA_SSE_RETRY", "2345"),
    ]);
    assert!(shown.contains("2345"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn a_check_opens_no_port() {
    let taken = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = taken.local_addr().expect("a bound socket has an address").port().to_string();
    is_accepted(&[("PLASMA_PORT", &port)]);
}

#[test]
fn a_port_that_is_taken_ends_the_start() {
    let taken = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = taken.local_addr().expect("a bound socket has an address").port().to_string();
    let ended = Plasma::setup().set("PLASMA_PORT", &port).run();
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains(&port), "{}", ended.stderr);
    let mut logged = ended.stderr.lines().filter(|line| line.starts_with('{'));
    assert!(logged.any(|line| json(line)["level"] == "fatal"), "{}", ended.stderr);
}

#[test]
fn ports_without_a_service_yet_are_said_so_and_not_opened() {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = probe.local_addr().expect("a bound socket has an address").port();
    drop(probe);
    let plasma = Plasma::setup().set("PLASMA_METRICS_PORT", &port.to_string()).start();
    let said = |line: &str| line.contains("PLASMA_METRICS_PORT");
    plasma.stderr.wait_for("a line about the metrics port", Deadline::patient(), said);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}
