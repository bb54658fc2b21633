//! gRPC: which call means what, and who may make it.

use super::plasma::{Resume, resume_of};
use super::{Policy, Publish, bearer, is_secret};
use crate::base::limits::{TOPIC_LEN_MAX, TOPICS_MAX};
use crate::wire::grpc::proto::plasma::Request;
use crate::wire::grpc::{Code, Status, is_grpc};
use crate::wire::http1::{Answer, Head, Method};

/// Longest message that only asks for something by its name, in bytes: far more than any name of ours.
const QUESTION_LEN_MAX: usize = 64 * 1024;

/// Longest message on a stream that only names topics: the most topics of the longest names, and some.
pub const REQUEST_LEN_MAX: usize = TOPICS_MAX * (TOPIC_LEN_MAX + 16);

/// A call that is no subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `plasma.v1.PublishService/Publish`.
    Publish,
    /// `plasma.v1.PublishService/PublishStream`.
    PublishStream,
    /// `grpc.health.v1.Health/Check`.
    HealthCheck,
    /// `grpc.health.v1.Health/Watch`.
    HealthWatch,
    /// `grpc.health.v1.Health/List`.
    HealthList,
    /// `ServerReflectionInfo` of either version.
    Reflection,
}

impl Call {
    /// Whether it takes one message and no more.
    pub fn is_unary(self) -> bool {
        matches!(self, Self::Publish | Self::HealthCheck | Self::HealthWatch | Self::HealthList)
    }

    /// Longest message that it takes in bytes.
    pub fn message_len_max(self, policy: &Policy) -> usize {
        match self {
            Self::Publish | Self::PublishStream => policy.publish_max,
            Self::HealthCheck | Self::HealthWatch | Self::HealthList | Self::Reflection => QUESTION_LEN_MAX,
        }
    }
}

/// What a call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallRoute {
    /// `proto.StreamService/Events`.
    Events {
        /// Whether messages carry ids and losses are told as messages.
        ids: bool,
        /// Where to begin.
        resume: Resume,
    },
    /// Another call.
    Call(Call),
    /// None that is allowed here: the status that ends it.
    Refused(Status),
    /// No gRPC at all.
    Answer(Answer),
}

/// The services that are always there, as health knows them.
pub const SERVICES: [&str; 3] = ["", "proto.StreamService", "plasma.v1.PublishService"];

/// Sorts a request whose content type says gRPC; `None` for any other.
pub fn route_call(head: &Head<'_>, policy: &Policy) -> Option<CallRoute> {
    let content_type = head.field("content-type")?;
    if !content_type.get(..16).is_some_and(|begin| begin.eq_ignore_ascii_case(b"application/grpc")) {
        return None;
    }
    if head.method() != Method::Post {
        return Some(CallRoute::Answer(Answer::text(405, "gRPC calls are made with POST\n").with("Allow", "POST")));
    }
    if !is_grpc(content_type) {
        return Some(CallRoute::Answer(Answer::text(415, "only application/grpc and application/grpc+proto\n")));
    }
    Some(sort(head, policy))
}

fn sort(head: &Head<'_>, policy: &Policy) -> CallRoute {
    let path = head.path().strip_prefix('/').unwrap_or_default();
    let Some((service, method)) = path.rsplit_once('/') else {
        return unimplemented(format!("malformed method name: \"{}\"", head.path()));
    };
    match (service, method) {
        ("proto.StreamService", "Events") => {
            CallRoute::Events { ids: head.field("plasma-ids") == Some(b"1"), resume: resume_of(head) }
        }
        ("plasma.v1.PublishService", "Publish") => publish(head, policy, Call::Publish),
        ("plasma.v1.PublishService", "PublishStream") => publish(head, policy, Call::PublishStream),
        ("grpc.health.v1.Health", "Check") => CallRoute::Call(Call::HealthCheck),
        ("grpc.health.v1.Health", "Watch") => CallRoute::Call(Call::HealthWatch),
        ("grpc.health.v1.Health", "List") => CallRoute::Call(Call::HealthList),
        (
            "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection",
            "ServerReflectionInfo",
        ) if policy.reflection => CallRoute::Call(Call::Reflection),
        ("proto.StreamService" | "plasma.v1.PublishService" | "grpc.health.v1.Health", method) => {
            unimplemented(format!("unknown method {method}"))
        }
        (service, _) => unimplemented(format!("unknown service {service}")),
    }
}

fn unimplemented(message: String) -> CallRoute {
    CallRoute::Refused(Status::new(Code::Unimplemented, message))
}

/// Publishing has the rules of `POST /events`.
fn publish(head: &Head<'_>, policy: &Policy, call: Call) -> CallRoute {
    let refused = |code, words: &'static str| CallRoute::Refused(Status::new(code, words));
    match &policy.publish {
        Publish::Open => CallRoute::Call(call),
        Publish::Closed => refused(
            Code::PermissionDenied,
            "publishing is closed: set PLASMA_PUBLISH_TOKEN, or PLASMA_PUBLISH_OPEN=true",
        ),
        Publish::Token(token) if bearer(head).is_some_and(|given| is_secret(given, token.as_bytes())) => {
            CallRoute::Call(call)
        }
        Publish::Token(_) => refused(Code::Unauthenticated, "publishing needs the bearer token"),
    }
}

/// The topics of a request, without duplicates, or why it cannot be.
pub fn topics(request: Request) -> Result<Vec<Vec<u8>>, Status> {
    let refused = |message: String| Err(Status::new(Code::InvalidArgument, message));
    let (mut topics, mut seen) = (Vec::new(), std::collections::HashSet::new());
    for event in request.events {
        if event.r#type.len() > TOPIC_LEN_MAX {
            return refused(format!("a topic is longer than {TOPIC_LEN_MAX} bytes"));
        }
        if !seen.insert(event.r#type.clone()) {
            continue;
        }
        if topics.len() == TOPICS_MAX {
            return refused(format!("more than {TOPICS_MAX} topics in one subscription"));
        }
        topics.push(event.r#type.into_bytes());
    }
    Ok(topics)
}
