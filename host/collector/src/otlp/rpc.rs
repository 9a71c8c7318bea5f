//! The few protobuf messages that answers are made of: `google.rpc.Status` with its details, and
//! `ExportTraceServiceResponse`.

use std::time::Duration;

use prost::Message;

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// A gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// For programs.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    /// What `value` is.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// A message of that type.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub struct RetryInfo {
    /// How long to wait before trying again.
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ProtoDuration {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// The rest.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// `google.rpc.BadRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct BadRequest {
    /// What is wrong where.
    #[prost(message, repeated, tag = "1")]
    pub field_violations: Vec<FieldViolation>,
}

/// `google.rpc.BadRequest.FieldViolation`.
#[derive(Clone, PartialEq, Message)]
pub struct FieldViolation {
    /// A path in the request.
    #[prost(string, tag = "1")]
    pub field: String,
    /// What is wrong with it.
    #[prost(string, tag = "2")]
    pub description: String,
}

/// `ExportTraceServiceResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct ExportResponse {
    /// Set only when something was rejected or there is a warning.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// `ExportTracePartialSuccess`.
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    /// Spans that the server will never take.
    #[prost(int64, tag = "1")]
    pub rejected_spans: i64,
    /// Why, or a warning.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

impl Any {
    /// A `RetryInfo` with this delay.
    pub fn retry_info(delay: Duration) -> Self {
        let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
        let retry_delay = Some(ProtoDuration { seconds, nanos: delay.subsec_nanos().cast_signed() });
        Self { type_url: RETRY_INFO.to_owned(), value: RetryInfo { retry_delay }.encode_to_vec() }
    }

    /// A `BadRequest` with one violation.
    pub fn bad_request(field: &str, description: &str) -> Self {
        let violation = FieldViolation { field: field.to_owned(), description: description.to_owned() };
        Self {
            type_url: BAD_REQUEST.to_owned(),
            value: BadRequest { field_violations: vec![violation] }.encode_to_vec(),
        }
    }
}

impl Status {
    /// The delay of the first `RetryInfo` among the details; a negative one is none.
    pub fn retry_delay(&self) -> Option<Duration> {
        // Only what follows the last slash names the type.
        let info = self.details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
        let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
        let seconds = u64::try_from(delay.seconds).ok()?;
        Some(Duration::new(seconds, u32::try_from(delay.nanos).unwrap_or(0).min(999_999_999)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_retry_info_has_the_bytes_that_the_protobuf_encoding_prescribes() {
        // RetryInfo { retry_delay(1): Duration { seconds(1): 1, nanos(2): 500_000_000 } }
        let any = Any::retry_info(Duration::from_millis(1500));
        assert_eq!(any.value, [0x0a, 0x08, 0x08, 0x01, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01]);
        assert_eq!(any.type_url, "type.googleapis.com/google.rpc.RetryInfo");
    }

    #[test]
    fn the_delay_is_found_among_other_details_and_a_negative_one_is_none() {
        let mut status = Status { code: 14, message: String::new(), details: vec![Any::bad_request("a", "b")] };
        assert_eq!(status.retry_delay(), None);
        status.details.push(Any::retry_info(Duration::from_secs(7)));
        assert_eq!(status.retry_delay(), Some(Duration::from_secs(7)));
        let past = RetryInfo { retry_delay: Some(ProtoDuration { seconds: -1, nanos: 0 }) };
        status.details = vec![Any { type_url: RETRY_INFO.to_owned(), value: past.encode_to_vec() }];
        assert_eq!(status.retry_delay(), None);
    }
}
