//! The pages about the configuration are true, and so are the fragments of configurations on others.

use super::{Config, GOOD, config, load, text};

const PAGE: &str = include_str!("../../../../../docs/configuration.md");
const DELIVERY: &str = include_str!("../../../../../docs/delivery.md");

/// Other pages with fragments.
const OTHERS: [&str; 2] =
    [include_str!("../../../../../docs/operating.md"), include_str!("../../../../../docs/security.md")];

/// The YAML blocks of the page with this info string.
fn blocks(info: &str) -> Vec<&'static str> {
    blocks_of(PAGE, info)
}

fn blocks_of(page: &'static str, info: &str) -> Vec<&'static str> {
    let opening = format!("```{info}\n");
    let blocks: Vec<_> = page.split(&opening).skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "{info}");
    blocks
}

#[test]
fn every_whole_configuration_on_the_page_can_be_used() {
    for block in blocks("yaml").into_iter().chain(blocks_of(DELIVERY, "yaml")) {
        let loaded = load(&[text(block)]).map_err(|problems| format!("{problems}\n{block}")).unwrap();
        assert!(loaded.warnings.is_empty(), "{}\n{block}", loaded.warnings);
    }
}

#[test]
fn every_fragment_on_the_page_can_be_used() {
    let others = OTHERS.into_iter().flat_map(|page| blocks_of(page, "yaml fragment"));
    for block in blocks("yaml fragment").into_iter().chain(blocks("yaml defaults")).chain(others) {
        load(&[text(GOOD), text(block)]).map_err(|problems| format!("{problems}\n{block}")).unwrap();
    }
}

/// What an exporter with `storage` needs beside it.
const STORAGE: &str = "{ extensions: { file_storage: { directory: /q } }, service: { extensions: [file_storage] } }";

/// Nothing but what is needed.
const MINIMAL: &[(&str, &str)] = &[
    ("receivers:\n  otlp", "receivers: { otlp: { protocols: { grpc: , http: } } }"),
    ("processors:\n  wasm", "processors: { wasm: { module: plugins/waybill.wasm } }"),
    ("exporters:\n  otlp_grpc:", "exporters: { otlp_grpc: { endpoint: 'tracing.example:4317' } }"),
    ("exporters:\n  otlp_http", "exporters: { otlp_http: { endpoint: 'https://tracing.example:4318' } }"),
    ("exporters:\n  debug", ""),
    (
        "exporters:\n  otlp_grpc/near",
        "exporters: { otlp_grpc/near: { endpoint: 'near.example:4317' }, otlp_grpc/far: { endpoint: 'far.example:4317' }, \
         failover: { exporters: [otlp_grpc/near, otlp_grpc/far] } }",
    ),
    ("exporters:\n  file", "exporters: { file: { path: spans.json } }"),
    ("extensions:\n  file_storage", "extensions: { file_storage: { directory: /var/lib/sluice/queues } }"),
    ("extensions:\n  health_check", "extensions: { health_check: }"),
    ("extensions:\n  sluice", "extensions: { sluice: }"),
    ("service:\n  telemetry", ""),
];

/// Whether an address was named decides only what happens when it is taken.
fn forget_whether_named(mut config: Config) -> Config {
    config.service.telemetry.metrics.readers.iter_mut().for_each(|reader| reader.configured = false);
    for component in &mut config.extensions {
        if let crate::extension::Settings::HealthCheck(settings) = &mut component.settings {
            settings.configured = false;
        }
    }
    config
}

#[test]
fn the_defaults_on_the_page_are_those_of_the_program() {
    let blocks = blocks("yaml defaults");
    assert_eq!(blocks.len(), MINIMAL.len());
    for block in blocks {
        let minimal = MINIMAL.iter().find(|(start, _)| block.starts_with(start)).map(|(_, minimal)| minimal);
        let minimal = minimal.unwrap_or_else(|| panic!("what is the least that is needed here?\n{block}"));
        let (written, least) = (config(&[text(GOOD), text(block)]), config(&[text(GOOD), text(minimal)]));
        assert_eq!(forget_whether_named(written), forget_whether_named(least), "{block}");
    }
}

#[test]
fn what_is_commented_out_on_the_page_can_be_used_too() {
    for block in blocks("yaml defaults") {
        let block = block.replace("sha256: 9f2c…", &format!("sha256: {:0<64}", "9f2c"));
        let lines = block
            .lines()
            .map(|line| line.replacen("# ", if line.trim_start().starts_with('#') { "" } else { "# " }, 1));
        let block = lines.collect::<Vec<_>>().join("\n");
        load(&[text(GOOD), text(STORAGE), text(&block)]).map_err(|problems| format!("{problems}\n{block}")).unwrap();
    }
}
