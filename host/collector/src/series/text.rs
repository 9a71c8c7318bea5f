//! Series in the text formats of Prometheus and `OpenMetrics`.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Aggregate;
use super::exponential::Exponential;
use super::family::{Exemplar, Series};
use super::shown::{Shown, Style, shown};

/// All series of these connectors as text.
pub fn render<'a>(aggregates: impl Iterator<Item = &'a Aggregate>, style: &Style) -> String {
    let mut page = Page { text: String::new(), style, time: SystemTime::now() };
    for (name, shown) in shown(aggregates, style) {
        page.metric(&name, &shown);
    }
    if style.open_metrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

/// The text that is being written.
struct Page<'s> {
    text: String,
    style: &'s Style,
    time: SystemTime,
}

impl Page<'_> {
    fn metric(&mut self, name: &str, shown: &Shown) {
        let total = self.style.total();
        let kind = if shown.is_histogram { "histogram" } else { "counter" };
        // OpenMetrics has the name without what each sample adds to it.
        let title =
            if shown.is_histogram || self.style.open_metrics { name.to_owned() } else { format!("{name}{total}") };
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {title} {}\n# TYPE {title} {kind}", escaped(&shown.help, false));
        for (labels, series) in &shown.series {
            let labels = &braced(labels);
            if shown.is_histogram {
                self.histogram(name, labels, series);
            } else {
                self.sample(&format!("{name}{total}"), labels, &whole(series.count), series.exemplar(None));
            }
        }
    }

    fn histogram(&mut self, name: &str, labels: &str, series: &Series) {
        // Native histograms are in these formats as if they had no buckets.
        let (bucket, mut is_open) = (format!("{name}_bucket"), true);
        let mut count = series.exponential.as_ref().map_or(0.0, Exponential::total);
        let unbounded = [(f64::INFINITY, 0.0)];
        for &(bound, own) in series.buckets.iter().chain(&unbounded) {
            if !is_open {
                break;
            }
            is_open = bound < f64::INFINITY;
            count += own;
            let mut labels = labels.to_owned();
            label(&mut labels, "le", &self.number(bound));
            self.sample(&bucket, &labels, &whole(count), series.exemplar(Some(bound)));
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

/// Labels as they stand between the braces.
fn braced(labels: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        label(&mut text, name, value);
    }
    text
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
