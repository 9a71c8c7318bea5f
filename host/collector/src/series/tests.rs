#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::float_cmp)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_sandbox::{Metric, MetricKind, MetricUpdate};

use super::family::values;
use super::{Aggregate, Aggregates, Settings, Style, encode, render};

fn settings() -> Settings {
    Settings { limit: 0, expires: None, exemplars: 2, bounds: vec![2.0, 10.0], max_size: 4 }
}

fn update(kind: MetricKind, name: &str, labels: &[(&str, &str)], value: f64) -> MetricUpdate {
    let names = labels.iter().map(|(name, _)| (*name).to_owned()).collect();
    let metric = Metric { kind, name: name.to_owned(), help: "Spans.".to_owned(), labels: names };
    let labels = labels.iter().map(|(_, value)| value).collect();
    MetricUpdate { metric: Arc::new(metric), labels, value, more: Vec::new() }
}

fn count(name: &str, labels: &[(&str, &str)], value: f64) -> MetricUpdate {
    update(MetricKind::Counter, name, labels, value)
}

fn suffixed() -> Style {
    Style { suffixes: true, ..Style::default() }
}

fn shown(aggregate: &Aggregate, style: &Style) -> String {
    render([aggregate].into_iter(), style)
}

fn duration(service: &str, le: &str, times: f64, sum: f64) -> Vec<MetricUpdate> {
    vec![
        count("calls", &[("service", service)], times),
        count("duration_milliseconds_sum", &[("service", service)], sum),
        count("duration_milliseconds_bucket", &[("service", service), ("le", le)], times),
    ]
}

