//! Which nodes and which links may announce.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use crate::{
    config::Interfaces,
    ids::{LinkId, LinkName, Mac, NodeName},
    membership::LinkReport,
    selector::Labels,
};

#[cfg(test)]
mod tests;

/// A Node with this label announces nothing (`k8s.io/api/core/v1`, `LabelNodeExcludeBalancers`).
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Beginnings of interface names that announce nothing unless the user names them (MetalLB's `ConfigMap`
/// `metallb-excludel2`); `lo` is excluded too, by its whole name.
const EXCLUDED_PREFIXES: [&str; 13] = [
    "docker",
    "cbr",
    "dummy",
    "virbr",
    "lxcbr",
    "veth",
    "cali",
    "tunl",
    "flannel",
    "kube-ipvs",
    "cni",
    "nodelocaldns",
    "lxc",
];

/// A network interface of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Kernel index.
    pub id: LinkId,
    /// Name.
    pub name: LinkName,
    /// Link-layer address; `None` if it has none of six bytes.
    pub mac: Option<Mac>,
    /// `IFF_UP`: the administrator switched it on.
    pub up: bool,
    /// `IFF_LOWER_UP`. Not looked at by the plan: an entry on a link without carrier answers nobody, and is there
    /// when the carrier returns.
    pub carrier: bool,
    /// It has a master: a bridge, a bond, a VRF.
    pub enslaved: bool,
    /// `IFF_NOARP`, or not Ethernet.
    pub noarp: bool,
    /// Addresses assigned to it.
    pub addresses: Vec<IpAddr>,
}

/// Why a link announces nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum LinkFault {
    /// Its name is on the default exclude list and the user did not name it.
    #[error("its name is on the exclude list: name it with --interface to use it")]
    Excluded,
    /// `--interface` names other links.
    #[error("it is not among the links given with --interface")]
    NotAllowed,
    /// It is switched off.
    #[error("it is down: ip link set it up")]
    Down,
    /// It has a master.
    #[error("it belongs to a bridge, bond or VRF: announce on that instead")]
    Enslaved,
    /// It carries no ARP, or is not Ethernet.
    #[error("it carries no ARP or is not Ethernet")]
    NoArp,
    /// It has no six-byte link-layer address.
    #[error("it has no Ethernet address")]
    NoMac,
}

/// What a node reports about one of its links (Lease annotation `barelb.io/links`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkFitness {
    /// It can announce.
    Fit,
    /// It can't; the report says why.
    Unfit,
}

/// A named interface that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceError {
    /// Given on the command line, and no link has the name.
    #[error("there is no interface {name}: `ip link` lists those that exist")]
    Missing {
        /// The name.
        name: LinkName,
    },
    /// An advertisement names it, and no link of this node has the name.
    #[error(
        "this node has no interface {name}: nothing is announced there; correct the name, unless it is meant for \
         other nodes"
    )]
    NotHere {
        /// The name.
        name: LinkName,
    },
    /// An advertisement names it, and no node reports such a link.
    #[error(
        "no node has an interface {name} that can announce: nothing is announced there; correct the name"
    )]
    Nowhere {
        /// The name.
        name: LinkName,
    },
    /// The expression of an advertisement matches no link that any node reports.
    #[error(
        "no node has an interface that {pattern:?} matches and that can announce: correct the expression"
    )]
    Unmatched {
        /// The expression.
        pattern: String,
    },
    /// Given on the command line, and the link can't announce.
    #[error("interface {name} announces nothing: {fault}")]
    Unfit {
        /// The name.
        name: LinkName,
        /// Why.
        fault: LinkFault,
    },
}

impl InterfaceError {
    /// Whether it may be meant: an advertisement lists the interfaces of all nodes.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::NotHere { .. } | Self::Nowhere { .. } | Self::Unmatched { .. } => true,
            Self::Missing { .. } | Self::Unfit { .. } => false,
        }
    }
}

/// Whether the default exclude list has this name.
pub fn is_excluded(name: &LinkName) -> bool {
    name.as_str() == "lo" || EXCLUDED_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))
}

/// Why a link announces nothing, or `None` if it can. `allowed` are the names the user gave; empty = all that
/// are not excluded by default.
pub fn fault(link: &Link, allowed: &BTreeSet<LinkName>) -> Option<LinkFault> {
    let named = allowed.contains(&link.name);
    let faults = [
        (!allowed.is_empty() && !named, LinkFault::NotAllowed),
        (!named && is_excluded(&link.name), LinkFault::Excluded),
        (!link.up, LinkFault::Down),
        (link.enslaved, LinkFault::Enslaved),
        (link.noarp, LinkFault::NoArp),
        (link.mac.is_none(), LinkFault::NoMac),
    ];
    faults.into_iter().find(|(applies, _)| *applies).map(|(_, fault)| fault)
}

