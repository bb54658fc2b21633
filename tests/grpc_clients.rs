//! Clients as people use them, with their default settings, against the built binary: grpcio of Python, grpc-js of
//! Node.js, tonic, h2load and curl. `tests/run` installs what they need; what a machine does not have is skipped aloud.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use plasma::wire::grpc::proto::plasma::{Payload, Request};
use rustix::process::Signal;
use support::grpc::{EVENTS, Peer, data_of_all, framed, request, runtime, wait, within};
use support::lines::Lines;
use support::skip;
use support::sse::Frame;
use support::stage::{Stage, event};
use support::wait::Deadline;
use tokio::sync::mpsc::{Receiver, Sender};
use tonic::codegen::tokio_stream::Stream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

/// A whole flow of calls, on a machine with other things to do.
const FLOW: Duration = Duration::from_secs(90);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A server whose ports stay the same when it is started again.
struct Phoenix {
    stage: Stage,
    ports: [(&'static str, String); 2],
}

impl Phoenix {
    fn start() -> Self {
        let stage = Stage::memory_with(&[("PLASMA_DRAIN", "300ms")]);
        let ports = [
            ("PLASMA_PORT", stage.plasma.http_port().to_string()),
            ("PLASMA_GRPC_PORT", stage.plasma.grpc().port().to_string()),
        ];
        Self { stage, ports }
    }

    /// Drains the server and starts the next one.
    fn restart(&mut self) {
        self.stage.plasma.signal(Signal::TERM);
        assert_eq!(self.stage.plasma.wait_exit(Deadline::patient()), 0);
        let ports: Vec<_> = self.ports.iter().map(|(name, port)| (*name, port.as_str())).collect();
        self.stage = Stage::memory_with(&ports);
    }
}

/// Plays a script that says `restart` once, and then `ok`.
fn flows(mut command: Command) {
    let mut phoenix = Phoenix::start();
    command.env("PLASMA_GRPC", phoenix.stage.plasma.grpc().to_string());
    command.env("PLASMA_PROTO", Path::new(env!("CARGO_MANIFEST_DIR")).join("proto"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut script = Killed(command.spawn().expect("the script can be started"));
    let stdout = Lines::follow(script.0.stdout.take().expect("it is piped"));
    let stderr = Lines::follow(script.0.stderr.take().expect("it is piped"));
    let says = |what: &str| {
        let said = stdout.try_wait_for_nth(1, Deadline::after(FLOW), |line| line == what);
        let errors = || stderr.wait_end(Deadline::patient()).join("\n");
        assert!(said.is_some(), "it did not say {what:?}:\n{}", errors());
    };
    says("restart");
    phoenix.restart();
    script.0.stdin.take().expect("it is piped").write_all(b"go on\n").expect("it reads");
    says("ok");
}

/// A process that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn grpcio_of_python() {
    let python = folder().join(".venv/bin/python");
    if !python.exists() {
        return skip("tests/clients/.venv has not been made");
    }
    let mut command = Command::new(python);
    command.arg("-B").arg(folder().join("flow.py"));
    flows(command);
}

#[test]
fn grpc_js_of_node() {
    if Command::new("node").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip("node is not installed");
    }
    if !folder().join("node_modules/@grpc/grpc-js").exists() {
        return skip("`npm ci` has not been run in tests/clients");
    }
    let mut command = Command::new("node");
    command.arg(folder().join("flow.mjs"));
    flows(command);
}

/// What a call of tonic's sends: whatever comes through a channel.
struct Requests(Receiver<Request>);

impl Stream for Requests {
    type Item = Request;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Request>> {
        self.0.poll_recv(context)
    }
}

/// A call of tonic's.
struct Call {
    asking: Option<Sender<Request>>,
    came: Streaming<Payload>,
}

impl Call {
    async fn begin(channel: &Channel, fields: &[(&'static str, &str)]) -> Self {
        let (asking, asked) = tokio::sync::mpsc::channel(16);
        let mut request = tonic::Request::new(Requests(asked));
        for (name, value) in fields {
            request.metadata_mut().insert(*name, value.parse().expect("a value"));
        }
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.expect("the channel connects");
        let codec = tonic_prost::ProstCodec::default();
        let path = EVENTS.parse().expect("a path");
        let answer = client.streaming(request, path, codec).await.expect("the call begins");
        Self { asking: Some(asking), came: answer.into_inner() }
    }

    async fn send(&self, message: Request) {
        self.asking.as_ref().expect("it is open").send(message).await.expect("it is open");
    }

    async fn next(&mut self) -> Result<Payload, Status> {
        let next = self.came.message().await?;
        next.ok_or_else(|| Status::ok("the end"))
    }

    async fn data(&mut self) -> String {
        self.next().await.expect("an event").data
    }

    async fn end(&mut self) -> Status {
        self.next().await.expect_err("the end")
    }
}

fn endpoint(stage: &Stage) -> Endpoint {
    Endpoint::from_shared(format!("http://{}", stage.plasma.grpc())).expect("an address")
}

#[test]
fn tonic() {
    let mut phoenix = Phoenix::start();
    let channel = runtime().block_on(endpoint(&phoenix.stage).connect()).expect("a connection");
    // The server's own log says when it knows a subscription.
    let logged = |phoenix: &Phoenix, nth: usize| phoenix.stage.plasma.wait_for_access("gRPC", nth);
    let stage = &phoenix.stage;
    let mut call = wait("a call", Call::begin(&channel, &[]));
    wait("room", call.send(request(&["a"])));
    logged(&phoenix, 1);
    stage.say("a", "{\"x\": \"<b>\"}");
    assert_eq!(wait("an event", call.data()), "{\"x\": \"<b>\"}");
    wait("room", call.send(request(&["b", "c:d"])));
    logged(&phoenix, 2);
    stage.say("a", "1");
    stage.say("c:d:e", "2");
    assert_eq!(wait("an event", call.data()), "2");
    wait("room", call.send(request(&[])));
    logged(&phoenix, 3);
    stage.say("b", "3");
    wait("room", call.send(request(&["z"])));
    logged(&phoenix, 4);
    stage.say("z", "4");
    assert_eq!(wait("an event", call.data()), "4", "nothing came while nothing was subscribed");
    let mut last = request(&["a"]);
    last.force_close = true;
    wait("room", call.send(last));
    assert_eq!(wait("the end", call.end()).code(), Code::Ok);

    let mut call = wait("a call", Call::begin(&channel, &[]));
    call.asking = None;
    assert_eq!(wait("the end", call.end()).code(), Code::Ok, "a half-close");

    let call = wait("a call", Call::begin(&channel, &[]));
    wait("room", call.send(request(&["a"])));
    logged(&phoenix, 5);
    drop(call);
    phoenix.stage.plasma.wait_for_access("grpc", 3);

    let mut call = wait("a call", Call::begin(&channel, &[("plasma-ids", "1")]));
    wait("room", call.send(request(&["a"])));
    logged(&phoenix, 6);
    let id = stage.post_for_ids(event("a", "5"))[0].to_string();
    assert_eq!(wait("an event", call.next()).expect("an event").id, id);
    phoenix.restart();
    assert_eq!(wait("the end", call.end()).code(), Code::Unavailable);

    let mut call = wait("a call", Call::begin(&channel, &[("plasma-ids", "1"), ("last-event-id", &id)]));
    wait("room", call.send(request(&["a"])));
    let gap = wait("a notice", call.next()).expect("a notice").event_type.expect("a type");
    assert_eq!(gap.r#type, "plasma.gap");
    phoenix.stage.say("a", "6");
    assert_eq!(wait("an event", call.data()), "6");
}

/// So many small events to ten streams each, ten times as many messages.
const BURST: usize = 5_000;

fn burst() -> Vec<String> {
    (0..BURST).map(|number| event("a", &number.to_string())).collect()
}

#[test]
fn fifty_thousand_small_messages_do_not_cut_off_tonic() {
    let stage = Stage::memory();
    let channel = wait("a connection", endpoint(&stage).connect()).expect("a connection");
    let mut calls: Vec<_> = (0..10).map(|_| wait("a call", Call::begin(&channel, &[]))).collect();
    calls.iter().for_each(|call| wait("room", call.send(request(&["a"]))));
    stage.plasma.wait_for_access("gRPC", 10);
    stage.publish_all(&burst());
    // Published and not read yet, they wait in the client and in the server.
    for call in &mut calls {
        wait("a burst", async {
            for number in 0..BURST {
                assert_eq!(call.data().await, number.to_string());
            }
        });
    }
}

#[test]
fn fifty_thousand_small_messages_do_not_cut_off_h2() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let calls: Vec<_> = (0..10).map(|_| stage.events(&peer, &["a"], &[])).collect();
    stage.publish_all(&burst());
    for data in data_of_all(calls, BURST) {
        assert!(data.iter().enumerate().all(|(number, data)| *data == number.to_string()));
    }
}

#[test]
fn small_events_one_by_one_do_not_cut_off_h2() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let mut calls: Vec<_> = (0..10).map(|_| stage.events(&peer, &["a"], &[])).collect();
    for number in 0..500 {
        stage.say("a", &number.to_string());
        for call in &mut calls {
            assert_eq!(call.event().1, number.to_string());
        }
    }
}

#[test]
fn ten_thousand_streams_over_a_hundred_connections() {
    const CONNECTIONS: usize = 100;
    const STREAMS: usize = 100;
    let stage = Stage::memory();
    let address = stage.plasma.grpc();
    let subscribe = async {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let peer = Peer::connect(address, &h2::client::Builder::new()).await;
            let mut calls = Vec::new();
            for _ in 0..STREAMS {
                let fields = [("content-type", "application/grpc"), ("te", "trailers")];
                let mut call = peer.try_request("POST", EVENTS, &fields, false).await.expect("a stream");
                call.ask(&["a"]);
                calls.push(call);
            }
            connections.push((peer, calls));
        }
        connections
    };
    let mut connections = within(FLOW, subscribe).expect("ten thousand streams in time");
    // Whatever follows on a connection comes after what was sent before.
    for (peer, _) in &connections {
        let mut call = peer.call("/grpc.health.v1.Health/Check", &[]);
        call.send_bytes(framed(&request(&[]))).half_close();
        assert_eq!(call.rest().1.code, Code::Ok);
    }
    for round in 0..3 {
        stage.say("a", &format!("\"round {round}\""));
        let received = async {
            for (_, calls) in &mut connections {
                for call in calls {
                    let raw = call.next_raw().await.expect("an open stream").expect("an event");
                    assert!(String::from_utf8_lossy(&raw).contains(&format!("round {round}")));
                }
            }
        };
        within(FLOW, received).expect("every stream gets the event in time");
    }
}

#[test]
fn h2load() {
    if Command::new("h2load").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip("h2load is not installed");
    }
    let stage = Stage::memory();
    let body = std::env::temp_dir().join(format!("plasma-h2load-{}", std::process::id()));
    std::fs::write(&body, framed(&request(&["a"]))).expect("a file for the request");
    for (paths, count) in [(vec![EVENTS], 2_000), (vec!["/hc"], 2_000)] {
        let mut command = Command::new("h2load");
        command.args(["-n", &count.to_string(), "-c", "4", "-m", "10", "-t", "1"]);
        if paths == [EVENTS] {
            command.arg("-d").arg(&body);
            command.args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
        }
        command.args(paths.iter().map(|path| format!("http://{}{path}", stage.plasma.grpc())));
        let output = command.output().expect("it can be started");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let wanted = format!("{count} total, {count} started, {count} done, {count} succeeded, 0 failed, 0 errored");
        assert!(printed.contains(&wanted), "{printed}");
    }
    std::fs::remove_file(&body).expect("it was written");
}

/// An event stream read by curl.
struct Curl {
    process: Killed,
    lines: BufReader<std::process::ChildStdout>,
}

impl Curl {
    fn start(stage: &Stage, query: &str, fields: &[&str]) -> Option<Self> {
        let mut command = Command::new("curl");
        command.args(["-sN", "--http2-prior-knowledge", "--max-time", "60", "-H", "Accept: text/event-stream"]);
        fields.iter().for_each(|field| {
            command.args(["-H", *field]);
        });
        command.arg(format!("http://{}/?{query}", stage.plasma.http()));
        let mut process = Killed(command.stdout(Stdio::piped()).spawn().ok()?);
        let lines = BufReader::new(process.0.stdout.take().expect("it is piped"));
        Some(Self { process, lines })
    }

