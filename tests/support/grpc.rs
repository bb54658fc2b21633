//! A client of HTTP/2 and gRPC on the `h2` crate, whose view of the protocol is not ours.
//!
//! Connections live on a runtime of their own, so that tests stay plain code: every call here waits, with the patience
//! of all tests, and a connection answers PINGs and SETTINGS whatever the test does meanwhile.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use ::http::response::Parts;
use ::http::{HeaderMap, Method, Request as RequestHead, Version};
use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{PingPong, RecvStream, SendStream};
use plasma::wire::grpc::proto::plasma::{EventType, Payload, Request};
use prost::Message;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::sse::Gap;
use super::wait::PATIENCE;

/// The one method of the first Plasma.
pub const EVENTS: &str = "/proto.StreamService/Events";

/// Where the connections live.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().expect("a runtime")
    })
}

/// Waits for something that should happen at once.
pub fn wait<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(PATIENCE, future).unwrap_or_else(|| panic!("in vain: {what}"))
}

/// Waits for so long; `None` when it did not happen.
pub fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    runtime().block_on(async { tokio::time::timeout(time, future).await.ok() })
}

/// A connection.
pub struct Peer {
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    pings: Option<PingPong>,
}

impl Peer {
    /// Connects with the settings that come with `h2`.
    pub fn open(address: SocketAddr) -> Self {
        Self::open_with(address, &Builder::new())
    }

    /// Connects with settings of the test's.
    pub fn open_with(address: SocketAddr, builder: &Builder) -> Self {
        wait("a connection", Self::connect(address, builder))
    }

    /// The same for those who wait themselves.
    pub async fn connect(address: SocketAddr, builder: &Builder) -> Self {
        let socket = TcpStream::connect(address).await.expect("the server accepts");
        socket.set_nodelay(true).expect("a TCP socket");
        let shake = builder.handshake(socket).await;
        let (sender, mut connection) = shake.expect("a handshake sends, and waits for nothing");
        let pings = connection.ping_pong();
        Self { sender, connection: runtime().spawn(connection), pings }
    }

    /// Begins a gRPC call.
    pub fn call(&self, path: &str, fields: &[(&str, &str)]) -> Call {
        let usual = [("content-type", "application/grpc"), ("te", "trailers")];
        self.request("POST", path, &[&usual, fields].concat(), false)
    }

    /// Begins a stream of events.
    pub fn events(&self, fields: &[(&str, &str)]) -> Call {
        self.call(EVENTS, fields)
    }

    /// Begins any request; `ends` says that no body follows.
    pub fn request(&self, method: &str, target: &str, fields: &[(&str, &str)], ends: bool) -> Call {
        wait("room for a stream", self.try_request(method, target, fields, ends)).expect("the request is sent")
    }

    /// The same, whatever comes of it.
    pub async fn try_request(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        ends: bool,
    ) -> Result<Call, h2::Error> {
        let mut head = RequestHead::builder().version(Version::HTTP_2).uri(format!("http://localhost{target}"));
        head = head.method(Method::from_bytes(method.as_bytes()).expect("a method"));
        for (name, value) in fields {
            head = head.header(*name, *value);
        }
        let mut sender = self.sender.clone().ready().await?;
        let (answer, sink) = sender.send_request(head.body(()).expect("a request"), ends)?;
        Ok(Call { sink, source: Source::Asked(answer), head: None, trailers: HeaderMap::new(), input: Vec::new() })
    }

    /// Streams that the server lets this connection have, as far as it said.
    pub fn streams_max(&self) -> usize {
        self.sender.current_max_send_streams()
    }

    /// The means to send PINGs; there is one.
    pub fn ping_pong(&mut self) -> PingPong {
        self.pings.take().expect("it is taken once")
    }

    /// Waits for the end of the connection, once the last stream is gone.
    pub fn wait_end(self) -> Result<(), h2::Error> {
        drop(self.sender);
        wait("the end of the connection", self.connection).expect("the connection does not panic")
    }

    /// Waits for the server to end the connection, which this end would keep.
    pub fn wait_closed(&mut self) -> Result<(), h2::Error> {
        wait("the server to end the connection", &mut self.connection).expect("the connection does not panic")
    }
}

enum Source {
    Asked(ResponseFuture),
    Open(RecvStream),
    /// Both ways are at their end.
    Over,
}