/// The addresses by which this machine itself is reached. Links of the exclude list do not count unless the user
/// names them: kube-proxy keeps the very addresses of Services on `kube-ipvs0`, and users keep them on `lo`.
pub fn own_addresses(links: &[Link], allowed: &BTreeSet<LinkName>) -> BTreeSet<IpAddr> {
    let counts = |link: &&Link| allowed.contains(&link.name) || !is_excluded(&link.name);
    links.iter().filter(counts).flat_map(|link| link.addresses.iter().copied()).collect()
}

/// Why a node is to hand its addresses over. Its own agent acts on it, and says so to the others by the fitness of its
/// links: so all see it at the same time, and none by an object that another has not seen yet.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error,
)]
pub enum Leaving {
    /// `spec.unschedulable`; counts with `--on-cordon withdraw` only.
    #[error(
        "the node is cordoned, and its agent runs with --on-cordon withdraw: `kubectl uncordon` ends that"
    )]
    Cordoned,
    /// The annotation [`DRAIN_ANNOTATION`].
    #[error("the node is drained: `barelb drain --undo` with its name ends that")]
    Drained,
    /// The kubelet says so in the condition `Ready`.
    #[error("the node is shutting down")]
    ShuttingDown,
}

/// On a Node: its addresses are to be handed over, whatever the value.
pub const DRAIN_ANNOTATION: &str = "barelb.io/drain";

/// A node of the cluster as the election sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// `metadata.labels`.
    pub labels: Labels,
    /// Condition `NetworkUnavailable` is True.
    pub network_unavailable: bool,
    /// Its agent is there. Node readiness, taints and cordoning play no part.
    pub alive: bool,
    /// `status.addresses` that are IP addresses.
    pub addresses: Vec<IpAddr>,
    /// What it reports of its links; `None`: it reports nothing and is taken as fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<BTreeMap<LinkName, LinkFitness>>,
    /// The same in full: where it can be probed; no part of the election.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<LinkReport>,
    /// Why it is to hand over what it owns; no part of the election.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Leaving>,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            labels: Labels::new(),
            network_unavailable: false,
            alive: true,
            addresses: Vec::new(),
            links: None,
            reports: Vec::new(),
            leaving: None,
        }
    }
}

impl Node {
    /// Whether the node may own any address at all.
    pub fn is_usable(&self, ignore_exclude_label: bool) -> bool {
        let excluded = !ignore_exclude_label && self.labels.contains_key(EXCLUDE_LABEL);
        self.alive && !self.network_unavailable && !excluded
    }

    /// Whether the node has a fit link among these.
    pub fn has_fit_link(&self, interfaces: &Interfaces) -> bool {
        let Some(links) = &self.links else { return true };
        let mut wanted = links.iter().filter(|(name, _)| interfaces.admit(name));
        wanted.any(|(_, fitness)| *fitness == LinkFitness::Fit)
    }
}

/// One endpoint of an `EndpointSlice`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// `nodeName`.
    pub node: Option<NodeName>,
    /// `conditions.ready`.
    pub ready: Option<bool>,
    /// `conditions.serving`.
    pub serving: Option<bool>,
}

impl Endpoint {
    /// Whether traffic can be sent there: ready, or not said to be unready, or serving while it terminates.
    pub fn can_serve(&self) -> bool {
        self.ready.unwrap_or(true) || self.serving == Some(true)
    }
}

/// Where the endpoints of a Service are that can serve.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Serving {
    /// At least one exists, on a node or elsewhere.
    pub anywhere: bool,
    /// Nodes with at least one.
    pub nodes: BTreeSet<NodeName>,
}

/// What is known of a Service's endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Endpoints {
    /// Nothing, as without a cluster: every node is taken to be able to serve.
    #[default]
    Unknown,
    /// All slices have been read.
    Known(Serving),
}

impl Endpoints {
    /// From all endpoints of all slices of a Service.
    pub fn from_endpoints(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        let mut serving = Serving::default();
        for endpoint in endpoints.into_iter().filter(Endpoint::can_serve) {
            serving.anywhere = true;
            serving.nodes.extend(endpoint.node);
        }
        Self::Known(serving)
    }

    /// One endpoint that can serve on each of these nodes.
    pub fn on(nodes: impl IntoIterator<Item = NodeName>) -> Self {
        let nodes: BTreeSet<NodeName> = nodes.into_iter().collect();
        Self::Known(Serving { anywhere: !nodes.is_empty(), nodes })
    }

    /// Whether any endpoint can serve.
    pub fn any(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Known(serving) => serving.anywhere,
        }
    }

    /// Whether an endpoint on this node can serve.
    pub fn has(&self, node: &NodeName) -> bool {
        match self {
            Self::Unknown => true,
            Self::Known(serving) => serving.nodes.contains(node),
        }
    }
}
