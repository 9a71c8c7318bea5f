//! A batch of several requests: one index and one look at each column for all of them, and at the end
//! each goes out as a request again.

use bytes::Bytes;

use crate::index::{DROPPED, Index, Row};
use crate::walk::Request;
use crate::{Batch, Malformed};

impl Batch {
    /// Validates each request and puts them together into one batch, in order: what protobuf defines a
    /// merged message to be. [`Batch::encode_requests`] takes them apart again. Parts that the batch is cut
    /// into do not know of requests.
    ///
    /// # Errors
    /// See [`crate::validate`]; the place is that in all of them together. Bytes that only another
    /// request completes are malformed.
    pub fn of_requests(wires: &[Bytes]) -> Result<Self, Malformed> {
        let wire = wires.concat();
        let mut requests: Vec<Request> = Vec::with_capacity(wires.len());
        let mut end = 0;
        for wire in wires {
            end += wire.len();
            requests.push(Request { end, spans: 0 });
        }
        let batch = Self::parse_requests(wire.into(), &mut requests)?;
        Ok(Self { requests, ..batch })
    }

    /// The requests that the batch was put together from as they are now, each with how many spans it has
    /// left; the batch as it is if it is one request. They share one buffer.
    pub fn encode_requests(&mut self) -> Vec<(Bytes, u32)> {
        let (wire, requests) = self.splice_requests();
        let mut start = 0;
        let piece =
            |request: Request| (wire.slice(std::mem::replace(&mut start, request.end)..request.end), request.spans);
        requests.into_iter().map(piece).collect()
    }

    /// The output, and the requests in it.
    pub(crate) fn splice_requests(&mut self) -> (Bytes, Vec<Request>) {
        if self.requests.is_empty() {
            let wire = self.encode();
            let all = Request { end: wire.len(), spans: self.spans() };
            return (wire, vec![all]);
        }
        let mut requests = self.requests.clone();
        if self.is_changed {
            self.index.count_spans(&mut requests);
        }
        (self.splice(&mut requests), requests)
    }
}

impl Index {
    /// Counts the spans that are left of each request, which ends where it came in.
    fn count_spans(&self, requests: &mut [Request]) {
        let (mut resource, mut scope, mut span) = (0, 0, 0);
        let below = |rows: &[Row], owner: usize| rows.partition_point(|row| (row.parent as usize) < owner);
        for request in requests {
            resource = self.resources.rows.partition_point(|row| (row.tlv.at as usize) < request.end).max(resource);
            scope = below(&self.scopes.rows, resource).max(scope);
            let first = span;
            span = below(&self.spans.rows, scope).max(first);
            let spans = self.spans.rows.get(first..span).unwrap_or_default();
            request.spans = spans.iter().filter(|span| span.changed & DROPPED == 0).count() as u32;
        }
    }
}
