//! Looking after connections: heartbeats on quiet event streams, PINGs to quiet peers, ages, leave-taking, and the
//! lines of the access log.

use super::super::{Due, Ending, Shard, drain};
use super::streams::Role;
use super::{LINGER_FOR, Life};
use crate::base::log::access;
use crate::dialect::calls::Call;
use crate::dialect::plasma;
use crate::ring::Ring;
use crate::wire::grpc::Status;
use crate::wire::grpc::proto::plasma::Request;
use crate::wire::h2::frame::Code;
use crate::wire::sse;

impl<R: Ring> Shard<R> {
    /// A visit of the sweep: whatever time has made due. `quiet` is the silence after which a comment is due, in ticks.
    pub(in super::super) fn care_for(&mut self, socket: u32, quiet: u32) {
        let tick = self.tick;
        let h2 = self.settings.h2.clone();
        let since = self.clients.at(socket).since;
        let Some(connection) = self.connection_at(socket) else { return };
        if matches!(connection.life, Life::Lingering(_)) {
            return;
        }
        let is_open = connection.life == Life::Open;
        let (heard, pinged, idle_since) = (connection.heard, connection.pinged, connection.idle_since);
        let (is_idle, age_max) = (connection.session.stream_count() == 0, connection.age_max);
        if pinged.is_some_and(|pinged| tick - pinged >= h2.keepalive_timeout) {
            return self.end(socket, Ending::KeepAlive);
        }
        if is_open && is_idle && h2.idle_max > 0 && tick - idle_since >= h2.idle_max {
            return self.take_leave_of(socket, "max_idle");
        }
        if is_open && age_max > 0 && tick - since >= age_max {
            self.take_leave_of(socket, "max_age");
        }
        if h2.keepalive > 0 && tick - heard >= h2.keepalive && pinged.is_none() {
            let Some(connection) = self.connection_at(socket) else { return };
            connection.pinged = Some(tick);
            connection.session.ping();
            self.mark_dirty(socket);
        }
        self.hearten_streams(socket, quiet);
    }

    fn hearten_streams(&mut self, socket: u32, quiet: u32) {
        let Some(connection) = self.connection_at(socket) else { return };
        let keys: Vec<u32> = connection.session.keys().collect();
        for key in keys {
            let tick = self.tick;
            let is_due = self
                .streams
                .find(key)
                .is_some_and(|found| found.role == Role::Sse && found.is_live() && tick - found.quiet_since >= quiet);
            // What is in the batch under way is not quiet.
            if is_due && !self.fanout.is_active() {
                self.say(key, plasma::HEARTBEAT);
            }
        }
    }

    /// Begins to part from a connection: its streams go on until they end, new ones go elsewhere.
    fn take_leave_of(&mut self, socket: u32, words: &'static str) {
        let due = self.now_plus(LINGER_FOR);
        let Some(connection) = self.connection_at(socket) else { return };
        connection.life = Life::Leaving;
        connection.session.announce_leave(words);
        if let Some(before) = connection.alarm.take() {
            self.wheel.disarm(before);
        }
        let alarm = self.wheel.arm(due, Due::Connection { socket });
        if let Some(connection) = self.connection_at(socket) {
            connection.alarm = Some(alarm);
        }
        self.mark_dirty(socket);
    }

    /// Some time after the announcement: nothing new is served any more, and whoever is still here is ended.
    pub(super) fn leave_connection(&mut self, socket: u32) {
        let Some(connection) = self.connection_at(socket) else { return };
        connection.life = Life::Left;
        connection.session.leave(Code::NoError, "");
        let keys: Vec<u32> = connection.session.keys().collect();
        for key in keys {
            self.bid_farewell(key, "the connection has reached its age");
        }
        self.mark_dirty(socket);
    }

    /// The end of the server: the peer is told, and so is every stream.
    pub(in super::super) fn say_farewell_h2(&mut self, socket: u32) {
        let Some(connection) = self.connection_at(socket) else { return };
        if connection.life != Life::Open {
            return;
        }
        let keys: Vec<u32> = connection.session.keys().collect();
        self.take_leave_of(socket, "shutting down");
        for key in keys {
            self.bid_farewell(key, "the server is shutting down");
        }
    }

