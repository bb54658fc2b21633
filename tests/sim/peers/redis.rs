//! A Redis as its clients see it, with the moods of a real one: it stalls, dies, comes back, and talks nonsense.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use super::{Link, resp};
use crate::sim::dice::Dice;
use crate::sim::ledger::Ledger;
use crate::sim::net::Road;
use crate::sim::site::{Peer, Site};
use crate::sim::{MICROS, MILLIS, SECONDS};

/// What a Redis does to its clients.
#[derive(Clone, Debug)]
pub struct RedisPlan {
    pub addr: SocketAddr,
    /// What AUTH must say, if anything.
    pub password: Option<String>,
    /// Events that others publish there: pause between two, on which channel.
    pub source: Option<((u64, u64), String)>,
    /// Bytes of padding in those.
    pub padding: (u64, u64),
    /// Topics of those.
    pub topics: Rc<[String]>,
    /// Pause between two of its moods; none for a steady one.
    pub moods: Option<(u64, u64)>,
}

/// One client of it.
struct Client {
    link: Link,
    input: Vec<u8>,
    channels: Vec<Vec<u8>>,
    trusted: bool,
}

/// The Redis.
pub struct Redis {
    plan: RedisPlan,
    ledger: Rc<RefCell<Ledger>>,
    dice: Dice,
    clients: Vec<Client>,
    /// Down until then.
    down_until: Option<u64>,
    /// Up, but doing nothing, until then.
    stalled_until: Option<u64>,
    next_event_at: u64,
    next_mood_at: u64,
    listening: bool,
    /// Events that others still publish.
    pub left: u32,
    /// How often a mood took hold, for those who watch.
    pub moods: u32,
}

impl Redis {
    /// One that is up, with `events` events from others to come.
    pub fn new(plan: RedisPlan, ledger: Rc<RefCell<Ledger>>, mut dice: Dice, now: u64, events: u32) -> Self {
        let next_mood_at = plan.moods.map_or(u64::MAX, |moods| now + dice.spread(moods.0, moods.1));
        let clients = Vec::new();
        let (down_until, stalled_until) = (None, None);
        Self {
            plan,
            ledger,
            dice,
            clients,
            down_until,
            stalled_until,
            next_event_at: now,
            next_mood_at,
            listening: false,
            left: events,
            moods: 0,
        }
    }

    /// No more moods. Wake it afterwards.
    pub fn settle_down(&mut self) {
        self.plan.moods = None;
        self.next_mood_at = u64::MAX;
    }

    /// Clients that have subscribed to something.
    pub fn subscribers(&self) -> usize {
        self.clients.iter().filter(|client| !client.channels.is_empty()).count()
    }

    /// Sends an event on to whoever has subscribed to `channel`. Returns how many that were.
    fn publish(&mut self, channel: &[u8], payload: &[u8]) -> usize {
        if let Some(serial) = Ledger::serial_in(payload) {
            self.ledger.borrow_mut().on_place(serial);
        }
        let mut reached = 0;
        for client in self.clients.iter_mut().filter(|client| client.channels.iter().any(|name| name == channel)) {
            resp::array(3, &mut client.link.waiting);
            resp::bulk(b"message", &mut client.link.waiting);
            resp::bulk(channel, &mut client.link.waiting);
            resp::bulk(payload, &mut client.link.waiting);
            reached += 1;
        }
        reached
    }

