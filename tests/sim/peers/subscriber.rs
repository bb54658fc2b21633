//! A client that subscribes over SSE, reads as it pleases, goes away and comes back.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use plasma::ring::Errno;

use super::sse::{Block, Reader};
use super::{Link, http};
use crate::sim::dice::Dice;
use crate::sim::ledger::{Ending, Ledger, Notice};
use crate::sim::site::{Peer, Site};
use crate::sim::{MICROS, MILLIS, SECONDS};

/// How a subscriber reads its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// All there is, at once.
    Eager,
    /// At most so many bytes, every so many nanoseconds.
    Trickle { bytes: usize, every: u64 },
    /// Nothing, until it changes its ways.
    Nothing,
}

/// What it is doing.
#[derive(Debug)]
enum State {
    /// Between two connections.
    Away { until: u64 },
    /// Waits for its connection to be made.
    Dialing(Link),
    /// Its request goes out in pieces; then it waits for the head.
    Asking { link: Link, answer: Vec<u8>, resume: Option<u64>, next_at: u64 },
    /// The stream runs; `number` is the ledger's.
    Streaming { link: Link, reader: Reader, number: usize, next_at: u64 },
    /// It has had enough.
    Gone,
}

/// The subscriber.
pub struct Subscriber {
    number: usize,
    to: SocketAddr,
    topics: Rc<[String]>,
    ledger: Rc<RefCell<Ledger>>,
    dice: Dice,
    state: State,
    /// How it reads now.
    pub reading: Reading,
    /// When it changes its ways, hangs up or resets; never for one that is not fickle.
    change_at: Option<u64>,
    leaving: bool,
    /// The id of the last complete event.
    last_id: Option<u64>,
    /// Status of the last answer that was no stream.
    pub refused: Option<u16>,
    /// Streams it has begun.
    pub streams: u32,
    /// When its stream last said anything.
    heard_at: u64,
    /// Longest silence of a stream since [`Subscriber::mind_silence`].
    silence_max: u64,
}

impl Subscriber {
    /// A steady, eager subscriber to `topics` that arrives at `arrives_at`.
    pub fn new(
        number: usize,
        to: SocketAddr,
        topics: Rc<[String]>,
        ledger: Rc<RefCell<Ledger>>,
        dice: Dice,
        arrives_at: u64,
    ) -> Self {
        let state = State::Away { until: arrives_at };
        let (reading, change_at, leaving, last_id) = (Reading::Eager, None, false, None);
        Self {
            number,
            to,
            topics,
            ledger,
            dice,
            state,
            reading,
            change_at,
            leaving,
            last_id,
            refused: None,
            streams: 0,
            heard_at: 0,
            silence_max: 0,
        }
    }

    /// From now on it changes its ways at random.
    pub fn be_fickle(&mut self, now: u64) {
        self.change_at = Some(now + self.dice.spread(MILLIS, 20 * SECONDS));
    }

    /// From now on it stays and reads all there is. Wake it afterwards.
    pub fn settle_down(&mut self) {
        (self.change_at, self.reading) = (None, Reading::Eager);
    }

    /// From now on it minds how long its stream is silent.
    pub fn mind_silence(&mut self, now: u64) {
        (self.heard_at, self.silence_max) = (now, 0);
    }

    /// The longest that its stream was silent, in nanoseconds.
    pub fn silence(&self, now: u64) -> u64 {
        if self.is_streaming() { self.silence_max.max(now - self.heard_at) } else { self.silence_max }
    }

    /// It hangs up for good. Wake it afterwards.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// Whether its stream is open.
    pub fn is_streaming(&self) -> bool {
        matches!(self.state, State::Streaming { .. })
    }

    fn request(&self, resume: Option<u64>) -> Vec<u8> {
        let topics = self.topics.join(",");
        // Those with an even number say it as a polyfill does, in the query.
        let (query, field) = match resume {
            None => (String::new(), String::new()),
            Some(id) if self.number.is_multiple_of(2) => (format!("&lastEventId={id}"), String::new()),
            Some(id) => (String::new(), format!("Last-Event-ID: {id}\r\n")),
        };
        let head = format!("GET /?eventType={topics}{query} HTTP/1.1\r\nHost: sim\r\n");
        (head + "Accept: text/event-stream\r\n" + &field + "\r\n").into_bytes()
    }

    /// Hangs up, one way or another, and comes back later.
    fn go_away(&mut self, site: &mut Site<'_>, end: crate::sim::End) -> State {
        if self.dice.one_in(3) {
            site.reset(end)
        } else {
            site.close(end)
        }
        State::Away { until: site.now() + self.dice.spread(MILLIS, 3 * SECONDS) }
    }

    fn dialing(&mut self, site: &mut Site<'_>, mut link: Link) -> State {
        match site.answer(link.end) {
            None => State::Dialing(link),
            Some(Err(_)) => self.go_away(site, link.end),
            Some(Ok(())) => {
                // Now and then a client has forgotten where it was.
                let resume = if self.dice.one_in(10) { None } else { self.last_id };
                link.waiting = self.request(resume);
                self.asking(site, link, Vec::new(), resume, site.now())
            }
        }
    }

