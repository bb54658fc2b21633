//! The calls beside the stream of events: health, reflection, publishing; and how connections are looked after: PINGs,
//! idle ends, old age.

mod support;

use std::time::Duration;

use plasma::wire::grpc::proto::health::health_check_response::ServingStatus;
use plasma::wire::grpc::proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use plasma::wire::grpc::proto::publish::{Event, PublishRequest, PublishResponse};
use plasma::wire::grpc::proto::reflection::server_reflection_request::MessageRequest;
use plasma::wire::grpc::proto::reflection::server_reflection_response::MessageResponse;
use plasma::wire::grpc::proto::reflection::{ServerReflectionRequest, ServerReflectionResponse};
use protox::prost_reflect::DescriptorPool;
use rustix::process::Signal;
use support::grpc::{Call, Peer, wait};
use support::stage::{Stage, event};
use support::wait::Deadline;
use tonic::Code;

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const LIST: &str = "/grpc.health.v1.Health/List";
const PUBLISH: &str = "/plasma.v1.PublishService/Publish";
const PUBLISH_STREAM: &str = "/plasma.v1.PublishService/PublishStream";
const REFLECTION: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// The one answer to a call of one message, or the status in its place.
fn ask<M: prost::Message + Default>(peer: &Peer, path: &str, message: &impl prost::Message) -> Result<M, Code> {
    let mut call = peer.call(path, &[]);
    call.send(message).half_close();
    let (messages, end) = call.rest();
    match (&*messages, end.code) {
        ([one], Code::Ok) => Ok(M::decode(&**one).expect("a message")),
        ([], code) => Err(code),
        (many, code) => panic!("{} messages, then {code}", many.len()),
    }
}

fn health(call: &mut Call) -> ServingStatus {
    call.next::<HealthCheckResponse>().status()
}

#[test]
fn health_is_told_by_service() {
    let stage = Stage::memory();
    let peer = stage.peer();
    for service in ["", "proto.StreamService", "plasma.v1.PublishService"] {
        let answer: HealthCheckResponse = ask(&peer, CHECK, &about(service)).expect("a known service");
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    assert_eq!(ask::<HealthCheckResponse>(&peer, CHECK, &about("nobody")), Err(Code::NotFound));
    let list: HealthListResponse = ask(&peer, LIST, &HealthListRequest {}).expect("a list");
    assert!(list.statuses.contains_key("") && list.statuses.contains_key("proto.StreamService"), "{list:?}");
    assert!(list.statuses.values().all(|status| status.status() == ServingStatus::Serving), "{list:?}");
}

#[test]
fn watching_nobody_waits() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let mut call = peer.call(WATCH, &[]);
    call.send(&about("nobody")).half_close();
    assert_eq!(health(&mut call), ServingStatus::ServiceUnknown);
    assert!(call.is_quiet_for(Duration::from_millis(100)), "the watch goes on");
}

#[test]
fn watchers_see_redis_go_and_come_back() {
    let Some(mut stage) = Stage::redis() else { return };
    let peer = stage.peer();
    let mut call = peer.call(WATCH, &[]);
    call.send(&about("")).half_close();
    assert_eq!(health(&mut call), ServingStatus::Serving);
    stage.broker().kill();
    assert_eq!(health(&mut call), ServingStatus::NotServing);
    let answer: HealthCheckResponse = ask(&peer, CHECK, &about("")).expect("an answer");
    assert_eq!(answer.status(), ServingStatus::NotServing);
    stage.broker().restart();
    assert_eq!(health(&mut call), ServingStatus::Serving);
}

#[test]
fn watchers_see_the_server_go() {
    let mut stage = Stage::memory();
    let peer = stage.peer();
    let mut call = peer.call(WATCH, &[]);
    call.send(&about("proto.StreamService"));
    assert_eq!(health(&mut call), ServingStatus::Serving);
    stage.plasma.signal(Signal::TERM);
    assert_eq!(health(&mut call), ServingStatus::NotServing);
    assert_eq!(call.end().code, Code::Unavailable);
    assert_eq!(stage.plasma.wait_exit(Deadline::patient()), 0);
}

