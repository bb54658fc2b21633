//! A client that publishes over HTTP, one request after another.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use plasma::ring::Errno;

use super::{Link, http};
use crate::sim::dice::Dice;
use crate::sim::ledger::Ledger;
use crate::sim::site::{Peer, Site};
use crate::sim::{MICROS, MILLIS, SECONDS};

/// How much it publishes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Pause between two requests, in nanoseconds.
    pub pause: (u64, u64),
    /// Events in one request.
    pub events: (u64, u64),
    /// Bytes of padding in one event.
    pub padding: (u64, u64),
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Asked {
    serials: Vec<u32>,
    answer: Vec<u8>,
    head: Option<http::Head>,
}

/// The publisher.
pub struct Publisher {
    to: SocketAddr,
    topics: Rc<[String]>,
    ledger: Rc<RefCell<Ledger>>,
    dice: Dice,
    pace: Pace,
    /// Requests still to be made.
    pub left: u32,
    link: Option<Link>,
    connected: bool,
    asked: Option<Asked>,
    next_at: u64,
    push_at: u64,
    /// Statuses of its answers, in order.
    pub answers: Vec<u16>,
}

impl Publisher {
    /// Makes `requests` requests with events on `topics`.
    pub fn new(
        to: SocketAddr,
        topics: Rc<[String]>,
        ledger: Rc<RefCell<Ledger>>,
        dice: Dice,
        pace: Pace,
        requests: u32,
    ) -> Self {
        let (link, connected, asked) = (None, false, None);
        Self {
            to,
            topics,
            ledger,
            dice,
            pace,
            left: requests,
            link,
            connected,
            asked,
            next_at: 0,
            push_at: 0,
            answers: vec![],
        }
    }

    /// Whether it has nothing more to do.
    pub fn is_done(&self) -> bool {
        self.left == 0 && self.asked.is_none() && self.link.is_none()
    }

    /// From now on it makes only so many more requests, small ones, in no hurry. Wake it afterwards.
    pub fn publish_little(&mut self, requests: u32) {
        self.left = requests;
        self.pace = Pace { pause: (100 * MILLIS, SECONDS), events: (1, 2), padding: (1, 100) };
    }

    /// The next request, in one of the three forms that are accepted.
    fn request(&mut self) -> (Vec<u8>, Vec<u32>) {
        let mut ledger = self.ledger.borrow_mut();
        let count = self.dice.between(self.pace.events.0, self.pace.events.1);
        let serials: Vec<u32> = (0..count)
            .map(|_| {
                let topic = &self.topics[self.dice.below(self.topics.len() as u64) as usize];
                ledger
                    .try_event(topic, self.dice.spread(self.pace.padding.0.max(1), self.pace.padding.1.max(1)) as usize)
            })
            .collect();
        let texts: Vec<String> = serials.iter().map(|&serial| ledger.text_of(serial)).collect();
        let body = match self.dice.coin() {
            _ if count == 1 => texts[0].clone(),
            true => format!("[{}]", texts.join(",")),
            false => texts.join("\n"),
        };
        let head = format!("POST /events HTTP/1.1\r\nHost: sim\r\nContent-Length: {}\r\n\r\n", body.len());
        ((head + &body).into_bytes(), serials)
    }

    /// The connection is over; what was asked last may or may not have been taken.
    fn drop_link(&mut self, site: &mut Site<'_>) {
        if let Some(link) = self.link.take() {
            site.close(link.end);
        }
        (self.connected, self.asked) = (false, None);
        self.next_at = site.now() + self.dice.spread(MILLIS, SECONDS);
    }

    fn take_answer(&mut self, site: &mut Site<'_>) {
        let Some(asked) = &mut self.asked else { return };
        if asked.head.is_none() {
            asked.head = http::take_head(&mut asked.answer);
        }
        let Some(head) = asked.head else { return };
        if head.status == 100 {
            asked.head = None;
            return;
        }
        let len = head.body_len.expect("an answer has a length");
        if asked.answer.len() < len {
            return;
        }
        assert_eq!(asked.answer.len(), len, "one answer per request");
        let asked = self.asked.take().expect("just looked at");
        self.answers.push(head.status);
        self.ledger.borrow_mut().on_answer(&asked.serials, head.status, &asked.answer);
        self.next_at = site.now() + self.dice.spread(self.pace.pause.0, self.pace.pause.1);
        if head.closes || self.dice.one_in(20) || self.left == 0 {
            self.drop_link(site);
        }
    }

    fn go_on(&mut self, site: &mut Site<'_>) -> Result<(), Errno> {
        let now = site.now();
        let Some(link) = &mut self.link else {
            if self.next_at <= now && self.left > 0 {
                self.link = Some(Link::new(site.connect(self.to)));
            }
            return Ok(());
        };
        if !self.connected {
            match site.answer(link.end) {
                None => return Ok(()),
                Some(answer) => answer?,
            }
            self.connected = true;
        }
        if link.backlog() > 0 && self.push_at <= now {
            let most = if self.dice.one_in(4) { self.dice.spread(1, 4096) as usize } else { usize::MAX - (1 << 32) };
            link.push(site, most)?;
            self.push_at = now + self.dice.spread(10 * MICROS, 20 * MILLIS);
        }
        let mut answer = Vec::new();
        let over = site.read_all(link.end, |bytes| answer.extend_from_slice(bytes));
        if !answer.is_empty() {
            let asked = self.asked.as_mut().expect("nothing comes unasked");
            asked.answer.extend_from_slice(&answer);
            self.take_answer(site);
        }
        // Nothing more to say: it hangs up.
        if over? || self.asked.is_none() && self.left == 0 {
            return Err(Errno::PIPE);
        }
        if self.asked.is_none() && self.left > 0 && self.next_at <= now && self.link.is_some() {
            let (request, serials) = self.request();
            let link = self.link.as_mut().expect("just looked at");
            link.waiting = request;
            self.left -= 1;
            self.asked = Some(Asked { serials, answer: Vec::new(), head: None });
            self.push_at = now;
        }
        Ok(())
    }
}

impl Peer for Publisher {
    fn wake(&mut self, site: &mut Site<'_>) {
        if self.go_on(site).is_err() {
            self.drop_link(site);
        }
        let now = site.now();
        let pushing = self.link.as_ref().is_some_and(|link| link.backlog() > 0);
        let next_at = match (&self.link, &self.asked) {
            (_, Some(_)) if pushing => self.push_at.max(now + 1),
            (Some(_), None) if self.connected => self.next_at.max(now + 1),
            (None, _) if self.left > 0 => self.next_at.max(now + 1),
            (None, _) | (Some(_), _) => return,
        };
        site.wake_in(next_at - now);
    }
}
