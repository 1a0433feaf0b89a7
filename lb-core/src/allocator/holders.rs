//! The Services that hold one address: nearly always one, which needs no memory of its own.

use crate::ids::ServiceKey;

/// Sorted by name; never none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holders {
    One(ServiceKey),
    Several(Vec<ServiceKey>),
}

impl Holders {
    pub(super) fn as_slice(&self) -> &[ServiceKey] {
        match self {
            Self::One(service) => std::slice::from_ref(service),
            Self::Several(services) => services,
        }
    }

    pub(super) fn add(&mut self, service: &ServiceKey) {
        let Err(place) = self.as_slice().binary_search(service) else { return };
        let mut services = self.as_slice().to_vec();
        services.insert(place, service.clone());
        *self = Self::Several(services);
    }

    /// The others; `None` if there are none.
    pub(super) fn without(&self, service: &ServiceKey) -> Option<Self> {
        let others: Vec<_> = self.as_slice().iter().filter(|holder| *holder != service).cloned().collect();
        match &others[..] {
            [] => None,
            [one] => Some(Self::One(one.clone())),
            [_, ..] => Some(Self::Several(others)),
        }
    }
}
