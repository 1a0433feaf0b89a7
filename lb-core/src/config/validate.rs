//! The one validation of pools and advertisements.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    Advertisement, Config, ConfigError, Interfaces, Pattern, Preference, RawAdvertisement, RawPool,
    RawPreference, RawServiceAllocation,
};
use crate::{
    ids::{LinkName, PoolName, Vlans},
    pool::{Pool, Range, ServiceAllocation},
    problem::{Place, Problem, Reason},
    selector::{RawSelector, Selector},
};

/// See [`Config::validate`].
pub(super) fn validate(
    pools: &[RawPool],
    advertisements: &[RawAdvertisement],
    foreign: &[IpAddr],
) -> (Config, Vec<Problem>) {
    let mut check = Check::new(pools.iter());
    let mut config = Config::default();
    for raw in pools {
        if let Some(pool) = check.pool(raw, &config, foreign) {
            config.pools.insert(pool.name.clone(), pool);
        }
    }
    let mut names = BTreeSet::new();
    for raw in advertisements {
        if names.insert(raw.name.as_str()) {
            config.advertisements.extend(check.advertisement(raw, &config));
        } else {
            let error = ConfigError::DuplicateObject { name: raw.name.clone() };
            check.problem(&raw.place, "metadata.name", error);
        }
    }
    (config, check.problems)
}

/// Objects are judged one after the other; earlier ones stand.
pub(super) struct Check<'a> {
    /// Names of all pools that are written down, good or bad.
    written: BTreeSet<&'a str>,
    /// What is wrong with the objects so far.
    pub(super) problems: Vec<Problem>,
    /// Ranges of all pools so far by first address, for the test of overlap.
    taken: BTreeMap<IpAddr, (Range, PoolName)>,
}

impl<'a> Check<'a> {
    /// Nothing is judged yet. `pools` are all that are written down.
    pub(super) fn new(pools: impl Iterator<Item = &'a RawPool>) -> Self {
        let written = pools.map(|raw| raw.name.as_str()).collect();
        Self { written, problems: Vec::new(), taken: BTreeMap::new() }
    }

    /// Takes back what pools of these names have taken.
    pub(super) fn give_back(&mut self, pools: &BTreeSet<PoolName>) {
        self.taken.retain(|_, (_, pool)| !pools.contains(pool));
    }

    /// Notes a problem at a field of a CRD. An object that is part of a larger document says by the field of its
    /// place where in that document it stands, and has no `spec` and `metadata`.
    fn problem(&mut self, place: &Place, field: impl Into<String>, reason: impl Into<Reason>) {
        let field = field.into();
        let place = match place.field.as_str() {
            "" => place.field(field),
            base => {
                let inner = field.trim_start_matches("spec.").trim_start_matches("metadata.");
                place.field(format!("{base}.{inner}"))
            }
        };
        self.problems.push(Problem::new(place, reason));
    }

