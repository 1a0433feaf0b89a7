//! MetalLB's metrics, made from ours. docs/metrics.md has the table for those who read them.
//!
//! Names, types, texts and labels are those of MetalLB 0.16 (`internal/allocator/stats.go`,
//! `internal/k8s/controllers/stats.go`, `internal/layer2/stats.go` and `speaker/main.go` there), of all that it has for
//! layer 2. Ours sum up: MetalLB has no label for the interface or the VLAN.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::sample::Sample;

/// One metric of MetalLB.
#[derive(Debug, Clone, Copy)]
pub struct Twin {
    /// MetalLB's name.
    pub name: &'static str,
    /// Its type.
    pub kind: &'static str,
    /// Its labels, by name. `protocol` is always `layer2`.
    pub labels: &'static [&'static str],
    /// The metrics of ours whose samples are added up; a program has one of them at most.
    pub of: &'static [&'static str],
    help: &'static str,
    counts: Counts,
}

/// What a sample of ours adds.
#[derive(Debug, Clone, Copy)]
enum Counts {
    /// Its value.
    All,
    /// Its value if it has this label, else nothing: so that there is a zero.
    With(&'static str, &'static str),
    /// Its value unless it has this label.
    Without(&'static str, &'static str),
    /// 1 if it is 0, unless this metric is there and 0.
    Negated(&'static str),
}

impl Counts {
    fn of(self, sample: &Sample<'_>, page: &BTreeMap<&str, Vec<Sample<'_>>>) -> Option<i128> {
        let value = number(sample)?;
        Some(match self {
            Self::All => value,
            Self::With(label, wanted) => i128::from(sample.label(label) == Some(wanted)) * value,
            Self::Without(label, unwanted) => i128::from(sample.label(label) != Some(unwanted)) * value,
            Self::Negated(unless) => {
                let known = page.get(unless).and_then(|samples| samples.first()).and_then(number);
                i128::from(value == 0 && known != Some(0))
            }
        })
    }
}

/// Everything that is made of ours is a whole number.
fn number(sample: &Sample<'_>) -> Option<i128> {
    sample.value.parse().ok()
}

const ADDRESSES: &[&str] = &["barelb_allocator_addresses"];
const IN_USE: &[&str] = &["barelb_allocator_addresses_in_use"];
const POOL: &[&str] = &["pool"];
const IP: &[&str] = &["ip"];

const fn pool(name: &'static str, help: &'static str, of: &'static [&'static str], counts: Counts) -> Twin {
    Twin { name, kind: "gauge", labels: POOL, of, help, counts }
}

const fn layer2(name: &'static str, help: &'static str, of: &'static [&'static str]) -> Twin {
    Twin { name, kind: "counter", labels: IP, of, help, counts: Counts::All }
}

