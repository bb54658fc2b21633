//! Subscribers over HTTP/2: a connection that they share, and a request stream for each.
//!
//! Two things are asked this way, an event stream as over HTTP/1.1 and Plasma's gRPC stream. What tells them apart is
//! in [`Body`] and in `grpc.rs`.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response, Version, header, request};

use super::adapter::Adapter;
use super::line::Line;
use super::{Shared, grpc};
use crate::engine::Protocol;
use crate::wire::grpc::Payloads;
use crate::wire::stream::{Heard, Stream};

/// Where requests go.
pub(super) type Requests = SendRequest<Bytes>;

/// As much as there is: no stream is to starve because others of its connection do not read.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// What a server may send to one that does not read, thousands of events, and what we keep of it in the worst case.
const STREAM_WINDOW: u32 = 1 << 20;

/// Small DATA frames that h2 puts up with: many events are smaller than what it takes for decent.
const DATA_FRAME_BUDGET: usize = 1 << 30;

/// Streams that were cut whose frames may still be on their way.
const RESET_STREAMS_MAX: usize = 1 << 16;

/// Asks on the connection of `line`, which the first to come makes, and reads for as long as there is something to
/// read. Returns why it is over.
pub(super) async fn subscribe(shared: &Shared, who: u32, line: &Line) -> Result<Infallible, String> {
    // The request's half stays open for as long as this does, and the stream is reset when it goes.
    let (mut answer, _request) = open(shared, who, line).await?;
    let mut body = match shared.plan.protocol {
        Protocol::Grpc => Body::Grpc(Payloads::default()),
        Protocol::Sse | Protocol::Sse2 => Body::Sse(Box::new(Stream::of_body())),
    };
    while let Some(data) = answer.data().await {
        let data = data.map_err(|error| words(line, &error))?;
        shared.valve(who).pass(data.len()).await;
        body.hear(shared, who, &data)?;
        // An error here is the stream's, and the next read has it too.
        let _ = answer.flow_control().release_capacity(data.len());
    }
    let trailers = answer.trailers().await.map_err(|error| words(line, &error))?;
    Err(body.end(trailers.as_ref()))
}

/// Done when the subscription stands.
async fn open(shared: &Shared, who: u32, line: &Line) -> Result<(RecvStream, SendStream<Bytes>), String> {
    let _turn = shared.turn().await;
    let _coming = line.gate.coming();
    // The connect has a time limit of its own: it ends for all who wait, and nobody tries again.
    let requests = line.requests.get_or_init(|| shared.in_time(connect(shared, who, line))).await;
    shared.in_time(ask(shared, who, line, requests.clone()?)).await
}

async fn ask(
    shared: &Shared,
    who: u32,
    line: &Line,
    requests: Requests,
) -> Result<(RecvStream, SendStream<Bytes>), String> {
    let mut requests = match requests.ready().await {
        Ok(requests) => requests,
        Err(error) => {
            line.retire();
            return Err(words(line, &error));
        }
    };
    shared.books.borrow_mut().on_ask(who);
    let (request, message) = request(shared, who)?;
    let sent = requests.send_request(request, message.is_none());
    let (answer, mut request) = sent.map_err(|error| words(line, &error))?;
    if let Some(message) = message {
        request.send_data(message, false).map_err(|error| words(line, &error))?;
    }
    let answer = answer.await.map_err(|error| words(line, &error))?;
    check(shared.plan.protocol, &answer)?;
    shared.books.borrow_mut().on_open(who);
    Ok((answer.into_body(), request))
}

async fn connect(shared: &Shared, who: u32, line: &Line) -> Result<Requests, String> {
    let socket = line.connect(shared.plan.destination_of(who)).await?;
    let adapter = Adapter::new(socket, Rc::clone(&line.gate));
    let handshake = client::Builder::new()
        .enable_push(false)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_window_size(STREAM_WINDOW)
        .data_frame_budget(DATA_FRAME_BUDGET)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(None)
        .handshake(adapter)
        .await;
    let (requests, connection) = handshake.map_err(|error| error.to_string())?;
    let farewell = Rc::clone(&line.farewell);
    tokio_uring::spawn(async move {
        let words =
            connection.await.map_or_else(|error| error.to_string(), |()| "the server closed the connection".into());
        farewell.replace(Some(words));
    });
    Ok(requests)
}

/// Why a stream failed. After GOAWAY it only knows of a broken pipe: the connection knows more.
fn words(line: &Line, error: &h2::Error) -> String {
    let farewell = line.farewell.borrow();
    farewell.clone().filter(|_| error.is_io()).unwrap_or_else(|| error.to_string())
}

/// What to ask, and the message that goes with it.
fn request(shared: &Shared, who: u32) -> Result<(Request<()>, Option<Bytes>), String> {
    let (plan, books) = (&shared.plan, shared.books.borrow());
    let topic = books.topic_of(who);
    let (mut request, message) = match plan.protocol {
        Protocol::Grpc => (grpc::call(&plan.authority), Some(grpc::subscription(&plan.topic(topic)))),
        Protocol::Sse | Protocol::Sse2 => (event_stream(&plan.authority, &plan.path_of(topic)), None),
    };
    for (name, value) in &plan.headers {
        request = request.header(name, value);
    }
    if let Some(id) = books.last_id(who) {
        request = request.header("last-event-id", id);
    }
    let request = request.version(Version::HTTP_2).body(()).map_err(|error| error.to_string())?;
    Ok((request, message))
}

fn event_stream(authority: &str, path: &str) -> request::Builder {
    Request::get(format!("http://{authority}{path}")).header(header::ACCEPT, "text/event-stream")
}

/// Whether the subscription stands, or why it does not.
fn check<B>(protocol: Protocol, answer: &Response<B>) -> Result<(), String> {
    if answer.status() != 200 {
        return Err(format!("answered {}", answer.status()));
    }
    let wanted = match protocol {
        Protocol::Grpc => {
            grpc::check(answer.headers())?;
            "application/grpc"
        }
        Protocol::Sse | Protocol::Sse2 => "text/event-stream",
    };
    let content_type = answer.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if content_type.starts_with(wanted.as_bytes()) {
        return Ok(());
    }
    Err(format!("answered with {:?} and not with {wanted}", String::from_utf8_lossy(content_type)))
}

/// What the body of an answer consists of.
enum Body {
    Sse(Box<Stream>),
    Grpc(Payloads),
}

impl Body {
    fn hear(&mut self, shared: &Shared, who: u32, data: &[u8]) -> Result<(), String> {
        let mut books = shared.books.borrow_mut();
        let now = books.now();
        match self {
            Self::Sse(stream) => stream.feed(data, |heard| {
                if let Heard::Event(event) = heard {
                    books.on_event(who, &event, now);
                }
            }),
            Self::Grpc(payloads) => payloads.feed(data, |payload| grpc::note(&mut books, who, payload, now)),
        }
    }

    /// Why it has ended.
    fn end(&self, trailers: Option<&HeaderMap>) -> String {
        match self {
            Self::Sse(_) => "the body has ended".to_owned(),
            Self::Grpc(_) => grpc::end(trailers),
        }
    }
}
