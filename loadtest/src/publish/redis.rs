//! Publishing through Redis: PUBLISH in RESP2, a batch in one go.

use std::str::FromStr;

use super::connection::Connection;
use super::{Answer, Event, Link};
use crate::Failure;
use crate::target::Url;

/// The channel where a URL names none.
const CHANNEL: &str = "plasma";

/// A channel of a Redis: `redis://[user:password@]host:port[/channel]`. User and password stand there as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it is.
    pub url: Url,
    /// User and password for AUTH; the user is empty where Redis has no access lists.
    pub login: Option<(String, String)>,
    /// The channel.
    pub channel: String,
}

/// A link through Redis.
pub struct Redis {
    place: Place,
    connection: Option<Connection>,
}

impl FromStr for Place {
    type Err = Failure;

    fn from_str(url: &str) -> Result<Self, Failure> {
        let rest = url.strip_prefix("redis://").ok_or_else(|| format!("{url} does not begin with redis://"))?;
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let url: Url = format!("redis://{rest}").parse()?;
        let login = login.map(|login| login.split_once(':').unwrap_or(("", login)));
        let channel = match url.path.trim_start_matches('/') {
            "" => CHANNEL,
            channel => channel,
        };
        Ok(Self {
            login: login.map(|(user, password)| (user.to_owned(), password.to_owned())),
            channel: channel.to_owned(),
            url,
        })
    }
}

impl Redis {
    /// Connects, and logs in if there is a password.
    pub fn connect(place: &Place) -> Result<Self, Failure> {
        let connection = Some(connect(place)?);
        Ok(Self { place: place.clone(), connection })
    }
}

impl Link for Redis {
    fn publish(&mut self, batch: &[Event]) -> Result<Answer, Failure> {
        let mut connection = match self.connection.take().filter(Connection::is_usable) {
            Some(connection) => connection,
            None => connect(&self.place)?,
        };
        let (mut request, mut json) = (Vec::new(), Vec::new());
        for event in batch {
            json.clear();
            event.write_json(&mut json);
            write_command(&[b"PUBLISH", self.place.channel.as_bytes(), &json], &mut request);
        }
        // Answers to a whole batch are a few bytes each: they find room in the socket while the batch is being sent.
        let replies = connection.ask(&request, |bytes| replies(bytes, batch.len()))?;
        self.connection = Some(connection);
        Ok(match replies.into_iter().enumerate().find_map(|(index, reply)| Some((index, reply.err()?))) {
            // What Redis took after a refusal may arrive, and need not.
            Some((index, words)) => Answer::refused_after(index, words),
            None => Answer::all(batch),
        })
    }
}

fn connect(place: &Place) -> Result<Connection, Failure> {
    let mut connection = Connection::connect(place.url.address)?;
    if let Some((user, password)) = &place.login {
        let words = [&b"AUTH"[..], user.as_bytes(), password.as_bytes()];
        let mut request = Vec::new();
        if user.is_empty() {
            write_command(&[words[0], words[2]], &mut request);
        } else {
            write_command(&words, &mut request);
        }
        for reply in connection.ask(&request, |bytes| replies(bytes, 1))? {
            reply.map_err(|words| format!("Redis does not let us in: {words}"))?;
        }
    }
    Ok(connection)
}

/// A command as RESP wants it: an array of strings with their lengths.
fn write_command(words: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// So many replies, if they are whole: whether each is fine, or Redis's words.
fn replies(mut bytes: &[u8], count: usize) -> Result<Option<Vec<Result<(), String>>>, Failure> {
    let mut replies = Vec::new();
    while replies.len() < count {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n") else { return Ok(None) };
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        replies.push(match bytes[..end].split_first() {
            Some((b'+' | b':', _)) => Ok(()),
            Some((b'-', words)) => Err(text(words)),
            _ => return Err(format!("not an answer of Redis: {:?}", text(&bytes[..end])).into()),
        });
        bytes = &bytes[end + 2..];
    }
    Ok(Some(replies))
}

#[cfg(test)]
mod tests;
