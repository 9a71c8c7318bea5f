//! Real traces, if the environment variable `SLUICE_CORPUS` names a folder of them: files
//! `*.otlp`, each a sequence of a length (`u32`, big endian) and a request.

use crate::columns;
use crate::edits::stage;
use crate::faithful::spans_of;
use crate::model::{Op, apply};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use sluice_spans::json::{from_json, to_json};
use sluice_spans::{Batch, Edits, Table, Values, join, split_encoded};

/// Every request of every file, up to `most` a file.
fn requests(test: &str, most: usize) -> Vec<Bytes> {
    let Some(folder) = std::env::var_os("SLUICE_CORPUS") else {
        eprintln!("SKIPPED {test}: SLUICE_CORPUS names no folder of traces");
        return Vec::new();
    };
    let mut all = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "otlp") {
            continue;
        }
        let mut bytes = Bytes::from(std::fs::read(path).unwrap());
        for _ in 0..most {
            if bytes.is_empty() {
                break;
            }
            let len = bytes.split_to(4);
            let len = u32::from_be_bytes(len[..].try_into().unwrap());
            all.push(bytes.split_to(len as usize));
        }
    }
    assert!(!all.is_empty(), "no traces in the folder");
    all
}

fn decode(wire: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(wire).unwrap()
}

#[test]
fn real_traces_read_as_prost_reads_them() {
    for wire in requests("real_traces_read_as_prost_reads_them", 20) {
        let mut batch = Batch::parse(wire.clone()).unwrap();
        columns::check(&mut batch, &decode(&wire));
        assert_eq!(batch.encode(), wire);
    }
}

#[test]
fn real_traces_are_edited_as_the_model_is() {
    for wire in requests("real_traces_are_edited_as_the_model_is", 10) {
        let mut batch = Batch::parse(wire.clone()).unwrap();
        let mut model = decode(&wire);
        let every = |n: u32, batch: &Batch| (0..batch.spans()).filter(|row| row % 3 == n).collect();
        let keys = batch.entry_keys(Table::Spans, None).unwrap().dictionary;
        let key = String::from_utf8(keys.get(0).to_vec()).unwrap();
        let ops = [
            Op::Drop(Table::Spans, every(0, &batch)),
            Op::Set(Table::Spans, key, every(1, &batch), Values::string("set")),
            Op::Texts(Table::Spans, 5, every(1, &batch), vec!["name".to_owned()]),
        ];
        let mut edits = Edits::new();
        for op in ops.clone() {
            stage(&mut edits, &mut batch, op).unwrap();
        }
        let before = spans_of(&wire).into_iter().enumerate();
        let untouched: Vec<&[u8]> = before.filter(|x| x.0 % 3 == 2).map(|x| x.1.1).collect();
        batch.commit(edits);
        apply(&mut model, &ops);
        let out = batch.encode();
        assert!(decode(&out) == model);
        let after: Vec<&[u8]> = spans_of(&out).into_iter().map(|span| span.1).collect();
        assert!(untouched.iter().all(|span| after.contains(span)));
    }
}

#[test]
fn real_traces_survive_parts_and_json() {
    for wire in requests("real_traces_survive_parts_and_json", 10) {
        let parts = split_encoded(wire.clone(), 20_000, 100);
        let spans: Vec<_> = parts.iter().flat_map(|part| spans_of(part)).map(|x| x.1).collect();
        assert!(spans == spans_of(&wire).iter().map(|x| x.1).collect::<Vec<_>>());
        assert_eq!(decode(&join(parts.clone())).resource_spans.len(), decode(&wire).resource_spans.len());
        let json = to_json(&wire).unwrap();
        assert!(decode(&from_json(json.as_bytes()).unwrap()) == decode(&wire));
    }
}
