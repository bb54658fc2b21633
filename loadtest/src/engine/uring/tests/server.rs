//! Servers that do nothing by themselves: each request becomes a [`Visitor`], and the test says what happens to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

use crate::engine::Protocol;

/// How long a test waits for what has to come.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A listener whose visitors come out of a channel.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    visitors: Receiver<Visitor>,
    /// Ends all HTTP/2 connections, for this reason.
    farewell: watch::Sender<Option<Reason>>,
}

/// One who asked for something.
pub(super) struct Visitor {
    /// Which of the server's connections it came on.
    pub(super) connection: u32,
    /// The request's line and headers, as far as they are text.
    pub(super) request: String,
    /// The name of the topic.
    pub(super) topic: String,
    pub(super) last_id: Option<String>,
    door: Door,
}

enum Door {
    Http1(TcpStream),
    Http2 { protocol: Protocol, respond: SendResponse<Bytes>, stream: Option<SendStream<Bytes>>, runtime: Handle },
}

impl Server {
    pub(super) fn start(protocol: Protocol) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let (come, visitors) = mpsc::channel();
        let (farewell, ends) = watch::channel(None);
        match protocol {
            Protocol::Sse => thread::spawn(move || serve_http1(&listener, &come)),
            Protocol::Sse2 | Protocol::Grpc => thread::spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(serve_http2(protocol, listener, come, ends));
            }),
        };
        Self { address, visitors, farewell }
    }

    /// The next to ask.
    pub(super) fn visitor(&self) -> Visitor {
        self.visitors.recv_timeout(PATIENCE).expect("somebody asks")
    }

    pub(super) fn visitors(&self, count: u32) -> Vec<Visitor> {
        (0..count).map(|_| self.visitor()).collect()
    }

    /// Whether nobody else has asked.
    pub(super) fn is_quiet(&self) -> bool {
        self.visitors.try_recv().is_err()
    }

    /// Sends GOAWAY on all connections.
    pub(super) fn go_away(&self, reason: Reason) {
        self.farewell.send(Some(reason)).expect("the server runs");
    }
}

impl Visitor {
    /// Lets it in.
    pub(super) fn welcome(&mut self) {
        match &mut self.door {
            Door::Http1(socket) => {
                let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n:ok\n\n";
                socket.write_all(head).expect("it listens");
            }
            Door::Http2 { protocol, respond, stream, .. } => {
                let kind = if *protocol == Protocol::Grpc { "application/grpc" } else { "text/event-stream" };
                let answer = Response::builder().header("content-type", kind).body(()).expect("a good answer");
                *stream = Some(respond.send_response(answer, false).expect("it listens"));
            }
        }
    }

    /// Sends it away: `503`, or in gRPC a call that ends at once.
    pub(super) fn refuse(&mut self) {
        match &mut self.door {
            Door::Http1(socket) => {
                socket.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").expect("it listens");
            }
            Door::Http2 { protocol, respond, .. } => {
                let answer = match protocol {
                    Protocol::Grpc => Response::builder()
                        .header("content-type", "application/grpc")
                        .header("grpc-status", "14")
                        .header("grpc-message", "full%21"),
                    _ => Response::builder().status(503),
                };
                respond.send_response(answer.body(()).expect("a good answer"), true).expect("it listens");
            }
        }
    }

    /// Sends an event.
    pub(super) fn event(&mut self, id: u32, data: &str) {
        self.say("load", id, data);
    }

    /// Says that something was lost.
    pub(super) fn gap(&mut self) {
        self.say("plasma.gap", 0, "{}");
    }

    /// Ends its stream in good order.
    pub(super) fn end(&mut self) {
        match &mut self.door {
            Door::Http1(socket) => socket.shutdown(std::net::Shutdown::Both).expect("it is connected"),
            Door::Http2 { protocol, stream, .. } => {
                let stream = stream.as_mut().expect("it was welcome");
                if *protocol == Protocol::Grpc {
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", "8".parse().expect("a value"));
                    trailers.insert("grpc-message", "too slow".parse().expect("a value"));
                    stream.send_trailers(trailers).expect("it listens");
                } else {
                    stream.send_data(Bytes::new(), true).expect("it listens");
                }
            }
        }
    }

    /// Resets its stream.
    pub(super) fn reset(&mut self, reason: Reason) {
        let Door::Http2 { respond, .. } = &mut self.door else { panic!("there are no streams in HTTP/1.1") };
        respond.send_reset(reason);
    }

