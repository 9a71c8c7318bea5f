//! Sources: merging, `--set`, paths, what is built in.

use std::time::Duration;

use super::{GOOD, Source, config, load, text};
use crate::config::DEFAULT;
use crate::config::processor::OnFailure::{Closed, Drop, Open};
use crate::{exporter, receiver};

fn endpoint(source: &[Source]) -> String {
    match &config(source).receivers[0].settings {
        receiver::Settings::Otlp(otlp) => otlp.grpc.as_ref().unwrap().endpoint.text.clone(),
    }
}

#[test]
fn mappings_merge_and_the_rest_is_replaced() {
    let over = "\
receivers: { otlp: { protocols: { grpc: { endpoint: 'localhost:1' } } } }
exporters: { otlp_http: { endpoint: 'http://localhost:2' } }
service: { pipelines: { traces: { exporters: [otlp_http] } } }
";
    let loaded = load(&[text(GOOD), text(over)]).unwrap();
    assert_eq!(endpoint(&[text(GOOD), text(over)]), "localhost:1");
    let pipeline = &loaded.config.service.pipelines[0];
    assert_eq!(pipeline.receivers.len(), 1, "a key that the later file does not have stays");
    let exporters: Vec<_> = pipeline.exporters.iter().map(ToString::to_string).collect();
    assert_eq!(exporters, ["otlp_http"], "a list is replaced");
    let told: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["c.yaml:2:14: warning: exporter `debug` is in no pipeline"]);
}

#[test]
fn an_empty_file_changes_nothing() {
    assert_eq!(config(&[text(GOOD), text("# nothing\n")]), config(&[text(GOOD)]));
}

#[test]
fn what_is_set_comes_last() {
    let set = |argument: &str| Source::Set(argument.to_owned());
    let sources = [
        text(GOOD),
        set("receivers.otlp.protocols.grpc.endpoint=localhost:1"),
        set("receivers::otlp::protocols::grpc::endpoint=localhost:2"),
    ];
    assert_eq!(endpoint(&sources), "localhost:2");

    let told = |argument: &str| load(&[text(GOOD), set(argument)]).unwrap_err().to_string();
    assert_eq!(
        told("nonsense"),
        "--set nonsense: error: write KEY=VALUE, such as `exporters.otlp.endpoint=localhost:4317`\n"
    );
    assert_eq!(told("a..b=1"), "--set a..b=1: error: a step of the key is empty\n");
    assert_eq!(
        told("exporters.debug.verbosty=basic"),
        "--set exporters.debug.verbosty=basic: error: unknown key `verbosty`; did you mean `verbosity`?\n"
    );
}

#[test]
fn places_and_comments_make_no_difference() {
    let moved = format!("# a comment\n\n{}", GOOD.replace("{ debug: }", "{ 'debug':   }"));
    assert_eq!(config(&[text(GOOD)]), config(&[text(&moved)]));
    assert_ne!(config(&[text(GOOD)]), config(&[text(&GOOD.replace("debug:", "debug: { verbosity: detailed }"))]));
}

#[test]
fn files_of_a_configuration_with_something_wrong_are_known_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let yaml = format!("{GOOD}processors: {{ wasm: {{ module: a.wasm, config: '${{file:nope}}', nonsense: 1 }} }}\n");
    std::fs::write(path("c.yaml"), yaml).unwrap();
    let broken = crate::config::load(&[Source::File(path("c.yaml"))]).unwrap_err();
    let files: Vec<_> = broken.config.files().collect();
    assert_eq!(files, ["c.yaml", "nope", "a.wasm", "a.wasm.minisig"].map(path));
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let told = load(&[Source::File("/nope/c.yaml".into())]).unwrap_err().to_string();
    assert_eq!(told, "/nope/c.yaml: error: cannot read: No such file or directory (os error 2)\n");
}

#[test]
fn what_is_built_in_can_be_used() {
    let loaded = load(&[Source::built_in()]).map_err(|problems| problems.to_string()).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let config = loaded.config;
    assert_eq!(config.used_receivers().count(), 1);
    assert_eq!(config.used_extensions().count(), 1);
    let exporters: Vec<_> = config.used_exporters().map(|exporter| &exporter.settings).collect();
    assert!(matches!(exporters.as_slice(), [exporter::Settings::Debug(_)]));
    let processors: Vec<_> = config.used_processors().collect();
    assert_eq!(processors[0].settings.kind, "redaction");
    assert!(DEFAULT.is_ascii());
}