/// One request and what comes back.
pub struct Call {
    sink: SendStream<Bytes>,
    source: Source,
    head: Option<Parts>,
    /// What came behind everything else; of an answer that is nothing but its end, the head.
    trailers: HeaderMap,
    /// Received and not taken yet.
    input: Vec<u8>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub code: tonic::Code,
    pub message: String,
}

impl Call {
    /// Sends a message.
    pub fn send(&mut self, message: &impl Message) -> &mut Self {
        self.send_bytes(framed(message))
    }

    /// Sends bytes as they are, in a frame of their own.
    pub fn send_bytes(&mut self, bytes: impl Into<Bytes>) -> &mut Self {
        self.sink.send_data(bytes.into(), false).expect("the stream is open");
        self
    }

    /// Asks for these topics, in place of those before.
    pub fn ask(&mut self, topics: &[&str]) -> &mut Self {
        self.send(&request(topics))
    }

    /// Has nothing more to say. A call of one message may have been answered and ended before.
    pub fn half_close(&mut self) -> &mut Self {
        let _ = self.sink.send_data(Bytes::new(), true);
        self
    }

    /// Gives up.
    pub fn cancel(&mut self) {
        self.sink.send_reset(h2::Reason::CANCEL);
    }

    /// The head of the answer.
    pub fn head(&mut self) -> &Parts {
        wait("the head of an answer", self.open()).expect("an answer");
        self.head.as_ref().expect("it was opened")
    }

    /// A field of that head, as text.
    pub fn field(&mut self, name: &str) -> Option<String> {
        self.head().headers.get(name).map(|value| value.to_str().expect("text").to_owned())
    }

    async fn open(&mut self) -> Result<(), h2::Error> {
        if let Source::Asked(answer) = &mut self.source {
            let (head, body) = answer.await?.into_parts();
            (self.head, self.source) = (Some(head), Source::Open(body));
        }
        Ok(())
    }

    /// More bytes, or `None` at the end of them.
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>, h2::Error> {
        self.open().await?;
        let Source::Open(body) = &mut self.source else { return Ok(None) };
        let Some(bytes) = body.data().await.transpose()? else { return Ok(None) };
        body.flow_control().release_capacity(bytes.len())?;
        Ok(Some(bytes))
    }

    /// Everything up to the end.
    pub fn body(&mut self) -> Vec<u8> {
        let all = async {
            while let Some(bytes) = self.next_bytes().await? {
                self.input.extend_from_slice(&bytes);
            }
            Ok::<_, h2::Error>(std::mem::take(&mut self.input))
        };
        wait("the end of a body", all).expect("a whole body")
    }

    /// Everything up to and including `end`.
    pub fn read_through(&mut self, end: &str) -> String {
        let found = async {
            loop {
                if let Some(at) = self.input.windows(end.len()).position(|window| window == end.as_bytes()) {
                    let rest = self.input.split_off(at + end.len());
                    return std::mem::replace(&mut self.input, rest);
                }
                let bytes = self.next_bytes().await.expect("an open stream").expect("more of it");
                self.input.extend_from_slice(&bytes);
            }
        };
        String::from_utf8(wait(&format!("{end:?}"), found)).expect("text")
    }

