//! The link through Redis against scripted peers.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};

use super::super::peer::{batch, serve};
use super::*;

/// The words of one command.
fn command(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let number = |reader: &mut BufReader<TcpStream>, mark: char| {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        line.strip_prefix(mark)?.trim_end().parse::<usize>().ok()
    };
    let mut words = Vec::new();
    for _ in 0..number(reader, '*')? {
        let mut word = vec![0; number(reader, '$')? + 2];
        reader.read_exact(&mut word).ok()?;
        words.push(String::from_utf8(word).ok()?.strip_suffix("\r\n")?.to_owned());
    }
    Some(words.join(" "))
}

fn link(address: SocketAddr, login: &str) -> Result<Redis, Failure> {
    Redis::connect(&format!("redis://{login}{address}/news").parse().expect("a good URL"))
}

#[test]
fn a_place_is_host_channel_and_login() {
    let place: Place = "redis://me:p@ss:word@127.0.0.1:6379/news".parse().expect("a good URL");
    assert_eq!(place.login, Some(("me".to_owned(), "p@ss:word".to_owned())));
    assert_eq!((place.channel.as_str(), place.url.authority.as_str()), ("news", "127.0.0.1:6379"));
    let place: Place = "redis://:secret@127.0.0.1:6379".parse().expect("a good URL");
    assert_eq!((place.login, place.channel.as_str()), (Some((String::new(), "secret".to_owned())), CHANNEL));
    for bad in ["127.0.0.1:6379", "rediss://127.0.0.1:6379", "redis://127.0.0.1", "redis://me:x@"] {
        bad.parse::<Place>().expect_err(bad);
    }
}

#[test]
fn a_batch_is_pipelined() {
    let (address, peer) = serve(command, vec![vec![":1\r\n", ":0\r\n:", "3\r\n"]]);
    let batch = batch(&["a", "b", "c"]);
    let mut link = link(address, "").expect("a connection");
    assert_eq!(link.publish(&batch).expect("answers"), Answer::all(&batch));
    let commands = peer.join().expect("the peer").remove(0);
    assert_eq!(commands.len(), 3);
    assert_eq!(commands[1], "PUBLISH news {\"meta\":{\"type\":\"b\"},\"data\":\"data of b\"}");
}

#[test]
fn an_error_refuses_what_follows_and_all_replies_are_read() {
    let (address, peer) = serve(command, vec![vec![":1\r\n", "-OOM no memory\r\n", ":1\r\n", ":1\r\n"]]);
    let mut link = link(address, "").expect("a connection");
    let answer = link.publish(&batch(&["a", "b", "c"])).expect("answers");
    assert_eq!(answer, Answer::refused_after(1, "OOM no memory".to_owned()));
    let next = batch(&["d"]);
    assert_eq!(link.publish(&next).expect("an answer"), Answer::all(&next));
    peer.join().expect("the peer");
}

#[test]
fn a_password_is_told_first() {
    for (login, words) in [(":secret@", "AUTH secret"), ("me:secret@", "AUTH me secret")] {
        let (address, peer) = serve(command, vec![vec!["+OK\r\n", ":1\r\n"]]);
        link(address, login).expect("a connection").publish(&batch(&["a"])).expect("an answer");
        assert_eq!(peer.join().expect("the peer")[0][0], words);
    }
    let (address, peer) = serve(command, vec![vec!["-WRONGPASS invalid\r\n"]]);
    let error = link(address, ":secret@").err().expect("not let in").to_string();
    assert!(error.contains("WRONGPASS invalid"), "{error}");
    peer.join().expect("the peer");
}

#[test]
fn a_broken_connection_is_made_anew_for_the_next_batch() {
    let (address, peer) = serve(command, vec![vec![":1\r\n"], vec![":1\r\n"], vec!["$1\r\n"], vec![":1\r\n"]]);
    let mut link = link(address, "").expect("a connection");
    let (one, two) = (batch(&["a"]), batch(&["a", "b"]));
    link.publish(&two).expect_err("one of two replies");
    assert_eq!(link.publish(&one).expect("an answer"), Answer::all(&one));
    // Closed after its answer, which is noticed before the next batch or by it.
    let error = (0..2).find_map(|_| link.publish(&one).err()).expect("no answer of Redis").to_string();
    assert!(error.contains("$1") || error.contains("closed"), "{error}");
    while link.publish(&one).is_err() {}
    peer.join().expect("the peer");
}
