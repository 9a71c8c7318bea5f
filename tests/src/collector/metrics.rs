//! What /metrics shows, taken apart.

/// One scrape.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
}

/// One line of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The metric's name, `_bucket`, `_sum` and `_count` included.
    pub name: String,
    /// The labels.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
    /// The labels of its exemplar; none without one.
    pub exemplar: Vec<(String, String)>,
}

impl Sample {
    /// A label's value; empty if it is not there.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
    }
}

impl Metrics {
    /// Reads Prometheus' text format; lines that are none of it are left out.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        Self { samples: lines.filter_map(sample).collect() }
    }

    /// All samples.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// All samples of a name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The sum over all samples of a name whose labels have these values.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let matches = |sample: &&Sample| labels.iter().all(|(label, value)| sample.label(label) == *value);
        self.all(name).filter(matches).map(|sample| sample.value).sum()
    }

    /// Whether there is any sample of a name.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }
}

fn sample(line: &str) -> Option<Sample> {
    let Some((name, rest)) = line.split_once('{') else {
        let mut words = line.split_whitespace();
        let (name, value) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        return Some(Sample { name, labels: Vec::new(), value, exemplar: Vec::new() });
    };
    let (labels, rest) = labels(rest)?;
    let value = rest.split_whitespace().next()?.parse().ok()?;
    let exemplar = rest.split_once(" # {").map(|(_, exemplar)| labels_of(exemplar)).unwrap_or_default();
    Some(Sample { name: name.to_owned(), labels, value, exemplar })
}

fn labels_of(text: &str) -> Vec<(String, String)> {
    labels(text).map(|(labels, _)| labels).unwrap_or_default()
}

/// The labels up to the closing brace, and what comes after it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    while !rest.starts_with('}') {
        let (label, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.push((label.trim_start_matches(',').trim().to_owned(), value));
        rest = after;
    }
    Some((labels, rest.get(1..)?))
}

/// The text up to the closing quote, unescaped, and what comes after.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, clippy::unwrap_used, reason = "these are exact, and there")]

    use super::*;

    #[test]
    fn labels_and_values_are_read() {
        let text = "# HELP a b\na{x=\"1\",y=\"q\\\"{}\"} 2.5\na{x=\"2\",y=\"\"} 1\nup 1\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("a", &[]), 3.5);
        assert_eq!(metrics.sum("a", &[("y", "q\"{}")]), 2.5);
        assert_eq!(metrics.sum("up", &[]), 1.0);
        assert!(!metrics.has("down"));
    }

    #[test]
    fn exemplars_of_open_metrics_are_read() {
        let metrics =
            Metrics::parse("a_bucket{le=\"2.0\"} 3 # {trace_id=\"ab\",span_id=\"cd\"} 1.5 1700000000.000\n# EOF\n");
        let sample = metrics.all("a_bucket").next().unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!((sample.value, &sample.exemplar[..]), (3.0, &[pair("trace_id", "ab"), pair("span_id", "cd")][..]));
    }
}
