//! What the controller counts. docs/metrics.md explains each metric to those who run it.
//!
//! Nothing here decides or asks: the controller's loop writes down what it did, and a scrape reads what was written
//! last. Whatever has labels known beforehand is there from the start, so that its first increase is seen as one.

use std::collections::BTreeMap;
use std::time::Duration;

use lb_core::allocator::PoolUsage;
use lb_core::ids::PoolName;
use lb_core::pool::{Family, PoolSize};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::k8s::write::WriteResult;
use crate::telemetry::metric::{Sorted, register_build_info};

#[cfg(test)]
mod tests;

/// Upper ends of the buckets for the duration of a pass, in seconds. Steps of 2 to 2.5 from 1 ms, which a small
/// cluster never exceeds, to 10 s, which nobody should see.
const PASS_BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What was written to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// The addresses of a Service, with the annotation that names the pool.
    ServiceStatus,
    /// The counters of an `IPAddressPool`.
    PoolStatus,
    /// What the controller says of the configuration.
    ConfigurationState,
    /// An event.
    Event,
}

impl WriteKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ServiceStatus, Self::PoolStatus, Self::ConfigurationState, Self::Event];

    /// Value of the label `kind`.
    pub fn label(self) -> &'static str {
        match self {
            Self::ServiceStatus => "service_status",
            Self::PoolStatus => "pool_status",
            Self::ConfigurationState => "configuration_state",
            Self::Event => "event",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct PoolLabels {
    pool: String,
    family: &'static str,
}

type WaitingLabels = [(&'static str, &'static str); 1];
type WriteLabels = [(&'static str, &'static str); 2];

/// The controller's metrics. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Metrics {
    addresses: Sorted<PoolLabels, ConstGauge>,
    in_use: Sorted<PoolLabels, ConstGauge>,
    waiting: Sorted<WaitingLabels, ConstGauge>,
    passes: Histogram,
    updates: Counter,
    writes: Sorted<WriteLabels, Counter>,
    leader: Gauge,
    synced: Gauge,
    valid: Gauge,
    problems: Gauge,
}

impl Metrics {
    /// Metrics that show a controller which has done nothing yet, known to the registry from now on.
    pub fn new(registry: &mut Registry) -> Self {
        let new = Self {
            addresses: Sorted::default(),
            in_use: Sorted::default(),
            waiting: Sorted::default(),
            passes: Histogram::new(PASS_BUCKETS),
            updates: Counter::default(),
            writes: Sorted::default(),
            leader: Gauge::default(),
            synced: Gauge::default(),
            valid: Gauge::default(),
            problems: Gauge::default(),
        };
        for kind in WriteKind::ALL {
            for result in WriteResult::ALL {
                new.writes.insert(write_labels(kind, result), Counter::default());
            }
        }
        new.register(registry);
        new
    }

    /// The library ends each sentence with a full stop, and a counter's name with `_total`.
    fn register(&self, registry: &mut Registry) {
        register_build_info(registry);
        registry.register(
            "barelb_allocator_addresses",
            "Addresses that a pool can give out. 2^63-1 stands for that many or more, as in a large IPv6 pool",
            self.addresses.clone(),
        );
        registry.register(
            "barelb_allocator_addresses_in_use",
            "Addresses that Services hold. One that several share counts once",
            self.in_use.clone(),
        );
        registry.register(
            "barelb_allocator_services_waiting",
            "Services without the address they are to have, by reason",
            self.waiting.clone(),
        );
        registry.register_with_unit(
            "barelb_controller_reconcile_duration",
            "Time that a pass over all Services took, without the writes",
            Unit::Seconds,
            self.passes.clone(),
        );
        registry.register(
            "barelb_controller_updates",
            "Changes of objects that watches have shown, their first lists among them",
            self.updates.clone(),
        );
        registry.register(
            "barelb_controller_writes",
            "Writes to the API server, by what was written and what became of it",
            self.writes.clone(),
        );
        registry.register(
            "barelb_controller_leader",
            "1 if this replica leads and may write, else 0",
            self.leader.clone(),
        );
        registry.register(
            "barelb_controller_synced",
            "1 once every kind of object has been listed, else 0",
            self.synced.clone(),
        );
        registry.register(
            "barelb_controller_configuration_valid",
            "1 if all of the configuration is in force, 0 if a part is not, or while none was read",
            self.valid.clone(),
        );
        registry.register(
            "barelb_controller_configuration_problems",
            "Problems of the configuration, warnings among them",
            self.problems.clone(),
        );
    }

    /// How full a pool is. A family that the pool neither has nor had is not shown.
    pub fn pool(&self, name: &PoolName, usage: PoolUsage) {
        for family in [Family::Ipv4, Family::Ipv6] {
            let (size, in_use) = (count(usage.size, family), count(usage.in_use, family));
            let labels = pool_labels(name, family);
            if size == 0 && in_use == 0 {
                self.addresses.remove(&labels);
                self.in_use.remove(&labels);
            } else {
                self.addresses.insert(labels.clone(), ConstGauge::new(size));
                self.in_use.insert(labels, ConstGauge::new(in_use));
            }
        }
    }

    /// Forgets the pools that are not to be kept, because they are gone.
    pub fn retain_pools(&self, keep: impl Fn(&str) -> bool) {
        self.addresses.retain(|labels| keep(&labels.pool));
        self.in_use.retain(|labels| keep(&labels.pool));
    }

    /// How many Services are without the address they are to have, by
    /// [`AllocError::reason`](lb_core::request::AllocError::reason). A reason that is not named, or that nobody has,
    /// is not shown any more.
    pub fn waiting(&self, by_reason: &BTreeMap<&'static str, u64>) {
        let gauge = |count: u64| ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
        let shown = by_reason.iter().filter(|(_, count)| **count > 0);
        self.waiting.replace(shown.map(|(reason, count)| ([("reason", *reason)], gauge(*count))).collect());
    }

    /// A pass over all Services took this long.
    pub fn pass(&self, took: Duration) {
        self.passes.observe(took.as_secs_f64());
    }

    /// So many changes of objects were taken in.
    pub fn updated(&self, updates: u64) {
        self.updates.inc_by(updates);
    }

    /// Something was written, or was to be.
    pub fn written(&self, kind: WriteKind, result: WriteResult) {
        self.writes.with(write_labels(kind, result), |counter| counter.inc());
    }

    /// Whether this replica leads. One that does not knows nothing of pools, Services and the configuration: what it
    /// knew when it led may be wrong by now.
    pub fn leader(&self, leads: bool) {
        self.leader.set(leads.into());
        if !leads {
            self.retain_pools(|_| false);
            self.waiting(&BTreeMap::new());
            self.configuration(false, 0);
        }
    }

    /// Whether every kind of object has been listed.
    pub fn synced(&self, synced: bool) {
        self.synced.set(synced.into());
    }

    /// Whether all of the configuration is in force, and how many problems it has. With warnings alone it is.
    pub fn configuration(&self, valid: bool, problems: usize) {
        self.valid.set(valid.into());
        self.problems.set(i64::try_from(problems).unwrap_or(i64::MAX));
    }
}

fn pool_labels(name: &PoolName, family: Family) -> PoolLabels {
    PoolLabels { pool: name.as_str().to_owned(), family: family.name() }
}

fn count(size: PoolSize, family: Family) -> i64 {
    match family {
        Family::Ipv4 => size.ipv4,
        Family::Ipv6 => size.ipv6,
    }
}

fn write_labels(kind: WriteKind, result: WriteResult) -> WriteLabels {
    [("kind", kind.label()), ("result", result.label())]
}
