//! The other end of a link, for tests: connections by a script.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use super::Event;

/// Reads one request. `None` at the connection's end.
pub type Read = fn(&mut BufReader<TcpStream>) -> Option<String>;

/// Serves as many connections as there are scripts, one after the other: an answer per request, and then the close.
/// Returns the requests of each connection in the end.
pub fn serve(read: Read, scripts: Vec<Vec<&'static str>>) -> (SocketAddr, JoinHandle<Vec<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let thread = thread::spawn(move || {
        let mut all = Vec::new();
        for script in scripts {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("its other half"));
            let mut requests = Vec::new();
            for answer in script {
                requests.extend(read(&mut reader));
                stream.write_all(answer.as_bytes()).expect("room for an answer");
            }
            all.push(requests);
        }
        all
    });
    (address, thread)
}

/// Events of a topic each.
pub fn batch(topics: &[&str]) -> Vec<Event> {
    topics.iter().map(|topic| Event { topic: (*topic).to_owned(), data: format!("data of {topic}").into() }).collect()
}
