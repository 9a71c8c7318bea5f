//! `hash_seed` against 48 vectors that were worked out apart, with the Collector's algorithm:
//!
//! 1. `hash`: FNV-1a of 32 bits (offset 0x811c9dc5, prime 0x01000193) over the seed's four bytes, least
//!    significant first, and the trace id's sixteen.
//! 2. `bucket`: its lowest 14 bits, 0 to 16383.
//! 3. `share`: the percentage times 163.84 in 32-bit floating point, rounded down: 10 % is 1638, 50 % is 8192,
//!    1 % is 163, 99.9 % is 16367. A trace is kept if its bucket is less.
//! 4. `rv`, which is written: 16383 - bucket in 14 bits; the highest 14 bits of the hash, u, spread over 28 as
//!    `u ^ (u << 10)`; the bucket in 14 bits. `th`: 16384 - share in 14 bits, and 42 zeros.
//!
//! The test does the working once more, step by step, and then asks the plugin.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use probabilistic_sampler::ProbabilisticSampler;
use prost::Message;
use sluice_sdk::testing::run;

/// Seed, percentage, share, and `th`.
type Setting = (u32, f32, u32, &'static str);

const SETTINGS: [Setting; 4] =
    [(0, 10.0, 1638, "e668"), (22, 50.0, 8192, "8"), (4312, 1.0, 163, "fd74"), (4_294_967_295, 99.9, 16367, "0044")];

/// A trace id; hash and `rv` with each setting.
type Vector = (&'static str, [(u32, &'static str); 4]);

const VECTORS: [Vector; 12] = [
    (
        "00000000000000000000000000000001",
        [
            (0xb8fe_e2c2, "74f42e348fe2c2"),
            (0x793d_ed30, "4b3c1e4893ed30"),
            (0x2a94_264a, "66d40aa7a9664a"),
            (0x637c_dc5e, "8e8418d937dc5e"),
        ],
    ),
    (
        "ffffffffffffffffffffffffffffffff",
        [
            (0x291a_1545, "aae80a44919545"),
            (0x03b4_25b3, "693000ed3b65b3"),
            (0x714c_84cd, "ecc81c5414c4cd"),
            (0x5236_aae1, "54781488236ae1"),
        ],
    ),
    (
        "0af7651916cd43dd8448eb211c80319c",
        [
            (0x810d_5de4, "886c204b10dde4"),
            (0x1032_c19e, "f984040d03019e"),
            (0x32fd_068c, "e5cc0cbc2fc68c"),
            (0xe868_7230, "373c3a1486b230"),
        ],
    ),
    (
        "4bf92f3577b34da6a3ce929d0e0e4736",
        [
            (0x3420_408d, "fdc80d0b42008d"),
            (0x5610_306b, "3e50158161306b"),
            (0x7244_2255, "76a81c96246255"),
            (0x1466_6b01, "53f80518466b01"),
        ],
    ),
    (
        "00000000000000006e0c63257de34c92",
        [
            (0x7082_2b7d, "52081c27082b7d"),
            (0xbf56_a0a3, "7d702fdef560a3"),
            (0xe089_fb25, "1368382c08bb25"),
            (0x204c_7271, "3638081104f271"),
        ],
    ),
    (
        "0000000000000000463ac35c9f6413ad",
        [
            (0x2b67_f855, "1ea80adbb67855"),
            (0xab5e_a977, "5a202addb5e977"),
            (0x7326_217d, "7a081cce32617d"),
            (0xdb16_3ad9, "149836c8b17ad9"),
        ],
    ),
    (
        "80f198ee56343ba864fe8b2a57d3eff7",
        [
            (0x0939_530e, "b3c4024e93930e"),
            (0x0d05_9a1c, "978c0341d05a1c"),
            (0xfe39_5e56, "86a43f81e39e56"),
            (0x84b9_e8ea, "5c5421264ba8ea"),
        ],
    ),
    (
        "5b8efff798038103d269b633813fc60c",
        [
            (0x245d_d6df, "a480091545d6df"),
            (0xa2a6_4cc9, "ccd828a32a4cc9"),
            (0xb066_6317, "73a02c12066317"),
            (0x920e_3093, "3db0248a20f093"),
        ],
    ),
    (
        "fefefefefefefefefe80000000000000",
        [
            (0xd413_402b, "ff50350941002b"),
            (0x6f56_8bbd, "d1081bd3f54bbd"),
            (0x2a31_05a3, "e9700a8ea305a3"),
            (0xda2e_978f, "a1c03686a2d78f"),
        ],
    ),
    (
        "111111111111111111ffffffffffffff",
        [
            (0x0816_da4b, "96d00205815a4b"),
            (0xbdb6_72dd, "34882f66db72dd"),
            (0x87a7_a203, "77f021e17a6203"),
            (0xa450_d66f, "a640291e45166f"),
        ],
    ),
    (
        "000102030405060708090a0b0c0d0e0f",
        [
            (0x1995_bd65, "0a680664997d65"),
            (0x5571_e3c3, "70f015595723c3"),
            (0xecb3_57ad, "a1483b22cb17ad"),
            (0x47d1_7261, "367811f07d3261"),
        ],
    ),
    (
        "deadbeefdeadbeefdeadbeefdeadbeef",
        [
            (0x4409_5dc5, "88e81106409dc5"),
            (0x6ebd_e3f3, "70301ba9ebe3f3"),
            (0x149c_458d, "e9c8052649c58d"),
            (0x274d_fa21, "177809d174fa21"),
        ],
    ),
];

/// The kept span's tracestate.
fn sampled(id: &str, seed: u32, percentage: f32) -> Option<String> {
    let trace_id = u128::from_str_radix(id, 16).unwrap().to_be_bytes().to_vec();
    let span = Span { trace_id, span_id: vec![1; 8], ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let wire = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let config = format!(r#"{{"mode": "hash_seed", "hash_seed": {seed}, "sampling_percentage": {percentage}}}"#);
    let outcome = run::<ProbabilisticSampler>(&config, &wire).expect("it samples");
    let left = ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap();
    let mut scopes = left.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.next()?.spans.pop().map(|span| span.trace_state)
}

#[test]
fn hash_seed_is_bit_exact() {
    let (mut kept, mut dropped) = (0, 0);
    for (id, expected) in VECTORS {
        for ((hash, rv), (seed, percentage, share, th)) in expected.into_iter().zip(SETTINGS) {
            let mut worked = 0x811c_9dc5_u64;
            for byte in seed.to_le_bytes().into_iter().chain(u128::from_str_radix(id, 16).unwrap().to_be_bytes()) {
                worked = (worked ^ u64::from(byte)) * 0x0100_0193 % (1 << 32);
            }
            assert_eq!(worked, u64::from(hash), "hash of {id} with {seed}");
            let (bucket, unused) = (worked % (1 << 14), worked >> 18);
            let worked = (16_383 - bucket) << 42 | (unused ^ unused << 10) << 14 | bucket;
            assert_eq!(format!("{worked:014x}"), rv, "rv of {id} with {seed}");
            let expected = (bucket < u64::from(share)).then(|| format!("ot=rv:{rv};th:{th}"));
            *(if expected.is_some() { &mut kept } else { &mut dropped }) += 1;
            assert_eq!(sampled(id, seed, percentage), expected, "{id} with {seed} at {percentage} %");
        }
    }
    assert_eq!((kept, dropped), (18, 30), "the vectors show both");
}
