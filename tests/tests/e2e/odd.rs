//! Requests that are valid protobuf but not what any encoder would write: unknown fields at every
//! level, fields out of order, over-long varints, repeated singular fields. Put together by hand
//! from protobuf's encoding rules and OTLP's field numbers.

use bytes::Bytes;

/// A length-delimited field.
pub fn field(number: u32, value: &[u8]) -> Vec<u8> {
    let mut field = varint(u64::from(number << 3 | 2));
    field.extend(varint(value.len() as u64));
    field.extend_from_slice(value);
    field
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field of another wire type, with its bytes as they are.
fn number(field: u32, wire_type: u32, bytes: &[u8]) -> Vec<u8> {
    [varint(u64::from(field << 3 | wire_type)), bytes.to_vec()].concat()
}

/// `KeyValue` of a string.
pub fn text(key: &str, value: &str) -> Vec<u8> {
    [field(1, key.as_bytes()), field(2, &field(1, value.as_bytes()))].concat()
}

/// A span with these ids and more fields.
pub fn span(trace: u8, id: u8, more: &[Vec<u8>]) -> Vec<u8> {
    [field(1, &[trace; 16]), field(2, &[id; 8]), more.concat()].concat()
}

/// A request of one scope with these spans.
pub fn request(spans: &[Vec<u8>]) -> Bytes {
    let spans: Vec<u8> = spans.iter().flat_map(|span| field(2, span)).collect();
    field(1, &[field(1, &field(1, &text("service.name", "odd"))), field(2, &spans)].concat()).into()
}

/// A few of everything.
pub fn requests() -> Vec<Bytes> {
    let unknown = [
        number(2047, 1, &[1, 2, 3, 4, 5, 6, 7, 8]),
        number(1999, 5, &[1, 2, 3, 4]),
        number(1500, 0, &[0xff, 0x7f]),
        field(536_870_911, b"the highest number there is"),
    ];
    let event = [field(2, b"an event"), field(3, &text("a", "b")), unknown.concat()].concat();
    let link = [field(1, &[7; 16]), field(2, &[8; 8]), unknown.concat(), field(4, &text("c", "d"))].concat();
    let value =
        [field(2, &[number(3, 0, &[5]), unknown.concat(), field(1, b"the last member wins")].concat())].concat();
    let mut odd_spans = vec![
        span(1, 1, &unknown),
        // The name before the ids, twice, and ids twice: the last one counts.
        [field(5, b"early"), span(2, 2, &[]), field(5, b"late"), field(1, &[3; 16])].concat(),
        // An over-long varint for the kind, and one of ten bytes.
        span(3, 3, &[number(6, 0, &[0x82, 0x80, 0x00]), number(10, 0, &[0x81, 0x82, 0x80, 0x80, 0x00])]),
        span(
            4,
            4,
            &[
                field(9, &text("twice", "one")),
                field(9, &text("twice", "two")),
                field(9, &[]),
                field(9, &field(1, b"no value")),
            ],
        ),
        span(
            5,
            5,
            &[field(11, &event), field(13, &link), field(11, &[]), field(15, &[]), field(15, &field(2, b"said twice"))],
        ),
        span(6, 6, &[field(9, &[field(1, b"odd"), value].concat())]),
        span(7, 7, &[field(4, &[]), field(3, b"ot=th:8,vendor=x")]),
    ];
    odd_spans.push(span(8, 8, &[field(9, &text("large", &"x".repeat(2 << 20)))]));
    let scope = [
        field(3, b"https://schema/scope"),
        odd_spans.iter().flat_map(|span| field(2, span)).collect(),
        field(1, &[field(1, b"odd"), unknown.concat()].concat()),
        unknown.concat(),
    ];
    let resource_spans = [
        field(3, b"https://schema/resource"),
        field(2, &scope.concat()),
        unknown.concat(),
        field(1, &field(1, &text("service.name", "first"))),
        field(1, &[field(1, &text("service.version", "merged")), unknown.concat()].concat()),
        field(2, &field(2, &span(9, 9, &[]))),
    ];
    vec![
        request(&[span(1, 1, &[field(5, b"plain")])]),
        [unknown.concat(), field(1, &resource_spans.concat()), field(1, &[])].concat().into(),
        Bytes::new(),
    ]
}
