//! What of a broken configuration is left to be asked, and addresses that cannot be.

use super::{GOOD, environment, load_in, text, told};

/// The first two lines of configurations.
const HEAD: &str = "\
receivers: { otlp: { protocols: { grpc: } } }
exporters: { debug: }
";

/// The ids of the plugins that can be judged by themselves.
fn left(yaml: &str) -> Vec<String> {
    let broken = load_in(&[text(yaml)], &environment).unwrap_err();
    assert!(broken.problems.has_errors());
    broken.config.used_processors().map(|component| component.id.to_string()).collect()
}

fn pipeline(processors: &str) -> String {
    format!("pipelines: {{ traces: {{ receivers: [otlp], processors: [{processors}], exporters: [debug] }} }}")
}

#[test]
fn a_plugin_is_asked_when_the_error_is_elsewhere() {
    let all = "filter, wasm/a";
    let processors = "processors: { filter: , wasm/a: { module: a.wasm } }\n";
    let service = format!("service: {{ {} }}\n", pipeline(all));
    assert_eq!(left(&format!("{HEAD}{processors}{service}nope: 1\n")), ["filter", "wasm/a"]);
    let other = "receivers: { otlp: { protocols: { grpc: { endpont: 'x:1' } } } }\nexporters: { debug: }\n";
    assert_eq!(left(&format!("{other}{processors}{service}")), ["filter", "wasm/a"]);
    let named = format!("service: {{ {} }}\n", pipeline("filter, nothing, wasm/a"));
    assert_eq!(left(&format!("{HEAD}{processors}{named}")), ["filter", "wasm/a"]);
}

#[test]
fn a_plugin_with_an_error_of_its_own_is_not_asked() {
    for own in [
        "wasm/a: { module: a.wasm, limits: { memory_mb: 1 } }",
        "wasm/a: { module: a.wasm, nope: 1 }",
        "wasm/a: { module: a.wasm, capabilities: [log, bogus] }",
        "wasm/a: { module: a.wasm, config: [1] }",
        "wasm/a: { config: {} }",
        "wasm/a: { module: '${http:nowhere}' }",
        "wasm/a: 7",
        "redaction/a: { sluice: { on_failur: open } }",
        "redaction/a: { blocked_values: ['${yaml:x}'] }",
    ] {
        let id = own.split_once(':').unwrap().0;
        let service = format!("service: {{ {} }}\n", pipeline(&format!("filter, {id}")));
        assert_eq!(left(&format!("{HEAD}processors: {{ {own}, filter: }}\n{service}")), ["filter"], "{own}");
    }
}

#[test]
fn what_builds_on_broken_settings_of_the_process_is_not_asked() {
    let plugins = "\
processors:
  filter:
  filter/kept: { sluice: { store: { persistent: true } } }
  filter/aside: { sluice: { on_failure: quarantine } }
  filter/poison: { sluice: { on_poison: quarantine } }
  wasm/signed: { module: a.wasm }
";
    let all = pipeline("filter, filter/kept, filter/aside, filter/poison, wasm/signed");
    let typo = format!("{HEAD}{plugins}extensions: {{ sluice: {{ state_dri: s }} }}\n");
    assert_eq!(left(&format!("{typo}service: {{ extensions: [sluice], {all} }}\n")), ["filter"]);
    let unnamed = format!("{HEAD}{plugins}extensions: {{ sluice: {{ state_dir: s }} }}\n");
    assert_eq!(left(&format!("{unnamed}service: {{ extensions: [slice], {all} }}\n")), ["filter"]);
    let elsewhere = format!("{unnamed}service: {{ extensions: [sluice], {all} }}\nnope: 1\n");
    assert_eq!(left(&elsewhere).len(), 5);
}

#[test]
fn what_is_no_yaml_leaves_nothing() {
    assert_eq!(left("receivers: [\n"), [""; 0]);
}

