//! Envoy's tags: why a request is traced, and the names of OpenTelemetry's semantic conventions for what older Envoys
//! call otherwise.

use sluice_sdk::prelude::*;

use crate::insert::{self, Value, insert};

/// The block `envoy`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envoy {}

/// By this tag Envoy's spans are known.
const COMPONENT: (&str, &str) = ("component", "proxy");

/// The request id, a UUID in whose version digit Envoy packs the reason.
const REQUEST_ID: &str = "guid:x-request-id";

/// Where the digit stands.
const REASON_AT: usize = 14;

/// The reason as an attribute.
const REASON: &str = "envoy.trace_reason";

/// How a tag becomes an attribute.
#[derive(Clone, Copy)]
enum Becomes {
    Text,
    /// Envoy writes numbers as strings.
    Int,
    /// Of `HTTP/1.1` what follows the slash.
    Version,
}

/// Envoy's tags, and what they are in the semantic conventions.
const TAGS: [(&str, &str, Becomes); 10] = [
    ("http.method", "http.request.method", Becomes::Text),
    ("http.status_code", "http.response.status_code", Becomes::Int),
    ("http.url", "url.full", Becomes::Text),
    ("http.protocol", "network.protocol.version", Becomes::Version),
    ("peer.address", "network.peer.address", Becomes::Text),
    ("request_size", "http.request.body.size", Becomes::Int),
    ("response_size", "http.response.body.size", Becomes::Int),
    ("retry.count", "http.request.resend_count", Becomes::Int),
    ("user_agent", "user_agent.original", Becomes::Text),
    ("grpc.status_code", "rpc.grpc.status_code", Becomes::Int),
];

/// Adds what must be granted.
pub fn access(access: Access) -> Access {
    let access = insert::access(access, &[COMPONENT.0, REQUEST_ID], &[REASON]);
    TAGS.iter().fold(access, |access, (tag, attribute, _)| {
        insert::access(access, &[tag], &[attribute]).write(format!("spans.attributes:{tag}"))
    })
}

/// Names the reason and renames the tags of Envoy's spans.
///
/// # Errors
/// When the host refuses.
pub fn apply(batch: &Batch<'_>) -> Result<(), Failure> {
    let (tag, proxy) = COMPONENT;
    let components = batch.attribute(Table::Spans, tag)?.values;
    let is_envoys = |row: usize| components.str(row) == Some(proxy);
    let rows = components.len();
    if !(0..rows).any(is_envoys) {
        return Ok(());
    }
    let ids = batch.attribute(Table::Spans, REQUEST_ID)?.values;
    let why = |row: usize| ids.str(row).filter(|_| is_envoys(row)).and_then(reason).map(Value::Text);
    insert(batch, Table::Spans, REASON, rows, why)?;
    for (tag, attribute, becomes) in TAGS {
        let values = batch.attribute(Table::Spans, tag)?.values;
        let value = |row: usize| becomes.value(values.str(row).filter(|_| is_envoys(row))?);
        let renamed = insert(batch, Table::Spans, attribute, rows, value)?;
        if !renamed.is_empty() {
            batch.remove_attribute(Table::Spans, tag, &renamed)?;
        }
    }
    Ok(())
}

impl Becomes {
    /// The attribute's value; none if it would not be one, and then the tag stays.
    fn value(self, tag: &str) -> Option<Value<'_>> {
        match self {
            Self::Text => Some(Value::Text(tag)),
            Self::Int => tag.parse().ok().map(Value::Int),
            Self::Version => tag.strip_prefix("HTTP/").map(Value::Text),
        }
    }
}

/// Why Envoy traces a request; 4 is the digit of any UUID, which Envoy leaves where it does not.
fn reason(id: &str) -> Option<&'static str> {
    let bytes = id.as_bytes();
    let hyphens = [8, 13, 18, 23].iter().all(|&at| bytes.get(at) == Some(&b'-'));
    if bytes.len() != 36 || !hyphens {
        return None;
    }
    match bytes.get(REASON_AT)?.to_ascii_lowercase() {
        b'4' => Some("not_traceable"),
        b'9' => Some("sampled"),
        b'a' => Some("service_forced"),
        b'b' => Some("client_forced"),
        _ => None,
    }
}
