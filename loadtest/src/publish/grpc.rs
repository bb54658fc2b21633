//! Publishing over gRPC: a call of `plasma.v1.PublishService/Publish` per batch, on one HTTP/2 connection.
//!
//! The connection lives while a batch is on its way. Between two batches nobody answers the server's pings; whether it
//! has given us up is looked at before the next batch is sent.

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{self, SendRequest};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::connection::{ANSWER_FOR_MAX, CONNECT_FOR_MAX};
use super::{Answer, Event, Link, json_string};
use crate::Failure;
use crate::target::Url;
use crate::wire::grpc::{PREFIX_LEN, framed, percent_decoded, push_field, take_varint};

/// What is called.
const METHOD: &str = "/plasma.v1.PublishService/Publish";

/// A link over gRPC.
pub struct Grpc {
    url: Url,
    token: Option<String>,
    runtime: Runtime,
    connection: Option<Connection>,
}

struct Connection {
    calls: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Grpc {
    /// Connects to the server of a URL.
    pub fn connect(url: &Url, token: Option<&str>) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let mut link = Self { url: url.clone(), token: token.map(str::to_owned), runtime, connection: None };
        link.connection = Some(link.runtime.block_on(Connection::connect(url))?);
        Ok(link)
    }
}

impl Link for Grpc {
    fn publish(&mut self, batch: &[Event]) -> Result<Answer, Failure> {
        let Self { url, token, runtime, connection } = self;
        runtime.block_on(async {
            let open = match connection.take() {
                Some(open) if open.is_usable().await => open,
                _ => Connection::connect(url).await?,
            };
            let call = timeout(ANSWER_FOR_MAX, open.call(url, token.as_deref(), batch)).await;
            let answer = call.map_err(|_| "waiting for the answer: time is up")??;
            *connection = Some(open);
            Ok(answer)
        })
    }
}

impl Connection {
    async fn connect(url: &Url) -> Result<Self, Failure> {
        let fault = |error: &dyn std::fmt::Display| format!("connecting to {}: {error}", url.address);
        let stream = timeout(CONNECT_FOR_MAX, TcpStream::connect(url.address)).await;
        let stream = stream.map_err(|_| fault(&"time is up"))?.map_err(|error| fault(&error))?;
        stream.set_nodelay(true)?;
        let (calls, connection) = client::handshake(stream).await.map_err(|error| fault(&error))?;
        // What ends the connection, the call that is on its way hears as well.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { calls, driver })
    }

    /// Whether nothing is known against another call: takes in what the server has sent since the last one.
    async fn is_usable(&self) -> bool {
        // The runtime looks at the socket, the driver at what came, and then both are done.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        !self.driver.is_finished()
    }

    async fn call(&self, url: &Url, token: Option<&str>, batch: &[Event]) -> Result<Answer, Failure> {
        let mut request = Request::post(format!("http://{}{METHOD}", url.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut calls = self.calls.clone().ready().await?;
        let (response, mut body) = calls.send_request(request.body(())?, false)?;
        // A server that refuses the call may have reset it already; what it says comes with the answer.
        let _ = body.send_data(message(batch), true);
        let response = match response.await {
            Err(error) if error.is_reset() => return Ok(Answer::refused_after(0, error.to_string())),
            response => response?,
        };
        if response.status() != 200 {
            return Ok(Answer::refused_after(0, format!("status {}", response.status())));
        }
        let (head, mut body) = response.into_parts();
        let (reply, trailers) = match read(&mut body).await {
            Err(error) if error.is_reset() => return Ok(Answer::refused_after(0, error.to_string())),
            read => read?,
        };
        // A refusal may consist of a head only, which then is the trailers as well.
        Ok(answer(&reply, &trailers.unwrap_or(head.headers), batch))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The rest of an answer: its message, and its trailers.
async fn read(body: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        message.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((message, body.trailers().await?))
}

fn answer(reply: &[u8], trailers: &HeaderMap, batch: &[Event]) -> Answer {
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text("grpc-status") {
        "0" => {}
        "" => return Answer::refused_after(0, "the answer has no grpc-status".to_owned()),
        status => {
            return Answer::refused_after(
                0,
                format!("grpc-status {status}: {}", percent_decoded(text("grpc-message").as_bytes())),
            );
        }
    }
    match reply.get(PREFIX_LEN..).and_then(accepted) {
        Some(accepted) if accepted == batch.len() as u64 => Answer::all(batch),
        Some(accepted) => {
            let first = batch.len().min(usize::try_from(accepted).unwrap_or(usize::MAX));
            Answer::refused_after(first, format!("{accepted} of {} events were taken", batch.len()))
        }
        None => Answer::refused_after(0, "the answer is no PublishResponse".to_owned()),
    }
}

/// A `PublishRequest` with its prefix.
fn message(batch: &[Event]) -> Bytes {
    let mut events = Vec::new();
    for event in batch {
        let mut fields = Vec::new();
        push_field(1, event.topic.as_bytes(), &mut fields);
        push_field(2, &json_string(&event.data), &mut fields);
        push_field(1, &fields, &mut events);
    }
    framed(&events).into()
}

/// The field `accepted` of a `PublishResponse`, which is 0 where it is missing. `None` if this is no such message.
fn accepted(mut bytes: &[u8]) -> Option<u64> {
    let mut accepted = 0;
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes)?;
        let value = take_varint(&mut bytes)?;
        match (key >> 3, key & 7) {
            (2, 0) => accepted = value,
            (_, 0) => {}
            // The value was the length, and the bytes follow.
            (_, 2) => bytes = bytes.get(usize::try_from(value).ok()?..)?,
            _ => return None,
        }
    }
    Some(accepted)
}

#[cfg(test)]
mod tests;