    /// Sends the next piece of the request and looks for the head of the answer.
    fn asking(
        &mut self,
        site: &mut Site<'_>,
        mut link: Link,
        mut answer: Vec<u8>,
        resume: Option<u64>,
        mut next_at: u64,
    ) -> State {
        let now = site.now();
        if link.backlog() > 0 && next_at <= now {
            let most = if self.change_at.is_some() && self.dice.coin() { self.dice.spread(1, 64) } else { 1 << 20 };
            if link.push(site, most as usize).is_err() {
                return self.go_away(site, link.end);
            }
            next_at = now + self.dice.spread(10 * MICROS, 50 * MILLIS);
        }
        let over = site.read_all(link.end, |bytes| answer.extend_from_slice(bytes)) != Ok(false);
        let Some(head) = http::take_head(&mut answer) else {
            if over {
                return self.go_away(site, link.end);
            }
            return State::Asking { link, answer, resume, next_at };
        };
        if head.status != 200 {
            self.refused = Some(head.status);
            return self.go_away(site, link.end);
        }
        assert!(head.events && head.closes && head.body_len.is_none(), "a stream has its head: {head:?}");
        self.streams += 1;
        let number = self.ledger.borrow_mut().stream_begins(self.number, &self.topics, resume);
        self.heard_at = now;
        let mut reader = Reader::default();
        self.take_in(&mut reader, number, &answer);
        self.streaming(site, link, reader, number, now)
    }

    /// Reads on, in its way.
    fn streaming(
        &mut self,
        site: &mut Site<'_>,
        link: Link,
        mut reader: Reader,
        number: usize,
        mut next_at: u64,
    ) -> State {
        let now = site.now();
        if next_at > now {
            return State::Streaming { link, reader, number, next_at };
        }
        let most = match self.reading {
            Reading::Eager => usize::MAX,
            Reading::Trickle { bytes, .. } => bytes,
            Reading::Nothing => return State::Streaming { link, reader, number, next_at },
        };
        let ending = loop {
            match site.read(link.end, most, |bytes| self.take_in(&mut reader, number, bytes)) {
                Ok(0) => break Ending::Closed,
                Ok(_) => {
                    self.silence_max = self.silence_max.max(now - self.heard_at);
                    self.heard_at = now;
                    if let Reading::Trickle { every, .. } = self.reading {
                        next_at = now + every;
                        return State::Streaming { link, reader, number, next_at };
                    }
                }
                Err(Errno::AGAIN) => return State::Streaming { link, reader, number, next_at },
                Err(_) => break Ending::Reset,
            }
        };
        self.ledger.borrow_mut().stream_ends(number, ending);
        self.go_away(site, link.end)
    }

    fn take_in(&mut self, reader: &mut Reader, number: usize, bytes: &[u8]) {
        let mut ledger = self.ledger.borrow_mut();
        reader.feed(bytes, |block| match block {
            Block::Comment(text) => ledger.on_comment(number, text),
            Block::Event { name: b"plasma.gap", id, data } => {
                assert_eq!(id, None, "a notice has no id");
                ledger.on_notice(number, Notice::parse(data));
            }
            Block::Event { name, id, data } => {
                assert!(name.is_empty(), "events are nameless");
                let id = id.and_then(|id| std::str::from_utf8(id).ok()?.parse().ok()).expect("an event has its id");
                ledger.on_event(number, id, data);
                self.last_id = Some(id);
            }
        });
    }

    /// Whether it changes its ways, or hangs up.
    fn change(&mut self, site: &mut Site<'_>) {
        self.be_fickle(site.now());
        self.reading = match self.dice.below(6) {
            0..3 => Reading::Eager,
            3 => {
                let every = self.dice.spread(100 * MICROS, SECONDS);
                Reading::Trickle { bytes: self.dice.spread(1, 4096) as usize, every }
            }
            4 => Reading::Nothing,
            _ => return self.hang_up(site),
        };
        // What it waited for under its old ways counts no more.
        if let State::Streaming { next_at, link, .. } = &mut self.state {
            *next_at = 0;
            if self.dice.one_in(8) {
                site.shut_down(link.end);
            }
        }
    }

    /// Ends the connection, whatever it is doing.
    fn hang_up(&mut self, site: &mut Site<'_>) {
        let state = std::mem::replace(&mut self.state, State::Gone);
        let end = match state {
            State::Away { .. } | State::Gone => {
                self.state = state;
                return;
            }
            State::Dialing(link) | State::Asking { link, .. } => link.end,
            State::Streaming { link, number, .. } => {
                self.ledger.borrow_mut().stream_ends(number, Ending::Left);
                link.end
            }
        };
        self.state = self.go_away(site, end);
    }
}

impl Peer for Subscriber {
    fn wake(&mut self, site: &mut Site<'_>) {
        if self.leaving {
            self.hang_up(site);
            self.state = State::Gone;
            return;
        }
        let now = site.now();
        self.ledger.borrow_mut().now_millis = site.unix_millis();
        if self.change_at.is_some_and(|at| at <= now) {
            self.change(site);
        }
        self.state = match std::mem::replace(&mut self.state, State::Gone) {
            State::Away { until } if until <= now => {
                let link = Link::new(site.connect(self.to));
                State::Dialing(link)
            }
            State::Dialing(link) => self.dialing(site, link),
            State::Asking { link, answer, resume, next_at } => self.asking(site, link, answer, resume, next_at),
            State::Streaming { link, reader, number, next_at } => self.streaming(site, link, reader, number, next_at),
            state @ (State::Away { .. } | State::Gone) => state,
        };
        let next_at = match &self.state {
            State::Away { until } => Some(*until),
            State::Asking { link, next_at, .. } if link.backlog() > 0 => Some(*next_at),
            State::Streaming { next_at, .. } if *next_at > now => Some(*next_at),
            _ => None,
        };
        if let Some(at) = [next_at, self.change_at].into_iter().flatten().min() {
            site.wake_in(at.saturating_sub(now).max(1));
        }
    }
}