/// All that is told of the configuration with an address in it.
fn listening(with: &str, endpoint: &str) -> Vec<String> {
    told(&with.replace("HERE", &format!("'{endpoint}'")))
}

#[test]
fn an_address_that_nobody_could_listen_on_has_its_place() {
    let service = format!("service: {{ {} }}\n", pipeline(""));
    let receiver = |protocol: &str| {
        format!(
            "receivers: {{ otlp: {{ protocols: {{ {protocol}: {{\n  endpoint: HERE }} }} }} }}\nexporters: {{ debug: }}\n{service}"
        )
    };
    let series = "connectors: { spanmetrics: }\nexporters: { prometheus: {\n  endpoint: HERE } }\nreceivers: { otlp: { protocols: { grpc: } } }\n\
                  service: { pipelines: { traces: { receivers: [otlp], exporters: [spanmetrics] }, metrics: { receivers: [spanmetrics], exporters: [prometheus] } } }\n";
    let running = |extension: &str| {
        let (id, settings) = extension.split_once(' ').unwrap();
        format!("extensions: {{ {id}: {settings} }}\n{HEAD}service: {{ extensions: [{id}], {} }}\n", pipeline(""))
    };
    for with in [
        receiver("grpc"),
        receiver("http"),
        series.to_owned(),
        running("health_check {\n  endpoint: HERE }"),
        running("sluice { admin: {\n  endpoint: HERE } }"),
    ] {
        let line = 1 + with.lines().position(|line| line.starts_with("  endpoint: HERE")).unwrap();
        for (endpoint, reason) in [
            ("localhost", "it has to be `host:port`"),
            ("localhost:abc", "`abc` is no port"),
            ("localhost:99999", "`99999` is no port"),
            ("http://localhost:4317", "it has to be `host:port`, without `http://`"),
        ] {
            let expected = format!("c.yaml:{line}:3: error: `endpoint`: cannot listen on `{endpoint}`: {reason}");
            assert_eq!(listening(&with, endpoint), [expected], "{with}");
        }
        assert_eq!(listening(&with, "localhost:0"), [""; 0], "{with}");
        assert_eq!(listening(&with, "").len(), 1, "{with}");
    }
}

#[test]
fn addresses_of_telemetry_have_their_place_as_well() {
    let with = |metrics: &str| {
        format!(
            "{}\n",
            GOOD.trim_end().replace("service: {", &format!("service: {{ telemetry: {{ metrics: {{ {metrics} }} }},"))
        )
    };
    let reader = "readers: [{ pull: { exporter: { prometheus: { host: 'local host', port: 1 } } } }]";
    assert_eq!(
        told(&with(reader)),
        ["c.yaml:3:82: error: `host`: cannot listen on `local host:1`: `local host` is no host"]
    );
    let told = told(&with("address: ':99999'"));
    let expected = "c.yaml:3:36: error: `address`: cannot listen on `:99999`: `99999` is no port";
    assert!(told.contains(&expected.to_owned()), "{told:?}");
}

#[test]
fn an_exporter_s_port_that_is_none_has_its_place() {
    for (exporter, key, url) in [
        ("otlp_grpc: { endpoint: 'localhost:99999' }", "endpoint", "https://localhost:99999"),
        ("otlp_grpc: { endpoint: 'localhost:99999', tls: { insecure: true } }", "endpoint", "http://localhost:99999"),
        ("otlp_http: { traces_endpoint: 'http://localhost:99999' }", "traces_endpoint", "http://localhost:99999"),
    ] {
        let id = exporter.split_once(':').unwrap().0;
        let yaml = format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}\nexporters: {{ {exporter} }}\n\
             service: {{ pipelines: {{ traces: {{ receivers: [otlp], exporters: [{id}] }} }} }}\n"
        );
        let expected = format!("c.yaml:2:27: error: `{key}`: `{url}` is no address: `99999` is no port to send to");
        assert_eq!(told(&yaml), [expected]);
    }
}
