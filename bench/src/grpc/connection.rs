//! One client connection with its streams, read frame by frame: heads are looked at, everything else is skipped.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use plasma::wire::h2::frame::{self, HEAD_LEN, Head, Kind};

use crate::Failure;

/// Windows are opened again when that much was read on a connection: half of what they begin with, and so large that
/// it hardly ever happens.
const CREDIT_LEN: u64 = 1 << 30;

/// A client's end.
pub struct Connection {
    socket: TcpStream,
    /// The beginning of a frame's head.
    head: [u8; HEAD_LEN],
    head_len: usize,
    /// Bytes of the frame that is being skipped, and whose DATA they are.
    left: usize,
    stream: Option<usize>,
    /// Response heads.
    heads: u32,
    /// Bytes of DATA by stream, in all and since the windows were opened last.
    totals: Vec<u64>,
    credits: Vec<u64>,
    credit: u64,
}

impl Connection {
    /// Connects and says `request`, which opens `streams` streams.
    pub fn open(address: SocketAddr, streams: u32, request: &[u8]) -> Result<Self, Failure> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.write_all(request)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            head: [0; HEAD_LEN],
            head_len: 0,
            left: 0,
            stream: None,
            heads: 0,
            totals: vec![0; streams as usize],
            credits: vec![0; streams as usize],
            credit: 0,
        })
    }

    /// Its socket, to be waited for.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether every stream was answered.
    pub fn is_open(&self) -> bool {
        self.heads as usize == self.totals.len()
    }

    /// Bytes of DATA of each stream so far.
    pub fn totals(&self) -> &[u64] {
        &self.totals
    }

    /// Takes in what has arrived, through `buffer`; returns how many bytes of DATA were among it, or `None` when
    /// nothing was there.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<u64>, Failure> {
        match self.socket.read(buffer) {
            Ok(0) => Err("the server has closed a connection".into()),
            Ok(len) => self.feed(&buffer[..len]).map(Some),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) -> Result<u64, Failure> {
        let mut data = 0;
        loop {
            let len = self.left.min(bytes.len());
            if let Some(stream) = self.stream {
                self.totals[stream] += len as u64;
                self.credits[stream] += len as u64;
                data += len as u64;
            }
            (self.left, bytes) = (self.left - len, &bytes[len..]);
            if self.left > 0 || bytes.is_empty() {
                break;
            }
            let len = (HEAD_LEN - self.head_len).min(bytes.len());
            self.head[self.head_len..self.head_len + len].copy_from_slice(&bytes[..len]);
            (self.head_len, bytes) = (self.head_len + len, &bytes[len..]);
            if self.head_len == HEAD_LEN {
                self.head_len = 0;
                let head = Head::parse(&self.head).ok_or("a head is nine bytes")?;
                self.begin(head)?;
            }
        }
        self.credit += data;
        if self.credit >= CREDIT_LEN {
            self.give_credit()?;
        }
        Ok(data)
    }

    fn begin(&mut self, head: Head) -> Result<(), Failure> {
        (self.left, self.stream) = (head.len, None);
        match head.kind {
            Kind::Data if head.flags == 0 && head.stream % 2 == 1 => {
                let stream = head.stream as usize / 2;
                if stream >= self.totals.len() {
                    return Err(format!("DATA on stream {}, which nobody opened", head.stream).into());
                }
                self.stream = Some(stream);
            }
            Kind::Headers if !head.has(frame::END_STREAM) => self.heads += 1,
            Kind::Settings if !head.has(frame::ACK) => self.say(&settings_taken())?,
            Kind::Settings | Kind::WindowUpdate | Kind::Ping => {}
            other => return Err(format!("a frame that ends something or is no use here: {other:?}").into()),
        }
        Ok(())
    }

    /// Opens all windows again by what was read.
    fn give_credit(&mut self) -> Result<(), Failure> {
        let mut updates = Vec::new();
        frame::write_window_update(0, self.credit as u32, &mut updates);
        for (index, credit) in self.credits.iter_mut().enumerate().filter(|(_, credit)| **credit > 0) {
            frame::write_window_update(2 * index as u32 + 1, std::mem::take(credit) as u32, &mut updates);
        }
        self.credit = 0;
        self.say(&updates)
    }

    fn say(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        // A few bytes for a peer that reads: the socket's buffer has room for them.
        Ok(self.socket.write_all(bytes)?)
    }
}

fn settings_taken() -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(Kind::Settings, frame::ACK, 0, b"", &mut out);
    out
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn connection(streams: u32) -> (Connection, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        (Connection::open(address, streams, b"").expect("it listens"), listener)
    }

    #[test]
    fn data_is_counted_by_stream_wherever_it_is_cut() {
        let mut input = Vec::new();
        frame::write_settings(&[], &mut input);
        frame::write(Kind::Headers, frame::END_HEADERS, 1, b"head", &mut input);
        frame::write(Kind::Headers, frame::END_HEADERS, 3, b"head", &mut input);
        frame::write(Kind::Data, 0, 3, b"0123456789", &mut input);
        frame::write(Kind::Data, 0, 1, b"01234", &mut input);
        for cut in 0..=input.len() {
            let (mut connection, _listener) = connection(2);
            let data = [&input[..cut], &input[cut..]].map(|part| connection.feed(part).expect("nothing is wrong"));
            assert_eq!((data[0] + data[1], connection.totals()), (15, &[5, 10][..]), "cut at {cut}");
            assert!(connection.is_open());
        }
    }

    #[test]
    fn the_end_of_a_stream_is_an_error() {
        let mut input = Vec::new();
        frame::write(Kind::Headers, frame::END_HEADERS | frame::END_STREAM, 1, b"trailers", &mut input);
        let (mut connection, _listener) = connection(1);
        assert!(connection.feed(&input).is_err());
    }
}
