//! `headers`: what an exporter says beside the request.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::section::Section;

/// Reads the block `headers`. Values are secrets more often than not, so they are kept out of logs.
pub(super) fn read(exporter: &mut Section<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in exporter.string_map("headers") {
        match (HeaderName::try_from(&name), HeaderValue::try_from(&value)) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                headers.append(name, value);
            }
            (Err(_), _) => exporter.error("headers", format!("`headers`: `{name}` is no header name")),
            (_, Err(_)) => {
                let problem = format!("`headers`: the value of `{name}` holds characters that a header cannot");
                exporter.error("headers", problem);
            }
        }
    }
    headers
}
