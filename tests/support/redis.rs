//! A real redis-server of the test's own: nothing stored, any free port, gone with the test.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::resp::{Client, Reply, encode};
use super::wait::{Deadline, PATIENCE, until};

/// How often another port is tried when somebody took the one that was free a moment ago.
const PORT_TRIES: usize = 5;

/// A running Redis.
pub struct Redis {
    child: Child,
    address: SocketAddr,
    /// Arguments beyond the usual ones, for a restart.
    arguments: Vec<String>,
    /// How this side logs in, command by command.
    login: Vec<String>,
}

impl Redis {
    /// Starts one without a password. `None`, said aloud, where there is no redis-server.
    pub fn start() -> Option<Self> {
        Self::start_with(&[], &[])
    }

    /// Starts one with this password.
    pub fn start_with_password(password: &str) -> Option<Self> {
        Self::start_with(&["--requirepass", password], &["AUTH", password])
    }

    /// Starts one with more arguments; tests themselves log in with the words `login`.
    pub fn start_with(arguments: &[&str], login: &[&str]) -> Option<Self> {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (arguments, login) = (own(arguments), own(login));
        for _ in 0..PORT_TRIES {
            let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let address = probe.local_addr().expect("a bound socket has an address");
            drop(probe);
            let child = match spawn(address, &arguments) {
                Ok(child) => child,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    super::skip("redis-server is not installed");
                    return None;
                }
                Err(error) => panic!("redis-server: {error}"),
            };
            let mut redis = Self { child, address, arguments: arguments.clone(), login: login.clone() };
            if redis.wait_ready() {
                return Some(redis);
            }
        }
        panic!("redis-server found no free port in {PORT_TRIES} tries");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As a setting.
    pub fn addr(&self) -> String {
        self.address.to_string()
    }

    /// A connection of the test's own, logged in.
    pub fn client(&self) -> Client {
        self.try_client().expect("Redis answers")
    }

    fn try_client(&self) -> std::io::Result<Client> {
        let mut client = Client::open(self.address, PATIENCE)?;
        if !self.login.is_empty() {
            let words: Vec<&[u8]> = self.login.iter().map(|word| word.as_bytes()).collect();
            match client.call(&words)? {
                Reply::Error(error) => panic!("the test's own login: {error}"),
                _ => return Ok(client),
            }
        }
        Ok(client)
    }

    /// Publishes and returns how many connections received it.
    pub fn publish(&self, channel: &str, payload: impl AsRef<[u8]>) -> i64 {
        match self.client().call(&[b"PUBLISH", channel.as_bytes(), payload.as_ref()]).expect("Redis answers") {
            Reply::Int(receivers) => receivers,
            other => panic!("PUBLISH: {other:?}"),
        }
    }

    /// Publishes many in order, fast.
    pub fn publish_all(&self, channel: &str, payloads: &[String]) {
        let command = |payload: &String| encode(&[b"PUBLISH", channel.as_bytes(), payload.as_bytes()]);
        let commands: Vec<_> = payloads.iter().map(command).collect();
        let replies = self.client().call_all(&commands).expect("Redis answers");
        assert!(replies.iter().all(|reply| matches!(reply, Reply::Int(_))), "PUBLISH: {:?}", replies.first());
    }

    /// Subscribers of a channel.
    pub fn subscribers(&self, channel: &str) -> i64 {
        match self.client().call(&[b"PUBSUB", b"NUMSUB", channel.as_bytes()]).expect("Redis answers") {
            Reply::Array(pair) => match pair.last() {
                Some(Reply::Int(count)) => *count,
                other => panic!("NUMSUB: {other:?}"),
            },
            other => panic!("NUMSUB: {other:?}"),
        }
    }

    /// Waits until a channel has so many subscribers.
    pub fn wait_subscribers(&self, channel: &str, count: i64) {
        until(&format!("{count} subscribers of {channel}"), Deadline::patient(), || {
            (self.subscribers(channel) == count).then_some(())
        });
    }

    /// The text of `INFO` or `CLIENT LIST` and the like.
    pub fn ask(&self, words: &[&str]) -> String {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.client().call(&words).expect("Redis answers").text()
    }

    /// Closes every subscriber's connection; Redis itself stays.
    pub fn kill_subscribers(&self) {
        let reply = self.client().call(&[b"CLIENT", b"KILL", b"TYPE", b"PUBSUB"]).expect("Redis answers");
        assert!(matches!(reply, Reply::Int(1..)), "CLIENT KILL: {reply:?}");
    }

    /// Ends it without a farewell.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        self.kill();
        until("the old port again", Deadline::patient(), || {
            self.child = spawn(self.address, &self.arguments).expect("redis-server was there before");
            self.wait_ready().then_some(())
        });
    }

    /// Halts the process: connections stay open and nothing answers.
    pub fn stop(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).expect("Redis runs");
    }

    /// Lets a halted process go on.
    pub fn cont(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).expect("Redis runs");
    }

    /// Waits until it answers; false when it ended instead.
    fn wait_ready(&mut self) -> bool {
        until("Redis to answer", Deadline::patient(), || {
            if self.child.try_wait().expect("our own child").is_some() {
                return Some(false);
            }
            let mut client = Client::open(self.address, Duration::from_secs(5)).ok()?;
            // NOAUTH is an answer too.
            client.call(&[b"PING"]).ok().map(|_| true)
        })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(address: SocketAddr, arguments: &[String]) -> std::io::Result<Child> {
    let port = address.port().to_string();
    let usual = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning"];
    let mut command = Command::new("redis-server");
    command.args(usual).args(arguments).current_dir(std::env::temp_dir());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}
