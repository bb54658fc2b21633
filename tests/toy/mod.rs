//! The smallest server that keeps the promises: one shard, one topic, an endless log, no limits; and its bugs.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plasma::base::id::EventId;
use plasma::base::region::Region;
use plasma::base::time::Instant;
use plasma::ring::{Armed, Attached, Completion, Errno, Listener, Part, Piece, Ring, Socket, Token};

use crate::sim::{Ledger, SimRing};

/// What the toy may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    SkipsWhatWasCut,
    ReusesMemory,
    ClosesTwice,
    KeepsBuffers,
    SendsTwice,
}

const ACCEPT: u8 = 1;
const POLL: u8 = 2;
const RECV: u8 = 3;
const NOW: u8 = 4;
const SEND: u8 = 5;
const CLOSE: u8 = 6;

const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nretry: 2000\n:ok\n\n";

/// Room for the toy's whole history.
pub fn region() -> Arc<Region> {
    Arc::new(Region::new(64 << 20).unwrap())
}

struct Client {
    socket: Socket,
    request: Vec<u8>,
    /// Bytes of the head still to be sent.
    head: Bytes,
    /// Position in the log, once it has subscribed.
    at: Option<usize>,
    /// A send is pending.
    busy: bool,
    /// Where the last send without waiting began.
    began: usize,
}

/// The server.
pub struct Toy {
    ring: SimRing,
    region: Arc<Region>,
    ledger: Rc<RefCell<Ledger>>,
    bug: Option<Bug>,
    /// Ends its publishing.
    pub hush: Rc<Cell<bool>>,
    /// Ends it.
    pub stop: Rc<Cell<bool>>,
    clients: BTreeMap<u32, Client>,
    next_client: u32,
    accepting: bool,
    /// Where each event begins.
    events: Vec<(EventId, usize)>,
    end: usize,
    next_event_at: Instant,
    kept: Vec<plasma::ring::Buffer>,
}

impl Toy {
    pub fn new(ring: SimRing, region: Arc<Region>, ledger: Rc<RefCell<Ledger>>, bug: Option<Bug>) -> Self {
        let (hush, stop, next_event_at) = (Rc::default(), Rc::default(), ring.now());
        Self {
            ring,
            region,
            ledger,
            bug,
            hush,
            stop,
            clients: BTreeMap::new(),
            next_client: 0,
            accepting: false,
            events: Vec::new(),
            end: 0,
            next_event_at,
            kept: Vec::new(),
        }
    }

    /// One turn; false when all is over.
    pub fn turn(&mut self) -> io::Result<bool> {
        self.ring.wait(Some(self.next_event_at))?;
        while let Some(completion) = self.ring.next() {
            self.take(completion);
        }
        if self.stop.get() {
            return Ok(self.wind_up());
        }
        if !self.accepting {
            self.accepting = true;
            self.ring.accept(Listener(0), Token::new(ACCEPT, 0, 0));
        }
        if self.ring.now() >= self.next_event_at {
            if self.hush.get() {
                self.next_event_at = self.ring.now() + Duration::from_secs(1);
            } else {
                self.publish();
            }
        }
        self.send_all();
        Ok(true)
    }

    fn wind_up(&mut self) -> bool {
        self.next_event_at = self.ring.now() + Duration::from_secs(1);
        if self.accepting {
            self.ring.cancel(Token::new(ACCEPT, 0, 0));
        }
        let clients: Vec<u32> = self.clients.keys().copied().collect();
        clients.into_iter().for_each(|client| self.close(client));
        // Long enough for everything late.
        let quiet = !self.accepting && self.ring.random().is_multiple_of(20);
        !quiet
    }

    fn publish(&mut self) {
        let mut ledger = self.ledger.borrow_mut();
        let padding = self.ring.random() % 300;
        let serial = ledger.try_event("a", padding as usize);
        let id = self.events.last().map_or(EventId::default(), |last| last.0).next(self.ring.unix_millis());
        let text = format!("id: {id}\ndata: {}\n\n", ledger.text_of(serial));
        ledger.on_answer(&[serial], 202, format!("{{\"ids\":[\"{id}\"]}}").as_bytes());
        // SAFETY: one thread, and nobody reads while we write.
        unsafe { self.region.write(self.end, text.as_bytes()) };
        if self.bug == Some(Bug::ReusesMemory) && self.end > 4_000 {
            // SAFETY: as above.
            unsafe { self.region.write(self.end - 4_000, b"reused") };
        }
        self.events.push((id, self.end));
        self.end += text.len();
        self.next_event_at = self.ring.now() + Duration::from_millis(1 + self.ring.random() % 200);
    }

