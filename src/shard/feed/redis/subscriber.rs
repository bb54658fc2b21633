//! The link on which events arrive.
//!
//! On connect it says AUTH, SELECT and SUBSCRIBE in one write; from then on it only listens, and asks PING when nothing
//! was heard for a while. It listens all the time: a probe never pauses the reading.
//!
//! Never judges payloads and never connects: one session is one connection, and after `Failed` it is over.

use std::time::Duration;

use crate::base::limits::RESP_EXTRA_LEN_MAX;
use crate::base::time::Instant;
use crate::wire::resp::{self, Decoder, Limits, Reply, Word};

use super::session::{Failure, GREETING_FOR, Greeting, error_text};
use super::settings::Settings;

/// What a subscribing session tells the shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening<'a> {
    /// Every channel is acknowledged; said once.
    Subscribed,
    /// Somebody published.
    Message {
        /// Where.
        channel: &'a [u8],
        /// What.
        payload: &'a [u8],
    },
    /// Somebody published more than an event may hold; it is lost, and the link goes on.
    TooLarge {
        /// Where; `None` when the name itself was too long.
        channel: Option<&'a [u8]>,
        /// Length of the payload in bytes.
        len: u64,
    },
    /// The link is over; nothing comes after this. Close the connection.
    Failed(Failure),
}

/// A connection that subscribes.
pub struct Subscriber {
    decoder: Decoder,
    link: Link,
}

/// All but the decoder, which lends its words to this.
struct Link {
    stage: Stage,
    greeting: Greeting,
    output: Vec<u8>,
    pulse: Pulse,
}

/// The life of a session. Arrows point down only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// AUTH, SELECT and what else was asked first are not all answered.
    Greeting { acks_missing: usize, until: Instant },
    /// So many channels are not acknowledged yet. Messages from the others may come already.
    Subscribing { acks_missing: usize, until: Instant },
    /// Every channel is acknowledged.
    Subscribed,
    /// Over.
    Failed,
}

/// When the peer was heard last, and what its silence means.
struct Pulse {
    heard_at: Instant,
    /// When the probe was sent that nothing has followed yet.
    pinged_at: Option<Instant>,
    probe_after: Duration,
    answer_within: Duration,
}

impl Subscriber {
    /// The connection stands: the greeting waits in [`Subscriber::take_output`]. A payload over `event_len_max` bytes
    /// becomes [`Happening::TooLarge`].
    pub fn started(settings: &Settings, event_len_max: usize, now: Instant) -> Self {
        let mut output = Vec::new();
        let channels: Vec<&[u8]> = settings.channels.iter().map(|channel| channel.as_bytes()).collect();
        // Without a channel a PING is what tells a Redis that wants a password from one that serves us.
        let greeting = Greeting::write(settings, channels.is_empty(), &mut output);
        if !channels.is_empty() {
            resp::command(&mut output, &[&[b"SUBSCRIBE".as_slice()], channels.as_slice()].concat());
        }
        let (acks_missing, until) = (channels.len(), now + GREETING_FOR);
        let stage = match greeting.is_over() {
            true => Stage::Subscribing { acks_missing, until },
            false => Stage::Greeting { acks_missing, until },
        };
        let limits = Limits { bulk_max: event_len_max, reply_max: event_len_max.saturating_add(RESP_EXTRA_LEN_MAX) };
        let pulse = Pulse {
            heard_at: now,
            pinged_at: None,
            probe_after: settings.probe_after(),
            answer_within: settings.answer_within(),
        };
        Self { decoder: Decoder::new(limits), link: Link { stage, greeting, output, pulse } }
    }

    /// Takes received bytes and tells `on` what they mean. Payloads borrow `bytes` (or the incomplete message carried
    /// over) for the length of the call.
    pub fn feed(&mut self, bytes: &[u8], now: Instant, mut on: impl FnMut(Happening<'_>)) {
        let Self { decoder, link } = self;
        if bytes.is_empty() || link.stage == Stage::Failed {
            return;
        }
        link.pulse.heard(now);
        if let Err(error) = decoder.feed(bytes, |word| link.take(word, &mut on)) {
            link.fail(Failure::Protocol(error), &mut on);
        }
    }

    /// What to send next; empty when there is nothing to say. At most the greeting, or one PING.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.link.output)
    }

    /// When [`Subscriber::on_time`] wants to be called. `None` when the session is over.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.link.stage {
            Stage::Greeting { until, .. } | Stage::Subscribing { until, .. } => Some(until),
            Stage::Subscribed => Some(self.link.pulse.next_deadline()),
            Stage::Failed => None,
        }
    }

    /// Time has passed: probes a silent peer, ends the session of a dead one. Too early is no harm.
    pub fn on_time(&mut self, now: Instant, mut on: impl FnMut(Happening<'_>)) {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.link.stage {
            Stage::Greeting { .. } | Stage::Subscribing { .. } => self.link.fail(Failure::Slow, &mut on),
            Stage::Subscribed if self.link.pulse.pinged_at.is_some() => self.link.fail(Failure::Silent, &mut on),
            Stage::Subscribed => {
                self.link.pulse.pinged_at = Some(now);
                resp::command(&mut self.link.output, &[b"PING"]);
            }
            Stage::Failed => {}
        }
    }

    /// The connection has ended, or could not be written to.
    pub fn closed(&mut self, reason: &str, mut on: impl FnMut(Happening<'_>)) {
        self.link.fail(Failure::Closed(reason.into()), &mut on);
    }

    /// Whether events can be expected to arrive: subscribed, and the peer was heard within twice the time that it may
    /// take to answer, and a second. A Redis that is killed closes the connection and is unhealthy at once; one that
    /// hangs is so 3 seconds after its last word with the default timeout of 1 second, even if timers fire late.
    pub fn healthy(&self, now: Instant) -> bool {
        self.link.stage == Stage::Subscribed && now.since(self.link.pulse.heard_at) < self.link.pulse.stale_after()
    }
}

