//! What a Service asks for, read from its fields and annotations.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    str::FromStr,
};

use crate::{
    addresses::Addresses,
    ids::{PoolName, ServiceKey},
    pool::{Family, ServiceAllocation},
    selector::Labels,
    sharing::{Port, Sharing, SharingConflict, TrafficPolicy, WordError},
};

#[cfg(test)]
mod tests;

/// Annotation prefix of MetalLB since 0.13.
const PREFIX: &str = "metallb.io/";
/// Its deprecated predecessor; the new one wins once it is there, even when empty.
const OLD_PREFIX: &str = "metallb.universe.tf/";

/// `spec.type`, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServiceType {
    /// `LoadBalancer`.
    LoadBalancer,
    /// Anything else: has no address of ours.
    #[default]
    Other,
}

impl From<&str> for ServiceType {
    fn from(text: &str) -> Self {
        if text == "LoadBalancer" { Self::LoadBalancer } else { Self::Other }
    }
}

/// `spec.ipFamilyPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FamilyPolicy {
    /// One family.
    #[default]
    SingleStack,
    /// Both where possible.
    PreferDualStack,
    /// Both or nothing.
    RequireDualStack,
}

impl FromStr for FamilyPolicy {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        match text {
            "SingleStack" => Ok(Self::SingleStack),
            "PreferDualStack" => Ok(Self::PreferDualStack),
            "RequireDualStack" => Ok(Self::RequireDualStack),
            _ => Err(WordError { expected: "SingleStack, PreferDualStack or RequireDualStack" }),
        }
    }
}

/// A Service as far as allocation looks at it. Texts are kept as written; reading them is this module's work.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceSpec {
    /// `spec.type`.
    pub service_type: ServiceType,
    /// `spec.loadBalancerClass`.
    pub load_balancer_class: Option<String>,
    /// `spec.loadBalancerIP`.
    pub load_balancer_ip: Option<String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// Labels of the namespace.
    pub namespace_labels: Labels,
    /// `spec.clusterIPs`; empty where no API server fills them in.
    pub cluster_ips: Vec<String>,
    /// `spec.ipFamilies`.
    pub ip_families: Vec<Family>,
    /// `spec.ipFamilyPolicy`.
    pub ip_family_policy: FamilyPolicy,
    /// Protocol and port of `spec.ports`.
    pub ports: BTreeSet<Port>,
    /// `spec.externalTrafficPolicy`.
    pub external_traffic_policy: TrafficPolicy,
    /// `spec.selector`.
    pub selector: BTreeMap<String, String>,
    /// The `ip` texts of `status.loadBalancer.ingress`; entries with only a host name are left out.
    pub ingress: Vec<String>,
}

impl ServiceSpec {
    /// Value of a MetalLB annotation under its new prefix or, failing that, under its old one.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        let value = |prefix: &str| self.annotations.get(&format!("{prefix}{name}"));
        value(PREFIX).or_else(|| value(OLD_PREFIX)).map(String::as_str)
    }

    /// Whether the annotation `allow-shared-ip` is there under either prefix, whatever its value.
    pub fn may_share(&self) -> bool {
        self.annotation("allow-shared-ip").is_some()
    }

    /// The sharing key; an empty one is none.
    pub fn sharing_key(&self) -> Option<&str> {
        self.annotation("allow-shared-ip").filter(|key| !key.is_empty())
    }

    /// Whether the Service is for a component with this class; without a class only Services that name none.
    pub fn has_class(&self, class: Option<&str>) -> bool {
        self.load_balancer_class.as_deref() == class
    }

    /// The addresses of the status: `Ok(None)` when there are none.
    pub fn held(&self) -> Result<Option<Addresses>, StatusError> {
        if self.ingress.is_empty() {
            return Ok(None);
        }
        let ips: Result<Vec<IpAddr>, _> = self.ingress.iter().map(|text| text.parse::<IpAddr>()).collect();
        let ips = ips.map_err(|_unparsed| StatusError)?;
        Addresses::new(&ips).map(Some).ok_or(StatusError)
    }
}

/// The status holds what no load balancer of this kind writes: more than two addresses, two of one family, or
/// text that is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("status.loadBalancer.ingress is neither one address nor one of each family: it is replaced")]
pub struct StatusError;

/// Rules that are the same for every Service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Only Services with this class are ours; `None`: only those without a class.
    pub lb_class: Option<String>,
    /// Whether a Service without a cluster IP must wait: true with an API server, which gives it one.
    pub cluster_ips_required: bool,
}

