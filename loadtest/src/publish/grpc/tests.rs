//! The link over gRPC against a scripted server, and the messages as bytes.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

use h2::server::{self, SendResponse};
use http::Response;

use super::super::peer::batch;
use super::*;

/// What a call is answered.
#[derive(Clone, Copy)]
enum Say {
    /// A message and the status OK.
    Reply(&'static [u8]),
    /// A head only: a status and a message.
    Status(&'static str, &'static str),
    /// A reset.
    Reset,
    /// The end of the connection.
    Hangup,
}

/// What was asked: path, authorization, body.
type Asked = (String, String, Vec<u8>);

/// `accepted` is 1, after an id.
const ONE: Say = Say::Reply(b"\0\0\0\0\x05\x0a\x01x\x10\x01");

/// Serves as many connections as there are scripts, one after the other: what to say to each call, and then GOAWAY.
fn serve(scripts: Vec<Vec<Say>>) -> (SocketAddr, JoinHandle<Vec<Asked>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let work = async move {
        let mut calls = Vec::new();
        for script in scripts {
            let (stream, _) = listener.accept().expect("a connection");
            stream.set_nonblocking(true).expect("a socket");
            let stream = TcpStream::from_std(stream).expect("a socket of the runtime");
            let mut connection = server::handshake(stream).await.expect("a client");
            let mut is_over = false;
            for say in script {
                let (request, respond) = connection.accept().await.expect("a call").expect("a good call");
                match say {
                    Say::Hangup => is_over = true,
                    say => calls.push(tokio::spawn(answer_call(request, respond, say))),
                }
            }
            if !is_over {
                connection.graceful_shutdown();
                // The client need not wait for it.
                let _ = poll_fn(|context| connection.poll_closed(context)).await;
            }
        }
        let mut asked = Vec::new();
        for call in calls {
            asked.push(call.await.expect("an answered call"));
        }
        asked
    };
    let thread =
        thread::spawn(move || Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work));
    (address, thread)
}

async fn answer_call(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, say: Say) -> Asked {
    let (head, mut body) = request.into_parts();
    let token = head.headers.get("authorization").map(|token| token.to_str().expect("words").to_owned());
    let (body, _) = read(&mut body).await.expect("a whole request");
    match say {
        Say::Hangup => {}
        Say::Reset => respond.send_reset(h2::Reason::REFUSED_STREAM),
        Say::Status(status, words) => {
            let head = Response::builder().header("grpc-status", status).header("grpc-message", words);
            respond.send_response(head.body(()).expect("a head"), true).expect("a call");
        }
        Say::Reply(reply) => {
            let mut out = respond.send_response(Response::new(()), false).expect("a call");
            out.send_data(Bytes::from_static(reply), false).expect("a call");
            let trailers =
                HeaderMap::from_iter([("grpc-status".parse().expect("a name"), "0".parse().expect("a value"))]);
            out.send_trailers(trailers).expect("a call");
        }
    }
    (head.uri.path().to_owned(), token.unwrap_or_default(), body)
}

fn link(address: SocketAddr) -> Grpc {
    let url = format!("http://{address}").parse().expect("a good URL");
    Grpc::connect(&url, Some("secret")).expect("a connection")
}

#[test]
fn a_batch_is_one_call() {
    let (address, peer) = serve(vec![vec![ONE, ONE]]);
    let mut link = link(address);
    for _ in 0..2 {
        let batch = batch(&["a"]);
        assert_eq!(link.publish(&batch).expect("an answer"), Answer::all(&batch));
    }
    drop(link);
    let asked = peer.join().expect("the peer");
    let message = b"\0\0\0\0\x12\x0a\x10\x0a\x01a\x12\x0b\"data of a\"";
    assert_eq!(asked[0], (METHOD.to_owned(), "Bearer secret".to_owned(), message.to_vec()));
    assert_eq!(asked.len(), 2);
}

#[test]
fn a_large_batch_waits_for_the_window() {
    let (address, peer) = serve(vec![vec![Say::Reply(b"\0\0\0\0\x03\x10\xe8\x07")]]);
    let mut link = link(address);
    let batch = vec![Event { topic: "a".to_owned(), data: vec![b'x'; 300] }; 1000];
    assert_eq!(link.publish(&batch).expect("an answer"), Answer::all(&batch));
    drop(link);
    assert!(peer.join().expect("the peer")[0].2.len() > 300_000);
}

#[test]
fn refusals_have_the_words_of_the_server() {
    let says = vec![Say::Status("16", "not%20allowed"), Say::Reset, ONE, Say::Reply(b"no message")];
    let (address, peer) = serve(vec![says]);
    let mut link = link(address);
    let batch = batch(&["a", "b"]);
    let mut refused = || link.publish(&batch).expect("an answer");
    assert_eq!(refused(), Answer::refused_after(0, "grpc-status 16: not allowed".to_owned()));
    assert!(refused().refusal.is_some_and(|words| words.contains("refused")));
    assert_eq!(refused(), Answer::refused_after(1, "1 of 2 events were taken".to_owned()));
    assert_eq!(refused().accepted, 0);
    drop(link);
    peer.join().expect("the peer");
}

#[test]
fn a_broken_connection_is_made_anew_for_the_next_batch() {
    let (address, peer) = serve(vec![vec![Say::Hangup], vec![ONE]]);
    let mut link = link(address);
    let batch = batch(&["a"]);
    link.publish(&batch).expect_err("nobody knows");
    assert_eq!(link.publish(&batch).expect("an answer"), Answer::all(&batch));
    drop(link);
    peer.join().expect("the peer");
}

#[test]
fn responses_are_read_whatever_else_is_in_them() {
    for (bytes, want) in [
        (&b""[..], Some(0)),
        (b"\x10\x96\x01", Some(150)),
        (b"\x0a\x03abc\x0a\x00\x10\x07\x18\x05", Some(7)),
        (b"\x10", None),
        (b"\x0a\x05abc", None),
        (b"\x0d\0\0\0\0", None),
        (b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", None),
    ] {
        assert_eq!(accepted(bytes), want, "{bytes:?}");
    }
    assert_eq!(percent_decoded(b"100%25 %zz %4"), "100% %zz %4");
}
