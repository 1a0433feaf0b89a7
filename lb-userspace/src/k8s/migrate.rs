//! From the v0.9 document to custom resources, as MetalLB's `configmaptocrs` makes them.
//!
//! One pool becomes one `IPAddressPool` and one `L2Advertisement`, or for protocol bgp a `BGPAdvertisement` for each
//! entry of `bgp-advertisements`, that name it. Peers, BFD profiles and names of communities are carried over too,
//! although BGP is not served here: whoever leaves MetalLB takes the whole configuration along.
//!
//! The document has been judged before (`LegacyDocument::into_raw`); this adds what only objects can get wrong.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use lb_core::{
    config::{LegacyDocument, LegacyPeer, LegacyPool, LegacySelector},
    problem::Place,
};
use serde::Deserialize;

use super::crd::{
    BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, IPAddressPoolSpec, L2Advertisement,
    L2AdvertisementSpec, bfd_profile::BFDProfileSpec, bgp_advertisement::BGPAdvertisementSpec,
    bgp_peer::BGPPeerSpec, community::CommunityAlias, community::CommunitySpec,
};

/// Longest name of an object (RFC 1123 subdomain).
const MAX_NAME: usize = 253;
/// Highest port that `BGPPeer` permits.
const MAX_PORT: u16 = 16384;

/// The parts of a v0.9 document that lb-core does not keep.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Unserved {
    #[serde(default)]
    peers: Option<Vec<PeerSecret>>,
    #[serde(default)]
    bfd_profiles: Option<Vec<LegacyBfdProfile>>,
}

#[derive(Debug, Default, Deserialize)]
struct PeerSecret {
    password: Option<String>,
}

/// A BFD profile of v0.12.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LegacyBfdProfile {
    name: Option<String>,
    receive_interval: Option<i32>,
    transmit_interval: Option<i32>,
    detect_multiplier: Option<i32>,
    echo_interval: Option<i32>,
    echo_mode: Option<bool>,
    passive_mode: Option<bool>,
    minimum_ttl: Option<i32>,
}

/// Why an object can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MigrateError {
    /// Two objects of a kind would have one name.
    #[error("the object would be named {name:?} like an earlier one: rename one of them")]
    SameName {
        /// The name.
        name: String,
    },
    /// Nothing is left of a name.
    #[error("{name:?} has no letter or digit that a Kubernetes name may have: rename it")]
    NoName {
        /// The name, cut to a readable length.
        name: String,
    },
}

/// What the reader of the objects has to know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    /// The name is not one of Kubernetes.
    #[error(
        "{from:?} can't be the name of an object and becomes {to:?}: change what names it, such as {example}"
    )]
    Renamed {
        /// In the document.
        from: String,
        /// Of the object.
        to: String,
        /// What may name it.
        example: &'static str,
    },
    /// A port that the CRD refuses.
    #[error("port {port} is above {MAX_PORT}, the highest that BGPPeer permits: the object will be refused")]
    Port {
        /// The port.
        port: u16,
    },
    /// A password stands in the object.
    #[error(
        "the password stands in the object in clear text: better put it into a Secret (spec.passwordSecret)"
    )]
    Password,
    /// A part that BareLB does not serve.
    #[error("BFD profiles are not served: they are converted for the day they are")]
    Bfd,
}

/// The objects, in the order in which `configmaptocrs` writes them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Objects {
    /// BGP sessions.
    pub peers: Vec<BGPPeer>,
    /// Pools.
    pub pools: Vec<IPAddressPool>,
    /// What is announced by BGP.
    pub bgp_advertisements: Vec<BGPAdvertisement>,
    /// What is announced in layer 2.
    pub l2_advertisements: Vec<L2Advertisement>,
    /// BFD profiles.
    pub bfd_profiles: Vec<BFDProfile>,
    /// Names of communities.
    pub communities: Vec<Community>,
    /// What the reader has to know, with its place in the document.
    pub remarks: Vec<(Place, Remark)>,
}

impl Objects {
    /// Converts a document that has been found valid. `place` is the `ConfigMap`.
    pub fn convert(
        document: &LegacyDocument,
        unserved: &Unserved,
        namespace: &str,
        place: &Place,
    ) -> Result<Self, Vec<(Place, MigrateError)>> {
        let mut maker = Maker { namespace, place, objects: Self::default(), errors: Vec::new() };
        maker.peers(document.peers.as_deref().unwrap_or_default(), unserved);
        maker.pools(document.address_pools.as_deref().unwrap_or_default());
        maker.bfd_profiles(unserved.bfd_profiles.as_deref().unwrap_or_default());
        maker.communities(document);
        if maker.errors.is_empty() { Ok(maker.objects) } else { Err(maker.errors) }
    }

