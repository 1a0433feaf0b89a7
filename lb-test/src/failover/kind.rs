//! The systems by name.

use std::str::FromStr;

use anyhow::{Result, bail};

use super::{Background, Barelb, Case, Keepalived, System, barelb};

/// What a system is set up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Faults one after the other: what was away is soon back.
    Faults,
    /// The same with ten thousand further addresses.
    Crowd,
    /// To be left alone, as users have it.
    Soak,
}

/// A system that can be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// BareLB in the profile `default`.
    Barelb,
    /// BareLB in the profile `fast`.
    BarelbFast,
    /// BareLB without its probes: by the Leases alone.
    BarelbLeases,
    /// keepalived, an advertisement each second.
    Keepalived,
    /// keepalived, an advertisement each 10 ms.
    KeepalivedFast,
}

impl Kind {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 5] =
        [Self::Barelb, Self::BarelbFast, Self::BarelbLeases, Self::Keepalived, Self::KeepalivedFast];

    /// Its name in commands and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Barelb => "barelb",
            Self::BarelbFast => "barelb-fast",
            Self::BarelbLeases => "barelb-leases",
            Self::Keepalived => "keepalived",
            Self::KeepalivedFast => "keepalived-10ms",
        }
    }

    /// What it is, for people.
    pub const fn what(self) -> &'static str {
        match self {
            Self::Barelb => "BareLB, profile default",
            Self::BarelbFast => "BareLB, profile fast",
            Self::BarelbLeases => "BareLB by Leases alone",
            Self::Keepalived => "keepalived, adverts of 1 s",
            Self::KeepalivedFast => "keepalived, adverts of 10 ms",
        }
    }

    /// The profile of the agents; none of what has no agents.
    pub(crate) const fn profile(self) -> Option<&'static str> {
        match self {
            Self::Barelb => Some("default"),
            Self::BarelbFast => Some("fast"),
            Self::BarelbLeases => Some(barelb::OFF),
            Self::Keepalived | Self::KeepalivedFast => None,
        }
    }

    /// Whether it has what a case is about. keepalived has no API server, and of ten thousand addresses it is busy for
    /// minutes with announcing them, so that all its nodes take themselves for the only one.
    pub const fn has(self, case: &Case) -> bool {
        self.profile().is_some() || !(case.crowded || matches!(case.background, Background::NoApi))
    }

    /// Sets it up, well and ready; with ten thousand further addresses when it is to be crowded.
    pub fn set_up(self, purpose: Purpose) -> Result<Box<dyn System>> {
        if let Some(profile) = self.profile() {
            return Ok(Box::new(Barelb::start(profile, purpose)?));
        }
        let interval = if self == Self::KeepalivedFast { "0.01" } else { "1" };
        Ok(Box::new(Keepalived::start(interval)?))
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let Some(kind) = Self::ALL.into_iter().find(|kind| kind.name() == name) else {
            bail!("no system {name:?}; there are: {}", Self::ALL.map(Self::name).join(", "));
        };
        Ok(kind)
    }
}
