//! What tools learn the services and messages of this server from: the answer to each request of the reflection
//! service, in both of its versions, whose messages are the same.
//!
//! Nothing is parsed: descriptors lie ready in `proto/descriptors.bin`, and an index says what is where. No file here
//! declares an extension, so every question for one is answered with NOT_FOUND.

use super::Code;
use super::proto::index::FILES;
use super::proto::reflection::server_reflection_request::MessageRequest;
use super::proto::reflection::server_reflection_response::MessageResponse;
use super::proto::reflection::{
    ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest, ServerReflectionResponse,
    ServiceResponse,
};
use super::proto::{DESCRIPTORS, File};
use crate::base::limits::REFLECTION_NAME_LEN_MAX;

/// The answer to one request of a reflection stream. Every request has one; errors are answers too and the stream goes
/// on.
pub fn answer(request: ServerReflectionRequest) -> ServerReflectionResponse {
    if request.host.len().max(asked_len(&request)) > REFLECTION_NAME_LEN_MAX {
        // Not sent back: it would only be as long again.
        let message = error(Code::InvalidArgument, "a name is too long");
        return ServerReflectionResponse { message_response: Some(message), ..Default::default() };
    }
    let response = match &request.message_request {
        Some(MessageRequest::FileByFilename(name)) => files(FILES.iter().find(|file| file.name == name)),
        Some(MessageRequest::FileContainingSymbol(symbol)) => files(declaring(symbol)),
        Some(MessageRequest::FileContainingExtension(_) | MessageRequest::AllExtensionNumbersOfType(_)) => {
            error(Code::NotFound, "there are no extensions")
        }
        Some(MessageRequest::ListServices(_)) => {
            let service = services().map(|name| ServiceResponse { name: name.to_owned() }).collect();
            MessageResponse::ListServicesResponse(ListServiceResponse { service })
        }
        None => error(Code::InvalidArgument, "the request asks for nothing"),
    };
    ServerReflectionResponse {
        valid_host: request.host.clone(),
        original_request: Some(request),
        message_response: Some(response),
    }
}

/// The full names of all services that the files declare.
pub fn services() -> impl Iterator<Item = &'static str> {
    FILES.iter().flat_map(|file| file.services).copied()
}

/// Length of the name that is asked for.
fn asked_len(request: &ServerReflectionRequest) -> usize {
    match &request.message_request {
        Some(MessageRequest::FileContainingExtension(extension)) => extension.containing_type.len(),
        Some(
            MessageRequest::FileByFilename(name)
            | MessageRequest::FileContainingSymbol(name)
            | MessageRequest::AllExtensionNumbersOfType(name)
            | MessageRequest::ListServices(name),
        ) => name.len(),
        None => 0,
    }
}

fn declaring(symbol: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.symbols.binary_search(&symbol).is_ok())
}

/// A file and all that it needs, and those need.
fn files(file: Option<&'static File>) -> MessageResponse {
    let Some(file) = file else { return error(Code::NotFound, "not found") };
    let mut found = vec![file];
    let mut at = 0;
    while let Some(file) = found.get(at) {
        for needed in file.needs {
            let known = found.iter().any(|file| file.name == *needed);
            found.extend(FILES.iter().filter(|file| !known && file.name == *needed));
        }
        at += 1;
    }
    let descriptors = found.iter().map(|file| DESCRIPTORS[file.at..file.at + file.len].to_vec()).collect();
    MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto: descriptors })
}

fn error(code: Code, message: &str) -> MessageResponse {
    let error_message = message.to_owned();
    MessageResponse::ErrorResponse(ErrorResponse { error_code: i32::from(code.number()), error_message })
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use protox::prost_reflect::DescriptorPool;

    use super::super::proto::reflection::ExtensionRequest;
    use super::*;

    fn ask(request: MessageRequest) -> MessageResponse {
        let request = ServerReflectionRequest { host: "here".to_owned(), message_request: Some(request) };
        let response = answer(request.clone());
        assert_eq!((response.valid_host.as_str(), response.original_request), ("here", Some(request)));
        response.message_response.unwrap()
    }

    /// The files of an answer, resolved with nothing else at hand.
    fn pool(response: MessageResponse) -> DescriptorPool {
        let MessageResponse::FileDescriptorResponse(files) = response else { panic!("no files: {response:?}") };
        let mut pool = DescriptorPool::new();
        for file in files.file_descriptor_proto.iter().rev() {
            pool.decode_file_descriptor_proto(&**file).expect("a valid descriptor with all it needs");
        }
        pool
    }

    fn code(response: MessageResponse) -> i32 {
        let MessageResponse::ErrorResponse(error) = response else { panic!("no error: {response:?}") };
        error.error_code
    }

    #[test]
    fn every_service_is_listed_and_can_be_looked_up() {
        let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())) else {
            panic!("no list");
        };
        let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection",
                "plasma.v1.PublishService",
                "proto.StreamService",
            ]
        );
        for name in names {
            let pool = pool(ask(MessageRequest::FileContainingSymbol(name.clone())));
            let service = pool.get_service_by_name(&name).expect("the file has the service");
            for method in service.methods() {
                let full_name = method.full_name().to_owned();
                self::pool(ask(MessageRequest::FileContainingSymbol(full_name)));
            }
        }
    }

    #[test]
    fn messages_and_what_is_nested_in_them_are_found() {
        for symbol in [
            "proto.Payload",
            "grpc.health.v1.HealthCheckResponse.ServingStatus",
            "grpc.health.v1.HealthCheckResponse.NOT_SERVING",
        ] {
            pool(ask(MessageRequest::FileContainingSymbol(symbol.to_owned())));
        }
        let pool = pool(ask(MessageRequest::FileByFilename("plasma.proto".to_owned())));
        let payload = pool.get_message_by_name("proto.Payload").unwrap();
        assert_eq!(payload.get_field_by_name("id").unwrap().number(), 3);
    }

    #[test]
    fn what_is_not_there_is_an_error_and_no_more() {
        for request in [
            MessageRequest::FileByFilename("other.proto".to_owned()),
            MessageRequest::FileContainingSymbol("proto".to_owned()),
            MessageRequest::FileContainingSymbol("proto.Payload.nothing".to_owned()),
            MessageRequest::FileContainingSymbol(String::new()),
            MessageRequest::AllExtensionNumbersOfType("proto.Payload".to_owned()),
            MessageRequest::FileContainingExtension(ExtensionRequest {
                containing_type: "proto.Payload".to_owned(),
                extension_number: 7,
            }),
        ] {
            assert_eq!(code(ask(request)), 5);
        }
        let nothing = answer(ServerReflectionRequest::default());
        assert_eq!(code(nothing.message_response.unwrap()), 3);
    }

    #[test]
    fn a_long_question_is_not_sent_back() {
        let ask = |len| {
            let name = MessageRequest::FileContainingSymbol("x".repeat(len));
            answer(ServerReflectionRequest { host: String::new(), message_request: Some(name) })
        };
        assert_eq!(code(ask(REFLECTION_NAME_LEN_MAX).message_response.unwrap()), 5);
        let response = ask(REFLECTION_NAME_LEN_MAX + 1);
        assert!(response.encoded_len() < 64);
        assert_eq!(code(response.message_response.unwrap()), 3);
    }

    #[test]
    fn the_index_is_sorted() {
        for file in FILES {
            assert!(file.symbols.is_sorted() && file.services.iter().all(|name| file.symbols.contains(name)));
        }
    }
}
