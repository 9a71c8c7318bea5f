//! `google.rpc.Status` and the details that OTLP uses, written out from their public definitions
//! (`google/rpc/status.proto`, `google/rpc/error_details.proto`).

use std::time::Duration;

use prost::Message as _;

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    /// A code of gRPC.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// What is wrong, for a developer.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Typed details.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Any {
    /// `type.googleapis.com/` and the name of the message.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message's bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RetryInfo {
    /// How long to wait at least.
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Delay {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// The rest in nanoseconds.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

impl Status {
    /// A status with or without a `RetryInfo`.
    pub fn new(code: i32, message: &str, retry: Option<Duration>) -> Self {
        let details = retry.map(|delay| Any {
            type_url: RETRY_INFO.to_owned(),
            value: RetryInfo {
                retry_delay: Some(Delay { seconds: delay.as_secs() as i64, nanos: delay.subsec_nanos() as i32 }),
            }
            .encode_to_vec(),
        });
        Self { code, message: message.to_owned(), details: details.into_iter().collect() }
    }

    /// The delay of the `RetryInfo` among the details.
    pub fn retry_delay(&self) -> Option<Duration> {
        let info = self.details.iter().find(|detail| detail.type_url == RETRY_INFO)?;
        let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay?;
        Some(Duration::new(delay.seconds as u64, delay.nanos as u32))
    }
}

/// The delay that a gRPC status asks for in its details.
pub fn retry_delay(status: &tonic::Status) -> Option<Duration> {
    Status::decode(status.details()).ok()?.retry_delay()
}