/// Families of the addresses a Service is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// One address.
    One(Family),
    /// One of each family.
    Both {
        /// Family that is served first where only one can be had.
        primary: Family,
        /// Whether one alone will not do.
        required: bool,
    },
}

impl Wanted {
    /// Whether these addresses are of the right families and complete.
    pub fn satisfied_by(self, addresses: Addresses) -> bool {
        match self {
            Self::One(family) => {
                addresses.second().is_none() && Family::of(addresses.first()) == family
            }
            Self::Both { .. } => addresses.second().is_some(),
        }
    }
}

/// What a Service asks for by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// Addresses of `spec.loadBalancerIP` or the annotation `loadBalancerIPs`.
    pub addresses: Option<Addresses>,
    /// Pool of the annotation `address-pool`. Text that can be no pool's name is refused as an unknown pool.
    pub pool: Option<PoolName>,
}

/// A Service's request. Families and wish are judged apart, because a Service whose wish can't be read keeps the
/// address it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Which Service.
    pub service: &'a ServiceKey,
    /// Families wanted.
    pub families: Result<Wanted, AllocError>,
    /// Addresses or pool wanted.
    pub wish: Result<Wish, AllocError>,
    /// With whom it may share.
    pub sharing: Sharing,
    labels: &'a Labels,
    namespace_labels: &'a Labels,
}

impl<'a> Request<'a> {
    /// Reads a Service.
    pub fn new(service: &'a ServiceKey, spec: &'a ServiceSpec, rules: &Rules) -> Self {
        let families = families(spec, rules);
        let wish = read_wish(spec).and_then(|wish| match (wish.addresses, &families) {
            (Some(addresses), Ok(wanted)) if !wanted.satisfied_by(addresses) => {
                Err(AllocError::WishFamilies { wish: addresses, families: describe(*wanted) })
            }
            _ => Ok(wish),
        });
        let sharing = Sharing::new(
            spec.sharing_key(),
            spec.external_traffic_policy,
            &spec.selector,
            spec.ports.iter().copied(),
        );
        Self {
            service,
            families,
            wish,
            sharing,
            labels: &spec.labels,
            namespace_labels: &spec.namespace_labels,
        }
    }

    /// Whether a pool with this rule is open to the Service.
    pub fn permitted_by(&self, rule: Option<&ServiceAllocation>) -> bool {
        rule.is_none_or(|rule| rule.permits(self.service.namespace(), self.namespace_labels, self.labels))
    }
}

fn describe(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::One(Family::Ipv4) => "one IPv4 address",
        Wanted::One(Family::Ipv6) => "one IPv6 address",
        Wanted::Both { .. } => "one address of each family",
    }
}

/// Families from the cluster IPs or, where none are given and none are needed, from `ipFamilies` and the policy.
fn families(spec: &ServiceSpec, rules: &Rules) -> Result<Wanted, AllocError> {
    let required = spec.ip_family_policy == FamilyPolicy::RequireDualStack;
    let preferred = spec.ip_families.first().copied();
    if spec.cluster_ips.is_empty() && !rules.cluster_ips_required {
        let primary = preferred.unwrap_or(Family::Ipv4);
        return Ok(match spec.ip_family_policy {
            FamilyPolicy::SingleStack => Wanted::One(primary),
            FamilyPolicy::PreferDualStack | FamilyPolicy::RequireDualStack => Wanted::Both { primary, required },
        });
    }
    let ips: Result<Vec<IpAddr>, _> = spec.cluster_ips.iter().map(|text| text.parse::<IpAddr>()).collect();
    match ips.as_deref() {
        Ok([ip]) if !required => Ok(Wanted::One(Family::of(*ip))),
        Ok([_]) => Err(AllocError::NotEnoughClusterIps),
        Ok([a, b]) if Family::of(*a) != Family::of(*b) => {
            let primary = preferred.unwrap_or(Family::Ipv4);
            let optional = spec.ip_family_policy == FamilyPolicy::PreferDualStack;
            Ok(Wanted::Both { primary, required: !optional })
        }
        Ok([]) | Err(_) => Err(AllocError::NoClusterIp),
        Ok(_) => Err(AllocError::ClusterIpFamilies),
    }
}

