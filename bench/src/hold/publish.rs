//! One event published over HTTP, to see whom it reaches.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use serde_json::json;

use crate::Failure;

/// Longest wait for the publisher's answer: it must be there long before the last subscriber has the event.
const ANSWER_FOR_MAX: Duration = Duration::from_secs(10);

/// Where to publish: `http://host:port/path`.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    authority: String,
    path: String,
}

impl FromStr for Publish {
    type Err = Failure;

    fn from_str(url: &str) -> Result<Self, Failure> {
        let rest =
            url.strip_prefix("http://").ok_or_else(|| format!("--publish {url:?} does not begin with http://"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
            return Err(format!("--publish {url:?} has no host:port").into());
        }
        Ok(Self { authority: authority.to_owned(), path: format!("/{path}") })
    }
}

impl Publish {
    /// Publishes an event of type `topic` with the string `data`; fails unless the answer is a 2xx.
    pub fn send(&self, topic: &str, data: &str) -> Result<(), Failure> {
        let Self { authority, path } = self;
        let address = authority.to_socket_addrs()?.next().ok_or_else(|| format!("{authority} has no address"))?;
        let body = json!({ "meta": { "type": topic }, "data": data }).to_string();
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_FOR_MAX)
            .map_err(|error| format!("cannot connect to {authority} to publish: {error}"))?;
        stream.set_read_timeout(Some(ANSWER_FOR_MAX))?;
        stream.set_write_timeout(Some(ANSWER_FOR_MAX))?;
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len(),
        )?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        match line.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()) {
            Some(200..=299) => Ok(()),
            _ => Err(format!("publishing was answered {:?}", line.trim_end()).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_place_and_a_path() {
        let whole = Publish { authority: "127.0.0.1:8080".to_owned(), path: "/events".to_owned() };
        assert_eq!("http://127.0.0.1:8080/events".parse::<Publish>().ok(), Some(whole));
        assert_eq!("http://localhost:1".parse::<Publish>().expect("a place is enough").path, "/");
        for bad in ["https://a:1/", "http:///events", "http://a/events", "http://:80/", "127.0.0.1:8080"] {
            assert!(bad.parse::<Publish>().is_err(), "{bad}");
        }
    }
}
