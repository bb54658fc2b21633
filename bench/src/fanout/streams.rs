//! gRPC streams: a shard of the server next to one written with tonic, window by window on one thread.
//!
//! Both have the same clients, which one thread on another CPU reads. What a server's CPU pays for is everything from
//! an event in its feed, or in its broadcast channel, to bytes in sockets.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use plasma::wire::grpc::proto::plasma::Payload;
use serde_json::{Value, json};

use super::lane::Achieved;
use super::plasma::Plasma;
use super::{Only, Options, SPARE_FILES};
use crate::grpc::footprint::{self, Footprint};
use crate::grpc::served::Server;
use crate::grpc::{self, Connection, MESSAGE_LEN, Reader, TOPIC, TonicServer};
use crate::report::Table;
use crate::stats::{Spread, bytes, ratios};
use crate::{Failure, machine};

/// Connections that are on their way up at a time: half of the backlog that tonic's listener has.
const PACE: u32 = 64;

/// Longest time for all streams to be there.
const OPEN_FOR_MAX: Duration = Duration::from_secs(30);

/// Rounds before the clock starts, and the time after which fewer will do.
const WARM_UP_ROUNDS: u32 = 20;
const WARM_UP_FOR: Duration = Duration::from_millis(500);

/// Time for all windows of a line, and the windows that it has in any case.
const LINE_FOR: Duration = Duration::from_secs(2);
const WINDOWS_MIN: u32 = 3;

/// Longest time for a round to arrive: a hundred times what the largest takes.
const ROUND_FOR_MAX: Duration = Duration::from_secs(20);

/// A window ends at the latest after this many times its length, by the clock on the wall.
const WINDOW_STRETCH_MAX: u32 = 50;

/// Idle streams whose memory is looked at: so many that a process's other habits drown among them.
const IDLE_STREAMS: u32 = 10_000;

/// How many connections there are, and streams on each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Connections.
    pub connections: u32,
    /// Streams on each of them.
    pub streams: u32,
}

impl From<(u32, u32)> for Shape {
    fn from((connections, streams): (u32, u32)) -> Self {
        Self { connections, streams }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} x {}", self.connections, self.streams)
    }
}

impl Shape {
    fn count(self) -> u64 {
        u64::from(self.connections) * u64::from(self.streams)
    }

    /// With no more connections than the limit of open files allows: tonic's two ends are in this process, and ours of
    /// the shard's.
    fn fitting(self, only: Only) -> Self {
        let ends = if only == Only::Nobody { 3 } else { 2 };
        let files = machine::file_limit().saturating_sub(SPARE_FILES) / ends;
        Self { connections: self.connections.min(files), ..self }
    }
}

/// Everything that was measured.
pub struct Streams {
    rows: Vec<Row>,
    /// Memory of idle streams, by server and shape.
    footprints: Vec<(Server, Shape, Footprint)>,
}

/// One line: a shape and a burst.
struct Row {
    shape: Shape,
    events: u32,
    tonic: Option<Achieved>,
    plasma: Option<Achieved>,
    /// Each window of the shard by the mean of tonic's before and after it.
    ratio: Option<Spread>,
}

/// Who sends.
enum Subject {
    Tonic(Box<TonicServer>),
    Plasma(Box<Plasma>),
}

impl Subject {
    fn start(who: Server, shape: Shape, payload: &Payload) -> Result<(Self, SocketAddr), Failure> {
        match who {
            Server::Tonic => {
                let tonic = TonicServer::start()?;
                let address = tonic.address();
                Ok((Self::Tonic(Box::new(tonic)), address))
            }
            Server::Plasma => {
                let (mut plasma, port) = Plasma::listen(shape.connections, 1)?;
                plasma.set_data(&payload.data);
                Ok((Self::Plasma(Box::new(plasma)), (Ipv4Addr::LOCALHOST, port).into()))
            }
        }
    }

    fn turn(&mut self) -> Result<(), Failure> {
        match self {
            Self::Tonic(tonic) => tonic.turn(),
            Self::Plasma(plasma) => plasma.turn()?,
        }
        Ok(())
    }

