//! Who published what, who saw what, and whether the promises were kept.
//!
//! Every event carries a serial number and a body that follows from it, so each delivery is checked byte by byte as it
//! is seen. Order, duplicates and losses are judged once the ids of all events are known, at the end.
//!
//! A stream over SSE has one set of topics for all of its life; one over gRPC begins with none and may change them.
//! Those are judged in `changing`, which says how.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::OnceLock;

use super::dice::Dice;

mod changing;

/// One attempt to publish an event.
#[derive(Debug)]
struct Try {
    topic: String,
    padding: usize,
    /// Its id, once anybody has been told.
    id: Option<u64>,
    /// Its place in what Redis sent on, counted from 0.
    place: Option<u64>,
    refused: bool,
    /// Its text, when the server made it up itself.
    made_up: Option<Box<str>>,
}

/// A gap notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub from: Option<u64>,
    pub to: Option<u64>,
    pub reason: String,
}

impl Notice {
    /// Reads the data of a `plasma.gap` event.
    pub fn parse(data: &[u8]) -> Self {
        let value: serde_json::Value = serde_json::from_slice(data).expect("a notice is JSON");
        let id = |key: &str| match &value[key] {
            serde_json::Value::Null => None,
            id => Some(id.as_str().and_then(|id| id.parse().ok()).expect("an id is a decimal string, or null")),
        };
        let reason = value["reason"].as_str().expect("a notice has its reason").to_owned();
        assert!(["lapped", "expired", "upstream", "unknown"].contains(&reason.as_str()), "{reason}");
        Self { from: id("lost_from"), to: id("lost_to"), reason }
    }

    /// Whether it tells of the loss of the event with this id.
    fn covers(&self, id: Option<u64>) -> bool {
        id.is_none_or(|id| self.from.is_none_or(|from| from < id) && self.to.is_none_or(|to| id < to))
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server closed it.
    Closed,
    /// It was reset.
    Reset,
    /// The client hung up.
    Left,
}

#[derive(Debug)]
enum Item {
    Event { serial: u32 },
    Notice(Notice),
}

/// What one connection saw.
#[derive(Debug)]
struct Stream {
    client: usize,
    topics: Rc<[String]>,
    resume: Option<u64>,
    /// Attempts made before the stream was known to be open, and the wall clock then.
    open_at: Option<(u32, u64)>,
    last_id: Option<u64>,
    /// No event before this id may come after the notice that gave it up.
    not_before: u64,
    items: Vec<Item>,
    ending: Option<Ending>,
    /// Sets of topics that were asked for one after the other; `None` when there can be only one.
    changes: Option<Vec<Change>>,
    /// Whether a loss is told by the end of the stream, for there is no other way.
    is_plain: bool,
    /// The last event before those that the server said would come if it were resumed.
    sent_away: Option<u64>,
}

/// A set of topics asked for, in place of the one before.
#[derive(Debug)]
struct Change {
    topics: Rc<[String]>,
    /// Items seen when it was asked for.
    after: usize,
    /// Attempts made, and the wall clock, when the server was known to have heard of it; once it is known.
    bound: Option<(u32, u64)>,
    /// Whether nothing can have kept the server from taking it in when it came.
    is_prompt: bool,
    /// Whether the stream has heard something from beyond the bound: no change waits any more.
    is_made: bool,
}

/// Longest padding of an event, and how many places in the letters it may begin at.
const LETTERS_LEN: usize = 64 * 1024;

/// Letters to pad events with, where no two stretches are alike.
fn letters() -> &'static str {
    static LETTERS: OnceLock<String> = OnceLock::new();
    LETTERS.get_or_init(|| {
        let mut dice = Dice::new(0);
        (0..2 * LETTERS_LEN).map(|_| char::from(dice.pick(b"abcdefghijklmnopqrstuvwxyz0123456789"))).collect()
    })
}

/// By what events are put in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// By their ids: everything that has one was accepted and must arrive.
    ById,
    /// By their place in what Redis sent: all of it must arrive, though ids are known only of what did.
    ByPlace,
}

