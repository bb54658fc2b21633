//! A blocking connection with time-outs, for one request and its answer at a time.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::Failure;

/// Longest time to connect. A SYN that was dropped is sent again after one second and after three.
pub const CONNECT_FOR_MAX: Duration = Duration::from_secs(5);

/// Longest time without a byte of the answer, or without room for the request: several times what a server with an
/// overflowing queue needs.
pub const ANSWER_FOR_MAX: Duration = Duration::from_secs(10);

/// Most bytes read at a time: answers are short, but for the ids of a large batch.
const RECEIVE_LEN: usize = 16 * 1024;

/// Longest answer: beyond that it is none.
const ANSWER_LEN_MAX: usize = 16 << 20;

/// A connection that stood when it was last used.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    pub fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_FOR_MAX)
            .map_err(|error| format!("connecting to {address}: {}", in_words(&error)))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_FOR_MAX))?;
        stream.set_write_timeout(Some(ANSWER_FOR_MAX))?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Whether nothing is known against sending another request: the server may have closed the connection meanwhile.
    pub fn is_usable(&self) -> bool {
        let peeked = recv(&self.stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        peeked.map(|(_, len)| len) == Err(Errno::AGAIN)
    }

    /// Sends a request, and reads until `parse` finds the whole answer in what has come.
    pub fn ask<A>(
        &mut self,
        request: &[u8],
        mut parse: impl FnMut(&[u8]) -> Result<Option<A>, Failure>,
    ) -> Result<A, Failure> {
        // A server that refuses a request before it has read all of it may answer and close.
        let sent = self.stream.write_all(request).map_err(|error| format!("sending: {}", in_words(&error)));
        self.received.clear();
        loop {
            match (self.receive(), &sent) {
                (Ok(()), _) => {}
                (Err(_), Err(error)) => return Err(error.clone().into()),
                (Err(error), Ok(())) => return Err(error),
            }
            if let Some(answer) = parse(&self.received)? {
                return Ok(answer);
            }
        }
    }

    fn receive(&mut self) -> Result<(), Failure> {
        let len = self.received.len();
        if len > ANSWER_LEN_MAX {
            return Err("the answer has no end".into());
        }
        self.received.resize(len + RECEIVE_LEN, 0);
        let read = loop {
            match self.stream.read(&mut self.received[len..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.received.truncate(len + read.as_ref().map_or(0, |&read| read));
        match read {
            Ok(0) => Err("the connection was closed before the answer".into()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("waiting for the answer: {}", in_words(&error)).into()),
        }
    }
}

fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        // What the end of a socket's patience is to the kernel.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "time is up".to_owned(),
        _ => error.to_string(),
    }
}