    /// Opens all streams of a shape.
    fn connect(&mut self, address: SocketAddr, shape: Shape) -> Result<Vec<Connection>, Failure> {
        let request = grpc::request(shape.streams, TOPIC);
        let (mut connections, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        let deadline = Instant::now() + OPEN_FOR_MAX;
        for first in (0..shape.connections).step_by(PACE as usize) {
            let last = shape.connections.min(first + PACE);
            for _ in first..last {
                connections.push(Connection::open(address, shape.streams, &request)?);
            }
            for connection in &mut connections[first as usize..] {
                while !connection.is_open() {
                    if connection.receive(&mut buffer)?.is_none() {
                        self.turn()?;
                    }
                    if Instant::now() > deadline {
                        return Err("a server did not answer all streams in time".into());
                    }
                }
            }
        }
        if let Self::Plasma(plasma) = self {
            plasma.settle()?;
        }
        Ok(connections)
    }
}

/// A server, its group of the reader's connections, and what it has achieved.
struct Lane {
    who: Server,
    subject: Subject,
    group: usize,
    streams: u64,
    /// Bytes of DATA that the reader must have seen before the next round.
    bytes: u64,
    short: u64,
    rates: Vec<f64>,
    shares: Vec<f64>,
}

/// Measures all shapes and says on standard error how far it is.
pub fn measure(options: &Options) -> Result<Streams, Failure> {
    let payload = grpc::payload();
    let mut rows = Vec::new();
    for shape in options.shapes.iter().map(|shape| shape.fitting(options.only)) {
        let (mut lanes, groups) = lanes(shape, options, &payload)?;
        let reader = Reader::start(groups, options.cpus.1)?;
        for &events in &options.grpc_events {
            eprintln!("grpc: {shape} streams, {events} at a time");
            rows.push(line(shape, events, &mut lanes, &reader, options, &payload)?);
        }
        // Bytes alone could hide a stream that got another's.
        for (lane, totals) in lanes.iter().zip(reader.stop()) {
            if totals.iter().any(|total| *total * lane.streams != lane.bytes) {
                return Err(format!("{}: not every stream has got the same", lane.who.name()).into());
            }
        }
    }
    let mut footprints = Vec::new();
    let shapes = [Shape::from((IDLE_STREAMS, 1)), Shape::from((IDLE_STREAMS / 100, 100))];
    for who in [Server::Tonic, Server::Plasma].into_iter().filter(|_| options.only == Only::Nobody) {
        for shape in shapes {
            eprintln!("grpc: {shape} idle streams, {}", who.name());
            footprints.push((who, shape, footprint::measure(who, shape.connections, shape.streams)?));
        }
    }
    Ok(Streams { rows, footprints })
}

/// Those who take part, with all their streams open.
fn lanes(shape: Shape, options: &Options, payload: &Payload) -> Result<(Vec<Lane>, Vec<Vec<Connection>>), Failure> {
    let (mut lanes, mut groups) = (Vec::new(), Vec::new());
    let takes = |who| options.only.takes(if who == Server::Tonic { Only::Tonic } else { Only::Plasma });
    for who in [Server::Tonic, Server::Plasma].into_iter().filter(|who| takes(*who)) {
        let (mut subject, address) = Subject::start(who, shape, payload)?;
        groups.push(subject.connect(address, shape)?);
        lanes.push(Lane {
            who,
            subject,
            group: lanes.len(),
            streams: shape.count(),
            bytes: 0,
            short: 0,
            rates: Vec::new(),
            shares: Vec::new(),
        });
    }
    Ok((lanes, groups))
}

/// All windows for one burst. Where both take part, tonic has a window before each of the shard's and one after the
/// last.
fn line(
    shape: Shape,
    events: u32,
    lanes: &mut [Lane],
    reader: &Reader,
    options: &Options,
    payload: &Payload,
) -> Result<Row, Failure> {
    for lane in &mut *lanes {
        let start = Instant::now();
        for round in 0..WARM_UP_ROUNDS {
            lane.round(events, reader, payload)?;
            if round > 0 && start.elapsed() > WARM_UP_FOR {
                break;
            }
        }
        lane.short = 0;
    }
    let start = Instant::now();
    for window in 0..options.window_count {
        if window >= WINDOWS_MIN && start.elapsed() > LINE_FOR {
            break;
        }
        for lane in &mut *lanes {
            lane.window(events, options.window, reader, payload)?;
        }
    }
    if let [tonic, _plasma] = lanes {
        tonic.window(events, options.window, reader, payload)?;
    }
    let ratio = match lanes {
        [tonic, plasma] => Spread::of(&ratios(&plasma.rates, &tonic.rates)),
        _ => None,
    };
    let mut row = Row { shape, events, tonic: None, plasma: None, ratio };
    for lane in lanes {
        let achieved = Some(lane.achieved());
        match lane.who {
            Server::Tonic => row.tonic = achieved,
            Server::Plasma => row.plasma = achieved,
        }
    }
    Ok(row)
}

impl Lane {
    /// What its windows came to; they are forgotten.
    fn achieved(&mut self) -> Achieved {
        let [rate, share] = [&mut self.rates, &mut self.shares]
            .map(|all| Spread::of(&std::mem::take(all)).expect("there is at least one window"));
        Achieved { rate, share, short: self.short }
    }

