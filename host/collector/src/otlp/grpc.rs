//! gRPC's own words: codes, the five bytes in front of a message, percent-encoded messages.

use std::fmt::Write as _;

/// Bytes in front of every message: one flag (1 is compressed) and the length, big-endian.
pub const PREFIX_BYTES: usize = 5;

/// A gRPC status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are gRPC's")]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The code of a `grpc-status` header; what gRPC does not know is `Unknown`.
    pub fn parse(header: &[u8]) -> Self {
        let number = std::str::from_utf8(header).ok().and_then(|text| text.parse::<usize>().ok());
        number.and_then(|number| Self::ALL.get(number).copied()).unwrap_or(Self::Unknown)
    }

    /// The code that an answer without gRPC status stands for, by its HTTP status
    /// (gRPC's "HTTP to gRPC Status Code Mapping").
    pub fn of_http(status: http::StatusCode) -> Self {
        match status.as_u16() {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    /// Whether a client may try again, by OTLP. `ResourceExhausted` may be retried only with a
    /// `RetryInfo`, which the caller has to look for.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Cancelled
                | Self::DeadlineExceeded
                | Self::Aborted
                | Self::OutOfRange
                | Self::Unavailable
                | Self::DataLoss
        )
    }

    /// The name in the account and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::InvalidArgument => "invalid_argument",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::PermissionDenied => "permission_denied",
            Self::ResourceExhausted => "resource_exhausted",
            Self::FailedPrecondition => "failed_precondition",
            Self::Aborted => "aborted",
            Self::OutOfRange => "out_of_range",
            Self::Unimplemented => "unimplemented",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::DataLoss => "data_loss",
            Self::Unauthenticated => "unauthenticated",
        }
    }
}

/// The bytes in front of a message.
pub fn prefix(compressed: bool, length: u32) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = length.to_be_bytes();
    [u8::from(compressed), a, b, c, d]
}

/// The flag and the length in front of a message.
pub fn read_prefix(prefix: [u8; PREFIX_BYTES]) -> (u8, u32) {
    let [flag, a, b, c, d] = prefix;
    (flag, u32::from_be_bytes([a, b, c, d]))
}

/// A message as the `grpc-message` header wants it: printable ASCII, the rest percent-encoded.
pub fn encode_message(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The text of a `grpc-message` header; what is no valid encoding stays as it is.
pub fn decode_message(header: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(header.len());
    let mut rest = header;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits =
            if byte == b'%' { tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()) } else { None };
        let decoded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.unwrap_or(byte));
        rest = if decoded.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_numbers_of_grpc() {
        for (header, code) in [
            ("0", Code::Ok),
            ("3", Code::InvalidArgument),
            ("8", Code::ResourceExhausted),
            ("14", Code::Unavailable),
            ("16", Code::Unauthenticated),
        ] {
            assert_eq!(Code::parse(header.as_bytes()), code);
            assert_eq!((code as u8).to_string(), header);
        }
        assert_eq!(Code::parse(b"17"), Code::Unknown);
        assert_eq!(Code::parse(b"x"), Code::Unknown);
    }

    #[test]
    fn retryable_codes_are_the_ones_that_otlp_lists() {
        use Code::{Aborted, Cancelled, DataLoss, DeadlineExceeded, OutOfRange, Unavailable};
        let listed = [Cancelled, DeadlineExceeded, Aborted, OutOfRange, Unavailable, DataLoss];
        for code in Code::ALL {
            assert_eq!(code.is_retryable(), listed.contains(&code), "{code:?}");
        }
    }

    #[test]
    fn messages_survive_the_header() {
        assert_eq!(encode_message("50% of ü\n"), "50%25 of %C3%BC%0A");
        assert_eq!(decode_message(b"50%25 of %C3%BC%0A"), "50% of ü\n");
        assert_eq!(decode_message(b"100%"), "100%");
        assert_eq!(decode_message(b"%zz"), "%zz");
    }
}