/// All of them.
pub const TWINS: [Twin; 14] = [
    pool(
        "metallb_allocator_addresses_total",
        "Number of usable IP addresses, per pool",
        ADDRESSES,
        Counts::All,
    ),
    pool(
        "metallb_allocator_ipv4_addresses_total",
        "Number of usable IPV4 addresses, per pool",
        ADDRESSES,
        Counts::With("family", "IPv4"),
    ),
    pool(
        "metallb_allocator_ipv6_addresses_total",
        "Number of usable IPV6 addresses, per pool",
        ADDRESSES,
        Counts::With("family", "IPv6"),
    ),
    pool(
        "metallb_allocator_addresses_in_use_total",
        "Number of IP addresses in use, per pool",
        IN_USE,
        Counts::All,
    ),
    pool(
        "metallb_allocator_ipv4_addresses_in_use_total",
        "Number of IPV4 addresses in use, per pool",
        IN_USE,
        Counts::With("family", "IPv4"),
    ),
    pool(
        "metallb_allocator_ipv6_addresses_in_use_total",
        "Number of IPV6 addresses in use, per pool",
        IN_USE,
        Counts::With("family", "IPv6"),
    ),
    Twin {
        name: "metallb_k8s_client_updates_total",
        kind: "counter",
        labels: &[],
        of: &["barelb_controller_updates_total", "barelb_agent_updates_total"],
        help: "Number of k8s object updates that have been processed.",
        counts: Counts::All,
    },
    Twin {
        name: "metallb_k8s_client_update_errors_total",
        kind: "counter",
        labels: &[],
        of: &["barelb_controller_writes_total", "barelb_agent_writes_total"],
        help: "Number of k8s object updates that failed for some reason.",
        counts: Counts::Without("result", "ok"),
    },
    Twin {
        name: "metallb_k8s_client_config_loaded_bool",
        kind: "gauge",
        labels: &[],
        of: &["barelb_controller_synced", "barelb_agent_synced"],
        help: "1 if the MetalLB configuration was successfully loaded at least once.",
        counts: Counts::All,
    },
    Twin {
        name: "metallb_k8s_client_config_stale_bool",
        kind: "gauge",
        labels: &[],
        of: &["barelb_controller_configuration_valid", "barelb_agent_configuration_valid"],
        help: "1 if running on a stale configuration, because the latest config failed to load.",
        // A replica that does not lead judges nothing.
        counts: Counts::Negated("barelb_controller_leader"),
    },
    layer2(
        "metallb_layer2_requests_received",
        "Number of layer2 requests received for owned IPs",
        &["barelb_requests_total"],
    ),
    layer2(
        "metallb_layer2_responses_sent",
        "Number of layer2 responses sent for owned IPs in response to requests",
        &["barelb_replies_total"],
    ),
    layer2(
        "metallb_layer2_gratuitous_sent",
        "Number of gratuitous layer2 packets sent for owned IPs as a result of failovers",
        &["barelb_gratuitous_total"],
    ),
    Twin {
        name: "metallb_speaker_announced",
        kind: "gauge",
        labels: &["ip", "node", "protocol", "service"],
        of: &["barelb_announced"],
        help: "Services being announced from this node. This is desired state, it does not guarantee that the routing \
               protocols have converged.",
        counts: Counts::All,
    },
];

/// The part of the page that MetalLB's metrics are, in the older text format. Of what ours have no sample, there is none.
pub(super) fn page(ours: &str) -> Result<String, fmt::Error> {
    let mut samples: BTreeMap<&str, Vec<Sample<'_>>> = BTreeMap::new();
    let lines = ours.lines().filter(|line| !line.starts_with('#'));
    for sample in lines.filter_map(Sample::parse) {
        // Most of a page is of metrics that nothing is made of.
        if TWINS.iter().any(|twin| twin.needs(sample.name)) {
            samples.entry(sample.name).or_default().push(sample);
        }
    }
    let mut page = String::new();
    TWINS.iter().try_for_each(|twin| twin.write(&mut page, &samples))?;
    Ok(page)
}

impl Twin {
    fn needs(&self, name: &str) -> bool {
        self.of.contains(&name) || matches!(self.counts, Counts::Negated(unless) if unless == name)
    }

    fn write(&self, page: &mut String, samples: &BTreeMap<&str, Vec<Sample<'_>>>) -> fmt::Result {
        let mut sums: BTreeMap<Vec<&str>, i128> = BTreeMap::new();
        for sample in self.of.iter().filter_map(|name| samples.get(name)).flatten() {
            let Some(count) = self.counts.of(sample, samples) else { continue };
            let of_label = |label: &&'static str| match *label {
                "protocol" => "layer2",
                label => sample.label(label).unwrap_or_default(),
            };
            *sums.entry(self.labels.iter().map(of_label).collect()).or_default() += count;
        }
        if sums.is_empty() {
            return Ok(());
        }
        let Self { name, kind, help, .. } = self;
        writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
        sums.iter().try_for_each(|(values, sum)| {
            let labels: Vec<_> =
                self.labels.iter().zip(values).map(|(label, value)| format!("{label}=\"{value}\"")).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            writeln!(page, "{name}{labels} {sum}")
        })
    }
}