    fn send_all(&mut self) {
        for (&number, client) in &mut self.clients {
            let Some(at) = client.at else { continue };
            if client.busy && self.bug != Some(Bug::SendsTwice) {
                continue;
            }
            let piece = Piece { region: 0, at: at as u64, len: (self.end - at) as u32 };
            if !client.head.is_empty() {
                let parts = vec![Part::Own(client.head.clone())];
                self.ring.send(client.socket, parts, false, Token::new(SEND, number, 0));
                client.busy = true;
            } else if piece.len > 1_000 {
                let token = Token::new(SEND, number, 0);
                self.ring.send(client.socket, vec![Part::Shared(piece)], piece.len > 2_000, token);
                client.busy = true;
            } else if piece.len > 0 {
                let gather = self.ring.gather(&[piece]);
                self.ring.send_now(client.socket, gather, Token::new(NOW, number, 0));
                client.began = at;
                client.at = Some(self.end);
            }
        }
        // What went at once is known before anything else is sent.
        self.ring.submit().unwrap();
        let mut others = Vec::new();
        while let Some(completion) = self.ring.next() {
            match (completion.token.kind(), self.clients.get_mut(&completion.token.index())) {
                (NOW, Some(client)) if self.bug != Some(Bug::SkipsWhatWasCut) => {
                    // An error shows up again in the next send, or in the poll.
                    client.at = Some(client.began + completion.result.unwrap_or(0) as usize);
                }
                _ => others.push(completion),
            }
        }
        others.into_iter().for_each(|completion| self.take(completion));
    }

    fn take(&mut self, completion: Completion) {
        let Completion { token, result, more, attached } = completion;
        let number = token.index();
        match token.kind() {
            ACCEPT => {
                self.accepting = more;
                if let Ok(socket) = result {
                    self.greet(Socket(socket));
                }
            }
            POLL if more && self.clients.contains_key(&number) => {
                let hangup = (libc::POLLHUP | libc::POLLERR) as u32;
                match result {
                    Ok(bits) if bits & hangup == 0 => self.receive(number),
                    _ => self.close(number),
                }
            }
            RECV => self.on_received(number, result, attached),
            SEND => self.on_sent(number, result, &attached),
            _ => {}
        }
    }

    fn greet(&mut self, socket: Socket) {
        let number = self.next_client;
        self.next_client += 1;
        let head = Bytes::from_static(HEAD.as_bytes());
        self.clients.insert(number, Client { socket, request: Vec::new(), head, at: None, busy: false, began: 0 });
        self.ring.poll(socket, Token::new(POLL, number, 0));
    }

    fn receive(&mut self, number: u32) {
        let socket = self.clients[&number].socket;
        self.ring.recv(socket, false, Token::new(RECV, number, 0));
    }

    fn on_received(&mut self, number: u32, result: Result<u32, Errno>, attached: Attached) {
        let mut bytes = Vec::new();
        if let Attached::Buffer(buffer) = attached {
            bytes.extend_from_slice(&buffer);
            if self.bug == Some(Bug::KeepsBuffers) && number == 3 {
                self.kept.push(buffer);
            } else {
                self.ring.give_back(buffer);
            }
        }
        let Some(client) = self.clients.get_mut(&number) else { return };
        match result {
            Ok(0) => return self.close(number),
            Ok(_) => {}
            Err(Errno::AGAIN) => return,
            Err(Errno::NOBUFS) => return self.receive(number),
            Err(_) => return self.close(number),
        }
        client.request.extend_from_slice(&bytes);
        if client.at.is_none() && client.request.ends_with(b"\r\n\r\n") {
            let text = String::from_utf8(std::mem::take(&mut client.request)).unwrap();
            let said = ["Last-Event-ID: ", "lastEventId="].into_iter().find_map(|name| text.split(name).nth(1));
            let last = said.and_then(|rest| EventId::parse(rest.split_whitespace().next()?.as_bytes()));
            let next = |id| self.events.iter().find(|event| event.0 > id).map_or(self.end, |event| event.1);
            client.at = Some(last.map_or(self.end, next));
        }
        self.receive(number);
    }

    fn on_sent(&mut self, number: u32, result: Result<u32, Errno>, attached: &Attached) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        if matches!(attached, Attached::Released { .. }) {
            return;
        }
        client.busy = false;
        match result {
            Ok(sent) if !client.head.is_empty() => client.head = client.head.slice(sent as usize..),
            Ok(sent) => client.at = Some(client.at.unwrap() + sent as usize),
            Err(Errno::NOBUFS) => {}
            Err(_) => self.close(number),
        }
    }

    fn close(&mut self, number: u32) {
        let client = self.clients.remove(&number).unwrap();
        self.ring.close(client.socket, Armed::Anything, false, Token::new(CLOSE, number, 0));
        if self.bug == Some(Bug::ClosesTwice) && number == 5 {
            self.ring.close(client.socket, Armed::Anything, false, Token::new(CLOSE, number, 0));
        }
    }
}
