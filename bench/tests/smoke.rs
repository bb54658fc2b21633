//! Each command that needs no server, run as people do, but for a moment only: it ends well, and with a table.

use std::process::{Command, Output};

fn bench(words: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench")).args(words.split_whitespace()).output().expect("the program starts")
}

/// Its words, after a good end.
fn said(words: &str) -> String {
    let Output { status, stdout, stderr } = bench(words);
    assert!(status.success(), "{words}: {status}\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("it writes text")
}

/// Whether a line of `text` begins with this word.
fn has_row(text: &str, name: &str) -> bool {
    text.lines().any(|line| line.split_whitespace().next() == Some(name))
}

fn has_valgrind() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok()
}

#[test]
fn codecs_are_timed_and_end_in_a_table() {
    let text = said("codecs --windows 1 --window-ms 1 --only http1,topics/expand");
    assert!(["http1/head-chrome", "http1/route", "topics/expand"].iter().all(|name| has_row(&text, name)), "{text}");
    assert!(!has_row(&text, "topics/find"), "{text}");
}

#[test]
fn ring_operations_are_timed_and_end_in_a_table() {
    let text = said("ring --windows 1 --window-ms 1 -n 64");
    let names = ["send/1", "send/512", "poll/arm", "poll/cancel", "accept", "close", "bell", "turn"];
    assert!(names.iter().all(|name| has_row(&text, name)), "{text}");
}

#[test]
fn instructions_are_counted_where_valgrind_is_and_asked_for_where_it_is_not() {
    let words = "codecs --instructions --only topics/expand";
    if has_valgrind() {
        assert!(has_row(&said(words), "topics/expand"));
    } else {
        let Output { status, stderr, .. } = bench(words);
        assert!(!status.success() && String::from_utf8_lossy(&stderr).contains("needs valgrind"));
    }
}

#[test]
fn a_name_that_nothing_has_is_an_error_that_names_the_others() {
    let Output { status, stderr, .. } = bench("codecs --only fly");
    let words = String::from_utf8_lossy(&stderr);
    assert!(!status.success() && words.contains("\"fly\"") && words.contains("topics/find"), "{words}");
}
