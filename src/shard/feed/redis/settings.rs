//! Where Redis is, and how patient to be with it.
//!
//! Never shows the password, neither in the log's JSON nor to a debugger.

use std::fmt;
use std::time::Duration;

use crate::base::log::Fields;

/// What an operator says about Redis (`PLASMA_SUBSCRIBER_REDIS_*`).
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `host:port`, see [`Settings::host_port`].
    pub addr: String,
    /// ACL user; empty for the default one.
    pub username: String,
    /// Empty for none.
    pub password: String,
    /// Selected when above 0.
    pub db: i64,
    /// Subscribed by these very names, no patterns. None: the link idles.
    pub channels: Vec<String>,
    /// Consecutive failures that are too many.
    pub max_retry: i64,
    /// Silence after which Redis is asked whether it is there; 0 asks every [`PROBE_DEFAULT`].
    pub timeout: Duration,
    /// Longest pause between two attempts to connect.
    pub retry_interval: Duration,
    /// What too many failures mean.
    pub behavior: Behavior,
}

/// What follows when attempts have failed `max_retry` times in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// Count from the start, for ever.
    Alive,
    /// End the process.
    Die,
}

/// How often a quiet link is probed when the timeout is 0, which once meant "wait for ever": often enough to notice a
/// dead peer before a firewall forgets the connection.
pub const PROBE_DEFAULT: Duration = Duration::from_secs(30);

/// A quiet link is not probed more often than this, however small the timeout.
const PROBE_MIN: Duration = Duration::from_millis(100);

/// An answer to a probe may always take this long: a busy Redis is not a dead one.
const ANSWER_MIN: Duration = Duration::from_secs(1);

/// Where Redis listens when nobody says otherwise.
const HOST_DEFAULT: &str = "localhost";
const PORT_DEFAULT: u16 = 6379;

impl Settings {
    /// Silence after which a link is probed.
    pub fn probe_after(&self) -> Duration {
        if self.timeout.is_zero() { PROBE_DEFAULT } else { self.timeout.max(PROBE_MIN) }
    }

    /// Silence after a probe that ends the link: the timeout, at least a second.
    pub fn answer_within(&self) -> Duration {
        self.timeout.max(ANSWER_MIN)
    }

    /// Host and port of `addr`: `host:port`, `[v6]:port`, or either without the port. What is left out is
    /// `localhost` and 6379.
    pub fn host_port(&self) -> Result<(&str, u16), BadAddr> {
        let bad = || BadAddr(self.addr.clone());
        let (host, port) = match self.addr.strip_prefix('[') {
            Some(bracketed) => {
                let (host, rest) = bracketed.split_once(']').ok_or_else(bad)?;
                match rest.strip_prefix(':') {
                    _ if host.is_empty() => return Err(bad()),
                    Some(port) => (host, Some(port)),
                    None if rest.is_empty() => (host, None),
                    None => return Err(bad()),
                }
            }
            None => match self.addr.split_once(':') {
                // More than one colon and no brackets: an IPv6 address by itself.
                Some((_, rest)) if rest.contains(':') => (self.addr.as_str(), None),
                Some((host, port)) => (host, Some(port)),
                None => (self.addr.as_str(), None),
            },
        };
        if host.contains(|char: char| char.is_whitespace() || char.is_control() || "[]/".contains(char)) {
            return Err(bad());
        }
        let port = match port {
            None => PORT_DEFAULT,
            // `parse` would take a sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| bad())?,
            Some(_) => return Err(bad()),
        };
        if port == 0 {
            return Err(bad());
        }
        Ok((if host.is_empty() { HOST_DEFAULT } else { host }, port))
    }

    /// Adds the object that stands in log lines as `config` or `redis`, under the names that log readers know, its
    /// password masked.
    pub fn show(&self, key: &str, fields: &mut Fields) {
        fields.object(key, |fields| {
            fields.str("Addr", &self.addr);
            fields.str("Password", self.masked());
            fields.int("DB", self.db);
            fields.strs("Channels", self.channels.iter().map(String::as_bytes));
        });
    }

    fn masked(&self) -> &'static str {
        if self.password.is_empty() { "" } else { "***" }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Settings")
            .field("addr", &self.addr)
            .field("username", &self.username)
            .field("password", &self.masked())
            .field("db", &self.db)
            .field("channels", &self.channels)
            .field("max_retry", &self.max_retry)
            .field("timeout", &self.timeout)
            .field("retry_interval", &self.retry_interval)
            .field("behavior", &self.behavior)
            .finish()
    }
}

/// An address that is neither `host:port` nor `[v6]:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAddr(String);

impl fmt::Display for BadAddr {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:?} is not an address such as localhost:6379 or [::1]:6379", self.0)
    }
}

impl std::error::Error for BadAddr {}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::log::{Level, Levels, Next, channel};

    /// The defaults of the server, one channel.
    pub(in crate::shard::feed::redis) fn plain() -> Settings {
        Settings {
            addr: "localhost:6379".into(),
            username: String::new(),
            password: String::new(),
            db: 0,
            channels: vec!["plasma".into()],
            max_retry: 5,
            timeout: Duration::from_secs(1),
            retry_interval: Duration::from_secs(5),
            behavior: Behavior::Alive,
        }
    }

    /// The settings as a log line has them.
    fn shown(settings: &Settings) -> String {
        let (log, lines) = channel(Levels { error: Some(Level::Info), access: None }, || 0);
        log.error(Level::Info, "m", |fields| settings.show("config", fields));
        match lines.take() {
            Next::Line(line) => String::from_utf8(line.text).unwrap(),
            _ => panic!("no line"),
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        let settings = Settings { password: "s3cret".into(), username: "plasma".into(), db: 2, ..plain() };
        let json = r#""config":{"Addr":"localhost:6379","Password":"***","DB":2,"Channels":["plasma"]}"#;
        assert!(shown(&settings).contains(json), "{}", shown(&settings));
        assert!(!format!("{settings:?}").contains("s3cret"));
        assert!(shown(&plain()).contains(r#""Password":"""#));
    }

    #[test]
    fn addresses_are_read_with_and_without_host_port_and_brackets() {
        let good = [
            ("localhost:6379", "localhost", 6379),
            ("redis.example:1", "redis.example", 1),
            ("10.0.0.1:65535", "10.0.0.1", 65535),
            ("[::1]:6380", "::1", 6380),
            ("[fe80::1%eth0]", "fe80::1%eth0", 6379),
            ("::1", "::1", 6379),
            ("redis", "redis", 6379),
            (":7000", "localhost", 7000),
            ("", "localhost", 6379),
        ];
        for (addr, host, port) in good {
            let settings = Settings { addr: addr.into(), ..plain() };
            assert_eq!(settings.host_port(), Ok((host, port)), "{addr:?}");
        }
        for addr in ["a:", "a:x", "a:+1", "a:65536", "a:0", "[::1", "[]:1", "[::1]x", "[::1]6379", "a b:1", "redis://a"]
        {
            let settings = Settings { addr: addr.into(), ..plain() };
            assert_eq!(settings.host_port(), Err(BadAddr(addr.into())), "{addr:?}");
        }
    }

    #[test]
    fn probes_follow_the_timeout_within_reason() {
        let with = |timeout: u64| Settings { timeout: Duration::from_millis(timeout), ..plain() };
        let both = |timeout| (with(timeout).probe_after().as_millis(), with(timeout).answer_within().as_millis());
        assert_eq!(
            [both(0), both(1), both(1_000), both(3_000)],
            [(30_000, 1_000), (100, 1_000), (1_000, 1_000), (3_000, 3_000)]
        );
    }
}
