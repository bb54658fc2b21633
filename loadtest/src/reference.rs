//! A small server whose mistakes are known: what the load generator says about it can be held against what it did.
//!
//! Takes events as Plasma does (`POST /events`) and streams them as Server-Sent Events (`GET /?eventType=TOPIC`), with
//! a thread per connection. [`Faults`] are made by counting: the nth delivery of all, the nth request to publish.
//!
//! Invariant: a delivery has one fault at most, and [`Done`] counts it when it was made.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::str::FromStr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use crate::Failure;

/// Events that can be resumed from.
pub const HISTORY_LEN: usize = 1024;

/// How long the first of two events that are to be swapped waits for the second one.
const SWAP_FOR_MAX: Duration = Duration::from_millis(100);

/// Longest time for a client to make room.
const WRITE_FOR_MAX: Duration = Duration::from_secs(10);

/// Longest body of a request to publish.
const BODY_LEN_MAX: u64 = 64 << 20;

/// What goes wrong on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Every nth delivery is left out.
    pub lose_every: Option<u64>,
    /// Every nth delivery comes twice.
    pub repeat_every: Option<u64>,
    /// Every nth delivery comes after the next one of its subscriber.
    pub swap_every: Option<u64>,
    /// Instead of every nth delivery a subscriber is told of a gap.
    pub gap_every: Option<u64>,
    /// Instead of every nth delivery the connection ends. Who resumes gets the event then.
    pub cut_every: Option<u64>,
    /// Every nth delivery keeps its subscriber waiting.
    pub stall_every: Option<u64>,
    /// For so long.
    pub stall_for: Duration,
    /// Every nth request to publish is answered with 503.
    pub refuse_every: Option<u64>,
}

/// What went wrong, by kind, and what went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Subscriptions that stood.
    pub opened: u64,
    /// Subscriptions that are over.
    pub closed: u64,
    /// Events that were to go to a subscriber, each subscriber counted.
    pub deliveries: u64,
    /// Deliveries that were left out.
    pub lost: u64,
    /// Deliveries that came twice.
    pub repeated: u64,
    /// Pairs that came in the wrong order.
    pub swapped: u64,
    /// Gaps that were told, those of who came back too late included.
    pub gaps: u64,
    /// Connections that were ended.
    pub cut: u64,
    /// Deliveries that were kept waiting.
    pub stalled: u64,
    /// Events that were refused.
    pub refused: u64,
}

/// A running server. Dropping it closes all streams once they have sent what they had to.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    faults: Faults,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_over: bool,
    history: VecDeque<Event>,
    /// The id of the last event.
    last_id: u64,
    subscribers: Vec<Subscriber>,
    requests: u64,
    done: Done,
}

#[derive(Clone)]
struct Event {
    id: u64,
    topic: String,
    /// As it goes out.
    frame: Arc<str>,
}

struct Subscriber {
    topic: String,
    deliveries: Sender<Delivery>,
}

struct Delivery {
    frame: Arc<str>,
    fault: Option<Fault>,
}

/// What the subscriber's thread is to do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Lose,
    Repeat,
    Swap,
    Gap,
    Cut,
    Stall,
}

/// A request as far as it matters here.
struct Request {
    method: String,
    path: String,
    last_id: Option<String>,
    body: Vec<u8>,
}

/// `lose=7,repeat=100,swap=…,gap=…,cut=…,refuse=…,stall=1000,stall-ms=50`; nothing at all is a faithful server.
impl FromStr for Faults {
    type Err = Failure;

    fn from_str(words: &str) -> Result<Self, Failure> {
        let mut faults = Self::default();
        for word in words.split(',').filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("{word:?} is not NAME=NUMBER"))?;
            let every: u64 = value.parse().ok().filter(|&every| every > 0).ok_or(format!("{word:?} has no number"))?;
            let field = match name {
                "lose" => &mut faults.lose_every,
                "repeat" => &mut faults.repeat_every,
                "swap" => &mut faults.swap_every,
                "gap" => &mut faults.gap_every,
                "cut" => &mut faults.cut_every,
                "stall" => &mut faults.stall_every,
                "refuse" => &mut faults.refuse_every,
                "stall-ms" => {
                    faults.stall_for = Duration::from_millis(every);
                    continue;
                }
                _ => return Err(format!("there is no fault {name:?}").into()),
            };
            *field = Some(every);
        }
        Ok(faults)
    }
}

/// Serves as a [`crate::child`] does, whose count is that of subscriptions that stood.
pub fn run(faults: Faults) -> Result<(), Failure> {
    let server = Server::start(faults)?;
    println!("{}", server.address().port());
    let mut question = [0];
    while io::stdin().read(&mut question)? > 0 {
        println!("{}", server.done().opened);
    }
    Ok(())
}