/// The ledger.
pub struct Ledger {
    seed: u64,
    expected: Expected,
    tries: Vec<Try>,
    by_id: BTreeMap<u64, u32>,
    places: u64,
    streams: Vec<Stream>,
    scratch: String,
    /// The wall clock, as whoever reports last has seen it.
    pub now_millis: u64,
    /// Whether the server makes up events of its own.
    pub made_up: bool,
    /// Deliveries so far.
    pub deliveries: u64,
    /// Notices so far.
    pub notices: u64,
}

impl Ledger {
    /// An empty ledger of the world with this seed.
    pub fn new(seed: u64, expected: Expected) -> Self {
        let (tries, by_id, streams, scratch) = (Vec::new(), BTreeMap::new(), Vec::new(), String::new());
        Self {
            seed,
            expected,
            tries,
            by_id,
            places: 0,
            streams,
            scratch,
            now_millis: 0,
            made_up: false,
            deliveries: 0,
            notices: 0,
        }
    }

    /// A new event, about to be published.
    pub fn try_event(&mut self, topic: &str, padding: usize) -> u32 {
        self.enter(topic, padding, None)
    }

    fn enter(&mut self, topic: &str, padding: usize, made_up: Option<Box<str>>) -> u32 {
        self.tries.push(Try { topic: topic.to_owned(), padding, id: None, place: None, refused: false, made_up });
        self.tries.len() as u32 - 1
    }

    /// The event with this id and text, which the server made up: seen before, or now for the first time.
    fn made_up(&mut self, id: u64, data: &[u8]) -> Option<u32> {
        let text = std::str::from_utf8(data).ok().filter(|_| self.made_up)?;
        let topic = text.strip_prefix("{\"meta\":{\"type\":\"")?.split('"').next()?;
        match self.by_id.get(&id) {
            Some(&serial) => Some(serial),
            None => Some(self.enter(topic, 0, Some(text.into()))),
        }
    }

    /// The event as it is published and, being in its shortest form, as it is delivered.
    pub fn text_of(&self, serial: u32) -> String {
        let mut text = String::new();
        self.write_text(serial, &mut text);
        text
    }

    fn write_text(&self, serial: u32, out: &mut String) {
        use std::fmt::Write;
        let tried = &self.tries[serial as usize];
        if let Some(text) = &tried.made_up {
            return out.push_str(text);
        }
        write!(out, "{{\"meta\":{{\"type\":\"{}\"}},\"data\":{{\"n\":{serial},\"pad\":\"", tried.topic).expect("text");
        let start = Dice::new(self.seed ^ u64::from(serial) << 32).below(LETTERS_LEN as u64) as usize;
        out.push_str(&letters()[start..start + tried.padding]);
        out.push_str("\"}}");
    }

    /// A publisher got an answer.
    pub fn on_answer(&mut self, serials: &[u32], status: u16, body: &[u8]) {
        if status != 202 {
            let refused = status != 502 && status != 504;
            serials.iter().for_each(|&serial| self.tries[serial as usize].refused = refused);
            return;
        }
        let value: serde_json::Value = serde_json::from_slice(body).expect("the answer is JSON");
        if self.expected == Expected::ByPlace {
            assert_eq!(value["accepted"].as_u64(), Some(serials.len() as u64), "{value}");
            let all_sent = serials.iter().all(|&serial| self.tries[serial as usize].place.is_some());
            assert!(all_sent, "seed {}: answered before Redis had it: {serials:?}", self.seed);
            return;
        }
        let ids = value["ids"].as_array().expect("the answer has ids");
        assert_eq!(ids.len(), serials.len(), "one id per event");
        let mut last = 0;
        for (&serial, id) in serials.iter().zip(ids) {
            let id = id.as_str().and_then(|id| id.parse().ok()).expect("an id is a decimal string");
            assert!(id > last, "seed {}: ids of one request increase", self.seed);
            last = id;
            self.learn(serial, id);
        }
    }

