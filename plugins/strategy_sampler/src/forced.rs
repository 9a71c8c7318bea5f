//! Spans that ask to be kept, whatever the strategies say.

use sluice_sampling::Priority;
use sluice_sdk::prelude::*;
use sluice_sdk::{Column, Refusal};

/// `OpenTracing`'s: above zero keeps, zero drops.
const PRIORITY: &str = "sampling.priority";
/// Jaeger's clients set it where a request came with the header of this name, which asks for a trace.
const DEBUG_ID: &str = "jaeger-debug-id";
/// Envoy's request id, a UUID whose version digit says why the request is traced.
const REQUEST_ID: &str = "guid:x-request-id";

/// The attributes that are looked at.
pub(crate) const KEYS: [&str; 3] = [PRIORITY, DEBUG_ID, REQUEST_ID];

/// Where the reason stands in Envoy's request id.
const REASON: usize = 14;

/// The columns of a batch.
pub(crate) struct Wishes {
    priorities: Values,
    debug_ids: Values,
    request_ids: Values,
}

impl Wishes {
    /// Pulls the columns.
    pub(crate) fn pull(batch: &Batch<'_>) -> Result<Self, Refusal> {
        let column = |key| batch.attribute(Table::Spans, key).map(|Column { values, .. }| values);
        Ok(Self { priorities: column(PRIORITY)?, debug_ids: column(DEBUG_ID)?, request_ids: column(REQUEST_ID)? })
    }

    /// What a span asks for. Its priority comes first, as the most explicit.
    pub(crate) fn of(&self, row: usize) -> Priority {
        match Priority::of(&self.priorities, row) {
            Priority::Defer if self.debug_ids.str(row).is_some_and(|id| !id.is_empty()) => Priority::Keep,
            Priority::Defer if self.request_ids.str(row).is_some_and(is_forced) => Priority::Keep,
            priority => priority,
        }
    }
}

/// Whether Envoy was told to trace the request: by the service (`a`), or by the client (`b`).
fn is_forced(request_id: &str) -> bool {
    matches!(request_id.as_bytes().get(REASON), Some(b'a' | b'b')) && request_id.len() == 36
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envoys_request_id_tells_why_it_is_traced() {
        let cases = [
            ("2c6eb8de-5d0f-4b1a-8f43-0c7d4c8fcd3a", false),
            ("2c6eb8de-5d0f-9b1a-8f43-0c7d4c8fcd3a", false),
            ("2c6eb8de-5d0f-ab1a-8f43-0c7d4c8fcd3a", true),
            ("2c6eb8de-5d0f-bb1a-8f43-0c7d4c8fcd3a", true),
            ("aaaaaaaaaaaaaaaa", false),
            ("", false),
        ];
        for (id, forced) in cases {
            assert_eq!(is_forced(id), forced, "{id}");
        }
    }
}
