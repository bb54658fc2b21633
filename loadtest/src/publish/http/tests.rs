//! The link over HTTP against scripted peers.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;

use super::super::peer::{batch, serve};
use super::*;

const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 12\r\n\r\n{\"ids\":[\"1\"]";

fn request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut text, mut body_len) = (String::new(), 0);
    while !text.ends_with("\r\n\r\n") {
        let from = text.len();
        if reader.read_line(&mut text).ok()? == 0 {
            return None;
        }
        if let Some(len) = text[from..].strip_prefix("Content-Length: ") {
            body_len = len.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; body_len];
    reader.read_exact(&mut body).ok()?;
    text.push_str(&String::from_utf8(body).ok()?);
    Some(text)
}

fn link(address: std::net::SocketAddr, path: &str, format: Format) -> Http {
    let url = format!("http://{address}{path}").parse().expect("a good URL");
    Http::connect(&url, format, Some("secret")).expect("a connection")
}

#[test]
fn a_batch_is_one_request_and_the_connection_is_kept() {
    let chunked = "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    let (address, peer) = serve(request, vec![vec![ACCEPTED, chunked, interim]]);
    let mut link = link(address, "/events", Format::Plasma);
    for topics in [&["a", "b"][..], &["c"], &["\""]] {
        let batch = batch(topics);
        assert_eq!(link.publish(&batch).expect("an answer"), Answer::all(&batch));
    }
    let requests = peer.join().expect("the peer");
    assert_eq!(requests[0].len(), 3);
    let (head, body) = requests[0][0].split_once("\r\n\r\n").expect("a whole request");
    assert!(head.starts_with("POST /events HTTP/1.1\r\n"));
    assert!(head.contains(&format!("Host: {address}\r\n")) && head.ends_with("Authorization: Bearer secret"));
    assert_eq!(
        body,
        "{\"meta\":{\"type\":\"a\"},\"data\":\"data of a\"}\n{\"meta\":{\"type\":\"b\"},\"data\":\"data of b\"}\n"
    );
    assert!(requests[0][2].contains("{\"type\":\"\\\"\"}"));
}

#[test]
fn a_raw_event_is_a_request_with_its_topic_in_the_path() {
    let refused = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
    let (address, peer) = serve(request, vec![vec![ACCEPTED, refused]]);
    let answer = link(address, "/pub?id={topic}", Format::Raw).publish(&batch(&["a", "b", "c"])).expect("an answer");
    assert_eq!(answer, Answer::refused_after(1, "413 Too Large".to_owned()));
    let requests = peer.join().expect("the peer");
    assert_eq!(requests[0].len(), 2, "what comes after a refusal is not sent");
    assert!(requests[0][1].starts_with("POST /pub?id=b HTTP/1.1\r\n") && requests[0][1].ends_with("\r\n\r\ndata of b"));
}

#[test]
fn a_refusal_has_the_words_of_the_server() {
    let busy = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 9\r\n\r\ntoo many\n";
    let (address, peer) = serve(request, vec![vec![busy, ACCEPTED]]);
    let mut link = link(address, "/events", Format::Plasma);
    let batch = batch(&["a"]);
    let refused = link.publish(&batch).expect("an answer");
    assert_eq!(refused, Answer::refused_after(0, "503 Service Unavailable: too many".to_owned()));
    assert_eq!(link.publish(&batch).expect("an answer"), Answer::all(&batch));
    assert_eq!(peer.join().expect("the peer")[0].len(), 2, "on the same connection");
}

#[test]
fn a_broken_connection_is_made_anew_for_the_next_batch() {
    let (address, peer) = serve(request, vec![vec![""], vec!["HTTP/1.1 200 OK\r\nContent-Le"], vec![ACCEPTED]]);
    let mut link = link(address, "/events", Format::Plasma);
    let batch = batch(&["a"]);
    for _ in 0..2 {
        link.publish(&batch).expect_err("nobody knows");
    }
    assert_eq!(link.publish(&batch).expect("an answer"), Answer::all(&batch));
    assert_eq!(peer.join().expect("the peer").iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn a_connection_that_the_server_closes_between_batches_loses_nothing() {
    let closing = "HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let until_close = "HTTP/1.0 200 OK\r\n\r\nfine";
    let (address, peer) = serve(request, vec![vec![closing], vec![until_close], vec![ACCEPTED]]);
    let mut link = link(address, "/events", Format::Plasma);
    let batch = batch(&["a"]);
    for _ in 0..3 {
        assert_eq!(link.publish(&batch).expect("an answer"), Answer::all(&batch));
    }
    peer.join().expect("the peer");
}

#[test]
fn an_answer_is_whole_or_none_at_every_cut() {
    let bytes = ACCEPTED.as_bytes();
    for cut in 0..bytes.len() {
        assert_eq!(reply(&bytes[..cut]).expect("good so far"), None, "cut at {cut}");
    }
    let whole = reply(bytes).expect("a good answer").expect("a whole answer");
    assert!(whole.is_accepted() && whole.keeps_alive);
    for bad in ["SSH-2.0\r\n", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"] {
        reply(bad.as_bytes()).expect_err(bad);
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let url = format!("http://{address}/events").parse().expect("a good URL");
    let error = Http::connect(&url, Format::Plasma, None).err().expect("nobody there").to_string();
    assert!(error.contains(&address.to_string()), "{error}");
}