    /// One YAML document for each object.
    pub fn to_yaml(&self) -> Result<Vec<String>, serde_saphyr::SerializeError> {
        let mut documents = Vec::new();
        add(&mut documents, &self.peers)?;
        add(&mut documents, &self.pools)?;
        add(&mut documents, &self.bgp_advertisements)?;
        add(&mut documents, &self.l2_advertisements)?;
        add(&mut documents, &self.bfd_profiles)?;
        add(&mut documents, &self.communities)?;
        Ok(documents)
    }
}

fn add<T: serde::Serialize>(
    documents: &mut Vec<String>,
    objects: &[T],
) -> Result<(), serde_saphyr::SerializeError> {
    for object in objects {
        documents.push(serde_saphyr::to_string(object)?);
    }
    Ok(())
}

struct Maker<'a> {
    namespace: &'a str,
    place: &'a Place,
    objects: Objects,
    errors: Vec<(Place, MigrateError)>,
}

impl Maker<'_> {
    fn metadata(&self, name: impl Into<String>) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.into()),
            namespace: Some(self.namespace.to_owned()),
            ..ObjectMeta::default()
        }
    }

    fn remark(&mut self, field: String, remark: Remark) {
        self.objects.remarks.push((self.place.field(field), remark));
    }

    /// The name of the object of a part of the document; `None` after an error.
    fn name(
        &mut self,
        written: &str,
        (field, example): (String, &'static str),
        taken: &mut BTreeSet<String>,
    ) -> Option<String> {
        let name = object_name(written);
        let error = if name.is_empty() {
            MigrateError::NoName { name: written.chars().take(60).collect() }
        } else if taken.insert(name.clone()) {
            if name != written {
                self.remark(field, Remark::Renamed { from: written.to_owned(), to: name.clone(), example });
            }
            return Some(name);
        } else {
            MigrateError::SameName { name }
        };
        self.errors.push((self.place.field(field), error));
        None
    }

    fn peers(&mut self, peers: &[LegacyPeer], unserved: &Unserved) {
        let secrets = unserved.peers.as_deref().unwrap_or_default();
        for (index, peer) in peers.iter().enumerate() {
            let password = secrets.get(index).and_then(|secret| secret.password.clone()).unwrap_or_default();
            if !password.is_empty() {
                self.remark(format!("peers[{index}].password"), Remark::Password);
            }
            if let Some(port) = peer.peer_port.filter(|port| *port > MAX_PORT) {
                self.remark(format!("peers[{index}].peer-port"), Remark::Port { port });
            }
            let metadata = self.metadata(format!("peer{}", index + 1));
            self.objects.peers.push(BGPPeer { metadata, spec: peer_spec(peer, password), status: None });
        }
    }

    fn pools(&mut self, pools: &[LegacyPool]) {
        let mut taken = BTreeSet::new();
        for (index, pool) in pools.iter().enumerate() {
            let field = (format!("address-pools[{index}].name"), "the annotation metallb.io/address-pool");
            let Some(name) = self.name(pool.name.as_deref().unwrap_or_default(), field, &mut taken) else {
                continue;
            };
            self.advertise(pool, &name);
            let spec = IPAddressPoolSpec {
                addresses: pool.addresses.clone().unwrap_or_default(),
                auto_assign: pool.auto_assign.unwrap_or(true),
                avoid_buggy_ips: pool.avoid_buggy_ips.unwrap_or(false),
                service_allocation: None,
            };
            let metadata = self.metadata(name);
            self.objects.pools.push(IPAddressPool { metadata, spec, status: None });
        }
    }

    fn advertise(&mut self, pool: &LegacyPool, name: &str) {
        let ip_address_pools = vec![name.to_owned()];
        if pool.protocol.as_deref() == Some("layer2") {
            let metadata =
                self.metadata(format!("l2advertisement{}", self.objects.l2_advertisements.len() + 1));
            let spec = L2AdvertisementSpec { ip_address_pools, ..L2AdvertisementSpec::default() };
            self.objects.l2_advertisements.push(L2Advertisement { metadata, spec, status: None });
            return;
        }
        let written = pool.bgp_advertisements.as_deref().unwrap_or_default();
        let mut specs: Vec<BGPAdvertisementSpec> = written
            .iter()
            .map(|ad| BGPAdvertisementSpec {
                aggregation_length: ad.aggregation_length.and_then(|length| i32::try_from(length).ok()),
                aggregation_length_v6: ad.aggregation_length_v6.and_then(|length| i32::try_from(length).ok()),
                local_pref: ad.localpref.map(i64::from),
                communities: ad.communities.clone().unwrap_or_default(),
                ..BGPAdvertisementSpec::default()
            })
            .collect();
        if specs.is_empty() {
            specs.push(BGPAdvertisementSpec::default());
        }
        for spec in specs {
            let number = self.objects.bgp_advertisements.len() + 1;
            let metadata = self.metadata(format!("bgpadvertisement{number}"));
            let spec = BGPAdvertisementSpec { ip_address_pools: ip_address_pools.clone(), ..spec };
            self.objects.bgp_advertisements.push(BGPAdvertisement { metadata, spec, status: None });
        }
    }

    fn bfd_profiles(&mut self, profiles: &[LegacyBfdProfile]) {
        let mut taken = BTreeSet::new();
        for (index, profile) in profiles.iter().enumerate() {
            let field = (format!("bfd-profiles[{index}].name"), "spec.bfdProfile of a BGPPeer");
            let Some(name) = self.name(profile.name.as_deref().unwrap_or_default(), field, &mut taken) else {
                continue;
            };
            if index == 0 {
                self.remark("bfd-profiles".to_owned(), Remark::Bfd);
            }
            let spec = BFDProfileSpec {
                receive_interval: profile.receive_interval,
                transmit_interval: profile.transmit_interval,
                detect_multiplier: profile.detect_multiplier,
                echo_interval: profile.echo_interval,
                echo_mode: profile.echo_mode,
                passive_mode: profile.passive_mode,
                minimum_ttl: profile.minimum_ttl,
            };
            let metadata = self.metadata(name);
            self.objects.bfd_profiles.push(BFDProfile { metadata, spec, status: None });
        }
    }

    fn communities(&mut self, document: &LegacyDocument) {
        let names = document.bgp_communities.iter().flatten();
        let alias =
            |(name, value): (&String, &String)| CommunityAlias { name: name.clone(), value: value.clone() };
        let communities: Vec<CommunityAlias> = names.map(alias).collect();
        if !communities.is_empty() {
            let metadata = self.metadata("communities");
            let spec = CommunitySpec { communities };
            self.objects.communities.push(Community { metadata, spec, status: None });
        }
    }
}

