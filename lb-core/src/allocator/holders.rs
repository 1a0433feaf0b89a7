//! Which Services hold an address.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{Hash, Hasher},
    net::IpAddr,
};

use crate::{
    ids::ServiceKey,
    pool::{Family, address, number},
};

/// The Services of one address: nearly always one, which needs no memory of its own. Sorted by name; never none.
#[derive(Debug, Clone)]
enum Holders {
    One(ServiceKey),
    #[expect(clippy::box_collection, reason = "as small as one key")]
    Several(Box<Vec<ServiceKey>>),
}

impl Holders {
    fn as_slice(&self) -> &[ServiceKey] {
        match self {
            Self::One(service) => std::slice::from_ref(service),
            Self::Several(services) => services,
        }
    }

    fn add(&mut self, service: &ServiceKey) {
        let Err(place) = self.as_slice().binary_search(service) else { return };
        let mut services = self.as_slice().to_vec();
        services.insert(place, service.clone());
        *self = Self::Several(Box::new(services));
    }

    /// The others; `None` if there are none.
    fn without(self, service: &ServiceKey) -> Option<Self> {
        match self {
            Self::One(one) => (one != *service).then_some(Self::One(one)),
            Self::Several(mut services) => {
                services.retain(|holder| holder != service);
                match &services[..] {
                    [] => None,
                    [one] => Some(Self::One(one.clone())),
                    [_, ..] => Some(Self::Several(services)),
                }
            }
        }
    }
}

/// Addresses that are kept together: neighbours are given out one after the other, so that most look-ups find their
/// entry where the last one was.
const ROW: usize = 8;

#[derive(Debug, Clone, Default)]
struct Row {
    /// How many places are taken: a look at all of them would be a look at most of the row's memory.
    taken: usize,
    places: [Option<Holders>; ROW],
}

/// The lowest address of a row. The derived hash of an [`IpAddr`] takes it in in pieces, which costs more than the rest
/// of a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RowOf(IpAddr);

impl Hash for RowOf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(number(self.0));
    }
}

/// The row of an address, and its place there.
fn place(ip: IpAddr) -> (RowOf, usize) {
    let whole = number(ip);
    let [.., low] = whole.to_be_bytes();
    let place = usize::from(low) % ROW;
    (RowOf(address(Family::of(ip), whole - place as u128)), place)
}

/// The holders of all addresses that are held.
#[derive(Debug, Clone, Default)]
pub(super) struct HoldersOf(HashMap<RowOf, Row>);

impl HoldersOf {
    /// By name.
    pub(super) fn get(&self, ip: IpAddr) -> &[ServiceKey] {
        let (row, place) = place(ip);
        let holders = self.0.get(&row).and_then(|row| row.places.get(place)?.as_ref());
        holders.map(Holders::as_slice).unwrap_or_default()
    }

    /// Number of addresses.
    #[cfg(test)]
    #[expect(clippy::disallowed_methods, reason = "a sum has no order")]
    pub(super) fn len(&self) -> usize {
        self.0.values().flat_map(|row| &row.places).flatten().count()
    }

    /// Enters a holder; returns whether it is the first.
    pub(super) fn add(&mut self, ip: IpAddr, service: &ServiceKey) -> bool {
        let (row, place) = place(ip);
        let row = self.0.entry(row).or_default();
        match row.places.get_mut(place) {
            Some(Some(others)) => {
                others.add(service);
                false
            }
            Some(free) => {
                *free = Some(Holders::One(service.clone()));
                row.taken += 1;
                true
            }
            None => false,
        }
    }

    /// Strikes a holder out; returns who is left.
    pub(super) fn remove(&mut self, ip: IpAddr, service: &ServiceKey) -> &[ServiceKey] {
        let (row, place) = place(ip);
        let Entry::Occupied(mut entry) = self.0.entry(row) else { return &[] };
        let row = entry.get_mut();
        let Some(holders) = row.places.get_mut(place) else { return &[] };
        let before = holders.take();
        row.taken -= usize::from(before.is_some());
        *holders = before.and_then(|holders| holders.without(service));
        row.taken += usize::from(holders.is_some());
        if row.taken == 0 {
            entry.remove();
            return &[];
        }
        let holders = entry.into_mut().places.get(place).and_then(Option::as_ref);
        holders.map(Holders::as_slice).unwrap_or_default()
    }
}
