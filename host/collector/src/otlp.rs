//! What both ends of an OTLP connection share: the words of gRPC and of `google.rpc`, and the
//! compression of bodies. Pure: bytes in, bytes out.

pub mod compression;
pub mod grpc;
pub mod rpc;

/// The path of the trace service's only method.
pub const EXPORT_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Where OTLP/HTTP takes traces unless told otherwise.
pub const TRACES_PATH: &str = "/v1/traces";