    /// Ends a stream that would go on for ever. Requests are still answered.
    fn bid_farewell(&mut self, stream: u32, words: &str) {
        let Some(found) = self.streams.find(stream) else { return };
        match found.role {
            Role::Sse if found.is_live() => {
                let jitter = self.ring.random() % drain::JITTER_MAX;
                let millis = self.settings.policy.retry_millis + jitter as i64;
                let mut last = Vec::with_capacity(32);
                sse::retry(millis, &mut last);
                sse::end(&mut last);
                self.streams.at(stream).extra().end = Some(super::streams::End::Plain);
                self.say(stream, &last);
            }
            Role::Call(Call::HealthWatch) => self.end_watch(stream, words),
            Role::Sse | Role::Events { .. } | Role::Call(_) => self.send_away(stream, Ending::Farewell, words),
            Role::Request | Role::Answer => {}
        }
    }

    /// One line for each event stream that ends.
    pub(super) fn log_h2_stream(&mut self, stream: u32, ending: Ending) {
        let found = self.streams.at(stream);
        let (role, events, bytes, since) = (found.role, found.events, found.bytes, found.since);
        match role {
            Role::Sse => {
                self.counts.delivered += u64::from(events);
                let reason = ending.to_string();
                self.log_h2_line(stream, "sse", 200, u64::from(events), bytes, &reason, self.tick - since);
            }
            Role::Events { .. } => self.log_call_end(stream, &Status::OK),
            _ => {}
        }
    }

    pub(super) fn log_h2_request(&mut self, stream: u32, status: u16) {
        let found = self.streams.at(stream);
        if found.wants_events {
            self.log_h2_line(stream, "sse", status, 0, 0, "answered", 0);
        }
    }

    pub(super) fn log_h2_health(&mut self, stream: u32, status: u16) {
        self.log_h2_line(stream, "healthCheck", status, 0, 0, "answered", 0);
    }

    #[expect(clippy::too_many_arguments, reason = "a line has many fields")]
    fn log_h2_line(&mut self, stream: u32, msg: &str, status: u16, events: u64, bytes: u64, reason: &str, ticks: u32) {
        if !self.log.takes_access() {
            return;
        }
        let found = self.streams.at(stream);
        let (socket, profile) = (found.socket, found.profile);
        let Some(profile) = self.profiles.profile(profile) else { return };
        let remote = super::super::accept::remote_addr(profile.forwarded, self.clients.peer(socket));
        self.log.access(msg, |fields| {
            let duration = super::super::ticks_for(ticks);
            access::Request { events, duration, bytes, ..profile.line(&remote, status, reason) }.write(fields);
        });
    }

    /// The line for each message that names topics.
    pub(super) fn log_subscribe(&self, request: &Request) {
        self.log.access("gRPC", |fields| {
            fields.strs("request-events", request.events.iter().map(|event| event.r#type.as_bytes()));
            fields.time("time");
        });
    }

    /// The line for the end of a gRPC stream; those from `remote-addr` on are newer.
    pub(super) fn log_call_end(&mut self, stream: u32, status: &Status) {
        let found = self.streams.at(stream);
        let (socket, profile, events, bytes) = (found.socket, found.profile, found.events, found.bytes);
        let duration = super::super::ticks_for(self.tick - found.since);
        self.counts.delivered += u64::from(events);
        let forwarded = self.profiles.profile(profile).map(|profile| profile.forwarded).unwrap_or_default();
        let remote = super::super::accept::remote_addr(forwarded, self.clients.peer(socket));
        self.log.access("grpc", |fields| {
            fields.str("status", status.code.as_str());
            fields.int("code", i64::from(status.code.number()));
            fields.str("error", &if *status == Status::OK { String::new() } else { status.to_string() });
            fields.millis("duration", duration);
            fields.time("time");
            fields.str("remote-addr", &remote);
            fields.uint("events", u64::from(events));
            fields.uint("bytes", bytes);
        });
    }
}
