//! Both ends of the queue together.

use std::thread;

use super::*;

fn noon() -> u64 {
    1_795_261_357_715_515_603
}

fn both(error: Level, access: Level) -> Levels {
    Levels { error: Some(error), access: Some(access) }
}

fn taken(lines: &Lines) -> Vec<String> {
    let mut texts = Vec::new();
    while let Next::Line(line) = lines.take() {
        texts.push(String::from_utf8(line.text).unwrap());
    }
    texts
}

#[test]
fn an_access_line_has_the_known_keys_in_the_known_order_and_ours_after_them() {
    let (log, lines) = channel(both(Level::Debug, Level::Debug), noon);
    let request = access::Request {
        host: b"localhost:8080",
        method: b"GET",
        remote_addr: "127.0.0.1",
        status: 400,
        path: b"/x",
        duration: Duration::from_millis(12),
        bytes: 177,
        reason: "refused",
        ..access::Request::default()
    };
    log.access("sse", |fields| request.write(fields));
    let want = concat!(
        r#"{"level":"info","ts":1795261357.7155156,"msg":"sse","user-agent":"","referer":"","content-length":0,"#,
        r#""host":"localhost:8080","method":"GET","remote-addr":"127.0.0.1","time":"2026-11-21T11:42:37.715515603Z","#,
        r#""status":400,"path":"/x","events":0,"duration":12,"bytes":177,"reason":"refused"}"#,
        "\n"
    );
    assert_eq!(taken(&lines), [want]);
}

#[test]
fn a_line_below_the_level_is_not_even_formatted() {
    let (log, lines) = channel(both(Level::Warn, Level::Error), noon);
    log.error(Level::Info, "unwanted", |_| panic!("formatted"));
    log.announce(Level::Debug, "unwanted", |_| panic!("formatted"));
    log.access("sse", |_| panic!("formatted"));
    Log::off().error(Level::Fatal, "unwanted", |_| panic!("formatted"));
    assert!(taken(&lines).is_empty());
    log.error(Level::Warn, "wanted", |_| {});
    assert_eq!(taken(&lines).len(), 1);
}

#[test]
fn a_full_queue_counts_instead_of_blocking_and_owns_up_once() {
    let (log, lines) = channel(both(Level::Info, Level::Info), noon);
    for _ in 0..QUEUE_MAX + 5 {
        log.access("sse", |_| {});
    }
    assert_eq!(log.dropped_count(), 5);
    assert_eq!(taken(&lines).len(), QUEUE_MAX);
    let (line, count) = lines.take_dropped().unwrap();
    let line = String::from_utf8(line).unwrap();
    assert_eq!(count, 5);
    assert!(line.contains(r#""msg":"log lines dropped","count":5}"#), "{line}");
    assert_eq!(lines.take_dropped(), None);
}

#[test]
fn a_repeated_message_becomes_a_count_at_the_latest_when_its_handle_goes() {
    let (log, lines) = channel(both(Level::Info, Level::Info), noon);
    let shard = log.clone();
    for _ in 0..100 {
        shard.error(Level::Warn, "bad message", |_| {});
    }
    assert_eq!(taken(&lines).len(), 10);
    drop(shard);
    let last = taken(&lines);
    assert_eq!(last.len(), 1);
    let want = r#"{"level":"warn","ts":1795261357.7155156,"msg":"message repeated","of":"bad message","count":90}"#;
    assert_eq!(last[0].trim_end(), want);
    log.error(Level::Warn, "bad message", |_| {});
    assert_eq!(taken(&lines).len(), 1, "another handle has its own allowance");
}

#[test]
fn closing_waits_for_the_writer_but_not_for_ever() {
    let (log, lines) = channel(both(Level::Info, Level::Info), noon);
    assert!(!log.close(Duration::from_millis(20)), "nobody writes");
    let writer = thread::spawn(move || while let Next::Line(_) | Next::Empty | Next::Close(_) = lines.wait() {});
    drop(log);
    writer.join().unwrap();

    let (log, lines) = channel(both(Level::Info, Level::Info), noon);
    let writer = thread::spawn(move || match lines.wait() {
        Next::Close(done) => done.send(()).unwrap(),
        _ => panic!("something else"),
    });
    assert!(log.close(Duration::from_secs(10)));
    writer.join().unwrap();
    assert!(!log.close(Duration::from_secs(10)), "the writer is gone, and that is known at once");
}