    /// The next message, or `None` at the end of them.
    pub async fn next_raw(&mut self) -> Result<Option<Vec<u8>>, h2::Error> {
        loop {
            if let Some((prefix, rest)) = self.input.split_first_chunk::<5>() {
                let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
                assert_eq!(prefix[0], 0, "no message of ours is compressed");
                if rest.len() >= len {
                    let message = rest[..len].to_vec();
                    self.input.drain(..5 + len);
                    return Ok(Some(message));
                }
            }
            match self.next_bytes().await? {
                Some(bytes) => self.input.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// The next message.
    pub fn next<M: Message + Default>(&mut self) -> M {
        let raw = wait("a message", self.next_raw()).expect("an open stream");
        match raw {
            Some(raw) => M::decode(&*raw).expect("a message"),
            None => panic!("it ended where a message should stand: {:?}", self.end()),
        }
    }

    /// The next event.
    pub fn payload(&mut self) -> Payload {
        self.next()
    }

    /// The next event, as its type and its data.
    pub fn event(&mut self) -> (String, String) {
        let payload = self.payload();
        (payload.event_type.expect("the type is always there").r#type, payload.data)
    }

    /// The next `count` events' data.
    pub fn data(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.event().1).collect()
    }

    /// The next message, which says that events were lost.
    pub fn gap(&mut self) -> Gap {
        let payload = self.payload();
        assert_eq!(payload.event_type.as_ref().map(|of| of.r#type.as_str()), Some("plasma.gap"), "{payload:?}");
        assert_eq!(payload.id, "", "a notice has no id");
        let notice: Value = serde_json::from_str(&payload.data).expect("a notice is JSON");
        let text = |name: &str| notice[name].as_str().map(str::to_owned);
        Gap { from: text("lost_from"), to: text("lost_to"), reason: text("reason").expect("a reason") }
    }

    /// The status with which the call ends; no message may come before it.
    pub fn end(&mut self) -> End {
        let (messages, end) = self.rest();
        assert!(messages.is_empty(), "{} messages before the end {end:?}", messages.len());
        end
    }

    /// Everything that still comes, and the status.
    pub fn rest(&mut self) -> (Vec<Vec<u8>>, End) {
        let rest = async {
            let mut messages = Vec::new();
            while let Some(raw) = self.next_raw().await? {
                messages.push(raw);
            }
            let Source::Open(mut body) = std::mem::replace(&mut self.source, Source::Over) else { panic!("ended") };
            Ok((messages, body.trailers().await?))
        };
        let (messages, trailers) = wait("the end of a call", rest).unwrap_or_else(|error: h2::Error| panic!("{error}"));
        let head = self.head.as_ref().expect("it was opened");
        self.trailers = trailers.unwrap_or_else(|| head.headers.clone());
        let end = end_of(&self.trailers);
        assert!(self.input.is_empty() || end.code != tonic::Code::Ok, "half a message before {end:?}");
        (messages, end)
    }

    /// A field of the trailers, once they have been read.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// Waits for the stream to break off without a status.
    pub fn broken(&mut self) -> h2::Error {
        let broken = async {
            loop {
                match self.next_raw().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("it ended as it should"),
                    Err(error) => return error,
                }
            }
        };
        wait("the stream to break off", broken)
    }

    /// Whether nothing came within `time`.
    pub fn is_quiet_for(&mut self, time: Duration) -> bool {
        self.input.is_empty() && within(time, self.next_bytes()).is_none()
    }
}

fn end_of(fields: &HeaderMap) -> End {
    let text = |name: &str| fields.get(name).map(|value| value.to_str().expect("trailers are ASCII"));
    let code = text("grpc-status").unwrap_or_else(|| panic!("no status: {fields:?}"));
    End { code: tonic::Code::from_bytes(code.as_bytes()), message: decoded(text("grpc-message").unwrap_or_default()) }
}

/// Percent-decoding of `grpc-message`.
fn decoded(text: &str) -> String {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next().expect("a digit"), bytes.next().expect("a digit")];
            let digits = str::from_utf8(&digits).expect("digits");
            out.push(u8::from_str_radix(digits, 16).expect("hexadecimal digits"));
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).expect("a status message is text")
}

/// The data of the next `count` events of each call. They are read at once: calls of one connection share its window,
/// and one that is not read stops the others.
pub fn data_of_all(calls: Vec<Call>, count: usize) -> Vec<Vec<String>> {
    let read = |mut call: Call| async move {
        let mut data = Vec::with_capacity(count);
        while data.len() < count {
            let raw = call.next_raw().await.expect("an open stream").expect("an event");
            data.push(Payload::decode(&*raw).expect("a payload").data);
        }
        // Given up only when all have been read.
        (data, call)
    };
    let tasks: Vec<_> = calls.into_iter().map(|call| runtime().spawn(read(call))).collect();
    let read: Vec<_> = tasks.into_iter().map(|task| wait("events", task).expect("no panic")).collect();
    read.into_iter().map(|(data, _)| data).collect()
}

/// The request for these topics.
pub fn request(topics: &[&str]) -> Request {
    Request {
        events: topics.iter().map(|topic| EventType { r#type: (*topic).to_owned() }).collect(),
        force_close: false,
    }
}

/// A message behind its prefix.
pub fn framed(message: &impl Message) -> Vec<u8> {
    prefixed(0, &message.encode_to_vec())
}

/// Any bytes behind the prefix of a message.
pub fn prefixed(flag: u8, bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).expect("a message is shorter than 4 GiB");
    [&[flag], &len.to_be_bytes()[..], bytes].concat()
}