#[test]
fn counts_are_shown_in_the_text_format() {
    let aggregate = Aggregate::new(settings());
    let now = Instant::now();
    assert!(aggregate.commit(duration("a", "10", 2.0, 14.0), now).is_empty());
    assert!(aggregate.commit(duration("a", "+Inf", 1.0, 30.5), now).is_empty());
    // As in the page "Exposition formats" of Prometheus: buckets count what those below them do, too.
    let expected = "\
# HELP calls_total Spans.
# TYPE calls_total counter
calls_total{service=\"a\"} 3
# HELP duration_milliseconds Spans.
# TYPE duration_milliseconds histogram
duration_milliseconds_bucket{service=\"a\",le=\"2\"} 0
duration_milliseconds_bucket{service=\"a\",le=\"10\"} 2
duration_milliseconds_bucket{service=\"a\",le=\"+Inf\"} 3
duration_milliseconds_sum{service=\"a\"} 44.5
duration_milliseconds_count{service=\"a\"} 3
";
    assert_eq!(shown(&aggregate, &suffixed()), expected);
}

#[test]
fn open_metrics_have_exemplars_and_an_end() {
    let aggregate = Aggregate::new(settings());
    let exemplar = |le: &str, trace: &str, value| {
        let labels = [("service", "a"), ("le", le), ("trace_id", trace), ("span_id", "01")];
        update(MetricKind::Gauge, "duration_milliseconds_exemplar", &labels, value)
    };
    let mut updates = duration("a", "2", 1.0, 1.0);
    updates.extend([exemplar("2", "aa", 1.0), exemplar("10", "bb", 9.0), exemplar("+Inf", "cc", 12.5)]);
    // A series that is not there gets none.
    updates.push(update(
        MetricKind::Gauge,
        "calls_exemplar",
        &[("service", "b"), ("trace_id", "x"), ("span_id", "y")],
        1.0,
    ));
    aggregate.commit(updates, Instant::now());
    let style = Style { open_metrics: true, suffixes: true, ..Style::default() };
    let text = shown(&aggregate, &style);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1..3], ["# TYPE calls counter", "calls_total{service=\"a\"} 1"]);
    assert_eq!(lines[5], "duration_milliseconds_bucket{service=\"a\",le=\"2.0\"} 1", "the oldest of three went");
    assert!(
        lines[6].starts_with(
            "duration_milliseconds_bucket{service=\"a\",le=\"10.0\"} 1 # {trace_id=\"bb\",span_id=\"01\"} 9.0 1"
        ),
        "{text}"
    );
    assert!(lines[7].contains("# {trace_id=\"cc\",span_id=\"01\"} 12.5 1"), "{text}");
    assert_eq!(lines.last(), Some(&"# EOF"));
    assert!(!shown(&aggregate, &suffixed()).contains("trace_id"), "the text format has no exemplars");
}

#[test]
fn past_the_limit_new_series_are_one() {
    let aggregate = Aggregate::new(Settings { limit: 2, ..settings() });
    let now = Instant::now();
    for service in ["a", "b", "c", "d", "a"] {
        aggregate.commit(duration(service, "2", 1.0, 1.0), now);
    }
    let text = shown(&aggregate, &suffixed());
    for line in [
        "calls_total{service=\"a\"} 2",
        "calls_total{service=\"b\"} 1",
        "calls_total{otel_metric_overflow=\"true\"} 2",
        "duration_milliseconds_count{otel_metric_overflow=\"true\"} 2",
        "duration_milliseconds_sum{otel_metric_overflow=\"true\"} 2",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    assert!(!text.contains("\"c\"") && !text.contains("\"d\""));
}

#[test]
fn a_series_that_is_not_updated_goes_and_makes_room() {
    let expires = Some(Duration::from_mins(1));
    let aggregate = Aggregate::new(Settings { limit: 2, expires, ..settings() });
    let began = Instant::now();
    aggregate.commit(duration("a", "2", 5.0, 1.0), began);
    aggregate.commit(duration("b", "2", 1.0, 1.0), began + Duration::from_secs(30));
    aggregate.commit(duration("c", "2", 1.0, 1.0), began + Duration::from_secs(59));
    assert!(shown(&aggregate, &suffixed()).contains("overflow"), "c found no room");
    aggregate.commit(duration("d", "2", 1.0, 1.0), began + Duration::from_secs(61));
    aggregate.commit(duration("b", "2", 1.0, 1.0), began + Duration::from_secs(80));
    let text = |at| {
        let families = aggregate.picture(began + Duration::from_secs(at));
        let services = families.all[0].series.keys().flat_map(|key| values(key)).map(str::to_owned);
        let mut services: Vec<String> = services.collect();
        services.sort();
        services
    };
    assert_eq!(text(80), ["b", "d"], "a went after a minute, d got its room");
    assert_eq!(text(121), ["b"]);
    let families = aggregate.picture(began + Duration::from_secs(140));
    assert!(families.all.is_empty(), "nothing is left");
    // What comes back begins anew.
    aggregate.commit(duration("a", "2", 1.0, 1.0), began + Duration::from_secs(141));
    assert_eq!(aggregate.picture(began + Duration::from_secs(141)).all[0].series.values().next().unwrap().count, 1.0);
}

#[test]
fn names_and_labels_follow_the_settings() {
    let aggregate = Aggregate::new(settings());
    aggregate.commit(duration("quote \" back \\ line\n", "2", 1.0, 1.0), Instant::now());
    let style = Style {
        namespace: "edge".to_owned(),
        const_labels: vec![("site".to_owned(), "gva".to_owned()), ("service".to_owned(), "x".to_owned())],
        ..Style::default()
    };
    let text = shown(&aggregate, &style);
    let labels = "service=\"quote \\\" back \\\\ line\\n\",site=\"gva\"";
    assert!(text.contains(&format!("\nedge_calls{{{labels}}} 1\n")), "{text}");
    assert!(text.contains(&format!("\nedge_duration_count{{{labels}}} 1\n")), "{text}");
    let style = Style { timestamps: true, ..suffixed() };
    let text = shown(&aggregate, &style);
    let last = text.lines().last().unwrap();
    let millis: u64 = last.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(millis > 1_700_000_000_000, "{last}");
}

#[test]
fn weighted_counts_are_whole_numbers_and_not_rounded_before_they_are_shown() {
    let aggregate = Aggregate::new(settings());
    for _ in 0..10 {
        aggregate.commit(duration("a", "2", 1.25, 1.0), Instant::now());
    }
    let text = shown(&aggregate, &suffixed());
    // 12.5, to the next whole number.
    assert!(text.contains("calls_total{service=\"a\"} 13\n"), "{text}");
    assert!(text.contains("duration_milliseconds_count{service=\"a\"} 13\n"), "{text}");
}

#[test]
fn the_same_configuration_goes_on_and_another_begins_anew() {
    let all = Aggregates::default();
    let first = all.of("spanmetrics", "{}", &settings());
    first.commit(duration("a", "2", 1.0, 1.0), Instant::now());
    assert!(Arc::ptr_eq(&first, &all.of("spanmetrics", "{}", &settings())));
    let other = all.of("spanmetrics", "{\"namespace\":\"x\"}", &settings());
    assert_eq!(shown(&other, &suffixed()), "");
    drop(first);
    assert_eq!(shown(&all.of("spanmetrics", "{}", &settings()), &suffixed()), "", "nobody had it any more");
}

#[test]
fn series_of_two_connectors_with_the_same_labels_are_one() {
    let (one, other) = (Aggregate::new(settings()), Aggregate::new(settings()));
    one.commit(duration("a", "2", 1.0, 1.0), Instant::now());
    other.commit(duration("a", "10", 2.0, 8.0), Instant::now());
    let text = render([&one, &other].into_iter(), &suffixed());
    assert_eq!(text.matches("# TYPE").count(), 2, "{text}");
    assert!(text.contains("calls_total{service=\"a\"} 3\n") && text.contains("le=\"10\"} 3\n"), "{text}");
}

#[test]
fn what_is_no_update_of_a_series_is_given_back() {
    let aggregate = Aggregate::new(settings());
    let others = vec![
        update(MetricKind::Gauge, "fill", &[], 1.0),
        update(MetricKind::Histogram, "size", &[], 1.0),
        update(MetricKind::Counter, "x_bucket", &[("depot", "a")], 1.0),
        update(MetricKind::Gauge, "x_exemplar", &[("a", "b")], 1.0),
    ];
    assert_eq!(aggregate.commit(others.clone(), Instant::now()), others);
    assert_eq!(shown(&aggregate, &suffixed()), "");
}

#[test]
fn ever_new_metrics_and_bounds_take_no_memory_without_end() {
    let aggregate = Aggregate::new(settings());
    let now = Instant::now();
    for number in 0..1_000 {
        let left = aggregate.commit(vec![count(&format!("metric{number}"), &[], 1.0)], now);
        assert_eq!(left.len(), usize::from(number >= 100), "{number}");
    }
    let aggregate = Aggregate::new(settings());
    for bound in 0..1_000 {
        aggregate.commit(vec![count("d_bucket", &[("le", &format!("{bound}.5"))], 1.0)], now);
    }
    let text = shown(&aggregate, &suffixed());
    assert!(text.lines().count() < 510 && text.contains("d_count 1000\n"), "nothing is lost");
}

/// In the text formats a native histogram has its sum and count, and all it has counted in the bucket without a bound.
#[test]
fn an_exponential_histogram_has_no_bounds_in_text_and_its_buckets_in_protobuf() {
    let aggregate = Aggregate::new(Settings { bounds: Vec::new(), ..settings() });
    let counted = |value: &str, times| count("duration_ms_exponential", &[("service", "a"), ("le", value)], times);
    let sum = count("duration_ms_sum", &[("service", "a")], 11.0);
    let left = aggregate.commit(vec![counted("1", 1.0), counted("2", 1.0), counted("8", 1.0), sum], Instant::now());
    assert!(left.is_empty());
    let expected = "\
# HELP duration_ms Spans.
# TYPE duration_ms histogram
duration_ms_bucket{service=\"a\",le=\"+Inf\"} 3
duration_ms_sum{service=\"a\"} 11
duration_ms_count{service=\"a\"} 3
";
    assert_eq!(shown(&aggregate, &suffixed()), expected);
    // With the series of another connector, whose value is so far off that two buckets become one.
    let other = Aggregate::new(Settings { bounds: Vec::new(), ..settings() });
    other.commit(vec![counted("16", 2.0)], Instant::now());
    let both = render([&aggregate, &other].into_iter(), &suffixed());
    assert!(both.contains("duration_ms_count{service=\"a\"} 5\n"), "{both}");
    let bytes = encode([&aggregate, &other].into_iter(), &suffixed());
    // By hand, from the end of the last message: 5 samples, their sum 11, schema -1 (as 1), three buckets from 0 on, which
    // is left out, and what they count: 1 in (1/4, 1], 1 in (1, 4] and 3 in (4, 16], as 1, 0 and 2 more (as 2, 0 and 4).
    let tail = [0x08, 5, 0x11, 0, 0, 0, 0, 0, 0, 0x26, 0x40, 0x28, 1, 0x62, 2, 0x10, 3, 0x6a, 3, 2, 0, 4];
    assert_eq!(bytes[bytes.len() - tail.len()..], tail, "{bytes:02x?}");
}

#[test]
fn what_is_no_value_of_an_exponential_histogram_is_given_back() {
    let aggregate = Aggregate::new(settings());
    let others = vec![count("d_exponential", &[("le", "x")], 1.0), count("d_exponential", &[("service", "a")], 1.0)];
    assert_eq!(aggregate.commit(others.clone(), Instant::now()), others);
    assert_eq!(shown(&aggregate, &suffixed()), "");
}
