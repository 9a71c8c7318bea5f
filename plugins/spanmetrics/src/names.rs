//! Names of OpenTelemetry as Prometheus has them.

/// A metric's name: the words of it, joined by `_`. A digit in front gets a `_`.
pub(crate) fn metric(name: &str) -> String {
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let name = words.join("_");
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// A label's name: what is no letter or digit becomes `_`; a digit in front gets `key_`, a single `_` in front
/// gets `key`.
pub(crate) fn label(name: &str) -> String {
    let made: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if made.starts_with(|c: char| c.is_ascii_digit()) {
        return format!("key_{made}");
    }
    if made.starts_with('_') && !made.starts_with("__") { format!("key{made}") } else { made }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules of the specification's page "Prometheus and `OpenMetrics` Compatibility" and of the Collector's translator.
    #[test]
    fn names_become_those_of_prometheus() {
        let metrics = [
            ("traces.span.metrics.calls", "traces_span_metrics_calls"),
            (".calls", "calls"),
            ("a..b-c.calls", "a_b_c_calls"),
            ("2xx.calls", "_2xx_calls"),
        ];
        for (name, expected) in metrics {
            assert_eq!(metric(name), expected);
        }
        let labels = [
            ("service.name", "service_name"),
            ("http.status_code", "http_status_code"),
            ("a..b", "a__b"),
            ("1st", "key_1st"),
            ("_private", "key_private"),
            ("größe", "gr__e"),
        ];
        for (name, expected) in labels {
            assert_eq!(label(name), expected);
        }
    }
}
