//! Redis Pub/Sub as an upstream: one link that subscribes, one that publishes.
//!
//! Nothing here knows sockets: the sessions turn received bytes into happenings and say what to send, and the shard
//! connects, moves bytes and keeps the time. A session lives as long as its connection; [`Retry`] lives on and says
//! when to connect again.
//!
//! ```text
//! connect ── ok ──▶ session: started(now) ─▶ take_output() ─▶ send
//!    ▲  └─ error ──▶ Retry::failed ◀── Failed   feed(bytes, now), on_time(now) ─▶ happenings, more output
//!    └──── after ────────┘
//! ```
//!
//! In a turn bytes come before time: feed what was received, then look at deadlines, so that an answer which waits in
//! the socket is never taken for silence.

pub mod publisher;
pub mod retry;
pub mod session;
pub mod settings;
pub mod subscriber;

pub use publisher::Publisher;
pub use retry::{Retry, Verdict};
pub use session::Failure;
pub use settings::{Behavior, Settings};
pub use subscriber::Subscriber;
