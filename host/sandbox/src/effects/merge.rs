//! Updates of one series become one: what many calls of a request count is kept once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::{Effects, Labels, LogLine, Metric, MetricKind, MetricUpdate};

/// Places of more series are not kept from call to call: plugins have some hundred.
const KEPT: usize = 4096;

/// Where in a list of updates those of a series are.
#[derive(Debug, Default)]
pub(crate) struct Places {
    by_hash: HashMap<u64, u32>,
    /// So many updates, the first ones, are in there.
    placed: usize,
}

impl Places {
    fn clear(&mut self) {
        self.by_hash.clear();
        self.by_hash.shrink_to(KEPT);
        self.placed = 0;
    }

    /// Takes in updates that were put into the list without it.
    fn catch_up(&mut self, updates: &[MetricUpdate]) {
        for (place, update) in updates.iter().enumerate().skip(self.placed) {
            self.by_hash.insert(series(&update.metric, &update.labels), place as u32);
        }
        self.placed = updates.len();
    }
}

/// The hash of a series. Instances of a plugin that replace each other name it alike.
pub(crate) fn series(metric: &Metric, labels: &Labels) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&metric.name, labels).hash(&mut hasher);
    hasher.finish()
}

impl MetricUpdate {
    fn is_of(&self, metric: &Arc<Metric>, labels: &Labels) -> bool {
        (Arc::ptr_eq(&self.metric, metric) || self.metric == *metric) && self.labels == *labels
    }

    /// What it takes in memory.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.labels.bytes() + size_of_val(&self.more[..])
    }

    /// Takes in a later update of the same series.
    fn take_in(&mut self, later: Self) {
        match self.metric.kind {
            MetricKind::Counter => self.value += later.value,
            MetricKind::Gauge => self.value = later.value,
            MetricKind::Histogram => {
                self.more.push(later.value);
                self.more.extend(later.more);
            }
        }
    }
}

impl Effects {
    /// Stages an update; tells how much more memory that takes.
    pub(crate) fn stage(&mut self, update: MetricUpdate) -> usize {
        let hash = series(&update.metric, &update.labels);
        self.stage_as(hash, update)
    }

    /// The same where the hash is known.
    pub(crate) fn stage_as(&mut self, hash: u64, update: MetricUpdate) -> usize {
        self.places.catch_up(&self.metrics);
        let place = self.places.by_hash.get(&hash).and_then(|place| self.metrics.get_mut(*place as usize));
        if let Some(before) = place.filter(|before| before.is_of(&update.metric, &update.labels)) {
            let bytes = before.bytes();
            before.take_in(update);
            return before.bytes() - bytes;
        }
        let bytes = update.bytes();
        self.places.by_hash.insert(hash, self.metrics.len() as u32);
        self.metrics.push(update);
        self.places.placed = self.metrics.len();
        bytes
    }

    /// Takes over what a call has said that went well.
    pub(crate) fn take_over(&mut self, said: &mut Self) {
        self.logs.append(&mut said.logs);
        if self.metrics.is_empty() {
            // Most requests are one call.
            self.metric_bytes = said.metrics.iter().map(MetricUpdate::bytes).sum();
            self.places.clear();
            std::mem::swap(&mut self.metrics, &mut said.metrics);
        } else {
            for update in said.metrics.drain(..) {
                self.metric_bytes += self.stage(update);
            }
        }
        said.discard();
    }

    /// Forgets what a call has said.
    pub(crate) fn discard(&mut self) {
        self.logs.clear();
        self.metrics.clear();
        self.places.clear();
        self.metric_bytes = 0;
    }

    /// What is staged takes in memory until the request has passed.
    pub(crate) fn bytes(&self) -> usize {
        let logs: usize = self.logs.iter().map(|line| LogLine::bytes_of(&line.message)).sum();
        logs.saturating_add(self.metric_bytes).saturating_add(self.store.bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn update(kind: MetricKind, name: &str, label: &str, value: f64) -> MetricUpdate {
        let (name, help, labels) = (name.to_owned(), String::new(), vec!["depot".to_owned()]);
        let metric = Arc::new(Metric { kind, name, help, labels });
        MetricUpdate { metric, labels: [label].into_iter().collect(), value, more: Vec::new() }
    }

    fn values(effects: &Effects) -> Vec<(&str, &str, f64, &[f64])> {
        let all = effects.metrics.iter();
        all.map(|update| (&*update.metric.name, update.labels.get(0), update.value, &update.more[..])).collect()
    }

    #[test]
    fn updates_of_one_series_are_one_within_a_call_and_over_all_calls() {
        use MetricKind::{Counter, Gauge, Histogram};
        let (mut request, mut sizes) = (Effects::default(), Vec::new());
        for call in 0..3 {
            let mut said = Effects::default();
            for (kind, name) in [(Counter, "count"), (Gauge, "last"), (Histogram, "took")] {
                for value in [1.0, 2.0, f64::from(call)] {
                    said.stage(update(kind, name, "a", value));
                }
            }
            said.stage(update(Counter, "count", "b", 0.5));
            request.take_over(&mut said);
            assert!(said.metrics.is_empty());
            sizes.push(request.bytes());
        }
        let expected: [(&str, &str, f64, &[f64]); 4] = [
            ("count", "a", 12.0, &[]),
            ("last", "a", 2.0, &[]),
            ("took", "a", 1.0, &[2.0, 0.0, 1.0, 2.0, 1.0, 1.0, 2.0, 2.0]),
            ("count", "b", 1.5, &[]),
        ];
        assert_eq!(values(&request), expected);
        // Three more values of the histogram.
        let grown: Vec<_> =
            sizes.windows(2).map(|pair| pair.iter().rev().copied().reduce(|now, before| now - before)).collect();
        assert_eq!(grown, [Some(24), Some(24)]);
    }

    #[test]
    fn a_metric_that_is_defined_in_another_way_is_another() {
        let mut effects = Effects::default();
        effects.stage(update(MetricKind::Counter, "n", "a", 1.0));
        effects.stage(update(MetricKind::Gauge, "n", "a", 5.0));
        effects.stage(update(MetricKind::Gauge, "n", "a", 7.0));
        assert_eq!(values(&effects), [("n", "a", 1.0, &[][..]), ("n", "a", 7.0, &[][..])]);
    }
}