    /// Redis sends the event on.
    pub fn on_place(&mut self, serial: u32) {
        let place = self.places;
        self.places += 1;
        let before = self.tries[serial as usize].place.replace(place);
        assert_eq!(before, None, "seed {}: event {serial} was published twice", self.seed);
    }

    /// The number in an event's text.
    pub fn serial_in(text: &[u8]) -> Option<u32> {
        let at = memchr::memmem::find(text, b"\"n\":")? + 4;
        let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(&text[at..at + digits]).ok()?.parse().ok()
    }

    fn learn(&mut self, serial: u32, id: u64) {
        let seed = self.seed;
        let known = *self.tries[serial as usize].id.get_or_insert(id);
        assert_eq!(known, id, "seed {seed}: event {serial} has two ids");
        let first = *self.by_id.entry(id).or_insert(serial);
        assert_eq!(first, serial, "seed {seed}: id {id} was given twice");
    }

    /// A subscriber's stream has its head.
    pub fn stream_begins(&mut self, client: usize, topics: &Rc<[String]>, resume: Option<u64>) -> usize {
        self.streams.push(Stream {
            client,
            topics: Rc::clone(topics),
            resume,
            open_at: None,
            last_id: None,
            not_before: 0,
            items: Vec::new(),
            ending: None,
            changes: None,
            is_plain: false,
            sent_away: None,
        });
        self.streams.len() - 1
    }

    /// A stream begins that has no topics yet; `is_plain` when events come without ids, and losses are not told.
    pub fn call_begins(&mut self, client: usize, resume: Option<u64>, is_plain: bool) -> usize {
        let number = self.stream_begins(client, &Rc::from([]), resume);
        let stream = &mut self.streams[number];
        (stream.changes, stream.is_plain) = (Some(Vec::new()), is_plain);
        number
    }

    /// A stream asks for another set of topics; returns the number of the change.
    pub fn topics_change(&mut self, stream: usize, topics: &Rc<[String]>) -> usize {
        let stream = &mut self.streams[stream];
        let after = stream.items.len();
        let changes = stream.changes.as_mut().expect("a stream whose topics may change");
        let is_prompt = changes.last().is_none_or(|last| last.is_made);
        changes.push(Change { topics: Rc::clone(topics), after, bound: None, is_prompt, is_made: false });
        changes.len() - 1
    }

    /// The server has answered what was asked after a change, and the stream stands between two events. Unless an
    /// earlier change or a notice was in the way, it counts from now on at the latest.
    pub fn on_change_heard(&mut self, stream: usize, number: usize) {
        let bound = (self.tries.len() as u32, self.now_millis);
        let changes = self.streams[stream].changes.as_mut().expect("a stream whose topics may change");
        if let Some(change) = changes.get_mut(number).filter(|change| change.is_prompt) {
            change.bound.get_or_insert(bound);
        }
    }

    /// So much time has passed in calm weather that the last change must count.
    pub fn on_change_due(&mut self, stream: usize) {
        let bound = (self.tries.len() as u32, self.now_millis);
        let last = self.streams[stream].changes.as_mut().and_then(|changes| changes.last_mut());
        last.expect("topics were asked for").bound.get_or_insert(bound);
    }

    /// The server ended a stream, and said what to resume it from.
    pub fn on_sent_away(&mut self, stream: usize, from: u64) {
        let stream = &mut self.streams[stream];
        let (seed, last) = (self.seed, stream.last_id);
        assert!(last.is_none_or(|last| last <= from), "seed {seed}: resuming from {from} repeats {last:?}");
        stream.sent_away = Some(from);
    }

    /// A stream said something by way of comment.
    pub fn on_comment(&mut self, stream: usize, text: &[u8]) {
        assert!(text == b"ok" || text == b"heartbeat ", "{:?}", String::from_utf8_lossy(text));
        self.streams[stream].open_at.get_or_insert((self.tries.len() as u32, self.now_millis));
    }

