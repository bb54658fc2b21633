//! How rough the simulated kernel and network are.

use super::dice::Dice;
use super::{MICROS, MILLIS, SECONDS};

/// Rates and sizes. A plain `u32` is a fault's chance: once in so many times, 0 for never. Ranges include both ends;
/// durations are nanoseconds.
#[derive(Clone, Debug)]
pub struct Weather {
    /// One way through the network; drawn once per connection.
    pub latency: (u64, u64),
    /// Bytes that fit between a sender and a reader who does not read; drawn per connection and direction.
    pub pipe_len: (u64, u64),
    /// How long a turn takes.
    pub turn_cost: (u64, u64),
    /// From the cause to the shard running again.
    pub wake_lag: (u64, u64),
    /// From [`plasma::ring::Ring::ring_bell`] to the other shard's ear.
    pub bell_lag: (u64, u64),
    /// A completion that could be seen at once is late.
    pub late: u32,
    /// At most this late.
    pub late_max: u64,
    /// A send takes less than fits.
    pub short_send: u32,
    /// A send finds no room although there is some.
    pub no_room: u32,
    /// A pending send fails with `ENOBUFS`.
    pub no_buffers: u32,
    /// A receive brings less than there is, as if the rest came a moment later.
    pub short_recv: u32,
    /// A multishot accept ends on a success.
    pub accept_ends: u32,
    /// A poll reports once more what it has reported.
    pub duplicate_poll: u32,
    /// `open` fails though there are slots.
    pub open_fails: u32,
    /// A name is not found, for once.
    pub resolve_fails: u32,
    /// The kernel cannot tell who the peer is.
    pub peer_fails: u32,
    /// A connection attempt gets lost and times out.
    pub connect_lost: u32,
    /// A zero-copy send completes without a second completion.
    pub zero_copy_single: u32,
    /// A zero-copy send turns out to have copied.
    pub zero_copy_copied: u32,
    /// Receive buffers per ring.
    pub recv_buffers: u16,
}

impl Weather {
    /// Nothing fails, everything is prompt.
    pub fn calm() -> Self {
        Self {
            latency: (20 * MICROS, 20 * MICROS),
            pipe_len: (64 * 1024, 64 * 1024),
            turn_cost: (MICROS, MICROS),
            wake_lag: (MICROS, MICROS),
            bell_lag: (10 * MICROS, 10 * MICROS),
            late: 0,
            late_max: 0,
            short_send: 0,
            no_room: 0,
            no_buffers: 0,
            short_recv: 0,
            accept_ends: 0,
            duplicate_poll: 0,
            open_fails: 0,
            resolve_fails: 0,
            peer_fails: 0,
            connect_lost: 0,
            zero_copy_single: 0,
            zero_copy_copied: 1,
            recv_buffers: 4,
        }
    }

    /// Every fault is off, rare or frequent, each by its own throw: a storm of all faults at once would hide what one
    /// of them alone brings to light.
    pub fn storm(dice: &mut Dice) -> Self {
        let mut rate = |frequent: u32| match dice.below(3) {
            0 => 0,
            1 => frequent * 50,
            _ => frequent,
        };
        let (late, short_send, no_room, no_buffers) = (rate(2), rate(3), rate(6), rate(10));
        let (short_recv, accept_ends, duplicate_poll) = (rate(2), rate(4), rate(5));
        let (open_fails, resolve_fails, peer_fails, connect_lost) = (rate(10), rate(10), rate(5), rate(20));
        let (zero_copy_single, zero_copy_copied) = (rate(4), rate(3));
        let slowest = dice.spread(50 * MICROS, 80 * MILLIS);
        // Not smaller: every handful of bytes is an event of the simulation, and short sends cut into bytes anyway.
        let roomiest = dice.spread(512, 256 * 1024);
        let dearest = dice.spread(2 * MICROS, 2 * MILLIS);
        Self {
            latency: (5 * MICROS, slowest),
            pipe_len: (dice.spread(128, roomiest), roomiest),
            turn_cost: (MICROS, dearest),
            wake_lag: (MICROS, dearest),
            bell_lag: (MICROS, dice.spread(2 * MICROS, 5 * MILLIS)),
            late,
            late_max: dice.spread(MICROS, 20 * MILLIS),
            short_send,
            no_room,
            no_buffers,
            short_recv,
            accept_ends,
            duplicate_poll,
            open_fails,
            resolve_fails,
            peer_fails,
            connect_lost,
            zero_copy_single,
            zero_copy_copied,
            recv_buffers: dice.between(1, 4) as u16,
        }
    }

    /// How long a lost connection attempt takes to be given up by the kernel: 6 repeats of the SYN.
    pub const CONNECT_TIMEOUT: u64 = 127 * SECONDS;
}
