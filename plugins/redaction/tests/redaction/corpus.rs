//! Real traces, when `SLUICE_CORPUS` names a folder of them: which strings change, and of what kind.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;

use super::*;

const DETECTORS: [&str; 11] = [
    "payment_card",
    "email",
    "ipv4",
    "ipv6",
    "phone",
    "iban",
    "jwt",
    "bearer_token",
    "api_key",
    "url_credentials",
    "url_query_secrets",
];

/// Every string of a span's attributes and events, and its name, with the key or the field it is in.
fn strings(request: &ExportTraceServiceRequest) -> Vec<(String, String)> {
    let mut strings = Vec::new();
    let mut entries = |table: &str, attributes: &[KeyValue]| {
        for entry in attributes {
            if let Some(Value::StringValue(text)) = entry.value.as_ref().and_then(|value| value.value.as_ref()) {
                strings.push((format!("{table} {}", entry.key), text.clone()));
            }
        }
    };
    for resource in &request.resource_spans {
        entries("resource", resource.resource.as_ref().map_or(&[][..], |resource| &resource.attributes));
        for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            entries("span", &span.attributes);
            for event in &span.events {
                entries("event", &event.attributes);
            }
        }
    }
    for span in request.resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans)
    {
        strings.push(("span name".to_owned(), span.name.clone()));
        strings.push(("span status".to_owned(), span.status.clone().unwrap_or_default().message));
    }
    strings
}

#[test]
fn changed_strings_of_real_traces_are_told() {
    let Some(folder) = std::env::var_os("SLUICE_CORPUS").filter(|folder| !folder.is_empty()) else {
        println!("SKIPPED redaction on real traces: SLUICE_CORPUS is not set");
        return;
    };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "otlp"));
    files.sort();
    assert!(!files.is_empty(), "the folder holds no *.otlp");
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let mut rest = bytes.as_slice();
        let mut requests = Vec::new();
        while let Some((len, more)) = rest.split_first_chunk::<4>() {
            let (request, more) = more.split_at(u32::from_be_bytes(*len) as usize);
            requests.push(ExportTraceServiceRequest::decode(request).unwrap());
            rest = more;
        }
        for detector in DETECTORS {
            let config = format!(r#"{{"allow_all_keys": true, "detectors": ["{detector}"]}}"#);
            let (mut count, mut changed) = (0_usize, BTreeMap::<String, usize>::new());
            for request in &requests {
                let (before, after) = (strings(request), strings(&redacted(&config, request)));
                assert_eq!(before.len(), after.len());
                count += before.len();
                for ((key, _), _) in before.into_iter().zip(after).filter(|((_, before), (_, after))| before != after) {
                    *changed.entry(key).or_default() += 1;
                }
            }
            let sum: usize = changed.values().sum();
            let name = file.file_stem().unwrap_or_default().display();
            println!(
                "{name} {detector}: {:.1} of 10,000 strings changed ({sum} of {count}) {changed:?}",
                sum as f64 * 10_000.0 / count as f64
            );
            // Nobody publishes these.
            if matches!(detector, "payment_card" | "iban" | "api_key" | "bearer_token" | "jwt") {
                assert_eq!(changed, BTreeMap::new(), "{name} {detector}");
            }
        }
    }
}
