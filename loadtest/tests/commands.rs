//! The program as people run it, against a server whose mistakes are known: what it says and how it ends.

use std::process::{Command, Output};

use loadtest::reference::Server;
use serde_json::Value;

fn server(faults: &str) -> Server {
    Server::start(faults.parse().expect("good words")).expect("a free port")
}

fn run(server: &Server, line: &str) -> Output {
    let line = line.replace("{}", &server.address().to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(line.split_whitespace()).args(["--quiet"]).output().expect("the program is there")
}

/// The exit code, the object on standard output, and the words on standard error.
fn json(server: &Server, line: &str) -> (i32, Value, String) {
    let output = run(server, &format!("{line} --json"));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let object = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{line}: {error}: {words}"));
    (output.status.code().expect("it ends by itself"), object, words)
}

/// A run that publishes for half a second to 40 subscribers.
const FANOUT: &str = "fanout -t http://{} -n 40 --rate 200 --warmup 0 -d 0.5 --grace 1";

#[test]
fn a_faithful_server_passes_every_scenario_with_both_engines() {
    let server = server("");
    for engine in ["uring", "raw"] {
        for scenario in [
            "fanout --warmup 0 -d 0.3 --rate 200 -k 4",
            "storm --warmup 0.2 -d 0.2 --rate 200",
            "slow --warmup 0.1 -d 0.3 --rate 200",
            "churn --warmup 0.1 -d 0.5 --rate 200 --churn 100",
            "hold --publish http://{}/events --storm 10",
        ] {
            let (code, object, words) = json(&server, &format!("{scenario} -t http://{{}} -n 40 -e {engine}"));
            assert_eq!((code, words.as_str()), (0, ""), "{scenario} with {engine}: {object}");
            assert_eq!(object["events"]["lost"], 0);
            assert!(object["events"]["delivered"].as_u64() > Some(0));
            assert_eq!(object["connect"]["failed"], 0);
        }
    }
    assert!(server.done().deliveries > 0);
}

#[test]
fn every_event_that_a_server_lost_is_counted_and_the_run_fails() {
    for engine in ["uring", "raw"] {
        let server = server("lose=97");
        let (code, object, words) = json(&server, &format!("{FANOUT} -e {engine}"));
        let done = server.stop();
        assert!(done.lost > 0, "{done:?}");
        assert_eq!(object["events"]["lost"], done.lost);
        assert_eq!(object["events"]["delivered"], done.deliveries - done.lost);
        assert_eq!(code, 1);
        assert!(words.contains(&format!("{} events lost in silence", done.lost)), "{words}");
    }
}

#[test]
fn repeats_and_wrong_orders_are_counted_and_the_run_fails() {
    let server = server("repeat=50,swap=77");
    let (code, object, words) = json(&server, FANOUT);
    let done = server.stop();
    assert!(done.repeated > 0 && done.swapped > 0, "{done:?}");
    assert_eq!(object["events"]["duplicated"], done.repeated);
    assert_eq!(object["events"]["out_of_order"], done.swapped);
    assert_eq!((code, &object["events"]["lost"]), (1, &Value::from(0)));
    assert!(words.contains("repeated") && words.contains("out of order"), "{words}");
}

#[test]
fn a_loss_that_the_server_told_is_no_silent_one() {
    let server = server("gap=211");
    let (code, object, words) = json(&server, FANOUT);
    let done = server.stop();
    assert!(done.gaps > 0, "{done:?}");
    assert_eq!(object["events"]["gaps"], done.gaps);
    assert_eq!(object["events"]["told"], done.gaps);
    assert_eq!((code, &object["events"]["lost"]), (1, &Value::from(0)));
    assert!(words.contains("which the server told"), "{words}");
}

#[test]
fn a_server_that_cuts_streams_is_named() {
    let server = server("cut=500");
    let (code, object, words) = json(&server, FANOUT);
    assert_eq!(code, 1);
    assert!(object["connect"]["failed"].as_u64() > Some(0), "{object}");
    assert!(words.contains("ended by the server"), "{words}");
}

#[test]
fn what_publishers_were_refused_is_not_lost_and_is_told() {
    let server = server("refuse=5");
    let (code, object, words) = json(&server, &format!("{FANOUT} --batch 2"));
    let done = server.stop();
    assert!(done.refused > 0, "{done:?}");
    assert_eq!(object["events"]["refused"], done.refused);
    assert_eq!(object["events"]["lost"], 0);
    assert_eq!(code, 1);
    assert!(words.contains("refused on request"), "{words}");
}

#[test]
fn a_stall_shows_in_the_latency_of_what_was_due_meanwhile() {
    let server = server("stall=400,stall-ms=300");
    let (code, object, _) = json(&server, "fanout -t http://{} -n 1 --rate 500 --warmup 0 -d 1");
    assert_eq!(code, 0);
    let micros = |name: &str| object["latency"][name].as_f64().expect("a latency");
    // The one that stalled, and the 150 or so that became due behind it: more than a fifth of all.
    assert!(micros("max") >= 290_000.0 && micros("p90") >= 20_000.0, "{}", object["latency"]);
}

#[test]
fn bare_sockets_are_a_reference_for_memory() {
    let server = server("");
    let (code, object, words) = json(&server, "hold -t http://{} -e raw -n 100 --bare --armed");
    assert_eq!((code, words.as_str()), (0, ""));
    for name in ["bare", "armed"] {
        assert!(object["references"][name]["kernel"]["bytes_both_ends"].is_number(), "{object}");
    }
    assert!(object["server"]["bytes_all_in"].is_number(), "{object}");
}

#[test]
fn the_table_names_what_the_object_holds() {
    let server = server("");
    let output = run(&server, FANOUT);
    let table = String::from_utf8_lossy(&output.stdout);
    for words in ["subscriptions opened", "deliveries in all", "lost in silence", "end to end, p99.99"] {
        assert!(table.contains(words), "{words}: {table}");
    }
}

#[test]
fn histograms_are_written_to_a_file() {
    let server = server("");
    let path = std::env::temp_dir().join(format!("loadtest-commands-{}.hlog", std::process::id()));
    let output = run(&server, &format!("{FANOUT} --hdr {}", path.display()));
    assert!(output.status.success());
    let log = std::fs::read_to_string(&path).expect("it was written");
    std::fs::remove_file(&path).expect("it can go");
    assert!(log.lines().any(|line| line.starts_with("Tag=latency,")), "{log}");
}

#[test]
fn a_server_that_is_not_there_is_told_at_once() {
    let gone = server("").address();
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["fanout", "-t", &format!("http://{gone}"), "-n", "5"])
        .output()
        .expect("the program is there");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("refused"), "{output:?}");
}

#[test]
fn words_that_make_no_sense_end_with_2() {
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest")).arg("fly").output().expect("the program is there");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no command \"fly\""));
}
