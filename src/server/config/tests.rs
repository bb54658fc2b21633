//! The configuration as a whole; numbers are those of the compatibility checklist.

use super::table::TABLE;
use super::*;

fn load(args: &[&str], env: &[(&str, &str)]) -> Result<Outcome, Vec<String>> {
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::load(args, env).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn run(args: &[&str], env: &[(&str, &str)]) -> Config {
    match load(args, env) {
        Ok(Outcome::Run(config)) => *config,
        other => panic!("{args:?} {env:?}: {other:?}"),
    }
}

#[track_caller]
fn print(args: &[&str], env: &[(&str, &str)]) -> String {
    match load(args, env) {
        Ok(Outcome::Print { text, .. }) => text,
        other => panic!("{args:?} {env:?}: {other:?}"),
    }
}

#[track_caller]
fn errors(args: &[&str], env: &[(&str, &str)]) -> Vec<String> {
    let errors = load(args, env).expect_err("this must be refused");
    assert!(errors.iter().all(|error| !error.is_empty() && !error.contains('\n')), "one line each: {errors:?}");
    errors
}

#[track_caller]
fn error(env: &[(&str, &str)]) -> String {
    let mut errors = errors(&[], env);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn without_a_word_the_defaults_hold() {
    let config = run(&[], &[]);
    assert_eq!((config.port, config.grpc_port, config.metrics_port), (8080, 50051, 9999));
    assert_eq!(config.pprof, Pprof { host: "127.0.0.1".to_owned(), port: 6060 });
    assert_eq!((config.debug, config.origin.as_deref()), (false, None));
    assert_eq!(
        (config.sse.retry_millis, config.sse.event_query.as_str(), config.sse.heartbeat),
        (2000, "eventType", 15 * SECOND)
    );
    assert_eq!((config.upstream, config.mock_interval), (Upstream::Memory, SECOND));
    let redis = &config.redis;
    assert_eq!((redis.addr.to_string().as_str(), redis.db, redis.max_retry), ("localhost:6379", 0, 5));
    assert_eq!((redis.timeout, redis.retry_interval, redis.over_max_retry), (SECOND, 5 * SECOND, OverMaxRetry::Alive));
    assert!(redis.username.is_none() && redis.password.is_none() && redis.channels.is_empty());
    assert_eq!(config.access_log, LogTo { out: Output::Stdout, level: Level::Debug });
    assert_eq!(config.error_log, LogTo { out: Output::Stderr, level: Level::Debug });
    assert_eq!((config.history_bytes, config.event_max_bytes), (64 << 20, 1 << 20));
    assert_eq!((config.zerocopy_bytes, config.publish.max_bytes), (Some(16 << 10), 16 << 20));
    assert_eq!((config.idle, config.slow_consumer), (Idle::Poll, SlowConsumer::Gap));
    assert_eq!((config.write_timeout, config.request_timeout, config.drain), (30 * SECOND, 10 * SECOND, 10 * SECOND));
    assert_eq!((config.publish.open, &config.publish.token, &*config.dialects), (false, &None, &[Dialect::Plasma][..]));
    assert_eq!((config.metrics.interval, config.metrics.log.interval), (10 * SECOND, 60 * SECOND));
    assert_eq!((config.metrics.log.flag, config.metrics.syslog.severity, config.metrics.syslog.facility), (4, 6, 0));
    let cpus = std::thread::available_parallelism().unwrap().get();
    assert!(config.shards >= cpus, "a quota may make that less than the CPUs of the mask");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn case_64_an_unknown_retry_behavior_is_refused() {
    let got = error(&[("PLASMA_SUBSCRIBER_REDIS_OVER_MAX_RETRY_BEHAVIOR", "foo")]);
    assert_eq!(got, "PLASMA_SUBSCRIBER_REDIS_OVER_MAX_RETRY_BEHAVIOR=\"foo\": unknown; allowed is alive or die");
    let config = run(&[], &[("OVER_MAX_RETRY_BEHAVIOR", "die")]);
    assert_eq!(config.redis.over_max_retry, OverMaxRetry::Die);
}

#[test]
fn case_69_both_names_of_the_grpc_port_are_read_and_the_older_one_comes_first() {
    assert_eq!(run(&[], &[("PLASMA_GRPC_PORT", "6001")]).grpc_port, 6001);
    assert_eq!(run(&[], &[("PLASMA_GRPCPORT", "6002")]).grpc_port, 6002);
    let config = run(&[], &[("PLASMA_GRPC_PORT", "6001"), ("PLASMA_GRPCPORT", "6002")]);
    assert_eq!(config.grpc_port, 6002);
    assert_eq!(config.warnings, ["PLASMA_GRPC_PORT is ignored: PLASMA_GRPCPORT says otherwise and comes first"]);
    assert_eq!(run(&["--grpc-port=6003"], &[("PLASMA_GRPCPORT", "6002")]).grpc_port, 6003);
}

#[test]
fn case_70_all_names_of_the_metrics_port_are_read() {
    let all = [("PLASMA_METRICSPORT", "7003"), ("PLASMA_METRICS_PORT", "7002"), ("PLASMA_MERTICSPORT", "7001")];
    for (at, (_, want)) in all.iter().enumerate() {
        assert_eq!(run(&[], &all[..=at]).metrics_port.to_string(), *want);
    }
}

#[test]
fn case_71_misspelled_variables_work_with_a_warning() {
    for (odd, main, text) in [
        ("PLASMA_SUBSCRIBER_REDIS_MAX_RETRY", "PLASMA_SUBSCRIBER_REDIS_MAXRETRY", "7"),
        ("PLASMA_SUBSCRIBER_REDIS_RETRY_INTERBAL", "PLASMA_SUBSCRIBER_REDIS_RETRY_INTERVAL", "7s"),
        ("RETRY_INTERVAL", "PLASMA_SUBSCRIBER_REDIS_RETRY_INTERVAL", "7s"),
        ("OVER_MAX_RETRY_BEHAVIOR", "PLASMA_SUBSCRIBER_REDIS_OVER_MAX_RETRY_BEHAVIOR", "die"),
        ("CERT_FILE", "PLASMA_TLS_CERT_FILE", "/c.pem"),
        ("KEY_FILE", "PLASMA_TLS_KEY_FILE", "/k.pem"),
        ("PLASMA_SSE_EVENT_QUERY", "PLASMA_SSE_EVENTQUERY", "q"),
        ("PLASMA_MOCK_INTERVAL", "PLASMA_SUBSCRIBER_MOCK_INTERVAL", "7s"),
        ("PLASMA_METRICS_SYS_LOG_TAG", "PLASMA_METRICS_SYSLOG_TAG", "t"),
        ("PLASMA_METRICS_SYS_LOG_INTERVAL", "PLASMA_METRICS_SYSLOG_INTERVAL", "7s"),
        ("PLASMA_METRICS_SYS_LOG_SEVERITY", "PLASMA_METRICS_SYSLOG_SEVERITY", "3"),
        ("PLASMA_METRICS_SYS_LOG_FACILITY", "PLASMA_METRICS_SYSLOG_FACILITY", "128"),
        ("PLASMA_METRICS_SYS_LOG_NETWORK", "PLASMA_METRICS_SYSLOG_NETWORK", "udp"),
        ("PLASMA_METRICS_SYSLOG_NETWORDK", "PLASMA_METRICS_SYSLOG_NETWORK", "udp"),
        ("PLASMA_METRICS_SYS_LOG_ADDR", "PLASMA_METRICS_SYSLOG_ADDR", "h:514"),
    ] {
        let (mut misspelled, spelled) = (run(&[], &[(odd, text)]), run(&[], &[(main, text)]));
        let warning = misspelled.warnings.remove(0);
        assert_eq!(warning, format!("{odd} is read as {main}: better use that name"));
        assert_eq!(misspelled, spelled, "{odd}");
        assert_ne!(run(&[], &[]), spelled, "{main} does something");
    }
    let both = run(&[], &[("PLASMA_SUBSCRIBER_REDIS_MAX_RETRY", "7"), ("PLASMA_SUBSCRIBER_REDIS_MAXRETRY", "3")]);
    assert_eq!(both.redis.max_retry, 3);
}

#[test]
fn case_72_empty_variables_are_as_good_as_none() {
    let kept = ["PLASMA_ORIGIN", "PLASMA_PPROF_HOST", "PLASMA_METRICS_LOG_PREFIX"];
    let names = || TABLE.iter().flat_map(|setting| setting.names).map(|(_, name)| *name);
    let empty: Vec<_> = names().filter(|name| !kept.contains(name)).map(|name| (name, "")).collect();
    assert_eq!(run(&[], &empty), run(&[], &[]));

    let all: Vec<_> = names().map(|name| (name, "")).collect();
    let config = run(&[], &all);
    assert_eq!(config.origin.as_deref(), Some(""));
    assert_eq!((config.pprof.host.as_str(), config.metrics.log.prefix.as_str()), ("", ""));
    assert_eq!(run(&[], &[("PLASMA_GRPCPORT", ""), ("PLASMA_GRPC_PORT", "6001")]).grpc_port, 6001);
    assert_eq!(run(&["--port="], &[("PLASMA_PORT", "1")]).port, 8080);
}

#[test]
fn case_73_a_wrong_truth_is_refused_by_name() {
    let got = error(&[("PLASMA_DEBUG", "yes")]);
    let want = "PLASMA_DEBUG=\"yes\": not a truth value; allowed are 1 t T TRUE true True 0 f F FALSE false False";
    assert_eq!(got, want);
    assert!(run(&[], &[("PLASMA_DEBUG", "T")]).debug);
}

#[test]
fn case_74_durations_need_a_unit_unless_zero() {
    for (text, want) in [("1500us", 1_500), ("1.5s", 1_500_000), ("0", 0)] {
        let config = run(&[], &[("PLASMA_SUBSCRIBER_REDIS_TIMEOUT", text)]);
        assert_eq!(config.redis.timeout, Duration::from_micros(want));
    }
    let got = error(&[("PLASMA_SUBSCRIBER_REDIS_TIMEOUT", "5")]);
    assert!(got.starts_with("PLASMA_SUBSCRIBER_REDIS_TIMEOUT=\"5\": a duration without a unit; allowed is"), "{got}");
    assert!(error(&[("PLASMA_SUBSCRIBER_REDIS_TIMEOUT", "-1s")]).contains("out of range; allowed is 0ns to"));
}

#[test]
fn case_75_unknown_subscribers_and_metrics_senders_are_refused() {
    let got = error(&[("PLASMA_SUBSCRIBER_TYPE", "kafka")]);
    let want =
        "PLASMA_SUBSCRIBER_TYPE=\"kafka\": can't get such kafka type subscriber; allowed is memory, redis or mock";
    assert_eq!(got, want);
    let got = error(&[("PLASMA_METRICS_TYPE", "statsd")]);
    assert_eq!(
        got,
        "PLASMA_METRICS_TYPE=\"statsd\": failed to create metrics: unknown; allowed is only an empty value"
    );
}

#[test]
fn case_76_one_of_the_two_tls_files_leaves_the_ports_plain() {
    for one in ["PLASMA_TLS_CERT_FILE", "PLASMA_TLS_KEY_FILE"] {
        let config = run(&[], &[(one, "/x.pem")]);
        assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    }
}

#[test]
fn case_77_the_variables_of_the_metrics_senders_are_read() {
    let config = run(
        &[],
        &[
            ("PLASMA_METRICS_LOG_OUT", "/var/log/m"),
            ("PLASMA_METRICS_LOG_PREFIX", "p"),
            ("PLASMA_METRICS_LOG_FLAG", "0x3f"),
            ("PLASMA_METRICS_LOG_INTERVAL", "30s"),
            ("PLASMA_METRICS_SYSLOG_FACILITY", "0200"),
            ("PLASMA_METRICS_INTERVAL", "1s"),
        ],
    );
    let want =
        MetricsLog { out: Output::File("/var/log/m".into()), prefix: "p".to_owned(), flag: 63, interval: 30 * SECOND };
    assert_eq!(config.metrics.log, want);
    assert_eq!((config.metrics.syslog.facility, config.metrics.interval), (128, SECOND));
    assert!(error(&[("PLASMA_METRICS_INTERVAL", "0")]).contains("out of range"));
}

#[test]
fn case_78_logs_go_to_standard_streams_nowhere_or_a_file() {
    for (text, want) in [
        ("stdout", Output::Stdout),
        ("stderr", Output::Stderr),
        ("discard", Output::Discard),
        ("/var/log/a.json", Output::File("/var/log/a.json".into())),
    ] {
        assert_eq!(run(&[], &[("PLASMA_ACCESS_LOG_OUT", text)]).access_log.out, want);
    }
    assert_eq!(run(&[], &[("PLASMA_ERROR_LOG_LEVEL", "WARN")]).error_log.level, Level::Warn);
    assert!(error(&[("PLASMA_ERROR_LOG_LEVEL", "Warn")]).contains("allowed is debug, info, warn, error, dpanic"));
}

#[test]
fn what_has_to_wait_is_refused_rather_than_ignored() {
    for (name, text) in [
        ("PLASMA_METRICS_TYPE", "log"),
        ("PLASMA_METRICS_TYPE", "syslog"),
        ("PLASMA_SUBSCRIBER_TYPE", "redis-stream"),
        ("PLASMA_DIALECTS", "plasma,unifrost"),
    ] {
        let got = error(&[(name, text)]);
        assert!(got.starts_with(name) && got.contains("not supported yet; allowed is"), "{got}");
    }
    let got = error(&[("PLASMA_TLS_CERT_FILE", "/c"), ("PLASMA_TLS_KEY_FILE", "/k")]);
    assert!(got.contains("PLASMA_TLS_CERT_FILE=\"/c\"") && got.contains("not supported yet"), "{got}");
    assert!(error(&[("PLASMA_DIALECTS", "gopher")]).contains("\"gopher\" is unknown; allowed is plasma"));
}

#[test]
fn all_errors_are_told_at_once() {
    let got = errors(&["--nonsense", "--shards=0"], &[("PLASMA_PORT", "x"), ("PLASMA_DEBUG", "maybe")]);
    assert_eq!(got.len(), 4, "{got:?}");
    for part in [
        "--nonsense: unknown",
        "PLASMA_PORT=\"x\"",
        "PLASMA_DEBUG=\"maybe\"",
        "--shards=\"0\": out of range; allowed is",
    ] {
        assert!(got.iter().any(|error| error.contains(part)), "{part}: {got:?}");
    }
}

#[test]
fn the_edges_of_every_bound_hold() {
    for (name, inside, outside) in [
        ("PLASMA_PORT", "65535", "65536"),
        ("PLASMA_SHARDS", "1024", "1025"),
        ("PLASMA_SHARDS", "1", "0"),
        ("PLASMA_HISTORY_BYTES", "8MiB", "8388607"),
        ("PLASMA_HISTORY_BYTES", "64GiB", "65GiB"),
        ("PLASMA_EVENT_MAX_BYTES", "64", "63"),
        ("PLASMA_EVENT_MAX_BYTES", "8MiB", "8388609"),
        ("PLASMA_PUBLISH_MAX_BYTES", "1KiB", "1023"),
        ("PLASMA_ZEROCOPY_BYTES", "1GiB", "2GiB"),
        ("PLASMA_SSE_HEARTBEAT", "1s", "999ms"),
        ("PLASMA_SSE_RETRY", "0", "-1"),
        ("PLASMA_WRITE_TIMEOUT", "100ms", "99ms"),
        ("PLASMA_REQUEST_TIMEOUT", "1h", "1h1ns"),
        ("PLASMA_DRAIN", "0", "-1ns"),
        ("PLASMA_SUBSCRIBER_MOCK_INTERVAL", "1ms", "0"),
        ("PLASMA_SUBSCRIBER_REDIS_DB", "0", "-1"),
        ("PLASMA_METRICS_SYSLOG_SEVERITY", "7", "8"),
    ] {
        run(&[], &[(name, inside)]);
        let got = error(&[(name, outside)]);
        assert!(got.contains(&format!("{name}=")) && got.contains("allowed is"), "{got}");
    }
    assert_eq!(run(&[], &[("PLASMA_ZEROCOPY_BYTES", "0")]).zerocopy_bytes, None);
    let got = error(&[("PLASMA_HISTORY_BYTES", "1MiB")]);
    assert_eq!(
        got,
        "PLASMA_HISTORY_BYTES=\"1MiB\": too small for PLASMA_EVENT_MAX_BYTES=\"1MiB\"; allowed is at least 8 \
         times that, 8MiB"
    );
    run(&[], &[("PLASMA_HISTORY_BYTES", "1MiB"), ("PLASMA_EVENT_MAX_BYTES", "128KiB")]);
}

#[test]
fn flags_override_variables_in_all_their_forms() {
    let env = [("PLASMA_PORT", "1"), ("PLASMA_DEBUG", "false")];
    for args in [
        &["--port=2", "--debug"][..],
        &["--debug", "--port", "2"],
        &["--debug=true", "--port=2"],
        &["--debug", "true", "--port=2"],
    ] {
        let config = run(args, &env);
        assert_eq!((config.port, config.debug), (2, true), "{args:?}");
    }
    assert!(!run(&["--debug=0"], &[("PLASMA_DEBUG", "1")]).debug);
    assert!(!run(&["--debug", "f"], &[]).debug);
    assert_eq!(run(&["--port=1", "--port=2"], &[]).port, 2, "the last one holds");
    assert_eq!(run(&["--subscriber-redis-channels", "p, q,"], &[]).redis.channels, ["p", " q", ""]);
    for (args, want) in [
        (&["--prot=1"][..], "--prot: unknown; did you mean --port?"),
        (&["--port"], "--port: a value is missing: --port=<port>"),
        (&["serve"], "\"serve\": not a flag; see plasma --help"),
        (&["-x"], "-x: unknown; see plasma --help"),
        (&["--check=1"], "--check: takes no value"),
    ] {
        assert_eq!(errors(args, &[]), [want]);
    }
}

#[test]
fn an_unknown_variable_is_warned_about_with_the_nearest_name() {
    let config = run(
        &[],
        &[("PLASMA_HEARTBEAT", "1s"), ("PLASMA_GRPC", "1"), ("PLASMA_SUBSCRIBER_REDIS_CHANEL", "p"), ("OTHER", "x")],
    );
    assert_eq!(
        config.warnings,
        [
            "PLASMA_GRPC is not a setting; did you mean PLASMA_GRPC_PORT?",
            "PLASMA_HEARTBEAT is not a setting; did you mean PLASMA_SSE_HEARTBEAT?",
            "PLASMA_SUBSCRIBER_REDIS_CHANEL is not a setting; did you mean PLASMA_SUBSCRIBER_REDIS_CHANNELS?",
        ]
    );
    let service = [("PLASMA_SERVICE_HOST", "10.0.0.1"), ("PLASMA_PORT_8080_TCP", "tcp://10.0.0.1:8080")];
    assert!(run(&[], &service).warnings.is_empty(), "these are Kubernetes' own");
}

#[test]
fn redis_without_channels_or_behavior_is_warned_about() {
    let config = run(&[], &[("PLASMA_SUBSCRIBER_TYPE", "redis")]);
    assert_eq!(config.redis.over_max_retry, OverMaxRetry::Alive);
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    let all = [
        ("PLASMA_SUBSCRIBER_TYPE", "redis"),
        ("PLASMA_SUBSCRIBER_REDIS_CHANNELS", "p"),
        ("PLASMA_SUBSCRIBER_REDIS_OVER_MAX_RETRY_BEHAVIOR", "alive"),
    ];
    assert!(run(&[], &all).warnings.is_empty());
}

#[test]
fn ports_without_a_service_are_listed() {
    let config = run(&["--metrics-port=0"], &[]);
    let want = [("PLASMA_METRICS_PORT", 0), ("PLASMA_PPROF_PORT", 6060)];
    assert_eq!(config.unopened_ports, want);
}

#[test]
fn secrets_are_shown_nowhere() {
    let env = [("PLASMA_SUBSCRIBER_REDIS_PASSWORD", "hunter2"), ("PLASMA_PUBLISH_TOKEN", "hunter2")];
    let config = run(&[], &env);
    assert_eq!(config.redis.password.as_ref().map(Secret::expose), Some("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
    let text = print(&["--print-config"], &env);
    assert!(text.contains("PLASMA_PUBLISH_TOKEN=***  # variable PLASMA_PUBLISH_TOKEN\n"), "{text}");
    assert!(!text.contains("hunter2"));
    let got = error(&[("PLASMA_PUBLISH_TOKEN", "hunter 2")]);
    assert!(got.starts_with("PLASMA_PUBLISH_TOKEN=\"***\": not a token") && !got.contains("hunter"), "{got}");
    let config = run(&["--publish-token=hunter2"], &[]);
    assert!(config.warnings[0].starts_with("--publish-token shows a secret"), "{:?}", config.warnings);
}

#[test]
fn print_config_says_what_holds_and_who_said_so() {
    let text = print(&["--print-config", "--shards", "3"], &[("PLASMA_GRPCPORT", "6001"), ("PLASMA_ORIGIN", "")]);
    for line in [
        "PLASMA_PORT=8080  # default",
        "PLASMA_GRPC_PORT=6001  # variable PLASMA_GRPCPORT",
        "PLASMA_SHARDS=3  # flag --shards",
        "PLASMA_ORIGIN=  # variable PLASMA_ORIGIN",
        "PLASMA_TLS_CERT_FILE=  # default, not set",
    ] {
        assert!(text.lines().any(|got| got == line), "{line}: {text}");
    }
    assert_eq!(text.lines().count(), TABLE.len());
}

#[test]
fn check_validates_and_warns() {
    assert_eq!(print(&["--check"], &[]), "configuration ok\n");
    assert_eq!(errors(&["--check"], &[("PLASMA_PORT", "x")]).len(), 1);
    let Ok(Outcome::Print { warnings, .. }) = load(&["--check"], &[("PLASMA_PROT", "1")]) else { panic!("refused") };
    assert_eq!(warnings.len(), 1);
}

#[test]
fn help_names_every_setting_in_lines_that_fit() {
    for args in [&["--help"][..], &["-h"], &["--check", "--help", "--nonsense"]] {
        let text = print(args, &[("PLASMA_PORT", "x")]);
        for setting in TABLE {
            assert!(
                text.contains(&format!("\n  {}", setting.flag())) && text.contains(setting.name),
                "{}",
                setting.name
            );
        }
        let longest = text.lines().max_by_key(|line| line.chars().count()).unwrap();
        assert!(longest.chars().count() <= 100, "{longest}");
    }
    assert_eq!(print(&["--version"], &[]), print(&["-V"], &[]));
    assert_eq!(print(&["--print-reference"], &[]), reference_markdown());
}

#[test]
fn the_reference_has_one_row_for_every_setting() {
    let text = reference_markdown();
    for setting in TABLE {
        let row = format!("| `{}` | `{}` |", setting.name, setting.flag());
        assert_eq!(text.matches(&row).count(), 1, "{row}");
    }
    let rows = text.lines().filter(|line| line.starts_with('|'));
    assert!(rows.clone().all(|row| row.matches('|').count() == 6), "no cell holds a bar");
    assert!(!text.contains("\n\n\n") && text.ends_with("|\n"));
}

#[test]
fn names_in_the_table_are_unique_and_defaults_are_valid() {
    let mut names: Vec<&str> = TABLE.iter().flat_map(|setting| setting.names).map(|(_, name)| *name).collect();
    let len = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), len);
    assert!(TABLE.iter().all(|setting| setting.name.starts_with("PLASMA_")));
    let documented = TABLE.iter().map(|setting| setting.doc);
    assert!(documented.clone().all(|doc| doc.ends_with('.') && !doc.contains('|')));
}

#[test]
fn bytes_that_are_no_text_are_refused_by_name() {
    use std::os::unix::ffi::OsStringExt;
    let bad = || OsString::from_vec(b"\xff".to_vec());
    let got = Config::load::<[&str; 0], _>([], [(OsString::from("PLASMA_PORT"), bad()), (bad(), bad())]);
    assert_eq!(got, Err(vec![ConfigError::new("PLASMA_PORT: the value is no UTF-8")]));
    let mut flag = OsString::from("--origin=");
    flag.push(bad());
    assert_eq!(Config::load([flag], []), Err(vec![ConfigError::new("--origin: the value is no UTF-8")]));
}