fn reflect(call: &mut Call, request: MessageRequest) -> MessageResponse {
    call.send(&ServerReflectionRequest { host: String::new(), message_request: Some(request) });
    call.next::<ServerReflectionResponse>().message_response.expect("an answer")
}

#[test]
fn tools_learn_what_there_is() {
    let stage = Stage::memory();
    let peer = stage.peer();
    for path in REFLECTION {
        let mut call = peer.call(path, &[]);
        let MessageResponse::ListServicesResponse(list) =
            reflect(&mut call, MessageRequest::ListServices("*".to_owned()))
        else {
            panic!("no list");
        };
        let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
        for name in [
            "proto.StreamService",
            "plasma.v1.PublishService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
        ] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        let symbol = MessageRequest::FileContainingSymbol("proto.StreamService.Events".to_owned());
        let MessageResponse::FileDescriptorResponse(files) = reflect(&mut call, symbol) else { panic!("no file") };
        let pool = files.file_descriptor_proto.iter().fold(DescriptorPool::new(), |mut pool, file| {
            pool.decode_file_descriptor_proto(&**file).expect("a descriptor");
            pool
        });
        let service = pool.get_service_by_name("proto.StreamService").expect("it was asked for");
        let method = service.methods().next().expect("it has a method");
        assert!(method.is_client_streaming() && method.is_server_streaming() && method.name() == "Events");
        let MessageResponse::ErrorResponse(error) =
            reflect(&mut call, MessageRequest::FileByFilename("nope.proto".to_owned()))
        else {
            panic!("no error");
        };
        assert_eq!(error.error_code, Code::NotFound as i32);
        // Many at once are answered one by one.
        for _ in 0..50 {
            let request = MessageRequest::ListServices(String::new());
            call.send(&ServerReflectionRequest { host: String::new(), message_request: Some(request) });
        }
        call.half_close();
        let (answers, end) = call.rest();
        assert_eq!((answers.len(), end.code), (50, Code::Ok));
    }
}

#[test]
fn reflection_can_be_closed() {
    let stage = Stage::memory_with(&[("PLASMA_GRPC_REFLECTION", "false")]);
    let peer = stage.peer();
    for path in REFLECTION {
        let mut call = peer.call(path, &[]);
        assert_eq!(call.end().code, Code::Unimplemented, "{path}");
    }
}