    /// A stream brought a gap notice.
    pub fn on_notice(&mut self, stream: usize, notice: Notice) {
        self.notices += 1;
        let seen = &mut self.streams[stream];
        seen.not_before = seen.not_before.max(notice.to.unwrap_or(0));
        seen.items.push(Item::Notice(notice));
        assert!(!seen.is_plain, "seed {}: a notice on stream {stream}, which has none", self.seed);
        if let Some(last) = seen.changes.as_mut().and_then(|changes| changes.last_mut()) {
            // It may have kept the change waiting.
            (last.bound, last.is_prompt, last.is_made) = (None, false, false);
        }
    }

    /// A stream brought an event.
    pub fn on_event(&mut self, stream: usize, id: u64, data: &[u8]) {
        let serial = self.on_text(stream, Some(id), data);
        let seed = self.seed;
        let seen = &mut self.streams[stream];
        let last = seen.last_id.max(seen.resume);
        assert!(last.is_none_or(|last| last < id), "seed {seed}: stream {stream} got {id} after {last:?}");
        assert!(id >= seen.not_before, "seed {seed}: stream {stream} got {id}, which a notice had given up");
        seen.last_id = Some(id);
        self.learn(serial, id);
        self.note_event(stream, serial);
    }

    /// A stream brought a message over gRPC: the event's type, its data as it was published, and its id on streams that
    /// have ids.
    pub fn on_message(&mut self, stream: usize, id: Option<u64>, kind: &str, data: &str) {
        let data = if data.is_empty() { "null".to_owned() } else { compact(data) };
        let text = format!("{{\"meta\":{{\"type\":\"{kind}\"}},\"data\":{data}}}");
        match id {
            Some(id) => self.on_event(stream, id, text.as_bytes()),
            None => {
                let serial = self.on_text(stream, None, text.as_bytes());
                self.note_event(stream, serial);
            }
        }
    }

    fn note_event(&mut self, stream: usize, serial: u32) {
        let seen = &mut self.streams[stream];
        seen.items.push(Item::Event { serial });
        if let Some(last) = seen.changes.as_mut().and_then(|changes| changes.last_mut()) {
            last.is_made |= last.bound.is_some_and(|bound| self.tries[serial as usize].is_after(serial, bound));
        }
    }

    /// Looks whether a stream may get that text; returns the event's number.
    fn on_text(&mut self, stream: usize, id: Option<u64>, data: &[u8]) -> u32 {
        self.deliveries += 1;
        let seed = self.seed;
        let shown = || String::from_utf8_lossy(&data[..data.len().min(200)]).into_owned();
        let serial = Self::serial_in(data).filter(|&serial| (serial as usize) < self.tries.len());
        let serial = serial.or_else(|| self.made_up(id?, data));
        let serial = serial.unwrap_or_else(|| panic!("seed {seed}: nobody published {}", shown()));
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        self.write_text(serial, &mut text);
        if text.as_bytes() != data {
            let same = text.bytes().zip(data).take_while(|(want, got)| want == *got).count();
            let (want, got) = (&text.as_bytes()[same..], &data[same..]);
            let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
            panic!(
                "seed {seed}: stream {stream} got event {serial} with {} instead of {} bytes, \
                 from {same} on {:?}, not {:?}",
                data.len(),
                text.len(),
                shown(got),
                shown(want)
            );
        }
        self.scratch = text;
        let tried = &self.tries[serial as usize];
        assert!(!tried.refused, "seed {seed}: event {serial} was refused, and yet delivered");
        let seen = &self.streams[stream];
        let mut sets = seen.changes.iter().flatten().map(|change| &change.topics).chain([&seen.topics]);
        let is_wanted = sets.any(|topics| wants(topics, &tried.topic));
        assert!(is_wanted, "seed {seed}: {} is not for stream {stream}", tried.topic);
        serial
    }

    /// A stream is over.
    pub fn stream_ends(&mut self, stream: usize, ending: Ending) {
        self.streams[stream].ending = Some(ending);
    }