impl Server {
    /// Listens on a port of its own, on all addresses of this machine.
    pub fn start(faults: Faults) -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr()?.port()));
        let shared = Arc::new(Shared { faults, state: Mutex::default() });
        let ours = Arc::clone(&shared);
        let acceptor = thread::Builder::new().name("reference".to_owned()).spawn(move || ours.accept(&listener))?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens, among other addresses of this machine.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has done so far.
    pub fn done(&self) -> Done {
        self.shared.state().done
    }

    /// Closes all streams once they have sent what they had to, and tells what was done by then.
    pub fn stop(mut self) -> Done {
        self.end();
        loop {
            let done = self.done();
            if done.closed == done.opened {
                return done;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(&mut self) {
        let mut state = self.shared.state();
        state.is_over = true;
        state.subscribers.clear();
        drop(state);
        if let Some(acceptor) = self.acceptor.take() {
            // Wakes the acceptor, which then sees that it is over.
            let _ = TcpStream::connect(self.address);
            let _ = acceptor.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.state().is_over {
                return;
            }
            let shared = Arc::clone(self);
            // A client that left, or wrote nonsense, is nobody's concern.
            thread::spawn(move || stream.and_then(|stream| shared.serve(stream)));
        }
    }

    /// One connection: requests to publish, or a request to subscribe and its stream.
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_FOR_MAX))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(request) = Request::read(&mut reader)? {
            match (request.method.as_str(), request.path.split_once("eventType=")) {
                ("POST", _) => stream.write_all(self.publish(&request.body).as_bytes())?,
                ("GET", Some((_, query))) => {
                    let topic = query.split('&').next().unwrap_or_default();
                    // From here on the subscriber gets what is published; the client hears so afterwards.
                    let Some(deliveries) = self.state().subscribe(topic, request.last_id.as_deref()) else { break };
                    let outcome = self.stream(&stream, &deliveries);
                    self.state().done.closed += 1;
                    return outcome;
                }
                _ => stream.write_all(answer("404 Not Found", "").as_bytes())?,
            }
        }
        Ok(())
    }

    /// Takes the events of a request, all or none, and returns the answer.
    fn publish(&self, body: &[u8]) -> String {
        let lines = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let Some(events) = lines.map(parse).collect::<Option<Vec<(String, Value)>>>() else {
            return answer("400 Bad Request", "not an event per line\n");
        };
        let mut state = self.state();
        state.requests += 1;
        if is_turn(self.faults.refuse_every, state.requests) {
            state.done.refused += events.len() as u64;
            return answer("503 Service Unavailable", "refused on request\n");
        }
        for (topic, data) in &events {
            state.publish(topic, data, &self.faults);
        }
        answer("202 Accepted", &format!("{{\"accepted\":{}}}", events.len()))
    }

    /// Streams what a subscriber is to get, until it leaves, is cut off, or all is over.
    fn stream(&self, mut out: &TcpStream, deliveries: &Receiver<Delivery>) -> io::Result<()> {
        out.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:ok\n\n")?;
        while let Ok(delivery) = deliveries.recv() {
            self.deliver(out, delivery, deliveries)?;
        }
        Ok(())
    }

    fn deliver(&self, mut out: &TcpStream, delivery: Delivery, next: &Receiver<Delivery>) -> io::Result<()> {
        let Delivery { frame, fault } = delivery;
        match fault {
            None => {}
            // Nothing comes after it.
            Some(Fault::Cut) => return Ok(()),
            Some(Fault::Lose) => {
                self.state().done.lost += 1;
                return Ok(());
            }
            Some(Fault::Gap) => {
                self.state().done.gaps += 1;
                return out.write_all(GAP.as_bytes());
            }
            Some(Fault::Repeat) => {
                out.write_all(frame.as_bytes())?;
                self.state().done.repeated += 1;
            }
            Some(Fault::Stall) => {
                thread::sleep(self.faults.stall_for);
                self.state().done.stalled += 1;
            }
            Some(Fault::Swap) => {
                // One fault is enough for the two.
                if let Ok(next) = next.recv_timeout(SWAP_FOR_MAX) {
                    out.write_all(next.frame.as_bytes())?;
                    self.state().done.swapped += 1;
                }
            }
        }
        out.write_all(frame.as_bytes())
    }
}

/// The notice of a gap, as Plasma sends it.
const GAP: &str = "event: plasma.gap\ndata: {\"lost_from\":null,\"lost_to\":null,\"reason\":\"on request\"}\n\n";