    /// One round and its CPU time; then, off the clock, the reader catches up.
    fn round(&mut self, events: u32, reader: &Reader, payload: &Payload) -> Result<Duration, Failure> {
        self.bytes += self.streams * u64::from(events) * MESSAGE_LEN as u64;
        reader.await_bytes(self.group, self.bytes);
        let before = machine::thread_cpu_time();
        match &mut self.subject {
            Subject::Plasma(plasma) => self.short += plasma.publish(events)?,
            Subject::Tonic(tonic) => tonic.publish(payload, events, async {
                // Without a deadline here: what does not arrive is an error below.
                let _ = tokio::time::timeout(ROUND_FOR_MAX, reader.arrived(self.group)).await;
            }),
        }
        let spent = machine::thread_cpu_time() - before;
        reader.wait_for(self.group, ROUND_FOR_MAX)?;
        Ok(spent)
    }

    /// Rounds until `window` of CPU time is used.
    fn window(&mut self, events: u32, window: Duration, reader: &Reader, payload: &Payload) -> Result<(), Failure> {
        // Another subject was here meanwhile; this round brings our sockets back into the caches.
        self.round(events, reader, payload)?;
        let (start, mut deliveries, mut spent) = (Instant::now(), 0, Duration::ZERO);
        while spent < window && start.elapsed() < window * WINDOW_STRETCH_MAX {
            spent += self.round(events, reader, payload)?;
            deliveries += self.streams * u64::from(events);
        }
        self.rates.push(deliveries as f64 / spent.as_secs_f64());
        self.shares.push(spent.as_secs_f64() / start.elapsed().as_secs_f64());
        Ok(())
    }
}

impl Streams {
    /// Tables: rates, then memory.
    pub fn to_text(&self) -> String {
        let mut rates = Table::new(&[
            "gRPC, connections x streams",
            "message",
            "waiting",
            "tonic, per CPU second",
            "plasma, per CPU second",
            "ratio",
            "on CPU",
            "short",
        ]);
        let rate = |achieved: &Option<Achieved>| achieved.as_ref().map_or_else(String::new, |it| it.rate.to_string());
        for row in &self.rows {
            let both = [&row.tonic, &row.plasma].into_iter().flatten();
            let shares = both.map(|it| format!("{:.0} %", it.share.median * 100.0)).collect::<Vec<_>>();
            rates.row(vec![
                row.shape.to_string(),
                bytes(MESSAGE_LEN as u64),
                row.events.to_string(),
                rate(&row.tonic),
                rate(&row.plasma),
                row.ratio.map_or_else(String::new, |ratio| ratio.to_string()),
                shares.join(", "),
                row.plasma.as_ref().map_or_else(String::new, |it| it.short.to_string()),
            ]);
        }
        if self.footprints.is_empty() {
            return rates.render();
        }
        let mut memory = Table::new(&["idle streams, connections x streams", "server", "per stream", "per connection"]);
        for (who, shape, footprint) in &self.footprints {
            memory.row(vec![
                shape.to_string(),
                who.name().to_owned(),
                format!("{:.0} B", footprint.per_stream()),
                format!("{:.0} B", footprint.per_connection()),
            ]);
        }
        format!("{}\n{}", rates.render(), memory.render())
    }

    /// The same as an object.
    pub fn to_json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "connections": row.shape.connections,
                "streams_each": row.shape.streams,
                "message_bytes": MESSAGE_LEN,
                "events_waiting": row.events,
                "tonic": row.tonic.as_ref().map(Achieved::to_json),
                "plasma": row.plasma.as_ref().map(Achieved::to_json),
                "ratio": row.ratio.map(Spread::to_json),
            })
        };
        let footprint = |(who, shape, footprint): &(Server, Shape, Footprint)| {
            json!({
                "server": who.name(),
                "connections": shape.connections,
                "streams_each": shape.streams,
                "bytes_per_stream": footprint.per_stream(),
                "bytes_per_connection": footprint.per_connection(),
            })
        };
        json!({
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "idle": self.footprints.iter().map(footprint).collect::<Vec<_>>(),
        })
    }
}