impl Link {
    fn take(&mut self, word: Word<'_>, on: &mut impl FnMut(Happening<'_>)) {
        let result = match (self.stage, word) {
            (Stage::Failed, _) => return,
            (Stage::Greeting { acks_missing, until }, Word::Reply(reply)) => {
                self.greeting.take(reply).map(|()| self.after_greeting(acks_missing, until, on))
            }
            (Stage::Greeting { .. }, Word::Clipped { .. }) => Err(Failure::Unexpected),
            (_, Word::Reply(reply)) => self.take_reply(reply, on),
            (_, Word::Clipped { reply, len }) => take_clipped(reply, len, on),
        };
        if let Err(failure) = result {
            self.fail(failure, on);
        }
    }

    fn take_reply(&mut self, reply: Reply<'_>, on: &mut impl FnMut(Happening<'_>)) -> Result<(), Failure> {
        match reply {
            Reply::Array(items) => match (items.get(0), items.get(1), items.get(2)) {
                (Some(Reply::Bulk(b"message")), Some(Reply::Bulk(channel)), Some(Reply::Bulk(payload))) => {
                    on(Happening::Message { channel, payload });
                    Ok(())
                }
                (Some(Reply::Bulk(b"subscribe")), Some(Reply::Bulk(_)), Some(Reply::Integer(_))) => {
                    self.on_acknowledged(on)
                }
                (Some(Reply::Bulk(b"pong")), Some(Reply::Bulk(_)), None) => Ok(()),
                _ => Err(Failure::Unexpected),
            },
            // While nothing is subscribed, PING is answered as everywhere else.
            Reply::Simple(b"PONG") => Ok(()),
            // Only PING is asked any more, and Redis declines it while it loads or runs a script (LOADING, BUSY), or to
            // a user without the right (NOPERM). It answers, and the subscriptions stand.
            Reply::Error(_) if self.stage == Stage::Subscribed => Ok(()),
            Reply::Error(text) => Err(Failure::Refused { command: "SUBSCRIBE", text: error_text(text) }),
            _ => Err(Failure::Unexpected),
        }
    }

    fn after_greeting(&mut self, acks_missing: usize, until: Instant, on: &mut impl FnMut(Happening<'_>)) {
        if !self.greeting.is_over() {
            return;
        }
        // The password has done its work.
        self.greeting = Greeting::default();
        self.stage = Stage::Subscribing { acks_missing, until };
        if acks_missing == 0 {
            self.stage = Stage::Subscribed;
            on(Happening::Subscribed);
        }
    }

    fn on_acknowledged(&mut self, on: &mut impl FnMut(Happening<'_>)) -> Result<(), Failure> {
        match &mut self.stage {
            Stage::Subscribing { acks_missing: 1, .. } => {
                self.stage = Stage::Subscribed;
                on(Happening::Subscribed);
                Ok(())
            }
            Stage::Subscribing { acks_missing, .. } => {
                *acks_missing -= 1;
                Ok(())
            }
            _ => Err(Failure::Unexpected),
        }
    }

    fn fail(&mut self, failure: Failure, on: &mut impl FnMut(Happening<'_>)) {
        if self.stage != Stage::Failed {
            self.stage = Stage::Failed;
            self.output = Vec::new();
            on(Happening::Failed(failure));
        }
    }
}

/// A reply too long to be kept whole: a message whose payload was skipped, its name perhaps too.
fn take_clipped(reply: Reply<'_>, len: u64, on: &mut impl FnMut(Happening<'_>)) -> Result<(), Failure> {
    let Reply::Array(items) = reply else { return Err(Failure::Unexpected) };
    let channel = match (items.get(0), items.get(1), items.get(2)) {
        (Some(Reply::Bulk(b"message")), Some(Reply::Bulk(channel)), Some(Reply::Nil)) => Some(channel),
        (Some(Reply::Bulk(b"message")), Some(Reply::Nil), Some(Reply::Bulk(_) | Reply::Nil)) => None,
        _ => return Err(Failure::Unexpected),
    };
    on(Happening::TooLarge { channel, len });
    Ok(())
}

impl Pulse {
    fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.pinged_at = None;
    }

    fn next_deadline(&self) -> Instant {
        match self.pinged_at {
            Some(pinged_at) => pinged_at + self.answer_within,
            None => self.heard_at + self.probe_after,
        }
    }

    fn stale_after(&self) -> Duration {
        self.probe_after.max(self.answer_within).saturating_mul(2).saturating_add(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests;
