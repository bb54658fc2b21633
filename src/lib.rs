//! Plasma pushes events to very many clients at once: one binary, one process per machine, a thread per core, and on
//! each thread a loop on io_uring that does everything itself.
//!
//! # What it promises
//!
//! 1. **Order.** A subscriber sees events in the order in which Plasma accepted them: one process numbers all events.
//! 2. **No duplicates** within a connection; a resume continues right after the id that the client names.
//! 3. **No silent loss.** Memory is finite, so loss is possible; then the client gets a gap notice or a closed stream,
//!    a count moves and the log says so.
//! 4. **One slow, dead or hostile client costs the others nothing.**
//! 5. **A publisher's 2xx** means: numbered, in the log of this process, and handed to every shard.
//!
//! # Three ideas
//!
//! **The log is the queue, the history and the send buffer** ([`hub::log`]). An event is framed once per wire format,
//! into bounded, append-only rings of memory that every kernel ring may read. A subscriber that keeps up is just a
//! member of its topics ([`hub::topics`]): no buffer, no cursor, no timer. One that has fallen behind is a position in
//! the log, nothing more. Catching up, resuming and replaying are therefore one thing ([`hub::catchup`]), and its cost
//! is what was missed. Consecutive events are consecutive bytes, so whatever has gathered goes out in one send: latency
//! is best when idle, and throughput rises under load.
//!
//! **A shard is a thread, a ring and everything its clients need** ([`shard`]). Shards share nothing mutable but the
//! log's head, mailboxes and a few counters. Sockets are direct descriptors: they live in the ring's table and not in
//! the process's. A send to a client that keeps up completes inside the system call and says nothing; only trouble
//! posts a completion, and makes a cursor of that client.
//!
//! **One seam** ([`ring::Ring`]). A shard meets the kernel, the clock and chance there and nowhere else, so whole
//! shards run in simulation, from one seed, under every fault that the kernel and the network know.
//!
//! # The house
//!
//! ```text
//! main → server → shard → { net → ring,  wire,  hub,  dialect }      base is under everything
//! ```
//!
//! | Floor | Holds | Knows nothing of |
//! | --- | --- | --- |
//! | [`base`] | limits with their reasons, time, ids, memory for the kernel, deadlines, log lines | everything else |
//! | [`ring`] | the door to the kernel: ops, completions, tokens | protocols |
//! | [`net`] | listeners | protocols, topics |
//! | [`wire`] | codecs without I/O: HTTP/1.1, HTTP/2, SSE, gRPC, RESP, the event's JSON | sockets, clocks, topics |
//! | [`hub`] | the event log, topics and members, cursors | protocols, sockets |
//! | [`dialect`] | policy: which request means what, which event becomes which bytes | sockets |
//! | [`shard`] | the turn: where all of these meet | processes, files |
//! | [`server`] | configuration, threads, signals, log files | a client's bytes |
//!
//! Imports point down; `tests/tidy.rs` checks that, and in which few files `unsafe` may stand.
//!
//! # One byte's way
//!
//! A `POST /events` arrives: the poll of its socket completes, [`shard::Shard::turn`] asks for the bytes, `requests`
//! reads the head (`wire::http1`), `dialect` says what it means, `publish` hands the events to the first shard, whose
//! `feed` numbers and frames them (`dialect::plasma::frame` and `message`) and appends them to the log. The head of the
//! log moves, sleeping shards are rung, and each shard's `fanout` finds the members of the topics touched and sends
//! them the new bytes: each socket once.
//!
//! Over HTTP/2 a socket has many streams, and each is a subscriber of its own. The walk through a topic's members then
//! only notes which streams have something to send; `shard::h2` puts the frames of all streams of a connection into
//! one send, each stream's as far as its windows allow. A frame of which nothing went out is as if it had never been:
//! its stream is a position in the log again.

pub mod base;
pub mod dialect;
pub mod hub;
pub mod net;
pub mod ring;
pub mod server;
pub mod shard;
pub mod wire;
