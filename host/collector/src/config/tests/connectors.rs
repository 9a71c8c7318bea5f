//! Connectors, and pipelines of metrics.

use super::{config, load, text, told};
use crate::series;

fn with(connectors: &str, exporters: &str, pipelines: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}\n\
         connectors: {{ {connectors} }}\n\
         exporters: {{ {exporters} }}\n\
         service:\n  pipelines:\n{pipelines}\n"
    )
}

const TRACES: &str = "    traces: { receivers: [otlp], exporters: [debug, spanmetrics] }";
const METRICS: &str = "    metrics: { receivers: [spanmetrics], exporters: [prometheus] }";

fn wired(connector: &str, exporter: &str) -> String {
    let connector = format!("spanmetrics: {{ {connector} }}");
    let exporters = format!("debug: , prometheus: {{ endpoint: 'localhost:8889', {exporter} }}");
    with(&connector, &exporters, &format!("{TRACES}\n{METRICS}"))
}

#[test]
fn a_connector_is_the_last_plugin_of_what_exports_to_it() {
    let config = config(&[text(&wired(
        "aggregation_cardinality_limit: 7, metrics_expiration: 5m, exemplars: { max_per_data_point: 2 }",
        "",
    ))]);
    let [pipeline] = &config.service.pipelines[..] else { panic!("one pipeline of traces") };
    let names = |ids: &[super::super::Id]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (names(&pipeline.processors), names(&pipeline.exporters)),
        (vec!["spanmetrics".to_owned()], vec!["debug".to_owned()])
    );
    assert_eq!(names(&pipeline.connectors), ["spanmetrics"]);
    let [scrape] = &config.scrapes[..] else { panic!("one exporter of series") };
    let [feed] = &scrape.settings.connectors[..] else { panic!("one connector") };
    assert_eq!((feed.id.as_str(), scrape.settings.settings.endpoint.text.as_str()), ("spanmetrics", "localhost:8889"));
    let plugin = config.used_processors().next().unwrap();
    assert_eq!(plugin.settings.series.as_ref(), Some(&feed.series));
    assert_eq!(plugin.settings.limits.metric_series, u32::MAX);
    assert!(plugin.settings.access.as_ref().unwrap().write.is_empty(), "it edits nothing");
    let minutes = |minutes| Some(std::time::Duration::from_mins(minutes));
    assert_eq!((feed.series.limit, feed.series.expires, feed.series.exemplars), (7, minutes(5), 2));
}

#[test]
fn a_limit_that_is_named_holds_even_if_it_is_what_processors_have() {
    let host_calls = |connector: &str| {
        let config = config(&[text(&wired(connector, ""))]);
        config.used_processors().next().unwrap().settings.limits.host_calls
    };
    assert_eq!(host_calls(""), 100_000);
    assert_eq!(host_calls("sluice: { limits: { timeout: 20ms } }"), 100_000);
    assert_eq!(host_calls("sluice: { limits: { host_calls: 10000 } }"), 10_000);
    let [problem] = &told(&wired("sluice: { limits: { metric_series: 5 } }", ""))[..] else { panic!("one problem") };
    let expected = "error: `metric_series` is not supported: `aggregation_cardinality_limit` bounds";
    assert!(problem.contains(expected), "{problem}");
}

#[test]
fn series_are_kept_as_the_connector_says() {
    let series = |connector: &str| {
        let config = config(&[text(&wired(connector, ""))]);
        config.scrapes[0].settings.connectors[0].series.clone()
    };
    let default = series("");
    assert_eq!((default.limit, default.expires, default.exemplars), (series::DEFAULT_LIMIT, None, 5));
    assert_eq!((default.bounds.len(), default.bounds[0], default.bounds[15]), (16, 2.0, 15_000.0));
    assert_eq!(series("aggregation_cardinality_limit: 0").limit, 0);
    let both = series("metrics_expiration: 5m, series_expiration: 90s");
    assert_eq!(both.expires, Some(std::time::Duration::from_secs(90)));
    assert_eq!(series("histogram: { unit: s }").bounds[..2], [0.002, 0.004]);
    assert_eq!(series("histogram: { unit: s, explicit: { buckets: [100us, 1s] } }").bounds, [0.000_1, 1.0]);
    assert_eq!(series("histogram: { explicit: { buckets: [100us, 1s] } }").bounds, [0.1, 1_000.0]);
    let exponential = |histogram| {
        let kept = series(histogram);
        (kept.bounds.len(), kept.max_size)
    };
    assert_eq!(exponential("histogram: { exponential: { max_size: 20 } }"), (0, 20));
    assert_eq!(exponential("histogram: { exponential: {} }"), (0, 160));
    assert_eq!(exponential("histogram: { exponential: }"), (16, 160));
}

