//! A reader of protobuf's wire format that knows just enough of OTLP to take a request apart into
//! its spans, each with the bytes around it. Written for the tests alone, so that what they
//! compare never went through the code under test.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;

/// One field of a message: its number and the bytes of its value, and the whole field's bytes.
#[derive(Debug, Clone)]
pub struct Field {
    /// The field's number.
    pub number: u32,
    /// The value of a length-delimited field; empty for numbers.
    pub value: Bytes,
    /// Key and value as they were on the wire.
    pub raw: Bytes,
}

/// A span as it stood on the wire, with everything that stood around it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawSpan {
    /// The fields of its `ResourceSpans` other than the scopes: resource, schema url, unknown ones.
    pub resource: Bytes,
    /// The fields of its `ScopeSpans` other than the spans.
    pub scope: Bytes,
    /// The span's message.
    pub span: Bytes,
}

/// Takes a message apart.
///
/// # Errors
/// When the bytes end within a field, or a key is none of protobuf's.
pub fn fields(message: &Bytes) -> Result<Vec<Field>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < message.len() {
        let start = at;
        let key = varint(message, &mut at)?;
        let value = match key & 7 {
            0 => {
                varint(message, &mut at)?;
                at..at
            }
            1 => {
                at += 8;
                at..at
            }
            2 => {
                let len = usize::try_from(varint(message, &mut at)?)?;
                let from = at;
                at = at.checked_add(len).context("a length that overflows")?;
                from..at
            }
            5 => {
                at += 4;
                at..at
            }
            other => bail!("wire type {other} at byte {start}"),
        };
        if at > message.len() {
            bail!("the field at byte {start} is cut off");
        }
        found.push(Field {
            number: u32::try_from(key >> 3)?,
            value: message.slice(value),
            raw: message.slice(start..at),
        });
    }
    Ok(found)
}

fn varint(bytes: &[u8], at: &mut usize) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.get(*at).context("a varint that is cut off")?;
        *at += 1;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    bail!("a varint of more than ten bytes")
}

/// Splits a message into the raw bytes of all fields but one, and the values of that one.
fn envelope(message: &Bytes, inner: u32) -> Result<(Bytes, Vec<Bytes>)> {
    let mut around = Vec::new();
    let mut within = Vec::new();
    for field in fields(message)? {
        if field.number == inner {
            within.push(field.value);
        } else {
            around.extend_from_slice(&field.raw);
        }
    }
    Ok((around.into(), within))
}

/// All spans of an `ExportTraceServiceRequest`.
///
/// # Errors
/// When the bytes are no protobuf.
pub fn spans(request: &Bytes) -> Result<Vec<RawSpan>> {
    let mut found = Vec::new();
    for resource_spans in envelope(request, 1)?.1 {
        let (resource, scopes) = envelope(&resource_spans, 2)?;
        for scope_spans in scopes {
            let (scope, spans) = envelope(&scope_spans, 2)?;
            found.extend(spans.into_iter().map(|span| RawSpan {
                resource: resource.clone(),
                scope: scope.clone(),
                span,
            }));
        }
    }
    Ok(found)
}

/// How many spans a request holds, without copying anything.
///
/// # Errors
/// When the bytes are no protobuf.
pub fn count(request: &[u8]) -> Result<u64> {
    let mut spans = 0;
    each(request, 1, &mut |resource_spans| {
        each(resource_spans, 2, &mut |scope_spans| {
            each(scope_spans, 2, &mut |_| {
                spans += 1;
                Ok(())
            })
        })
    })?;
    Ok(spans)
}

fn each(message: &[u8], wanted: u32, visit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut at = 0;
    while at < message.len() {
        let key = varint(message, &mut at)?;
        match key & 7 {
            0 => {
                varint(message, &mut at)?;
            }
            1 => at += 8,
            2 => {
                let len = usize::try_from(varint(message, &mut at)?)?;
                let value = message.get(at..at + len).context("a field that is cut off")?;
                at += len;
                if key >> 3 == u64::from(wanted) {
                    visit(value)?;
                }
            }
            5 => at += 4,
            other => bail!("wire type {other}"),
        }
    }
    Ok(())
}

/// What two sets of requests differ in, span by span with what stands around each; `None` if they
/// hold the same. The order of spans and the cut into requests do not count.
///
/// # Errors
/// When a request is no protobuf, or there is nothing to compare: no spans prove nothing.
pub fn difference(sent: &[Bytes], received: &[Bytes]) -> Result<Option<String>> {
    let mut balance: HashMap<RawSpan, i64> = HashMap::new();
    let mut compared = 0u64;
    for request in sent {
        for span in spans(request)? {
            *balance.entry(span).or_default() += 1;
            compared += 1;
        }
    }
    for request in received {
        for span in spans(request)? {
            *balance.entry(span).or_default() -= 1;
        }
    }
    if compared == 0 {
        bail!("no span was compared");
    }
    let lost = balance.values().filter(|n| **n > 0).sum::<i64>();
    let foreign = -balance.values().filter(|n| **n < 0).sum::<i64>();
    if lost == 0 && foreign == 0 {
        return Ok(None);
    }
    let example = |sign: i64| balance.iter().find(|(_, n)| n.signum() == sign).map(|(span, _)| span);
    Ok(Some(format!(
        "of {compared} spans {lost} did not arrive as they were, {foreign} arrived that were never sent\n\
         sent:     {:.2000}\nreceived: {:.2000}",
        format!("{:02x?}", example(1)),
        format!("{:02x?}", example(-1))
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Written by hand from protobuf's encoding rules: one resource (with an unknown field 15),
    /// one scope, two spans `08 01` and empty.
    const REQUEST: &[u8] =
        &[0x0a, 0x0e, 0x0a, 0x00, 0x7a, 0x00, 0x12, 0x08, 0x0a, 0x00, 0x12, 0x02, 0x08, 0x01, 0x12, 0x00];

    #[test]
    fn spans_come_with_what_stands_around_them() {
        let spans = spans(&Bytes::from_static(REQUEST)).unwrap();
        assert_eq!(spans.len(), 2);
        assert_eq!(&spans[0].resource[..], [0x0a, 0x00, 0x7a, 0x00]);
        assert_eq!(&spans[0].scope[..], [0x0a, 0x00]);
        assert_eq!(&spans[0].span[..], [0x08, 0x01]);
        assert_eq!(count(REQUEST).unwrap(), 2);
    }

    #[test]
    fn comparing_nothing_is_an_error() {
        assert!(difference(&[], &[]).is_err());
    }

    #[test]
    fn a_changed_envelope_is_a_difference() {
        let sent = Bytes::from_static(REQUEST);
        let mut other = REQUEST.to_vec();
        other[4] = 0x72;
        assert_eq!(difference(std::slice::from_ref(&sent), std::slice::from_ref(&sent)).unwrap(), None);
        assert!(difference(&[sent], &[other.into()]).unwrap().is_some());
    }
}