    /// `None` leaves the pool out; then at least one problem says why.
    pub(super) fn pool(&mut self, raw: &RawPool, config: &Config, foreign: &[IpAddr]) -> Option<Pool> {
        let name = PoolName::new(&raw.name);
        let name = name.map_err(|error| self.problem(&raw.place, "metadata.name", error)).ok()?;
        if config.pools.contains_key(&name) {
            let error = ConfigError::DuplicateObject { name: raw.name.clone() };
            self.problem(&raw.place, "metadata.name", error);
            return None;
        }
        if raw.addresses.is_empty() {
            self.problem(&raw.place, "spec.addresses", ConfigError::NoAddresses);
            return None;
        }
        // A pool whose admission rule can't be read must not be open to everybody: it is left out.
        let allocation = match &raw.service_allocation {
            Some(rule) => Some(self.allocation(&raw.place, rule)?),
            None => None,
        };
        let ranges: Vec<(usize, Range)> = raw
            .addresses
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| Some((index, self.range(raw, &name, index, entry)?)))
            .collect();
        if ranges.is_empty() {
            self.problem(&raw.place, "spec.addresses", ConfigError::NothingUsable);
            return None;
        }
        let mut pool = Pool::new(name, ranges.iter().map(|(_, range)| *range).collect());
        pool.auto_assign = raw.auto_assign;
        pool.avoid_buggy_ips = raw.avoid_buggy_ips;
        pool.labels.clone_from(&raw.labels);
        pool.allocation = allocation;
        let foreign: BTreeSet<IpAddr> = foreign.iter().copied().filter(|ip| pool.contains(*ip)).collect();
        for ip in foreign {
            pool.withhold(ip);
            let entry = ranges.iter().find(|(_, range)| range.contains(ip)).map_or(0, |(index, _)| *index);
            self.problem(&raw.place, format!("spec.addresses[{entry}]"), ConfigError::NodeAddress { ip });
        }
        Some(pool)
    }

    fn range(&mut self, raw: &RawPool, pool: &PoolName, index: usize, entry: &str) -> Option<Range> {
        let field = format!("spec.addresses[{index}]");
        let range = match entry.parse::<Range>().and_then(Range::assignable) {
            Ok(range) => range,
            Err(error) => {
                self.problem(&raw.place, field, error);
                return None;
            }
        };
        // Ranges that are in do not overlap, so only the one that starts last before our end can touch us.
        let before = self.taken.range(..=range.last()).next_back();
        if let Some((other, other_pool)) = before.map(|(_, taken)| taken)
            && other.overlaps(&range)
        {
            let (other, other_pool) = (*other, other_pool.clone());
            self.problem(&raw.place, field, ConfigError::Overlap { entry: range, other, other_pool });
            return None;
        }
        self.taken.insert(range.first(), (range, pool.clone()));
        Some(range)
    }

    fn allocation(&mut self, place: &Place, raw: &RawServiceAllocation) -> Option<ServiceAllocation> {
        const FIELD: &str = "spec.serviceAllocation";
        let namespaces = self.unique(place, &format!("{FIELD}.namespaces"), &raw.namespaces);
        let by_namespace =
            self.selectors(place, &format!("{FIELD}.namespaceSelectors"), &raw.namespace_selectors);
        let by_service = self.selectors(place, &format!("{FIELD}.serviceSelectors"), &raw.service_selectors);
        Some(ServiceAllocation {
            priority: raw.priority,
            namespaces,
            namespace_selectors: by_namespace?,
            service_selectors: by_service?,
        })
    }

    /// The set of a list's values; what is listed twice is reported and taken once.
    fn unique(&mut self, place: &Place, field: &str, values: &[String]) -> BTreeSet<String> {
        let mut set = BTreeSet::new();
        for (index, value) in values.iter().enumerate() {
            if !set.insert(value.clone()) {
                let error = ConfigError::ListedTwice { value: value.clone() };
                self.problem(place, format!("{field}[{index}]"), error);
            }
        }
        set
    }

    /// All selectors of a list, or `None` if one can't be read: leaving it out would change what the list means.
    fn selectors(&mut self, place: &Place, field: &str, raw: &[RawSelector]) -> Option<Vec<Selector>> {
        let mut selectors = Vec::with_capacity(raw.len());
        for (index, raw) in raw.iter().enumerate() {
            match Selector::parse(raw) {
                Ok(selector) if selectors.contains(&selector) => {
                    let error = ConfigError::ListedTwice { value: "the same selector".to_owned() };
                    self.problem(place, format!("{field}[{index}]"), error);
                }
                Ok(selector) => selectors.push(selector),
                Err(error) => {
                    self.problem(place, format!("{field}[{index}]"), error);
                    return None;
                }
            }
        }
        Some(selectors)
    }

    /// `None` leaves the advertisement out: without the part that can't be read it would announce more than was
    /// meant.
    pub(super) fn advertisement(&mut self, raw: &RawAdvertisement, config: &Config) -> Option<Advertisement> {
        let place = &raw.place;
        let pools = self.pool_names(raw, config);
        let pool_selectors = self.selectors(place, "spec.ipAddressPoolSelectors", &raw.pool_selectors);
        let node_selectors = self.selectors(place, "spec.nodeSelectors", &raw.node_selectors);
        let service_selectors = self.selectors(place, "spec.serviceSelectors", &raw.service_selectors);
        let interfaces = self.interfaces(raw);
        let preferred: Option<Vec<_>> = raw
            .preferred_node_selectors
            .iter()
            .enumerate()
            .map(|(i, p)| self.preference(place, i, p))
            .collect();
        let vlans = match raw.vlan.as_deref().map(str::parse::<Vlans>) {
            None => Some(Vlans::Untagged),
            Some(Ok(vlans)) => Some(vlans),
            Some(Err(error)) => {
                self.problem(place, "metadata.annotations[barelb.io/vlan]", error);
                None
            }
        };
        Some(Advertisement {
            name: raw.name.clone(),
            pools: pools?,
            pool_selectors: pool_selectors?,
            node_selectors: node_selectors?,
            interfaces: interfaces?,
            place: place.clone(),
            listed_interfaces: raw.interfaces.iter().filter_map(|name| LinkName::new(name).ok()).collect(),
            service_selectors: service_selectors?,
            preferred: preferred?,
            vlans: vlans?,
        })
    }

    fn pool_names(&mut self, raw: &RawAdvertisement, config: &Config) -> Option<BTreeSet<PoolName>> {
        const FIELD: &str = "spec.ipAddressPools";
        let names = self.unique(&raw.place, FIELD, &raw.pools);
        let mut pools = BTreeSet::new();
        for (index, name) in raw.pools.iter().enumerate() {
            match PoolName::new(name) {
                Ok(name) if config.pools.contains_key(&name) => {
                    pools.insert(name);
                }
                // Kept in the set: an advertisement for an absent pool is not one for all pools.
                Ok(name) => {
                    // A pool that was left out has been reported itself.
                    if pools.insert(name.clone()) && !self.written.contains(name.as_str()) {
                        let error = ConfigError::UnknownPool { name: name.to_string() };
                        self.problem(&raw.place, format!("{FIELD}[{index}]"), error);
                    }
                }
                Err(error) => {
                    self.problem(&raw.place, format!("{FIELD}[{index}]"), error);
                    return None;
                }
            }
        }
        debug_assert_eq!(names.len(), pools.len());
        Some(pools)
    }

    fn interfaces(&mut self, raw: &RawAdvertisement) -> Option<Interfaces> {
        const FIELD: &str = "spec.interfaces";
        let names = self.unique(&raw.place, FIELD, &raw.interfaces);
        let mut links = BTreeSet::new();
        for name in names {
            match LinkName::new(&name) {
                Ok(link) => {
                    links.insert(link);
                }
                Err(error) => {
                    let index =
                        raw.interfaces.iter().position(|written| *written == name).unwrap_or_default();
                    self.problem(&raw.place, format!("{FIELD}[{index}]"), error);
                    return None;
                }
            }
        }
        match raw.interface_regex.as_deref().map(str::parse::<Pattern>).transpose() {
            Ok(pattern) => Some(Interfaces::new(links, pattern)),
            Err(error) => {
                self.problem(&raw.place, "metadata.annotations[barelb.io/interface-regex]", error);
                None
            }
        }
    }

    fn preference(&mut self, place: &Place, index: usize, raw: &RawPreference) -> Option<Preference> {
        let field = format!("spec.preferredNodeSelectors[{index}]");
        let weight = u32::try_from(raw.weight).ok().filter(|weight| (1..=100).contains(weight));
        if weight.is_none() {
            self.problem(place, format!("{field}.weight"), ConfigError::BadWeight { weight: raw.weight });
        }
        match Selector::parse(&raw.preference) {
            Ok(selector) => Some(Preference { weight: weight?, selector }),
            Err(error) => {
                self.problem(place, format!("{field}.preference"), error);
                None
            }
        }
    }
}