fn read_wish(spec: &ServiceSpec) -> Result<Wish, AllocError> {
    let field = spec.load_balancer_ip.as_deref().filter(|text| !text.is_empty());
    let annotation = spec.annotation("loadBalancerIPs").filter(|text| !text.is_empty());
    let (text, source) = match (field, annotation) {
        (Some(_), Some(_)) => return Err(AllocError::TwoWishes),
        (Some(text), None) => (Some(text), WishSource::Field),
        (None, text) => (text, WishSource::Annotation),
    };
    let addresses = text.map(|text| read_addresses(text, source)).transpose()?;
    let pool = spec.annotation("address-pool").filter(|text| !text.is_empty());
    let unknown = |text: &str| AllocError::UnknownPool { pool: text.chars().take(QUOTED).collect() };
    let pool = pool.map(|text| PoolName::new(text).map_err(|_unreadable| unknown(text))).transpose()?;
    Ok(Wish { addresses, pool })
}

/// Longest piece of a wish that is repeated in a message.
const QUOTED: usize = 60;

fn read_addresses(text: &str, source: WishSource) -> Result<Addresses, AllocError> {
    let unreadable =
        |part: &str| AllocError::UnreadableWish { text: part.trim().chars().take(QUOTED).collect(), source };
    let mut ips = Vec::new();
    for part in text.split(',') {
        ips.push(part.trim().parse::<IpAddr>().map_err(|_unparsed| unreadable(part))?);
        if ips.len() > 2 {
            return Err(AllocError::WishNotOnePerFamily { source });
        }
    }
    Addresses::new(&ips).ok_or(AllocError::WishNotOnePerFamily { source })
}

/// Where a wish for an address was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WishSource {
    /// `spec.loadBalancerIP`.
    Field,
    /// The annotation `metallb.io/loadBalancerIPs`.
    Annotation,
}

impl WishSource {
    /// The field's path.
    pub fn field(self) -> &'static str {
        match self {
            Self::Field => "spec.loadBalancerIP",
            Self::Annotation => "metadata.annotations[metallb.io/loadBalancerIPs]",
        }
    }
}

/// Why a Service does not get the address it is to have. The variant is the reason of the condition and the
/// label of the metric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocError {
    /// Both ways of asking for an address are used; MetalLB refuses that even when they agree.
    #[error("both spec.loadBalancerIP and the annotation metallb.io/loadBalancerIPs are set: keep one")]
    TwoWishes,
    /// The wish holds text that is no address.
    #[error("{text:?} is not an IP address")]
    UnreadableWish {
        /// The text, cut to a readable length.
        text: String,
        /// Where it was written.
        source: WishSource,
    },
    /// The wish names more than two addresses or two of one family.
    #[error("at most one address per family can be asked for")]
    WishNotOnePerFamily {
        /// Where it was written.
        source: WishSource,
    },
    /// The wish's families are not those of the Service.
    #[error("asks for {wish}, but the Service needs {families} by its cluster IPs or spec.ipFamilies")]
    WishFamilies {
        /// What is asked for.
        wish: Addresses,
        /// What it has to be.
        families: &'static str,
    },
    /// `RequireDualStack` with one cluster IP.
    #[error("spec.ipFamilyPolicy is RequireDualStack, but the Service has one cluster IP")]
    NotEnoughClusterIps,
    /// No cluster IP yet, or a headless Service.
    #[error("the Service has no cluster IP")]
    NoClusterIp,
    /// More than two cluster IPs or two of one family.
    #[error("spec.clusterIPs are neither one address nor one of each family")]
    ClusterIpFamilies,
    /// There is no pool.
    #[error("no address pool is configured")]
    NoPools,
    /// The annotation names a pool that is not there.
    #[error("there is no address pool {pool:?}")]
    UnknownPool {
        /// The name asked for.
        pool: String,
    },
    /// The pool's `serviceAllocation` does not admit the Service.
    #[error("address pool {pool} is not open to this Service: its serviceAllocation names other namespaces or labels")]
    PoolClosed {
        /// The pool.
        pool: PoolName,
    },
    /// The address asked for lies in no pool.
    #[error("{ip} lies in no address pool")]
    NotInAnyPool {
        /// The address.
        ip: IpAddr,
    },
    /// The address asked for lies outside the pool asked for.
    #[error("{addresses} does not lie in address pool {pool}")]
    NotInPool {
        /// What is asked for.
        addresses: Addresses,
        /// The pool asked for.
        pool: PoolName,
    },
    /// Two addresses asked for lie in different pools.
    #[error("{addresses} do not lie in one address pool")]
    DifferentPools {
        /// What is asked for.
        addresses: Addresses,
    },
    /// A node owns the address.
    #[error("{ip} is an address of a node")]
    NodeAddress {
        /// The address.
        ip: IpAddr,
    },
    /// The pool avoids the address.
    #[error("{ip} is not given out, because its pool has avoidBuggyIPs")]
    Avoided {
        /// The address.
        ip: IpAddr,
    },
    /// Another Service has the address and may not share it.
    #[error("{ip} is in use by Service {holder}, and they can't share it: {conflict}")]
    Taken {
        /// The address.
        ip: IpAddr,
        /// Who has it.
        holder: ServiceKey,
        /// Why it can't be shared.
        conflict: SharingConflict,
    },
    /// The Service has an address of another family and would have to give it up.
    #[error("the Service holds {held}, which is of another family")]
    HoldsOtherFamily {
        /// What it holds.
        held: Addresses,
    },
    /// Nothing is free in the pool asked for.
    #[error("address pool {pool} has no free address for this Service ({families})")]
    PoolExhausted {
        /// The pool.
        pool: PoolName,
        /// What is needed.
        families: &'static str,
    },
    /// Nothing is free in any pool the Service may use without asking.
    #[error("no address pool that assigns automatically has a free address for this Service ({families})")]
    Exhausted {
        /// What is needed.
        families: &'static str,
    },
}

