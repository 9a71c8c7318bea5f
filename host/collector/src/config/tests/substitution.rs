//! `${env:…}`, `${file:…}`, `$$`.

use serde_json::json;

use super::{GOOD, Source, config, load, told};
use crate::extension;

/// What the plugin of a configuration gets: the shortest way to see YAML types.
fn passed(value: &str) -> serde_json::Value {
    let yaml = format!("{GOOD}processors:\n  filter:\n    it: {value}\n");
    let config = config(&[super::text(&yaml)]);
    let all: serde_json::Value = serde_json::from_str(&config.processors[0].settings.config_json).unwrap();
    all["it"].clone()
}

#[test]
fn values_are_substituted_as_the_collector_does_it() {
    // From the Collector's confmap documentation: types after substitution, defaults, escapes.
    let cases = [
        ("\"${env:PORT}\"", json!(4317)),
        ("${env:PORT}", json!(4317)),
        ("${PORT}", json!(4317)),
        ("\"${env:HOST}:${env:PORT}\"", json!("collector.example:4317")),
        ("\"x${env:PORT}\"", json!("x4317")),
        ("${env:YES}", json!(true)),
        ("${env:LIST}", json!(["a", "b"])),
        ("${env:MAP}", json!({ "endpoint": "localhost:1" })),
        ("${env:NOPE:-12}", json!(12)),
        ("\"${env:NOPE:-a:b}\"", json!("a:b")),
        ("\"${NOPE:-d}\"", json!("d")),
        ("${env:EMPTY:-d}", json!(null)),
        ("\"[${env:EMPTY}]\"", json!("[]")),
        ("\"$$\"", json!("$")),
        ("\"$${env:PORT}\"", json!("${env:PORT}")),
        ("\"$$$${env:PORT}\"", json!("$${env:PORT}")),
        ("\"$$${env:PORT}\"", json!("$4317")),
        ("\"^a$\"", json!("^a$")),
        ("\"$PORT ${\"", json!("$PORT ${")),
        ("${env:HASH}", json!("# not a comment")),
        ("${env:BROKEN}", json!("[unclosed")),
        // What a variable holds is not looked into.
        ("\"${env:DOLLAR}\"", json!("a$$b${HOST}")),
    ];
    for (value, expected) in cases {
        assert_eq!(passed(value), expected, "{value}");
    }
}

#[test]
fn a_string_stays_what_the_variable_holds() {
    let yaml = format!("{GOOD}extensions: {{ health_check: {{ response_body: {{ healthy: '${{env:SECRET}}' }} }} }}\n");
    let extension::Settings::HealthCheck(settings) = &config(&[super::text(&yaml)]).extensions[0].settings else {
        panic!("the one above")
    };
    assert_eq!(settings.healthy.as_deref(), Some("00123"));
}

#[test]
fn what_cannot_be_substituted_is_told() {
    let cases: &[(&str, &str)] = &[
        ("${env:NOPE}", "warning: the environment variable `NOPE` is not set; the value is empty"),
        ("${env:9x}", "error: `9x` is no name of an environment variable"),
        ("${vault:x}", "error: `${vault:…}` is not known; there are `${env:NAME}` and `${file:PATH}`"),
        ("${http:x}", "error: `${http:…}` is not supported yet"),
        ("${env:A:-${env:B}}", "error: `${env:A:-${env:B}}`: a substitution within a substitution is not supported"),
    ];
    for (value, expected) in cases {
        let told = told(&format!("{GOOD}processors: {{ filter: {{ it: \"{value}\" }} }}\n"));
        assert_eq!(told[1], format!("c.yaml:4:29: {expected}"), "{value}");
    }
}

#[test]
fn a_wrong_value_is_told_where_the_substitution_stands() {
    let yaml = GOOD.replace("grpc:", "grpc: { max_concurrent_streams: '${env:HOST}' }");
    assert_eq!(
        told(&yaml),
        ["c.yaml:1:67: error: `max_concurrent_streams` must be a whole number from 0, not a string"]
    );
}

#[test]
fn files_are_substituted_relative_to_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("token", "0123\n");
    write("rules.yaml", "- 'name == \"a\"'\n- b\n");
    write(
        "c.yaml",
        &format!("{GOOD}processors: {{ filter: {{ it: '${{file:rules.yaml}}', as: '<${{file:token}}>' }} }}\n"),
    );
    let file = folder.path().join("c.yaml");
    let config = config(&[Source::File(file.clone())]);
    let passed: serde_json::Value = serde_json::from_str(&config.processors[0].settings.config_json).unwrap();
    assert_eq!(passed, json!({ "it": ["name == \"a\"", "b"], "as": "<0123>" }));
    let files: Vec<_> = config.files().collect();
    assert_eq!(files, [file, folder.path().join("rules.yaml"), folder.path().join("token")]);

    write("c.yaml", "a: ${file:nope}\n");
    let told = load(&[Source::File(folder.path().join("c.yaml"))]).unwrap_err().to_string();
    assert!(told.contains("c.yaml:1:4: error: cannot read `"), "{told}");
    assert!(told.contains("nope`: No such file or directory"), "{told}");
}
