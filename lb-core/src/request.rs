//! What a Service asks for, read from its fields and annotations.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{
    addresses::Addresses,
    ids::{PoolName, ServiceKey},
    pool::{Family, ServiceAllocation},
    selector::Labels,
    sharing::{Port, Sharing, TrafficPolicy, WordError},
};

mod error;
#[cfg(test)]
mod tests;

pub use error::{AllocError, WishSource};

/// Annotation prefix of MetalLB since 0.13.
const PREFIX: &str = "metallb.io/";
/// Its deprecated predecessor; the new one wins once it is there, even when empty.
const OLD_PREFIX: &str = "metallb.universe.tf/";
/// By which Services share an address, after a prefix.
const ALLOW_SHARED_IP: &str = "allow-shared-ip";

/// `spec.type`, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
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

impl AsRef<Self> for ServiceSpec {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl ServiceSpec {
    /// Value of a MetalLB annotation under its new prefix or, failing that, under its old one.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        if self.annotations.is_empty() {
            return None;
        }
        let value = |prefix: &str| self.annotations.get(&format!("{prefix}{name}"));
        value(PREFIX).or_else(|| value(OLD_PREFIX)).map(String::as_str)
    }

    /// Whether the annotation `allow-shared-ip` is there under either prefix, whatever its value.
    pub fn may_share(&self) -> bool {
        self.annotation(ALLOW_SHARED_IP).is_some()
    }

    /// The sharing key; an empty one is none.
    pub fn sharing_key(&self) -> Option<&str> {
        self.annotation(ALLOW_SHARED_IP).filter(|key| !key.is_empty())
    }

    /// What announcing a Service depends on, and nothing else: an agent keeps all the Services of a cluster.
    #[must_use]
    pub fn announced(self) -> Self {
        let Self { service_type, load_balancer_class, annotations, labels, .. } = self;
        let shares = |(key, _): &(String, String)| {
            [PREFIX, OLD_PREFIX].iter().any(|prefix| key.strip_prefix(prefix) == Some(ALLOW_SHARED_IP))
        };
        Self {
            service_type,
            load_balancer_class,
            annotations: annotations.into_iter().filter(shares).collect(),
            labels,
            external_traffic_policy: self.external_traffic_policy,
            ingress: self.ingress,
            ..Self::default()
        }
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
    /// Pools may be missing only because they can't be read now: an address that lies in none is waited for.
    pub pools_in_doubt: bool,
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
            Self::One(family) => addresses.second().is_none() && Family::of(addresses.first()) == family,
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
            FamilyPolicy::PreferDualStack | FamilyPolicy::RequireDualStack => {
                Wanted::Both { primary, required }
            }
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
    let (text, from) = match (field, annotation) {
        (Some(_), Some(_)) => return Err(AllocError::TwoWishes),
        (Some(text), None) => (Some(text), WishSource::Field),
        (None, text) => (text, WishSource::Annotation),
    };
    let addresses = text.map(|text| read_addresses(text, from)).transpose()?;
    let pool = spec.annotation("address-pool").filter(|text| !text.is_empty());
    let unknown = |text: &str| AllocError::UnknownPool { pool: text.chars().take(QUOTED).collect() };
    let pool = pool.map(|text| PoolName::new(text).map_err(|_unreadable| unknown(text))).transpose()?;
    Ok(Wish { addresses, pool })
}

/// Longest piece of a wish that is repeated in a message.
const QUOTED: usize = 60;

fn read_addresses(text: &str, from: WishSource) -> Result<Addresses, AllocError> {
    let unreadable =
        |part: &str| AllocError::UnreadableWish { text: part.trim().chars().take(QUOTED).collect(), from };
    let mut ips = Vec::new();
    for part in text.split(',') {
        ips.push(part.trim().parse::<IpAddr>().map_err(|_unparsed| unreadable(part))?);
        if ips.len() > 2 {
            return Err(AllocError::WishNotOnePerFamily { from });
        }
    }
    Addresses::new(&ips).ok_or(AllocError::WishNotOnePerFamily { from })
}
