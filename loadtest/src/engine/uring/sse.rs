//! A subscriber over HTTP/1.1, with a connection and a read buffer of its own.

use std::convert::Infallible;
use std::rc::Rc;

use tokio_uring::net::TcpStream;

use super::Shared;
use super::line::Line;
use crate::wire::stream::{Heard, Stream};

/// Bytes of one read: some events of the usual size, and every connection has such a buffer.
const READ_LEN: usize = 4096;

/// Connects, asks, and reads for as long as there is something to read. Returns why it is over.
pub(super) async fn subscribe(shared: &Shared, who: u32, line: &Line) -> Result<Infallible, String> {
    let turn = shared.turn().await;
    let mut subscription = shared.in_time(Subscription::open(shared, who, line)).await?;
    drop(turn);
    loop {
        subscription.read().await?;
        // What a stopped subscriber has read already is kept from it as well.
        shared.valve(who).pass(subscription.buffer.len()).await;
        subscription.hear()?;
    }
}

struct Subscription<'s> {
    shared: &'s Shared,
    who: u32,
    socket: Rc<TcpStream>,
    /// What the last read brought.
    buffer: Vec<u8>,
    /// `None` if nothing was asked.
    stream: Option<Stream>,
}

impl<'s> Subscription<'s> {
    /// Done when the subscription stands.
    async fn open(shared: &'s Shared, who: u32, line: &Line) -> Result<Self, String> {
        let plan = &shared.plan;
        let socket = line.connect(plan.destination_of(who)).await?;
        let stream = (!plan.bare).then(Stream::default);
        let mut subscription = Self { shared, who, socket, buffer: Vec::with_capacity(READ_LEN), stream };
        shared.books.borrow_mut().on_ask(who);
        if plan.bare {
            shared.books.borrow_mut().on_open(who);
            return Ok(subscription);
        }
        let (sent, _) = subscription.socket.write_all(request(shared, who)).await;
        sent.map_err(|error| format!("ask: {error}"))?;
        while !shared.books.borrow().is_open(who) {
            subscription.read().await?;
            subscription.hear()?;
        }
        Ok(subscription)
    }

    async fn read(&mut self) -> Result<(), String> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let (outcome, buffer) = self.socket.read(buffer).await;
        self.buffer = buffer;
        match outcome {
            Ok(0) => Err("the server closed the connection".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("read: {error}")),
        }
    }

    fn hear(&mut self) -> Result<(), String> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let mut books = self.shared.books.borrow_mut();
        let now = books.now();
        stream.feed(&self.buffer, |heard| match heard {
            Heard::Open => books.on_open(self.who),
            Heard::Event(event) => books.on_event(self.who, &event, now),
        })
    }
}

fn request(shared: &Shared, who: u32) -> Vec<u8> {
    let (plan, books) = (&shared.plan, shared.books.borrow());
    let path = plan.path_of(books.topic_of(who));
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n", plan.authority);
    for (name, value) in &plan.headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    let mut request = request.into_bytes();
    if let Some(id) = books.last_id(who) {
        request.extend_from_slice(b"Last-Event-ID: ");
        request.extend_from_slice(&id);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}