    fn frame(&mut self) -> Frame {
        let mut raw = String::new();
        while !raw.ends_with("\n\n") {
            assert!(self.lines.read_line(&mut raw).expect("curl prints text") > 0, "curl ended after {raw:?}");
        }
        Frame::parse(&raw)
    }
}

#[test]
fn curl_reads_event_streams_and_comes_back() {
    let mut phoenix = Phoenix::start();
    let Some(mut curl) = Curl::start(&phoenix.stage, "eventType=a", &[]) else { return skip("curl is not installed") };
    assert_eq!(curl.frame().raw, "retry: 2000\n:ok\n\n");
    phoenix.stage.say("a", "1");
    let id = curl.frame().id.expect("an id");
    drop(curl);
    phoenix.stage.say("a", "2");
    let field = format!("Last-Event-ID: {id}");
    let mut curl = Curl::start(&phoenix.stage, "eventType=a", &[&field]).expect("it was there before");
    assert_eq!(curl.frame().retry, Some(2_000));
    assert_eq!(curl.frame().payload(), 2);
    phoenix.stage.say("a", "3");
    assert_eq!(curl.frame().payload(), 3);
    phoenix.restart();
    assert!(curl.frame().retry.is_some(), "a farewell");
    let ended = curl.process.0.wait().expect("our own child");
    assert!(ended.success(), "curl saw a clean end: {ended}");
    let mut curl = Curl::start(&phoenix.stage, "eventType=a", &[&field]).expect("it was there before");
    assert_eq!(curl.frame().retry, Some(2_000));
    assert!(curl.frame().is_gap());
}