impl AllocError {
    pub(crate) fn exhausted(pool: Option<&PoolName>, wanted: Wanted) -> Self {
        let families = describe(wanted);
        match pool {
            Some(pool) => Self::PoolExhausted { pool: pool.clone(), families },
            None => Self::Exhausted { families },
        }
    }

    /// The variant's name: reason of the condition, label of the metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TwoWishes => "TwoWishes",
            Self::UnreadableWish { .. } => "UnreadableWish",
            Self::WishNotOnePerFamily { .. } => "WishNotOnePerFamily",
            Self::WishFamilies { .. } => "WishFamilies",
            Self::NotEnoughClusterIps => "NotEnoughClusterIPs",
            Self::NoClusterIp => "NoClusterIP",
            Self::ClusterIpFamilies => "ClusterIPFamilies",
            Self::NoPools => "NoPools",
            Self::UnknownPool { .. } => "UnknownPool",
            Self::PoolClosed { .. } => "PoolClosed",
            Self::NotInAnyPool { .. } => "NotInAnyPool",
            Self::NotInPool { .. } => "NotInPool",
            Self::DifferentPools { .. } => "DifferentPools",
            Self::NodeAddress { .. } => "NodeAddress",
            Self::Avoided { .. } => "Avoided",
            Self::Taken { .. } => "Taken",
            Self::HoldsOtherFamily { .. } => "HoldsOtherFamily",
            Self::PoolExhausted { .. } => "PoolExhausted",
            Self::Exhausted { .. } => "Exhausted",
        }
    }

    /// The field of the Service that has to change.
    pub fn field(&self, spec: &ServiceSpec) -> &'static str {
        const POOL: &str = "metadata.annotations[metallb.io/address-pool]";
        let asked = spec.load_balancer_ip.as_deref().is_some_and(|text| !text.is_empty());
        let wish = if asked { WishSource::Field } else { WishSource::Annotation };
        match self {
            Self::UnreadableWish { source, .. } | Self::WishNotOnePerFamily { source } => source.field(),
            Self::UnknownPool { .. } | Self::PoolExhausted { .. } | Self::NotInPool { .. } => POOL,
            Self::PoolClosed { .. } if spec.annotation("address-pool").is_some() => POOL,
            Self::NotEnoughClusterIps => "spec.ipFamilyPolicy",
            Self::NoClusterIp | Self::ClusterIpFamilies => "spec.clusterIPs",
            Self::TwoWishes => WishSource::Field.field(),
            Self::PoolClosed { .. }
            | Self::WishFamilies { .. }
            | Self::NotInAnyPool { .. }
            | Self::DifferentPools { .. }
            | Self::NodeAddress { .. }
            | Self::Avoided { .. }
            | Self::Taken { .. } => wish.field(),
            Self::NoPools | Self::HoldsOtherFamily { .. } | Self::Exhausted { .. } => "spec.type",
        }
    }
}
