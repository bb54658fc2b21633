//! The link on which events leave: PUBLISH after PUBLISH without waiting, answers in the same order.
//!
//! Whoever publishes brings a ticket and gets it back exactly once: published, refused, or lost with the link. Only
//! what surely never left is called unsent.
//!
//! Nothing is sent before Redis has accepted the greeting, so a wrong password loses no event in the dark.
//!
//! Invariant: `awaited` holds one entry per command that was written after the greeting and is not answered, and the
//! last `unsent` of them are those whose bytes lie in `output`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::limits::{REDIS_PIPELINE_MAX, REDIS_UNSENT_LEN_MAX};
use crate::base::time::Instant;
use crate::wire::resp::{self, Decoder, Limits, Reply, Word};

use super::session::{Failure, GREETING_FOR, Greeting, error_text};
use super::settings::Settings;

/// How long Redis may take to answer one command. Longer than a slow script of somebody else's should run; a publisher
/// over HTTP is waiting.
pub const ANSWER_FOR: Duration = Duration::from_secs(5);

/// Answers are numbers and short errors. Nothing that is longer is for us.
const LIMITS: Limits = Limits { bulk_max: 1024, reply_max: 16 * 1024 };

/// What a publishing session tells the shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Redis has accepted the greeting; said once.
    Ready,
    /// Redis has taken the event.
    Published {
        /// Whose.
        ticket: u64,
    },
    /// Redis has declined the event; the link goes on.
    Refused {
        /// Whose.
        ticket: u64,
        /// What Redis said.
        text: String,
    },
    /// The link ended before the event left: it is certainly not published.
    Unsent {
        /// Whose.
        ticket: u64,
    },
    /// The link ended before the answer came: it may be published or not.
    Unknown {
        /// Whose.
        ticket: u64,
    },
    /// The link is over, all tickets are back, nothing comes after this. Close the connection.
    Failed(Failure),
}

/// Why an event is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// Too much waits already: try again when something was answered.
    Full,
    /// The link is over.
    Over,
}

/// A connection that publishes.
pub struct Publisher {
    decoder: Decoder,
    link: Link,
}

/// All but the decoder, which lends its words to this.
struct Link {
    stage: Stage,
    greeting: Greeting,
    /// The greeting's bytes; they leave ahead of `output`.
    opening: Vec<u8>,
    output: Vec<u8>,
    awaited: VecDeque<Awaited>,
    unsent: usize,
    heard_at: Instant,
    probe_after: Duration,
}

/// The life of a session. Arrows point down only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The greeting is not answered; events are taken and kept back.
    Greeting { until: Instant },
    /// Events flow.
    Ready,
    /// Over.
    Failed,
}

/// A command whose answer has not come.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    what: Asked,
    until: Instant,
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Publish { ticket: u64 },
    Ping,
}

impl Publisher {
    /// The connection stands: the greeting waits in [`Publisher::take_output`].
    pub fn started(settings: &Settings, now: Instant) -> Self {
        let mut opening = Vec::new();
        let greeting = Greeting::write(settings, true, &mut opening);
        let link = Link {
            stage: Stage::Greeting { until: now + GREETING_FOR },
            greeting,
            opening,
            output: Vec::new(),
            awaited: VecDeque::new(),
            unsent: 0,
            heard_at: now,
            probe_after: settings.probe_after(),
        };
        Self { decoder: Decoder::new(LIMITS), link }
    }

    /// Takes an event; `ticket` comes back with what became of it. May be called as soon as the connection stands.
    pub fn publish(&mut self, ticket: u64, channel: &[u8], payload: &[u8], now: Instant) -> Result<(), Declined> {
        let link = &mut self.link;
        if link.stage == Stage::Failed {
            return Err(Declined::Over);
        }
        // A single event may be of any size: somebody else has judged that. Only a queue of them is bounded here.
        let len = link.output.len().saturating_add(channel.len()).saturating_add(payload.len());
        let too_long = !link.output.is_empty() && len > REDIS_UNSENT_LEN_MAX;
        if link.awaited.len() >= REDIS_PIPELINE_MAX || too_long {
            return Err(Declined::Full);
        }
        resp::command(&mut link.output, &[b"PUBLISH", channel, payload]);
        link.expect(Asked::Publish { ticket }, now);
        Ok(())
    }

    /// Takes received bytes and tells `on` what they mean.
    pub fn feed(&mut self, bytes: &[u8], now: Instant, mut on: impl FnMut(Happening)) {
        let Self { decoder, link } = self;
        if bytes.is_empty() || link.stage == Stage::Failed {
            return;
        }
        link.heard_at = now;
        if let Err(error) = decoder.feed(bytes, |word| link.take(word, &mut on)) {
            link.fail(Failure::Protocol(error), &mut on);
        }
    }