    /// Waits until it goes, and says how: what the last read brought, or the reset of its stream.
    pub(super) fn gone(&mut self) -> String {
        match &mut self.door {
            Door::Http1(socket) => match socket.read(&mut [0; 16]) {
                Ok(len) => format!("{len} bytes"),
                Err(error) => error.kind().to_string(),
            },
            Door::Http2 { stream, runtime, .. } => {
                let stream = stream.as_mut().expect("it was welcome");
                match runtime.block_on(std::future::poll_fn(|context| stream.poll_reset(context))) {
                    Ok(reason) => format!("{reason:?}"),
                    Err(error) => error.to_string(),
                }
            }
        }
    }

    fn say(&mut self, kind: &str, id: u32, data: &str) {
        let id = if id == 0 { String::new() } else { id.to_string() };
        let event = match &mut self.door {
            Door::Http2 { protocol: Protocol::Grpc, .. } => payload(kind, &id, data),
            _ if id.is_empty() => format!("event: {kind}\ndata: {data}\n\n").into_bytes(),
            _ => format!("event: {kind}\nid: {id}\ndata: {data}\n\n").into_bytes(),
        };
        match &mut self.door {
            Door::Http1(socket) => socket.write_all(&event).expect("it listens"),
            Door::Http2 { stream, .. } => {
                stream.as_mut().expect("it was welcome").send_data(event.into(), false).expect("it listens");
            }
        }
    }
}

/// A `Payload` as a message. All its parts are short.
fn payload(kind: &str, id: &str, data: &str) -> Vec<u8> {
    let field = |number: u8, value: &[u8]| {
        let len = u8::try_from(value.len()).ok().filter(|len| *len < 128).expect("a short value");
        [&[number << 3 | 2, len], value].concat()
    };
    let fields = [field(1, &field(1, kind.as_bytes())), field(2, data.as_bytes()), field(3, id.as_bytes())].concat();
    [&[0], &(fields.len() as u32).to_be_bytes()[..], &fields].concat()
}

fn serve_http1(listener: &TcpListener, come: &Sender<Visitor>) {
    for (connection, socket) in (0..).zip(listener.incoming()) {
        let mut socket = socket.expect("a connection");
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).is_ok_and(|len| len == 1) {
            head.push(byte[0]);
        }
        let request = String::from_utf8_lossy(&head).into_owned();
        let field = |name: &str| request.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let topic = field("GET /").unwrap_or_default().replace(" HTTP/1.1", "");
        let last_id = field("Last-Event-ID: ");
        if come.send(Visitor { connection, request, topic, last_id, door: Door::Http1(socket) }).is_err() {
            return;
        }
    }
}

async fn serve_http2(
    protocol: Protocol,
    listener: TcpListener,
    come: Sender<Visitor>,
    ends: watch::Receiver<Option<Reason>>,
) {
    listener.set_nonblocking(true).expect("a socket");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    let come = Arc::new(Mutex::new(come));
    for connection in 0.. {
        let (socket, _) = listener.accept().await.expect("a connection");
        let (come, mut ends) = (Arc::clone(&come), ends.clone());
        ends.mark_unchanged();
        tokio::spawn(async move {
            let mut h2 = h2::server::handshake(socket).await.expect("HTTP/2");
            loop {
                tokio::select! {
                    request = h2.accept() => match request {
                        Some(Ok((request, respond))) => {
                            tokio::spawn(greet(protocol, connection, request, respond, Arc::clone(&come)));
                        }
                        _ => return,
                    },
                    Ok(()) = ends.changed() => {
                        let reason = ends.borrow_and_update().expect("a reason");
                        h2.abrupt_shutdown(reason);
                    }
                }
            }
        });
    }
}

async fn greet(
    protocol: Protocol,
    connection: u32,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    come: Arc<Mutex<Sender<Visitor>>>,
) {
    let (head, mut body) = request.into_parts();
    let topic = match protocol {
        Protocol::Grpc => {
            let message = body.data().await.expect("a message").expect("a good one");
            // A prefix, then two fields in each other.
            String::from_utf8_lossy(&message[9..]).into_owned()
        }
        _ => head.uri.path().trim_start_matches('/').to_owned(),
    };
    let last_id = head.headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let door = Door::Http2 { protocol, respond, stream: None, runtime: Handle::current() };
    let visitor = Visitor { connection, request: format!("{head:?}"), topic, last_id, door };
    // A test that has seen enough is no matter.
    let _ = come.lock().expect("nobody panics with it").send(visitor);
    // The request's half is watched, so that a reset of it is taken in.
    while let Some(Ok(_)) = body.data().await {}
}