#[test]
fn wiring_that_is_not_there_is_refused_with_its_place() {
    let exporters = "debug: , prometheus: { endpoint: 'localhost:8889' }";
    let cases = [
        (
            "forward: , spanmetrics: ",
            exporters,
            "    traces: { receivers: [otlp], exporters: [spanmetrics] }\n    metrics: { receivers: [spanmetrics, otlp], processors: [batch], exporters: [prometheus, debug] }",
            &[
                "c.yaml:2:15: error: connector type `forward` is not supported yet",
                "c.yaml:2:15: warning: connector `forward` is in no pipeline",
                "c.yaml:7:41: error: pipeline `metrics`: `otlp` as a receiver of metrics is not supported yet; connectors are",
                "c.yaml:7:61: error: pipeline `metrics`: processor `batch` is not defined in `processors`",
                "c.yaml:7:61: error: pipeline `metrics`: `batch`: processors of metrics are not supported yet",
                "c.yaml:7:93: error: pipeline `metrics`: `debug` as an exporter of metrics is not supported yet; `prometheus` is",
            ][..],
        ),
        (
            "spanmetrics: ",
            exporters,
            "    traces: { receivers: [otlp, spanmetrics], exporters: [debug, prometheus] }\n    logs: { receivers: [otlp], exporters: [debug] }",
            &[
                "c.yaml:6:33: error: pipeline `traces`: connector `spanmetrics` gives metrics: name it in a pipeline `metrics`",
                "c.yaml:6:66: error: pipeline `traces`: exporter `prometheus` takes metrics, no spans: name it in a pipeline `metrics`",
                "c.yaml:7:5: error: pipeline `logs`: only `traces` and `metrics` pipelines are supported",
            ],
        ),
        (
            "spanmetrics: , spanmetrics/b: ",
            exporters,
            "    traces: { receivers: [otlp], exporters: [debug, spanmetrics] }\n    metrics: { receivers: [spanmetrics/b], exporters: [prometheus] }",
            &[
                "c.yaml:6:53: error: pipeline `traces`: connector `spanmetrics` is no receiver of a pipeline `metrics`: nobody would see what it counts",
                "c.yaml:7:28: error: pipeline `metrics`: connector `spanmetrics/b` is no exporter of a pipeline `traces`: it would get no spans",
            ],
        ),
        (
            "failover: ",
            "debug: ",
            "    traces: { receivers: [otlp], exporters: [debug] }",
            &[
                "c.yaml:2:15: error: connector type `failover` is not supported yet; the exporter `failover` does this one's work",
                "c.yaml:2:15: warning: connector `failover` is in no pipeline",
            ],
        ),
    ];
    for (connectors, exporters, pipelines, expected) in cases {
        assert_eq!(told(&with(connectors, exporters, pipelines)), expected);
    }
}

#[test]
fn keys_of_the_exporter_that_are_not_there_are_refused_by_name() {
    for (settings, expected) in [
        ("tls: { cert_file: a }", "`tls` is not supported yet"),
        ("resource_to_telemetry_conversion: { enabled: true }", "`enabled: true` is not supported yet"),
        ("without_scope_info: false", "`without_scope_info: false` is not supported yet"),
        ("translation_strategy: NoTranslation", "`NoTranslation` is not supported yet"),
        ("resource_constant_labels: { included: ['*'] }", "`resource_constant_labels` is not supported yet"),
        ("sending_queue: { enabled: false }", "`sending_queue` is not supported yet"),
        ("const_label: { a: b }", "unknown key `const_label`; did you mean `const_labels`?"),
        ("metric_expiration: 5", "`metric_expiration`: a duration needs a unit"),
    ] {
        let told = told(&wired("", settings));
        assert!(told.iter().any(|line| line.contains("error: ") && line.contains(expected)), "{settings}: {told:?}");
    }
    let taken = "namespace: a, const_labels: { b: c }, send_timestamps: true, enable_open_metrics: true, \
                 add_metric_suffixes: true, translation_strategy: UnderscoreEscapingWithoutSuffixes, \
                 resource_to_telemetry_conversion: { enabled: false }, without_scope_info: true, metric_expiration: 180m";
    let loaded = load(&[text(&wired("", taken))]).unwrap();
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("`metric_expiration` changes nothing"), "{warnings:?}");
    let settings = &loaded.config.scrapes[0].settings.settings;
    assert!(settings.send_timestamps && settings.open_metrics && !settings.suffixes);
    assert_eq!(told(&wired("", "").replace("endpoint: 'localhost:8889', ", "")).len(), 1, "an endpoint is needed");
}