impl State {
    fn publish(&mut self, topic: &str, data: &Value, faults: &Faults) {
        self.last_id += 1;
        let id = self.last_id;
        let frame: Arc<str> = format!("id: {id}\ndata: {data}\n\n").into();
        let done = &mut self.done;
        self.subscribers.retain(|subscriber| {
            if subscriber.topic != topic {
                return true;
            }
            done.deliveries += 1;
            let fault = faults.of(done.deliveries);
            let is_here = subscriber.deliveries.send(Delivery { frame: Arc::clone(&frame), fault }).is_ok();
            let is_cut = is_here && fault == Some(Fault::Cut);
            done.cut += u64::from(is_cut);
            // Who is cut off gets this event and the rest from the history.
            is_here && !is_cut
        });
        self.history.push_back(Event { id, topic: topic.to_owned(), frame });
        if self.history.len() > HISTORY_LEN {
            self.history.pop_front();
        }
    }

    /// A new subscriber, with what it missed. `None` when all is over.
    fn subscribe(&mut self, topic: &str, last_id: Option<&str>) -> Option<Receiver<Delivery>> {
        if self.is_over {
            return None;
        }
        let (deliveries, taken) = mpsc::channel();
        if let Some(last_id) = last_id.and_then(|id| id.parse::<u64>().ok()) {
            let is_whole = self.history.front().is_none_or(|oldest| oldest.id <= last_id + 1);
            let gap = (!is_whole).then(|| Delivery { frame: GAP.into(), fault: Some(Fault::Gap) });
            let missed = self.history.iter().filter(|event| event.id > last_id && event.topic == topic);
            let missed = missed.map(|event| Delivery { frame: Arc::clone(&event.frame), fault: None });
            for delivery in gap.into_iter().chain(missed) {
                deliveries.send(delivery).expect("the other end is still here");
            }
        }
        self.subscribers.push(Subscriber { topic: topic.to_owned(), deliveries });
        self.done.opened += 1;
        Some(taken)
    }
}

impl Faults {
    /// What is wrong with the nth delivery: the first in this order where several are.
    fn of(&self, nth: u64) -> Option<Fault> {
        let all = [
            (self.lose_every, Fault::Lose),
            (self.repeat_every, Fault::Repeat),
            (self.swap_every, Fault::Swap),
            (self.gap_every, Fault::Gap),
            (self.cut_every, Fault::Cut),
            (self.stall_every, Fault::Stall),
        ];
        all.into_iter().find_map(|(every, fault)| is_turn(every, nth).then_some(fault))
    }
}

fn is_turn(every: Option<u64>, nth: u64) -> bool {
    every.is_some_and(|every| nth.is_multiple_of(every))
}

/// Topic and data of a line.
fn parse(line: &[u8]) -> Option<(String, Value)> {
    let mut event: Value = serde_json::from_slice(line).ok()?;
    let topic = event["meta"]["type"].as_str()?.to_owned();
    Some((topic, event.get_mut("data")?.take()))
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

impl Request {
    /// `None` at the end of the connection, and for what is no request.
    fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
        let mut request = Self { method, path, last_id: None, body: Vec::new() };
        let mut body_len = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("content-length", value) => body_len = value.parse().unwrap_or(0),
                ("last-event-id", value) => request.last_id = Some(value.to_owned()),
                _ => {}
            }
        }
        reader.by_ref().take(body_len.min(BODY_LEN_MAX)).read_to_end(&mut request.body)?;
        Ok(Some(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_from_words() {
        let want = Faults { lose_every: Some(7), stall_for: Duration::from_millis(50), ..Faults::default() };
        assert_eq!("lose=7,stall-ms=50".parse::<Faults>().expect("good words"), want);
        assert_eq!("".parse::<Faults>().expect("good words"), Faults::default());
        for bad in ["lose", "lose=0", "lose=x", "forget=1"] {
            bad.parse::<Faults>().expect_err(bad);
        }
    }

    #[test]
    fn faults_are_made_by_counting() {
        let faults = Faults { lose_every: Some(3), cut_every: Some(2), ..Faults::default() };
        let (lose, cut) = (Some(Fault::Lose), Some(Fault::Cut));
        assert_eq!([1, 2, 3, 4, 5, 6].map(|nth| faults.of(nth)), [None, cut, lose, cut, None, lose]);
    }

    #[test]
    fn who_comes_back_gets_the_rest_and_hears_of_what_is_gone() {
        let mut state = State::default();
        for _ in 0..HISTORY_LEN + 2 {
            state.publish("t", &Value::from("x"), &Faults::default());
        }
        let last_id = state.last_id;
        let mut missed = |id: u64, topic: &str| {
            let deliveries = state.subscribe(topic, Some(&id.to_string())).expect("not over");
            deliveries.try_iter().map(|delivery| delivery.fault).collect::<Vec<_>>()
        };
        assert_eq!(missed(last_id - 3, "t"), [None; 3]);
        assert_eq!(missed(last_id - 3, "other"), []);
        assert_eq!(missed(2, "t"), [None; HISTORY_LEN]);
        assert_eq!(missed(1, "t")[..2], [Some(Fault::Gap), None]);
    }
}
