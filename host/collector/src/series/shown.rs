//! The series of all connectors as they are shown together, whatever the format.

use std::collections::BTreeMap;
use std::time::Instant;

use super::family::{Families, Family, Series, values};
use super::{Aggregate, OVERFLOW};

/// How series are shown.
#[derive(Debug, Clone, Default)]
pub struct Style {
    /// In the format of `OpenMetrics`, the only text with exemplars.
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

/// The labels of a series.
pub(super) type Labels = Vec<(String, String)>;

/// A metric of all connectors.
pub(super) struct Shown {
    pub help: String,
    pub is_histogram: bool,
    pub series: BTreeMap<Labels, Series>,
}

/// All metrics of these connectors by their names. Series of the same name and labels are shown as one.
pub(super) fn shown<'a>(aggregates: impl Iterator<Item = &'a Aggregate>, style: &Style) -> BTreeMap<String, Shown> {
    let now = Instant::now();
    let pictures: Vec<Families> = aggregates.map(|aggregate| aggregate.picture(now)).collect();
    let mut metrics = BTreeMap::<String, Shown>::new();
    for family in pictures.iter().flat_map(|families| &families.all) {
        let is_histogram = family.is_histogram;
        let new = || Shown { help: family.help.clone(), is_histogram, series: BTreeMap::new() };
        let shown = metrics.entry(style.name(family)).or_insert_with(new);
        // A counter and a histogram cannot have one name.
        if shown.is_histogram == is_histogram {
            shown.add(family, style);
        }
    }
    metrics.retain(|_, shown| !shown.series.is_empty());
    metrics
}

impl Style {
    fn name(&self, family: &Family) -> String {
        let mut name = &family.name[..];
        if !self.suffixes && family.is_histogram {
            name = ["_milliseconds", "_seconds"].iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name);
        }
        if self.namespace.is_empty() { name.to_owned() } else { format!("{}_{name}", self.namespace) }
    }

    /// What is added to the name of a counter.
    pub(super) fn total(&self) -> &'static str {
        if self.suffixes || self.open_metrics { "_total" } else { "" }
    }

    /// All labels of a series; one without a value is one that is not there.
    fn labels<'l>(&'l self, labels: impl Iterator<Item = (&'l str, &'l str)>) -> Labels {
        let mut all = Labels::new();
        let const_labels = self.const_labels.iter().map(|(name, value)| (&name[..], &value[..]));
        for (name, value) in labels.chain(const_labels) {
            if !value.is_empty() && all.iter().all(|(known, _)| known != name) {
                all.push((name.to_owned(), value.to_owned()));
            }
        }
        all
    }
}

impl Shown {
    fn add(&mut self, family: &Family, style: &Style) {
        for (key, series) in &family.series {
            let labels = family.labels.iter().map(String::as_str).zip(values(key));
            self.insert(style.labels(labels), series);
        }
        if let Some(series) = &family.overflow {
            self.insert(style.labels([(OVERFLOW, "true")].into_iter()), series);
        }
    }

    fn insert(&mut self, labels: Labels, series: &Series) {
        let Some(known) = self.series.get_mut(&labels) else {
            self.series.insert(labels, series.clone());
            return;
        };
        known.count += series.count;
        known.sum += series.sum;
        for &(bound, count) in &series.buckets {
            known.bucket(bound, count);
        }
        match (&mut known.exponential, &series.exponential) {
            (Some(known), Some(other)) => known.merge(other),
            (known, other) => *known = known.take().or_else(|| other.clone()),
        }
    }
}