fn publication(events: &[(&str, &str)]) -> PublishRequest {
    let event = |(kind, data): &(&str, &str)| Event { r#type: (*kind).to_owned(), data: (*data).to_owned() };
    PublishRequest { events: events.iter().map(event).collect() }
}

#[test]
fn publications_reach_both_transports_under_the_ids_answered() {
    Stage::each(|stage| {
        let peer = stage.peer();
        let mut call = stage.events(&peer, &["a"], &[("plasma-ids", "1")]);
        let mut stream = stage.subscribe("eventType=a");
        let request = publication(&[("a", r#"{"x": "<b>"}"#), ("b", "1"), ("a:c", "")]);
        let answer: PublishResponse = ask(&peer, PUBLISH, &request).expect("publishing is open");
        assert_eq!(answer.accepted, 3);
        let payloads = [call.payload(), call.payload()];
        let events = [stream.next_event(), stream.next_event()];
        assert_eq!(events[0].data(), r#"{"meta":{"type":"a"},"data":{"x":"\u003cb\u003e"}}"#);
        assert_eq!(events[1].data(), r#"{"meta":{"type":"a:c"},"data":null}"#);
        for (payload, event) in payloads.iter().zip(&events) {
            assert_eq!(Some(&payload.id), event.id.as_ref());
        }
        match &stage.redis {
            Some(_) => assert!(answer.ids.is_empty(), "Redis does not say which ids they get"),
            None => {
                assert_eq!(payloads[0].data, r#"{"x": "<b>"}"#);
                assert_eq!(answer.ids.len(), 3);
                assert_eq!([&answer.ids[0], &answer.ids[2]], [&payloads[0].id, &payloads[1].id]);
            }
        }
    });
}

#[test]
fn a_publisher_may_go_on_and_on() {
    Stage::each(|stage| {
        let peer = stage.peer();
        let mut events = stage.events(&peer, &["a"], &[]);
        let mut call = peer.call(PUBLISH_STREAM, &[]);
        // The client's library gives up a connection that brings hundreds of tiny frames while nobody reads them.
        for first in (0..500).step_by(50) {
            let numbers: Vec<String> = (first..first + 50).map(|number| number.to_string()).collect();
            for number in &numbers {
                call.send(&publication(&[("a", number), ("other", "1")]));
            }
            assert_eq!(events.data(50), numbers);
        }
        call.half_close();
        let answer: PublishResponse = call.next();
        assert_eq!(answer.accepted, 1_000);
        assert_eq!(call.end().code, Code::Ok);
        let mut nothing = peer.call(PUBLISH_STREAM, &[]);
        nothing.half_close();
        assert_eq!(nothing.next::<PublishResponse>().accepted, 0);
        assert_eq!(nothing.end().code, Code::Ok);
    });
}

#[test]
fn what_was_published_before_an_error_stays() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let mut events = stage.events(&peer, &["a"], &[]);
    let mut call = peer.call(PUBLISH_STREAM, &[]);
    call.send(&publication(&[("a", "1")]));
    assert_eq!(events.event().1, "1");
    call.send(&publication(&[("a", "2"), ("a", "{")]));
    let end = call.end();
    assert!(end.code == Code::InvalidArgument && end.message.contains("event 1"), "{end:?}");
    stage.say("a", "3");
    assert_eq!(events.event().1, "3", "none of a request that fails is taken");
}

#[test]
fn bad_publications_are_refused_whole() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let mut events = stage.events(&peer, &["a"], &[]);
    let long = "t".repeat(513);
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    for (kind, data, code) in [
        ("a", "not json", Code::InvalidArgument),
        ("a", "1 2", Code::InvalidArgument),
        ("a", " ", Code::InvalidArgument),
        (long.as_str(), "1", Code::InvalidArgument),
        ("a", large.as_str(), Code::ResourceExhausted),
    ] {
        let mut call = peer.call(PUBLISH, &[]);
        call.send(&publication(&[("a", "1"), ("a", "2"), (kind, data)])).half_close();
        let end = call.end();
        assert!(end.code == code && end.message.contains("event 2"), "{end:?}");
    }
    let nothing: PublishResponse = ask(&peer, PUBLISH, &publication(&[])).expect("nothing is no mistake");
    assert_eq!((nothing.accepted, nothing.ids.len()), (0, 0));
    let mut none = peer.call(PUBLISH, &[]);
    none.half_close();
    assert_eq!(none.end().code, Code::Internal, "a unary call has one message");
    stage.say("a", "\"end\"");
    assert_eq!(events.event().1, "\"end\"");
}

#[test]
fn publishing_has_its_rules() {
    let closed = Stage::memory_with(&[("PLASMA_PUBLISH_OPEN", "false")]);
    let guarded = Stage::memory_with(&[("PLASMA_PUBLISH_OPEN", "false"), ("PLASMA_PUBLISH_TOKEN", "secret-token")]);
    for path in [PUBLISH, PUBLISH_STREAM] {
        let status = |stage: &Stage, fields: &[(&str, &str)]| {
            let peer = stage.peer();
            let mut call = peer.call(path, fields);
            call.send(&publication(&[("a", "1")])).half_close();
            call.rest().1.code
        };
        assert_eq!(status(&closed, &[]), Code::PermissionDenied);
        assert_eq!(status(&closed, &[("authorization", "Bearer secret-token")]), Code::PermissionDenied);
        assert_eq!(status(&guarded, &[]), Code::Unauthenticated);
        assert_eq!(status(&guarded, &[("authorization", "Bearer wrong")]), Code::Unauthenticated);
        assert_eq!(status(&guarded, &[("authorization", "Bearer secret-token")]), Code::Ok);
    }
}

#[test]
fn publishing_without_redis_is_unavailable() {
    let Some(mut stage) = Stage::redis() else { return };
    stage.broker().kill();
    let peer = stage.peer();
    assert_eq!(ask::<PublishResponse>(&peer, PUBLISH, &publication(&[("a", "1")])), Err(Code::Unavailable));
}

#[test]
fn an_idle_connection_is_ended() {
    let stage = Stage::memory_with(&[("PLASMA_GRPC_MAX_IDLE", "1s")]);
    let mut busy = stage.peer();
    let mut call = stage.events(&busy, &["a"], &[]);
    stage.peer().wait_closed().expect("a GOAWAY without an error");
    stage.say("a", "1");
    assert_eq!(call.event().1, "1", "a connection with a stream is not idle");
    call.half_close();
    assert_eq!(call.end().code, Code::Ok);
    busy.wait_closed().expect("a GOAWAY without an error");
}

#[test]
fn an_old_connection_is_told_to_leave() {
    let stage = Stage::memory_with(&[("PLASMA_GRPC_MAX_AGE", "1s")]);
    let mut peer = stage.peer();
    let mut call = stage.events(&peer, &["a"], &[]);
    let end = call.end();
    assert_eq!(end.code, Code::Unavailable, "{end:?}");
    peer.wait_closed().expect("a GOAWAY without an error");
    let again = stage.peer();
    let mut call = stage.events(&again, &["a"], &[]);
    stage.say("a", "1");
    assert_eq!(call.event().1, "1");
}

#[test]
fn a_quiet_peer_is_asked_and_a_dead_one_dropped() {
    let keepalive = [("PLASMA_GRPC_KEEPALIVE", "1s"), ("PLASMA_GRPC_KEEPALIVE_TIMEOUT", "1s")];
    let stage = Stage::memory_with(&keepalive);
    let peer = stage.peer();
    let mut alive = stage.events(&peer, &["a"], &[]);
    // This one says its preface and its settings, and nothing ever again.
    let mut dead = support::http::Connection::open(stage.plasma.grpc());
    dead.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let said = dead.read_to_end();
    assert!(said.windows(9).any(|frame| frame == b"\0\0\x08\x06\0\0\0\0\0"), "it was asked: {said:?}");
    stage.say("a", "1");
    assert_eq!(alive.event().1, "1", "h2 answers for the other");
}

#[test]
fn pings_are_answered() {
    let stage = Stage::memory();
    let mut peer = stage.peer();
    let mut pings = peer.ping_pong();
    for _ in 0..3 {
        wait("a PONG", pings.ping(h2::Ping::opaque())).expect("an open connection");
    }
}

#[test]
fn too_many_pings_are_too_many() {
    let stage = Stage::memory_with(&[("PLASMA_GRPC_KEEPALIVE_MIN", "1m")]);
    let mut peer = stage.peer();
    let mut pings = peer.ping_pong();
    let failed = (0..200).find_map(|_| wait("a PONG", pings.ping(h2::Ping::opaque())).err());
    let reason = failed.expect("two hundred without anything else are too many").reason();
    assert!(reason.is_none_or(|reason| reason == h2::Reason::ENHANCE_YOUR_CALM), "{reason:?}");
    assert_eq!(peer.wait_closed().expect_err("an error").reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
}

#[test]
fn a_publication_of_many_events_takes_one_call() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let mut events = stage.events(&peer, &["a"], &[]);
    let many: Vec<_> = (0..20_000).map(|number| number.to_string()).collect();
    let many: Vec<_> = many.iter().map(|number| ("a", number.as_str())).collect();
    let answer: PublishResponse = ask(&peer, PUBLISH, &publication(&many)).expect("it is within the limits");
    assert_eq!((answer.accepted, answer.ids.len()), (20_000, 20_000));
    let data = events.data(20_000);
    assert!(data.iter().enumerate().all(|(number, data)| *data == number.to_string()));
    stage.post(event("a", "\"http\""));
    assert_eq!(events.event().1, "\"http\"");
}