    /// Judges all streams. Those still open must have come to the end of what was published.
    pub fn judge(&self) {
        let order = |serial: &u32| {
            let tried = &self.tries[*serial as usize];
            if self.expected == Expected::ById { tried.id } else { tried.place }
        };
        let mut accepted: Vec<u32> = (0..self.tries.len() as u32).filter(|serial| order(serial).is_some()).collect();
        accepted.sort_unstable_by_key(order);
        let mut rank = vec![None; self.tries.len()];
        for (nth, &serial) in accepted.iter().enumerate() {
            rank[serial as usize] = Some(nth);
        }
        for (number, stream) in self.streams.iter().enumerate() {
            match &stream.changes {
                None => self.judge_stream(number, stream, &accepted, &rank),
                Some(changes) => self.judge_call(number, stream, changes, &accepted, &rank),
            }
        }
    }

    fn judge_stream(&self, number: usize, stream: &Stream, accepted: &[u32], rank: &[Option<usize>]) {
        // What was accepted before a stream without a past was open is none of its business.
        let (mut next, mut since) = match stream.resume {
            Some(id) => (self.after(id, accepted, rank), Some((0, 0))),
            None => (0, stream.open_at),
        };
        let mut told: Vec<&Notice> = Vec::new();
        let check_hole = |hole: &[u32], since: Option<(u32, u64)>, told: &[&Notice]| {
            for &serial in hole {
                let tried = &self.tries[serial as usize];
                let due =
                    since.is_some_and(|since| tried.is_after(serial, since)) && wants(&stream.topics, &tried.topic);
                if due && !told.iter().any(|notice| notice.covers(tried.id)) {
                    let (seed, client) = (self.seed, stream.client);
                    panic!(
                        "seed {seed}: stream {number} of client {client} lost event {serial} ({tried:?}) in silence"
                    );
                }
            }
        };
        for item in &stream.items {
            match item {
                Item::Notice(notice) => told.push(notice),
                Item::Event { serial } => {
                    let at = rank[*serial as usize].unwrap_or_else(|| panic!("event {serial} was never accepted"));
                    assert!(at >= next, "seed {}: stream {number} got event {serial} out of order", self.seed);
                    check_hole(&accepted[next..at], since, &told);
                    told.clear();
                    (next, since) = (at + 1, Some((0, 0)));
                }
            }
        }
        if stream.ending.is_none() {
            check_hole(&accepted[next..], since, &told);
        }
    }

    /// The rank of the first accepted event after the one with this id.
    fn after(&self, id: u64, accepted: &[u32], rank: &[Option<usize>]) -> usize {
        match self.expected {
            Expected::ById => accepted.partition_point(|&serial| self.tries[serial as usize].id <= Some(id)),
            Expected::ByPlace => self.by_id.get(&id).and_then(|&serial| rank[serial as usize]).map_or(0, |nth| nth + 1),
        }
    }

    /// In one line, for those who watch.
    pub fn summary(&self) -> String {
        let (tried, known, streams) = (self.tries.len(), self.by_id.len(), self.streams.len());
        format!(
            "{tried} events, {known} known, {streams} streams, {} deliveries, {} notices",
            self.deliveries, self.notices
        )
    }
}

impl Try {
    /// Whether it was made after so many others and this hour. Made-up ones have no number before they are seen, but
    /// their id tells the hour.
    fn is_after(&self, serial: u32, (count, millis): (u32, u64)) -> bool {
        match (&self.made_up, self.id) {
            (Some(_), Some(id)) => id >> 20 > millis,
            _ => serial >= count,
        }
    }
}

/// JSON without the blanks around its words.
fn compact(json: &str) -> String {
    let (mut out, mut quoted, mut escaped) = (String::with_capacity(json.len()), false, false);
    for letter in json.chars() {
        if quoted || letter != ' ' {
            out.push(letter);
        }
        quoted ^= letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
    }
    out
}

/// Whether a subscription to `topics` includes `topic`: itself or one above it.
fn wants(topics: &[String], topic: &str) -> bool {
    topics.iter().any(|wanted| {
        topic
            .strip_prefix(wanted.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(if topic.starts_with('/') { '/' } else { ':' }))
    })
}
