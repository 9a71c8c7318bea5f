//! OTLP/JSON: requests as JSON to protobuf, leniently, and back, strictly.
//!
//! Both ways are driven by the schema. Ids are hexadecimal, 64-bit integers are strings, enums
//! are integers, bytes are base64, as OTLP says; what senders are known to do otherwise is
//! understood on the way in.

mod read;
mod write;

pub use read::from_json;
pub use write::to_json;

/// Why a JSON document is not an OTLP/JSON request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at {path}")]
pub struct JsonError {
    /// Where, such as `resourceSpans[0].scopeSpans[0].spans[3].traceId`; `$` for the document.
    pub path: String,
    /// What is wrong.
    pub what: String,
}

impl JsonError {
    fn new(what: impl Into<String>) -> Self {
        Self { path: "$".to_owned(), what: what.into() }
    }

    /// The same error, seen from the value that holds it under `step`.
    fn under(mut self, step: &str) -> Self {
        if self.path == "$" {
            step.clone_into(&mut self.path);
        } else {
            let dot = if self.path.starts_with('[') { "" } else { "." };
            self.path = format!("{step}{dot}{}", self.path);
        }
        self
    }
}
