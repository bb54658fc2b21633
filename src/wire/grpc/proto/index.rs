//! What lies where in `proto/descriptors.bin`. Made by `tests/proto.rs`; not to be edited.

use super::File;

pub(crate) static FILES: &[File] = &[
    File {
        name: "health.proto",
        at: 3,
        len: 742,
        needs: &[],
        services: &[
            "grpc.health.v1.Health",
        ],
        symbols: &[
            "grpc.health.v1.Health",
            "grpc.health.v1.Health.Check",
            "grpc.health.v1.Health.List",
            "grpc.health.v1.Health.Watch",
            "grpc.health.v1.HealthCheckRequest",
            "grpc.health.v1.HealthCheckResponse",
            "grpc.health.v1.HealthCheckResponse.NOT_SERVING",
            "grpc.health.v1.HealthCheckResponse.SERVICE_UNKNOWN",
            "grpc.health.v1.HealthCheckResponse.SERVING",
            "grpc.health.v1.HealthCheckResponse.ServingStatus",
            "grpc.health.v1.HealthCheckResponse.UNKNOWN",
            "grpc.health.v1.HealthListRequest",
            "grpc.health.v1.HealthListResponse",
            "grpc.health.v1.HealthListResponse.StatusesEntry",
        ],
    },
    File {
        name: "plasma.proto",
        at: 748,
        len: 336,
        needs: &[],
        services: &[
            "proto.StreamService",
        ],
        symbols: &[
            "proto.EventType",
            "proto.Payload",
            "proto.Request",
            "proto.StreamService",
            "proto.StreamService.Events",
        ],
    },
    File {
        name: "publish.proto",
        at: 1087,
        len: 367,
        needs: &[],
        services: &[
            "plasma.v1.PublishService",
        ],
        symbols: &[
            "plasma.v1.Event",
            "plasma.v1.PublishRequest",
            "plasma.v1.PublishResponse",
            "plasma.v1.PublishService",
            "plasma.v1.PublishService.Publish",
            "plasma.v1.PublishService.PublishStream",
        ],
    },
    File {
        name: "reflection.proto",
        at: 1457,
        len: 1621,
        needs: &[],
        services: &[
            "grpc.reflection.v1.ServerReflection",
        ],
        symbols: &[
            "grpc.reflection.v1.ErrorResponse",
            "grpc.reflection.v1.ExtensionNumberResponse",
            "grpc.reflection.v1.ExtensionRequest",
            "grpc.reflection.v1.FileDescriptorResponse",
            "grpc.reflection.v1.ListServiceResponse",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1.ServerReflection.ServerReflectionInfo",
            "grpc.reflection.v1.ServerReflectionRequest",
            "grpc.reflection.v1.ServerReflectionResponse",
            "grpc.reflection.v1.ServiceResponse",
        ],
    },
    File {
        name: "reflection_v1alpha.proto",
        at: 3081,
        len: 1679,
        needs: &[],
        services: &[
            "grpc.reflection.v1alpha.ServerReflection",
        ],
        symbols: &[
            "grpc.reflection.v1alpha.ErrorResponse",
            "grpc.reflection.v1alpha.ExtensionNumberResponse",
            "grpc.reflection.v1alpha.ExtensionRequest",
            "grpc.reflection.v1alpha.FileDescriptorResponse",
            "grpc.reflection.v1alpha.ListServiceResponse",
            "grpc.reflection.v1alpha.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection.ServerReflectionInfo",
            "grpc.reflection.v1alpha.ServerReflectionRequest",
            "grpc.reflection.v1alpha.ServerReflectionResponse",
            "grpc.reflection.v1alpha.ServiceResponse",
        ],
    },
];
