//! Metrics as `prometheus-client` does not have them.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

/// Metrics of one name, by their labels and in their order: equal values are equal text, which the library's own
/// `Family` does not promise. Clones share the metrics.
#[derive(Debug)]
pub struct Sorted<L, M> {
    metrics: Arc<RwLock<BTreeMap<L, M>>>,
}

impl<L, M> Clone for Sorted<L, M> {
    fn clone(&self) -> Self {
        Self { metrics: Arc::clone(&self.metrics) }
    }
}

impl<L, M> Default for Sorted<L, M> {
    fn default() -> Self {
        Self { metrics: Arc::default() }
    }
}

impl<L: Ord, M> Sorted<L, M> {
    /// Puts a metric in the place of what had these labels.
    pub fn insert(&self, labels: L, metric: M) {
        self.change(|metrics| {
            metrics.insert(labels, metric);
        });
    }

    /// Removes the metric of these labels, if there is one.
    pub fn remove(&self, labels: &L) {
        self.change(|metrics| {
            metrics.remove(labels);
        });
    }

    /// Puts metrics in the place of all that were there.
    pub fn replace(&self, metrics: BTreeMap<L, M>) {
        self.change(|all| *all = metrics);
    }

    /// Removes every metric whose labels are not to be kept.
    pub fn retain(&self, mut keep: impl FnMut(&L) -> bool) {
        self.change(|metrics| metrics.retain(|labels, _| keep(labels)));
    }

    /// Does something with the metric of these labels, which is made if it is not there.
    pub fn with<R>(&self, labels: L, act: impl FnOnce(&mut M) -> R) -> R
    where
        M: Default,
    {
        self.change(|metrics| act(metrics.entry(labels).or_default()))
    }

    /// A map stays whole whatever happened to a thread that was changing it, so a poisoned lock is as good as any.
    fn change<R>(&self, act: impl FnOnce(&mut BTreeMap<L, M>) -> R) -> R {
        act(&mut self.metrics.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<L, M> EncodeMetric for Sorted<L, M>
where
    L: EncodeLabelSet,
    M: EncodeMetric + TypedMetric,
{
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let metrics = self.metrics.read().unwrap_or_else(PoisonError::into_inner);
        metrics.iter().try_for_each(|(labels, metric)| metric.encode(encoder.encode_family(labels)?))
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }

    fn is_empty(&self) -> bool {
        self.metrics.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Registers `barelb_build_info`, which tells which version this is.
///
/// A gauge and not of the type `info`, which only readers of OpenMetrics know.
pub fn register_build_info(registry: &mut Registry) {
    let info = Sorted::default();
    info.insert([("version", env!("CARGO_PKG_VERSION"))], ConstGauge::new(1_i64));
    registry.register("barelb_build_info", "Always 1; the version is a label", info);
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    fn rendered(registry: &Registry) -> String {
        let mut text = String::new();
        text::encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn metrics_come_in_the_order_of_their_labels_and_clones_share_them() {
        let mut registry = Registry::default();
        let counters: Sorted<[(&str, &str); 1], Counter> = Sorted::default();
        registry.register("tries", "Tries", counters.clone());
        assert_eq!(rendered(&registry), "# EOF\n", "no metric, no name");

        for result in ["worse", "bad", "bad", "\"best\"\n"] {
            counters.with([("result", result)], |counter| counter.inc());
        }
        let expected = "# HELP tries Tries.\n# TYPE tries counter\n\
            tries_total{result=\"\\\"best\\\"\\n\"} 1\n\
            tries_total{result=\"bad\"} 2\n\
            tries_total{result=\"worse\"} 1\n# EOF\n";
        assert_eq!(rendered(&registry), expected);

        counters.retain(|[(_, result)]| *result == "bad");
        assert_eq!(
            rendered(&registry),
            "# HELP tries Tries.\n# TYPE tries counter\ntries_total{result=\"bad\"} 2\n# EOF\n"
        );
        counters.remove(&[("result", "good")]);
        counters.remove(&[("result", "bad")]);
        assert_eq!(rendered(&registry), "# EOF\n");
        counters.replace([([("result", "none")], Counter::default())].into());
        assert!(rendered(&registry).contains("tries_total{result=\"none\"} 0\n"));
    }

    #[test]
    fn the_version_is_a_label() {
        let mut registry = Registry::default();
        register_build_info(&mut registry);
        let expected = format!(
            "# HELP barelb_build_info Always 1; the version is a label.\n# TYPE barelb_build_info gauge\n\
             barelb_build_info{{version=\"{}\"}} 1\n# EOF\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(rendered(&registry), expected);
    }
}