fn peer_spec(peer: &LegacyPeer, password: String) -> BGPPeerSpec {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    BGPPeerSpec {
        my_asn: peer.my_asn.unwrap_or_default().into(),
        peer_asn: peer.peer_asn.map(i64::from),
        peer_address: text(&peer.peer_address),
        source_address: text(&peer.source_address),
        peer_port: peer.peer_port.filter(|port| *port != 0).map(i32::from),
        hold_time: given(&peer.hold_time),
        keepalive_time: given(&peer.keepalive_time),
        router_id: text(&peer.router_id),
        node_selectors: peer.node_selectors.iter().flatten().map(selector).collect(),
        password,
        bfd_profile: peer.bfd_profile.as_deref().map(object_name).unwrap_or_default(),
        ebgp_multi_hop: peer.ebgp_multihop,
        ..BGPPeerSpec::default()
    }
}

fn selector(written: &LegacySelector) -> LabelSelector {
    let expressions = written.match_expressions.iter().flatten().map(|e| LabelSelectorRequirement {
        key: e.key.clone().unwrap_or_default(),
        operator: e.operator.clone().unwrap_or_default(),
        values: e.values.clone(),
    });
    let expressions: Vec<_> = expressions.collect();
    LabelSelector {
        match_labels: written.match_labels.clone(),
        match_expressions: (!expressions.is_empty()).then_some(expressions),
    }
}

/// The nearest name that Kubernetes permits (RFC 1123 subdomain); a permitted one is kept.
fn object_name(written: &str) -> String {
    let permitted = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' { c } else { '-' };
    let name: String = written.to_lowercase().chars().map(permitted).collect();
    let outer = ['-', '.'];
    // Labels between dots may neither begin nor end with a dash.
    let labels: Vec<&str> =
        name.split('.').map(|label| label.trim_matches('-')).filter(|label| !label.is_empty()).collect();
    let name = labels.join(".");
    name.get(..MAX_NAME).unwrap_or(&name).trim_matches(outer).to_owned()
}
