//! What both kinds of session share: the greeting, and the ways in which a link fails.
//!
//! Never lets the password out: not even where Redis quotes our command back at us.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::wire::resp::{self, ProtocolError, Reply};

use super::settings::Settings;

/// How long a new link may take from connected to ready: several round trips around the world.
pub const GREETING_FOR: Duration = Duration::from_secs(5);

/// Why a link has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Redis answered a command of ours with an error.
    Refused {
        /// The command.
        command: &'static str,
        /// What Redis said, without secrets.
        text: String,
    },
    /// What came is not Redis' protocol.
    Protocol(ProtocolError),
    /// A well-formed reply that answers nothing we asked.
    Unexpected,
    /// The greeting was not answered within [`GREETING_FOR`].
    Slow,
    /// Nothing came, not even the answer to a probe.
    Silent,
    /// A publish was not answered in time.
    Overdue,
    /// The connection ended, for the reason that the socket gave.
    Closed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { command, text } => write!(to, "{command} refused: {text}"),
            Self::Protocol(error) => write!(to, "not the Redis protocol: {error}"),
            Self::Unexpected => to.write_str("Redis sent a reply that answers nothing"),
            Self::Slow => to.write_str("Redis did not answer the greeting in time"),
            Self::Silent => to.write_str("Redis did not answer a PING in time"),
            Self::Overdue => to.write_str("Redis did not answer a PUBLISH in time"),
            Self::Closed(reason) => write!(to, "connection closed: {reason}"),
        }
    }
}

impl std::error::Error for Failure {}

/// A command of the greeting whose answer has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Auth,
    Select,
    Ping,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Auth => "AUTH",
            Self::Select => "SELECT",
            Self::Ping => "PING",
        }
    }

    fn answer(self) -> &'static [u8] {
        match self {
            Self::Auth | Self::Select => b"OK",
            Self::Ping => b"PONG",
        }
    }
}

/// What is said first on every connection, all in one write: who we are, which database, and is anybody there.
#[derive(Default)]
pub(super) struct Greeting {
    awaited: VecDeque<Step>,
    /// Kept to recognise it in what Redis says about it.
    password: String,
}

impl Greeting {
    /// Appends the commands to `out`. `ping` asks for a last answer where nothing else would be asked.
    pub(super) fn write(settings: &Settings, ping: bool, out: &mut Vec<u8>) -> Self {
        let (username, password) = (settings.username.as_bytes(), settings.password.as_bytes());
        let mut awaited = VecDeque::new();
        match (username, password) {
            ([], []) => {}
            ([], _) => resp::command(out, &[b"AUTH", password]),
            _ => resp::command(out, &[b"AUTH", username, password]),
        }
        if !out.is_empty() {
            awaited.push_back(Step::Auth);
        }
        if settings.db > 0 {
            resp::command(out, &[b"SELECT", settings.db.to_string().as_bytes()]);
            awaited.push_back(Step::Select);
        }
        if ping {
            resp::command(out, &[b"PING"]);
            awaited.push_back(Step::Ping);
        }
        Self { awaited, password: settings.password.clone() }
    }

    /// Whether every answer has come.
    pub(super) fn is_over(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Takes the next answer.
    pub(super) fn take(&mut self, reply: Reply<'_>) -> Result<(), Failure> {
        let step = self.awaited.pop_front().ok_or(Failure::Unexpected)?;
        match reply {
            Reply::Simple(text) if text == step.answer() => Ok(()),
            // A user who may subscribe or publish and nothing else: that, too, is somebody at home.
            Reply::Error(text) if step == Step::Ping && text.starts_with(b"NOPERM") => Ok(()),
            Reply::Error(text) => Err(Failure::Refused { command: step.name(), text: self.repeatable(text) }),
            _ => Err(Failure::Unexpected),
        }
    }

    /// The text of an error, fit to be logged: only its code where the rest happens to contain the password.
    fn repeatable(&self, text: &[u8]) -> String {
        let said = without_quotation(text);
        if self.password.is_empty() || memchr::memmem::find(said, self.password.as_bytes()).is_none() {
            return error_text(said);
        }
        match said.split(|byte| *byte == b' ').next() {
            Some(code @ (b"ERR" | b"NOAUTH" | b"NOPERM" | b"WRONGPASS")) => String::from_utf8_lossy(code).into_owned(),
            _ => "an error whose text contains the password".into(),
        }
    }
}

/// Redis quotes the arguments of commands it does not know; a renamed AUTH would put the password there.
fn without_quotation(text: &[u8]) -> &[u8] {
    let end = memchr::memmem::find(text, b", with args").unwrap_or(text.len());
    &text[..end]
}

/// The text of an error reply as one short line, without what it quotes.
pub(super) fn error_text(text: &[u8]) -> String {
    const CHARS_MAX: usize = 200;
    let said = String::from_utf8_lossy(without_quotation(text));
    said.chars().take(CHARS_MAX).map(|char| if char.is_control() { ' ' } else { char }).collect()
}
