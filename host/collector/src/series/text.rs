//! Series in the text formats of Prometheus and `OpenMetrics`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::family::{Exemplar, Family, Series};
use super::{Aggregate, OVERFLOW};

/// How series are shown.
#[derive(Debug, Clone, Default)]
pub struct Style {
    /// In the format of `OpenMetrics`, the only one with exemplars.
    pub open_metrics: bool,
    /// With the time at which they are shown.
    pub timestamps: bool,
    /// Before every name; empty for none.
    pub namespace: String,
    /// Labels of every series.
    pub const_labels: Vec<(String, String)>,
    /// Units and types end the names.
    pub suffixes: bool,
}

/// A metric of all connectors, by its labels as they are written.
struct Shown<'f> {
    help: &'f str,
    is_histogram: bool,
    series: BTreeMap<String, Series>,
}

/// All series of these connectors as text. Series of the same name and labels are shown as one.
pub fn render<'a>(aggregates: impl Iterator<Item = &'a Aggregate>, style: &Style) -> String {
    let now = Instant::now();
    let pictures: Vec<_> = aggregates.map(|aggregate| aggregate.picture(now)).collect();
    let mut metrics = BTreeMap::<String, Shown<'_>>::new();
    for family in pictures.iter().flat_map(|families| &families.all) {
        let (help, is_histogram) = (&family.help[..], family.is_histogram);
        let shown = metrics.entry(style.name(family)).or_insert(Shown { help, is_histogram, series: BTreeMap::new() });
        // A counter and a histogram cannot have one name.
        if shown.is_histogram == is_histogram {
            shown.add(family, style);
        }
    }
    let mut page = Page { text: String::new(), style, time: SystemTime::now() };
    for (name, shown) in &metrics {
        page.metric(name, shown);
    }
    if style.open_metrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

impl Style {
    fn name(&self, family: &Family) -> String {
        let mut name = &family.name[..];
        if !self.suffixes && family.is_histogram {
            name = ["_milliseconds", "_seconds"].iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name);
        }
        if self.namespace.is_empty() { name.to_owned() } else { format!("{}_{name}", self.namespace) }
    }

    /// Labels as they stand between the braces; one without a value is one that is not there.
    fn labels<'l>(&'l self, labels: impl Iterator<Item = (&'l str, &'l str)>) -> String {
        let mut text = String::new();
        let mut names: Vec<&str> = Vec::new();
        let const_labels = self.const_labels.iter().map(|(name, value)| (&name[..], &value[..]));
        for (name, value) in labels.chain(const_labels) {
            if !value.is_empty() && !names.contains(&name) {
                names.push(name);
                label(&mut text, name, value);
            }
        }
        text
    }
}

impl Shown<'_> {
    fn add(&mut self, family: &Family, style: &Style) {
        for (values, series) in &family.series {
            let labels = family.labels.iter().map(String::as_str).zip(values.iter().map(String::as_str));
            self.insert(style.labels(labels), series);
        }
        if let Some(series) = &family.overflow {
            self.insert(style.labels([(OVERFLOW, "true")].into_iter()), series);
        }
    }

    fn insert(&mut self, labels: String, series: &Series) {
        let Some(known) = self.series.get_mut(&labels) else {
            self.series.insert(labels, series.clone());
            return;
        };
        known.count += series.count;
        known.sum += series.sum;
        for &(bound, count) in &series.buckets {
            known.bucket(bound, count);
        }
    }
}

/// The text that is being written.
struct Page<'s> {
    text: String,
    style: &'s Style,
    time: SystemTime,
}

impl Page<'_> {
    fn metric(&mut self, name: &str, shown: &Shown<'_>) {
        let total = if self.style.suffixes || self.style.open_metrics { "_total" } else { "" };
        let kind = if shown.is_histogram { "histogram" } else { "counter" };
        // OpenMetrics has the name without what each sample adds to it.
        let title =
            if shown.is_histogram || self.style.open_metrics { name.to_owned() } else { format!("{name}{total}") };
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {title} {}\n# TYPE {title} {kind}", escaped(shown.help, false));
        for (labels, series) in &shown.series {
            if shown.is_histogram {
                self.histogram(name, labels, series);
            } else {
                self.sample(&format!("{name}{total}"), labels, &whole(series.count), exemplar(series, None));
            }
        }
    }

    fn histogram(&mut self, name: &str, labels: &str, series: &Series) {
        let (bucket, mut count, mut is_open) = (format!("{name}_bucket"), 0.0, true);
        let unbounded = [(f64::INFINITY, 0.0)];
        for &(bound, own) in series.buckets.iter().chain(&unbounded) {
            if !is_open {
                break;
            }
            is_open = bound < f64::INFINITY;
            count += own;
            let mut labels = labels.to_owned();
            label(&mut labels, "le", &self.number(bound));
            self.sample(&bucket, &labels, &whole(count), exemplar(series, Some(bound)));
        }
        let sum = self.number(series.sum);
        self.sample(&format!("{name}_sum"), labels, &sum, None);
        self.sample(&format!("{name}_count"), labels, &whole(count), None);
    }

    fn sample(&mut self, name: &str, labels: &str, value: &str, exemplar: Option<&Exemplar>) {
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = write!(self.text, "{name}{braced} {value}");
        if self.style.timestamps {
            let time = since_epoch(self.time);
            let time = if self.style.open_metrics { seconds(time) } else { time.as_millis().to_string() };
            let _ = write!(self.text, " {time}");
        }
        if let Some(Exemplar { trace_id, span_id, value, at }) = exemplar.filter(|_| self.style.open_metrics) {
            let (value, at) = (self.number(*value), seconds(since_epoch(*at)));
            let _ = write!(self.text, " # {{trace_id=\"{trace_id}\",span_id=\"{span_id}\"}} {value} {at}");
        }
        self.text.push('\n');
    }

    /// `OpenMetrics` wants a number with a point where a number may have one.
    fn number(&self, value: f64) -> String {
        match value {
            f64::INFINITY => "+Inf".to_owned(),
            whole if self.style.open_metrics && whole.fract() == 0.0 => format!("{whole:.1}"),
            other => other.to_string(),
        }
    }
}

fn exemplar(series: &Series, bound: Option<f64>) -> Option<&Exemplar> {
    series.exemplars.iter().find(|(of, _)| *of == bound).map(|(_, exemplar)| exemplar)
}

/// Counts are whole numbers, whatever samplers make the spans stand for; what is kept is exact.
fn whole(count: f64) -> String {
    format!("{:.0}", count.round())
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

fn label(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    let _ = write!(text, "{name}=\"{}\"", escaped(value, true));
}

/// Help texts have no quotes around them.
fn escaped(text: &str, is_quoted: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if is_quoted { text.replace('"', "\\\"") } else { text }
}