#[test]
fn both_spellings_of_renamed_types_are_one() {
    let yaml = |kind: &str, endpoint: &str| {
        format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}\nexporters: {{ {kind}: {{ endpoint: '{endpoint}' }} }}\nservice: {{ pipelines: {{ traces: {{ receivers: [otlp], exporters: [{kind}] }} }} }}\n"
        )
    };
    for (old, new, endpoint) in [("otlp", "otlp_grpc", "localhost:1"), ("otlphttp", "otlp_http", "http://localhost:1")]
    {
        let (old, new) = (config(&[text(&yaml(old, endpoint))]), config(&[text(&yaml(new, endpoint))]));
        assert_eq!(old.exporters[0].settings, new.exporters[0].settings);
    }
    let yaml = |kind: &str| GOOD.to_owned() + &format!("processors: {{ {kind}/a: {{ detectors: [system] }} }}\n");
    let [old, new] = ["resourcedetection", "resource_detection"].map(|kind| config(&[text(&yaml(kind))]).processors);
    assert_eq!(old[0].settings, new[0].settings);
    assert_eq!(old[0].id.to_string(), "resourcedetection/a");
}

#[test]
fn what_is_done_elsewhere_is_in_no_pipeline() {
    let yaml = GOOD.replace("exporters: [debug]", "processors: [memory_limiter, filter, batch], exporters: [debug]")
        + "processors: { memory_limiter: { check_interval: 1s, limit_mib: 512 }, batch: , filter: }\n";
    let loaded = load(&[text(&yaml)]).map_err(|problems| problems.to_string()).unwrap();
    assert_eq!(loaded.warnings.iter().count(), 1);
    // 512 MiB less a fifth, by hand.
    assert_eq!(loaded.config.admission_bytes(), 429_496_730);
    let processors: Vec<_> = loaded.config.service.pipelines[0].processors.iter().map(ToString::to_string).collect();
    assert_eq!(processors, ["filter"]);
    assert_eq!(loaded.config.processors.len(), 1);
}

#[test]
fn modules_are_relative_to_their_file_and_are_watched() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    std::fs::write(
        &file,
        format!(
            "{GOOD}processors: {{ wasm: {{ module: plugins/a.wasm }}, filter: {{ sluice: {{ module: /b.wasm }} }} }}\n"
        ),
    )
    .unwrap();
    let config = config(&[Source::File(file.clone())]);
    let modules: Vec<_> =
        config.processors.iter().map(|component| component.settings.module.clone().unwrap()).collect();
    assert_eq!(modules, [folder.path().join("plugins/a.wasm"), "/b.wasm".into()]);
    let signatures = [folder.path().join("plugins/a.wasm.minisig"), "/b.wasm.minisig".into()];
    let files = [&file, &modules[0], &signatures[0], &modules[1], &signatures[1]];
    assert_eq!(config.files().collect::<Vec<_>>(), files);
}

#[test]
fn the_drain_and_the_state_are_those_of_the_sluice_extension() {
    assert_eq!(config(&[text(GOOD)]).drain_timeout(), Duration::from_secs(25));
    let yaml = GOOD.replace("service: {", "service: { extensions: [sluice],")
        + "extensions: { sluice: { drain_timeout: 3s, state_dir: /var/lib/sluice } }\n";
    let config = config(&[text(&yaml)]);
    assert_eq!(config.drain_timeout(), Duration::from_secs(3));
    assert_eq!(config.used_extensions().count(), 1);
}

#[test]
fn failure_modes_are_read() {
    let mode = |word: &str| {
        let yaml = format!("{GOOD}processors: {{ filter: {{ sluice: {{ on_failure: {word} }} }} }}\n");
        config(&[text(&yaml)]).processors[0].settings.on_failure
    };
    assert_eq!([mode("closed"), mode("drop"), mode("open"), mode("")], [Closed, Drop, Open, Closed]);
}