    /// What to send next; empty when there is nothing to say. What was taken counts as sent: to keep the bound on
    /// unsent bytes, take again only when the last bytes are in the socket.
    pub fn take_output(&mut self) -> Vec<u8> {
        match self.link.stage {
            Stage::Greeting { .. } => std::mem::take(&mut self.link.opening),
            Stage::Ready => {
                self.link.unsent = 0;
                std::mem::take(&mut self.link.output)
            }
            Stage::Failed => Vec::new(),
        }
    }

    /// When [`Publisher::on_time`] wants to be called. `None` when the session is over.
    pub fn next_deadline(&self) -> Option<Instant> {
        let answer = self.link.awaited.front().map(|awaited| awaited.until);
        match self.link.stage {
            Stage::Greeting { until } => Some(answer.map_or(until, |answer| answer.min(until))),
            Stage::Ready => answer.or(Some(self.link.heard_at + self.link.probe_after)),
            Stage::Failed => None,
        }
    }

    /// Time has passed: probes an idle link, ends one that owes an answer for too long. Too early is no harm.
    pub fn on_time(&mut self, now: Instant, mut on: impl FnMut(Happening)) {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let link = &mut self.link;
        match (link.stage, link.awaited.front().map(|awaited| awaited.what)) {
            (Stage::Failed, _) => {}
            (Stage::Greeting { .. }, _) => link.fail(Failure::Slow, &mut on),
            (Stage::Ready, Some(Asked::Publish { .. })) => link.fail(Failure::Overdue, &mut on),
            (Stage::Ready, Some(Asked::Ping)) => link.fail(Failure::Silent, &mut on),
            (Stage::Ready, None) => {
                resp::command(&mut link.output, &[b"PING"]);
                link.expect(Asked::Ping, now);
            }
        }
    }

    /// The connection has ended, or could not be written to.
    pub fn closed(&mut self, reason: &str, mut on: impl FnMut(Happening)) {
        self.link.fail(Failure::Closed(reason.into()), &mut on);
    }

    /// Whether events flow.
    pub fn is_ready(&self) -> bool {
        self.link.stage == Stage::Ready
    }

    /// Events that wait for their answer.
    pub fn awaited_count(&self) -> usize {
        self.link.awaited.len()
    }
}

impl Link {
    fn expect(&mut self, what: Asked, now: Instant) {
        self.awaited.push_back(Awaited { what, until: now + ANSWER_FOR });
        self.unsent += 1;
    }

    fn take(&mut self, word: Word<'_>, on: &mut impl FnMut(Happening)) {
        let result = match (self.stage, word) {
            (Stage::Failed, _) => return,
            (_, Word::Clipped { .. }) => Err(Failure::Unexpected),
            (Stage::Greeting { .. }, Word::Reply(reply)) => self.greeting.take(reply).map(|()| self.after_greeting(on)),
            (Stage::Ready, Word::Reply(reply)) => self.take_answer(reply, on),
        };
        if let Err(failure) = result {
            self.fail(failure, on);
        }
    }

    fn after_greeting(&mut self, on: &mut impl FnMut(Happening)) {
        if self.greeting.is_over() {
            // The password has done its work.
            self.greeting = Greeting::default();
            self.stage = Stage::Ready;
            on(Happening::Ready);
        }
    }

    fn take_answer(&mut self, reply: Reply<'_>, on: &mut impl FnMut(Happening)) -> Result<(), Failure> {
        // What has not been sent cannot have been answered.
        if self.awaited.len() == self.unsent {
            return Err(Failure::Unexpected);
        }
        let what = self.awaited.front().ok_or(Failure::Unexpected)?.what;
        match (what, reply) {
            (Asked::Publish { ticket }, Reply::Integer(_)) => on(Happening::Published { ticket }),
            (Asked::Publish { ticket }, Reply::Error(text)) => {
                on(Happening::Refused { ticket, text: error_text(text) })
            }
            // An error is a sign of life as well: Redis loads, runs a script, or grants us no PING.
            (Asked::Ping, Reply::Simple(b"PONG") | Reply::Error(_)) => {}
            _ => return Err(Failure::Unexpected),
        }
        self.awaited.pop_front();
        Ok(())
    }

    fn fail(&mut self, failure: Failure, on: &mut impl FnMut(Happening)) {
        if self.stage == Stage::Failed {
            return;
        }
        self.stage = Stage::Failed;
        (self.opening, self.output) = (Vec::new(), Vec::new());
        let sent = self.awaited.len() - self.unsent;
        for (index, awaited) in std::mem::take(&mut self.awaited).into_iter().enumerate() {
            if let Asked::Publish { ticket } = awaited.what {
                on(if index < sent { Happening::Unknown { ticket } } else { Happening::Unsent { ticket } });
            }
        }
        on(Happening::Failed(failure));
    }
}

#[cfg(test)]
mod tests;
