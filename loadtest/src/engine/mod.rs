//! Who keeps the subscribers' connections: one thread with its share of them, by one of two engines.
//!
//! `uring` is the common one: a task per connection on the runtime tokio-uring, HTTP/2 and gRPC by crate h2. `raw` keeps
//! SSE over HTTP/1.1 on rings of its own with direct descriptors, for more connections than a process may have files.
//!
//! An engine takes orders and notes what happens in its [`Books`]; it never decides what a run does.

pub mod raw;
pub mod uring;

use std::net::SocketAddr;
use std::ops::Range;
use std::str::FromStr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::books::{Books, Counters, Findings, Run};
use crate::{Failure, board};

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tasks on tokio-uring.
    Uring,
    /// Rings with direct descriptors.
    Raw,
}

/// What subscribers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Server-Sent Events over HTTP/1.1.
    Sse,
    /// Server-Sent Events over HTTP/2 with prior knowledge.
    Sse2,
    /// Plasma's gRPC streams.
    Grpc,
}

impl Protocol {
    /// As it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::Sse2 => "sse2",
            Self::Grpc => "grpc",
        }
    }
}

impl FromStr for Protocol {
    type Err = Failure;

    fn from_str(word: &str) -> Result<Self, Failure> {
        match word {
            "sse" => Ok(Self::Sse),
            "sse2" => Ok(Self::Sse2),
            "grpc" => Ok(Self::Grpc),
            _ => Err(format!("{word:?} is not a protocol: sse, sse2, grpc").into()),
        }
    }
}

/// How a subscriber reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Everything as it comes.
    Full,
    /// Nothing.
    Stopped,
    /// So many bytes per second.
    Trickle(u32),
}

/// How a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// With a reset: leaves no TIME_WAIT behind.
    Reset,
    /// With a FIN; our end then lingers in TIME_WAIT.
    Fin,
}

/// What a conductor wants. Ranges may be of other engines' subscribers as well: each takes its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// These are to come up, if they are not; those who were cut resume from their last event.
    Open(Range<u32>),
    /// These are cut off, to come back later.
    Cut(Range<u32>),
    /// These leave; they come back as somebody new, if at all.
    Leave(Range<u32>),
    /// These read so from now on.
    Read(Range<u32>, Reading),
    /// The raw engine with nothing armed looks at all connections this often; the others do nothing.
    Sweep(Duration),
    /// Latencies are recorded apart from now on.
    Phase,
    /// All connections are closed so, and the engine ends.
    Finish(Close),
}

/// What every connection needs to know.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What they speak.
    pub protocol: Protocol,
    /// Subscribers that share a connection, in HTTP/2.
    pub streams: u32,
    /// Where to connect, in turn.
    pub destinations: Vec<SocketAddr>,
    /// Host and port as the server is to see them.
    pub authority: String,
    /// What to GET: `{topic}` stands for the name of the topic.
    pub path: String,
    /// Names of topics begin with this, and end with their number.
    pub topic_prefix: String,
    /// Headers to send besides: name and value.
    pub headers: Vec<(String, String)>,
    /// Connections on their way up at a time.
    pub pace: u32,
    /// Longest time for one connection to be answered.
    pub answer_for_max: Duration,
    /// Whether the raw engine arms a receive on each connection, or looks at them when told to sweep.
    pub armed: bool,
    /// Whether to connect only, and neither ask nor expect anything: the reference for memory.
    pub bare: bool,
}

impl Plan {
    /// The name of a topic.
    pub fn topic(&self, topic: u32) -> String {
        board::topic_name(&self.topic_prefix, topic)
    }

    /// What to GET for a topic.
    pub fn path_of(&self, topic: u32) -> String {
        self.path.replace("{topic}", &self.topic(topic))
    }

    /// Where a subscriber connects to.
    pub fn destination_of(&self, who: u32) -> SocketAddr {
        self.destinations[(who / self.streams) as usize % self.destinations.len()]
    }
}

/// All subscribers of a run, in the hands of one or more engines.
pub struct Crowd {
    /// How things stand, over all engines.
    pub counters: Arc<Counters>,
    engines: Vec<Engine>,
    /// Why an engine ended by itself, if one did.
    fault: Arc<Mutex<Option<String>>>,
}

struct Engine {
    orders: Sender<Order>,
    thread: JoinHandle<Option<Findings>>,
}

impl Crowd {
    /// Starts `threads` engines with an even share of `subscribers` each, none of whom has a connection yet.
    pub fn start(kind: Kind, plan: &Plan, run: &Run, subscribers: u32, threads: u32) -> Result<Self, Failure> {
        let mut crowd = Self { counters: Arc::default(), engines: Vec::new(), fault: Arc::default() };
        // Subscribers of one connection must not part.
        let connections = subscribers.div_ceil(plan.streams);
        let border = |index: u32| {
            let connection = u64::from(connections) * u64::from(index) / u64::from(threads);
            subscribers.min(connection as u32 * plan.streams)
        };
        for index in 0..threads {
            let books = Books::new(run, border(index)..border(index + 1), Arc::clone(&crowd.counters));
            let (orders, taken) = mpsc::channel();
            let (plan, fault) = (plan.clone(), Arc::clone(&crowd.fault));
            let work = move || {
                let outcome = match kind {
                    Kind::Uring => uring::run(plan, taken, books),
                    Kind::Raw => raw::run(&plan, &taken, books),
                };
                match outcome {
                    Ok(books) => Some(books.close()),
                    Err(error) => {
                        fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.to_string());
                        None
                    }
                }
            };
            let thread = thread::Builder::new().name(format!("engine-{index}")).spawn(work)?;
            crowd.engines.push(Engine { orders, thread });
        }
        Ok(crowd)
    }

    /// Tells all engines.
    pub fn order(&self, order: &Order) {
        for engine in &self.engines {
            // An engine that ended by itself says why in `check`.
            let _ = engine.orders.send(order.clone());
        }
    }

    /// Fails with the words of an engine that ended by itself.
    pub fn check(&self) -> Result<(), Failure> {
        match &*self.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(fault) => Err(fault.clone().into()),
            None => Ok(()),
        }
    }

    /// Closes all connections and the books.
    pub fn finish(self, close: Close) -> Result<Findings, Failure> {
        self.order(&Order::Finish(close));
        let mut sum: Option<Findings> = None;
        for engine in self.engines {
            let findings = engine.thread.join().map_err(|_| "an engine has panicked")?;
            match (&mut sum, findings) {
                (Some(sum), Some(findings)) => sum.add(&findings),
                (None, findings) => sum = findings,
                (Some(_), None) => {}
            }
        }
        if let Some(fault) = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(fault.into());
        }
        sum.ok_or_else(|| "there was no engine".into())
    }
}

/// The part of `range` that is also in `own`.
pub(crate) fn shared(range: &Range<u32>, own: &Range<u32>) -> Range<u32> {
    let start = range.start.max(own.start);
    start..range.end.min(own.end).max(start)
}

/// Takes an order without waiting. Whoever gave them being gone is an order to finish.
pub(crate) fn next_order(orders: &Receiver<Order>) -> Option<Order> {
    match orders.try_recv() {
        Ok(order) => Some(order),
        Err(mpsc::TryRecvError::Empty) => None,
        Err(mpsc::TryRecvError::Disconnected) => Some(Order::Finish(Close::Reset)),
    }
}
