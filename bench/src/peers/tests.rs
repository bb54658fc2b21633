//! Each peer, started and asked for an event.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, thread};

use tokio::runtime::Runtime;

use super::*;
use crate::grpc;

const EVENT: &str = r#"{"meta":{"type":"greeting"},"data":"hello, subscriber"}"#;

/// A subscription over HTTP/1.1 to this path.
fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n").into_bytes()
}

/// Publishes to `path` until what `subscribe` asks for has arrived.
fn delivers(place: Place, subscribe: &[u8], path: &str) {
    let mut subscriber = TcpStream::connect((Ipv4Addr::LOCALHOST, place.port)).expect("the server listens");
    subscriber.write_all(subscribe).expect("the subscription is sent");
    subscriber.set_read_timeout(Some(Duration::from_millis(50))).expect("a time is set");
    let mut publisher = TcpStream::connect((Ipv4Addr::LOCALHOST, place.publish_port)).expect("and to publishers");
    let (mut received, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(20));
    while !String::from_utf8_lossy(&received).contains("hello, subscriber") {
        assert!(Instant::now() < deadline, "received only {:?}", String::from_utf8_lossy(&received));
        let length = EVENT.len();
        write!(publisher, "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n\r\n{EVENT}")
            .expect("the event is sent");
        let mut buffer = [0; 4096];
        match subscriber.read(&mut buffer) {
            Ok(0) => panic!("the stream has ended after {:?}", String::from_utf8_lossy(&received)),
            Ok(len) => received.extend_from_slice(&buffer[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn bare_delivers_an_event() {
    let (started, place) = mpsc::channel();
    // Ends with the tests.
    thread::spawn(move || {
        let (mut bare, place) = bare::Bare::start(0, Arc::default()).expect("a ring and a socket can be had");
        started.send(place).expect("the test waits for it");
        bare.run().expect("it serves");
    });
    delivers(place.recv().expect("it has started"), &get("/any"), "/events");
}

#[test]
fn axum_delivers_an_event() {
    let runtime = Runtime::new().expect("a runtime can be had");
    let place = axum::start(&runtime, 0, Arc::default()).expect("it starts");
    delivers(place, &get("/?eventType=greeting"), "/events");
}

#[test]
fn tonic_delivers_an_event() {
    let runtime = Runtime::new().expect("a runtime can be had");
    let place = tonic::start(&runtime, 0, Arc::default()).expect("it starts");
    delivers(place, &grpc::request(1, "greeting"), "/events");
}

#[test]
fn nchan_delivers_an_event() {
    if let Err(reason) = nchan::module() {
        return skip(&reason.to_string());
    }
    let nginx = nchan::Nginx::start(0).expect("it starts");
    delivers(nginx.place(), &get("/sub/greeting"), "/pub/greeting");
}

#[test]
fn a_place_is_read_as_it_was_written() {
    let place = Place { port: 1, publish_port: 2, pid: 3 };
    assert_eq!(Place::parse(&place.to_string()), Some(place));
    for bad in ["", "1", "1 2", "1 x 3", "70000 2 3"] {
        assert_eq!(Place::parse(bad), None, "{bad:?}");
    }
}

/// Says that the running test proves nothing here, and why, as the server's own tests do.
fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("SKIPPED {test}: {reason}");
    if let Ok(list) = env::var("PLASMA_TEST_SKIPS") {
        let mut list = OpenOptions::new().create(true).append(true).open(list).expect("the list can be opened");
        writeln!(list, "{test}: {reason}").expect("the list can be written");
    }
}