    /// Carries out one command of the client at `index`.
    fn obey(&mut self, index: usize, words: &[Vec<u8>]) {
        let name = words[0].to_ascii_uppercase();
        let client = &mut self.clients[index];
        let out = &mut client.link.waiting;
        if !client.trusted && name != b"AUTH" {
            return out.extend_from_slice(b"-NOAUTH Authentication required.\r\n");
        }
        match name.as_slice() {
            b"AUTH" if words.last().map(Vec::as_slice) == self.plan.password.as_deref().map(str::as_bytes) => {
                client.trusted = true;
                out.extend_from_slice(b"+OK\r\n");
            }
            b"AUTH" => out.extend_from_slice(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
            b"SELECT" => out.extend_from_slice(b"+OK\r\n"),
            // In the subscribed state a pong is an array.
            b"PING" if !client.channels.is_empty() => out.extend_from_slice(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
            b"PING" => out.extend_from_slice(b"+PONG\r\n"),
            b"SUBSCRIBE" => {
                for channel in &words[1..] {
                    client.channels.push(channel.clone());
                    resp::array(3, out);
                    resp::bulk(b"subscribe", out);
                    resp::bulk(channel, out);
                    resp::integer(client.channels.len(), out);
                }
            }
            b"PUBLISH" => {
                let reached = self.publish(&words[1], &words[2]);
                resp::integer(reached, &mut self.clients[index].link.waiting);
            }
            _ => out.extend_from_slice(b"-ERR unknown command\r\n"),
        }
    }

    /// Reads commands and sends replies; drops clients that have gone.
    fn serve(&mut self, site: &mut Site<'_>) {
        while let Some(end) = site.accept() {
            let trusted = self.plan.password.is_none();
            self.clients.push(Client { link: Link::new(end), input: Vec::new(), channels: Vec::new(), trusted });
        }
        for index in (0..self.clients.len()).rev() {
            let client = &mut self.clients[index];
            let input = &mut client.input;
            let over = site.read_all(client.link.end, |bytes| input.extend_from_slice(bytes)) != Ok(false);
            while let Some(words) = resp::take_command(&mut self.clients[index].input) {
                self.obey(index, &words);
            }
            if over {
                let gone = self.clients.swap_remove(index);
                site.close(gone.link.end);
            }
        }
        for client in &mut self.clients {
            // A reset shows up in the next read.
            let _ = client.link.push(site, usize::MAX >> 1);
        }
    }

    /// Events from others.
    fn emit(&mut self, now: u64) {
        let Some((pause, channel)) = self.plan.source.clone() else { return };
        while self.left > 0 && self.next_event_at <= now {
            self.left -= 1;
            self.next_event_at = now + self.dice.spread(pause.0, pause.1);
            let burst = if self.dice.one_in(10) { self.dice.between(1, 30).min(u64::from(self.left)) } else { 0 };
            self.left -= burst as u32;
            for _ in 0..=burst {
                let topic = &self.plan.topics[self.dice.below(self.plan.topics.len() as u64) as usize];
                let padding = self.dice.spread(self.plan.padding.0.max(1), self.plan.padding.1.max(1)) as usize;
                let mut ledger = self.ledger.borrow_mut();
                let serial = ledger.try_event(topic, padding);
                let text = ledger.text_of(serial);
                drop(ledger);
                self.publish(channel.as_bytes(), text.as_bytes());
            }
        }
    }

    /// A mood takes hold.
    fn change(&mut self, site: &mut Site<'_>) {
        let now = site.now();
        let (low, high) = self.plan.moods.expect("moods have their pace");
        self.next_mood_at = now + self.dice.spread(low, high);
        self.moods += 1;
        let span = self.dice.spread(MILLIS, 15 * SECONDS);
        match self.dice.below(4) {
            0 => {
                self.down_until = Some(now + span);
                let road = if self.dice.one_in(4) { Road::Lost } else { Road::Refused };
                site.unlisten(self.plan.addr, road);
                self.listening = false;
                while let Some(end) = site.accept() {
                    site.reset(end);
                }
                self.drop_clients(site);
            }
            1 => self.stalled_until = Some(now + span),
            2 => self.drop_clients(site),
            _ => {
                let nonsense: &[&[u8]] = &[
                    b"HTTP/1.1 400 Bad Request\r\n\r\n",
                    b"$-7\r\n",
                    b"*99999999999\r\n",
                    b"-ERR out of order\r\n",
                    b"\0\xff\n",
                ];
                let nonsense = self.dice.pick(nonsense);
                // A well-formed error that answers nothing would pass for an answer to what was asked; only where
                // nothing is asked it is nonsense.
                let asks = |client: &Client| client.channels.is_empty() && nonsense.starts_with(b"-");
                for client in self.clients.iter_mut().filter(|client| !asks(client)) {
                    client.link.waiting.extend_from_slice(nonsense);
                }
            }
        }
    }

    fn drop_clients(&mut self, site: &mut Site<'_>) {
        for client in self.clients.drain(..) {
            if self.dice.coin() { site.reset(client.link.end) } else { site.close(client.link.end) }
        }
    }
}

impl Peer for Redis {
    fn wake(&mut self, site: &mut Site<'_>) {
        let now = site.now();
        if self.down_until.is_some_and(|until| until <= now) {
            self.down_until = None;
        }
        if self.stalled_until.is_some_and(|until| until <= now) {
            self.stalled_until = None;
        }
        if self.down_until.is_none() && !self.listening {
            site.listen(self.plan.addr);
            self.listening = true;
        }
        if self.next_mood_at <= now {
            self.change(site);
        }
        if self.down_until.is_none() && self.stalled_until.is_none() {
            self.emit(now);
            self.serve(site);
        }
        let idle = self.down_until.or(self.stalled_until);
        let event_at = (self.left > 0 && self.plan.source.is_some()).then_some(self.next_event_at);
        let mood_at = (self.next_mood_at != u64::MAX).then_some(self.next_mood_at);
        let next = [idle.or(event_at), mood_at].into_iter().flatten().min();
        if let Some(at) = next {
            site.wake_in(at.saturating_sub(now).max(MICROS));
        }
    }
}
