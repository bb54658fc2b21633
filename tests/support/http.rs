//! An HTTP/1.1 client that hides nothing: raw bytes out, heads and bodies as they came.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};

use super::wait::{Deadline, PATIENCE};

/// The start line and the header of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    pub version: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Value of the only header of this name; names are compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands twice: {:?}", self.headers);
        value
    }

    /// Names of all headers, in lower case, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        names
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let start = lines.next().expect("a text has a first line");
        let mut words = start.splitn(3, ' ');
        let version = words.next().expect("a line has a first word").to_owned();
        let status = words.next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no status: {start:?}"));
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
            assert!(!name.is_empty() && !name.contains(' '), "no header: {line:?}");
            (name.to_owned(), value.trim().to_owned())
        });
        Self { version, status, headers: headers.collect() }
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.status
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }
}

/// A connection to the server.
pub struct Connection {
    stream: TcpStream,
    /// Received and not read yet, from `at` on.
    buffer: Vec<u8>,
    at: usize,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts");
        Self::over(stream)
    }

    /// Connects with a receive buffer as small as the kernel allows, so that a reader who stops soon blocks the server.
    pub fn open_narrow(address: SocketAddr) -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        sockopt::set_socket_recv_buffer_size(&socket, 2048).expect("a small receive buffer");
        connect(&socket, &address).expect("the server accepts");
        Self::over(TcpStream::from(socket))
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a TCP socket");
        Self { stream, buffer: Vec::new(), at: 0 }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).expect("the server takes what is sent");
        self
    }

    /// Sends bytes to a server that may have hung up already.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// The socket itself.
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads a head, interim ones (1xx) included.
    pub fn read_head(&mut self) -> Head {
        let deadline = Deadline::patient();
        let end = loop {
            let waiting = &self.buffer[self.at..];
            if let Some(end) = waiting.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            let text = String::from_utf8_lossy(waiting).into_owned();
            assert!(self.receive(deadline), "closed where an answer should stand, after {text:?}");
        };
        let text = String::from_utf8(self.take(end + 4)).expect("a head is text");
        Head::parse(text.trim_end_matches("\r\n"))
    }

    /// Reads an answer to anything but HEAD.
    pub fn read_answer(&mut self) -> Answer {
        let head = self.read_head();
        let body = self.read_body(&head);
        Answer { head, body }
    }

    /// Reads the body that belongs to `head`.
    pub fn read_body(&mut self, head: &Head) -> Vec<u8> {
        if head.status < 200 || head.status == 204 || head.status == 304 {
            return Vec::new();
        }
        assert!(head.header("transfer-encoding").is_none(), "no answer of ours is chunked: {head:?}");
        match head.header("content-length") {
            Some(len) => self.read_exact(len.parse().expect("a length is a number")),
            None => self.read_to_end(),
        }
    }

    /// Reads `len` bytes.
    pub fn read_exact(&mut self, len: usize) -> Vec<u8> {
        let deadline = Deadline::patient();
        while self.buffer.len() - self.at < len {
            assert!(self.receive(deadline), "closed inside of {len} bytes");
        }
        self.take(len)
    }

    /// Reads up to and including `end`; `None` when the connection is closed before.
    pub fn read_through(&mut self, end: &[u8], deadline: Deadline) -> Option<Vec<u8>> {
        let mut from = 0;
        loop {
            let waiting = &self.buffer[self.at..];
            if let Some(found) = waiting[from..].windows(end.len()).position(|window| window == end) {
                return Some(self.take(from + found + end.len()));
            }
            from = waiting.len().saturating_sub(end.len() - 1);
            if !self.receive(deadline) {
                return None;
            }
        }
    }

    /// Takes what has been received already, up to and including `end`; receives nothing.
    pub fn take_block(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        let found = self.buffer[self.at..].windows(end.len()).position(|window| window == end)?;
        Some(self.take(found + end.len()))
    }

    /// Reads everything until the server closes.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let deadline = Deadline::patient();
        while self.receive(deadline) {}
        self.take(self.buffer.len() - self.at)
    }

    /// Checks that the server closes without another byte.
    pub fn expect_end(&mut self) {
        let rest = self.read_to_end();
        assert!(rest.is_empty(), "more than expected: {:?}", String::from_utf8_lossy(&rest));
    }

    /// Receives once; false at the end of the connection, whether by close or by reset. Fails at the deadline.
    pub fn receive(&mut self, deadline: Deadline) -> bool {
        self.try_receive(deadline).unwrap_or_else(|| {
            let waiting = &self.buffer[self.at..];
            let tail = String::from_utf8_lossy(&waiting[waiting.len().saturating_sub(300)..]);
            panic!("in vain: more from the server; it stopped after {tail:?}")
        })
    }

    /// Receives once; `None` when nothing came before the deadline.
    pub fn try_receive(&mut self, deadline: Deadline) -> Option<bool> {
        if self.at > 1 << 20 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        let len = self.buffer.len();
        self.buffer.resize(len + (64 << 10), 0);
        let got = loop {
            let Some(left) = deadline.remaining() else { break None };
            self.stream.set_read_timeout(Some(left)).expect("a TCP socket");
            match self.stream.read(&mut self.buffer[len..]) {
                Ok(got) => break Some(got),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => {}
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => break Some(0),
                    _ => panic!("reading: {error}"),
                },
            }
        };
        self.buffer.truncate(len + got.unwrap_or(0));
        got.map(|got| got > 0)
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let taken = self.buffer[self.at..self.at + len].to_vec();
        self.at += len;
        taken
    }
}

/// Sends one request without a body on a connection of its own.
pub fn request(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    send(address, method, target, headers, b"")
}

/// `GET` on a connection of its own.
pub fn get(address: SocketAddr, target: &str) -> Answer {
    request(address, "GET", target, &[])
}

/// `POST` on a connection of its own.
pub fn post(address: SocketAddr, target: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
    send(address, "POST", target, headers, body.as_ref())
}

fn send(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut connection = Connection::open(address);
    let mut bytes = head(method, target, headers, (method == "POST").then_some(body.len()));
    bytes.extend_from_slice(body);
    // A body over the limit is refused before it has been sent, so the rest of it may find no reader.
    connection.try_send(bytes);
    match method {
        "HEAD" => Answer { head: connection.read_head(), body: Vec::new() },
        _ => connection.read_answer(),
    }
}

/// The bytes of a request head.
pub fn head(method: &str, target: &str, headers: &[(&str, &str)], body_len: Option<usize>) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if let Some(len) = body_len {
        text += &format!("Content-Length: {len}\r\n");
    }
    (text + "\r\n").into_bytes()
}
