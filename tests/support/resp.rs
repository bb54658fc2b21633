//! As much of Redis' own protocol as tests need, written apart from the server's.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Reply>),
}

impl Reply {
    /// The text of a string reply.
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) => text.clone(),
            Self::Bulk(Some(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("no string: {other:?}"),
        }
    }
}

/// A command as an array of bulk strings.
pub fn encode(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// What a subscriber receives for a message on `channel`.
pub fn message(channel: &str, payload: &[u8]) -> Vec<u8> {
    encode(&[b"message", channel.as_bytes(), payload])
}

/// Reads one reply or one command.
pub fn read(source: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    if source.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end_matches("\r\n");
    let number = || line[1..].parse::<i64>().map_err(|_| io::Error::other(format!("no number: {line:?}")));
    match line.as_bytes().first() {
        Some(b'+') => Ok(Reply::Simple(line[1..].to_owned())),
        Some(b'-') => Ok(Reply::Error(line[1..].to_owned())),
        Some(b':') => Ok(Reply::Int(number()?)),
        Some(b'$') => {
            let Ok(len) = usize::try_from(number()?) else { return Ok(Reply::Bulk(None)) };
            let mut bytes = vec![0; len + 2];
            source.read_exact(&mut bytes)?;
            bytes.truncate(len);
            Ok(Reply::Bulk(Some(bytes)))
        }
        Some(b'*') => (0..number()?).map(|_| read(source)).collect::<io::Result<_>>().map(Reply::Array),
        // Redis takes words on one line as well.
        _ => Ok(Reply::Array(line.split(' ').map(|word| Reply::Bulk(Some(word.as_bytes().to_vec()))).collect())),
    }
}

/// A connection to a real Redis.
pub struct Client {
    source: BufReader<TcpStream>,
    sink: TcpStream,
}

impl Client {
    /// Connects; a server that is not there is an error.
    pub fn open(address: SocketAddr, within: Duration) -> io::Result<Self> {
        let sink = TcpStream::connect_timeout(&address, within)?;
        sink.set_read_timeout(Some(within))?;
        sink.set_nodelay(true)?;
        Ok(Self { source: BufReader::new(sink.try_clone()?), sink })
    }

    /// One command and its reply.
    pub fn call(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        self.sink.write_all(&encode(words))?;
        read(&mut self.source)
    }

    /// Many commands at once and all their replies.
    pub fn call_all(&mut self, commands: &[Vec<u8>]) -> io::Result<Vec<Reply>> {
        let mut replies = Vec::with_capacity(commands.len());
        // Neither side may be left with full buffers, waiting for the other to read.
        for some in commands.chunks(256) {
            self.sink.write_all(&some.concat())?;
            for _ in some {
                replies.push(read(&mut self.source)?);
            }
        }
        Ok(replies)
    }
}
